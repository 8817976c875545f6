"""What the services of a simulated host load while they work: the link from the stand-ins to the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

#: a driver reports the load of its last sampling period, not of the instant
HOLD_S: Final = 0.25


class Serving(Struct, frozen=True):
    """What is loaded by services now: GPUs by index, and the processor."""

    gpus: frozenset[int] = frozenset()
    cpu: bool = False


IDLE: Final = Serving()


class Use:
    """Counts the work on each GPU of a host; None stands for its processor."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._running: dict[int | None, int] = {}
        self._ended_s: dict[int | None, float] = {}

    def hook(self, gpu: int | None) -> Callable[[int], None]:
        """What a stand-in calls with +1 and -1 when its work on this GPU begins and ends."""

        def change(by: int) -> None:
            self._running[gpu] = self._running.get(gpu, 0) + by
            self._ended_s[gpu] = self._now_s()

        return change

    def now(self) -> Serving:
        """What is loaded at this moment."""
        at_s = self._now_s()
        busy = {gpu for gpu, count in self._running.items() if count or at_s - self._ended_s[gpu] < HOLD_S}
        return Serving(frozenset(gpu for gpu in busy if gpu is not None), None in busy)
