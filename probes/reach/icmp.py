"""What a socket's error queue says: the ICMP message that ended a connect, and who sent it.

``IP_RECVERR`` (``IPV6_RECVERR``) needs no privilege. ip(7) says TCP has no error queue; Linux has filled it since 5.8.
On other systems there is none, and a verdict rests on errno alone.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

from msgspec import Struct

#: these two are Linux's numbers; Python's socket module does not name them before 3.14
IP_RECVERR: Final = 11
IPV6_RECVERR: Final = 25
HAS_ERROR_QUEUE: Final = sys.platform == "linux"

_MSG_ERRQUEUE: Final[int] = getattr(socket, "MSG_ERRQUEUE", 0x2000)
#: struct sock_extended_err: errno, origin, type, code, pad, info, data; the offender's sockaddr follows
_EXTENDED_ERR: Final = struct.Struct("=IBBBBII")
_ORIGIN_ICMP: Final = 2
_ORIGIN_ICMP6: Final = 3
_MAX_QUEUED: Final = 8


class Icmp(Struct, frozen=True):
    """One ICMP error: family (4 or 6), type, code, the errno it became, and the address that sent it."""

    family: int
    type: int
    code: int
    errno: int
    offender: str | None

    @property
    def text(self) -> str:
        """``3/13``, as the tables of ICMP write it."""
        return f"{self.type}/{self.code}"


def ask_for_errors(sock: socket.socket, *, on: bool = True) -> None:
    """Switch the error queue on (before connect) or off.

    It must be off again on a socket that lives on: with it an ICMP message that TCP would shrug off as transient (a
    router rebooting) ends the established connection.
    """
    if not HAS_ERROR_QUEUE:
        return
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, on)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, on)


def read_error_queue(sock: socket.socket) -> Icmp | None:
    """Take the first ICMP error from the queue; ``None`` when it is empty (or this system has none)."""
    if not HAS_ERROR_QUEUE:
        return None
    for _ in range(_MAX_QUEUED):
        try:
            _, ancillary, _, _ = sock.recvmsg(0, 512, _MSG_ERRQUEUE)
        except OSError:
            # EAGAIN is the empty queue; anything else is no evidence either
            return None
        for level, kind, data in ancillary:
            if (level, kind) in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
                found = _parse(data)
                if found is not None:
                    return found
    return None


def _parse(data: bytes) -> Icmp | None:
    """One control message; ``None`` for errors that are no ICMP (local ones, time stamps)."""
    if len(data) < _EXTENDED_ERR.size:
        return None
    number, origin, kind, code, _, _, _ = _EXTENDED_ERR.unpack_from(data)
    if origin not in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
        return None
    return Icmp(4 if origin == _ORIGIN_ICMP else 6, kind, code, number, _address(data[_EXTENDED_ERR.size :]))


def _address(sockaddr: bytes) -> str | None:
    if len(sockaddr) < 8:
        return None
    family = int.from_bytes(sockaddr[:2], sys.byteorder)
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, sockaddr[4:8])
    if family == socket.AF_INET6 and len(sockaddr) >= 24:
        return socket.inet_ntop(socket.AF_INET6, sockaddr[8:24])
    return None
