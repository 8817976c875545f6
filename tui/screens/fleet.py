"""The fleet: one row a host, worst first."""

from __future__ import annotations

from textual.screen import Screen
from textual.widgets import Static

from tui import keys


class FleetScreen(Screen[None]):
    """The first screen."""

    BINDINGS = keys.bindings("fleet")

    def compose(self):
        """Widgets."""
        yield Static("fleet", markup=False)

    def hosts_changed(self, dirty: set[str]) -> None:
        """Redraw what changed."""
