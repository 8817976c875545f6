"""Past runs as rows: the list, a comparison, what is said of a trend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tui.bench_words import figure_text, letter_style
from tui.format import cells, fit
from tui.history_filter import letter_of
from tui.widgets.bench_plot import nice_bound
from tui.widgets.folded import cell, folded, tidy
from tui.widgets.lines import LinesPanel, clip, pad, rule
from tui.widgets.result_chart import Axis, Chart, Series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.compare import Comparison, RunFigure
    from benchmarks.compare import Row as FigureRow
    from benchmarks.store import Row as StoredRow
    from tui.bench_trend import TrendFacts
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span

#: for B against A
OUTCOMES: Final = {
    "a_better": ("A is better", "bad", 3),
    "b_better": ("B is better", "good", 0),
    "no_difference": ("no detectable difference", "text", 0),
    "too_few": ("too few runs", "unknown", 2),
    "failures": ("failures", "warn", 1),
}
_WIDE: Final = 130
_LETTER: Final = 7
_WHEN: Final = 12
_VALUE: Final = 10
#: cells from which on the rest is worth a column
_REST: Final = 16
_RUNS_SHOWN: Final = 12


def when_text(wall_start: str, *, wide: bool) -> str:
    """``11-25 20:31Z`` of an RFC 3339 moment, with its year where there is room; what is none stays as it is."""
    day, t, time = wall_start.partition("T")
    if not t or len(time) < 5:
        return tidy(wall_start)
    zone = "Z" if time.endswith(("Z", "+00:00")) else ""
    return tidy(f"{day if wide else day[5:]} {time[:5]}{zone}")


def case_of(row: StoredRow) -> str:
    """A run's case with its temperature."""
    return tidy(f"{row.case} {row.temperature}" if row.temperature else row.case)


def host_of(row: StoredRow) -> str:
    """A run's host with the service that was loaded."""
    return tidy(f"{row.host} {row.service}" if row.service else row.host)


