"""The prober of every configured service: what is due, when, by which way, and what it proved, into the store.

One scheduler for all hosts; a task exists only while a probe is in flight, and the prober owns it. A service is never
probed twice at once, and no service waits for another: not for one of the same host, not for a host that is silent.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from msgspec import structs

from probes import clock
from probes.errors import QuarterdeckError
from probes.model import LinkState, PortState, ServiceKind, ServiceState, Severity
from probes.reach.check import Checker
from probes.reach.gate import Gate, places
from probes.reach.route import ConfiguredRoutes, Route, Routes
from probes.reach.schedule import Schedule
from probes.reach.ssh_state import ssh_state
from probes.reach.tunnel import NoTunnels, TunnelRefused, Tunnels, TunnelUnavailable
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from probes.config import Settings
    from probes.fleet import Fleet, HostRecord
    from probes.model import Host, Link, Service
    from probes.reach.resolve import Resolver

__all__ = ["Route", "Routes", "ServiceProber", "TunnelRefused", "TunnelUnavailable", "Tunnels"]

log = logging.getLogger(__name__)

#: the first round of everything goes at this rate (or within one interval, if that is quicker)
_FIRST_ROUND_PER_S: Final = 500.0
#: how often links are looked at for a change: an SSH port's state follows its session within this time
_LINK_S: Final = 0.5
#: wake-ups are this far apart at least; what falls due between two goes together
_STEP_S: Final = 0.01
#: a probe that took longer is expected to do so again
_SLOW_S: Final = 0.5


class ServiceProber:
    """Probes every service of every host each ``intervals.services_s``.

    Args:
        fleet: the store that is read (hosts, links) and written (services).
        settings: intervals and time limits.
        resolver: names to addresses, shared with the sessions.
        tunnels: channels from jump hosts; None: hosts behind one are *not probed*.
        routes: the way to a host, ssh_config included; None: as the configuration alone says it.
    """

    def __init__(
        self,
        fleet: Fleet,
        settings: Settings,
        resolver: Resolver,
        tunnels: Tunnels | None = None,
        routes: Routes | None = None,
    ) -> None:
        self._fleet = fleet
        self._interval_s = settings.intervals.services_s
        self._routes = routes or ConfiguredRoutes()
        self._checker = Checker(resolver, tunnels or NoTunnels(), settings.intervals)
        self._schedule = Schedule(self._interval_s)
        self._gate = Gate(places(len(fleet.hosts)))
        self._services: dict[str, tuple[Service, ...]] = {}
        self._links: dict[str, Link] = {}
        self._layout = -1
        #: what is under way: rounds ("round", host), link readings ("link", host), and probes (host, service)
        self._rounds: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._probes: dict[tuple[str, str], asyncio.Task[None]] = {}
        #: those that took long last time, and so may hold only a part of the gate's places
        self._slow: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Probe until cancelled; then nothing of it is left: no task, no socket."""
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        try:
            while True:
                now = loop.time()
                if self._layout != self._fleet.layout_version:
                    self._sync(now)
                if now >= look_at:
                    self._look_at_links(now)
                    look_at = now + _LINK_S
                for host_id in self._schedule.due(now):
                    self._begin_round(host_id)
                at = self._schedule.next_at()
                await self._sleep(max(_STEP_S, min(look_at, look_at if at is None else at) - loop.time()))
        finally:
            tasks = [*self._rounds.values(), *self._probes.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._checker.close()

    def apply(self, settings: Settings) -> None:
        """Take a reloaded configuration; the store must have its hosts already."""
        self._checker.intervals = settings.intervals
        self._interval_s = settings.intervals.services_s
        # the next wake-up notices; without a running loop, run() starts with it
        self._layout = -1
        self._wake.set()

    def probe_now(self, host_id: str) -> None:
        """Probe one host's services at once (those in flight already are not started twice)."""
        record = self._fleet.hosts.get(host_id)
        if record is not None and record.host.services:
            self._checker.forget(record.host)
            self._soon(host_id)

    @property
    def in_flight(self) -> int:
        """How many services are being probed now."""
        return len(self._probes)

    # --- when ---

    async def _sleep(self, at_most_s: float) -> None:
        timer = asyncio.get_running_loop().call_later(at_most_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
            self._wake.clear()

    def _soon(self, host_id: str) -> None:
        if host_id in self._schedule:
            self._schedule.soon(host_id, asyncio.get_running_loop().time())
            self._wake.set()

    def _sync(self, now: float) -> None:
        """Take the store's present hosts and services into the schedule."""
        self._layout = self._fleet.layout_version
        self._gate.limit = places(len(self._fleet.hosts))
        before = self._services
        hosts = (record.host for record in self._fleet.hosts.values())
        self._services = {host.id: host.services for host in hosts if host.services}
        self._links = {host_id: link for host_id, link in self._links.items() if host_id in self._services}
        self._slow = {key for key in self._slow if key[0] in self._services}
        self._schedule.set_interval(self._interval_s, now)
        total = sum(map(len, self._services.values()))
        self._schedule.keep(self._services, now, min(self._interval_s, total / _FIRST_ROUND_PER_S))
        for host_id, services in self._services.items():
            if before.get(host_id, services) != services:
                self._schedule.soon(host_id, now)

    def _look_at_links(self, now: float) -> None:
        """A link that changed changes what is said of its SSH port, and of everything when it is paused or resumed.

        One that became live opened the way to what lies behind its jump host.
        """
        for host_id in self._services:
            record = self._fleet.hosts.get(host_id)
            if record is None or record.link is self._links.get(host_id):
                continue
            before = self._links.get(host_id)
            self._links[host_id] = record.link
            if LinkState.PAUSED in (record.link.state, before.state if before is not None else None):
                self._schedule.soon(host_id, now)
            elif any(waits_for_tunnel(record, state) for state in record.services.values()):
                self._schedule.soon(host_id, now)  # the round that comes reads the SSH port's state, too
            else:
                self._begin_link(host_id, record)

    # --- one round of one host ---

    def _begin_round(self, host_id: str) -> None:
        record = self._fleet.hosts.get(host_id)
        if record is not None and ("round", host_id) not in self._rounds:
            self._start(self._rounds, ("round", host_id), self._round(record))

    def _begin_link(self, host_id: str, record: HostRecord) -> None:
        if any(service.kind is ServiceKind.SSH for service in record.host.services):
            self._start(self._rounds, ("link", host_id), self._read_link(record))

    def _start(
        self,
        tasks: dict[tuple[str, str], asyncio.Task[None]],
        key: tuple[str, str],
        work: Coroutine[Any, Any, None],
    ) -> None:
        """Run something as a task that is ours: known until it ends, and heard if it fails."""
        task = tasks[key] = asyncio.get_running_loop().create_task(work, name=f"services {' '.join(key)}")
        task.add_done_callback(lambda done: self._ended(tasks, key, done))

    def _ended(
        self, tasks: dict[tuple[str, str], asyncio.Task[None]], key: tuple[str, str], done: asyncio.Task[None]
    ) -> None:
        if tasks.get(key) is done:
            del tasks[key]
        error = None if done.cancelled() else done.exception()
        if error is not None:
            log.error("services %s", " ".join(key), exc_info=error)
            self._fleet.event(None, Severity.CRITICAL, "internal", f"probing services failed: {type(error).__name__}")

    async def _round(self, record: HostRecord) -> None:
        """Start a probe of every service of a host that has none in flight; does not wait for them."""
        host = record.host
        if record.link.state is LinkState.PAUSED:
            self._say_all(host, host.services, PortState.NOT_PROBED, "paused")
            return
        route = await self._way(host)
        if route is None:
            return
        self._store_ssh(record, route)
        services = tuple(s for s in host.services if not _is_own_ssh(s, host, route))
        if route.blocked is not None:
            self._say_all(host, services, PortState.NOT_PROBED, route.blocked, route.via)
        elif services:
            await self._start_probes(host, route, services)

    async def _read_link(self, record: HostRecord) -> None:
        route = await self._way(record.host)
        if route is not None:
            self._store_ssh(record, route)

    async def _way(self, host: Host) -> Route | None:
        try:
            return await self._routes.route(host)
        except QuarterdeckError as error:
            self._say_all(host, host.services, PortState.NOT_PROBED, f"no way known: {error.cause}")
            return None

    def _store_ssh(self, record: HostRecord, route: Route) -> None:
        for service in record.host.services:
            if _is_own_ssh(service, record.host, route):
                state = ssh_state(service, record.link, route.via, clock.boot_s())
                if state is not None:
                    self._store(record.host, service, state)

    async def _start_probes(self, host: Host, route: Route, services: tuple[Service, ...]) -> None:
        """Find the addresses once for all, then one task a service."""
        addresses, dns_ms = (), None
        if route.via is None:
            try:
                addresses, dns_ms = await self._checker.addresses(host, route)
            except QuarterdeckError as error:
                why = f"{error.cause} ({error.next_step})" if error.next_step else error.cause
                self._say_all(host, services, PortState.UNRESOLVED, why)
                return
        for service in services:
            key = (host.id, service.name)
            if key not in self._probes:
                self._start(self._probes, key, self._probe(host, route, service, addresses, dns_ms))

    async def _probe(
        self, host: Host, route: Route, service: Service, addresses: tuple[str, ...], dns_ms: float | None
    ) -> None:
        key = (host.id, service.name)
        loop = asyncio.get_running_loop()
        async with self._gate.place(slow=key in self._slow):
            began = loop.time()
            try:
                if route.via is None:
                    state = await self._checker.direct(route, service, addresses, dns_ms)
                else:
                    state = await self._checker.through(host.id, route, service)
            except Exception as error:  # a defect of ours in one check must not end the others; it is shown and logged
                log.exception("probe of %s on %s", service.name, host.id)
                why = f"the probe itself failed: {type(error).__name__}: {clean(str(error), 120)}"
                state = ServiceState(service.name, service.port, PortState.NOT_PROBED, detail=why, via=route.via)
            (self._slow.add if loop.time() - began > _SLOW_S else self._slow.discard)(key)
        self._store(host, service, state)

    # --- what is known ---

    def _say_all(
        self, host: Host, services: tuple[Service, ...], state: PortState, why: str, via: str | None = None
    ) -> None:
        for service in services:
            self._store(host, service, ServiceState(service.name, service.port, state, detail=clean(why), via=via))

    def _store(self, host: Host, service: Service, state: ServiceState) -> None:
        """Write, unless the host was paused, or the service changed, while the probe was in flight."""
        record = self._fleet.hosts.get(host.id)
        if record is None or service not in record.host.services or record.host.address != host.address:
            return
        if record.link.state is LinkState.PAUSED and state.detail != "paused":
            return
        stamped = state if state.at_boot_s else structs.replace(state, at_boot_s=clock.boot_s())
        self._fleet.set_service(host.id, stamped)


def waits_for_tunnel(record: HostRecord, state: ServiceState) -> bool:
    """Whether a service was not probed because its jump host was not connected to, which it is by now."""
    link = record.link
    late = state.state is PortState.NOT_PROBED and state.via is not None
    return late and link.state is LinkState.LIVE and state.at_boot_s < link.since_boot_s


def _is_own_ssh(service: Service, host: Host, route: Route) -> bool:
    """Whether a service is the very port our session uses. A local host has no SSH session."""
    return service.kind is ServiceKind.SSH and service.port == route.ssh_port and not host.local
