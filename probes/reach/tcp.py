"""One TCP connect, and everything that can be learnt from how it ended.

A non-blocking connect with the error queue on (see ``icmp``): an empty queue with ECONNREFUSED is a genuine reset, an
ICMP message names the one who refused. The same function dials for SSH, so an open result hands its socket over.

It runs on loop callbacks alone (writable, timer), without a task or a thread: about 100 us of CPU a probe.

How a probe closes: with a plain FIN. A reset (SO_LINGER 0) would spare us 60 s of TIME_WAIT, at most some 30,000 small
entries at 500 probes/s, but the service would read ECONNRESET instead of an orderly end and many write that to their
log, every ten seconds.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from probes.model import PortState
from probes.reach import icmp as queue
from probes.reach.tcp_info import tcp_info
from probes.reach.verdict import Verdict, judge_errno, judge_icmp, judge_timeout, name_of

if TYPE_CHECKING:
    from probes.reach.icmp import Icmp

#: spares a system call a probe; only Linux has it
_NONBLOCK: Final[int] = getattr(socket, "SOCK_NONBLOCK", 0)
_LINGER_RESET: Final = struct.pack("ii", 1, 0)
_IN_PROGRESS: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EINTR})
_MAPPED: Final = "::ffff:"


class TcpResult(Struct, frozen=True):
    """How one connect ended, with the raw evidence.

    ``connect_ms`` is the handshake's time, only when open; ``elapsed_ms`` the time to the verdict, whatever it was.
    ``offender`` is who sent the ICMP error, ``offender_is_own`` whether that is this machine. ``syns_sent`` is the
    kernel's count (None when nothing left, and when open). ``at_once``: connect itself failed, before any packet left.
    ``sock`` is the open non-blocking socket: the caller owns it and closes it. It is None with an open port whose
    connection was reset at once.
    """

    address: str
    port: int
    state: PortState
    detail: str = ""
    connect_ms: float | None = None
    elapsed_ms: float = 0.0
    errno_name: str | None = None
    icmp_family: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    offender: str | None = None
    offender_is_own: bool = False
    local_address: str | None = None
    syns_sent: int | None = None
    at_once: bool = False
    sock: socket.socket | None = None


async def tcp_connect(address: str, port: int, timeout_s: float, ttl: int | None = None) -> TcpResult:
    """Connect to a literal IPv4 or IPv6 address (``fe80::1%eth0`` too) and say how it ended; never raises OSError.

    Cancelled, it leaves no socket behind.

    Args:
        address: a literal address; names are the resolver's business.
        port: TCP port.
        timeout_s: silence longer than this is *filtered*.
        ttl: how many hops its packets may go; None: as many as the system lets them.

    Raises:
        ValueError: ``address`` is no literal address, or ``port`` no port.
    """
    attempt = Attempt(address, port, timeout_s, ttl)
    result = attempt.start()
    if result is not None:
        return result
    try:
        return await attempt.done
    except BaseException:
        attempt.abandon()
        raise


def sockaddr_of(address: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]:
    """Family and socket address of a literal address; IPv4-mapped ones become IPv4.

    Raises:
        ValueError: no literal address, an unknown scope, or no port.
    """
    if not 0 < port < 65536:
        raise ValueError(f"{port} is no TCP port")
    bare, _, scope = address.partition("%")
    if bare.lower().startswith(_MAPPED) and "." in bare:
        bare = bare[len(_MAPPED) :]
    try:
        if ":" not in bare:
            socket.inet_pton(socket.AF_INET, bare)
            return socket.AF_INET, (bare, port)
        socket.inet_pton(socket.AF_INET6, bare)
        return socket.AF_INET6, (bare, port, 0, _scope_id(scope))
    except (OSError, ValueError):
        raise ValueError(f"{address!r} is no literal address") from None


def _scope_id(scope: str) -> int:
    if not scope:
        return 0
    return int(scope) if scope.isdigit() else socket.if_nametoindex(scope)


def is_own_address(address: str) -> bool:
    """Whether an address belongs to this machine: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


