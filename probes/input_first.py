"""A key goes first: work that is done in slices asks before each slice whether one was pressed just now, and waits.

On its way to the screen a key passes some eight turns of the event loop, and each may queue behind a slice of other
work. Without a slice in between the whole way takes 3 to 4 ms, so the slices stand back for ``HOLD_S`` after a key.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: how long slices stand back for a key
HOLD_S: Final = 0.015
#: and for keys that come one after the other without a pause of another ``HOLD_S``
AT_MOST_S: Final = 0.1


class InputFirst:
    """When the last key came, and whether others wait for it.

    Args:
        now_s: the clock, replaced by tests.
    """

    __slots__ = ("_now_s", "_since_s", "_until_s")

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._since_s = self._until_s = float("-inf")

    def came(self) -> None:
        """A key came; from any thread."""
        now_s = self._now_s()
        if now_s - self._until_s >= HOLD_S:
            self._since_s = now_s
        self._until_s = now_s + HOLD_S

    @property
    def left_s(self) -> float:
        """How long to stand back as things are; 0 or less: go on."""
        return min(self._until_s, self._since_s + AT_MOST_S) - self._now_s()

    async def way(self) -> None:
        """Return when no key is on its way: at once nearly always, after ``AT_MOST_S`` at the latest."""
        give_up_s = self._now_s() + AT_MOST_S
        while (left_s := min(self.left_s, give_up_s - self._now_s())) > 0:  # noqa: ASYNC110 - what passes is time
            await asyncio.sleep(left_s)

    async def turn(self) -> None:
        """Between two slices: let everybody else have a turn, and a key all the turns it needs."""
        await asyncio.sleep(0)
        await self.way()
