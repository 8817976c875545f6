"""The SSH side of one simulated host: a login that runs the agent's stand-in, and its scripted faults."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import asyncssh

from probes.demo.catalog import Fault
from probes.demo.faults import WINDOWS, active, local_time
from probes.demo.simulate import hello, processes, sample
from probes.demo.use import IDLE
from probes.demo.wire import Inbox, encode_line, nonce_of
from probes.model import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.demo.catalog import HostSpec
    from probes.demo.use import Use
    from probes.demo.wire import Request

#: requests that only a real machine can answer
_NOT_SIMULATED: Final = frozenset("lcb")
HEARTBEAT_LIMIT_S: Final = 15.0
PROCESSES_EVERY_S: Final = 30.0
UNITS_EVERY_S: Final = 300.0
_FLOOD_LINES: Final = 40
_FLOOD_PAUSE_S: Final = 0.01
_NO_SHELL: Final = b"This is a simulated host of `quarterdeck demo`: there is no shell behind it.\r\n"
#: what a host that plays ``garbage`` says instead of a sample, in turn
GARBAGE: Final = (
    b"\x00\xff\xfe\x80 binary \x07\x08 garbage \xc3\x28\n",
    b"\x1b[2J\x1b[31;5mPWNED\x1b[0m\x1b]0;title\x07\n",
    b'{"t":"s","seq":"not a number"}\n',
    b"x" * (1_200_000) + b"\n",
    b'{"t":"s","seq":\n',
)


class SimulatedLogin(asyncssh.SSHServer):
    """One connection to a simulated host; authentication is by key (``authorized_client_keys``) alone."""

    def __init__(self, host: HostSpec, now_s: Callable[[], float], use: Use) -> None:
        self._host = host
        self._now_s = now_s
        self._use = use

    def session_requested(self) -> AgentStandIn:
        """Each session may run the stand-in."""
        return AgentStandIn(self._host, self._now_s, self._use)


class AgentStandIn(asyncssh.SSHServerSession[bytes]):
    """Behaves as the Python agent does over its bootstrap, with the simulation in place of a machine."""

    def __init__(self, host: HostSpec, now_s: Callable[[], float], use: Use | None = None) -> None:
        self._host = host
        self._now_s = now_s
        self._use = use
        self._channel: Any = None
        self._nonce: str | None = None
        self._inbox = Inbox()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._wake = asyncio.Event()
        self._interval_s = 1.0
        self._every_tick = False
        self._token: tuple[int, float] | None = None
        self._heard_s = 0.0

    # --- asyncssh's callbacks ---

    def connection_made(self, chan: Any) -> None:
        """Keep the channel."""
        self._channel = chan

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        """A terminal is granted, so that a person's `ssh` gets its one line of answer."""
        del term_type, term_size, term_modes
        return True

    def shell_requested(self) -> bool:
        """A login without a command gets one line and its end."""
        return True

    def exec_requested(self, command: str) -> bool:
        """Only the bootstrap command is accepted; anything else is answered like a login."""
        self._nonce = nonce_of(command)
        return True

    def session_started(self) -> None:
        """Print the marker and wait for the payload, as the bootstrap does."""
        if self._nonce is None:
            self._channel.write(_NO_SHELL)
            self._channel.exit(0)
        elif self._host.fault is Fault.NO_AGENT:
            self._channel.write(f"QDK1 {self._nonce} none neither python3 nor a usable /bin/sh\n".encode())
            self._channel.exit(1)
        else:
            self._channel.write(f"Welcome to {self._host.id} (simulated)\nQDK1 {self._nonce} python 3.10.12\n".encode())

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take stdin, unless the host hangs just now."""
        del datatype
        if self._hung():
            return
        if self._task is None and self._inbox.take_payload(data):
            self._interval_s = self._inbox.interval_s
            self._heard_s = self._now_s()
            self._task = asyncio.get_running_loop().create_task(self._speak())
            data = b""
        if self._task is not None:
            for request in self._inbox.requests(data):
                self._obey(request)

    def eof_received(self) -> bool:
        """End of stdin: the agent ends."""
        self._end()
        return False

    def pause_writing(self) -> None:
        """The watcher does not keep up."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The watcher reads again."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone, and the agent with it."""
        del exc
        if self._task is not None:
            self._task.cancel()

    # --- the agent ---

    def _hung(self) -> bool:
        return active(self._host, Fault.HUNG, self._now_s())

    def _obey(self, request: Request) -> None:
        if request.verb == "h" and request.argument.isdigit():
            self._heard_s = self._now_s()
            self._token = (int(request.argument), self._heard_s)
        elif request.verb == "p":
            self._every_tick = request.argument == "1"
            self._wake.set()
        elif request.verb == "i":
            self._interval_s = Inbox.interval(request.argument, self._interval_s)
            self._wake.set()
        elif request.verb in _NOT_SIMULATED:
            detail = "a simulated host has no sockets of its own"
            self._write(encode_line(Answer(request.argument[:32], refused="unsupported", detail=detail)))
        elif request.verb == "q":
            self._end()

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._channel.exit(0)

    async def _speak(self) -> None:
        start_s = self._now_s()
        seq, before_s, listed_s, greeted_s = 0, None, None, None
        while True:
            now = self._now_s()
            if not self._hung():  # a hung machine does not even notice that nobody is there
                if now - self._heard_s > HEARTBEAT_LIMIT_S:
                    self._channel.exit(0)
                    return
                if greeted_s is None or now - greeted_s >= UNITS_EVERY_S:  # the units were asked again
                    greeted_s = now
                    self._write(encode_line(hello(self._host, now)))
                await self._misbehave(now)
                interval_s = None if before_s is None else round(now - before_s, 3)
                serving = IDLE if self._use is None else self._use.now()
                self._write(encode_line(sample(self._host, now, seq, interval_s, self._echo(now), serving=serving)))
                seq, before_s = seq + 1, now
                if self._every_tick or listed_s is None or now - listed_s >= PROCESSES_EVERY_S:
                    listed_s = now
                    self._write(encode_line(processes(self._host, now)))
            await self._until(start_s, now)

    async def _until(self, start_s: float, now: float) -> None:
        """Wait for the next tick of the interval's own grid, or for a request that changes it."""
        step = self._interval_s
        ahead_s = start_s + (int((now - start_s) / step) + 1) * step - self._now_s()
        self._wake.clear()
        try:
            async with asyncio.timeout(max(0.0, ahead_s)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _misbehave(self, now: float) -> None:
        """Play the faults that a host has in what it says."""
        if active(self._host, Fault.GARBAGE, now):
            nth = WINDOWS[Fault.GARBAGE].count(local_time(self._host, now))
            self._write(GARBAGE[nth % len(GARBAGE)])
        while active(self._host, Fault.FLOOD, self._now_s()):
            line = encode_line(sample(self._host, self._now_s(), 0, 0.001, self._echo(self._now_s())))
            await self._writable.wait()
            for _ in range(_FLOOD_LINES):
                self._channel.write(line)
            await asyncio.sleep(_FLOOD_PAUSE_S)

    def _echo(self, now: float) -> tuple[int, int] | None:
        return None if self._token is None else (self._token[0], int((now - self._token[1]) * 1000))

    def _write(self, line: bytes) -> None:
        if self._writable.is_set():  # a real agent would block in write(): it loses the samples meanwhile too
            self._channel.write(line)
