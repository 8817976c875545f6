"""One figure over the runs of a configuration on a host, and what may be said of it. No widget here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from benchmarks.primary import primary
from benchmarks.trend import drift
from tui.bench_words import figure_text, short_letter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.result import Result
    from benchmarks.store import Row

#: runs from which a trend may be spoken of
FEW: Final = 4


class TrendPoint(Struct, frozen=True):
    """One run of a trend."""

    run_id: str
    wall_start: str
    value: float
    letter: str


class TrendFacts(Struct, frozen=True):
    """The primary figure over the valid runs, oldest first. ``words``: whether it moved, or why that cannot be said.

    ``left_out``: runs whose figure is another one, in words; empty: none.
    """

    title: str
    statistic: str
    unit: str
    points: tuple[TrendPoint, ...]
    words: str
    style: str = "text"
    left_out: str = ""


def trend_of(result: Result, rows: Sequence[Row]) -> TrendFacts:
    """The trend that a run is part of.

    Args:
        result: a run of the configuration and host in question.
        rows: its valid runs with a figure, oldest first.
    """
    case = f"{result.case} {result.temperature}" if result.temperature else result.case
    where = " ".join(filter(None, (result.target.host, result.target.service)))
    title = f"{result.benchmark.id} {case} on {where}"
    figure = primary(result)
    statistic, unit = ("", "") if figure is None else (figure.statistic, figure.unit)
    same = [row for row in rows if (row.statistic, row.unit or "") == (statistic, unit)]
    points = tuple(
        TrendPoint(
            row.run_id,
            row.wall_start,
            row.value,
            short_letter(row.letter, row.verdict, approximate=row.approximate, provisional=row.provisional),
        )
        for row in same
        if row.value is not None
    )
    metric = result.metrics.get(statistic.partition(" ")[0])
    lower = metric is None or metric.better == "lower"
    words, style = said_of([point.value for point in points], unit, lower=lower)
    others = len(rows) - len(same)
    left_out = f"{others} runs with another figure are left out" if others else ""
    return TrendFacts(title, statistic, unit, points, words, style, left_out)


def said_of(values: Sequence[float], unit: str, *, lower: bool) -> tuple[str, str]:
    """What may be said of one value a run, oldest first, and its style. ``lower``: lower is better."""
    n = len(values)
    if n < 2:
        return ("no trend from one run" if n else "no valid run with a figure"), "unknown"
    moved = drift(values) if n >= FEW else None
    if moved is None:
        return f"no trend from {n} runs: {FEW} are needed", "unknown"
    if not moved.drifted:
        return f"no detectable trend over {n} runs (p {moved.p:.2f})", "text"
    worse = (moved.change > 0) == lower
    p = "p < 0.001" if moved.p < 0.001 else f"p {moved.p:.3f}"
    sign = "+" if moved.change > 0 else "-"
    share = "" if moved.share is None else f" ({100 * moved.share:+.0f}% of the median)"
    change = f"{sign}{figure_text(abs(moved.change), unit)}{share}"
    return f"{'WORSE' if worse else 'better'}: {change} over {n} runs ({p})", "bad" if worse else "good"
