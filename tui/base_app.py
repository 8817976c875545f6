"""What the dashboard application lives on: clocks, theme, the backend's task, the timers that feed the screens, errors.

Screens read the fleet store; the timer hands the ids that changed to the screen on top (``hosts_changed``). What is
not needed for the first paint is imported later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual._context import active_message_pump
from textual.app import App
from textual.events import Key
from textual.screen import Screen
from textual.scrollbar import ScrollBar, ScrollBarRender

from probes import clock
from probes.input_first import InputFirst
from probes.model import Severity
from probes.text import clean
from tui import keys, themes
from tui.board import BEAT_S, Board
from tui.glyphs import ASCII, glyphs_for
from tui.guard import guarded
from tui.screens.fleet import FleetScreen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import CoroutineType

    from textual.message import Message

    from probes.config import Settings
    from probes.fleet import Fleet
    from probes.hosts.asker import Asker
    from tui.backend import Backend
    from tui.bench_desk import BenchDesk, BenchWork
    from tui.glyphs import Glyphs
    from tui.inquiry import Remembered
    from tui.themes import Palette

#: beats in which every visible row has had its turn, and after which screens are told what changed: 4 times a second
TURNS = 5
#: how long the backend may take to end before it is left
GOODBYE_S = 5.0
_LOG = logging.getLogger(__name__)


class AsciiScrollBarRender(ScrollBarRender):
    """A scrollbar without block characters: its thumb is reversed spaces."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "]
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "]


