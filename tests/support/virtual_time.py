"""An event loop on which waiting takes no time: when nothing is ready, its clock jumps to the next timer.

``run(work)`` runs a coroutine on it with ``time.perf_counter_ns`` on the same clock, so that schedules and durations are
exact to the nanosecond and a test of them judges no wall time.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Coroutine


class _Jumping(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("everything waits for something that will never come")
        ready = super().select(0)
        if not ready and timeout > 0:
            self.now_s += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s

    def stand_still(self, for_s: float) -> None:
        """As if a callback had held the loop, or the process had been stopped, for so long."""
        self._jumping.now_s += for_s


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run ``work`` to its end on virtual time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        loop = runner.get_loop()
        with mock.patch.object(time, "perf_counter_ns", lambda: round(loop.time() * 1e9)):  # noqa: PT008 - it changes
            return runner.run(work)
