"""Two sets of runs against each other (rules 9 and 10): the unit is the run, never the request. Pure.

Runs of another benchmark, version or configuration are refused, with what differs. Under four runs a side nothing is
concluded: every run is printed with its own interval. From four on: the difference of the medians of the runs with its
exact rank interval, or "no detectable difference".
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import Struct

from benchmarks.card import figure
from benchmarks.intervals import BOOTSTRAP_MIN_N, Shift, ratio_interval, shift_interval
from benchmarks.model import Better, Load, Temperature
from benchmarks.reasons import filled
from benchmarks.stats import FAILURES, graded_percentile, percentile_name
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.result import MetricResult, Result

MIN_RUNS: Final = 4
_PERCENTILES: Final = (0.50, 0.90)
_ONE_A_RUN: Final = "interval: it has one value a run"

#: ``too_few``: under four usable runs a side. ``failures``: a run's figure is infinite, so there is no difference
Outcome = Literal["a_better", "b_better", "no_difference", "too_few", "failures"]


class RunFigure(Struct, frozen=True):
    """One run's figure with the run's own interval; None with the reason. An invalid run is shown and not counted."""

    run_id: str
    host: str
    value: float | None
    ci: tuple[float, float] | None
    valid: bool
    reason: str | None = None


class Row(Struct, frozen=True):
    """One figure of both sides. ``difference`` is median B - median A, ``relative`` its share of median A.

    ``interval`` is of the difference; ``relative_interval`` (bootstrap) only from 20 runs a side. ``exact``: the
    interval comes from the exact distribution of ranks, else from its normal approximation.
    """

    tag: str
    statistic: str
    unit: str
    better: Better
    a: tuple[RunFigure, ...]
    b: tuple[RunFigure, ...]
    outcome: Outcome
    words: str
    median_a: float | None = None
    median_b: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    relative: float | None = None
    relative_interval: tuple[float, float] | None = None
    exact: bool | None = None


class Comparison(Struct, frozen=True):
    """One benchmark, case and temperature on both sides. ``refused``: why there are no rows."""

    a_name: str
    b_name: str
    benchmark: str
    case: str
    temperature: Temperature | None
    a_runs: tuple[str, ...]
    b_runs: tuple[str, ...]
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()


def compare(a: Sequence[Result], b: Sequence[Result], a_name: str = "A", b_name: str = "B") -> Comparison:
    """Compare runs of one case.

    Args:
        a: results of one benchmark, case and temperature.
        b: the same.
        a_name: what A is called (a run id, a label).
        b_name: what B is called.
    """
    a, b = _once_each(a), _once_each(b)
    first = next(iter((*a, *b)), None)
    refused = _refusals(a, b, a_name, b_name)
    left_out = tuple(
        f"run {result.run_id} is INVALID and not counted: {'; '.join(result.validity.reasons)}"
        for result in (*a, *b)
        if result.validity.verdict != "valid"
    )
    rows = () if refused else tuple(_rows(a, b, (a_name, b_name)))
    every = ("each interval holds with 95 % by itself, not all together",) if _concluded(rows) > 1 else ()
    return Comparison(
        a_name=a_name,
        b_name=b_name,
        benchmark=first.benchmark.id if first else "",
        case=first.case if first else "",
        temperature=first.temperature if first else None,
        a_runs=tuple(result.run_id for result in a),
        b_runs=tuple(result.run_id for result in b),
        refused=refused,
        notes=left_out + every,
        rows=rows,
    )


def compare_all(
    a: Iterable[Result], b: Iterable[Result], a_name: str = "A", b_name: str = "B"
) -> tuple[Comparison, ...]:
    """Compare runs of several cases (a label has all texts of a suite): each case and temperature by itself.

    Services are never pooled: where a side has several, each stands against the one of its name on the other side.
    """
    sides = (tuple(a), tuple(b))
    several = any(len({result.target.service for result in side}) > 1 for side in sides)
    groups: dict[tuple[str | None, ...], tuple[list[Result], list[Result]]] = {}
    for side, results in enumerate(sides):
        for result in results:
            service = result.target.service if several else None
            key = (result.benchmark.id, result.case, result.temperature, service)
            groups.setdefault(key, ([], []))[side].append(result)
    # one case each, but not the same one: a single refusal that names both says more than two empty sides
    if len(groups) == 2 and all(not (left and right) for left, right in groups.values()):
        left = [result for group, _ in groups.values() for result in group]
        right = [result for _, group in groups.values() for result in group]
        return (compare(left, right, a_name, b_name),)
    return tuple(compare(left, right, a_name, b_name) for left, right in groups.values())


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Plain JSON types; every null has its reason."""
    made = filled(msgspec.to_builtins(comparison), {"temperature": "not applicable"})
    few = {"relative_interval": f"needs {BOOTSTRAP_MIN_N} runs a side", "relative": "the median of A is not above 0"}
    made["rows"] = [filled(row, few if row["difference"] is not None else {}, row["words"]) for row in made["rows"]]
    return made


