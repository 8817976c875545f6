"""How each layer ended, from the facts: pass needs evidence, and a layer without evidence is unknown with the reason.

A verdict that blocks a layer decides it. Without one, a port that answered proves every layer below it for its own
packets, and what AWS says counts for the rest. Two sources that disagree leave a layer unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import LAYERS, LayerState, Outcome, Verdict
from probes.judge.triage_address import foreign_region, loose, not_ours, ours
from probes.judge.triage_case import answers, checks_fine, control_fine, is_own, known_host, stranger
from probes.judge.triage_instance import judged_instance
from probes.judge.triage_near import control_fact
from probes.judge.triage_speakers import NO_PORTS, http_layer, ssh_layer, tls_layer
from probes.judge.triage_words import fact, numbers
from probes.model import PortState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from probes.evidence import PortProbe
    from probes.judge.layer_judgement import LayerJudgement
    from probes.judge.triage_case import Case

_PASS, _UNKNOWN, _NOT = Outcome.PASS, Outcome.UNKNOWN, Outcome.NOT_APPLICABLE


def layers(case: Case, verdicts: Iterable[Verdict]) -> dict[str, LayerState]:
    """Every layer's end, in packet order."""
    found = tuple(verdicts)
    ends: dict[str, LayerState] = {}
    for name in LAYERS:
        blocks = [one for one in found if one.layer == name and one.outcome is Outcome.BLOCK]
        if blocks:
            more = f" (and {len(blocks) - 1} more)" if len(blocks) > 1 else ""
            ends[name] = LayerState(Outcome.BLOCK, blocks[0].statement + more)
        elif case.stopped_by_us and name not in ("resolve", "egress"):
            ends[name] = LayerState(_UNKNOWN, "not judged: our own way out fails first")
        else:
            ends[name] = _open_question(name, found) or _BASE[name](case)
    return ends


def _open_question(name: str, found: tuple[Verdict, ...]) -> LayerState | None:
    """Row 9 leaves its layer open ("too early"); row 29 is about no single layer."""
    early = next((one for one in found if one.row == 9 and one.layer == name), None)
    return None if early is None else LayerState(_UNKNOWN, early.statement)


def aws_why(case: Case, *parts: str) -> str:
    """Why AWS says nothing of a part."""
    if case.aws is None:
        return "AWS was not asked"
    for part in (*parts, "credentials"):
        if case.aws.unknown.get(part):
            return f"AWS layer: unknown - {case.aws.unknown[part]}"
    return "AWS did not tell"


# --- before the host ---


def _resolve(case: Case) -> LayerState:
    names = case.evidence.names
    if any(port.state is PortState.UNRESOLVED for port in case.ports) and names is None:
        return LayerState(_UNKNOWN, "the name was not resolved for a port, and no look-up was made beside it")
    if names is None:
        return LayerState(_UNKNOWN, "names were not looked up")
    if names.name is None:
        return LayerState(_NOT, "configured by address")
    if not names.addresses:
        return LayerState(_UNKNOWN, f"{names.name} was not looked up")
    expected = "as configured" if names.expected else "no address is configured to compare it with"
    return LayerState(_PASS, f"{names.name} resolves to {', '.join(names.addresses)}, {expected}")


def _egress(case: Case) -> LayerState:
    heard = [port for port in case.answered if port.via is None]
    if heard:
        return LayerState(_PASS, f"the host answers: {fact(heard[0])}")
    fine = [one for one in case.evidence.controls if control_fine(one)]
    if fine:
        return LayerState(_PASS, control_fact(fine[0]))
    if case.live:
        return LayerState(_PASS, "an SSH session to the host lives")
    if case.ports and all(port.via is not None for port in case.ports):
        return LayerState(_NOT, f"probed from the jump host {case.ports[0].via}, not from here")
    controls = [one for one in case.evidence.controls if one.state is not PortState.NOT_PROBED]
    if controls:
        return LayerState(_UNKNOWN, f"the control did not answer: {control_fact(controls[0])}")
    return LayerState(_UNKNOWN, "no control was probed")


def _address(case: Case) -> LayerState:
    if stranger(case):
        return LayerState(_UNKNOWN, f"what answers at {case.address} is not the host on file")
    doubt = address_doubt(case)
    if doubt:
        return LayerState(_UNKNOWN, doubt)
    if case.host_answers:
        return LayerState(_PASS, f"{case.address} answers: {proof(case)}")
    address = case.aws.address if case.aws is not None else None
    if address is None:
        return LayerState(_UNKNOWN, aws_why(case, "address"))
    where = address.instance_id or address.interface_id
    if not address.in_account or loose(address) or where is None:
        return LayerState(_UNKNOWN, f"AWS does not say where {case.address} leads")
    return LayerState(_PASS, f"AWS: {case.address} leads to {where}")


def address_doubt(case: Case) -> str | None:
    """One source that speaks against the address of a host that answers."""
    if known_host(case) or not case.host_answers:
        return None
    if not_ours(case):
        return f"{case.address} answers, and AWS does not know it as ours in {case.region or 'the region asked'}"
    told = foreign_region(case)
    if told and not ours(case):
        return f"{case.address} answers, and its reverse name says {told}, not {case.evidence.region}"
    return None


