"""One run at a time loads a host, whichever quarterdeck on this machine started it: two at once measure each other.

A lock file in the state folder, held by the operating system for as long as its process lives; nothing is left locked.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from benchmarks.errors import BenchError
from benchmarks.model import Side
from benchmarks.private import make_private
from probes.text import clean_bytes

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from probes.model import Host


@contextmanager
def measuring(folder: Path | None, host: Host) -> Generator[str]:
    """Hold a host while it is measured. Blocks never: small files, no waiting.

    Args:
        folder: where the lock files are; None: nothing is held.
        host: by its address and port, whatever it is called.

    Yields:
        Why nothing is held, in words, where the file system does not let us: it is measured all the same. Else empty.

    Raises:
        BenchError: layer ``engine``: another run holds it.
    """
    if folder is None:
        yield ""
        return
    way = f"{host.address.lower()}:{host.port or 22}" if not host.local else "local"
    path = folder / f"{hashlib.sha256(way.encode()).hexdigest()[:16]}.lock"
    try:
        make_private(folder)
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        yield _not_held(error)
        return
    try:
        yield _hold(held, host)
    finally:
        os.close(held)


def _hold(held: int, host: Host) -> str:
    """Lock an open file, or say why that is not possible here."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = clean_bytes(os.pread(held, 32, 0), 20)
        raise BenchError(
            f"another run measures {host.id} now" + (f" (process {who})" if who.isdigit() else ""),
            layer="engine",
            next_step="wait for it or cancel it: two at once would measure each other",
            side=Side.CLIENT,
        ) from None
    except OSError as error:
        return _not_held(error)
    with suppress(OSError):  # a full disk: who holds it is not said then
        os.ftruncate(held, 0)
        os.pwrite(held, str(os.getpid()).encode(), 0)
    return ""


def _not_held(error: OSError) -> str:
    why = error.strerror or type(error).__name__
    return f"another run of this host at the same time would not be noticed: no lock could be made: {why}"
