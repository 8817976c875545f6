"""The record of a diagnosis as Markdown (A12), for a ticket or a report. Text from outside cannot act as markup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from probes.diagnose_report import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from probes.judge.correlate import Correlation
    from probes.judge.diagnosis import Action, Diagnosis, Verdict

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|~$&!@])")
_BULLET: Final = re.compile(r"\A(\s*)([-+]|\d+[.)])(?=\s|\Z)")
_TICKS: Final = re.compile(r"`+")
_HEADINGS: Final = ("layer", "outcome", "reason")


def markdown(diagnosis: Diagnosis, changes: Sequence[str] = ()) -> str:
    """The whole record.

    Args:
        diagnosis: what was found.
        changes: lines against the last good state, from ``diagnose_report.diff``; empty: none to compare with.
    """
    check = diagnosis.cheapest_discriminator
    parts = [
        f"# Diagnosis of {escape(diagnosis.host)}",
        f"Taken at {rfc3339(diagnosis.taken_at_wall_s) or 'an unknown time'}.",
        f"Severity: **{diagnosis.severity.level.value}** ({escape(diagnosis.severity.rule)}).",
        "## Verdicts",
        "\n\n".join(map(_verdict, diagnosis.verdicts)) or "No row of the decision table applies.",
        "## Layers",
        _layers(diagnosis),
        _section("Ruled out", diagnosis.ruled_out),
        _section("Still possible", diagnosis.still_possible),
        f"## Cheapest discriminator\n\n{_action(check)}" if check is not None else "",
        _section("Contradictions", diagnosis.contradictions),
        _recovery(diagnosis),
        _section("Against the last good state", changes),
        _section("Notes", diagnosis.notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def shared_markdown(shared: Sequence[Correlation]) -> str:
    """What failing hosts share, before the records one by one; empty when they share nothing."""
    lines = [f"{one.statement} ({one.confidence.value})" for one in shared]
    return f"# In common\n\n{_listed(lines)}\n" if lines else ""


def escape(text: str) -> str:
    """One line of plain text: nothing in it is markup, a link, HTML or a line of its own."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    escaped = _MARKUP.sub(r"\\\1", flat)
    # a scheme would be made a link by some renderers, a leading dash or number a list item
    escaped = escaped.replace("://", ":\\//").replace("www.", "www\\.")
    return _BULLET.sub(lambda found: f"{found[1]}{found[2][:-1]}\\{found[2][-1]}", escaped)


def code(text: str) -> str:
    """A code span that the text cannot end."""
    flat = "".join(char if char.isprintable() else " " for char in text)
    longest = max((len(run) for run in _TICKS.findall(flat)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if flat.startswith("`") or flat.endswith("`") or not flat.strip() else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


def _verdict(verdict: Verdict) -> str:
    sure = f", {verdict.confidence.value}" if verdict.confidence is not None else ""
    service = f", {escape(verdict.service)}" if verdict.service is not None else ""
    head = f"### Row {verdict.row}: {verdict.layer}{service} ({verdict.outcome.value}{sure})"
    lines = [head, escape(verdict.statement)]
    if verdict.evidence:
        lines.append("\n".join(f"- {escape(one)}" for one in verdict.evidence))
    if verdict.next_actions:
        lines.append("Next:\n\n" + "\n".join(f"1. {_action(one)}" for one in verdict.next_actions))
    return "\n\n".join(lines)


def _action(action: Action) -> str:
    return f"{escape(action.text)}: {code(action.command)}" if action.command is not None else escape(action.text)


def _layers(diagnosis: Diagnosis) -> str:
    rows = [_row(_HEADINGS), _row("---" for _ in _HEADINGS)]
    rows += [_row((name, end.outcome.value, escape(end.reason))) for name, end in diagnosis.layers.items()]
    return "\n".join(rows)


def _recovery(diagnosis: Diagnosis) -> str:
    if not diagnosis.recovery:
        return ""
    rows = [_row(("option", "possible", "score", "minutes (estimate)", "why", "command"))]
    rows.append(_row("---" for _ in range(6)))
    rows += [
        _row(
            (
                escape(one.text),
                one.possible,
                "-" if one.score is None else f"{one.score:g}",
                f"{one.time_min:g}",
                escape(one.reason),
                code(one.command).replace("|", "\\|") if one.command is not None else "-",
            )
        )
        for one in diagnosis.recovery
    ]
    return "## Recovery\n\n" + "\n".join(rows) + f"\n\n{escape(diagnosis.recovery_formula)}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _section(title: str, lines: Iterable[str]) -> str:
    listed = _listed(lines)
    return f"## {title}\n\n{listed}" if listed else ""


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escape(one)}" for one in lines)
