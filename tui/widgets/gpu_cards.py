"""One card a GPU: what it does now, its last minutes as strips with fixed bounds, and why a value is not known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from textual.message import Message

from tui.format import UNKNOWN, bytes_text, fit, pct_text, ratio_pct, temperature_text, watts_text
from tui.guard import guarded
from tui.rows import SLOWED, is_lost
from tui.widgets.lines import LinesPanel, beside, clip, dimmed, flow, pad, reason_words, rule
from tui.widgets.strip_chart import buckets, strip_rows, window_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from probes.model import Gpu, GpuProcess, Mig
    from tui.widgets.lines import Row, Span, View

#: bounds of the strips; power's upper bound is the card's own limit
TEMPERATURE_BOUNDS: Final = (20.0, 110.0)
PERCENT_BOUNDS: Final = (0.0, 100.0)
FALLBACK_POWER_W: Final = 1000.0
_MIN_CARD: Final = 38
_GAP: Final = 2
_LABEL: Final = 6
_VALUE: Final = 14
_FIELD_WORDS: Final = {
    "utilization_pct": "utilisation",
    "memory_total_bytes": "memory total",
    "memory_used_bytes": "memory used",
    "memory_free_bytes": "memory free",
    "memory_reserved_bytes": "memory reserved",
    "temperature_c": "temp",
    "power_w": "power",
    "power_limit_w": "power limit",
    "sm_clock_mhz": "SM clock",
    "memory_clock_mhz": "memory clock",
    "fan_pct": "fan",
    "pstate": "P-state",
    "throttle_reasons": "throttle",
    "ecc_corrected": "ECC corrected",
    "ecc_uncorrected": "ECC uncorrected",
    "pcie_gen": "PCIe gen",
    "pcie_width": "PCIe width",
    "mig": "MIG",
    "uuid": "UUID",
    "name": "name",
}


def of_text(used: float | None, total: float | None) -> str:
    """``9.0/80.0 GiB``: used of total, the unit once where both have the same."""
    if used is None and total is None:
        return UNKNOWN
    left, right = bytes_text(used), bytes_text(total)
    if used is not None and total is not None and left.rpartition(" ")[2] == right.rpartition(" ")[2]:
        left = left.rpartition(" ")[0]
    return f"{left}/{right}"


def card_title(gpu: Gpu, width: int, view: View, *, selected: bool) -> Row:
    """Index and name; the chosen one is marked."""
    name = gpu.name or f"{UNKNOWN} name {reason_words(gpu.missing, 'name')}"
    if len(name) > width - 12 and name.startswith("NVIDIA "):
        name = name.removeprefix("NVIDIA ")
    mark = view.glyphs.folded if selected else " "
    room = max(width - 12, 4)
    shown = fit(name, room).rstrip()
    tail: list[Span] = [("GPU LOST", "alert")] if is_lost(gpu) else [(gpu.pstate, "muted")] if gpu.pstate else []
    style = "accent" if selected else "strong"
    return rule([(f"{mark}{gpu.index} ", style), (shown, style)], width, view.glyphs, tail)


def metric_rows(gpu: Gpu, position: int, view: View, width: int, height: int) -> list[Row]:
    """Utilisation, memory, temperature and power, each with its strip."""
    limits = view.thresholds
    temperature_limits = (limits.temperature_warn_c, limits.temperature_crit_c)
    memory_pct = ratio_pct(gpu.memory_used_bytes, gpu.memory_total_bytes)
    memory_limits = (limits.gpu_memory_warn_pct, math.inf)
    power = watts_text(gpu.power_w)
    if gpu.power_w is not None and gpu.power_limit_w is not None:
        power = f"{gpu.power_w:.0f}/{watts_text(gpu.power_limit_w)}"
    top_w = gpu.power_limit_w or FALLBACK_POWER_W
    memory = of_text(gpu.memory_used_bytes, gpu.memory_total_bytes)
    lines = (
        _Metric("util", pct_text(gpu.utilization_pct), "utilization_pct", "utilization_pct", PERCENT_BOUNDS),
        _Metric("mem", memory, "memory_used_bytes", "memory_pct", PERCENT_BOUNDS, memory_limits, memory_pct),
        _Metric("temp", temperature_text(gpu.temperature_c), "temperature_c", "temperature_c", TEMPERATURE_BOUNDS,
                temperature_limits, gpu.temperature_c),
        _Metric("power", power, "power_w", "power_w", (0.0, top_w)),
    )  # fmt: skip
    rows: list[Row] = []
    for metric in lines:
        rows += metric.rows(gpu, position, view, width, height)
    return rows


@dataclass(frozen=True, slots=True)
class _Metric:
    """One line of a card: value on the left, strip on the right; ``judged`` is the value held against ``limits``."""

    label: str
    text: str
    field: str
    series: str
    bounds: tuple[float, float]
    limits: tuple[float, float] | None = None
    judged: float | None = None

    def rows(self, gpu: Gpu, position: int, view: View, width: int, height: int) -> list[Row]:
        words, style = self.text, self._style()
        if getattr(gpu, self.field) is None:
            words, style = f"{UNKNOWN} {reason_words(gpu.missing, self.field)}", "unknown"
        value = fit(words, min(_VALUE, width - _LABEL), right=True)
        bare = value.lstrip()
        label: Span = (fit(self.label, _LABEL) + " " * (len(value) - len(bare)), "muted")
        history = view.record.history
        points = [] if history is None else history.series(self.series, position)
        end_s, window_s, interval_s = window_of(view)
        values = buckets(points, end_s, window_s, width - _LABEL - _VALUE - 1, interval_s)
        strips = strip_rows(values, self.bounds, view.glyphs, height=height, limits=self.limits)
        blank: Row = ((" " * (_LABEL + _VALUE + 1), "text"),)
        head: Row = (label, (bare, style), (" ", "text"))
        return [(*(head if y == 0 else blank), *strip) for y, strip in enumerate(strips)]

    def _style(self) -> str:
        if self.judged is None or self.limits is None or self.judged < self.limits[0]:
            return "text"
        return "warn" if self.judged < self.limits[1] else "bad"


def card_facts(gpu: Gpu) -> list[list[Span]]:
    """The rest of what is known, as short facts; what is not known stands in ``missing_row``."""
    texts: list[str | None] = [
        None if gpu.sm_clock_mhz is None else f"SM {gpu.sm_clock_mhz:.0f} MHz",
        None if gpu.memory_clock_mhz is None else f"mem {gpu.memory_clock_mhz:.0f} MHz",
        None if gpu.pcie_gen is None or gpu.pcie_width is None else f"PCIe {gpu.pcie_gen}x{gpu.pcie_width}",
        None if gpu.fan_pct is None else f"fan {gpu.fan_pct:.0f}%",
        None if gpu.memory_free_bytes is None else f"free {bytes_text(gpu.memory_free_bytes)}",
        None if gpu.memory_reserved_bytes is None else f"reserved {bytes_text(gpu.memory_reserved_bytes)}",
        None if gpu.mig or "mig" in gpu.missing else "MIG none",
    ]
    facts: list[list[Span]] = [[(text, "text")] for text in texts if text is not None]
    return facts + alarm_facts(gpu)


def alarm_facts(gpu: Gpu, *, only_bad: bool = False) -> list[list[Span]]:
    """ECC errors and throttling; ``only_bad`` leaves out what is as it should be."""
    facts: list[list[Span]] = []
    bad = bool(gpu.ecc_uncorrected)
    if (bad or not only_bad) and (gpu.ecc_uncorrected is not None or gpu.ecc_corrected is not None):
        counts = [(gpu.ecc_corrected, "corr"), (gpu.ecc_uncorrected, "uncorr")]
        shown = " ".join(f"{count} {word}" for count, word in counts if count is not None)
        facts.append([(f"ECC {shown}", "bad" if bad else "text")])
    if gpu.throttle_reasons is not None:
        slowed = not SLOWED.isdisjoint(gpu.throttle_reasons)
        if slowed or not only_bad:
            facts.append(_throttle(gpu.throttle_reasons))
    return facts


def _throttle(reasons: Sequence[str]) -> list[Span]:
    if not reasons:
        return [("no throttle", "text")]
    bad = [reason for reason in reasons if reason in SLOWED]
    words = ", ".join(reason.replace("_", " ") for reason in (bad or reasons))
    more = f" +{len(reasons) - len(bad)}" if bad and len(reasons) > len(bad) else ""
    return [(f"THROTTLE {words}{more}" if bad else f"throttle {words}", "bad" if bad else "text")]


def mig_facts(instances: Sequence[Mig]) -> list[list[Span]]:
    """MIG instances with their memory."""
    facts: list[list[Span]] = []
    for mig in instances:
        memory = of_text(mig.memory_used_bytes, mig.memory_total_bytes)
        name = (mig.name or UNKNOWN).removeprefix("MIG ")
        facts.append([(f"MIG {mig.index} ", "muted"), (f"{name} {memory}", "text")])
    return facts


def missing_rows(gpu: Gpu, width: int, view: View) -> list[Row]:
    """Every field that could not be read, by reason, in words."""
    by_reason: dict[str, list[str]] = {}
    for field in gpu.missing:
        by_reason.setdefault(reason_words(gpu.missing, field), []).append(_FIELD_WORDS.get(field, field))
    facts: list[list[Span]] = []
    for reason, names in by_reason.items():
        shown = "all values" if len(names) >= 12 else ", ".join(names)
        facts.append([(f"{shown}: ", "muted"), (reason, "unknown")])
    return flow(facts, width, view.glyphs)


def process_row(gpu: Gpu, view: View, width: int) -> Row | None:
    """The process that holds most of this GPU's memory, and how many more there are."""
    processes = view.record.processes
    if processes is None or processes.gpu is None:
        return None
    mine = sorted((p for p in processes.gpu if p.gpu == gpu.index), key=lambda p: -(p.memory_bytes or 0))
    if not mine:
        return None
    more = f" +{len(mine) - 1}" if len(mine) > 1 else ""
    return clip([(_process_text(mine[0], width - len(more)), "text"), (more, "muted")], width)


