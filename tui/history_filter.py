"""The filter of the History screen: the fleet's language on the fields of a run, ``host~=gpu & letter=A | label=x``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tui.bench_words import short_letter
from tui.filter_language import Language, parse_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.store import Row
    from tui.filter_language import Filter


def _one(value: str | None) -> tuple[str, ...] | None:
    return None if value is None else (value,)


def letter_of(row: Row) -> str:
    """The letter as it stands in the list."""
    return short_letter(row.letter, row.verdict, approximate=row.approximate, provisional=row.provisional)


def _letters(row: Row) -> tuple[str, ...] | None:
    if row.verdict == "invalid":
        return ("INVALID",)
    return _one(row.letter)


#: field -> (what it is, how to read it)
FIELDS: Final[dict[str, tuple[str, Callable[[Row], tuple[str, ...] | None]]]] = {
    "host": ("host id", lambda row: (row.host,)),
    "service": ("service of the host", lambda row: _one(row.service)),
    "benchmark": ("benchmark id", lambda row: (row.benchmark,)),
    "case": ("case", lambda row: (row.case,)),
    "temperature": ("cold or warm", lambda row: _one(row.temperature)),
    "label": ("label", lambda row: _one(row.label)),
    "letter": ("letter: S, A, B, C, D, F or INVALID; ? is not graded", _letters),
    "mode": ("full, quick or check", lambda row: (row.mode,)),
    "run": ("run id", lambda row: (row.run_id,)),
    "suite": ("suite id", lambda row: (row.suite_id,)),
    "when": ("when it began, as in when~=2026-11", lambda row: (row.wall_start,)),
    "baseline": ("yes or no", lambda row: ("yes" if row.baseline else "no",)),
}


def _value(row: Row, _now_s: float) -> float | None:
    return row.value


def _words(row: Row) -> tuple[str, ...]:
    return tuple(filter(None, (row.host, row.service, row.benchmark, row.case, row.label, row.run_id, letter_of(row))))


LANGUAGE: Final[Language[Row]] = Language(
    numbers={"value": ("primary figure, in its own unit (seconds)", {"": 1.0, "s": 1.0, "ms": 1e-3}, _value)},
    texts={name: (what, read) for name, (what, read) in FIELDS.items()},
    bare=_words,
)


def parse(text: str) -> Filter[Row] | None:
    """Compile an expression; None for an empty one.

    Raises:
        FilterError: with the position and what was expected.
    """
    return parse_in(LANGUAGE, text)
