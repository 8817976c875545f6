"""A whole diagnosis from outside, on loopback: what each kind of peer becomes as evidence, and that nothing is left."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import asyncssh
import msgspec
import pytest

from probes.errors import HandshakeError
from probes.evidence import Echo, Evidence, KeyCheck, Names, Opening, PortProbe
from probes.hosts.known_hosts import KnownHosts
from probes.model import Health, Host, PortState, Service, ServiceKind
from probes.reach import port
from probes.reach.budget import Budget
from probes.reach.control import Candidate
from probes.reach.gather import Gatherer, Options, service_for
from probes.reach.hops import Stepped
from probes.reach.names import Reverse
from probes.reach.resolve import Resolver
from probes.reach.route import Route
from probes.reach.tcp import TcpResult
from probes.reach.tcp_info import tcp_info
from probes.reach.trust import Known
from probes.reach.tunnel import TunnelRefused, TunnelUnavailable
from tests.support.http_standin import answer, certificate, endless, hang_up, says, silence, stand_in
from tests.support.leaks import open_sockets, other_tasks, until

if TYPE_CHECKING:
    from pathlib import Path

QUICK = Budget(
    resolve_s=2.0,
    connect_s=0.4,
    hops_after_s=0.1,
    hop_s=0.2,
    opening_s=0.2,
    banner_s=2.0,
    kex_s=2.0,
    tls_s=2.0,
    first_byte_s=2.0,
    http_s=3.0,
    echo_s=0.2,
    ptr_s=2.0,
    control_s=1.0,
)


def gatherer(**over: Any) -> Gatherer:
    values: dict[str, Any] = {"budget": QUICK, "reverse": Reverse(lambda _: ("box.example",))}
    return Gatherer(**{**values, **over})


def host(*services: Service, **over: Any) -> Host:
    return Host(**{"id": "box", "address": "127.0.0.1", "services": services, **over})


async def one(service: Service, **over: Any) -> PortProbe:
    before = open_sockets()
    async with gatherer(**over) as gathering:
        (found,) = (await gathering.probe_host(host(service))).ports
    assert open_sockets() == before
    return found


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


class SilentPort:
    """A port on loopback that answers nothing: a listener whose backlog is full drops SYNs."""

    def __enter__(self) -> int:
        self._server = socket.socket()
        self._server.bind(("127.0.0.1", 0))
        self._server.listen(0)
        self._fillers = [socket.socket() for _ in range(4)]
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex(self._server.getsockname())
        return self._server.getsockname()[1]

    def __exit__(self, *_: object) -> None:
        for filler in self._fillers:
            filler.close()
        self._server.close()


# --- one port ---


@pytest.mark.parametrize(
    ("script", "opening", "words"),
    [
        (silence, Opening.SILENT, ""),
        (hang_up, Opening.CLOSED, "accepted, then closed without a byte (end of stream)"),
        (says(b"220 mail \x1b[31mready\r\nmore"), Opening.BANNER, 'it says "220 mail [31mready"'),
        (endless(b"", b"\x00\xff" * 4096), Opening.BANNER, "it says"),
    ],
)
async def test_plain_port_by_its_first_word(script: Any, opening: Opening, words: str) -> None:
    async with stand_in(script, asks=False) as peer:
        found = await one(service_for(peer.port))
    assert (found.state, found.opening, found.via) == (PortState.OPEN, opening, None)
    assert found.detail.startswith(words)
    assert found.connect_ms is not None
    assert len(found.detail) <= 256


async def test_refused_and_silent_ports() -> None:
    found = await one(service_for(closed_port()))
    assert (found.state, found.errno_name, found.icmp_type) == (PortState.REFUSED, "ECONNREFUSED", None)
    assert (found.opening, found.hops) == (Opening.NOT_READ, ())
    assert found.hops_why == "not stepped: the port is not silent"
    with SilentPort() as port:
        found = await one(service_for(port))
    assert (found.state, found.syns_sent) == (PortState.FILTERED, 1)
    assert found.hops_why == "not stepped: there is no hop on this machine"
    assert found.local_address == "127.0.0.1"


async def test_http_with_phases_and_the_bodys_first_line() -> None:
    service = Service("web", 1, ServiceKind.HTTP)
    async with stand_in(answer("\n  <h1>\x1b[2Jbroken</h1>\nmore", "503 Service Unavailable")) as peer:
        found = await one(msgspec.structs.replace(service, port=peer.port))
    assert found.http is not None
    assert (found.opening, found.http.health, found.http.status) == (Opening.BANNER, Health.FAILING, 503)
    assert found.http.first_line == "<h1>[2Jbroken</h1>"
    assert set(found.http.phases_ms) == {"tcp", "first_byte", "total"}
    assert found.http.phases_ms["total"] >= found.http.phases_ms["tcp"]
    assert "503" in found.detail


@pytest.mark.parametrize(
    ("script", "opening"),
    [(hang_up, Opening.CLOSED), (says(b"SSH-2.0-x\r\n"), Opening.GARBAGE), (silence, Opening.SILENT)],
)
async def test_http_port_that_is_none(script: Any, opening: Opening) -> None:
    budget = msgspec.structs.replace(QUICK, first_byte_s=0.2)
    async with stand_in(script, asks=False) as peer:
        found = await one(Service("web", peer.port, ServiceKind.HTTP), budget=budget)
    assert found.http is not None
    assert (found.opening, found.http.health, found.http.first_line) == (opening, Health.FAILING, "")


async def test_https_with_its_certificate(tmp_path: Path) -> None:
    async with stand_in(answer("fine"), tls=certificate(tmp_path).server) as peer:
        trusting = await one(Service("web", peer.port, ServiceKind.HTTP, tls=True, tls_verify=False))
        strict = await one(Service("web", peer.port, ServiceKind.HTTP, tls=True))
    assert trusting.http is not None
    assert strict.http is not None
    assert (trusting.http.health, trusting.http.first_line) == (Health.OK, "fine")
    assert strict.http.health is Health.FAILING
    assert {"tcp", "tls", "first_byte", "total"} == set(trusting.http.phases_ms)
    for found in (trusting, strict):
        assert found.tls is not None
        assert (found.tls.verify_error, found.opening) == ("self-signed", Opening.BANNER)


async def test_tls_without_http_uses_the_connection_that_is_there(tmp_path: Path) -> None:
    async with stand_in(silence, tls=certificate(tmp_path).server, asks=False) as peer:
        found = await one(Service("broker", peer.port, tls=True))
        assert peer.accepted == 1  # the refused one never got as far as a connection of the server's
    assert found.tls is not None
    assert (found.tls.verify_error, found.opening) == ("self-signed", Opening.BANNER)
    async with stand_in(hang_up, asks=False) as peer:
        found = await one(Service("broker", peer.port, tls=True))
    assert found.opening is Opening.CLOSED


async def test_ssh_with_its_key(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[key])
    port = server.sockets[0].getsockname()[1]
    file = tmp_path / "known"
    file.write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")

    class Trust:
        async def known(self, host: Host, port: int) -> Known:
            return Known(host.address, "me", KnownHosts().lookup([str(file)], host.address, "", port))

    class Torn:
        async def known(self, host: Host, port: int) -> Known:
            raise HandshakeError("ssh_config: line 3", layer="ssh_config")

    try:
        found = await one(Service("ssh", port, ServiceKind.SSH), trust=Trust())
        torn = await one(Service("ssh", port, ServiceKind.SSH), trust=Torn())
        bare = await one(Service("ssh", port, ServiceKind.SSH))
    finally:
        server.close()
        await server.wait_closed()
    assert found.ssh is not None
    assert (found.opening, found.ssh.host_key, found.path_mtu) == (Opening.BANNER, KeyCheck.MATCH, None)
    assert torn.ssh is not None
    assert (torn.ssh.host_key, torn.detail) == (KeyCheck.NOT_CHECKED, "host key not checked: ssh_config: line 3")
    assert bare.detail == "host key not checked: no known_hosts at hand"


async def test_stalled_key_exchange_comes_with_what_the_kernel_counted() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-stuck\r\n")
        await reader.read()

    budget = msgspec.structs.replace(QUICK, kex_s=0.2)
    async with stand_in(script, asks=False) as peer:
        found = await one(Service("ssh", peer.port, ServiceKind.SSH), budget=budget)
    assert found.ssh is not None
    assert found.ssh.kex_stalled
    # on loopback everything arrives: a slow server, not a path that swallows large packets
    assert found.path_mtu is not None
    assert found.path_mtu.retransmits == 0
    assert found.path_mtu.snd_mss_bytes > 500
    assert (found.path_mtu.pmtu_bytes or 0) >= found.path_mtu.snd_mss_bytes


def test_what_the_kernel_tells_of_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        info = tcp_info(sock)
        assert info is not None
        # the kernel's own word for the same two numbers
        assert info.snd_mss_bytes == sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        assert info.pmtu_bytes == sock.getsockopt(socket.IPPROTO_IP, 14)  # IP_MTU
        assert (info.retransmits, info.total_retransmits, info.unacked) == (0, 0, 0)
    assert tcp_info(sock) is None


async def test_word_that_only_a_stepped_connect_got_is_the_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Routers ration their errors: the only one sent may be the answer to one of the many stepped connects."""
    said = TcpResult(
        "127.0.0.1", 1, PortState.REJECTED, "ICMP 3/13 from 10.0.0.1", icmp_family=4, icmp_type=3, icmp_code=13
    )

    async def step(*_: object, **__: object) -> Stepped:
        return Stepped((), "none of 16 hops answered", said)

    monkeypatch.setattr(port, "step_hops", step)
    with SilentPort() as silent:
        found = await one(service_for(silent))
    assert (found.state, found.icmp_type, found.icmp_code) == (PortState.REJECTED, 3, 13)
    assert found.detail == "ICMP 3/13 from 10.0.0.1 (to one of several connects; the others got no answer)"
    assert found.hops_why == "none of 16 hops answered"


