"""Services of a host behind a real jump host: probed from there, by its word, and never directly."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING

import pytest

from probes.config import Intervals
from probes.evidence import KeyCheck, Opening
from probes.headless import take_snapshot
from probes.model import Health, LinkState, PortState, Service, ServiceKind
from probes.reach.gather import Gatherer
from tests.support.http_standin import answer, stand_in
from tests.support.sshd import Keys, RealSshd
from tests.support.watching import settings_for, watching

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs("sshd")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


async def test_services_behind_a_jump_host(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "jump", keys) as jump, RealSshd(tmp_path / "target", keys) as target:
        known = tmp_path / "known"
        known.write_text(jump.known_hosts.read_text() + target.known_hosts.read_text())
        async with stand_in(answer('"0.14.5"')) as server:
            services = (
                Service("ssh", target.port, ServiceKind.SSH),
                Service("voice", server.port, ServiceKind.VOICEVOX),
                Service("none", closed_port()),
            )
            spec = f"{target.host().user}@{jump.address}:{jump.port}"
            host = target.host(proxy_jump=spec, known_hosts=(str(known),), services=services)
            async with watching(settings_for(host)) as watch:
                record = await watch.until(
                    lambda r: (
                        {s.state for s in r.services.values()} == {PortState.OPEN, PortState.REFUSED}
                        and len(r.services) == 3
                    )
                )
                voice, none, ssh = (record.services[name] for name in ("voice", "none", "ssh"))
            assert {state.via for state in (voice, none, ssh)} == {spec}
            assert (voice.state, voice.health, voice.detail) == (PortState.OPEN, Health.OK, "200, version 0.14.5")
            assert voice.connect_ms is None
            assert voice.phases_ms["tunnel"] > 0
            assert (none.state, none.detail) == (PortState.REFUSED, "the jump host says: Connection refused")
            assert (ssh.state, ssh.detail) == (PortState.OPEN, "from the live session")


async def test_a_snapshot_waits_until_the_services_behind_a_jump_host_were_probed(tmp_path: Path, keys: Keys) -> None:
    """The first round finds no connection to the jump host; the next one is far off."""
    with RealSshd(tmp_path / "jump", keys) as jump, RealSshd(tmp_path / "target", keys) as target:
        known = tmp_path / "known"
        known.write_text(jump.known_hosts.read_text() + target.known_hosts.read_text())
        async with stand_in(answer('"0.14.5"')) as server:
            services = (Service("voice", server.port, ServiceKind.VOICEVOX), Service("none", closed_port()))
            spec = f"{target.host().user}@{jump.address}:{jump.port}"
            host = target.host(proxy_jump=spec, known_hosts=(str(known),), services=services)
            taken = await take_snapshot(settings_for(host, intervals=Intervals(services_s=600.0)), 20.0)
    (one,) = taken["hosts"]
    assert one["link"]["state"] == "live"
    assert [(each["state"], each["via"]) for each in one["services"]] == [("open", spec), ("refused", spec)]


async def test_a_host_that_is_its_own_jump_host_is_no_reason_for_those_behind_it(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "jump", keys) as jump:
        spec = f"{jump.host().user}@{jump.address}:{jump.port}"
        hosts = (
            jump.host("itself", proxy_jump=spec),
            jump.host("behind", proxy_jump=spec, address="127.0.0.6"),
        )
        async with watching(settings_for(*hosts)) as watch:
            itself = await watch.until(lambda r: r.link.cause is not None, "itself")
            behind = await watch.until(lambda r: r.link.cause is not None, "behind")
    assert itself.link.cause == f"jump host {spec}: is the host itself"
    assert "the jump host could not reach 127.0.0.6" in (behind.link.cause or "")


async def test_diagnosis_of_a_host_behind_a_jump_host(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "jump", keys) as jump, RealSshd(tmp_path / "target", keys) as target:
        known = tmp_path / "known"
        known.write_text(jump.known_hosts.read_text() + target.known_hosts.read_text())
        services = (Service("ssh", target.port, ServiceKind.SSH), Service("none", closed_port()))
        spec = f"{target.host().user}@{jump.address}:{jump.port}"
        host = target.host(proxy_jump=spec, known_hosts=(str(known),), services=services)
        async with watching(settings_for(host)) as watch:
            await watch.until(lambda r: r.link.state is LinkState.LIVE)
            backend = watch.supervisor
            async with Gatherer(routes=backend.ways, trust=backend.ways, tunnels=backend) as gathering:
                evidence = await gathering.probe_host(host)
        ssh, none = evidence.ports
        assert {ssh.via, none.via} == {spec}
        assert ssh.ssh is not None
        assert (ssh.state, ssh.opening, ssh.ssh.host_key) == (PortState.OPEN, Opening.BANNER, KeyCheck.MATCH)
        assert (none.state, none.detail) == (PortState.REFUSED, "the jump host says: Connection refused")
        assert evidence.echo is not None
        assert evidence.echo.outcome == "not_measured"
        # the session logs in, the probe leaves before it would have to say who it is
        await logged(target, r"Connection (closed|reset) by .* \[preauth\]")
        lines = target.log.read_text().splitlines()
        assert sum(line.startswith("Accepted publickey") for line in lines) == 1
        assert sum(line.startswith("Starting session") for line in lines) == 1


async def logged(server: RealSshd, pattern: str) -> None:
    """Wait for such a line in sshd's log: its processes write when they get to it."""
    async with asyncio.timeout(10):
        while True:
            if any(re.match(pattern, line) for line in server.log.read_text().splitlines()):
                return
            await asyncio.sleep(0.05)


async def test_without_the_jump_host_nothing_is_claimed(tmp_path: Path, keys: Keys) -> None:
    """The address behind it is one that would answer directly: it must not be asked."""
    with RealSshd(tmp_path / "target", keys) as target:
        async with stand_in(answer("ok")) as server:
            services = (Service("ssh", target.port, ServiceKind.SSH), Service("web", server.port, ServiceKind.HTTP))
            spec = f"{target.host().user}@127.0.0.1:{closed_port()}"
            host = target.host(proxy_jump=spec, services=services)
            async with watching(settings_for(host)) as watch:
                record = await watch.until(lambda r: len(r.services) == 2)
                assert {state.state for state in record.services.values()} == {PortState.NOT_PROBED}
                assert "jump host" in record.services["web"].detail
                assert "jump host" in record.services["ssh"].detail
            assert server.accepted == 0
