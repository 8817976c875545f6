"""B4: what listens, what is configured and what the security groups let in: open and unneeded. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.aws_groups import admits, networks_of
from probes.judge.diagnosis import Action
from probes.judge.posture_types import Checked, Exposure, PostureLine, not_checked, passed
from probes.judge.posture_world import world_sources
from probes.judge.triage_case import is_loopback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.cloud.facts import AwsEvidence
    from probes.evidence import Inside, Listener, PortProbe

CHECK: Final = "B4"
_SUBJECT: Final = "listening ports"


def port_lines(
    inside: Inside | None, inside_why: str, aws: AwsEvidence | None, ports: Sequence[PortProbe]
) -> list[PostureLine]:
    """One line for each port that listens outwards and is no configured service, and one for those that are."""
    if inside is None:
        return [not_checked(CHECK, _SUBJECT, f"the host's own view: {inside_why}")]
    if inside.listeners is None:
        return [not_checked(CHECK, _SUBJECT, inside.listeners_why or "the host did not tell what listens")]
    wanted = {port.service.port for port in ports}
    outward: dict[int, list[Listener]] = {}
    for one in inside.listeners:
        if not is_loopback(one.address):
            outward.setdefault(one.port, []).append(one)
    lines = [_unneeded(number, outward[number], aws) for number in sorted(set(outward) - wanted)]
    if not lines:
        said = ", ".join(map(str, sorted(outward))) or "none"
        lines.append(passed(CHECK, _SUBJECT, f"every port that listens outwards is a configured service: {said}"))
    lines += _rules_without_listener(aws, set(outward))
    return lines


def _unneeded(number: int, sockets: Sequence[Listener], aws: AwsEvidence | None) -> PostureLine:
    evidence = tuple(
        f"{one.address}:{one.port}{f' ({one.process})' if one.process else ''}"
        for one in sorted(sockets, key=lambda one: (one.address, one.process or ""))
    )
    subject = f"tcp {number}"
    if aws is None or aws.rules is None:
        exposure, who = Exposure.MEDIUM, "whether a security group lets anybody in is not known"
    else:
        fitting = [rule for rule in aws.rules if admits(rule, number, "tcp")]
        world = [source for rule in fitting for source in world_sources(rule)]
        if world:
            exposure, who = Exposure.HIGH, f"the security groups let the world in ({', '.join(dict.fromkeys(world))})"
        elif fitting:
            named = [str(one) for rule in fitting for one in networks_of(rule)]
            named += [name for rule in fitting for name in (rule.source_group_id, rule.prefix_list_id) if name]
            exposure, who = Exposure.MEDIUM, f"the security groups let in {', '.join(dict.fromkeys(named))}"
        else:
            groups = "no rule of the security groups lets anybody in"
            return passed(CHECK, subject, f"listens and is no configured service; {groups}", *evidence)
    return PostureLine(
        check=CHECK,
        subject=subject,
        outcome=Checked.FAIL,
        exposure=exposure,
        statement=f"listens on every or an outer address and is no configured service; {who}",
        evidence=evidence,
        action=Action("configure it as a service if it is needed; else stop it or bind it to 127.0.0.1", None),
    )


def _rules_without_listener(aws: AwsEvidence | None, listening: set[int]) -> list[PostureLine]:
    """Single ports that a rule opens and on which nothing listens: a door for whatever comes next."""
    if aws is None or aws.rules is None:
        return [not_checked(CHECK, "rules without a listener", "the security groups are not known")]
    found: dict[int, str] = {}
    for rule in aws.rules:
        single = rule.protocol in ("tcp", "6") and rule.from_port == rule.to_port
        if single and rule.from_port is not None and rule.from_port not in listening:
            found.setdefault(rule.from_port, rule.rule_id or f"a rule of {rule.group_id}")
    return [
        PostureLine(
            check=CHECK,
            subject=f"tcp {number}",
            outcome=Checked.FAIL,
            exposure=Exposure.LOW,
            statement=f"{rule} opens it, and nothing listens there: the rule is not needed now",
        )
        for number, rule in sorted(found.items())
    ]
