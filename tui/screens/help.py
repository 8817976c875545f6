"""All keys, signs, states, the filter language and the commands, as they are in this session."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.containers import VerticalScroll
from textual.screen import Screen

from tui import keys
from tui.guard import guarded
from tui.widgets.help_text import help_rows
from tui.widgets.key_bar import KeyBar
from tui.widgets.lines import LinesPanel, clip

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from tui.app import QuarterdeckApp
    from tui.widgets.lines import Row


class HelpTitle(LinesPanel):
    """One line at the top."""

    def build(self, width: int) -> list[Row]:
        """What this is, and which configuration is in force."""
        app = cast("QuarterdeckApp", self.app)
        simulated = [(" SIMULATED ", "simulated")] if app.simulated else []
        source = app.settings.source or "no configuration file"
        return [clip([*simulated, (" quarterdeck help ", "strong"), (source, "muted")], width)]


class HelpText(LinesPanel):
    """The help itself."""

    def build(self, width: int) -> list[Row]:
        """All of it; the container scrolls."""
        app = cast("QuarterdeckApp", self.app)
        return help_rows(app.settings.keys, app.glyphs, width)


class HelpScreen(Screen[None]):
    """The Help screen."""

    BINDINGS = keys.bindings("help")
    DEFAULT_CSS = """
    HelpScreen { layout: vertical; }
    HelpScreen VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    """

    def compose(self) -> ComposeResult:
        """Title, text, keys."""
        yield HelpTitle()
        with VerticalScroll(id="body", can_focus=False):
            yield HelpText()
        yield KeyBar("help", "app")

    @property
    def _body(self) -> VerticalScroll:
        return self.query_one("#body", VerticalScroll)

    @guarded
    def action_back(self) -> None:
        """Leave."""
        self.dismiss()

    @guarded
    def action_scroll_body(self, lines: int) -> None:
        """Scroll by lines."""
        self._body.scroll_relative(y=lines, animate=False)

    @guarded
    def action_scroll_page(self, pages: int) -> None:
        """Scroll by pages."""
        self._body.scroll_relative(y=pages * max(self._body.size.height - 1, 1), animate=False)

    @guarded
    def action_scroll_edge(self, edge: int) -> None:
        """Scroll to the first or last line."""
        self._body.scroll_to(y=0 if edge < 0 else self._body.max_scroll_y, animate=False)
