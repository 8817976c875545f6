"""Rows 18 and 27: a reset, which proves that packets arrive, and what it says of the listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.judge.diagnosis import Action, Confidence, Outcome, Verdict
from probes.judge.triage_case import by_errno_alone, is_loopback, is_reset, listeners
from probes.judge.triage_commands import actions, command
from probes.judge.triage_firewall import socket_words
from probes.judge.triage_inside import look_inside, service_lines, ssh_way
from probes.judge.triage_words import fact, label

if TYPE_CHECKING:
    from probes.evidence import PortProbe
    from probes.judge.triage_case import Case

_EXONERATED = "security group, network ACL, route and address are exonerated: packets arrive and come back"


def row_18(case: Case) -> list[Verdict]:
    """RST: the way is free, and nothing listens."""
    found: list[Verdict] = []
    for port in case.ports:
        if not is_reset(port):
            continue
        sockets = listeners(case, port.service.port)
        if sockets and all(is_loopback(one.address) for one in sockets):
            continue  # row 27 knows better: something listens, on another address
        found.append(_contradicted(case, port) if sockets else _no_listener(case, port))
    return found


def _no_listener(case: Case, port: PortProbe) -> Verdict:
    # without an error queue a firewall's ICMP reject reads the same: that is not proof of a RST
    sure = not by_errno_alone(port)
    doubt = "" if sure else " (by errno alone: a firewall that rejects would read the same)"
    return Verdict(
        row=18,
        layer="tcp",
        service=port.service.name,
        outcome=Outcome.BLOCK,
        confidence=Confidence.HIGH if sure else Confidence.MEDIUM,
        statement=f"no listener on {label(port)}: RST, the host is up{doubt}",
        evidence=(fact(port), _EXONERATED) if sure else (fact(port),),
        next_actions=look_inside(case, f"look at the service {port.service.name}", *service_lines(port)),
    )


def _contradicted(case: Case, port: PortProbe) -> Verdict:
    """Reset from outside while the host says that it listens: a reject by reset, or a listener that has just begun."""
    sockets = listeners(case, port.service.port)
    return Verdict(
        row=18,
        layer="tcp",
        service=port.service.name,
        outcome=Outcome.BLOCK,
        confidence=Confidence.MEDIUM,
        statement=(
            f"RST on {label(port)} although the host says it listens: a firewall that rejects with a reset, or a "
            "listener that came or went between the two looks"
        ),
        evidence=(fact(port), socket_words(case, sockets), _EXONERATED),
        next_actions=look_inside(case, "list listeners and rules", "ss -ltnp", "sudo nft list ruleset"),
    )


def row_27(case: Case) -> list[Verdict]:
    """Listening inside on loopback only, refused outside: the bind address."""
    found: list[Verdict] = []
    for port in case.ports:
        sockets = listeners(case, port.service.port)
        if not is_reset(port) or not sockets or not all(is_loopback(one.address) for one in sockets):
            continue
        found.append(
            Verdict(
                row=27,
                layer="tcp",
                service=port.service.name,
                outcome=Outcome.BLOCK,
                confidence=Confidence.CERTAIN,
                statement=f"bind address: {label(port)} listens on {sockets[0].address} only, and is refused outside",
                evidence=(fact(port), socket_words(case, sockets)),
                next_actions=actions(
                    Action(f"make {port.service.name} listen on 0.0.0.0 or the host's address, and restart it", None),
                    _tunnel(case, port, sockets[0].address),
                ),
            )
        )
    return found


def _tunnel(case: Case, port: PortProbe, address: str) -> Action | None:
    way = ssh_way(case)
    if way is None:
        return None
    number = port.service.port
    user = case.evidence.user
    inner = f"[{address}]" if ":" in address else address
    line = command(
        f"ssh -N -L {{forward}} -p {{port}} {'-J {via} ' if way[1] else ''}{{target}}",
        forward=f"{number}:{inner}:{number}",
        port=way[0],
        target=f"{user}@{case.address}" if user else case.address,
        **({"via": way[1]} if way[1] else {}),
    )
    return Action(f"or tunnel to it: it is then at localhost:{number} here", line)