def proof(case: Case) -> str:
    """What proves that packets get to the host and back."""
    return fact(case.answered[0]) if case.answered else "an SSH session lives"


def _instance(case: Case) -> LayerState:
    instance = judged_instance(case)
    answers_now = case.host_answers and not stranger(case)
    if instance is None:
        if answers_now:
            return LayerState(_PASS, f"a host answers: {proof(case)}")
        return LayerState(_UNKNOWN, aws_why(case, "instance"))
    checks = f"system check {instance.system_status}, instance check {instance.instance_status}"
    if checks_fine(case):
        return LayerState(_PASS, f"AWS: {instance.instance_id} running, {checks}")
    impaired = "impaired" in (instance.system_status, instance.instance_status)
    if answers_now and instance.state in ("running", "pending") and not impaired:
        return LayerState(_PASS, f"a host answers: {proof(case)}")
    return LayerState(_UNKNOWN, f"AWS: {instance.instance_id} {instance.state}, {checks}")


# --- filters ---


def _security_group(case: Case) -> LayerState:
    return _by_port(case, lambda port: _ruled(case, port, case.groups, "security_group"))


def _nacl(case: Case) -> LayerState:
    return _by_port(case, lambda port: _ruled(case, port, case.acls, "nacl"))


def _ruled(case: Case, port: PortProbe, judged: Mapping[int, LayerJudgement], part: str) -> LayerState:
    """One port against one kind of AWS's rules."""
    one = judged.get(port.service.port) if port.via is None else None
    if answers(port):
        if one is not None and one.outcome is Outcome.BLOCK:
            return LayerState(_UNKNOWN, f"{fact(port)}, yet {one.reason}: stale facts, or another host")
        return LayerState(_PASS, fact(port))
    if port.state is not PortState.FILTERED:
        return LayerState(_UNKNOWN, f"the probe did not come that far: {fact(port)}")
    if port.via is not None:
        return LayerState(_UNKNOWN, f"{fact(port)}: rules were not judged for the jump host's address")
    if one is None:
        return LayerState(_UNKNOWN, aws_why(case, part))
    return LayerState(one.outcome if one.outcome is _PASS else _UNKNOWN, one.reason)


def _route(case: Case) -> LayerState:
    if case.host_answers:
        # what a jump host sees says nothing of the way back to us
        from_here = case.live or any(port.via is None for port in case.answered)
        for one in (case.route, case.public_access):
            if from_here and one is not None and one.outcome is Outcome.BLOCK:
                return LayerState(_UNKNOWN, f"{proof(case)}, yet {one.reason}: stale facts, or another host")
        return LayerState(_PASS, f"answers come back: {proof(case)}")
    route, block = case.route, case.public_access
    if route is None or block is None:
        return LayerState(_UNKNOWN, aws_why(case, "route"))
    if route.outcome is not _PASS:
        return LayerState(_UNKNOWN, route.reason)
    if block.outcome not in (_PASS, _NOT):
        return LayerState(_UNKNOWN, block.reason)
    return LayerState(_PASS, route.reason)


def _host_firewall(case: Case) -> LayerState:
    return _by_port(case, _not_filtered)


def _not_filtered(port: PortProbe) -> LayerState:
    if answers(port):
        return LayerState(_PASS, fact(port))
    if port.state is PortState.FILTERED:
        return LayerState(_UNKNOWN, f"a host that drops looks like this too: {fact(port)}")
    return LayerState(_UNKNOWN, f"the probe did not come that far: {fact(port)}")


def _by_port(case: Case, judge: Callable[[PortProbe], LayerState]) -> LayerState:
    """Passes only when it passes for every port; ports that share a reason share its words."""
    ports = [port for port in case.ports if not is_own(port)]
    if not ports:
        return NO_PORTS
    ends = [(port, judge(port)) for port in ports]
    open_questions = [(port, end) for port, end in ends if end.outcome is not _PASS]
    # a port that did not answer passes by AWS's word: that says more than the ports that answered
    chosen = open_questions or sorted(ends, key=lambda one: answers(one[0]))
    first = chosen[0][1]
    same = [port for port, end in chosen if end.reason == first.reason]
    rest = [port for port, end in chosen if end.reason != first.reason]
    more = f"; the same for {numbers(same)}" if len(same) > 1 else ""
    more += f"; also {numbers(rest)}" if rest else ""
    return LayerState(_UNKNOWN if open_questions else _PASS, first.reason + more)


# --- the handshake ---


def _tcp(case: Case) -> LayerState:
    return _by_port(case, _connected)


def _connected(port: PortProbe) -> LayerState:
    if port.state is PortState.OPEN:
        return LayerState(_PASS, fact(port))
    return LayerState(_UNKNOWN, f"no handshake: {fact(port)}")


_BASE: Final[dict[str, Callable[[Case], LayerState]]] = {
    "resolve": _resolve,
    "egress": _egress,
    "address": _address,
    "instance": _instance,
    "security_group": _security_group,
    "nacl": _nacl,
    "route": _route,
    "host_firewall": _host_firewall,
    "tcp": _tcp,
    "ssh": ssh_layer,
    "tls": tls_layer,
    "http": http_layer,
}
