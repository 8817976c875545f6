"""Statistics whose values were worked out by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.model import RESPONSE_TIME, Metric
from benchmarks.stats import (
    consistency,
    describe,
    nearest_rank,
    outliers,
    percentile_name,
    run_metric,
    spread,
)

RATE = Metric("tokens", "1/s", "higher", "tokens / s")


def test_mean_median_and_standard_deviation():
    # squares of the distances from 5: 9 1 1 1 0 0 4 16 = 32; over n - 1 = 7
    found = describe([2, 4, 4, 4, 5, 5, 7, 9], RESPONSE_TIME)
    assert (found.n, found.mean, found.median, found.min, found.max) == (8, 5, 4.5, 2, 9)
    assert found.sd == pytest.approx(2.138089935)
    assert found.cv == pytest.approx(0.427617987)
    assert (found.unit, found.formula, found.better) == ("s", "end - intended send", "lower")
    assert found.missing == {}


def test_frozen_server_under_ten_a_second_shows_its_tail():
    # a 50 ms server under 10/s for 6 s is frozen from 1.0 s to 3.0 s: the twenty requests intended at 1.0, 1.1 ... 2.9
    # are answered at 3.05 s, the others after 0.05 s
    waited = [2.05, 1.95, 1.85, 1.75, 1.65, 1.55, 1.45, 1.35, 1.25, 1.15]
    waited += [1.05, 0.95, 0.85, 0.75, 0.65, 0.55, 0.45, 0.35, 0.25, 0.15]
    found = describe([0.05] * 10 + waited + [0.05] * 30, RESPONSE_TIME)
    assert found.n == 60
    assert found.q["p50"].value == 0.05
    assert found.q["p90"].value == 1.45  # the 54th of 60
    assert found.q["p95"].value == 1.75  # the 57th of 60
    assert found.q["p95"].upper == 2.05
    assert found.q["p99"].reason == "n too small"


@pytest.mark.parametrize(
    ("n", "p", "rank"),
    [(1, 0.5, 1), (5, 0.5, 3), (6, 0.5, 3), (10, 0.9, 9), (30, 0.9, 27), (31, 0.9, 28), (60, 0.95, 57),
     (299, 0.99, 297), (100, 0.07, 7), (1000, 0.999, 999), (2995, 0.999, 2993)],
)  # fmt: skip
def test_nearest_rank(n, p, rank):
    assert nearest_rank(n, p) == rank


def test_names_of_percentiles():
    assert [percentile_name(p) for p in (0.5, 0.9, 0.95, 0.99, 0.999, 0.1)] == [
        "p50", "p90", "p95", "p99", "p99.9", "p10",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "least", "both"),
    [("p50", 5, 6), ("p90", 29, 36), ("p95", 59, 72), ("p99", 299, 368), ("p99.9", 2995, 3688)],
)
def test_no_percentile_below_its_minimum_n(name, least, both):
    few = describe(range(least - 1), RESPONSE_TIME)
    assert few.q[name].value is None
    assert few.q[name].reason == "n too small"
    assert few.adjusted[name].reason == "n too small"
    enough = describe(range(least), RESPONSE_TIME)
    assert enough.q[name].value is not None
    assert enough.q[name].upper == least - 1  # at the least n the bound is the greatest value
    assert enough.q[name].ci is None
    assert enough.q[name].reason == "interval: n too small"
    assert describe(range(both - 1), RESPONSE_TIME).q[name].ci is None
    assert describe(range(both), RESPONSE_TIME).q[name].ci is not None


def test_interval_of_a_median_of_ten():
    # P(Bin(10, 1/2) <= 1) = 11 / 1024 = 1.1 %, <= 2: 5.5 %; so the 2nd and the 9th value bound it
    found = describe(range(1, 11), RESPONSE_TIME).q["p50"]
    assert (found.value, found.ci, found.upper) == (5, (2, 9), 9)


def test_failures_are_infinitely_bad():
    found = describe([1.0] * 26, RESPONSE_TIME, 4)
    assert found.n == 26
    assert found.q["p90"].reason == "n too small"
    assert found.adjusted["p50"].value == 1.0
    assert (found.adjusted["p90"].value, found.adjusted["p90"].reason) == (None, "failures")
    assert found.adjusted["p99"].reason == "n too small"


def test_infinite_bound_of_a_finite_percentile():
    # 30 requests, p90 is the 27th; its 95 % bound is the 30th, which failed
    found = describe([1.0] * 29, RESPONSE_TIME, 1).adjusted["p90"]
    assert (found.value, found.upper, found.reason) == (1.0, None, "bound: failures")


def test_where_higher_is_better_the_low_tail_is_the_bad_one():
    found = describe(range(1, 31), RATE)
    assert found.q["p10"].value == 3
    assert found.q["p10"].upper == 1
    failed = describe(range(1, 27), RATE, 4)
    assert (failed.adjusted["p10"].value, failed.adjusted["p10"].reason) == (None, "failures")
    assert failed.adjusted["p90"].value == 23  # the 27th of four failures and 1 ... 26


def test_nothing_measured_says_so():
    found = describe([], RESPONSE_TIME, 12)
    assert (found.n, found.mean, found.sd, found.min) == (0, None, None, None)
    assert found.missing["mean"] == "no value"
    assert found.adjusted["p50"].reason == "failures"
    alone = describe([3.0], RESPONSE_TIME)
    assert (alone.mean, alone.sd, alone.missing["sd"]) == (3.0, None, "one value only")
    assert describe([0.0, 0.0], RESPONSE_TIME).missing["cv"] == "the mean is not above 0"


def test_what_is_no_number_is_a_failure_and_said():
    found = describe([1.0] * 9 + [math.nan, math.inf], RESPONSE_TIME)
    assert found.n == 9
    assert found.missing["values"] == "2 of 11 were not finite numbers; counted as failures"
    # of eleven the 9th bounds the median (P(Bin(11, 1/2) >= 9) = 67 / 2048), the 2nd and the 10th enclose it
    median = found.adjusted["p50"]
    assert (median.value, median.upper, median.ci, median.reason) == (1.0, 1.0, None, "bound: failures")


def test_outliers_are_counted_and_kept():
    # median 5, distances 4 3 2 1 0 1 2 3 95: MAD 2, so more than 29.6 away
    values = [1, 2, 3, 4, 5, 6, 7, 8, 100]
    assert outliers(values) == 1
    assert describe(values, RESPONSE_TIME).max == 100
    assert outliers([1, 2, 3, 4, 5, 6, 7, 8, 34.6]) == 0
    assert outliers([1, 2, 3, 4, 5, 6, 7, 8, 34.7]) == 1


def test_outliers_where_most_values_are_equal():
    assert outliers([5.0] * 30) == 0
    # the mean distance is 1/30, so more than 14.8 * 0.8453 / 30 = 0.417 away
    assert outliers([*[5.0] * 29, 6.0]) == 1
    assert outliers([]) == 0


def test_run_metric():
    found = run_metric(80.5, RATE)
    assert (found.n, found.value, found.scope, found.missing) == (1, 80.5, "run", {})
    assert run_metric(None, RATE, "no usage in the stream").missing == {"value": "no usage in the stream"}
    assert run_metric(math.inf, RATE).value is None


def test_spread_and_consistency():
    assert spread([4.0, 5.0]) == 0.25
    assert consistency([4.0, 5.0]) == 0.8
    assert spread([0.0, 5.0]) is None
    assert consistency([0.0, 5.0]) == 0.0
    assert spread([-1.0, 5.0]) is None
    assert consistency([-1.0, 5.0]) is None
    assert consistency([0.0, 0.0]) is None
    assert spread([]) is None
    assert consistency([]) is None
