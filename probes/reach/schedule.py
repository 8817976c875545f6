"""When each host's services are due: evenly spread, each host at its own fixed phase of the interval. Pure.

A thousand hosts never fire at once, not at the start, not after a reload and not after a stall: a host's phase is a
hash of its id, so it is also the same in every run.
"""

from __future__ import annotations

import heapq
import math
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: how much of an interval something may be overdue and still be done now; later than that it waits for its phase
_LATE: Final = 0.5


def phase(key: str) -> float:
    """A stable number from 0 to 1 (exclusive) for a host id."""
    # not crc32: names that differ only in their number would bunch up
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


class Schedule:
    """A heap of due times; ``now`` is any clock that only goes forward."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._at: dict[str, float] = {}
        self._phases: dict[str, float] = {}
        # entries whose time is not the one in _at are leftovers, skipped when they surface
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, key: str) -> bool:
        return key in self._at

    def keep(self, keys: Iterable[str], now: float, spread_s: float) -> None:
        """Hold exactly ``keys``: new ones get their first turn within ``spread_s``, by their phase."""
        wanted = dict.fromkeys(keys)
        for key in [key for key in self._at if key not in wanted]:
            del self._at[key], self._phases[key]
        for key in wanted:
            if key not in self._at:
                self._phases[key] = phase(key)
                self._put(key, now + self._phases[key] * spread_s)
        self._compact()

    def set_interval(self, interval_s: float, now: float) -> None:
        """Take another interval; everything moves to its phase of the new one."""
        if interval_s == self._interval_s:
            return
        self._interval_s = interval_s
        for key in self._at:
            self._put(key, self._after(key, now))
        self._compact()

    def soon(self, key: str, now: float) -> None:
        """Make one due at once; its phase afterwards stays the same."""
        if key in self._at:
            self._put(key, now)

    def due(self, now: float) -> list[str]:
        """Take those whose time has come, and set their next one."""
        taken: list[str] = []
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._at.get(key) != at:
                continue
            if now - at > _LATE * self._interval_s:
                # the loop or the machine stood still: all that fell due meanwhile would go at once
                self._put(key, self._after(key, now))
                continue
            taken.append(key)
            self._put(key, self._after(key, now + _LATE * self._interval_s))
        return taken

    def next_at(self) -> float | None:
        """When the next one is due; ``None`` when there is none."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _after(self, key: str, moment: float) -> float:
        """The first time at this key's phase that is later than ``moment``."""
        offset = self._phases[key] * self._interval_s
        return (math.floor((moment - offset) / self._interval_s) + 1) * self._interval_s + offset

    def _put(self, key: str, at: float) -> None:
        self._at[key] = at
        heapq.heappush(self._heap, (at, key))

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self._at) + 64:
            self._heap = [(at, key) for key, at in self._at.items()]
            heapq.heapify(self._heap)
