"""ICMP echo, without privileges: a datagram ICMP socket, else the ``ping`` program, else *not measured* (why).

No reply alone says nothing about a host: AWS's default groups allow no ICMP at all.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

from probes.evidence import Echo
from probes.reach import icmp
from probes.reach.tcp import sockaddr_of
from probes.reach.verdict import judge_icmp
from probes.text import clean, clean_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

REPLY: Final = "reply"
NO_REPLY: Final = "no_reply"
NOT_MEASURED: Final = "not_measured"
#: one lost packet must not look like a firewall
_SENDS: Final = 3
_HEADER: Final = struct.Struct("!BBHHH")
_REQUEST: Final = {socket.AF_INET: 8, socket.AF_INET6: 128}
_ANSWER: Final = {socket.AF_INET: 0, socket.AF_INET6: 129}
_PING_TIME: Final = re.compile(rb"time[=<]([0-9]{1,7}(?:\.[0-9]{1,6})?) ?ms")
_MAX_OUTPUT: Final = 16 * 1024
#: after its own limit ping gets this long to say so
_PING_GRACE_S: Final = 0.5


async def echo(address: str, limit_s: float, *, find: Callable[[str], str | None] = shutil.which) -> Echo:
    """Ask a literal address for an echo, for at most about ``limit_s``; cancelled, it leaves no socket and no process.

    Args:
        address: a literal address.
        limit_s: how long to wait for a reply.
        find: finds a program by its name.

    Raises:
        ValueError: no literal address.
    """
    family, (bare, *_) = sockaddr_of(address, 1)
    try:
        sock = _open(family)
    except OSError as error:
        why = f"no ICMP socket ({error.strerror or error})"
        return await _by_ping(address if "%" in address else bare, family, limit_s, why, find)
    with sock:
        return await _by_socket(sock, address, limit_s)


def _open(family: socket.AddressFamily) -> socket.socket:
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    sock = socket.socket(family, socket.SOCK_DGRAM, protocol)
    try:
        sock.setblocking(False)
        icmp.ask_for_errors(sock)
    except BaseException:
        sock.close()
        raise
    return sock


# --- by a socket of ours ---


async def _by_socket(sock: socket.socket, address: str, limit_s: float) -> Echo:
    method = "icmp socket"
    _, sockaddr = sockaddr_of(address, 1)
    try:
        sock.connect((sockaddr[0], 0, *sockaddr[2:]))
    except OSError as error:
        return Echo(outcome=NOT_MEASURED, method=method, detail=f"no packet left: {error.strerror or error}")
    asked = _Asked(sock, limit_s)
    try:
        async with asyncio.timeout(limit_s):
            rtt_ms = await asked.reply()
    except TimeoutError:
        return _silent(asked, method, address, limit_s)
    except OSError as error:
        # what the error queue holds is the reason of this errno
        if (found := icmp.read_error_queue(sock)) is not None:
            asked.refusals.append(found)
            return _silent(asked, method, address, limit_s)
        return Echo(outcome=NOT_MEASURED, method=method, detail=f"no packet left: {error.strerror or error}")
    return Echo(outcome=REPLY, method=method, rtt_ms=rtt_ms)


def _silent(asked: _Asked, method: str, address: str, limit_s: float) -> Echo:
    if asked.refusals:
        said = judge_icmp(asked.refusals[0], address, own=False).detail
        return Echo(outcome=NO_REPLY, method=method, detail=clean(said))
    return Echo(outcome=NO_REPLY, method=method, detail=f"no reply to {asked.sent} requests within {limit_s:g} s")


class _Asked:
    """Requests on one connected socket, and what came back."""

    def __init__(self, sock: socket.socket, limit_s: float) -> None:
        self._sock = sock
        self._token = os.urandom(16)
        self._every_s = limit_s / (_SENDS + 1)
        self._sent_ns: list[int] = []
        self.refusals: list[icmp.Icmp] = []

    @property
    def sent(self) -> int:
        return len(self._sent_ns)

    async def reply(self) -> float:
        """Milliseconds to the first reply; waits without end for one.

        Raises:
            OSError: the kernel could not send, or somebody answered with an ICMP error.
        """
        loop = asyncio.get_running_loop()
        sender = loop.create_task(self._send(), name="echo requests")
        receiver = loop.create_task(self._receive(), name="echo replies")
        try:
            await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_EXCEPTION)
            if sender.done() and not receiver.done():
                sender.result()
            return await receiver
        finally:
            sender.cancel()
            receiver.cancel()
            await asyncio.gather(sender, receiver, return_exceptions=True)

    async def _send(self) -> None:
        kind = _REQUEST[socket.AddressFamily(self._sock.family)]
        loop = asyncio.get_running_loop()
        for number in range(_SENDS):
            # the kernel writes the identifier, and for a connected datagram socket the checksum of IPv6 too
            body = struct.pack("!H", number) + self._token
            packet = _HEADER.pack(kind, 0, 0, 0, number) + body
            packet = _HEADER.pack(kind, 0, _checksum(packet), 0, number) + body
            self._sent_ns.append(time.perf_counter_ns())
            await loop.sock_sendall(self._sock, packet)
            if number < _SENDS - 1:
                await asyncio.sleep(self._every_s)

    async def _receive(self) -> float:
        loop = asyncio.get_running_loop()
        while True:
            data = await loop.sock_recv(self._sock, 2048)
            now_ns = time.perf_counter_ns()
            number = self._number(data)
            if number is not None:
                return (now_ns - self._sent_ns[number]) / 1e6

    def _number(self, data: bytes) -> int | None:
        """Which of our requests this answers."""
        family = socket.AddressFamily(self._sock.family)
        if family == socket.AF_INET and data[:1] and data[0] >> 4 == 4 and len(data) > 20:
            # some systems leave the IP header on; an ICMP type of 64 to 79 does not exist
            data = data[(data[0] & 15) * 4 :]
        body = data[_HEADER.size :]
        if len(body) < 18 or data[0] != _ANSWER[family] or body[2:18] != self._token:
            return None
        number = int.from_bytes(body[:2], "big")
        return number if number < len(self._sent_ns) else None


def _checksum(packet: bytes) -> int:
    padded = packet + b"\0" * (len(packet) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


# --- by the ping program ---


async def _by_ping(
    address: str, family: socket.AddressFamily, limit_s: float, why: str, find: Callable[[str], str | None]
) -> Echo:
    name = "ping6" if family == socket.AF_INET6 and sys.platform == "darwin" else "ping"
    program = find(name)
    if program is None:
        return Echo(outcome=NOT_MEASURED, detail=f"{why}, and no {name} program")
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *ping_arguments(address, limit_s, sys.platform),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as error:
        return Echo(outcome=NOT_MEASURED, detail=f"{why}, and {name} does not start ({error.strerror or error})")
    try:
        # whole seconds are ping's unit: it may outlast the limit by one
        async with asyncio.timeout(_whole_s(limit_s) + _PING_GRACE_S):
            output = await _output(process)
            code = await process.wait()
    except TimeoutError:
        return Echo(outcome=NOT_MEASURED, method=name, detail=f"{why}, and {name} did not end in its time")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return judge_ping(code, output, why)


def ping_arguments(address: str, limit_s: float, platform: str) -> list[str]:
    """One reply is enough, for at most so many whole seconds.

    Linux (iputils, busybox): ``-w`` is a deadline and ``-W`` a wait for one reply, both in *seconds*. On macOS ``-t``
    is the deadline in seconds (``-W`` is in milliseconds there and is not used); its ping6 knows none.
    """
    seconds = str(_whole_s(limit_s))
    if platform != "darwin":
        return ["-n", "-c", "1", "-w", seconds, "-W", seconds, address]
    return ["-n", "-c", "1", *([] if ":" in address else ["-t", seconds]), address]


def judge_ping(code: int, output: bytes, why: str) -> Echo:
    """What ping's exit status and words say: 0 a reply, 1 none, anything else that it could not ask."""
    found = _PING_TIME.search(output)
    if code == 0 and found is not None:
        return Echo(outcome=REPLY, method="ping", rtt_ms=float(found[1]), detail=why)
    lines = [text for line in output.splitlines() if (text := clean_bytes(line, 120).strip())]
    if code == 1:
        said = next((line for line in lines if line.startswith("From ")), "no reply")
        return Echo(outcome=NO_REPLY, method="ping", detail=f"{said} ({why})")
    said = next((line for line in lines if not line.startswith("PING ")), "it said nothing")
    return Echo(outcome=NOT_MEASURED, method="ping", detail=f"{why}; ping ended with {code}: {said}")


def _whole_s(limit_s: float) -> int:
    return max(1, round(limit_s))


async def _output(process: asyncio.subprocess.Process) -> bytes:
    """What it printed, within a bound; the rest is read and thrown away so that it can end."""
    kept = b""
    if process.stdout is not None:
        while data := await process.stdout.read(4096):
            kept += data[: _MAX_OUTPUT - len(kept)]
    return kept
