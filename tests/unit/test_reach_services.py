from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from probes.config import Settings
from probes.config.settings import Intervals
from probes.errors import HandshakeError
from probes.fleet import Fleet, new_link
from probes.model import (
    Health,
    Host,
    Link,
    LinkState,
    PortState,
    Service,
    ServiceKind,
    ServiceState,
)
from probes.reach import services as services_module
from probes.reach.openings import Openings, TunnelSilentError
from probes.reach.resolve import Resolver
from probes.reach.services import Route, ServiceProber, TunnelRefused, TunnelUnavailable
from probes.reach.ssh_state import ssh_state
from probes.reach.tunnel import judge_refusal
from tests.support import http_standin as standin
from tests.support.http_standin import answer, stand_in
from tests.support.leaks import open_sockets, other_tasks, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HTTP, TCP, SSH = ServiceKind.HTTP, ServiceKind.TCP, ServiceKind.SSH


class Rig:
    """A prober that runs over a store, with what it needs."""

    def __init__(self, *hosts: Host, interval_s: float = 60.0, **parts: Any) -> None:
        self.fleet = Fleet(hosts)
        self.settings = Settings(hosts=hosts, intervals=Intervals(services_s=interval_s, tcp_s=0.5))
        self.resolver = parts.pop("resolver", None) or Resolver()
        self.prober = ServiceProber(self.fleet, self.settings, self.resolver, **parts)

    def state(self, host: str, service: str) -> ServiceState | None:
        record = self.fleet.hosts.get(host)
        return None if record is None else record.services.get(service)

    async def known(self, host: str, *names: str) -> list[ServiceState]:
        """Wait until these services have a state; the states."""
        await until(lambda: all(self.state(host, name) is not None for name in names))
        return [state for name in names if (state := self.state(host, name)) is not None]

    def reload(self, *hosts: Host, interval_s: float = 60.0) -> None:
        self.settings = structs.replace(
            self.settings, hosts=hosts, intervals=structs.replace(self.settings.intervals, services_s=interval_s)
        )
        self.fleet.set_hosts(hosts)
        self.prober.apply(self.settings)


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    task = asyncio.create_task(rig.prober.run())
    try:
        yield rig
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await rig.resolver.close()


def host(*services: Service, name: str = "gpu", address: str = "127.0.0.1", **more: Any) -> Host:
    return Host(id=name, address=address, services=services, **more)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


# --- states ---


async def test_states_health_and_times_reach_the_store() -> None:
    closed = closed_port()
    async with stand_in(answer('"0.14.5"')) as server, stand_in(answer("no", "500 Oops")) as sick:
        target = host(
            Service("voice", server.port, ServiceKind.VOICEVOX),
            Service("sick", sick.port, HTTP),
            Service("plain", server.port),
            Service("none", closed),
        )
        async with running(Rig(target)) as rig:
            voice, bad, plain, none = await rig.known("gpu", "voice", "sick", "plain", "none")
    assert (voice.state, voice.health, voice.detail) == (PortState.OPEN, Health.OK, "200, version 0.14.5")
    assert set(voice.phases_ms) == {"tcp", "first_byte", "total"}
    assert voice.connect_ms == voice.phases_ms["tcp"] > 0
    assert voice.phases_ms["total"] >= voice.phases_ms["tcp"] + voice.phases_ms["first_byte"]
    assert (bad.state, bad.health) == (PortState.OPEN, Health.FAILING)
    assert (plain.state, plain.health, plain.detail) == (PortState.OPEN, Health.UNKNOWN, "")
    assert (none.state, none.health, none.connect_ms) == (PortState.REFUSED, Health.UNKNOWN, None)
    assert all(state.at_boot_s > 0 for state in (voice, bad, plain, none))
    assert not other_tasks()


async def test_local_host_is_probed_on_loopback_whatever_it_is_called() -> None:
    async with stand_in(answer("ok")) as server:
        target = host(Service("web", server.port, HTTP), address="no.such.name.invalid", local=True)
        async with running(Rig(target)) as rig:
            (state,) = await rig.known("gpu", "web")
    assert (state.state, state.health) == (PortState.OPEN, Health.OK)


