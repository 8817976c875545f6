"""What is wrong with the host under the cursor, unabridged: the row above has no room for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.judge.condition import Level
from probes.text import clean
from tui.format import cells, duration_text, fit
from tui.painter import group_words
from tui.widgets.drawn import DrawnLines, Piece, joined

if TYPE_CHECKING:
    from rich.segment import Segment

    from tui.rows import Row
    from tui.widgets.fleet_grid import FleetGrid


class DetailLines(DrawnLines):
    """The selected host: address, agent mode, all reasons, what to do, when it is tried again."""

    GROUND = "panel"

    def __init__(self, grid: FleetGrid) -> None:
        super().__init__()
        self._grid = grid

    def draw(self, width: int, height: int) -> list[list[Segment]]:
        """The text, wrapped into the lines there are."""
        p, g = self.palette, self.qd.glyphs
        row = self._grid.selected_row
        if row is None:
            group = self._grid.selected_group
            text = group_words(group, g) if group is not None else ""
            return [
                joined([Piece(fit(line, width, ellipsis=g.ellipsis), p.muted)], [], width, p.text)
                for line in _wrapped(text, width, width, height)
            ]
        style = {Level.DOWN: p.bad, Level.DEGRADED: p.warn, Level.UNKNOWN: p.unknown}.get(row.level, p.muted)
        head = g.text(f"{row.id_text} ({clean(row.record.host.address)})")
        head = fit(head, min(cells(head), width // 2), ellipsis=g.ellipsis)
        lines = _wrapped(g.text(self._words(row)), max(width - cells(head) - 2, 1), width, height)
        out: list[list[Segment]] = []
        for at, line in enumerate(lines):
            room = width - cells(head) - 2 if at == 0 else width
            text = Piece(fit(line, max(room, 0), ellipsis=g.ellipsis), style)
            out.append(joined([Piece(head, p.strong), text] if at == 0 else [text], [], width, p.text))
        return out

    def _words(self, row: Row) -> str:
        record, link = row.record, row.record.link
        now = self.qd.boot_s()
        parts: list[str] = []
        if row.level == Level.FINE:
            hello = record.hello
            about = (hello.mode, hello.os, hello.driver and f"driver {hello.driver}") if hello else ()
            parts.append("fine; " + ", ".join(clean(text) for text in about if text))
        else:
            words = link.state.value.replace("_", " ")
            parts.append(words if not row.reason else f"{words}: {row.reason}" if not row.live else row.reason)
        if link.next_step:
            parts.append(clean(link.next_step))
        if link.retry_at_boot_s is not None and link.retry_at_boot_s > now:
            parts.append(f"next try in {duration_text(float(int(link.retry_at_boot_s - now) + 1)).replace('.0s', 's')}")
        if record.note:
            parts.append(f"agent: {clean(record.note)}")
        if record.bad_lines:
            parts.append(f"{record.bad_lines} unusable lines, the last: {clean(record.bad_text)}")
        return "; ".join(parts)


def _wrapped(text: str, first: int, width: int, height: int) -> list[str]:
    """Words in lines of at most ``first``, then ``width`` cells; the last line keeps what is too much."""
    lines = [""]
    for word in text.split(" "):
        room = first if len(lines) == 1 else width
        trial = f"{lines[-1]} {word}" if lines[-1] else word
        if cells(trial) <= room or len(lines) == height:
            lines[-1] = trial
        else:
            lines.append(word)
    return lines + [""] * (height - len(lines))
