"""Every line of the probe table, seen by the real kernel between real namespaces, for IPv4 and IPv6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.netns import Net

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.needs("netns", "nft", "ip", "nsenter")

_SERVER_RULES = """
table inet t {
  chain in {
    type filter hook input priority 0;
    tcp dport 7003 reject with tcp reset
    tcp dport 7004 reject
    tcp dport 7005 reject with icmpx admin-prohibited
    tcp dport 7006 drop
    tcp dport 7013 reject with icmpx host-unreachable
    meta nfproto ipv4 tcp dport 7012 reject with icmp host-prohibited
    meta nfproto ipv4 tcp dport 7014 reject with icmp net-prohibited
  }
  chain out {
    type filter hook output priority 0;
    tcp sport 7007 drop
  }
}
"""
_WATCHER_RULES = """
table inet t {
  chain out {
    type filter hook output priority 0;
    tcp dport 7008 reject
    tcp dport 7009 drop
    tcp dport 7017 reject with icmpx admin-prohibited
  }
}
"""
_ROUTER_RULES = """
table inet t {
  chain through {
    type filter hook forward priority 0;
    tcp dport 7010 reject with icmpx admin-prohibited
    tcp dport 7011 reject
    tcp dport 7016 drop
  }
}
"""
_WATCHER_ROUTES = ("unreachable 10.97.0.0/16", "prohibit 10.96.0.0/16", "blackhole 10.95.0.0/16")
_WATCHER_ROUTES_6 = ("unreachable fd97::/16", "prohibit fd96::/16", "blackhole fd95::/16")
_ROUTER_ROUTES = ("prohibit 10.98.0.0/16", "prohibit fd98::/16")

_V4, _V6 = "10.77.2.2", "fd77:2::2"
_OWN_4, _OWN_6 = "10.77.1.2", "fd77:1::2"
_HOP_4, _HOP_6 = "10.77.1.1", "fd77:1::1"


class Line(NamedTuple):
    address: str
    port: int
    state: str
    errno_name: str | None
    icmp: tuple[int, int] | None = None
    offender: str | None = None
    words: str = ""


_TABLE = {
    "open": [Line(_V4, 7001, "open", None), Line(_V6, 7001, "open", None)],
    "nothing listens": [
        Line(_V4, 7002, "refused", "ECONNREFUSED", words="nothing listens"),
        Line(_V6, 7002, "refused", "ECONNREFUSED", words="nothing listens"),
    ],
    "reject with a reset": [
        Line(_V4, 7003, "refused", "ECONNREFUSED"),
        Line(_V6, 7003, "refused", "ECONNREFUSED"),
    ],
    "reject (default)": [
        Line(_V4, 7004, "rejected_by_firewall", "ECONNREFUSED", (3, 3), _V4, "the host itself"),
        Line(_V6, 7004, "rejected_by_firewall", "ECONNREFUSED", (1, 4), _V6, "the host itself"),
    ],
    "admin-prohibited by the host": [
        Line(_V4, 7005, "rejected_by_firewall", "EHOSTUNREACH", (3, 13), _V4, "the host itself"),
        Line(_V6, 7005, "rejected_by_firewall", "EACCES", (1, 1), _V6, "the host itself"),
        Line(_V4, 7012, "rejected_by_firewall", "EHOSTUNREACH", (3, 10), _V4, "the host itself"),
        Line(_V4, 7014, "rejected_by_firewall", "ENETUNREACH", (3, 9), _V4, "the host itself"),
    ],
    "host-unreachable said by the host of itself": [
        Line(_V4, 7013, "rejected_by_firewall", "EHOSTUNREACH", (3, 1), _V4, "the host itself"),
        Line(_V6, 7013, "rejected_by_firewall", "EHOSTUNREACH", (1, 3), _V6, "the host itself"),
    ],
    "drop": [
        Line(_V4, 7006, "filtered", "ETIMEDOUT", words="no answer to"),
        Line(_V6, 7006, "filtered", "ETIMEDOUT", words="no answer to"),
    ],
    "drop of the reply": [
        Line(_V4, 7007, "filtered", "ETIMEDOUT"),
        Line(_V6, 7007, "filtered", "ETIMEDOUT"),
    ],
    "own drop": [Line(_V4, 7009, "filtered", "ETIMEDOUT"), Line(_V6, 7009, "filtered", "ETIMEDOUT")],
    "drop by a router": [Line(_V4, 7016, "filtered", "ETIMEDOUT"), Line(_V6, 7016, "filtered", "ETIMEDOUT")],
    "own reject": [
        Line(_V4, 7008, "rejected_by_firewall", "ECONNREFUSED", (3, 3), _OWN_4, "our own firewall"),
        Line(_V6, 7008, "rejected_by_firewall", "ECONNREFUSED", (1, 4), _OWN_6, "our own firewall"),
        Line(_V4, 7017, "rejected_by_firewall", "EHOSTUNREACH", (3, 13), _OWN_4, "our own firewall"),
        Line(_V6, 7017, "rejected_by_firewall", "EACCES", (1, 1), _OWN_6, "our own firewall"),
    ],
    "reject by a router": [
        Line(_V4, 7010, "rejected_by_firewall", "EHOSTUNREACH", (3, 13), _HOP_4, f"{_HOP_4}, which is not the host"),
        Line(_V6, 7010, "rejected_by_firewall", "EACCES", (1, 1), _HOP_6, f"{_HOP_6}, which is not the host"),
        Line(_V4, 7011, "rejected_by_firewall", "ECONNREFUSED", (3, 3), _HOP_4, f"{_HOP_4}, which is not the host"),
        Line(_V6, 7011, "rejected_by_firewall", "ECONNREFUSED", (1, 4), _HOP_6, f"{_HOP_6}, which is not the host"),
        Line("10.98.0.1", 80, "rejected_by_firewall", "EHOSTUNREACH", (3, 13), _HOP_4),
        Line("fd98::1", 80, "rejected_by_firewall", "EACCES", (1, 1), _HOP_6),
    ],
    "a router has no route": [
        Line("10.99.0.1", 80, "unreachable", "ENETUNREACH", (3, 0), _HOP_4, _HOP_4),
        Line("fd99::1", 80, "unreachable", "ENETUNREACH", (1, 0), _HOP_6, _HOP_6),
    ],
    "no neighbour on our network": [
        Line("10.77.1.99", 80, "unreachable", "EHOSTUNREACH", (3, 1), _OWN_4, "nobody on our own network"),
        Line("fd77:1::99", 80, "unreachable", "EHOSTUNREACH", (1, 3), _OWN_6, "nobody on our own network"),
    ],
    "no neighbour behind a router": [
        Line("10.77.2.99", 80, "unreachable", "EHOSTUNREACH", (3, 1), _HOP_4, f"from {_HOP_4}"),
        Line("fd77:2::99", 80, "unreachable", "EHOSTUNREACH", (1, 3), _HOP_6, f"from {_HOP_6}"),
    ],
    "no route of our own": [
        Line("10.97.0.1", 80, "unreachable", "EHOSTUNREACH", words="this machine has no route"),
        Line("fd97::1", 80, "unreachable", "EHOSTUNREACH", words="this machine has no route"),
        Line("10.95.0.1", 80, "unreachable", "EINVAL", words="blackhole"),
        Line("fd95::1", 80, "unreachable", "EINVAL", words="blackhole"),
    ],
    "own prohibiting route": [
        Line("10.96.0.1", 80, "rejected_by_firewall", "EACCES", words="this machine's own"),
        Line("fd96::1", 80, "rejected_by_firewall", "EACCES", words="this machine's own"),
    ],
}
_LINES = [line for lines in _TABLE.values() for line in lines]


@pytest.fixture(scope="module")
def results() -> Iterator[dict[tuple[str, int], dict[str, Any]]]:
    with Net() as net:
        net.listen(net.server, 7001, 7006, 7007, 7008, 7009, 7010, 7011, 7016)
        net.server.rules(_SERVER_RULES)
        net.watcher.rules(_WATCHER_RULES)
        net.router.rules(_ROUTER_RULES)
        for space, routes in ((net.watcher, _WATCHER_ROUTES + _WATCHER_ROUTES_6), (net.router, _ROUTER_ROUTES)):
            for route in routes:
                space.run("ip", "route", "add", *route.split())
        found = net.probe(3.5, *((line.address, line.port) for line in _LINES))
        yield {(result["address"], result["port"]): result for result in found}


@pytest.mark.parametrize("what", _TABLE)
def test_probe_table(results: dict[tuple[str, int], dict[str, Any]], what: str) -> None:
    for line in _TABLE[what]:
        found = results[line.address, line.port]
        icmp = None if found["icmp_type"] is None else (found["icmp_type"], found["icmp_code"])
        seen = (found["state"], found["errno_name"], icmp, found["offender"])
        assert seen == (line.state, line.errno_name, line.icmp, line.offender), (line, found)
        assert line.words in found["detail"], (line, found)


def test_only_an_open_port_has_a_connect_time(results: dict[tuple[str, int], dict[str, Any]]) -> None:
    for found in results.values():
        assert (found["connect_ms"] is not None) == (found["state"] == "open"), found
        assert found["elapsed_ms"] > 0


def test_silence_is_called_so_after_three_questions(results: dict[tuple[str, int], dict[str, Any]]) -> None:
    for line in _TABLE["drop"] + _TABLE["drop of the reply"] + _TABLE["drop by a router"]:
        assert results[line.address, line.port]["syns_sent"] >= 3, "one lost packet could fake this silence"


def test_the_offender_is_ours_only_where_it_is(results: dict[tuple[str, int], dict[str, Any]]) -> None:
    for (address, _), found in results.items():
        own = found["offender"] in (_OWN_4, _OWN_6)
        assert found["offender_is_own"] is own, (address, found)
