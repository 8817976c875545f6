"""Load generators: one process that plays many hosts, each an SSH server on its own loopback address.

``python -m tests.perf.servers --hosts 250 --block 64 --user-key FILE`` prints one JSON line when all listen and serves
until its stdin ends. Each host streams samples of 8 GPUs (at least 2 KB a line, encoded once by the shipped agent's
encoder; per line only a few numbers are patched in, so that a server costs little beside what it feeds) at the interval
the watcher asks for, each with a phase of its own, and echoes heartbeats, so that the watcher can bound ages.

What a host does (``--kind``): ``ok``; ``hung`` (stops after ten samples, the connection stays); ``flood`` (after ten
samples, ``--flood-rate`` lines a second); ``blackhole`` (its port drops every SYN); ``churn`` (after 10 to 60 s one of:
connection dropped, silence, a garbage line), for soaks.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import random
import re
import resource
import sys
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.connection import SSHConnection
from asyncssh.constants import MSG_IGNORE

from probes.demo.catalog import P4, P5, Fault, HostSpec, plan
from probes.demo.simulate import hello, processes, sample
from probes.demo.web import SilentPort
from probes.demo.wire import Inbox, encode_line, nonce_of

PORT = 22022
MIN_LINE_BYTES = 2048
_TEMPLATES = 16
_SEQ, _UPTIME, _TOKEN, _SINCE = 777000001, 777000002.5, 777000003, 777000004
_HOLES = re.compile(rb"77700000\d(?:\.5)?")
_FLOOD_STEP_S = 0.05
_QUIET_AFTER = 10
RANDOM = random.Random(5)  # noqa: S311 - when a played host fails


def send_no_ignore() -> None:
    """Keep asyncssh from putting an IGNORE packet before each packet it sends.

    sshd does not do that, and it would double the packets that the watcher has to read.
    """
    send = SSHConnection.send_packet

    def send_packet(connection: Any, kind: int, *parts: bytes, handler: Any = None) -> None:
        if kind != MSG_IGNORE:
            send(connection, kind, *parts, handler=handler)

    SSHConnection.send_packet = send_packet


class Template:
    """One host's sample, encoded once; ``line`` fills in what changes."""

    def __init__(self, spec: HostSpec, t: float) -> None:
        made = sample(spec, t, _SEQ, 1.0, (_TOKEN, _SINCE))
        line = encode_line(type(made)(**{**_fields(made), "uptime_s": _UPTIME}))
        self._parts = _HOLES.split(line)
        holes = [hole.decode().split(".")[0][-1] for hole in _HOLES.findall(line)]
        self._order = [int(hole) - 1 for hole in holes]
        if sorted(self._order) != [0, 1, 2, 3]:
            raise ValueError("the encoded sample does not hold each patched number once")
        if len(line) < MIN_LINE_BYTES:
            raise ValueError(f"a line of {len(line)} bytes is shorter than {MIN_LINE_BYTES}")
        self.bytes = len(line)
        self.hello = encode_line(hello(spec, t))
        self.processes = encode_line(processes(spec, t))

    def line(self, seq: int, uptime_s: float, token: int, since_ms: int) -> bytes:
        values = (b"%d" % seq, b"%.2f" % uptime_s, b"%d" % token, b"%d" % since_ms)
        parts = [self._parts[0]]
        for place, hole in enumerate(self._order):
            parts.append(values[hole])
            parts.append(self._parts[place + 1])
        return b"".join(parts)


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def templates() -> list[Template]:
    """A few different machines with 8 GPUs, as they are a minute into the simulation."""
    hosts = [host for host in plan(400, 3) if host.machine in (P4, P5) and host.fault is Fault.NONE]
    return [Template(host, 60.0 + 7.0 * number) for number, host in enumerate(hosts[:_TEMPLATES])]


