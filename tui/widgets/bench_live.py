"""A running benchmark: every host with its state, and the selected one's progress, plot and GPUs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.suite import OVER
from tui.bench_words import (
    STATE_STYLES,
    STATE_WORDS,
    failure_text,
    latency_text,
    letter_style,
    letter_text,
    outcome_counts,
    progress_count,
    rate_text,
    state_sign,
)
from tui.format import UNKNOWN, cells, duration_text
from tui.widgets.bench_plot import Scatter, gpu_rows, plot_rows, time_end, time_row, title_row
from tui.widgets.folded import cell, folded, tidy
from tui.widgets.lines import LinesPanel, clip, flow, pad, rule
from tui.widgets.strip_chart import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.result import GpuReading
    from benchmarks.suite import JobState, Suite, SuitePlan
    from benchmarks.wire import Progress
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span

PHASES: Final = ("preflight", "warmup", "barrier", "measure", "drain", "validate")
PHASE_WORDS: Final = {"warmup": "warm-up"}
#: what happens in a phase that does not count
PHASE_NEWS: Final = {
    "preflight": "finding the service and what it is: nothing is loaded yet",
    "barrier": "ready, and waiting for the others",
    "drain": "waiting for the requests on their way",
    "validate": "checking and judging what was measured",
}
#: points taken with one drawing: a host with many is caught up with in several
_AT_A_TIME: Final = 2000
_PLOT_MIN: Final = 4
_PLOT_MAX: Final = 24


def job_row(job: JobState, glyphs: Glyphs, width: int, *, selected: bool, name_width: int) -> Row:
    """One host: state, what it does, how far, what it got."""
    style = STATE_STYLES[job.state]
    spans: list[Span] = [
        (f"{glyphs.folded if selected else ' '}", "mark"),
        (f"{state_sign(job.state, glyphs)} ", style),
        (f"{cell(job.plan.host.id, name_width)} ", "strong" if selected else "text"),
        (f"{STATE_WORDS[job.state]:<10} ", style),
    ]
    spans += job_news(job)
    row = clip(spans, width)
    return tuple((text, f"{name}@cursor") for text, name in pad(row, width)) if selected else row


def job_news(job: JobState) -> list[Span]:
    """What is newest of a job: progress, letters, or why not."""
    progress = job.progress
    spans: list[Span] = []
    if job.state in ("starting", "running", "at_barrier") and progress is not None:
        run = f"run {progress.run + 1}/{progress.runs} " if progress.runs > 1 else ""
        where = f"{run}{tidy(_case(progress))} {PHASE_WORDS.get(progress.phase, progress.phase)} "
        spans.append((where + progress_count(progress.done, progress.total), "text"))
        failed = sum(count for name, count in progress.outcomes.items() if name != "ok")
        if failed:
            spans.append((f"  {failed} failed", "bad"))
        if progress.eta_s is not None:
            spans.append((f"  ETA {duration_text(progress.eta_s)}", "muted"))
        return spans
    for result in job.results:
        grade, verdict = result.grade, result.validity.verdict
        spans += [(letter_text(grade, verdict), letter_style(grade.letter, verdict)), (" ", "text")]
    if job.failures:
        spans.append((failure_text(job.failures[-1]), "bad"))
    elif job.state == "queued":
        spans.append((f"{len(job.plan.runs)} {'run' if len(job.plan.runs) == 1 else 'runs'}", "muted"))
    elif job.problems:
        spans.append((tidy(job.problems[-1]), "warn"))
    return spans


def _case(progress: Progress) -> str:
    return " ".join(part for part in (progress.service, progress.case, progress.temperature) if part)


def job_rows(suite: Suite, selected: int, glyphs: Glyphs, width: int, room: int) -> list[Row]:
    """The hosts in at most ``room`` rows, the selected one among them; what is left out is counted."""
    jobs = suite.jobs
    counts: dict[str, int] = {}
    for job in jobs:
        counts[STATE_WORDS[job.state]] = counts.get(STATE_WORDS[job.state], 0) + 1
    words = ", ".join(f"{count} {word}" for word, count in counts.items())
    title: list[Span] = [(f" {_jobs_words(suite)} ", "strong"), (f" {words}", "text")]
    title.append((f"  {_order_words(suite.plan)}", "muted"))
    name_width = min(max((cells(tidy(job.plan.host.id)) for job in jobs), default=1), max(width // 4, 8))
    shown = max(room - 1, 1)
    start = min(max(selected - shown // 2, 0), max(len(jobs) - shown, 0))
    end = min(start + shown, len(jobs))
    if end - start < len(jobs):
        title.append((f"  {start + 1}-{end} shown", "muted"))
    rows: list[Row] = [rule(clip(title, width), width, glyphs)]
    rows += [
        job_row(jobs[at], glyphs, width, selected=at == selected, name_width=name_width) for at in range(start, end)
    ]
    return rows


def _order_words(plan: SuitePlan) -> str:
    if any(job.nodes > 1 for job in plan.jobs):
        alone = any(job.nodes == 1 for job in plan.jobs)
        return "each alone, then together" if alone else "all at one moment"
    return "one after the other" if plan.in_turn else f"at most {plan.at_once} at once"


def _jobs_words(suite: Suite) -> str:
    hosts = len({job.plan.host.id for job in suite.jobs})
    words = f"{hosts} {'host' if hosts == 1 else 'hosts'}"
    return words if hosts == len(suite.jobs) else f"{words}, {len(suite.jobs)} jobs"


def progress_rows(job: JobState, glyphs: Glyphs, width: int) -> list[Row]:
    """Phase, n of total, rate, ETA, errors by outcome, what is in flight."""
    progress = job.progress
    if progress is None:
        waits = {"queued": "waits for its turn", "starting": "the engine starts: nothing has been sent yet"}
        return [clip([(f" {waits.get(job.state, 'no request was made')}", "muted")], width)]
    over = job.state in OVER
    return [
        _over_row(job, progress, width) if over else _phase_row(progress, width),
        _bar_row(progress, glyphs, width),
        *flow(_figures(progress, over=over), width, glyphs, first=[(" ", "text")]),
        *flow(_outcomes(progress), width, glyphs, first=[(" ", "text")]),
        *(folded(progress.last_error, width, "bad", head=[(" last error ", "muted")], limit=2) if progress.last_error
          else []),
    ]  # fmt: skip


def _over_row(job: JobState, progress: Progress, width: int) -> Row:
    run = f"run {progress.run + 1} of {progress.runs}" if progress.runs > 1 else "run"
    state = (STATE_WORDS[job.state], STATE_STYLES[job.state])
    return clip([(" ended: ", "text"), state, (f"  last was {run}, ", "muted"), (tidy(_case(progress)), "text")], width)


def _phase_row(progress: Progress, width: int) -> Row:
    run = f"run {progress.run + 1} of {progress.runs}" if progress.runs > 1 else "run"
    spans: list[Span] = [(f" {run} ", "text"), (f"{tidy(_case(progress))}  ", "strong")]
    barrier = progress.phase == "barrier"
    names = [name for name in PHASES if name != "barrier" or barrier]
    if progress.phase not in names:
        names.append(progress.phase)
    at = names.index(progress.phase)
    for number, name in enumerate(names):
        word = PHASE_WORDS.get(name, tidy(name))
        if number:
            spans.append((" > ", "muted"))
        spans.append((f"[{word}]", "sorted") if number == at else (word, "good" if number < at else "muted"))
    return clip(spans, width)


def _bar_row(progress: Progress, glyphs: Glyphs, width: int) -> Row:
    if progress.total is None:
        words = PHASE_NEWS.get(progress.phase, "")
        return clip([(f" {progress.done} done  " if progress.done else " ", "strong"), (words, "text")], width)
    count = f" {progress.done} of {progress.total} "
    share = progress.done / progress.total if progress.total else None
    shown = f" {100 * share:.0f}%" if share is not None else ""
    room = min(max(width - cells(count) - 6, 4), 60)
    return clip([(count, "strong"), (bar(share, room, glyphs), "accent"), (shown, "text")], width)


def _figures(progress: Progress, *, over: bool) -> list[list[Span]]:
    eta = UNKNOWN if progress.eta_s is None else duration_text(progress.eta_s)
    facts: list[list[Span]] = [
        [("rate ", "muted"), (rate_text(progress.rate_per_s), "text")],
        [("elapsed ", "muted"), (duration_text(progress.elapsed_s), "text")],
    ]
    if not over:
        facts.insert(1, [("ETA ", "muted"), (eta, "text")])
        facts.append([("in flight ", "muted"), (f"{progress.in_flight}", "text")])
    if progress.p50_s is not None:
        facts.append([("p50 so far ", "muted"), (latency_text(progress.p50_s), "text")])
    return facts


def _outcomes(progress: Progress) -> list[list[Span]]:
    return [[(f"{word} ", "muted"), (f"{n}", style)] for word, n, style in outcome_counts(progress.outcomes)]


def problem_rows(job: JobState, glyphs: Glyphs, width: int) -> list[Row]:
    """What could not be done: runs that could not start, and what went wrong besides."""
    rows: list[Row] = []
    for failed in job.failures[-4:]:
        head: list[Span] = [(f" {glyphs.levels[3]} run {failed.run + 1} could not start ", "bad")]
        rows += folded(failure_text(failed), width, "text", head=head, indent=3, limit=4)
    for problem in job.problems[-4:]:
        rows += folded(problem, width, "warn", head=[(f" {glyphs.levels[1]} ", "warn")], limit=3)
    return rows


def _since(readings: Sequence[GpuReading], t0_ns: int) -> Sequence[GpuReading]:
    """The readings of the current run: those at the end."""
    at = len(readings)
    while at and readings[at - 1].at_ns >= t0_ns:
        at -= 1
    return readings[at:]


@dataclass(slots=True)
class _Plot:
    """The points of one run that were taken."""

    run: int
    taken: int = 0
    scatter: Scatter = field(default_factory=Scatter)


class LivePanel(LinesPanel):
    """The running (or last) suite. ``room`` is the height there is."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.suite: Suite | None = None
        self.selected = 0
        self.room = 20
        self.glyphs: Glyphs | None = None
        #: why the selected host has no GPU samples
        self.gpu_why = ""
        #: said where there is no suite
        self.empty: Sequence[str] = ()
        #: points are still to be taken: draw again soon
        self.behind = False
        self._of: Suite | None = None
        self._plots: dict[int, _Plot] = {}

    def build(self, width: int) -> list[Row]:
        """Hosts, progress, plot, GPUs."""
        suite, glyphs = self.suite, self.glyphs
        if glyphs is None:
            return []
        if suite is None or not suite.jobs:
            return [row for text in self.empty for row in folded(text, width, "muted", head=[(" ", "muted")])]
        self.selected = min(self.selected, len(suite.jobs) - 1)
        job = suite.jobs[self.selected]
        rows: list[Row] = []
        if len(suite.jobs) > 1:
            most = max(min(len(suite.jobs), self.room // 3, self.room - 14), 2)
            rows += job_rows(suite, self.selected, glyphs, width, most + 1)
            rows.append(rule([(f" {cell(job.plan.host.id, min(cells(tidy(job.plan.host.id)), 40))} ", "accent")],
                             width, glyphs))  # fmt: skip
        rows += progress_rows(job, glyphs, width)
        rows += problem_rows(job, glyphs, width)
        return rows + self._plot(job, width, self.room - len(rows), glyphs)

    def _plot(self, job: JobState, width: int, room: int, glyphs: Glyphs) -> list[Row]:
        progress = job.progress
        if progress is None:
            return []
        scatter = self._taken(job, progress)
        last_gpu_s = (job.gpu[-1].at_ns - progress.t0_ns) / 1e9 if job.gpu else 0.0
        end_s = time_end(max(progress.elapsed_s, scatter.last_s, last_gpu_s))
        readings = _since(job.gpu, progress.t0_ns)
        gpus = min(len({one.index for one in readings}), 2 if room >= 16 else 1)
        tall = 2 if room >= 20 else 1
        height = min(max(room - 3 - gpus * tall, _PLOT_MIN), _PLOT_MAX)
        left_out = job.points_left_out
        rows = [title_row(scatter, left_out, width, glyphs)]
        if scatter.n:
            rows += plot_rows(scatter, end_s, width, height, glyphs)
        else:
            rows.append(clip([(" no request has ended yet", "muted")], width))
        rows.append(time_row(end_s, width, glyphs))
        return rows + gpu_rows(
            readings, progress.t0_ns, end_s, width, glyphs, why=self.gpu_why, most=max(gpus, 1), height=tall,
            now=job.state not in OVER,
        )  # fmt: skip

    def _taken(self, job: JobState, progress: Progress) -> Scatter:
        """The job's plot with the points that came since, at most ``_AT_A_TIME``; another run begins anew."""
        if self._of is not self.suite:
            self._of, self._plots = self.suite, {}
        plot = self._plots.get(self.selected)
        if plot is None or plot.run != progress.run or len(job.points) < plot.taken:
            plot = self._plots[self.selected] = _Plot(progress.run)
        end = min(plot.taken + _AT_A_TIME, len(job.points))
        plot.scatter.add(job.points[plot.taken : end])
        plot.taken = end
        self.behind = end < len(job.points)
        return plot.scatter
