"""One host seen from outside: names, echo, reverse names, every port and the controls, side by side."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from msgspec import Struct

from probes import clock
from probes.errors import QuarterdeckError, ResolveError
from probes.evidence import ControlProbe, Echo, Evidence, Names, PortProbe
from probes.model import PortState, Service
from probes.reach.control import Candidate, control
from probes.reach.echo import NOT_MEASURED, echo
from probes.reach.names import expected_addresses
from probes.reach.port import PortProber, Steps, Wanted
from probes.reach.resolve import literal_address
from probes.reach.route import Route
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.model import Host
    from probes.reach.budget import Budget
    from probes.reach.names import Reverse
    from probes.reach.resolve import Resolver
    from probes.reach.route import Routes

log = logging.getLogger(__name__)

Part = PortProbe | Echo | Names | ControlProbe
P = TypeVar("P", bound=Part)

_ECHO_AFTER_S: Final = 0.25
_LOOPBACK: Final = ("127.0.0.1", "::1")


class Options(Struct, frozen=True):
    """What one diagnosis is about besides the host.

    ``services`` None: those configured. ``auth_methods``: also ask SSH which methods it offers (leaves a line in the
    host's log). ``steps``: for how many silent ports of the host hops may be stepped.
    """

    services: tuple[Service, ...] | None = None
    controls: tuple[Candidate, ...] = ()
    auth_methods: bool = False
    steps: int = 64


class Tools(Struct, frozen=True):
    """What all diagnoses share."""

    budget: Budget
    resolver: Resolver
    routes: Routes
    reverse: Reverse
    ports: PortProber
    places: asyncio.Semaphore


class _Seen(NamedTuple):
    """What was learnt of the host itself, apart from the controls."""

    address: str
    ports: tuple[PortProbe, ...]
    echo: Echo
    names: Names | None


class Diagnosis:
    """One host being probed."""

    def __init__(self, tools: Tools, host: Host, options: Options, on_part: Callable[[Part], None]) -> None:
        self._tools = tools
        self._host = host
        self._options = options
        self._on_part = on_part
        self._services = host.services if options.services is None else options.services
        self._notes: list[str] = []

    async def run(self) -> Evidence:
        """Probe it; see ``Gatherer.probe_host``."""
        at_wall_s = clock.wall_s()
        tools = self._tools
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look())
            controlling = group.create_task(
                control(
                    self._options.controls, tools.resolver, tools.budget.control_s, self._on_part, places=tools.places
                )
            )
        found = looking.result()
        return Evidence(
            host_id=self._host.id,
            address=found.address,
            taken_at_wall_s=at_wall_s,
            ports=found.ports,
            region=self._host.labels.get("region"),
            echo=found.echo,
            names=found.names,
            controls=controlling.result(),
            notes=tuple(self._notes),
        )

    async def _look(self) -> _Seen:
        try:
            route = await self._tools.routes.route(self._host)
        except QuarterdeckError as error:
            return self._not_probed(Route(self._host.address), f"no way known: {error.cause}")
        if route.blocked is not None:
            return self._not_probed(route, route.blocked)
        if route.via is not None:
            why = f"it is reached through {clean(route.via, 80)}, which asks nobody for us"
            self._notes.append("names not looked up: they are the jump host's to resolve")
            silent = self._told(Echo(outcome=NOT_MEASURED, detail=why))
            return _Seen(route.address, await self._probe_ports(route, ()), silent, None)
        return await self._direct(route)

    # --- without a jump host ---

    async def _direct(self, route: Route) -> _Seen:
        names = await self._forward(route)
        self._on_part(names)
        addresses = names.addresses
        if not addresses and names.expected:
            addresses = names.expected
            self._notes.append("the name does not resolve: the addresses of its label were probed")
        if not addresses:
            ports = tuple(self._port(route, service, PortState.UNRESOLVED, names.error) for service in self._services)
            unasked = self._told(Echo(outcome=NOT_MEASURED, detail="there is no address to ask"))
            return _Seen(route.address, ports, unasked, names)
        async with asyncio.TaskGroup() as group:
            probing = group.create_task(self._probe_ports(route, addresses))
            naming = group.create_task(self._reverse(names, addresses))
            echoing = group.create_task(self._echo(addresses[0], probing))
        return _Seen(addresses[0], probing.result(), echoing.result(), naming.result())

    async def _forward(self, route: Route) -> Names:
        expected = expected_addresses(self._host)
        literal = literal_address(route.address)
        if literal is not None:
            return Names(addresses=(literal,), expected=expected)
        if self._host.local:
            return Names(name=route.address, addresses=_LOOPBACK, expected=expected)
        began_ns = time.perf_counter_ns()
        try:
            found = await self._tools.resolver.resolve(route.address, self._tools.budget.resolve_s)
            error = None
        except ResolveError as failure:
            found, error = (), f"{failure.cause} ({failure.next_step})" if failure.next_step else failure.cause
        took_ms = (time.perf_counter_ns() - began_ns) / 1e6
        return Names(name=clean(route.address, 253), addresses=found, expected=expected, error=error, took_ms=took_ms)

    async def _reverse(self, names: Names, addresses: tuple[str, ...]) -> Names:
        asked = (*addresses, *names.expected)
        return self._told(await self._tools.reverse.add_to(names, asked, self._tools.budget.ptr_s))

    async def _echo(self, address: str, probing: asyncio.Task[tuple[PortProbe, ...]]) -> Echo:
        # routers ration the errors they send: the ports' connects go first, they are worth more
        await asyncio.wait({probing}, timeout=_ECHO_AFTER_S)
        async with self._tools.places:
            return self._told(await echo(address, self._tools.budget.echo_s))

    # --- ports ---

    async def _probe_ports(self, route: Route, addresses: tuple[str, ...]) -> tuple[PortProbe, ...]:
        steps, methods = Steps(self._options.steps), self._options.auth_methods
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    self._probe_port(Wanted(self._host, route, service, addresses, methods, steps)),
                    name=f"probe of {service.name} on {self._host.id}",
                )
                for service in self._services
            ]
        return tuple(task.result() for task in tasks)

    async def _probe_port(self, wanted: Wanted) -> PortProbe:
        try:
            found = await self._tools.ports.probe(wanted, self._on_part)
        except Exception as error:  # a defect of ours in one probe must not end the others; it is shown and logged
            log.exception("probe of %s on %s", wanted.service.name, self._host.id)
            why = f"the probe itself failed: {type(error).__name__}: {clean(str(error), 120)}"
            return self._port(wanted.route, wanted.service, PortState.NOT_PROBED, why)
        return self._told(found)

    def _not_probed(self, route: Route, why: str) -> _Seen:
        why = clean(why)
        ports = tuple(self._port(route, service, PortState.NOT_PROBED, why) for service in self._services)
        return _Seen(route.address, ports, self._told(Echo(outcome=NOT_MEASURED, detail=why)), None)

    def _port(self, route: Route, service: Service, state: PortState, why: str | None) -> PortProbe:
        """A port that nothing was sent to."""
        return self._told(
            PortProbe(
                service=service,
                address=route.address,
                state=state,
                detail=why or "",
                via=route.via,
                hops_why="not stepped: the port was not probed",
            )
        )

    def _told(self, part: P) -> P:
        self._on_part(part)
        return part
