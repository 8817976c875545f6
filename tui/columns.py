"""The columns of the fleet grid: what each is called, how it sorts, and which ones fit a width."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from tui.format import cells

__all__ = ["BY_KEY", "COLUMNS", "Column", "Layout", "Placed", "cells", "layout_for", "sort_rows"]

if TYPE_CHECKING:
    from tui.rows import Row

Value = Callable[["Row", float], "float | None"]


class Column(Struct, frozen=True, gc=False):
    """One column. Widths are without the space before it; ``rank`` says how early it is given room (0: always)."""

    key: str
    title: str
    narrow: int
    wide: int
    rank: int
    description: str
    number: Value | None = None
    wide_title: str = ""
    right: bool = True


COLUMNS: Final[tuple[Column, ...]] = (
    Column("worst", "state", 11, 15, 0, "state of the link; sorts the worst first", right=False),
    Column("host", "host", 12, 20, 0, "host id", right=False),
    Column("age", "age", 4, 4, 5, "age of the last sample", lambda row, now: row.age_s(now)),
    Column("for", "for", 4, 6, 1, "time in this condition", lambda row, now: now - row.since_boot_s),
    Column(
        "gpus", "gpus", 4, 4, 3, "a bar a GPU: height utilisation, colour temperature; sorts by lost ones",
        lambda row, _: None if row.gpus is None else row.lost * 1000 + row.gpus, right=False,
    ),
    Column("util", "gpu%", 4, 4, 11, "mean utilisation of the GPUs", lambda row, _: row.util),
    Column("gpumem", "gmem%", 5, 5, 6, "used GPU memory", lambda row, _: row.gpumem),
    Column("vram", "gpu mem", 9, 9, 15, "used and total GPU memory (binary units)", lambda row, _: row.gpu_used),
    Column("temp", "°C", 3, 3, 2, "hottest GPU", lambda row, _: row.temp),
    Column("power", "power", 6, 12, 12, "power of the GPUs, and their limit", lambda row, _: row.power,
           wide_title="power/limit"),
    Column("cpu", "cpu%", 4, 4, 7, "CPU utilisation", lambda row, _: row.cpu),
    Column("mem", "mem%", 4, 4, 8, "used memory of the host", lambda row, _: row.mem),
    Column("load", "load", 5, 5, 13, "load average of 1 minute", lambda row, _: row.load),
    Column("disk", "disk%", 5, 5, 10, "fullest file system", lambda row, _: row.disk),
    Column("net", "rx/s tx/s", 9, 9, 14, "network, bytes received and sent a second (binary units)",
           lambda row, _: None if row.rx is None or row.tx is None else row.rx + row.tx),
    Column("services", "svc", 3, 3, 4, "a sign a service", lambda row, _: row.service_bad(), right=False),
    Column("flags", "flags", 5, 5, 9, "L lost GPU, T throttled, X XID errors, E uncorrected ECC, B bad lines",
           lambda row, _: row.lost * 8 + row.slowed * 4 + bool(row.xid) * 2 + bool(row.ecc), right=False),
    Column("reason", "reason", 10, 10, 0, "what is wrong, in words", right=False),
)  # fmt: skip
BY_KEY: Final = {column.key: column for column in COLUMNS}
WIDE: Final = 120
_MAX_HEAT: Final = (8, 16)


class Placed(Struct, frozen=True, gc=False):
    """A column at its place: ``x`` is the first cell of its text."""

    column: Column
    x: int
    width: int
    title: str


class Layout(Struct, frozen=True, gc=False):
    """The columns that fit a width. ``wide``: long state words and two-part numbers."""

    width: int
    wide: bool
    placed: tuple[Placed, ...]

    def column_at(self, x: int) -> Column | None:
        """The column under a cell of the header."""
        for place in self.placed:
            if place.x - 1 <= x < place.x + place.width:
                return place.column
        return None


@lru_cache(maxsize=64)
def layout_for(width: int, max_gpus: int, max_services: int, max_id: int) -> Layout:
    """Choose the columns for a width.

    Essential columns come first as long as the reason keeps 10 cells, the others as long as it keeps 24, then 32.

    Args:
        width: cells of a line.
        max_gpus: most GPUs of any host.
        max_services: most services of any host.
        max_id: cells of the longest host id.
    """
    wide = width >= WIDE
    sizes: dict[str, int] = {}
    room = width + 1  # every column brings a space before it, and the first one does not need it
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        if column.key == "reason":
            continue  # takes what is left
        size = _size(column, wide=wide, max_gpus=max_gpus, max_services=max_services, max_id=max_id)
        keep = 0 if column.rank == 0 else 10 if column.rank <= 7 else 24 if column.rank <= 12 else 32
        if size and (column.rank == 0 or room - size - 2 >= keep):
            sizes[column.key] = size
            room -= size + 1
    reason = room - 1
    extra = min(max(max_id - sizes["host"], 0), max((reason - (48 if wide else 18)) // 2, 0))
    sizes["host"] += extra
    sizes["reason"] = max(reason - extra, 1)
    return _place(width, sizes, wide=wide)


def _size(column: Column, *, wide: bool, max_gpus: int, max_services: int, max_id: int) -> int:
    size = column.wide if wide else column.narrow
    if column.key == "host":
        return max(min(size, max_id), 4)
    if column.key == "gpus":
        return max(4, min(max_gpus, _MAX_HEAT[wide]))
    if column.key == "services":
        return 0 if not max_services else max(3, min(max_services, _MAX_HEAT[wide]))
    return size


def _place(width: int, sizes: dict[str, int], *, wide: bool) -> Layout:
    placed: list[Placed] = []
    x = 0
    for column in COLUMNS:
        size = sizes.get(column.key)
        if size is None or x >= width:
            continue
        size = min(size, width - x)
        placed.append(Placed(column, x, size, column.wide_title if wide and column.wide_title else column.title))
        x += size + 1
    last = placed[-1]
    placed[-1] = replace(last, width=width - last.x)
    return Layout(width, wide, tuple(placed))


def sort_rows(rows: list[Row], key: str, *, reverse: bool, now_boot_s: float) -> None:
    """Sort in place: numbers from the largest, unknown ones always last, ties by host id in natural order."""
    column = BY_KEY[key]
    if column.number is None:
        rows.sort(key=_WORDS[key], reverse=reverse)
        return
    number = column.number
    sign = 1.0 if reverse else -1.0
    keyed: list[tuple[bool, float, int, Row]] = []
    for row in rows:
        value = number(row, now_boot_s)
        keyed.append((value is None, 0.0 if value is None else sign * value, row.order, row))
    keyed.sort(key=lambda item: item[:3])
    rows[:] = [item[3] for item in keyed]


_WORDS: Final[dict[str, Callable[[Row], tuple[object, int]]]] = {
    "worst": lambda row: (-row.rank, row.order),
    "host": lambda row: (0, row.order),
    "reason": lambda row: ((not row.reason, row.reason.casefold()), row.order),
}
