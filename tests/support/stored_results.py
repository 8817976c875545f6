"""Results made by hand, for tests of what is stored, shown and exported. No figure in them is computed by our code."""

from __future__ import annotations

from typing import Any

import msgspec

from benchmarks.model import Load
from benchmarks.result import (
    BenchmarkRef,
    Cap,
    Counts,
    Environment,
    GpuUse,
    Grade,
    Kpi,
    LoadResult,
    MetricResult,
    Phase,
    Quantile,
    Result,
    Target,
    Validity,
)

SECOND = 1_000_000_000


def result(run_id: str = "20261125T203636-00aa11", **over: Any) -> Result:
    """A full run of 30 requests of the medium text, 29 of them ok: p90 1.42 s, uncapped A."""
    made = Result(
        run_id=run_id,
        suite_id="20261125T203630-5e5e5e",
        benchmark=BenchmarkRef("synthesis", 1),
        case="short",
        case_text="こんにちは",
        temperature="warm",
        config=Load(),
        options={"style": "3"},
        config_hash="c0ffee",
        target=Target("gpu-1", "http://127.0.0.1:50021", "voicevox", "0.14.0", "cuda", "NVIDIA L4"),
        environment=Environment("quarterdeck 0.1.0", "3.11.2", "Linux 6.1", "2 cores", gpu="NVIDIA L4", missing={
            "instance_type": "not_yet", "region": "not_yet",
        }),
        wall_start="2026-11-25T20:36:36.000Z",
        t0_ns=SECOND,
        phases=(Phase("warmup", SECOND, 3 * SECOND), Phase("measure", 3 * SECOND, 40 * SECOND)),
        load=LoadResult("closed", 1, None, 0.81, 0, {}, 0.001, 12.0, {"target_per_s": "closed loop"}),
        counts=Counts(30, 29, {"ok": 29, "timeout": 1}),
        metrics={"response_time": response_time()},
        validity=Validity("valid"),
        grade=Grade(
            "A", "default-1", statistic="response_time p90, error-adjusted", value=1.42, upper=1.9, unit="s",
            uncapped="A", caps=(Cap("A", "1 of 30 requests failed (any failure: at most A)"),),
        ),
        kpis=(
            Kpi("target", "response time", "s", 2.0, 1.42, True, 140.8, "measured", "target / actual"),
        ),
        gpu=GpuUse(missing={"readings": "no GPU samples"}),
        errors=("timeout after 60 s",),
        samples_file=f"{run_id}.jsonl",
    )  # fmt: skip
    return msgspec.structs.replace(made, **over)


def response_time() -> MetricResult:
    return MetricResult(
        "s", "end - intended send", "lower", "request", 29, None, 1.21, 1.2, 0.1, 0.083, 1.0, 1.45, 0,
        {"p50": Quantile(1.2, (1.15, 1.25), 1.24), "p99": Quantile(None, reason="n too small")},
        {"p90": Quantile(1.42, (1.3, 1.9), 1.9), "p99": Quantile(None, reason="n too small")},
    )  # fmt: skip


def on(host: str) -> Target:
    return Target(host, "http://127.0.0.1:50021")


def invalid(run_id: str, *reasons: str) -> Result:
    return result(
        run_id,
        validity=Validity("invalid", reasons or ("cancelled",)),
        grade=Grade(None, "default-1", reason="invalid"),
    )


def graded(run_id: str, letter: Any, **over: Any) -> Result:
    return result(run_id, grade=Grade(letter, "default-1", statistic="response_time p90", value=1.0, unit="s"), **over)
