"""Several nodes at once, summed up: per node, spread, consistency, wall clock, measured scaling efficiency. Pure.

Throughput of all nodes together is what was completed divided by the wall clock from the first start to the last end,
never a sum of the nodes' own rates: a node that begins late or ends late costs everybody. All engines run on one
machine, so their moments are on one axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from benchmarks.schedule import NS
from benchmarks.stats import consistency, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.result import Phase, Result
    from benchmarks.suite import JobState, Suite

#: an efficiency above this is flagged: the solo runs were disturbed, or are not of the same work
SUPERLINEAR: Final = 1.05
_RATE: Final = "throughput"
#: case, temperature, service
Key: TypeAlias = "tuple[str, str | None, str | None]"


class NodeSummary(Struct, frozen=True):
    """One node. ``rate`` is its own, ``solo_rate`` the one it had alone in the same session; ``state`` in words."""

    host: str
    state: str
    ok: int
    intended: int
    rate: float | None
    solo_rate: float | None
    run_id: str | None
    missing: dict[str, str] = {}


class CaseSummary(Struct, frozen=True):
    """One case on all nodes that ran it together.

    ``wall_s``: from the first node's start to the last one's end. ``together_per_s``: what all completed divided by it.
    ``efficiency``: together_per_s / sum of the solo rates of the same nodes. ``spread`` (max - min) / min and
    ``consistency`` min / max of the nodes' own rates.
    """

    benchmark: str
    case: str
    temperature: str | None
    service: str | None
    unit: str
    nodes: tuple[NodeSummary, ...]
    finished: int
    planned: int
    wall_s: float | None
    together_per_s: float | None
    solo_sum_per_s: float | None
    efficiency: float | None
    spread: float | None
    consistency: float | None
    flags: tuple[str, ...] = ()
    missing: dict[str, str] = {}


class JobsSummary(Struct, frozen=True):
    """How well jobs ran in parallel: ``speedup`` is their times' sum / wall clock, ``efficiency`` speedup / limit."""

    jobs: int
    by_state: dict[str, int]
    at_once: int
    wall_s: float
    sum_s: float
    speedup: float | None
    efficiency: float | None
    missing: dict[str, str] = {}


def jobs_summary(suite: Suite) -> JobsSummary:
    """The jobs of a suite, whatever they measured."""
    began = [job for job in suite.jobs if job.started_ns and job.ended_ns]
    by_state: dict[str, int] = {}
    for job in suite.jobs:
        by_state[job.state] = by_state.get(job.state, 0) + 1
    return _parallel([(job.started_ns, job.ended_ns) for job in began], len(suite.jobs), by_state, suite.plan.limit)


def jobs_of(results: Sequence[Result]) -> JobsSummary:
    """The same from stored results alone, each by its phases; jobs that left none are not known then."""
    spans = [(one.phases[0].t0_ns, one.phases[-1].t1_ns) for one in results if one.phases]
    return _parallel(spans, len(results), {"done": len(results)}, max((one.at_once for one in results), default=1))


def _parallel(spans: Sequence[tuple[int, int]], jobs: int, by_state: dict[str, int], limit: int) -> JobsSummary:
    if not spans:
        why = {"speedup": "no job ran", "efficiency": "no job ran"}
        return JobsSummary(jobs, by_state, limit, 0.0, 0.0, None, None, why)
    wall_s = (max(end for _, end in spans) - min(begin for begin, _ in spans)) / NS
    sum_s = sum(end - begin for begin, end in spans) / NS
    speedup = sum_s / wall_s if wall_s > 0 else None
    return JobsSummary(
        jobs=jobs,
        by_state=by_state,
        at_once=limit,
        wall_s=wall_s,
        sum_s=sum_s,
        speedup=speedup,
        efficiency=None if speedup is None else speedup / min(limit, len(spans)),
        missing={} if speedup is not None else {"speedup": "it took no time", "efficiency": "it took no time"},
    )


def nodes_summary(suite: Suite) -> tuple[CaseSummary, ...]:
    """A summary for each case that nodes ran together; empty when none did. Nodes that failed are in it."""
    together = [job for job in suite.jobs if job.plan.nodes > 1]
    failed = {job.plan.host.id: _why(job) for job in together if job.state in {"failed", "cancelled"}}
    solo = [result for job in suite.jobs if job.plan.nodes == 1 for result in job.results]
    cases = {(spec.case.id, spec.temperature, spec.service): None for job in together for spec in job.plan.runs}
    hosts = list(dict.fromkeys(job.plan.host.id for job in together))
    found = [result for job in together for result in job.results]
    return tuple(_case(key, found, solo, hosts, failed) for key in cases)