def _process_text(process: GpuProcess, width: int) -> str:
    """Figures first: beside names written from right to left, some terminals turn the figures around."""
    head = f"{process.pid} {bytes_text(process.memory_bytes)} "
    who = f"{process.user or UNKNOWN} {process.name or UNKNOWN}"
    return head + fit(who, max(width - len(head), 4)).rstrip()


def card(
    gpu: Gpu, position: int, view: View, width: int, *, height: int = 1, selected: bool = False, brief: bool = False
) -> list[Row]:
    """The whole card, ``width`` cells wide; ``height`` is the lines of each strip, ``brief`` leaves out calm facts."""
    title = card_title(gpu, width, view, selected=selected)
    body = metric_rows(gpu, position, view, width, height)
    if brief:
        body += flow(alarm_facts(gpu, only_bad=True), width, view.glyphs)
        return [title, *(body if view.current else dimmed(body))]
    body += flow(card_facts(gpu), width, view.glyphs)
    if gpu.mig:
        body += flow(mig_facts(gpu.mig), width, view.glyphs)
    body += missing_rows(gpu, width, view)
    process = process_row(gpu, view, width)
    if process is not None:
        body.append(process)
    return [title, *(body if view.current else dimmed(body))]


def columns_for(gpus: int, width: int) -> int:
    """Cards beside each other, so that rows are filled evenly."""
    columns = max(1, min(gpus, (width + _GAP) // (_MIN_CARD + _GAP)))
    rows = math.ceil(gpus / columns)
    return math.ceil(gpus / rows)


def strip_height(gpus: int, *, zoomed: bool) -> int:
    """Few cards get taller strips."""
    if gpus == 1:
        return 4 if zoomed else 3
    return 2 if gpus == 2 or (zoomed and gpus <= 4) else 1


class GpuCards(LinesPanel):
    """All cards of a host in a grid. A click chooses the GPU of the chart."""

    class Chosen(Message):
        """A card was clicked; ``position`` is the GPU's place in the sample."""

        def __init__(self, position: int) -> None:
            super().__init__()
            self.position = position

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.selected = 0
        self.zoomed = False
        #: many cards on a small screen show their figures and what is wrong
        self.small = False
        self._places: list[tuple[int, int, int, int]] = []

    def build(self, width: int) -> list[Row]:
        """The grid, or one line that says why there is none."""
        view = self.view
        self._places = []
        if view is None or view.record.sample is None:
            return []
        sample = view.record.sample
        gpus = sample.gpus
        if not gpus:
            return [no_gpu_row(view, width)]
        columns = columns_for(len(gpus), width)
        card_width = (width - _GAP * (columns - 1)) // columns
        height = strip_height(len(gpus), zoomed=self.zoomed)
        brief = self.small and len(gpus) > 2
        rows: list[Row] = []
        numbered = list(enumerate(gpus))
        for line in zip_longest(*[iter(numbered)] * columns):
            cards: list[list[Row]] = []
            for column, place in enumerate(line):
                if place is None:
                    continue
                position, gpu = place
                selected = position == self.selected and len(gpus) > 1
                cards.append(card(gpu, position, view, card_width, height=height, selected=selected, brief=brief))
                self._places.append((position, column * (card_width + _GAP), len(rows), card_width))
            rows += [pad(row, width) for row in beside(cards, [card_width] * len(cards), _GAP)]
        return rows

    @guarded
    def on_click(self, event: events.Click) -> None:
        """Choose the card under the pointer."""
        for position, x, y, width in reversed(self._places):
            if event.y >= y and x <= event.x < x + width:
                self.post_message(self.Chosen(position))
                return


def no_gpu_row(view: View, width: int) -> Row:
    """One line that says that there is no GPU, or that they cannot be read."""
    sample = view.record.sample
    reason = None if sample is None else sample.missing.get("gpus")
    hello = view.record.hello
    if reason is None or reason == "unsupported":
        mode = f" (agent mode {hello.mode})" if hello is not None else ""
        return clip([("GPUs ", "strong"), (f"none: no NVIDIA driver on this host{mode}", "muted")], width)
    words = reason_words(sample.missing, "gpus") if sample is not None else ""
    return clip([("GPUs ", "strong"), (f"{UNKNOWN} could not be read: {words}", "unknown")], width)
