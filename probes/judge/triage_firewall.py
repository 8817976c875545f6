"""Rows 16, 17, 19, 20, 25 and 28: a filter that no rule of AWS shows, or that says itself that it is one."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import Action, Confidence, Outcome, Verdict
from probes.judge.triage_address import not_ours, ours
from probes.judge.triage_address import row_5 as wrong_instance
from probes.judge.triage_case import (
    checks_fine,
    from_host,
    is_loopback,
    is_own,
    listeners,
    public,
    ssh_ports,
    ssh_usable,
)
from probes.judge.triage_commands import actions, aws, command
from probes.judge.triage_inside import console_output, look_inside
from probes.judge.triage_words import at, fact, label, numbers
from probes.model import PortState

if TYPE_CHECKING:
    from probes.evidence import Listener, PortProbe
    from probes.judge.triage_case import Case

#: the exact look at a host's own filter
_LOOK: Final = ("sudo nft list ruleset", "ss -ltnp")
_LOOK_TEXT: Final = "list the host's firewall rules and its listening ports"
_EXPLAINS: Final = frozenset(range(10, 17))


# --- 16 and 17: AWS lets us through ---


def row_16(case: Case) -> list[Verdict]:
    """All AWS layers pass, running, checks fine, some ports silent, another answers: the host drops those."""
    if not case.host_answers or not checks_fine(case):
        return []
    found: list[Verdict] = []
    for port in case.silent:
        if not _rules_pass(case, port):
            continue
        reasons = (case.groups[port.service.port].reason, case.acls[port.service.port].reason)
        found.append(
            Verdict(
                row=16,
                layer="host_firewall",
                service=port.service.name,
                outcome=Outcome.BLOCK,
                confidence=Confidence.HIGH,
                statement=f"host firewall drops {label(port)}: AWS lets it in, and the host answers on {_on(case)}",
                evidence=(fact(port), *map(fact, case.answered), *reasons, _running(case)),
                next_actions=look_inside(case, _LOOK_TEXT, *_LOOK),
            )
        )
    return found


def row_17(case: Case) -> list[Verdict]:
    """As row 16, and all ports are silent: the host's firewall, a sleeping interface, or what is not modelled."""
    if not case.all_silent or not checks_fine(case) or not _way_passes(case):
        return []
    if not all(_rules_pass(case, port) for port in case.silent):
        return []
    reasons = (case.groups[case.silent[0].service.port].reason, case.acls[case.silent[0].service.port].reason)
    way = case.route.reason if case.route is not None else ""
    return [
        Verdict(
            row=17,
            layer="host_firewall",
            outcome=Outcome.BLOCK,
            confidence=Confidence.MEDIUM,
            statement=(
                f"host firewall, a sleeping interface or an unmodelled layer: AWS lets {numbers(case.silent)} through, "
                "the instance runs, and all are silent"
            ),
            evidence=(*map(fact, case.silent), *reasons, way, _running(case)),
            next_actions=_no_ssh_way(case),
        )
    ]


def _rules_pass(case: Case, port: PortProbe) -> bool:
    number = port.service.port
    both = case.groups.get(number), case.acls.get(number)
    return all(one is not None and one.outcome is Outcome.PASS for one in both)


def _way_passes(case: Case) -> bool:
    if not ours(case) or not_ours(case) or wrong_instance(case):
        return False
    route, block = case.route, case.public_access
    if route is None or block is None or route.outcome is not Outcome.PASS:
        return False
    return block.outcome in (Outcome.PASS, Outcome.NOT_APPLICABLE)


def _no_ssh_way(case: Case) -> tuple[Action, ...]:
    instance = case.aws.instance if case.aws is not None else None
    if instance is None:
        return ()
    session = aws("ssm start-session --target {id}", case.region, id=instance.instance_id)
    sure = "" if instance.has_ssm else ", if its agent runs there (not known)"
    serial = aws("ec2 get-serial-console-access-status", case.region)
    return actions(
        *(look_inside(case, _LOOK_TEXT, *_LOOK)[:1] if case.live else ()),
        None if instance.has_ssm is False else Action(f"Session Manager{sure}", session),
        Action("read the console", console_output(case)),
        Action("serial console: whether the account allows it", serial),
    )


def _on(case: Case) -> str:
    return numbers(case.answered) or "its live SSH session"


def _running(case: Case) -> str:
    instance = case.aws.instance if case.aws is not None else None
    if instance is None:
        return "AWS: instance not known"
    checks = f"system check {instance.system_status}, instance check {instance.instance_status}"
    return f"AWS: {instance.instance_id} running, {checks}"


# --- 19 and 20: a filter that says so ---


def row_19(case: Case) -> list[Verdict]:
    """ICMP 3/3, 3/10 or 3/13 from the host itself: its firewall rejects."""
    return [
        Verdict(
            row=19,
            layer="host_firewall",
            service=port.service.name,
            outcome=Outcome.BLOCK,
            confidence=Confidence.HIGH,
            statement=f"host firewall rejects {label(port)}: ICMP {_code(port)} from {port.offender}, the host itself",
            evidence=(fact(port), *_detail(port)),
            next_actions=look_inside(case, "list the host's firewall rules", "sudo nft list ruleset"),
        )
        for port in case.ports
        if from_host(port) and port.icmp_type is not None
    ]


