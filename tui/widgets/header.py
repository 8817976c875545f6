"""The header: totals of the fleet, what is filtered, and the time. Sums say over how many values they are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.condition import Level
from probes.model import LinkState
from tui.format import cells, clock_text, short_watts
from tui.glyphs import WORDS
from tui.widgets.drawn import DrawnLines, Piece, joined

if TYPE_CHECKING:
    from rich.segment import Segment

    from tui.board import Totals


#: the states that are counted in the header, what must not be overlooked first
_ORDER: Final = (
    LinkState.HOST_KEY_CHANGED,
    LinkState.UNREACHABLE,
    LinkState.AUTH_FAILED,
    LinkState.AGENT_FAILED,
    LinkState.HOST_KEY_UNKNOWN,
    LinkState.STALE,
    LinkState.CONNECTING,
    LinkState.PAUSED,
)


class HeaderBar(DrawnLines):
    """Two lines at the top of every screen; one where the terminal is low."""

    def draw(self, width: int, height: int) -> list[list[Segment]]:
        """Totals and time; faults, GPUs and what is selected. With more lines: all that a tiny terminal can say."""
        totals = self.qd.board.totals
        if height > 2:
            return self._tiny(totals, width, height)
        first = joined(self._hosts(totals, width), self._time(), width, self.palette.text)
        if height < 2:
            return [first]
        return [first, joined(self._faults(totals) + self._gpus(totals), self._view(), width, self.palette.text)]

    def _hosts(self, t: Totals, width: int) -> list[Piece]:
        p = self.palette
        pieces: list[Piece] = []
        if self.qd.simulated:
            pieces.append(Piece(" SIMULATED ", p.simulated, 0))
        pieces.append(Piece("quarterdeck", p.strong, 6))
        pieces.append(
            Piece(
                f"{t.live}/{t.hosts} {'host' if t.hosts == 1 else 'hosts'} live",
                p.good if t.live == t.hosts else p.text,
                1,
            )
        )
        wide = width >= 110
        for state in _ORDER:
            words = WORDS[state]
            count = t.states.get(state, 0)
            if count:
                calm = state in (LinkState.CONNECTING, LinkState.PAUSED)
                rank = 5 if calm else 4
                pieces.append(Piece(f"{count} {words[0 if wide else 1]}", p.muted if calm else p.bad, rank))
        return pieces

    def _tiny(self, t: Totals, width: int, height: int) -> list[list[Segment]]:
        plain = self.palette.text
        lines: list[list[Piece]] = [[]]
        small = Piece("terminal too small", self.palette.warn)
        first = Piece(f"{t.live}/{t.hosts} live", self.palette.text)
        marks = [piece for piece in self._hosts(t, width) if piece.rank == 0]
        for piece in [*marks, first, *self._faults(t), *self._gpus(t), small]:
            used = sum(cells(other.text) + 2 for other in lines[-1])
            if lines[-1] and used + cells(piece.text) > width:
                lines.append([])
            lines[-1].append(piece._replace(rank=0))
        lines += [[]] * (height - len(lines))
        return [joined(line, [], width, plain) for line in lines[:height]]

    def _time(self) -> list[Piece]:
        p = self.palette
        time = clock_text(self.qd.wall_s(), utc=self.qd.utc)
        return [Piece(self.qd.glyphs.text(time), p.muted, 3)]

    def _faults(self, t: Totals) -> list[Piece]:
        p, g = self.palette, self.qd.glyphs
        styles = ((Level.DOWN, p.bad), (Level.DEGRADED, p.warn), (Level.UNKNOWN, p.unknown))
        pieces = [
            Piece(f"{g.levels[level]} {t.levels[level]} {level.name.lower()}", style, 1)
            for level, style in styles
            if t.levels[level]
        ]
        return pieces or ([Piece(f"{g.levels[0]} all fine", p.good, 1)] if t.hosts else [])

    def _gpus(self, t: Totals) -> list[Piece]:
        p = self.palette
        if not t.gpus and not t.gpus_not_live:
            return []
        pieces = [Piece(f"{t.gpus} gpus, {t.busy} busy", p.text, 4)]
        if t.lost:
            pieces.append(Piece(f"{t.lost} lost", p.bad, 2))
        if t.gpus_not_live:
            pieces.append(Piece(f"+{t.gpus_not_live} not live", p.unknown, 5))
        if t.util is not None:
            pieces.append(Piece(f"mean {t.util:.0f}% of {t.util_n}", p.text, 6))
        if t.power is not None:
            pieces.append(Piece(f"{short_watts(t.power)} of {t.power_n}", p.text, 7))
        return pieces

    def _view(self) -> list[Piece]:
        p, g, board = self.palette, self.qd.glyphs, self.qd.board
        pieces: list[Piece] = []
        if self.qd.frozen:
            pieces.append(Piece("DISPLAY FROZEN", p.alert, 0))
        if self.qd.bench_words:
            pieces.append(Piece(self.qd.glyphs.text(self.qd.bench_words), p.accent, 1))
        if board.marked:
            pieces.append(Piece(f"{len(board.marked)} marked", p.mark, 3))
        if board.faults_only:
            pieces.append(Piece("faults only", p.accent, 2))
        if board.filter is not None:
            shown = f"{board.totals.shown} of {board.totals.hosts}"
            pieces.append(Piece(g.text(f"/{board.filter.text[:60]} ({shown})"), p.accent, 1))
        if board.grouping != "none":
            pieces.append(Piece(f"by {'state' if board.grouping == 'state' else 'group'}", p.muted, 8))
        pieces.append(Piece(f"sort {board.sort}{' reversed' if board.reverse else ''}", p.muted, 9))
        return pieces


class Banner(DrawnLines):
    """One loud line about an error of our own; shown until it is dismissed."""

    def draw(self, width: int, height: int) -> list[list[Segment]]:  # noqa: ARG002 - one line whatever the height
        """The newest trouble, with how often it came."""
        p = self.palette
        hint = Piece("ctrl+x hides this, e shows the event log", p.alert, 2)
        style = p.alert
        text = self.qd.glyphs.text(self.qd.banner)
        return [[*joined([Piece(f" {text}", style, 0)], [hint], width, style)]]
