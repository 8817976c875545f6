"""Probing from the jump host: what the prober needs of a tunnel, and what a refused one proves.

A host behind ProxyJump is never connected to directly: its private address would only ever look *filtered*.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from probes.model import PortState
from probes.reach.verdict import Verdict
from probes.text import clean

if TYPE_CHECKING:
    from probes.reach.stream import TunnelReader, TunnelWriter

#: SSH's reason codes for a channel that was not opened (RFC 4254, 5.1)
ADMINISTRATIVELY_PROHIBITED: Final = 1
CONNECT_FAILED: Final = 2
UNKNOWN_CHANNEL_TYPE: Final = 3
RESOURCE_SHORTAGE: Final = 4


class TunnelRefused(Exception):  # noqa: N818  # not an error of ours: the answer of a jump host
    """The jump host did not open the channel; ``reason_code`` and ``text`` are its own."""

    def __init__(self, reason_code: int, text: str) -> None:
        super().__init__(text)
        self.reason_code = reason_code
        self.text = text


class TunnelUnavailable(Exception):  # noqa: N818  # likewise
    """There is no live connection to the jump host; the text says why."""


class Tunnels(Protocol):
    """Channels (direct-tcpip) from a host's jump host to the host's own ports."""

    async def open(self, host_id: str, port: int) -> tuple[TunnelReader, TunnelWriter]:
        """Open one over the jump connection that is already there; never makes a new connection for it.

        It may take as long as the jump host's own connect does, minutes for a port that is silent.

        Raises:
            TunnelRefused: the jump host refused, or could not connect.
            TunnelUnavailable: the jump connection is not up.
        """
        ...


class NoTunnels:
    """For a prober without any SSH at all."""

    async def open(self, host_id: str, port: int) -> tuple[TunnelReader, TunnelWriter]:
        """Always unavailable."""
        raise TunnelUnavailable(f"no SSH connection to the jump host of {host_id} (port {port})")


#: what strerror says, on the systems jump hosts run on, to what it proves
_WORDS: Final = (
    (("refused",), PortState.REFUSED),
    (("timed out", "timeout"), PortState.FILTERED),
    (("no route", "unreachable", "host is down"), PortState.UNREACHABLE),
    (("not known", "resolve", "no address associated", "no such host", "lookup"), PortState.UNRESOLVED),
)
#: errno as some servers print it instead of its words (Linux and BSD numbers)
_NUMBERS: Final = {
    111: PortState.REFUSED,
    61: PortState.REFUSED,
    110: PortState.FILTERED,
    60: PortState.FILTERED,
    113: PortState.UNREACHABLE,
    65: PortState.UNREACHABLE,
    101: PortState.UNREACHABLE,
    51: PortState.UNREACHABLE,
}
_ERRNO: Final = re.compile(r"\[Errno (\d{1,3})\]")


def judge_refusal(reason_code: int, text: str) -> Verdict:
    """What a refused channel proves of the port. The jump host's words are all there is: no error queue reaches us."""
    said = clean(text, 120) or "no reason given"
    if reason_code == CONNECT_FAILED:
        return judge_words(said)
    why = {
        ADMINISTRATIVELY_PROHIBITED: "the jump host does not allow forwarding (AllowTcpForwarding, PermitOpen)",
        UNKNOWN_CHANNEL_TYPE: "the jump host cannot forward",
        RESOURCE_SHORTAGE: "the jump host is short of resources",
    }.get(reason_code, f"the jump host refused (reason {reason_code})")
    return Verdict(PortState.NOT_PROBED, f"{why}: {said}")


def judge_words(said: str) -> Verdict:
    """The state that the jump host's own error text stands for; NOT_PROBED when it stands for none we know."""
    lower = said.lower()
    for words, state in _WORDS:
        if any(word in lower for word in words):
            return Verdict(state, f"the jump host says: {said}")
    number = _ERRNO.search(said)
    state = _NUMBERS.get(int(number.group(1))) if number else None
    return Verdict(state or PortState.NOT_PROBED, f"the jump host says: {said}")
