"""Lines drawn by hand: spans of text with the name of a style, fitted to cells, and the widget that shows them.

Builders are pure functions from a ``View`` and a width to rows, so that they are tested without a screen. Remote text
goes through ``fit`` and is never markup. A row that did not change is not drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from probes.model import LinkState
from tui.format import cells, fit
from tui.guard import guarding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.geometry import Size

    from probes.config import Intervals, Thresholds
    from probes.fleet import HostRecord
    from probes.model import Missing
    from tui.glyphs import Glyphs
    from tui.themes import Palette

#: text and the name of a style of ``tui.themes.Palette``
Span = tuple[str, str]
Row = tuple[Span, ...]

#: what values become when they are not from now; titles, labels and what we say about the age stay as they are
_KEPT: Final = frozenset({"muted", "header", "sorted", "unknown", "group", "alert", "simulated", "mark"})
_REASONS: Final = {
    "unsupported": "unsupported",
    "denied": "denied",
    "error": "error",
    "timeout": "timed out",
    "gpu_lost": "GPU lost",
    "not_yet": "not yet",
}


@dataclass(frozen=True, slots=True)
class View:
    """One host at one moment, and what is needed to draw it."""

    record: HostRecord
    now_s: float
    glyphs: Glyphs
    thresholds: Thresholds
    intervals: Intervals
    utc: bool = False

    @property
    def age_s(self) -> float | None:
        """Age of the last sample in seconds; None without one."""
        return self.record.age_s(self.now_s)

    @property
    def current(self) -> bool:
        """Whether the last sample may be shown as "now"."""
        age_s = self.age_s
        return self.record.link.state is LinkState.LIVE and age_s is not None and age_s <= self.intervals.stale_s


def reason_words(missing: Missing, field: str) -> str:
    """Why a field is not known, in words."""
    return _REASONS.get(missing.get(field, ""), "no reason")


def row_width(row: Iterable[Span]) -> int:
    """Cells a row takes."""
    return sum(cells(text) for text, _ in row)


def clip(row: Iterable[Span], width: int) -> Row:
    """A row cut to at most ``width`` cells."""
    out: list[Span] = []
    left = width
    for text, style in row:
        size = cells(text)
        if size > left:
            if left > 0:
                out.append((fit(text, left), style))
            break
        out.append((text, style))
        left -= size
    return tuple(out)


def pad(row: Iterable[Span], width: int) -> Row:
    """A row in exactly ``width`` cells."""
    clipped = clip(row, width)
    left = width - row_width(clipped)
    return (*clipped, (" " * left, "text")) if left else clipped


def rule(left: Iterable[Span], width: int, glyphs: Glyphs, right: Iterable[Span] = ()) -> Row:
    """A section's title line: text, a line, and text at the right end."""
    head, tail = clip(left, width), tuple(right)
    room = width - row_width(head) - row_width(tail) - 2 - (1 if tail else 0)
    if room < 1:
        return pad((*head, (" ", "muted"), *tail), width)
    line = (" " + glyphs.line * room + " ", "muted")
    return (*head, line, *tail, (glyphs.line, "muted")) if tail else (*head, (line[0].rstrip() + glyphs.line, "muted"))


def flow(
    facts: Iterable[Sequence[Span]], width: int, glyphs: Glyphs, *, first: Iterable[Span] = (), dots: bool = True
) -> list[Row]:
    """Short facts one after the other, separated, wrapped between facts; ``first`` starts every line."""
    separator = (f" {glyphs.separator} " if dots else "   ", "muted")
    first = tuple(first)
    width -= row_width(first)
    rows: list[Row] = []
    now: list[Span] = []
    used = 0
    for fact in facts:
        size = row_width(fact)
        if now and used + 3 + size > width:
            rows.append((*first, *clip(now, width)))
            now, used = [], 0
        if now:
            now.append(separator)
            used += 3
        now.extend(fact)
        used += size
    if now:
        rows.append((*first, *clip(now, width)))
    return rows


