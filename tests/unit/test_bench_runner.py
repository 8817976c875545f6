"""Suites by real engine processes against a real HTTP server on loopback: results, cancelling, deaths, barriers."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from msgspec import structs

from benchmarks.benchmark import Request
from benchmarks.errors import BenchError
from benchmarks.model import Outcome
from benchmarks.plan import TRUSTED_RATE_PER_S, plan_suite
from benchmarks.runner import Barrier, EngineProcess, Runner, _heard
from benchmarks.samples_file import read_samples, samples_path
from benchmarks.store import Store
from benchmarks.suite import OVER
from probes.config import default_settings
from probes.fleet import Fleet
from probes.model import Host, Service, ServiceKind
from tests.support import virtual_time
from tests.support.http_standin import answer, stand_in

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.result import Result
    from benchmarks.suite import Suite, SuitePlan


def host(port: int, host_id: str = "one") -> Host:
    service = Service("api", port, ServiceKind.HTTP, path="/health")
    return Host(host_id, "127.0.0.1", local=True, services=(service,))


def planned(*hosts: Host, **more: Any) -> SuitePlan:
    asked = {key: more.pop(key) for key in ("mode", "n", "concurrency", "rate_per_s", "timeout_s") if key in more}
    return plan_suite(Request("api-latency", **asked), hosts, {}, **more)


def runner(*hosts: Host, store: Store | None = None, folder: Path | None = None) -> Runner:
    return Runner(default_settings(), Fleet(hosts), store, samples_folder=folder, first_sample_s=0.0)


def slow(pause_s: float) -> Any:
    inner = answer("{}", "200 OK", "Connection: close")

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(pause_s)
        await inner(reader, writer)

    return script


async def until(suite_runner: Runner, done: Any, limit_s: float = 30.0) -> Suite:
    async with asyncio.timeout(limit_s):
        while suite_runner.suite is None or not done(suite_runner.suite):
            await asyncio.sleep(0.02)
    return suite_runner.suite


def engines() -> list[int]:
    mine = psutil.Process().children(recursive=True)
    return [p.pid for p in mine if p.status() != psutil.STATUS_ZOMBIE and "benchmarks.worker" in " ".join(p.cmdline())]


async def test_a_quick_run_is_measured_graded_stored_and_its_samples_kept(tmp_path: Path) -> None:
    async with stand_in(answer("{}", "200 OK", "Connection: close")) as server:
        one = host(server.port)
        store = Store.open(tmp_path / "results.db")
        suite = await runner(one, store=store, folder=tmp_path / "samples").run(planned(one, mode="quick"))
    (job,) = suite.jobs
    assert (job.state, job.failures, job.problems) == ("done", [], [])
    (result,) = suite.results
    assert result.benchmark.id == "api-latency"
    assert (result.counts.intended, result.counts.ok) == (10, 10)
    # how busy this machine is decides whether the figures are to be trusted; nothing else may be said against them
    assert all(reason.startswith(("the client was", "Little's law", "drift")) for reason in result.validity.reasons)
    assert (result.grade.letter is None) == (result.validity.verdict == "invalid")
    assert result.grade.letter != "S"  # quick mode gives at most an A
    assert result.grade.approximate
    assert [phase.name for phase in result.phases] == ["preflight", "warmup", "measure"]
    assert result.load.loop_lag_p99_s is None or result.load.loop_lag_p99_s < 1
    assert (
        "no GPU" in result.gpu.missing["readings"]
        or "no sample" in result.gpu.missing["readings"]
        or ("agent" in result.gpu.missing["readings"])
    )
    # the server saw the preflight, the warm-up and the measured ones, and nothing else
    assert len(server.requests) == 1 + 1 + 10
    assert store.get(result.run_id) == result
    assert result.samples_file is not None
    kept = read_samples(samples_path(tmp_path / "samples", result.samples_file)).samples
    assert [one.phase for one in kept] == ["warmup"] + ["measure"] * 10
    assert engines() == []


async def test_after_a_cancel_the_server_sees_no_more_and_the_partial_result_is_kept() -> None:
    async with stand_in(slow(0.05)) as server:
        one = host(server.port)
        run = runner(one)
        task = asyncio.create_task(run.run(planned(one, n=1000, concurrency=4)))
        await until(
            run, lambda suite: sum(suite.jobs[0].progress.outcomes.values()) > 8 if suite.jobs[0].progress else 0
        )
        seen = len(server.requests)
        run.cancel()
        suite = await task
        assert len(server.requests) <= seen + 4 + 4  # those since our look at it, and at most C on their way
    (job,) = suite.jobs
    assert job.state == "cancelled"
    (result,) = suite.results
    assert result.validity.verdict == "invalid"
    assert result.validity.reasons[0].startswith("cancelled after ")
    assert result.grade.letter is None
    assert result.counts.by_outcome[Outcome.CANCELLED] <= 4
    assert result.counts.ok >= 8
    assert engines() == []


async def test_cancelling_the_task_leaves_no_process_behind() -> None:
    async with stand_in(slow(0.05)) as server:
        one = host(server.port)
        run = runner(one)
        task = asyncio.create_task(run.run(planned(one, n=1000)))
        await until(run, lambda suite: suite.jobs[0].state == "running")
        assert len(engines()) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engines() == []


async def test_an_engine_that_is_killed_is_said_and_the_others_go_on() -> None:
    async with stand_in(slow(0.02)) as server:
        first, second = host(server.port, "first"), host(server.port, "second")
        run = runner(first, second)
        task = asyncio.create_task(run.run(planned(first, second, n=60, at_once=2)))
        await until(run, lambda suite: all(job.state == "running" for job in suite.jobs))
        victim = next(p.pid for p in psutil.Process().children() if p.pid in engines())
        os.kill(victim, signal.SIGKILL)
        suite = await task
    states = sorted(job.state for job in suite.jobs)
    assert states == ["done", "failed"]
    dead = next(job for job in suite.jobs if job.state == "failed")
    assert "signal 9" in dead.problems[0]
    assert len(suite.results) == 1


async def test_a_service_that_is_down_fails_with_its_reason() -> None:
    async with stand_in(answer("{}", "200 OK", "Connection: close")) as server:
        port = server.port
    one = host(port)
    suite = await runner(one).run(planned(one, mode="quick"))
    (job,) = suite.jobs
    assert job.state == "failed"
    (failure,) = job.failures
    assert "refused" in failure.cause
    assert not failure.internal


async def test_jobs_of_one_host_never_overlap_and_runs_against_alternate() -> None:
    async with stand_in(answer("{}", "200 OK", "Connection: close")) as server:
        one, other = host(server.port, "one"), host(server.port, "other")
        plan = planned(one, mode="check", repeat=2, label="new", against=other)
        assert [(job.host.id, job.label) for job in plan.jobs] == [
            ("one", "new"), ("other", "new-against"), ("one", "new"), ("other", "new-against"),
        ]  # fmt: skip
        suite = await runner(one, other).run(plan)
    starts = [result.t0_ns for result in suite.results]
    assert starts == sorted(starts)
    assert [result.label for result in suite.results] == ["new", "new-against"] * 2
    assert all(result.grade.letter is None for result in suite.results)  # a check has none


async def test_a_barrier_starts_all_measure_phases_together() -> None:
    async with stand_in(slow(0.01)) as server:
        hosts = [host(server.port, f"h{i}") for i in range(3)]
        suite = await runner(*hosts).run(planned(*hosts, mode="quick", together=True, solo=False))
    begins = [next(p.t0_ns for p in result.phases if p.name == "measure") for result in suite.results]
    ends = [next(p.t1_ns for p in result.phases if p.name == "barrier") for result in suite.results]
    assert len(begins) == 3
    assert max(begins) < min(ends) + 200_000_000 or max(begins) - min(begins) < 200_000_000


async def test_a_result_that_cannot_be_stored_is_not_lost(tmp_path: Path) -> None:
    class Full:
        def save(self, result: object) -> None:
            raise BenchError("no space left", layer="store", next_step="make room")

    async with stand_in(answer("{}", "200 OK", "Connection: close")) as server:
        one = host(server.port)
        run = Runner(default_settings(), Fleet([one]), Full(), first_sample_s=0.0)
        suite = await run.run(planned(one, mode="check"))
    assert suite.jobs[0].state == "done"
    assert suite.jobs[0].problems == ["not stored: store: no space left (make room)"]
    assert len(suite.results) == 1


async def test_a_barrier_does_not_wait_for_those_that_left() -> None:
    barrier = Barrier(3)
    waiting = [asyncio.create_task(barrier.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    barrier.leave()
    first, second = await asyncio.gather(*waiting)
    assert first == second


async def test_an_engine_that_talks_nonsense_is_ended() -> None:
    process = EngineProcess()
    assert await process.hear() is None
    assert await process.end() == ""


def test_what_makes_no_sense_is_refused_with_what_was_expected() -> None:
    one = host(1)
    for request, words in (
        (Request("api-latency", rate_per_s=TRUSTED_RATE_PER_S + 1), "on time"),
        (Request("api-latency", rate_per_s=0), "above 0"),
        (Request("api-latency", rate_per_s=5, concurrency=2), "choose"),
        (Request("api-latency", concurrency=0), "1 to 512"),
        (Request("api-latency", n=0), "1 to 200000"),
        (Request("nonsense"), "one of: "),
    ):
        with pytest.raises(BenchError) as caught:
            plan_suite(request, [one], {})
        assert words in str(caught.value)
    with pytest.raises(BenchError, match="compared with itself"):
        plan_suite(Request("api-latency"), [one], {}, against=one)
    with pytest.raises(BenchError, match="no host"):
        plan_suite(Request("api-latency"), [], {})


def test_states_that_are_over() -> None:
    assert sorted(OVER) == ["cancelled", "done", "failed"]


class Talking:
    """An engine that says something after so many seconds."""

    def __init__(self, after_s: float) -> None:
        self.after_s = after_s
        self.began_s = asyncio.get_running_loop().time()

    async def hear(self) -> Any:
        left_s = self.after_s - (asyncio.get_running_loop().time() - self.began_s)
        await asyncio.sleep(max(left_s, 0))
        return "here"


def test_an_engine_is_not_silent_because_we_stood_still() -> None:
    """Stopped at the terminal for a minute: what was said meanwhile is there, and the timer rang, too."""

    async def stopped() -> Any:
        loop: Any = asyncio.get_running_loop()
        loop.call_later(10.0, loop.stand_still, 60.0)
        return await _heard(Talking(31.0), 30.0)  # type: ignore[arg-type]

    assert virtual_time.run(stopped()) == "here"


def test_an_engine_that_says_nothing_is_given_up() -> None:
    async def hung() -> None:
        with pytest.raises(TimeoutError):
            await _heard(Talking(40.0), 30.0)  # type: ignore[arg-type]

    virtual_time.run(hung())


async def test_an_end_while_a_result_is_being_stored_is_said(tmp_path: Path) -> None:
    released = threading.Event()

    class Waiting:
        def save(self, result: Result) -> None:
            released.wait(30)

        def baseline(self, config_hash: str, host: str, service: str | None) -> None:
            return None

    async with stand_in(answer("{}", "200 OK", "Connection: close")) as server:
        one = host(server.port)
        made = Runner(default_settings(), Fleet((one,)), Waiting(), first_sample_s=0.0)
        running = asyncio.create_task(made.run(planned(one, mode="check")))
        try:
            suite = await until(made, lambda suite: suite.results)
            running.cancel()
            await asyncio.wait({running})
        finally:
            released.set()
    (result,) = suite.results
    assert suite.jobs[0].problems == [f"ended while {result.run_id} was being stored: list-runs shows whether it was"]
    assert engines() == []


async def test_what_was_projected_for_an_instance_type_stands_beside_what_was_measured() -> None:
    async with stand_in(answer("{}", "200 OK", "Connection: close")) as server:
        one = structs.replace(host(server.port), labels={"instance_type": "t3.large"})
        table = {"projections": {"t3.large": {"throughput": 0.5}, "m5.large": {"throughput": 9.0}}}
        settings = structs.replace(default_settings(), bench=table)
        suite = await Runner(settings, Fleet([one]), None, first_sample_s=0.0).run(planned(one, mode="quick"))
    (result,) = suite.results
    figure, deviation = (line for line in result.kpis if line.id.startswith("projected_"))
    measured = result.metrics["throughput"].value
    assert (figure.target, figure.actual, figure.source) == (0.5, measured, "measured")
    assert "for t3.large" in figure.formula
    assert measured is not None
    assert deviation.actual == pytest.approx((measured / 0.5 - 1) * 100)
