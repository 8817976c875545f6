"""The fleet store: the one place that is written, and what every screen and every JSON output reads.

Sessions and probers call the ``ingest``/``set_*`` methods; readers read the records and take the dirty set. An ingest
is a few attribute writes, one row of a ring buffer and a ``set.add``; no message, no callback, no object per metric.
Everything happens on one event loop, so there are no locks.
"""

from __future__ import annotations

from array import array
from collections import deque
from math import isfinite
from typing import TYPE_CHECKING, Final

from probes import clock
from probes.model import (
    Event,
    Hello,
    Host,
    Link,
    LinkState,
    PortState,
    Processes,
    Sample,
    ServiceState,
    Severity,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HISTORY_LEN: Final = 240
_GAP: Final = 65535
_HOST_SERIES: Final = ("cpu_pct", "memory_pct", "rx", "tx")
_GPU_SERIES: Final = ("utilization_pct", "memory_pct", "temperature_c", "power_w")
#: stored value = real value * scale, in 16 bits; rates are kept as log-free KiB/s, capped
_SCALE: Final = {
    "cpu_pct": 100.0,
    "memory_pct": 100.0,
    "rx": 1 / 65536,
    "tx": 1 / 65536,
    "utilization_pct": 100.0,
    "temperature_c": 100.0,
    "power_w": 20.0,
}
MAX_EVENTS: Final = 2000


class History:
    """Ring buffers of one host in one flat array: the last ``HISTORY_LEN`` samples of a few series.

    Values are 16-bit fixed point (rates in steps of 64 KiB/s); a gap is a gap, never 0.
    """

    __slots__ = ("_data", "_gpus", "_pos", "_when", "count")

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus
        self._data = array("H", [_GAP]) * ((len(_HOST_SERIES) + gpus * len(_GPU_SERIES)) * HISTORY_LEN)
        self._when = array("d", [0.0]) * HISTORY_LEN
        self._pos = 0
        self.count = 0

    @property
    def gpus(self) -> int:
        """How many GPUs the buffers hold."""
        return self._gpus

    def append(self, at_boot_s: float, sample: Sample) -> None:
        """Write one row; O(GPUs), no allocation that stays."""
        pos, data = self._pos, self._data
        self._when[pos] = at_boot_s
        memory = sample.memory
        total, used = memory.total_bytes, memory.used_bytes
        rx = tx = None
        for nic in sample.net:
            if nic.rx_bytes_per_s is not None and nic.tx_bytes_per_s is not None and nic.name != "lo":
                rx = (rx or 0.0) + nic.rx_bytes_per_s
                tx = (tx or 0.0) + nic.tx_bytes_per_s
        data[pos] = _fix(sample.cpu.utilization_pct, 100.0)
        data[HISTORY_LEN + pos] = _fix(used / total * 100 if total and used is not None else None, 100.0)
        data[2 * HISTORY_LEN + pos] = _fix(rx, 1 / 65536)
        data[3 * HISTORY_LEN + pos] = _fix(tx, 1 / 65536)
        at = 4 * HISTORY_LEN + pos
        for gpu in sample.gpus[: self._gpus]:
            total, used = gpu.memory_total_bytes, gpu.memory_used_bytes
            data[at] = _fix(gpu.utilization_pct, 100.0)
            data[at + HISTORY_LEN] = _fix(used / total * 100 if total and used is not None else None, 100.0)
            data[at + 2 * HISTORY_LEN] = _fix(gpu.temperature_c, 100.0)
            data[at + 3 * HISTORY_LEN] = _fix(gpu.power_w, 20.0)
            at += 4 * HISTORY_LEN
        for blank in range(at, len(data), HISTORY_LEN):  # fewer GPUs than before: a lost one leaves a gap
            data[blank] = _GAP
        self._pos = (pos + 1) % HISTORY_LEN
        if self.count < HISTORY_LEN:
            self.count += 1

    def series(self, name: str, gpu: int | None = None) -> list[tuple[float, float | None]]:
        """Return ``(boot_s, value or None)`` oldest first.

        Args:
            name: a host series (``cpu_pct``, ``memory_pct``, ``rx``, ``tx`` in bytes/s) or, with ``gpu`` (position in
                the sample), ``utilization_pct``, ``memory_pct``, ``temperature_c``, ``power_w``.
            gpu: position of the GPU, or None for a host series.
        """
        if gpu is None:
            row = _HOST_SERIES.index(name)
        elif gpu >= self._gpus:
            return []
        else:
            row = len(_HOST_SERIES) + gpu * len(_GPU_SERIES) + _GPU_SERIES.index(name)
        scale = _SCALE[name]
        first = self._pos - self.count
        out: list[tuple[float, float | None]] = []
        for step in range(self.count):
            at = (first + step) % HISTORY_LEN
            raw = self._data[row * HISTORY_LEN + at]
            out.append((self._when[at], None if raw == _GAP else raw / scale))
        return out


def _fix(value: float | None, scale: float) -> int:
    if value is None or not isfinite(value):
        return _GAP
    return int(min(max(value * scale, 0.0), _GAP - 1.0))


class HostRecord:
    """All that is known of one host now. Read it anywhere; only ``Fleet`` writes it."""

    __slots__ = (
        "bad_lines",
        "bad_text",
        "hello",
        "history",
        "host",
        "lag_s",
        "link",
        "note",
        "processes",
        "processes_at_boot_s",
        "sample",
        "sample_at_boot_s",
        "sample_at_wall_s",
        "samples",
        "services",
    )

    def __init__(self, host: Host, link: Link) -> None:
        self.host = host
        self.link = link
        self.hello: Hello | None = None
        self.sample: Sample | None = None
        self.sample_at_boot_s = 0.0
        self.sample_at_wall_s = 0.0
        #: upper bound of how old the last sample already was when it arrived (None: not known yet)
        self.lag_s: float | None = None
        self.samples = 0
        self.processes: Processes | None = None
        self.processes_at_boot_s = 0.0
        self.history: History | None = None
        self.services: dict[str, ServiceState] = {}
        self.bad_lines = 0
        self.bad_text = ""
        self.note = ""

    def age_s(self, now_boot_s: float) -> float | None:
        """Age of the last sample in seconds at most: since it arrived, plus what it had lagged; None without one."""
        if self.sample is None:
            return None
        return now_boot_s - self.sample_at_boot_s + (self.lag_s or 0.0)


class Fleet:
    """The store. ``hosts`` keeps the configured order; ``events`` the newest last, bounded."""

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        self.hosts: dict[str, HostRecord] = {}
        self.events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.event_count = 0
        self.lines = 0
        self._dirty: set[str] = set()
        self.layout_version = 0
        self.set_hosts(hosts)

    # --- readers ---

    def take_dirty(self) -> set[str]:
        """The ids of hosts that changed since the last call; the caller owns the returned set."""
        taken, self._dirty = self._dirty, set()
        return taken

    # --- writers: sessions, probers, the supervisor ---

    def set_hosts(self, hosts: Iterable[Host]) -> None:
        """Take a new inventory: keep what is known of hosts that stay, drop the others (configuration reload)."""
        fresh: dict[str, HostRecord] = {}
        for host in hosts:
            record = self.hosts.get(host.id)
            if record is None:
                record = HostRecord(host, new_link(LinkState.CONNECTING))
            else:
                record.host = host
                wanted = {service.name for service in host.services}
                record.services = {name: s for name, s in record.services.items() if name in wanted}
            fresh[host.id] = record
        self.hosts = fresh
        self.layout_version += 1
        self._dirty = set(fresh)

    def ingest(self, host_id: str, sample: Sample, at_boot_s: float, lag_s: float | None) -> None:
        """Store one sample; ``lag_s`` bounds its age on arrival."""
        record = self.hosts.get(host_id)
        if record is None:
            return
        history = record.history
        if history is None or history.gpus < len(sample.gpus):
            history = record.history = History(len(sample.gpus))
        if sample.xid_events:
            self._announce_xids(host_id, record.sample, sample)
        record.sample = sample
        record.sample_at_boot_s = at_boot_s
        record.sample_at_wall_s = clock.wall_s()
        record.lag_s = lag_s
        record.samples += 1
        history.append(at_boot_s, sample)
        self.lines += 1
        self._dirty.add(host_id)

    def _announce_xids(self, host_id: str, before: Sample | None, sample: Sample) -> None:
        if before is None:  # what the kernel log held before we looked is not news
            return
        known = set(before.xid_events or ())
        for xid in sample.xid_events or ():
            if xid not in known:
                self.event(host_id, Severity.CRITICAL, "xid", f"XID {xid.code} on {xid.pci}: {xid.message}")

    def set_processes(self, host_id: str, processes: Processes, at_boot_s: float) -> None:
        """Store a process list."""
        record = self.hosts.get(host_id)
        if record is not None:
            record.processes, record.processes_at_boot_s = processes, at_boot_s
            self._dirty.add(host_id)

    def set_hello(self, host_id: str, hello: Hello) -> None:
        """Store the unchanging facts; a changed boot id is a reboot and an event."""
        record = self.hosts.get(host_id)
        if record is None:
            return
        before, record.hello = record.hello, hello
        if before is not None and before.boot_id and hello.boot_id and before.boot_id != hello.boot_id:
            self.event(host_id, Severity.WARNING, "reboot", "host was rebooted (its boot id changed)")
        self._dirty.add(host_id)

    def set_link(self, host_id: str, link: Link) -> None:
        """Store a link state; a state or cause that changed is an event."""
        record = self.hosts.get(host_id)
        if record is None:
            return
        before, record.link = record.link, link
        if (before.state, before.cause) != (link.state, link.cause) and link.state is not LinkState.CONNECTING:
            words = link.state.value.replace("_", " ")
            text = f"{words}: {link.layer}: {link.cause}" if link.cause else words
            severity = Severity.INFO if link.state in _GOOD else Severity.CRITICAL
            self.event(host_id, severity, "link", text)
        self._dirty.add(host_id)

    def set_service(self, host_id: str, state: ServiceState) -> None:
        """Store one service's probe; a changed state or health is an event."""
        record = self.hosts.get(host_id)
        if record is None:
            return
        before = record.services.get(state.name)
        record.services[state.name] = state
        if before is None or (before.state, before.health) != (state.state, state.health):
            fine = state.state is PortState.NOT_PROBED or (state.state is PortState.OPEN and state.health != "failing")
            # not probed is no fact about the service: neither that nor good news after it is worth a line
            known = before is not None and PortState.NOT_PROBED not in (before.state, state.state)
            if known or not fine:
                words = state.state.value.replace("_", " ")
                text = f"{state.name} :{state.port} {words}" + (f" ({state.detail})" if state.detail else "")
                self.event(host_id, Severity.INFO if fine else Severity.WARNING, "service", text)
        self._dirty.add(host_id)

    def set_bad_line(self, host_id: str, text: str) -> None:
        """Count a line that could not be used; the newest one's description is kept to be shown."""
        record = self.hosts.get(host_id)
        if record is not None:
            record.bad_lines += 1
            record.bad_text = text
            self._dirty.add(host_id)

    def set_note(self, host_id: str, text: str) -> None:
        """Keep what the agent said went wrong on its side."""
        record = self.hosts.get(host_id)
        if record is not None and record.note != text:
            record.note = text
            self.event(host_id, Severity.WARNING, "agent", text)
            self._dirty.add(host_id)

    def event(self, host_id: str | None, severity: Severity, kind: str, text: str) -> None:
        """Append to the event log."""
        self.events.append(Event(clock.wall_s(), clock.boot_s(), host_id, severity, kind, text))
        self.event_count += 1

    def services_of(self, host_id: str) -> Sequence[ServiceState]:
        """The last probe of each configured service, in configured order; never probed ones are left out."""
        record = self.hosts[host_id]
        return [record.services[s.name] for s in record.host.services if s.name in record.services]


_GOOD: Final = frozenset({LinkState.LIVE, LinkState.PAUSED, LinkState.CONNECTING})


def new_link(
    state: LinkState,
    *,
    layer: str | None = None,
    cause: str | None = None,
    next_step: str | None = None,
    attempt: int = 0,
    retry_at_boot_s: float | None = None,
) -> Link:
    """A ``Link`` stamped with now."""
    return Link(state, clock.boot_s(), clock.wall_s(), layer, cause, next_step, attempt, retry_at_boot_s)
