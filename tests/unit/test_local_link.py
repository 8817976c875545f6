"""Programs on this machine by the same keeper and the same rules as over SSH."""

from __future__ import annotations

import asyncio
import subprocess
import uuid

import pytest

from benchmarks.benchmark import Request
from benchmarks.errors import BenchError
from benchmarks.plan import plan_suite
from benchmarks.remote import Program, Remote
from benchmarks.runner import Runner
from benchmarks.ways import RunContext
from probes.config import default_settings
from probes.config.settings import local_host
from probes.fleet import Fleet

pytestmark = pytest.mark.needs("pgrep")


def running(marker: str) -> bool:
    return subprocess.run(["pgrep", "-f", marker], stdout=subprocess.DEVNULL, check=False).returncode == 0


async def gone(marker: str) -> None:
    async with asyncio.timeout(20):
        while running(marker):
            await asyncio.sleep(0.05)


async def test_output_exit_code_and_stdin() -> None:
    async with RunContext(local_host(), default_settings()) as context, Remote(context) as remote:
        ended = await remote.run(Program("cat; echo bad >&2; exit 3", env={"X": "1"}, stdin=b"hello"))
        assert (ended.exit_code, ended.signal, ended.lost, ended.problem) == (3, None, "", "")
        assert ended.stdout.text() == "hello"
        assert ended.stderr.text() == "bad\n"
        assert (await remote.run(Program('printf %s "$X"', env={"X": "a b"}))).stdout.text() == "a b"
        assert (await remote.run(Program("pwd", cwd="/"))).stdout.text() == "/\n"
        missing = await remote.run(Program("true", cwd="/no/such/folder"))
        assert "no such directory" in missing.problem


async def test_a_cancelled_program_dies_with_all_below_it() -> None:
    marker = f"marker-{uuid.uuid4().hex}"
    async with RunContext(local_host(), default_settings()) as context, Remote(context) as remote:
        task = asyncio.create_task(remote.run(Program(f"sh -c 'sleep 300; : {marker}' & sleep 300; : {marker}")))
        async with asyncio.timeout(10):
            while not running(marker):
                await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone(marker)


async def test_leaving_ends_what_runs() -> None:
    marker = f"marker-{uuid.uuid4().hex}"
    async with RunContext(local_host(), default_settings()) as context:
        remote = Remote(context)
        await remote.open()
        await remote.start(Program(f"sleep 300; : {marker}"))
        async with asyncio.timeout(10):
            while not running(marker):
                await asyncio.sleep(0.02)
        await remote.close()
        await gone(marker)


async def test_ssh_to_this_machine_is_refused_all_the_same() -> None:
    async with RunContext(local_host(), default_settings()) as context:
        with pytest.raises(BenchError, match="watched without SSH"):
            await context.ssh()


@pytest.mark.parametrize("benchmark", ["command"])
async def test_a_benchmark_on_this_machine(benchmark: str) -> None:
    here = local_host()
    request = Request(benchmark, mode="quick", extra={"command": "echo fine", "expect_stdout": "fine", "usage": "1"})
    plan = plan_suite(request, [here], {"presets": {}})
    suite = await Runner(default_settings(), Fleet([here]), None, first_sample_s=0.0).run(plan)
    (job,) = suite.jobs
    assert (job.failures, job.problems) == ([], [])
    (result,) = suite.results
    assert (result.counts.intended, result.counts.ok) == (10, 10), result.errors
    assert (result.target.via, result.target.endpoint) == ("local", "this machine")
    assert result.metrics["connect_auth"].value is None
    assert result.metrics["commands_per_s"].value is not None
