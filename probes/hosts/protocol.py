"""From the agent's JSON lines to model structs.

A line is decoded straight into a typed struct. The shipped agent escapes everything that is not printable ASCII, so a
line without a backslash is clean as it stands; any other line has all its text cleaned before it leaves this module.

A sample's line has two parts with a tab between them, and is decoded in two steps. On arrival, once a second for every
host: the ``Brief``, which is what conditions, sorting, totals and histories need, and whose values are checked at once.
On demand, for hosts somebody looks at: the rest, which makes the brief a whole ``Sample``. Of some 350 values in a line
of 3 KB the first part has a quarter; the rest, kept as bytes, costs a tenth of the memory it would as objects.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

import msgspec

from probes.model import Brief, BriefLine, Cpu, CpuMore, Gpu, GpuMore, Line, More, Sample
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

    def feed(self, line: bytes) -> Sequence[tuple[BriefLine, bytes]]:
        """Decode one line without its newline, each item with the JSON that says all of it.

        Raises ``LineError`` and nothing else.
        """
        ...


@cache
def _brief() -> msgspec.json.Decoder[BriefLine]:
    """Made when the first line comes: that takes 3 ms, which the first paint need not wait for."""
    return msgspec.json.Decoder(BriefLine)


@cache
def _more() -> msgspec.json.Decoder[More]:
    return msgspec.json.Decoder(More)


def decode(line: bytes) -> Line:
    """Decode one line, all of it.

    Raises:
        LineError: not JSON, not a known type, wrong types, absurd sizes.
    """
    brief = decode_brief(line)
    return _whole(brief, line) if isinstance(brief, Brief) else brief


def decode_brief(line: bytes) -> BriefLine:
    """Decode one line, of a sample only the ``Brief``.

    Raises:
        LineError: as ``decode``, for what is decoded.
    """
    tab = line.find(b"\t")
    decoded = _decoded(_brief(), line if tab < 0 else line[:tab])
    if len(getattr(decoded, "gpus", ())) > _MAX_GPUS:
        raise LineError(f"more than {_MAX_GPUS} GPUs in one sample")
    return decoded


def whole_sample(brief: Brief, line: bytes) -> tuple[Sample, str]:
    """The whole sample whose ``brief`` this line gave, and "".

    A line of which only the brief part can be used gives a sample whose other values are missing for the reason
    ``error``, and what was wrong.
    """
    try:
        return _whole(brief, line), ""
    except LineError as error:
        return _without_details(brief), str(error)


class JsonDecoder:
    """Decoder for the Python agent's lines (stateless; one per host only because of the common interface)."""

    __slots__ = ()

    def feed(self, line: bytes) -> Sequence[tuple[BriefLine, bytes]]:
        """Decode one JSON line; raises ``LineError`` as ``decode_brief``."""
        return ((decode_brief(line), line),)


def _decoded(decoder: msgspec.json.Decoder[_T], text: bytes) -> _T:
    try:
        decoded = decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LineError(f"{clean(str(error), 120)}: {clean(text[:60].decode('utf-8', 'replace'), 60)!r}") from None
    if b"\\" in text or b"\x7f" in text or not text.isascii():
        return _clean_struct(decoded)
    return decoded


def _whole(brief: Brief, line: bytes) -> Sample:
    """The brief with the second part of its line."""
    _, tab, text = line.partition(b"\t")
    if not tab:
        raise LineError("a sample without its second part")
    more = _decoded(_more(), text)
    if len(more.gpus) != len(brief.gpus):
        raise LineError(f"details of {len(more.gpus)} GPUs for {len(brief.gpus)}")
    said = _fields(brief)
    said["cpu"] = Cpu(**_fields(brief.cpu), **_fields(more.cpu))
    said["gpus"] = tuple(Gpu(**_fields(a), **_fields(b)) for a, b in zip(brief.gpus, more.gpus, strict=True))
    return Sample(**said)


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def _without_details(brief: Brief) -> Sample:
    """A sample of which nothing but the brief is known."""
    cpu: dict[str, Any] = dict.fromkeys(CpuMore.__struct_fields__)
    gpu: dict[str, Any] = {**dict.fromkeys(GpuMore.__struct_fields__), "mig": ()}
    said = _fields(brief)
    said["cpu"] = Cpu(**_fields(brief.cpu), **cpu)
    said["missing"] = {**brief.missing, **dict.fromkeys((f"cpu.{name}" for name in cpu), "error")}
    said["gpus"] = tuple(
        Gpu(**{**_fields(one), "missing": {**one.missing, **dict.fromkeys(gpu, "error")}}, **gpu) for one in brief.gpus
    )
    return Sample(**said)


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

    @property
    def between_lines(self) -> bool:
        """Whether what comes next begins a line."""
        return not self._buffer and not self._skipping

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
