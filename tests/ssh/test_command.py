"""The command benchmark under the engine, against Debian's sshd: figures, failures, and nothing left on the host."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from benchmarks.benchmark import Request
from benchmarks.command import Command, spans_of
from benchmarks.command_plan import plan
from benchmarks.engine import Engine, Record
from benchmarks.errors import BenchError
from benchmarks.model import Outcome
from benchmarks.recorder import Recorder
from benchmarks.remote import Times
from benchmarks.wire import Finished, FromEngine, Job
from tests.support.remote import SHORT, cut, new_marker, none_left, running, seen, ssh_context
from tests.support.sshd import Keys, RealSshd, children_of
from tests.support.watching import settings_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from benchmarks.model import RunSpec
    from probes.model import Host

pytestmark = [pytest.mark.needs("sshd", "pgrep"), pytest.mark.timeout(90)]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
def server(tmp_path: Path, keys: Keys) -> Iterator[RealSshd]:
    with RealSshd(tmp_path / "sshd", keys) as server:
        yield server


def spec_of(host: Host, *, n: int = 4, concurrency: int = 1, timeout_s: float = 30.0, **extra: str) -> RunSpec:
    request = Request(
        "command", mode="quick", n=n, concurrency=concurrency, timeout_s=timeout_s, extra={"usage": "1", **extra}
    )
    return plan(request, host, {"presets": {}})[0]


async def run(
    host: Host, spec: RunSpec, meanwhile: Callable[[asyncio.Event], Awaitable[None]] | None = None
) -> tuple[Record, dict[str, Any]]:
    async with ssh_context(host) as context:
        bench, stop = Command(spec, context, SHORT), asyncio.Event()
        engine = Engine(spec, bench, Recorder(time.perf_counter_ns()), stop)
        going = asyncio.create_task(engine.run())
        if meanwhile is not None:
            await meanwhile(stop)
        record = await going
        return record, dict(bench.totals(record.samples, 1.0))


async def test_the_figures_of_a_command(server: RealSshd) -> None:
    record, totals = await run(server.host(), spec_of(server.host(), n=6, command="sleep 0.1; echo done", usage="2"))
    assert [one.outcome for one in record.samples] == [Outcome.OK] * 6
    assert record.preflight.via == "ssh"
    for one in record.samples:
        spans, values = one.spans, one.values
        assert values["exec_to_exit"] == spans["run"] > 0.09
        assert values["channel_open"] == spans["channel_open"] > 0
        parts = spans["channel_open"] + spans["exec"] + spans["login_shell"] + spans["run"]
        # all but the closing of the channel
        assert parts <= values["service_time"] + 1e-3
        assert values["over_baseline"] == pytest.approx(values["service_time"] - totals["baseline_true"])
    assert totals["exec_to_exit_host"] > 0.1
    assert 0 < totals["cpu_s"] < 0.1
    assert 200_000 < totals["peak_rss_bytes"] < 20_000_000
    assert totals["connections"] == 1
    assert totals["connect_auth"] > 0
    assert totals["baseline_true"] > 0
    assert 0 < totals["commands_per_s"] < 10
    assert totals["leftovers"] == 0
    async with asyncio.timeout(10):  # sshd's own process for the connection ends a moment after it
        while children_of(server.pid):
            await asyncio.sleep(0.02)


async def test_concurrency_beyond_the_limit_of_sessions(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "sshd", keys, extra="MaxSessions 2") as server:
        record, totals = await run(
            server.host(), spec_of(server.host(), n=20, concurrency=5, command="true", usage="0")
        )
        assert [one.outcome for one in record.samples] == [Outcome.OK] * 20
        assert totals["connections"] == 3
        assert totals["peak_rss_bytes"] is None


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"command": "nosuchprogram"}, "exit 127: command not found"),
        ({"command": "echo broken >&2; exit 1"}, "exit 1: broken"),
        ({"command": "kill -9 $$"}, "exit 137: killed (out of memory?)"),
        ({"command": "echo no", "expect_stdout": "yes"}, "exit 0, but its output has no 'yes': 'no'"),
    ],
)
async def test_an_exit_that_was_not_expected_is_a_failure(server: RealSshd, extra: dict[str, str], words: str) -> None:
    record, _ = await run(server.host(), spec_of(server.host(), **extra))
    assert [one.outcome for one in record.samples] == [Outcome.INVALID_BODY] * 4
    assert words in record.samples[0].detail


async def test_secrets_come_from_here_and_are_in_nothing_that_is_kept(
    server: RealSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QD_TEST_SECRET", "hunter2hunter2")
    spec = spec_of(server.host(), command='echo "got $API_TOKEN" >&2; exit 1', env="API_TOKEN=env:QD_TEST_SECRET")
    record, _ = await run(server.host(), spec)
    assert record.samples[0].detail == "exit 1: got ***"
    kept = msgspec.json.encode([spec, record.samples, record.errors, record.preflight])
    assert b"hunter2" not in kept
    monkeypatch.delenv("QD_TEST_SECRET")
    with pytest.raises(BenchError, match="not set here"):
        await run(server.host(), spec)


async def test_stdin_from_a_file_is_named_by_its_digest(server: RealSshd, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"abc")
    spec = spec_of(server.host(), command="cat", stdin=f"@{path}", expect_stdout="abc")
    record, _ = await run(server.host(), spec)
    assert record.samples[0].outcome is Outcome.OK
    # sha256 of "abc" begins so (FIPS 180-2)
    assert "stdin: 3 bytes, sha256 ba7816bf8f01cfea" in record.preflight.notes
    with pytest.raises(BenchError, match="stdin"):
        await run(server.host(), spec_of(server.host(), command="cat", stdin=f"@{tmp_path}/nowhere"))


async def test_a_directory_that_is_not_there_ends_the_run_before_it_starts(server: RealSshd) -> None:
    with pytest.raises(BenchError, match="no such directory") as caught:
        await run(server.host(), spec_of(server.host(), command="true", cwd="/nowhere"))
    assert (caught.value.layer, caught.value.side) == ("host", "client")


async def test_a_timeout_ends_the_command_on_the_host(server: RealSshd) -> None:
    marker = new_marker()
    spec = spec_of(server.host(), n=2, timeout_s=1.0, usage="0", command=f"sh -c 'sleep 300; : {marker}' & wait")
    record, _ = await run(server.host(), spec)
    assert [one.outcome for one in record.samples] == [Outcome.TIMEOUT] * 2
    assert not running(marker)


async def test_a_cancelled_run_leaves_nothing(server: RealSshd) -> None:
    marker = new_marker()
    spec = spec_of(server.host(), concurrency=3, usage="0", command=f"sh -c 'sleep 300; : {marker}' & wait")

    async def cancel(stop: asyncio.Event) -> None:
        await seen(marker, 3)
        stop.set()

    record, _ = await run(server.host(), spec, cancel)
    assert record.cancelled
    await none_left(marker)
    async with asyncio.timeout(20):
        while children_of(server.pid):
            await asyncio.sleep(0.02)


async def test_a_connection_lost_mid_run_is_a_server_that_died(server: RealSshd) -> None:
    marker = new_marker()
    spec = spec_of(server.host(), n=100, usage="0", command=f"echo {marker}; sleep 0.3")

    async def lose(stop: asyncio.Event) -> None:
        await seen(marker, 1)
        await none_left(marker)
        await seen(marker, 1)
        cut(server)

    record, _ = await run(server.host(), spec, lose)
    assert record.died
    assert not record.cancelled
    failed = [one for one in record.samples if one.outcome is not Outcome.OK]
    assert {one.outcome for one in failed} == {Outcome.TRANSPORT}
    assert "connection" in failed[0].detail
    await none_left(marker)


async def test_the_engine_killed_with_its_process_leaves_nothing(server: RealSshd) -> None:
    """The worker's own process, as the dashboard starts it; killed, there is nobody to clean up but the keeper."""
    marker = new_marker()
    host = server.host()
    spec = spec_of(host, usage="0", command=f"sh -c 'sleep 300; : {marker}' & wait")
    job = Job("suite", host, settings_for(host), (spec,), None)
    worker = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        assert worker.stdin is not None
        worker.stdin.write(msgspec.json.encode(job) + b"\n")
        worker.stdin.flush()
        await seen(marker, 1, 20)
        worker.send_signal(signal.SIGKILL)
        await none_left(marker)
        async with asyncio.timeout(10):
            while children_of(server.pid):
                await asyncio.sleep(0.05)
    finally:
        worker.kill()
        worker.communicate()


