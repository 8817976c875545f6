"""What happened in a run, request by request: the samples, and the numbers a screen wants while it goes on."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, Literal, Protocol

from benchmarks.model import Outcome, Sample, Side
from benchmarks.schedule import NS
from benchmarks.wire import Point

if TYPE_CHECKING:
    from benchmarks.model import Done

_DETAIL: Final = 300
#: points kept between two reports of progress; a screen cannot show more
_POINTS: Final = 500
_RATE_WINDOW_S: Final = 3.0
#: so many transport failures or timeouts without an answer in between, in at least so many rounds: the server is gone.
#: A round is of requests that were under way together; the next one was sent when the last one had failed already. So a
#: server that stands still for a moment, or drops all its connections once, is not taken for dead.
DEAD_TRANSPORT: Final = 10
DEAD_TIMEOUTS: Final = 5
DEAD_ROUNDS: Final = 3
_ANSWERED: Final = frozenset({Outcome.OK, Outcome.HTTP_ERROR, Outcome.INVALID_BODY})
_ERRORS: Final = 20


class Keeper(Protocol):
    """Where samples go besides memory."""

    def add(self, sample: Sample) -> None:
        """Take one. Never raises."""
        ...


class Recorder:
    """Collects the samples of one run. ``phase`` is that of the requests that start now."""

    def __init__(self, t0_ns: int, keeper: Keeper | None = None) -> None:
        self.t0_ns = t0_ns
        self.phase: Literal["warmup", "measure"] = "warmup"
        self.samples: list[Sample] = []
        self.warmups: list[Sample] = []
        self.outcomes: Counter[str] = Counter()
        self.in_flight = 0
        self.errors: Counter[str] = Counter()
        self.last_error = ""
        self._keeper = keeper
        self._ends: deque[int] = deque(maxlen=4096)
        self._points: list[Point] = []
        self._points_left_out = 0
        self._silent: Counter[Outcome] = Counter()
        self._rounds = 0
        self._round_ends_ns = 0

    def begin(self, phase: Literal["warmup", "measure"]) -> None:
        """A new phase: what is shown starts anew."""
        self.phase = phase
        self.outcomes.clear()
        self._ends.clear()
        self._heard()

    @property
    def done(self) -> int:
        """Requests of this phase that ended."""
        return self.outcomes.total()

    @property
    def gone(self) -> bool:
        """Whether the server has died: nothing but refused, reset or silent for a while."""
        silent = self._silent[Outcome.TRANSPORT] >= DEAD_TRANSPORT or self._silent[Outcome.TIMEOUT] >= DEAD_TIMEOUTS
        return silent and self._rounds >= DEAD_ROUNDS

    @property
    def ended_gone(self) -> bool:
        """Whether the run was over before a dead server showed it: from one moment on all was refused, never before."""
        refused = self._silent[Outcome.TRANSPORT]
        at_once = 0 < refused == self.outcomes[Outcome.TRANSPORT] and not self._silent[Outcome.TIMEOUT]
        return self.gone or (at_once and self._rounds >= DEAD_ROUNDS)

    def take(self, i: int, phase: Literal["warmup", "measure"], intended_ns: int, start_ns: int, done: Done) -> None:
        """Record how a request ended, now unless the benchmark says when."""
        sent_ns = start_ns if done.sent_ns is None else done.sent_ns
        end_ns = time.perf_counter_ns() if done.end_ns is None else done.end_ns
        values = dict(done.values)
        if done.outcome is Outcome.OK:
            values["service_time"] = (end_ns - sent_ns) / NS
            values["response_time"] = (end_ns - intended_ns) / NS
        detail = done.detail[:_DETAIL]
        self._add(
            Sample(
                i, phase, intended_ns, sent_ns, end_ns, done.outcome, values, done.spans, done.side, detail,
                done.fingerprint,
            )
        )  # fmt: skip

    def drop(self, i: int, intended_ns: int) -> None:
        """Record a request that was not sent."""
        self._add(Sample(i, self.phase, intended_ns, intended_ns, intended_ns, Outcome.DROPPED, side=Side.SERVER))

    def _add(self, sample: Sample) -> None:
        (self.samples if sample.phase == "measure" else self.warmups).append(sample)
        if self._keeper is not None:
            self._keeper.add(sample)
        if sample.phase != self.phase:
            return  # a late one of the phase before
        self.outcomes[sample.outcome] += 1
        self._ends.append(sample.end_ns)
        if sample.outcome in _ANSWERED:
            self._heard()
        elif sample.outcome in (Outcome.TRANSPORT, Outcome.TIMEOUT):
            self._unheard(sample)
        if sample.outcome not in (Outcome.OK, Outcome.CANCELLED):
            self._fault(sample)
        if len(self._points) < _POINTS:
            response_s = (sample.end_ns - sample.intended_ns) / NS
            at_s = (sample.end_ns - self.t0_ns) / NS
            self._points.append(Point(at_s, response_s, sample.outcome is Outcome.OK))
        else:
            self._points_left_out += 1

    def _heard(self) -> None:
        """The server answered, whatever it said."""
        self._silent.clear()
        self._rounds, self._round_ends_ns = 0, 0

    def _unheard(self, sample: Sample) -> None:
        self._silent[sample.outcome] += 1
        if sample.start_ns >= self._round_ends_ns:
            self._rounds += 1
            self._round_ends_ns = sample.end_ns

    def _fault(self, sample: Sample) -> None:
        words = f"{sample.outcome.value.replace('_', ' ')}: {sample.detail}" if sample.detail else sample.outcome.value
        if sample.phase == "warmup":
            words += " (in the warm-up)"
        self.last_error = words
        if words in self.errors or len(self.errors) < _ERRORS:
            self.errors[words] += 1

    def error_lines(self) -> tuple[str, ...]:
        """The different failures with their counts, the most frequent first, bounded."""
        return tuple(f"{words} ({count} times)" if count > 1 else words for words, count in self.errors.most_common())

    def take_points(self) -> tuple[tuple[Point, ...], int]:
        """The requests that ended since the last call, and how many more there were."""
        taken, left_out = tuple(self._points), self._points_left_out
        self._points, self._points_left_out = [], 0
        return taken, left_out

    def rate_per_s(self) -> float | None:
        """Completions a second over the last seconds; None before there are two."""
        if len(self._ends) < 2:
            return None
        now_ns = time.perf_counter_ns()
        recent = [end for end in self._ends if now_ns - end <= _RATE_WINDOW_S * NS]
        first_ns = self._ends[0] if len(recent) == len(self._ends) else now_ns - round(_RATE_WINDOW_S * NS)
        passed_s = (now_ns - first_ns) / NS
        return len(recent) / passed_s if passed_s > 0 else None
