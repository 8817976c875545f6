"""The control probe: something else that should answer. If that is silent too, the fault is on our own side.

An open port and a refused one both prove that our packets get out and answers come back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from probes.errors import ResolveError
from probes.evidence import ControlProbe
from probes.model import PortState, ServiceKind
from probes.reach.anchor import Candidate
from probes.reach.dial import dial
from probes.reach.resolve import literal_address

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from probes.model import Host
    from probes.reach.resolve import Resolver

MAX_CONTROLS: Final = 4
_SSH_PORT: Final = 22


def choose(
    target: Host, fleet: Iterable[Host], anchors: Iterable[Candidate] = (), live: Container[str] = ()
) -> tuple[Candidate, ...]:
    """Up to ``MAX_CONTROLS`` candidates: anchors first, then hosts with a live session, then others of the fleet.

    Left out: the host itself and whoever shares its address, hosts behind a jump host, this machine. An address of this
    machine's loopback is a control only for another one: it proves nothing about the way out.
    """
    local = is_loopback(target.address)
    hosts = [
        host
        for host in fleet
        if host.id != target.id
        and host.address != target.address
        and not host.local
        and (host.proxy_jump or "none") == "none"
        and is_loopback(host.address) == local
    ]
    hosts.sort(key=lambda host: host.id not in live)
    wanted = [*anchors, *(Candidate(host.id, host.address, _port(host)) for host in hosts)]
    return tuple({(one.address, one.port): one for one in reversed(wanted)}.values())[::-1][:MAX_CONTROLS]


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's loopback by its looks; names other than localhost are not looked up."""
    bare = literal_address(address) or address
    return bare.lower().rstrip(".") == "localhost" or bare == "::1" or bare.startswith("127.")


async def control(
    candidates: Iterable[Candidate],
    resolver: Resolver,
    limit_s: float,
    on_part: Callable[[ControlProbe], None] = lambda _: None,
    places: asyncio.Semaphore | None = None,
) -> tuple[ControlProbe, ...]:
    """Connect to all of them at once; a result each, in their order. Cancelled, it leaves no socket."""
    places = places or asyncio.Semaphore(MAX_CONTROLS)

    async def one(candidate: Candidate) -> ControlProbe:
        found = await _probe(candidate, resolver, limit_s, places)
        on_part(found)
        return found

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(candidate)) for candidate in candidates]
    return tuple(task.result() for task in tasks)


async def _probe(candidate: Candidate, resolver: Resolver, limit_s: float, places: asyncio.Semaphore) -> ControlProbe:
    try:
        addresses = await resolver.resolve(candidate.address, limit_s)
    except ResolveError as error:
        return ControlProbe(
            target=candidate.target,
            address=candidate.address,
            port=candidate.port,
            state=PortState.UNRESOLVED,
            detail=error.cause,
        )
    async with places:
        dialled = await dial(addresses, candidate.port, limit_s)
    best = dialled.best
    if best.sock is not None:
        best.sock.close()
    return ControlProbe(
        target=candidate.target,
        address=best.address,
        port=candidate.port,
        state=best.state,
        detail=dialled.detail,
        connect_ms=best.connect_ms,
        offender_is_own=best.offender_is_own,
        at_once=best.at_once,
    )


def _port(host: Host) -> int:
    """A port that the host should answer on: that of its SSH."""
    own = next((service.port for service in host.services if service.kind is ServiceKind.SSH), None)
    return host.port or own or _SSH_PORT
