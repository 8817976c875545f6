"""The latency plot that grows, and the GPU strip on the same time axis; drawn by hand, cheap at four times a second.

Points are condensed as they arrive: columns of time that double in width when they run out, and in each of them which
sixteenths of an octave of response time occurred. What is kept is bounded whatever the run; what is drawn is off by
2 % at most.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tui.bench_words import latency_text
from tui.format import pct_text
from tui.widgets.lines import clip, rule
from tui.widgets.strip_chart import blocks, buckets, runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.result import GpuReading
    from benchmarks.wire import Point
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span

#: columns of time that are kept
COLUMNS: Final = 1024
_FIRST_S: Final = 0.01
_OCTAVE: Final = 16
_FLOOR_S: Final = 1e-6
#: where the run's time axis may end
_ENDS_S: Final = (
    5, 10, 15, 20, 30, 40, 60, 80, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 2700, 3600, 5400, 7200,
    14400, 43200, 86400,
)  # fmt: skip
#: cells of the labels at the left
MARGIN: Final = 9
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
#: the expected time between two GPU samples
_GPU_S: Final = 1.0


class Scatter:
    """The points of one run, condensed."""

    def __init__(self) -> None:
        self.n = self.failed = 0
        #: the longest response of a request that was fine, and the last moment of all
        self.most_s = self.last_s = self.most_failed_s = 0.0
        self._width_s = _FIRST_S
        self._ok = [0] * COLUMNS
        self._bad = [0] * COLUMNS

    def add(self, points: Sequence[Point]) -> None:
        """Take points; their order does not matter."""
        for point in points:
            at_s, response_s = max(point.at_s, 0.0), max(point.response_s, _FLOOR_S)
            while at_s >= self._width_s * COLUMNS:
                self._halve()
            marks = self._ok if point.ok else self._bad
            marks[int(at_s / self._width_s)] |= 1 << _level(response_s)
            self.n += 1
            self.last_s = max(self.last_s, at_s)
            if point.ok:
                self.most_s = max(self.most_s, response_s)
            else:
                self.failed += 1
                self.most_failed_s = max(self.most_failed_s, response_s)

    def _halve(self) -> None:
        """Columns twice as wide."""
        half = COLUMNS // 2
        for marks in (self._ok, self._bad):
            marks[:half] = [marks[2 * at] | marks[2 * at + 1] for at in range(half)]
            marks[half:] = [0] * (COLUMNS - half)
        self._width_s *= 2

    def columns(self, count: int, end_s: float, *, ok: bool) -> list[int]:
        """``count`` columns up to ``end_s``, each the set of its levels as bits (see ``value_of``)."""
        found = [0] * count
        for at, mark in enumerate(self._ok if ok else self._bad):
            if mark:
                found[min(int((at + 0.5) * self._width_s / end_s * count), count - 1)] |= mark
        return found


def _level(response_s: float) -> int:
    return max(round(math.log2(response_s / _FLOOR_S) * _OCTAVE), 0)


def value_of(level: int) -> float:
    """The response time that a level stands for, in seconds."""
    return _FLOOR_S * 2 ** (level / _OCTAVE)


def time_end(seconds: float) -> float:
    """Where the run's time axis ends: the next of a few round numbers."""
    return float(next((end for end in _ENDS_S if seconds <= end), 86400 * math.ceil(seconds / 86400)))


def nice_bound(most: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 5, 10) if most <= step * power * 1.0001)


