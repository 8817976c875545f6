"""What failing hosts have in common: one root cause, said once. Pure.

A group, subnet, zone, route table or ACL is suspected when at least two failing hosts share it and no host that works
does. Hosts already explained by a narrower thing are not listed again under a wider one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from probes.evidence import Evidence  # noqa: TC001 - msgspec resolves field types when it decodes
from probes.judge.diagnosis import Confidence, Diagnosis, Level, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Judged(Struct, frozen=True):
    """A diagnosis with what it rests on."""

    diagnosis: Diagnosis
    evidence: Evidence


class Correlation(Struct, frozen=True, kw_only=True):
    """One thing that failing hosts share. ``confidence`` high: every host's own verdict names it too."""

    kind: str
    value: str
    hosts: tuple[str, ...]
    statement: str
    confidence: Confidence


#: narrowest first; what each is called
_KINDS: Final = {
    "egress": "our own egress",
    "security_group": "security group",
    "nacl": "network ACL",
    "route_table": "route table",
    "subnet": "subnet",
    "availability_zone": "zone",
}
#: rows whose verdict names the thing itself
_NAMED_BY: Final = {
    "egress": frozenset({1}),
    "security_group": frozenset({10, 11, 25}),
    "nacl": frozenset({12, 13}),
    "route_table": frozenset({14}),
}
_FAILING: Final = frozenset({Level.SEV1, Level.SEV2, Level.SEV3})


def correlate(judged: Sequence[Judged]) -> tuple[Correlation, ...]:
    """The root causes that at least two failing hosts share, each host under one of them only."""
    failing = [one for one in judged if fails(one.diagnosis)]
    working = {item for one in judged if works(one.diagnosis) for item in _shares(one)}
    sharers: dict[tuple[str, str], list[Judged]] = {}
    for one in failing:
        for item in sorted(_shares(one)):
            if item not in working:
                sharers.setdefault(item, []).append(one)
    order = list(_KINDS)
    candidates = sorted(
        ((kind, value, hosts) for (kind, value), hosts in sharers.items() if len(hosts) > 1),
        key=lambda item: (not _named(item[0], item[2]), -len(item[2]), order.index(item[0]), item[1]),
    )
    explained: set[str] = set()
    found: list[Correlation] = []
    for kind, value, hosts in candidates:
        names = {one.diagnosis.host for one in hosts}
        if len(names) > 1 and not names <= explained:
            explained |= names
            found.append(_correlation(kind, value, tuple(sorted(names)), named=_named(kind, hosts)))
    return tuple(found)


def about(one: Judged, fleet: Sequence[Judged]) -> tuple[str, ...]:
    """The shared causes that concern one host."""
    others = [other for other in fleet if other.diagnosis.host != one.diagnosis.host]
    if not others:
        return ()
    return tuple(found.statement for found in correlate([one, *others]) if one.diagnosis.host in found.hosts)


def fails(diagnosis: Diagnosis) -> bool:
    """Whether a host is in trouble; one that our own way out hides counts for our own egress only."""
    return diagnosis.severity.level in _FAILING or any(one.row == 1 for one in diagnosis.verdicts)


def works(diagnosis: Diagnosis) -> bool:
    """Whether a host is fine; one that cannot be told speaks neither for nor against."""
    return diagnosis.severity.level is Level.NONE


def _shares(one: Judged) -> Iterator[tuple[str, str]]:
    if _stopped_by_us(one.diagnosis):
        yield "egress", "this machine"
        return
    aws = one.evidence.aws
    if aws is None:
        return
    interface = aws.interface
    if interface is not None:
        yield from (("security_group", group) for group in interface.group_ids)
        if interface.subnet_id:
            yield "subnet", interface.subnet_id
    zone = (aws.instance.availability_zone if aws.instance else None) or (
        interface.availability_zone if interface else None
    )
    if zone:
        yield "availability_zone", zone
    if aws.acl is not None:
        yield "nacl", aws.acl.acl_id
    if aws.routes is not None:
        yield "route_table", aws.routes.table_id


def _stopped_by_us(diagnosis: Diagnosis) -> bool:
    return bool(diagnosis.verdicts) and all(one.row == 1 for one in diagnosis.verdicts)


def _named(kind: str, hosts: Sequence[Judged]) -> bool:
    rows = _NAMED_BY.get(kind, frozenset[int]())
    return all(any(_names(verdict, rows) for verdict in one.diagnosis.verdicts) for one in hosts)


def _names(verdict: Verdict, rows: frozenset[int]) -> bool:
    # row 25 may be about the host's own firewall
    return verdict.row in rows and verdict.outcome is Outcome.BLOCK and verdict.layer != "host_firewall"


def _correlation(kind: str, value: str, hosts: tuple[str, ...], *, named: bool) -> Correlation:
    listed = ", ".join(hosts)
    if kind == "egress":
        statement = f"one cause for {len(hosts)} hosts: our own egress fails ({listed}); nothing is known of the hosts"
    elif named:
        statement = f"one root cause for {len(hosts)} hosts: {_KINDS[kind]} {value} blocks each of them ({listed})"
    else:
        shared = f"{_KINDS[kind]} {value}"
        statement = f"{len(hosts)} failing hosts share {shared}, and no host that works does ({listed}): look there"
    confidence = Confidence.HIGH if named else Confidence.MEDIUM
    return Correlation(kind=kind, value=value, hosts=hosts, statement=statement, confidence=confidence)
