"""The threads that read the user's SSH files.

Daemon threads, unlike those of ``ThreadPoolExecutor``: a home on a dead file server, or a ``Match exec`` that never
ends, must not hold up the exit.
"""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_Job = tuple[Future[Any], "Callable[..., Any]", tuple[Any, ...], dict[str, Any]]


class FileThreads(Executor):
    """A small executor; ``shutdown`` lets idle threads end and waits for none."""

    def __init__(self, threads: int) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._limit = threads
        self._started = 0

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Run a call in one of the threads."""
        future: Future[_T] = Future()
        self._jobs.put((future, fn, args, kwargs))
        if self._started < self._limit:
            self._started += 1
            threading.Thread(target=self._work, name=f"ssh-files {self._started}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """Let the threads end once they are idle."""
        del wait, cancel_futures
        for _ in range(self._started):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call, args, named = job
            if future.set_running_or_notify_cancel():
                try:
                    result = call(*args, **named)
                except BaseException as error:  # noqa: BLE001 - handed to the one who asked, like every result
                    future.set_exception(error)
                else:
                    future.set_result(result)
            del job, future, call, args, named
