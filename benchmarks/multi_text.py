"""What several nodes did together, and how well jobs ran in parallel, as a person reads it in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.card import figure
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.multi import CaseSummary, JobsSummary, NodeSummary

_WIDTH = 24


def summary_text(cases: Sequence[CaseSummary], jobs: JobsSummary) -> str:
    """Each case that nodes ran together, then the jobs where there were several; empty: neither."""
    lines = [line for case in cases for line in _case(case)]
    if jobs.jobs > 1 and jobs.at_once > 1:
        lines += _jobs(jobs)
    return "".join(f"{line}\n" for line in lines)


def _case(case: CaseSummary) -> Iterator[str]:
    what = " ".join(part for part in (case.benchmark, case.service, case.case, case.temperature) if part)
    yield f"{clean(what)} on {case.planned} nodes together: {case.finished} of {case.planned} finished"
    yield f"  {'node':<{_WIDTH}} {'rate':>10} {'alone':>10} {'ok':>9}  state"
    for node in case.nodes:
        yield _node(node)
    missing = case.missing
    yield f"  wall clock   {_said(case.wall_s, 's', missing.get('wall_s'))}"
    yield f"  throughput   {_said(case.together_per_s, case.unit, missing.get('together_per_s'))}, by the wall clock"
    efficiency = "unknown" if case.efficiency is None else f"{case.efficiency:.3f}"
    why = missing.get("efficiency")
    alone = "" if case.solo_sum_per_s is None else f" = throughput / {figure(case.solo_sum_per_s, case.unit)} alone"
    yield f"  efficiency   {efficiency}{alone}" + (f" ({why})" if why else "")
    spread = "unknown" if case.spread is None else f"{case.spread:.1%}"
    even = "unknown" if case.consistency is None else f"{case.consistency:.3f}"
    yield f"  spread       {spread} = (max - min) / min of the nodes' rates; consistency {even} = min / max"
    for flag in case.flags:
        yield f"  note         {flag}"


def _node(node: NodeSummary) -> str:
    name = clean(node.host, _WIDTH)
    rate, alone = figure(node.rate, "1/s"), figure(node.solo_rate, "1/s")
    return f"  {name:<{_WIDTH}} {rate:>10} {alone:>10} {f'{node.ok}/{node.intended}':>9}  {clean(node.state)}"


def _jobs(jobs: JobsSummary) -> Iterator[str]:
    states = ", ".join(f"{count} {state}" for state, count in sorted(jobs.by_state.items()))
    yield f"{jobs.jobs} jobs ({states}), at most {jobs.at_once} at a time"
    yield f"  wall clock   {figure(jobs.wall_s, 's')}; one after the other {figure(jobs.sum_s, 's')}"
    if jobs.speedup is None or jobs.efficiency is None:
        yield f"  speedup      unknown ({jobs.missing.get('speedup', 'not measured')})"
        return
    yield f"  speedup      {jobs.speedup:.2f} = sum of the jobs' times / wall clock; efficiency {jobs.efficiency:.3f}"


def _said(value: float | None, unit: str, why: str | None) -> str:
    return figure(value, unit) + (f" ({why})" if value is None and why else "")
