"""When the terminal is gone, so are we: a closed window or a dead connection must not leave a dashboard behind.

Textual writes through a thread and a bounded queue. Once the terminal has hung up, that thread dies of its first write
and the queue fills: the next write blocks the event loop for ever, the handler of SIGHUP included. So a thread of ours
waits for the hang-up (at no cost: ``poll`` wakes for nothing else), leaves the application some time to close its
connections, and then ends the process. The agents on the hosts die of the closed connections.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

GRACE_S: Final = 7.0
EXIT_CODE: Final = 129


@contextmanager
def ended_by_hangup(grace_s: float = GRACE_S) -> Iterator[None]:
    """While inside, a hang-up of the terminal on stdin ends the process after ``grace_s`` at the latest."""
    if not sys.stdin.isatty():
        yield
        return
    over = threading.Event()
    watched = os.dup(sys.stdin.fileno())
    wake_read, wake_write = os.pipe()
    thread = threading.Thread(target=_wait, args=(watched, wake_read, over, grace_s), name="hangup", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        os.write(wake_write, b"x")
        thread.join()
        for descriptor in (watched, wake_read, wake_write):
            os.close(descriptor)


def _wait(terminal: int, wake: int, over: threading.Event, grace_s: float) -> None:
    poll = select.poll()
    poll.register(terminal, 0)  # errors and hang-ups are reported without being asked for
    poll.register(wake, select.POLLIN)
    while not over.is_set():
        for descriptor, event in poll.poll():
            if descriptor == terminal and event & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                end = time.monotonic() + grace_s
                while not over.wait(max(end - time.monotonic(), 0.0)):
                    if time.monotonic() >= end:
                        os._exit(EXIT_CODE)
                return