async def test_name_without_address_is_unresolved_with_the_cause() -> None:
    def lookup(name: str) -> tuple[str, ...]:
        raise socket.gaierror(socket.EAI_NONAME, "no")

    async with running(Rig(host(Service("a", 80), address="gpu-9"), resolver=Resolver(lookup))) as rig:
        (state,) = await rig.known("gpu", "a")
    assert state.state is PortState.UNRESOLVED
    assert state.detail.startswith("there is no name gpu-9 (check the spelling")


async def test_looked_up_name_has_a_dns_phase_and_a_cached_one_has_none() -> None:
    async with stand_in(answer("ok")) as server:
        rig = Rig(host(Service("a", server.port), address="gpu-1"), resolver=Resolver(lambda _: ("127.0.0.1",)))
        async with running(rig):
            (first,) = await rig.known("gpu", "a")
            rig.fleet.hosts["gpu"].services.clear()
            rig.prober._soon("gpu")
            (second,) = await rig.known("gpu", "a")
    assert set(first.phases_ms) == {"dns", "tcp"}
    assert set(second.phases_ms) == {"tcp"}


async def test_defect_in_one_check_is_shown_and_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with stand_in(answer("ok")) as server:
        rig = Rig(host(Service("bad", server.port), Service("good", server.port)))
        direct = rig.prober._checker.direct

        async def broken(route: Route, service: Service, *rest: Any) -> ServiceState:
            if service.name == "bad":
                raise ZeroDivisionError("by \x1b nothing")
            return await direct(route, service, *rest)

        monkeypatch.setattr(rig.prober._checker, "direct", broken)
        async with running(rig):
            bad, good = await rig.known("gpu", "bad", "good")
    assert bad.state is PortState.NOT_PROBED
    assert bad.detail == "the probe itself failed: ZeroDivisionError: by  nothing"
    assert good.state is PortState.OPEN
    assert "probe of bad on gpu" in caplog.text


async def test_hostile_services_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.reach.check.Limits", standin_limits)
    async with (
        stand_in(standin.silence) as silent,
        stand_in(standin.endless(b"HTTP/1.1 200 OK\r\nX: ", b"y", 0.02)) as drip,
        stand_in(answer("ok")) as good,
    ):
        bad = [Service(f"silent{n}", silent.port, HTTP) for n in range(20)]
        bad += [Service(f"drip{n}", drip.port, HTTP) for n in range(20)]
        rig = Rig(host(*bad, Service("good", good.port, HTTP)))
        async with running(rig):
            (state,) = await rig.known("gpu", "good")
            assert state.health is Health.OK
            assert rig.state("gpu", "silent0") is None
            states = await rig.known("gpu", *(service.name for service in bad))
            assert {state.health for state in states} == {Health.FAILING}
            assert {state.state for state in states} == {PortState.OPEN}
            await until(lambda: not silent.held and not drip.held)


def standin_limits() -> Any:
    from probes.reach.http import Limits

    return Limits(tls_s=0.5, first_byte_s=0.5, total_s=1.0)


# --- when ---


async def test_three_hundred_services_on_loopback() -> None:
    async with stand_in(answer("ok"), host="127.0.0.1") as server:
        five = tuple(Service(f"s{n}", server.port, HTTP) for n in range(5))
        hosts = [host(*five, name=f"h{m}") for m in range(60)]
        before = open_sockets()
        async with running(Rig(*hosts)) as rig:
            for one in hosts:
                states = await rig.known(one.id, *(service.name for service in five))
                assert {(s.state, s.health) for s in states} == {(PortState.OPEN, Health.OK)}
            await until(lambda: rig.prober.in_flight == 0)
        assert server.accepted == 300
        await until(lambda: server.held == 0 and open_sockets() <= before)
    assert not other_tasks()


async def test_services_are_probed_again_each_interval() -> None:
    async with (
        stand_in(answer("ok")) as server,
        running(Rig(host(Service("a", server.port, HTTP)), interval_s=0.2)),
    ):
        await until(lambda: server.accepted >= 4)


