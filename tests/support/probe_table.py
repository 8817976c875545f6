"""The probe table: what is there, and what one connect to it must show, in both address families."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tests.support.netns import Net

SERVER_RULES = """
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
WATCHER_RULES = """
table inet t {
  chain out {
    type filter hook output priority 0;
    tcp dport 7008 reject
    tcp dport 7009 drop
    tcp dport 7017 reject with icmpx admin-prohibited
  }
}
"""
ROUTER_RULES = """
table inet t {
  chain through {
    type filter hook forward priority 0;
    tcp dport 7010 reject with icmpx admin-prohibited
    tcp dport 7011 reject
    tcp dport 7016 drop
  }
}
"""
WATCHER_ROUTES = ("unreachable 10.97.0.0/16", "prohibit 10.96.0.0/16", "blackhole 10.95.0.0/16")
WATCHER_ROUTES_6 = ("unreachable fd97::/16", "prohibit fd96::/16", "blackhole fd95::/16")
ROUTER_ROUTES = ("prohibit 10.98.0.0/16", "prohibit fd98::/16")

V4, V6 = "10.77.2.2", "fd77:2::2"
OWN_4, OWN_6 = "10.77.1.2", "fd77:1::2"
HOP_4, HOP_6 = "10.77.1.1", "fd77:1::1"


class Line(NamedTuple):
    address: str
    port: int
    state: str
    errno_name: str | None
    icmp: tuple[int, int] | None = None
    offender: str | None = None
    words: str = ""


TABLE = {
    "open": [Line(V4, 7001, "open", None), Line(V6, 7001, "open", None)],
    "nothing listens": [
        Line(V4, 7002, "refused", "ECONNREFUSED", words="nothing listens"),
        Line(V6, 7002, "refused", "ECONNREFUSED", words="nothing listens"),
    ],
    "reject with a reset": [
        Line(V4, 7003, "refused", "ECONNREFUSED"),
        Line(V6, 7003, "refused", "ECONNREFUSED"),
    ],
    "reject (default)": [
        Line(V4, 7004, "rejected_by_firewall", "ECONNREFUSED", (3, 3), V4, "the host itself"),
        Line(V6, 7004, "rejected_by_firewall", "ECONNREFUSED", (1, 4), V6, "the host itself"),
    ],
    "admin-prohibited by the host": [
        Line(V4, 7005, "rejected_by_firewall", "EHOSTUNREACH", (3, 13), V4, "the host itself"),
        Line(V6, 7005, "rejected_by_firewall", "EACCES", (1, 1), V6, "the host itself"),
        Line(V4, 7012, "rejected_by_firewall", "EHOSTUNREACH", (3, 10), V4, "the host itself"),
        Line(V4, 7014, "rejected_by_firewall", "ENETUNREACH", (3, 9), V4, "the host itself"),
    ],
    "host-unreachable said by the host of itself": [
        Line(V4, 7013, "rejected_by_firewall", "EHOSTUNREACH", (3, 1), V4, "the host itself"),
        Line(V6, 7013, "rejected_by_firewall", "EHOSTUNREACH", (1, 3), V6, "the host itself"),
    ],
    "drop": [
        Line(V4, 7006, "filtered", "ETIMEDOUT", words="no answer to"),
        Line(V6, 7006, "filtered", "ETIMEDOUT", words="no answer to"),
    ],
    "drop of the reply": [
        Line(V4, 7007, "filtered", "ETIMEDOUT"),
        Line(V6, 7007, "filtered", "ETIMEDOUT"),
    ],
    "own drop": [Line(V4, 7009, "filtered", "ETIMEDOUT"), Line(V6, 7009, "filtered", "ETIMEDOUT")],
    "drop by a router": [Line(V4, 7016, "filtered", "ETIMEDOUT"), Line(V6, 7016, "filtered", "ETIMEDOUT")],
    "own reject": [
        Line(V4, 7008, "rejected_by_firewall", "ECONNREFUSED", (3, 3), OWN_4, "our own firewall"),
        Line(V6, 7008, "rejected_by_firewall", "ECONNREFUSED", (1, 4), OWN_6, "our own firewall"),
        Line(V4, 7017, "rejected_by_firewall", "EHOSTUNREACH", (3, 13), OWN_4, "our own firewall"),
        Line(V6, 7017, "rejected_by_firewall", "EACCES", (1, 1), OWN_6, "our own firewall"),
    ],
    "reject by a router": [
        Line(V4, 7010, "rejected_by_firewall", "EHOSTUNREACH", (3, 13), HOP_4, f"{HOP_4}, which is not the host"),
        Line(V6, 7010, "rejected_by_firewall", "EACCES", (1, 1), HOP_6, f"{HOP_6}, which is not the host"),
        Line(V4, 7011, "rejected_by_firewall", "ECONNREFUSED", (3, 3), HOP_4, f"{HOP_4}, which is not the host"),
        Line(V6, 7011, "rejected_by_firewall", "ECONNREFUSED", (1, 4), HOP_6, f"{HOP_6}, which is not the host"),
        Line("10.98.0.1", 80, "rejected_by_firewall", "EHOSTUNREACH", (3, 13), HOP_4),
        Line("fd98::1", 80, "rejected_by_firewall", "EACCES", (1, 1), HOP_6),
    ],
    "a router has no route": [
        Line("10.99.0.1", 80, "unreachable", "ENETUNREACH", (3, 0), HOP_4, HOP_4),
        Line("fd99::1", 80, "unreachable", "ENETUNREACH", (1, 0), HOP_6, HOP_6),
    ],
    "no neighbour on our network": [
        Line("10.77.1.99", 80, "unreachable", "EHOSTUNREACH", (3, 1), OWN_4, "nobody on our own network"),
        Line("fd77:1::99", 80, "unreachable", "EHOSTUNREACH", (1, 3), OWN_6, "nobody on our own network"),
    ],
    "no neighbour behind a router": [
        Line("10.77.2.99", 80, "unreachable", "EHOSTUNREACH", (3, 1), HOP_4, f"from {HOP_4}"),
        Line("fd77:2::99", 80, "unreachable", "EHOSTUNREACH", (1, 3), HOP_6, f"from {HOP_6}"),
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
LINES = [line for lines in TABLE.values() for line in lines]


def prepare(net: Net) -> None:
    """Listeners, rules and routes of the table."""
    net.listen(net.server, 7001, 7006, 7007, 7008, 7009, 7010, 7011, 7016)
    net.server.rules(SERVER_RULES)
    net.watcher.rules(WATCHER_RULES)
    net.router.rules(ROUTER_RULES)
    for space, routes in ((net.watcher, WATCHER_ROUTES + WATCHER_ROUTES_6), (net.router, ROUTER_ROUTES)):
        for route in routes:
            space.run("ip", "route", "add", *route.split())


def icmp_of(found: dict[str, Any]) -> tuple[int, int] | None:
    """The ICMP type and code of a result."""
    return None if found["icmp_type"] is None else (found["icmp_type"], found["icmp_code"])
