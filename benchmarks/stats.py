"""What is said of the values of a run: nearest-rank percentiles with intervals, mean, spread, outliers. Pure.

No percentile is given from fewer values than rule 4 asks for. Every statistic is the same whatever the order of the
values. A failure has no value: it counts as infinitely bad in the ``adjusted`` percentiles, and nowhere else.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.intervals import both_ranks, lower_rank, minimum_n, upper_rank
from benchmarks.result import MetricResult, Quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.model import Better, Metric

PERCENTILES: Final = (0.50, 0.90, 0.95, 0.99, 0.999)
#: where higher is better the bad tail is the low one, so these are given too
LOW_PERCENTILES: Final = (0.10, 0.05, 0.01)
TOO_SMALL: Final = "n too small"
FAILURES: Final = "failures"
NO_INTERVAL: Final = "interval: n too small"
INFINITE_BOUND: Final = "bound: failures"
#: |x - median| / MAD above which a value is warned of: ten standard deviations of a normal distribution
OUTLIER_MADS: Final = 14.8
#: the mean absolute deviation in MADs for a normal distribution
_MAD_OF_MEAN_DEVIATION: Final = 0.8453


def percentile_name(p: float) -> str:
    """``p50``, ``p99.9``."""
    return f"p{round(p * 100, 6):g}"


def nearest_rank(n: int, p: float) -> int:
    """The 1-based rank of the p-quantile of n values."""
    # 0.07 * 100 is a little above 7, and must not become 8
    return max(1, min(n, math.ceil(round(n * p, 9))))


def graded_percentile(p: float, better: Better) -> float:
    """The percentile on the bad side: p90 of a time, p10 of a rate."""
    return p if better == "lower" else round(1 - p, 9)


def quantile(ordered: Sequence[float], p: float, better: Better) -> Quantile:
    """One percentile of ascending values, among which infinite ones stand for failures.

    ``reason`` says why something is None: the value (``n too small``, ``failures``), only its two-sided interval
    (``interval: n too small``), or only its one-sided bound (``bound: failures``: it is infinite).
    """
    n = len(ordered)
    if n < minimum_n(p):
        return Quantile(None, reason=TOO_SMALL)
    value = ordered[nearest_rank(n, p) - 1]
    if math.isinf(value):
        return Quantile(None, reason=FAILURES)
    rank = upper_rank(n, p) if better == "lower" else lower_rank(n, p)
    bound = None if rank is None else ordered[rank - 1]
    ranks = both_ranks(n, p)
    ci = None if ranks is None else (ordered[ranks[0] - 1], ordered[ranks[1] - 1])
    reason = None
    if ranks is None:
        reason = NO_INTERVAL
    elif ci is not None and any(map(math.isinf, ci)):
        ci, reason = None, INFINITE_BOUND
    if bound is not None and math.isinf(bound):
        bound, reason = None, INFINITE_BOUND
    return Quantile(value, ci, bound, reason)


def quantiles(ordered: Sequence[float], better: Better) -> dict[str, Quantile]:
    """All percentiles by name; where higher is better p10, p5 and p1 too."""
    wanted = PERCENTILES if better == "lower" else (*PERCENTILES, *LOW_PERCENTILES)
    return {percentile_name(p): quantile(ordered, p, better) for p in wanted}


def outliers(ordered: Sequence[float]) -> int:
    """How many values are far from the median; they stay in every figure.

    Where more than half of the values are equal the MAD is 0, and the mean absolute deviation stands in for it.
    """
    if not ordered:
        return 0
    middle = median(ordered)
    away = [abs(value - middle) for value in ordered]
    scale = median(away) or _MAD_OF_MEAN_DEVIATION * math.fsum(away) / len(away)
    return sum(1 for each in away if each > OUTLIER_MADS * scale) if scale else 0


def spread(values: Sequence[float]) -> float | None:
    """(max - min) / min of nodes or runs; None without values or where the least is not above 0."""
    low = min(values, default=0.0)
    return (max(values) - low) / low if low > 0 else None


def consistency(values: Sequence[float]) -> float | None:
    """Min / max of nodes or runs, 1 when all are equal; None without values or where one is below 0 or all are 0."""
    low, high = min(values, default=-1.0), max(values, default=0.0)
    return low / high if low >= 0 and high > 0 else None


def describe(values: Sequence[float], metric: Metric, failures: int = 0) -> MetricResult:
    """The statistics of one metric.

    Args:
        values: of the OK requests of the measure phase, in any order, in the metric's unit. One that is not a finite
            number counts as a failure, and is said in ``missing``.
        metric: whose; request scope.
        failures: intended requests without a value because they failed.
    """
    ordered = sorted(value for value in values if math.isfinite(value))
    n = len(ordered)
    missing: dict[str, str] = {}
    if strange := len(values) - n:
        missing["values"] = f"{strange} of {len(values)} were not finite numbers; counted as failures"
    infinite = [math.inf] * (failures + strange)
    adjusted = ordered + infinite if metric.better == "lower" else [-value for value in infinite] + ordered
    mean = math.fsum(ordered) / n if n else None
    sd = None
    if mean is not None and n > 1:
        sd = math.sqrt(math.fsum((value - mean) ** 2 for value in ordered) / (n - 1))
    cv = sd / mean if sd is not None and mean is not None and mean > 0 else None
    if not n:
        missing |= dict.fromkeys(("mean", "median", "sd", "cv", "min", "max"), "no value")
    elif sd is None:
        missing |= dict.fromkeys(("sd", "cv"), "one value only")
    elif cv is None:
        missing["cv"] = "the mean is not above 0"
    return MetricResult(
        unit=metric.unit,
        formula=metric.formula,
        better=metric.better,
        scope="request",
        n=n,
        mean=mean,
        median=median(ordered) if n else None,
        sd=sd,
        cv=cv,
        min=ordered[0] if n else None,
        max=ordered[-1] if n else None,
        outliers=outliers(ordered),
        q=quantiles(ordered, metric.better),
        adjusted=quantiles(adjusted, metric.better),
        missing=missing,
    )


def figure_of(metric: MetricResult) -> float | None:
    """The one figure of a metric: of requests the error-adjusted median; None: it is infinite or unknown."""
    if metric.scope == "run":
        return metric.value
    p50 = metric.adjusted.get("p50")
    return None if p50 is None else p50.value


def run_metric(value: float | None, metric: Metric, reason: str = "not measured") -> MetricResult:
    """A metric that has one value a run; None (or not a finite number) with the reason."""
    if value is not None and not math.isfinite(value):
        value, reason = None, "not a finite number"
    return MetricResult(
        unit=metric.unit,
        formula=metric.formula,
        better=metric.better,
        scope="run",
        n=0 if value is None else 1,
        value=value,
        missing={} if value is not None else {"value": reason},
    )
