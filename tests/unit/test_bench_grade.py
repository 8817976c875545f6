"""The grade policy, case by case; every letter here was worked out by hand from the policy's text."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from benchmarks.against import Shares, grade_against
from benchmarks.grade import CAPS, FailureCap, grade, policy
from benchmarks.model import RESPONSE_TIME, THROUGHPUT, Ladder, Metric
from benchmarks.result import Counts, Validity
from benchmarks.stats import describe, run_metric

SECONDS = Ladder("response_time", "s", 1.0, 2.0, 5.0, 10.0)
TTFT = Metric("ttft", "ms", "lower", "first non-empty content - send")
TPOT = Metric("tpot", "ms", "lower", "(end to end - TTFT) / (output tokens - 1)")
TOKENS = Metric("tokens", "1/s", "higher", "tokens / s")
LADDERS = {
    "synthesis": (SECONDS,),
    "llm": (
        Ladder("ttft", "ms", 500, 2000, 4000, 8000, tail=0.99),
        Ladder("tpot", "ms", 30, 100, 200, 400, tail=0.99),
    ),
    "rate": (Ladder("throughput", "1/s", 100, 50, 25, 12.5, better="higher"),),
    "tokens": (Ladder("tokens", "1/s", 100, 50, 25, 12.5, better="higher"),),
    "stream": (),
}
POLICY = policy(LADDERS)
VALID = Validity("valid")


def graded(values, failed=0, mode="full", *, died=False, validity=VALID, of=POLICY):
    counts = Counts(len(values) + failed, len(values), {})
    metrics = {"response_time": describe(values, RESPONSE_TIME, failed)}
    return grade(of, "synthesis", mode=mode, counts=counts, metrics=metrics, validity=validity, died=died)


class Case(NamedTuple):
    about: str
    values: list
    failed: int
    mode: str
    letter: str | None
    provisional: bool = False
    died: bool = False


# thirty requests: p90 is the 27th, its bound the 30th. Sixty: the 54th and the 59th (P(Bin(60, 0.9) >= 58) = 5.3 %,
# >= 59: 1.4 %). A hundred: the 90th and the 96th (>= 95: 5.8 %, >= 96: 2.4 %). Ten, p50: the 5th and the 9th
CASES = [
    Case("all fast", [0.4] * 30, 0, "full", "S"),
    Case("on the boundary of S", [1.0] * 30, 0, "full", "S"),
    Case("just over it", [1.0001] * 30, 0, "full", "A"),
    Case("on the boundary of A", [2.0] * 30, 0, "full", "A"),
    Case("on the boundary of B", [5.0] * 30, 0, "full", "B"),
    Case("on the boundary of C", [10.0] * 30, 0, "full", "C"),
    Case("worse than C", [10.1] * 30, 0, "full", "D"),
    Case("three slow ones of thirty leave p90, not its bound", [0.9] * 27 + [1.5] * 3, 0, "full", "A", True),
    Case("four slow ones are the p90", [0.9] * 26 + [1.5] * 4, 0, "full", "A"),
    Case("the bound crosses three boundaries and costs one step", [0.9] * 29 + [60.0], 0, "full", "A", True),
    Case("from A the bound costs one step", [1.5] * 29 + [3.0], 0, "full", "B", True),
    Case("from C it is D", [9.0] * 29 + [11.0], 0, "full", "D", True),
    Case("from D there is no step", [11.0] * 29 + [99.0], 0, "full", "D"),
    Case("the bound is on the boundary: no step", [0.9] * 29 + [1.0], 0, "full", "S"),
    Case("sixty: the second slowest is the bound", [0.9] * 58 + [9.0] * 2, 0, "full", "A", True),
    Case("sixty: the slowest is past the bound", [0.9] * 59 + [9.0], 0, "full", "S"),
    Case("one failure of thirty: infinite bound, one step", [0.9] * 29, 1, "full", "A", True),
    Case("the same from A", [1.5] * 29, 1, "full", "B", True),
    Case("the same from D", [11.0] * 29, 1, "full", "D"),
    Case("one failure of a hundred: at most A", [0.9] * 99, 1, "full", "A"),
    Case("five of a hundred are not over 5 %: the bound is the 96th and failed", [0.9] * 95, 5, "full", "A", True),
    Case("six of a hundred: at most B", [0.9] * 94, 6, "full", "B"),
    Case("ten of a hundred are not over 10 %", [0.9] * 90, 10, "full", "B"),
    Case("a B with six of a hundred failed falls to C by its bound", [4.0] * 94, 6, "full", "C", True),
    Case("11 %: p90 is infinite: D", [0.9] * 89, 11, "full", "D"),
    Case("three of thirty: 10 % is not over 10 %", [0.9] * 27, 3, "full", "B"),
    Case("four of thirty: p90 infinite", [0.9] * 26, 4, "full", "D"),
    Case("just under half", [0.9] * 51, 49, "full", "D"),
    Case("half: F", [0.9] * 50, 50, "full", "F"),
    Case("all failed", [], 30, "full", "F"),
    Case("the server died", [0.5] * 40, 2, "full", "F", died=True),
    Case("the server died early", [0.5] * 3, 1, "full", "F", died=True),
    Case("the server died before it answered", [], 0, "full", "F", died=True),
    Case("29 are too few for a full run's letter", [0.4] * 29, 0, "full", None),
    Case("quick: at most A", [0.4] * 10, 0, "quick", "A"),
    Case("quick: B", [3.0] * 10, 0, "quick", "B"),
    Case("quick: a fast median with a slow bound", [1.5] * 8 + [3.0] * 2, 0, "quick", "B", True),
    Case("quick: S falls to A by its bound", [0.9] * 8 + [1.5] * 2, 0, "quick", "A", True),
    Case("quick: the slowest of ten is past the bound", [1.5] * 9 + [30.0], 0, "quick", "A"),
    Case("quick: one of ten failed, over 5 %", [0.4] * 9, 1, "quick", "B"),
    Case("quick: two of ten failed, over 10 %, bound infinite", [0.4] * 8, 2, "quick", "C"),
    Case("quick: one of twenty is not over 5 %", [0.4] * 19, 1, "quick", "A"),
    Case("quick: five of ten failed", [0.4] * 5, 5, "quick", "F"),
    Case("quick: all failed", [], 10, "quick", "F"),
    Case("quick: nine are too few", [0.4] * 9, 0, "quick", None),
    Case("quick: nine that failed are too few", [], 9, "quick", None),
    Case("quick: died after two", [0.4], 1, "quick", "F", died=True),
    Case("a check has no letter", [0.4], 0, "check", None),
    Case("a check has none with many requests either", [0.4] * 30, 0, "check", None),
]


@pytest.mark.parametrize("case", CASES, ids=[case.about for case in CASES])
def test_letters(case):
    found = graded(case.values, case.failed, case.mode, died=case.died)
    assert (found.letter, found.provisional) == (case.letter, case.provisional)
    assert found.approximate == (case.mode == "quick")
    assert found.policy_id == "default-1"
    assert (found.reason is None) == (case.letter is not None)


def test_invalid_has_the_reasons_and_no_letter():
    found = graded(
        [0.4] * 30, validity=Validity("invalid", ("3 of 33 requests failed through the client's own fault",))
    )
    assert found.letter is None
    assert found.reason == "INVALID: 3 of 33 requests failed through the client's own fault"
    assert graded([], 30, died=True, validity=Validity("invalid", ("cancelled",))).letter is None


def test_the_grade_names_its_figure():
    found = graded([1.5] * 29 + [3.0])
    assert (found.statistic, found.value, found.upper) == ("response_time p90, error-adjusted", 1.5, 3.0)
    assert (found.unit, found.uncapped) == ("s", "A")
    assert graded([0.4] * 10, mode="quick").statistic == "response_time p50, error-adjusted"


def test_every_cap_is_said():
    found = graded([0.4] * 8, 2, "quick")
    assert [(cap.letter, cap.reason) for cap in found.caps] == [
        (
            "A",
            "response_time p50, error-adjusted: its one-sided 95 % bound is infinite (failures): one step down, provisional",
        ),
        ("C", "more than 10 % failed (2 of 10): at most C"),
    ]
    assert [cap.reason for cap in graded([0.4] * 10, mode="quick").caps] == ["quick mode: at most A"]
    assert [cap.reason for cap in graded([], 30).caps] == [
        "at least 50 % failed (30 of 30): F",
        "all 30 requests failed on the server's side: F",
    ]
    assert [cap.reason for cap in graded([0.5] * 40, died=True).caps] == ["the server died during the run: F"]
    # it would have lowered a better letter
    assert [cap.letter for cap in graded([4.0] * 99, 1).caps] == ["A"]
    assert graded([0.4] * 30).caps == ()


def test_an_infinite_figure_has_its_reason():
    found = graded([0.9] * 26, 4)
    assert (found.value, found.missing["value"], found.uncapped) == (None, "failures", "D")
    bound = graded([0.9] * 29, 1)
    assert (bound.value, bound.upper, bound.missing["upper"]) == (0.9, None, "failures")


def _llm(ttft, tpot, mode="full"):
    counts = Counts(len(ttft), len(ttft), {})
    metrics = {"ttft": describe(ttft, TTFT), "tpot": describe(tpot, TPOT)}
    return grade(POLICY, "llm", mode=mode, counts=counts, metrics=metrics, validity=VALID)


def test_the_worst_of_several_ladders_decides_and_all_are_shown():
    found = _llm([400.0] * 30, [150.0] * 30)
    assert (found.letter, found.statistic, found.unit) == ("B", "tpot p90, error-adjusted", "ms")
    assert [(part.tag, part.letter) for part in found.parts] == [("ttft", "S"), ("tpot", "B")]
    assert _llm([9000.0] * 30, [10.0] * 30).letter == "D"
    assert _llm([400.0] * 10, [20.0] * 10, "quick").letter == "A"


def test_the_tail_is_graded_where_there_are_enough():
    # p90 is 400 ms, p99 of 299 (the 297th) is 3000 ms
    times = [400.0] * 295 + [3000.0] * 4
    found = _llm(times, [20.0] * 299)
    assert (found.letter, found.statistic) == ("B", "ttft p99, error-adjusted")
    fewer = _llm(times[1:], [20.0] * 298)
    assert (fewer.letter, fewer.statistic) == ("S", "ttft p90, error-adjusted")


def test_a_metric_without_figure_leaves_no_letter():
    found = _llm([400.0] * 30, [20.0] * 12)
    assert found.letter is None
    assert found.reason == "tpot p90, error-adjusted: n too small: 12 values, a full run's letter needs 30"
    assert found.parts[0].letter == "S"
    counts = Counts(30, 30, {})
    assert grade(POLICY, "llm", mode="full", counts=counts, metrics={}, validity=VALID).reason == (
        "ttft: not measured; tpot: not measured"
    )


def test_a_figure_of_the_whole_run():
    counts = Counts(30, 30, {})
    run = {"throughput": run_metric(80.0, THROUGHPUT)}
    found = grade(POLICY, "rate", mode="full", counts=counts, metrics=run, validity=VALID)
    assert (found.letter, found.value, found.missing["upper"]) == ("A", 80.0, "one value a run has no bound")
    none = {"throughput": run_metric(None, THROUGHPUT, "no request ended")}
    assert grade(POLICY, "rate", mode="full", counts=counts, metrics=none, validity=VALID).reason == (
        "throughput: no request ended"
    )


def test_where_higher_is_better_the_low_tail_is_graded():
    # p10 of thirty is the 3rd lowest, its bound the lowest
    values = [20.0] + [60.0] * 29
    found = grade(
        POLICY, "tokens", mode="full", counts=Counts(30, 30, {}),
        metrics={"tokens": describe(values, TOKENS)}, validity=VALID,
    )  # fmt: skip
    assert (found.letter, found.statistic) == ("B", "tokens p10, error-adjusted")
    assert (found.value, found.upper, found.provisional) == (60.0, 20.0, True)


def test_without_a_ladder():
    found = grade(POLICY, "stream", mode="full", counts=Counts(30, 30, {}), metrics={}, validity=VALID)
    assert (found.letter, found.reason) == (None, "ungraded (no baseline)")
    died = grade(POLICY, "stream", mode="full", counts=Counts(4, 3, {}), metrics={}, validity=VALID, died=True)
    assert died.letter == "F"
    # a command that never does what it should is no matter of taste
    failed = grade(POLICY, "stream", mode="quick", counts=Counts(10, 0, {}), metrics={}, validity=VALID)
    assert failed.letter == "F"
    half = grade(POLICY, "stream", mode="full", counts=Counts(30, 15, {}), metrics={}, validity=VALID)
    assert half.letter == "F"
    few = grade(POLICY, "stream", mode="full", counts=Counts(30, 20, {}), metrics={}, validity=VALID)
    assert few.letter is None


def test_the_policys_id_tells_its_content():
    assert policy(LADDERS, {"synthesis": (SECONDS,)}).id == "default-1"
    other = policy(LADDERS, {"synthesis": (Ladder("response_time", "s", 0.5, 2.0, 5.0, 10.0),)})
    assert other.id.startswith("custom-")
    assert len(other.id) == len("custom-") + 8
    assert other.id == policy(LADDERS, {"synthesis": (Ladder("response_time", "s", 0.5, 2.0, 5.0, 10.0),)}).id
    assert other.id != policy(LADDERS, {"synthesis": (Ladder("response_time", "s", 0.6, 2.0, 5.0, 10.0),)}).id
    assert graded([0.6] * 30, of=other).letter == "A"
    assert graded([0.6] * 30, of=other).policy_id == other.id
    assert policy(LADDERS, caps=(*CAPS[:1], FailureCap(0.2, "F"))).id.startswith("custom-")


@pytest.mark.parametrize(
    ("value", "reference", "better", "letter"),
    [(100.0, 100.0, "higher", "S"), (95.0, 100.0, "higher", "A"), (94.9, 100.0, "higher", "B"),
     (85.0, 100.0, "higher", "B"), (70.0, 100.0, "higher", "C"), (69.0, 100.0, "higher", "D"),
     (10.0, 10.0, "lower", "S"), (12.5, 10.0, "lower", "C"), (5.0, 10.0, "lower", "S"), (20.0, 10.0, "lower", "D")],
)  # fmt: skip
def test_against_a_reference(value, reference, better, letter):
    found = grade_against(value, reference, better, statistic="triad", unit="MB/s")
    assert (found.letter, found.policy_id) == (letter, "against-1")


def test_against_nothing():
    none = grade_against(5.0, None, "higher", statistic="triad", unit="MB/s")
    assert (none.letter, none.reason, none.value) == (None, "ungraded (no baseline)", 5.0)
    assert grade_against(None, 5.0, "higher", statistic="triad", unit="MB/s").reason == "triad: not measured"
    assert grade_against(0.0, 5.0, "lower", statistic="triad", unit="MB/s").letter is None
    own = grade_against(90.0, 100.0, "higher", statistic="triad", unit="MB/s", shares=Shares(0.9, 0.8, 0.7, 0.6))
    assert own.letter == "S"
    assert own.policy_id.startswith("against-")
    assert own.policy_id != "against-1"
    assert own.statistic == "triad, 90.0% of the baseline (100 MB/s)"
