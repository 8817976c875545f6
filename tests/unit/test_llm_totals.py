"""What a run of requests says as a whole, with figures by hand."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks import grade, validity
from benchmarks.llm.definition import DEFINITION
from benchmarks.llm.totals import conclude, totals_of
from benchmarks.model import Outcome, RunSpec, Sample
from benchmarks.result import CheckResult, Counts
from benchmarks.stats import describe
from tests.support.llm import planned, service_of

S = 1_000_000_000
OBJECTIVES = {"ttft_s": 2.0, "tpot_s": 0.1}


def sample(i: int, start_s: float, end_s: float, outcome: Outcome = Outcome.OK, **values: float) -> Sample:
    start_ns, end_ns = round(start_s * S), round(end_s * S)
    return Sample(i, "measure", start_ns, start_ns, end_ns, outcome, values)


def ok(i: int, start_s: float, end_s: float, ttft: float = 0.5, tokens: int | None = 10, **more: float) -> Sample:
    values = {"ttft": ttft, "output_chunks": 5.0, "inter_chunk_max": 0.05}
    if tokens is not None:
        values |= {"output_tokens": float(tokens), "prompt_tokens": 9.0}
        if tokens > 1:
            values["tpot"] = 0.05
    return sample(i, start_s, end_s, **values, **more)


def spec(mode: str = "full") -> RunSpec:
    return planned(service_of(1), mode=mode)[0]


def test_by_the_wall_clock() -> None:
    samples = [ok(0, 10, 14), ok(1, 11, 15, tokens=30), sample(2, 12, 20, Outcome.HTTP_ERROR), ok(3, 12, 16)]
    # 50 tokens, 15 chunks and 3 answers from 10 to 20; all within 2 s and 100 ms; 3 of 4 were OK
    assert totals_of(samples, **OBJECTIVES) == {
        "output_tokens_per_s": 5.0,
        "output_chunks_per_s": 1.5,
        "samples_per_s": 0.3,
        "goodput": 0.3,
        "success_rate": 75.0,
    }


def test_goodput_counts_what_met_both_objectives() -> None:
    slow_start, slow_tokens = ok(1, 0, 5, ttft=2.01), ok(2, 0, 5)
    slow_tokens = replace(slow_tokens, values=slow_tokens.values | {"tpot": 0.1001})
    one_token = ok(3, 0, 5, tokens=1)
    exactly = ok(4, 0, 10, ttft=2.0)
    samples = [slow_start, slow_tokens, one_token, exactly]
    assert totals_of(samples, **OBJECTIVES)["goodput"] == 0.2
    assert totals_of(samples, ttft_s=9.0, tpot_s=1.0)["goodput"] == 0.4


def test_what_was_dropped_failed_and_what_was_cancelled_never_was() -> None:
    samples = [ok(0, 0, 10), sample(1, 99, 99, Outcome.DROPPED), sample(2, 0, 50, Outcome.CANCELLED)]
    found = totals_of(samples, **OBJECTIVES)
    assert (found["samples_per_s"], found["success_rate"]) == (0.1, 50.0)


def test_without_usage_there_is_no_figure_in_tokens() -> None:
    samples = [ok(0, 0, 10, tokens=None), ok(1, 0, 10, tokens=None)]
    found = totals_of(samples, **OBJECTIVES)
    assert (found["output_tokens_per_s"], found["goodput"], found["output_chunks_per_s"]) == (None, None, 1.0)
    missing = conclude(samples, spec()).missing
    for tag in ("tpot", "output_tokens", "output_tokens_per_s", "goodput"):
        assert missing[tag] == "no usage block in the stream: the unit is chunks, not tokens"


def test_usage_in_some_answers_is_not_added_up() -> None:
    samples = [ok(0, 0, 10), ok(1, 0, 10, tokens=None)]
    assert totals_of(samples, **OBJECTIVES)["output_tokens_per_s"] is None
    missing = conclude(samples, spec()).missing
    assert missing["output_tokens_per_s"] == missing["goodput"] == "no usage block in 1 of 2 answers"
    assert "tpot" not in missing


def test_nothing_and_nothing_right() -> None:
    assert totals_of([], **OBJECTIVES) == {}
    failed = [sample(0, 0, 2, Outcome.TIMEOUT)]
    assert totals_of(failed, **OBJECTIVES)["success_rate"] == 0.0
    assert totals_of(failed, **OBJECTIVES)["samples_per_s"] == 0.0
    assert conclude(failed, spec()).missing == {}


def checks(samples: list[Sample], mode: str = "full") -> dict[str, CheckResult]:
    return {check.id: check for check in conclude(samples, spec(mode)).checks}


def test_long_enough_for_the_tail() -> None:
    name = "long_enough_for_p99"
    assert checks([ok(0, 0, 1)], "quick")[name].outcome == "not_checked"
    short = checks([ok(i, i, i + 1) for i in range(30)])[name]
    assert (short.outcome, short.detail) == (
        "fail", "30 requests of 299, 30 s of 600 s that MLPerf asks for (this is no MLPerf run)"
    )  # fmt: skip
    assert checks([ok(i, 2 * i, 2 * i + 4) for i in range(299)])[name].outcome == "pass"
    assert checks([ok(i, 3 * i, 3 * i + 4) for i in range(298)])[name].outcome == "fail"
    assert checks([ok(i, i, i + 1) for i in range(299)])[name].outcome == "fail"


def test_answers_that_came_all_at_once_are_seen() -> None:
    one = ok(0, 0, 1)
    held = replace(one, values=one.values | {"inter_chunk_max": 0.0})
    single = replace(one, values={"ttft": 0.1, "output_chunks": 1.0})
    assert checks([one, single])["streamed"].outcome == "pass"
    assert checks([single])["streamed"].outcome == "not_checked"
    found = checks([one, held])["streamed"]
    assert (found.outcome, found.detail) == ("fail", "1 of 2 answers came all at once: held back on the way?")


# --- the letter ---


@pytest.mark.parametrize(
    ("ttft", "tpot", "letter"),
    [(0.5, 0.03, "S"), (0.51, 0.03, "A"), (0.5, 0.1, "A"), (0.5, 0.11, "B"), (4.0, 0.03, "B"), (0.1, 0.4, "C"),
     (8.01, 0.01, "D"), (0.1, 0.41, "D")],
)  # fmt: skip
def test_the_worst_of_both_wins(ttft: float, tpot: float, letter: str) -> None:
    grading = letter_of([ttft] * 30, [tpot] * 30)
    assert (grading.letter, {part.statistic for part in grading.parts}) == (
        letter, {"ttft p90, error-adjusted", "tpot p90, error-adjusted"}
    )  # fmt: skip


def test_the_tail_is_graded_as_soon_as_it_can_be() -> None:
    # 5 of 299 are slow: p90 is 0.1 s, p99 (rank 297) is 5 s
    ttft = [0.1] * 294 + [5.0] * 5
    assert letter_of(ttft, [0.01] * 299).letter == "C"
    assert letter_of(ttft[1:], [0.01] * 298).letter == "S"


def test_without_tokens_there_is_no_letter() -> None:
    grading = letter_of([0.1] * 30, None)
    assert grading.letter is None
    assert "tpot" in (grading.reason or "")


def letter_of(ttft: list[float], tpot: list[float] | None) -> Any:
    metric = {metric.tag: metric for metric in DEFINITION.metrics}
    metrics = {"ttft": describe(ttft, metric["ttft"])}
    if tpot is not None:
        metrics["tpot"] = describe(tpot, metric["tpot"])
    n = len(ttft)
    return grade.grade(
        grade.policy({"llm": DEFINITION.ladders}), "llm", mode="full", counts=Counts(n, n, {"ok": n}), metrics=metrics,
        validity=validity.Validity("valid"),
    )  # fmt: skip
