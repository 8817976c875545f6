"""The known_hosts files: parsed once, asked per host, appended to only on ``accept-new``.

Parsing and matching (hashed lines cost about 10 us each) are asyncssh's and run in a thread. Lines that cannot be
parsed are left out and counted, as ssh does.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncssh
from msgspec import Struct

from probes import clock
from probes.inventory.targets import known_name

if TYPE_CHECKING:
    from collections.abc import Sequence

#: patterns (hashed and wildcard lines, about 10 us each) that may be matched on the event loop
_FEW_PATTERNS: Final = 50


class Trusted(Struct, frozen=True):
    """What the files say about one host. ``result`` is asyncssh's tuple of keys, to be passed on as it is."""

    result: tuple[Any, ...]
    keys: tuple[Any, ...]
    authorities: tuple[Any, ...]
    revoked: tuple[Any, ...]

    @property
    def known(self) -> bool:
        """Whether any key or authority is known for the host."""
        return bool(self.keys or self.authorities)


class KnownHosts:
    """All known_hosts files in use; thread-safe, since look-ups run in worker threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parsed: dict[tuple[str, ...], tuple[tuple[float, ...], asyncssh.SSHKnownHosts]] = {}
        self._answers: dict[tuple[tuple[str, ...], str, str, int], Trusted] = {}
        #: when the files were last found to be as they were read
        self._looked_at_s: dict[tuple[str, ...], float] = {}
        self.bad_lines = 0

    def lookup(self, files: Sequence[str], host: str, address: str, port: int) -> Trusted:
        """Return what is known of ``host`` (or ``address``) on ``port``; files that changed are read again."""
        names = tuple(files)
        with self._lock:
            looked_at_s = clock.boot_s()
            stamps = tuple(_mtime(name) for name in names)
            cached = self._parsed.get(names)
            if cached is None or cached[0] != stamps:
                cached = (stamps, self._read(names))
                self._parsed[names] = cached
                self._answers.clear()
            self._looked_at_s[names] = looked_at_s
            key = (names, host, address, port)
            answer = self._answers.get(key)
            if answer is None:
                answer = self._answers[key] = _match(cached[1], host, address, port)
            return answer

    def remembered(
        self, files: Sequence[str], host: str, address: str, port: int, within_s: float
    ) -> tuple[Trusted, float] | None:
        """What ``lookup`` would say, and as of when, if the files were looked at ``within_s``; reads none of them.

        Takes no lock (it may be held by someone who reads), and leaves files with many patterns to the threads.
        """
        names = tuple(files)
        at_s, parsed = self._looked_at_s.get(names), self._parsed.get(names)
        if at_s is None or parsed is None or clock.boot_s() - at_s > within_s:
            return None
        known: Any = parsed[1]
        if len(known._pattern_entries) > _FEW_PATTERNS:  # noqa: SLF001
            return None
        return _match(known, host, address, port), at_s

    def forget(self) -> None:
        """Look at the files again next time."""
        self._looked_at_s.clear()

    def _read(self, names: tuple[str, ...]) -> asyncssh.SSHKnownHosts:
        text = "".join(_text(name) + "\n" for name in names)
        try:
            return asyncssh.import_known_hosts(text)
        except ValueError:
            good: list[str] = []
            for line in text.splitlines():
                try:
                    asyncssh.import_known_hosts(line)
                except ValueError:
                    self.bad_lines += 1
                else:
                    good.append(line)
            return asyncssh.import_known_hosts("\n".join(good))

    def append(self, file: str, host: str, port: int, key: asyncssh.SSHKey) -> None:
        """Add one key (accept-new). The file is created 0600; the line is written under a lock, in one write."""
        path = Path(file)
        if not path.is_absolute():
            raise FileNotFoundError(errno.ENOENT, "no home folder is known", file)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = f"{known_name(host, port)} ".encode() + key.export_public_key("openssh").strip() + b"\n"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            self._looked_at_s.clear()


def _match(known: Any, host: str, address: str, port: int) -> Trusted:
    """As asyncssh's ``match``, which forgets what is revoked for a port when nothing else is known for it."""
    result = list(known._match(host, address, port if port != 22 else None))  # noqa: SLF001
    keys, authorities, revoked, certificates, _, subjects, _ = result
    if port != 22 and not (keys or authorities or certificates or subjects):
        result = list(known._match(host, address))  # noqa: SLF001
        result[2] = list(dict.fromkeys([*result[2], *revoked]))
    return Trusted(tuple(result), tuple(result[0]), tuple(result[1]), tuple(result[2]))


def _mtime(name: str) -> float:
    try:
        return os.stat(name).st_mtime  # noqa: PTH116 - asked for each host, and making a Path costs more than asking
    except OSError:
        return -1.0


def _text(name: str) -> str:
    try:
        path = Path(name)
        if not path.is_file():  # /dev/null has nothing to say, and a FIFO or /dev/zero would never end
            return ""
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
