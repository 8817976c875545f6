"""The list of causes: for each what speaks for and against it, and whether it is found, possible or ruled out.

A cause follows from how its layer ended. Only what evidence speaks against is ruled out; a layer that is unknown leaves
its cause possible, with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import Cause, LayerState, Outcome, Verdict
from probes.judge.triage_address import foreign_region, loose, not_ours, ours, tentative
from probes.judge.triage_case import control_fine, is_loopback, is_own, known_host, listeners
from probes.judge.triage_near import control_fact
from probes.judge.triage_words import fact, numbers
from probes.model import PortState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from probes.judge.triage_case import Case

FOUND, POSSIBLE, RULED_OUT, NOT_APPLICABLE = "found", "still_possible", "ruled_out", "not_applicable"
#: in the order in which the wording of "cannot tell" lists them
TEXTS: Final = {
    "egress": "your egress",
    "dns": "DNS",
    "service": "a plain service failure",
    "security_group": "security group",
    "nacl": "NACL",
    "host_firewall": "host drop",
    "stopped": "stopped",
    "association": "address not associated",
    "wrong_address": "wrong address",
    "route": "route",
}
#: rows whose verdict names the cause
_ROWS: Final = {
    "egress": (1,),
    "dns": (2,),
    "service": (18, 21, 22, 26, 27),
    "security_group": (10, 11, 25),
    "nacl": (12, 13),
    "host_firewall": (16, 17, 19, 25),
    "stopped": (6,),
    "association": (4,),
    "wrong_address": (3, 5, 24),
    "route": (14, 15),
}
_LAYERS: Final = {
    "egress": "egress",
    "dns": "resolve",
    "security_group": "security_group",
    "nacl": "nacl",
    "host_firewall": "host_firewall",
    "stopped": "instance",
    "route": "route",
}


def causes(case: Case, verdicts: Sequence[Verdict], ends: Mapping[str, LayerState]) -> tuple[Cause, ...]:
    """Each cause once, in a fixed order."""
    return tuple(_cause(name, case, verdicts, ends) for name in TEXTS)


def quiet(case: Case) -> tuple[str, ...]:
    """The facts of the ports that are silent, from here or from the jump host."""
    return tuple(fact(port) for port in case.ports if port.state is PortState.FILTERED)


def _cause(name: str, case: Case, verdicts: Sequence[Verdict], ends: Mapping[str, LayerState]) -> Cause:
    named = [one for one in verdicts if one.row in _ROWS[name] and one.outcome is Outcome.BLOCK]
    # row 25 is about one of two filters: its layer says which
    named = [one for one in named if one.row != 25 or one.layer == name]
    if named:
        pro = tuple(f"row {one.row}: {one.statement}" for one in named)
        state = POSSIBLE if all(map(tentative, named)) else FOUND
        return Cause(name=name, text=TEXTS[name], state=state, pro=pro)
    if case.stopped_by_us:
        why = ("our own way out fails first",)
        return Cause(name=name, text=TEXTS[name], state=POSSIBLE, pro=why)
    if name == "service":
        return _service(case, ends)
    if name == "association":
        return _association(case)
    if name == "wrong_address":
        return _wrong_address(case)
    return _of_layer(name, case, ends[_LAYERS[name]])


def _of_layer(name: str, case: Case, end: LayerState) -> Cause:
    text = TEXTS[name]
    if end.outcome is Outcome.NOT_APPLICABLE:
        return Cause(name=name, text=text, state=NOT_APPLICABLE, contra=(end.reason,))
    if end.outcome is Outcome.PASS:
        return Cause(name=name, text=text, state=RULED_OUT, contra=(end.reason,))
    if name == "stopped" and end.outcome is Outcome.UNKNOWN:
        return _stopped(case, end)
    return Cause(name=name, text=text, state=POSSIBLE, pro=(end.reason,))


def _stopped(case: Case, end: LayerState) -> Cause:
    """A running instance whose checks are unknown is not stopped; nor is a machine that answers an echo."""
    instance = case.aws.instance if case.aws is not None else None
    text = TEXTS["stopped"]
    if instance is not None and instance.state == "running":
        return Cause(name="stopped", text=text, state=RULED_OUT, contra=(end.reason,))
    if _echoes(case):
        return Cause(name="stopped", text=text, state=RULED_OUT, contra=("it answers an ICMP echo",))
    return Cause(name="stopped", text=text, state=POSSIBLE, pro=(end.reason,))


def _echoes(case: Case) -> bool:
    return case.evidence.echo is not None and case.evidence.echo.outcome == "reply"


def _service(case: Case, ends: Mapping[str, LayerState]) -> Cause:
    text = TEXTS["service"]
    asked = [port for port in case.ports if not is_own(port) and port.state is not PortState.NOT_PROBED]
    if not asked:
        return Cause(name="service", text=text, state=POSSIBLE, pro=("no port was probed",))
    inside = [port for port in asked if any(not is_loopback(one.address) for one in listeners(case, port.service.port))]
    silent = [port for port in asked if port.state is PortState.FILTERED]
    opened = [port for port in asked if port.state is PortState.OPEN]
    contra = [f"{numbers(inside)} listens on the host"] if inside else []
    if silent:
        contra.append("a live unfiltered host would send RST")
    unsure = [ends[name].reason for name in ("ssh", "tls", "http") if ends[name].outcome is Outcome.UNKNOWN and opened]
    if len(silent) + len(opened) < len(asked) or (opened and unsure and not silent):
        why = tuple(unsure) or tuple(fact(port) for port in asked if port not in silent and port not in opened)
        return Cause(name="service", text=text, state=POSSIBLE, pro=why, contra=tuple(contra))
    if opened:
        contra.append(f"{numbers(opened)} open")
    return Cause(name="service", text=text, state=RULED_OUT, contra=tuple(contra))


def _association(case: Case) -> Cause:
    address = case.aws.address if case.aws is not None else None
    contra: list[str] = []
    if case.host_answers:
        contra.append(f"{case.address} answers")
    elif _echoes(case):
        contra.append(f"{case.address} answers an ICMP echo")
    elif address is not None and address.in_account and not loose(address):
        contra.append(f"AWS: it leads to {address.instance_id or address.interface_id}")
    state = RULED_OUT if contra else POSSIBLE
    pro = () if contra else ("nothing answers there",)
    return Cause(name="association", text=TEXTS["association"], state=state, pro=pro, contra=tuple(contra))


def _wrong_address(case: Case) -> Cause:
    pro: list[str] = []
    if foreign_region(case) and not known_host(case):
        pro.append(f"the reverse name says {foreign_region(case)}, configured is {case.evidence.region}")
    if not_ours(case) and not known_host(case):
        pro.append("AWS does not know it as ours")
    contra: list[str] = []
    if known_host(case):
        contra.append("the host has proved its identity")
    elif ours(case):
        contra.append("AWS: it is ours, and leads to the configured instance or to one of ours")
    elif case.host_answers and not pro:
        contra.append(f"{case.address} answers")
    if not contra and not pro:
        pro.append("nothing proves whose address it is")
    state = RULED_OUT if contra and not pro else POSSIBLE
    return Cause(name="wrong_address", text=TEXTS["wrong_address"], state=state, pro=tuple(pro), contra=tuple(contra))


def ruled_out_words(cause: Cause, case: Case) -> str:
    """``your egress (control fine)``."""
    if cause.name == "egress" and not any(port.via is None for port in case.answered):
        fine = next((one for one in case.evidence.controls if control_fine(one)), None)
        if fine is not None:
            return f"{cause.text} (control fine: {control_fact(fine).removeprefix('control ')})"
    return f"{cause.text} ({'; '.join(cause.contra)})" if cause.contra else cause.text
