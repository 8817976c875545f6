"""A bound on probes in flight that keeps silent ports from holding up the others.

A port that drops packets holds its place for seconds, one that answers for milliseconds. Whoever was silent last time
may take only a part of the places: however many hosts go dark, those that answer are never kept waiting by them.
"""

from __future__ import annotations

import asyncio
import resource
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_MOST: Final = 2048
_LEAST: Final = 64
#: descriptors for everything else: terminal, log, jump hosts, agents
_OTHERS: Final = 256


def places(hosts: int) -> int:
    """How many probes at once suit this process: half of the file descriptors that its sessions leave over."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(_LEAST, min(_MOST, (soft - hosts - _OTHERS) // 2))


class Gate:
    """``limit`` places, of which those who are slow may hold three quarters. First come, first served in each lane."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = 0
        self.slow_inside = 0
        self._waiting: tuple[deque[asyncio.Future[None]], deque[asyncio.Future[None]]] = (deque(), deque())

    @asynccontextmanager
    async def place(self, *, slow: bool) -> AsyncGenerator[None, None]:
        """Hold a place for the length of the block."""
        await self._enter(slow=slow)
        try:
            yield
        finally:
            self._leave(slow=slow)

    async def _enter(self, *, slow: bool) -> None:
        lane = self._waiting[slow]
        if not lane and self._has_room(slow=slow):
            self._take(slow=slow)
            return
        ticket = asyncio.get_running_loop().create_future()
        lane.append(ticket)
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.cancelled() or not ticket.done():
                lane.remove(ticket)
            else:
                # the place was given in the moment of the cancellation: pass it on
                self._leave(slow=slow)
            raise

    def _leave(self, *, slow: bool) -> None:
        self.inside -= 1
        self.slow_inside -= slow
        for is_slow, lane in ((False, self._waiting[0]), (True, self._waiting[1])):
            while lane and self._has_room(slow=is_slow):
                ticket = lane.popleft()
                if not ticket.done():
                    self._take(slow=is_slow)
                    ticket.set_result(None)

    def _has_room(self, *, slow: bool) -> bool:
        return self.inside < self.limit and (not slow or self.slow_inside < max(1, self.limit * 3 // 4))

    def _take(self, *, slow: bool) -> None:
        self.inside += 1
        self.slow_inside += slow
