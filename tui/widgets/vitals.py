"""A host in one or two lines, for screens on which its sections do not fit at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.model import Health, PortState
from tui.format import UNKNOWN, pct_text, rate_text, ratio_pct
from tui.widgets.core_bars import load_text
from tui.widgets.lines import LinesPanel, dimmed, flow

if TYPE_CHECKING:
    from probes.model import Net, Sample
    from tui.widgets.lines import Row, Span, View


def graded(value: float | None, warn: float, crit: float) -> str:
    """The style of a value held against its limits."""
    if value is None:
        return "unknown"
    return "text" if value < warn else "warn" if value < crit else "bad"


def rates_of(nets: tuple[Net, ...]) -> tuple[float | None, float | None]:
    """Received and sent bytes per second over all interfaces but loopback; None when none is known."""
    real = [net for net in nets if net.name != "lo"]
    rx = [net.rx_bytes_per_s for net in real if net.rx_bytes_per_s is not None]
    tx = [net.tx_bytes_per_s for net in real if net.tx_bytes_per_s is not None]
    return (sum(rx) if rx else None, sum(tx) if tx else None)


def vital_facts(view: View, sample: Sample) -> list[list[Span]]:
    """CPU, load, memory, fullest disk, network, services, XID errors."""
    limits = view.thresholds
    cpu, memory_pct = sample.cpu.utilization_pct, ratio_pct(sample.memory.used_bytes, sample.memory.total_bytes)
    cpu_style = "unknown" if cpu is None else "text"
    memory_style = graded(memory_pct, limits.memory_warn_pct, limits.memory_crit_pct)
    facts: list[list[Span]] = [
        [("CPU ", "muted"), (pct_text(cpu), cpu_style), (f" {load_text(sample)}", "muted")],
        [("memory ", "muted"), (pct_text(memory_pct), memory_style)],
    ]
    disks = [(pct, disk) for disk in sample.disks if (pct := ratio_pct(disk.used_bytes, disk.total_bytes)) is not None]
    if disks:
        pct, disk = max(disks, key=lambda found: found[0])
        style = graded(pct, limits.disk_warn_pct, limits.disk_crit_pct)
        facts.append([("disk ", "muted"), (f"{disk.mount} {pct_text(pct)}", style)])
    rx, tx = rates_of(sample.net)
    facts.append([("rx ", "muted"), (rate_text(rx), "text"), (" tx ", "muted"), (rate_text(tx), "text")])
    services = view.record.host.services
    if services:
        states = [view.record.services.get(service.name) for service in services]
        fine = sum(1 for s in states if s and s.state is PortState.OPEN and s.health is not Health.FAILING)
        style = "text" if fine == len(services) else "bad"
        facts.append([("services ", "muted"), (f"{fine} of {len(services)} fine", style)])
    if sample.gpus:
        xids = sample.xid_events
        count = UNKNOWN if xids is None else str(len(xids))
        facts.append([("XID ", "muted"), (count, "unknown" if xids is None else "bad" if xids else "text")])
    return facts


class Vitals(LinesPanel):
    """The vital figures of one host."""

    def build(self, width: int) -> list[Row]:
        """One line where it fits, else two."""
        view = self.view
        if view is None or view.record.sample is None:
            return []
        rows = flow(vital_facts(view, view.record.sample), width, view.glyphs, first=[(" ", "text")])
        return rows if view.current else dimmed(rows)
