"""The fleet as lines: rows kept fresh, filtered, grouped and sorted, without drawing anything.

``take`` notes what changed, ``work`` condenses it in small slices, and a row that is drawn is condensed before it is;
``arrange`` rebuilds the order, at a slower pace, so that nothing moves under the eye.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from probes.judge.condition import Level
from tui import columns
from tui.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from probes.config import Settings
    from probes.fleet import Fleet
    from probes.model import LinkState
    from tui.filter import Filter

#: the slices of condensing come this often, and each changed host has its turn within ``CYCLE_S``
BEAT_S: Final = 0.05
CYCLE_S: Final = 2.5
#: hosts whose link changed that are condensed in one go at most: about 4 ms
AT_ONCE: Final = 150
#: hosts that say nothing are judged anew this often, so that age turns into a state
SWEEP_S: Final = 5.0
GROUPINGS: Final = ("none", "group", "folded", "state")
UNGROUPED: Final = "(no group)"


class Totals(Struct):
    """Sums over hosts. Sums over GPUs are over GPUs of *live* hosts, each with how many are known."""

    hosts: int = 0
    shown: int = 0
    live: int = 0
    levels: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    states: dict[LinkState, int] = field(default_factory=dict)
    gpus: int = 0
    gpus_not_live: int = 0
    busy: int = 0
    lost: int = 0
    util_sum: float = 0.0
    util_n: int = 0
    power_w: float = 0.0
    power_n: int = 0

    def add(self, row: Row) -> None:
        """Count one host."""
        self.hosts += 1
        self.levels[row.level] += 1
        state = row.record.link.state
        self.states[state] = self.states.get(state, 0) + 1
        if not row.live:
            self.gpus_not_live += row.gpus or 0
            return
        self.live += 1
        self.gpus += row.gpus or 0
        self.busy += row.busy
        self.lost += row.lost
        if row.util is not None:
            self.util_sum += row.util * row.util_n
            self.util_n += row.util_n
        if row.power is not None:
            self.power_w += row.power
            self.power_n += row.power_n

    @property
    def util(self) -> float | None:
        """Mean utilisation over the GPUs whose utilisation is known."""
        return self.util_sum / self.util_n if self.util_n else None

    @property
    def power(self) -> float | None:
        """Sum of the power of the GPUs whose power is known."""
        return self.power_w if self.power_n else None


class GroupLine(Struct):
    """The line above the hosts of a group."""

    name: str
    totals: Totals
    folded: bool


Line = Row | GroupLine


class Board:
    """All rows, and the lines to show in their order."""

    def __init__(self, fleet: Fleet, settings: Settings, now_boot_s: float) -> None:
        self.fleet = fleet
        self.settings = settings
        self.rows: dict[str, Row] = {}
        self.lines: list[Line] = []
        self.totals = Totals()
        self.marked: set[str] = set()
        self.folded: set[str] = set()
        self.filter: Filter[Row] | None = None
        self.faults_only = False
        self.sort = "worst"
        self.reverse = False
        self.grouping = "none"
        self.max_gpus = 0
        self.max_services = 0
        self.max_id = 4
        self._at: dict[str, int] = {}
        self._groups_at: dict[str, int] = {}
        self._pending: dict[str, None] = {}
        self._layout_version = -1
        self._swept_at = now_boot_s
        self._sweep: list[str] = []

    # --- keeping rows fresh ---

    def take(self, dirty: Iterable[str], now_boot_s: float) -> None:
        """Note the hosts that changed; condense at once those whose link changed.

        Args:
            dirty: ids of changed hosts.
            now_boot_s: now on the boot clock.
        """
        if self._layout_version != self.fleet.layout_version:
            self._take_hosts()
        pending, rows = self._pending, self.rows
        room = AT_ONCE
        for host_id in dirty:
            row = rows.get(host_id)
            if row is None:
                continue
            pending[host_id] = None
            if row.link is not row.record.link and room > 0:
                room -= 1
                self.condense(row, now_boot_s)

    def work(self, now_boot_s: float, *, everything: bool = False) -> None:
        """Condense a slice of what waits; a changed host waits about ``CYCLE_S`` at most."""
        if self._layout_version != self.fleet.layout_version:
            self._take_hosts()
        self._add_swept(now_boot_s)
        pending, rows = self._pending, self.rows
        room = len(pending) if everything else max(int(len(rows) * BEAT_S / CYCLE_S), 10)
        while pending and room > 0:
            room -= 1
            row = rows.get(next(iter(pending)))
            if row is None:
                del pending[next(iter(pending))]
            else:
                self.condense(row, now_boot_s)

    def condense(self, row: Row, now_boot_s: float) -> None:
        """Bring one row up to date."""
        self._pending.pop(row.host_id, None)
        row.refresh(self.settings, now_boot_s)
        self._measure(row)

    def waits(self, host_id: str) -> bool:
        """Whether a host changed and its row does not know yet."""
        return host_id in self._pending

    def _add_swept(self, now_boot_s: float) -> None:
        """Put a share of all hosts into the queue, so that each comes round every ``SWEEP_S``."""
        share = int(len(self.rows) * (now_boot_s - self._swept_at) / SWEEP_S)
        if share < 1:
            return
        self._swept_at = now_boot_s
        for _ in range(min(share, len(self.rows))):
            if not self._sweep:
                self._sweep = list(self.rows)
            self._pending.setdefault(self._sweep.pop())

    def _take_hosts(self) -> None:
        self._layout_version = self.fleet.layout_version
        rows: dict[str, Row] = {}
        for index, (host_id, record) in enumerate(self.fleet.hosts.items()):
            row = self.rows.get(host_id)
            if row is None or row.record is not record:
                row = Row(record, index)
                self._pending[host_id] = None
            row.index = index
            rows[host_id] = row
        self.rows = rows
        self.marked &= rows.keys()
        self.max_gpus = 0
        self.max_services = max((len(row.record.host.services) for row in rows.values()), default=0)
        self.max_id = max((columns.cells(row.id_text) for row in rows.values()), default=4)
        for order, row in enumerate(sorted(rows.values(), key=lambda row: row.natural)):
            row.order = order
            self._measure(row)

    def _measure(self, row: Row) -> None:
        self.max_gpus = max(self.max_gpus, row.gpus or 0)

    # --- order ---

    def arrange(self, now_boot_s: float) -> bool:
        """Filter, group and sort anew; returns whether the lines or their order changed."""
        totals = Totals()
        shown: list[Row] = []
        faults_only, wanted = self.faults_only, self.filter
        for row in self.rows.values():
            totals.add(row)
            if faults_only and row.level == Level.FINE:
                continue
            if wanted is not None and not wanted.matches(row, now_boot_s):
                continue
            shown.append(row)
        totals.shown = len(shown)
        self.totals = totals
        columns.sort_rows(shown, self.sort, reverse=self.reverse, now_boot_s=now_boot_s)
        lines = self._grouped(shown) if self.grouping != "none" else list[Line](shown)
        before, self.lines = self.lines, lines
        self._at = {line.host_id: at for at, line in enumerate(lines) if isinstance(line, Row)}
        self._groups_at = {line.name: at for at, line in enumerate(lines) if isinstance(line, GroupLine)}
        return len(before) != len(lines) or any(
            old is not new and not _same_group(old, new) for old, new in zip(before, lines, strict=True)
        )

    def _grouped(self, shown: list[Row]) -> list[Line]:
        groups: dict[str, list[Row]] = {}
        for row in shown:
            groups.setdefault(self.group_of(row), []).append(row)
        names = list(groups)  # in the order of their first, so "worst first" holds for groups too
        lines: list[Line] = []
        for name in names:
            totals = Totals()
            for row in groups[name]:
                totals.add(row)
            folded = name in self.folded
            lines.append(GroupLine(name, totals, folded))
            if not folded:
                lines.extend(groups[name])
        return lines

    def group_of(self, row: Row) -> str:
        """The group a host stands in: its first, or its state."""
        if self.grouping == "state":
            return row.record.link.state.value.replace("_", " ")
        groups = row.record.host.groups
        return groups[0] if groups else UNGROUPED

    def next_grouping(self) -> None:
        """None, by group, by group folded, by state."""
        self.set_grouping(GROUPINGS[(GROUPINGS.index(self.grouping) + 1) % len(GROUPINGS)])

    def set_grouping(self, grouping: str) -> None:
        """One of ``GROUPINGS``."""
        self.grouping = grouping
        self.folded = {self.group_of(row) for row in self.rows.values()} if self.grouping == "folded" else set()

    def toggle_fold(self, name: str) -> None:
        """Fold or unfold one group."""
        self.folded ^= {name}

    # --- where things are ---

    def at(self, host_id: str | None, group: str | None = None) -> int | None:
        """The line of a host, or of a group."""
        if group is not None:
            return self._groups_at.get(group)
        return None if host_id is None else self._at.get(host_id)

    def chosen(self, host_id: str | None) -> list[str]:
        """The marked hosts, else this one."""
        if self.marked:
            return [row.host_id for row in self.rows.values() if row.host_id in self.marked]
        return [host_id] if host_id is not None and host_id in self.rows else []


def _same_group(old: Line, new: Line) -> bool:
    return isinstance(old, GroupLine) and isinstance(new, GroupLine) and old.name == new.name
