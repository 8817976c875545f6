"""Two sets of runs: refused, printed, or concluded, with figures worked out by hand."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.compare import as_json, compare, compare_all, lines
from benchmarks.model import Load
from tests.support.bench_results import result_of
from tests.support.nulls import unexplained


def runs(name, medians, **options):
    return [result_of(f"{name}{at}", [each] * 30, **options) for at, each in enumerate(medians, 1)]


def row(comparison, statistic="response_time p50, error-adjusted"):
    return next(each for each in comparison.rows if each.statistic == statistic)


def test_four_a_side_apart():
    found = row(compare(runs("a", [1.0, 1.1, 1.2, 1.3]), runs("b", [2.0, 2.1, 2.2, 2.3])))
    assert (found.median_a, found.median_b) == (1.15, 2.1500000000000004)
    assert found.difference == pytest.approx(1.0)
    # the least and the greatest of the sixteen differences: 2.0 - 1.3 and 2.3 - 1.0
    assert found.interval == (pytest.approx(0.7), pytest.approx(1.3))
    assert found.relative == pytest.approx(1.0 / 1.15)
    assert (found.outcome, found.exact, found.relative_interval) == ("a_better", True, None)
    assert found.words == "A is better: B - A +1.00 s, +87.0% (95 % +700 ms to +1.30 s, exact ranks)"


def test_overlapping_runs_have_no_detectable_difference():
    found = row(compare(runs("a", [1.0, 1.1, 1.2, 1.3]), runs("b", [1.05, 1.15, 1.25, 1.35])))
    assert found.outcome == "no_difference"
    assert found.words.startswith("no detectable difference: +50.0 ms, +4.3% (95 % -250 ms to +350 ms")


def test_higher_is_better_turns_it_round():
    a = runs("a", [1.0] * 4, throughput=10.0)
    b = [result_of(f"b{i}", [1.0] * 30, throughput=20.0 + i) for i in range(4)]
    found = row(compare(a, b), "throughput")
    assert found.outcome == "b_better"
    assert found.difference == 11.5


def test_under_four_a_side_both_are_printed():
    found = compare(runs("a", [1.0, 1.1, 1.2]), runs("b", [2.0, 2.1, 2.2, 2.3]))
    median = row(found)
    assert (median.outcome, median.interval) == ("too_few", None)
    assert median.words == "needs 4 a side (A has 3, B has 4)"
    assert "    A a1 on tokyo: 1 s (95 % 1 to 1)" in lines(found)


def test_a_pair_of_single_runs_shows_both_intervals():
    # thirty values, median the 15th; 1 .. 30: the 10th and the 21st enclose it
    a = [result_of("a1", [float(i) for i in range(1, 31)])]
    b = [result_of("b1", [float(i) for i in range(11, 41)], host="osaka")]
    found = row(compare(a, b))
    assert (found.a[0].value, found.a[0].ci) == (15.0, (10.0, 21.0))
    assert (found.b[0].value, found.b[0].ci, found.b[0].host) == (25.0, (20.0, 31.0), "osaka")
    assert found.outcome == "too_few"
    assert found.difference is None


def test_what_differs_is_named_when_refused():
    a = runs("a", [1.0])
    other = runs("b", [1.0], config_hash="beef", load=Load(concurrency=8, n=50), options={"style": 3})
    found = compare(a, other)
    assert found.refused == (
        "load concurrency differs: 1 and 8",
        "load n differs: 30 and 50",
        "option style differs: None and 3",
    )
    assert found.rows == ()
    assert compare(a, runs("b", [1.0], config_hash="beef")).refused == ("configuration differs: c0ffee and beef",)
    assert compare(a, runs("b", [1.0], benchmark=("synthesis", 2))).refused == (
        "version of synthesis differs: 1 and 2",
    )
    assert compare(a, runs("b", [1.0], temperature="cold")).refused == ("temperature differs: 'warm' and 'cold'",)
    assert compare(a, runs("b", [1.0], simulated=True)).refused == ("simulated differs: False and True",)


def test_sides_that_are_none():
    a = runs("a", [1.0])
    assert compare(a, []).refused == ("B has no run",)
    assert compare([], []).refused == ("A has no run", "B has no run")
    assert compare(a, a).refused == ("run a1 is on both sides",)


def test_the_same_run_counts_once():
    a = runs("a", [1.0, 1.1])
    assert compare(a + a, runs("b", [2.0] * 4)).a_runs == ("a1", "a2")


def test_invalid_runs_are_shown_and_not_counted():
    a = runs("a", [1.0, 1.1, 1.2, 1.3])
    a.append(result_of("a5", [99.0] * 30, invalid=["cancelled after 30 requests"]))
    found = compare(a, runs("b", [2.0, 2.1, 2.2, 2.3]))
    assert row(found).median_a == 1.15
    assert found.notes[0] == "run a5 is INVALID and not counted: cancelled after 30 requests"
    few = compare([*a[:3], a[4]], runs("b", [2.0, 2.1, 2.2, 2.3]))
    assert row(few).words == "needs 4 a side (A has 3, B has 4)"
    assert "    A a5 on tokyo: 99 s (95 % 99 to 99) INVALID" in lines(few)


def test_a_run_that_failed_is_not_left_out():
    a = runs("a", [1.0, 1.1, 1.2, 1.3])
    a.append(result_of("a5", [0.5] * 10, failures=20))
    found = row(compare(a, runs("b", [2.0, 2.1, 2.2, 2.3])))
    assert (found.outcome, found.difference) == ("failures", None)
    assert found.words == "no difference can be given: 1 of 9 runs infinite (failures)"


def test_ratio_only_from_twenty_runs_a_side():
    found = row(compare(runs("a", [2.0] * 20), runs("b", [1.0] * 20)))
    assert found.relative_interval == (-0.5, -0.5)
    assert found.outcome == "b_better"


def test_quick_runs_have_no_line_for_a_percentile_nobody_has():
    a, b = [result_of("a1", [1.0] * 10)], [result_of("b1", [1.0] * 10)]
    assert [each.statistic for each in compare(a, b).rows] == ["response_time p50, error-adjusted"]


def test_each_case_by_itself():
    a = [*runs("a", [1.0], case="short"), *runs("A", [3.0], case="long")]
    b = [*runs("b", [1.0], case="short"), *runs("B", [3.0], case="long"), *runs("c", [1.0], case="medium")]
    found = compare_all(a, b, "old", "new")
    assert [(each.case, each.refused) for each in found] == [
        ("short", ()),
        ("long", ()),
        ("medium", ("old has no run",)),
    ]
    apart = compare_all(runs("a", [1.0], case="short"), runs("b", [1.0], case="long"))
    assert [each.refused for each in apart] == [("case differs: 'short' and 'long'",)]


def test_no_null_is_without_a_reason():
    four = [runs(name, [at, 1.1, 1.2, 1.3], throughput=9.0) for name, at in (("a", 1.0), ("b", 1.05))]
    failed = [result_of(f"f{i}", [1.0] * 3, failures=27, temperature=None) for i in range(4)]
    for found in (
        compare(four[0], four[1]),
        compare(four[0][:1], four[1][:1]),
        compare(failed, failed),
        compare([], []),
    ):
        assert unexplained(as_json(found)) == []
    (first, *_) = as_json(compare(four[0], four[1]))["rows"]
    assert first["missing"]["relative_interval"] == "needs 20 runs a side"


def test_as_json_and_as_text():
    found = compare(runs("a", [1.0, 1.1, 1.2, 1.3]), runs("b", [2.0, 2.1, 2.2, 2.3]), "before", "after")
    plain = msgspec.json.decode(msgspec.json.encode(as_json(found)))
    assert plain["rows"][0]["outcome"] == "a_better"
    assert plain["a_runs"] == ["a1", "a2", "a3", "a4"]
    assert lines(found) == [
        "synthesis short warm: A = before against B = after",
        "  response_time p50, error-adjusted [s, lower is better]",
        "    before: median of 4 runs 1.15 s",
        "    after: median of 4 runs 2.15 s",
        "    before is better: after - before +1.00 s, +87.0% (95 % +700 ms to +1.30 s, exact ranks)",
        "  response_time p90, error-adjusted [s, lower is better]",
        "    before: median of 4 runs 1.15 s",
        "    after: median of 4 runs 2.15 s",
        "    before is better: after - before +1.00 s, +87.0% (95 % +700 ms to +1.30 s, exact ranks)",
        "  note: each interval holds with 95 % by itself, not all together",
    ]
    assert lines(compare([], []))[1:] == ["  refused: A has no run", "  refused: B has no run"]


def test_services_are_never_pooled():
    fast = [replace_service(result_of(f"a{i}", [0.1] * 30), "voicevox") for i in range(4)]
    slow = [replace_service(result_of(f"b{i}", [0.9] * 30), "openvoice") for i in range(4)]
    others = [replace_service(result_of(f"c{i}", [0.1] * 30), "voicevox") for i in range(4)]
    found = compare_all([*fast, *slow], others)
    assert [len(one.refused) > 0 for one in found] == [False, True]
    # one service a side, called differently: that is what a comparison is for
    (one,) = compare_all(fast, slow)
    assert not one.refused


def replace_service(result, service):
    from msgspec.structs import replace

    return replace(result, target=replace(result.target, service=service))
