"""Network ACL of the subnet: lowest rule number first, the first match decides, each direction by itself. Pure.

An ACL is stateless: the answer to us is judged as packets of their own, which go to whatever port our side chose. That
port is not known beforehand (a NAT on the way picks its own), so the whole range 1024-65535 must be let out.
"""

from __future__ import annotations

import shlex
from functools import partial
from ipaddress import ip_network
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from probes.judge.aws_space import Space, cut, listed, merged, network, only_for, source_of
from probes.judge.diagnosis import Outcome
from probes.judge.layer_judgement import Cause, LayerJudgement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.cloud.facts import Acl, AclEntry, AwsEvidence
    from probes.judge.aws_space import Source

LAYER: Final = "nacl"
EPHEMERAL: Final = (1024, 65535)
FINAL_RULE: Final = 32767
_NUMBERS: Final = {"tcp": "6", "udp": "17", "icmp": "1", "icmpv6": "58"}
#: what answers an echo request, by the request's type
_REPLY_TYPE: Final = {8: 0, 128: 129}
_judgement = partial(LayerJudgement, layer=LAYER)


class Flow(Struct, frozen=True):
    """Packets of one direction. ``low`` and ``high`` are ports; of ICMP both are the type (code 0)."""

    egress: bool
    protocol: str
    low: int
    high: int


class Split(Struct, frozen=True):
    """What an ACL makes of a flow to or from a set of addresses; ``deny_numbers`` are the rules that denied."""

    allowed: Space
    denied: Space
    allow_numbers: tuple[int, ...]
    deny_numbers: tuple[int, ...]


def judge_nacl(evidence: AwsEvidence, port: int, protocol: str = "tcp") -> LayerJudgement:
    """Whether the ACL of the subnet lets our packets to a port in, and the answers out to us.

    Args:
        evidence: ``acl`` None makes the answer unknown; ``my_address`` None makes it one per CIDR.
        port: the port; for ``icmp`` and ``icmpv6`` the type.
        protocol: ``tcp``, ``udp``, ``icmp`` or ``icmpv6``.
    """
    acl = evidence.acl
    if acl is None:
        reason = evidence.unknown.get(LAYER) or "the network ACL was not read"
        return _judgement(outcome=Outcome.UNKNOWN, cause=Cause.FACTS_MISSING, reason=reason)
    source = source_of(evidence)
    inward = split(acl.entries, Flow(False, protocol, port, port), source.space)
    if not inward.allowed:
        return _denied_in(evidence, acl, source, inward, (port, protocol))
    icmp = protocol.startswith("icmp")
    low, high = (_REPLY_TYPE.get(port, port),) * 2 if icmp else EPHEMERAL
    pieces = [
        (one, split(acl.entries, one, inward.allowed)) for one in _pieces(acl.entries, protocol, low, high, icmp=icmp)
    ]
    denied = [(flow, part) for flow, part in pieces if not part.allowed]
    if len(denied) == len(pieces):
        return _denied_out(evidence, acl, source, denied[0][1], protocol)
    if denied:
        return _partly(acl, [flow for flow, _ in denied], denied[0][1], protocol)
    if inward.denied or any(part.denied for _, part in pieces):
        return _depends(source, inward, [part for _, part in pieces], f"{protocol} {port}")
    matched = (_named(acl, inward.allow_numbers[0], "ingress"), _named(acl, pieces[0][1].allow_numbers[0], "egress"))
    who = source.cidr or "any address"
    reason = f"{acl.acl_id} lets {protocol} {port} in from {who} and the answers out"
    return _judgement(outcome=Outcome.PASS, cause=Cause.ALLOWED, reason=reason, matched=matched)


def split(entries: Sequence[AclEntry], flow: Flow, space: Space) -> Split:
    """First match, rule by rule, over a set of addresses: each takes its part of what the rules before it left."""
    allowed: list[Space] = []
    denied: list[Space] = []
    numbers: dict[bool, list[int]] = {True: [], False: []}
    left = space
    for entry in sorted(entries, key=lambda one: one.number):
        if not _is_about(entry, flow):
            continue
        cidr = network(entry.cidr) or network(entry.ipv6_cidr)
        if cidr is None:
            continue
        taken, left = cut(left, cidr)
        if taken:
            (allowed if entry.allow else denied).append(taken)
            numbers[entry.allow].append(entry.number)
    if left:  # the final * rule, also where AWS does not list it
        denied.append(left)
        numbers[False].append(FINAL_RULE)
    return Split(
        merged(one for part in allowed for one in part),
        merged(one for part in denied for one in part),
        tuple(numbers[True]),
        tuple(numbers[False]),
    )


def _is_about(entry: AclEntry, flow: Flow) -> bool:
    """Whether an entry matches every packet of a flow (flows are cut at the entries' bounds beforehand)."""
    if entry.egress is not flow.egress:
        return False
    if entry.protocol == "-1":
        return True
    if entry.protocol != _NUMBERS.get(flow.protocol, flow.protocol):
        return False
    if flow.protocol.startswith("icmp"):
        return entry.icmp_type in (None, -1, flow.low) and entry.icmp_code in (None, -1, 0)
    low = 0 if entry.from_port is None else entry.from_port
    high = 65535 if entry.to_port is None else entry.to_port
    return low <= flow.low and flow.high <= high