class BaseApp(App[int]):
    """The life of the dashboard: clocks, board, timers, backend, errors.

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
        bench_work: makes what benchmarks are run with when first asked for, replaced by tests.
    """

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
        bench_work: Callable[[], BenchWork] | None = None,
    ) -> None:
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") is not None else None)
        self.settings = settings
        self.fleet = fleet
        self.first = InputFirst()
        self.simulated = simulated
        self.boot_s = boot_s
        self.wall_s = wall_s
        self.board = Board(fleet, settings, boot_s())
        self.board.work(boot_s(), everything=True)
        self.board.arrange(boot_s())
        self.backend: Backend | None = None
        #: the display stands still on purpose
        self.frozen = False
        self._remembered: Remembered | None = None
        self._bench_work = bench_work
        self._bench: BenchDesk | None = None
        #: the newest error of our own, until it is dismissed
        self.banner = ""
        self._troubles: dict[str, int] = {}
        self._ascii_only, self._utc = ascii_only, utc
        self._backend_factory = backend_factory
        self._backend_task: asyncio.Task[None] | None = None
        self._reload_settings = reload_settings
        self._asker: Asker | None = None
        self._chores: set[asyncio.Task[Any]] = set()
        self._signals: list[signal.Signals] = []
        self._leaving = False
        #: another program has the terminal
        self._suspended = False
        self._turn = 0
        self._changed: set[str] = set()
        for theme in themes.themes():
            self.register_theme(theme)
        self._take_look()

    def _take_look(self) -> None:
        """Theme, signs, clock and keys as configured; NO_COLOR and the arguments win."""
        self.theme = "mono" if self.no_color else self.settings.theme
        self.glyphs: Glyphs = glyphs_for(self.settings.ascii if self._ascii_only is None else self._ascii_only)
        self.set_class(self.ascii, "-ascii")
        ScrollBar.renderer = AsciiScrollBarRender if self.ascii else ScrollBarRender
        self.utc = self.settings.utc if self._utc is None else self._utc
        self.set_keymap(keys.keymap(self.settings.keys))

    # --- what screens ask ---

    @property
    def ascii(self) -> bool:
        """Whether only ASCII is drawn."""
        return self.glyphs is ASCII

    @property
    def palette(self) -> Palette:
        """The hand-drawn styles of the current theme, on its background."""
        return themes.palette(self.theme)

    def palette_on(self, ground: themes.Ground) -> Palette:
        """The same on another ground."""
        return themes.palette(self.theme, ground)

    @property
    def asker(self) -> Asker:
        """Asks the person at the screen, for the backend."""
        if self._asker is None:
            from tui.screens.dialogs import DialogAsker  # noqa: PLC0415 - after first paint

            self._asker = DialogAsker(self)
        return self._asker

    @property
    def fleet_screen(self) -> FleetScreen:
        """The fleet screen, whatever is on top of it."""
        return cast("FleetScreen", self.screen_stack[0])

    @property
    def selected_host(self) -> str | None:
        """The host the screen on top is about."""
        for screen in reversed(self.screen_stack):
            host_id = getattr(screen, "host_id", None) or getattr(screen, "selected", None)
            if isinstance(host_id, str):
                return host_id
        return None

    @property
    def remembered(self) -> Remembered:
        """The diagnoses of this session, to compare with."""
        if self._remembered is None:
            from tui.inquiry import Remembered  # noqa: PLC0415 - after first paint

            self._remembered = Remembered()
        return self._remembered

    @property
    def bench_words(self) -> str:
        """The benchmark that runs, in a few words; empty: none does."""
        return "" if self._bench is None else self._bench.words

    def say(self, text: str, *, bad: bool = False) -> None:
        """A short note on the screen; the text is never parsed."""
        self.notify(clean(text, 500), severity="error" if bad else "information", markup=False, timeout=8 if bad else 4)

    def get_default_screen(self) -> Screen[Any]:
        """The fleet is what is painted first."""
        return FleetScreen(self.board)

    # --- life ---

    @guarded
    def on_mount(self) -> None:
        """Start the timer at once, everything else after the first paint."""
        self.set_interval(BEAT_S, self._beat, name="beat")
        self.call_after_refresh(self.start_backend)
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGHUP):
            try:
                loop.add_signal_handler(each, self.quit_soon)
            except (ValueError, RuntimeError):
                _LOG.info("not in the main thread: %s keeps its default", each.name)
            else:
                self._signals.append(each)

    @guarded
    async def on_unmount(self) -> None:
        """Nothing of ours outlives the screen."""
        loop = asyncio.get_running_loop()
        for each in self._signals:
            loop.remove_signal_handler(each)
        self._signals.clear()
        await self._end_chores()
        await self.stop_backend()

    def start_backend(self) -> None:
        """Make and run the backend, unless it runs."""
        if self._backend_factory is None or self._leaving:
            return
        if self._backend_task is None or self._backend_task.done():
            self._backend_task = asyncio.create_task(self._run_backend(self._backend_factory), name="backend")

    async def _run_backend(self, factory: Callable[[], Awaitable[Backend]]) -> None:
        try:
            backend = self.backend = await factory()
            await backend.run()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - shown, logged and counted by trouble()
            self.trouble("backend", error, "nothing is watched any more; ':restart' starts it again")
        else:
            if not self._leaving:
                self.trouble("backend", RuntimeError("it ended"), "nothing is watched; ':restart' starts it again")
        finally:
            self.backend = None

    async def stop_backend(self) -> None:
        """Cancel the backend and wait for it, but not for ever."""
        self._leaving = True
        task = self._backend_task
        if task is None or task.done():
            return
        task.cancel()
        _, late = await asyncio.wait([task], timeout=GOODBYE_S)
        if late:
            _LOG.error("the backend did not end within %.0f s", GOODBYE_S)

    async def action_quit(self) -> None:
        """Leave."""
        await self.leave()

    async def leave(self) -> None:
        """Leave, the backend last."""
        if self._bench is not None:
            await self._bench.end()
        await self._end_chores()
        await self.stop_backend()
        self.exit(0)

    async def _end_chores(self) -> None:
        """Cancel what we started, but for the caller; a program in the foreground gives the terminal back first."""
        chores = self._chores - {asyncio.current_task()}
        for chore in chores:
            chore.cancel()
        if chores:
            await asyncio.wait(chores, timeout=GOODBYE_S)

    def quit_soon(self) -> None:
        """Leave; also the answer to SIGTERM and SIGHUP."""
        self.chore(self.leave(), "quit")

    def chore(self, work: Any, name: str) -> asyncio.Task[None]:
        """Run a coroutine as a task of ours: its errors are shown, and it ends with the application."""

        async def run() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - shown, logged and counted by trouble()
                self.trouble(name, error)

        task = asyncio.create_task(run(), name=name)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        return task

    # --- the flow ---

    def _post_message(self, message: Message) -> CoroutineType[Any, Any, bool]:
        """Take what the terminal sends. Called in the thread that reads it: the earliest that we know of a key."""
        if isinstance(message, Key):
            self.first.came()
        return super()._post_message(message)

    @guarded
    async def _beat(self) -> None:
        """A small part of everything, twenty times a second: a key never waits for more than one part."""
        await self.first.way()
        now = self.boot_s()
        dirty = self.fleet.take_dirty()
        self._changed |= dirty
        self.board.take(dirty, now)
        self.board.work(now)
        if self._suspended:
            return
        await self.first.turn()
        self._turn = (self._turn + 1) % TURNS
        changed: set[str] | None = None
        if self._turn == 0:
            changed, self._changed = self._changed, set()
        for screen in reversed(self.screen_stack):
            if isinstance(screen, FleetScreen):
                screen.beat(self._turn, TURNS)
                if changed is not None:
                    await self.first.turn()
            if changed is not None and (take := getattr(screen, "hosts_changed", None)) is not None:
                take(changed)
            if not screen.is_modal:
                break

    def trouble(self, where: str, error: Exception, hint: str = "") -> None:
        """Show and log an error of our own; the application goes on. The same one again is only counted."""
        text = clean(f"error in {where}: {type(error).__name__}: {error}" + (f" ({hint})" if hint else ""), 500)
        count = self._troubles[text] = self._troubles.get(text, 0) + 1
        if count == 1 or count % 100 == 0:
            _LOG.error("%s (%d times)", text, count, exc_info=error)
            self.fleet.event(None, Severity.CRITICAL, "internal", text)
        self.banner = f"{text}, {count} times" if count > 1 else text
        if (
            count & (count - 1) == 0 and self.screen_stack
        ):  # 1, 2, 4, 8, ...: an error in drawing must not draw for ever
            self.call_later(self._show_banner)

    def _handle_exception(self, error: Exception) -> None:
        """The last line: an error that nobody guarded ends the screen it happened in, unless that is the fleet.

        Textual would end the application. The widget whose handler raised takes no more messages, so its screen
        cannot stay.
        """
        screen = _screen_of(active_message_pump.get(None))
        if screen is None or screen is self.screen_stack[0] or self._leaving:
            _LOG.critical("the dashboard ends", exc_info=error)
            super()._handle_exception(error)
            return
        self.trouble(type(screen).__name__, error, "that screen was closed")
        self.call_later(self._drop, screen)

    @guarded
    def _drop(self, screen: Screen[Any]) -> None:
        while screen in self.screen_stack and len(self.screen_stack) > 1:
            self.pop_screen()

    def _show_banner(self) -> None:
        try:
            self.fleet_screen.show_banner()
        except Exception:  # noqa: BLE001 - the banner itself must not be what ends the application
            _LOG.exception("the banner could not be shown")

    @guarded
    def action_dismiss_banner(self) -> None:
        """The error was seen."""
        self.banner = ""
        self._show_banner()


def _screen_of(node: Any) -> Screen[Any] | None:
    """The screen a message pump belongs to."""
    while node is not None and not isinstance(node, Screen):
        node = getattr(node, "_parent", None)
    return node