async def test_hops_are_stepped_for_as_many_ports_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def step(*_: object, **__: object) -> Stepped:
        return Stepped((), "stepped")

    monkeypatch.setattr(port, "step_hops", step)
    async with gatherer() as gathering:
        with SilentPort() as one_port, SilentPort() as other:
            services = (service_for(closed_port()), service_for(one_port), service_for(other))
            evidence = await gathering.probe_host(host(*services), Options(steps=1))
    why = [probe.hops_why for probe in evidence.ports]
    assert why[0] == "not stepped: the port is not silent"
    assert sorted(why[1:]) == ["not stepped: hops are stepped for 1 of a host's ports here", "stepped"]


# --- a host ---


async def test_parts_are_told_as_they_arrive_and_make_up_the_evidence() -> None:
    parts: list[Any] = []
    async with stand_in(silence, asks=False) as peer, gatherer() as gathering:
        services = (service_for(peer.port), service_for(closed_port()))
        controls = (Candidate("self", "127.0.0.1", peer.port),)
        evidence = await gathering.probe_host(
            host(labels={"region": "us-east-2"}), Options(services=services, controls=controls), parts.append
        )
    assert [probe.service for probe in evidence.ports] == list(services)
    assert [probe.state for probe in evidence.ports] == [PortState.OPEN, PortState.REFUSED]
    assert (evidence.host_id, evidence.address, evidence.region) == ("box", "127.0.0.1", "us-east-2")
    assert evidence.names is not None
    assert evidence.names.ptr == {"127.0.0.1": ("box.example",)}
    assert [one.state for one in evidence.controls] == [PortState.OPEN]
    assert isinstance(parts[0], Names)
    opened = [part for part in parts if isinstance(part, PortProbe) and part.service is services[0]]
    assert [part.opening for part in opened] == [Opening.NOT_READ, Opening.SILENT]
    for part in (*evidence.ports, evidence.echo, *evidence.controls, evidence.names):
        assert part in parts
    # the last word on each is what the evidence holds
    assert [part for part in parts if isinstance(part, Names)][-1] == evidence.names
    # it is evidence as others read it
    assert msgspec.json.decode(msgspec.json.encode(evidence), type=Evidence) == evidence


