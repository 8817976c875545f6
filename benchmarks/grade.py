"""The letter of a run, by the grade policy. Pure: the same figures and policy give the same letter, on every screen.

A letter is that of the ladder, one step lower when the statistic's bound crosses a boundary, and never better than the
caps. Making a request slower, or a failure of an OK one, never makes it better.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from benchmarks.intervals import minimum_n
from benchmarks.model import Ladder  # noqa: TC001 - msgspec resolves field types when it decodes
from benchmarks.result import (
    LETTERS,
    Cap,
    Counts,
    Grade,
    GradePart,
    Letter,
    MetricResult,
    Quantile,
    Validity,
    worst_letter,
)
from benchmarks.stats import FAILURES, TOO_SMALL, graded_percentile, percentile_name
from benchmarks.validity import MIN_N

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.model import Mode

#: below it there is no letter in any mode
MIN_GRADED_N: Final = 10
_QUICK_CAP: Final[Letter] = "A"


class FailureCap(Struct, frozen=True):
    """The best letter that is left when more than this share of the requests failed (``at``: or exactly this)."""

    share: float
    letter: Letter
    at: bool = False

    def holds(self, failed: int, intended: int) -> bool:
        """Whether so many failures trigger it."""
        # one division rounds to the very float that the share is written as, so 3 of 30 is not above 0.1
        found = failed / intended
        return found > self.share or (self.at and found == self.share)

    @property
    def words(self) -> str:
        """``more than 5 % failed``."""
        if not self.share:
            return "a request failed"
        return f"{'at least' if self.at else 'more than'} {self.share * 100:g} % failed"


#: from the mildest to the hardest
CAPS: Final = (
    FailureCap(0.0, "A"),
    FailureCap(0.05, "B"),
    FailureCap(0.10, "C"),
    FailureCap(0.50, "F", at=True),
)


class Policy(Struct, frozen=True):
    """Ladders by benchmark, the caps, and an id that changes with them."""

    id: str
    ladders: dict[str, tuple[Ladder, ...]]
    caps: tuple[FailureCap, ...] = CAPS


def policy(
    defaults: Mapping[str, tuple[Ladder, ...]],
    configured: Mapping[str, tuple[Ladder, ...]] | None = None,
    caps: tuple[FailureCap, ...] = CAPS,
) -> Policy:
    """The policy: the benchmarks' own ladders, and those that the configuration has instead.

    Its id is ``default-1``, or ``custom-`` and 8 hex digits of its content where that differs from the defaults.
    """
    ladders = {**defaults, **(configured or {})}
    if ladders == dict(defaults) and caps == CAPS:
        return Policy("default-1", ladders, caps)
    content = msgspec.json.encode([ladders, caps], order="sorted")
    return Policy(f"custom-{hashlib.sha256(content).hexdigest()[:8]}", ladders, caps)


def worse(one: Letter, other: Letter) -> Letter:
    """The worse of two letters."""
    return one if LETTERS.index(one) >= LETTERS.index(other) else other


def letter_of(value: float, ladder: Ladder) -> Letter:
    """The letter of a value; boundaries belong to the better letter."""
    steps: tuple[tuple[Letter, float], ...] = (("S", ladder.s), ("A", ladder.a), ("B", ladder.b), ("C", ladder.c))
    for letter, bound in steps:
        if (value <= bound) if ladder.better == "lower" else (value >= bound):
            return letter
    return "D"


def grade(
    of: Policy,
    benchmark: str,
    *,
    mode: Mode,
    counts: Counts,
    metrics: Mapping[str, MetricResult],
    validity: Validity,
    died: bool = False,
) -> Grade:
    """Grade a run.

    Args:
        of: the policy.
        benchmark: its id; one without a ladder is ungraded.
        mode: full grades the tail, quick the median, check nothing.
        counts: of the measure phase; whatever is not OK is a failure.
        metrics: by tag, with adjusted percentiles.
        validity: an invalid run has no letter.
        died: the server went away during the run.
    """
    none = _no_letter(of.id, mode, counts, validity, died=died)
    if none is not None:
        return none
    ladders = of.ladders.get(benchmark, ())
    caps = failure_caps(of.caps, counts, died=died)
    # what fails is F whether or not anything says what is good
    if not ladders and not any(cap.letter == "F" for cap in caps):
        return _without_letter(of.id, "ungraded (no baseline)", mode)
    parts = tuple(_part(ladder, metrics.get(ladder.tag), counts, mode) for ladder in ladders)
    return _graded(of.id, parts, mode, caps)


def _no_letter(policy_id: str, mode: Mode, counts: Counts, validity: Validity, *, died: bool) -> Grade | None:
    """The grade of a run that has no letter whatever its figures are."""
    if validity.verdict != "valid":
        reason = "INVALID: " + "; ".join(validity.reasons)
    elif mode == "check":
        reason = "a check has no letter"
    elif counts.intended < MIN_GRADED_N and not died:
        reason = f"{TOO_SMALL}: {counts.intended} requests, a letter needs {MIN_GRADED_N}"
    else:
        return None
    return _without_letter(policy_id, reason, mode)


def _without_letter(policy_id: str, reason: str, mode: Mode, parts: tuple[GradePart, ...] = ()) -> Grade:
    return Grade(None, policy_id, approximate=mode == "quick", reason=reason, parts=parts, missing={"letter": reason})


def _part(ladder: Ladder, metric: MetricResult | None, counts: Counts, mode: Mode) -> GradePart:
    """What one ladder says of its metric."""
    if metric is None:
        return _ungraded_part(ladder, ladder.tag, "not measured")
    if metric.scope == "run":
        if metric.value is None:
            return _ungraded_part(ladder, ladder.tag, metric.missing.get("value", "not measured"))
        letter = letter_of(metric.value, ladder)
        return GradePart(ladder.tag, ladder.tag, ladder.unit, metric.value, None, letter, letter)
    n = metric.n + counts.intended - counts.ok
    name = percentile_name(graded_percentile(_percentile(ladder, n, mode), ladder.better))
    statistic = f"{ladder.tag} {name}, error-adjusted"
    wanted = MIN_N if mode == "full" else MIN_GRADED_N
    if n < wanted:
        return _ungraded_part(ladder, statistic, f"{TOO_SMALL}: {n} values, a {mode} run's letter needs {wanted}")
    found = metric.adjusted.get(name, Quantile(None, reason="not measured"))
    if found.value is None and found.reason != FAILURES:
        return _ungraded_part(ladder, statistic, found.reason or "not measured")
    return _of_quantile(ladder, statistic, found)


def _percentile(ladder: Ladder, n: int, mode: Mode) -> float:
    if mode != "full":
        return 0.50
    if ladder.tail is not None and n >= minimum_n(ladder.tail):
        return ladder.tail
    return ladder.percentile


def _ungraded_part(ladder: Ladder, statistic: str, reason: str) -> GradePart:
    return GradePart(ladder.tag, statistic, ladder.unit, None, None, None, None, reason=reason)


def _of_quantile(ladder: Ladder, statistic: str, found: Quantile) -> GradePart:
    """The ladder's letter, one step lower where the bound has a worse one; D for an infinite statistic."""
    if found.value is None:
        return GradePart(ladder.tag, statistic, ladder.unit, None, None, "D", "D", reason=FAILURES)
    alone = letter_of(found.value, ladder)
    bound = "D" if found.upper is None else letter_of(found.upper, ladder)
    if bound == worse(bound, alone) and bound != alone:
        return GradePart(
            ladder.tag,
            statistic,
            ladder.unit,
            found.value,
            found.upper,
            LETTERS[LETTERS.index(alone) + 1],
            alone,
            provisional=True,
        )
    return GradePart(ladder.tag, statistic, ladder.unit, found.value, found.upper, alone, alone)


