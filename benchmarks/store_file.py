"""The SQLite file of results: who may open it, what is in it, and what is said when it cannot be used.

Nothing in here is ever overwritten: a damaged file, one of a newer quarterdeck or of something else is left as it is.
Every method may block (disk, another process). Each connection is opened and closed by the thread that uses it.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from benchmarks.store_errors import damaged, explain, is_busy, is_denied, moving, shown, store_error

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from benchmarks.errors import BenchError

#: version of the tables, in ``PRAGMA user_version``; results have their own
TABLES_VERSION: Final = 1
_APPLICATION: Final = 0x5144424E
_RETRY_S: Final = 0.05
#: the smallest page of SQLite
_SMALLEST_BYTES: Final = 512

_TABLES: Final = """
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL UNIQUE,
    suite_id TEXT NOT NULL,
    benchmark TEXT NOT NULL,
    version INTEGER NOT NULL,
    host TEXT NOT NULL,
    service TEXT,
    "case" TEXT NOT NULL,
    temperature TEXT,
    label TEXT,
    mode TEXT NOT NULL,
    wall_start TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    letter TEXT,
    approximate INTEGER NOT NULL,
    provisional INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    statistic TEXT,
    value REAL,
    unit TEXT,
    simulated INTEGER NOT NULL,
    words TEXT NOT NULL,
    result TEXT NOT NULL
);
CREATE INDEX runs_by_config ON runs (config_hash, host, service);
CREATE INDEX runs_by_label ON runs (label);
CREATE INDEX runs_by_suite ON runs (suite_id);
CREATE INDEX runs_by_benchmark ON runs (benchmark, host);
CREATE TABLE baselines (
    config_hash TEXT NOT NULL,
    host TEXT NOT NULL,
    service TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    PRIMARY KEY (config_hash, host, service)
);
"""


class StoreFile:
    """The file at ``path``, which need not exist; another process may hold it for ``busy_s`` before we give up."""

    def __init__(self, path: Path, busy_s: float) -> None:
        self.path = path
        self._busy_s = busy_s

    def exists(self) -> bool:
        """Whether there is such a file.

        Raises:
            BenchError: its folder may not be looked into.
        """
        try:
            return self.path.exists()
        except OSError as error:
            raise _unreachable(self.path, "looked for", error) from error

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection | None]:
        """A checked connection; None while there is no file."""
        if not self.exists():
            yield None
            return
        with self._explained():
            db = self._connect_to_read()
            try:
                yield db if self._is_ours(db) else None
            finally:
                db.close()

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """A checked connection in a transaction of its own; the file and its tables are made when they are missing."""
        _make_file(self.path)
        with self._explained():
            db = self._connect("rw")
            try:
                if not self._is_ours(db):
                    self._make_tables(db)
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                    db.execute("COMMIT")
                except BaseException:
                    if db.in_transaction:  # SQLite itself rolls back on a full disk
                        db.execute("ROLLBACK")
                    raise
            finally:
                db.close()

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise explain(error, self.path, self._busy_s) from error
        except UnicodeDecodeError as error:  # SQLite names what is damaged, by a name that is damaged
            raise damaged(self.path, "names in it are no text") from error
        except OSError as error:
            raise _unreachable(self.path, "read", error) from error

    def _check_size(self) -> None:
        """SQLite takes a file of a few bytes for an empty one and would write over it.

        By its size alone: opening and closing it here would end the locks that SQLite holds for another thread.
        """
        if 0 < self.path.stat().st_size < _SMALLEST_BYTES:
            raise damaged(self.path, "it is too short to be a database")

    def _connect(self, options: str) -> sqlite3.Connection:
        self._check_size()
        address = f"file:{quote(str(self.path.absolute()))}?{'mode=' if '=' not in options else ''}{options}"
        return sqlite3.connect(address, uri=True, timeout=self._busy_s, isolation_level=None)

    def _connect_to_read(self) -> sqlite3.Connection:
        """To read, also where nothing may be written: then without the files SQLite keeps beside a store in use."""
        db = self._connect("rw")
        try:
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            db.close()
            beside = self.path.with_name(f"{self.path.name}-wal")
            if not is_denied(error) or (beside.exists() and beside.stat().st_size):
                raise
            return self._connect("immutable=1")
        return db

    def _is_ours(self, db: sqlite3.Connection) -> bool:
        """Whether the tables are there; false: the file is empty.

        Raises:
            BenchError: it is of a newer version, or of something else.
        """
        version, application, tables = _marks(db)
        if (version, application, tables) == (0, 0, 0):
            return False
        if application != _APPLICATION:
            raise store_error(
                f"{shown(self.path)} is a database of something else; it was left as it is", moving(self.path)
            )
        if version > TABLES_VERSION:
            raise store_error(
                f"{shown(self.path)} is of a newer quarterdeck (its tables are version {version}, this one knows"
                f" {TABLES_VERSION}); it was left as it is",
                "update quarterdeck, or put it aside: " + moving(self.path),
            )
        return True

    def _make_tables(self, db: sqlite3.Connection) -> None:
        self._write_ahead(db)
        db.execute("BEGIN IMMEDIATE")
        if not self._is_ours(db):  # another process may have been first
            for statement in _TABLES.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute(f"PRAGMA user_version = {TABLES_VERSION}")
        db.execute("COMMIT")

    def _write_ahead(self, db: sqlite3.Connection) -> None:
        """Readers and a writer side by side. SQLite does not wait for the lock this needs, so we do."""
        end = time.monotonic() + self._busy_s
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.Error as error:
                if not is_busy(error) or time.monotonic() > end:
                    raise
                time.sleep(_RETRY_S)
            else:
                return


def _make_file(path: Path) -> None:
    """The empty file, for its owner alone: SQLite would make it for everybody that umask lets.

    Made without opening it, which would end the locks of another thread that was quicker.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mknod(path, 0o600 | stat.S_IFREG)
    except OSError as error:
        raise _unreachable(path, "written", error) from error


def _unreachable(path: Path, done: str, error: OSError) -> BenchError:
    why = error.strerror or type(error).__name__
    return store_error(f"{shown(path)} cannot be {done}: {why}", f"look at: ls -la '{shown(path.parent)}'")


def _marks(db: sqlite3.Connection) -> tuple[int, int, int]:
    """Version, application and number of tables, of one moment: another process may be making them."""
    alone = not db.in_transaction
    if alone:
        db.execute("BEGIN")
    try:
        questions = ("PRAGMA user_version", "PRAGMA application_id", "SELECT count(*) FROM sqlite_schema")
        version, application, tables = (db.execute(one).fetchone()[0] for one in questions)
    finally:
        if alone and db.in_transaction:
            db.execute("ROLLBACK")
    return version, application, tables
