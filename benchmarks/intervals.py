"""How sure a figure is: intervals for quantiles, error rates, means over runs, ratios and differences. Pure.

Rule 9 of the honesty rules: order statistics for quantiles and medians, Wilson for error rates, t over runs, a seeded
bootstrap for ratios, exact ranks for differences. Nothing here needs more than the standard library.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import accumulate
from random import Random
from statistics import NormalDist, median
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE: Final = 0.95
#: values a side below which a bootstrap says nothing
BOOTSTRAP_MIN_N: Final = 20
BOOTSTRAP_ROUNDS: Final = 2000
#: above it a resampled mean is drawn from its normal limit: the same to within what a percentile shows
_RESAMPLE_MAX_N: Final = 2000
#: pairs of runs up to which the null distribution is counted out (40 a side)
EXACT_MAX_PAIRS: Final = 1600
_NORMAL: Final = NormalDist()

Interval = tuple[float, float]


class _Binomial(Struct, frozen=True):
    """Bin(n, p) where it is not negligible: ``below[i]`` is P(X <= first + i), ``above[i]`` is P(X >= first + i)."""

    first: int
    below: tuple[float, ...]
    above: tuple[float, ...]


@lru_cache(maxsize=64)
def _binomial(n: int, p: float) -> _Binomial:
    """The distribution within twelve standard deviations and twenty counts of its mean.

    Weights are multiplied outwards from the mode and divided by their sum: exact to rounding, without a factorial.
    """
    reach = 12 * math.sqrt(n * p * (1 - p)) + 20
    mode = min(n, int((n + 1) * p))
    first, last = max(0, int(mode - reach)), min(n, math.ceil(mode + reach))
    odds = p / (1 - p)
    down = [1.0]
    for k in range(mode, first, -1):
        down.append(down[-1] * k / (n - k + 1) / odds)
    up = [1.0]
    for k in range(mode, last):
        up.append(up[-1] * (n - k) / (k + 1) * odds)
    weights = down[:0:-1] + up
    total = math.fsum(weights)
    below = tuple(part / total for part in accumulate(weights))
    above = tuple(part / total for part in accumulate(reversed(weights)))[::-1]
    return _Binomial(first, below, above)


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) of Bin(n, p), 0 < p < 1."""
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    found = _binomial(n, p)
    at = k - found.first
    if at < 0:
        return 0.0
    return min(1.0, found.below[at]) if at < len(found.below) else 1.0


@lru_cache(maxsize=512)
def upper_rank(n: int, p: float, confidence: float = CONFIDENCE) -> int | None:
    """The lowest rank (1-based) whose value is at or above the p-quantile with this confidence; None: n too small."""
    if n < 1:
        return None
    found = _binomial(n, p)
    # P(the u-th value is below the quantile) = P(X >= u)
    for at, tail in enumerate(found.above):
        if tail <= 1 - confidence:
            return max(1, found.first + at)
    return None


@lru_cache(maxsize=512)
def lower_rank(n: int, p: float, confidence: float = CONFIDENCE) -> int | None:
    """The highest rank (1-based) whose value is at or below the p-quantile with this confidence; None: n too small."""
    mirrored = upper_rank(n, 1 - p, confidence)
    return None if mirrored is None else n + 1 - mirrored


def both_ranks(n: int, p: float, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """The ranks (1-based) between which the p-quantile lies, equal tails; None: n too small."""
    each = 1 - (1 - confidence) / 2
    low, high = lower_rank(n, p, each), upper_rank(n, p, each)
    return None if low is None or high is None else (low, high)


def quantile_bounds(
    n: int, p: float, confidence: float = CONFIDENCE, side: Literal["upper", "lower", "both"] = "both"
) -> tuple[int | None, int | None] | None:
    """Order-statistic interval of the p-quantile as 1-based ranks (low, high).

    A one-sided interval has None on its open side. None altogether: none exists for this n.
    """
    if side == "both":
        return both_ranks(n, p, confidence)
    if side == "upper":
        high = upper_rank(n, p, confidence)
        return None if high is None else (None, high)
    low = lower_rank(n, p, confidence)
    return None if low is None else (low, None)


def minimum_n(p: float, confidence: float = CONFIDENCE, side: Literal["one", "both"] = "one") -> int:
    """How many values the p-quantile needs so that it has a bound on its tail's side (rule 4: 5, 29, 59, 299, 2995)."""
    miss = 1 - confidence if side == "one" else (1 - confidence) / 2
    return math.ceil(math.log(miss) / math.log(max(p, 1 - p)))


def wilson(count: int, n: int, confidence: float = CONFIDENCE) -> Interval | None:
    """Wilson's interval of a share, within 0 to 1; None without a trial."""
    if n < 1:
        return None
    z = _NORMAL.inv_cdf(1 - (1 - confidence) / 2)
    share = count / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if count == 0 else max(0.0, (middle - half) / scale)
    high = 1.0 if count == n else min(1.0, (middle + half) / scale)
    return low, high


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Lentz's continued fraction of the incomplete beta function."""
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    found = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 + step * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + step / c
            c = c if abs(c) > tiny else tiny
            found *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return found


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, 1 - x) / b


