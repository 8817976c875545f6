"""Hosts that do not play by the rules, as in-process servers: what they say is bounded, named, and believed in nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.errors import BenchError
from benchmarks.remote import Program, Remote
from tests.support.leaks import other_tasks
from tests.support.remote import SHORT, remote_on, ssh_context
from tests.support.sshd import FakeHost, Keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def playing(
    answer: Callable[[Any, str], Awaitable[None]], heard: list[bytes] | None = None
) -> Callable[[Any], Awaitable[None]]:
    """A host whose keeper is a fine one, and whose commands are answered by ``answer(process, token)``.

    ``heard``: what the keeper was told to end.
    """
    killed = [] if heard is None else heard

    async def handler(process: Any) -> None:
        if "qdk-" in process.command:
            nonce = process.command.rpartition("qdk-")[2]
            process.stdout.write(f"noise QDC1 {nonce} ready\nx 99999999999999 1\nx a b\nQDC1\n\xff\n".encode())
            while line := await process.stdin.readline():
                if line.startswith(b"k "):
                    killed.append(line)
                    process.stdout.write(b"x " + line[2:-1] + b" 0\n")
                if line == b"q\n":
                    break
            process.exit(0)
            return
        await answer(process, process.command.rpartition("qd-")[2])

    return handler


async def answered(tmp_path: Path, keys: Keys, answer: Callable[[Any, str], Awaitable[None]]) -> Any:
    async with FakeHost(tmp_path, keys, playing(answer)) as host, remote_on(host.host()) as remote:
        return await remote.run(Program("true", witness=True))


async def test_a_signal_is_named(tmp_path: Path, keys: Keys) -> None:
    async def answer(process: Any, mark: str) -> None:
        process.stdout.write(f"QDC1 {mark} start\nout".encode())
        process.exit_with_signal("SEGV", core_dumped=True, msg="\x1b[2J")

    ended = await answered(tmp_path, keys, answer)
    assert (ended.exit_code, ended.signal, ended.lost) == (None, "SEGV", "")
    assert ended.stdout.head == b"out"
    assert set(ended.usage.missing.values()) == {"error"}


async def test_a_flood_in_place_of_a_start_is_bounded_and_shown(tmp_path: Path, keys: Keys) -> None:
    async def answer(process: Any, mark: str) -> None:
        for _ in range(200):
            process.stdout.write(b"QDC1 other start \x1b[31m" * 1000)
            await process.stdout.drain()
        process.stdout.write(b"\nthis account is closed\n")
        process.exit(1)

    ended = await answered(tmp_path, keys, answer)
    assert ended.problem.startswith("the host did not start it and said: ")
    assert "\x1b" not in ended.problem
    assert len(ended.problem) < 300
    assert ended.stdout.total_bytes == 0


async def test_an_exit_without_a_word_is_a_lost_session(tmp_path: Path, keys: Keys) -> None:
    async def answer(process: Any, mark: str) -> None:
        process.stdout.write(f"QDC1 {mark} start\n".encode())
        process.close()

    ended = await answered(tmp_path, keys, answer)
    assert ended.lost


async def test_a_command_that_never_starts_is_given_up_in_bounded_time(tmp_path: Path, keys: Keys) -> None:
    forever = asyncio.Event()

    async def answer(process: Any, mark: str) -> None:
        await forever.wait()

    before = other_tasks()
    async with FakeHost(tmp_path, keys, playing(answer)) as host, remote_on(host.host()) as remote:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await remote.run(Program("true"))
        forever.set()
    await asyncio.sleep(0.05)
    assert not [task for task in other_tasks() - before if "heartbeat" in task.get_name()]


async def test_those_that_end_together_are_looked_for_once(tmp_path: Path, keys: Keys) -> None:
    forever, killed = asyncio.Event(), []

    async def answer(process: Any, mark: str) -> None:
        process.stdout.write(f"QDC1 {mark} start\n".encode())
        await forever.wait()

    async with FakeHost(tmp_path, keys, playing(answer, killed)) as host, remote_on(host.host()) as remote:
        processes = [await remote.start(Program("true")) for _ in range(5)]
        assert await asyncio.gather(*(process.kill() for process in processes)) == [0] * 5
        forever.set()
    assert killed == [b"k 1|2|3|4|5\n"]


async def test_a_keeper_that_never_comes_is_named(tmp_path: Path, keys: Keys) -> None:
    async def handler(process: Any) -> None:
        process.stdout.write(b"This host is for \x1b[1mbackups\x1b[0m only\n")
        process.exit(1)

    async with FakeHost(tmp_path, keys, handler) as host, ssh_context(host.host()) as context:
        remote = Remote(context, SHORT)
        with pytest.raises(BenchError) as caught:
            await remote.open()
    assert caught.value.layer == "host"
    assert "This host is for [1mbackups[0m only" in caught.value.cause


async def test_a_host_that_cannot_be_reached_is_named(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as host:
        target = host.host()
    with pytest.raises(BenchError, match="refused") as caught:
        async with remote_on(target):
            pass
    assert caught.value.layer == "ssh"
