"""Several nodes summed up. R3's traps are in it: a sum of rates, a nominal baseline, five of ten samples."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from benchmarks.model import Case, Load, RunSpec
from benchmarks.multi import jobs_summary, nodes_summary, summary_of
from benchmarks.result import Phase, Result
from benchmarks.suite import HostPlan, JobState, Suite, SuitePlan
from probes.model import Host
from tests.support.bench_results import result_of

S = 1_000_000_000


def ran(host: str, ok: int, begin_s: float, end_s: float, *, nodes: int = 1, failures: int = 0) -> Result:
    rate = ok / (end_s - begin_s) if ok else None
    made = result_of(f"{host}-{nodes}", [1.0] * ok, failures=failures, host=host, throughput=rate)
    return replace(made, phases=(Phase("measure", round(begin_s * S), round(end_s * S)),), nodes=nodes)


def suite(*jobs: JobState, at_once: int = 4, in_turn: bool = False) -> Suite:
    plan = SuitePlan("s", "synthesis", tuple(job.plan for job in jobs), at_once, in_turn)
    return Suite(plan, list(jobs))


def job(host: str, nodes: int, *results: Result, state: str = "done", problems: tuple[str, ...] = ()) -> JobState:
    plan = HostPlan(Host(host, "127.0.0.1"), (RunSpec("synthesis", Case("short"), Load(), "warm"),), nodes=nodes)
    return JobState(plan, state, results=list(results), problems=list(problems))  # type: ignore[arg-type]


def test_throughput_is_by_the_wall_clock_and_efficiency_by_solo_runs_of_this_session() -> None:
    # alone 10 in 5 s each: 2/s and 2/s; together 10 in 8 s and 10 in 10 s, from 20 to 30 s by the wall: 20 in 10 s
    (case,) = nodes_summary(
        suite(
            job("a", 1, ran("a", 10, 0, 5)),
            job("b", 1, ran("b", 10, 5, 10)),
            job("a", 2, ran("a", 10, 20, 28, nodes=2)),
            job("b", 2, ran("b", 10, 20, 30, nodes=2)),
        )
    )
    assert case.wall_s == 10.0
    assert case.together_per_s == 2.0
    assert case.solo_sum_per_s == 4.0
    assert case.efficiency == 0.5
    assert (case.finished, case.planned) == (2, 2)
    assert [node.rate for node in case.nodes] == [1.25, 1.0]
    assert case.spread == pytest.approx(0.25)
    assert case.consistency == pytest.approx(0.8)
    assert case.flags == ()


def test_r3_by_the_wall_clock_is_068_and_not_205() -> None:
    # 15 samples in 22.16 s by the wall; the nodes' own rates add up to far more
    (case,) = nodes_summary(
        suite(
            job("one", 2, ran("one", 10, 0.0, 6.58, nodes=2)),
            job("two", 2, ran("two", 5, 12.28, 22.16, nodes=2)),
        )
    )
    assert case.together_per_s == pytest.approx(15 / 22.16)
    assert sum(node.rate or 0 for node in case.nodes) == pytest.approx(2.026, abs=0.001)
    assert case.efficiency is None
    assert case.missing["efficiency"] == "not every node ran alone in the same session"


def test_a_node_that_died_or_hung_is_part_of_the_result() -> None:
    (case,) = nodes_summary(
        suite(
            job("a", 1, ran("a", 10, 0, 5)),
            job("b", 1, ran("b", 10, 5, 10)),
            job("c", 1, ran("c", 10, 10, 15)),
            job("a", 3, ran("a", 10, 20, 25, nodes=3)),
            job("b", 3, state="failed", problems=("the engine's process ended early (signal 9)",)),
            job("c", 3, ran("c", 0, 20, 25, nodes=3, failures=10)),
        )
    )
    assert (case.finished, case.planned) == (1, 3)
    assert case.flags == ("partial: 1 of 3 nodes finished; the figures are of those",)
    assert [node.state for node in case.nodes] == [
        "finished",
        "failed: the engine's process ended early (signal 9)",
        "no request succeeded",
    ]
    assert case.nodes[1].rate is None
    assert case.together_per_s == 2.0
    assert case.efficiency == 1.0


def test_services_are_never_pooled() -> None:
    def on(service: str, ok: int, host: str) -> Result:
        made = ran(host, ok, 0, 10, nodes=2)
        return replace(made, target=replace(made.target, service=service))

    cases = summary_of([on("voicevox", 20, "a"), on("llm", 400, "a"), on("voicevox", 20, "b")])
    assert [(case.service, case.finished, case.planned) for case in cases] == [("voicevox", 2, 2), ("llm", 1, 2)]
    assert cases[0].together_per_s == 4.0


def test_more_than_linear_is_flagged() -> None:
    (case,) = nodes_summary(
        suite(
            job("a", 1, ran("a", 10, 0, 10)),
            job("b", 1, ran("b", 10, 10, 20)),
            job("a", 2, ran("a", 10, 30, 35, nodes=2)),
            job("b", 2, ran("b", 10, 30, 35, nodes=2)),
        )
    )
    assert case.efficiency == 2.0
    assert "above 1.05" in case.flags[0]


def test_stored_results_give_the_same_summary_without_those_that_left_none() -> None:
    results = [ran("a", 10, 0, 5), ran("a", 10, 20, 25, nodes=3), ran("b", 10, 20, 25, nodes=3)]
    (case,) = summary_of(results)
    assert (case.finished, case.planned) == (2, 3)
    assert case.efficiency is None
    assert summary_of([ran("a", 10, 0, 5)]) == ()


def test_no_node_completed_anything() -> None:
    (case,) = nodes_summary(suite(job("a", 2, state="failed"), job("b", 2, state="cancelled")))
    assert case.wall_s is None
    assert case.missing["together_per_s"] == "no node completed a request"
    assert [node.state for node in case.nodes] == ["failed", "cancelled"]


def test_parallel_jobs_have_speedup_and_efficiency() -> None:
    jobs = [job(name, 1, ran(name, 10, 0, 5)) for name in "abcd"]
    for each, (begin, end) in zip(jobs, [(0, 10), (0, 10), (10, 20), (10, 18)], strict=True):
        each.started_ns, each.ended_ns = begin * S + 1, end * S + 1
    found = jobs_summary(suite(*jobs, at_once=2))
    assert (found.wall_s, found.sum_s) == (20.0, 38.0)
    assert found.speedup == pytest.approx(1.9)
    assert found.efficiency == pytest.approx(0.95)
    assert found.by_state == {"done": 4}
    idle = jobs_summary(suite(job("a", 1, state="cancelled")))
    assert idle.speedup is None
    assert idle.missing["speedup"] == "no job ran"
