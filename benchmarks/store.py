"""The results that were measured, in one SQLite file of the user's state folder.

The result stands whole, as JSON, beside the columns it is found by. A result is added once and never overwritten. Runs
are ordered by when they were added, which a clock that was set back cannot change. Every method may block (disk,
another process): call it in a thread; any thread will do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from benchmarks.errors import BenchError
from benchmarks.model import SCHEMA_VERSION
from benchmarks.result import Result
from benchmarks.store_errors import damaged, store_error
from benchmarks.store_file import StoreFile
from benchmarks.store_rows import SELECT_ROWS, Query, Row, conditions, insert
from probes.text import clean

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["Query", "Row", "Store", "default_path"]

_BUSY_S: Final = 5.0
_MANY: Final = 5


class Store:
    """The file of results. ``path`` need not exist: it is made, 0600, when the first result is saved."""

    def __init__(self, path: Path, busy_s: float = _BUSY_S) -> None:
        self.path = path
        self._file = StoreFile(path, busy_s)
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Result)

    @classmethod
    def open(cls, path: Path | None = None, *, busy_s: float = _BUSY_S) -> Store:
        """Find the store and see whether it can be used; makes nothing.

        Args:
            path: the file; None: ``results.sqlite3`` in the user's state folder.
            busy_s: how long another process may hold it before we give up.

        Raises:
            BenchError: layer ``store``: locked, damaged, of a newer version, not ours, not to be opened.
        """
        store = cls(default_path() if path is None else path, busy_s)
        with store._file.reading():
            return store

    @property
    def samples_folder(self) -> Path:
        """Where the samples of the runs lie, a file each (``samples_file`` of a result is a name in here)."""
        return self.path.parent / "samples"

    # --- results ---

    def save(self, result: Result) -> None:
        """Add a result; saving it again changes nothing.

        Raises:
            BenchError: layer ``store``: it was not saved, or another result has its id. The caller still has it.
        """
        try:
            document = self._encoder.encode(result).decode()
        except UnicodeEncodeError:
            raise store_error(
                f"{shown_id(result.run_id)} has text in it that is no Unicode; it was not saved"
            ) from None
        with self._file.writing() as db:
            known = db.execute("SELECT result FROM runs WHERE run_id = ?", (result.run_id,)).fetchone()
            if known is None:
                insert(db, result, document)
            elif known[0] != document:
                raise store_error(
                    f"another result is stored as {shown_id(result.run_id)}; it was kept and this one was not saved"
                )

    def get(self, run_id: str) -> Result:
        """The result of a run id, or of the only one that starts so.

        Raises:
            BenchError: layer ``plan``: no such run, or several; layer ``store`` otherwise.
        """
        with self._file.reading() as db:
            return self._result(db, _resolve(db, run_id))

    def find(self, query: Query | None = None) -> tuple[Row, ...]:
        """The runs that fit, the one added last first.

        Raises:
            BenchError: layer ``store``.
        """
        query = Query() if query is None else query
        where, values = conditions(query)
        with self._file.reading() as db:
            rows = _all(db, f"{SELECT_ROWS} WHERE {where} ORDER BY runs.seq DESC LIMIT ?", (*values, query.limit))
        return tuple(map(self._row, rows))

    def runs_of(self, selector: str) -> tuple[Result, ...]:
        """The runs that one side of a comparison names, in the order in which they were added.

        Args:
            selector: a run id (or the start of one), several separated by commas, ``label:L``, or ``label:L@HOST``
                where hosts share the label.

        Raises:
            BenchError: layer ``plan``: nothing, or nothing unique, is called so; layer ``store`` otherwise.
        """
        with self._file.reading() as db:
            if selector.startswith("label:"):
                ids = _labelled(db, selector.removeprefix("label:"))
            else:
                ids = tuple(_resolve(db, part.strip()) for part in selector.split(","))
            return tuple(self._result(db, run_id) for run_id in _in_order(db, ids))

    def suite_of(self, run: str) -> tuple[Result, ...]:
        """All results of the suite that a run (an id or the start of one) belongs to, in the order they were added.

        Raises:
            BenchError: layer ``plan``: no such run, or several; layer ``store`` otherwise.
        """
        with self._file.reading() as db:
            joined = "SELECT b.run_id FROM runs AS a JOIN runs AS b USING (suite_id) WHERE a.run_id = ? ORDER BY b.seq"
            rows = _all(db, joined, (_resolve(db, run),))
            return tuple(self._result(db, run_id) for (run_id,) in rows)

    def ids(self, start: str, limit: int = 200) -> tuple[str, ...]:
        """Run ids that start so, the one added last first (for completion)."""
        with self._file.reading() as db:
            return _starting(db, start, limit)

    # --- against earlier runs ---

    def set_baseline(self, run_id: str) -> Result:
        """Make a valid run the baseline of its configuration on its host, in place of an earlier one; returns it.

        Raises:
            BenchError: layer ``plan``: no such run, several, or an invalid one; layer ``store`` otherwise.
        """
        result = self.get(run_id)
        if result.validity.verdict != "valid":
            why = clean("; ".join(result.validity.reasons), 300)
            raise _not_usable(
                f"{shown_id(result.run_id)} is invalid ({why}) and can be no baseline", "choose a valid run"
            )
        with self._file.writing() as db:
            db.execute(
                "INSERT INTO baselines VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET run_id = excluded.run_id",
                (result.config_hash, result.target.host, result.target.service or "", result.run_id),
            )
        return result

    def baseline(self, config_hash: str, host: str, service: str | None = None) -> Result | None:
        """The baseline of a configuration on a host and its service, None without one.

        Raises:
            BenchError: layer ``store``.
        """
        with self._file.reading() as db:
            found = "SELECT run_id FROM baselines WHERE config_hash = ? AND host = ? AND service = ?"
            rows = _all(db, found, (config_hash, host, service or ""))
            return self._result(db, rows[0][0]) if rows else None

    def trend(self, config_hash: str, host: str, service: str | None = None, *, limit: int = 100) -> tuple[Row, ...]:
        """The last valid runs of one configuration on one service of a host with a known primary figure, oldest first.

        Raises:
            BenchError: layer ``store``.
        """
        with self._file.reading() as db:
            ours = "runs.config_hash = ? AND runs.host = ? AND runs.service IS ?"
            where = f"{ours} AND verdict = 'valid' AND value IS NOT NULL"
            values = (config_hash, host, service, limit)
            rows = _all(db, f"{SELECT_ROWS} WHERE {where} ORDER BY seq DESC LIMIT ?", values)
        return tuple(map(self._row, reversed(rows)))

    # --- finding ---

    def _result(self, db: sqlite3.Connection | None, run_id: str) -> Result:
        rows = _all(db, "SELECT result FROM runs WHERE run_id = ?", (run_id,))
        if len(rows) != 1:  # its index still knows the run
            raise damaged(self.path, f"run {shown_id(run_id)} is not where it should be")
        return self._decoded(rows[0][0], run_id)

    def _decoded(self, document: str, run_id: str) -> Result:
        try:
            return self._decoder.decode(document)
        except (msgspec.DecodeError, UnicodeEncodeError, TypeError) as error:  # TypeError: it is no text at all
            if _version_of(document) > SCHEMA_VERSION:
                raise store_error(
                    f"the result {shown_id(run_id)} is of a newer quarterdeck", "update quarterdeck to read it"
                ) from None
            raise damaged(self.path, f"the result {shown_id(run_id)}: {clean(str(error), 200)}") from None

    def _row(self, row: tuple[object, ...]) -> Row:
        try:
            return msgspec.convert(dict(zip(Row.__struct_fields__, row, strict=True)), Row, strict=False)
        except msgspec.ValidationError as error:
            raise damaged(self.path, clean(str(error), 200)) from None


def default_path() -> Path:
    """The store of this user.

    Raises:
        BenchError: layer ``store``: no home folder is known.
    """
    import platformdirs  # noqa: PLC0415 - when first used

    try:
        return platformdirs.user_state_path("quarterdeck") / "results.sqlite3"
    except RuntimeError:
        raise store_error("no home folder is known", "set HOME or XDG_STATE_HOME") from None


def locks_folder() -> Path | None:
    """Where hosts that are measured are locked, whether or not the store beside can be used; None without a home."""
    try:
        return default_path().parent / "locks"
    except BenchError:
        return None


def shown_id(text: str) -> str:
    """An id or label as it was typed, shortened and harmless to a terminal."""
    return clean(text, 80)


def _all(db: sqlite3.Connection | None, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """The rows; none where there is no file yet."""
    return [] if db is None else db.execute(sql, tuple(values)).fetchall()


def _starting(db: sqlite3.Connection | None, start: str, limit: int) -> tuple[str, ...]:
    sql = "SELECT run_id FROM runs WHERE substr(run_id, 1, ?) = ? ORDER BY seq DESC LIMIT ?"
    return tuple(row[0] for row in _all(db, sql, (len(start), start, limit)))


def _resolve(db: sqlite3.Connection | None, given: str) -> str:
    """The run id that is meant."""
    if _all(db, "SELECT 1 FROM runs WHERE run_id = ?", (given,)):
        return given
    ids = _starting(db, given, _MANY + 1) if given else ()
    if len(ids) == 1:
        return ids[0]
    if not ids:
        step = "quarterdeck bench list-runs shows them"
        if given and _all(db, "SELECT 1 FROM runs WHERE label = ?", (given,)):
            step = f"there is a label of that name: label:{shown_id(given)}"
        raise _not_usable(f"no run is called {shown_id(given)!r}", step)
    several = ", ".join(ids[:_MANY]) + (", ..." if len(ids) > _MANY else "")
    raise _not_usable(f"several runs start with {shown_id(given)!r}: {several}", "give more of the id")


def _labelled(db: sqlite3.Connection | None, label: str) -> tuple[str, ...]:
    """The runs with a label; where none has all of it, those of ``label@host``."""
    rows = _all(db, "SELECT run_id FROM runs WHERE label = ?", (label,))
    if not rows:
        name, _, host = label.rpartition("@")
        rows = _all(db, "SELECT run_id FROM runs WHERE label = ? AND host = ?", (name, host))
    if not rows:
        raise _not_usable(f"no run has the label {shown_id(label)!r}", "quarterdeck bench list-runs shows them")
    return tuple(row[0] for row in rows)


def _not_usable(cause: str, next_step: str) -> BenchError:
    """What was asked for is not there: a mistake of the question, not of the store."""
    return BenchError(cause, layer="plan", next_step=next_step)


def _in_order(db: sqlite3.Connection | None, ids: Iterable[str]) -> list[str]:
    """Each id once, in the order in which they were added."""
    found = {run_id: _all(db, "SELECT seq FROM runs WHERE run_id = ?", (run_id,)) for run_id in ids}
    # one that only its index knows comes last: reading it says that the file is damaged
    at = {run_id: rows[0][0] if rows else math.inf for run_id, rows in found.items()}
    return sorted(at, key=at.__getitem__)


class _Version(msgspec.Struct):
    schema_version: int = 0


def _version_of(document: str) -> int:
    try:
        return msgspec.json.decode(document, type=_Version).schema_version
    except (msgspec.DecodeError, UnicodeEncodeError, TypeError):
        return 0
