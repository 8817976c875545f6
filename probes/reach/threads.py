"""A small pool of daemon threads for calls that block and may hang: getaddrinfo above all.

Not ``ThreadPoolExecutor``: its threads are joined when Python exits, so one look-up that hangs would hold up the exit;
and its queue has no bound.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_DEFAULT_THREADS: Final = 16
_DEFAULT_QUEUE: Final = 8192


class PoolFullError(Exception):
    """The queue is full: every thread hangs, and so many wait that another would not get an answer in time."""


class _Job:
    """One call: the function, and the future that wants its result."""

    __slots__ = ("call", "future", "loop")

    def __init__(self, call: Callable[[], Any], loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
        self.call = call
        self.loop = loop
        self.future = future

    def run(self) -> None:
        if self.future.cancelled():
            return
        try:
            result, error = self.call(), None
        except BaseException as caught:  # noqa: BLE001  # it is handed to the one who asked, like every result
            result, error = None, caught
        try:
            self.loop.call_soon_threadsafe(self._deliver, result, error)
        except RuntimeError:
            # the loop was closed while the call hung: nobody is left to be told
            return

    def _deliver(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class DaemonPool:
    """Up to ``threads`` daemon threads, started when needed, fed by a bounded queue.

    A thread that hangs is lost to the pool until its call returns; it never holds up the exit.
    """

    def __init__(self, name: str, threads: int = _DEFAULT_THREADS, queued: int = _DEFAULT_QUEUE) -> None:
        self._name = name
        self._limit = threads
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._queued = queued
        self._lock = threading.Lock()
        self._threads = 0
        #: calls handed in and not finished; more of them than threads means that another thread is needed
        self._unfinished = 0
        self._closed = False

    async def run(self, call: Callable[[], T], timeout_s: float) -> T:
        """Run a blocking call in a thread and wait for it, at most ``timeout_s`` from now, queueing included.

        Raises:
            TimeoutError: no result in time; the call may still be running.
            PoolFullError: the queue is full, or the pool was closed.
            Exception: whatever ``call`` raised.
        """
        if self._closed or self._unfinished >= self._limit + self._queued:
            waiting = self._unfinished - self.busy
            raise PoolFullError(f"{self._name}: {self.busy} threads busy, {waiting} calls waiting")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        timer = loop.call_later(timeout_s, _expire, future)
        self._hire()
        self._jobs.put(_Job(call, loop, future))
        try:
            return await future
        finally:
            timer.cancel()

    @property
    def busy(self) -> int:
        """How many threads are inside a call now."""
        return min(self._threads, self._unfinished)

    def close(self) -> None:
        """Let idle threads end; a hanging one ends with its call or with the process."""
        self._closed = True
        for _ in range(self._threads):
            self._jobs.put(None)

    def _hire(self) -> None:
        with self._lock:
            self._unfinished += 1
            if self._unfinished <= self._threads or self._threads >= self._limit:
                return
            self._threads += 1
            number = self._threads
        threading.Thread(target=self._work, name=f"{self._name} {number}", daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            job.run()
            with self._lock:
                self._unfinished -= 1
            # the frame of a thread that waits must not keep the last result alive
            del job


def _expire(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