def _once_each(results: Sequence[Result]) -> list[Result]:
    return list({result.run_id: result for result in results}.values())


def _concluded(rows: Sequence[Row]) -> int:
    return sum(1 for row in rows if row.interval is not None)


def _refusals(a: Sequence[Result], b: Sequence[Result], a_name: str, b_name: str) -> tuple[str, ...]:
    """Why these runs cannot stand against each other."""
    found = [f"{name} has no run" for name, side in ((a_name, a), (b_name, b)) if not side]
    both = {result.run_id for result in a} & {result.run_id for result in b}
    found += [f"run {run_id} is on both sides" for run_id in sorted(both)]
    everyone = [*a, *b]
    for other in everyone[1:]:
        found += [each for each in _differences(everyone[0], other) if each not in found]
    return tuple(found)


def _differences(one: Result, other: Result) -> list[str]:
    """What makes two results answers to different questions, in words."""
    pairs: list[tuple[str, Any, Any]] = [
        ("benchmark", one.benchmark.id, other.benchmark.id),
        (f"version of {one.benchmark.id}", one.benchmark.version, other.benchmark.version),
        ("case", one.case, other.case),
        ("text of the case", one.case_text, other.case_text),
        ("temperature", one.temperature, other.temperature),
        ("simulated", one.simulated, other.simulated),
    ]
    if one.config_hash != other.config_hash:
        pairs += [(f"load {name}", getattr(one.config, name), getattr(other.config, name)) for name in _LOAD]
        names = sorted({*one.options, *other.options})
        pairs += [(f"option {name}", one.options.get(name), other.options.get(name)) for name in names]
    found = [f"{name} differs: {_brief(left)} and {_brief(right)}" for name, left, right in pairs if left != right]
    if one.config_hash != other.config_hash and not found:
        found.append(f"configuration differs: {one.config_hash} and {other.config_hash}")
    return found


def _brief(value: Any) -> str:
    return clean(repr(value), 60)


_LOAD: Final = tuple(field.name for field in msgspec.structs.fields(Load))


def _rows(a: Sequence[Result], b: Sequence[Result], names: tuple[str, str]) -> Iterable[Row]:
    for tag in dict.fromkeys(tag for result in (*a, *b) for tag in result.metrics):
        kind = next(result.metrics[tag] for result in (*a, *b) if tag in result.metrics)
        if kind.scope == "run":
            yield _row(a, b, tag=tag, kind=kind, percentile=None, names=names)
            continue
        for p in _PERCENTILES:
            percentile = percentile_name(graded_percentile(p, kind.better))
            row = _row(a, b, tag=tag, kind=kind, percentile=percentile, names=names)
            # a quick run has no p90: a line of nothing but reasons tells nobody anything
            if p == _PERCENTILES[0] or any(each.value is not None for each in (*row.a, *row.b)):
                yield row


def _figure(result: Result, tag: str, percentile: str | None) -> RunFigure:
    metric = result.metrics.get(tag)
    value, ci, reason = None, None, "not measured"
    if metric is not None and percentile is None:
        value, reason = metric.value, metric.missing.get("value", reason)
    elif metric is not None and percentile is not None and (found := metric.adjusted.get(percentile)) is not None:
        value, ci, reason = found.value, found.ci, found.reason or reason
    if value is not None:
        reason = None if ci is not None else reason if percentile is not None else _ONE_A_RUN
    return RunFigure(result.run_id, result.target.host, value, ci, result.validity.verdict == "valid", reason)


