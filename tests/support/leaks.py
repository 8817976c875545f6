"""What a test left behind: tasks, and open sockets of this process. And waiting for a condition, for a bounded time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def open_sockets() -> set[str]:
    """The sockets this process holds, by inode; the event loop's own pair is among them."""
    found: set[str] = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def other_tasks() -> set[asyncio.Task[object]]:
    """Every task but the running one."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def until(condition: Callable[[], bool], at_most_s: float = 10.0) -> None:
    """Wait until a condition holds; fails when it does not in time."""
    async with asyncio.timeout(at_most_s):
        while not condition():  # what is waited for is in a thread or a kernel, and sets no event
            await asyncio.sleep(0.002)
