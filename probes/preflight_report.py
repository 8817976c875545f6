"""A preflight for others: its JSON, its text and its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from probes import clock
from probes.evidence import PairOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.evidence import PairReach

SCHEMA_VERSION: Final = 1
ALL_REACHABLE, SOME_NOT, CANNOT_TELL = 0, 1, 3
_FAILS: Final = (PairOutcome.BLOCKED, PairOutcome.PORT_TAKEN)
_WORDS: Final = {
    PairOutcome.REACHABLE: "reachable",
    PairOutcome.OPEN_UNCONFIRMED: "unconfirmed",
    PairOutcome.BLOCKED: "BLOCKED",
    PairOutcome.PORT_TAKEN: "PORT TAKEN",
    PairOutcome.UNKNOWN: "unknown",
}


def exit_code(pairs: Sequence[PairReach]) -> int:
    """0 every pair can meet, 1 some certainly cannot, 3 that of some it is not known."""
    if any(pair.outcome in _FAILS for pair in pairs):
        return SOME_NOT
    fine = all(pair.outcome is PairOutcome.REACHABLE for pair in pairs)
    return ALL_REACHABLE if fine and pairs else CANNOT_TELL


def summary(pairs: Sequence[PairReach]) -> str:
    """``4 of 6 pairs reachable, 2 blocked``."""
    fine = sum(pair.outcome is PairOutcome.REACHABLE for pair in pairs)
    counted = [(outcome, sum(pair.outcome is outcome for pair in pairs)) for outcome in PairOutcome]
    rest = [f"{count} {_WORDS[outcome].lower()}" for outcome, count in counted if count]
    return ", ".join([f"{fine} of {len(pairs)} pairs reachable", *rest[bool(fine) :]])


def document(pairs: Sequence[PairReach], port: int, taken_at_wall_s: float) -> dict[str, Any]:
    """The preflight as one JSON object."""
    return {
        "schema_version": SCHEMA_VERSION,
        "taken_at": clock.rfc3339(taken_at_wall_s),
        "port": port,
        "summary": summary(pairs),
        "pairs": [_pair(pair) for pair in pairs],
    }


def _pair(pair: PairReach) -> dict[str, Any]:
    reach = pair.reach
    took_ms = connect_ms(pair)
    connected_to = reach.connected_to if reach is not None else None
    missing = {} if took_ms is not None else {"connect_ms": "error"}
    return {
        "source": pair.source,
        "target": pair.target,
        "address": pair.address,
        "connected_to": connected_to,
        "outcome": pair.outcome.value,
        "detail": pair.detail,
        "connect_ms": took_ms,
        "missing": missing if connected_to is not None else {**missing, "connected_to": "error"},
    }


def connect_ms(pair: PairReach) -> float | None:
    """How long the connect took on its source, about one round trip; None where it did not succeed."""
    opened = pair.outcome in (PairOutcome.REACHABLE, PairOutcome.OPEN_UNCONFIRMED)
    return pair.reach.took_ms if pair.reach is not None and opened else None


def text(pairs: Sequence[PairReach], port: int) -> str:
    """A line a pair, those that cannot meet first, and the count."""
    order = [*_FAILS, PairOutcome.UNKNOWN, PairOutcome.OPEN_UNCONFIRMED, PairOutcome.REACHABLE]
    lines = [f"port {port}: {summary(pairs)}"]
    for pair in sorted(pairs, key=lambda one: order.index(one.outcome)):
        took_ms = connect_ms(pair)
        took = "" if took_ms is None else f" in {took_ms:.2f} ms"
        head = f"  {_WORDS[pair.outcome]:<12}{pair.source} -> {pair.target} ({pair.address}){took}"
        lines.append(f"{head}: {pair.detail}" if pair.detail else head)
    return "\n".join(lines) + "\n"
