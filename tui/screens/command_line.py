"""The ``:`` command line, on top of whatever screen is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.screen import ModalScreen

from tui import commands
from tui.guard import guarded
from tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from tui.app import QuarterdeckApp


class CommandLine(ModalScreen[None]):
    """Takes one command.

    Args:
        value: what stands in it at first.
        mistake: what was wrong with it.
    """

    DEFAULT_CSS = "CommandLine { align: left bottom; background: $background 0%; }"

    def __init__(self, value: str = "", mistake: str = "") -> None:
        super().__init__()
        self._value = value
        self._mistake = mistake

    @property
    def _qd(self) -> QuarterdeckApp:
        return cast("QuarterdeckApp", self.app)

    def compose(self) -> ComposeResult:
        """The prompt at the bottom."""
        yield Prompt(":", self._value, suggester=commands.CommandSuggester(self._qd))

    @guarded
    def on_mount(self) -> None:
        """Type at once."""
        prompt = self.query_one(Prompt)
        prompt.input.focus()
        prompt.say(self._mistake or "tab completes, enter runs", wrong=bool(self._mistake))

    @guarded
    def on_prompt_changed(self, event: Prompt.Changed) -> None:
        """Show what it may become."""
        event.stop()
        if event.value == self._value and self._mistake:
            return
        found = commands.completions(self._qd, event.value, 6)
        command = commands.BY_NAME.get(event.value.partition(" ")[0])
        text = (
            "  ".join(found)
            if found
            else f"{command.name} {command.argument}: {command.description}"
            if command
            else ""
        )
        self.query_one(Prompt).say(text)

    @guarded
    def on_prompt_accepted(self, event: Prompt.Accepted) -> None:
        """Run; the line closes first, since the command may open a screen."""
        event.stop()
        self.dismiss()
        self.app.call_later(self._qd.run_command, event.value)

    @guarded
    def on_prompt_left(self) -> None:
        """Escape."""
        self.dismiss()
