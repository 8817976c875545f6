"""The chart that people read: fixed bounds, axes with units and times. The one place that touches plotext.

plotext has one global figure, so everything runs on one thread of its own: the import (on first use), then one
drawing at a time. What comes back is plain text with the few colour codes this module asked for, taken apart here;
labels never pass through it, so no remote text can be mistaken for a code.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from textual.widget import Widget

from tui.guard import guarded
from tui.widgets.lines import clip, row_strip, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.strip import Strip

    from tui.widgets.lines import Row, Span
    from tui.widgets.strip_chart import Point

MIN_REDRAW_S: Final = 2.0
_DRAW_TIMEOUT_S: Final = 20.0
_CODES: Final = re.compile("\x1b\\[([0-9;]*)m")
_TO_ASCII: Final = str.maketrans("┌┐└┘├┤┬┴┼─│", "+++++++++-|")
_MARKERS: Final = (("braille", "*"), ("•", "o"))


@dataclass(frozen=True, slots=True)
class Series:
    """One line: points in the chart's own x, the style's name, and the name and figure of the legend."""

    label: str
    points: tuple[Point, ...]
    style: str = "accent"


@dataclass(frozen=True, slots=True)
class Axis:
    """Fixed bounds, and the places that get a label (with its unit)."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything that is drawn. ``old`` says that the values are not from now."""

    title: str
    series: tuple[Series, ...]
    x: Axis
    y: Axis
    old: bool = False


def percent_axis(high: float = 100.0, unit: str = "%", low: float = 0.0, steps: int = 4) -> Axis:
    """An axis with evenly spaced labels."""
    values = [low + (high - low) * step / steps for step in range(steps + 1)]
    return Axis(low, high, tuple((value, f"{value:.0f}{unit}") for value in values))


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="plotext")


def draw(chart: Chart, width: int, height: int, *, only_ascii: bool = False) -> list[Row]:
    """Draw with plotext; blocking, on the chart thread only.

    Args:
        chart: what to draw.
        width: cells.
        height: lines.
        only_ascii: no character outside ASCII.
    """
    import plotext  # noqa: PLC0415 - 90 ms, only when a chart is looked at

    api = cast("Any", plotext)
    api.terminal.limit(False, False)
    figure = api.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    for number, series in enumerate(chart.series):
        _add(api, figure, number, series, only_ascii=only_ascii)
    _axis(figure.ruler("x", 0), chart.x)
    _axis(figure.ruler("y", 0), chart.y)
    text: str = figure.build().string()
    figure.clear()
    styles = [series.style for series in chart.series]
    rows = [_parse(line, styles) for line in text.rstrip("\n").split("\n")]
    if only_ascii:
        rows = [tuple((part.translate(_TO_ASCII), style) for part, style in row) for row in rows]
    return rows


def _add(api: Any, figure: Any, number: int, series: Series, *, only_ascii: bool) -> None:
    known = [(x, y) for x, y in series.points if y is not None]
    if not known:
        return
    symbol = _MARKERS[number % len(_MARKERS)][1 if only_ascii else 0]
    marker = api.marker(symbol, pixel=number + 1)
    signal = figure.signal([x for x, _ in known], [y for _, y in known], marker=marker)
    signal.lines(True)
    at = 0
    gap = False
    for _, value in series.points:
        if value is None:
            gap = True
            continue
        if gap and at:
            signal.line(at, False)
        gap = False
        at += 1
    figure.draw(signal)


def _axis(ruler: Any, axis: Axis) -> None:
    ruler.lim(axis.low, axis.high)
    ruler.ticks([at for at, _ in axis.ticks], [text for _, text in axis.ticks])


def _parse(line: str, styles: Sequence[str]) -> Row:
    """Split a line at plotext's colour codes; what has no colour of ours is the frame."""
    spans: list[Span] = []
    style = "muted"
    at = 0
    for found in _CODES.finditer(line):
        if found.start() > at:
            spans.append((line[at : found.start()], style))
        style = _style_of(found.group(1), styles)
        at = found.end()
    if at < len(line):
        spans.append((line[at:], style))
    return tuple(spans)


def _style_of(code: str, styles: Sequence[str]) -> str:
    parts = code.split(";")
    if len(parts) >= 3 and parts[0] == "38" and parts[1] == "5" and parts[2].isdigit():
        number = int(parts[2]) - 1
        if 0 <= number < len(styles):
            return styles[number]
    return "muted"


class ResultChart(Widget):
    """Shows one ``Chart``; call ``show`` as often as you like, it draws at most every two seconds."""

    DEFAULT_CSS = "ResultChart { height: 12; width: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._chart: Chart | None = None
        self._rows: list[Row] = []
        self._drawn_at_s = 0.0
        self._drawn_size = (0, 0)
        self._drawn_title = ""
        self._busy = False
        self.drawings = 0

    @property
    def rows(self) -> list[Row]:
        """What is shown."""
        return self._rows

    def show(self, chart: Chart, now_s: float) -> None:
        """Take a newer chart; drawn at once when it is another one or the size changed, else after two seconds.

        Args:
            chart: what to draw.
            now_s: now on the boot clock.
        """
        self._chart = chart
        size = (self.content_size.width, self.content_size.height)
        if self._busy or not self.display or size[0] < 12 or size[1] < 4:
            return
        same = size == self._drawn_size and chart.title == self._drawn_title
        if same and 0 <= now_s - self._drawn_at_s < MIN_REDRAW_S:
            return
        self._busy = True
        self._drawn_at_s, self._drawn_size, self._drawn_title = now_s, size, chart.title
        self.run_worker(self._draw(chart, *size), group="chart", exit_on_error=False)

    @guarded
    async def _draw(self, chart: Chart, width: int, height: int) -> None:
        glyphs = cast("Any", self.app).glyphs
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_DRAW_TIMEOUT_S):
                only_ascii = glyphs.ellipsis == "~"
                body = await loop.run_in_executor(
                    _pool(), lambda: draw(chart, width, height - 1, only_ascii=only_ascii)
                )
        except Exception as error:
            self._take([(("the chart could not be drawn: ", "bad"), (type(error).__name__, "bad"))])
            raise
        finally:
            self._busy = False
            self.call_next(self._again_if_resized)
        legend: list[Span] = [(f" {chart.title} ", "strong")]
        marks = [symbols[1 if only_ascii else 0] for symbols in _MARKERS]
        for number, series in enumerate(chart.series):
            mark = "⠒⠒" if marks[number % 2] == "braille" else marks[number % 2]
            legend += [(f" {mark} ", series.style), (series.label, "old" if chart.old else "text")]
        title = rule(legend, width, glyphs)
        if chart.old:
            body = [tuple((text, "old" if style != "muted" else style) for text, style in row) for row in body]
        self.drawings += 1
        self._take([title, *(clip(row, width) for row in body)])

    def on_resize(self) -> None:
        """Another size, another drawing."""
        self._again_if_resized()

    def _again_if_resized(self) -> None:
        if self._chart is not None and tuple(self.content_size) != self._drawn_size:
            self.show(self._chart, self._drawn_at_s)

    def _take(self, rows: list[Row]) -> None:
        if rows != self._rows:
            self._rows = rows
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the last drawing."""
        return row_strip(self, self._rows, y)
