"""History: past runs, newest first; compare two, follow one over time, open one, set a baseline. Deletes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from textual.app import ComposeResult  # noqa: TC002 - Textual reads the annotation
from textual.containers import VerticalScroll
from textual.screen import Screen

from benchmarks.errors import BenchError
from probes.text import clean
from tui import keys
from tui.bench_words import letter_text
from tui.format import clock_text
from tui.guard import guarded
from tui.history_filter import FIELDS, parse
from tui.widgets.bench_result import ResultPanel
from tui.widgets.folded import folded, tidy
from tui.widgets.header import Banner
from tui.widgets.history_text import ComparePanel, HistoryList, TrendHead, TrendRuns, count_words, trend_chart
from tui.widgets.key_bar import KeyBar
from tui.widgets.lines import LinesPanel, clip, row_width
from tui.widgets.result_chart import ResultChart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from textual import events

    from benchmarks.store import Row as StoredRow
    from tui.app import QuarterdeckApp
    from tui.bench_desk import BenchDesk
    from tui.filter_language import Filter
    from tui.widgets.lines import Row, Span
    from tui.widgets.prompt import Prompt

#: runs that are read at most
LIMIT: Final = 500
TINY: Final = (40, 10)
LIST, RUN, COMPARE, TREND = "list", "run", "compare", "trend"


class HistoryTitle(LinesPanel):
    """What is shown, and the time."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.news: list[Span] = []
        self.tiny = False
        self.failure = ""

    def build(self, width: int) -> list[Row]:
        """One line, and what went wrong."""
        app = cast("QuarterdeckApp", self.app)
        if self.tiny:
            return [clip([("history", "strong")], width), clip(self.news, width),
                    clip([("terminal too small", "warn")], width)]  # fmt: skip
        spans: list[Span] = [(" SIMULATED ", "simulated")] if app.simulated else []
        spans += [(" history ", "strong"), *self.news]
        if app.bench_words:
            spans.append((f"  {app.bench_words}", "accent"))
        now: Span = (clock_text(app.wall_s(), utc=app.utc) + " ", "muted")
        left = width - row_width(spans) - row_width([now])
        rows: list[Row] = [(*spans, (" " * left, "text"), now)] if left > 0 else [clip(spans, width)]
        if self.failure:
            rows += folded(self.failure, width, "text", head=[(f" {app.glyphs.levels[3]} ", "bad")], limit=4)
        return rows


