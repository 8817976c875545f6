"""The parts of the ``sh`` agent's frames that come now and then: mounts, processes, the kernel log, services.

Each keeps what the host said last, bounded, and gives it in the form a sample or a hello needs, with its reasons.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from probes.hosts import agent
from probes.hosts.protocol import LineError
from probes.model import GpuProcess, Line, Missing, Process, Processes, Reason, Unit, Xid
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.hosts import smi

_MAX_PROCESSES: Final = 4096
_MAX_LINES: Final = 4096
_DISKS_OLD_S: Final = 35.0
_REASONS: Final = frozenset({"unsupported", "denied", "error", "timeout"})


def uptime_of(text: str) -> float:
    """Seconds since boot, as /proc/uptime says them; raises LineError."""
    if re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,6})?", text.strip()) is None:
        raise LineError("an uptime that is no number")
    return float(text)


class Mounts:
    """Mounts and their sizes, as mountinfo and `df -Pk` say them."""

    def __init__(self) -> None:
        self._incoming: list[str] = []
        self._entries: list[tuple[str, str, str, str, str]] | None = None
        self._sizes: dict[str, tuple[int, int, float]] = {}
        self._asked_s: float | None = None
        self._answered: set[str] = set()

    def mount(self, text: str) -> None:
        """A mountinfo line, or the end of the list."""
        if text.strip() != ".":
            if len(self._incoming) < _MAX_LINES:
                self._incoming += text.split(";")
            return
        data = "\n".join(self._incoming).encode("utf-8", "surrogateescape")
        self._incoming = []
        first = self._entries is None
        self._entries = agent.select_mounts(agent.parse_mountinfo(data))
        known = {entry[0] for entry in self._entries}
        self._sizes = {mount: size for mount, size in self._sizes.items() if mount in known}
        if first:
            self._asked_s = None

    _ROW: Final = re.compile(r"\S.*?\s+([0-9]{1,16})\s+(-?[0-9]{1,16})\s+(-?[0-9]{1,16})\s+(?:[0-9]+%|-)\s+(/.*)")

    def df(self, text: str, now_s: float | None) -> None:
        """One line of `df -Pk` (others are passed over), or its end: ``.``, and the mount of a network one."""
        if text.startswith("."):
            if len(self._answered) < _MAX_LINES:
                self._answered.add(text[1:].strip())
            return
        found = self._ROW.match(text)
        if found is None or now_s is None or len(self._sizes) >= agent.MAX_DISKS * 2:
            return
        total, used = int(found.group(1)) * 1024, int(found.group(2)) * 1024
        if total > 0 and 0 <= used <= total:
            self._sizes[found.group(4)] = (total, used, now_s)

    def view(self, now_s: float) -> list[tuple[str, str, str, int | None, int | None, str | None]] | str:
        """Rows for ``agent.Host.sample``, or a reason."""
        if self._entries is None:
            return "not_yet"
        if self._asked_s is None:
            self._asked_s = now_s
        rows: list[tuple[str, str, str, int | None, int | None, str | None]] = []
        for mount, device, kind, numbers, _ in self._entries:
            size = self._sizes.get(mount)
            if size is not None and now_s - size[2] <= _DISKS_OLD_S:
                rows.append((mount, device, numbers, size[0], size[1], None))
                continue
            waiting = now_s - self._asked_s <= agent.STUCK_S
            # df came to its end without a row: it could not read that one; no end: it hangs
            answered = (mount if kind in agent.NETWORK_FS and mount != "/" else "") in self._answered
            reason = "not_yet" if waiting and size is None else "error" if answered and size is None else "timeout"
            rows.append((mount, device, numbers, None, None, reason))
        return rows


class Procs:
    """The process list in the making."""

    def __init__(self) -> None:
        self._table = agent.ProcessTable()
        self._scan: dict[int, tuple[str, int, int, int]] = {}
        self._uids: dict[int, int] = {}
        self._names: dict[int, str] = {}
        self._first = True

    def line(self, text: str, page_bytes: int) -> None:
        """``pid utime stime start rss name``, several between semicolons."""
        for item in text.split(";"):
            fields = item.split(" ", 5)
            if len(fields) == 6 and all(re.fullmatch(r"[0-9]{1,18}", field) for field in fields[:5]):
                if len(self._scan) >= _MAX_PROCESSES:
                    return
                pid, user, system, start, rss = (int(field) for field in fields[:5])
                self._scan[pid] = (clean(fields[5], 64), user + system, start, rss * page_bytes)

    def owners(self, text: str) -> None:
        """``pid uid``, several between semicolons."""
        for item in text.split(";"):
            found = re.fullmatch(r"([0-9]{1,10}) ([0-9]{1,10})", item)
            if found is not None and len(self._uids) < _MAX_PROCESSES:
                self._uids[int(found.group(1))] = int(found.group(2))

    def passwd(self, text: str) -> None:
        """``uid name``, several between semicolons."""
        for item in text.split(";"):
            found = re.fullmatch(r"([0-9]{1,10}) (\S{1,64})", item)
            if found is not None and len(self._names) < 1024:
                self._names.setdefault(int(found.group(1)), clean(found.group(2), 64))

    def user(self, pid: int) -> str | None:
        """The owner's name, or number, or None."""
        uid = self._uids.get(pid)
        return None if uid is None else self.user_name(uid)

    def user_name(self, uid: int) -> str:
        """The name of a user id, or its number."""
        return self._names.get(uid, str(uid))

    def finish(
        self, text: str, ticks_per_s: int, gpus: Sequence[tuple[int, smi.App]] | None, why: Missing
    ) -> Sequence[Line]:
        """The end of a scan: ``total uptime``."""
        total, _, uptime = text.partition(" ")
        scan, self._scan = self._scan, {}
        now = uptime_of(uptime)
        if re.fullmatch(r"[0-9]{1,9}", total) is None:
            raise LineError("a process list without a total")
        factor = agent.TICKS_PER_S / ticks_per_s
        ranked = self._table.rank(
            {pid: (name, ticks * factor, start * factor, rss) for pid, (name, ticks, start, rss) in scan.items()}, now
        )
        top = tuple(Process(pid, self.user(pid), name, cpu, rss) for pid, name, cpu, rss in ranked[: agent.MAX_TOP])
        rows = None
        if gpus is not None:
            rows = tuple(
                GpuProcess(
                    index, app.pid, self.user(app.pid), app.name or scan.get(app.pid, (None,))[0], app.memory_bytes
                )
                for index, app in gpus
            )
        self._uids = {}
        missing: Missing = dict(why)
        if len(scan) >= _MAX_PROCESSES:
            missing["top"] = "timeout"
        if self._first:  # nothing to compare with yet
            self._first = False
            return ()
        return (Processes(total=int(total), top=top, gpu=rows, missing=missing),)


