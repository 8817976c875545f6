"""Server-sent events over bytes, as they arrive: whatever way a stream is cut, the events are the same. Pure.

By WHATWG's rules: lines end with LF, CR or CRLF; an empty line ends an event; ``data`` lines are joined with LF; lines
that begin with a colon are comments; an event without data is none; what the end of the stream cuts off is none.
Bytes stay bytes: a character that is cut in two is whole again before anybody decodes it.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

_BOM: Final = b"\xef\xbb\xbf"


class TooMuchError(Exception):
    """More came than any answer needs; the text says of what."""


class Event(Struct, frozen=True, gc=False):
    """One event: its data, and the name that it was given (empty: none)."""

    data: bytes
    name: bytes = b""


class Parser:
    """Takes a stream apart.

    Args:
        max_event_bytes: of one event's lines, comments in it included.
        max_bytes: of the whole stream.
    """

    __slots__ = ("_after_cr", "_begun", "_data", "_line", "_max_bytes", "_max_event_bytes", "_name", "_size", "total")

    def __init__(self, *, max_event_bytes: int = 2**20, max_bytes: int = 64 * 2**20) -> None:
        self._max_event_bytes = max_event_bytes
        self._max_bytes = max_bytes
        #: bytes that have come
        self.total = 0
        #: bytes of the event under way
        self._size = 0
        self._data: list[bytes] = []
        self._name = b""
        #: parts of the line under way
        self._line: list[bytes] = []
        #: the last line ended with CR: an LF that follows belongs to it
        self._after_cr = False
        self._begun = False

    def feed(self, raw: bytes) -> list[Event]:
        """The events that are complete with these bytes.

        Raises:
            TooMuchError: an event, or the stream, is larger than allowed. The parser is of no more use then.
        """
        self.total += len(raw)
        if self.total > self._max_bytes:
            raise TooMuchError(f"more than {_size(self._max_bytes)} in one answer")
        if self._after_cr and raw:
            self._after_cr = False
            raw = raw.removeprefix(b"\n")
        if b"\n" not in raw and b"\r" not in raw:
            self._keep(raw)
            return []
        self._after_cr = raw.endswith(b"\r")
        lines = raw.splitlines()
        rest = b"" if self._after_cr or raw.endswith(b"\n") else lines.pop()
        if self._line:
            lines[0] = b"".join((*self._line, lines[0]))
            self._size -= sum(map(len, self._line))
            self._line.clear()
        if not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(_BOM)
        found: list[Event] = []
        for line in lines:
            if line:
                self._take(line)
            else:
                self._end(found)
        self._keep(rest)
        return found

    def _keep(self, part: bytes) -> None:
        """A part of a line whose end has not come."""
        if part:
            self._count(part)
            self._line.append(part)

    def _count(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._max_event_bytes:
            raise TooMuchError(f"more than {_size(self._max_event_bytes)} in one event")

    def _take(self, line: bytes) -> None:
        self._count(line)
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._name = value.removeprefix(b" ")

    def _end(self, found: list[Event]) -> None:
        if self._data and (data := self._data[0] if len(self._data) == 1 else b"\n".join(self._data)):
            found.append(Event(data, self._name))
        self._data.clear()
        self._name = b""
        self._size = 0


def _size(count: int) -> str:
    return f"{count // 2**20} MiB" if count >= 2**20 else f"{count} bytes"