class Stream(asyncssh.SSHServerSession[bytes]):
    """The agent of one played host on one connection."""

    def __init__(self, play: Play, number: int) -> None:
        self._play = play
        self._number = number
        self._template = play.templates[number % len(play.templates)]
        self._loop = asyncio.get_running_loop()
        self._inbox: Inbox | None = Inbox()
        self._nonce: str | None = None
        self._channel: Any = None
        self._timer: asyncio.Handle | None = None
        self._writable = True
        self._seq = 0
        self._token = 0
        self._heard = 0.0
        self._next = 0.0
        self._interval_s = 1.0
        self._ends_after = RANDOM.uniform(10.0, 60.0) if play.kind == "churn" else float("inf")
        self._started = self._loop.time()

    def connection_made(self, chan: Any) -> None:
        self._channel = chan

    def exec_requested(self, command: str) -> bool:
        self._nonce = nonce_of(command)
        return self._nonce is not None

    def session_started(self) -> None:
        self._channel.write(f"QDK1 {self._nonce} python 3.11.2\n".encode())

    def data_received(self, data: bytes, datatype: int | None) -> None:
        del datatype
        inbox = self._inbox
        if inbox is None:
            return
        if self._timer is None:
            if not inbox.take_payload(data):
                return
            data = b""
            self._begin(inbox)
        for request in inbox.requests(data):
            if request.verb == "h":
                self._token, self._heard = int(request.argument), self._loop.time()
            elif request.verb == "q":
                self._channel.exit(0)

    def _begin(self, inbox: Inbox) -> None:
        self._interval_s = inbox.interval_s
        self._channel.write(self._template.hello)
        self._play.started += 1
        # the first sample goes out at once, as the agent does it; then phases are spread over the interval by the
        # golden ratio, whatever the order in which hosts connect
        phase = self._number * 0.618034 % 1.0
        self._next = self._loop.time() + (phase - 1.0) * self._interval_s
        self._timer = self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        if self._seq:
            self._play.late_s = max(self._play.late_s, now - self._next)
        if self._channel.is_closing():  # its connection_lost is on the way
            return
        if self._writable:
            since_ms = int((now - self._heard) * 1000) if self._heard else 0
            self._channel.write(self._template.line(self._seq, 1000.0 + now, self._token, since_ms))
            self._play.lines += 1
            if self._seq % 30 == 0:
                self._channel.write(self._template.processes)
        self._seq += 1
        self._next += self._interval_s
        self._timer = self._loop.call_at(self._next, self._tick)
        if self._seq == _QUIET_AFTER and self._play.kind == "hung":
            self._timer.cancel()
        elif self._seq == _QUIET_AFTER and self._play.kind == "flood":
            self._timer.cancel()
            self._flood()
        elif now - self._started > self._ends_after:
            self._churn()

    def _flood(self) -> None:
        """Many lines in one write, so that flooding costs the server little."""
        if self._channel.is_closing():
            return
        if self._writable:
            line = self._template.line(self._seq, 1000.0, self._token, 0)
            self._channel.write(line * int(self._play.flood_rate * _FLOOD_STEP_S))
        self._timer = self._loop.call_later(_FLOOD_STEP_S, self._flood)

    def _churn(self) -> None:
        self._ends_after = float("inf")
        what = RANDOM.choice(("drop", "silence", "garbage"))
        if what == "garbage":
            self._ends_after = self._loop.time() - self._started + RANDOM.uniform(10.0, 60.0)
            self._channel.write(b"\x00\xff garbage \x1b[2J\n")
        else:
            if self._timer is not None:
                self._timer.cancel()
            if what == "drop":
                self._channel.get_connection().abort()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._timer is not None:
            self._timer.cancel()
        self._inbox = None


class Login(asyncssh.SSHServer):
    """One connection to a played host; which one, the local address tells."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._number = 0

    def connection_made(self, conn: Any) -> None:
        self._number = self._play.numbers[conn.get_extra_info("sockname")[0]]

    def session_requested(self) -> Stream:
        return Stream(self._play, self._number)


class Play:
    """All hosts of this process, and what they did."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.kind: str = options.kind
        self.flood_rate: float = options.flood_rate
        self.templates = templates()
        self.addresses = [f"127.{options.block}.{i // 250}.{i % 250 + 1}" for i in range(options.hosts)]
        self.numbers = {address: number for number, address in enumerate(self.addresses)}
        self.lines = 0
        self.started = 0
        self.late_s = 0.0
        self._silent: list[SilentPort] = []

    async def listen(self, user_key: str) -> dict[str, Any]:
        """Open all ports; the answer is what the harness must know."""
        known: list[str] = []
        authorized = asyncssh.import_authorized_keys(user_key)
        for address in self.addresses:
            key = asyncssh.generate_private_key("ssh-ed25519")
            public = " ".join(key.export_public_key().decode().split()[:2])
            known.append(f"[{address}]:{PORT} {public}")
            if self.kind == "blackhole":
                silent = SilentPort(address, PORT)
                self._silent.append(silent)
                await silent.open()
                continue
            await asyncssh.listen(
                address,
                PORT,
                server_factory=lambda: Login(self),
                server_host_keys=[key],
                authorized_client_keys=authorized,
                encoding=None,
                gss_host=None,
                gss_kex=False,
                gss_auth=False,
                password_auth=False,
                kbdint_auth=False,
                compression_algs=["none"],
                login_timeout=60,
                backlog=64,
            )
        return {
            "kind": self.kind,
            "port": PORT,
            "addresses": self.addresses,
            "known_hosts": known,
            "line_bytes": round(sum(template.bytes for template in self.templates) / len(self.templates)),
        }

    def report(self) -> dict[str, Any]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "kind": self.kind,
            "cpu_s": round(used.ru_utime + used.ru_stime, 3),
            "lines": self.lines,
            "streams_started": self.started,
            "latest_tick_ms": round(self.late_s * 1000, 1),
        }


async def serve(options: argparse.Namespace, user_key: str) -> None:
    """Each line on stdin asks for a report and resets the maximum; its end ends the process."""
    loop = asyncio.get_running_loop()
    play = Play(options)
    ready = await play.listen(user_key)
    gc.collect()
    gc.freeze()
    print(json.dumps(ready), flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print(json.dumps(play.report()), flush=True)
        play.late_s = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--block", type=int, default=64, help="second number of the addresses 127.BLOCK.x.y")
    parser.add_argument("--user-key", required=True, help="file with the public key that may log in")
    parser.add_argument("--kind", choices=("ok", "hung", "flood", "blackhole", "churn"), default="ok")
    parser.add_argument("--flood-rate", type=float, default=1000.0, help="lines a second of a flooding host")
    options = parser.parse_args()
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
    send_no_ignore()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    del soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(serve(options, Path(options.user_key).read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