class Columns:
    """Where the columns of the list stand at a width: as wide as what is in them, and what is left for the rest."""

    def __init__(self, rows: Sequence[StoredRow], width: int) -> None:
        self.wide = width >= _WIDE
        self.when = _WHEN + (5 if self.wide else 0)
        left = width - 4 - (_LETTER + 1) - (self.when + 1) - (_VALUE + 1) - 3
        self.benchmark = min(max((cells(tidy(row.benchmark)) for row in rows), default=0), left // 4)
        self.benchmark = max(self.benchmark, min(9, left // 4))
        left -= self.benchmark
        self.case = min(max(max((cells(case_of(row)) for row in rows), default=0), 4), left // 2)
        left -= self.case
        self.host = min(max(max((cells(host_of(row)) for row in rows), default=0), 4), left)
        left -= self.host
        self.rest = left - 2 if left >= _REST else 0

    def title(self) -> list[Span]:
        """The names of the columns."""
        names = (fit("benchmark", self.benchmark), fit("case", self.case), fit("host, service", self.host))
        text = f"    {'letter':<{_LETTER}} {'when':<{self.when}} {' '.join(names)} {'figure':>{_VALUE}} "
        return [(text + ("of what, label" if self.rest else ""), "header")]


def list_row(row: StoredRow, columns: Columns, glyphs: Glyphs, width: int, *, selected: bool, marked: str) -> Row:
    """One run in one line."""
    spans: list[Span] = [
        (f"{glyphs.folded if selected else ' '}", "mark"),
        (f"{marked or ' '}", "mark"),
        ("= " if row.baseline else "  ", "accent"),
        (f"{letter_of(row):<{_LETTER}} ", letter_style(row.letter, row.verdict) if row.verdict == "valid" else "bad"),
        (f"{fit(when_text(row.wall_start, wide=columns.wide), columns.when)} ", "muted"),
        (f"{cell(row.benchmark, columns.benchmark)} ", "text"),
        (f"{cell(case_of(row), columns.case)} ", "text"),
        (f"{cell(host_of(row), columns.host)} ", "text"),
        (f"{figure_text(row.value, row.unit or ''):>{_VALUE}} ", "strong"),
    ]
    if columns.rest:
        label = f"  [{tidy(row.label)}]" if row.label else ""
        about = f"{tidy(row.statistic or 'no figure')}, {row.mode}{', baseline' if row.baseline else ''}"
        spans.append((cell(about + label + (" SIMULATED" if row.simulated else ""), columns.rest), "muted"))
    line = clip(spans, width)
    return tuple((text, f"{name}@cursor") for text, name in pad(line, width)) if selected else line


class HistoryList(LinesPanel):
    """The list; titles stay with it."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.shown: Sequence[StoredRow] = ()
        self.selected = 0
        self.marked: Sequence[str] = ()
        self.glyphs: Glyphs | None = None
        self.empty = ""
        self.empty_style = "muted"

    def build(self, width: int) -> list[Row]:
        """Titles and runs."""
        if self.glyphs is None:
            return []
        if not self.shown:
            return folded(self.empty, width, self.empty_style, head=[(" ", "muted")])
        columns = Columns(self.shown, width)
        names = {run_id: "AB"[at] for at, run_id in enumerate(self.marked[:2])}
        rows = [
            list_row(row, columns, self.glyphs, width, selected=at == self.selected, marked=names.get(row.run_id, ""))
            for at, row in enumerate(self.shown)
        ]
        return [pad(columns.title(), width), *rows]


# --- a comparison ---


def compare_rows(comparisons: Sequence[Comparison], glyphs: Glyphs, width: int) -> list[Row]:
    """Every case by itself: what may be said of the difference, or what forbids to say anything."""
    rows: list[Row] = []
    if comparisons:
        rows += side_rows("A", comparisons[0].a_name, {run for one in comparisons for run in one.a_runs}, width)
        rows += side_rows("B", comparisons[0].b_name, {run for one in comparisons for run in one.b_runs}, width)
    for one in comparisons:
        about = " ".join(filter(None, (one.benchmark, one.case, one.temperature)))
        counts = f"A {runs_words(len(one.a_runs))}, B {runs_words(len(one.b_runs))} "
        rows += [(), rule([(f" {tidy(about)} ", "strong"), (counts, "muted")], width, glyphs)]
        for reason in one.refused:
            head: list[Span] = [(f" {glyphs.levels[3]} NOT COMPARED ", "bad")]
            rows += folded(reason, width, "text", head=head, indent=3, limit=4)
        for row in one.rows:
            rows += figure_rows(row, glyphs, width)
        for note in one.notes:
            rows += folded(note, width, "warn", head=[(f" {glyphs.levels[1]} ", "warn")], limit=3)
    return rows


def side_rows(sign: str, name: str, runs: set[str], width: int) -> list[Row]:
    """What one side is."""
    counted = f"{tidy(name)}  ({runs_words(len(runs))})"
    return folded(counted, width, "text", head=[(f" {sign} ", "mark")], limit=3)


def runs_words(count: int) -> str:
    """``1 run``, ``4 runs``."""
    return f"{count} {'run' if count == 1 else 'runs'}"


def figure_rows(row: FigureRow, glyphs: Glyphs, width: int) -> list[Row]:
    """One figure of both sides."""
    word, style, level = OUTCOMES[row.outcome]
    head: list[Span] = [(f" {glyphs.levels[level]} ", style), (f"{tidy(row.statistic)} ", "strong")]
    better = f"({row.better} is better)"
    rows: list[Row] = [clip([*head, (f"{better}  ", "muted"), (word, style)], width)]
    medians = [
        (f"   A median {figure_text(row.median_a, row.unit)}", "text"),
        (f"   B median {figure_text(row.median_b, row.unit)}", "text"),
    ]
    if row.interval is not None:
        rows.append(clip(medians, width))
    else:
        for sign, runs in (("A", row.a), ("B", row.b)):
            rows += [clip(run_spans(sign, one, row.unit), width) for one in runs[:_RUNS_SHOWN]]
            if len(runs) > _RUNS_SHOWN:
                rows.append(clip([(f"   and {len(runs) - _RUNS_SHOWN} more runs of {sign}", "muted")], width))
    return [*rows, *folded(row.words, width, style, head=[("   ", "text")], limit=4)]


def run_spans(sign: str, figure: RunFigure, unit: str) -> list[Span]:
    """One run with its own interval."""
    spans: list[Span] = [(f"   {sign} ", "mark"), (f"{figure_text(figure.value, unit):>10} ", "text")]
    if figure.ci is not None:
        low, high = (figure_text(bound, unit) for bound in figure.ci)
        spans.append((f"95% {low} to {high} ", "text"))
    if figure.reason:
        spans.append((f"{tidy(figure.reason)} ", "unknown"))
    if not figure.valid:
        spans.append(("INVALID, not counted ", "bad"))
    return [*spans, (f"{tidy(figure.host)} {tidy(figure.run_id)}", "muted")]


class ComparePanel(LinesPanel):
    """A comparison."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.comparisons: Sequence[Comparison] = ()
        self.glyphs: Glyphs | None = None

    def build(self, width: int) -> list[Row]:
        """All of it."""
        return [] if self.glyphs is None else compare_rows(self.comparisons, self.glyphs, width)


# --- a trend ---


def trend_chart(facts: TrendFacts) -> Chart | None:
    """The figure over the runs; None where there are fewer than two."""
    count = len(facts.points)
    if count < 2:
        return None
    top = nice_bound(max(point.value for point in facts.points))
    places = sorted({0, (count - 1) // 2, count - 1})
    x = Axis(
        0.0, float(count - 1), tuple((float(at), when_text(facts.points[at].wall_start, wide=False)) for at in places)
    )
    y = Axis(0.0, top, tuple((top * step / 4, figure_text(top * step / 4, facts.unit)) for step in range(5)))
    points = tuple((float(at), point.value) for at, point in enumerate(facts.points))
    last = figure_text(facts.points[-1].value, facts.unit)
    return Chart("trend", (Series(f"{tidy(facts.statistic)}, last {last}", points),), x, y)


class TrendHead(LinesPanel):
    """What is said of a trend."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.facts: TrendFacts | None = None

    def build(self, width: int) -> list[Row]:
        """Whose, and what."""
        facts = self.facts
        if facts is None:
            return []
        rows = folded(
            f"{facts.title}: {facts.statistic or 'no figure'}", width, "strong", head=[(" ", "text")], limit=2
        )
        rows += folded(facts.words, width, facts.style, head=[(" ", "text")], limit=2)
        if facts.left_out:
            rows += folded(facts.left_out, width, "warn", head=[(" ", "text")], limit=2)
        return rows


class TrendRuns(LinesPanel):
    """The runs of a trend, newest first."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.facts: TrendFacts | None = None
        self.glyphs: Glyphs | None = None

    def build(self, width: int) -> list[Row]:
        """A line a run."""
        if self.facts is None or self.glyphs is None:
            return []
        rows: list[Row] = [
            rule([(f" {runs_words(len(self.facts.points))} counted, newest first ", "strong")], width, self.glyphs)
        ]
        for point in reversed(self.facts.points):
            letter = point.letter.rstrip("~?")
            spans: list[Span] = [
                (f" {when_text(point.wall_start, wide=True):<17} ", "muted"),
                (f"{point.letter:<4}", letter_style(letter if letter != "-" else None, "valid")),
                (f"{figure_text(point.value, self.facts.unit):>12} ", "strong"),
                (f" {tidy(point.run_id)}", "muted"),
            ]
            rows.append(clip(spans, width))
        return rows


def count_words(shown: int, total: int, *, more: bool) -> str:
    """How many runs there are."""
    all_of = f"the newest {total} runs" if more else f"{total} {'run' if total == 1 else 'runs'}"
    return all_of if shown == total else f"{shown} of {all_of}"