def _pieces(entries: Sequence[AclEntry], protocol: str, low: int, high: int, *, icmp: bool) -> list[Flow]:
    """The range of answers, cut where an entry begins or ends, so that an entry matches all of a piece or nothing."""
    starts = {low}
    for entry in entries:
        if entry.egress and not icmp and entry.from_port is not None and entry.to_port is not None:
            starts |= {at for at in (entry.from_port, entry.to_port + 1) if low < at <= high}
    bounds = [*sorted(starts), high + 1]
    return [Flow(True, protocol, first, after - 1) for first, after in pairwise(bounds)]


def _denied_in(
    evidence: AwsEvidence, acl: Acl, source: Source, inward: Split, wanted: tuple[int, str]
) -> LayerJudgement:
    number = inward.deny_numbers[0]
    what = f"{wanted[1]} {wanted[0]}"
    who = source.cidr or "any address"
    return _judgement(
        outcome=Outcome.BLOCK,
        cause=Cause.INGRESS_DENY,
        reason=f"{_words(acl, number)} denies {what} in from {who}",
        matched=tuple(_named(acl, one, "ingress") for one in inward.deny_numbers),
        missing_rule=f"allow {what} in from {source.cidr or 'your address as /32'}, below rule {_sign(number)}",
        command=_command(evidence, acl, source, Flow(False, wanted[1], wanted[0], wanted[0]), number),
    )


def _denied_out(evidence: AwsEvidence, acl: Acl, source: Source, out: Split, protocol: str) -> LayerJudgement:
    number = out.deny_numbers[0]
    ports = "echo replies" if protocol.startswith("icmp") else f"{protocol} {EPHEMERAL[0]}-{EPHEMERAL[1]}"
    who = source.cidr or "any address"
    return _judgement(
        outcome=Outcome.BLOCK,
        cause=Cause.EGRESS_DENY,
        reason=f"{_words(acl, number)} denies the answers ({ports}) out to {who}: an ACL does not remember connections",
        matched=tuple(_named(acl, one, "egress") for one in out.deny_numbers),
        missing_rule=f"allow {ports} out to {source.cidr or 'your address as /32'}, below rule {_sign(number)}",
        command=_command(evidence, acl, source, Flow(True, protocol, *EPHEMERAL), number),
    )


def _partly(acl: Acl, flows: list[Flow], part: Split, protocol: str) -> LayerJudgement:
    ports = listed([f"{flow.low}-{flow.high}" for flow in flows])
    reason = (
        f"{_words(acl, part.deny_numbers[0])} denies answers out to {protocol} {ports}: a connection from one of those "
        "ports on our side gets none; let 1024-65535 out"
    )
    matched = tuple(_named(acl, one, "egress") for one in part.deny_numbers)
    return _judgement(outcome=Outcome.UNKNOWN, cause=Cause.EGRESS_PARTLY_DENIED, reason=reason, matched=matched)


def _depends(source: Source, inward: Split, outward: list[Split], what: str) -> LayerJudgement:
    both = inward.allowed
    for part in outward:
        both = merged(one for allowed in part.allowed for one in cut(both, allowed)[0])
    words, allowed_from, refused_from = only_for(source.space, both)
    reason = f"the network ACL lets {what} and its answers pass {words}; {source.why}"
    return _judgement(
        outcome=Outcome.UNKNOWN,
        cause=Cause.SOURCE_UNKNOWN,
        reason=reason,
        allowed_from=allowed_from,
        refused_from=refused_from,
    )


def _command(evidence: AwsEvidence, acl: Acl, source: Source, flow: Flow, deny: int) -> str | None:
    """Let our own address in below the rule that denies; where no number is free below it, that rule is replaced."""
    if source.cidr is None or flow.protocol not in ("tcp", "udp"):
        return None
    taken = {entry.number for entry in acl.entries if entry.egress is flow.egress}
    free = next((number for number in range(min(deny, FINAL_RULE) - 1, 0, -1) if number not in taken), None)
    verb, number = ("create", free) if free is not None else ("replace", deny)
    block = "--ipv6-cidr-block" if ip_network(source.cidr).version == 6 else "--cidr-block"
    return (
        f"aws ec2 {verb}-network-acl-entry --network-acl-id {acl.acl_id}"
        f"{f' --region {shlex.quote(evidence.region)}' if evidence.region else ''} "
        f"--{'egress' if flow.egress else 'ingress'} --rule-number {number} --protocol {_NUMBERS[flow.protocol]} "
        f"--port-range From={flow.low},To={flow.high} {block} {source.cidr} --rule-action allow"
    )


def _words(acl: Acl, number: int) -> str:
    return f"rule {_sign(number)} of {acl.acl_id}"


def _named(acl: Acl, number: int, direction: str) -> str:
    return f"{acl.acl_id} rule {_sign(number)} {direction}"


def _sign(number: int) -> str:
    return "*" if number >= FINAL_RULE else str(number)
