"""What a stand-in was asked: counted by route, in flight, at most at once; the last requests are kept."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

KEPT: Final = 10_000
TEXT_KEPT: Final = 2000
_SENT_KEPT: Final = 10_000


@dataclass(slots=True)
class Asked:
    """One request; a long text is kept in part. Times are seconds of the stand-in's clock.

    ``work`` is its number among the work (None: it was none). ``begun_s`` is when it got its slot, ``sent_s`` when
    each part of a stream was due to be sent and ``ended_s`` when all was sent. Headers are not kept.
    """

    route: str
    at_s: float
    text: str = ""
    work: int | None = None
    begun_s: float | None = None
    sent_s: list[float] = field(default_factory=list[float])
    ended_s: float | None = None
    status: int | None = None

    def part(self, at_s: float) -> None:
        """Note that a part of a stream goes out."""
        if len(self.sent_s) < _SENT_KEPT:
            self.sent_s.append(at_s)


class Ledger:
    """The counts of one stand-in.

    Attributes:
        asked: the last requests, oldest first; bounded.
        by_route: how often each route was asked (``POST /synthesis``); what is no route counts as ``-``.
        total: all requests.
        in_flight: requests whose answer is not sent yet, and ``peak``, the most there ever were.
        working: work in flight, those in line included, and ``working_peak``.
        connections: accepted so far, and ``open_connections``.
    """

    def __init__(self) -> None:
        self.asked: deque[Asked] = deque(maxlen=KEPT)
        self.by_route: Counter[str] = Counter()
        self.total = 0
        self.in_flight = 0
        self.peak = 0
        self.works = 0
        self.working = 0
        self.working_peak = 0
        self.connections = 0
        self.open_connections = 0

    def begin(self, route: str, at_s: float) -> Asked:
        """A request has come."""
        asked = Asked(route, at_s)
        self.asked.append(asked)
        self.by_route[route] += 1
        self.total += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        return asked

    def begin_work(self, asked: Asked) -> int:
        """It is work: give it its number."""
        asked.work = number = self.works
        self.works += 1
        self.working += 1
        self.working_peak = max(self.working_peak, self.working)
        return number

    def end(self, asked: Asked, at_s: float) -> None:
        """It is over, however."""
        asked.ended_s = at_s
        self.in_flight -= 1
        if asked.work is not None:
            self.working -= 1

    def counts(self) -> dict[str, object]:
        """All counts, as plain JSON."""
        return {
            "total": self.total,
            "by_route": dict(self.by_route),
            "in_flight": self.in_flight,
            "peak": self.peak,
            "works": self.works,
            "working": self.working,
            "working_peak": self.working_peak,
            "connections": self.connections,
            "open_connections": self.open_connections,
        }
