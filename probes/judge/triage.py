"""From evidence to a diagnosis: every row of the decision table, every layer, and what to do next. Pure.

Rows 1 to 29 are small functions in the ``triage_*`` files, one for each row of ``rows.ROWS``. Several may apply: all
are listed, in packet order. Where our own way out fails, nothing is said of the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from probes.judge.correlate import Judged, about
from probes.judge.diagnosis import LAYERS, Diagnosis, Verdict
from probes.judge.probe_record import probe_record
from probes.judge.triage_address import row_3, row_4, row_5
from probes.judge.triage_case import INSIDE_FRESH_S, case_of
from probes.judge.triage_causes import FOUND, POSSIBLE, RULED_OUT, causes, ruled_out_words
from probes.judge.triage_contradictions import contradictions
from probes.judge.triage_discriminator import cheapest
from probes.judge.triage_filters import row_10, row_11, row_12, row_13, row_14, row_15
from probes.judge.triage_firewall import row_16, row_17, row_19, row_20, row_25, row_28
from probes.judge.triage_instance import judged_instance, row_6, row_7, row_8, row_9
from probes.judge.triage_layers import layers
from probes.judge.triage_listen import row_18, row_27
from probes.judge.triage_near import row_1, row_2
from probes.judge.triage_recovery import FORMULA, recovery
from probes.judge.triage_service import row_21, row_22, row_23, row_24, row_26
from probes.judge.triage_severity import severity
from probes.judge.triage_silence import row_29

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probes.evidence import Evidence
    from probes.judge.diagnosis import Cause
    from probes.judge.triage_case import Case

_ROWS: Final[tuple[Callable[[Case], list[Verdict]], ...]] = (
    row_1, row_2, row_3, row_4, row_5, row_6, row_7, row_8, row_9, row_10, row_11, row_12, row_13, row_14, row_15,
    row_16, row_17, row_18, row_19, row_20, row_21, row_22, row_23, row_24, row_25, row_26, row_27,
)  # fmt: skip


def diagnose(evidence: Evidence, fleet: Sequence[Judged] = ()) -> Diagnosis:
    """Judge one host.

    Args:
        evidence: all that was gathered of it; parts that were not are unknown, never fine.
        fleet: the other hosts' diagnoses with their evidence, for what several failing hosts share.
    """
    case = case_of(evidence)
    found = _verdicts(case)
    ends = layers(case, found)
    listed = causes(case, found, ends)
    check = cheapest(case, listed, found)
    found = _in_order(case, [*found, *row_29(case, found, listed, check)])
    diagnosis = Diagnosis(
        host=evidence.host_id,
        taken_at_wall_s=evidence.taken_at_wall_s,
        severity=severity(case, found),
        verdicts=tuple(found),
        layers=ends,
        ruled_out=tuple(ruled_out_words(one, case) for one in listed if one.state == RULED_OUT),
        still_possible=tuple(_possible_words(one) for one in listed if one.state in (FOUND, POSSIBLE)),
        causes=listed,
        cheapest_discriminator=check,
        contradictions=contradictions(case),
        recovery=recovery(case, found, ends),
        recovery_formula=FORMULA,
        probes=tuple(map(probe_record, case.ports)),
        notes=_notes(case),
    )
    shared = about(Judged(diagnosis, evidence), fleet)
    return replace(diagnosis, notes=(*diagnosis.notes, *shared)) if shared else diagnosis


def _verdicts(case: Case) -> list[Verdict]:
    """What applies of rows 1 to 28. Where our own way out fails, row 1 stands alone."""
    if case.stopped_by_us:
        return row_1(case)
    found = [verdict for row in _ROWS for verdict in row(case)]
    return [*found, *row_28(case, found)]


def _in_order(case: Case, found: list[Verdict]) -> list[Verdict]:
    """Packet order: by layer, then by port, then by row; what cannot be told after what can."""
    ports = {port.service.name: at for at, port in enumerate(case.ports)}
    return sorted(
        found, key=lambda one: (LAYERS.index(one.layer), one.row == 29, ports.get(one.service or "", -1), one.row)
    )


def _possible_words(cause: Cause) -> str:
    return f"{cause.text}: {'; '.join(cause.pro)}" if cause.pro else cause.text


def _notes(case: Case) -> tuple[str, ...]:
    """What was not gathered, with its reason, and what stands beside the verdicts."""
    evidence = case.evidence
    notes = list(evidence.notes)
    if evidence.aws is not None:
        reasons: dict[str, list[str]] = {}
        for part, why in sorted(evidence.aws.unknown.items()):
            reasons.setdefault(why, []).append(part.replace("_", " "))
        notes += [f"AWS layer: unknown - {', '.join(parts)}: {why}" for why, parts in reasons.items()]
    if evidence.inside is None:
        notes.append(f"the host's own view: {evidence.inside_why}")
    elif case.inside is None:
        notes.append(f"the host's own view is more than {INSIDE_FRESH_S:.0f} s from the probes and was not used")
    instance = judged_instance(case)
    if case.stopped_by_us and instance is not None and instance.state != "running":
        notes.append(f"AWS says that {instance.instance_id} is {instance.state}: look there when our own way out works")
    return tuple(notes)
