"""The samples of one run: a JSON line each, in a file beside the store, written by the engine while the run goes.

A run never fails because of them: what stops the writing is said once, at the end.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.model import Sample
from benchmarks.private import make_private
from benchmarks.store_errors import shown, store_error

#: what one run may write; a run at the highest trusted rate for the longest time stays below
MAX_BYTES: Final = 512 * 1024 * 1024
#: written when that much waits: about 5,000 samples, so that most runs touch the disk only between their phases
_BUFFER_BYTES: Final = 1024 * 1024


class SampleWriter:
    """Takes the samples of one run in the order in which they end.

    They lie under a temporary name until ``close`` gives the file its own: ``<run id>.jsonl``, for its owner alone.
    What was written of earlier phases is there even when the process is killed.
    """

    def __init__(self, folder: Path | None, run_id: str, *, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._name = f"{run_id}.jsonl"
        self._room = max_bytes
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()
        self._file: FileIO | None = None
        self._phase: str | None = None
        self._left_out = 0
        self._left_out_why = ""
        self._problem = ""
        self._closed: tuple[str | None, str] | None = None

    def add(self, sample: Sample) -> None:
        """Put one down; writes only between phases and when much waits. Raises nothing."""
        if self._folder is None or self._problem:
            return
        if sample.phase != self._phase:
            self._write(self._folder)
            self._phase = sample.phase
        try:
            line = self._encoder.encode(sample)
        except UnicodeEncodeError:  # details are cleaned where they come from; one that was not costs its line
            self._leave_out("text that is no Unicode")
            return
        if len(line) >= self._room:
            self._leave_out("the file is full")
            return
        self._room -= len(line) + 1
        self._buffer += line
        self._buffer += b"\n"
        if len(self._buffer) >= _BUFFER_BYTES:
            self._write(self._folder)

    def close(self) -> tuple[str | None, str]:
        """Write the rest and give the file its name.

        Returns:
            The file's name in the folder (None: there is none) and what went wrong in words, empty when nothing did.
        """
        if self._closed is None:
            self._closed = (None, "") if self._folder is None else self._finish(self._folder)
        return self._closed

    def abandon(self) -> None:
        """Leave no file behind: the run came to nothing. Raises nothing."""
        if self._closed is None:
            self._closed = (None, "")
            if self._folder is not None:
                self._remove(self._folder)
        self._folder = None

    def _finish(self, folder: Path) -> tuple[str | None, str]:
        self._write(folder)
        left_out = f"{self._left_out} samples not saved: {self._left_out_why}" if self._left_out else ""
        if self._file is None:
            return None, self._problem or left_out
        try:
            with self._file:
                os.fsync(self._file.fileno())
            _name(self._temporary(folder), folder / self._name)
        except OSError as error:
            self._give_up(folder, error)
            return None, self._problem
        return self._name, left_out

    def _leave_out(self, why: str) -> None:
        self._left_out += 1
        self._left_out_why = why

    def _write(self, folder: Path) -> None:
        if not self._buffer or self._problem:
            return
        try:
            if self._file is None:
                self._file = self._make(folder)
            rest = memoryview(bytes(self._buffer))
            while rest:  # a disk that is nearly full takes a part first
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._give_up(folder, error)
        self._buffer.clear()

    def _make(self, folder: Path) -> FileIO:
        make_private(folder)
        temporary = self._temporary(folder)
        return FileIO(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def _temporary(self, folder: Path) -> Path:
        return folder / f".{self._name}.part"

    def _give_up(self, folder: Path, error: OSError) -> None:
        """Say why, and leave no half file behind (a full disk needs the room)."""
        no_space = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "no space left" if no_space else error.strerror or type(error).__name__
        self._problem = f"samples not saved: {why}"
        self._remove(folder)

    def _remove(self, folder: Path) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                self._temporary(folder).unlink()
            self._file = None


def _name(temporary: Path, final: Path) -> None:
    """Give a finished file its name, never in place of another."""
    if final.exists():
        raise FileExistsError(errno.EEXIST, "a file of that name exists", str(final))
    temporary.rename(final)


class SamplesRead(msgspec.Struct, frozen=True):
    """What a file of samples held. ``torn``: its last line was cut off; ``unreadable``: lines that were none."""

    samples: tuple[Sample, ...]
    torn: bool = False
    unreadable: int = 0


def samples_path(folder: Path, name: str) -> Path:
    """Where the samples lie that a result names.

    Raises:
        BenchError: layer ``store``: the name leads out of the folder.
    """
    if Path(name).name != name or not name.endswith(".jsonl"):
        raise store_error(f"{shown(Path(name))} is no name of a file of samples")
    return folder / name


def read_samples(path: Path) -> SamplesRead:
    """Read a file of samples, as far as it goes.

    Raises:
        BenchError: layer ``store``: it is not there or cannot be read.
    """
    decoder = msgspec.json.Decoder(Sample)
    samples: list[Sample] = []
    unreadable = 0
    last_bad = False
    try:
        with path.open("rb") as file:
            for line in file:
                last_bad = False
                try:
                    samples.append(decoder.decode(line))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    unreadable += 1
                    last_bad = not line.endswith(b"\n")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise store_error(f"{shown(path)} cannot be read: {why}", f"look at: ls -la '{shown(path.parent)}'") from error
    return SamplesRead(tuple(samples), last_bad, unreadable - last_bad)
