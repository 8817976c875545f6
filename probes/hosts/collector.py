"""Garbage collection at our own pace, so that it never stands in the way of a screen.

Measured at 1,000 hosts x 8 GPUs: the interpreter's own pace runs a young collection every second, 10 ms each (it walks
the newest sample of every host, all alive), and now and then a full one of 130 to 230 ms. Samples are freed by
reference counting; only closed connections and finished tasks leave cycles. So young garbage is collected every 20 s,
and the old only after enough connections have ended to be worth the pause. What the C library then holds unused (3 MB
after a thousand handshakes, and more with every wave of lost connections) is given back to the system.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Final

YOUNG_EVERY_S: Final = 20.0
OLD_EVERY_S: Final = 60.0
#: new objects after which young garbage is collected early: while a fleet connects, small pauses and not one long
_YOUNG_MANY: Final = 20_000
#: connections that must have ended before old garbage is collected: a dead one holds about 100 KB
_ENDED_WORTH_IT: Final = 20


class Collector:
    """Takes the collector over with ``start`` and gives it back with ``stop``; ``tick`` does the work in between."""

    def __init__(self) -> None:
        self._was_enabled = False
        self._young_at_s = 0.0
        self._old_at_s = 0.0
        self._ended = 0
        self._started_s = 0.0
        self._settled = False

    def start(self, now_s: float) -> None:
        """Stop the interpreter's own collections."""
        self._was_enabled = gc.isenabled()
        self._young_at_s = self._old_at_s = self._started_s = now_s
        gc.disable()

    def stop(self) -> None:
        """Give collection back to the interpreter."""
        if self._was_enabled:
            gc.enable()

    def connection_ended(self) -> None:
        """Count one connection that left its cycles behind."""
        self._ended += 1

    def tick(self, now_s: float) -> int | None:
        """Collect what is due; returns the generation collected, or None."""
        if self._ended >= _ENDED_WORTH_IT and now_s - self._old_at_s >= OLD_EVERY_S:
            self._ended = 0
            self._old_at_s = self._young_at_s = now_s
            gc.collect(2)
            _give_back()
            return 2
        if now_s - self._young_at_s >= YOUNG_EVERY_S or gc.get_count()[0] > _YOUNG_MANY:
            settled = not self._settled and now_s - self._started_s >= YOUNG_EVERY_S
            self._young_at_s = now_s
            gc.collect(1)
            if settled:  # the handshakes of the start are over
                self._settled = True
                _give_back()
            return 1
        return None


def _give_back() -> None:
    """Return free memory of the C library to the system, where it is glibc; others do it by themselves."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
