"""The answer of a security audit, as frozen types. Each line passed, failed, or was not checked, and says why.

There is no "secure": an audit says what it looked at, and one that looked at nothing says so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

from probes.judge.diagnosis import Action  # noqa: TC001 - msgspec resolves field types when it decodes


class Checked(StrEnum):
    """How one line ended."""

    PASS = "pass"  # noqa: S105 - a word, not a secret
    FAIL = "fail"
    NOT_CHECKED = "not_checked"


class Exposure(StrEnum):
    """How bad a failed line is, by what the world can really reach: configured *and* connected is worst."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class PostureLine(Struct, frozen=True, kw_only=True):
    """One line. ``check``: B1 world-open rules, B2 SSH, B3 IMDS, B4 open and unneeded. ``subject``: what was looked at.

    ``exposure`` is None unless the line failed. ``statement`` says what is so, or why it was not checked.
    """

    check: str
    subject: str
    outcome: Checked
    statement: str
    exposure: Exposure | None = None
    evidence: tuple[str, ...] = ()
    action: Action | None = None


class Posture(Struct, frozen=True, kw_only=True):
    """The audit of one host."""

    host: str
    taken_at_wall_s: float
    lines: tuple[PostureLine, ...]
    summary: str

    def document(self, taken_at: str) -> dict[str, Any]:
        """The audit as a JSON object; ``taken_at`` in RFC 3339."""
        return {
            "schema_version": 1,
            "host": self.host,
            "taken_at": taken_at,
            "summary": self.summary,
            "lines": [_line(one) for one in self.lines],
        }


def _line(line: PostureLine) -> dict[str, Any]:
    action = line.action
    command = None if action is None else {"text": action.text, "command": action.command, "missing": _null(action)}
    missing = {} if line.exposure is not None else {"exposure": "unsupported"}
    return {
        "check": line.check,
        "subject": line.subject,
        "outcome": line.outcome.value,
        "exposure": None if line.exposure is None else line.exposure.value,
        "statement": line.statement,
        "evidence": list(line.evidence),
        "action": command,
        "missing": missing | ({} if action is not None else {"action": "unsupported"}),
    }


def _null(action: Action) -> dict[str, str]:
    return {} if action.command is not None else {"command": "unsupported"}


def passed(check: str, subject: str, statement: str, *evidence: str) -> PostureLine:
    """A line that passed; it names what it rests on."""
    return PostureLine(check=check, subject=subject, outcome=Checked.PASS, statement=statement, evidence=evidence)


def not_checked(check: str, subject: str, why: str) -> PostureLine:
    """A line that could not be checked."""
    return PostureLine(check=check, subject=subject, outcome=Checked.NOT_CHECKED, statement=why)
