"""A stored run as a row: its columns, how it is put down and found again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from benchmarks.primary import primary
from benchmarks.result import Letter, Result  # noqa: TC001 - msgspec resolves field types when it converts

if TYPE_CHECKING:
    import sqlite3


class Row(msgspec.Struct, frozen=True):
    """One run as it stands in a list. ``statistic``, ``value`` and ``unit`` are its primary figure (``primary``)."""

    run_id: str
    suite_id: str
    benchmark: str
    version: int
    host: str
    service: str | None
    case: str
    temperature: str | None
    label: str | None
    mode: str
    wall_start: str
    config_hash: str
    letter: Letter | None
    approximate: bool
    provisional: bool
    verdict: Literal["valid", "invalid"]
    statistic: str | None
    value: float | None
    unit: str | None
    simulated: bool
    baseline: bool


_COLUMNS: Final = ", ".join(f'runs."{name}"' for name in Row.__struct_fields__ if name != "baseline")
SELECT_ROWS: Final = f"""
SELECT {_COLUMNS}, baselines.run_id IS NOT NULL FROM runs LEFT JOIN baselines ON baselines.run_id = runs.run_id
"""  # noqa: S608 - our own column names


class Query(msgspec.Struct, frozen=True):
    """Which runs; None: any. ``since`` is RFC 3339 UTC, ``letter`` "none": without a letter, ``text``: in any word.

    ``text`` is looked for in ids, host, endpoint, case, its text and label, in either case of letters.
    """

    benchmark: str | None = None
    host: str | None = None
    label: str | None = None
    case: str | None = None
    suite_id: str | None = None
    service: str | None = None
    since: str | None = None
    letter: Letter | Literal["none"] | None = None
    text: str | None = None
    limit: int = 100


def insert(db: sqlite3.Connection, result: Result, document: str) -> None:
    """Put a result down, with its JSON."""
    figure, grade = primary(result), result.grade
    values: dict[str, object] = {
        "run_id": result.run_id,
        "suite_id": result.suite_id,
        "benchmark": result.benchmark.id,
        "version": result.benchmark.version,
        "host": result.target.host,
        "service": result.target.service,
        "case": result.case,
        "temperature": result.temperature,
        "label": result.label,
        "mode": result.config.mode,
        "wall_start": result.wall_start,
        "config_hash": result.config_hash,
        "letter": grade.letter,
        "approximate": grade.approximate,
        "provisional": grade.provisional,
        "verdict": result.validity.verdict,
        "statistic": figure.statistic if figure else None,
        "value": figure.value if figure else None,
        "unit": figure.unit if figure else None,
        "simulated": result.simulated,
        "words": _words(result),
        "result": document,
    }
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join("?" * len(values))
    db.execute(f"INSERT INTO runs ({names}) VALUES ({marks})", tuple(values.values()))  # noqa: S608 - our own column names


def _words(result: Result) -> str:
    """What ``Query.text`` looks into, in lower case."""
    target = result.target
    parts = (
        result.run_id, result.suite_id, result.benchmark.id, target.host, target.service, target.endpoint,
        result.case, result.case_text, result.temperature, result.label,
    )  # fmt: skip
    return "\n".join(part for part in parts if part).lower()


def conditions(query: Query) -> tuple[str, list[object]]:
    """The WHERE clause and its values."""
    clauses, values = ["1"], list[object]()
    for name in ("benchmark", "host", "service", "label", "case", "suite_id"):
        value = getattr(query, name)
        if value is not None:
            clauses.append(f'runs."{name}" = ?')
            values.append(value)
    if query.since is not None:
        clauses.append("wall_start >= ?")
        values.append(query.since)
    if query.letter is not None:
        clauses.append("letter IS ?")
        values.append(None if query.letter == "none" else query.letter)
    if query.text:
        clauses.append("instr(words, ?) > 0")
        values.append(query.text.lower())
    return " AND ".join(clauses), values
