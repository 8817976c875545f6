"""What SQLite says when it cannot, in our words: cause and next step."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from benchmarks.errors import BenchError
from benchmarks.model import Side
from probes.text import clean

if TYPE_CHECKING:
    from pathlib import Path

_PRIMARY_CODE: Final = 0xFF
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DENIED: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
_NO_SPACE: Final = frozenset({sqlite3.SQLITE_FULL})


def store_error(cause: str, next_step: str = "") -> BenchError:
    """Something about the store that is no server's fault."""
    return BenchError(cause, layer="store", next_step=next_step, side=Side.CLIENT)


def damaged(path: Path, what: str) -> BenchError:
    """The file, or a part of it, cannot be read; it stays where it is."""
    name = shown(path)
    return store_error(
        f"{name} is damaged: {what}; it was left as it is", f"move it away to start anew: {moving(path)}"
    )


def moving(path: Path) -> str:
    """The command that puts a store aside with what belongs to it."""
    name = shown(path)
    return f'for f in \'{name}\'*; do mv "$f" "$f.kept"; done'


def shown(path: Path) -> str:
    """A path that can do nothing to a terminal."""
    return clean(str(path), 4096)


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code; -1 where it gave none."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else code & _PRIMARY_CODE


def is_denied(error: sqlite3.Error) -> bool:
    """Whether the file or its folder may not be opened or written."""
    return code_of(error) in _DENIED


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process holds the file."""
    return code_of(error) in _BUSY


def explain(error: sqlite3.Error, path: Path, busy_s: float) -> BenchError:
    """The error that a person sees."""
    code, name, said = code_of(error), shown(path), clean(str(error), 200)
    if code in _BUSY:
        return store_error(
            f"{name} was locked by another process for more than {busy_s:g} s", f"see who: fuser -v '{name}'"
        )
    if code in _DAMAGED:
        return damaged(path, said)
    if code in _NO_SPACE:
        return store_error(f"no space left to write {name}", f"make room: df -h '{shown(path.parent)}'")
    if code in _DENIED:
        return store_error(f"{name} cannot be opened or written: {said}", f"look at: ls -la '{shown(path.parent)}'")
    if code == sqlite3.SQLITE_IOERR:
        return store_error(
            f"{name}: the disk failed or is full: {said}", f"look at: df -h '{shown(path.parent)}'; dmesg | tail"
        )
    return store_error(f"{name}: {said}")
