"""Can these nodes meet on that port, before a job is started on them: B listens, A connects, for a set of pairs.

A free port proves nothing by being refused, so the target listens on it for as long as the test takes. What is open to
the source counts only when the target's own listener saw that very connection: another machine may have the address.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from probes.evidence import HoldState, PairOutcome, PairReach, ReachState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from probes.evidence import NodeReach, PortHold

_TARGETS_AT_ONCE: Final = 16
_FROM_ONE_HOST: Final = 8
_MAX_HOLD_S: Final = 60.0
_SPARE_S: Final = 5.0


class Held(Protocol):
    """A port that a host was asked to listen on."""

    port: PortHold

    async def end(self) -> PortHold:
        """End it; says who came."""
        ...


class Nodes(Protocol):
    """What can be asked of watched hosts; the supervisor is it."""

    async def connect_from(self, host_id: str, address: str, port: int, timeout_s: float) -> NodeReach:
        """One TCP connect from a host."""
        ...

    def holding(self, host_id: str, port: int, seconds: float) -> AbstractAsyncContextManager[Held]:
        """A host that listens on a port for the length of a block."""
        ...


class Pair(Struct, frozen=True):
    """``source`` is to reach ``target`` (both host ids) under ``address``, a name or address as the source sees it."""

    source: str
    target: str
    address: str


async def preflight(nodes: Nodes, pairs: Iterable[Pair], port: int, timeout_s: float = 3.0) -> tuple[PairReach, ...]:
    """Try all pairs on a port, in bounded numbers at once; the results in the order of the pairs.

    Args:
        nodes: who asks the hosts.
        pairs: who is to reach whom. Each target listens once, for all its sources.
        port: the rendezvous port; it must be free on the targets.
        timeout_s: of each connect, at most 30.
    """
    wanted = tuple(pairs)
    by_target: dict[str, list[Pair]] = {}
    for pair in dict.fromkeys(wanted):
        by_target.setdefault(pair.target, []).append(pair)
    run = _Run(nodes, port, timeout_s, {pair.source for pair in wanted})
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run.target(target, its)) for target, its in by_target.items()]
    found = {pair: result for task in tasks for pair, result in task.result()}
    return tuple(found[pair] for pair in wanted)


class _Run:
    """One preflight: its bounds, and what it does at one target."""

    def __init__(self, nodes: Nodes, port: int, timeout_s: float, sources: Iterable[str]) -> None:
        self._nodes, self._port, self._timeout_s = nodes, port, timeout_s
        self._targets = asyncio.Semaphore(_TARGETS_AT_ONCE)
        self._sources = {source: asyncio.Semaphore(_FROM_ONE_HOST) for source in sources}

    async def target(self, target: str, pairs: Sequence[Pair]) -> list[tuple[Pair, PairReach]]:
        """All pairs of one target, as many at a time as the longest listening allows."""
        results: list[tuple[Pair, PairReach]] = []
        each_s = min(self._timeout_s, 30.0) + _SPARE_S
        size = max(int((_MAX_HOLD_S - _SPARE_S) / each_s), 1) * _FROM_ONE_HOST
        async with self._targets:
            for at in range(0, len(pairs), size):
                results += await self._batch(target, pairs[at : at + size], each_s)
        return results

    async def _batch(self, target: str, pairs: Sequence[Pair], each_s: float) -> list[tuple[Pair, PairReach]]:
        async with self._nodes.holding(target, self._port, _MAX_HOLD_S) as held:
            if held.port.state is not HoldState.LISTENING:
                return [(pair, judge(pair, self._port, None, held.port)) for pair in pairs]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._connect(pair, each_s)) for pair in pairs]
            ended = await held.end()
        return [(pair, judge(pair, self._port, task.result(), ended)) for pair, task in zip(pairs, tasks, strict=True)]

    async def _connect(self, pair: Pair, each_s: float) -> NodeReach | None:
        """The connect, or None when its source had so much to do that the target no longer listens."""
        try:
            async with asyncio.timeout(_MAX_HOLD_S - each_s):
                await self._sources[pair.source].acquire()
        except TimeoutError:
            return None
        try:
            return await self._nodes.connect_from(pair.source, pair.address, self._port, self._timeout_s)
        finally:
            self._sources[pair.source].release()


def judge(pair: Pair, port: int, reach: NodeReach | None, hold: PortHold) -> PairReach:
    """What follows from one connect and what the target said of its listener."""
    outcome, detail = _judged(reach, hold)
    return PairReach(
        source=pair.source,
        target=pair.target,
        address=pair.address,
        port=port,
        outcome=outcome,
        detail=detail,
        reach=reach,
        hold=hold,
    )


def _judged(reach: NodeReach | None, hold: PortHold) -> tuple[PairOutcome, str]:
    if hold.state is HoldState.IN_USE:
        return PairOutcome.PORT_TAKEN, f"in use on the target {_by_whom(hold)}"
    if hold.state is not HoldState.LISTENING:
        words = "the target may not listen on it" if hold.state is HoldState.DENIED else "the target could not listen"
        return PairOutcome.UNKNOWN, f"{words}: {hold.detail or 'no reason told'}"
    if reach is None:
        return PairOutcome.UNKNOWN, "not tried: the source had too many connects to do"
    if reach.state in (ReachState.UNKNOWN, ReachState.UNRESOLVED):
        why = reach.detail or reach.errno_name or "no reason told"
        words = "the name is not known to the source" if reach.state is ReachState.UNRESOLVED else "not known"
        return PairOutcome.UNKNOWN, f"{words}: {why}"
    if reach.state is not ReachState.OPEN:
        errno_name = f" ({reach.errno_name})" if reach.errno_name else ""
        return PairOutcome.BLOCKED, f"the target listened, the connect was {reach.state.value}{errno_name}"
    return _confirmed(reach, hold)


def _by_whom(hold: PortHold) -> str:
    holder = hold.holder
    if holder is None:
        return hold.detail or "by whom is not known"
    who = f"by {holder.process} (pid {holder.pid})" if holder.process else "by a process that is not shown to us"
    return f"{who} on {holder.address}" + (f", user {holder.user}" if holder.user else "")


def _confirmed(reach: NodeReach, hold: PortHold) -> tuple[PairOutcome, str]:
    if hold.accepted is None:
        return PairOutcome.OPEN_UNCONFIRMED, f"open, but the target did not tell who came: {hold.detail}"
    if reach.own_end is not None and reach.own_end in hold.peers:
        return PairOutcome.REACHABLE, "the target's listener saw this connection"
    if hold.accepted == 0:
        return PairOutcome.OPEN_UNCONFIRMED, "open, but nobody came to the target: another machine has that address"
    seen = f"open, but of the {hold.accepted} connections the target saw none comes from {reach.own_end}"
    return PairOutcome.OPEN_UNCONFIRMED, f"{seen}: address translation on the way, or another machine"