async def test_probe_now_does_not_wait_for_the_turn_and_asks_the_name_anew() -> None:
    asked: list[str] = []

    def lookup(name: str) -> tuple[str, ...]:
        asked.append(name)
        return ("127.0.0.1",)

    async with stand_in(answer("ok")) as server:
        rig = Rig(host(Service("a", server.port, HTTP), address="gpu-1"), interval_s=3600.0, resolver=Resolver(lookup))
        async with running(rig):
            await rig.known("gpu", "a")
            rig.prober.probe_now("gpu")
            rig.prober.probe_now("unknown")
            await until(lambda: server.accepted == 2)
    assert asked == ["gpu-1", "gpu-1"]


async def test_a_service_is_never_probed_twice_at_once() -> None:
    async with stand_in(standin.silence) as server:
        rig = Rig(host(Service("a", server.port, HTTP)), interval_s=3600.0)
        async with running(rig):
            await until(lambda: server.accepted == 1)
            for _ in range(5):
                rig.prober.probe_now("gpu")
                await until(lambda: ("round", "gpu") not in rig.prober._rounds)
            assert rig.prober.in_flight == 1
            assert server.accepted == 1


async def test_cancelled_in_mid_flight_it_leaves_nothing() -> None:
    before = open_sockets()
    async with stand_in(standin.silence) as server:
        rig = Rig(host(*(Service(f"s{n}", server.port, HTTP) for n in range(30))))
        async with running(rig):
            await until(lambda: server.held == 30)
        assert rig.prober.in_flight == 0
        assert not rig.prober._rounds
        await until(lambda: server.held == 0)
    await until(lambda: open_sockets() <= before)
    assert not other_tasks()


async def test_reload_takes_new_hosts_and_drops_old_ones() -> None:
    async with stand_in(answer("ok")) as server, stand_in(standin.silence) as silent:
        web = Service("web", server.port, HTTP)
        rig = Rig(host(web, name="old"), host(Service("hang", silent.port, HTTP), name="hung"), interval_s=3600.0)
        async with running(rig):
            await rig.known("old", "web")
            await until(lambda: silent.held == 1)
            renamed = structs.replace(web, name="front")
            rig.reload(host(web, name="new"), host(renamed, name="old"), interval_s=3600.0)
            await rig.known("new", "web")
            await rig.known("old", "front")
            assert set(rig.fleet.hosts["old"].services) == {"front"}
            assert "hung" not in rig.fleet.hosts
            rig.reload(host(web, name="new"), interval_s=0.1)
            seen = server.accepted
            await until(lambda: server.accepted >= seen + 3)


async def test_result_of_a_service_that_changed_meanwhile_is_dropped() -> None:
    async with stand_in(standin.silence) as silent:
        before = Service("a", silent.port, HTTP)
        rig = Rig(host(before), interval_s=3600.0)
        async with running(rig):
            await until(lambda: silent.held == 1)
            rig.fleet.set_hosts([host(Service("a", 1))])
            rig.prober._store(host(before), before, ServiceState("a", silent.port, PortState.OPEN))
            assert rig.state("gpu", "a") is None


async def test_paused_host_is_not_probed_and_says_so() -> None:
    async with stand_in(answer("ok")) as server:
        rig = Rig(host(Service("a", server.port, HTTP)), interval_s=3600.0)
        rig.fleet.set_link("gpu", new_link(LinkState.PAUSED))
        async with running(rig):
            (state,) = await rig.known("gpu", "a")
            assert (state.state, state.detail) == (PortState.NOT_PROBED, "paused")
            assert server.accepted == 0
            rig.fleet.set_link("gpu", new_link(LinkState.CONNECTING))
            await until(lambda: (s := rig.state("gpu", "a")) is not None and s.state is PortState.OPEN)
            rig.fleet.set_link("gpu", new_link(LinkState.PAUSED))
            await until(lambda: (s := rig.state("gpu", "a")) is not None and s.detail == "paused")
            late = ServiceState("a", server.port, PortState.OPEN)
            rig.prober._store(rig.fleet.hosts["gpu"].host, rig.fleet.hosts["gpu"].host.services[0], late)
            assert rig.state("gpu", "a") != late, "a probe that was in flight must not unsay the pause"


async def test_not_probed_is_no_event() -> None:
    rig = Rig(host(Service("a", closed_port())))
    rig.fleet.set_link("gpu", new_link(LinkState.PAUSED))
    async with running(rig):
        await rig.known("gpu", "a")
        assert [event.kind for event in rig.fleet.events] == ["link"]
        rig.fleet.set_link("gpu", new_link(LinkState.CONNECTING))
        await until(lambda: any(event.kind == "service" for event in rig.fleet.events))
    assert "refused" in rig.fleet.events[-1].text


