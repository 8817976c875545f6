"""Writing to a pipe whose reader may be slow, without making anybody else wait for it.

A blocking write on the event loop would stop every heartbeat: a reader that pauses (``| less``) would cost all agents
their lives, and the hosts would be blamed for the silence.
"""

from __future__ import annotations

import os
import select
from typing import Final, Self

from probes.reach.threads import DaemonPool

_NEVER_S: Final = 365 * 86400.0


class Outlet:
    """Bytes to a file descriptor from a daemon thread; one write at a time, so nothing piles up."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread = DaemonPool("output", 1)

    async def write(self, data: bytes) -> None:
        """Wait, for as long as the reader likes, until all of it is written.

        Raises:
            OSError: BrokenPipeError above all: the reader is gone.
        """
        await self._thread.run(lambda: _write_all(self._descriptor, data), _NEVER_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.close()


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # somebody left it non-blocking
            select.select([], [descriptor], [])
