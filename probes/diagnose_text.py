"""A diagnosis, or an audit, as plain text for a terminal: what to do first, then why."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from probes.diagnose_report import rfc3339
from probes.judge.diagnosis import LAYERS, Outcome
from probes.judge.posture_types import Checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from probes.judge.correlate import Correlation
    from probes.judge.diagnosis import Action, Diagnosis, Verdict
    from probes.judge.posture_types import Posture, PostureLine

WIDTH: Final = 100
_WORDS: Final = {
    Outcome.PASS: "pass",
    Outcome.BLOCK: "BLOCK",
    Outcome.UNKNOWN: "unknown",
    Outcome.NOT_APPLICABLE: "n/a",
}


def diagnosis_text(diagnosis: Diagnosis) -> str:
    """The whole answer; lines at most ``WIDTH`` wide, but for commands, which can be pasted."""
    when = rfc3339(diagnosis.taken_at_wall_s) or "an unknown time"
    head = f"{diagnosis.severity.level.value} ({diagnosis.severity.rule}), {when}"
    lines = _hanging(f"{diagnosis.host}: ", head, indent=2)
    for verdict in diagnosis.verdicts:
        lines += ["", *_verdict(verdict)]
    if not diagnosis.verdicts:
        lines += ["", "No row of the decision table applies."]
    check = diagnosis.cheapest_discriminator
    if check is not None:
        lines += ["", "cheapest check that decides:", *_action(check)]
    lines += ["", "layers:"]
    for name in LAYERS:
        end = diagnosis.layers[name]
        lines += _hanging(f"  {name:<15}{_WORDS[end.outcome]:<8}", end.reason)
    for title, said in (
        ("ruled out", diagnosis.ruled_out),
        ("still possible", diagnosis.still_possible),
        ("contradictions", diagnosis.contradictions),
    ):
        lines += _section(title, said)
    if diagnosis.recovery:
        lines += ["", *_hanging("ways back, by ", f"{diagnosis.recovery_formula}:", indent=2)]
        for option in diagnosis.recovery:
            score = "" if option.score is None else f", score {option.score:.2f}"
            lines += _hanging("  ", f"{option.text}: possible {option.possible}{score} ({option.reason})")
            if option.command:
                lines.append(f"      {option.command}")
    lines += _section("notes", diagnosis.notes)
    return "\n".join(lines) + "\n"


def shared_text(shared: Sequence[Correlation]) -> str:
    """What failing hosts share, before the hosts one by one; empty when they share nothing."""
    lines = ["in common:"]
    for one in shared:
        lines += _hanging("  - ", f"{one.statement} [{one.confidence.value}]")
    return "\n".join(lines) + "\n" if shared else ""


def audit_text(posture: Posture) -> str:
    """The audit: failures first, then what was not checked and why, then what passed."""
    lines = [f"{posture.host}: {posture.summary}"]
    for line in posture.lines:
        lines += _posture(line)
    return "\n".join(lines) + "\n"


def _posture(line: PostureLine) -> list[str]:
    exposure = f" ({line.exposure.value})" if line.exposure is not None and line.outcome is Checked.FAIL else ""
    word = {Checked.FAIL: "FAIL", Checked.PASS: "pass", Checked.NOT_CHECKED: "not checked"}[line.outcome]
    out = _hanging(f"  {word + exposure:<20}", f"{line.check} {line.subject}: {line.statement}")
    for said in line.evidence:
        out += _hanging(" " * 24, said)
    return out + (_action(line.action, 22) if line.action is not None else [])


def _verdict(verdict: Verdict) -> list[str]:
    sure = f" [{verdict.confidence.value}]" if verdict.confidence is not None else ""
    where = f"{verdict.layer}, {verdict.service}" if verdict.service else verdict.layer
    lines = _hanging(f"{_WORDS[verdict.outcome]} ", f"{where}: {verdict.statement}{sure} (row {verdict.row})", indent=2)
    for said in verdict.evidence:
        lines += _hanging("    . ", said)
    for action in verdict.next_actions:
        lines += _action(action)
    return lines


def _action(action: Action, indent: int = 2) -> list[str]:
    space = " " * indent
    lines = _hanging(f"{space}-> ", action.text)
    return [*lines, f"{space}   {action.command}"] if action.command else lines


def _section(title: str, said: Iterable[str]) -> list[str]:
    lines = [line for one in said for line in _hanging("  - ", one)]
    return ["", f"{title}:", *lines] if lines else []


def _hanging(head: str, text: str, indent: int | None = None) -> list[str]:
    after = " " * (len(head) if indent is None else indent)
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=after, break_on_hyphens=False) or [head]
