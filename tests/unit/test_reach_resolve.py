from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading

import pytest

from probes import clock
from probes.errors import ResolveError
from probes.reach.resolve import KEEP_FAILURE_S, KEEP_S, Resolver, literal_address, system_lookup
from probes.reach.threads import DaemonPool, PoolFullError
from tests.support.leaks import other_tasks, until


class Names:
    """A name server that is asked, counted, and may fail or hang."""

    def __init__(self, answer: tuple[str, ...] | BaseException = ("192.0.2.7",)) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, name: str) -> tuple[str, ...]:
        self.asked.append(name)
        self.gate.wait(20)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("name", "address"),
    [("10.0.0.1", "10.0.0.1"), ("::1", "::1"), ("[fd00::1]", "fd00::1"), ("fe80::1%eth0", "fe80::1%eth0")],
)
async def test_literals_are_their_own_answer(name: str, address: str) -> None:
    names = Names()
    assert await Resolver(names).resolve(name, 1.0) == (address,)
    assert await Resolver(names).resolve("LocalHost.", 1.0) == ("127.0.0.1", "::1")
    assert not names.asked


@pytest.mark.parametrize("name", ["", "127.1", "0x7f.1", "1.2.3.4.5", "gpu", "::g", "a:b"])
def test_what_is_no_literal(name: str) -> None:
    assert literal_address(name) is None


async def test_answers_are_kept_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "boot_s", lambda: now)
    names = Names()
    resolver = Resolver(names)
    assert resolver.known("gpu") is None
    for name in ("gpu", "GPU", "gpu."):
        assert await resolver.resolve(name, 5.0) == ("192.0.2.7",)
    assert resolver.known("gpu") == ("192.0.2.7",)
    now += KEEP_S + 0.1
    assert resolver.known("gpu") is None
    await resolver.resolve("gpu", 5.0)
    assert len(names.asked) == 2
    resolver.forget("gpu")
    await resolver.resolve("gpu", 5.0)
    resolver.forget()
    await resolver.resolve("gpu", 5.0)
    assert len(names.asked) == 4
    await resolver.close()


@pytest.mark.parametrize(
    ("code", "cause", "step"),
    [
        (socket.EAI_NONAME, "there is no name gpu-9", "spelling"),
        (socket.EAI_AGAIN, "no name server answers for gpu-9", "resolv.conf"),
        (socket.EAI_FAIL, "the name server failed for gpu-9", "another name server"),
        (socket.EAI_NODATA, "gpu-9 exists but has no address", "AAAA"),
        (socket.EAI_MEMORY, "gpu-9 does not resolve (why)", "check"),
    ],
)
async def test_each_failure_has_its_cause_and_next_step(code: int, cause: str, step: str) -> None:
    with pytest.raises(ResolveError) as caught:
        await Resolver(Names(socket.gaierror(code, "why"))).resolve("gpu-9", 5.0)
    assert (caught.value.layer, caught.value.cause) == ("resolve", cause)
    assert step in caught.value.next_step


async def test_failures_are_kept_shortly_and_hostile_names_are_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "boot_s", lambda: now)
    names = Names(socket.gaierror(socket.EAI_NONAME, "no"))
    resolver = Resolver(names)
    for _ in range(3):
        with pytest.raises(ResolveError) as caught:
            await resolver.resolve("x\x1b[2J\u202e", 5.0)
        assert caught.value.cause.isprintable()
    assert len(names.asked) == 1
    now += KEEP_FAILURE_S + 0.1
    names.answer = ("192.0.2.1",)
    assert await resolver.resolve("x\x1b[2J\u202e", 5.0) == ("192.0.2.1",)


async def test_empty_answer_and_odd_errors_are_failures_too() -> None:
    with pytest.raises(ResolveError, match="no address"):
        await Resolver(Names(())).resolve("gpu", 5.0)
    with pytest.raises(ResolveError, match="cannot be looked up"):
        await Resolver(Names(UnicodeError("label too long"))).resolve("gpu", 5.0)


@pytest.mark.parametrize("name", ["", "a" * 64 + ".example", "x" * 300, "a..b", "\ud800"])
async def test_impossible_names_never_reach_a_server(name: str) -> None:
    with pytest.raises(ResolveError):
        await Resolver().resolve(name, 5.0)


def test_system_lookup_knows_this_machine() -> None:
    assert set(system_lookup("localhost")) & {"127.0.0.1", "::1"}


async def test_same_name_is_asked_once_at_a_time() -> None:
    names = Names()
    names.gate.clear()
    resolver = Resolver(names)
    tasks = [asyncio.create_task(resolver.resolve("gpu", 10.0)) for _ in range(20)]
    await asyncio.sleep(0)
    # one that gives up does not end the look-up for the others
    tasks[0].cancel()
    await asyncio.sleep(0)
    names.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [("192.0.2.7",)] * 19
    assert names.asked == ["gpu"]
    await resolver.close()
    assert not other_tasks()


async def test_hanging_lookup_ends_in_time_and_others_go_on() -> None:
    names = Names()
    names.gate.clear()
    resolver = Resolver(names, threads=2)
    with pytest.raises(ResolveError, match="no answer for slow within"):
        await resolver.resolve("slow", 0.05)
    other = asyncio.create_task(resolver.resolve("quick", 10.0))
    await until(lambda: "quick" in names.asked)
    names.gate.set()
    assert await other == ("192.0.2.7",)
    await resolver.close()


async def test_closing_ends_what_waits() -> None:
    names = Names()
    names.gate.clear()
    resolver = Resolver(names)
    task = asyncio.create_task(resolver.resolve("gpu", 30.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    names.gate.set()
    assert not other_tasks()


async def test_pool_starts_threads_only_as_needed_and_has_bounds() -> None:
    gate = threading.Event()
    pool = DaemonPool("t", threads=2, queued=3)
    assert await pool.run(lambda: 7, 5.0) == 7
    await until(lambda: pool.busy == 0)
    assert await pool.run(lambda: 8, 5.0) == 8
    assert pool._threads == 1
    hanging = [asyncio.create_task(pool.run(lambda: gate.wait(20), 30.0)) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(PoolFullError, match="2 threads busy, 3 calls waiting"):
        await pool.run(lambda: 9, 5.0)
    gate.set()
    assert await asyncio.gather(*hanging) == [True] * 5
    pool.close()
    with pytest.raises(PoolFullError):
        await pool.run(lambda: 9, 5.0)


async def test_call_that_was_given_up_is_never_made() -> None:
    gate, made = threading.Event(), []
    pool = DaemonPool("t", threads=1)
    first = asyncio.create_task(pool.run(lambda: gate.wait(20), 30.0))
    second = asyncio.create_task(pool.run(lambda: made.append(1), 30.0))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    await first
    assert await pool.run(lambda: 3, 5.0) == 3
    assert not made
    pool.close()


def test_hanging_lookup_does_not_hold_up_the_exit() -> None:
    program = """
import asyncio, threading
from probes.errors import ResolveError
from probes.reach.resolve import Resolver
async def main():
    try:
        await Resolver(lambda name: threading.Event().wait()).resolve("gpu", 0.05)
    except ResolveError as error:
        print(error.cause)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "no answer for gpu within 0.05 s\n"
    assert not done.stderr
