"""How far a silent port's packets get: connects whose TTL ends at each router in turn, no privileges needed.

The router where a packet's TTL ends answers with ICMP "time exceeded" (11/0, IPv6 3/0), and the error queue names it.
The last one that answers is the last that is known to have had the packet: whatever drops it is there or behind it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from probes.evidence import Hop
from probes.model import PortState
from probes.reach import icmp
from probes.reach.tcp import sockaddr_of, tcp_connect

if TYPE_CHECKING:
    from probes.reach.tcp import TcpResult

MAX_HOPS: Final = 16
_TIME_EXCEEDED: Final = frozenset({(4, 11, 0), (6, 3, 0)})


class Stepped(NamedTuple):
    """The hops, nearest first, up to the last that answered; ``why`` says what was done, or why there are none.

    ``spoken``: a stepped connect that somebody ended with an ICMP error of another kind. Routers ration those, so it
    may be the only one that was sent for a port that looked silent.
    """

    hops: tuple[Hop, ...]
    why: str
    spoken: TcpResult | None = None


async def step_hops(
    address: str, port: int, limit_s: float, *, max_hops: int = MAX_HOPS, places: asyncio.Semaphore | None = None
) -> Stepped:
    """Connect with every TTL from 1 to ``max_hops`` at once and see who answers; cancelled, it leaves no socket.

    Args:
        address: the literal address of the silent port.
        port: the port: a filter may treat ports differently.
        limit_s: for all of it together.
        max_hops: how far to look, 16 at most.
        places: bounds the sockets that are open at once, shared with others.

    Raises:
        ValueError: no literal address, or no port.
    """
    if not icmp.HAS_ERROR_QUEUE:
        return Stepped((), "not stepped: this system does not show who answers a connect")
    _, sockaddr = sockaddr_of(address, port)
    if sockaddr[0].startswith("127.") or sockaddr[0] == "::1":
        return Stepped((), "not stepped: there is no hop on this machine")
    count = max(1, min(max_hops, MAX_HOPS))
    end_s = asyncio.get_running_loop().time() + limit_s
    places = places or asyncio.Semaphore(count)
    tasks = [asyncio.create_task(_step(address, port, ttl, end_s, places)) for ttl in range(1, count + 1)]
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return _summary([task.result() for task in tasks])


async def _step(
    address: str, port: int, ttl: int, end_s: float, places: asyncio.Semaphore
) -> tuple[Hop, TcpResult | None]:
    """One TTL; a place that did not come free in time leaves the hop unanswered."""
    loop = asyncio.get_running_loop()
    unanswered = Hop(ttl=ttl, address=None)
    try:
        async with asyncio.timeout_at(end_s), places:
            result = await tcp_connect(address, port, max(end_s - loop.time(), 0.0), ttl)
    except TimeoutError:
        return unanswered, None
    if result.sock is not None:
        result.sock.close()
    # the time to an answer is that of one hop only when one packet alone can have asked for it
    rtt_ms = result.elapsed_ms if result.syns_sent in (None, 1) else None
    if result.state is PortState.OPEN or (result.state is PortState.REFUSED and not result.at_once):
        return Hop(ttl=ttl, address=sockaddr_of(address, port)[1][0], rtt_ms=rtt_ms), None
    if result.offender is None or result.offender_is_own:
        return unanswered, None
    if (result.icmp_family, result.icmp_type, result.icmp_code) not in _TIME_EXCEEDED:
        return unanswered, result
    return Hop(ttl=ttl, address=result.offender, rtt_ms=rtt_ms), None


def _summary(steps: list[tuple[Hop, TcpResult | None]]) -> Stepped:
    hops = [hop for hop, _ in steps]
    spoken = next((result for _, result in steps if result is not None), None)
    answered = [hop for hop in hops if hop.address is not None]
    if not answered:
        why = f"none of {len(hops)} hops answered: dropped before the first router, or all are silent"
        return Stepped((), why, spoken)
    # beyond the first answer of whoever answers last, every greater TTL would only name the same one again
    last = next(hop for hop in hops if hop.address == answered[-1].address)
    why = f"stepped {len(hops)} hops; the last that answered is {last.address}"
    return Stepped(tuple(hops[: last.ttl]), why, spoken)
