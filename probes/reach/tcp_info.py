"""What the kernel tells of one TCP connection (``TCP_INFO``): how often it sent again, and in which sizes.

Offsets are those of Linux's ``struct tcp_info``, which only ever grows at its end.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

from msgspec import Struct

_RETRANSMITS: Final = 2
_SND_MSS: Final = 16
_UNACKED: Final = 24
_PMTU: Final = 60
_TOTAL_RETRANS: Final = 100
_SIZE: Final = _TOTAL_RETRANS + 4
_TCP_INFO: Final[int] = getattr(socket, "TCP_INFO", 11)
_HAS_INFO: Final = sys.platform == "linux"


class TcpInfo(Struct, frozen=True):
    """``retransmits`` are those that nobody has answered yet, ``total_retransmits`` all since the first SYN.

    A segment that is sent again and again at its full size, after small ones arrived, is what a path looks like whose
    limit nobody told us.
    """

    retransmits: int
    total_retransmits: int
    snd_mss_bytes: int
    unacked: int
    pmtu_bytes: int


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """What the kernel tells; None where it does not."""
    if not _HAS_INFO:
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _SIZE)
    except OSError:
        # a closed socket, or a kernel without the option: nothing is told
        return None
    if len(raw) < _SIZE:
        return None
    mss, unacked, pmtu, total = (
        struct.unpack_from("=I", raw, offset)[0] for offset in (_SND_MSS, _UNACKED, _PMTU, _TOTAL_RETRANS)
    )
    return TcpInfo(raw[_RETRANSMITS], total, mss, unacked, pmtu)