async def test_defect_of_the_way_finder_is_logged_and_an_event(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def route(self, _host: Host) -> Route:
            raise KeyError("no")

    rig = Rig(host(Service("a", 1)), routes=Broken())
    async with running(rig):
        await until(lambda: any(event.kind == "internal" for event in rig.fleet.events))
    assert "services round gpu" in caplog.text


# --- the host's own SSH port ---


async def test_own_ssh_port_is_never_connected_to_and_follows_the_link() -> None:
    async with stand_in(standin.hang_up, asks=False) as sshd:
        rig = Rig(host(Service("ssh", sshd.port, SSH), port=sshd.port), interval_s=0.05)
        async with running(rig):
            rig.fleet.set_link("gpu", new_link(LinkState.LIVE))
            await until(lambda: (s := rig.state("gpu", "ssh")) is not None and s.state is PortState.OPEN)
            rig.fleet.set_link(
                "gpu", new_link(LinkState.UNREACHABLE, layer="tcp", cause="port 22 of 192.0.2.1 filtered (no answer)")
            )
            await until(lambda: (s := rig.state("gpu", "ssh")) is not None and s.state is PortState.FILTERED)
            before = rig.state("gpu", "ssh")
            rig.fleet.set_link("gpu", new_link(LinkState.CONNECTING))
            await asyncio.sleep(0.2)
            assert rig.state("gpu", "ssh") == before, "a new attempt proves nothing yet"
        assert sshd.accepted == 0


async def test_another_ssh_port_is_connected_to() -> None:
    async with (
        stand_in(standin.hang_up, asks=False) as other,
        running(Rig(host(Service("ssh", other.port, SSH)))) as rig,
    ):
        (state,) = await rig.known("gpu", "ssh")
    assert (state.state, state.health) == (PortState.OPEN, Health.UNKNOWN)
    assert state.detail == "connected; the banner was not read"


def link(state: LinkState, layer: str | None = None, cause: str | None = None) -> Link:
    return Link(state, 50.0, 1.0, layer, cause)


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (link(LinkState.LIVE), PortState.OPEN),
        (link(LinkState.STALE), PortState.OPEN),
        (link(LinkState.AUTH_FAILED, "auth", "no"), PortState.OPEN),
        (link(LinkState.HOST_KEY_UNKNOWN), PortState.OPEN),
        (link(LinkState.HOST_KEY_CHANGED), PortState.OPEN),
        (link(LinkState.AGENT_FAILED, "bootstrap", "no"), PortState.OPEN),
        (link(LinkState.PAUSED), PortState.NOT_PROBED),
        (link(LinkState.UNREACHABLE, "resolve", "there is no name x"), PortState.UNRESOLVED),
        (link(LinkState.UNREACHABLE, "tcp", "port 22 of 10.0.0.1 refused (reset by the host)"), PortState.REFUSED),
        (link(LinkState.UNREACHABLE, "tcp", "port 22 of 10.0.0.1 filtered (no answer)"), PortState.FILTERED),
        (
            link(LinkState.UNREACHABLE, "tcp", "port 22 of a rejected by firewall (ICMP 3/3 port unreachable)"),
            PortState.REJECTED,
        ),
        (link(LinkState.UNREACHABLE, "tcp", "port 22 of a unreachable (no route)"), PortState.UNREACHABLE),
        (link(LinkState.UNREACHABLE, "tcp", "something else"), PortState.NOT_PROBED),
        (link(LinkState.UNREACHABLE, "tcp", "jump host j: port 22 of j refused (x)"), PortState.NOT_PROBED),
        (link(LinkState.UNREACHABLE, "jump", "is the host itself"), PortState.NOT_PROBED),
        (
            link(LinkState.UNREACHABLE, "tcp", "the jump host could not reach 10.0.0.1:22: Connection refused"),
            PortState.REFUSED,
        ),
        (link(LinkState.UNREACHABLE, "banner", "no banner within 5 s"), PortState.OPEN),
        (link(LinkState.UNREACHABLE, "kex", "no algorithm in common"), PortState.OPEN),
        (link(LinkState.UNREACHABLE, "ssh_config", "line 3"), PortState.NOT_PROBED),
        (link(LinkState.UNREACHABLE), PortState.NOT_PROBED),
    ],
)
def test_what_a_link_proves_of_its_port(given: Link, state: PortState) -> None:
    found = ssh_state(Service("ssh", 22, SSH), given, None, 99.0)
    assert found is not None
    assert found.state is state
    assert found.connect_ms is None
    assert given.cause is None or state is PortState.OPEN or given.cause in found.detail
    assert found.at_boot_s == (99.0 if given.state is LinkState.LIVE else 50.0)


