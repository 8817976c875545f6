"""Whether a run became slower or faster while it was measured: Mann-Kendall's test and the Theil-Sen line. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from itertools import pairwise
from statistics import NormalDist, median
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

#: rule 8: a run drifts when chance makes such a trend in fewer than 1 of 100 runs, and it is over 10 % of the median
MAX_P: Final = 0.01
MAX_CHANGE: Final = 0.10
#: points above which the line (two million slopes) is fitted to medians of equal blocks; the test looks at all of them
MAX_POINTS: Final = 2000
_NORMAL: Final = NormalDist()


class Drift(Struct, frozen=True):
    """A trend over the window: its p, and what the fitted line gains from the first to the last value.

    ``share`` is ``change / median``, None where the median is not above 0. ``blocks``: the line was fitted to so many
    medians of blocks; None: to every value.
    """

    n: int
    p: float
    change: float
    median: float
    share: float | None
    blocks: int | None = None

    @property
    def drifted(self) -> bool:
        """Whether the run must not be trusted for it."""
        return self.p < MAX_P and abs(self.change) > MAX_CHANGE * abs(self.median)


def mann_kendall(values: Sequence[float]) -> float | None:
    """Two-sided p of "no trend", corrected for ties; None for fewer than four values."""
    n = len(values)
    if n < 4:
        return None
    seen: list[float] = []
    score = 0
    for value in values:
        score += bisect_left(seen, value) - (len(seen) - bisect_right(seen, value))
        insort(seen, value)
    ties = sum(t * (t - 1) * (2 * t + 5) for t in Counter(seen).values() if t > 1)
    variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    if variance <= 0 or score == 0:
        return 1.0
    z = (abs(score) - 1) / math.sqrt(variance)
    return 2 * _NORMAL.cdf(-z)


def condense(at: Sequence[float], values: Sequence[float], blocks: int) -> tuple[list[float], list[float]]:
    """Medians of ``blocks`` consecutive blocks whose sizes differ by one at most."""
    n = len(values)
    cuts = [i * n // blocks for i in range(blocks + 1)]
    pairs = list(pairwise(cuts))
    return [median(at[i:j]) for i, j in pairs], [median(values[i:j]) for i, j in pairs]


def theil_sen(at: Sequence[float], values: Sequence[float]) -> float | None:
    """The median slope of all pairs; None where no two points lie apart."""
    n = len(values)
    slopes = [(values[j] - values[i]) / (at[j] - at[i]) for i in range(n) for j in range(i + 1, n) if at[j] != at[i]]
    return median(slopes) if slopes else None


def drift(values: Sequence[float], at_s: Sequence[float] | None = None) -> Drift | None:
    """The trend of values in the order in which their requests began.

    Args:
        values: of OK requests.
        at_s: when each began, ascending; None: evenly spaced.

    Returns:
        None for fewer than four values, or when all began at once.
    """
    p = mann_kendall(values)
    if p is None:
        return None
    at = [float(i) for i in range(len(values))] if at_s is None else list(at_s)
    length = at[-1] - at[0]
    blocks = MAX_POINTS if len(values) > MAX_POINTS else None
    slope = theil_sen(at, values) if blocks is None else theil_sen(*condense(at, values, blocks))
    if slope is None:
        return None
    middle = median(values)
    change = slope * length
    return Drift(len(values), p, change, middle, change / middle if middle > 0 else None, blocks)