async def test_name_that_resolves_to_nothing() -> None:
    async with gatherer(resolver=Resolver(lambda _: ())) as gathering:
        evidence = await gathering.probe_host(host(service_for(22), address="box.invalid"))
    (probe,) = evidence.ports
    assert probe.state is PortState.UNRESOLVED
    assert "has no address" in probe.detail
    assert evidence.names is not None
    assert (evidence.names.name, evidence.names.addresses) == ("box.invalid", ())
    assert evidence.names.error is not None
    assert evidence.echo == Echo(outcome="not_measured", detail="there is no address to ask")


async def test_name_that_does_not_resolve_is_probed_at_its_labels_address() -> None:
    async with stand_in(silence, asks=False) as peer, gatherer(resolver=Resolver(lambda _: ())) as gathering:
        box = host(service_for(peer.port), address="box.invalid", labels={"address": "127.0.0.1"})
        evidence = await gathering.probe_host(box)
    assert evidence.ports[0].state is PortState.OPEN
    assert evidence.names is not None
    assert (evidence.names.addresses, evidence.names.expected) == ((), ("127.0.0.1",))
    assert "label" in evidence.notes[0]


async def test_several_addresses_speak_for_one_port() -> None:
    async with stand_in(silence, asks=False, host="127.0.0.2") as peer:
        names = Resolver(lambda _: ("127.0.0.1", "127.0.0.2"))
        async with gatherer(resolver=names) as gathering:
            evidence = await gathering.probe_host(host(service_for(peer.port), address="box.example"))
        await names.close()
    assert (evidence.ports[0].state, evidence.ports[0].address) == (PortState.OPEN, "127.0.0.2")
    assert "127.0.0.1 refused" in evidence.ports[0].detail