@lru_cache(maxsize=128)
def student_t(p: float, freedom: int) -> float:
    """The p-quantile of Student's t, 0.5 <= p < 1, with at least one degree of freedom."""
    tail = 2 * (1 - p)
    # I_x(freedom / 2, 1 / 2) with x = freedom / (freedom + t^2) is the share outside -t to t
    low, high = 0.0, 1.0
    for _ in range(200):
        x = (low + high) / 2
        if incomplete_beta(freedom / 2, 0.5, x) < tail:
            low = x
        else:
            high = x
    x = (low + high) / 2
    return math.sqrt(freedom * (1 - x) / x) if x else math.inf


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The interval of the mean over runs; None for fewer than two."""
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = student_t(1 - (1 - confidence) / 2, n - 1) * sd / math.sqrt(n)
    return mean - half, mean + half


def _resampled_mean(values: Sequence[float], random: Random) -> float:
    n = len(values)
    if n <= _RESAMPLE_MAX_N:
        return math.fsum(random.choices(values, k=n)) / n
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / n
    return random.gauss(mean, math.sqrt(variance / n))


def _resampled_median(ordered: Sequence[float], random: Random) -> float:
    """The median of a resample without drawing it: the k-th of n uniform numbers is beta distributed."""
    n = len(ordered)
    k = (n + 1) // 2
    u = random.betavariate(k, n - k + 1)
    value = ordered[min(n - 1, int(n * u))]
    if n % 2:
        return value
    # given the k-th, the next is the least of the n - k that are above it
    v = 1 - (1 - u) * random.random() ** (1 / (n - k))
    return (value + ordered[min(n - 1, int(n * v))]) / 2


def ratio_interval(
    above: Sequence[float],
    below: Sequence[float],
    *,
    of: Literal["median", "mean"] = "median",
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval | None:
    """Percentile bootstrap of the ratio of two medians or means, the same for the same seed.

    None where a side has fewer than 20 values, or where the lower side is not above 0.
    """
    if min(len(above), len(below)) < BOOTSTRAP_MIN_N or min(below) <= 0:
        return None
    random = Random(seed)  # noqa: S311 - seeded on purpose: an interval must not differ from one look to the next
    draw = _resampled_median if of == "median" else _resampled_mean
    # in order, so that the order in which values came changes nothing
    top, bottom = sorted(above), sorted(below)
    ratios = sorted(draw(top, random) / draw(bottom, random) for _ in range(BOOTSTRAP_ROUNDS))
    cut = int(BOOTSTRAP_ROUNDS * (1 - confidence) / 2)
    return ratios[cut], ratios[-1 - cut]


class Shift(Struct, frozen=True):
    """How much larger ``b`` is than ``a``: Hodges-Lehmann estimate and its interval (None: too few on a side).

    ``exact``: the null distribution of U was counted out; else its normal approximation was used.
    """

    estimate: float
    interval: Interval | None
    exact: bool


@lru_cache(maxsize=64)
def _u_counts(m: int, n: int) -> tuple[int, ...]:
    """In how many of the arrangements of m and n values U is 0, 1, ... m * n: the Gaussian binomial coefficient."""
    size = m * n + 1
    counts = [1] + [0] * (size - 1)
    for i in range(1, m + 1):
        for at in range(size - 1, n + i - 1, -1):
            counts[at] -= counts[at - n - i]
        for at in range(i, size):
            counts[at] += counts[at - i]
    return tuple(counts)


def _cut(m: int, n: int, miss: float) -> int:
    """How many differences are left out at either end."""
    if m * n <= EXACT_MAX_PAIRS:
        allowed = miss * math.comb(m + n, m)
        return sum(1 for part in accumulate(_u_counts(min(m, n), max(m, n))) if part <= allowed)
    spread = math.sqrt(m * n * (m + n + 1) / 12)
    return max(0, math.floor(m * n / 2 - 0.5 + _NORMAL.inv_cdf(miss) * spread) + 1)


def shift_interval(a: Sequence[float], b: Sequence[float], confidence: float = CONFIDENCE) -> Shift | None:
    """The rank interval (Mann-Whitney, Hodges-Lehmann) of the difference ``b - a``; None where a side is empty.

    Exact up to 1,600 pairs of runs (40 a side), above by the normal approximation. Four a side is the least that has a
    95 % interval. Ties make it wider than needed, never narrower.
    """
    if not a or not b:
        return None
    differences = sorted(right - left for left in a for right in b)
    cut = _cut(len(a), len(b), (1 - confidence) / 2)
    interval = (differences[cut - 1], differences[-cut]) if cut else None
    return Shift(median(differences), interval, len(differences) <= EXACT_MAX_PAIRS)