class Attempt:
    """One connect in flight. ``start`` it once; then ``done`` is the future of its result, or ``abandon`` it.

    With ``ttl`` its packets go that many hops: the router at the last of them answers in the host's place.
    """

    __slots__ = ("_began_ns", "_loop", "_sock", "_timer", "_ttl", "address", "done", "port", "timeout_s")

    def __init__(self, address: str, port: int, timeout_s: float, ttl: int | None = None) -> None:
        self.address = address
        self.port = port
        self.timeout_s = timeout_s
        self._ttl = ttl
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[TcpResult] = self._loop.create_future()
        self._sock: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._began_ns = 0

    def start(self) -> TcpResult | None:
        """Send the SYN. Returns the result if it is known at once, else None (``done`` will have it).

        Raises:
            ValueError: as ``tcp_connect``.
        """
        family, target = sockaddr_of(self.address, self.port)
        self._began_ns = time.perf_counter_ns()
        try:
            sock = self._sock = socket.socket(family, socket.SOCK_STREAM | _NONBLOCK)
            if not _NONBLOCK:
                sock.setblocking(False)
            queue.ask_for_errors(sock)
            if self._ttl is not None:
                _limit_hops(sock, self._ttl)
            number = sock.connect_ex(target)
        except OSError as error:
            return self._end(error.errno or errno.EIO, at_once=True)
        if number in _IN_PROGRESS:
            self._loop.add_writer(sock.fileno(), self._on_event)
            self._timer = self._loop.call_later(self.timeout_s, self._on_timeout)
            return None
        return self._end(number, at_once=True)

    def abandon(self) -> None:
        """Give up: close what is open, also a socket of a result that nobody took."""
        self._unwatch()
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self.done.cancel()

    def _on_event(self) -> None:
        sock = self._sock
        if sock is None or self.done.done():
            return
        self.done.set_result(self._end(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))

    def _on_timeout(self) -> None:
        sock = self._sock
        if sock is None or self.done.done():
            return
        # a loop that stalled may learn of the answer and of the time limit together: the answer counts
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number == 0 and not _is_connected(sock):
            found = queue.read_error_queue(sock)
            number = errno.ETIMEDOUT if found is None else found.errno
            result = self._fail(number, judge_timeout(self.timeout_s, _syns(sock)), found)
        else:
            result = self._end(number)
        self.done.set_result(result)

    def _end(self, number: int, *, at_once: bool = False) -> TcpResult:
        if number == 0 and self._sock is not None:
            found = queue.read_error_queue(self._sock)
            # an ICMP error that came while connect still held the socket wakes us without an error being set
            if found is None and _is_connected(self._sock):
                return self._open(self._sock)
            number = errno.ENOTCONN if found is None else found.errno
            return self._fail(number, judge_errno(number, at_once=at_once), found)
        found = None if self._sock is None else queue.read_error_queue(self._sock)
        return self._fail(number, judge_errno(number, at_once=at_once), found)

    def _open(self, sock: socket.socket) -> TcpResult:
        elapsed_ms = self._elapsed_ms()
        self._unwatch()
        local = sock.getsockname()
        if local[1] == self.port and local[:2] == sock.getpeername()[:2]:
            # a port of the ephemeral range on our own address: the kernel picked it as our source and we met ourselves
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            return self._fail(errno.ECONNREFUSED, judge_errno(errno.ECONNREFUSED, at_once=False), None)
        queue.ask_for_errors(sock, on=False)
        return TcpResult(
            self.address,
            self.port,
            PortState.OPEN,
            connect_ms=elapsed_ms,
            elapsed_ms=elapsed_ms,
            local_address=local[0],
            sock=sock,
        )

    def _fail(self, number: int, verdict: Verdict, found: Icmp | None) -> TcpResult:
        elapsed_ms = self._elapsed_ms()
        watched = self._timer is not None
        self._unwatch()
        sock, self._sock = self._sock, None
        local = syns = None
        if sock is not None:
            local, syns = _local_address(sock), _syns(sock) if watched else None
            sock.close()
        own = False
        if found is not None:
            own = found.offender is not None and (found.offender == local or is_own_address(found.offender))
            verdict = judge_icmp(found, self.address, own=own)
        return TcpResult(
            self.address,
            self.port,
            verdict.state,
            verdict.detail,
            elapsed_ms=elapsed_ms,
            errno_name=name_of(number),
            icmp_family=None if found is None else found.family,
            icmp_type=None if found is None else found.type,
            icmp_code=None if found is None else found.code,
            offender=None if found is None else found.offender,
            offender_is_own=own,
            local_address=local,
            syns_sent=syns,
            at_once=not watched,
        )

    def _elapsed_ms(self) -> float:
        return (time.perf_counter_ns() - self._began_ns) / 1e6

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if self._sock is not None:
                self._loop.remove_writer(self._sock.fileno())


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _local_address(sock: socket.socket) -> str | None:
    try:
        name = sock.getsockname()[0]
    except OSError:
        return None
    return None if name in ("0.0.0.0", "::") else name  # noqa: S104  # the unbound address means: none yet


def _limit_hops(sock: socket.socket, ttl: int) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)


def _syns(sock: socket.socket) -> int | None:
    """How many SYNs left, by the kernel's own count; None where it does not say."""
    info = tcp_info(sock) if queue.HAS_ERROR_QUEUE else None
    return None if info is None else 1 + info.total_retransmits
