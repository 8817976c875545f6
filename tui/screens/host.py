"""One host: what it does, since when, how we know, and why something is not known.

The overview holds every section; a digit shows one section alone. The screen has no timer of its own: the app's tick
calls ``hosts_changed`` while the screen is on top, and a suspended screen costs nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, cast

from textual.app import ComposeResult  # noqa: TC002 - Textual reads the annotation
from textual.containers import Vertical, VerticalScroll
from textual.screen import Screen

from probes.judge.drift import majorities
from probes.model import LinkState
from tui import keys
from tui.glyphs import WORDS
from tui.guard import guarded
from tui.rows import Row as BoardRow
from tui.widgets.core_bars import CpuPanel
from tui.widgets.facts import SystemPanel
from tui.widgets.gpu_cards import GpuCards
from tui.widgets.header import Banner
from tui.widgets.host_chart import chart_of, kinds_of
from tui.widgets.key_bar import KeyBar
from tui.widgets.lines import LinesPanel, View, clip
from tui.widgets.link_header import LinkHeader
from tui.widgets.process_table import ORDERS, ProcessTable
from tui.widgets.result_chart import ResultChart
from tui.widgets.section_tabs import SectionTabs
from tui.widgets.service_list import ServiceList
from tui.widgets.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from probes.fleet import HostRecord
    from tui.app import QuarterdeckApp
    from tui.widgets.lines import Row

SECTIONS: Final = ("overview", "GPUs", "CPU", "processes", "services", "system", "chart")
#: values are drawn when a sample came, at most this often; ages at least this often
_REDRAW_S: Final = 0.5
_AGES_S: Final = 1.0
_MAJORITY_S: Final = 5.0
_WIDE: Final = 150
#: lines of the chart in the overview, twice as many where there is room
_CHART: Final = 13


class EmptyState(LinesPanel):
    """What is shown instead of values while there are none."""

    def build(self, width: int) -> list[Row]:
        """What is waited for; cause and next step stand in the header."""
        view = self.view
        if view is None or view.record.sample is not None:
            return []
        link = view.record.link
        rows: list[Row] = [(), clip([("  No sample was received from this host yet.", "strong")], width)]
        if link.state is LinkState.CONNECTING:
            words = "  Values appear here with the first sample."
        elif link.state is LinkState.PAUSED:
            words = "  Paused: nothing is read until it is resumed (p)."
        else:
            words = f"  It is {WORDS[link.state][0]}; what was seen and what to do stand above."
        return [*rows, clip([(words, "muted")], width), ()]


class HostScreen(Screen[None]):
    """The Host screen.

    Args:
        host_id: the host.
        order: ids that next and previous step through; empty: as the fleet screen shows them now.
    """

    BINDINGS = keys.bindings("host")
    DEFAULT_CSS = """
    HostScreen { layout: vertical; }
    HostScreen #body { height: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    HostScreen #columns { layout: vertical; height: auto; }
    HostScreen #columns Vertical { height: auto; width: 1fr; }
    HostScreen .wide #columns { layout: horizontal; }
    HostScreen .wide #left { margin-right: 2; }
    HostScreen #body.zoomed Vertical { height: auto; }
    """

    def __init__(self, host_id: str, order: Sequence[str] = ()) -> None:
        super().__init__()
        # kept, not queried: nested widgets are mounted after their screen
        self._body = VerticalScroll(id="body", can_focus=False)
        self._columns, self._left, self._right = Vertical(id="columns"), Vertical(id="left"), Vertical(id="right")
        self._tabs, self._banner = SectionTabs(SECTIONS, id="tabs"), Banner(id="banner")
        self._gpus, self._cpu, self._chart = GpuCards(id="gpus"), CpuPanel(id="cpu"), ResultChart(id="chart")
        self._processes, self._services = ProcessTable(id="processes"), ServiceList(id="services")
        self._system, self._vitals = SystemPanel(id="system"), Vitals(id="vitals")
        self._link, self._empty = LinkHeader(id="link"), EmptyState(id="empty")
        self._panels: tuple[LinesPanel, ...] = (
            self._link, self._tabs, self._empty, self._vitals, self._gpus, self._processes, self._cpu, self._services,
            self._system,
        )  # fmt: skip
        self.host_id = host_id
        self._order = tuple(order)
        self.section = 0
        self._kind = 0
        self._position = 0
        self._pending = True
        self._drawn_at_s = 0.0
        self._common_at_s = -_MAJORITY_S
        self._asked: str | None = None
        self._gone = False

    @property
    def deck(self) -> QuarterdeckApp:
        """The application with its own type."""
        return cast("QuarterdeckApp", self.app)

    @property
    def record(self) -> HostRecord | None:
        """The host's record; None after it left the configuration."""
        return self.deck.fleet.hosts.get(self.host_id)

    def compose(self) -> ComposeResult:
        """Header, sections, body, keys."""
        yield self._link
        yield self._banner
        yield self._tabs
        with self._body:
            yield self._empty
            yield self._vitals
            yield self._gpus
            with self._columns:
                with self._left:
                    yield self._chart
                    yield self._processes
                with self._right:
                    yield self._cpu
                    yield self._services
                    yield self._system
        yield KeyBar("host", "app")

    # --- life ---

    @guarded
    def on_mount(self) -> None:
        """Keep the order in which the fleet screen shows the hosts: stepping must not be a game of chance."""
        if not self._order:
            self._order = tuple(line.record.host.id for line in self.deck.board.lines if isinstance(line, BoardRow))
        self._arrange()

    @guarded
    def on_screen_resume(self) -> None:
        """Ask for the process list and catch up."""
        self._want(self.host_id)
        self._pending = True
        self.call_after_refresh(self._draw)

    @guarded
    def on_screen_suspend(self) -> None:
        """Nobody looks: the process list may slow down."""
        self._want(None)

    @guarded
    def on_unmount(self) -> None:
        """The same when the screen is closed."""
        self._want(None)

    @guarded
    def on_resize(self, event: events.Resize) -> None:
        """Lay out for the new size."""
        del event
        self._arrange()
        self.call_after_refresh(self._draw)

    def _want(self, host_id: str | None) -> None:
        backend = self.deck.backend
        if backend is None or host_id == self._asked:
            return
        if self._asked is not None:
            backend.want_processes(self._asked, False)
        if host_id is not None:
            backend.want_processes(host_id, True)
        self._asked = host_id

    @guarded
    def hosts_changed(self, dirty: set[str]) -> None:
        """The app's tick: draw when this host changed, and once a second for the ages."""
        self._pending = self._pending or self.host_id in dirty
        since_s = time.monotonic() - self._drawn_at_s
        if since_s >= _AGES_S or (self._pending and since_s >= _REDRAW_S):
            self._draw()

    # --- drawing ---

    def _arrange(self) -> None:
        width, height = self.size.width, self.size.height
        body = self._body
        body.set_class(width >= _WIDE and self.section == 0, "wide")
        sections = (self._gpus, self._cpu, self._processes, self._services, self._system, self._chart)
        for number, panel in enumerate(sections, start=1):
            panel.display = self.section in (0, number)
        self._left.display = self.section in (0, 3, 6)
        self._right.display = self.section in (0, 2, 4, 5)
        self._columns.display = self.section != 1
        zoomed = self.section != 0
        wide = width >= _WIDE
        self._gpus.zoomed = zoomed
        self._gpus.small = not wide and not zoomed
        self._vitals.display = not wide and not zoomed
        self._system.limit = None if zoomed else 6
        self._processes.limit = None if zoomed else max(8, min(24, height - 37))
        self._chart.styles.height = max(height - 6, 6) if zoomed else _CHART
        self._tabs.active = self.section

    def view(self, record: HostRecord) -> View:
        """The host now, ready to be drawn."""
        deck = self.deck
        settings = deck.settings
        return View(record, deck.boot_s(), deck.glyphs, settings.thresholds, settings.intervals, deck.utc)

    @guarded
    def _draw(self) -> None:
        if not self.is_mounted or not self.is_current:
            return
        record = self.record
        if record is None:
            self._leave()
            return
        if self._asked != self.host_id:
            self._want(self.host_id)
        self._pending = False
        self._drawn_at_s = time.monotonic()
        view = self.view(record)
        self._prepare(view)
        banner = self._banner
        banner.display = bool(self.deck.banner)
        banner.refresh_changed()
        for panel in self._panels:
            panel.view = view
            panel.redraw()
        self._fit_chart()
        self._draw_chart(view)

    def _fit_chart(self) -> None:
        """On a wide screen the chart takes the lines that nothing else needs."""
        if self.section or self.size.width < _WIDE:
            return
        body = self._body.size.height
        if not self._gpus.rows:  # not laid out yet
            return
        spare = body - len(self._gpus.rows) - len(self._processes.rows)
        height = min(max(spare, _CHART), 2 * _CHART)
        chart = self._chart
        if chart.styles.height is None or chart.styles.height.value != height:
            chart.styles.height = height

    def _prepare(self, view: View) -> None:
        sample = view.record.sample
        gpus = 0 if sample is None else len(sample.gpus)
        self._position = min(self._position, max(gpus - 1, 0))
        self._gpus.selected = self._position
        spare = self.size.height - 34 if self.size.width >= _WIDE else self.size.height - 24
        self._cpu.history_lines = min(max(spare, 4), 12) if sample is not None and not gpus else 2
        if view.now_s - self._common_at_s >= _MAJORITY_S:
            self._common_at_s = view.now_s
            self._system.common = majorities(self.deck.fleet.hosts.values())

    def _draw_chart(self, view: View) -> None:
        widget = self._chart
        widget.display = view.record.sample is not None and self.section in (0, 6)
        if not widget.display or not self._in_sight(widget):
            return
        sample = view.record.sample
        kinds = kinds_of(len(sample.gpus) if sample is not None else 0)
        chart = chart_of(view, kinds[self._kind % len(kinds)], self._position)
        if chart is not None:
            widget.show(chart, view.now_s)

    def _in_sight(self, widget: ResultChart) -> bool:
        return widget.region.overlaps(self._body.region)

    def _leave(self) -> None:
        if not self._gone:
            self._gone = True
            self.notify(f"{self.host_id} is no longer configured", markup=False)
            self.dismiss()

    # --- what a person does ---

    @guarded
    def action_back(self) -> None:
        """From one section to the overview, from the overview to the fleet."""
        if self.section:
            self.action_section(0)
        else:
            self.dismiss()

    @guarded
    def action_section(self, number: int) -> None:
        """Show one section alone; the same again, or 0, is the overview."""
        self.section = 0 if number == self.section else number
        self._arrange()
        self._body.scroll_home(animate=False)
        self.call_after_refresh(self._draw)

    @guarded
    def action_host_step(self, step: int) -> None:
        """The next host, round and round."""
        hosts = self.deck.fleet.hosts
        order = [host_id for host_id in self._order if host_id in hosts] or list(hosts)
        at = order.index(self.host_id) if self.host_id in order else 0
        self.host_id = order[(at + step) % len(order)]
        self._kind = self._position = 0
        self._want(self.host_id)
        self._body.scroll_home(animate=False)
        self._draw()

    @guarded
    def action_chart_series(self, step: int) -> None:
        """The next chart."""
        self._kind += step
        self._draw()

    @guarded
    def action_chart_gpu(self, step: int) -> None:
        """The chart of the next GPU."""
        record = self.record
        gpus = 0 if record is None or record.sample is None else len(record.sample.gpus)
        if gpus:
            self._position = (self._position + step) % gpus
            self._draw()

    @guarded
    def action_process_order(self) -> None:
        """Sort the process list by something else."""
        table = self._processes
        table.order = ORDERS[(ORDERS.index(table.order) + 1) % len(ORDERS)]
        self._draw()

    @guarded
    def action_scroll_body(self, lines: int) -> None:
        """Scroll by lines."""
        self._body.scroll_relative(y=lines, animate=False)
        self.call_after_refresh(self._draw)

    @guarded
    def action_scroll_page(self, pages: int) -> None:
        """Scroll by pages."""
        body = self._body
        body.scroll_relative(y=pages * max(body.size.height - 1, 1), animate=False)
        self.call_after_refresh(self._draw)

    @guarded
    def action_scroll_edge(self, edge: int) -> None:
        """Scroll to the first or last line."""
        body = self._body
        body.scroll_to(y=0 if edge < 0 else body.max_scroll_y, animate=False)
        self.call_after_refresh(self._draw)

    @guarded
    def on_section_tabs_chosen(self, message: SectionTabs.Chosen) -> None:
        """A section was clicked."""
        self.action_section(message.number)

    @guarded
    def on_gpu_cards_chosen(self, message: GpuCards.Chosen) -> None:
        """A card was clicked."""
        self._position = message.position
        self._draw()

    @guarded
    def action_triage(self) -> None:
        """Why this host is not reached."""
        self.deck.open_triage([self.host_id])

    @guarded
    def action_audit(self) -> None:
        """What this host exposes."""
        self.deck.open_audit([self.host_id])

    @guarded
    def action_bench(self) -> None:
        """Measure this host."""
        self.deck.open_bench([self.host_id])

    @guarded
    def action_bench_check(self) -> None:
        """Quick validation of this host at once."""
        self.deck.open_bench_check(self.host_id)

    @guarded
    def action_pause(self) -> None:
        """Pause or resume this host."""
        self.deck.pause_hosts([self.host_id])

    @guarded
    def action_reconnect(self) -> None:
        """Drop the connection and connect now."""
        self.deck.reconnect_hosts([self.host_id])

    @guarded
    def action_probe(self) -> None:
        """Probe this host's services now."""
        if self.deck.backend is not None:
            self.deck.backend.probe_services(self.host_id)

    @guarded
    def action_shell(self) -> None:
        """Run ssh to this host."""
        self.deck.shell_soon(self.host_id)

    @guarded
    def action_yank(self, what: str) -> None:
        """Copy the address, the error or the ssh command."""
        self.deck.yank(self.host_id, what)
