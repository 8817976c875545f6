"""The KPI table: target, actual, attainment, and where the actual came from (F6, D5, E7, rule 9). Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

from benchmarks.result import Kpi
from benchmarks.stats import figure_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.model import Better
    from benchmarks.result import MetricResult

#: what the ids of lines about projections begin with; they are compared, and judge nothing
PROJECTED: Final = "projected_"
BASELINE_S: Final = 15.0
TARGET_S: Final = 2.0

Source = Literal["measured", "estimated", "projected", "stale"]


def _line(
    kpi_id: str,
    title: str,
    unit: str,
    formula: str,
    *,
    target: float | None,
    actual: float | None,
    better: Better,
    source: Source = "measured",
    missing: dict[str, str] | None = None,
) -> Kpi:
    """One line. Attainment is actual / target where higher is better, else target / actual; 100 % reaches it."""
    missing = dict(missing or {})
    attained = attainment = None
    if target is None or actual is None:
        reason = missing.get("actual") or missing.get("target") or "not measured"
        missing["attained"] = missing["attainment_pct"] = reason
    else:
        attained = actual >= target if better == "higher" else actual <= target
        above, below = (actual, target) if better == "higher" else (target, actual)
        attainment = above / below * 100 if below > 0 else None
        if attainment is None:
            missing["attainment_pct"] = "it would divide by a figure that is not above 0"
    return Kpi(kpi_id, title, unit, target, actual, attained, attainment, source, formula, missing)


def kpis(
    response: MetricResult,
    values_s: Sequence[float],
    intended: int,
    *,
    target_s: float = TARGET_S,
    baseline_s: float = BASELINE_S,
    achievement_target_pct: float | None = None,
) -> tuple[Kpi, ...]:
    """The KPIs of a run against a target and a baseline, all from its own requests.

    Args:
        response: the response time, whose error-adjusted p50 is used: a run that fails improves nothing.
        values_s: response times of the OK requests.
        intended: requests of the measure phase; those that failed missed the target.
        target_s: a request within it achieved it.
        baseline_s: what is improved on.
        achievement_target_pct: the share wanted; None: the share is said, and judged by nobody.
    """
    time = _figure("response_p50", "median response time", response, target_s)
    return (
        time,
        *_against_baseline(time.actual, target_s, baseline_s, time.missing),
        _achievement(values_s, intended, target_s, achievement_target_pct),
    )


def target_kpis(
    response: MetricResult,
    values_s: Sequence[float],
    intended: int,
    *,
    target_s: float,
    achievement_target_pct: float | None = None,
) -> tuple[Kpi, ...]:
    """The KPIs of a run that has a target and nothing to improve on (API latency); arguments as for ``kpis``."""
    time = _figure("response_p50", "median response time", response, target_s)
    return time, _achievement(values_s, intended, target_s, achievement_target_pct)


def figure_kpis(metrics: Mapping[str, MetricResult], targets: Mapping[str, float]) -> tuple[Kpi, ...]:
    """A line for each metric that the configuration has a target for, by tag and in the metric's unit.

    Of a metric of requests it is the error-adjusted median; one that was not measured has a line that says so.
    """
    return tuple(
        _figure(tag, tag, metrics[tag], target)
        if tag in metrics
        else _line(tag, tag, "", tag, target=target, actual=None, better="higher", missing={"actual": "not measured"})
        for tag, target in targets.items()
    )


def _figure(kpi_id: str, title: str, metric: MetricResult, target: float) -> Kpi:
    actual = figure_of(metric)
    if metric.scope == "run":
        formula, reason = metric.formula, metric.missing.get("value")
    else:
        p50 = metric.adjusted.get("p50")
        formula, reason = f"error-adjusted p50 of {metric.formula}", None if p50 is None else p50.reason
    missing = {} if actual is not None else {"actual": reason or "not measured"}
    return _line(
        kpi_id, title, metric.unit, formula, target=target, actual=actual, better=metric.better, missing=missing
    )


def _against_baseline(p50_s: float | None, target_s: float, baseline_s: float, missing: dict[str, str]) -> list[Kpi]:
    """Improvement, negative where it became slower, and multiplier; their targets follow from the target in seconds."""
    missing = {name: why for name, why in missing.items() if name == "actual"}
    improvement = multiplier = better_by = times = None
    if baseline_s > 0:
        better_by = (1 - target_s / baseline_s) * 100
        times = baseline_s / target_s if target_s > 0 else None
        if p50_s is not None:
            improvement = (1 - p50_s / baseline_s) * 100
            multiplier = baseline_s / p50_s if p50_s > 0 else None
    else:
        missing = {"actual": f"a baseline of {baseline_s:g} s is none", "target": "no baseline"}
    no_times = {} if multiplier is not None or missing else {"actual": "p50 is 0 s"}
    return [
        _line(
            "improvement", f"improvement on {baseline_s:g} s", "%", f"1 - p50 / {baseline_s:g} s",
            target=better_by, actual=improvement, better="higher", missing=missing,
        ),
        _line(
            "multiplier", f"times as fast as {baseline_s:g} s", "x", f"{baseline_s:g} s / p50",
            target=times, actual=multiplier, better="higher", missing={**missing, **no_times},
        ),
    ]  # fmt: skip


def _achievement(values_s: Sequence[float], intended: int, target_s: float, wanted_pct: float | None) -> Kpi:
    within = sum(1 for value in values_s if value <= target_s)
    missing = {} if intended else {"actual": "no request was made"}
    if wanted_pct is None:
        missing["target"] = "no share is wanted"
    return _line(
        "achievement", f"requests within {target_s:g} s", "%",
        f"{within} within {target_s:g} s / {intended} intended (a failure is not within)",
        target=wanted_pct, actual=within / intended * 100 if intended else None, better="higher", missing=missing,
    )  # fmt: skip


def against_projection(
    kpi_id: str,
    title: str,
    unit: str,
    *,
    projected: float | None,
    measured: float | None,
    better: Better,
    projected_by: str,
    source: Source = "measured",
) -> tuple[Kpi, Kpi]:
    """A figure beside what was projected for it, and how far it is off.

    Args:
        kpi_id: of the figure; the second line has ``_deviation`` behind it.
        title: of the figure.
        unit: of both.
        projected: None: nobody projected it.
        measured: None: it was not measured. The projection never stands in for it.
        better: of the figure.
        projected_by: where the projection comes from, in words; stands in the formula.
        source: what the measured figure is by now (``stale``: of a run too old to speak for today).
    """
    missing: dict[str, str] = {}
    if projected is None:
        missing["target"] = "nothing projected"
    if measured is None:
        missing["actual"] = "not measured"
    figure = _line(
        kpi_id, title, unit, f"{source} against projected by {projected_by}",
        target=projected, actual=measured, better=better, source=source, missing=missing,
    )  # fmt: skip
    off = measured / projected - 1 if measured is not None and projected is not None and projected > 0 else None
    reason = missing.get("actual") or missing.get("target") or "the projection is not above 0"
    nobody = "a deviation has no target"
    none = {"target": nobody, "attained": nobody, "attainment_pct": nobody}
    if off is None or not math.isfinite(off):
        off, none["actual"] = None, reason
    deviation = Kpi(
        f"{kpi_id}_deviation", f"{title}: off the projection", "%", None, None if off is None else off * 100,
        None, None, source, f"{source} / projected - 1", none,
    )  # fmt: skip
    return figure, deviation
