"""Figures that have no ladder of their own: graded against a recorded baseline or a specification (rule 7). Pure."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from benchmarks.grade import letter_of
from benchmarks.model import Ladder
from benchmarks.result import Grade

if TYPE_CHECKING:
    from benchmarks.model import Better


class Shares(Struct, frozen=True):
    """The ladder of rule 7, in shares of the reference: 1.0 is as good as it; what is worse than ``c`` is D.

    Reaching the reference is S: nothing better was ever shown on such hardware, or is promised of it. One step is
    about what a wrong setting costs (5 %: noise of a good run; 15 %: a slower clock; 30 %: a channel or socket unused).
    """

    s: float = 1.00
    a: float = 0.95
    b: float = 0.85
    c: float = 0.70


SHARES: Final = Shares()


def grade_against(
    value: float | None,
    reference: float | None,
    better: Better,
    *,
    statistic: str,
    unit: str,
    source: str = "baseline",
    shares: Shares = SHARES,
) -> Grade:
    """The letter of a figure without a ladder of its own, against a recorded baseline or a specification.

    Args:
        value: the figure; None: there is no letter.
        reference: what it is measured by; None: ``ungraded (no baseline)``.
        better: lower: the share is reference / value.
        statistic: names the figure.
        unit: of both.
        source: where the reference comes from, in words; stands in the statistic.
        shares: the ladder.
    """
    policy_id = "against-1"
    if shares != SHARES:
        policy_id = f"against-{hashlib.sha256(msgspec.json.encode(shares)).hexdigest()[:8]}"
    reason = None
    if reference is None:
        reason = "ungraded (no baseline)"
    elif value is None:
        reason = f"{statistic}: not measured"
    elif not (math.isfinite(value) and math.isfinite(reference) and value > 0 and reference > 0):
        reason = f"ungraded ({statistic} {value:g} and {source} {reference:g} have no share)"
    if reason is not None or value is None or reference is None:
        return Grade(None, policy_id, statistic=statistic, value=value, unit=unit, reason=reason,
                     missing={"letter": reason or "not measured"})  # fmt: skip
    share = value / reference if better == "higher" else reference / value
    ladder = Ladder(statistic, unit, shares.s, shares.a, shares.b, shares.c, better="higher")
    letter = letter_of(share, ladder)
    return Grade(
        letter,
        policy_id,
        statistic=f"{statistic}, {share:.1%} of the {source} ({reference:.4g} {unit})",
        value=value,
        unit=unit,
        uncapped=letter,
        missing={"upper": "one value a run has no bound"},
    )
