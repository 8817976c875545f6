"""One check of one service: connect (or open a tunnel), then ask what its kind is asked. Returns a state, always."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from probes.model import Health, PortState, ServiceKind, ServiceState
from probes.reach.dial import dial
from probes.reach.http import Ask, HttpResult, Limits, http_check
from probes.reach.kinds import expectation
from probes.reach.openings import Openings
from probes.reach.resolve import literal_address
from probes.reach.stream import SocketStream, Stream, TunnelStream
from probes.reach.tls import TlsContexts
from probes.reach.verdict import Verdict
from probes.text import clean

if TYPE_CHECKING:
    from probes.config import Intervals
    from probes.model import Host, Service
    from probes.reach.kinds import Expectation
    from probes.reach.resolve import Resolver
    from probes.reach.route import Route
    from probes.reach.tunnel import Tunnels

#: what a tunnel may take longer than a connect: the way to the jump host and back
_TUNNEL_EXTRA_S: Final = 2.0
_LOOPBACK: Final = ("127.0.0.1", "::1")


class Checker:
    """Makes checks; holds what they share."""

    def __init__(self, resolver: Resolver, tunnels: Tunnels, intervals: Intervals) -> None:
        self._resolver = resolver
        self._openings = Openings(tunnels)
        self._contexts = TlsContexts()
        self._limits = Limits()
        self.intervals = intervals

    async def close(self) -> None:
        """Let go of the threads, and of tunnels that are still being opened."""
        self._contexts.close()
        await self._openings.close()

    def forget(self, host: Host) -> None:
        """Have the host's name resolved anew next time."""
        self._resolver.forget(host.address)

    async def addresses(self, host: Host, route: Route) -> tuple[tuple[str, ...], float | None]:
        """The addresses to dial, and the milliseconds the look-up took (None when nothing was looked up).

        Raises:
            ResolveError: there are none; with cause and next step.
        """
        if host.local and literal_address(route.address) is None:
            return _LOOPBACK, None
        known = self._resolver.known(route.address)
        if known is not None:
            return known, None
        began_ns = time.perf_counter_ns()
        found = await self._resolver.resolve(route.address, self.intervals.resolve_s)
        return found, _ms_since(began_ns)

    async def direct(
        self, route: Route, service: Service, addresses: tuple[str, ...], dns_ms: float | None
    ) -> ServiceState:
        """Connect from here."""
        phases = {} if dns_ms is None else {"dns": dns_ms}
        dialled = await dial(addresses, service.port, self.intervals.tcp_s)
        best = dialled.best
        if best.connect_ms is not None:
            phases["tcp"] = best.connect_ms
        wanted = expectation(service)
        if best.state is not PortState.OPEN or wanted is None:
            if best.sock is not None:
                best.sock.close()
            detail = dialled.detail or _plain_words(service)
            return _state(service, best.state, detail, connect_ms=best.connect_ms, phases_ms=phases)
        if best.sock is None:
            return _state(service, best.state, dialled.detail, health=Health.FAILING, phases_ms=phases)
        answer = await self._ask(SocketStream(best.sock), route, service, wanted)
        return _answered(service, answer, phases, also=dialled.detail, connect_ms=best.connect_ms)

    async def through(self, host_id: str, route: Route, service: Service) -> ServiceState:
        """Connect from the jump host. A time over two networks is no connect time: it is the phase ``tunnel``."""
        via = route.via
        began_ns = time.perf_counter_ns()
        limit_s = self.intervals.tcp_s + _TUNNEL_EXTRA_S
        found = await self._openings.attempt(host_id, service.name, service.port, limit_s)
        if isinstance(found, Verdict):
            return _state(service, found.state, found.detail, via=via)
        phases = {"tunnel": _ms_since(began_ns)}
        stream = TunnelStream(*found)
        wanted = expectation(service)
        if wanted is None:
            stream.close()
            return _state(service, PortState.OPEN, _plain_words(service), via=via, phases_ms=phases)
        answer = await self._ask(stream, route, service, wanted)
        return _answered(service, answer, phases, via=via)

    async def _ask(self, stream: Stream, route: Route, service: Service, wanted: Expectation) -> HttpResult:
        try:
            context = await self._contexts.get(verify=service.tls_verify) if service.tls else None
        except BaseException as error:
            stream.close()
            if isinstance(error, Exception):
                return HttpResult(Health.UNKNOWN, f"no TLS here: {clean(str(error), 120)}", None, {})
            raise
        return await http_check(stream, Ask(route.address, service.port, wanted, context), self._limits)


def _answered(
    service: Service, answer: HttpResult, phases: dict[str, float], also: str = "", **fields: Any
) -> ServiceState:
    before_ms = sum(phases.values())
    phases |= answer.phases_ms
    if "total" in phases:
        phases["total"] += before_ms
    detail = f"{answer.detail}; {also}" if also else answer.detail
    return _state(service, PortState.OPEN, detail, health=answer.health, phases_ms=phases, **fields)


def _state(service: Service, state: PortState, detail: str, **fields: Any) -> ServiceState:
    return ServiceState(service.name, service.port, state, detail=clean(detail), **fields)


def _plain_words(service: Service) -> str:
    return "connected; the banner was not read" if service.kind is ServiceKind.SSH else ""


def _ms_since(began_ns: int) -> float:
    return (time.perf_counter_ns() - began_ns) / 1e6
