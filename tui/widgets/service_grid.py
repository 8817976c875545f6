"""Hosts x services, drawn line by line: only what is visible costs, a thousand hosts scroll like ten.

The titles and the host column stand still. The cursor is a host id and a column, never an index into the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from probes.model import Health, LinkState, PortState
from probes.text import clean
from tui.format import cells, fit
from tui.glyphs import WORDS
from tui.guard import guarded, guarding
from tui.widgets.lines import strip_of
from tui.widgets.link_header import link_style
from tui.widgets.service_list import SHORT_WORDS, connect_text, sign, style_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from probes.fleet import HostRecord
    from tui.app import QuarterdeckApp
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span

SSH_COLUMN: Final = "SSH"
_WORD_WIDTH: Final = 10
_SIGN_WIDTH: Final = 5
_GAP: Final = 1
#: a probe older than this many intervals is dimmed
_OLD_INTERVALS: Final = 3.5


def columns_of(records: Sequence[HostRecord]) -> tuple[str, ...]:
    """The SSH session, then every service name in the order in which the hosts list them."""
    names: dict[str, None] = {SSH_COLUMN: None}
    for record in records:
        for service in record.host.services:
            names.setdefault(service.name)
    return tuple(names)


def link_sign(record: HostRecord, glyphs: Glyphs) -> str:
    """One character for the state of the session."""
    state = record.link.state
    if state is LinkState.LIVE:
        return glyphs.open
    if state in (LinkState.STALE, LinkState.CONNECTING, LinkState.PAUSED):
        return glyphs.levels[2]
    return glyphs.levels[3]


def cell_spans(
    record: HostRecord, column: str, width: int, glyphs: Glyphs, *, words: bool, fresh_boot_s: float = 0.0
) -> tuple[str, str]:
    """Text and style of one cell, ``width`` cells wide; a probe from before ``fresh_boot_s`` is not from now."""
    if column == SSH_COLUMN:
        state = record.link.state
        text = f"{link_sign(record, glyphs)} {WORDS[state][1]}" if words else link_sign(record, glyphs)
        return fit(text, width), link_style(state)
    probe = record.services.get(column)
    if probe is None and all(service.name != column for service in record.host.services):
        return " " * width, "muted"
    text = sign(probe, glyphs)
    if words:
        if probe is None:
            text += " not yet"
        elif probe.state is not PortState.OPEN:
            text += f" {SHORT_WORDS[probe.state]}"
        elif probe.health is Health.FAILING:
            text += " unhealth" if probe.connect_ms is None else " failing"
        else:
            text += f" {connect_text(probe.connect_ms)}"
    old = probe is not None and probe.at_boot_s < fresh_boot_s
    return fit(text, width), "old" if old else style_of(probe)


def is_fault(record: HostRecord) -> bool:
    """Whether the session or any service of a host is not as it should be."""
    if record.link.state is not LinkState.LIVE:
        return True
    for service in record.host.services:
        probe = record.services.get(service.name)
        if probe is None or probe.state is not PortState.OPEN or probe.health is Health.FAILING:
            return True
    return False


class ServiceGrid(ScrollView, can_focus=False):
    """The grid. Ask ``take`` to look at the fleet again; it redraws the lines that changed.

    Its keys are the screen's: a focused scroll view would scroll by itself instead of moving the cursor.
    """

    class Moved(Message):
        """The cursor is on another cell."""

    class Opened(Message):
        """A cell was clicked twice."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.columns: tuple[str, ...] = (SSH_COLUMN,)
        self.order: list[str] = []
        self.cursor_host: str | None = None
        self.cursor_column = 0
        self.faults_only = False
        #: signs with words, signs alone, or None: words if all columns fit
        self.words: bool | None = None
        self._layout_version = -1
        self._drawn: dict[str, tuple[object, ...]] = {}

    @property
    def deck(self) -> QuarterdeckApp:
        """The application with its own type."""
        return cast("QuarterdeckApp", self.app)

    # --- geometry ---

    @property
    def host_width(self) -> int:
        """Cells of the host column."""
        longest = max((cells(host_id) for host_id in self.order), default=4)
        return min(max(longest, 4) + 2, 26, max(self.size.width // 3, 8))

    def _widths(self, *, words: bool) -> list[int]:
        if not words:
            return [_SIGN_WIDTH] * len(self.columns)
        return [min(max(cells(name), _WORD_WIDTH), 16) for name in self.columns]

    @property
    def shows_words(self) -> bool:
        """Whether cells have words; chosen by hand, else by the room there is."""
        if self.words is not None:
            return self.words
        wide = self.host_width + sum(self._widths(words=True)) + _GAP * len(self.columns)
        narrow = self.host_width + sum(self._widths(words=False)) + _GAP * len(self.columns)
        return wide <= self.size.width or narrow > self.size.width

    def _places(self) -> list[tuple[int, int]]:
        """``(x, width)`` of each column, without the host column and scrolling."""
        places: list[tuple[int, int]] = []
        at = 0
        for width in self._widths(words=self.shows_words):
            places.append((at, width))
            at += width + _GAP
        return places

    # --- taking what changed ---

    def take(self, dirty: set[str] | None = None) -> None:
        """Look at the fleet again.

        Args:
            dirty: the hosts that changed; None: everything may have changed.
        """
        fleet = self.deck.fleet
        if dirty is None or fleet.layout_version != self._layout_version or (self.faults_only and dirty):
            self._layout_version = fleet.layout_version
            self._drawn.clear()
            records = list(fleet.hosts.values())
            self.columns = columns_of(records)
            self.order = [r.host.id for r in records if not self.faults_only or is_fault(r)]
            self._keep_cursor()
            self._resize_virtual()
            self.refresh()
            return
        top = self.scroll_offset.y
        for y in range(1, self.size.height):
            at = top + y - 1
            if at >= len(self.order):
                break
            if self._key(self.order[at]) != self._drawn.get(self.order[at]):
                self.refresh(Region(0, y, self.size.width, 1))

    @property
    def _fresh_boot_s(self) -> float:
        """Probes from before this are not from now."""
        return self.deck.boot_s() - self.deck.settings.intervals.services_s * _OLD_INTERVALS

    def _key(self, host_id: str) -> tuple[object, ...]:
        record, fresh = self.deck.fleet.hosts[host_id], self._fresh_boot_s
        probes = ((p.state, p.health, p.connect_ms, p.at_boot_s < fresh) for p in record.services.values())
        return (record.link.state, *probes)

    def _keep_cursor(self) -> None:
        self.cursor_column = min(self.cursor_column, len(self.columns) - 1)
        if self.cursor_host not in self.order:
            self.cursor_host = self.order[0] if self.order else None

    def _resize_virtual(self) -> None:
        places = self._places()
        width = self.host_width + (places[-1][0] + places[-1][1] if places else 0)
        size = Size(width, len(self.order) + 1)
        if self.virtual_size != size:
            self.virtual_size = size

    @guarded
    def on_resize(self) -> None:
        """Other widths, another geometry."""
        self._resize_virtual()
        self.refresh()

    # --- drawing ---

    def render_line(self, y: int) -> Strip:
        """The titles, then one host a line; an error is shown in its place and reported."""
        width = self.size.width
        base = self.visual_style.rich_style
        with guarding(self, "ServiceGrid.render_line"):
            row = self._title_row(width) if y == 0 else self._host_row(self.scroll_offset.y + y - 1, width)
            return strip_of(row, width, self.deck.palette, base, self.deck.glyphs)
        return Strip.blank(width, base)

    def _title_row(self, width: int) -> Row:
        spans: list[Span] = [(fit(" host", self.host_width), "header")]
        for index, (name, (_, size)) in enumerate(zip(self.columns, self._places(), strict=True)):
            style = "sorted" if index == self.cursor_column else "header"
            spans.append((fit(name, size) + " " * _GAP, style))
        return self._scrolled(spans, width, "header")

    def _host_row(self, at: int, width: int) -> Row:
        if at >= len(self.order):
            empty = "no host has a fault" if self.faults_only else "no hosts are configured"
            return ((f" {empty}", "muted"),) if at == 0 else ()
        host_id = self.order[at]
        record = self.deck.fleet.hosts.get(host_id)
        if record is None:
            return ()
        self._drawn[host_id] = self._key(host_id)
        glyphs, words, fresh = self.deck.glyphs, self.shows_words, self._fresh_boot_s
        here = host_id == self.cursor_host
        mark = glyphs.folded if here else " "
        spans: list[Span] = [(fit(f"{mark}{clean(host_id)}", self.host_width), "strong" if here else "text")]
        for index, (name, (_, size)) in enumerate(zip(self.columns, self._places(), strict=True)):
            text, style = cell_spans(record, name, size, glyphs, words=words, fresh_boot_s=fresh)
            if here and index == self.cursor_column:
                style = f"{style}@cursor"
                text = f"[{text.strip()}]".ljust(size) if not words else text
            spans.append((text, style))
            spans.append((" " * _GAP, "text"))
        return self._scrolled(spans, width, "text")

    def _scrolled(self, spans: list[Span], width: int, style: str) -> Row:
        """The first span stands still, the others move with the horizontal scroll."""
        skip = self.scroll_offset.x
        out, left = [spans[0]], width - self.host_width
        for text, name in spans[1:]:
            size = cells(text)
            if skip >= size:
                skip -= size
                continue
            shown = text
            if skip:
                shown = " " * (size - skip) if not text.isascii() else text[skip:]
                skip = 0
            shown = shown if cells(shown) <= left else fit(shown, left)
            out.append((shown, name))
            left -= cells(shown)
            if left <= 0:
                break
        if left > 0:
            out.append((" " * left, style))
        return tuple(out)

    # --- the cursor ---

    def move(self, columns: int, rows: int) -> None:
        """Move the cursor; it stops at the edges and stays in sight."""
        if not self.order:
            return
        at = self.order.index(self.cursor_host) if self.cursor_host in self.order else 0
        at = min(max(at + rows, 0), len(self.order) - 1)
        self.select(self.order[at], min(max(self.cursor_column + columns, 0), len(self.columns) - 1))

    def select(self, host_id: str, column: int) -> None:
        """Put the cursor on a cell and scroll to it."""
        self.cursor_host, self.cursor_column = host_id, column
        at = self.order.index(host_id)
        x, size = self._places()[column]
        view_x, view_y = self.scroll_offset
        room_x, room_y = self.size.width - self.host_width, self.size.height - 1
        if at < view_y or at >= view_y + room_y:
            view_y = at if at < view_y else at - room_y + 1
        if x < view_x or x + size > view_x + room_x:
            view_x = x if x < view_x else x + size - room_x
        self.scroll_to(x=max(view_x, 0), y=max(view_y, 0), animate=False, immediate=True)
        self.refresh()
        self.post_message(self.Moved())

    @guarded
    def on_click(self, event: events.Click) -> None:
        """Select the cell; twice opens the host."""
        at = self.scroll_offset.y + event.y - 1
        if event.y < 1 or not 0 <= at < len(self.order):
            return
        x = event.x - self.host_width + self.scroll_offset.x
        column = self.cursor_column
        for index, (start, size) in enumerate(self._places()):
            if event.x >= self.host_width and start <= x < start + size + _GAP:
                column = index
        self.select(self.order[at], column)
        if event.chain == 2:
            self.post_message(self.Opened())
