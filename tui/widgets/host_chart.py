"""What the Host screen's chart shows: series of one GPU or of the host, with fixed bounds and times as labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

from tui.format import UNKNOWN, bytes_text, duration_text, pct_text, rate_text, temperature_text, watts_text
from tui.widgets.gpu_cards import FALLBACK_POWER_W, TEMPERATURE_BOUNDS
from tui.widgets.result_chart import Axis, Chart, Series, percent_axis
from tui.widgets.strip_chart import window_of
from tui.widgets.vitals import rates_of

if TYPE_CHECKING:
    from probes.history import History
    from tui.widgets.lines import View
    from tui.widgets.strip_chart import Point

Kind = Literal["gpu", "temperature", "power", "host", "network"]
GPU_KINDS: Final[tuple[Kind, ...]] = ("gpu", "temperature", "power")
HOST_KINDS: Final[tuple[Kind, ...]] = ("host", "network")
#: at most this many steps of time on the axis, from a round number of seconds
_TICKS: Final = 5
_TIME_STEPS: Final = (10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)


def kinds_of(gpus: int) -> tuple[Kind, ...]:
    """The charts a host has."""
    return (*GPU_KINDS, *HOST_KINDS) if gpus else HOST_KINDS


def chart_of(view: View, kind: Kind, position: int) -> Chart | None:
    """The chart, or None while there is no sample.

    Args:
        view: the host now.
        kind: which chart.
        position: the GPU's place in the sample, for the GPU charts.
    """
    record = view.record
    history, sample = record.history, record.sample
    if history is None or sample is None:
        return None
    x = time_axis(view)
    if kind == "host":
        return _host(view, history, x)
    if kind == "network":
        return _network(view, history, x)
    return _gpu(view, history, x, position, kind)


def time_axis(view: View) -> Axis:
    """The strips' window as an axis that ends in "now", or in the age of the last sample of a silent host."""
    end_s, window_s, _ = window_of(view)
    behind_s = 0.0 if view.current else view.now_s - end_s
    step_s = next((step for step in _TIME_STEPS if window_s / step <= _TICKS), _TIME_STEPS[-1])
    count = int(window_s // step_s)
    ticks: list[tuple[float, str]] = []
    for number in range(count, -1, -1):
        ago_s = number * step_s + behind_s
        ticks.append((end_s - number * step_s, "now" if ago_s < 0.5 else ago_text(ago_s)))
    return Axis(end_s - window_s, end_s, tuple(ticks))


def ago_text(seconds: float) -> str:
    """``-4m``, ``-90s``, ``-1h05m``."""
    whole = round(seconds)
    if whole < 120 and whole % 60:
        return f"-{whole}s"
    return f"-{whole // 60}m" if whole < 7200 and not whole % 60 else f"-{duration_text(seconds)}"


def _points(view: View, history: History, x: Axis, name: str, position: int | None = None) -> tuple[Point, ...]:
    """A series within the axis, with a gap wherever readings failed to come."""
    out: list[Point] = []
    last: float | None = None
    silence_s = window_of(view)[2] * 2.5
    for at_s, value in history.series(name, position):
        if at_s < x.low:
            continue
        if last is not None and at_s - last > silence_s:
            out.append(((last + at_s) / 2, None))
        out.append((at_s, value))
        last = at_s
    return tuple(out)


def _gpu(view: View, history: History, x: Axis, position: int, kind: Kind) -> Chart | None:
    sample, old = view.record.sample, not view.current
    if sample is None or position >= len(sample.gpus):
        return None
    gpu = sample.gpus[position]
    if kind == "temperature":
        label = f"{temperature_text(gpu.temperature_c)}"
        points = _points(view, history, x, "temperature_c", position)
        axis = percent_axis(TEMPERATURE_BOUNDS[1], "°C", TEMPERATURE_BOUNDS[0], 3)
        return Chart(f"GPU {gpu.index} temperature", (Series(label, points),), x, axis, old)
    if kind == "power":
        limit = gpu.power_limit_w or FALLBACK_POWER_W
        points = _points(view, history, x, "power_w", position)
        label = f"{watts_text(gpu.power_w)} of {watts_text(gpu.power_limit_w)}"
        return Chart(f"GPU {gpu.index} power", (Series(label, points),), x, percent_axis(limit, " W"), old)
    memory = UNKNOWN
    if gpu.memory_used_bytes is not None and gpu.memory_total_bytes:
        memory = pct_text(gpu.memory_used_bytes / gpu.memory_total_bytes * 100)
    series = (
        Series(f"utilisation {pct_text(gpu.utilization_pct)}", _points(view, history, x, "utilization_pct", position)),
        Series(f"memory {memory}", _points(view, history, x, "memory_pct", position), "good"),
    )
    return Chart(f"GPU {gpu.index} load", series, x, percent_axis(), old)


def _host(view: View, history: History, x: Axis) -> Chart:
    sample = view.record.sample
    cpu = memory = None
    if sample is not None:
        cpu = sample.cpu.utilization_pct
        used, total = sample.memory.used_bytes, sample.memory.total_bytes
        memory = used / total * 100 if used is not None and total else None
    series = (
        Series(f"CPU {pct_text(cpu)}", _points(view, history, x, "cpu_pct")),
        Series(f"memory {pct_text(memory)}", _points(view, history, x, "memory_pct"), "good"),
    )
    return Chart("host load", series, x, percent_axis(), not view.current)


def _network(view: View, history: History, x: Axis) -> Chart:
    rx, tx = _points(view, history, x, "rx"), _points(view, history, x, "tx")
    most = max((value for _, value in (*rx, *tx) if value is not None), default=0.0)
    top = rate_bound(most)
    ticks = tuple((top * step / 4, f"{bytes_text(top * step / 4)}/s") for step in range(5))
    sample = view.record.sample
    now_rx, now_tx = rates_of(() if sample is None else sample.net)
    series = (Series(f"rx {rate_text(now_rx)}", rx), Series(f"tx {rate_text(now_tx)}", tx, "good"))
    return Chart("network", series, x, Axis(0.0, top, ticks), not view.current)


def rate_bound(most: float) -> float:
    """The next power of two above the highest rate, 1 MiB/s at least: the axis moves seldom."""
    return float(2 ** max(math.ceil(math.log2(max(most, 1.0))), 20))
