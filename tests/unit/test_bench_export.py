"""Results as others read them: JSON, four parts, JSON lines, and the card of a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.card import card, cards, figure, rows_text
from benchmarks.errors import BenchError
from benchmarks.export import collected, document, documents, samples_text
from benchmarks.model import RESPONSE_TIME, THROUGHPUT, Load, Outcome, Sample
from benchmarks.result import (
    Cap,
    CheckResult,
    GpuUse,
    Grade,
    GradePart,
    Kpi,
    LoadResult,
    MetricResult,
    Quantile,
    Target,
    Validity,
)
from benchmarks.samples_file import SampleWriter
from benchmarks.stats import describe, run_metric
from benchmarks.store import Store
from tests.support.nulls import unexplained
from tests.support.stored_results import graded, invalid, result

if TYPE_CHECKING:
    from pathlib import Path


def test_the_document_is_the_result():
    made = document(result())
    assert made["schema_version"] == 1
    assert made["benchmark"] == {"id": "synthesis", "version": 1}
    assert made["metrics"]["response_time"]["adjusted"]["p99"] == {
        "value": None, "ci": None, "upper": None, "reason": "n too small",
    }  # fmt: skip
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert [one["run_id"] for one in documents([result("a"), result("b")])] == ["a", "b"]


def test_what_is_null_has_its_reason():
    made = document(result(temperature=None, samples_file=None, missing={"temperature": "known otherwise"}))
    assert made["missing"] == {
        "temperature": "known otherwise",
        "label": "none was given",
        "samples_file": "no samples were saved",
    }


UNGRADED = Grade(None, "default-1", reason="INVALID: cancelled", missing={"letter": "INVALID: cancelled"})
INFINITE = GradePart("response_time", "response_time p90, error-adjusted", "s", None, None, "D", "D", reason="failures")


@pytest.mark.parametrize(
    "over",
    [
        {},
        {"config": Load(rate_per_s=4.0), "load": LoadResult("open", None, 4.0, 4.0, 0, {}, 0.001, 12.0)},
        {"target": Target("gpu-1", "http://127.0.0.1:50021"), "label": None, "temperature": None},
        {"metrics": {"throughput": run_metric(None, THROUGHPUT), "response_time": describe([], RESPONSE_TIME, 30)}},
        {"metrics": {"throughput": run_metric(2.0, THROUGHPUT), "response_time": describe([1.0], RESPONSE_TIME)}},
        {"gpu": GpuUse(missing={"readings": "the host has no GPU"})},
        {"kpis": (Kpi("p50", "p50", "s", None, None, None, None, "measured", "median"),)},
        {"grade": UNGRADED},
        {"grade": Grade("D", "default-1", statistic="response_time p90, error-adjusted", parts=(INFINITE,))},
        {"grade": Grade("F", "default-1", parts=(GradePart("a", "a", "s", 1.0, None, "S", "S"),))},
    ],
)
def test_no_null_is_without_a_reason(over: dict[str, Any]):
    assert unexplained(document(result(**over))) == []
    assert unexplained(collected(result(**over))) == []


def test_a_reason_that_was_found_is_kept():
    found = document(result(gpu=GpuUse(missing={"utilization_mean_pct": "not reached"})))["gpu"]["missing"]
    assert found["utilization_mean_pct"] == "not reached"
    assert document(result())["metrics"]["response_time"]["missing"]["value"].startswith("it has one value a request")


def test_an_infinite_figure_is_null_in_the_json():
    made = document(result(grade=Grade("D", "default-1", statistic="p90", value=float("inf"), unit="s")))
    assert made["grade"]["value"] is None


def test_the_four_parts_have_all_of_the_result():
    whole, parts = document(result()), collected(result())
    assert list(parts) == ["metadata", "performance_data", "system_info", "execution_context"]
    assert parts["metadata"]["run_id"] == result().run_id
    assert parts["metadata"]["timestamp"] == "2026-11-25T20:36:36.000Z"
    assert parts["performance_data"]["grade"]["letter"] == "A"
    assert parts["system_info"]["gpu"] == "NVIDIA L4"
    assert parts["system_info"]["target"]["host"] == "gpu-1"
    assert parts["execution_context"]["config"]["n"] == 30
    said = {name for part in parts.values() for name in part}
    assert whole.keys() - said == {"environment", "wall_start"}


def test_the_samples_are_a_line_each(tmp_path: Path):
    writer = SampleWriter(tmp_path, result().run_id)
    for i in range(2):
        writer.add(Sample(i, "measure", i, i, i, Outcome.OK, detail="音"))
    writer.close()
    text, problem = samples_text(result(), tmp_path)
    assert [json.loads(line)["i"] for line in text.splitlines()] == [0, 1]
    assert problem == ""
    path = tmp_path / f"{result().run_id}.jsonl"
    path.write_bytes(b"no\n" + path.read_bytes()[:-9])
    text, problem = samples_text(result(), tmp_path)
    assert len(text.splitlines()) == 1
    assert problem == "its last line was cut off; lines that are no samples: 1"


def test_samples_that_were_not_saved_are_said(tmp_path: Path):
    with pytest.raises(BenchError, match=r"no samples were saved of .* \(samples not saved: no space left\)"):
        samples_text(result(samples_file=None, notes=("samples not saved: no space left",)), tmp_path)
    with pytest.raises(BenchError, match="cannot be read"):
        samples_text(result(), tmp_path)
    with pytest.raises(BenchError, match="no name"):
        samples_text(result(samples_file="../results.sqlite3"), tmp_path)


# --- the card ---


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


FIGURES = "response_time, ok only 29 1.20 s [1.15 s, 1.25 s] - - n < 299 1.21 s 1.45 s"
ADJUSTED = "response_time, failures infinite - 1.42 s - n < 299"


def test_the_card_says_letter_statistic_n_caps_kpis():
    said = lines(card(result()))
    for line in (
        "synthesis short warm on gpu-1: A",
        "text こんにちは (5 characters)",
        "target http://127.0.0.1:50021 (direct) voicevox 0.14.0",
        "device claims cuda, in use NVIDIA L4",
        "graded response_time p90, error-adjusted: 1.42 s, 95 % bound 1.90 s, n 30",
        "cap at most A: 1 of 30 requests failed (any failure: at most A)",
        "policy default-1",
        "requests 30: 29 ok, 1 timeout",
        "load closed loop, 1 at a time, 0.81/s achieved",
        FIGURES,
        ADJUSTED,
        "figure n p50 [95 % interval] p90 p95 p99 mean most",
        "formulas response_time = end - intended send",
        "kpi response time: 1.42 s (measured), target 2.00 s: attained, 141%",
        "gpu unknown: no GPU samples",
        "error timeout after 60 s",
    ):
        assert line in said


def test_an_invalid_run_says_why_and_has_no_letter():
    said = lines(card(invalid("x", "client was the bottleneck", "drift")))
    assert said[0] == "synthesis short warm on gpu-1: INVALID"
    assert "invalid client was the bottleneck" in said
    assert "invalid drift" in said
    assert not any(line.startswith("no letter") for line in said)


def test_quick_provisional_and_simulated_are_said():
    made = result(
        grade=Grade("B", "default-1", provisional=True, approximate=True, uncapped="A",
                    caps=(Cap("B", "the bound crosses a boundary"),)),
        simulated=True,
        label="night",
        validity=Validity("valid", marks=("contended",)),
        checks=(CheckResult("gpu-over-80", "not_checked", "no GPU samples"),),
        notes=("via a tunnel",),
    )  # fmt: skip
    said = lines(card(made))
    assert said[0] == "synthesis short warm on gpu-1: B~ (provisional) (simulated)"
    assert "ladder A before what lowered it" in said
    assert "mark contended" in said
    assert "check gpu-over-80: not checked, no GPU samples" in said
    assert "note via a tunnel" in said
    assert any(line.endswith("label night") for line in said)


def test_a_statistic_that_failures_made_infinite_is_said():
    infinite = MetricResult(
        "s", "f", "lower", "request", 0, adjusted={"p90": Quantile(None, reason="failures")}, missing={"mean": "none"}
    )
    made = result(
        grade=Grade("D", "default-1", statistic="response_time p90", unit="s"), metrics={"response_time": infinite}
    )
    said = lines(card(made))
    assert "graded response_time p90: infinite (failures), n 30" in said
    assert "response_time, failures infinite - infinite - -" in said


def test_every_ladder_is_said_where_there_are_several():
    parts = (
        GradePart("ttft", "ttft p90", "s", 0.4, 0.45, "S", "S"),
        GradePart("tpot", "tpot p90", "s", None, None, None, None, reason="n too small"),
    )
    said = lines(card(result(grade=Grade("S", "default-1", parts=parts))))
    assert "part ttft p90: 400 ms: S" in said
    assert "part tpot p90: n too small: no letter" in said


def test_percentiles_that_n_does_not_suffice_for_are_one_word():
    few = Quantile(None, reason="n too small")
    known = {"p50": Quantile(1.0, (0.9, 1.2)), "p90": few, "p99": few}
    made = MetricResult("s", "f", "lower", "request", 10, q=known, adjusted=known)
    assert "response_time 10 1.00 s [900 ms, 1.20 s] n < 29 - n < 299" in lines(
        card(result(metrics={"response_time": made}))
    )


def test_a_missed_target_and_one_that_is_not_known():
    missed = Kpi("a", "response time", "s", 2.0, 3.1, False, 64.5, "measured", "")
    unknown = Kpi("b", "rtf", "", None, None, None, None, "measured", "", {"actual": "not measured"})
    said = lines(card(result(kpis=(missed, unknown))))
    assert "kpi response time: 3.10 s (measured), target 2.00 s: MISSED, 64%" in said
    assert "kpi rtf: unknown (measured), no target: not judged" in said


def test_what_came_from_outside_can_do_nothing_to_a_terminal():
    made = result(case_text="a\x1b[31m\u202eb\n", errors=("\x1b]0;title\x07",), label="\x9b2J")
    text = cards([made, made])
    assert not any(ord(char) < 32 and char != "\n" for char in text)
    assert "\u202e" not in text
    assert "\x9b" not in text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", "unknown"),
        (1.204, "s", "1.20 s"),
        (52.1, "s", "52.1 s"),
        (183.9, "s", "184 s"),
        (0.0232, "s", "23.2 ms"),
        (0.00031, "s", "310 µs"),
        (0.0, "s", "0 µs"),
        (-0.5, "s", "-500 ms"),
        (44.44, "1/s", "44.4/s"),
        (0.81, "1/s", "0.81/s"),
        (87.2, "%", "87.2%"),
        (16_965_120_000, "bytes", "15.8 GiB"),
        (0.083, "", "0.083"),
        (21_345.6, "MB/s", "21346 MB/s"),
    ],
)
def test_figures_have_three_digits_and_their_unit(value, unit, text):
    assert figure(value, unit) == text


def test_a_list_of_runs_is_a_table(tmp_path: Path):
    store = Store.open(tmp_path / "r.sqlite3")
    store.save(graded("run-1", "S", label="before"))
    store.save(invalid("run-22"))
    store.set_baseline("run-1")
    head, newest, oldest = rows_text(store.find()).splitlines()
    assert head.split() == ["RUN", "BENCHMARK", "HOST", "SERVICE", "CASE", "GRADE", "FIGURE", "STATISTIC", "LABEL"]
    assert newest.split() == [
        "run-22", "synthesis", "gpu-1", "voicevox", "short", "warm", "INVALID", "1.20", "s",
        "response_time", "p50,", "ok", "only",
    ]  # fmt: skip
    assert "S baseline" in oldest
    assert oldest.endswith("before")
    assert head.index("GRADE") == newest.index("INVALID") == oldest.index("S baseline")
