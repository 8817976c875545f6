"""One port of one host from this machine or through its jump host: connect, ask what is open, step hops if silent."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from probes.evidence import Opening, PortProbe
from probes.model import PortState
from probes.reach.ask import Target
from probes.reach.dial import dial
from probes.reach.hops import Stepped, step_hops
from probes.reach.stream import SocketStream, Stream, TunnelStream
from probes.reach.tcp import tcp_connect
from probes.reach.verdict import Verdict
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from probes.model import Host, Service
    from probes.reach.ask import Asker
    from probes.reach.budget import Budget
    from probes.reach.dial import DialResult
    from probes.reach.openings import Openings
    from probes.reach.route import Route
    from probes.reach.tcp import TcpResult

#: what a tunnel may take longer than a connect: the way to the jump host and back
_TUNNEL_EXTRA_S: Final = 1.0


class Steps:
    """A host's share of hop stepping: sixteen connects a port are many when a whole fleet is silent."""

    def __init__(self, ports: int) -> None:
        self.ports = ports
        self._left = ports

    def take(self) -> bool:
        """Whether one more port may be stepped."""
        self._left -= 1
        return self._left >= 0


class Wanted(Struct, frozen=True):
    """One port to probe. ``steps``: how many more of its host's silent ports may have their hops stepped."""

    host: Host
    route: Route
    service: Service
    addresses: tuple[str, ...]
    auth_methods: bool
    steps: Steps


class PortProber:
    """Probes ports; ``places`` bounds the sockets that are open at once."""

    def __init__(self, budget: Budget, asker: Asker, openings: Openings, places: asyncio.Semaphore) -> None:
        self._budget = budget
        self._asker = asker
        self._openings = openings
        self._places = places

    async def probe(self, wanted: Wanted, on_part: Callable[[PortProbe], None]) -> PortProbe:
        """All that can be learnt of one port; ``on_part`` hears of an open port before it is asked anything."""
        if wanted.route.via is not None:
            return await self._through(wanted, wanted.route.via, on_part)
        async with self._places:
            dialled, stepped = await self._dial(wanted)
            probe = _of(wanted.service, dialled.best, dialled.detail)
            if dialled.best.sock is None:
                if dialled.best.state is PortState.OPEN:
                    # the connection was reset before anything could be read
                    return structs.replace(probe, opening=Opening.CLOSED)
                if stepped.spoken is not None:
                    spoken = stepped.spoken
                    said = f"{spoken.detail} (to one of several connects; the others got no answer)"
                    probe = _of(wanted.service, spoken, said)
                return structs.replace(probe, hops=stepped.hops, hops_why=stepped.why)
            stream = SocketStream(dialled.best.sock)
            try:
                on_part(probe)
            except BaseException:
                stream.close()
                raise
            target = Target(wanted.host, wanted.route.address, self._again(dialled, wanted), wanted.auth_methods)
            return await self._asker.ask(probe, stream, target)

    # --- from here ---

    async def _dial(self, wanted: Wanted) -> tuple[DialResult, Stepped]:
        """Connect; if nothing is heard for a while, step the hops in the time that is left."""
        loop, port = asyncio.get_running_loop(), wanted.service.port
        connecting = loop.create_task(dial(wanted.addresses, port, self._budget.connect_s), name=f"dial {port}")
        stepping = loop.create_task(self._step_if_silent(connecting, wanted), name=f"hops {port}")
        try:
            try:
                dialled = await connecting
                silent = dialled.best.state is PortState.FILTERED
                stepped = await stepping if silent else Stepped((), "not stepped: the port is not silent")
            finally:
                stepping.cancel()
                await asyncio.gather(stepping, return_exceptions=True)
        except BaseException:
            # also when the cancellation comes while the hops are being ended: an open socket is nobody's yet
            await _abandon(connecting)
            raise
        return dialled, stepped

    async def _step_if_silent(self, connecting: asyncio.Task[DialResult], wanted: Wanted) -> Stepped:
        """Wait a while for an answer; without one, step towards the first of the addresses."""
        budget, address = self._budget, wanted.addresses[0]
        await asyncio.wait({connecting}, timeout=budget.hops_after_s)
        if connecting.done():
            return Stepped((), "not stepped: the port is not silent")
        if not wanted.steps.take():
            return Stepped((), f"not stepped: hops are stepped for {wanted.steps.ports} of a host's ports here")
        return await step_hops(
            address, wanted.service.port, budget.hop_s, max_hops=budget.max_hops, places=self._places
        )

    def _again(self, dialled: DialResult, wanted: Wanted) -> Callable[[], Awaitable[Stream]]:
        async def connect() -> Stream:
            found = await tcp_connect(dialled.best.address, wanted.service.port, self._budget.tls_s)
            if found.sock is None:
                raise ConnectionError(f"a second connection was {found.state.value.replace('_', ' ')} ({found.detail})")
            return SocketStream(found.sock)

        return connect

    # --- from the jump host ---

    async def _through(self, wanted: Wanted, via: str, on_part: Callable[[PortProbe], None]) -> PortProbe:
        """Connect from the jump host. What it cannot tell is *not probed*, never *filtered*."""
        service = wanted.service
        probe = PortProbe(
            service=service,
            address=wanted.route.address,
            state=PortState.OPEN,
            via=via,
            hops_why="not stepped: probed from the jump host",
        )
        began_ns = time.perf_counter_ns()
        found = await self._tunnel(wanted)
        probe = structs.replace(probe, elapsed_ms=(time.perf_counter_ns() - began_ns) / 1e6)
        if isinstance(found, Verdict):
            return structs.replace(probe, state=found.state, detail=found.detail)
        try:
            on_part(probe)
        except BaseException:
            found.close()
            raise
        target = Target(wanted.host, wanted.route.address, lambda: self._tunnel_again(wanted), wanted.auth_methods)
        return await self._asker.ask(probe, found, target)

    async def _tunnel(self, wanted: Wanted) -> Stream | Verdict:
        service, limit_s = wanted.service, self._budget.connect_s + _TUNNEL_EXTRA_S
        found = await self._openings.attempt(wanted.host.id, service.name, service.port, limit_s)
        return found if isinstance(found, Verdict) else TunnelStream(*found)

    async def _tunnel_again(self, wanted: Wanted) -> Stream:
        found = await self._tunnel(wanted)
        if isinstance(found, Verdict):
            raise ConnectionError(f"a second tunnel was not opened ({found.detail})")
        return found


async def _abandon(connecting: asyncio.Task[DialResult]) -> None:
    """Leave no socket behind, not even that of a connect which succeeded in the moment it was given up."""
    connecting.cancel()
    await asyncio.wait({connecting})
    if not connecting.cancelled() and connecting.exception() is None:
        sock = connecting.result().best.sock
        if sock is not None:
            sock.close()


def _of(service: Service, best: TcpResult, detail: str) -> PortProbe:
    return PortProbe(
        service=service,
        address=best.address,
        state=best.state,
        detail=clean(detail),
        connect_ms=best.connect_ms,
        elapsed_ms=best.elapsed_ms,
        errno_name=best.errno_name,
        icmp_family=best.icmp_family,
        icmp_type=best.icmp_type,
        icmp_code=best.icmp_code,
        offender=best.offender,
        offender_is_own=best.offender_is_own,
        syns_sent=best.syns_sent,
        at_once=best.at_once,
        local_address=best.local_address,
    )
