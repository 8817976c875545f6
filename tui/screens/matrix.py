"""Hosts x services: which port of which host answers, how fast, and whether what answers is healthy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, cast

from textual.screen import Screen

from probes.model import Health, LinkState, PortState
from tui import keys
from tui.format import clock_text
from tui.guard import guarded
from tui.widgets.cell_detail import CellDetail, Legend
from tui.widgets.header import Banner
from tui.widgets.key_bar import KeyBar
from tui.widgets.lines import LinesPanel, View, clip, plain, row_width
from tui.widgets.service_grid import SSH_COLUMN, ServiceGrid

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from probes.fleet import HostRecord
    from tui.app import QuarterdeckApp
    from tui.widgets.lines import Row, Span

#: the title counts all probes: not with every tick
_COUNT_S: Final = 1.0
_LOW: Final = 16
_TINY: Final = 8


class MatrixTitle(LinesPanel):
    """How many services there are and how they are."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.faults_only = False

    def build(self, width: int) -> list[Row]:
        """One line with counts, the view and the time."""
        app = cast("QuarterdeckApp", self.app)
        records = list(app.fleet.hosts.values())
        opened = total = live = faults = 0
        for record in records:
            fine = record.link.state is LinkState.LIVE
            live += fine
            good = 0
            for probe in record.services.values():
                if probe.state is PortState.OPEN:
                    opened += 1
                    good += probe.health is not Health.FAILING
            total += len(record.host.services)
            faults += not fine or good < len(record.host.services)
        spans: list[Span] = [(" SIMULATED ", "simulated")] if app.simulated else []
        spans += [
            (" matrix ", "strong"),
            *([("FAULTS ONLY  ", "accent")] if self.faults_only else []),
            (f"{len(records)} hosts, {live} live  ", "text"),
            (f"{opened} of {total} services open  ", "text"),
            (f"{faults} with a fault", "bad" if faults else "good"),
            *([(f"  {app.bench_words}", "accent")] if app.bench_words else []),
        ]
        now = clock_text(app.wall_s(), utc=app.utc)
        room = width - row_width(spans) - len(now) - 1
        return [(*spans, (" " * room, "text"), (now, "muted"), (" ", "text"))] if room > 0 else [clip(spans, width)]


