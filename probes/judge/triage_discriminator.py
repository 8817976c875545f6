"""The one check that would tell most for least: chosen by a fixed order, cheapest first, read-only always."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.aws_space import parsed
from probes.judge.diagnosis import Action, Cause, Outcome, Verdict
from probes.judge.triage_address import foreign_region, tentative
from probes.judge.triage_case import public
from probes.judge.triage_causes import POSSIBLE
from probes.judge.triage_commands import aws, command, ssh
from probes.judge.triage_inside import ssh_way
from probes.model import PortState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probes.judge.triage_case import Case

_CALL: Final = "one read-only call"


def cheapest(case: Case, found: Sequence[Cause], verdicts: Sequence[Verdict]) -> Action | None:
    """The first check of the list that decides a cause still possible; None when nothing is in doubt.

    The order: our own side (no credentials), the host itself where SSH works, whose address it is, whether the instance
    runs, security groups, network ACL, route, and last the console, which may show a host that drops.
    """
    if not in_doubt(case, verdicts):
        return None
    if case.stopped_by_us:
        return Action("which way this machine takes", command("ip route get {x}", x=case.address))
    possible = {one.name for one in found if one.state == POSSIBLE}
    for decides, check in _CHECKS:
        if possible & decides:
            action = check(case)
            if action is not None and action.command is not None:
                return action
    return None


def in_doubt(case: Case, verdicts: Sequence[Verdict]) -> bool:
    """Whether a probed port fails that no verdict with a block explains."""
    return bool(unexplained(case, verdicts)) or case.stopped_by_us


#: rows about the host as a whole, which explain every port that fails on the way
_WHOLE_HOST: Final = frozenset({2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 17})
#: row 28 proves a filter, and does not say which
_NOT_ENOUGH: Final = frozenset({28})


def unexplained(case: Case, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Names of the services that do not answer and have no blocking verdict."""
    blocks = [one for one in verdicts if one.outcome is Outcome.BLOCK and not tentative(one)]
    if any(one.row in _WHOLE_HOST and one.service is None for one in blocks):
        return ()
    named = {one.service for one in blocks if one.row not in _NOT_ENOUGH}
    fine = (PortState.OPEN, PortState.NOT_PROBED)
    own = {port.service.name for port in case.own} if any(one.row == 1 for one in blocks) else set[str]()
    return tuple(
        dict.fromkeys(
            port.service.name
            for port in case.ports
            if port.state not in fine and port.service.name not in named and port.service.name not in own
        )
    )


def _our_side(case: Case) -> Action | None:
    if not public(case.address):
        return Action("which way this machine takes", command("ip route get {x}", x=case.address))
    line = "curl -sS --max-time 4 https://checkip.amazonaws.com"
    return Action("whether our own way out works, and by which address", line)


def _on_host(case: Case) -> Action | None:
    way = ssh_way(case)
    if way is None or case.inside is not None:
        return None
    line = ssh(case.evidence.user, case.address, way[0], "ss -ltn", way[1])
    return Action("what listens on the host: listening inside and silent outside proves a filter", line)


def _whose_address(case: Case) -> Action | None:
    if parsed(case.address) is None or (case.aws is not None and case.aws.address is not None):
        return None
    if public(case.address):
        region = foreign_region(case) or case.region
        return Action(_CALL, aws("ec2 describe-addresses --public-ips {x}", region, x=case.address))
    if case.aws is None and case.region is None:
        return None
    name = f"Name=addresses.private-ip-address,Values={case.address}"
    return Action(_CALL, aws("ec2 describe-network-interfaces --filters {name}", case.region, name=name))


def _runs(case: Case) -> Action | None:
    facts = case.aws
    instance = (facts.instance or facts.configured_instance) if facts is not None else None
    known = facts.address.instance_id if facts is not None and facts.address is not None else None
    instance_id = instance.instance_id if instance is not None else known
    template = "ec2 describe-instance-status --include-all-instances --instance-ids {id}"
    return Action(_CALL, aws(template, case.region, id=instance_id))


def _groups(case: Case) -> Action | None:
    facts = case.aws
    groups = facts.interface.group_ids if facts is not None and facts.interface is not None else ()
    if groups:
        name = f"Name=group-id,Values={','.join(groups)}"
        return Action(_CALL, aws("ec2 describe-security-group-rules --filters {name}", case.region, name=name))
    if not public(case.address) or (facts is None and case.region is None):
        return None
    name = f"Name=association.public-ip,Values={case.address}"
    return Action(_CALL, aws("ec2 describe-network-interfaces --filters {name}", case.region, name=name))


def _acl(case: Case) -> Action | None:
    return _of_subnet(case, "ec2 describe-network-acls --filters {name}")


def _table(case: Case) -> Action | None:
    return _of_subnet(case, "ec2 describe-route-tables --filters {name}")


def _of_subnet(case: Case, template: str) -> Action | None:
    interface = case.aws.interface if case.aws is not None else None
    if interface is None or interface.subnet_id is None:
        return None
    return Action(_CALL, aws(template, case.region, name=f"Name=association.subnet-id,Values={interface.subnet_id}"))


def _console(case: Case) -> Action | None:
    instance = case.aws.instance if case.aws is not None else None
    if instance is None:
        return Action("where on the way it ends", command("tracepath -n {x}", x=case.address))
    template = "ec2 get-console-output --instance-id {id} --latest --output text"
    return Action(_CALL, aws(template, case.region, id=instance.instance_id))


_CHECKS: Final[tuple[tuple[frozenset[str], Callable[[Case], Action | None]], ...]] = (
    (frozenset({"egress"}), _our_side),
    (frozenset({"service", "host_firewall", "security_group"}), _on_host),
    (frozenset({"association", "wrong_address", "stopped"}), _whose_address),
    (frozenset({"stopped"}), _runs),
    (frozenset({"security_group"}), _groups),
    (frozenset({"nacl"}), _acl),
    (frozenset({"route"}), _table),
    (frozenset({"host_firewall", "service", "route"}), _console),
)