def wrap(text: str, width: int, style: str, *, indent: str = "", limit: int = 4) -> list[Row]:
    """A sentence over several lines, broken at spaces, at most ``limit`` lines."""
    rows: list[Row] = []
    line = ""
    room = max(width - len(indent), 1)
    words = text.split()
    for word in words:
        candidate = f"{line} {word}" if line else word
        if cells(candidate) <= room or not line:
            line = candidate
            continue
        rows.append((((indent if rows else "") + line, style),))
        line = word
    if line:
        rows.append((((indent if rows else "") + line, style),))
    if len(rows) > limit:
        kept = rows[:limit]
        last = kept[-1][0][0]
        kept[-1] = ((last[: room - 1] + "…", style),)
        rows = kept
    return [clip(row, width) for row in rows]


def beside(blocks: Sequence[Sequence[Row]], widths: Sequence[int], gap: int = 2) -> list[Row]:
    """Blocks of rows side by side, each padded to its width."""
    height = max((len(block) for block in blocks), default=0)
    space = (" " * gap, "text")
    rows: list[Row] = []
    for y in range(height):
        spans: list[Span] = []
        for index, (block, width) in enumerate(zip(blocks, widths, strict=True)):
            if index:
                spans.append(space)
            spans.extend(pad(block[y], width) if y < len(block) else ((" " * width, "text"),))
        rows.append(tuple(spans))
    return rows


def dimmed(rows: Iterable[Row]) -> list[Row]:
    """The same rows as values that are not from now."""
    return [tuple((text, style if style in _KEPT else "old") for text, style in row) for row in rows]


def plain(rows: Iterable[Row]) -> str:
    """The text of rows, for tests and for the clipboard."""
    return "\n".join("".join(text for text, _ in row).rstrip() for row in rows)


class LinesPanel(Widget):
    """A widget of hand-drawn rows; subclasses implement ``build`` and callers ``redraw``."""

    DEFAULT_CSS = "LinesPanel { height: auto; width: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.view: View | None = None
        self._rows: list[Row] = []

    def build(self, width: int) -> list[Row]:
        """The rows for a width in cells."""
        raise NotImplementedError

    @property
    def rows(self) -> list[Row]:
        """What is shown."""
        return self._rows

    def redraw(self) -> None:
        """Build again and draw the lines that changed; nothing while hidden."""
        width = self.content_size.width
        if not self.display or not width:
            return
        old, new = self._rows, self._built(width)
        if new == old:
            return
        self._rows = new
        if len(new) != len(old):
            self.refresh(layout=True)
            return
        changed = [Region(0, y, width, 1) for y, row in enumerate(new) if row != old[y]]
        self.refresh(*changed)

    def _built(self, width: int) -> list[Row]:
        with guarding(self, f"{type(self).__name__}.build"):
            return [clip(row, width) for row in self.build(width)]
        return [(("this part could not be drawn: see the event log", "bad"),)]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as there are rows; what is shown is changed, and painted, by ``redraw`` alone."""
        del container, viewport
        return len(self._built(width))

    def on_resize(self) -> None:
        """Another width, other rows."""
        self.redraw()

    def render_line(self, y: int) -> Strip:
        """One row as a strip."""
        return row_strip(self, self._rows, y)


def row_strip(widget: Widget, rows: Sequence[Row], y: int) -> Strip:
    """One of a widget's rows as a strip; blank where there is none, or where drawing it failed (which is reported)."""
    width = widget.content_size.width
    base = widget.visual_style.rich_style
    app = cast("Any", widget.app)
    if y < len(rows):
        with guarding(widget, f"{type(widget).__name__}.render_line"):
            return strip_of(rows[y], width, app.palette, base, app.glyphs)
    return Strip.blank(width, base)


def strip_of(row: Row, width: int, palette: Palette, base: Style, glyphs: Glyphs) -> Strip:
    """A row as a strip of exactly ``width`` cells on a base style."""
    segments: list[Segment] = []
    only_ascii = glyphs.ellipsis == "~"
    for text, name in row:
        shown = text
        if only_ascii and not text.isascii():
            shown = fit(glyphs.text(text), cells(text), ellipsis="~")
        segments.append(Segment(shown, base + _style(palette, name)))
    return Strip(segments).adjust_cell_length(width, base)


def _style(palette: Palette, name: str) -> Style:
    """The style of a name; ``bad@cursor`` is ``bad`` under the cursor, told apart without colour too."""
    bare, under, _ = name.partition("@")
    style: Style = getattr(palette, bare)
    if not under:
        return style
    if style.reverse and palette.cursor.reverse:
        style += Style(underline=True)
    return style + palette.cursor  # a style brings its own ground: the cursor's comes last
