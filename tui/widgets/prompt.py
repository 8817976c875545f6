"""A one-line prompt with its mistake beside it, used for the filter and for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from tui.guard import guarded

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult
    from textual.suggester import Suggester


class Prompt(Horizontal):
    """A label, an input and a message; sends ``Changed`` while typing, ``Accepted`` and ``Left``."""

    DEFAULT_CSS = """
    Prompt {
        height: 1;
        background: $panel;
        & .label { width: auto; color: $accent; text-style: bold; }
        & Input { width: 1fr; background: $panel; border: none; padding: 0; height: 1; min-width: 20; }
        & .message { width: auto; max-width: 65%; padding: 0 1; color: $secondary; }
        & .message.wrong { color: $error; text-style: bold; }
    }
    """

    class Changed(Message):
        """Another text stands in the prompt."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    class Accepted(Changed):
        """Enter."""

    class Left(Message):
        """Escape."""

    def __init__(self, label: str, value: str = "", *, suggester: Suggester | None = None) -> None:
        super().__init__()
        self._label = label
        self._value = value
        self._suggester = suggester

    def compose(self) -> ComposeResult:
        """The three parts."""
        yield Static(self._label, markup=False, classes="label")
        yield Input(self._value, suggester=self._suggester, compact=True, select_on_focus=False)
        yield Static("", markup=False, classes="message")

    @property
    def input(self) -> Input:
        """The input, to focus it."""
        return self.query_one(Input)

    def say(self, message: str, *, wrong: bool = False) -> None:
        """Show a message at the right; remote text in it is not parsed."""
        line = self.query_one(".message", Static)
        line.set_class(wrong, "wrong")
        line.update(Content(message))

    @guarded
    def on_input_changed(self, event: Input.Changed) -> None:
        """Hand on what was typed."""
        event.stop()
        self.post_message(self.Changed(event.value))

    @guarded
    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand on what was accepted."""
        event.stop()
        self.post_message(self.Accepted(event.value))

    @guarded
    def on_key(self, event: events.Key) -> None:
        """Escape leaves; tab takes the suggestion."""
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            self.post_message(self.Left())
        elif event.key == "tab":
            event.stop()
            event.prevent_default()
            self.input.action_cursor_right() if self.input.cursor_position == len(self.input.value) else None
