"""What files say of how to reach a host: read in a thread, in bounded time, and never out of date by much."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import asyncssh

from probes.hosts import transport as module
from probes.hosts.asker import NobodyToAsk
from probes.hosts.known_hosts import KnownHosts
from probes.hosts.ssh_config import plan_for
from probes.hosts.transport import Transport
from probes.model import LinkState
from probes.reach.resolve import Resolver
from tests.support.sshd import FakeHost, Keys
from tests.support.watching import settings_for, watching

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from probes.hosts.known_hosts import Trusted


class _Lookups:
    """Counts what is asked of known_hosts; ``hold`` makes it wait, as a dead file server would."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count, self.hold = 0, threading.Event()
        self.hold.set()
        lookup = KnownHosts.lookup

        def counted(known: KnownHosts, *arguments: Any) -> Trusted:
            self.count += 1
            self.hold.wait(10)
            return lookup(known, *arguments)

        patch.setattr(KnownHosts, "lookup", counted)


async def test_known_hosts_are_asked_again_when_dialling_took_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = _Lookups(monkeypatch)
    async with FakeHost(tmp_path, Keys(tmp_path)) as server:
        async with watching(settings_for(server.host())) as watch:
            await watch.until(lambda r: r.link.state is LinkState.LIVE)
        assert lookups.count == 1
        monkeypatch.setattr(module, "_FRESH_S", -1.0)
        async with watching(settings_for(server.host())) as watch:
            await watch.until(lambda r: r.link.state is LinkState.LIVE)
        assert lookups.count == 3


async def test_a_fleet_that_starts_reads_the_same_files_a_few_times_and_not_for_each_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = _Lookups(monkeypatch)
    async with FakeHost(tmp_path, Keys(tmp_path)) as server:
        hosts = [server.host(f"host-{number}") for number in range(12)]
        async with watching(settings_for(*hosts)) as watch:
            for host in hosts:
                await watch.until(lambda r: r.link.state is LinkState.LIVE, host.id)
        assert 1 <= lookups.count <= module._READS


async def test_a_key_that_changed_in_a_file_counts_at_once_for_a_person_who_reconnects(tmp_path: Path) -> None:
    async with FakeHost(tmp_path, Keys(tmp_path)) as server:
        server.write_known_hosts(asyncssh.generate_private_key("ssh-ed25519"))
        async with watching(settings_for(server.host())) as watch:
            await watch.until(lambda r: r.link.state is LinkState.HOST_KEY_CHANGED)
            server.write_known_hosts()
            watch.supervisor.reconnect("fake")
            await watch.until(lambda r: r.link.state is LinkState.LIVE)


async def test_files_that_do_not_answer_are_named_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lookups = _Lookups(monkeypatch)
    lookups.hold.clear()
    monkeypatch.setattr(module, "_FILES_S", 0.2)
    async with FakeHost(tmp_path, Keys(tmp_path)) as server:
        async with watching(settings_for(server.host())) as watch:
            record = await watch.until(lambda r: r.link.cause)
            assert record.link.layer == "ssh_config"
            assert "took over 0.2 s" in (record.link.cause or "")
            lookups.hold.set()
            await watch.until(lambda r: r.link.state is LinkState.LIVE)


async def test_a_plan_made_while_the_configuration_was_reloaded_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeHost(tmp_path, Keys(tmp_path)) as server:
        host = server.host(user=None)
        settings = settings_for(host)
        resolver = Resolver()
        transport = Transport(settings, resolver, NobodyToAsk())
        try:

            def reloading(*arguments: Any) -> Any:
                transport.apply(settings_for(host, config_files=(str(tmp_path / "config"),)))
                return plan_for(*arguments)

            (tmp_path / "config").write_text("User other\n")
            monkeypatch.setattr(module, "plan_for", reloading)
            await transport.plan(host)
            monkeypatch.setattr(module, "plan_for", plan_for)
            assert (await transport.plan(host)).user == "other"
        finally:
            await transport.close()
            await resolver.close()
