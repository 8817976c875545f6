"""Lines made of pieces: what does not fit is left out whole, the least important first, never cut in a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, cast

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from tui.format import cells, fit
from tui.guard import guarding

if TYPE_CHECKING:
    from rich.style import Style

    from tui.app import QuarterdeckApp
    from tui.themes import Ground, Palette


class Piece(NamedTuple):
    """A text with its style; ``rank`` 0 is left out last."""

    text: str
    style: Style
    rank: int = 0


def joined(left: list[Piece], right: list[Piece], width: int, plain: Style, gap: str = "  ") -> list[Segment]:
    """Pieces from the left and from the right edge in exactly ``width`` cells."""
    left, right = list(left), list(right)
    while _length(left, gap) + _length(right, gap) + (len(gap) if left and right else 0) > width:
        pool = left + right
        if len(pool) == 1:
            break
        worst = max(range(len(pool)), key=lambda at: (pool[at].rank, at))
        del (left if worst < len(left) else right)[worst - (0 if worst < len(left) else len(left))]
    out: list[Segment] = []
    used = 0
    for pieces, start in ((left, 0), (right, width - _length(right, gap))):
        if start > used:
            out.append(Segment(" " * (start - used), plain))
            used = start
        for at, piece in enumerate(pieces):
            if at:
                out.append(Segment(gap, plain))
                used += len(gap)
            text = piece.text if used + cells(piece.text) <= width else fit(piece.text, width - used)
            out.append(Segment(text, piece.style))
            used += cells(text)
    if used < width:
        out.append(Segment(" " * (width - used), plain))
    return out


def _length(pieces: list[Piece], gap: str) -> int:
    return sum(cells(piece.text) for piece in pieces) + len(gap) * max(len(pieces) - 1, 0)


class DrawnLines(Widget):
    """A widget of a few hand-drawn lines; ``refresh_changed`` redraws those that differ."""

    GROUND: ClassVar[Ground] = "surface"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._last: list[list[Segment]] = []

    @property
    def qd(self) -> QuarterdeckApp:
        """The application."""
        return cast("QuarterdeckApp", self.app)

    @property
    def palette(self) -> Palette:
        """The styles on this widget's ground."""
        return self.qd.palette_on(self.GROUND)

    def draw(self, width: int, height: int) -> list[list[Segment]]:
        """The lines, each exactly ``width`` cells."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        """One line; an error is reported and leaves it blank."""
        width, height = self.size
        if y == 0 or y >= len(self._last):
            with guarding(self, type(self).__name__):
                self._last = self.draw(width, height)
        return Strip(self._last[y], width) if y < len(self._last) else Strip.blank(width)

    def refresh_changed(self) -> None:
        """Redraw if anything differs from what is on the screen."""
        width, height = self.size
        with guarding(self, type(self).__name__):
            if width and self.draw(width, height) != self._last:
                self.refresh()