async def test_unknown_host_with_any_ports() -> None:
    assert service_for(22) == Service("ssh", 22, ServiceKind.SSH)
    assert service_for(8001) == Service("tcp-8001", 8001)
    async with gatherer() as gathering:
        services = tuple(service_for(port) for port in (closed_port(), closed_port()))
        evidence = await gathering.probe_host(Host(id="127.0.0.1", address="127.0.0.1"), Options(services=services))
    assert {probe.state for probe in evidence.ports} == {PortState.REFUSED}


async def test_defect_in_one_probe_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with gatherer() as gathering:
        probing = gathering._tools.ports.probe

        async def fail(wanted: Any, on_part: Any) -> PortProbe:
            if wanted.service.name == "bad":
                raise KeyError("oops")
            return await probing(wanted, on_part)

        monkeypatch.setattr(gathering._tools.ports, "probe", fail)
        evidence = await gathering.probe_host(host(Service("bad", 1), Service("good", closed_port())))
    assert [probe.state for probe in evidence.ports] == [PortState.NOT_PROBED, PortState.REFUSED]
    assert evidence.ports[0].detail == "the probe itself failed: KeyError: 'oops'"


# --- by other ways ---


class Way:
    """One answer for every host."""

    def __init__(self, route: Route | Exception) -> None:
        self._route = route

    async def route(self, host: Host) -> Route:
        if isinstance(self._route, Exception):
            raise self._route
        return self._route


class Tunnel:
    """Tunnels from a jump host that is this machine, to the ports that ``refused`` does not name."""

    def __init__(self, refused: dict[int, Exception] | None = None) -> None:
        self._refused = refused or {}
        self.opened: list[int] = []

    async def open(self, host_id: str, port: int) -> Any:
        if port in self._refused:
            raise self._refused[port]
        self.opened.append(port)
        return await asyncio.open_connection("127.0.0.1", port)


async def test_behind_a_jump_host_it_is_the_jump_hosts_word() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[key])
    async with stand_in(answer("hi")) as web, stand_in(hang_up, asks=False) as dead:
        services = (
            Service("ssh", server.sockets[0].getsockname()[1], ServiceKind.SSH),
            Service("web", web.port, ServiceKind.HTTP),
            Service("dead", dead.port),
            Service("none", 7),
            Service("off", 8),
            Service("barred", 9),
        )
        tunnels = Tunnel(
            {
                7: TunnelRefused(2, "Connection refused"),
                8: TunnelUnavailable("no connection to the jump host"),
                9: TunnelRefused(1, "open failed"),
            }
        )
        # an address that only the jump host can reach: dialled from here it would look filtered
        routes = Way(Route("10.255.255.1", 22, "gate"))
        async with gatherer(routes=routes, tunnels=tunnels) as gathering:
            evidence = await gathering.probe_host(host(*services, address="10.255.255.1"))
    server.close()
    await server.wait_closed()
    ssh, http, gone, none, off, barred = evidence.ports
    assert {probe.via for probe in evidence.ports} == {"gate"}
    assert ssh.ssh is not None
    assert (ssh.ssh.opening, ssh.ssh.fingerprint) == (Opening.BANNER, key.get_fingerprint())
    assert http.http is not None
    assert (http.http.health, http.connect_ms) == (Health.OK, None)
    assert gone.opening is Opening.CLOSED
    assert (none.state, none.detail) == (PortState.REFUSED, "the jump host says: Connection refused")
    assert (off.state, off.detail) == (PortState.NOT_PROBED, "no connection to the jump host")
    assert barred.state is PortState.NOT_PROBED
    assert "does not allow forwarding" in barred.detail
    assert evidence.echo is not None
    assert evidence.echo.outcome == "not_measured"
    assert evidence.names is None
    assert evidence.notes


