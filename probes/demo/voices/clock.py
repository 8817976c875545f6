"""Time of a stand-in, and the slots in which it works. A test gives a clock of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


#: how much earlier to wake up than it is wanted
_EARLY_S = 0.004


class Clock(Protocol):
    """Seconds from any zero, that only grow."""

    def now_s(self) -> float:
        """Now."""
        ...

    async def sleep_until(self, at_s: float) -> None:
        """Return at ``at_s``, at once when that is past."""
        ...


class LoopClock:
    """The time of the running event loop."""

    def now_s(self) -> float:
        """Now."""
        return asyncio.get_running_loop().time()

    async def sleep_until(self, at_s: float) -> None:
        """Return at ``at_s``, at once when that is past."""
        ahead_s = at_s - asyncio.get_running_loop().time()
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)


class ExactClock(LoopClock):
    """The same to a tenth of a millisecond, for a stand-in in a process of its own: it keeps its core busy meanwhile.

    The system's timers end one to three milliseconds late.
    """

    async def sleep_until(self, at_s: float) -> None:
        """Return at ``at_s``, at once when that is past."""
        await super().sleep_until(at_s - _EARLY_S)
        while self.now_s() < at_s:  # noqa: ASYNC110 - what passes is time
            await asyncio.sleep(0)


class Slots:
    """So much at once, the rest in line, first come first served. ``limit`` may change at any time."""

    def __init__(self) -> None:
        self._limit: int | None = None
        self._used = 0
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int | None:
        """How much at once; None: any."""
        return self._limit

    @limit.setter
    def limit(self, value: int | None) -> None:
        self._limit = value
        self._call()

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[None]:
        """Hold one slot."""
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(ticket)
        self._call()
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled():  # called and cancelled in the same step
                self._free()
            elif ticket in self._line:
                self._line.remove(ticket)
            raise
        try:
            yield
        finally:
            self._free()

    def _free(self) -> None:
        self._used -= 1
        self._call()

    def _call(self) -> None:
        while self._line and (self._limit is None or self._used < self._limit):
            ticket = self._line.popleft()
            if not ticket.done():  # a cancelled one is passed over
                self._used += 1
                ticket.set_result(None)
