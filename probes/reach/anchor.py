"""What a control probe connects to, and how one is configured. Imports nothing heavy: the configuration reads it."""

from __future__ import annotations

from msgspec import Struct


class Candidate(Struct, frozen=True):
    """Something to connect to: ``target`` is how it is called, ``address`` a name or a literal address."""

    target: str
    address: str
    port: int


def parse_anchor(text: str) -> Candidate:
    """An anchor as configured: ``host:port`` or ``[address]:port``.

    Raises:
        ValueError: it is not that; the message says what was expected.
    """
    name, _, digits = text.strip().rpartition(":")
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 5 else 0
    if not bare or not 0 < port < 65536 or (":" in bare and bare == name):
        raise ValueError(f"{text!r} is no anchor: expected host:port, an IPv6 address in brackets")
    return Candidate(text.strip(), bare, port)