def test_a_connection_in_the_making_proves_nothing() -> None:
    assert ssh_state(Service("ssh", 22, SSH), link(LinkState.CONNECTING), None, 1.0) is None


# --- behind a jump host ---


class Jump:
    """A jump host that opens what is told, refuses, is away, or hangs."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome
        self.opened: list[tuple[str, int]] = []
        self.cancelled = 0

    async def open(self, host_id: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.opened.append((host_id, port))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome == "hang":
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled += 1
        return await asyncio.open_connection("127.0.0.1", port)


async def through(jump: Jump, *services: Service, **more: Any) -> list[ServiceState]:
    rig = Rig(host(*services, address="10.255.255.1", proxy_jump="bastion"), tunnels=jump, **more)
    async with running(rig):
        return await rig.known("gpu", *(service.name for service in services))


async def test_services_behind_a_jump_host_are_probed_from_there() -> None:
    jump = Jump()
    async with stand_in(answer('"1"')) as server:
        voice, plain = await through(
            jump, Service("voice", server.port, ServiceKind.VOICEVOX), Service("plain", server.port)
        )
        assert len(server.requests) == 1
    assert (voice.state, voice.health, voice.via) == (PortState.OPEN, Health.OK, "bastion")
    assert (plain.state, plain.via, plain.connect_ms) == (PortState.OPEN, "bastion", None)
    assert voice.connect_ms is None
    assert set(voice.phases_ms) == {"tunnel", "first_byte", "total"}
    assert jump.opened == [("gpu", server.port)] * 2


@pytest.mark.parametrize(
    ("outcome", "state", "words"),
    [
        (TunnelUnavailable("no connection to the jump host"), PortState.NOT_PROBED, "no connection to the jump host"),
        (TunnelRefused(1, "open failed"), PortState.NOT_PROBED, "does not allow forwarding"),
        (TunnelRefused(2, "Connection refused"), PortState.REFUSED, "the jump host says: Connection refused"),
        (TunnelRefused(2, "Connection timed out"), PortState.FILTERED, "timed out"),
        (TunnelRefused(4, "x"), PortState.NOT_PROBED, "short of resources"),
    ],
)
async def test_what_a_jump_host_says_is_what_is_said(outcome: Exception, state: PortState, words: str) -> None:
    (found,) = await through(Jump(outcome), Service("a", 80))
    assert (found.state, found.via) == (state, "bastion")
    assert words in found.detail


async def test_jump_host_that_hangs_is_asked_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.reach.check._TUNNEL_EXTRA_S", -0.4)
    jump = Jump("hang")
    target = host(Service("a", 80), address="10.255.255.1", proxy_jump="bastion")
    rig = Rig(target, tunnels=jump, interval_s=0.2)
    async with running(rig):
        (first,) = await rig.known("gpu", "a")
        await until(lambda: (s := rig.state("gpu", "a")) is not None and s.at_boot_s > first.at_boot_s + 0.3)
        assert first.state is PortState.FILTERED
        assert "no answer to the jump host's connect for 0.1 s" in first.detail
        assert jump.opened == [("gpu", 80)]
        assert rig.prober.in_flight <= 1
    assert jump.cancelled == 1
    assert not other_tasks()


class SlowTunnels:
    """Opens when told; remembers whether what it opened was closed."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.opened = 0
        self.closed = 0

    async def open(self, host_id: str, port: int) -> Any:
        self.opened += 1
        await self.go.wait()
        return self, self

    def close(self) -> None:
        self.closed += 1


