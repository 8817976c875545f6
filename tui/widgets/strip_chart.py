"""Small history charts drawn by hand: fixed bounds, aligned to time, a gap is a gap and 0 is not one.

A strip costs tens of microseconds; plotext is for the one chart with axes (``result_chart``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from probes.history import HISTORY_LEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span, View

Point = tuple[float, float | None]
#: a cell without a reading takes the one before it when that is not older than this many intervals
_HOLD_INTERVALS: Final = 2.5


def window_of(view: View) -> tuple[float, float, float]:
    """The time a host's strips cover: ``(end, length, interval)`` in seconds on the boot clock.

    While values arrive the right edge is now; of a host that fell silent it is its last sample.
    """
    sample = view.record.sample
    interval_s = view.intervals.sample_s if sample is None or sample.interval_s is None else sample.interval_s
    interval_s = max(round(interval_s, 1), 0.1)
    end_s = view.now_s if view.current or sample is None else view.record.sample_at_boot_s
    return end_s, HISTORY_LEN * max(interval_s, 1.0), interval_s


def buckets(
    points: Sequence[Point], end_s: float, window_s: float, width: int, interval_s: float
) -> list[float | None]:
    """The mean of each of ``width`` cells of time, oldest first.

    Cells are aligned to the clock, so a cell's past does not change while time goes on.

    Args:
        points: ``(boot seconds, value)``, oldest first.
        end_s: right edge.
        window_s: time that the whole width stands for.
        width: cells.
        interval_s: expected time between readings; a longer silence is a gap.
    """
    if width <= 0:
        return []
    cell_s = window_s / width
    first = math.floor(end_s / cell_s) - width + 1
    sums, counts = [0.0] * width, [0] * width
    gaps = [False] * width
    for at_s, value in points:
        index = math.floor(at_s / cell_s) - first
        if 0 <= index < width:
            if value is None:
                gaps[index] = True
            else:
                sums[index] += value
                counts[index] += 1
    out: list[float | None] = []
    hold_cells = math.floor(_HOLD_INTERVALS * interval_s / cell_s)
    held: float | None = None
    since = 0
    for index in range(width):
        if counts[index]:
            held, since = sums[index] / counts[index], 0
            out.append(held)
            continue
        since += 1
        if gaps[index]:
            held = None
        out.append(held if since <= hold_cells else None)
    return out


def blocks(values: Sequence[float | None], low: float, high: float, heat: str, height: int = 1) -> list[str]:
    """The values as ``height`` lines of block characters, top line first.

    ``low`` and ``high`` are fixed by the caller; what lies outside is drawn at the edge. A measured value always leaves
    a mark, if only the lowest block; an unknown one is blank.
    """
    steps = len(heat)
    lines = [[" "] * len(values) for _ in range(height)]
    for x, value in enumerate(values):
        if value is None:
            continue
        share = (value - low) / (high - low) if high > low else 0.0
        level = min(max(math.ceil(share * steps * height), 1), steps * height)
        for line in range(height):
            here = level - (height - 1 - line) * steps
            if here > 0:
                lines[line][x] = heat[min(here, steps) - 1]
    return ["".join(line) for line in lines]


def strip_rows(
    values: Sequence[float | None],
    bounds: tuple[float, float],
    glyphs: Glyphs,
    *,
    height: int = 1,
    style: str = "accent",
    limits: tuple[float, float] | None = None,
) -> list[Row]:
    """The values as rows, coloured where they pass ``limits`` (warn, critical)."""
    lines = blocks(values, *bounds, glyphs.heat, height)
    if limits is None:
        return [((line, style),) for line in lines]
    names = [style if v is None or v < limits[0] else "warn" if v < limits[1] else "bad" for v in values]
    return [runs(line, names) for line in lines]


def runs(line: str, names: Sequence[str]) -> Row:
    """A line as spans of the same style, given the style's name of every character."""
    spans: list[Span] = []
    start = 0
    for x in range(1, len(line) + 1):
        if x == len(line) or names[x] != names[start]:
            spans.append((line[start:x], names[start]))
            start = x
    return tuple(spans)


def bar(share: float | None, width: int, glyphs: Glyphs) -> str:
    """A horizontal bar of a share of 1; unknown is a line of dots."""
    if width <= 0:
        return ""
    if share is None:
        return glyphs.not_probed * width
    full, empty = ("█", "░") if glyphs.ellipsis != "~" else ("#", ".")
    cells = min(max(round(share * width), 0), width)
    if share > 0 and cells == 0:
        cells = 1
    return full * cells + empty * (width - cells)
