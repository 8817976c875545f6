"""The fleet grid: draws the visible lines of the board straight from the store, and nothing else.

A strip is kept per host and drawn again only when the host, its age text, the cursor or a mark changed. The cursor
follows its host when the order changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from rich.segment import Segment
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui import keys
from tui.board import GroupLine
from tui.columns import layout_for
from tui.format import fit
from tui.guard import guarded, guarding
from tui.painter import Painter
from tui.rows import Row

if TYPE_CHECKING:
    from textual import events

    from tui.app import QuarterdeckApp
    from tui.board import Board, Line


class _Drawn(NamedTuple):
    """A row as it was drawn last, and what it was drawn from."""

    version: int
    ages: tuple[str, str]
    cursor: bool
    marked: bool
    segments: list[Segment]
    strip: Strip


class FleetGrid(ScrollView, can_focus=True):
    """The rows. The selection is a host id (or a group's name), never an index."""

    BINDINGS = keys.bindings("grid")

    class Opened(Message):
        """A host was double-clicked."""

    class Moved(Message):
        """The cursor is on another line."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self.board = board
        self.cursor_host: str | None = None
        self.cursor_group: str | None = None
        #: when the user moved the cursor last; the order rests for a while after it
        self.moved_at_boot_s = float("-inf")
        self._line = 0
        self._drawn: dict[str, _Drawn] = {}
        self._painter: Painter | None = None
        self._now = 0.0

    @property
    def _qd(self) -> QuarterdeckApp:
        return cast("QuarterdeckApp", self.app)

    @property
    def selected_row(self) -> Row | None:
        """The row under the cursor, where it is shown."""
        at = self.board.at(self.cursor_host)
        return self.board.rows.get(self.cursor_host) if self.cursor_host is not None and at is not None else None

    @property
    def selected_group(self) -> GroupLine | None:
        """The group under the cursor."""
        at = self.board.at(None, self.cursor_group) if self.cursor_group is not None else None
        line = self.board.lines[at] if at is not None else None
        return line if isinstance(line, GroupLine) else None

    # --- what is drawn ---

    @property
    def painter(self) -> Painter:
        """The painter for the current width, theme, signs and fleet."""
        app, board = self._qd, self.board
        layout = layout_for(max(self.size.width, 1), board.max_gpus, board.max_services, board.max_id)
        painter = self._painter
        if (
            painter is None
            or painter.layout is not layout
            or painter.theme != app.theme
            or painter.glyphs is not app.glyphs
            or painter.settings is not app.settings
        ):
            painter = self._painter = Painter(app.theme, app.glyphs, app.settings, layout)
            self._drawn.clear()
        return painter

    def render_line(self, y: int) -> Strip:
        """Draw one visible line; an error in it is shown in its place and reported."""
        width = self.size.width
        with guarding(self, "FleetGrid.render_line"):
            return self._line_strip(y + self.scroll_offset.y, width)
        return Strip([Segment(fit("this line could not be drawn: see the event log", width))], width)

    def _line_strip(self, at: int, width: int) -> Strip:
        lines = self.board.lines
        painter = self.painter
        if at >= len(lines):
            why = "no host matches" if self.board.rows else "no hosts are configured"
            text = f" {why}" if at == 0 and not lines else ""
            return Strip([Segment(fit(text, width), self._qd.palette.muted)], width)
        line = lines[at]
        if isinstance(line, Row):
            return self._drawn_row(painter, line).strip
        return Strip(painter.group(line, cursor=line.name == self.cursor_group), width)

    def _drawn_row(self, painter: Painter, row: Row) -> _Drawn:
        host_id = row.record.host.id
        now = self._qd.boot_s()
        if self.board.waits(host_id):
            self.board.condense(row, now)
        cursor, marked = host_id == self.cursor_host, host_id in self.board.marked
        key = (row.version, painter.age_key(row, now), cursor, marked)
        drawn = self._drawn.get(host_id)
        if drawn is not None and drawn[:4] == key:
            return drawn
        segments = painter.row(row, now, cursor=cursor, marked=marked)
        if drawn is not None and drawn.segments == segments:
            drawn = _Drawn(*key, drawn.segments, drawn.strip)
        else:
            drawn = _Drawn(*key, segments, Strip(segments, painter.layout.width))
        self._drawn[host_id] = drawn
        return drawn

    def refresh_changed(self, turn: int = 0, turns: int = 1) -> None:
        """Have the visible lines drawn whose picture is not what it was.

        Args:
            turn: which part of the visible lines, from the top.
            turns: of how many parts.
        """
        painter = self.painter
        top, height = self.scroll_offset.y, self.size.height
        lines = self.board.lines
        for at in range(top + height * turn // turns, min(top + height * (turn + 1) // turns, len(lines))):
            line = lines[at]
            if not isinstance(line, Row):
                self.refresh_line(at)
                continue
            before = self._drawn.get(line.record.host.id)
            if before is None or self._drawn_row(painter, line).strip is not before.strip:
                self.refresh_line(at)

    def lines_changed(self, *, by_hand: bool = False) -> None:
        """The board has other lines or another order.

        The cursor stays on its host, or at the top as long as nobody moved it. The view stays at the top if it was
        there, since that is where one watches; scrolled down, it follows the cursor.

        Args:
            by_hand: the user asked for it, so the cursor must be in sight.
        """
        lines = self.board.lines
        if self.virtual_size.height != len(lines):
            self.virtual_size = Size(1, len(lines))
        at = self.board.at(self.cursor_host, self.cursor_group)
        untouched = self.moved_at_boot_s == float("-inf")
        if lines and (at is None or untouched):
            at = 0 if untouched else min(self._line, len(lines) - 1)
            self._select(lines[at])
        if at is not None:
            moved, self._line = at - self._line, at
            if self.scroll_offset.y:
                self.scroll_to(y=self.scroll_offset.y + moved, animate=False)
            if by_hand or self.scroll_offset.y:
                self._show_line(at)
        if len(self._drawn) > 2 * len(self.board.rows) + 50:
            self._drawn.clear()
        self.refresh()

    # --- the cursor ---

    def _select(self, line: Line) -> None:
        before = (self.cursor_host, self.cursor_group)
        if isinstance(line, Row):
            self.cursor_host, self.cursor_group = line.host_id, None
        else:
            self.cursor_host, self.cursor_group = None, line.name
        if before != (self.cursor_host, self.cursor_group):
            self.post_message(self.Moved())

    def go_to(self, at: int, *, by_hand: bool = True) -> None:
        """Put the cursor on a line."""
        lines = self.board.lines
        if not lines:
            return
        at = max(0, min(at, len(lines) - 1))
        before, self._line = self._line, at
        self._select(lines[at])
        if by_hand:
            self.moved_at_boot_s = self._qd.boot_s()
        self.refresh_line(before)
        self.refresh_line(at)
        self._show_line(at)

    def _show_line(self, at: int) -> None:
        top, height = self.scroll_offset.y, self.size.height
        if height < 1:
            return
        if at < top:
            self.scroll_to(y=at, animate=False)
        elif at >= top + height:
            self.scroll_to(y=at - height + 1, animate=False)

    @guarded
    def action_cursor(self, step: int) -> None:
        """Up or down by one."""
        self.go_to(self._line + step)

    @guarded
    def action_cursor_page(self, step: int) -> None:
        """Up or down by a page."""
        self.go_to(self._line + step * max(self.size.height - 1, 1))

    @guarded
    def action_cursor_end(self, step: int) -> None:
        """To the first or last line."""
        self.go_to(0 if step < 0 else len(self.board.lines) - 1)

    @guarded
    def on_click(self, event: events.Click) -> None:
        """Select; a double click opens."""
        at = event.y + self.scroll_offset.y
        if at < len(self.board.lines):
            self.go_to(at)
            if event.chain == 2:
                self.post_message(self.Opened())

    @guarded
    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        self._drawn.clear()
        self._show_line(self._line)


class GridHeader(Widget):
    """The line of column titles; a click sorts."""

    class Sorted(Message):
        """A column was clicked."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, grid: FleetGrid) -> None:
        super().__init__()
        self._grid = grid

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - one line
        """The titles, the sorted one marked."""
        width = self.size.width
        with guarding(self, "GridHeader.render_line"):
            return Strip(self._segments(width), width)
        return Strip.blank(width)

    def _segments(self, width: int) -> list[Segment]:
        app = cast("QuarterdeckApp", self.app)
        p, g, board = app.palette, app.glyphs, self._grid.board
        out: list[Segment] = []
        x = 0
        for place in self._grid.painter.layout.placed:
            chosen = place.column.key == board.sort
            title = g.text(place.title)
            if chosen:
                descending = (place.column.key not in ("host", "reason")) is not board.reverse
                mark = g.down if descending else g.up
                gap = " " if app.ascii and len(title) + 2 <= place.width else ""
                title = fit(title, place.width - 1).rstrip() + gap + mark if place.width > 1 else mark
            if place.x > x:
                out.append(Segment(" " * (place.x - x), p.header))
            text = fit(title, place.width, right=place.column.right, ellipsis=g.ellipsis)
            out.append(Segment(text, p.sorted if chosen else p.header))
            x = place.x + place.width
        out.append(Segment(" " * max(width - x, 0), p.header))
        return out

    @guarded
    def on_click(self, event: events.Click) -> None:
        """Sort by the column under the pointer."""
        column = self._grid.painter.layout.column_at(event.x)
        if column is not None:
            self.post_message(self.Sorted(column.key))