def row_20(case: Case) -> list[Verdict]:
    """The same from another address: that hop's firewall, or a router that has no way on."""
    found: list[Verdict] = []
    for port in case.ports:
        rejects = port.state is PortState.REJECTED
        if not rejects and port.state is not PortState.UNREACHABLE:
            continue
        if is_own(port) or port.icmp_type is None or port.offender is None or port.offender == port.address:
            continue
        what = "the firewall of" if rejects else "no way on from"
        found.append(
            Verdict(
                row=20,
                layer="egress" if _near(port) else "route",
                service=port.service.name,
                outcome=Outcome.BLOCK,
                confidence=Confidence.HIGH,
                statement=f"{what} {port.offender}, a hop that is not the host: ICMP {_code(port)} for {label(port)}",
                evidence=(fact(port), *_detail(port), *_hops(port)),
                next_actions=actions(
                    Action("find the owner of that hop and ask there", command("whois {x}", x=port.offender)),
                    Action("show where it stands on the way", command("tracepath -n {x}", x=port.address)),
                ),
            )
        )
    return found


def _near(port: PortProbe) -> bool:
    """A hop with a private address before a public host stands on our side of the internet."""
    try:
        hop = ip_address(port.offender or "")
    except ValueError:
        return False
    return public(port.address) and not public(str(hop))


def _code(port: PortProbe) -> str:
    return f"{port.icmp_type}/{port.icmp_code}"


def _detail(port: PortProbe) -> tuple[str, ...]:
    return (port.detail,) if port.detail else ()


def _hops(port: PortProbe) -> tuple[str, ...]:
    known = [f"{hop.ttl} {hop.address}" for hop in port.hops if hop.address]
    return (f"hops: {', '.join(known)}",) if known else ()


# --- 25 and 28: our own knowledge of the host against the silence ---


def row_25(case: Case) -> list[Verdict]:
    """An established SSH session lives, new connects are silent: a rule was just removed, tracked flows survive."""
    link = case.evidence.link
    ports = [port for port in ssh_ports(case) if port.state is PortState.FILTERED and port.via is None]
    if not case.live or not ports or link is None:
        return []
    since = f"since {at(link.since_wall_s)}" if link.since_wall_s is not None else "since a time not known"
    interface = case.aws.interface if case.aws is not None else None
    groups = interface.group_ids if interface is not None else ()
    show = (
        aws(
            "ec2 describe-security-group-rules --filters {f}", case.region, f=f"Name=group-id,Values={','.join(groups)}"
        )
        if groups
        else None
    )
    changed = (
        aws(
            "cloudtrail lookup-events --lookup-attributes {f} --max-results 20",
            case.region,
            f=f"AttributeKey=ResourceName,AttributeValue={groups[0]}",
        )
        if groups
        else None
    )
    return [
        Verdict(
            row=25,
            layer=_removed_from(case, port),
            service=port.service.name,
            outcome=Outcome.BLOCK,
            confidence=Confidence.MEDIUM,
            statement=f"a rule was just removed: the SSH session lives, and new connects to {label(port)} are silent",
            evidence=(fact(port), f"the session is established {since}: tracked flows survive a removed rule"),
            next_actions=actions(
                Action("keep the session open: it may be the last way in", None),
                Action("show the rules now, against the last good state", show) if show else None,
                Action("show who changed the group", changed) if changed else None,
            ),
        )
        for port in ports
    ]


def _removed_from(case: Case, port: PortProbe) -> str:
    """Both kinds of filter keep tracked flows; where AWS still lets us in, it was not the security group's rule."""
    judged = case.groups.get(port.service.port)
    return "host_firewall" if judged is not None and judged.outcome is Outcome.PASS else "security_group"


def row_28(case: Case, found: list[Verdict]) -> list[Verdict]:
    """Listening inside on every address, silent outside, SSH fine: certainly a filter between."""
    if not (ssh_usable(case) or case.live) or case.inside is None:
        return []
    verdicts: list[Verdict] = []
    for port in case.silent:
        sockets = [one for one in listeners(case, port.service.port) if not is_loopback(one.address)]
        if not sockets:
            continue
        rows = sorted({one.row for one in found if one.row in _EXPLAINS and one.service in (None, port.service.name)})
        which = f"row {', '.join(map(str, rows))} says which" if rows else "which one, rows 10 to 16 cannot say yet"
        verdicts.append(
            Verdict(
                row=28,
                layer="tcp",
                service=port.service.name,
                outcome=Outcome.BLOCK,
                confidence=Confidence.CERTAIN,
                statement=f"a filter stands between: {label(port)} listens on the host, silent from here; {which}",
                evidence=(fact(port), socket_words(case, sockets), "SSH to the host works"),
                next_actions=look_inside(case, _LOOK_TEXT, *_LOOK),
            )
        )
    return verdicts


def socket_words(case: Case, sockets: list[Listener] | tuple[Listener, ...]) -> str:
    """``inside (agent): 0.0.0.0:8001 (python, pid 812)``."""
    inside = case.evidence.inside
    listed = ", ".join(
        f"{one.address}:{one.port}"
        + (f" ({one.process}{f', pid {one.pid}' if one.pid is not None else ''})" if one.process else "")
        for one in sockets
    )
    return f"inside ({inside.source if inside else 'not asked'}): {listed}"
