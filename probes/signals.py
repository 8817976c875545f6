"""SIGTERM and SIGINT for headless commands: cancel the work, so that every agent is ended on the way out."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

_T = TypeVar("_T")


async def interruptible(work: Coroutine[object, object, _T]) -> _T:
    """Run ``work``; SIGTERM, SIGINT and SIGHUP cancel it.

    Raises:
        asyncio.CancelledError: it was interrupted.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
