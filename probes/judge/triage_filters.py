"""Rows 10 to 15: what AWS's own rules say of a port that is silent. The evaluators decide, the rows tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import Action, Confidence, Outcome, Verdict
from probes.judge.layer_judgement import Cause
from probes.judge.triage_case import public
from probes.judge.triage_commands import actions, aws, trusted
from probes.judge.triage_words import fact, numbers

if TYPE_CHECKING:
    from probes.evidence import PortProbe
    from probes.judge.layer_judgement import LayerJudgement
    from probes.judge.triage_case import Case

_ROUTE_CAUSES: Final = (Cause.NO_ROUTE, Cause.BLACKHOLE, Cause.NO_INTERNET_GATEWAY, Cause.MORE_SPECIFIC_ROUTE)


def row_10(case: Case) -> list[Verdict]:
    """No rule of the security groups on that interface matches, and the port is silent."""
    return [
        _group_verdict(case, port, judged, 10, f"security group: {judged.reason}")
        for port, judged in _blocked(case, case.groups, Cause.NO_RULE)
    ]


def row_11(case: Case) -> list[Verdict]:
    """The only match is a group reference, and we come by the public address."""
    if not public(case.address):
        return []
    return [
        _group_verdict(case, port, judged, 11, f"group-reference trap: {judged.reason}")
        for port, judged in _blocked(case, case.groups, Cause.GROUP_REFERENCE_ONLY)
    ]


def _blocked(case: Case, judged: dict[int, LayerJudgement], cause: Cause) -> list[tuple[PortProbe, LayerJudgement]]:
    pairs = [(port, judged[port.service.port]) for port in case.silent if port.service.port in judged]
    return [(port, one) for port, one in pairs if one.outcome is Outcome.BLOCK and one.cause is cause]


def _group_verdict(case: Case, port: PortProbe, judged: LayerJudgement, row: int, statement: str) -> Verdict:
    interface = case.aws.interface if case.aws is not None else None
    groups = interface.group_ids if interface is not None else ()
    mine = f"my address: {case.aws.my_address or 'not known'} ({case.aws.my_address_source})" if case.aws else ""
    rules = f"rules for this port: {', '.join(judged.matched)}" if judged.matched else "rules for this port: none fits"
    first = groups[0] if groups else None
    change = trusted(judged.command, first, case.region)
    show = aws("ec2 describe-security-group-rules --filters {name}", case.region, name=_values("group-id", groups))
    missing = f"the missing rule: {judged.missing_rule or 'one for this port'}"
    trap = (Action("such rules match private traffic only: come by the private address, or allow your own", None),)
    return Verdict(
        row=row,
        layer="security_group",
        service=port.service.name,
        outcome=Outcome.BLOCK,
        confidence=Confidence.HIGH,
        statement=statement,
        evidence=(fact(port), mine, rules, f"groups on the interface: {', '.join(groups) or 'none'}"),
        next_actions=actions(
            *(trap if row == 11 else ()),
            Action(f"{missing}; it opens the port to one address only", change),
            Action("show the rules", show) if show else None,
        ),
    )


def _values(name: str, ids: tuple[str, ...]) -> str | None:
    return f"Name={name},Values={','.join(ids)}" if ids else None


def row_12(case: Case) -> list[Verdict]:
    """The first entry of the network ACL that matches denies us."""
    found: list[Verdict] = []
    for port, judged in _blocked(case, case.acls, Cause.INGRESS_DENY):
        found.append(
            Verdict(
                row=12,
                layer="nacl",
                service=port.service.name,
                outcome=Outcome.BLOCK,
                confidence=Confidence.HIGH,
                statement=f"network ACL, inward: {judged.reason}",
                evidence=(fact(port), f"decided by {', '.join(judged.matched)}"),
                next_actions=_acl_actions(case, judged, port.service.port),
            )
        )
    return found


def row_13(case: Case) -> list[Verdict]:
    """The network ACL denies the answers to us: it does not remember connections. One verdict for all ports."""
    pairs = _blocked(case, case.acls, Cause.EGRESS_DENY)
    if not pairs:
        return []
    judged = pairs[0][1]
    ports = [port for port, _ in pairs]
    return [
        Verdict(
            row=13,
            layer="nacl",
            outcome=Outcome.BLOCK,
            confidence=Confidence.HIGH,
            statement=f"network ACL, return path: {judged.reason}",
            evidence=(*map(fact, ports), f"decided by {', '.join(judged.matched)}"),
            next_actions=_acl_actions(case, judged, None),
        )
    ]


def _acl_actions(case: Case, judged: LayerJudgement, port: int | None) -> tuple[Action, ...]:
    """Our own address before the entry that denies; then, for a deny that is itself the mistake, that entry."""
    acl = case.aws.acl if case.aws is not None else None
    if acl is None:
        return ()
    what = judged.missing_rule or ("allow the answers out" if port is None else f"allow tcp {port} in")
    narrow = trusted(judged.command, acl.acl_id, case.region)
    show = aws("ec2 describe-network-acls --network-acl-ids {id}", case.region, id=acl.acl_id)
    return actions(
        Action(what, narrow),
        _replacement(case, egress=port is None, matched=judged.matched),
        Action("show the ACL", show),
    )


def _replacement(case: Case, *, egress: bool, matched: tuple[str, ...]) -> Action | None:
    acl = case.aws.acl if case.aws is not None else None
    if acl is None or not matched:
        return None
    direction = "egress" if egress else "ingress"
    entry = next(
        (
            one
            for one in acl.entries
            if one.egress is egress and not one.allow and f"rule {one.number} {direction}" in matched[0]
        ),
        None,
    )
    # the final * cannot be replaced; a deny of everything turned into an allow would open the subnet to the world
    if entry is None or entry.protocol not in ("6", "-1") or _is_everybody(entry.cidr or entry.ipv6_cidr):
        return None
    ports = ""
    if entry.protocol == "6" and entry.from_port is not None and entry.to_port is not None:
        ports = f" --port-range From={entry.from_port},To={entry.to_port}"
    block = "--cidr-block" if entry.cidr else "--ipv6-cidr-block"
    line = aws(
        f"ec2 replace-network-acl-entry --network-acl-id {{id}} --{direction} --rule-number {{number}} "
        f"--protocol {{protocol}}{ports} {block} {{cidr}} --rule-action allow",
        case.region,
        id=acl.acl_id,
        number=entry.number,
        # aws reads "-1" as a value after "=", not as an option
        protocol="all" if entry.protocol == "-1" else entry.protocol,
        cidr=entry.cidr or entry.ipv6_cidr,
    )
    return Action(f"or, if the deny of rule {entry.number} is itself the mistake, turn it into an allow", line)


def _is_everybody(cidr: str | None) -> bool:
    return cidr is None or cidr.endswith("/0")


def row_14(case: Case) -> list[Verdict]:
    """No active route back, a blackhole, or a more specific route; only where no port at all answers."""
    judged = case.route
    if judged is None or judged.outcome is not Outcome.BLOCK or judged.cause not in _ROUTE_CAUSES:
        return []
    return _way_verdict(case, judged, 14, "route", _route_actions(case))


def _route_actions(case: Case) -> tuple[Action, ...]:
    table = case.aws.routes if case.aws is not None else None
    if table is None:
        return ()
    show = aws("ec2 describe-route-tables --route-table-ids {id}", case.region, id=table.table_id)
    return (Action("name the route: show the table, and mend the entry that takes our address elsewhere", show),)


def row_15(case: Case) -> list[Verdict]:
    """VPC Block Public Access without an exclusion."""
    judged = case.public_access
    if judged is None or judged.outcome is not Outcome.BLOCK:
        return []
    show = aws("ec2 describe-vpc-block-public-access-options", case.region)
    exclusions = aws("ec2 describe-vpc-block-public-access-exclusions", case.region)
    steps = (Action("show it, and who can change it", show), Action("show the exclusions", exclusions))
    return _way_verdict(case, judged, 15, "BPA", steps)


def _way_verdict(
    case: Case, judged: LayerJudgement, row: int, word: str, next_actions: tuple[Action, ...]
) -> list[Verdict]:
    if not case.all_silent:
        return []
    matched = (f"decided by {', '.join(judged.matched)}",) if judged.matched else ()
    return [
        Verdict(
            row=row,
            layer="route",
            outcome=Outcome.BLOCK,
            confidence=Confidence.HIGH,
            statement=f"{word}: {judged.reason} (silent: {numbers(case.silent)})",
            evidence=(*map(fact, case.silent), *matched),
            next_actions=next_actions,
        )
    ]
