"""Asking a host that is watched: who listens there, can it reach another node, will it listen on a port for a while.

Whatever goes wrong (no link, no answer, refused) is in the result with its reason, never an exception and never a hang;
a caller that is cancelled leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import math
import re
from typing import TYPE_CHECKING, Final

from probes import clock
from probes.errors import AskError
from probes.evidence import Firewall, HoldState, Inside, Listener, NodeReach, PortHold, ReachState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import TypeVar

    from probes.hosts.questions import Question
    from probes.hosts.session import HostSession
    from probes.model import FirewallRow, HoldAnswer, InsideAnswer, ListenerRow

    _T = TypeVar("_T")

_MAX_CONNECT_S: Final = 30.0
_MAX_HOLD_S: Final = 60
#: what an answer may take beyond what it was asked to wait for: the way there and back, a busy host
SLACK_S: Final = 5.0
_END_S: Final = 2.0
_ADDRESS: Final = re.compile(r"[0-9A-Za-z_:][0-9A-Za-z._:%-]{0,252}")


async def inside_of(session: HostSession, timeout_s: float) -> Inside:
    """What a host says of its own sockets, sshd and firewall."""
    try:
        with session.asking() as question:
            question.send("l")
            answer = await question.answer(timeout_s)
        found = _part(answer.inside)
    except AskError as error:
        return nothing_known(error.cause)
    return _evidence(found)


def _part(part: _T | None) -> _T:
    """The part of an answer that belongs to the question."""
    if part is None:
        raise AskError("the host answered another question", layer="agent")
    return part


def nothing_known(why: str) -> Inside:
    """The evidence of a host that could not be asked."""
    return Inside(
        source="agent",
        at_wall_s=clock.wall_s(),
        listeners_why=why,
        sshd_why=why,
        owners_why=why,
        firewall_why=why,
    )


def _evidence(found: InsideAnswer) -> Inside:
    def why(name: str) -> str | None:
        reason, words = found.missing.get(name), found.words.get(name)
        return f"{reason}: {words}" if reason and words else reason

    listeners, listeners_why = found.listeners, why("listeners")
    rows = None if found.firewall is None else tuple(_firewall(row, found.words) for row in found.firewall)
    return Inside(
        source="agent",
        at_wall_s=clock.wall_s(),
        listeners=None if listeners is None else tuple(_listener(row) for row in listeners),
        listeners_why=listeners_why if listeners is not None else listeners_why or "not told",
        listeners_omitted=max((found.total or 0) - len(listeners or ()), 0),
        sshd=found.sshd,
        sshd_why=None if found.sshd is not None else why("sshd") or "not told",
        owners_why=why("owners"),
        firewall=rows,
        firewall_why=None if rows is not None else why("firewall") or "not told",
    )


def _listener(row: ListenerRow) -> Listener:
    return Listener(address=row.address, port=row.port, process=row.process, pid=row.pid, user=row.user)


def _firewall(row: FirewallRow, words: dict[str, str]) -> Firewall:
    why = None
    if row.rules is None:
        reason, said = row.missing.get("rules", "error"), words.get(f"firewall.{row.tool}")
        why = f"{reason}: {said}" if said else reason
    return Firewall(tool=row.tool, rules=row.rules, input_policy=row.input_policy, why=why)


async def connect_from(session: HostSession, address: str, port: int, timeout_s: float) -> NodeReach:
    """One TCP connect from a host to an address or name as it sees it."""
    host_id = session.host.id
    if _ADDRESS.fullmatch(address) is None or not 1 <= port <= 65535:
        return not_tried(host_id, address, port, "no address, name or port that could be dialled")
    limit_s = min(max(timeout_s, 0.001), _MAX_CONNECT_S)
    try:
        with session.asking() as question:
            question.send("c", address, port, math.ceil(limit_s * 1000))
            answer = await question.answer(limit_s + SLACK_S)
        found = _part(answer.connect)
    except AskError as error:
        return not_tried(host_id, address, port, error.cause)
    return NodeReach(
        host_id=host_id,
        address=address,
        port=port,
        state=ReachState.UNKNOWN if found.state == "error" else ReachState(found.state),
        connected_to=found.address,
        errno_name=found.errno_name,
        took_ms=found.took_ms,
        own_end=found.own_end,
        detail=found.words,
    )


def not_tried(host_id: str, address: str, port: int, why: str) -> NodeReach:
    """The result of a connect nothing is known of."""
    return NodeReach(host_id=host_id, address=address, port=port, state=ReachState.UNKNOWN, detail=why)


class Hold:
    """A port that a host was asked to listen on. ``port``: what is known of it; ``end`` ends it and tells the rest."""

    def __init__(self, port: PortHold, question: Question | None = None) -> None:
        self.port = port
        self._question = question

    async def end(self) -> PortHold:
        """Have the host stop listening and say who came."""
        if self._question is None or self.port.state is not HoldState.LISTENING:
            return self.port
        question, self._question = self._question, None
        question.send("e")
        host_id, number = self.port.host_id, self.port.port
        try:
            answer = await question.answer(_END_S)
            self.port = _port_hold(host_id, number, HoldState.LISTENING, _part(answer.hold))
        except AskError as error:
            self.port = PortHold(host_id=host_id, port=number, state=HoldState.LISTENING, detail=error.cause)
        return self.port


@contextlib.asynccontextmanager
async def holding(session: HostSession, port: int, seconds: float) -> AsyncGenerator[Hold]:
    """Have a host listen on a port of all its addresses while the block runs, at most ``seconds`` (60 at most).

    What became of it is in ``Hold.port``; the host ends it by itself when nobody is left to say so.
    """
    host_id = session.host.id
    with contextlib.ExitStack() as stack:
        try:
            question = stack.enter_context(session.asking())
            question.send("b", port, min(max(math.ceil(seconds), 1), _MAX_HOLD_S))
            stack.callback(question.send, "e")  # however the block ends; for one that ended already it means nothing
            found = _part((await question.answer(SLACK_S)).hold)
            state = HoldState(found.state) if found.state in set(HoldState) else HoldState.UNKNOWN
            hold = Hold(_port_hold(host_id, port, state, found), question)
        except AskError as error:
            hold = Hold(PortHold(host_id=host_id, port=port, state=HoldState.UNKNOWN, detail=error.cause))
        yield hold


def _port_hold(host_id: str, port: int, state: HoldState, found: HoldAnswer) -> PortHold:
    ended = found.state == "ended"
    return PortHold(
        host_id=host_id,
        port=port,
        state=state,
        holder=None if found.holder is None else _listener(found.holder),
        accepted=max(found.accepted, 0) if ended else None,
        peers=found.peers if ended else (),
        detail=found.words,
    )
