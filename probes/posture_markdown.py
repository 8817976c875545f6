"""The record of a security audit as Markdown. Text from outside cannot act as markup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.diagnose_markdown import code, escape
from probes.diagnose_report import rfc3339
from probes.judge.posture_types import Checked

if TYPE_CHECKING:
    from probes.judge.posture_types import Posture, PostureLine

_TITLES: Final = {Checked.FAIL: "Failed", Checked.NOT_CHECKED: "Not checked", Checked.PASS: "Passed"}


def posture_markdown(posture: Posture) -> str:
    """The whole record: what failed first, then what was not checked and why, then what passed."""
    parts = [
        f"# Audit of {escape(posture.host)}",
        f"Taken at {rfc3339(posture.taken_at_wall_s) or 'an unknown time'}.",
        f"{escape(posture.summary)}.",
    ]
    for outcome, title in _TITLES.items():
        lines = [_line(one) for one in posture.lines if one.outcome is outcome]
        if lines:
            parts.append(f"## {title}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _line(line: PostureLine) -> str:
    exposure = f" **{line.exposure.value}**" if line.exposure is not None else ""
    rows = [f"- {line.check} {escape(line.subject)}{exposure}: {escape(line.statement)}"]
    rows += [f"  - {escape(one)}" for one in line.evidence]
    if line.action is not None:
        command = f": {code(line.action.command)}" if line.action.command is not None else ""
        rows.append(f"  - Next: {escape(line.action.text)}{command}")
    return "\n".join(rows)
