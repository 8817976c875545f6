"""One host as the fleet screen sees it: its record condensed to the numbers that are shown, sorted and filtered by.

A ``Row`` is refreshed when its host changed, never per frame. A number that is not known is None; sums and means say
over how many GPUs they are known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from probes.judge.condition import Level, condition
from probes.model import LinkState, PortState
from probes.text import clean

if TYPE_CHECKING:
    from probes.config import Settings
    from probes.fleet import HostRecord
    from probes.model import Brief, GpuBrief, Link

_DIGITS: Final = re.compile(r"(\d+)")
_HOT: Final = re.compile(r"gpu\d+ (\d+)°C")
#: the time in a bucket is what "for" shows; a dead host that is tried again stays in its bucket
_BUCKET: Final = {Level.FINE: 0, Level.DEGRADED: 1, Level.UNKNOWN: 2, Level.DOWN: 2}
#: only what slows a GPU against its will; "idle" and "application clocks" are not worth a flag
SLOWED: Final = frozenset({"hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown", "sw_thermal_slowdown"})


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key in which ``gpu-2`` comes before ``gpu-10``."""
    return tuple((0, int(part[:18]), "") if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(text) if part)


class Row:
    """The condensed record of one host. ``version`` changes with everything that is drawn except ages."""

    __slots__ = (
        "_named", "_names",
        "busy", "cpu", "disk", "ecc", "gpu_total", "gpu_used", "gpumem", "gpus", "id_text", "index", "level",
        "link", "live",
        "load", "lost", "mem", "mem_n", "natural", "order",
        "power", "power_limit", "power_n", "rank", "reason", "reasons", "record",
        "rx", "since_boot_s", "slowed", "temp", "tx", "util", "util_n", "version", "xid",
    )  # fmt: skip

    def __init__(self, record: HostRecord, index: int) -> None:
        self.record = record
        self.index = index
        self.id_text = clean(record.host.id)
        self.natural = natural(self.id_text.casefold())
        #: the link this row was judged by
        self.link: Link | None = None
        #: place among all hosts in natural order; the board sets it
        self.order = index
        self.version = 0
        self.level = Level.UNKNOWN
        #: the level that sorts: a dead host keeps its place while it is tried again
        self.rank = -1
        self.reasons: tuple[str, ...] = ()
        self.reason = ""
        self.since_boot_s = record.link.since_boot_s
        #: names of the GPUs, and of how many they were read; a card does not change its name
        self._names: tuple[str, ...] = ()
        self._named = -1
        self._forget()

    def gpu_names(self) -> tuple[str, ...]:
        """The known names of this host's GPUs: from the whole sample, which is decoded once for them."""
        brief = self.record.brief
        count = -1 if brief is None else len(brief.gpus)
        if count != self._named:
            sample = self.record.sample
            gpus = () if sample is None else sample.gpus
            self._names = tuple(gpu.name for gpu in gpus if gpu.name is not None)
            # an unreadable card says no name now, and may later
            self._named = count if len(self._names) == len(gpus) else -1
        return self._names

    @property
    def host_id(self) -> str:
        """The id, which is the identity of the selection."""
        return self.record.host.id

    def _forget(self) -> None:
        self.live = False
        self.gpus: int | None = None
        self.util: float | None = None
        self.gpu_used: int | None = None
        self.gpu_total: int | None = None
        self.gpumem: float | None = None
        self.temp: float | None = None
        self.power: float | None = None
        self.power_limit: float | None = None
        self.cpu: float | None = None
        self.mem: float | None = None
        self.load: float | None = None
        self.disk: float | None = None
        self.rx: float | None = None
        self.tx: float | None = None
        self.util_n = self.power_n = self.mem_n = self.busy = self.lost = self.ecc = self.xid = 0
        self.slowed = False

    def refresh(self, settings: Settings, now_boot_s: float) -> bool:
        """Condense the record anew; returns whether the level changed.

        Args:
            settings: thresholds and intervals to judge by.
            now_boot_s: now on the boot clock.
        """
        record = self.record
        self.version += 1
        self.link = record.link
        age_s = record.age_s(now_boot_s)
        self.live = record.link.state is LinkState.LIVE and age_s is not None and age_s <= settings.intervals.stale_s
        sample = record.brief
        if sample is not None:
            self._condense(sample)
        judged = condition(record, settings.thresholds, settings.intervals, now_boot_s)
        before = self.level
        first = self.rank < 0
        if first:
            self.since_boot_s = record.link.since_boot_s
        elif _BUCKET[before] != _BUCKET[judged.level]:
            self.since_boot_s = now_boot_s
        self.level = judged.level
        if not (record.link.state is LinkState.CONNECTING and self.rank == Level.DOWN):
            self.rank = int(judged.level)
        if judged.reasons != self.reasons or first or record.link.state is LinkState.CONNECTING:
            self.reasons = judged.reasons
            self.reason = self._reason_text()
        return first or before is not judged.level

    def _reason_text(self) -> str:
        """The reasons in one line: the link's layer and cause instead of its state, which has a column of its own."""
        link = self.record.link
        cause = f"{link.layer}: {link.cause}" if link.layer and link.cause else link.cause or ""
        if link.state is LinkState.CONNECTING and link.attempt > 1:
            cause = f"attempt {link.attempt}: {cause}" if cause else f"attempt {link.attempt}"
        words = link.state.value.replace("_", " ")
        others = ["old data" if r.startswith("data is ") else r for r in self.reasons if not r.startswith(words)]
        return clean(", ".join(([cause] if cause and link.state is not LinkState.LIVE else []) + briefly(others)[:8]))

    def _condense(self, sample: Brief) -> None:
        cpu, memory = sample.cpu, sample.memory
        self.cpu = cpu.utilization_pct
        self.load = cpu.load1
        total, used = memory.total_bytes, memory.used_bytes
        self.mem = used / total * 100 if total and used is not None else None
        disk = None
        for mount in sample.disks:
            total, used = mount.total_bytes, mount.used_bytes
            if total and used is not None:
                share = used / total * 100
                if disk is None or share > disk:
                    disk = share
        self.disk = disk
        rx = tx = None
        for nic in sample.net:
            if nic.name != "lo" and nic.rx_bytes_per_s is not None and nic.tx_bytes_per_s is not None:
                rx = (rx or 0.0) + nic.rx_bytes_per_s
                tx = (tx or 0.0) + nic.tx_bytes_per_s
        self.rx, self.tx = rx, tx
        self.xid = len(sample.xid_events) if sample.xid_events else 0
        self.gpus = len(sample.gpus) if "gpus" not in sample.missing else None
        self._condense_gpus(sample.gpus)

    def _condense_gpus(self, gpus: tuple[GpuBrief, ...]) -> None:
        util = power = limit = 0.0
        util_n = power_n = limit_n = busy = lost = ecc = used = total = mem_n = 0
        temp: float | None = None
        slowed = False
        for gpu in gpus:
            value = gpu.utilization_pct
            if value is not None:
                util += value
                util_n += 1
                busy += value >= 1
            value = gpu.temperature_c
            if value is not None and (temp is None or value > temp):
                temp = value
            value = gpu.power_w
            if value is not None:
                power += value
                power_n += 1
            value = gpu.power_limit_w
            if value is not None:
                limit += value
                limit_n += 1
            if gpu.memory_total_bytes is not None and gpu.memory_used_bytes is not None:
                total += gpu.memory_total_bytes
                used += gpu.memory_used_bytes
                mem_n += 1
            if gpu.throttle_reasons and not slowed:
                slowed = not SLOWED.isdisjoint(gpu.throttle_reasons)
            if gpu.ecc_uncorrected:
                ecc += gpu.ecc_uncorrected
            if gpu.missing and is_lost(gpu):
                lost += 1
        self.util = util / util_n if util_n else None
        self.util_n, self.busy, self.lost, self.ecc, self.slowed = util_n, busy, lost, ecc, slowed
        self.temp = temp
        self.power, self.power_n = (power if power_n else None), power_n
        self.power_limit = limit if limit_n and limit_n == len(gpus) else None
        self.gpu_used, self.gpu_total, self.mem_n = (used, total, mem_n) if mem_n else (None, None, 0)
        self.gpumem = used / total * 100 if total else None

    def age_s(self, now_boot_s: float) -> float | None:
        """Age of the last sample at most; None without one."""
        return self.record.age_s(now_boot_s)

    def service_bad(self) -> int:
        """How many services are neither open and well, nor unprobed."""
        return sum(
            state.state not in (PortState.OPEN, PortState.NOT_PROBED) or state.health.value == "failing"
            for state in self.record.services.values()
        )


def briefly(reasons: list[str]) -> list[str]:
    """Many hot GPUs in one phrase; everything else as it is, in its order."""
    hot = [match for reason in reasons if (match := _HOT.fullmatch(reason))]
    if len(hot) < 2:
        return reasons
    phrase = f"{len(hot)} gpus hot, up to {max(int(match.group(1)) for match in hot)}°C"
    first = next(at for at, reason in enumerate(reasons) if _HOT.fullmatch(reason))
    rest = [reason for reason in reasons if not _HOT.fullmatch(reason)]
    return [*rest[:first], phrase, *rest[first:]]


def is_lost(gpu: GpuBrief) -> bool:
    """Whether a GPU has fallen off the bus."""
    return "gpu_lost" in gpu.missing.values()
