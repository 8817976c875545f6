"""B1: what the security groups open to the world, and how real that is. Pure.

Configured open and just connected is worse than configured open; a rule for everything is worse than one for a port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.aws_groups import admits, networks_of
from probes.judge.diagnosis import Action
from probes.judge.posture_types import Checked, Exposure, PostureLine, not_checked, passed
from probes.judge.triage_case import is_reset
from probes.judge.triage_commands import aws as aws_command
from probes.judge.triage_words import fact, millis
from probes.model import PortState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.cloud.facts import AwsEvidence, Rule
    from probes.evidence import PortProbe

CHECK: Final = "B1"
#: a source this wide is the world in all but name (two halves of it, say)
_WORLD_BITS: Final = {4: 8, 6: 16}
#: fragmentation needed: closing it breaks path-MTU discovery
_NEEDED_ICMP: Final = (3, 4)
_WIDE_PORTS: Final = 1024


def world_lines(aws: AwsEvidence | None, ports: Sequence[PortProbe]) -> list[PostureLine]:
    """One line for each rule that is open to the world, and one for each probed port that no such rule opens."""
    if aws is None:
        return [not_checked(CHECK, "security groups", "AWS was not asked")]
    if aws.rules is None:
        why = aws.unknown.get("security_group") or aws.unknown.get("credentials") or "AWS did not tell"
        return [not_checked(CHECK, "security groups", f"the rules could not be read: {why}")]
    groups = ", ".join(aws.interface.group_ids) if aws.interface is not None else "the interface's groups"
    lines = [_world_line(rule, aws.region, ports) for rule in aws.rules if world_sources(rule)]
    lines += [
        not_checked(CHECK, _named(rule), f"the entries of prefix list {rule.prefix_list_id} could not be read")
        for rule in aws.rules
        if rule.prefix_list_id and rule.prefix_cidrs is None
    ]
    covered = [rule for rule in aws.rules if world_sources(rule)]
    unread = [rule for rule in aws.rules if rule.prefix_list_id and rule.prefix_cidrs is None]
    for number in sorted({port.service.port for port in ports if port.via is None}):
        if any(admits(rule, number, "tcp") for rule in (*covered, *unread)):
            continue
        sources = _sources(aws.rules, number)
        words = f"only from {sources}" if sources else "from nowhere"
        lines.append(passed(CHECK, f"tcp {number}", f"no rule of {groups} opens it to the world: {words}"))
    if not covered and not unread and not any(line.outcome is Checked.PASS for line in lines):
        lines.append(passed(CHECK, "security groups", f"no rule of {groups} is open to the world"))
    return lines


def world_sources(rule: Rule) -> tuple[str, ...]:
    """The sources of a rule that are the world: 0.0.0.0/0, ::/0, or nearly as wide."""
    return tuple(str(one) for one in networks_of(rule) if one.prefixlen < _WORLD_BITS[one.version])


def _sources(rules: Sequence[Rule], number: int) -> str:
    fitting = [rule for rule in rules if admits(rule, number, "tcp")]
    named = [str(one) for rule in fitting for one in networks_of(rule)]
    named += [rule.source_group_id for rule in fitting if rule.source_group_id]
    return ", ".join(dict.fromkeys(named))


def _world_line(rule: Rule, region: str | None, ports: Sequence[PortProbe]) -> PostureLine:
    sources = ", ".join(world_sources(rule))
    what = _what(rule)
    kind = _icmp(rule)
    if kind is not None:
        return _icmp_line(rule, kind, sources, region)
    inside = [port for port in ports if port.via is None and admits(rule, port.service.port, "tcp")]
    connected = [port for port in inside if port.state is PortState.OPEN]
    exposure, real = _exposure(rule, inside, connected)
    return PostureLine(
        check=CHECK,
        subject=_named(rule),
        outcome=Checked.FAIL,
        exposure=exposure,
        statement=f"{what} is open to the world ({sources}): {real}",
        evidence=tuple(fact(port) for port in inside),
        action=_revoke(rule, region),
    )


def _exposure(rule: Rule, inside: Sequence[PortProbe], connected: Sequence[PortProbe]) -> tuple[Exposure, str]:
    wide = _is_wide(rule)
    if connected:
        port = connected[0]
        said = f"configured open, and we just connected to {port.service.port} in {millis(port.connect_ms)}"
        return (Exposure.CRITICAL if wide else Exposure.HIGH), said
    if wide:
        return Exposure.HIGH, "configured open for everything in it, whatever comes to listen there"
    if any(is_reset(port) for port in inside):
        return Exposure.MEDIUM, "configured open and reachable; nothing listens now"
    if inside:
        return Exposure.LOW, "configured open; we did not get through when we tried"
    return Exposure.MEDIUM, "configured open; whether one can connect was not probed"


def _is_wide(rule: Rule) -> bool:
    if rule.protocol == "-1":
        return True
    low = 0 if rule.from_port is None else rule.from_port
    high = 65535 if rule.to_port is None else rule.to_port
    return high - low >= _WIDE_PORTS


def _icmp(rule: Rule) -> tuple[int | None, int | None] | None:
    return (rule.from_port, rule.to_port) if rule.protocol in ("icmp", "icmpv6", "1", "58") else None


def _icmp_line(rule: Rule, kind: tuple[int | None, int | None], sources: str, region: str | None) -> PostureLine:
    if kind == _NEEDED_ICMP:
        return passed(CHECK, _named(rule), f"ICMP 3/4 is open to the world ({sources}): path-MTU discovery needs it")
    return PostureLine(
        check=CHECK,
        subject=_named(rule),
        outcome=Checked.FAIL,
        exposure=Exposure.LOW,
        statement=f"{_what(rule)} is open to the world ({sources}): it tells anybody that the host is there",
        action=_revoke(rule, region),
    )


def _what(rule: Rule) -> str:
    if rule.protocol == "-1":
        return "every protocol and port"
    if _icmp(rule) is not None:
        return "all ICMP" if rule.from_port in (None, -1) else f"ICMP type {rule.from_port}"
    name = {"6": "tcp", "17": "udp"}.get(rule.protocol, rule.protocol)
    if rule.from_port is None or rule.to_port is None:
        return f"every {name} port"
    if rule.from_port == rule.to_port:
        return f"{name} {rule.from_port}"
    return f"{name} {rule.from_port}-{rule.to_port}"


def _named(rule: Rule) -> str:
    return f"{rule.rule_id or 'a rule'} of {rule.group_id}"


def _revoke(rule: Rule, region: str | None) -> Action:
    line = aws_command(
        "ec2 revoke-security-group-ingress --group-id {group} --security-group-rule-ids {rule}",
        region,
        group=rule.group_id,
        rule=rule.rule_id,
    )
    return Action("allow your own addresses first, then take the rule away", line)
