"""Whether the figures of a run may be trusted (rule 8), with every reason against it as a sentence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from benchmarks.model import Mode  # noqa: TC001 - msgspec resolves field types when it decodes
from benchmarks.result import Validity
from benchmarks.trend import Drift  # noqa: TC001 - the same

if TYPE_CHECKING:
    from collections.abc import Iterator

#: rule 8
MIN_N: Final = 30
MIN_MEASURE_S: Final = 5.0
MAX_LAG_S: Final = 0.010
MAX_LAG_SHARE: Final = 0.05
MAX_CPU_PCT: Final = 80.0
MIN_ACHIEVED: Final = 0.95
LITTLE_WITHIN: Final = 0.10


class RunFacts(Struct, frozen=True, kw_only=True):
    """What validity is judged by. None: it was not measured, or does not apply.

    ``intended``, ``ok``: requests of the measure phase. ``client_failures``: those that failed through our own fault.
    ``loop_lag_p99_s``, ``client_cpu_pct``: of the engine's process during the measure phase. ``target_per_s`` and
    ``achieved_per_s``: open loop. ``concurrency`` is C of the closed loop and ``little_concurrency`` mean latency x
    throughput over the window in which all C slots are occupied. ``died``: the server went away and the run ended
    with what it had.
    """

    mode: Mode
    intended: int
    ok: int
    measured_s: float
    warmup_done: int
    warmup_wanted: int
    cancelled: bool = False
    died: bool = False
    client_failures: int = 0
    contended: bool = False
    p50_s: float | None = None
    loop_lag_p99_s: float | None = None
    client_cpu_pct: float | None = None
    target_per_s: float | None = None
    achieved_per_s: float | None = None
    concurrency: int | None = None
    little_concurrency: float | None = None
    drift: Drift | None = None
    min_n: int = MIN_N
    min_measure_s: float = MIN_MEASURE_S


def judge(facts: RunFacts) -> Validity:
    """VALID, or INVALID with every reason.

    A server that died, or that answered no request at all, leaves no figure whose quality could be doubted: then only
    what was our own doing (cancelled, client's fault) counts, so that such a server is graded and not excused.
    """
    reasons = list(_own_doing(facts))
    if not facts.died and (facts.ok or not facts.intended):
        reasons += _too_little(facts)
        reasons += _bottleneck(facts)
        reasons += _load(facts)
        reasons += _drifted(facts)
    return Validity("invalid" if reasons else "valid", tuple(reasons), tuple(_marks(facts)))


def _own_doing(facts: RunFacts) -> Iterator[str]:
    if facts.cancelled:
        yield f"cancelled after {facts.intended} requests"
    if facts.client_failures:
        yield f"{facts.client_failures} of {facts.intended} requests failed through the client's own fault"


def _too_little(facts: RunFacts) -> Iterator[str]:
    if not facts.intended:
        yield "no request was made"
    if facts.warmup_done < facts.warmup_wanted:
        yield f"the warm-up made {facts.warmup_done} of {facts.warmup_wanted} requests"
    if facts.mode != "full":
        return
    if facts.intended < facts.min_n:
        yield f"{facts.intended} requests, fewer than the {facts.min_n} that a full run needs"
    if facts.measured_s < facts.min_measure_s:
        yield f"measured for {facts.measured_s:.2f} s, less than {facts.min_measure_s:g} s"


def lag_limit_s(p50_s: float | None) -> float:
    """The event-loop lag (p99) up to which the client is not the bottleneck: 10 ms or 5 % of p50."""
    return max(MAX_LAG_S, MAX_LAG_SHARE * (p50_s or 0.0))


def _bottleneck(facts: RunFacts) -> Iterator[str]:
    limit = lag_limit_s(facts.p50_s)
    if facts.loop_lag_p99_s is not None and facts.loop_lag_p99_s > limit:
        yield (
            f"the client was late: event-loop lag p99 {facts.loop_lag_p99_s * 1000:.1f} ms, "
            f"more than {limit * 1000:.1f} ms"
        )
    if facts.client_cpu_pct is not None and facts.client_cpu_pct >= MAX_CPU_PCT:
        yield f"the client was busy: {facts.client_cpu_pct:.0f} % of a core, not under {MAX_CPU_PCT:.0f} %"
    if facts.mode != "full":
        return
    if facts.loop_lag_p99_s is None:
        yield "the client's event-loop lag was not measured"
    if facts.client_cpu_pct is None:
        yield "the client's CPU use was not measured"


def _load(facts: RunFacts) -> Iterator[str]:
    target, achieved = facts.target_per_s, facts.achieved_per_s
    if target and achieved is None:
        yield f"the rate achieved was not measured (target {target:g}/s)"
    elif target and achieved is not None and achieved / target < MIN_ACHIEVED:
        yield f"{achieved:.2f} of {target:g} requests/s were sent ({achieved / target:.0%}, not at least 95 %)"
    slots, found = facts.concurrency, facts.little_concurrency
    # so that exactly 10 % is within it whatever the rounding
    if slots and found is not None and abs(found - slots) > LITTLE_WITHIN * slots + 1e-9:
        yield f"Little's law: mean latency x throughput is {found:.2f}, not within 10 % of the {slots} slots"


def _drifted(facts: RunFacts) -> Iterator[str]:
    drift = facts.drift
    if drift is None or not drift.drifted:
        return
    by = f"{drift.change:+.3g}" if drift.share is None else f"{drift.share:+.0%} of the median"
    yield f"drift: {by} from the first to the last request (Mann-Kendall p {drift.p:.2g}, n {drift.n})"


def _marks(facts: RunFacts) -> Iterator[str]:
    if facts.contended:
        yield "contended"
    if facts.mode == "full":
        if facts.concurrency and facts.little_concurrency is None and facts.ok and not facts.died:
            yield "Little's law not checked: the slots were never all occupied"
    elif facts.ok and (facts.loop_lag_p99_s is None or facts.client_cpu_pct is None):
        yield "client's load not measured"
