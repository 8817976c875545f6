"""How long each part of a diagnosis may take. Everything runs at once: the longest of them, not their sum, counts."""

from __future__ import annotations

from msgspec import Struct


class Budget(Struct, frozen=True, kw_only=True):
    """Seconds. ``connect_s`` lets about three SYNs leave (0, 1 and 3 s): one lost packet cannot fake a silence.

    ``hops_after_s``: a port that is silent this long gets its hops stepped while the wait goes on; ``hop_s`` fits into
    what is left of ``connect_s``, with room for a second SYN a hop.
    """

    resolve_s: float = 3.0
    connect_s: float = 3.5
    hops_after_s: float = 1.0
    hop_s: float = 2.4
    max_hops: int = 16
    opening_s: float = 0.5
    banner_s: float = 3.0
    kex_s: float = 3.0
    tls_s: float = 3.0
    first_byte_s: float = 3.0
    http_s: float = 5.0
    echo_s: float = 1.5
    ptr_s: float = 2.0
    control_s: float = 3.5
