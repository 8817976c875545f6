"""The agent's side of the protocol, as a stand-in speaks it: lines out, bootstrap payload and requests in."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from probes.hosts import agent

if TYPE_CHECKING:
    from probes.model import Line

_NONCE: Final = re.compile(r"QDK1 ([0-9A-Za-z]+)")
_INTERVAL: Final = re.compile(rb"'interval_s': ([0-9.e+-]+)")
_MAX_PENDING_BYTES: Final = 4 << 20
_MAX_COUNT_DIGITS: Final = 12


def encode_line(line: Line) -> bytes:
    """One line as the shipped agent writes it, by the shipped agent's own encoder; with its newline."""
    return agent.encode(msgspec.to_builtins(line))  # pyright: ignore[reportUnknownMemberType] - untyped, it is Python 3.6


def nonce_of(command: str) -> str | None:
    """The nonce in a bootstrap command, or None when the command is something else."""
    found = _NONCE.search(command)
    return None if found is None else found.group(1)


@dataclass(frozen=True, slots=True)
class Request:
    """One request line of the watcher: its letter and its argument (``h 12``, ``p 1``, ``i 2.5``, ``q``)."""

    verb: str
    argument: str


class Inbox:
    """What the watcher sends on stdin: first the bootstrap's payload, then requests, one a line.

    Attributes:
        interval_s: the sampling interval that the payload asked for.
    """

    def __init__(self) -> None:
        self.interval_s = 1.0
        self._pending = b""

    def take_payload(self, data: bytes) -> bool:
        """Collect the payload; True once it is complete (what follows it is left for ``requests``).

        Raises:
            ValueError: it is not a payload of ``probes.hosts.bootstrap.payload``.
        """
        self._pending += data
        head, newline, rest = self._pending.partition(b"\n")
        if not newline and len(head) < _MAX_COUNT_DIGITS:
            return False
        size = int(head)
        if size > _MAX_PENDING_BYTES:
            raise ValueError(f"a payload of {size} bytes")
        if len(rest) < size:
            return False
        self.interval_s = self.interval(_interval_text(rest[:size]), self.interval_s)
        self._pending = rest[size:]
        return True

    def requests(self, data: bytes) -> list[Request]:
        """The complete request lines so far; unknown ones are passed on, and ignored by who reads them."""
        self._pending += data
        *lines, self._pending = self._pending.split(b"\n")
        if len(self._pending) > _MAX_PENDING_BYTES:
            self._pending = b""
        words = [line.decode("ascii", "replace").split() for line in lines]
        return [Request(word[0], word[1] if len(word) > 1 else "") for word in words if word]

    @staticmethod
    def interval(text: str, fallback_s: float) -> float:
        """An interval in seconds out of a request; the fallback when it is not a sensible number."""
        try:
            value = float(text)
        except ValueError:
            return fallback_s
        return value if 0.05 <= value <= 3600.0 else fallback_s


def _interval_text(body: bytes) -> str:
    """The sampling interval in the call that ends the Python agent's source."""
    source = zlib.decompress(body)
    found = _INTERVAL.search(source, source.rfind(b"\nmain("))
    return "" if found is None else found.group(1).decode()
