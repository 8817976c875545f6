"""One word and the reasons for the state of one host: the judgement behind "worst first", `check` and the header.

Pure: everything comes in as arguments. Unknown is a level of its own; a value that is missing never counts as fine
*or* as bad, and is not guessed.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from probes.model import Health, LinkState, PortState

if TYPE_CHECKING:
    from probes.config import Intervals, Thresholds
    from probes.fleet import HostRecord
    from probes.model import Brief, GpuBrief, ServiceState


class Level(IntEnum):
    """How bad, worst last: down > unknown > degraded > fine."""

    FINE = 0
    DEGRADED = 1
    UNKNOWN = 2
    DOWN = 3


class Condition(Struct, frozen=True):
    """A level and its reasons in words, the worst first."""

    level: Level
    reasons: tuple[str, ...]


#: an XID error colours its host for this long; after that it stands in the Host screen only
XID_RECENT_S = 3600.0
#: link states in which the host, or our way to it, is known not to work
_DOWN = frozenset(
    {
        LinkState.UNREACHABLE,
        LinkState.AUTH_FAILED,
        LinkState.HOST_KEY_CHANGED,
        LinkState.HOST_KEY_UNKNOWN,
        LinkState.AGENT_FAILED,
    }
)
_BAD_THROTTLE = frozenset({"hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown", "sw_thermal_slowdown"})
#: a GPU of which none of these can be read is unknown, not fine
_VITAL = frozenset({"utilization_pct", "memory_used_bytes", "temperature_c"})
_BAD_PORTS = frozenset(set(PortState) - {PortState.OPEN, PortState.NOT_PROBED})


def condition(record: HostRecord, thresholds: Thresholds, intervals: Intervals, now_boot_s: float) -> Condition:
    """Judge one host from its record.

    Args:
        record: the host's record in the store.
        thresholds: limits, in the units their names say.
        intervals: for the age at which data stops meaning "now".
        now_boot_s: now on the boot clock.
    """
    found: list[tuple[Level, str]] = []
    _judge_link(record, intervals, now_boot_s, found)
    link = record.link.state
    if record.brief is not None and link in (LinkState.LIVE, LinkState.STALE):
        _judge_sample(record.brief, thresholds, found)
    for service in record.services.values():
        _judge_service(service, found)
    if not found:
        return Condition(Level.FINE, ())
    found.sort(key=lambda item: -item[0])
    return Condition(found[0][0], tuple(reason for _, reason in found))


def _judge_link(record: HostRecord, intervals: Intervals, now_boot_s: float, found: list[tuple[Level, str]]) -> None:
    link = record.link
    words = link.state.value.replace("_", " ")
    if link.state in _DOWN:
        # "auth failed at auth" says nothing twice
        layer = f" at {link.layer}" if link.layer and link.layer not in link.state.value else ""
        found.append((Level.DOWN, f"{words}{layer}: {link.cause}" if link.cause else words))
    elif link.state in (LinkState.CONNECTING, LinkState.PAUSED):
        found.append((Level.UNKNOWN, words))
    elif link.state is LinkState.STALE:
        found.append((Level.UNKNOWN, f"stale: {link.cause}" if link.cause else "stale"))
    else:
        age_s = record.age_s(now_boot_s)
        if age_s is None:
            found.append((Level.UNKNOWN, "no sample yet"))
        elif age_s > intervals.stale_s:
            found.append((Level.UNKNOWN, f"data is {age_s:.0f} s old"))


def _judge_sample(sample: Brief, limits: Thresholds, found: list[tuple[Level, str]]) -> None:
    for gpu in sample.gpus:
        _judge_gpu(gpu, limits, found)
    reason = sample.missing.get("gpus")
    if reason == "not_yet":  # nvidia-smi may take seconds to say its first word: that is no fault
        found.append((Level.UNKNOWN, "GPUs not read yet"))
    elif reason is not None and reason != "unsupported":
        found.append((Level.DEGRADED, f"GPUs unreadable: {reason}"))
    xid = sample.xid_events[-1] if sample.xid_events else None
    if xid is not None and sample.uptime_s - xid.uptime_s < XID_RECENT_S:
        found.append((Level.DEGRADED, f"XID {xid.code} on {xid.pci}"))
    memory = sample.memory
    if memory.total_bytes and memory.used_bytes is not None:
        pct = memory.used_bytes / memory.total_bytes * 100
        if pct >= limits.memory_warn_pct:
            found.append((Level.DEGRADED, f"memory {pct:.0f}%"))
    for disk in sample.disks:
        if disk.total_bytes and disk.used_bytes is not None:
            pct = disk.used_bytes / disk.total_bytes * 100
            if pct >= limits.disk_warn_pct:
                found.append((Level.DEGRADED, f"disk {disk.mount} {pct:.0f}%"))


def _judge_gpu(gpu: GpuBrief, limits: Thresholds, found: list[tuple[Level, str]]) -> None:
    name = f"gpu{gpu.index}"
    reasons = set(gpu.missing.values())
    if "gpu_lost" in reasons:
        found.append((Level.DOWN, f"{name} lost"))
        return
    if all(gpu.missing.get(field, "unsupported") != "unsupported" for field in _VITAL):
        found.append((Level.UNKNOWN, f"{name} cannot be read: {', '.join(sorted(reasons))}"))
        return
    if "timeout" in reasons:
        found.append((Level.DEGRADED, f"{name} does not answer"))
    if gpu.temperature_c is not None and gpu.temperature_c >= limits.temperature_warn_c:
        found.append((Level.DEGRADED, f"{name} {gpu.temperature_c:.0f}°C"))
    bad = _BAD_THROTTLE.intersection(gpu.throttle_reasons or ())
    if bad:
        found.append((Level.DEGRADED, f"{name} throttled: {', '.join(sorted(bad)).replace('_', ' ')}"))
    if gpu.ecc_uncorrected:
        found.append((Level.DEGRADED, f"{name} {gpu.ecc_uncorrected} uncorrected ECC"))


def _judge_service(service: ServiceState, found: list[tuple[Level, str]]) -> None:
    words = service.state.value.replace("_", " ")
    if service.state in _BAD_PORTS:
        found.append((Level.DEGRADED, f"{service.name} :{service.port} {words}"))
    elif service.health is Health.FAILING:
        why = f": {service.detail}" if service.detail else ""
        found.append((Level.DEGRADED, f"{service.name} unhealthy{why}"))
