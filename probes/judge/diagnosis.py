"""The answer of triage: layers, verdicts and next actions, as frozen types. The JSON of ``diagnose --json`` is these.

Layers end as pass, block, unknown (with a reason) or not applicable; a missing permission is unknown, never pass.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from msgspec import Struct, field

#: in packet order; the keys of the JSON's ``layers``
LAYERS: Final = (
    "resolve", "egress", "address", "instance", "security_group", "nacl", "route", "host_firewall", "tcp", "ssh",
    "tls", "http",
)  # fmt: skip


class Outcome(StrEnum):
    """How a layer, or one verdict's layer, ended."""

    PASS = "pass"  # noqa: S105 - a word, not a secret
    BLOCK = "block"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


class Confidence(StrEnum):
    """How sure a verdict is, in words; no invented percentages."""

    CERTAIN = "certain"
    HIGH = "high"
    MEDIUM = "medium"


class Level(StrEnum):
    """Severity by rule: sev1 everything dead or GPU gone, sev2 partial, sev3 one profile, none nothing blocked."""

    SEV1 = "sev1"
    SEV2 = "sev2"
    SEV3 = "sev3"
    NONE = "none"
    UNKNOWN = "unknown"


class Action(Struct, frozen=True):
    """One next step; ``command`` is exact and can be pasted, None where there is none."""

    text: str
    command: str | None = None


class LayerState(Struct, frozen=True):
    """One layer's end."""

    outcome: Outcome
    reason: str


class Verdict(Struct, frozen=True, kw_only=True):
    """One row of the decision table that applies. ``row`` is its number; ``service`` None: it is about the host."""

    row: int
    layer: str
    outcome: Outcome
    statement: str
    service: str | None = None
    confidence: Confidence | None = None
    evidence: tuple[str, ...] = ()
    next_actions: tuple[Action, ...] = ()


class Recovery(Struct, frozen=True, kw_only=True):
    """One of the ways back (console, Session Manager, security-group fix, rollback), scored by a shown formula.

    ``possible``: yes | no | unknown, with the reason; ``score`` None when not possible.
    """

    option: str
    text: str
    command: str | None
    possible: str
    reason: str
    success: float
    risk: float
    time_min: float
    score: float | None


class Severity(Struct, frozen=True):
    """The level and the rule that gave it, in words."""

    level: Level
    rule: str


class Cause(Struct, frozen=True, kw_only=True):
    """One possible cause with what speaks for and against it.

    ``state``: found (a verdict names it) | still_possible | ruled_out | not_applicable.
    """

    name: str
    text: str
    state: str
    pro: tuple[str, ...] = ()
    contra: tuple[str, ...] = ()


class Diagnosis(Struct, frozen=True, kw_only=True):
    """The whole answer for one host."""

    host: str
    taken_at_wall_s: float
    severity: Severity
    verdicts: tuple[Verdict, ...]
    layers: dict[str, LayerState]
    ruled_out: tuple[str, ...] = ()
    still_possible: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    cheapest_discriminator: Action | None = None
    contradictions: tuple[str, ...] = ()
    recovery: tuple[Recovery, ...] = ()
    recovery_formula: str = ""
    probes: tuple[dict[str, Any], ...] = field(default=())
    notes: tuple[str, ...] = ()
