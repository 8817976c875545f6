"""How far SSH to a host came, step by step, as the live session knows it: no probe of its own, no line in auth.log.

The last attempt decides. A step after the one that failed was not reached; that is neither passed nor failed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from probes.model import LinkState

if TYPE_CHECKING:
    from probes.fleet import HostRecord


class Outcome(StrEnum):
    """What is known of one step."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not_reached"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


class Step(Struct, frozen=True):
    """One step and its outcome; ``detail`` is the cause of a failure, or what the host answered.

    ``took_ms`` is the time of the last login that came this far; the host key's is part of the key exchange.
    """

    name: str
    outcome: Outcome
    detail: str = ""
    took_ms: float | None = None


#: in the order in which they happen; the last is the agent's answer with its hostname
STEPS: Final = ("resolve", "tcp", "banner", "kex", "host_key", "auth", "hostname")
STEP_WORDS: Final = {
    "resolve": "name",
    "tcp": "TCP",
    "banner": "banner",
    "kex": "key exchange",
    "host_key": "host key",
    "auth": "login",
    "hostname": "hostname",
}
#: layers of a link that lie beyond authentication, and whether the agent had answered by then
_BEYOND: Final = {"bootstrap": False, "first_sample": True, "silence": True, "agent": True, "flood": True}


def ssh_steps(record: HostRecord) -> tuple[Step, ...]:
    """The steps of a host's SSH session.

    Args:
        record: the host's record in the store. A host that is this machine has no SSH: every step is not applicable.
    """
    link, hello = record.link, record.hello
    if record.host.local:
        return tuple(Step(name, Outcome.NOT_APPLICABLE, "this machine is read without SSH") for name in STEPS)
    hostname = hello.hostname if hello is not None else ""
    if link.state in (LinkState.LIVE, LinkState.STALE):
        took = record.ssh_ms
        passed = (Step(name, Outcome.PASSED, took_ms=took.get(name)) for name in STEPS[:-1])
        return (*passed, _hostname(hostname, took.get(STEPS[-1])))
    layer = link.layer or ""
    if link.state in (LinkState.CONNECTING, LinkState.PAUSED) or (layer not in STEPS and layer not in _BEYOND):
        why = link.state.value if layer in STEPS or not link.cause else link.cause
        return tuple(Step(name, Outcome.UNKNOWN, why) for name in STEPS)
    if layer in _BEYOND:
        last = _hostname(hostname) if _BEYOND[layer] else Step(STEPS[-1], Outcome.FAILED, link.cause or "")
        return (*(Step(name, Outcome.PASSED) for name in STEPS[:-1]), last)
    failed = STEPS.index(layer)
    return (
        *(Step(name, Outcome.PASSED) for name in STEPS[:failed]),
        Step(layer, Outcome.FAILED, link.cause or ""),
        *(Step(name, Outcome.NOT_REACHED) for name in STEPS[failed + 1 :]),
    )


def _hostname(hostname: str, took_ms: float | None = None) -> Step:
    if hostname:
        return Step(STEPS[-1], Outcome.PASSED, hostname, took_ms)
    return Step(STEPS[-1], Outcome.UNKNOWN, "not answered yet")