async def test_tunnel_that_comes_too_late_is_closed_and_then_asked_for_again() -> None:
    tunnels = SlowTunnels()
    openings = Openings(tunnels)
    for _ in range(3):
        with pytest.raises(TunnelSilentError):
            await openings.open("gpu", "a", 80, 0.01)
    assert tunnels.opened == 1
    tunnels.go.set()
    await until(lambda: tunnels.closed == 1)
    assert await openings.open("gpu", "a", 80, 5.0) == (tunnels, tunnels)
    assert (tunnels.opened, tunnels.closed) == (2, 1), "an open one belongs to who asked"
    await openings.close()
    assert not other_tasks()


async def test_waiting_for_a_tunnel_can_be_cancelled_at_any_moment() -> None:
    tunnels = SlowTunnels()
    openings = Openings(tunnels)
    waiting = asyncio.create_task(openings.open("gpu", "a", 80, 30.0))
    await until(lambda: tunnels.opened == 1)
    tunnels.go.set()
    # the tunnel opens and the one who waits is cancelled before it can take it
    await openings._openings["gpu", "a", 80].task
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert tunnels.closed == 1
    await openings.close()


async def test_without_tunnels_nothing_behind_a_jump_host_is_probed() -> None:
    rig = Rig(host(Service("a", 80), address="10.255.255.1", proxy_jump="bastion"))
    async with running(rig):
        (found,) = await rig.known("gpu", "a")
    assert (found.state, found.via) == (PortState.NOT_PROBED, "bastion")


async def test_proxy_jump_none_is_a_direct_way() -> None:
    async with (
        stand_in(answer("ok")) as server,
        running(Rig(host(Service("a", server.port), proxy_jump="none"))) as rig,
    ):
        (found,) = await rig.known("gpu", "a")
    assert (found.state, found.via) == (PortState.OPEN, None)


@pytest.mark.parametrize(
    ("code", "text", "state"),
    [
        (2, "Connect failed: [Errno 111] Connect call failed ('10.0.0.1', 80)", PortState.REFUSED),
        (2, "[Errno 113] Connect call failed", PortState.UNREACHABLE),
        (2, "No route to host", PortState.UNREACHABLE),
        (2, "Name or service not known", PortState.UNRESOLVED),
        (2, "something \x1b[2J else", PortState.NOT_PROBED),
        (2, "", PortState.NOT_PROBED),
        (3, "unknown channel type", PortState.NOT_PROBED),
        (99, "?", PortState.NOT_PROBED),
    ],
)
def test_refusals_of_a_tunnel(code: int, text: str, state: PortState) -> None:
    verdict = judge_refusal(code, text)
    assert verdict.state is state
    assert verdict.detail.isprintable()


async def test_ways_that_ssh_config_knows() -> None:
    class Ways:
        async def route(self, host: Host) -> Route:
            if host.id == "broken":
                raise HandshakeError("ssh_config: line 3", layer="ssh_config")
            if host.id == "proxied":
                return Route(host.address, blocked="reached through ProxyCommand, which only ssh can use")
            return Route("127.0.0.1", ssh_port=2222)

    async with stand_in(answer("ok")) as server:
        services = (Service("web", server.port, HTTP), Service("ssh", 2222, SSH))
        rig = Rig(*(host(*services, name=name, address=name) for name in ("alias", "broken", "proxied")), routes=Ways())
        for name in ("alias", "broken", "proxied"):
            rig.fleet.set_link(name, new_link(LinkState.LIVE))
        async with running(rig):
            web, ssh = await rig.known("alias", "web", "ssh")
            (broken,) = await rig.known("broken", "web")
            proxied, proxied_ssh = await rig.known("proxied", "web", "ssh")
    assert server.requests[0].split(b"\r\n")[1] == b"Host: 127.0.0.1:%d" % server.port
    assert (web.state, ssh.state, ssh.detail) == (PortState.OPEN, PortState.OPEN, "from the live session")
    assert (broken.state, broken.detail) == (PortState.NOT_PROBED, "no way known: ssh_config: line 3")
    assert (proxied.state, proxied.detail[:27]) == (PortState.NOT_PROBED, "reached through ProxyCommand"[:27])
    assert proxied_ssh.state is not PortState.FILTERED


def test_names_others_import() -> None:
    assert set(services_module.__all__) >= {"ServiceProber", "TunnelRefused", "TunnelUnavailable", "Tunnels"}
