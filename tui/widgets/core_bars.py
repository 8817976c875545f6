"""CPU per core, from two cores as bars to hundreds as one block each, and memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tui.format import UNKNOWN, bytes_text, fit, pct_text, ratio_pct
from tui.widgets.gpu_cards import PERCENT_BOUNDS, of_text
from tui.widgets.lines import LinesPanel, dimmed, reason_words, rule
from tui.widgets.strip_chart import bar, buckets, strip_rows, window_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.model import Sample
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span, View

_BAR_CELL: Final = 20
_MOST_BARS: Final = 32
_BUSY: Final = (80.0, 95.0)
_LABEL: Final = 7


def load_text(sample: Sample) -> str:
    """``load 5.2 4.8 4.1`` over 1, 5 and 15 minutes."""
    loads = (sample.cpu.load1, sample.cpu.load5, sample.cpu.load15)
    return "load " + " ".join(UNKNOWN if load is None else f"{load:.1f}" for load in loads)


def core_rows(cores: Sequence[float | None], width: int, glyphs: Glyphs) -> list[Row]:
    """All cores: bars with figures while they fit in a few lines, else one block a core."""
    columns = max(width // _BAR_CELL, 1)
    if len(cores) <= _MOST_BARS and math.ceil(len(cores) / columns) <= 8:
        return _bars(cores, columns, width, glyphs)
    return _blocks(cores, width, glyphs)


def _bars(cores: Sequence[float | None], columns: int, width: int, glyphs: Glyphs) -> list[Row]:
    columns = min(columns, len(cores)) or 1
    lines = math.ceil(len(cores) / columns)
    columns = math.ceil(len(cores) / lines) if lines else 1
    cell = width // columns
    digits = len(str(len(cores) - 1))
    rows: list[Row] = []
    for line in range(lines):
        spans: list[Span] = []
        for core in range(line, len(cores), lines):
            value = cores[core]
            gauge = bar(None if value is None else value / 100, cell - digits - 7, glyphs)
            spans += [
                (f"{core:>{digits}} ", "muted"),
                (gauge, _busy(value)),
                (f"{pct_text(value):>5} ", "unknown" if value is None else _busy(value, "text")),
            ]
        rows.append(tuple(spans))
    return rows


def _busy(value: float | None, calm: str = "accent") -> str:
    if value is None:
        return "unknown"
    return calm if value < _BUSY[0] else "warn" if value < _BUSY[1] else "bad"


def _blocks(cores: Sequence[float | None], width: int, glyphs: Glyphs) -> list[Row]:
    digits = len(str(len(cores) - 1))
    label = 2 * digits + 2
    group, room = 8, max(width - label, 9)
    per_line = max(group, room * group // (group + 1) // group * group)
    for even in (16, 32, 64, 128):
        if even <= per_line < 2 * even:
            per_line = even
    rows: list[Row] = []
    for first in range(0, len(cores), per_line):
        part = cores[first : first + per_line]
        name = f"{first:>{digits}}-{first + len(part) - 1:<{digits}} "
        spans: list[Span] = [(name, "muted")]
        for at, value in enumerate(part):
            if at and at % group == 0:
                spans.append((" ", "text"))
            sign = glyphs.missing if value is None else glyphs.heat[_heat(value, len(glyphs.heat))]
            style = _busy(value)
            if spans[-1][1] == style:
                spans[-1] = (spans[-1][0] + sign, style)
            else:
                spans.append((sign, style))
        rows.append(tuple(spans))
    return rows


def _heat(value: float, steps: int) -> int:
    return min(max(math.ceil(value / 100 * steps), 1), steps) - 1


def cpu_rows(view: View, sample: Sample, width: int, height: int) -> list[Row]:
    """History of the whole CPU, then every core."""
    history = view.record.history
    points = [] if history is None else history.series("cpu_pct")
    end_s, window_s, interval_s = window_of(view)
    values = buckets(points, end_s, window_s, width - _LABEL, interval_s)
    strips = strip_rows(values, PERCENT_BOUNDS, view.glyphs, height=height, limits=_BUSY)
    rows: list[Row] = [((fit("all" if y == 0 else "", _LABEL), "muted"), *strip) for y, strip in enumerate(strips)]
    cores = sample.cpu.per_core_pct
    if cores is None:
        return [*rows, (("cores  ", "muted"), (f"{UNKNOWN} {_why(sample, 'cpu.per_core_pct')}", "unknown"))]
    return rows + core_rows(cores, width, view.glyphs)


def _why(sample: Sample, field: str) -> str:
    part, _, name = field.partition(".")
    found = next((key for key in (field, name, part) if key in sample.missing), field)
    return reason_words(sample.missing, found)


@dataclass(frozen=True, slots=True)
class _Gauge:
    """A share as a bar: its label, percent, figures, what follows where there is room, limits, why it is unknown."""

    label: str
    pct: float | None
    text: str
    tail: str
    limits: tuple[float, float]
    why: str

    def row(self, width: int, glyphs: Glyphs) -> Row:
        head: Span = (fit(self.label, _LABEL), "muted")
        if self.pct is None:
            return (head, (f"{UNKNOWN} {self.why}", "unknown"))
        style = "accent" if self.pct < self.limits[0] else "warn" if self.pct < self.limits[1] else "bad"
        figures = f" {pct_text(self.pct):>4}  {self.text}"
        if width - _LABEL - len(figures) - len(self.tail) >= 10:
            figures += self.tail
        room = min(max(width - _LABEL - len(figures), 4), 40)
        return (head, (bar(self.pct / 100, room, glyphs), style), (figures, "text" if style == "accent" else style))


def memory_rows(view: View, sample: Sample, width: int) -> list[Row]:
    """Memory and swap as bars with figures."""
    memory, limits = sample.memory, view.thresholds
    gauge = _Gauge(
        "memory",
        ratio_pct(memory.used_bytes, memory.total_bytes),
        of_text(memory.used_bytes, memory.total_bytes),
        f"  {bytes_text(memory.available_bytes)} available",
        (limits.memory_warn_pct, limits.memory_crit_pct),
        _why(sample, "memory.used_bytes"),
    )
    rows = [gauge.row(width, view.glyphs)]
    if memory.swap_total_bytes == 0:
        return [*rows, ((fit("swap", _LABEL), "muted"), ("none", "text"))]
    swap = _Gauge(
        "swap",
        ratio_pct(memory.swap_used_bytes, memory.swap_total_bytes),
        of_text(memory.swap_used_bytes, memory.swap_total_bytes),
        "",
        (math.inf, math.inf),
        _why(sample, "memory.swap_total_bytes"),
    )
    return [*rows, swap.row(width, view.glyphs)]


class CpuPanel(LinesPanel):
    """CPU and memory; ``history_lines`` is the height of the CPU's history, many where there is no GPU to show."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.history_lines = 2

    def build(self, width: int) -> list[Row]:
        """Title, history, cores, memory."""
        view = self.view
        if view is None or view.record.sample is None:
            return []
        sample = view.record.sample
        pct = sample.cpu.utilization_pct
        shown = pct_text(pct) if pct is not None else f"{UNKNOWN} {_why(sample, 'cpu.utilization_pct')}"
        left: list[Span] = [(" CPU ", "strong"), (shown, "unknown" if pct is None else "text")]
        left.append((f" of {sample.cpu.count} core{'' if sample.cpu.count == 1 else 's'}", "muted"))
        title = rule(left, width, view.glyphs, [(load_text(sample), "muted")])
        body = cpu_rows(view, sample, width, self.history_lines) + memory_rows(view, sample, width)
        return [title, *(body if view.current else dimmed(body))]
