"""What the engine itself costs while it measures: how late its event loop is, and how much of a core it takes.

A client that is busy measures itself. Both figures go into the result and decide whether it is valid.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from typing import Final

from benchmarks.schedule import NS

_STEP_NS: Final = 10_000_000


class ClientLoad:
    """Measures from ``start`` to ``stop``; its task is owned by whoever runs ``run``."""

    def __init__(self) -> None:
        self._lags_ns = array("q")
        self._started_ns = 0
        self._cpu_ns = 0
        self.wall_s = 0.0
        self.cpu_pct: float | None = None

    async def run(self) -> None:
        """Sample the loop's lag at every 10 ms of an absolute schedule until cancelled: how late it was looked after.

        A loop that stood still was late for every moment of that time, not for one of them: else a process that was
        stopped for seconds would show in a single sample, and its requests would be charged to the server.
        """
        wanted_ns = time.perf_counter_ns() + _STEP_NS
        while True:
            await asyncio.sleep(max(wanted_ns - time.perf_counter_ns(), 0) / NS)
            now_ns = time.perf_counter_ns()
            # a timer may fire a hair early: that moment is there all the same
            self._lags_ns.append(max(now_ns - wanted_ns, 0))
            wanted_ns += _STEP_NS
            while wanted_ns <= now_ns:
                self._lags_ns.append(now_ns - wanted_ns)
                wanted_ns += _STEP_NS

    def start(self) -> None:
        """The measure phase begins."""
        self._lags_ns = array("q")
        self._started_ns, self._cpu_ns = time.perf_counter_ns(), time.process_time_ns()

    def stop(self) -> None:
        """The measure phase ended."""
        self.wall_s = (time.perf_counter_ns() - self._started_ns) / NS
        used_s = (time.process_time_ns() - self._cpu_ns) / NS
        self.cpu_pct = 100 * used_s / self.wall_s if self.wall_s > 0 else None

    def lag_p99_s(self) -> float | None:
        """The p99 (nearest rank) of the loop's lag in seconds; None when the phase was too short to sample it."""
        if not self._lags_ns:
            return None
        ordered = sorted(self._lags_ns)
        return ordered[max(-(-99 * len(ordered) // 100) - 1, 0)] / NS