def plot_rows(scatter: Scatter, end_s: float, width: int, height: int, glyphs: Glyphs) -> list[Row]:
    """``height`` rows of dots with labels at the left; failures are marked, at the top where they took longer.

    Args:
        scatter: what to draw.
        end_s: where the time axis ends.
        width: cells, labels included.
        height: rows.
        glyphs: without Unicode a dot is an ``o``.
    """
    columns = width - MARGIN
    if columns < 8 or height < 2:
        return []
    top = nice_bound(scatter.most_s or scatter.most_failed_s)
    ascii_only = glyphs.ellipsis == "~"
    cells = [[0] * columns for _ in range(height)]
    sparse = scatter.n <= columns  # a lone dot is hard to see: two by two
    for x, y in _places(scatter.columns(columns * 2, end_s, ok=True), top, height * 4):
        for dot_y in (y, min(y + 1, height * 4 - 1)) if sparse else (y,):
            dots = _DOTS[dot_y % 4]
            cells[dot_y // 4][x // 2] |= dots[0] | dots[1] if sparse else dots[x % 2]
    failed = {(y, x) for x, y in _places(scatter.columns(columns, end_s, ok=False), top, height)}
    rows: list[Row] = []
    for y, line in enumerate(cells):
        text = [("o" if ascii_only else chr(0x2800 + bits)) if bits else " " for bits in line]
        styles = ["accent"] * columns
        for x in (x for row, x in failed if row == y):
            text[x], styles[x] = glyphs.levels[3], "bad"
        rows.append((_label(y, height, top, glyphs), *runs("".join(text), styles)))
    return rows


def _places(columns: Sequence[int], top: float, height: int) -> Iterator[tuple[int, int]]:
    """Column and line of everything that is marked; what is above the top is in the first line."""
    lines: dict[int, int] = {}
    for x, mark in enumerate(columns):
        seen = -1
        rest = mark
        while rest:
            lowest = rest & -rest
            rest ^= lowest
            y = lines.get(lowest)
            if y is None:
                share = 1 - value_of(lowest.bit_length() - 1) / top
                y = lines[lowest] = max(min(int(share * height), height - 1), 0)
            if y != seen:
                seen = y
                yield x, y


def _label(y: int, height: int, top: float, glyphs: Glyphs) -> Span:
    shown = {0: latency_text(top), height // 2: latency_text(top / 2), height - 1: "0"}
    if height < 5:
        del shown[height // 2]
        shown |= {0: latency_text(top), height - 1: "0"}
    return (f"{shown.get(y, ''):>{MARGIN - 1}}{glyphs.bar}", "muted")


def time_row(end_s: float, width: int, glyphs: Glyphs) -> Row:
    """The time axis: its start, middle and end."""
    columns = max(width - MARGIN, 0)
    middle, end = _seconds(end_s / 2), _seconds(end_s)
    text = f"{'0s':<{columns}}"
    at = columns // 2 - len(middle) // 2
    if at > 3 and at + len(middle) + len(end) < columns:
        text = text[:at] + middle + text[at + len(middle) :]
        text = text[: columns - len(end)] + end
    return ((" " * (MARGIN - 1) + glyphs.bar, "muted"), (text[:columns], "muted"))


def _seconds(seconds: float) -> str:
    return f"{seconds:g}s" if seconds < 120 else f"{seconds / 60:g}m" if seconds < 7200 else f"{seconds / 3600:g}h"


def title_row(scatter: Scatter, left_out: int, width: int, glyphs: Glyphs) -> Row:
    """What the plot shows, and what not."""
    ok = "o" if glyphs.ellipsis == "~" else "⠶"
    spans: list[Span] = [(" response time over run time ", "strong"), (f" {ok} ", "accent"), ("ok", "text")]
    if scatter.failed:
        longer = " (at the top: off the scale)" if scatter.most_failed_s > nice_bound(scatter.most_s) else ""
        spans += [(f"  {glyphs.levels[3]} ", "bad"), (f"{scatter.failed} failed{longer}", "text")]
    if left_out:
        spans.append((f"  {left_out} points not drawn", "warn"))
    return rule(clip(spans, width), width, glyphs)


def gpu_rows(
    readings: Sequence[GpuReading],
    t0_ns: int,
    end_s: float,
    width: int,
    glyphs: Glyphs,
    *,
    why: str,
    most: int = 2,
    height: int = 1,
    now: bool = True,
) -> list[Row]:
    """The GPUs' utilisation between 0 and 100 % under the plot, on its time axis; the busiest first.

    Args:
        readings: of the run, in any order of GPUs, each GPU's oldest first.
        t0_ns: the zero of the run's time axis.
        end_s: where the axis ends.
        width: cells, labels included.
        glyphs: the signs.
        why: said where there is no reading.
        most: GPUs that are drawn.
        height: rows a GPU takes.
        now: the last reading is from now.
    """
    by_gpu: dict[int, list[tuple[float, float | None]]] = {}
    for one in readings:
        if one.at_ns < t0_ns:
            continue  # of a run before this one
        by_gpu.setdefault(one.index, []).append(((one.at_ns - t0_ns) / 1e9, one.utilization_pct))
    known = {index: [v for _, v in points if v is not None] for index, points in by_gpu.items()}
    if not any(known.values()):
        reason = why if not by_gpu else "the utilisation could not be read"
        text = [(" GPU utilisation ", "strong"), (f" no GPU samples ({reason or 'none of this run'})", "unknown")]
        return [rule(clip(text, width), width, glyphs)]
    order = sorted(by_gpu, key=lambda index: -(sum(known[index]) / len(known[index]) if known[index] else -1))
    spans: list[Span] = [(" GPU utilisation 0-100% ", "strong")]
    for index in order[:most]:
        last = by_gpu[index][-1][1]
        mean = sum(known[index]) / len(known[index]) if known[index] else None
        spans.append((f" GPU {index} {'now' if now else 'last'} {pct_text(last)}, mean {pct_text(mean)}", "text"))
    if len(order) > most:
        spans.append((f"  and {len(order) - most} less busy", "muted"))
    rows: list[Row] = [rule(clip(spans, width), width, glyphs)]
    columns = max(width - MARGIN, 1)
    for index in order[:most]:
        values = buckets(by_gpu[index], end_s * (1 - 1e-9), end_s, columns, _GPU_S)
        for y, line in enumerate(blocks(values, 0.0, 100.0, glyphs.heat, height)):
            name = f"GPU {index}" if y == height - 1 else ""
            rows.append(((f"{name:>{MARGIN - 1}}{glyphs.bar}", "muted"), (line, "good")))
    return rows
