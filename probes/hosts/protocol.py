"""From the agent's JSON lines to model structs.

A line is decoded straight into a typed struct. The shipped agent escapes everything that is not printable ASCII, so a
line without a backslash is clean as it stands; any other line has all its text cleaned before it leaves this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

import msgspec

from probes.model import Line
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LINE_BYTES: Final = 1 << 20
_MAX_GPUS: Final = 64
_T = TypeVar("_T")


class LineError(ValueError):
    """A line that cannot be used; the text says why, in a few clean words."""


class LineDecoder(Protocol):
    """Turns the lines of one agent into model structs."""

    def feed(self, line: bytes) -> Sequence[Line]:
        """Decode one line without its newline; raises ``LineError`` and nothing else."""
        ...


class JsonDecoder:
    """Decoder for the Python agent's lines (stateless; one per host only because of the common interface)."""

    __slots__ = ()
    _decoder = msgspec.json.Decoder(Line)

    def feed(self, line: bytes) -> Sequence[Line]:
        """Decode one JSON line.

        Raises:
            LineError: not JSON, not a known type, wrong types, absurd sizes.
        """
        try:
            decoded = self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise LineError(f"{clean(str(error), 120)}: {clean(line[:60].decode('utf-8', 'replace'), 60)!r}") from None
        if b"\\" in line or b"\x7f" in line or not line.isascii():
            decoded = _clean_struct(decoded)
        if len(getattr(decoded, "gpus", ())) > _MAX_GPUS:
            raise LineError(f"more than {_MAX_GPUS} GPUs in one sample")
        return (decoded,)


def _clean_struct(value: _T) -> _T:
    """The same value with every string in it cleaned; structs, tuples and dicts are rebuilt."""
    if isinstance(value, str):
        return cast("_T", clean(value))
    if isinstance(value, msgspec.Struct):
        cleaned = {name: _clean_struct(getattr(value, name)) for name in value.__struct_fields__}
        return cast("_T", type(value)(**cleaned))
    if isinstance(value, tuple):
        return cast("_T", tuple(_clean_struct(item) for item in cast("tuple[object, ...]", value)))
    if isinstance(value, dict):
        items = cast("dict[str, object]", value)
        return cast("_T", {clean(key): _clean_struct(item) for key, item in items.items()})
    return value


class LineSplitter:
    """Splits a byte stream into lines with bounded memory.

    A line longer than the limit is dropped to its end and counted in ``overlong``.
    """

    __slots__ = ("_buffer", "_limit", "_skipping", "overlong")

    def __init__(self, limit_bytes: int = MAX_LINE_BYTES) -> None:
        self._buffer = b""
        self._limit = limit_bytes
        self._skipping = False
        self.overlong = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the complete lines, without their newlines (a carriage return before it is dropped too)."""
        end = data.find(b"\n")
        if end < 0:
            self._keep(data)
            return []
        if end == len(data) - 1 and end < self._limit and not self._buffer and not self._skipping:
            return [data[: end - 1] if data[end - 1 : end] == b"\r" else data[:end]]  # one whole line: the usual case
        lines = data.split(b"\n")
        rest = lines.pop()
        if self._buffer or self._skipping:
            head = self._buffer + lines[0]
            self._buffer = b""
            if self._skipping or len(head) > self._limit:
                self._count()
                del lines[0]
                self._skipping = False
            else:
                lines[0] = head
        self._keep(rest)
        return [line[:-1] if line.endswith(b"\r") else line for line in lines]

    def _keep(self, data: bytes) -> None:
        if self._skipping:
            return
        if len(self._buffer) + len(data) > self._limit:
            self._buffer = b""
            self._skipping = True
            return
        self._buffer += data

    def _count(self) -> None:
        self.overlong += 1
