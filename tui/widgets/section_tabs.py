"""One line of sections, chosen by digit or by mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

from tui.format import cells
from tui.guard import guarded
from tui.widgets.lines import LinesPanel, clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from tui.widgets.lines import Row, Span


class SectionTabs(LinesPanel):
    """The names of the sections; the first is the overview."""

    class Chosen(Message):
        """A section was clicked."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, names: Sequence[str], *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.names = tuple(names)
        #: their digits
        self.numbers = tuple(range(len(self.names)))
        self.active = 0
        self._places: list[tuple[int, int, int]] = []

    def build(self, width: int) -> list[Row]:
        """Digits and names; on a narrow screen only the active one has its name in full."""
        full = sum(cells(name) + 5 for name in self.names) <= width
        spans: list[Span] = []
        self._places = []
        at = 0
        for number, name in zip(self.numbers, self.names, strict=True):
            shown = name if full or number == self.active else name[:4].rstrip()
            text = f" {number} {shown} "
            style = "sorted" if number == self.active else "header"
            if number == self.active:
                text = f"[{text[1:-1]}]"
            spans.append((text, style))
            self._places.append((at, at + cells(text), number))
            at += cells(text)
        spans.append((" " * max(width - at, 0), "header"))
        return [clip(spans, width)]

    @guarded
    def on_click(self, event: events.Click) -> None:
        """Choose what is under the pointer."""
        for start, end, number in self._places:
            if start <= event.x < end:
                self.post_message(self.Chosen(number))
                return
