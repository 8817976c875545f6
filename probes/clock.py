"""The two clocks of quarterdeck.

Ages and time-outs use ``CLOCK_BOOTTIME``, which goes on while a laptop sleeps and never jumps when the wall clock is
set. Wall time is only ever a label.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_s() -> float:
    """Seconds on a clock that counts suspend; only differences mean anything."""
    return time.clock_gettime(_BOOT)


def wall_s() -> float:
    """Seconds since the epoch, for labels."""
    return time.time()


def rfc3339(epoch_s: float) -> str:
    """Format a wall time as RFC 3339 UTC with milliseconds, as every JSON output of quarterdeck does."""
    text = datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