def summary_of(results: Sequence[Result]) -> tuple[CaseSummary, ...]:
    """The same from stored results alone; nodes that left none are not known then."""
    together = [result for result in results if result.nodes > 1]
    solo = [result for result in results if result.nodes == 1]
    cases = {_key(result): None for result in together}
    hosts = list(dict.fromkeys(result.target.host for result in together))
    return tuple(_case(key, together, solo, hosts, {}) for key in cases)


def _why(job: JobState) -> str:
    words = [*job.problems, *(failure.cause for failure in job.failures)]
    return f"{job.state}: {words[0]}" if words else job.state


def _key(result: Result) -> Key:
    """What makes results those of one case: services are never pooled."""
    return result.case, result.temperature, result.target.service


def _case(
    key: Key,
    together: Sequence[Result],
    solo: Sequence[Result],
    hosts: Sequence[str],
    failed: dict[str, str],
) -> CaseSummary:
    of_case = {result.target.host: result for result in together if _key(result) == key}
    alone = {result.target.host: _rate(result) for result in solo if _key(result) == key}
    nodes = tuple(_node(host, of_case.get(host), alone.get(host), failed.get(host)) for host in hosts)
    went = [result for result in of_case.values() if result.counts.ok]
    windows = [phase for result in went if (phase := _measured(result)) is not None]
    wall_s = (max(p.t1_ns for p in windows) - min(p.t0_ns for p in windows)) / NS if windows else None
    total = sum(result.counts.ok for result in went) / wall_s if wall_s else None
    solos = [alone.get(result.target.host) for result in went]
    known = [rate for rate in solos if rate is not None]
    solo_sum = sum(known) if known and len(known) == len(solos) else None
    efficiency = total / solo_sum if total is not None and solo_sum else None
    rates = [rate for node in nodes if (rate := node.rate) is not None]
    finished = sum(node.state == "finished" for node in nodes)
    planned = max([len(hosts), *(result.nodes for result in of_case.values())])
    missing = {
        name: why
        for name, value, why in (
            ("wall_s", wall_s, "no node completed a request"),
            ("together_per_s", total, "no node completed a request"),
            ("solo_sum_per_s", solo_sum, "not every node ran alone in the same session"),
            ("efficiency", efficiency, "not every node ran alone in the same session"),
            ("spread", spread(rates), "no rates"),
            ("consistency", consistency(rates), "no rates"),
        )
        if value is None
    }
    return CaseSummary(
        benchmark=next((result.benchmark.id for result in of_case.values()), ""),
        case=key[0],
        temperature=key[1],
        service=key[2],
        unit="1/s",
        nodes=nodes,
        finished=finished,
        planned=planned,
        wall_s=wall_s,
        together_per_s=total,
        solo_sum_per_s=solo_sum,
        efficiency=efficiency,
        spread=spread(rates),
        consistency=consistency(rates),
        flags=_flags(finished, planned, efficiency),
        missing=missing,
    )


def _flags(finished: int, planned: int, efficiency: float | None) -> tuple[str, ...]:
    flags: list[str] = []
    if finished < planned:
        flags.append(f"partial: {finished} of {planned} nodes finished; the figures are of those")
    if efficiency is not None and efficiency > SUPERLINEAR:
        flags.append(f"efficiency {efficiency:.2f} is above {SUPERLINEAR:g}: were the solo runs disturbed?")
    return tuple(flags)


def _node(host: str, result: Result | None, solo_rate: float | None, failure: str | None) -> NodeSummary:
    if result is None:
        why = {"rate": failure or "it left no result", "run_id": "it left no result"}
        return NodeSummary(host, failure or "no result", 0, 0, None, solo_rate, None, why)
    rate = _rate(result)
    ended = "finished" if result.counts.ok and failure is None else failure or "no request succeeded"
    missing = {} if rate is not None else {"rate": "no request succeeded"}
    if solo_rate is None:
        missing["solo_rate"] = "it did not run alone in this session"
    return NodeSummary(host, ended, result.counts.ok, result.counts.intended, rate, solo_rate, result.run_id, missing)


def _rate(result: Result) -> float | None:
    metric = result.metrics.get(_RATE)
    return None if metric is None else metric.value


def _measured(result: Result) -> Phase | None:
    return next((phase for phase in result.phases if phase.name == "measure"), None)
