"""The fleet store: the one place that is written, and what every screen and every JSON output reads.

Sessions and probers call the ``ingest``/``set_*`` methods; readers read the records and take the dirty set. An ingest
is a few attribute writes, one row of a ring buffer and a ``set.add``; no message, no callback, no object per metric.
Everything happens on one event loop, so there are no locks.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from probes import clock
from probes.history import History
from probes.hosts.protocol import decode_brief, whole_sample
from probes.model import (
    Brief,
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
    Xid,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_log = logging.getLogger(__name__)

MAX_EVENTS: Final = 1000
#: events one host may cause by what it says of itself, per window
_SAID_MAX: Final = 40
_SAID_WINDOW_S: Final = 60.0


class HostRecord:
    """All that is known of one host now. Read it anywhere; only ``Fleet`` writes it."""

    __slots__ = (
        "_brief",
        "bad_lines",
        "bad_text",
        "hello",
        "history",
        "host",
        "lag_s",
        "line",
        "link",
        "note",
        "processes",
        "processes_at_boot_s",
        "said",
        "said_from_boot_s",
        "sample_at_boot_s",
        "sample_at_wall_s",
        "samples",
        "services",
        "ssh_ms",
        "whole",
        "xids",
    )

    def __init__(self, host: Host, link: Link) -> None:
        self.host = host
        self.link = link
        self.hello: Hello | None = None
        #: the line the last sample came in: one object, where its values would be hundreds; b"": they are in ``whole``
        self.line = b""
        self.whole: Sample | None = None
        self._brief: Brief | None = None
        #: XID errors of the last sample that could say
        self.xids: tuple[Xid, ...] | None = None
        self.sample_at_boot_s = 0.0
        self.sample_at_wall_s = 0.0
        #: upper bound of how old the last sample already was when it arrived (None: not known yet)
        self.lag_s: float | None = None
        self.samples = 0
        self.processes: Processes | None = None
        self.processes_at_boot_s = 0.0
        self.history: History | None = None
        self.services: dict[str, ServiceState] = {}
        #: milliseconds of each phase of the last login (``hostname``: from channel open to the agent's answer)
        self.ssh_ms: dict[str, float] = {}
        self.bad_lines = 0
        self.bad_text = ""
        self.note = ""
        #: events of its own making in the running window
        self.said = 0
        self.said_from_boot_s = 0.0

    @property
    def sample(self) -> Sample | None:
        """The last sample with all its values, decoded when it is first asked for; None when there never was one."""
        if self.whole is None and self.brief is not None:
            self.whole, wrong = whole_sample(self.brief, self.line)
            if wrong:
                self.bad_lines += 1
                self.bad_text = wrong
        return self.whole

    @property
    def brief(self) -> Brief | None:
        """The last sample as far as conditions, sorting and totals need it; None when there never was one."""
        if self._brief is None and self.line:
            brief = decode_brief(self.line)
            if isinstance(brief, Brief):  # it was one when it arrived
                self._brief = brief
        return self._brief

    def take(self, sample: Brief, line: bytes) -> None:
        """Replace the last sample. Of one that came in a line only the line stays: see ``line``."""
        if line:
            self.line, self.whole, self._brief = line, None, None
        elif isinstance(sample, Sample):
            self.line, self.whole, self._brief = line, sample, sample
        else:
            raise TypeError("a brief comes with the line it was decoded from")

    def age_s(self, now_boot_s: float) -> float | None:
        """Age of the last sample in seconds at most: since it arrived, plus what it had lagged; None without one."""
        if not self.samples:
            return None
        return now_boot_s - self.sample_at_boot_s + (self.lag_s or 0.0)

    def units_age_s(self, now_boot_s: float) -> float | None:
        """How long ago the host asked for its units, in seconds, by its own clock; None: it is not known."""
        age_s, sample, hello = self.age_s(now_boot_s), self.brief, self.hello
        if age_s is None or sample is None or hello is None or hello.units_uptime_s is None:
            return None
        return max(sample.uptime_s - hello.units_uptime_s, 0.0) + age_s


class Fleet:
    """The store. ``hosts`` keeps the configured order; ``events`` the newest last, bounded."""

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        self.hosts: dict[str, HostRecord] = {}
        self.events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.event_count = 0
        #: lines of agents taken so far, of every kind
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
            if record is None or _way_to(record.host) != _way_to(host):
                # another address may be another machine: what was measured there is not shown as this one's
                record = HostRecord(host, new_link(LinkState.CONNECTING))
            else:
                record.host = host
                wanted = {service.name for service in host.services}
                record.services = {name: s for name, s in record.services.items() if name in wanted}
            fresh[host.id] = record
        self.hosts = fresh
        self.layout_version += 1
        self._dirty = set(fresh)

    def ingest(
        self, host_id: str, sample: Brief, at_boot_s: float, lag_s: float | None, line: bytes = b""
    ) -> HostRecord | None:
        """Store one sample; returns whose record it went into, None for a host that is no longer there.

        Args:
            host_id: whose.
            sample: all of it, or what was decoded of ``line``.
            at_boot_s: when it arrived.
            lag_s: bounds its age on arrival.
            line: the JSON that says all of it; empty when ``sample`` is a whole one.

        Raises:
            TypeError: a brief without its line.
        """
        record = self.hosts.get(host_id)
        if record is None:
            return None
        record.take(sample, line)
        history = record.history
        if history is None or history.gpus < len(sample.gpus):
            history = record.history = History(len(sample.gpus))
        if sample.xid_events:
            self._announce_xids(record, sample.xid_events)
        record.xids = sample.xid_events
        record.sample_at_boot_s = at_boot_s
        record.sample_at_wall_s = clock.wall_s()
        record.lag_s = lag_s
        record.samples += 1
        history.append(at_boot_s, sample)
        self.lines += 1
        self._dirty.add(host_id)
        return record

    def _announce_xids(self, record: HostRecord, xids: tuple[Xid, ...]) -> None:
        if not record.samples:  # what the kernel log held before we looked is not news
            return
        if record.xids == xids:
            return
        known = set(record.xids or ())
        for xid in xids:
            if xid not in known:
                words = f"XID {xid.code} on {xid.pci}: {xid.message}"
                self._said(record.host.id, Severity.CRITICAL, "xid", words)

    def _said(self, host_id: str, severity: Severity, kind: str, text: str) -> None:
        """An event out of a host's own mouth: one that talks without end must not push out what others had to say."""
        record, now = self.hosts[host_id], clock.boot_s()
        if now - record.said_from_boot_s > _SAID_WINDOW_S:
            record.said_from_boot_s, record.said = now, 0
        record.said += 1
        if record.said <= _SAID_MAX:
            self.event(host_id, severity, kind, text)
        elif record.said == _SAID_MAX + 1:
            words = f"over {_SAID_MAX} events within {_SAID_WINDOW_S:g} s: further ones are left out here for as long"
            self.event(host_id, Severity.WARNING, kind, words)

    def set_processes(self, host_id: str, processes: Processes, at_boot_s: float) -> None:
        """Store a process list."""
        record = self.hosts.get(host_id)
        if record is not None:
            record.processes, record.processes_at_boot_s = processes, at_boot_s
            self.lines += 1
            self._dirty.add(host_id)

    def set_hello(self, host_id: str, hello: Hello) -> None:
        """Store the unchanging facts; a changed boot id is a reboot and an event."""
        record = self.hosts.get(host_id)
        if record is None:
            return
        self.lines += 1
        before, record.hello = record.hello, hello
        if before is not None and before.boot_id and hello.boot_id and before.boot_id != hello.boot_id:
            self._said(host_id, Severity.WARNING, "reboot", "host was rebooted (its boot id changed)")
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

    def set_ssh_phases(self, host_id: str, phases_ms: dict[str, float]) -> None:
        """Store how long each phase of a login took."""
        record = self.hosts.get(host_id)
        if record is not None:
            record.ssh_ms = phases_ms

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
            self._said(host_id, Severity.WARNING, "agent", text)
            self._dirty.add(host_id)

    def event(self, host_id: str | None, severity: Severity, kind: str, text: str) -> None:
        """Append to the event log, and to the log file where there is one."""
        _log.info("%s %s %s: %s", kind, severity.value, host_id or "quarterdeck", text)
        self.events.append(Event(clock.wall_s(), clock.boot_s(), host_id, severity, kind, text))
        self.event_count += 1


def _way_to(host: Host) -> tuple[object, ...]:
    return host.local, host.address, host.port, host.proxy_jump


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