class HistoryScreen(Screen[None]):
    """The History screen.

    Args:
        filter_text: an expression to begin with.
        compare: two sides to compare at once.
    """

    BINDINGS = keys.bindings("history")
    DEFAULT_CSS = """
    HistoryScreen { layout: vertical; }
    HistoryScreen VerticalScroll { height: 1fr; width: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    HistoryScreen.tiny VerticalScroll, HistoryScreen.tiny KeyBar, HistoryScreen.tiny Prompt { display: none; }
    """

    def __init__(self, filter_text: str = "", compare: tuple[str, str] | None = None) -> None:
        super().__init__()
        self._text, self._sides = filter_text, compare
        self._title, self._banner = HistoryTitle(id="title"), Banner(id="banner")
        self._list, self._result, self._compared = (
            HistoryList(id="list"),
            ResultPanel(id="result"),
            ComparePanel(id="compare"),
        )
        self._trend_head, self._chart, self._trend_runs = (
            TrendHead(id="trend"),
            ResultChart(id="chart"),
            TrendRuns(id="runs"),
        )
        self._body = VerticalScroll(id="body", can_focus=False)
        self._rows: Sequence[StoredRow] = ()
        self._more = self._loaded = False
        self._filter: Filter[StoredRow] | None = None
        self._before: Filter[StoredRow] | None = None
        #: run ids: A, then B
        self._marked: list[str] = []
        self._selected: str | None = None
        self._view = LIST
        #: what the store said against it, and what is wrong with the filter that was given
        self._failure = self._mistake = ""
        self._prompt: Prompt | None = None
        self._version = -1
        self._second = -1
        self._draw_waits = False

    @property
    def deck(self) -> QuarterdeckApp:
        """The application with its own type."""
        return cast("QuarterdeckApp", self.app)

    @property
    def desk(self) -> BenchDesk:
        """The owner of the store."""
        return self.deck.bench

    @property
    def tiny(self) -> bool:
        """Whether the terminal is too small for more than a few words."""
        return self.size.width < TINY[0] or self.size.height < TINY[1]

    def compose(self) -> ComposeResult:
        """Title, one of the views, keys."""
        yield self._title
        yield self._banner
        with self._body:
            yield self._list
            yield self._result
            yield self._compared
            yield self._trend_head
            yield self._chart
            yield self._trend_runs
        yield KeyBar("history", "app")

    # --- life ---

    @guarded
    def on_mount(self) -> None:
        """Read what is stored."""
        if self._text:
            try:
                self._filter = parse(self._text)
            except ValueError as error:
                self._mistake = f"filter {clean(str(error), 300)}"
        self._version = self.desk.version
        self.action_reload()
        if self._sides is not None:
            self._compare(*self._sides)

    def _soon(self, work: Callable[[], Awaitable[None]], what: str) -> None:
        """Ask the store in a task of its own; what it says against it stands in the title."""

        async def run() -> None:
            try:
                await work()
                self._failure = ""
            except BenchError as error:
                self._failure = clean(f"{what}: {error}", 500)
            self.draw_soon()

        self.deck.chore(run(), what)

    async def _load(self) -> None:
        try:
            rows = await self.desk.ask(lambda: self.desk.work.find(LIMIT + 1))
        finally:
            self._loaded = True
        self._rows, self._more = rows[:LIMIT], len(rows) > LIMIT
        known = {row.run_id for row in self._rows}
        self._marked = [run_id for run_id in self._marked if run_id in known]

    @guarded
    def hosts_changed(self, _dirty: set[str]) -> None:
        """The app's tick: the clock; a suite that ended has new runs."""
        if self.desk.version != self._version:
            self._version = self.desk.version
            self.action_reload()
        second = int(self.deck.wall_s())
        if second != self._second:
            self._second = second
            self.draw_soon()

    @guarded
    def on_screen_resume(self) -> None:
        """What happened while another screen was on top."""
        self.draw_soon()

    @guarded
    def on_resize(self, event: events.Resize) -> None:
        """Lay out for the new size."""
        del event
        self.draw_soon()

    def draw_soon(self) -> None:
        """Draw when the event loop comes to it."""
        if self.is_mounted and not self._draw_waits:
            self._draw_waits = True
            self.call_after_refresh(self._draw)

    # --- drawing ---

    @property
    def shown(self) -> list[StoredRow]:
        """The runs that the filter leaves."""
        wanted = self._filter
        return list(self._rows) if wanted is None else [row for row in self._rows if wanted.matches(row, 0.0)]

    @property
    def selected(self) -> StoredRow | None:
        """The run under the cursor."""
        shown = self.shown
        return next((row for row in shown if row.run_id == self._selected), shown[0] if shown else None)

    @property
    def host_id(self) -> str | None:
        """The host of the run under the cursor."""
        row = self.selected
        return row.host if row is not None and row.host in self.deck.fleet.hosts else None

    @guarded
    def _draw(self) -> None:
        self._draw_waits = False
        if not self.is_mounted or not self.is_current:
            return
        self.set_class(self.tiny, "tiny")
        shown = self.shown
        title = self._title
        title.tiny, title.news, title.failure = self.tiny, self._news(len(shown)), self._failure or self._mistake
        title.redraw()
        self._banner.display = bool(self.deck.banner)
        self._banner.refresh_changed()
        self._list.display, self._result.display = self._view == LIST, self._view == RUN
        self._compared.display = self._view == COMPARE
        self._trend_head.display = self._trend_runs.display = self._view == TREND
        self._chart.display = False
        self._list.glyphs = self._result.glyphs = self._compared.glyphs = self._trend_runs.glyphs = self.deck.glyphs
        draw = {LIST: self._draw_list, RUN: self._result.redraw, COMPARE: self._compared.redraw}
        draw.get(self._view, self._draw_trend)()

    def _news(self, count: int) -> list[Span]:
        if self._view == RUN:
            result = self._result.results[0]
            return [(f"run {tidy(result.run_id)}", "accent")]
        if self._view != LIST:
            return [({COMPARE: "comparison", TREND: "trend"}[self._view], "accent")]
        spans: list[Span] = [(count_words(count, len(self._rows), more=self._more), "text")]
        if self._filter is not None:
            spans.append((f"  /{tidy(self._filter.text)[:60]}", "accent"))
        if self._marked:
            spans.append((f"  {len(self._marked)} marked", "mark"))
        return spans

    def _draw_list(self) -> None:
        panel, shown = self._list, self.shown
        panel.shown, panel.marked = shown, self._marked
        row = self.selected
        panel.selected = shown.index(row) if row is not None else 0
        panel.empty, panel.empty_style = self._empty(), "muted"
        panel.redraw()

    def _empty(self) -> str:
        if not self._loaded:
            return "reading the stored runs"
        if self._failure:
            return "no run can be shown"
        return "no run fits the filter" if self._rows else "no run is stored yet: b on a host measures it"

    def _draw_trend(self) -> None:
        facts = self._trend_runs.facts
        chart = None if facts is None else trend_chart(facts)
        self._chart.display = chart is not None
        self._chart.styles.height = max(8, min(self.size.height // 2, 24))
        self._trend_head.redraw()
        self._trend_runs.redraw()
        if chart is not None:
            self.call_after_refresh(self._chart.show, chart, self.deck.boot_s())

    # --- what a person does ---

    @guarded
    def action_back(self) -> None:
        """To the list; then clear filter, then marks; then leave."""
        if self._prompt is not None:
            self._close_prompt()
        elif self._view != LIST:
            self._show(LIST)
        elif self._filter is not None:
            self._filter = None
            self.draw_soon()
        elif self._marked:
            self._marked.clear()
            self.draw_soon()
        else:
            self.dismiss()

    def _show(self, view: str) -> None:
        self._view = view
        self._failure = self._mistake = ""
        self._body.scroll_home(animate=False)
        self._draw()
        if view == LIST:
            self.call_after_refresh(self._show_selected)

    @guarded
    def action_reload(self) -> None:
        """Read the stored runs again."""
        self._soon(self._load, "the stored runs cannot be read")
        self.draw_soon()

    @guarded
    def action_open(self) -> None:
        """The run as a grade card."""
        row = self.selected
        if row is None or self._view != LIST:
            return

        async def work() -> None:
            result = await self.desk.ask(lambda: self.desk.work.get(row.run_id))
            baseline = await self.desk.ask(lambda: self.desk.work.baseline(result))
            self._result.results, self._result.baseline = (result,), baseline
            self._show(RUN)

        self._soon(work, "the run cannot be read")

    @guarded
    def action_mark(self) -> None:
        """Mark the run, or no longer; a third one takes the place of the first."""
        row = self.selected
        if row is None or self._view != LIST:
            return
        if row.run_id in self._marked:
            self._marked.remove(row.run_id)
        else:
            self._marked = [*self._marked[-1:], row.run_id]
        self.action_move(1)
        self._draw()

    def _two(self) -> tuple[StoredRow, StoredRow] | None:
        by_id = {row.run_id: row for row in self._rows}
        found = [by_id[run_id] for run_id in self._marked if run_id in by_id]
        if len(found) == 2:
            return found[0], found[1]
        self.deck.say("mark two runs with space: the first is A, the second B", bad=True)
        return None

    @guarded
    def action_compare(self) -> None:
        """Compare the two marked runs."""
        two = self._two()
        if two is not None:
            self._compare(two[0].run_id, two[1].run_id)

    @guarded
    def action_compare_labels(self) -> None:
        """Compare the labels of the two marked runs."""
        two = self._two()
        if two is None:
            return
        a, b = two[0].label, two[1].label
        if not a or not b or a == b:
            self.deck.say("the two marked runs need a label each, and not the same", bad=True)
        else:
            self._compare(f"label:{a}", f"label:{b}")

    def _compare(self, a: str, b: str) -> None:
        async def work() -> None:
            self._compared.comparisons = await self.desk.ask(lambda: self.desk.work.compare(a, b))
            self._show(COMPARE)

        self._soon(work, "nothing was compared")

    @guarded
    def action_trend(self) -> None:
        """The figure of this run's configuration on its host, over time."""
        row = self.selected
        if row is None:
            return

        async def work() -> None:
            facts = await self.desk.ask(lambda: self.desk.work.trend(row.run_id))
            self._trend_head.facts = self._trend_runs.facts = facts
            self._show(TREND)

        self._soon(work, "no trend")

    @guarded
    def action_baseline(self) -> None:
        """Make this run the baseline."""
        row = self.selected
        if row is None:
            return

        async def work() -> None:
            result = await self.desk.ask(lambda: self.desk.work.set_baseline(row.run_id))
            letter = letter_text(result.grade, result.validity.verdict)
            self.deck.say(f"baseline of {result.case} on {result.target.host}: {result.run_id} ({letter})")
            await self._load()

        self._soon(work, "no baseline was set")

    @guarded
    def action_yank(self) -> None:
        """Copy the run id."""
        row = self.selected
        if row is None:
            self.deck.say("there is no run to copy the id of")
        else:
            self.deck.copy_text(row.run_id)

    # --- moving ---

    @guarded
    def action_move(self, step: int) -> None:
        """Another run; in a view scroll."""
        if self._view != LIST:
            self._body.scroll_relative(y=step, animate=False)
            return
        shown, row = self.shown, self.selected
        if row is not None:
            self._selected = shown[min(max(shown.index(row) + step, 0), len(shown) - 1)].run_id
            self._draw()
            self.call_after_refresh(self._show_selected)

    @guarded
    def _show_selected(self) -> None:
        """Scroll to the cursor; the titles are the first line."""
        at, height = self._list.selected + 1, self._body.size.height
        if at <= self._body.scroll_y:
            self._body.scroll_to(y=0 if at == 1 else at, animate=False)
        elif at >= self._body.scroll_y + height:
            self._body.scroll_to(y=at - height + 1, animate=False)

    @guarded
    def action_scroll_page(self, pages: int) -> None:
        """By pages."""
        self.action_move(pages * max(self._body.size.height - 2, 1))

    @guarded
    def action_scroll_edge(self, edge: int) -> None:
        """The first or the last."""
        if self._view == LIST:
            self.action_move(edge * len(self._rows))
        else:
            self._body.scroll_to(y=0 if edge < 0 else self._body.max_scroll_y, animate=False)

    # --- the filter ---

    @guarded
    def action_filter(self) -> None:
        """Open the prompt; what is typed filters at once as long as it can be understood."""
        if self._view != LIST:
            self._show(LIST)
        if self._prompt is not None:
            self._prompt.input.focus()
            return
        from tui.widgets.prompt import Prompt  # noqa: PLC0415 - when first used

        self._before = self._filter
        self._prompt = Prompt("/", self._filter.text if self._filter else "")
        self.mount(self._prompt, before=self.query_one(KeyBar))
        self.call_after_refresh(self._focus_prompt)

    @guarded
    def _focus_prompt(self) -> None:
        if self._prompt is not None:
            self._prompt.input.focus()
            self._prompt.say(", ".join(FIELDS))

    def _try(self, text: str) -> bool:
        try:
            self._filter = parse(text)
            self._mistake = ""
        except ValueError as error:
            if self._prompt is not None:
                self._prompt.say(clean(str(error)), wrong=True)
            return False
        if self._prompt is not None:
            self._prompt.say(count_words(len(self.shown), len(self._rows), more=self._more))
        self.draw_soon()
        return True

    @guarded
    def on_prompt_changed(self, event: Prompt.Changed) -> None:
        """Filter while typing; a mistake is said with its place, the filter before stays."""
        event.stop()
        if self._prompt is not None and event.value:
            self._try(event.value)

    @guarded
    def on_prompt_accepted(self, event: Prompt.Accepted) -> None:
        """Keep the filter, unless it cannot be understood."""
        event.stop()
        if self._try(event.value):
            self._close_prompt()

    @guarded
    def on_prompt_left(self) -> None:
        """Back to the filter from before."""
        self._filter = self._before
        self._close_prompt()

    def _close_prompt(self) -> None:
        prompt, self._prompt = self._prompt, None
        if prompt is not None:
            prompt.remove()
        self.draw_soon()
