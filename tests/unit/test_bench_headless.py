"""What a headless run says while it goes on, and what an interrupt does to it."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import signal
from typing import Any

import pytest

from benchmarks.model import Case, Load, RunSpec
from benchmarks.suite import HostPlan, JobState, Suite, SuitePlan
from benchmarks.wire import Failed, Progress
from probes.model import Host
from tests.support.stored_results import invalid, result
from tui.bench_headless import ProgressLine, Stop, phase_words, problems_of, progress_words, result_words


def progress(**over: Any) -> Progress:
    fields: dict[str, Any] = {
        "run": 0, "runs": 6, "case": "short", "temperature": "warm", "phase": "measure", "done": 7, "total": 30,
        "elapsed_s": 5.0, "rate_per_s": 1.4, "eta_s": 16.4, "outcomes": {"ok": 6, "timeout": 1, "http_error": 0},
        "t0_ns": 1, "p50_s": 0.71,
    }  # fmt: skip
    return Progress(**{**fields, **over})


def job(host: str, state: Any, at: Progress | None = None) -> JobState:
    spec = RunSpec("synthesis", Case("short"), Load(), "warm")
    return JobState(HostPlan(Host(host, host), (spec,)), state, at)


def suite(*jobs: JobState) -> Suite:
    return Suite(SuitePlan("s", "synthesis", tuple(each.plan for each in jobs)), list(jobs))


def test_progress_has_phase_count_rate_rest_and_errors():
    assert phase_words(progress()) == "measure 7/30, 1.40/s, p50 710 ms, ETA 16 s, 1 timeout"
    bare = progress(total=None, rate_per_s=None, eta_s=None, outcomes={}, p50_s=None, phase="warmup", done=1)
    assert phase_words(bare) == "warmup 1"


def test_one_host_and_several():
    assert progress_words(suite(job("a", "running", progress()))).startswith("a 1/6 short warm: measure 7/30")
    several = suite(job("a", "done"), job("b", "running", progress(runs=1)), job("c", "starting"), job("d", "queued"))
    assert progress_words(several) == (
        "1 of 4 done | b short warm: measure 7/30, 1.40/s, p50 710 ms, ETA 16 s, 1 timeout | c starting"
    )


def test_a_finished_run_in_one_line():
    assert result_words(result()) == "gpu-1 short warm: A  response_time p90, error-adjusted 1.42 s"
    assert result_words(invalid("x", "drift")) == "gpu-1 short warm: INVALID  drift"


def test_problems_are_a_line_each_with_the_next_step():
    failing = job("a", "failed")
    failing.failures.append(Failed(0, "tcp", "refused\x1b[2J", "start it", "server"))
    failing.problems.append("not stored: store: no space left\nat all")
    assert list(problems_of(suite(failing, job("b", "done")))) == [
        "a short warm: tcp: refused[2J (start it)",
        "a: not stored: store: no space left at all",
    ]


def test_the_line_is_cut_to_the_terminal_and_results_stay_above_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    out = io.StringIO()
    line = ProgressLine(out)
    running = job("a", "running", progress())
    running.results.append(result())
    line.draw(suite(running))
    line.draw(suite(running))
    line.clear()
    drawn = out.getvalue().split("\r\x1b[K")
    assert drawn[1].endswith("\n")
    assert [part for part in drawn if part.startswith("gpu-1")] == [drawn[1]]
    assert all(len(part.rstrip("\n")) <= 39 for part in drawn)
    assert drawn[-1] == ""


class Closed(io.StringIO):
    """A terminal that somebody closed: each write fails."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise OSError(errno.EIO, "Input/output error")


def test_a_terminal_that_was_closed_does_not_end_the_run():
    closed = Closed()
    line = ProgressLine(closed)
    for done in range(3):
        line.draw(suite(job("a", "running", progress(done=done))))
    line.clear()
    assert closed.writes == 1


class Runner:
    def __init__(self) -> None:
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_the_first_interrupt_asks_and_the_second_ends(number):
    runner: Any = Runner()
    running = asyncio.create_task(asyncio.Event().wait())
    stop = Stop(runner, running)  # pyright: ignore[reportArgumentType]
    stop.listen()
    loop = asyncio.get_running_loop()
    try:
        os.kill(os.getpid(), number)
        while not stop.asked:
            await asyncio.sleep(0)
        assert (runner.cancelled, running.done()) == (1, False)
        os.kill(os.getpid(), number)
        with pytest.raises(asyncio.CancelledError):
            await running
        assert runner.cancelled == 1
    finally:
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(one)