def failure_caps(rules: tuple[FailureCap, ...], counts: Counts, *, died: bool) -> tuple[Cap, ...]:
    """The hardest rule on failures that holds, and what is F whatever the ladder says."""
    caps: list[Cap] = []
    failed = counts.intended - counts.ok
    holding = [rule for rule in rules if counts.intended and rule.holds(failed, counts.intended)]
    if holding:
        rule = max(holding, key=lambda rule: LETTERS.index(rule.letter))
        at_most = "F" if rule.letter == "F" else f"at most {rule.letter}"
        caps.append(Cap(rule.letter, f"{rule.words} ({failed} of {counts.intended}): {at_most}"))
    if failed and not counts.ok:
        caps.append(Cap("F", f"all {failed} requests failed on the server's side: F"))
    if died:
        caps.append(Cap("F", "the server died during the run: F"))
    return tuple(caps)


def _graded(policy_id: str, parts: tuple[GradePart, ...], mode: Mode, failed: tuple[Cap, ...]) -> Grade:
    """The worst ladder, then the caps. A ladder without a letter leaves none, unless the server earned its F anyway."""
    letters: list[Letter] = [part.letter for part in parts if part.letter is not None]
    doomed = any(cap.letter == "F" for cap in failed)
    ungraded = [part for part in parts if part.letter is None]
    if ungraded and not doomed:
        reason = "; ".join(f"{part.statistic}: {part.reason}" for part in ungraded)
        return _without_letter(policy_id, reason, mode, parts)
    worst = max(parts, key=_badness, default=None)
    caps = [_bound_cap(part) for part in parts if part.provisional]
    if mode == "quick" and letters and set(letters) == {"S"}:
        caps.append(Cap(_QUICK_CAP, f"quick mode: at most {_QUICK_CAP}"))
    caps += failed
    all_letters: list[Letter] = [*letters, *(cap.letter for cap in caps)]
    letter = worst_letter(all_letters)
    return Grade(
        letter,
        policy_id,
        provisional=any(part.provisional and part.letter == letter for part in parts),
        approximate=mode == "quick",
        statistic=worst.statistic if worst else None,
        value=worst.value if worst else None,
        upper=worst.upper if worst else None,
        unit=worst.unit if worst else None,
        uncapped=worst.uncapped if worst else None,
        caps=tuple(caps),
        parts=parts,
        missing=_missing(worst),
    )


def _badness(part: GradePart) -> tuple[int, int]:
    """Orders parts by the letter they leave; a part without one never stands for the others."""
    if part.letter is None or part.uncapped is None:
        return -1, -1
    return LETTERS.index(part.letter), LETTERS.index(part.uncapped)


def _bound_cap(part: GradePart) -> Cap:
    bound = "is infinite (failures)" if part.upper is None else f"{part.upper:.4g} {part.unit} crosses a boundary"
    return Cap(part.letter or "D", f"{part.statistic}: its one-sided 95 % bound {bound}: one step down, provisional")


def _missing(part: GradePart | None) -> dict[str, str]:
    if part is None:
        return dict.fromkeys(("statistic", "value", "upper", "unit", "uncapped"), "no ladder")
    missing: dict[str, str] = {}
    if part.value is None:
        missing["value"] = missing["upper"] = part.reason or "not measured"
    elif part.upper is None:
        missing["upper"] = FAILURES if part.provisional or part.letter == "D" else "one value a run has no bound"
    if part.uncapped is None:
        missing["uncapped"] = part.reason or "not measured"
    return missing
