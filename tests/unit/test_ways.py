from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from probes.config import Settings, Ssh
from probes.errors import HandshakeError
from probes.hosts.asker import NobodyToAsk
from probes.hosts.transport import Transport
from probes.hosts.ways import Ways
from probes.model import Host
from probes.reach.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
async def ways(tmp_path: Path) -> AsyncIterator[Callable[[str, str], Ways]]:
    """Makes ways from the text of an ssh_config and of a known_hosts file."""
    made: list[Any] = []

    def make(config: str, known: str = "") -> Ways:
        (tmp_path / "config").write_text(config)
        (tmp_path / "known").write_text(known)
        ssh = Ssh(config_files=(str(tmp_path / "config"),), known_hosts=(str(tmp_path / "known"),), agent=False)
        resolver = Resolver()
        transport = Transport(Settings(hosts=(), ssh=ssh), resolver, NobodyToAsk())
        made.extend((transport, resolver))
        return Ways(transport)

    yield make
    for one in made:
        await one.close()


async def test_way_to_a_host_is_ssh_configs(ways: Callable[..., Ways]) -> None:
    found = ways(
        "Host gpu1\n HostName 10.0.0.1\n Port 2200\nHost gpu2\n ProxyJump gate\nHost gpu3\n ProxyCommand nc %h\n"
    )
    direct = await found.route(Host("gpu1", "gpu1"))
    assert (direct.address, direct.ssh_port, direct.via, direct.blocked) == ("10.0.0.1", 2200, None, None)
    assert (await found.route(Host("gpu2", "gpu2"))).via == "gate"
    assert "ProxyCommand" in ((await found.route(Host("gpu3", "gpu3"))).blocked or "")


async def test_known_key_is_looked_up_by_name_and_by_the_port_that_is_probed(ways: Callable[..., Ways]) -> None:
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(2)]
    lines = [key.export_public_key().decode().strip() for key in keys]
    found = ways(
        "Host gpu1\n HostName 10.0.0.1\n User ubuntu\n HostKeyAlias one\n", f"one {lines[0]}\n[one]:2222 {lines[1]}\n"
    )
    host = Host("gpu1", "gpu1")
    for port, key in ((22, keys[0]), (2222, keys[1])):
        known = await found.known(host, port)
        assert (known.name, known.user) == ("one", "ubuntu")
        assert key.convert_to_public() in known.trusted.keys
    assert not (await found.known(Host("x", "198.51.100.7"), 22)).trusted.known


async def test_malformed_ssh_config_is_said(ways: Callable[..., Ways]) -> None:
    found = ways("Port nonsense\n")
    for asking in (found.route(Host("a", "a")), found.known(Host("a", "a"), 22)):
        with pytest.raises(HandshakeError, match="ssh_config"):
            await asking