async def test_certificate_behind_a_jump_host(tmp_path: Path) -> None:
    async with stand_in(answer("hi"), tls=certificate(tmp_path).server) as web:
        service = Service("web", web.port, ServiceKind.HTTP, tls=True, tls_verify=False)
        found = await one(service, routes=Way(Route("127.0.0.1", 22, "gate")), tunnels=Tunnel())
    assert found.http is not None
    assert found.tls is not None
    assert (found.http.health, found.tls.verify_error) == (Health.OK, "self-signed")


@pytest.mark.parametrize(
    ("route", "words"),
    [
        (Route("10.0.0.1", 22, None, "a ProxyCommand leads to it"), "a ProxyCommand leads to it"),
        (HandshakeError("ssh_config: line 3", layer="ssh_config"), "no way known: ssh_config: line 3"),
        (Route("10.0.0.1", 22, "gate"), "no SSH connection to the jump host"),
    ],
)
async def test_without_a_way_nothing_is_probed_and_nothing_claimed(route: Any, words: str) -> None:
    async with gatherer(routes=Way(route)) as gathering:
        evidence = await gathering.probe_host(host(service_for(22), service_for(80), address="10.0.0.1"))
    assert {probe.state for probe in evidence.ports} == {PortState.NOT_PROBED}
    assert all(words in probe.detail for probe in evidence.ports)
    assert evidence.echo is not None
    assert evidence.echo.outcome == "not_measured"


# --- many, and none left ---


async def test_fleet_with_few_sockets() -> None:
    told: list[str] = []
    before = open_sockets()
    async with stand_in(silence, asks=False) as peer, gatherer(sockets=3) as gathering:
        hosts = [host(service_for(peer.port), service_for(closed_port()), id=f"h{n}") for n in range(8)]
        found = await gathering.probe_fleet(hosts, on_part=lambda host_id, _: told.append(host_id))
    assert set(found) == set(told) == {f"h{n}" for n in range(8)}
    for evidence in found.values():
        assert [probe.state for probe in evidence.ports] == [PortState.OPEN, PortState.REFUSED]
    assert open_sockets() == before
    assert not other_tasks()


@pytest.mark.parametrize("kind", [ServiceKind.SSH, ServiceKind.HTTP, ServiceKind.TCP])
async def test_cancelled_it_leaves_no_task_and_no_socket(kind: ServiceKind, tmp_path: Path) -> None:
    before = open_sockets()
    patient = msgspec.structs.replace(QUICK, opening_s=60.0, banner_s=60.0, first_byte_s=60.0, http_s=60.0)
    async with stand_in(silence, asks=False) as peer, gatherer(budget=patient) as gathering:
        with SilentPort() as silent:
            services = (Service("held", peer.port, kind), service_for(silent))
            task = asyncio.create_task(gathering.probe_fleet([host(*services, id="a"), host(*services, id="b")]))
            await until(lambda: peer.held == 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await until(lambda: peer.held == 0)
    await until(lambda: not other_tasks())
    await until(lambda: open_sockets() == before)


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_at_any_moment_it_leaves_nothing(turns: int) -> None:
    before = open_sockets()
    async with stand_in(says(b"hello\r\n"), asks=False) as peer, gatherer() as gathering:
        task = asyncio.create_task(gathering.probe_host(host(service_for(peer.port))))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: peer.held == 0)
    await until(lambda: not other_tasks())
    await until(lambda: open_sockets() == before)
