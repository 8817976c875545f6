"""Which answers to stepped connects are hops; the real ones are in tests/net."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from probes.model import PortState
from probes.reach import hops, icmp
from probes.reach.hops import step_hops
from probes.reach.tcp import TcpResult
from tests.support.leaks import open_sockets, other_tasks

if TYPE_CHECKING:
    import pytest

SILENT = TcpResult("10.0.0.9", 80, PortState.FILTERED, syns_sent=2)


def exceeded(router: str, syns: int = 1) -> TcpResult:
    return TcpResult(
        "10.0.0.9",
        80,
        PortState.UNREACHABLE,
        elapsed_ms=7.0,
        icmp_family=4,
        icmp_type=11,
        icmp_code=0,
        offender=router,
        syns_sent=syns,
    )


def answers(monkeypatch: pytest.MonkeyPatch, by_ttl: dict[int, Any]) -> None:
    async def connect(address: str, port: int, timeout_s: float, ttl: int) -> TcpResult:
        found = by_ttl.get(ttl, SILENT)
        if found is not SILENT:
            return found
        await asyncio.sleep(timeout_s)
        return SILENT

    monkeypatch.setattr(hops, "tcp_connect", connect)


async def test_hops_end_with_the_last_that_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {1: exceeded("10.0.1.1"), 3: exceeded("10.0.3.1", syns=2)})
    found = await step_hops("10.0.0.9", 80, 0.05)
    assert [(hop.ttl, hop.address, hop.rtt_ms) for hop in found.hops] == [
        (1, "10.0.1.1", 7.0),
        (2, None, None),
        # two packets asked: which of them was answered is not known, nor is the time
        (3, "10.0.3.1", None),
    ]
    assert found.why == "stepped 16 hops; the last that answered is 10.0.3.1"
    assert found.spoken is None
    assert not other_tasks()


async def test_other_errors_are_no_hops_but_somebodys_word(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = TcpResult(
        "10.0.0.9", 80, PortState.REJECTED, icmp_family=4, icmp_type=3, icmp_code=13, offender="10.0.2.1"
    )
    answers(monkeypatch, {1: exceeded("10.0.1.1"), 16: refusal})
    found = await step_hops("10.0.0.9", 80, 0.05)
    assert [hop.address for hop in found.hops] == ["10.0.1.1"]
    assert found.spoken is refusal


async def test_host_itself_is_named_once_and_its_socket_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    opened = TcpResult("10.0.0.9", 80, PortState.OPEN, elapsed_ms=3.0, sock=ours)
    reset = TcpResult("10.0.0.9", 80, PortState.REFUSED, elapsed_ms=3.0, syns_sent=1)
    answers(monkeypatch, {2: opened, **dict.fromkeys(range(3, 17), reset)})
    found = await step_hops("10.0.0.9", 80, 0.05)
    assert [hop.address for hop in found.hops] == [None, "10.0.0.9"]
    assert ours.fileno() == -1
    theirs.close()


async def test_nothing_answered_and_what_came_from_ourselves(monkeypatch: pytest.MonkeyPatch) -> None:
    own = TcpResult("10.0.0.9", 80, PortState.REJECTED, offender="10.0.0.1", offender_is_own=True)
    at_once = TcpResult("10.0.0.9", 80, PortState.REFUSED, at_once=True)
    answers(monkeypatch, {1: own, 2: at_once})
    found = await step_hops("10.0.0.9", 80, 0.05, max_hops=5)
    assert found.hops == ()
    assert found.why.startswith("none of 5 hops answered")
    assert found.spoken is None


async def test_places_that_do_not_come_free_cost_only_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {1: exceeded("10.0.1.1")})
    places = asyncio.Semaphore(1)
    await places.acquire()
    found = await step_hops("10.0.0.9", 80, 0.05, places=places)
    assert found.hops == ()
    assert not other_tasks()


async def test_where_there_is_nothing_to_step(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no hop on this machine" in (await step_hops("127.0.0.1", 80, 1.0)).why
    assert "no hop on this machine" in (await step_hops("::1", 80, 1.0)).why
    monkeypatch.setattr(icmp, "HAS_ERROR_QUEUE", False)
    assert "does not show who answers" in (await step_hops("10.0.0.9", 80, 1.0)).why


async def test_cancelled_it_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {})
    before = open_sockets()
    task = asyncio.create_task(step_hops("10.0.0.9", 80, 30.0))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert open_sockets() == before
    assert not other_tasks()
