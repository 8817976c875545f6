"""What listens on a host, from the output of ``ss -ltnpH`` or of /proc/net/tcp and tcp6. Pure; the text is hostile."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from probes.evidence import Listener
from probes.text import clean

_LISTEN_STATE: Final = "0A"
_USERS: Final = re.compile(r'users:\(\("((?:[^"\\]|\\.)*)",pid=(\d{1,10})')
_MAX: Final = 4096


def from_ss(text: str) -> tuple[Listener, ...]:
    """Listeners of ``ss -ltnpH``; a line that is none is passed over. Wildcards become ``0.0.0.0`` and ``::``."""
    found: dict[Listener, None] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 5 or words[0] != "LISTEN" or len(found) >= _MAX:
            continue
        address, _, port = words[3].rpartition(":")
        if not port.isdecimal() or int(port) > 65535:
            continue
        owner = _USERS.search(line)
        found[
            Listener(
                address=_plain(address),
                port=int(port),
                process=clean(owner[1], 64) if owner else None,
                pid=int(owner[2]) if owner else None,
            )
        ] = None
    return tuple(found)


def from_proc(text: str) -> tuple[Listener, ...]:
    """Listeners of /proc/net/tcp and tcp6, one after the other; whose they are is not told there."""
    found: dict[Listener, None] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4 or words[3] != _LISTEN_STATE or len(found) >= _MAX:
            continue
        host, _, port = words[1].partition(":")
        address = _from_hex(host)
        if address is not None and re.fullmatch(r"[0-9A-Fa-f]{4}", port):
            found[Listener(address=address, port=int(port, 16))] = None
    return tuple(found)


def _plain(address: str) -> str:
    """An address of ss: brackets, zone and the star of a wildcard away."""
    text = clean(address.strip("[]").partition("%")[0], 64)
    # the star is both families on one socket, which is how :: listens
    return "::" if text in ("*", "") else text.strip("[]")


def _from_hex(host: str) -> str | None:
    """An address as the kernel prints it: 32-bit words in the host's byte order, which here is little-endian."""
    try:
        raw = bytes.fromhex(host)
    except ValueError:
        return None
    if len(raw) not in (4, 16):
        return None
    swapped = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return str(IPv4Address(swapped) if len(swapped) == 4 else IPv6Address(swapped))
