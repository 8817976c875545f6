"""The words of triage: what was measured on a port, with its figures and units, in one line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from probes import clock
from probes.judge.triage_case import by_errno_alone
from probes.model import PortState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from probes.evidence import PortProbe


def millis(value: float | None) -> str:
    """``12.3 ms``; a time that is none is said to be none."""
    if value is None or not math.isfinite(value):
        return "a time that was not measured"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


def at(epoch_s: float) -> str:
    """A wall time for reading; an absurd one as it stands."""
    try:
        return clock.rfc3339(epoch_s)
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def label(port: PortProbe) -> str:
    """``8001 (openvoice)``."""
    return f"{port.service.port} ({port.service.name})" if port.service.name else str(port.service.port)


def numbers(ports: Iterable[PortProbe]) -> str:
    """``22, 8001``."""
    return ", ".join(str(number) for number in sorted({port.service.port for port in ports}))


def fact(port: PortProbe) -> str:
    """What was measured on one port, with its figures."""
    return f"{label(port)}: {_said(port)}{f', seen from {port.via}' if port.via else ''}"


def _said(port: PortProbe) -> str:
    if port.state is PortState.OPEN:
        return "open" if port.connect_ms is None else f"open in {millis(port.connect_ms)}"
    took = millis(port.elapsed_ms)
    if port.state is PortState.FILTERED:
        syns = "" if port.syns_sent is None else f" to {port.syns_sent} SYN{'' if port.syns_sent == 1 else 's'}"
        return f"no answer{syns} within {took}"
    if port.icmp_type is not None:
        sender = port.offender or "an unnamed address"
        whose = " (our own)" if port.offender_is_own else ""
        return f"ICMP {port.icmp_type}/{port.icmp_code} from {sender}{whose} after {took}"
    if port.state is PortState.REFUSED:
        return f"RST after {took}" if not by_errno_alone(port) else f"ECONNREFUSED after {took} (by errno alone)"
    words = port.state.value.replace("_", " ")
    name = f" ({port.errno_name})" if port.errno_name else ""
    return f"{words}{name} after {took}" + (f": {port.detail}" if port.detail else "")
