"""Alarms where two sources disagree: what is configured against what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import Outcome
from probes.judge.triage_case import answers, is_loopback, is_reset, listeners
from probes.judge.triage_firewall import row_16, row_17
from probes.judge.triage_instance import judged_instance
from probes.judge.triage_layers import address_doubt, proof
from probes.judge.triage_words import fact
from probes.model import PortState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from probes.judge.triage_case import Case

_STALE: Final = "stale facts, or another host"


def contradictions(case: Case) -> tuple[str, ...]:
    """Each disagreement once, in packet order. Where our own way out fails nothing was seen of the host."""
    if case.stopped_by_us:
        return ()
    return tuple(dict.fromkeys((*_address(case), *_instance(case), *_denied(case), *_allowed(case), *_listening(case))))


def _address(case: Case) -> Iterator[str]:
    doubt = address_doubt(case)
    if doubt:
        yield f"{doubt}: another host, another account, or a wrong region in the configuration"


def _instance(case: Case) -> Iterator[str]:
    instance = judged_instance(case)
    if instance is None or not case.host_answers:
        return
    what = f"AWS says {instance.instance_id} is {instance.state}"
    if instance.state not in ("running", "pending"):
        yield f"{what}, yet {case.address} answers: {_STALE}"
    elif "impaired" in (instance.system_status, instance.instance_status):
        checks = f"system check {instance.system_status}, instance check {instance.instance_status}"
        yield f"{what} with {checks}, yet {case.address} answers: the check lags, or trouble has just begun"


def _denied(case: Case) -> Iterator[str]:
    """Configuration denies, yet open: stale facts, or another host."""
    seen = [port for port in case.direct if answers(port)]
    for port in seen:
        for judged in (case.groups.get(port.service.port), case.acls.get(port.service.port)):
            if judged is not None and judged.outcome is Outcome.BLOCK:
                yield f"configuration denies, yet it answers: {judged.reason}; {fact(port)}: {_STALE}"
    for judged in (case.route, case.public_access):
        if (seen or case.live) and judged is not None and judged.outcome is Outcome.BLOCK:
            yield f"configuration denies, yet it answers: {judged.reason}; {proof(case)}: {_STALE}"


def _allowed(case: Case) -> Iterator[str]:
    """Configuration allows, yet silent: the host."""
    silent = {one.service for one in row_16(case)}
    everything = bool(row_17(case))
    for port in case.silent:
        if everything or port.service.name in silent:
            yield f"configuration allows, yet silent: {fact(port)}: look at the host itself"


def _listening(case: Case) -> Iterator[str]:
    for port in case.ports:
        sockets = listeners(case, port.service.port)
        outward = [one for one in sockets if not is_loopback(one.address)]
        if is_reset(port) and outward:
            yield f"the host says that {port.service.port} listens on {outward[0].address}, yet {fact(port)}"
        told = case.inside is not None and case.inside.listeners is not None
        if told and port.state is PortState.OPEN and not sockets:
            yield f"{fact(port)}, yet nothing listens on it inside: forwarded to elsewhere, or another host answers"
