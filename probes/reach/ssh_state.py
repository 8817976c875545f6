"""The state of a host's own SSH port, read from the live link. Pure.

The session knows better than any probe whether the port is open, and a connect every ten seconds that never
authenticates fills the host's auth.log.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from probes.model import LinkState, PortState, ServiceState
from probes.reach.tunnel import judge_words
from probes.reach.verdict import Verdict

if TYPE_CHECKING:
    from probes.model import Link, Service

#: with these the TCP handshake and at least a part of SSH's took place
_OPEN: Final = {
    LinkState.LIVE: "from the live session",
    LinkState.STALE: "from the live session, which is silent",
    LinkState.AUTH_FAILED: "from the session: authentication failed",
    LinkState.HOST_KEY_UNKNOWN: "from the session: unknown host key",
    LinkState.HOST_KEY_CHANGED: "from the session: the host key has changed",
    LinkState.AGENT_FAILED: "from the session: SSH works, the agent does not",
}
_STATES: Final = re.compile(r"\b(refused|filtered|rejected by firewall|unreachable|open)\b")
_JUMP: Final = "jump host "
_BEYOND_JUMP: Final = "the jump host could not reach"
#: layers above TCP: to fail there, the port must have been open
_ABOVE_TCP: Final = frozenset(
    {"banner", "kex", "host_key", "auth", "bootstrap", "first_sample", "silence", "agent", "flood"}
)


def ssh_state(service: Service, link: Link, via: str | None, now_boot_s: float) -> ServiceState | None:
    """The service's state as the link proves it; ``None`` while it proves nothing new (a connection in the making)."""
    if link.state is LinkState.CONNECTING:
        return None
    verdict = _judge(link)
    at_boot_s = now_boot_s if link.state is LinkState.LIVE else link.since_boot_s
    return ServiceState(service.name, service.port, verdict.state, detail=verdict.detail, via=via, at_boot_s=at_boot_s)


def _judge(link: Link) -> Verdict:
    if link.state is LinkState.PAUSED:
        return Verdict(PortState.NOT_PROBED, "paused")
    said = _OPEN.get(link.state)
    if said is not None:
        return Verdict(PortState.OPEN, said)
    cause = link.cause or "no cause given"
    return Verdict(_failed(link.layer, cause), cause)


def _failed(layer: str | None, cause: str) -> PortState:
    """What a link that did not come up says of the port, from the layer that failed and its words."""
    if layer == "jump" or cause.startswith(_JUMP):
        # the jump host itself is in trouble: nothing was learnt of the port behind it
        return PortState.NOT_PROBED
    if layer == "resolve":
        return PortState.UNRESOLVED
    if layer in _ABOVE_TCP:
        return PortState.OPEN
    if layer == "tcp" and cause.startswith(_BEYOND_JUMP):
        return judge_words(cause).state
    found = _STATES.search(cause) if layer == "tcp" else None
    return PortState.NOT_PROBED if found is None else PortState(found.group(1).replace(" ", "_"))
