"""The process list: who uses the GPUs and the CPU, with user and memory. Names are remote text, never markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tui.format import UNKNOWN, bytes_text, duration_text, fit
from tui.widgets.lines import LinesPanel, clip, dimmed, reason_words, row_width, rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from probes.model import Processes
    from tui.widgets.lines import Row, Span, View

Order = Literal["gpu", "cpu", "memory"]
ORDERS: Final[tuple[Order, ...]] = ("gpu", "cpu", "memory")
_ORDER_WORDS: Final = {"gpu": "GPU memory", "cpu": "CPU", "memory": "memory"}


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """One process with what it holds of each GPU: ``gpus`` is ``((index, bytes or None), ...)``."""

    pid: int
    user: str | None
    name: str | None
    cpu_pct: float | None
    rss_bytes: int | None
    gpus: tuple[tuple[int, int | None], ...]

    @property
    def gpu_bytes(self) -> int | None:
        """GPU memory over all GPUs; None when no part of it is known."""
        known = [held for _, held in self.gpus if held is not None]
        return sum(known) if known else None


def join(processes: Processes, order: Order) -> list[ProcessLine]:
    """Processes of both lists by pid, sorted; those on a GPU come first in the order ``gpu``."""
    on_gpu: dict[int, list[tuple[int, int | None]]] = {}
    said: dict[int, tuple[str | None, str | None]] = {}
    for process in processes.gpu or ():
        on_gpu.setdefault(process.pid, []).append((process.gpu, process.memory_bytes))
        said.setdefault(process.pid, (process.user, process.name))
    lines: list[ProcessLine] = []
    for process in processes.top:
        gpus = tuple(sorted(on_gpu.pop(process.pid, ()), key=lambda held: held[0]))
        lines.append(ProcessLine(process.pid, process.user, process.name, process.cpu_pct, process.rss_bytes, gpus))
    for pid, held in on_gpu.items():
        user, name = said[pid]
        lines.append(ProcessLine(pid, user, name, None, None, tuple(sorted(held, key=lambda one: one[0]))))
    lines.sort(key=_KEYS[order])
    return lines


def _gpu_key(line: ProcessLine) -> tuple[float, ...]:
    return (not line.gpus, -(line.gpu_bytes or 0), *_cpu_key(line))


def _cpu_key(line: ProcessLine) -> tuple[float, ...]:
    return (line.cpu_pct is None, -(line.cpu_pct or 0.0), -(line.rss_bytes or 0), line.pid)


def _memory_key(line: ProcessLine) -> tuple[float, ...]:
    return (line.rss_bytes is None, -(line.rss_bytes or 0), line.pid)


_KEYS: Final = {"gpu": _gpu_key, "cpu": _cpu_key, "memory": _memory_key}


def index_ranges(numbers: Iterable[int]) -> str:
    """``0-3,6`` for 0, 1, 2, 3 and 6."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def gpu_split(gpus: Sequence[tuple[int, int | None]]) -> str:
    """Memory by GPU: ``0: 60.0 GiB  1: 12.0 GiB``."""
    return "  ".join(f"{index}: {bytes_text(held)}" for index, held in gpus)


@dataclass(frozen=True, slots=True)
class _Columns:
    user: int
    rss: int
    gpu: int
    split: int


def _columns(width: int, *, gpus: bool) -> _Columns:
    return _Columns(
        user=10 if width >= 56 else 0,
        rss=9 if width >= 46 else 0,
        gpu=5 if gpus and width >= 38 else 0,
        split=30 if gpus and width >= 120 else 0,
    )


def _line_row(line: ProcessLine, width: int, columns: _Columns) -> Row:
    spans: list[Span] = [(f"{line.pid:>7} ", "muted")]
    if columns.user:
        spans.append((fit(line.user or UNKNOWN, columns.user) + " ", "text" if line.user else "unknown"))
    cpu = UNKNOWN if line.cpu_pct is None else f"{line.cpu_pct:.0f}%"
    spans.append((f"{cpu:>6} ", "unknown" if line.cpu_pct is None else "text"))
    if columns.rss:
        spans.append((f"{bytes_text(line.rss_bytes):>{columns.rss}} ", "unknown" if line.rss_bytes is None else "text"))
    if columns.gpu:
        spans.append((fit(index_ranges(index for index, _ in line.gpus), columns.gpu, right=True) + " ", "accent"))
        held = bytes_text(line.gpu_bytes) if line.gpus else ""
        spans.append((f"{held:>9} ", "unknown" if line.gpus and line.gpu_bytes is None else "accent"))
    name = line.name or UNKNOWN
    room = width - row_width(spans)
    if columns.split and len(line.gpus) > 1:
        split = gpu_split(line.gpus)
        keep = min(len(split), max(room - 32, 0))
        spans.append((fit(name, max(room - keep - 2, 0)) + "  ", "text"))
        spans.append((fit(split, keep), "muted"))
    else:
        spans.append((fit(name, max(room, 0)), "text"))
    return clip(spans, width)


def head_row(width: int, columns: _Columns) -> Row:
    """The names of the columns, with the unit where a column has one."""
    text = f"{'PID':>7} "
    if columns.user:
        text += f"{'USER':<{columns.user}} "
    text += f"{'CPU':>6} "
    if columns.rss:
        text += f"{'RSS':>{columns.rss}} "
    if columns.gpu:
        text += f"{'GPU':>{columns.gpu}} {'GPU MEM':>9} "
    return clip([(fit(text + "NAME", width), "muted")], width)


class ProcessTable(LinesPanel):
    """The process list of one host, ``limit`` lines of it; None shows all."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.limit: int | None = 10
        self.order: Order = "gpu"

    def build(self, width: int) -> list[Row]:
        """Title, column names, lines."""
        view = self.view
        if view is None:
            return []
        processes = view.record.processes
        title: list[Span] = [(" processes ", "strong")]
        if processes is None:
            title.append((f"{UNKNOWN} {waiting_words(view)}", "unknown"))
            return [rule(title, width, view.glyphs)]
        lines = join(processes, self.order)
        shown = lines if self.limit is None else lines[: self.limit]
        count = f"{len(shown)} of {processes.total}, by {_ORDER_WORDS[self.order]}"
        title.append((count, "muted"))
        age_s = view.now_s - view.record.processes_at_boot_s
        tail: list[Span] = [(f"{duration_text(age_s)} old", "muted")]
        rows = [rule(title, width, view.glyphs, tail)]
        sample = view.record.sample
        columns = _columns(width, gpus=bool(processes.gpu) or (sample is not None and bool(sample.gpus)))
        rows.append(head_row(width, columns))
        body = [_line_row(line, width, columns) for line in shown]
        rows += body if view.current else dimmed(body)
        if processes.gpu is None and sample is not None and sample.gpus:
            why = next((reason_words(processes.missing, f) for f in ("gpu", "gpu_processes") if f in processes.missing),
                       "no reason")  # fmt: skip
            rows.append(clip([("GPU processes ", "muted"), (f"{UNKNOWN} {why}", "unknown")], width))
        for field in processes.missing:
            if field not in ("gpu", "gpu_processes"):
                words = reason_words(processes.missing, field)
                rows.append(clip([(f"{field} ", "muted"), (f"{UNKNOWN} {words}", "unknown")], width))
        if len(shown) < len(lines):
            rows.append(clip([(f"{len(lines) - len(shown)} more: press the key of this section", "muted")], width))
        return rows


def waiting_words(view: View) -> str:
    """Why there is no list yet."""
    if view.record.sample is None:
        return "no sample yet"
    return "asked for, not here yet" if view.current else "none was received"
