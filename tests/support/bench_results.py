"""Results of benchmark runs as tests want them: only what a test is about is given."""

from __future__ import annotations

from benchmarks.model import RESPONSE_TIME, THROUGHPUT, Load
from benchmarks.result import (
    BenchmarkRef,
    Counts,
    Environment,
    Grade,
    LoadResult,
    Result,
    Target,
    Validity,
)
from benchmarks.stats import describe, run_metric


def result_of(
    run_id: str,
    values_s,
    *,
    failures=0,
    host="tokyo",
    case="short",
    temperature="warm",
    load=None,
    config_hash="c0ffee",
    benchmark=("synthesis", 1),
    invalid=(),
    throughput=None,
    options=None,
    simulated=False,
    label=None,
) -> Result:
    """A result whose response times are these."""
    n = len(values_s)
    load = load or Load()
    metrics = {"response_time": describe(values_s, RESPONSE_TIME, failures)}
    if throughput is not None:
        metrics["throughput"] = run_metric(throughput, THROUGHPUT)
    return Result(
        run_id=run_id,
        suite_id="suite",
        benchmark=BenchmarkRef(*benchmark),
        case=case,
        case_text="こんにちは",
        temperature=temperature,
        config=load,
        options=options or {},
        config_hash=config_hash,
        target=Target(host, "http://127.0.0.1:50021"),
        environment=Environment("quarterdeck", "3.11", "Linux", "cpu"),
        wall_start="2026-01-01T00:00:00Z",
        t0_ns=0,
        phases=(),
        load=LoadResult("closed", load.concurrency, None, None, 0, {}, None, None),
        counts=Counts(n + failures, n, {"ok": n}),
        metrics=metrics,
        validity=Validity("invalid" if invalid else "valid", tuple(invalid)),
        grade=Grade(None, "default-1", reason="of a test"),
        label=label,
        simulated=simulated,
    )