class Xids:
    """XID errors out of `dmesg`."""

    _STAMP: Final = re.compile(r"(?:<[0-9]+>)?\[\s*([0-9]{1,12}\.[0-9]{1,6})\]\s")

    def __init__(self) -> None:
        self._incoming: list[Any] = []
        self._events: tuple[Any, ...] | None = None
        self._reason: Reason | None = "not_yet"
        self._next: Reason | None = "error"

    def line(self, text: str) -> None:
        """A line of the log, its status, or the end."""
        if text.strip() == ".":
            if self._next is None:
                self._events = tuple(self._incoming[-agent.MAX_XIDS :])
            self._reason = self._next
            self._incoming, self._next = [], "error"
            return
        if text.startswith("status "):
            if text.strip() == "status 0":
                self._next = None
            elif self._next != "denied":
                self._next = "unsupported" if text.strip() == "status 127" else "error"
            return
        stamp = self._STAMP.match(text)
        found = agent.parse_xid(text)
        if stamp is not None and found is not None and len(self._incoming) < 4 * agent.MAX_XIDS:
            self._incoming.append([float(stamp.group(1)), found[0], found[1], clean(found[2])])
        elif found is None and ("denied" in text or "permitted" in text):
            self._next = "denied"

    def view(self) -> tuple[Any, Reason | None]:
        """(events, None) or (None, reason)."""
        if self._reason is not None:
            return None, self._reason
        return msgspec.convert(self._events, tuple[Xid, ...]), None


class Units:
    """Services and containers."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {"S": [], "C": []}
        self._status: dict[str, str] = {}
        self._local: set[str] = set()
        self._rows: tuple[Unit, ...] | None = None
        self._uptime_s: float | None = None
        self._missing: Missing = {"units": "not_yet"}

    def docker(self, text: str) -> None:
        """A line of `docker ps`, or its status."""
        self._keep("C", text)

    def systemd(self, text: str, uptime_s: float | None) -> None:
        """A line of `systemctl list-units`, its status, the name of a local unit, or the end of it all.

        Args:
            text: the line.
            uptime_s: of the host, by its last sample.
        """
        if text.strip() == ".":
            self._finish()
            self._uptime_s = uptime_s
        elif text.startswith("local ") and len(self._local) < 1024:
            self._local.add(text[6:].strip())
        else:
            self._keep("S", text)

    def _keep(self, kind: str, text: str) -> None:
        if text.startswith("status "):
            self._status[kind] = text[7:].strip()
        elif len(self._lines[kind]) < _MAX_LINES:
            self._lines[kind].append(text)

    def _finish(self) -> None:
        rows: list[Unit] = []
        reasons: dict[str, Reason] = {}
        for kind, name in (("C", "docker"), ("S", "systemd")):
            text = "\n".join(self._lines[kind])
            status = self._status.get(kind, "1")
            if status == "0":
                found = agent.parse_docker(text) if kind == "C" else agent.parse_systemctl(text, self._local)
                rows += [Unit(*(clean(cell) for cell in row)) for row in found]
            elif kind == "C":
                reasons[name] = agent.docker_reason(text) if status != "unsupported" else "unsupported"
            else:
                reasons[name] = cast("Reason", status) if status in _REASONS else "error"
        self._lines, self._status, self._local = {"S": [], "C": []}, {}, set()
        self._rows = tuple(rows) if len(reasons) < 2 else None
        self._missing = {f"units.{name}": reason for name, reason in reasons.items()}
        if len(reasons) == 2:
            self._missing = {"units": agent.worst_reason(list(reasons.values()))}

    def view(self, uptime_s: float) -> tuple[tuple[Unit, ...] | None, float | None, Missing]:
        """(units or None, the host's uptime when it was asked, reasons); ``uptime_s``: now."""
        if self._rows is None:
            return None, None, self._missing
        if self._uptime_s is None:  # asked before the first sample
            self._uptime_s = uptime_s
        return self._rows, self._uptime_s, self._missing
