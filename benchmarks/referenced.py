"""Grades of what has no ladder (rule 7): against a configured target, else against a recorded baseline. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from benchmarks.against import grade_against
from benchmarks.grade import CAPS, MIN_GRADED_N, failure_caps
from benchmarks.result import Cap, worst_letter
from benchmarks.stats import figure_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.benchmark import Definition
    from benchmarks.result import Grade, Letter, Result

_QUICK: Final = Cap("A", "quick mode: at most A")


def wants_reference(result: Result, definition: Definition) -> bool:
    """Whether a result has no letter only because nothing says what is good."""
    grade = result.grade
    ungraded = grade.letter is None and (grade.reason or "").startswith("ungraded")
    return definition.reference is not None and ungraded and result.counts.intended >= MIN_GRADED_N


def graded(result: Result, definition: Definition, baseline: Result | None, targets: Mapping[str, float]) -> Result:
    """The result with its letter against a reference; as it was when there is none.

    Args:
        result: one that ``wants_reference``.
        definition: of its benchmark.
        baseline: of its configuration on its host.
        targets: of the configuration, by metric; a target is a specification and goes before a baseline.
    """
    tag = definition.reference
    metric = None if tag is None else result.metrics.get(tag)
    if tag is None or metric is None:
        return result
    if tag in targets:
        reference, source = targets[tag], "configured target"
    else:
        of_baseline = None if baseline is None else baseline.metrics.get(tag)
        if baseline is None or of_baseline is None:
            return result
        reference, source = figure_of(of_baseline), f"baseline {baseline.run_id}"
    grade = grade_against(figure_of(metric), reference, metric.better, statistic=tag, unit=metric.unit, source=source)
    return msgspec.structs.replace(result, grade=_capped(grade, result))


def _capped(grade: Grade, result: Result) -> Grade:
    """Failures and quick mode lower it as they lower every other letter."""
    if grade.letter is None:
        return grade
    quick = result.config.mode == "quick"
    caps = failure_caps(CAPS, result.counts, died=False)
    if quick and grade.letter == "S":
        caps = (_QUICK, *caps)
    letters: list[Letter] = [grade.letter, *(cap.letter for cap in caps)]
    return msgspec.structs.replace(grade, letter=worst_letter(letters), caps=caps, approximate=quick)
