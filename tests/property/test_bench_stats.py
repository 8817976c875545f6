"""Laws of the statistics, whatever was measured."""

from __future__ import annotations

import math

from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks.compare import compare
from benchmarks.intervals import (
    both_ranks,
    lower_rank,
    minimum_n,
    ratio_interval,
    shift_interval,
    t_interval,
    upper_rank,
    wilson,
)
from benchmarks.model import RESPONSE_TIME, Metric
from benchmarks.stats import PERCENTILES, describe, nearest_rank, percentile_name
from benchmarks.trend import drift, mann_kendall
from tests.support.bench_results import result_of

RATE = Metric("tokens", "1/s", "higher", "tokens / s")
VALUES = st.floats(0, 1e6, allow_nan=False) | st.integers(0, 20).map(float)
MANY = st.lists(VALUES, max_size=120)
METRICS = st.sampled_from([RESPONSE_TIME, RATE])
SHARES = st.floats(0.01, 0.99)


@given(MANY, st.randoms(use_true_random=False), st.integers(0, 40), METRICS)
def test_no_statistic_knows_the_order(values, random, failures, metric):
    shuffled = list(values)
    random.shuffle(shuffled)
    assert describe(shuffled, metric, failures) == describe(values, metric, failures)


@given(
    st.lists(VALUES, min_size=20, max_size=40),
    st.lists(VALUES, min_size=20, max_size=40),
    st.randoms(use_true_random=False),
)
def test_nor_does_an_interval_between_two_sides(a, b, random):
    c, d = list(a), list(b)
    random.shuffle(c)
    random.shuffle(d)
    assert shift_interval(a, b) == shift_interval(c, d)
    assert ratio_interval(a, b) == ratio_interval(c, d)


@given(MANY, st.integers(0, 40), METRICS)
def test_a_percentile_is_a_value_and_lies_in_its_interval(values, failures, metric):
    found = describe(values, metric, failures)
    for p in PERCENTILES:
        name = percentile_name(p)
        for n, each in ((found.n, found.q[name]), (found.n + failures, found.adjusted[name])):
            if n < minimum_n(p):
                assert (each.value, each.ci, each.upper, each.reason) == (None, None, None, "n too small")
                continue
            if each.value is None:
                assert each.reason == "failures"
                continue
            assert each.value in values
            assert each.ci is None or each.ci[0] <= each.value <= each.ci[1]
            assert each.ci is None or all(map(math.isfinite, each.ci))
            if each.upper is not None:
                assert each.upper >= each.value if metric.better == "lower" else each.upper <= each.value
            assert (each.reason is None) == (each.ci is not None and each.upper is not None)


@given(MANY, st.integers(0, 40))
def test_failures_only_make_it_worse(values, failures):
    found = describe(values, RESPONSE_TIME, failures)
    for name, each in found.q.items():
        adjusted = found.adjusted[name]
        if each.value is not None:
            assert adjusted.value is None or adjusted.value >= each.value
    assert all(each.reason != "failures" for each in found.q.values())


@given(MANY)
def test_without_failures_both_are_the_same(values):
    found = describe(values, RESPONSE_TIME)
    assert found.q == found.adjusted


@given(st.lists(VALUES, min_size=1, max_size=120))
def test_the_mean_lies_between_the_ends(values):
    found = describe(values, RESPONSE_TIME)
    slack = 1e-9 * (1 + found.max)
    assert found.min - slack <= found.mean <= found.max + slack
    assert found.min <= found.median <= found.max
    assert 0 <= found.outliers <= found.n // 2


@given(st.integers(1, 5000), SHARES)
def test_bounds_enclose_the_rank(n, p):
    rank = nearest_rank(n, p)
    assert 1 <= rank <= n
    high, low, both = upper_rank(n, p), lower_rank(n, p), both_ranks(n, p)
    assert high is None or rank <= high <= n
    assert low is None or 1 <= low <= rank
    assert both is None or both[0] <= rank <= both[1]
    # the two tails of a quantile mirror each other
    mirrored = lower_rank(n, 1 - p)
    assert (high is None and mirrored is None) or abs(high + mirrored - n - 1) <= 0


@given(SHARES, st.booleans())
def test_the_least_n_is_where_the_bound_begins(p, two):
    if two:
        assert both_ranks(minimum_n(p, side="both"), p) is not None
        assert both_ranks(minimum_n(p, side="both") - 1, p) is None
    else:
        bound = upper_rank if p >= 0.5 else lower_rank
        assert bound(minimum_n(p), p) is not None
        assert bound(minimum_n(p) - 1, p) is None


@given(st.integers(1, 100_000), st.data())
def test_wilson_stays_within_zero_and_one(n, data):
    count = data.draw(st.integers(0, n))
    low, high = wilson(count, n)
    assert 0 <= low <= count / n <= high <= 1
    assert low < high


@given(st.lists(VALUES, min_size=2, max_size=40))
def test_the_t_interval_is_round_the_mean(values):
    low, high = t_interval(values)
    mean = math.fsum(values) / len(values)
    assert low <= mean <= high


@given(st.lists(VALUES, min_size=4, max_size=12), st.lists(VALUES, min_size=4, max_size=12))
def test_changing_sides_changes_the_sign(a, b):
    one, other = shift_interval(a, b), shift_interval(b, a)
    assert one.estimate == -other.estimate
    assert one.interval == (-other.interval[1], -other.interval[0])
    assert one.interval[0] <= one.estimate <= one.interval[1]


@given(st.lists(VALUES, min_size=4, max_size=60))
def test_a_run_backwards_has_the_same_trend_the_other_way(values):
    assert mann_kendall(values) == mann_kendall(values[::-1])
    assert 0 <= mann_kendall(values) <= 1
    one, other = drift(values), drift(values[::-1])
    assert one.change == -other.change
    assert one.drifted == other.drifted


@given(
    st.lists(st.lists(st.floats(0.001, 100), min_size=6, max_size=10), min_size=2, max_size=12),
    st.randoms(use_true_random=False),
)
def test_a_comparison_knows_no_order_of_runs(runs, random):
    assume(len(runs) % 2 == 0)
    results = [result_of(f"r{at}", values) for at, values in enumerate(runs)]
    a, b = results[::2], results[1::2]
    c, d = list(a), list(b)
    random.shuffle(c)
    random.shuffle(d)
    strip = ("difference", "interval", "outcome", "words", "median_a", "median_b")
    for one, other in zip(compare(a, b).rows, compare(c, d).rows, strict=True):
        assert [getattr(one, name) for name in strip] == [getattr(other, name) for name in strip]
