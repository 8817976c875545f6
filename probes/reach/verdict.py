"""From errno and ICMP to a port state and a sentence that says why. Pure: no socket, no clock.

The sentence does not repeat the state: whoever shows it shows the state beside it.
"""

from __future__ import annotations

import errno
from typing import Final, NamedTuple

from probes.model import PortState
from probes.reach.icmp import HAS_ERROR_QUEUE, Icmp

_V4_NAMES: Final = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 5): "source route failed",
    (3, 6): "network unknown",
    (3, 7): "host unknown",
    (3, 9): "network administratively prohibited",
    (3, 10): "host administratively prohibited",
    (3, 11): "network unreachable for this type of service",
    (3, 12): "host unreachable for this type of service",
    (3, 13): "communication administratively prohibited",
    (3, 14): "host precedence violation",
    (3, 15): "precedence cut-off",
    (11, 0): "time to live exceeded in transit: a routing loop",
}
_V6_NAMES: Final = {
    (1, 0): "no route to destination",
    (1, 1): "administratively prohibited",
    (1, 2): "beyond the scope of the source address",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    (1, 5): "source address failed the policy",
    (1, 6): "reject route to destination",
    (3, 0): "hop limit exceeded in transit: a routing loop",
}
#: a TCP stack answers a closed port with RST, never with ICMP: these are a filter's words whoever sends them
_FILTER_V4: Final = frozenset({(3, 2), (3, 3), (3, 9), (3, 10), (3, 13), (3, 14), (3, 15)})
_FILTER_V6: Final = frozenset({(1, 1), (1, 4), (1, 5), (1, 6)})
_NO_NEIGHBOUR: Final = frozenset({(4, 3, 1), (6, 1, 3)})

#: the connect never left for a reason of this machine: nothing is known of the port
_LOCAL_SHORTAGE: Final = {
    errno.EMFILE: "this process has no file descriptor left",
    errno.ENFILE: "this machine has no file descriptor left",
    errno.ENOBUFS: "this machine has no buffer space left",
    errno.ENOMEM: "this machine has no memory left",
    errno.EADDRNOTAVAIL: "this machine has no free local port or no source address for it",
    errno.EAGAIN: "this machine has no free local port",
    errno.EADDRINUSE: "this machine's local port is in use",
    errno.EAFNOSUPPORT: "this machine does not speak this address family",
}


_NO_ROUTE: Final = "this machine has no route there"
_FORBIDDEN: Final = "this machine's own policy or route forbids it"
_RESET: Final = "reset by the host: it is up, nothing listens there"
#: a SYN that is refused gives ECONNREFUSED: with these the handshake was complete
_RESET_LATER: Final = "accepted, then reset at once: a proxy in front of nothing, or a full backlog"
_BLACKHOLE: Final = "this machine does not dial it: a blackhole route, or an address that is no host's"
#: (errno, whether connect itself failed) to the verdict
_BY_ERRNO: Final[dict[tuple[int, bool], tuple[PortState, str]]] = {
    (errno.ECONNREFUSED, True): (PortState.REFUSED, _RESET),
    (errno.ECONNREFUSED, False): (PortState.REFUSED, _RESET),
    (errno.ECONNRESET, False): (PortState.OPEN, _RESET_LATER),
    (errno.EPIPE, False): (PortState.OPEN, _RESET_LATER),
    (errno.ETIMEDOUT, False): (PortState.FILTERED, "no answer until the kernel gave up"),
    (errno.EACCES, True): (PortState.REJECTED, _FORBIDDEN),
    (errno.EPERM, True): (PortState.REJECTED, _FORBIDDEN),
    (errno.EINVAL, True): (PortState.UNREACHABLE, _BLACKHOLE),
    **{
        (number, at_once): (PortState.UNREACHABLE, _NO_ROUTE if at_once else "no router or neighbour leads there")
        for number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
        for at_once in (True, False)
    },
}


class Verdict(NamedTuple):
    """A state and the sentence that says why."""

    state: PortState
    detail: str


def judge_icmp(icmp: Icmp, address: str, *, own: bool) -> Verdict:
    """The verdict from an ICMP error.

    Args:
        icmp: what the error queue held.
        address: what was connected to.
        own: whether the sender is an address of this machine.
    """
    key = (icmp.type, icmp.code)
    names, filters = (_V4_NAMES, _FILTER_V4) if icmp.family == 4 else (_V6_NAMES, _FILTER_V6)
    said = f"ICMP {icmp.text} {names.get(key, '')}".rstrip()
    sender = icmp.offender or "an unnamed address"
    if key in filters:
        if own:
            who = f"our own firewall or route ({sender})"
        elif icmp.offender == address:
            who = "the host itself"
        else:
            who = f"{sender}, which is not the host"
        return Verdict(PortState.REJECTED, f"{said} from {who}")
    if own:
        if (icmp.family, *key) in _NO_NEIGHBOUR:
            why = f"nobody on our own network answers for it, or for the gateway to it ({said} from our own {sender})"
            return Verdict(PortState.UNREACHABLE, why)
        return Verdict(PortState.UNREACHABLE, f"{said} from our own machine ({sender})")
    if icmp.offender == address:
        # a host that receives our packet and says that it cannot be reached is filtering it
        return Verdict(PortState.REJECTED, f"{said} from the host itself")
    return Verdict(PortState.UNREACHABLE, f"{said} from {sender}")


def judge_errno(number: int, *, at_once: bool) -> Verdict:
    """The verdict from errno with an empty error queue.

    Args:
        number: errno of the connect.
        at_once: whether ``connect`` itself failed, before any packet left.
    """
    shortage = _LOCAL_SHORTAGE.get(number)
    if shortage is not None:
        return Verdict(PortState.NOT_PROBED, f"{shortage} ({name_of(number)})")
    known = _BY_ERRNO.get((number, at_once))
    if known is None:
        return Verdict(PortState.UNREACHABLE, f"connect failed with {name_of(number)}" + _alone())
    state, why = known
    return Verdict(state, why if at_once or state is PortState.OPEN else why + _alone())


def judge_timeout(timeout_s: float, syns: int | None) -> Verdict:
    """Silence. ``syns``: how many times the kernel asked, where it tells."""
    asked = "" if syns is None else f" to {syns} SYN" + ("s" if syns != 1 else "")
    return Verdict(PortState.FILTERED, f"no answer{asked} within {timeout_s:g} s")


def name_of(number: int) -> str:
    """``ECONNREFUSED`` rather than 111."""
    return errno.errorcode.get(number, f"errno {number}")


def _alone() -> str:
    return "" if HAS_ERROR_QUEUE else " (by errno alone: this system does not show who answered)"
