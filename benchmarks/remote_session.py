"""One command's channel: its output, bounded, and its moments on our clock."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

import asyncssh
from msgspec import Struct

from benchmarks.remote_words import Usage, find_marker, take_usage

if TYPE_CHECKING:
    from collections.abc import Callable

#: what a login shell says before the command starts; more is dropped, its end is kept
_NOISE: Final = 8 * 1024
#: a longer end is cut off when it has grown by so much
_SLACK: Final = 256 * 1024


class Text(Struct, frozen=True):
    """What came out of one stream: its first and last bytes, and how many there were. ``tail`` follows ``head``."""

    head: bytes = b""
    tail: bytes = b""
    total_bytes: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing was left out."""
        return len(self.head) + len(self.tail) == self.total_bytes

    def text(self) -> str:
        """What was kept, with a line where something was left out."""
        gap = b"" if self.whole else b"\n...\n"
        return (self.head + gap + self.tail).decode("utf-8", "replace")


class Stream:
    """Takes a stream of any length and keeps its two ends."""

    def __init__(self, keep_bytes: int) -> None:
        self._keep = keep_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._total += len(data)
        room = self._keep - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if len(data) > self._keep:
            self._tail[:] = data[len(data) - self._keep :]
        elif data:
            self._tail += data
            if len(self._tail) > self._keep + _SLACK:
                del self._tail[: len(self._tail) - self._keep]

    @property
    def total_bytes(self) -> int:
        """How much came so far."""
        return self._total

    def text(self) -> Text:
        """What is kept of it so far."""
        return Text(bytes(self._head), bytes(self._tail[-self._keep :]), self._total)

    def usage(self, mark: str) -> Usage:
        """Take the witness's words, which came last, out of what is kept."""
        if self._total > len(self._head) + len(self._tail):
            usage, rest = take_usage(bytes(self._tail), mark)
            self._total -= len(self._tail) - len(rest)
            self._tail[:] = rest
            return usage
        kept = bytes(self._head + self._tail)
        usage, rest = take_usage(kept, mark)
        self._total = len(rest)
        self._head[:], self._tail[:] = rest[: self._keep], rest[self._keep :]
        return usage


class Times(Struct, frozen=True):
    """Moments of ``time.perf_counter_ns``; None: it never came to that.

    ``asked``: before the channel was opened; ``opened``: the server opened it; ``confirmed``: it accepted to execute;
    ``started``: the login shell was done, the program begins; ``first_byte`` of its stdout; ``exited``: its exit was
    known; ``closed``: all output had come.
    """

    asked_ns: int
    opened_ns: int | None = None
    confirmed_ns: int | None = None
    started_ns: int | None = None
    first_byte_ns: int | None = None
    exited_ns: int | None = None
    closed_ns: int | None = None


class Ended(Struct, frozen=True):
    """How a program ended. ``exit_code`` is the shell's (128 + n: ended by signal n), ``signal`` where sshd says one.

    ``lost``: the connection ended first, and why; ``problem``: it did not start, and why; ``leftover``: it left
    processes behind that had to be ended.
    """

    exit_code: int | None
    signal: str | None
    stdout: Text
    stderr: Text
    times: Times
    lost: str = ""
    problem: str = ""
    leftover: bool = False
    usage: Usage | None = None

    @property
    def end_ns(self) -> int | None:
        """The moment the answer was complete: all output there, or the exit where a leftover held the output open."""
        return self.times.exited_ns if self.leftover else self.times.closed_ns or self.times.exited_ns


