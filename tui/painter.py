"""Drawing one row of the fleet as segments, without markup and without Rich's layout: text goes in as it is.

Every column method returns segments of exactly its width; the whole line is exactly the layout's width.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rich.segment import Segment
from rich.style import Style

from probes.judge.condition import Level
from probes.model import Health, LinkState, PortState, ServiceKind
from tui.format import age_text, duration_text, fit, short_bytes, short_watts
from tui.glyphs import WORDS
from tui.rows import SLOWED, is_lost
from tui.themes import Palette, palette

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.config import Settings
    from probes.model import Gpu
    from tui.board import GroupLine
    from tui.columns import Layout
    from tui.glyphs import Glyphs
    from tui.rows import Row

Segments = list[Segment]
_STALE_PROBES: Final = 3.5


@lru_cache(maxsize=16)
def cursor_palette(theme: str) -> Palette:
    """A theme's styles on the cursor's background."""
    base = palette(theme)
    styles: dict[str, Style] = {}
    for each in fields(base):
        style: Style = getattr(base, each.name)
        if style.reverse and base.cursor.reverse:
            style = style + Style(underline=True)
        styles[each.name] = base.cursor + style
    return replace(base, **styles)


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
        self._services_old_s = settings.intervals.services_s * _STALE_PROBES
        self._palettes = (palette(theme), cursor_palette(theme))
        self._p = self._palettes[0]
        self._now = 0.0
        self._heat = glyphs.heat
        self._draw: list[tuple[Callable[[Row, int, Segments], None], int]] = [
            (getattr(self, f"_{place.column.key}"), place.width) for place in layout.placed
        ]
        self._level_styles = tuple((p.good, p.warn, p.unknown, p.bad) for p in self._palettes)

    def row(self, row: Row, now_boot_s: float, *, cursor: bool, marked: bool) -> Segments:
        """One host as segments, exactly ``layout.width`` cells wide."""
        self._p = self._palettes[cursor]
        self._levels = self._level_styles[cursor]
        self._now = now_boot_s
        self._marked = marked
        record = row.record
        self._old = record.link.state is not LinkState.LIVE
        self._plain = self._p.old if self._old else self._p.text
        out: Segments = []
        space = Segment(" ", self._p.text)
        for draw, width in self._draw:
            if out:
                out.append(space)
            draw(row, width, out)
        return out

    def age_key(self, row: Row, now_boot_s: float) -> tuple[str, str]:
        """What of a row changes by time alone; a row is drawn again when this does."""
        return age_text(row.age_s(now_boot_s)), self._for_text(now_boot_s - row.since_boot_s)

    def group(self, line: GroupLine, *, cursor: bool) -> Segments:
        """The line above a group."""
        p, g = self._palettes[cursor], self.glyphs
        t = line.totals
        sign = g.folded if line.folded else g.unfolded
        counts = ", ".join(
            f"{count} {word}"
            for count, word in zip(reversed(t.levels), ("down", "unknown", "degraded", "fine"), strict=True)
            if count
        )
        gpus = f" {g.separator} {t.gpus} gpus, {t.busy} busy" if t.gpus else ""
        util = f", mean {t.util:.0f}% of {t.util_n}" if t.util is not None else ""
        lost = f", {t.lost} lost" if t.lost else ""
        power = f" {g.separator} {short_watts(t.power)} of {t.power_n}" if t.power is not None else ""
        width = self.layout.width
        name = f"{sign} {line.name} "
        text = f"{g.separator} {t.hosts} hosts: {counts}{gpus}{lost}{util}{power}"
        whole = fit(name + text, width, ellipsis=g.ellipsis)
        cut = min(len(name), len(whole))
        return [Segment(whole[:cut], p.group), Segment(whole[cut:], p.muted)]

    # --- one method a column; the name is the column's key ---

    def _worst(self, row: Row, width: int, out: Segments) -> None:
        p, g = self._p, self.glyphs
        state = row.record.link.state
        level = row.level
        style = self._levels[level]
        sign = g.levels[level]
        if state is LinkState.PAUSED:
            sign, style = g.paused, p.muted
        words = WORDS[state][0 if self.layout.wide else 1]
        out.append(Segment(g.mark if self._marked else " ", p.mark))
        out.append(Segment(fit(f"{sign} {words}", width - 1, ellipsis=g.ellipsis), style))

    def _host(self, row: Row, width: int, out: Segments) -> None:
        style = self._p.muted if row.record.link.state is LinkState.PAUSED else self._p.strong
        out.append(Segment(fit(row.id_text, width, ellipsis=self.glyphs.ellipsis), style))

    def _age(self, row: Row, width: int, out: Segments) -> None:
        age_s = row.age_s(self._now)
        style = self._p.muted if not self._old or age_s is None else self._p.warn
        out.append(Segment(self._known(age_text(age_s)).rjust(width), style))

    def _for_text(self, seconds: float) -> str:
        return duration_text(max(seconds, 1.0)) if self.layout.wide else age_text(seconds)

    def _for(self, row: Row, width: int, out: Segments) -> None:
        text = self._for_text(self._now - row.since_boot_s)
        style = self._p.muted if row.level == Level.FINE else self._levels[row.level]
        out.append(Segment(text.rjust(width), style))

    def _gpus(self, row: Row, width: int, out: Segments) -> None:
        sample = row.record.sample
        if sample is None or not sample.gpus:
            reason = None if sample is None else sample.missing.get("gpus")
            text = self.glyphs.unknown if sample is None else "none" if reason in (None, "unsupported") else "?" * width
            out.append(Segment(fit(text, width), self._p.muted))
            return
        gpus = sample.gpus
        shown = gpus if len(gpus) <= width else gpus[: width - 1]
        run, last = "", None
        for gpu in shown:
            sign, style = self._heat_cell(gpu)
            if style is last:
                run += sign
                continue
            if last is not None:
                out.append(Segment(run, last))
            run, last = sign, style
        if len(gpus) > width:
            run += self.glyphs.more
        out.append(Segment(run + " " * (width - min(len(gpus), width)), last))

    def _heat_cell(self, gpu: Gpu) -> tuple[str, Style]:
        util = gpu.utilization_pct
        if util is None:
            return (self.glyphs.lost, self._p.bad) if is_lost(gpu) else (self.glyphs.missing, self._p.unknown)
        heat = self._heat
        sign = heat[min(int(util * len(heat) / 100), len(heat) - 1)] if util > 0 else heat[0]
        return sign, self._p.old if self._old else self._heat_style(gpu, util)

    def _heat_style(self, gpu: Gpu, util: float) -> Style:
        p, limits, temperature = self._p, self._limits, gpu.temperature_c
        if temperature is None:
            return p.unknown
        if temperature >= limits.temperature_crit_c:
            return p.bad
        slowed = gpu.throttle_reasons and not SLOWED.isdisjoint(gpu.throttle_reasons)
        if slowed or temperature >= limits.temperature_warn_c:
            return p.warn
        return p.good if util >= 1 else p.muted

    def _util(self, row: Row, width: int, out: Segments) -> None:
        self._number(row.util, width, out)

    def _gpumem(self, row: Row, width: int, out: Segments) -> None:
        self._number(row.gpumem, width, out, self._limits.gpu_memory_warn_pct)

    def _vram(self, row: Row, width: int, out: Segments) -> None:
        if row.gpu_total is None:
            out.append(self._dash(width))
            return
        out.append(Segment(f"{short_bytes(row.gpu_used)}/{short_bytes(row.gpu_total)}".rjust(width), self._plain))

    def _temp(self, row: Row, width: int, out: Segments) -> None:
        self._number(row.temp, width, out, self._limits.temperature_warn_c, self._limits.temperature_crit_c)

    def _power(self, row: Row, width: int, out: Segments) -> None:
        if row.power is None:
            out.append(self._dash(width))
            return
        partial = ">" if row.power_n < (row.gpus or 0) else ""  # the sum of those known: at least this much
        limit = f"/{short_watts(row.power_limit) if row.power_limit else self.glyphs.unknown}" if width > 6 else ""
        out.append(Segment(f"{partial}{short_watts(row.power)}{limit}".rjust(width), self._plain))

    def _cpu(self, row: Row, width: int, out: Segments) -> None:
        self._number(row.cpu, width, out)

    def _mem(self, row: Row, width: int, out: Segments) -> None:
        self._number(row.mem, width, out, self._limits.memory_warn_pct, self._limits.memory_crit_pct)

    def _load(self, row: Row, width: int, out: Segments) -> None:
        if row.load is None:
            out.append(self._dash(width))
            return
        text = f"{row.load:.1f}" if row.load < 999.95 else f"{row.load:.0f}"
        out.append(Segment(fit(text, width, right=True), self._plain))

    def _disk(self, row: Row, width: int, out: Segments) -> None:
        self._number(row.disk, width, out, self._limits.disk_warn_pct, self._limits.disk_crit_pct)

    def _net(self, row: Row, width: int, out: Segments) -> None:
        if row.rx is None:
            out.append(self._dash(width))
            return
        out.append(Segment(f"{short_bytes(row.rx):>4} {short_bytes(row.tx):>4}".rjust(width), self._plain))

    def _services(self, row: Row, width: int, out: Segments) -> None:
        services = row.record.host.services
        if not services:
            out.append(Segment(" " * width, self._p.muted))
            return
        shown = services if len(services) <= width else services[: width - 1]
        states = row.record.services
        run, last = "", None
        for service in shown:
            state = states.get(service.name)
            sign, style = self.service_sign(state.state, state.health, service.kind) if state else (
                self.glyphs.not_probed, self._p.muted)  # fmt: skip
            if state is not None and self._now - state.at_boot_s > self._services_old_s:
                style = self._p.old
            if style is last:
                run += sign
                continue
            if last is not None:
                out.append(Segment(run, last))
            run, last = sign, style
        if len(services) > width:
            run += self.glyphs.more
        out.append(Segment(run + " " * (width - min(len(services), width)), last))

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

    def _flags(self, row: Row, width: int, out: Segments) -> None:
        flags = (
            ("L" if row.lost else "")
            + ("T" if row.slowed else "")
            + ("X" if row.xid else "")
            + ("E" if row.ecc else "")
            + ("B" if row.record.bad_lines else "")
        )
        style = self._p.old if self._old else self._p.bad if row.lost else self._p.warn
        out.append(Segment(fit(flags, width, ellipsis=self.glyphs.ellipsis), style))

    def _reason(self, row: Row, width: int, out: Segments) -> None:
        style = self._p.muted if row.level == Level.FINE else self._levels[row.level]
        out.append(Segment(fit(self.glyphs.text(row.reason), width, ellipsis=self.glyphs.ellipsis), style))

    # --- values ---

    def _number(
        self, value: float | None, width: int, out: Segments, warn: float | None = None, bad: float | None = None
    ) -> None:
        if value is None:
            out.append(self._dash(width))
            return
        style = self._plain
        if not self._old and warn is not None and value >= warn:
            style = self._p.bad if bad is not None and value >= bad else self._p.warn
        out.append(Segment(f"{value:{width}.0f}", style))

    def _dash(self, width: int) -> Segment:
        return Segment(self.glyphs.unknown.rjust(width), self._p.muted)

    def _known(self, text: str) -> str:
        return text if text.isascii() else self.glyphs.unknown
