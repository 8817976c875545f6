"""Security groups: does a rule on the interface let us in? Pure; the rules are facts of ``probes.cloud``.

The groups' rules form one union: allow only, unordered, stateful. A rule that names another group matches traffic from
that group's *private* addresses, never what arrives through a public one.
"""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Final

from probes.judge.aws_space import Source, covers, listed, network, source_of
from probes.judge.diagnosis import Outcome
from probes.judge.layer_judgement import Cause, LayerJudgement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from probes.cloud.facts import AwsEvidence, Rule
    from probes.judge.aws_space import Network

LAYER: Final = "security_group"
_NAMES: Final = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6"}
_ECHO_CODE: Final = 0
_judgement = partial(LayerJudgement, layer=LAYER)


def judge_groups(evidence: AwsEvidence, port: int, protocol: str = "tcp") -> LayerJudgement:
    """Whether the security groups of the interface let our packets to a port in.

    Args:
        evidence: ``rules`` None makes the answer unknown; ``my_address`` None makes it one per CIDR.
        port: the port; for ``icmp`` and ``icmpv6`` the type.
        protocol: ``tcp``, ``udp``, ``icmp`` or ``icmpv6``.
    """
    if evidence.rules is None:
        return _unread(evidence)
    source = source_of(evidence)
    fitting = tuple(rule for rule in evidence.rules if admits(rule, port, protocol))
    by_cidr = [(rule, one) for rule in fitting for one in networks_of(rule) if one.version == source.version]
    matched = _ids(rule for rule, one in by_cidr if covers((one,), source.space))
    if not matched and covers((one for _, one in by_cidr), source.space):
        matched = _ids(rule for rule, _ in by_cidr)
    if matched:
        who = source.cidr or "any address"
        reason = f"{listed(matched)} allows {_what(port, protocol)} from {who}"
        return _judgement(outcome=Outcome.PASS, cause=Cause.ALLOWED, reason=reason, matched=matched)
    return _not_matched(evidence, source, fitting, tuple(one for _, one in by_cidr), (port, protocol))


def admits(rule: Rule, port: int, protocol: str) -> bool:
    """Whether a rule is about this protocol and port (or ICMP type), whatever its source."""
    kind = _NAMES.get(rule.protocol, rule.protocol)
    if kind == "-1":
        return True
    if kind != protocol:
        return False
    if kind in ("icmp", "icmpv6"):
        return rule.from_port in (None, -1, port) and rule.to_port in (None, -1, _ECHO_CODE)
    if rule.from_port in (None, -1) or rule.to_port in (None, -1):
        return True
    return rule.from_port <= port <= rule.to_port


def networks_of(rule: Rule) -> tuple[Network, ...]:
    """The sources of a rule that are addresses; none for a group reference or an unread prefix list."""
    texts = (rule.cidr, rule.ipv6_cidr, *(rule.prefix_cidrs or ()))
    return tuple(one for one in map(network, texts) if one is not None)


def _not_matched(
    evidence: AwsEvidence,
    source: Source,
    fitting: tuple[Rule, ...],
    allowed: tuple[Network, ...],
    wanted: tuple[int, str],
) -> LayerJudgement:
    what = _what(*wanted)
    groups = _groups(evidence)
    allowed_from = tuple(dict.fromkeys(str(one) for one in allowed))
    unread = _ids(rule for rule in fitting if rule.prefix_list_id and rule.prefix_cidrs is None)
    references = _ids(rule for rule in fitting if rule.source_group_id)
    only_from = f"; {what} is allowed only from {listed(allowed_from)}" if allowed_from else ""
    if unread:
        why = evidence.unknown.get(LAYER) or "allow ec2:GetManagedPrefixListEntries"
        reason = f"{listed(unread)} allows {what} from a prefix list whose entries could not be read: {why}{only_from}"
        return _judgement(
            outcome=Outcome.UNKNOWN,
            cause=Cause.PREFIX_LIST_UNREAD,
            reason=reason,
            matched=unread,
            allowed_from=allowed_from,
        )
    if source.private and references:
        reason = f"{listed(references)} allows {what} from a group; whether we are in it is not known{only_from}"
        return _judgement(
            outcome=Outcome.UNKNOWN,
            cause=Cause.GROUP_REFERENCE_MAYBE,
            reason=reason,
            matched=references,
            allowed_from=allowed_from,
        )
    if allowed_from and source.address is None:
        reason = f"{what} is allowed only from {listed(allowed_from)}; {source.why}"
        return _judgement(outcome=Outcome.UNKNOWN, cause=Cause.SOURCE_UNKNOWN, reason=reason, allowed_from=allowed_from)
    missing, command = _missing(evidence, source, *wanted)
    cause = Cause.NO_RULE
    reason = f"no rule of {groups} allows {what} from {source.cidr or 'any address'}{only_from}"
    if references:
        cause = Cause.GROUP_REFERENCE_ONLY
        reason = (
            f"the only rules of {groups} for {what} that are left name a group as source ({listed(references)}): "
            f"those match traffic from private addresses only, and we come by the public one{only_from}"
        )
    return _judgement(
        outcome=Outcome.BLOCK,
        cause=cause,
        reason=reason,
        matched=references,
        allowed_from=allowed_from,
        missing_rule=missing,
        command=command,
    )


def _unread(evidence: AwsEvidence) -> LayerJudgement:
    why = evidence.unknown.get(LAYER) or "the security groups were not read"
    return _judgement(outcome=Outcome.UNKNOWN, cause=Cause.FACTS_MISSING, reason=why)


def _missing(evidence: AwsEvidence, source: Source, port: int, protocol: str) -> tuple[str, str | None]:
    """The rule that is missing in words, and as a command; never wider than our own address."""
    ids = evidence.interface.group_ids if evidence.interface is not None else ()
    text = f"allow {_what(port, protocol)} from {source.cidr or 'your address as /32'}"
    if not ids:
        return text, None
    region = f" --region {shlex.quote(evidence.region)}" if evidence.region else ""
    ports = f"FromPort={port},ToPort={-1 if protocol.startswith('icmp') else port}"
    ranges = (
        f"Ipv6Ranges=[{{CidrIpv6={source.cidr}}}]" if source.version == 6 else f"IpRanges=[{{CidrIp={source.cidr}}}]"
    )
    command = (
        f"aws ec2 authorize-security-group-ingress --group-id {ids[0]}{region} "
        f"--ip-permissions 'IpProtocol={protocol},{ports},{ranges}'"
    )
    return f"{text} in {ids[0]}", command if source.cidr else None


def _groups(evidence: AwsEvidence) -> str:
    if evidence.interface is None:
        return "the security groups"
    return listed(evidence.interface.group_ids) or "no security group"


def _what(port: int, protocol: str) -> str:
    return f"{protocol} type {port}" if protocol.startswith("icmp") else f"{protocol} {port}"


def _ids(rules: Iterable[Rule]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rule.rule_id or f"a rule of {rule.group_id}" for rule in rules))
