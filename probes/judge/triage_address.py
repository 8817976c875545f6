"""Rows 3 to 5: is this address ours, in this region, and does it lead to the right instance?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import Action, Confidence, Outcome, Verdict
from probes.judge.triage_case import known_host, public
from probes.judge.triage_commands import actions, aws, command

if TYPE_CHECKING:
    from probes.cloud.facts import Address, Instance
    from probes.judge.triage_case import Case

#: the end of a name that EC2 gives, public or private
_EC2_NAME: Final = re.compile(
    r"\.(?:compute(?:-1)?\.amazonaws\.com(?:\.cn)?|compute\.internal|ec2\.internal)\.?\Z", re.IGNORECASE
)
_REGION: Final = re.compile(r"[a-z]{2,3}(?:-[a-z]+)+-\d{1,2}")


def in_aws(case: Case) -> bool:
    """Whether anything says that the host should be in AWS: its labels, an EC2 reverse name, or AWS itself.

    Without such a sign it is no finding that AWS does not know an address: most addresses are not there.
    """
    evidence, facts = case.evidence, case.aws
    if evidence.instance_id or (evidence.region and _REGION.fullmatch(evidence.region)):
        return True
    names = evidence.names.ptr if evidence.names is not None else {}
    if any(_EC2_NAME.search(name) for found in names.values() for name in found):
        return True
    if facts is None:
        return False
    return facts.instance is not None or facts.configured_instance is not None or ours(case)


def foreign_region(case: Case) -> str | None:
    """The region in the reverse name, when it is another one than the configured."""
    names = case.evidence.names
    told = names.ptr_region.get(case.address) if names is not None else None
    return told if told and case.evidence.region and told != case.evidence.region else None


def not_ours(case: Case) -> bool:
    """Whether AWS says that no interface and no Elastic IP of ours in this region has a public address of AWS."""
    address = _address(case)
    return address is not None and not address.in_account and public(case.address) and in_aws(case)


def ours(case: Case) -> bool:
    """Whether AWS says that the address belongs to us."""
    address = _address(case)
    return address is not None and address.in_account


def tentative(verdict: Verdict) -> bool:
    """A reverse name alone suggests another region; it does not explain why ports are silent."""
    return verdict.row == 3 and verdict.confidence is Confidence.MEDIUM


def row_3(case: Case) -> list[Verdict]:
    """The reverse name's region differs, or the address is not in our account's region: wrong address or region.

    A host that answers is contradicted by one source only when both say so; one alone is a contradiction, not a
    verdict (see ``contradictions``). A host that proved its identity, or an address that AWS knows as ours, is right.
    """
    told, unknown = foreign_region(case), not_ours(case)
    if not (told or unknown) or ours(case) or known_host(case):
        return []
    if case.host_answers and not (told and unknown):
        return []
    return [
        Verdict(
            row=3,
            layer="address",
            outcome=Outcome.BLOCK,
            confidence=Confidence.HIGH if unknown else Confidence.MEDIUM,
            statement=f"wrong address or region: {_why_wrong(case, told, unknown=unknown)}",
            evidence=_address_facts(case, told, unknown=unknown),
            next_actions=_find_address(case, told),
        )
    ]


def _why_wrong(case: Case, told: str | None, *, unknown: bool) -> str:
    parts: list[str] = []
    if told:
        parts.append(f"the reverse name of {case.address} says {told}, configured is {case.evidence.region}")
    if unknown:
        parts.append(f"{case.address} is not in our account in {case.region or 'the region asked'}")
    wanted = _configured(case)
    if wanted is not None:
        if wanted.public_address and wanted.public_address != case.address:
            parts.append(f"{wanted.instance_id} now has {wanted.public_address}")
        elif wanted.state != "running":
            parts.append(f"{wanted.instance_id} is {wanted.state}, and an instance that stops gives its address back")
    return "; ".join(parts)


def _address_facts(case: Case, told: str | None, *, unknown: bool) -> tuple[str, ...]:
    lines: list[str] = []
    names = case.evidence.names
    if told and names is not None:
        lines.append(f"reverse name: {', '.join(names.ptr.get(case.address, ())) or told}")
        lines.append(f"configured region: {case.evidence.region}")
    if unknown:
        lines.append("AWS: no network interface and no Elastic IP of this account has the address")
    return tuple(lines)


def _find_address(case: Case, told: str | None) -> tuple[Action, ...]:
    look = aws("ec2 describe-addresses --public-ips {x}", told or case.region, x=case.address)
    instance = _configured(case)
    query = "'Reservations[].Instances[].[InstanceId,State.Name,PublicIpAddress]'"
    if instance is not None:
        text = "find the real address by instance id"
        template = f"ec2 describe-instances --instance-ids {{id}} --query {query} --output text"
        find = aws(template, case.region, id=instance.instance_id)
    else:
        text = "find the instance id by its name, and with it the real address"
        template = f"ec2 describe-instances --filters {{tag}} --query {query} --output text"
        find = aws(template, case.region, tag=f"Name=tag:Name,Values={case.evidence.host_id}")
    probe = None
    if instance is not None and instance.public_address and instance.public_address != case.address and case.ports:
        ports = ",".join(str(number) for number in sorted({port.service.port for port in case.ports}))
        line = command("quarterdeck diagnose {x} --ports {ports}", x=instance.public_address, ports=ports)
        probe = Action("probe the address that the instance has now", line)
    where = f" in {told or case.region}" if told or case.region else ""
    return actions(Action(f"ask whose address it is{where}", look), Action(text, find), probe)


def row_4(case: Case) -> list[Verdict]:
    """The address is ours, without association."""
    address = _address(case)
    if address is None or not loose(address):
        return []
    instance = _configured(case)
    ask = aws("ec2 describe-addresses --public-ips {x}", case.region, x=case.address)
    line = aws(
        "ec2 associate-address --allocation-id {allocation} --instance-id {id}",
        case.region,
        allocation=address.allocation_id,
        id=instance.instance_id if instance is not None else None,
    )
    fix = Action("associate it with its instance", line)
    return [
        Verdict(
            row=4,
            layer="address",
            outcome=Outcome.BLOCK,
            confidence=Confidence.CERTAIN,
            statement=f"Elastic IP not associated: {case.address} is ours and leads to no instance",
            evidence=(f"AWS: {address.allocation_id or case.address} has no association, interface or instance",),
            next_actions=(fix,) if line else (*_find_address(case, None)[1:], fix, Action("look at it again", ask)),
        )
    ]


def loose(address: Address) -> bool:
    """An Elastic IP of ours that is associated with nothing."""
    return (
        address.in_account
        and address.elastic
        and address.association_id is None
        and address.interface_id is None
        and address.instance_id is None
    )


def row_5(case: Case) -> list[Verdict]:
    """The Elastic IP is on another interface than the configured instance's."""
    address, wanted = _address(case), _configured(case)
    if address is None or wanted is None or not address.in_account or not elsewhere(address, wanted):
        return []
    there = case.aws.instance if case.aws is not None else None
    ids = [one for one in (address.instance_id, wanted.instance_id) if one]
    template = "ec2 describe-instances --instance-ids {a} {b}" if len(ids) == 2 else "ec2 describe-instances {a}"
    query = " --query 'Reservations[].Instances[].[InstanceId,LaunchTime,State.Name,PublicIpAddress]' --output text"
    if len(ids) == 2:
        show = aws(template + query, case.region, a=ids[0], b=ids[1])
    else:
        interface = "ec2 describe-network-interfaces --network-interface-ids {id}"
        show = aws(interface, case.region, id=address.interface_id)
    move = aws(
        "ec2 associate-address --allocation-id {allocation} --instance-id {id} --allow-reassociation",
        case.region,
        allocation=address.allocation_id,
        id=wanted.instance_id,
    )
    kind = "Elastic IP" if address.elastic else "address"
    where = address.instance_id or address.interface_id
    return [
        Verdict(
            row=5,
            layer="address",
            outcome=Outcome.BLOCK,
            confidence=Confidence.CERTAIN,
            statement=f"wrong instance: the {kind} {case.address} is on {where}, configured is {wanted.instance_id}",
            evidence=(
                f"{where}: launched {_launched(there)}",
                f"{wanted.instance_id}: launched {_launched(wanted)}, {wanted.state}",
            ),
            next_actions=actions(
                Action("show both ids and launch times", show),
                Action("move the address to the configured instance", move) if move else None,
            ),
        )
    ]


def elsewhere(address: Address, wanted: Instance) -> bool:
    """Whether an address leads to something that is not the wanted instance."""
    if address.instance_id is not None:
        return address.instance_id != wanted.instance_id
    return address.interface_id is not None and address.interface_id not in wanted.interface_ids


def _launched(instance: Instance | None) -> str:
    return (instance.launched_at if instance is not None else None) or "at a time that AWS did not tell"


def _address(case: Case) -> Address | None:
    return case.aws.address if case.aws is not None else None


def _configured(case: Case) -> Instance | None:
    return case.aws.configured_instance if case.aws is not None else None
