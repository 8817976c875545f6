"""From what a person asked for to what is run where: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from benchmarks import registry
from benchmarks.errors import BenchError
from benchmarks.model import Side
from benchmarks.runids import new_run_id
from benchmarks.suite import HostPlan, SuitePlan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.benchmark import Request
    from probes.model import Host

#: sends a second up to which the engine keeps its schedule on one core (docs/performance.md); beyond it is refused
TRUSTED_RATE_PER_S: Final = 1000.0
MAX_CONCURRENCY: Final = 512
MAX_N: Final = 200_000
_MAX_REPEAT: Final = 100


def plan_suite(
    request: Request,
    hosts: Sequence[Host],
    options: Mapping[str, Any],
    *,
    repeat: int = 1,
    label: str | None = None,
    against: Host | None = None,
    at_once: int = 4,
    together: bool = False,
    solo: bool = True,
) -> SuitePlan:
    """Plan a suite.

    Args:
        request: the benchmark and its parameters.
        hosts: whom, in their order.
        options: the benchmark's table ``[bench.<id>]``, checked.
        repeat: runs of each case on each host; the unit of a comparison is the run.
        label: stands in the results of ``hosts``; with ``against`` its own results get ``<label>-against``.
        against: a host whose runs alternate with those of ``hosts`` (ABAB), so that both see the same times of day.
        at_once: how many hosts are loaded at a time.
        together: all begin their measure phases together, behind a start barrier.
        solo: with ``together``: each host first runs alone, so that the scaling efficiency can be measured.

    Raises:
        BenchError: layer ``plan``: what was asked for makes no sense, or this host has nothing to measure.
    """
    definition = registry.definition(request.benchmark)
    _check(request, repeat, at_once)
    if not hosts:
        raise _mistake("no host is named", "name at least one host")
    named = [(host, label) for host in hosts]
    if against is not None:
        if any(host.id == against.id for host in hosts):
            raise _mistake(f"{against.id} is compared with itself", "name another host after --against")
        named.append((against, f"{label}-against" if label else None))
    jobs = [HostPlan(host, definition.plan(request, host, options), its_label) for host, its_label in named]
    if together:
        if len(jobs) < 2:
            raise _mistake("one host alone cannot run together", "name at least two hosts")
        jobs = _stages(jobs, repeat, solo=solo)
    else:
        jobs *= repeat
    return SuitePlan(
        suite_id=new_run_id(),
        benchmark=request.benchmark,
        jobs=tuple(jobs),
        at_once=at_once,
        in_turn=not together and (repeat > 1 or against is not None),
    )


def _stages(jobs: list[HostPlan], repeat: int, *, solo: bool) -> list[HostPlan]:
    """Each host alone, a stage each, then all together; again for each repetition."""
    found: list[HostPlan] = []
    stage = 0
    for _ in range(repeat):
        for job in jobs if solo else ():
            found.append(msgspec.structs.replace(job, stage=stage))
            stage += 1
        found += [msgspec.structs.replace(job, stage=stage, nodes=len(jobs)) for job in jobs]
        stage += 1
    return found


def _check(request: Request, repeat: int, at_once: int) -> None:
    rate = request.rate_per_s
    if rate is not None and rate <= 0:
        raise _mistake(f"a rate of {rate:g} a second", "expected a number above 0")
    if rate is not None and rate > TRUSTED_RATE_PER_S:
        raise _mistake(
            f"{rate:g} requests a second are more than the engine can send on time",
            f"at most {TRUSTED_RATE_PER_S:g}; use a load generator in C, such as wrk, beyond that",
        )
    if rate is not None and request.concurrency is not None:
        raise _mistake("a rate and a concurrency at once", "a rate is an open loop, a concurrency a closed one: choose")
    bounds = (
        ("concurrency", request.concurrency, 1, MAX_CONCURRENCY),
        ("n", request.n, 1, MAX_N),
        ("warmup", request.warmup_n, 0, 10_000),
        ("timeout", request.timeout_s, 0.001, 3600.0),
        ("repeat", repeat, 1, _MAX_REPEAT),
        ("at-once", at_once, 1, 64),
    )
    for name, value, low, high in bounds:
        if value is not None and not low <= value <= high:
            raise _mistake(f"{name} {value:g}", f"expected {low:g} to {high:g}")


def _mistake(cause: str, expected: str) -> BenchError:
    return BenchError(cause, layer="plan", next_step=expected, side=Side.CLIENT)