class MatrixScreen(Screen[None]):
    """The Matrix screen."""

    BINDINGS = keys.bindings("matrix")
    DEFAULT_CSS = """
    MatrixScreen { layout: vertical; }
    MatrixScreen ServiceGrid { height: 1fr; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }
    MatrixScreen CellDetail { border-top: ascii $secondary; height: auto; }
    MatrixScreen.low CellDetail { height: 4; }
    MatrixScreen.low Legend { display: none; }
    MatrixScreen.tiny CellDetail { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._counted_at_s = 0.0

    @property
    def deck(self) -> QuarterdeckApp:
        """The application with its own type."""
        return cast("QuarterdeckApp", self.app)

    @property
    def grid(self) -> ServiceGrid:
        """The grid."""
        return self.query_one(ServiceGrid)

    @property
    def host_id(self) -> str | None:
        """The host under the cursor."""
        return self.grid.cursor_host if self.is_mounted else None

    def compose(self) -> ComposeResult:
        """Title, grid, detail, legend, keys."""
        yield MatrixTitle(id="title")
        yield Banner(id="banner")
        yield ServiceGrid(id="grid")
        yield CellDetail(id="detail")
        yield Legend(self.deck.glyphs, id="legend")
        yield KeyBar("matrix", "app")

    # --- life ---

    @guarded
    def on_mount(self) -> None:
        """Start on the host that was selected before."""
        self.grid.cursor_host = self.deck.selected_host
        self.grid.take()
        self.call_after_refresh(self._settle)

    @guarded
    def _settle(self) -> None:
        grid = self.grid
        if grid.cursor_host is not None:
            grid.select(grid.cursor_host, grid.cursor_column)
        self._draw_rest()

    @guarded
    def on_screen_resume(self) -> None:
        """What changed while another screen was on top."""
        if self.is_mounted:
            self.grid.take()
            self.call_after_refresh(self._draw_rest)

    @guarded
    def on_resize(self, event: events.Resize) -> None:
        """Leave out what a small terminal has no room for."""
        self.set_class(event.size.height < _LOW, "low")
        self.set_class(event.size.height < _TINY, "tiny")
        self.call_after_refresh(self._draw_rest)

    @guarded
    def hosts_changed(self, dirty: set[str]) -> None:
        """The app's tick."""
        self.grid.take(dirty)
        now = time.monotonic()
        if now - self._counted_at_s >= _COUNT_S:
            self._counted_at_s = now
            self._draw_rest()

    def _record(self) -> HostRecord | None:
        host_id = self.grid.cursor_host
        return self.deck.fleet.hosts.get(host_id) if host_id is not None else None

    @guarded
    def _draw_rest(self) -> None:
        title, detail, banner = self.query_one(MatrixTitle), self.query_one(CellDetail), self.query_one(Banner)
        title.faults_only = self.grid.faults_only
        title.redraw()
        record = self._record()
        settings = self.deck.settings
        detail.view = None
        if record is not None:
            detail.view = View(record, self.deck.boot_s(), self.deck.glyphs, settings.thresholds, settings.intervals)
        column = self.grid.columns[self.grid.cursor_column]
        detail.service = "" if column == SSH_COLUMN else column
        detail.redraw()
        banner.display = bool(self.deck.banner)
        banner.refresh_changed()

    # --- what a person does ---

    @guarded
    def on_service_grid_moved(self) -> None:
        """Another cell: its detail."""
        self._draw_rest()

    @guarded
    def on_service_grid_opened(self) -> None:
        """A double click."""
        self.action_open()

    @guarded
    def action_back(self) -> None:
        """Show all hosts again, then leave."""
        if self.grid.faults_only:
            self.action_faults()
        else:
            self.dismiss()

    @guarded
    def action_open(self) -> None:
        """The Host screen of the row."""
        if self.grid.cursor_host is not None:
            self.deck.open_host(self.grid.cursor_host)

    @guarded
    def action_triage(self) -> None:
        """Why the host of the row is not reached."""
        if self.grid.cursor_host is not None:
            self.deck.open_triage([self.grid.cursor_host])

    @guarded
    def action_audit(self) -> None:
        """What the host of the row exposes."""
        if self.grid.cursor_host is not None:
            self.deck.open_audit([self.grid.cursor_host])

    @guarded
    def action_bench(self) -> None:
        """Measure this host."""
        if self.grid.cursor_host is not None:
            self.deck.open_bench([self.grid.cursor_host])

    @guarded
    def action_bench_check(self) -> None:
        """Quick validation of this host at once."""
        self.deck.open_bench_check(self.grid.cursor_host)

    @guarded
    def action_faults(self) -> None:
        """Only hosts with a fault, or all."""
        self.grid.faults_only = not self.grid.faults_only
        self.grid.take()
        self._draw_rest()

    @guarded
    def action_toggle_width(self) -> None:
        """Signs alone, or signs with words."""
        self.grid.words = not self.grid.shows_words
        self.grid.take()
        self._settle()

    @guarded
    def action_cursor(self, columns: int, rows: int) -> None:
        """Move by cells."""
        self.grid.move(columns, rows)

    @guarded
    def action_cursor_page(self, pages: int) -> None:
        """Move by pages."""
        self.grid.move(0, pages * max(self.grid.size.height - 2, 1))

    @guarded
    def action_cursor_edge(self, edge: int) -> None:
        """The first or last host."""
        self.grid.move(0, edge * len(self.grid.order))

    @guarded
    def action_probe(self) -> None:
        """Probe this host's services now."""
        if self.deck.backend is not None and self.grid.cursor_host is not None:
            self.deck.backend.probe_services(self.grid.cursor_host)

    @guarded
    def action_yank(self, what: str) -> None:
        """Copy the address, or the cell in words."""
        if self.grid.cursor_host is None:
            return
        if what != "error":
            self.deck.yank(self.grid.cursor_host, what)
            return
        text = " ".join(plain(self.query_one(CellDetail).rows).split())
        self.app.copy_to_clipboard(text)
        self.deck.say(f"copied (if the terminal allows it): {text}")