async def test_a_whole_result_by_the_worker(server: RealSshd) -> None:
    host = server.host()
    job = Job("suite", host, settings_for(host), (spec_of(host, n=10, command="true"),), None)
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.worker", stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=2**24
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(msgspec.json.encode(job) + b"\n")
    finished = None
    while line := await worker.stdout.readline():
        message = msgspec.json.decode(line, type=FromEngine)
        if isinstance(message, Finished):
            finished = message
    worker.stdin.close()
    assert await worker.wait() == 0
    assert finished is not None
    result = finished.result
    assert result.target.via == "ssh"
    assert result.counts.ok == 10
    assert result.grade.letter is None
    assert result.metrics["commands_per_s"].value == pytest.approx(result.metrics["throughput"].value)
    assert result.metrics["over_baseline"].n == 10
    assert result.metrics["connections"].value == 1
    assert set(result.spans) >= {"channel_open", "exec", "login_shell", "run"}


def test_the_parts_of_a_command() -> None:
    times = Times(1_000_000_000, 1_100_000_000, 1_300_000_000, 1_600_000_000, None, 2_000_000_000, 2_500_000_000)
    expected = {"channel_open": 0.1, "exec": 0.2, "login_shell": 0.3, "run": 0.4}
    assert spans_of(times) == pytest.approx(expected)
