"""A whole diagnosis between real namespaces: the probe table, named hops, echo, controls, and a path-MTU black hole."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from tests.support.netns import Net
from tests.support.probe_table import HOP_4, HOP_6, LINES, OWN_4, OWN_6, TABLE, V4, V6, Line, icmp_of, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("netns", "nft", "ip", "nsenter")

#: one port of the table that answers, one that is silent, one that our own firewall rejects
_CONTROLS = [("server", V4, 7001), ("none", V4, 7002), ("hole", V4, 7006), ("own", V4, 7008), ("off", "10.97.0.1", 80)]


def host(address: str, *ports: int, kind: str = "tcp") -> dict[str, Any]:
    services = [{"name": str(port), "port": port, "kind": kind} for port in ports]
    return {"id": address, "address": address, "services": services}


# --- the probe table ---


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, Any]]:
    with Net() as net:
        prepare(net)
        by_address = itertools.groupby(sorted(LINES, key=lambda line: line.address), key=lambda line: line.address)
        hosts = [host(address, *(line.port for line in lines)) for address, lines in by_address]
        controls = [{"target": name, "address": address, "port": port} for name, address, port in _CONTROLS]
        yield net.gather(*hosts, controls=controls)


def port_of(table: dict[str, Any], line: Line) -> dict[str, Any]:
    return next(port for port in table[line.address]["ports"] if port["service"]["port"] == line.port)


@pytest.mark.parametrize("what", TABLE)
def test_probe_table_as_evidence(table: dict[str, Any], what: str) -> None:
    for line in TABLE[what]:
        found = port_of(table, line)
        seen = (found["state"], found["errno_name"], icmp_of(found), found["offender"])
        assert seen == (line.state, line.errno_name, line.icmp, line.offender), (line, found)
        assert line.words in found["detail"], (line, found)
        assert found["icmp_family"] == (None if line.icmp is None else 6 if ":" in line.address else 4)
        assert found["offender_is_own"] is (line.offender in (OWN_4, OWN_6))
        assert (found["connect_ms"] is not None) == (line.state == "open")
        assert found["via"] is None


def test_what_never_left_is_told_from_what_was_not_answered(table: dict[str, Any]) -> None:
    for line in TABLE["no route of our own"] + TABLE["own prohibiting route"]:
        found = port_of(table, line)
        assert found["at_once"], found
        assert found["syns_sent"] is None
    for line in TABLE["drop"] + TABLE["own reject"] + TABLE["no neighbour on our network"]:
        assert not port_of(table, line)["at_once"]


def test_silence_after_three_questions_names_the_last_hop(table: dict[str, Any]) -> None:
    """The router's time-exceeded comes before its filter: a packet dropped there has still reached it."""
    for what in ("drop", "drop of the reply", "drop by a router"):
        for line in TABLE[what]:
            found = port_of(table, line)
            assert found["syns_sent"] >= 3
            hop = HOP_6 if ":" in line.address else HOP_4
            assert [(one["ttl"], one["address"]) for one in found["hops"]] == [(1, hop)], found
            assert found["hops_why"] == f"stepped 16 hops; the last that answered is {hop}"
    for line in TABLE["own drop"]:
        found = port_of(table, line)
        assert found["hops"] == []
        assert found["hops_why"].startswith("none of 16 hops answered")


def test_hops_are_stepped_for_silent_ports_only(table: dict[str, Any]) -> None:
    for line in LINES:
        if line.state != "filtered":
            assert port_of(table, line)["hops"] == [], line


def test_controls_prove_our_way_out_or_that_it_is_shut(table: dict[str, Any]) -> None:
    for evidence in table.values():
        found = {control["target"]: control for control in evidence["controls"]}
        states = {name: control["state"] for name, control in found.items()}
        assert states == {
            "server": "open",
            "none": "refused",
            "hole": "filtered",
            "own": "rejected_by_firewall",
            "off": "unreachable",
        }
        assert [name for name, control in found.items() if control["offender_is_own"]] == ["own"]
        assert [name for name, control in found.items() if control["at_once"]] == ["off"]


def test_open_port_that_says_nothing_is_silent(table: dict[str, Any]) -> None:
    for line in TABLE["open"]:
        assert port_of(table, line)["opening"] == "silent"


# --- two routers: who had the packet last, and what their link lets through ---

