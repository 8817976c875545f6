"""Rows 1 and 2: our own way out, and the name. What fails here says nothing of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.evidence import Names
from probes.judge.aws_space import parsed
from probes.judge.diagnosis import Action, Confidence, Outcome, Verdict
from probes.judge.triage_case import control_fine
from probes.judge.triage_commands import command
from probes.judge.triage_words import fact, millis, numbers
from probes.model import PortState

if TYPE_CHECKING:
    from probes.evidence import ControlProbe, PortProbe
    from probes.judge.triage_case import Case

#: "host unreachable" from ourselves: nobody answered for the address on our own network
_NO_NEIGHBOUR = frozenset({(4, 3, 1), (6, 1, 3)})


def row_1(case: Case) -> list[Verdict]:
    """Control fails too, unreachable at once, or the offender is our own address: our network, VPN or firewall."""
    if case.own:
        return [_verdict(case, _own_words(case), tuple(map(fact, case.own)))]
    if not case.stopped_by_us:
        return []
    controls = [one for one in case.evidence.controls if one.state is not PortState.NOT_PROBED]
    targets = ", ".join(one.target for one in controls)
    statement = (
        f"our network, VPN or firewall: the control fails too ({targets}), so nothing is known of {case.address} itself"
    )
    lines = (*map(control_fact, controls), *(fact(port) for port in case.ports if port.via is None))
    return [_verdict(case, statement, lines)]


def control_fact(control: ControlProbe) -> str:
    """What was measured on a control."""
    words = control.state.value.replace("_", " ")
    took = f" in {millis(control.connect_ms)}" if control.connect_ms is not None else ""
    why = f": {control.detail}" if control.detail else ""
    where = f"{control.address}:{control.port}"
    called = "" if control.target == where else f"{control.target} "
    return f"control {called}{f'({where})' if called else where}: {words}{took}{why}"


def _own_words(case: Case) -> str:
    own = case.own
    ports = numbers(own)
    if all(_is_neighbour(port) for port in own):
        known = any(control_fine(one) for one in case.evidence.controls)
        more = "; the control answers, so look at this address or its gateway first" if known else ""
        return f"our network: nobody on it answers for {case.address}, or for the gateway to it{more} (ports {ports})"
    if any(port.offender_is_own for port in own):
        return f"our network, VPN or firewall: our own machine refuses the way to {case.address} (ports {ports})"
    return f"our network, VPN or firewall: {case.address} is unreachable at once, no packet left (ports {ports})"


def _is_neighbour(port: PortProbe) -> bool:
    return (port.icmp_family, port.icmp_type, port.icmp_code) in _NO_NEIGHBOUR


def _verdict(case: Case, statement: str, evidence: tuple[str, ...]) -> Verdict:
    return Verdict(
        row=1,
        layer="egress",
        outcome=Outcome.BLOCK,
        confidence=Confidence.HIGH,
        statement=statement,
        evidence=evidence,
        next_actions=(
            Action("show which way this machine would take; stop here", command("ip route get {x}", x=case.address)),
        ),
    )


def row_2(case: Case) -> list[Verdict]:
    """The name resolves to another address than configured, or not at all."""
    names = _looked_up(case)
    if names is None:
        return []
    astray = strangers(names)
    if names.addresses and not astray:
        return []
    if not names.addresses and names.error is None and not _unresolved(case):
        return []
    wanted = ", ".join(names.expected) or "not configured"
    if astray:
        statement = f"DNS: {names.name} resolves to {', '.join(astray)}, configured is {wanted}"
    else:
        why = f": {names.error}" if names.error else ""
        statement = f"DNS: {names.name} does not resolve{why}; configured address: {wanted}"
    return [
        Verdict(
            row=2,
            layer="resolve",
            outcome=Outcome.BLOCK,
            confidence=Confidence.HIGH,
            statement=statement,
            evidence=_resolved(names),
            next_actions=_next(case, names),
        )
    ]


def _looked_up(case: Case) -> Names | None:
    """The look-up; where none was made, a probe that could not resolve its address has looked up that name."""
    names = case.evidence.names
    if names is not None and names.name is not None:
        return names
    if not case.address or parsed(case.address) is not None or not _unresolved(case):
        return None
    return Names(name=case.address)


def strangers(names: Names) -> tuple[str, ...]:
    """Resolved addresses that the configuration does not know; a family it says nothing of is not compared."""
    families = {one.version for one in map(parsed, names.expected) if one is not None}
    return tuple(
        sorted(
            text
            for text in names.addresses
            if text not in names.expected and (one := parsed(text)) is not None and one.version in families
        )
    )


def _unresolved(case: Case) -> bool:
    return any(port.state is PortState.UNRESOLVED for port in case.ports)


def _resolved(names: Names) -> tuple[str, ...]:
    took = f" in {millis(names.took_ms)}" if names.took_ms is not None else ""
    found = ", ".join(names.addresses) or names.error or "no address"
    lines = [f"{names.name}: {found}{took}"]
    if names.expected:
        lines.append(f"configured: {', '.join(names.expected)}")
    return tuple(lines)


def _next(case: Case, names: Names) -> tuple[Action, ...]:
    look = Action("show what the name resolves to", command("getent ahosts {name}", name=names.name))
    ports = ",".join(str(number) for number in sorted({port.service.port for port in case.ports}))
    if not names.expected or not ports:
        return (look,)
    probe = command("quarterdeck diagnose {x} --ports {ports}", x=names.expected[0], ports=ports)
    return look, Action("probe the configured address", probe)