class CommandSession(asyncssh.SSHClientSession[bytes]):
    """asyncssh's callbacks for one command.

    Args:
        mark: the command's token; what comes before its marker is the login shell's noise.
        keep_bytes: of each end of each stream.
        asked_ns: when the program was asked for.
        on_open: told when the server has opened the channel.
        on_close: told when it is closed.
        listener: given stdout as it comes; None: nobody listens.
    """

    def __init__(
        self,
        mark: str,
        keep_bytes: int,
        asked_ns: int,
        *,
        on_open: Callable[[], None],
        on_close: Callable[[], None],
        listener: Callable[[bytes], None] | None = None,
    ) -> None:
        self._mark = mark
        self._on_open, self._on_close = on_open, on_close
        self._listener = listener
        self._asked_ns = asked_ns
        self._noise: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self._past = {1: False, 2: False}
        self.streams = {1: Stream(keep_bytes), 2: Stream(keep_bytes)}
        self.opened_ns: int | None = None
        self.confirmed_ns: int | None = None
        self.started_ns: int | None = None
        self.first_byte_ns: int | None = None
        self.exited_ns: int | None = None
        self.closed_ns: int | None = None
        self.exit_code: int | None = None
        self.signal: str | None = None
        self.word = ""
        self.why: Exception | None = None
        #: set when the exit is known or the channel is closed
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        #: set when the program begins, or the exit is known, or the channel is closed
        self.begun = asyncio.Event()
        self._channel: Any = None

    def connection_made(self, chan: Any) -> None:
        """The server opened the channel."""
        self._channel = chan
        self.opened_ns = time.perf_counter_ns()
        self._on_open()

    def send(self, data: bytes) -> None:
        """The server accepted to execute: send stdin, and its end unless somebody listens and will say more."""
        self.confirmed_ns = time.perf_counter_ns()
        with contextlib.suppress(BrokenPipeError):  # then it ended meanwhile, and says so itself
            self._channel.write(data)
            if self._listener is None:
                self._channel.write_eof()

    def say(self, data: bytes) -> None:
        """Send more of stdin."""
        with contextlib.suppress(BrokenPipeError):  # the same
            self._channel.write(data)

    def hang_up(self) -> None:
        """Close the channel; what runs behind it does not notice."""
        if self._channel is not None:
            self._channel.close()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take output; noise before the marker is kept apart."""
        which = 1 if datatype is None else 2
        if not self._past[which]:
            data = self._after_marker(which, data)
            if not data:
                return
        if which == 1 and self.first_byte_ns is None:
            self.first_byte_ns = time.perf_counter_ns()
        self.streams[which].feed(data)
        if which == 1 and self._listener is not None:
            self._listener(data)

    def _after_marker(self, which: int, data: bytes) -> bytes:
        noise = self._noise[which]
        noise += data
        found = find_marker(noise, self._mark)
        if found is None:
            if len(noise) > 2 * _NOISE:
                del noise[:-_NOISE]
            return b""
        word, at = found
        rest = bytes(noise[at:])
        self._past[which] = True
        noise.clear()
        if which == 1:
            self.word = word
            self.started_ns = time.perf_counter_ns()
            self.begun.set()
        return rest

    def exit_status_received(self, status: int) -> None:
        """The exit status."""
        self.exit_code = status
        self.exited_ns = time.perf_counter_ns()
        self.begun.set()
        self.exited.set()

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # noqa: FBT001 - asyncssh's
        """The signal it died of."""
        del core_dumped, msg, lang
        self.signal = signal
        self.exited_ns = time.perf_counter_ns()
        self.begun.set()
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed."""
        self.why = exc
        self.closed_ns = time.perf_counter_ns()
        self.begun.set()
        self.exited.set()
        self.closed.set()
        self._on_close()

    def usage(self) -> Usage:
        """The witness's words, taken out of stderr."""
        return self.streams[2].usage(self._mark)

    @property
    def received_bytes(self) -> int:
        """How much output came so far."""
        return sum(stream.total_bytes for stream in self.streams.values())

    @property
    def noise(self) -> bytes:
        """The end of what was said in place of a start, or before it."""
        return bytes(self._noise[1][-_NOISE:] + self._noise[2][-_NOISE:])

    def times(self) -> Times:
        """The moments so far."""
        return Times(
            self._asked_ns,
            self.opened_ns,
            self.confirmed_ns,
            self.started_ns,
            self.first_byte_ns,
            self.exited_ns,
            self.closed_ns,
        )
