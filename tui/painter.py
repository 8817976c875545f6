"""Drawing one row of the fleet as segments, without markup and without Rich's layout: text goes in as it is.

Every column method returns segments of exactly its width; the whole line is exactly the layout's width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.segment import Segment

from probes.judge.condition import Level
from probes.model import Health, LinkState, PortState, ServiceKind
from probes.text import clean
from tui.format import age_text, duration_text, fit, recent_text, short_bytes, short_watts
from tui.glyphs import WORDS
from tui.rows import SLOWED, is_lost
from tui.themes import Palette, cursor_palette, palette

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.style import Style

    from probes.config import Settings
    from probes.model import GpuBrief
    from tui.board import GroupLine
    from tui.columns import Layout
    from tui.glyphs import Glyphs
    from tui.rows import Row

Segments = list[Segment]
_STALE_PROBES: Final = 3.5


def group_words(line: GroupLine, g: Glyphs) -> str:
    """The totals of a group."""
    t = line.totals
    counts = ", ".join(
        f"{count} {word}"
        for count, word in zip(reversed(t.levels), ("down", "unknown", "degraded", "fine"), strict=True)
        if count
    )
    parts = [f"{t.hosts} {'host' if t.hosts == 1 else 'hosts'}: {counts}"]
    if t.gpus:
        lost = f", {t.lost} lost" if t.lost else ""
        util = f", mean {t.util:.0f}% of {t.util_n}" if t.util is not None else ""
        parts.append(f"{t.gpus} gpus, {t.busy} busy{lost}{util}")
    if t.power is not None:
        parts.append(f"{short_watts(t.power)} of {t.power_n}")
    return f" {g.separator} ".join(parts)


def _showing_on_spaces(styles: Palette) -> frozenset[int]:
    """Which styles (by identity) change how a space looks."""
    every: list[Style] = [getattr(styles, each) for each in styles.__struct_fields__]
    return frozenset(
        id(style) for style in every if style.reverse or style.underline or style.bgcolor != every[0].bgcolor
    )


class Runs:
    """Collects text; neighbours of one style become one segment."""

    __slots__ = ("_run", "_segments", "_style")

    def __init__(self) -> None:
        self._segments: Segments = []
        self._run = ""
        self._style: Style | None = None

    def add(self, text: str, style: Style) -> None:
        """Append text in a style."""
        if style is self._style:
            self._run += text
        else:
            if self._run:
                self._segments.append(Segment(self._run, self._style))
            self._run, self._style = text, style

    def put(self, text: str, style: Style, plain: Style, spread: frozenset[int]) -> None:
        """``add``, but spaces at the ends stay plain where the style would show on them (reverse video)."""
        if id(style) not in spread:
            self.add(text, style)
            return
        inner = text.strip(" ")
        before = len(text) - len(text.lstrip(" "))
        if before and inner:
            self.add(" " * before, plain)
        if inner:
            self.add(inner, style)
        after = len(text) - len(inner) - (before if inner else 0)
        if after:
            self.add(" " * after, plain)

    def gap(self, plain: Style, spread: frozenset[int]) -> None:
        """Append a space: in the style before it, unless that one would show on a space."""
        self.add(" ", plain if self._style is None or id(self._style) in spread else self._style)

    def done(self) -> Segments:
        """The segments."""
        if self._run:
            self._segments.append(Segment(self._run, self._style))
            self._run = ""
        return self._segments


class Painter:
    """Draws rows for one theme, one table of signs and one layout.

    Args:
        theme: name of the theme.
        glyphs: the table of signs.
        settings: thresholds that colour values, intervals that age service probes.
        layout: the columns.
    """

    def __init__(self, theme: str, glyphs: Glyphs, settings: Settings, layout: Layout) -> None:
        self.theme = theme
        self.layout = layout
        self.glyphs = glyphs
        self.settings = settings
        self._limits = settings.thresholds
        self._stale_s = settings.intervals.stale_s
        self._services_old_s = settings.intervals.services_s * _STALE_PROBES
        self._palettes = (palette(theme), cursor_palette(theme))
        self._p = self._palettes[0]
        self._now = 0.0
        self._heat = glyphs.heat
        self._draw: list[tuple[Callable[[Row, int, Runs], None], int]] = [
            (getattr(self, f"_{place.column.key}"), place.width) for place in layout.placed
        ]
        self._spreads = tuple(_showing_on_spaces(p) for p in self._palettes)
        self._level_styles = tuple((p.good, p.warn, p.unknown, p.bad) for p in self._palettes)

    def row(self, row: Row, now_boot_s: float, *, cursor: bool, marked: bool) -> Segments:
        """One host as segments, exactly ``layout.width`` cells wide."""
        self._p = self._palettes[cursor]
        self._levels = self._level_styles[cursor]
        self._now = now_boot_s
        self._marked = marked
        age_s = row.age_s(now_boot_s)
        self._old = row.record.link.state is not LinkState.LIVE or age_s is None or age_s > self._stale_s
        self._plain = self._p.old if self._old else self._p.text
        out = Runs()
        spread, plain = self._spreads[cursor], self._p.text
        self._spread = spread
        first = True
        for draw, width in self._draw:
            if first:
                first = False
            else:
                out.gap(plain, spread)
            draw(row, width, out)
        return out.done()

    def age_key(self, row: Row, now_boot_s: float) -> tuple[str, str]:
        """What of a row changes by time alone; a row is drawn again when this does."""
        return recent_text(row.age_s(now_boot_s)), self._for_text(row, now_boot_s)

    def group(self, line: GroupLine, *, cursor: bool) -> Segments:
        """The line above a group."""
        p, g = self._palettes[cursor], self.glyphs
        width = self.layout.width
        name = f"{g.folded if line.folded else g.unfolded} {g.text(clean(line.name))} "
        text = f"{g.separator} {group_words(line, g)}"
        whole = fit(name + text, width, ellipsis=g.ellipsis)
        cut = min(len(name), len(whole))
        return [Segment(whole[:cut], p.group), Segment(whole[cut:], p.muted)]

    # --- one method a column; the name is the column's key ---

    def _worst(self, row: Row, width: int, out: Runs) -> None:
        p, g = self._p, self.glyphs
        state = row.record.link.state
        level = row.level
        style = self._levels[level]
        sign = g.levels[level]
        if state is LinkState.PAUSED:
            sign, style = g.paused, p.muted
        words = WORDS[state][0 if self.layout.wide else 1]
        out.add(g.mark if self._marked else " ", p.mark)
        self._put(out, fit(f"{sign} {words}", width - 1, ellipsis=g.ellipsis), style)

    def _host(self, row: Row, width: int, out: Runs) -> None:
        style = self._p.muted if row.record.link.state is LinkState.PAUSED else self._p.strong
        out.add(fit(self.glyphs.text(row.id_text), width, ellipsis=self.glyphs.ellipsis), style)

    def _age(self, row: Row, width: int, out: Runs) -> None:
        age_s = row.age_s(self._now)
        style = self._p.muted if not self._old or age_s is None else self._p.warn
        out.add(self._known(recent_text(age_s)).rjust(width), style)

    def _for_text(self, row: Row, now_boot_s: float) -> str:
        seconds = now_boot_s - row.since_boot_s
        if row.level == Level.FINE or not self.layout.wide:
            return age_text(seconds)
        return duration_text(float(int(max(seconds, 0.0)))).replace(".0s", "s")

    def _for(self, row: Row, width: int, out: Runs) -> None:
        text = self._for_text(row, self._now)
        style = self._p.muted if row.level == Level.FINE else self._levels[row.level]
        self._put(out, text.rjust(width), style)

    def _gpus(self, row: Row, width: int, out: Runs) -> None:
        sample = row.record.brief
        if sample is None or not sample.gpus:
            reason = None if sample is None else sample.missing.get("gpus")
            text = self.glyphs.unknown if sample is None else "none" if reason in (None, "unsupported") else "?" * width
            out.add(fit(text, width), self._p.muted)
            return
        gpus = sample.gpus
        for gpu in gpus if len(gpus) <= width else gpus[: width - 1]:
            out.add(*self._heat_cell(gpu))
        self._rest(len(gpus), width, out)

    def _heat_cell(self, gpu: GpuBrief) -> tuple[str, Style]:
        util = gpu.utilization_pct
        if util is None:
            return (self.glyphs.lost, self._p.bad) if is_lost(gpu) else (self.glyphs.missing, self._p.unknown)
        heat = self._heat
        sign = heat[min(int(util * len(heat) / 100), len(heat) - 1)] if util > 0 else heat[0]
        return sign, self._p.old if self._old else self._heat_style(gpu, util)

    def _heat_style(self, gpu: GpuBrief, util: float) -> Style:
        p, limits, temperature = self._p, self._limits, gpu.temperature_c
        if temperature is None:
            return p.unknown
        if temperature >= limits.temperature_crit_c:
            return p.heat_bad
        slowed = gpu.throttle_reasons and not SLOWED.isdisjoint(gpu.throttle_reasons)
        if slowed or temperature >= limits.temperature_warn_c:
            return p.heat_warn
        return p.good if util >= 1 else p.muted

    def _util(self, row: Row, width: int, out: Runs) -> None:
        self._number(row.util, width, out, partial=row.util_n < (row.gpus or 0))

    def _gpumem(self, row: Row, width: int, out: Runs) -> None:
        self._number(row.gpumem, width, out, self._limits.gpu_memory_warn_pct, partial=row.mem_n < (row.gpus or 0))

    def _vram(self, row: Row, width: int, out: Runs) -> None:
        if row.gpu_total is None:
            self._dash(width, out)
            return
        out.add(f"{short_bytes(row.gpu_used)}/{short_bytes(row.gpu_total)}".rjust(width), self._plain)

    def _temp(self, row: Row, width: int, out: Runs) -> None:
        self._number(row.temp, width, out, self._limits.temperature_warn_c, self._limits.temperature_crit_c)

    def _power(self, row: Row, width: int, out: Runs) -> None:
        if row.power is None:
            self._dash(width, out)
            return
        partial = ">" if row.power_n < (row.gpus or 0) else ""  # the sum of those known: at least this much
        limit = f"/{short_watts(row.power_limit) if row.power_limit else self.glyphs.unknown}" if width > 6 else ""
        out.add(f"{partial}{short_watts(row.power)}{limit}".rjust(width), self._plain)

    def _cpu(self, row: Row, width: int, out: Runs) -> None:
        self._number(row.cpu, width, out)

    def _mem(self, row: Row, width: int, out: Runs) -> None:
        self._number(row.mem, width, out, self._limits.memory_warn_pct, self._limits.memory_crit_pct)

    def _load(self, row: Row, width: int, out: Runs) -> None:
        if row.load is None:
            self._dash(width, out)
            return
        text = f"{row.load:.1f}" if row.load < 999.95 else f"{row.load:.0f}"
        out.add(fit(text, width, right=True), self._plain)

    def _disk(self, row: Row, width: int, out: Runs) -> None:
        self._number(row.disk, width, out, self._limits.disk_warn_pct, self._limits.disk_crit_pct)

    def _net(self, row: Row, width: int, out: Runs) -> None:
        if row.rx is None:
            self._dash(width, out)
            return
        out.add(f"{short_bytes(row.rx):>4} {short_bytes(row.tx):>4}".rjust(width), self._plain)

    def _services(self, row: Row, width: int, out: Runs) -> None:
        services = row.record.host.services
        if not services:
            out.add(" " * width, self._p.muted)
            return
        states = row.record.services
        for service in services if len(services) <= width else services[: width - 1]:
            state = states.get(service.name)
            if state is None:
                out.add(self.glyphs.not_probed, self._p.muted)
                continue
            sign, style = self.service_sign(state.state, state.health, service.kind)
            out.add(sign, self._p.old if self._now - state.at_boot_s > self._services_old_s else style)
        self._rest(len(services), width, out)

    def _rest(self, count: int, width: int, out: Runs) -> None:
        """Fill a strip of ``count`` signs: with spaces, or with the sign for "there are more"."""
        if count > width:
            out.add(self.glyphs.more, self._p.accent)
        elif count < width:
            out.add(" " * (width - count), self._p.text)

    def service_sign(self, state: PortState, health: Health, kind: ServiceKind) -> tuple[str, Style]:
        """The sign and the style of one service."""
        p, g = self._p, self.glyphs
        if state is PortState.OPEN:
            if health is Health.FAILING:
                return g.failing, p.bad
            if health is Health.UNKNOWN and kind not in (ServiceKind.TCP, ServiceKind.SSH):
                return g.open_unknown, p.unknown
            return g.open, p.good
        if state is PortState.NOT_PROBED:
            return g.not_probed, p.muted
        return g.ports[state], p.bad

    def _flags(self, row: Row, width: int, out: Runs) -> None:
        flags = (
            ("L" if row.lost else "")
            + ("T" if row.slowed else "")
            + ("X" if row.xid else "")
            + ("E" if row.ecc else "")
            + ("B" if row.record.bad_lines else "")
        )
        style = self._p.old if self._old else self._p.bad if row.lost else self._p.warn
        self._put(out, fit(flags, width, ellipsis=self.glyphs.ellipsis), style)

    def _reason(self, row: Row, width: int, out: Runs) -> None:
        style = self._p.muted if row.level == Level.FINE else self._levels[row.level]
        self._put(out, fit(self.glyphs.text(row.reason), width, ellipsis=self.glyphs.ellipsis), style)

    # --- values ---

    def _number(
        self,
        value: float | None,
        width: int,
        out: Runs,
        warn: float | None = None,
        bad: float | None = None,
        *,
        partial: bool = False,
    ) -> None:
        """A number with its colour; ``partial``: it is over the known GPUs only, and says so with a ``~``."""
        if value is None:
            self._dash(width, out)
            return
        style = self._plain
        if not self._old and warn is not None and value >= warn:
            style = self._p.bad if bad is not None and value >= bad else self._p.warn
        self._put(out, f"~{value:.0f}".rjust(width) if partial else f"{value:{width}.0f}", style)

    def _put(self, out: Runs, text: str, style: Style) -> None:
        out.put(text, style, self._p.text, self._spread)

    def _dash(self, width: int, out: Runs) -> None:
        out.add(self.glyphs.unknown.rjust(width), self._p.muted)

    def _known(self, text: str) -> str:
        return text if text.isascii() else self.glyphs.unknown
