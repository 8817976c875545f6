"""What the samples say of the load itself: how many were in flight, how late they were sent, how many a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from benchmarks.model import Outcome
from benchmarks.schedule import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.model import Sample

#: requests in the window below which a mean of how many were in flight says nothing
_ENOUGH = 20
_WENT_OUT = frozenset(Outcome) - {Outcome.DROPPED}


class Occupied(Struct, frozen=True):
    """The window in which all slots of a closed loop should be occupied, and how many were in flight in it on average.

    By Little's law ``in_flight`` is throughput times mean service time; it should be ``slots``.
    """

    window_s: float
    completed: int
    in_flight: float
    slots: int


def occupied(samples: Sequence[Sample], slots: int) -> Occupied | None:
    """How many were in flight while all ``slots`` should have been; None when there was no such window.

    The window runs from the moment the last slot had begun to the last moment at which a slot began a request: after
    that slots fall idle one by one. Fewer than ``slots`` in it means that slots waited between requests: the client was
    busy with itself.
    """
    # a slot is taken from the moment it turns to a request: a connection that is made first is part of it
    went = sorted((one for one in samples if one.outcome in _WENT_OUT), key=lambda one: one.intended_ns)
    if len(went) < 2 * slots:
        return None
    begin_ns, end_ns = went[slots - 1].intended_ns, went[-1].intended_ns
    inside = [one for one in went if begin_ns < one.end_ns <= end_ns]
    window_s = (end_ns - begin_ns) / NS
    if len(inside) < max(slots, _ENOUGH) or window_s <= 0:
        return None
    # requests that were under way when the window opened count with the part inside it
    busy_s = sum(min(one.end_ns, end_ns) - max(one.intended_ns, begin_ns) for one in went if one.end_ns > begin_ns) / NS
    return Occupied(window_s, len(inside), busy_s / window_s, slots)


def throughput_per_s(samples: Sequence[Sample]) -> float | None:
    """OK requests divided by the time from the first send to the last end, in 1/s; None without any."""
    went = [one for one in samples if one.outcome in _WENT_OUT]
    ok = sum(one.outcome is Outcome.OK for one in went)
    if not ok:
        return None
    window_ns = max(one.end_ns for one in went) - min(one.start_ns for one in went)
    return ok * NS / window_ns if window_ns > 0 else None


def send_rate_per_s(samples: Sequence[Sample]) -> float | None:
    """Sends a second of an open loop, drops left out; None with fewer than two."""
    starts = [one.start_ns for one in samples if one.outcome in _WENT_OUT]
    if len(starts) < 2:
        return None
    window_ns = max(starts) - min(starts)
    return (len(starts) - 1) * NS / window_ns if window_ns > 0 else None


def send_lags_s(samples: Sequence[Sample]) -> list[float]:
    """How late each request was sent against its schedule, in seconds, ordered."""
    return sorted(max(one.start_ns - one.intended_ns, 0) / NS for one in samples if one.outcome in _WENT_OUT)
