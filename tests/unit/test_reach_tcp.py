from __future__ import annotations

import asyncio
import errno
import gc
import socket
import struct
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from probes.model import PortState
from probes.reach import dial as dialling
from probes.reach import icmp, tcp, verdict
from probes.reach.dial import dial
from probes.reach.icmp import Icmp
from probes.reach.tcp import TcpResult, is_own_address, sockaddr_of, tcp_connect
from probes.reach.verdict import judge_errno, judge_icmp
from tests.support.leaks import open_sockets, other_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


V6 = pytest.param("::1", marks=pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 on loopback"))


@contextmanager
def listener(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as sock:
        yield sock.getsockname()[1]


@contextmanager
def silent_port() -> Iterator[int]:
    """A port on loopback that answers nothing: a listener whose backlog is full drops SYNs."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(server.getsockname())
            yield server.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


# --- one connect ---


@pytest.mark.parametrize("address", ["127.0.0.1", V6, "::ffff:127.0.0.1"])
async def test_open_port_hands_over_a_socket_that_works(address: str) -> None:
    bound = "::1" if address == "::1" else "127.0.0.1"
    with listener(bound) as port:
        result = await tcp_connect(address, port, 2.0)
        assert result.state is PortState.OPEN
        assert result.connect_ms is not None
        assert result.connect_ms > 0
        assert result.local_address == bound
        assert result.sock is not None
        with result.sock as sock:
            assert not sock.getblocking()
            assert sock.getpeername()[1] == port
            level, option = (
                (socket.IPPROTO_IPV6, icmp.IPV6_RECVERR) if bound == "::1" else (socket.IPPROTO_IP, icmp.IP_RECVERR)
            )
            # left on, a passing ICMP error would end an established session
            assert sock.getsockopt(level, option) == 0


@pytest.mark.parametrize("address", ["127.0.0.1", V6])
async def test_closed_port_is_refused_by_a_reset(address: str) -> None:
    result = await tcp_connect(address, closed_port(), 2.0)
    assert (result.state, result.errno_name, result.icmp_type) == (PortState.REFUSED, "ECONNREFUSED", None)
    assert result.connect_ms is None
    assert result.sock is None


async def test_silent_port_is_filtered_and_says_how_often_it_asked() -> None:
    with silent_port() as port:
        result = await tcp_connect("127.0.0.1", port, 0.2)
    assert (result.state, result.errno_name) == (PortState.FILTERED, "ETIMEDOUT")
    assert result.detail == "no answer to 1 SYN within 0.2 s"


async def test_answer_that_a_stalled_loop_sees_too_late_still_counts() -> None:
    with listener() as port:
        attempt = tcp.Attempt("127.0.0.1", port, 2.0)
        assert attempt.start() is None
        # both are due at once: the time limit is told first
        attempt._on_timeout()
        result = await attempt.done
    assert result.state is PortState.OPEN
    assert result.sock is not None
    result.sock.close()


async def test_port_that_meets_itself_is_not_open() -> None:
    """Connecting to a free port of the ephemeral range of our own address may pick that very port as the source."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.connect(("127.0.0.1", port))
    attempt = tcp.Attempt("127.0.0.1", port, 2.0)
    attempt._sock = sock
    result = attempt._end(0)
    assert result.state is PortState.REFUSED
    assert sock.fileno() == -1


async def test_connection_reset_at_once_is_open_and_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        attempt = tcp.Attempt("127.0.0.1", server.getsockname()[1], 2.0)
        assert attempt.start() is None
        accepted, _ = server.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        result = await attempt.done
    assert (result.state, result.errno_name, result.sock) == (PortState.OPEN, "ECONNRESET", None)
    assert "reset at once" in result.detail


@pytest.mark.parametrize(
    "address", ["gpu-1", "", "127.1", "1.2.3", "::1::", "fe80::1%nonesuch0", "localhost", "a\x00b"]
)
async def test_names_are_never_dialled(address: str) -> None:
    with pytest.raises(ValueError, match="literal"):
        await tcp_connect(address, 22, 1.0)


@pytest.mark.parametrize("port", [0, -1, 65536])
async def test_impossible_ports(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        await tcp_connect("127.0.0.1", port, 1.0)


def test_socket_addresses() -> None:
    assert sockaddr_of("::ffff:10.0.0.1", 1) == (socket.AF_INET, ("10.0.0.1", 1))
    assert sockaddr_of("fe80::1%1", 2) == (socket.AF_INET6, ("fe80::1", 2, 0, 1))
    assert sockaddr_of("fe80::1%lo", 2)[1][3:] == (socket.if_nametoindex("lo"),)
    assert is_own_address("127.0.0.1")
    assert not is_own_address("198.51.100.1")


@pytest.mark.parametrize("shortage", [errno.EMFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS])
async def test_shortage_here_says_nothing_of_the_port(monkeypatch: pytest.MonkeyPatch, shortage: int) -> None:
    def fail(*_: object) -> socket.socket:
        raise OSError(shortage, "no")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", fail)
        result = await tcp_connect("127.0.0.1", 1, 1.0)
    assert result.state is PortState.NOT_PROBED
    assert errno.errorcode[shortage] in result.detail
    assert "this" in result.detail


async def test_without_an_error_queue_errno_alone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (icmp, verdict):
        monkeypatch.setattr(module, "HAS_ERROR_QUEUE", False)
    result = await tcp_connect("127.0.0.1", closed_port(), 2.0)
    assert result.state is PortState.REFUSED
    assert "errno alone" in result.detail
    assert result.syns_sent is None


# --- nothing is left ---


async def test_cancelled_connect_leaves_no_socket_and_no_task() -> None:
    with silent_port() as port:
        before = open_sockets()
        task = asyncio.create_task(tcp_connect("127.0.0.1", port, 30.0))
        await asyncio.sleep(0)
        assert open_sockets() > before
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert open_sockets() == before
        assert not other_tasks()


async def test_connect_cancelled_in_the_moment_it_opens_leaves_no_socket() -> None:
    with listener() as port:
        before = open_sockets()
        attempt_seen: list[TcpResult] = []

        async def caller() -> None:
            attempt_seen.append(await tcp_connect("127.0.0.1", port, 2.0))

        task = asyncio.create_task(caller())
        await asyncio.sleep(0)
        # the loop's next turn sees the socket writable and sets the result; the cancellation comes before it is taken
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not attempt_seen
        gc.collect()
        assert open_sockets() == before


async def test_many_connects_at_once_leave_nothing() -> None:
    with listener() as port:
        before = open_sockets()
        results = await asyncio.gather(*(tcp_connect("127.0.0.1", port, 2.0) for _ in range(50)))
        assert {result.state for result in results} == {PortState.OPEN}
        for result in results:
            assert result.sock is not None
            result.sock.close()
        assert open_sockets() == before
    assert not other_tasks()


# --- several addresses ---


async def test_first_open_address_wins_and_each_keeps_its_result() -> None:
    with listener("127.0.0.2") as port:
        result = await dial(["127.0.0.1", "127.0.0.2", "127.0.0.3"], port, 2.0)
    assert result.best.address == "127.0.0.2"
    assert [r.state for r in result.each] == [PortState.REFUSED, PortState.OPEN, PortState.NOT_PROBED]
    assert result.detail.startswith("127.0.0.1 refused (")
    assert "127.0.0.2 open" in result.detail
    assert result.best.sock is not None
    result.best.sock.close()


async def test_silent_first_address_delays_only_by_the_stagger() -> None:
    with silent_port() as port, listener("127.0.0.2", port):
        before = open_sockets()
        result = await dial(["127.0.0.1", "127.0.0.2"], port, 30.0, stagger_s=0.01)
        assert result.best.address == "127.0.0.2"
        assert [r.detail for r in result.each] == ["not waited for", ""]
        assert result.best.sock is not None
        result.best.sock.close()
        assert open_sockets() == before


async def test_among_failures_the_most_telling_speaks() -> None:
    with silent_port() as port:
        result = await dial(["127.0.0.1", "127.0.0.3"], port, 0.2, stagger_s=0.01)
    assert [r.state for r in result.each] == [PortState.FILTERED, PortState.REFUSED]
    assert result.best.state is PortState.REFUSED
    assert "127.0.0.1 filtered" in result.detail


async def test_equal_failures_are_said_once() -> None:
    result = await dial(["127.0.0.1", "127.0.0.2"], closed_port(), 2.0)
    assert result.best.state is PortState.REFUSED
    assert result.detail == result.best.detail


async def test_only_some_addresses_are_tried_families_taking_turns() -> None:
    many = [f"::{n}" for n in range(1, 9)] + ["127.0.0.1"]
    assert dialling._interleave(many)[:3] == ["::1", "127.0.0.1", "::2"]
    result = await dial([f"127.0.0.{n}" for n in range(1, 20)], closed_port(), 2.0)
    assert len(result.each) == dialling.MAX_DIALLED


async def test_cancelled_dial_leaves_nothing() -> None:
    with silent_port() as port:
        before = open_sockets()
        task = asyncio.create_task(dial(["127.0.0.1", "127.0.0.1%lo"], port, 30.0, stagger_s=0.01))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert open_sockets() == before
    with pytest.raises(ValueError, match="nothing"):
        await dial([], 1, 1.0)


# --- words ---


def test_every_icmp_answer_has_a_verdict_that_names_its_sender() -> None:
    for family, kind in ((4, 3), (4, 11), (6, 1), (6, 3)):
        for code in range(16):
            for offender, own in (("10.0.0.9", False), ("10.0.0.1", False), ("10.0.0.2", True), (None, False)):
                found = Icmp(family, kind, code, errno.EHOSTUNREACH, offender)
                state, detail = judge_icmp(found, "10.0.0.1", own=own)
                assert state in (PortState.REJECTED, PortState.UNREACHABLE)
                assert f"ICMP {kind}/{code}" in detail
                assert offender != "10.0.0.9" or offender in detail


def test_every_errno_has_a_verdict() -> None:
    for number in errno.errorcode:
        for at_once in (True, False):
            state, detail = judge_errno(number, at_once=at_once)
            assert detail
            assert state is not PortState.UNRESOLVED


@pytest.mark.skipif(sys.platform != "linux", reason="the control message is Linux's")
def test_control_messages_that_are_no_icmp_are_skipped() -> None:
    local = struct.pack("=IBBBBII", errno.EMSGSIZE, 1, 0, 0, 0, 0, 0)
    assert icmp._parse(local) is None
    assert icmp._parse(b"") is None
    bare = struct.pack("=IBBBBII", errno.ECONNREFUSED, 2, 3, 3, 0, 0, 0)
    assert icmp._parse(bare) == Icmp(4, 3, 3, errno.ECONNREFUSED, None)
    v6 = struct.pack("=HHI", socket.AF_INET6, 0, 0) + socket.inet_pton(socket.AF_INET6, "fd00::1") + b"\0\0\0\0"
    assert icmp._parse(struct.pack("=IBBBBII", 13, 3, 1, 1, 0, 0, 0) + v6) == Icmp(6, 1, 1, 13, "fd00::1")
