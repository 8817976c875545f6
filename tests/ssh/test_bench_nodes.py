"""Many nodes at once: real sshd on loopback addresses, real work, one node that hangs and one that dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from benchmarks.benchmark import Request
from benchmarks.model import Outcome
from benchmarks.multi import jobs_summary, nodes_summary
from benchmarks.plan import plan_suite
from benchmarks.runner import Runner
from probes.fleet import Fleet
from tests.support.sshd import Keys, RealSshd, children_of
from tests.support.watching import settings_for

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.suite import Suite
    from probes.model import Host

pytestmark = [pytest.mark.needs("sshd"), pytest.mark.timeout(150)]

WORK = "head -c 3000000 /dev/zero | sha256sum"


def planned(hosts: list[Host], n: int, timeout_s: float, **more: Any) -> Any:
    extra = {"command": WORK, "usage": "1", "expect_stdout": "re:^[0-9a-f]{64} "}
    request = Request("command", mode="quick", n=n, timeout_s=timeout_s, extra=extra)
    return plan_suite(request, hosts, {"presets": {}}, together=True, **more)


def runner(hosts: list[Host]) -> Runner:
    return Runner(settings_for(*hosts), Fleet(hosts), None, first_sample_s=0.0)


async def when_measuring(run: Runner, wanted: int) -> Suite:
    """Wait until so many jobs have measured something."""

    def measuring(suite: Suite) -> int:
        return sum(
            job.progress is not None and job.progress.phase == "measure" and job.progress.done > 0 for job in suite.jobs
        )

    async with asyncio.timeout(90):
        while run.suite is None or measuring(run.suite) < wanted:
            await asyncio.sleep(0.02)
    return run.suite


async def test_eight_nodes_of_which_one_hangs_and_one_dies(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(RealSshd(tmp_path / f"sshd{i}", keys, address=f"127.0.0.{i + 2}")) for i in range(8)
        ]
        hosts = [server.host(f"node-{i}") for i, server in enumerate(servers)]
        run = runner(hosts)
        going = asyncio.create_task(run.run(planned(hosts, 24, 5.0, solo=False)))
        await when_measuring(run, 8)
        hanging, dying = servers[3], servers[5]
        stopped = [hanging.pid, *children_of(hanging.pid)]
        try:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):  # a session of a command that has ended meanwhile
                    os.kill(pid, signal.SIGSTOP)
            dying.kill_sessions()
            dying.stop()
            async with asyncio.timeout(100):
                suite = await going
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
    (case,) = nodes_summary(suite)
    states = {node.host: node.state for node in case.nodes}
    assert case.planned == 8
    rest = [host.id for i, host in enumerate(hosts) if i not in {3, 5}]
    for result in suite.results:
        if result.target.host in rest:
            assert (result.counts.intended, result.counts.ok) == (24, 24), result.errors
            assert result.nodes == 8
    assert [states[name] for name in rest] == ["finished"] * 6
    # what they had before is kept, and how they ended is said
    hung = next(result for result in suite.results if result.target.host == "node-3")
    assert hung.counts.by_outcome[Outcome.TIMEOUT] > 0
    assert hung.counts.ok > 0
    dead = [job for job in suite.jobs if job.plan.host.id == "node-5"]
    lost = [r.counts.by_outcome[Outcome.TRANSPORT] for job in dead for r in job.results]
    assert sum(lost) > 0 or dead[0].failures or dead[0].problems
    assert case.together_per_s is not None
    assert jobs_summary(suite).speedup is not None
    # all of them began behind one barrier
    begins = [next(p.t0_ns for p in result.phases if p.name == "measure") for result in suite.results]
    assert max(begins) - min(begins) < 10_000_000_000
    assert not [p for p in psutil.Process().children(recursive=True) if "benchmarks.worker" in " ".join(p.cmdline())]


async def test_efficiency_is_measured_against_runs_alone_in_the_same_session(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(RealSshd(tmp_path / f"sshd{i}", keys, address=f"127.0.0.{i + 2}")) for i in range(2)
        ]
        hosts = [server.host(f"node-{i}") for i, server in enumerate(servers)]
        suite = await runner(hosts).run(planned(hosts, 10, 20.0))
    assert [(job.plan.host.id, job.plan.nodes) for job in suite.jobs] == [
        ("node-0", 1),
        ("node-1", 1),
        ("node-0", 2),
        ("node-1", 2),
    ]
    (case,) = nodes_summary(suite)
    assert (case.finished, case.planned) == (2, 2), [(job.failures, job.problems) for job in suite.jobs]
    alone = [r.metrics["throughput"].value for r in suite.results if r.nodes == 1]
    together = [r for r in suite.results if r.nodes == 2]
    windows = [next(p for p in r.phases if p.name == "measure") for r in together]
    wall_s = (max(p.t1_ns for p in windows) - min(p.t0_ns for p in windows)) / 1e9
    assert case.efficiency == pytest.approx(20 / wall_s / sum(filter(None, alone)))
