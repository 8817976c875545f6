"""The dashboard application: owns the clock, the theme, the backend's task and the one timer that feeds the screens.

Screens read the fleet store; the timer hands the ids that changed to the screen on top (``hosts_changed``). What is
not needed for the first paint is imported later.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App

from probes import clock
from probes.model import Severity
from tui import keys, themes
from tui.glyphs import ASCII, glyphs_for
from tui.guard import guarded
from tui.screens.fleet import FleetScreen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.screen import Screen

    from probes.config import Settings
    from probes.fleet import Fleet
    from tui.backend import Backend
    from tui.glyphs import Glyphs
    from tui.themes import Palette

TICK_S = 0.25
_LOG = logging.getLogger(__name__)


class QuarterdeckApp(App[int]):
    """The dashboard on a fleet.

    Args:
        settings: the configuration.
        fleet: the store to show.
        backend_factory: makes the backend after the first paint; None: nobody feeds the store (tests).
        simulated: the fleet is not real; said on every screen.
        reload_settings: reads the configuration anew (in a thread); raises ConfigError.
        ascii_only: draw with ASCII; None: as configured, else as the locale allows.
        utc: clock times in UTC; None: as configured.
        boot_s: the clock of ages, replaced by tests.
        wall_s: the clock of labels, replaced by tests.
    """

    CSS_PATH = "theme.tcss"
    TITLE = "quarterdeck"
    BINDINGS = keys.bindings("app")
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = True

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        backend_factory: Callable[[], Awaitable[Backend]] | None = None,
        *,
        simulated: bool = False,
        reload_settings: Callable[[], Settings] | None = None,
        ascii_only: bool | None = None,
        utc: bool | None = None,
        boot_s: Callable[[], float] = clock.boot_s,
        wall_s: Callable[[], float] = clock.wall_s,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.fleet = fleet
        self.simulated = simulated
        self.backend: Backend | None = None
        self.boot_s = boot_s
        self.wall_s = wall_s
        self.utc = settings.utc if utc is None else utc
        self.glyphs: Glyphs = glyphs_for(settings.ascii if ascii_only is None else ascii_only)
        self._backend_factory = backend_factory
        self._reload_settings = reload_settings
        for theme in themes.themes():
            self.register_theme(theme)
        self.theme = "mono" if self.no_color else settings.theme

    @property
    def ascii(self) -> bool:
        """Whether only ASCII is drawn."""
        return self.glyphs is ASCII

    @property
    def palette(self) -> Palette:
        """The hand-drawn styles of the current theme."""
        return themes.palette(self.theme)

    def get_default_screen(self) -> Screen[Any]:
        """The fleet is what is painted first."""
        return FleetScreen()

    def on_mount(self) -> None:
        """Start the one timer."""
        self.set_interval(TICK_S, self._tick, name="tick")

    @guarded
    def _tick(self) -> None:
        dirty = self.fleet.take_dirty()
        changed = getattr(self.screen, "hosts_changed", None)
        if changed is not None:
            changed(dirty)

    def trouble(self, where: str, error: Exception) -> None:
        """Show and log an error of our own; the application goes on."""
        _LOG.error("error in %s", where, exc_info=error)
        self.fleet.event(None, Severity.CRITICAL, "internal", f"error in {where}: {type(error).__name__}: {error}")

    @guarded
    async def action_matrix(self) -> None:
        """Open the hosts x services matrix."""
        from tui.screens.matrix import MatrixScreen

        self.push_screen(MatrixScreen())

    @guarded
    async def action_help(self) -> None:
        """Open the help screen."""
        from tui.screens.help import HelpScreen

        self.push_screen(HelpScreen())

    def open_host(self, host_id: str) -> None:
        """Open the Host screen."""
        from tui.screens.host import HostScreen

        self.push_screen(HostScreen(host_id))
