"""The keeper of what runs on a host, seen from here: its channel, its heartbeats, and who it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

import asyncssh
from msgspec import Struct

from benchmarks.errors import BenchError
from benchmarks.remote_words import find_marker, keeper_line, keeper_payload
from probes.text import clean_bytes

if TYPE_CHECKING:
    from benchmarks.remote_links import Link, Links

_READY_S: Final = 20.0
#: a run that is cancelled ends all it has on its way: the host looks for them once
_TOGETHER_S: Final = 0.005
#: what is kept of lines that make no sense
_NOISE: Final = 2048
_MAX_INBOX: Final = 64 * 1024


class Pace(Struct, frozen=True):
    """The intervals of life and death; tests make them short."""

    heartbeat_s: float = 5.0
    #: the keeper ends everything after so long without a heartbeat
    silence_s: float = 15.0
    #: from TERM to KILL
    grace_s: float = 1.0
    #: how long after its exit a program's output may stay open and silent before what holds it is ended
    linger_s: float = 0.5


class _KeeperSession(asyncssh.SSHClientSession[bytes]):
    """The keeper's channel: a marker, then a line for every command that it ended."""

    def __init__(self, nonce: str, link: Link) -> None:
        self._nonce = nonce
        self._link = link
        self._inbox = bytearray()
        self._noise = bytearray()
        self.opened_ns: int | None = None
        self.channel: Any = None
        self.word: str | None = None
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()
        self.buried: dict[int, asyncio.Future[int]] = {}

    def connection_made(self, chan: Any) -> None:
        self.channel = chan
        self.opened_ns = time.perf_counter_ns()
        self._link.opened()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is not None:
            self._noise = (self._noise + data)[-_NOISE:]
            return
        self._inbox += data
        if self.word is None:
            found = find_marker(self._inbox, self._nonce)
            if found is None:
                del self._inbox[:-_MAX_INBOX]
                return
            self.word = found[0]
            del self._inbox[: found[1]]
            self.ready.set()
        while (end := self._inbox.find(b"\n")) >= 0:
            self._hear(bytes(self._inbox[:end]).split())
            del self._inbox[: end + 1]
        del self._inbox[:-_MAX_INBOX]

    def _hear(self, words: list[bytes]) -> None:
        if len(words) != 3 or words[0] != b"x" or not words[2].isdigit():
            return
        for number in words[1].split(b"|"):
            waiting = self.buried.pop(int(number[:9]), None) if number.isdigit() else None
            if waiting is not None and not waiting.done():
                waiting.set_result(int(words[2][:9]))

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._link.closed()
        self.gone.set()
        self.ready.set()
        for waiting in self.buried.values():
            waiting.cancel()
        self.buried.clear()

    @property
    def said(self) -> str:
        """What came in place of the marker."""
        return clean_bytes(bytes(self._inbox[-400:]).strip() or bytes(self._noise[-400:]).strip(), 200)


class Keeper:
    """The keeper on a host and our side of it.

    Args:
        nonce: of all the commands that it keeps.
        pace: the intervals.
    """

    def __init__(self, nonce: str, pace: Pace) -> None:
        self._nonce = nonce
        self._pace = pace
        self._session: _KeeperSession | None = None
        self._heart: asyncio.Task[None] | None = None
        self._doomed: list[int] = []

    @property
    def gone(self) -> bool:
        """Whether there is none (any more): it ended all it kept before it went."""
        return self._session is None or self._session.gone.is_set()

    async def start(self, links: Links) -> None:
        """Have it on the host.

        Raises:
            BenchError: layer ``ssh``: no connection or session; ``host``: it cannot live there.
        """
        if self._heart is not None:
            self._heart.cancel()  # of one that is gone
        line = keeper_line(self._nonce)
        session = await links.execute(lambda link: _KeeperSession(self._nonce, link), line)
        self._session = session
        # nothing in it is secret, should a forced command read it
        self._tell(keeper_payload(self._nonce, self._pace.silence_s, self._pace.grace_s))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_S):
                await session.ready.wait()
        if session.word != "ready":
            raise self._unusable(session)
        self._heart = asyncio.create_task(self._beat(session), name="heartbeat")

    def _unusable(self, session: _KeeperSession) -> BenchError:
        if session.word is not None:
            cause = f"there is {session.word} on the host"
            return BenchError(cause, layer="host", next_step="programs are only run where they can be ended")
        said = f": it said {session.said!r}" if session.said else ""
        step = "a forced command, or a login shell that runs none?"
        return BenchError(f"the host runs no shell for us{said}", layer="host", next_step=step)

    async def _beat(self, session: _KeeperSession) -> None:
        while not session.gone.is_set():
            self._tell(b"h\n")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.heartbeat_s):
                    await session.gone.wait()

    def _tell(self, data: bytes) -> None:
        if self._session is not None:
            with contextlib.suppress(BrokenPipeError):  # it is going, and its session says so
                self._session.channel.write(data)

    async def bury(self, number: int) -> int | None:
        """Have a command ended with all below it, together with those that are to end at the same moment.

        Returns:
            How many of their processes would not end; None: nobody is there to say it.
        """
        session = self._session
        if session is None or session.gone.is_set():
            return None
        waiting = session.buried.get(number)
        if waiting is None:
            waiting = session.buried[number] = asyncio.get_running_loop().create_future()
            if not self._doomed:
                asyncio.get_running_loop().call_later(_TOGETHER_S, self._bury_doomed, session)
            self._doomed.append(number)
        done, _ = await asyncio.wait({waiting}, timeout=self._pace.grace_s + 10.0)
        return waiting.result() if done and not waiting.cancelled() else None

    def _bury_doomed(self, session: _KeeperSession) -> None:
        doomed, self._doomed = self._doomed, []
        if not session.gone.is_set():
            self._tell(b"k %s\n" % b"|".join(b"%d" % number for number in doomed))

    async def end(self) -> None:
        """Have everything ended and the keeper too, in bounded time."""
        heart, self._heart = self._heart, None
        session = self._session
        if session is not None and not session.gone.is_set():
            self._tell(b"q\n")
            with contextlib.suppress(BrokenPipeError):
                session.channel.write_eof()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.grace_s + 5.0):
                    await session.gone.wait()
        if heart is not None:
            heart.cancel()
            await asyncio.wait({heart})
