"""Bench: choose what is measured where, watch it, read the grade. What runs goes on when the screen is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from textual.app import ComposeResult  # noqa: TC002 - Textual reads the annotation
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen

from benchmarks.errors import BenchError
from benchmarks.multi import nodes_summary
from probes.text import clean
from tui import keys
from tui.bench_form import BENCHMARK, HOSTS, Form, FormError
from tui.guard import guarded
from tui.widgets.bench_form_text import FormPanel
from tui.widgets.bench_live import LivePanel
from tui.widgets.bench_result import ResultPanel
from tui.widgets.bench_title import BenchTitle
from tui.widgets.folded import tidy
from tui.widgets.header import Banner
from tui.widgets.key_bar import KeyBar
from tui.widgets.section_tabs import SectionTabs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from benchmarks.result import Result
    from benchmarks.suite import JobState
    from tui.app import QuarterdeckApp
    from tui.bench_desk import BenchDesk
    from tui.bench_form import Field, Order
    from tui.widgets.prompt import Prompt

PANES: Final = ("set up", "run", "result")
SET_UP, RUN, RESULT = 1, 2, 3
TINY: Final = (40, 10)
#: from this width on run and result stand side by side
_BESIDE: Final = 150


class BenchScreen(Screen[None]):
    """The Bench screen.

    Args:
        host_ids: whom to measure.
        benchmark: which benchmark is chosen at first; empty: the first there is.
        check: start the quick validation of the first host at once.
    """

    BINDINGS = keys.bindings("bench")
    #: what ends while this screen is on top need not be announced
    shows_bench = True
    DEFAULT_CSS = """
    BenchScreen { layout: vertical; }
    BenchScreen #columns { height: 1fr; }
    BenchScreen VerticalScroll { height: 1fr; width: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    BenchScreen #side { margin-left: 1; }
    BenchScreen.tiny #columns, BenchScreen.tiny #tabs, BenchScreen.tiny KeyBar { display: none; }
    """

    def __init__(self, host_ids: Sequence[str], benchmark: str = "", *, check: bool = False) -> None:
        super().__init__()
        self._wanted = tuple(host_ids)
        self._benchmark, self._check = benchmark, check
        self.form: Form | None = None
        self._title, self._banner = BenchTitle(id="title"), Banner(id="banner")
        self._tabs = SectionTabs(PANES, id="tabs")
        self._tabs.numbers = (SET_UP, RUN, RESULT)
        self._form, self._live, self._result = FormPanel(id="form"), LivePanel(id="live"), ResultPanel(id="result")
        self._columns = Horizontal(id="columns")
        self._body = VerticalScroll(id="body", can_focus=False)
        self._side = VerticalScroll(id="side", can_focus=False)
        #: None: what is newest
        self._active: int | None = None
        self._job = 0
        self._prompt: Prompt | None = None
        self._editing = ""
        self._previews = 0
        self._drawn: tuple[object, ...] = ()
        self._draw_waits = False

    @property
    def deck(self) -> QuarterdeckApp:
        """The application with its own type."""
        return cast("QuarterdeckApp", self.app)

    @property
    def desk(self) -> BenchDesk:
        """The owner of what runs."""
        return self.deck.bench

    @property
    def tiny(self) -> bool:
        """Whether the terminal is too small for more than a few words."""
        return self.size.width < TINY[0] or self.size.height < TINY[1]

    def compose(self) -> ComposeResult:
        """Title, panes, keys."""
        yield self._title
        yield self._banner
        yield self._tabs
        with self._columns:
            with self._body:
                yield self._form
                yield self._live
            with self._side:
                yield self._result
        yield KeyBar("bench", "app")

    # --- what is shown ---

    @property
    def host_id(self) -> str | None:
        """The host the keys are about."""
        job = self.job
        if job is not None and self.active != SET_UP:
            return job.plan.host.id
        hosts = self._wanted if self.form is None else self.form.host_ids
        return hosts[0] if hosts else None

    @property
    def job(self) -> JobState | None:
        """The selected job of the suite."""
        suite = self.desk.suite
        if suite is None or not suite.jobs:
            return None
        self._job = min(self._job, len(suite.jobs) - 1)
        return suite.jobs[self._job]

    @property
    def results(self) -> Sequence[Result]:
        """The results of the selected job."""
        return () if self.job is None else self.job.results

    @property
    def active(self) -> int:
        """The pane in front."""
        if self._active is not None:
            return self._active
        if self.desk.busy or (self.desk.suite is not None and not self.results):
            return RUN
        return RESULT if self.results else SET_UP

    @property
    def beside(self) -> bool:
        """Whether run and result stand side by side."""
        return self.size.width >= _BESIDE and self.active != SET_UP and bool(self.results)

    # --- life ---

    @guarded
    def on_mount(self) -> None:
        """What runs is shown; else the form."""
        self._active = None if self.desk.busy or self._check else SET_UP
        self.deck.chore(self._load(), "benchmarks")
        self.draw_soon()

    async def _load(self) -> None:
        try:
            definitions = await self.desk.load()
            if not definitions:
                self._form.empty = "there is no benchmark in this build"
                return
            self.form = Form(definitions, [h for h in self._wanted if h in self.deck.fleet.hosts])
            if self._benchmark:
                self.form.choose(self._benchmark)
            if self._check and self._wanted:
                self._check_host(self._wanted[0])
        except (BenchError, FormError) as error:
            self._form.empty = clean(str(error), 500)
        finally:
            self._changed()

    @guarded
    def hosts_changed(self, _dirty: set[str]) -> None:
        """The app's tick, four times a second while this screen is on top: drawn only when something is new."""
        state = (*self.desk.state, int(self.deck.wall_s()))
        if state != self._drawn or self._live.behind:
            self._drawn = state
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

    @guarded
    def _draw(self) -> None:
        self._draw_waits = False
        if not self.is_mounted or not self.is_current:
            return
        self.set_class(self.tiny, "tiny")
        active, beside, glyphs = self.active, self.beside, self.deck.glyphs
        title = self._title
        title.desk, title.host_id, title.tiny = self.desk, self.host_id or "", self.tiny
        title.redraw()
        self._banner.display = bool(self.deck.banner)
        self._banner.refresh_changed()
        if self.tiny:
            return
        self._tabs.active = active
        self._tabs.redraw()
        self._form.display, self._live.display = active == SET_UP, active == RUN or beside
        self._side.display = active == RESULT or beside
        self._body.display = active != RESULT or beside
        for panel in (self._form, self._live, self._result):
            panel.glyphs = glyphs
        self._draw_form()
        self._draw_run()
        result = self._result
        result.results, result.empty = self.results, self._no_result()
        suite = self.desk.suite
        result.together = () if suite is None or not suite.over else nodes_summary(suite)
        result.redraw()

    def _draw_form(self) -> None:
        panel = self._form
        panel.form = self.form
        panel.empty = panel.empty or "reading the benchmarks"
        if self.form is not None:
            panel.production = self.desk.production(self.form.host_ids)
        panel.redraw()

    def _draw_run(self) -> None:
        live, suite = self._live, self.desk.suite
        job = self.job
        live.suite, live.selected = suite, self._job
        # what title, tabs and keys leave; the size of the container is that of the layout before
        live.room = max(self.size.height - len(self._title.rows) - 2 - (1 if self._banner.display else 0), 6)
        live.gpu_why = "" if job is None or job.gpu else self.desk.work.gpu_why(job.plan.host.id)
        if self.desk.busy:
            live.empty = ("planning, and starting the engine",)
        else:
            live.empty = tuple(filter(None, (self.desk.refusal, "nothing runs: s starts what is set up")))
        live.redraw()

    def _no_result(self) -> str:
        if self.desk.busy:
            return "no result yet: the run goes on"
        return "no result: see run" if self.desk.suite is not None else "nothing was run yet"

    # --- the form ---

    @property
    def _field(self) -> Field | None:
        if self.form is None or self.active != SET_UP:
            return None
        fields = self.form.fields()
        return fields[min(self._form.selected, len(fields) - 1)]

    def _changed(self) -> None:
        """Something in the form: what it would run is planned anew, in a thread."""
        self._previews += 1
        self.draw_soon()
        if self.form is not None:
            self.deck.chore(self._preview(self.form, self._previews), "preview")

    async def _preview(self, form: Form, number: int) -> None:
        plan, refusal = None, ""
        try:
            order = form.order()
            # one host stands for all; together it cannot be planned alone
            hosts = self.desk.hosts(order.host_ids[: 2 if order.together else 1])
            plan = await self.desk.ask(lambda: self.desk.work.plan(order, hosts))
        except (BenchError, FormError) as error:
            refusal = clean(str(error), 500)
        if number == self._previews:
            self._form.plan, self._form.refusal = plan, refusal
            self.draw_soon()

    @guarded
    def action_edit(self) -> None:
        """Change the selected line: pick, or type."""
        field = self._field
        if self.form is None or field is None or self._prompt is not None:
            return
        from tui.screens.dialogs import Pick, PickMany  # noqa: PLC0415 - when first used

        self._editing = field.name
        if field.name == HOSTS:
            choices = [(host_id, tidy(host_id)) for host_id in self.deck.fleet.hosts]
            self.app.push_screen(PickMany("hosts to measure", choices, self.form.host_ids), self._hosts_picked)
        elif field.parameter.kind == "choice":
            titles = {one.id: f"{one.id:<14} {one.title}" for one in self.form.definitions}
            named = [
                (each, tidy(titles.get(each, each) if field.name == BENCHMARK else each))
                for each in field.parameter.choices
            ]
            self.app.push_screen(Pick(field.parameter.title, named, field.shown), self._picked)
        else:
            self._open_prompt(field)

    def _hosts_picked(self, host_ids: tuple[str, ...] | None) -> None:
        if host_ids is not None and self.form is not None:
            self.form.host_ids = host_ids
            self._changed()

    def _picked(self, value: str | None) -> None:
        if value is None or self.form is None:
            return
        field = next(one for one in self.form.fields() if one.name == self._editing)
        choices = field.parameter.choices
        self.form.step(self._editing, choices.index(value) - choices.index(field.shown))
        self._changed()

    def _open_prompt(self, field: Field) -> None:
        from tui.widgets.prompt import Prompt  # noqa: PLC0415 - when first used

        self._prompt = Prompt(f"{field.parameter.title}: ", field.value)
        self.mount(self._prompt, before=self.query_one(KeyBar))
        self.call_after_refresh(self._focus_prompt, field)

    @guarded
    def _focus_prompt(self, field: Field) -> None:
        if self._prompt is not None:
            self._prompt.input.focus()
            self._prompt.say(tidy(f"default {field.parameter.default or 'none'}; {field.parameter.help}").rstrip("; "))

    @guarded
    def on_prompt_changed(self, event: Prompt.Changed) -> None:
        """Nothing yet."""
        event.stop()

    @guarded
    def on_prompt_accepted(self, event: Prompt.Accepted) -> None:
        """Take the value; a mistake is shown below it and keeps it from being run."""
        event.stop()
        if self.form is not None:
            self.form.set(self._editing, event.value)
        self._close_prompt()

    @guarded
    def on_prompt_left(self) -> None:
        """As it was."""
        self._close_prompt()

    def _close_prompt(self) -> None:
        prompt, self._prompt = self._prompt, None
        if prompt is not None:
            prompt.remove()
        self._changed()

    # --- starting and ending ---

    @guarded
    def action_start(self) -> None:
        """Start what is chosen."""
        if self.form is None:
            self.deck.say("there is nothing to start yet", bad=True)
            return
        try:
            order = self.form.order()
        except FormError as error:
            self.deck.say(f"not started: {clean(str(error))}", bad=True)
            return
        self._start(order)

    @guarded
    def action_bench_check(self) -> None:
        """Quick validation of this host at once."""
        if self.host_id is None:
            self.deck.say("no host is chosen", bad=True)
        else:
            self._check_host(self.host_id)

    def _check_host(self, host_id: str) -> None:
        if self.desk.busy:
            self._busy()
        else:
            self.deck.chore(self._quick(host_id), "quick validation")

    async def _quick(self, host_id: str) -> None:
        try:
            order = await self.desk.quick(host_id)
        except BenchError as error:
            self.desk.refuse(str(error))
            self._active = RUN
            self.draw_soon()
        else:
            self._start(order)

    def _busy(self) -> None:
        self.deck.say(f"not started: {self.desk.words} runs; x cancels it", bad=True)

    def _start(self, order: Order) -> None:
        """Start; a production host asks first."""
        if self.desk.busy:
            self._busy()
            return
        production = self.desk.production(order.host_ids)
        if not production:
            self._begin(order)
            return
        from tui.screens.dialogs import TypedYes  # noqa: PLC0415 - when first used

        names = ", ".join(map(tidy, production[:8])) + (f" and {len(production) - 8} more" if production[8:] else "")
        question = f"{order.request.benchmark} ({order.request.mode}) would load {names}. Type yes to go on."
        self.app.push_screen(
            TypedYes("production", question), lambda yes: self._begin(order) if yes else self._declined()
        )

    @guarded
    def _begin(self, order: Order) -> None:
        if not self.desk.start(order):
            self._busy()
            return
        self._active, self._job, self._result.selected = None, 0, 0
        self._body.scroll_home(animate=False)
        self._side.scroll_home(animate=False)
        self.draw_soon()

    @guarded
    def _declined(self) -> None:
        self.deck.say("not started: a production host was not confirmed")
        self._active = SET_UP
        self.draw_soon()

    @guarded
    def action_cancel(self) -> None:
        """End what runs; what it measured is kept."""
        if self.desk.cancel():
            self.deck.say("cancelling: what was measured is kept, marked INVALID")
        else:
            self.deck.say("nothing runs")
        self.draw_soon()

    @guarded
    def action_back(self) -> None:
        """Leave; what runs goes on."""
        if self._prompt is not None:
            self._close_prompt()
            return
        if self.desk.busy:
            self.deck.say(f"{self.desk.words} goes on; b shows it again")
        self.dismiss()

    # --- moving ---

    @property
    def scrolled(self) -> VerticalScroll:
        """The pane in front."""
        return self._side if self.active == RESULT else self._body

    @guarded
    def action_move(self, step: int) -> None:
        """The next line of the form or host of the suite; in a result scroll."""
        if self.active == SET_UP and self.form is not None:
            self._form.selected = min(max(self._form.selected + step, 0), len(self.form.fields()) - 1)
            self._draw()
            self.call_after_refresh(self._show_selected)
        elif self.active == RUN:
            self.action_host_step(step, around=False)
        else:
            self.scrolled.scroll_relative(y=step, animate=False)

    @guarded
    def _show_selected(self) -> None:
        rows = self._form.selected_rows
        if rows is None:
            return
        if rows[0] < self._body.scroll_y:
            self._body.scroll_to(y=rows[0], animate=False)
        elif rows[1] > self._body.scroll_y + self._body.size.height:
            self._body.scroll_to(y=rows[1] - self._body.size.height, animate=False)

    @guarded
    def action_value(self, step: int) -> None:
        """The next value of a choice, or the next result."""
        field = self._field
        if field is not None and self.form is not None:
            if field.parameter.kind == "choice":
                self.form.step(field.name, step)
                self._changed()
        elif self.results:
            self._result.selected = (self._result.shown + step) % len(self.results)
            self._side.scroll_home(animate=False)
            self.draw_soon()

    @guarded
    def action_host_step(self, step: int, *, around: bool = True) -> None:
        """Another host of the suite."""
        suite = self.desk.suite
        if suite is None:
            return
        at, last = self._job + step, len(suite.jobs) - 1
        self._job = at % (last + 1) if around else min(max(at, 0), last)
        self._result.selected = 0
        self.draw_soon()

    @guarded
    def action_pane(self, number: int) -> None:
        """Show a pane."""
        self._active = number
        self.draw_soon()

    @guarded
    def action_pane_step(self, step: int) -> None:
        """The next pane, round and round."""
        numbers = self._tabs.numbers
        self.action_pane(numbers[(numbers.index(self.active) + step) % len(numbers)])

    @guarded
    def on_section_tabs_chosen(self, message: SectionTabs.Chosen) -> None:
        """A pane was clicked."""
        self.action_pane(message.number)

    @guarded
    def action_yank(self) -> None:
        """Copy the run id."""
        if self.results:
            self.deck.copy_text(self.results[self._result.shown].run_id)
        else:
            self.deck.say("there is no result to copy the id of")

    @guarded
    def action_scroll_page(self, pages: int) -> None:
        """Scroll by pages."""
        body = self.scrolled
        body.scroll_relative(y=pages * max(body.size.height - 1, 1), animate=False)

    @guarded
    def action_scroll_edge(self, edge: int) -> None:
        """Scroll to the first or last line."""
        body = self.scrolled
        body.scroll_to(y=0 if edge < 0 else body.max_scroll_y, animate=False)
