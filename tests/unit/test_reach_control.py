from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from probes.model import Host, PortState, Service, ServiceKind
from probes.reach.anchor import Candidate, parse_anchor
from probes.reach.control import choose, control
from probes.reach.resolve import Resolver
from tests.support.leaks import open_sockets, other_tasks

if TYPE_CHECKING:
    from probes.evidence import ControlProbe

TARGET = Host(id="gpu-1", address="10.0.0.1")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [("1.1.1.1:443", "1.1.1.1", 443), (" gw.example:22 ", "gw.example", 22), ("[2001:db8::1]:53", "2001:db8::1", 53)],
)
def test_anchor(text: str, address: str, port: int) -> None:
    assert parse_anchor(text) == Candidate(text.strip(), address, port)


@pytest.mark.parametrize("text", ["", "gw", ":22", "gw:0", "gw:65536", "gw:²", "2001:db8::1:53", "gw:-1", "gw: 22"])
def test_what_is_no_anchor_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_anchor(text)


def test_choice_puts_anchors_first_then_hosts_that_are_live() -> None:
    fleet = [
        TARGET,
        Host(id="twin", address="10.0.0.1"),
        Host(id="here", address="localhost", local=True),
        Host(id="loop", address="127.0.0.1"),
        Host(id="behind", address="10.0.0.2", proxy_jump="jump"),
        Host(id="dead", address="10.0.0.3"),
        Host(id="alive", address="10.0.0.4", services=(Service("ssh", 2222, ServiceKind.SSH),)),
        Host(id="direct", address="10.0.0.5", proxy_jump="none", port=2200),
    ]
    found = choose(TARGET, fleet, [Candidate("gw", "10.0.0.254", 443)], live={"alive"})
    assert found == (
        Candidate("gw", "10.0.0.254", 443),
        Candidate("alive", "10.0.0.4", 2222),
        Candidate("dead", "10.0.0.3", 22),
        Candidate("direct", "10.0.0.5", 2200),
    )


def test_choice_is_small_and_names_nobody_twice() -> None:
    fleet = [Host(id=f"h{n}", address=f"10.0.1.{n}") for n in range(50)]
    assert len(choose(TARGET, fleet)) == 4
    anchors = [Candidate("a", "10.0.1.0", 22)]
    assert [one.target for one in choose(TARGET, fleet, anchors)] == ["a", "h1", "h2", "h3"]
    assert choose(TARGET, []) == ()


def test_loopback_is_a_control_only_for_loopback() -> None:
    fleet = [Host(id="a", address="127.1.0.1"), Host(id="b", address="127.1.0.2")]
    assert [one.target for one in choose(fleet[0], fleet)] == ["b"]
    assert choose(TARGET, fleet) == ()


async def test_open_and_refused_and_unresolved() -> None:
    parts: list[ControlProbe] = []
    resolver = Resolver(lambda _: ())
    before = open_sockets()
    with socket.create_server(("127.0.0.1", 0)) as server:
        candidates = [
            Candidate("up", "127.0.0.1", server.getsockname()[1]),
            Candidate("down", "127.0.0.1", closed_port()),
            Candidate("nowhere", "nowhere.example", 22),
        ]
        found = await control(candidates, resolver, 2.0, parts.append)
    await resolver.close()
    assert [one.state for one in found] == [PortState.OPEN, PortState.REFUSED, PortState.UNRESOLVED]
    assert [one.target for one in found] == ["up", "down", "nowhere"]
    assert found[0].connect_ms is not None
    assert found[2].address == "nowhere.example"
    assert "has no address" in found[2].detail
    assert not any(one.at_once or one.offender_is_own for one in found)
    assert set(parts) == set(found)
    assert open_sockets() == before
    assert not other_tasks()


async def test_what_fails_before_a_packet_leaves_is_at_once() -> None:
    # the limited broadcast is no host: connect itself refuses to dial it
    (found,) = await control([Candidate("x", "255.255.255.255", 22)], Resolver(), 2.0)
    assert found.at_once
    assert found.state is not PortState.FILTERED


async def test_no_candidates_no_controls() -> None:
    assert await control([], Resolver(), 1.0) == ()


async def test_cancelled_it_leaves_nothing() -> None:
    before = open_sockets()
    with socket.create_server(("127.0.0.1", 0)) as server:
        task = asyncio.create_task(control([Candidate("a", "127.0.0.1", server.getsockname()[1])], Resolver(), 9.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert open_sockets() == before
    assert not other_tasks()
