"""A diagnosis for others: the JSON of ``diagnose --json``, the exit code, and what changed since another diagnosis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from probes import clock
from probes.judge.diagnosis import LAYERS, Level, Outcome
from probes.judge.probe_record import plain, with_missing
from probes.judge.triage_address import tentative

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.judge.correlate import Correlation
    from probes.judge.diagnosis import Action, Diagnosis, Recovery, Verdict

SCHEMA_VERSION: Final = 1
REACHABLE, BLOCKED, CANNOT_TELL = 0, 1, 3


def exit_code(diagnosis: Diagnosis) -> int:
    """0 every service answers, 1 blocked with a verdict, 3 cannot tell.

    A reverse name alone (row 3, medium) is a hint: it does not say why the ports are silent, and row 29 still stands.
    """
    if any(one.outcome is Outcome.BLOCK and not tentative(one) for one in diagnosis.verdicts):
        return BLOCKED
    return REACHABLE if diagnosis.severity.level is Level.NONE else CANNOT_TELL


def document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as one JSON object."""
    check = diagnosis.cheapest_discriminator
    taken_at = rfc3339(diagnosis.taken_at_wall_s)
    missing = {"cheapest_discriminator": "unsupported"} if check is None else {}
    return {
        "schema_version": SCHEMA_VERSION,
        "host": diagnosis.host,
        "taken_at": taken_at,
        "severity": {"level": diagnosis.severity.level.value, "rule": diagnosis.severity.rule},
        "verdicts": [_verdict(one) for one in diagnosis.verdicts],
        "layers": {
            name: {"outcome": end.outcome.value, "reason": end.reason} for name, end in diagnosis.layers.items()
        },
        "ruled_out": list(diagnosis.ruled_out),
        "still_possible": list(diagnosis.still_possible),
        "causes": [
            {"name": one.name, "text": one.text, "state": one.state, "for": list(one.pro), "against": list(one.contra)}
            for one in diagnosis.causes
        ],
        "cheapest_discriminator": None if check is None else _action(check),
        "contradictions": list(diagnosis.contradictions),
        "recovery": [_recovery(one) for one in diagnosis.recovery],
        "recovery_formula": diagnosis.recovery_formula,
        "probes": [plain(one) for one in diagnosis.probes],
        "notes": list(diagnosis.notes),
        "missing": missing if taken_at is not None else {**missing, "taken_at": "error"},
    }


def fleet_document(diagnoses: Sequence[Diagnosis], shared: Sequence[Correlation]) -> dict[str, Any]:
    """Several diagnoses as one JSON object, with what failing hosts share said once."""
    return {
        "schema_version": SCHEMA_VERSION,
        "shared": [
            {
                "kind": one.kind,
                "value": one.value,
                "hosts": list(one.hosts),
                "statement": one.statement,
                "confidence": one.confidence.value,
            }
            for one in shared
        ],
        "diagnoses": [document(one) for one in diagnoses],
    }


def rfc3339(epoch_s: float) -> str | None:
    """A wall time as RFC 3339 UTC, None for one that is no time."""
    try:
        return clock.rfc3339(epoch_s) if math.isfinite(epoch_s) else None
    except (ValueError, OverflowError, OSError):
        return None


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return with_missing(
        {
            "row": verdict.row,
            "layer": verdict.layer,
            "service": verdict.service,
            "outcome": verdict.outcome.value,
            "confidence": None if verdict.confidence is None else verdict.confidence.value,
            "statement": verdict.statement,
            "evidence": list(verdict.evidence),
            "next_actions": [_action(one) for one in verdict.next_actions],
        }
    )


def _action(action: Action) -> dict[str, Any]:
    return with_missing({"text": action.text, "command": action.command})


def _recovery(option: Recovery) -> dict[str, Any]:
    return with_missing({name: plain(getattr(option, name)) for name in option.__struct_fields__})


def diff(before: Diagnosis, after: Diagnosis) -> tuple[str, ...]:
    """What changed since another diagnosis of the same host (the last good state, say), in packet order."""
    lines: list[str] = []
    if before.severity.level is not after.severity.level:
        lines.append(f"severity: {before.severity.level.value} -> {after.severity.level.value} ({after.severity.rule})")
    for name in LAYERS:
        was, now = before.layers.get(name), after.layers.get(name)
        if was is not None and now is not None and was.outcome is not now.outcome:
            lines.append(f"layer {name}: {was.outcome.value} -> {now.outcome.value} ({now.reason})")
    lines += _port_changes(before, after)
    known = {_key(one) for one in before.verdicts}
    lines += [f"new: row {one.row}: {one.statement}" for one in after.verdicts if _key(one) not in known]
    left = {_key(one) for one in after.verdicts}
    lines += [f"gone: row {one.row}: {one.statement}" for one in before.verdicts if _key(one) not in left]
    return tuple(lines)


def _key(verdict: Verdict) -> tuple[int, str, str | None]:
    return verdict.row, verdict.layer, verdict.service


def _port_changes(before: Diagnosis, after: Diagnosis) -> list[str]:
    was = {(one["service"], one["port"]): one["state"] for one in before.probes}
    now = {(one["service"], one["port"]): one["state"] for one in after.probes}
    lines: list[str] = []
    for key in sorted({*was, *now}):
        old, new = was.get(key, "not probed before"), now.get(key, "not probed now")
        if old != new:
            lines.append(f"port {key[1]} ({key[0]}): {old} -> {new}")
    return lines
