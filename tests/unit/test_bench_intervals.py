"""Intervals and trends against tables and figures worked out by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.intervals import (
    binomial_cdf,
    both_ranks,
    lower_rank,
    minimum_n,
    quantile_bounds,
    ratio_interval,
    shift_interval,
    student_t,
    t_interval,
    upper_rank,
    wilson,
)
from benchmarks.trend import condense, drift, mann_kendall, theil_sen


@pytest.mark.parametrize(
    ("p", "one", "both"), [(0.5, 5, 6), (0.9, 29, 36), (0.95, 59, 72), (0.99, 299, 368), (0.999, 2995, 3688)]
)
def test_least_n_of_a_percentile(p, one, both):
    assert minimum_n(p) == one
    assert minimum_n(p, side="both") == both
    assert upper_rank(one - 1, p) is None
    assert upper_rank(one, p) == one
    assert both_ranks(both - 1, p) is None
    assert both_ranks(both, p) is not None
    assert quantile_bounds(one, p, side="upper") == (None, one)
    assert quantile_bounds(one - 1, p, side="upper") is None
    assert quantile_bounds(both - 1, p) is None


def test_the_same_for_the_low_tail():
    assert minimum_n(0.1) == 29
    assert lower_rank(28, 0.1) is None
    assert lower_rank(29, 0.1) == 1
    assert quantile_bounds(29, 0.1, side="lower") == (1, None)


def test_binomial_distribution():
    # 1 + 10 + 45 + 120 = 176 of 1024
    assert binomial_cdf(3, 10, 0.5) == pytest.approx(176 / 1024, rel=1e-13)
    assert binomial_cdf(28, 29, 0.9) == pytest.approx(1 - 0.9**29, rel=1e-13)
    assert binomial_cdf(-1, 10, 0.5) == 0
    assert binomial_cdf(10, 10, 0.5) == 1
    # symmetric, so the middle term is shared: 1/2 + C(100000, 50000) / 2^100001
    middle = math.exp(math.lgamma(100_001) - 2 * math.lgamma(50_001) - 100_001 * math.log(2))
    assert binomial_cdf(50_000, 100_000, 0.5) == pytest.approx(0.5 + middle, rel=1e-9)


def test_ranks_of_many_values():
    # 50,000 -+ 1.96 * sqrt(100,000 / 4) = 310
    assert both_ranks(100_000, 0.5) == (49_690, 50_311)


def test_wilson_by_hand():
    # z^2 = 3.8415: 0 of 10: z^2 / (n + z^2); 5 of 10: the middle is 1/2, half of it z / (2 sqrt(n + z^2))
    low, high = wilson(0, 10)
    assert (low, high) == (0.0, pytest.approx(0.27753, abs=1e-5))
    assert wilson(10, 10) == (pytest.approx(0.72247, abs=1e-5), 1.0)
    assert wilson(5, 10) == (pytest.approx(0.23659, abs=1e-5), pytest.approx(0.76341, abs=1e-5))
    assert wilson(0, 0) is None


@pytest.mark.parametrize(
    ("p", "freedom", "t"),
    # the printed tables' three decimals
    [(0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 3, 3.182), (0.975, 4, 2.776), (0.975, 9, 2.262),
     (0.975, 29, 2.045), (0.975, 100, 1.984), (0.95, 5, 2.015), (0.995, 10, 3.169), (0.9, 7, 1.415),
     (0.975, 100_000, 1.960)],
)  # fmt: skip
def test_student_t_table(p, freedom, t):
    assert student_t(p, freedom) == pytest.approx(t, abs=5.1e-4)


def test_t_interval_by_hand():
    # mean 3, sd sqrt(2.5) = 1.5811, over sqrt(5): 0.70711, times 2.776
    assert t_interval([1, 2, 3, 4, 5]) == (pytest.approx(1.0367, abs=1e-3), pytest.approx(4.9633, abs=1e-3))
    assert t_interval([1.0]) is None
    assert t_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)


def test_four_runs_a_side_are_the_least():
    # three a side: the extreme arrangement is 1 of 20, twice that is 10 %; four: 1 of 70, 2.9 %
    assert shift_interval([1, 2, 3], [5, 6, 7]).interval is None
    found = shift_interval([1, 2, 3, 4], [11, 12, 13, 14])
    assert (found.estimate, found.interval, found.exact) == (10, (7, 13), True)
    assert shift_interval([], [1.0]) is None


def test_rank_interval_by_the_table_of_u():
    # the two-sided 5 % table of Mann and Whitney's U: 5 and 5 a side 2, 6 and 8: 8, 10 and 10: 23. That many and one
    # differences less one are left out at either end
    a, b = [0.0] * 5, [float(i) for i in range(5)]
    assert shift_interval(a, b).interval == (0.0, 4.0)  # the 3rd and the 23rd of 0 x 5, 1 x 5, ... 4 x 5
    for m, n, critical in ((5, 5, 2), (6, 8, 8), (10, 10, 23), (20, 20, 127)):
        # all differences are different, in steps of one
        left, right = [float(-i) for i in range(m)], [float(i * m) for i in range(n)]
        assert shift_interval(left, right).interval == (critical, m * n - 1 - critical)


def test_many_runs_are_approximated_and_said():
    runs = [float(i) for i in range(41)]
    found = shift_interval(runs, [value + 100 for value in runs])
    assert not found.exact
    assert found.interval[0] < 100 < found.interval[1]
    assert shift_interval(runs[:40], runs[:40]).exact


def test_bootstrap_is_the_same_every_time_and_needs_twenty():
    a = [10.0 + i % 7 for i in range(40)]
    b = [5.0 + i % 5 for i in range(40)]
    assert ratio_interval(a, b, seed=3) == ratio_interval(a[::-1], b[::-1], seed=3)
    low, high = ratio_interval(a, b, of="mean")
    assert low < (sum(a) / 40) / (sum(b) / 40) < high
    assert ratio_interval(a[:19], b) is None
    assert ratio_interval(a, [0.0, *b]) is None
    assert ratio_interval([2.0] * 21, [1.0] * 20) == (2.0, 2.0)


def test_mann_kendall_by_hand():
    # ten rising values: S = 45, variance 10 * 9 * 25 / 18 = 125, z = 44 / 11.180 = 3.935
    assert mann_kendall(range(10)) == pytest.approx(8.3e-5, rel=0.01)
    assert mann_kendall(range(10)) == mann_kendall(range(10, 0, -1))
    # 1 1 2 2: S = 4, variance (4 * 3 * 13 - 2 * 2 * 1 * 9) / 18 = 6.667, z = 3 / 2.582 = 1.162
    assert mann_kendall([1, 1, 2, 2]) == pytest.approx(0.2453, abs=1e-3)
    assert mann_kendall([1, 2, 3]) is None
    assert mann_kendall([7.0] * 30) == 1.0


def test_line_through_the_points():
    # slopes 2 2 2 33 48.5 95
    assert theil_sen([0, 1, 2, 3], [1, 3, 5, 100]) == 17.5
    assert theil_sen([0, 1, 2, 3, 4], [0, 2, 4, 6, 1000]) == 2
    assert theil_sen([1, 1], [1, 2]) is None


def test_drift_needs_both_a_trend_and_a_change():
    rising = [1 + 0.01 * i for i in range(40)]  # 0.39 over a median of 1.195
    found = drift(rising)
    assert found.change == pytest.approx(0.39)
    assert found.share == pytest.approx(0.39 / 1.195)
    assert found.drifted
    slight = drift([1 + 0.001 * i for i in range(40)])  # as sure, but 4 % only
    assert slight.p < 1e-6
    assert not slight.drifted
    assert not drift([1.0, 2.0] * 20).drifted
    assert drift([1.0, 2.0, 3.0]) is None
    assert drift([1.0] * 5, [0.0] * 5) is None
    assert drift([-1.0, 0.0, 0.0, 0.0, 1.0]).share is None


def test_drift_goes_by_the_time_of_each_request():
    found = drift([1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 3.0])
    assert found.change == 3
    assert drift([1.0, 2.0, 3.0, 4.0], [0.0, 10.0, 20.0, 30.0]).change == 3


def test_long_runs_are_condensed_and_said():
    assert condense([0, 1, 2, 3, 4, 5], [5, 5, 9, 7, 1, 1], 3) == ([0.5, 2.5, 4.5], [5, 8, 1])
    found = drift([100 + i * 0.01 for i in range(2001)])
    assert found.blocks == 2000
    assert found.n == 2001
    assert found.change == pytest.approx(20.0, rel=1e-3)
    assert found.drifted
    assert drift([float(i) for i in range(300)]).blocks is None