_DROPS = {
    "server": "chain in { type filter hook input priority 0; tcp dport 7101 drop; }\n",
    "far_router": "chain through { type filter hook forward priority 0; tcp dport 7102 drop; }\n",
    "router": "chain through { type filter hook forward priority 0; tcp dport 7103 drop; }\n",
    "watcher": "chain out { type filter hook output priority 0; tcp dport 7104 drop; }\n",
}
#: neither router tells anybody that a packet was too big
_NO_WORD = """
  chain out {
    type filter hook output priority 0;
    icmp type destination-unreachable icmp code frag-needed drop
    icmpv6 type packet-too-big drop
  }
"""
_SSH_SERVER = """
import asyncio, sys, asyncssh
async def main():
    await asyncssh.listen("::", 7122, server_host_keys=[sys.argv[1]])
    await asyncssh.listen("0.0.0.0", 7122, server_host_keys=[sys.argv[1]])
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


class Long:
    """A net with two routers, a low MTU between them, and an SSH server behind; ``key`` is its host key."""

    def __init__(self, net: Net, known_hosts: str, fingerprint: str) -> None:
        self.net = net
        self.known_hosts = known_hosts
        self.fingerprint = fingerprint


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Long]:
    folder: Path = tmp_path_factory.mktemp("long")
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(folder / "key")
    public = key.export_public_key().decode().strip()
    known = folder / "known"
    known.write_text("".join(f"[{address}]:7122 {public}\n" for address in (V4, V6)))
    with Net(routers=2, middle_mtu=1300) as net:
        for name, chain in _DROPS.items():
            getattr(net, name).rules(f"table inet t {{\n{chain}}}")
        net.start(net.server, sys.executable, "-c", _SSH_SERVER, str(folder / "key"))
        yield Long(net, str(known), key.get_fingerprint())


@pytest.mark.parametrize(("address", "hops"), [(V4, (HOP_4, "10.77.9.2")), (V6, (HOP_6, "fd77:9::2"))])
def test_hops_through_two_routers(long: Long, address: str, hops: tuple[str, str]) -> None:
    evidence = long.net.gather(host(address, 7101, 7102, 7103, 7104))[address]
    seen = {
        port["service"]["port"]: [(hop["ttl"], hop["address"]) for hop in port["hops"]] for port in evidence["ports"]
    }
    near, far = (1, hops[0]), (2, hops[1])
    assert {port["state"] for port in evidence["ports"]} == {"filtered"}
    assert seen == {7101: [near, far], 7102: [near, far], 7103: [near], 7104: []}
    for port in evidence["ports"]:
        assert all(hop["rtt_ms"] is None or hop["rtt_ms"] > 0 for hop in port["hops"])


def test_routers_that_say_it_shrink_the_segments_and_ssh_works(long: Long) -> None:
    for address in (V4, V6):
        evidence = long.net.gather(host(address, 7122, kind="ssh"), known_hosts=long.known_hosts)[address]
        (port,) = evidence["ports"]
        assert (port["state"], port["opening"], port["path_mtu"]) == ("open", "banner", None)
        assert (port["ssh"]["kex_stalled"], port["ssh"]["host_key"]) == (False, "match")
        assert port["ssh"]["fingerprint"] == long.fingerprint


def test_path_mtu_black_hole(long: Long) -> None:
    """The banner comes, the key exchange stalls; the kernel sends the same full segment again and again."""
    for name in ("router", "far_router"):
        getattr(long.net, name).rules(f"table inet t {{\n{_DROPS[name]}{_NO_WORD}}}")
    for space in (long.net.watcher, long.net.server):
        # what the routers said before must not be remembered
        for family in ("-4", "-6"):
            space.run("ip", family, "route", "flush", "cache")
    for address, header in ((V4, 40), (V6, 60)):
        evidence = long.net.gather(host(address, 7122, kind="ssh"), known_hosts=long.known_hosts)[address]
        (port,) = evidence["ports"]
        assert (port["state"], port["opening"]) == ("open", "banner"), port
        assert port["ssh"]["kex_stalled"]
        assert port["ssh"]["host_key"] == "not_checked"
        mtu = port["path_mtu"]
        assert mtu["retransmits"] >= 2, mtu
        assert mtu["unacked"] >= 1
        # stuck at the size of our own link, which the middle one does not carry
        assert 1300 - header < mtu["snd_mss_bytes"] <= 1500 - header
        assert mtu["pmtu_bytes"] == 1500


# --- echo ---


@pytest.fixture(scope="module", params=["icmp socket", "ping"])
def echoing(request: pytest.FixtureRequest) -> Iterator[tuple[Net, str]]:
    """A net, and the way that an echo must take in it: where no socket may be opened, the program's."""
    with Net() as net:
        if request.param == "icmp socket":
            net.allow_icmp_sockets()
        net.watcher.run("ip", "route", "add", "unreachable", "10.97.0.0/16")
        yield net, request.param


_NO_ECHO = """
table inet t {
  chain in {
    type filter hook input priority 0;
    icmp type echo-request drop
    icmpv6 type echo-request drop
  }
}
"""


@pytest.mark.needs("ping")
def test_echo(echoing: tuple[Net, str]) -> None:
    net, method = echoing
    for rules, outcome in (("", "reply"), (_NO_ECHO, "no_reply")):
        net.server.rules(rules)
        for address, evidence in net.gather(host(V4), host(V6)).items():
            echo = evidence["echo"]
            assert (echo["outcome"], echo["method"]) == (outcome, method), (address, echo)
            assert (echo["rtt_ms"] is not None) == (outcome == "reply")


@pytest.mark.needs("ping")
def test_who_refuses_an_echo_is_named(echoing: tuple[Net, str]) -> None:
    net, _ = echoing
    for address, hop in (("10.99.0.1", HOP_4), ("fd99::1", HOP_6)):
        echo = net.gather(host(address))[address]["echo"]
        assert echo["outcome"] == "no_reply", echo
        assert hop in echo["detail"]


@pytest.mark.needs("ping")
def test_echo_that_cannot_leave_is_not_measured(echoing: tuple[Net, str]) -> None:
    net, _ = echoing
    echo = net.gather(host("10.97.0.1"))["10.97.0.1"]["echo"]
    assert echo["outcome"] == "not_measured", echo
    assert "route" in echo["detail"].lower() or "unreachable" in echo["detail"].lower(), echo
