"""Offering load: a closed loop of slots, or an open loop on an absolute schedule. Knows nothing of what a request is.

The closed loop answers "latency and throughput at concurrency C". The open loop sends at ``t0 + i / rate`` whatever the
server does, so that a server that freezes shows in the response times of all who came meanwhile.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.model import Load

NS = 1_000_000_000


class Attempts(Protocol):
    """What the loops ask of the engine."""

    async def attempt(self, i: int, intended_ns: int) -> None:
        """Make request ``i`` and record how it ended. Never raises but for cancellation."""
        ...

    def drop(self, i: int, intended_ns: int) -> None:
        """Record that request ``i`` was not sent: too many were on their way."""
        ...


async def closed(attempts: Attempts, load: Load, stop: asyncio.Event, *, n: int, min_s: float) -> None:
    """Run ``load.concurrency`` slots until ``n`` were sent and ``min_s`` passed, ``max_s`` passed, or ``stop`` is set.

    Returns when every request that was sent has ended. Cancelled: those on their way are cancelled, and waited for.
    """
    started_ns = time.perf_counter_ns()
    sent = 0

    def another() -> int | None:
        nonlocal sent
        passed_s = (time.perf_counter_ns() - started_ns) / NS
        if stop.is_set() or passed_s >= load.max_s or (sent >= n and passed_s >= min_s):
            return None
        sent += 1
        return sent - 1

    async def slot() -> None:
        while (i := another()) is not None:
            await attempts.attempt(i, time.perf_counter_ns())

    async with asyncio.TaskGroup() as slots:
        for at in range(min(load.concurrency, max(n, 1)) if min_s <= 0 else load.concurrency):
            slots.create_task(slot(), name=f"slot {at}")


async def open_loop(attempts: Attempts, load: Load, rate_per_s: float, stop: asyncio.Event) -> None:
    """Send ``max(n, min_s * rate)`` requests on schedule, until ``max_s`` or ``stop``; wait for those on their way."""
    total = max(load.n, math.ceil(load.min_s * rate_per_s))
    started_ns = time.perf_counter_ns()
    on_their_way = 0

    async def send(i: int, intended_ns: int) -> None:
        nonlocal on_their_way
        try:
            await attempts.attempt(i, intended_ns)
        finally:
            on_their_way -= 1

    async with asyncio.TaskGroup() as sends:
        for i in range(total):
            intended_ns = started_ns + round(i * NS / rate_per_s)
            if (intended_ns - started_ns) / NS > load.max_s or await _stopped_before(intended_ns, stop):
                return
            if on_their_way >= load.max_in_flight:
                attempts.drop(i, intended_ns)
                continue
            on_their_way += 1
            sends.create_task(send(i, intended_ns), name=f"send {i}")


async def _stopped_before(at_ns: int, stop: asyncio.Event) -> bool:
    """Sleep until a moment of the schedule; whether ``stop`` was set before it."""
    left_s = (at_ns - time.perf_counter_ns()) / NS
    if left_s <= 0:
        await asyncio.sleep(0)  # late already: the answers of others must get their turn all the same
        return stop.is_set()
    try:
        async with asyncio.timeout(left_s):
            await stop.wait()
    except TimeoutError:
        return False
    return True


async def until_stopped(work: asyncio.Task[None], stop: asyncio.Event, on_stop: Callable[[], None]) -> None:
    """Wait for ``work``; when ``stop`` is set before it ends, call ``on_stop``, cancel it and wait.

    Raises:
        BaseException: what ``work`` ended with, unless it was cancelled here.
    """
    waiting = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            on_stop()
    finally:
        # cancelled from outside, too: nothing that was sent outlives the run
        waiting.cancel()
        work.cancel()
        await asyncio.wait({work, waiting})
    if not work.cancelled():
        work.result()
