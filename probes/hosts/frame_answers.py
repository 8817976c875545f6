"""The ``sh`` agent's answers to requests: raw lines of /proc/net/tcp and `sshd -T`, put together to an ``Answer``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from probes.hosts import agent
from probes.hosts.protocol import LineError
from probes.model import Answer, InsideAnswer, ListenerRow, Missing, Reason
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probes.model import Line

_MAX_AT_ONCE: Final = 4
_MAX_SOCKETS: Final = 4000
_TOKEN: Final = re.compile(r"[0-9A-Za-z]{1,32}")
_SOCKET: Final = re.compile(r"([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9]{1,10})")
_REASONS: Final = frozenset({"unsupported", "denied", "error", "timeout"})


class _Pending:
    """One answer on its way."""

    def __init__(self) -> None:
        self.sockets: list[ListenerRow] = []
        self.count = 0
        self.files: dict[str, str] = {}
        self.sshd: list[str] = []
        self.sshd_end = ""


class Asked:
    """Answers on their way, by token; bounded."""

    def __init__(self, user_name: Callable[[int], str]) -> None:
        self._user_name = user_name
        self._pending: dict[str, _Pending] = {}

    def item(self, text: str) -> Sequence[Line]:
        """Items of answers, several between semicolons: token, kind, rest; the answer when its end came."""
        done: list[Line] = []
        # what we compose may be several; what a program said is alone, and may hold a semicolon
        many = text.split(" ", 2)[1:2] in (["s"], ["f"])
        for one in text.split(";") if many else [text]:
            token, _, rest = one.partition(" ")
            kind, _, value = rest.partition(" ")
            if _TOKEN.fullmatch(token) is None:
                raise LineError("an answer without a token")
            if kind == "no":
                reason, _, words = value.partition(" ")
                why = cast("Reason", reason) if reason in _REASONS else "error"
                done.append(Answer(token, refused=why, detail=clean(words)))
            elif kind == ".":
                done.append(Answer(token, inside=_finished(self._pending.pop(token, _Pending()))))
            else:
                self._keep(token, kind, value)
        return done

    def _keep(self, token: str, kind: str, value: str) -> None:
        pending = self._pending.get(token)
        if pending is None:
            if len(self._pending) >= _MAX_AT_ONCE:
                del self._pending[next(iter(self._pending))]
            pending = self._pending[token] = _Pending()
        if kind == "s":
            found = _SOCKET.fullmatch(value)
            if found is None:
                raise LineError("a socket that makes no sense")
            pending.count += 1
            if pending.count <= _MAX_SOCKETS:
                address = agent.parse_address(found.group(1), "little")
                user = self._user_name(int(found.group(3)))
                pending.sockets.append(ListenerRow(address, int(found.group(2), 16), None, None, user))
        elif kind == "f" and len(pending.files) < 2:
            name, _, status = value.partition(" ")
            pending.files[name] = status
        elif kind == "k" and len(pending.sshd) < 32:
            pending.sshd.append(value)
        elif kind == "x":
            pending.sshd_end = value


def _finished(pending: _Pending) -> InsideAnswer:
    missing: Missing = {"owners": "unsupported", "firewall": "unsupported"}
    words: dict[str, str] = dict.fromkeys(missing, "a host without Python cannot be asked this")
    statuses = pending.files
    # grep: 0 lines were found, 1 none were; a kernel without IPv6 has no tcp6
    whole = statuses.get("tcp") in {"0", "1"} and statuses.get("tcp6") in {"0", "1", "absent"}
    rows = {(row.address, row.port, None, None, row.user) for row in pending.sockets}
    if not whole:
        missing["listeners"] = "error"
        words["listeners"] = clean(", ".join(f"{name}: grep ended with {end}" for name, end in statuses.items()))
    elif pending.count >= _MAX_SOCKETS:
        missing["listeners"], words["listeners"] = "timeout", f"more than {_MAX_SOCKETS}: too many for a shell"
    shown, every_port = agent.select_listeners(rows)
    if whole and not every_port:
        missing["listeners"] = "error"
        words["listeners"] = f"more than {agent.MAX_LISTENERS} ports are listened on"
    sshd = agent.parse_sshd("\n".join(pending.sshd))
    status, _, said = pending.sshd_end.partition(" ")
    if status != "0":
        missing["sshd"] = "unsupported" if status == "absent" else agent.said_reason(said)
        words["sshd"] = "no sshd here" if status == "absent" else clean(said) or f"it ended with {clean(status, 20)}"
    return InsideAnswer(
        tuple(ListenerRow(*row) for row in shown) if rows or whole else None,
        None if "listeners" in missing else len(rows),
        sshd if status == "0" else None,
        None,
        missing,
        words,
    )
