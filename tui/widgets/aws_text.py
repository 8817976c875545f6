"""What AWS says of a host as rows; each part that could not be read says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tui.widgets.folded import cell, folded

if TYPE_CHECKING:
    from probes.cloud.facts import Address, AwsEvidence, Instance, Rule
    from tui.widgets.lines import Row

_LABEL: Final = 10
_LISTED: Final = 12
_CHECKS_FINE: Final = ("ok", "not-applicable")


def aws_rows(aws: AwsEvidence, width: int) -> list[Row]:
    """Address, instance, interface, rules, ACL, routes, public access, our own address, and what is unknown."""
    rows = _fact("region", aws.region or "not known", width)
    rows += _fact("address", _address(aws.address), width) if aws.address is not None else _why(aws, "address", width)
    if aws.instance is not None:
        rows += _instance(aws.instance, width)
    else:
        rows += _why(aws, "instance", width)
    if aws.configured_instance is not None:
        other = aws.configured_instance
        words = f"{other.instance_id}, {other.state}, launched {other.launched_at or 'at an unknown time'}"
        rows += _fact("configured", words, width, "warn")
    if aws.interface is not None:
        one = aws.interface
        words = f"{one.interface_id} in {one.subnet_id or 'an unknown subnet'} of {one.vpc_id or 'an unknown VPC'}"
        rows += _fact("interface", f"{words}, groups {', '.join(one.group_ids) or 'none'}", width)
    rows += _rules(aws.rules, width) if aws.rules is not None else _why(aws, "security_group", width, "rules")
    rows += _acl(aws, width)
    rows += _routes(aws, width)
    block = aws.public_access_block
    if block is not None:
        words = f"block public access: {block.mode}{', excluded' if block.excluded else ''}"
        rows += _fact("VPC", words, width)
    else:
        rows += _why(aws, "public_access_block", width, "VPC")
    mine = aws.my_address or "not known"
    rows += _fact("we are", f"{mine} ({aws.my_address_source})", width, "text" if aws.my_address else "unknown")
    told = ("address", "instance", "security_group", "nacl", "route", "public_access_block")
    for part, why in aws.unknown.items():
        if part not in told:
            rows += _fact(part, f"unknown: {why}", width, "unknown")
    return rows


def _fact(label: str, text: str, width: int, style: str = "text") -> list[Row]:
    return folded(text, width, style, head=[(f" {cell(label, _LABEL)} ", "muted")])


def _why(aws: AwsEvidence, part: str, width: int, label: str = "") -> list[Row]:
    why = aws.unknown.get(part) or aws.unknown.get("credentials") or "AWS did not tell"
    return _fact(label or part, f"unknown: {why}", width, "unknown")


def _address(address: Address) -> str:
    if not address.in_account:
        return f"{address.address} is not in this account and region"
    words = f"{address.address} is ours, {'an Elastic IP' if address.elastic else 'a public address'}"
    if address.interface_id is None and address.instance_id is None:
        return f"{words}, NOT ASSOCIATED"
    return f"{words} on {address.interface_id or 'an unknown interface'} of {address.instance_id or 'no instance'}"


def _instance(one: Instance, width: int) -> list[Row]:
    kind = f"{one.instance_type or 'unknown type'} in {one.availability_zone or 'an unknown zone'}"
    words = f"{one.instance_id} {one.state}, {kind}" + (f", {one.lifecycle}" if one.lifecycle else "")
    rows = _fact("instance", words, width, "text" if one.state == "running" else "bad")
    if one.state_reason:
        rows += _fact("", one.state_reason, width, "warn")
    checks = (one.system_status, one.instance_status)
    words = f"system {checks[0] or 'not reported'}, instance {checks[1] or 'not reported'}"
    known = all(check is not None for check in checks)
    fine = all(check in _CHECKS_FINE for check in checks)
    return rows + _fact("checks", words, width, "text" if fine else "bad" if known else "unknown")


def _rules(rules: tuple[Rule, ...], width: int) -> list[Row]:
    if not rules:
        return _fact("rules", "no ingress rule at all", width, "bad")
    rows: list[Row] = []
    for at, rule in enumerate(rules[:_LISTED]):
        rows += _fact("rules" if at == 0 else "", rule_words(rule), width)
    more = len(rules) - _LISTED
    return rows + (_fact("", f"and {more} more; the record (w) has what decides", width, "muted") if more > 0 else [])


def rule_words(rule: Rule) -> str:
    """One ingress rule."""
    source = rule.cidr or rule.ipv6_cidr or rule.prefix_list_id or rule.source_group_id or "an unknown source"
    protocol = "all traffic" if rule.protocol == "-1" else rule.protocol
    ports = ""
    if rule.protocol != "-1" and rule.from_port is not None:
        ports = f" {rule.from_port}" + (f"-{rule.to_port}" if rule.to_port != rule.from_port else "")
    return f"{rule.group_id} allows {protocol}{ports} from {source}" + (f" ({rule.rule_id})" if rule.rule_id else "")


def _acl(aws: AwsEvidence, width: int) -> list[Row]:
    if aws.acl is None:
        return _why(aws, "nacl", width, "ACL")
    denies = [entry for entry in aws.acl.entries if not entry.allow and entry.number != 32767]
    words = ", ".join(
        f"{entry.number} denies {entry.cidr or entry.ipv6_cidr or ''} {'out' if entry.egress else 'in'}"
        for entry in denies[:_LISTED]
    )
    return _fact("ACL", f"{aws.acl.acl_id}, {words or 'denies nothing before its last entry'}", width)


def _routes(aws: AwsEvidence, width: int) -> list[Row]:
    if aws.routes is None:
        return _why(aws, "route", width, "routes")
    rows: list[Row] = []
    for at, route in enumerate(aws.routes.routes[:_LISTED]):
        words = f"{route.destination} to {route.target}" + ("" if route.state == "active" else f", {route.state}")
        style = "text" if route.state == "active" else "bad"
        rows += _fact("routes" if at == 0 else "", f"{aws.routes.table_id}: {words}", width, style)
    more = len(aws.routes.routes) - _LISTED
    return rows + (_fact("", f"and {more} more", width, "muted") if more > 0 else [])