def _row(
    a: Sequence[Result],
    b: Sequence[Result],
    *,
    tag: str,
    kind: MetricResult,
    percentile: str | None,
    names: tuple[str, str],
) -> Row:
    """One figure of both sides, and what may be concluded."""
    left = tuple(_figure(result, tag, percentile) for result in a)
    right = tuple(_figure(result, tag, percentile) for result in b)
    statistic = tag if percentile is None else f"{tag} {percentile}, error-adjusted"
    sides = _usable(left), _usable(right)
    medians = median(sides[0]) if sides[0] else None, median(sides[1]) if sides[1] else None
    infinite = sum(1 for each in (*left, *right) if each.valid and each.value is None and each.reason == FAILURES)
    if infinite:
        words = f"no difference can be given: {infinite} of {len(left) + len(right)} runs infinite (failures)"
        return Row(tag, statistic, kind.unit, kind.better, left, right, "failures", words)
    shift = shift_interval(*sides)
    if min(map(len, sides)) < MIN_RUNS or shift is None or shift.interval is None:
        words = f"needs {MIN_RUNS} a side ({names[0]} has {len(sides[0])}, {names[1]} has {len(sides[1])})"
        return Row(tag, statistic, kind.unit, kind.better, left, right, "too_few", words, *medians)
    bare = Row(tag, statistic, kind.unit, kind.better, left, right, "no_difference", "", *medians)
    return _judged(bare, sides, shift, shift.interval, names)


def _signed(value: float, unit: str) -> str:
    """A difference with its sign, as a person reads it."""
    return f"{'+' if value >= 0 else ''}{figure(value, unit)}"


def _judged(
    bare: Row,
    sides: tuple[list[float], list[float]],
    shift: Shift,
    interval: tuple[float, float],
    names: tuple[str, str],
) -> Row:
    """The row with its difference, interval and outcome."""
    at_a, at_b = median(sides[0]), median(sides[1])
    difference = at_b - at_a
    relative = difference / at_a if at_a > 0 else None
    ratio = ratio_interval(sides[1], sides[0])
    outcome: Outcome = "no_difference"
    if interval[0] > 0 or interval[1] < 0:
        outcome = "b_better" if (interval[1] < 0) == (bare.better == "lower") else "a_better"
    share = "" if relative is None else f", {relative:+.1%}"
    method = "exact ranks" if shift.exact else "ranks, normal approximation"
    figures = (
        f"{_signed(difference, bare.unit)}{share} (95 % {_signed(interval[0], bare.unit)} to"
        f" {_signed(interval[1], bare.unit)}, {method})"
    )
    verdict = {
        "a_better": f"{names[0]} is better: {names[1]} - {names[0]} ",
        "b_better": f"{names[1]} is better: {names[1]} - {names[0]} ",
        "no_difference": "no detectable difference: ",
    }[outcome]
    return msgspec.structs.replace(
        bare,
        outcome=outcome,
        words=verdict + figures,
        difference=difference,
        interval=interval,
        relative=relative,
        relative_interval=None if ratio is None else (ratio[0] - 1, ratio[1] - 1),
        exact=shift.exact,
    )


def lines(comparison: Comparison) -> list[str]:
    """The comparison as plain text, one line each."""
    about = " ".join(part for part in (comparison.benchmark, comparison.case, comparison.temperature) if part)
    said = [f"{about}: {_named('A', comparison.a_name)} against {_named('B', comparison.b_name)}"]
    said += [f"  refused: {reason}" for reason in comparison.refused]
    for row in comparison.rows:
        said.append(f"  {row.statistic} [{row.unit}, {row.better} is better]")
        for name, runs, middle in (
            (comparison.a_name, row.a, row.median_a),
            (comparison.b_name, row.b, row.median_b),
        ):
            if row.interval is not None and middle is not None:
                said.append(f"    {name}: median of {len(_usable(runs))} runs {middle:.4g} {row.unit}")
            else:
                said += [f"    {name} {_run_words(each, row.unit)}" for each in runs]
        said.append(f"    {row.words}")
    return said + [f"  note: {note}" for note in comparison.notes]


def _named(side: str, name: str) -> str:
    return side if name == side else f"{side} = {name}"


def _run_words(figure: RunFigure, unit: str) -> str:
    invalid = "" if figure.valid else " INVALID"
    if figure.value is None:
        return f"{figure.run_id} on {figure.host}: {figure.reason}{invalid}"
    ci = "" if figure.ci is None else f" (95 % {figure.ci[0]:.4g} to {figure.ci[1]:.4g})"
    return f"{figure.run_id} on {figure.host}: {figure.value:.4g} {unit}{ci}{invalid}"


def _usable(runs: Iterable[RunFigure]) -> list[float]:
    return [each.value for each in runs if each.valid and each.value is not None]
