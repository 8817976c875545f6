"""The one figure that stands for a run in lists and trends, always with the name of what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from benchmarks.model import RESPONSE_TIME

if TYPE_CHECKING:
    from benchmarks.result import MetricResult, Result


class Primary(Struct, frozen=True):
    """A figure: what it is, its value and unit; ``value`` None: it is infinite or unknown."""

    statistic: str
    value: float | None
    unit: str


def primary(result: Result) -> Primary | None:
    """The figure of a result: the graded one, else the response time, else the benchmark's own first metric.

    A run without any figure (nothing came back, not even a metric's name) has none.
    """
    grade = result.grade
    if grade.statistic is not None:
        return Primary(grade.statistic, grade.value, grade.unit or "")
    for tag in (RESPONSE_TIME.tag, *result.metrics):
        if tag in result.metrics:
            return _of_metric(tag, result.metrics[tag])
    return None


def _of_metric(tag: str, metric: MetricResult) -> Primary:
    if metric.scope == "run":
        return Primary(tag, metric.value, metric.unit)
    p50 = metric.q.get("p50")
    return Primary(f"{tag} p50, ok only", None if p50 is None else p50.value, metric.unit)
