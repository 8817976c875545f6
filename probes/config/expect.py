"""What a healthy HTTP service answers: ``expect = { status = ..., json = { ... } }``."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct, field

from probes.config.schema import BAD, Report, Table, join, shown
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

Scalar = str | int | float | bool | None
_RANGE = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_STATUS_EXPECTED: Final = '100 to 599, a range such as "200-299", or a list of these'
_JSON_EXPECTED: Final = "text, a number, true, false, or a list of these"
_MAX_DEPTH: Final = 8


class Expect(Struct, frozen=True):
    """Statuses and JSON values that mean healthy; empty: nothing was said."""

    status: tuple[int, ...] = ()
    json: dict[str, tuple[Scalar, ...]] = field(default_factory=dict[str, tuple[Scalar, ...]])


class _Status:
    def check(self, value: Any, key: str, report: Report) -> Any:
        several = isinstance(value, list)
        items = cast("list[Any]", value) if several else [value]
        found: set[int] = set()
        before = len(report.lines)
        for at, item in enumerate(items):
            codes = self._codes(item)
            if not codes:
                where = f"{key}[{at}]" if several else key
                report.add(where, f"{shown(item)} is not an HTTP status", _STATUS_EXPECTED)
            found.update(codes)
        if not items:
            report.add(key, "is empty", _STATUS_EXPECTED)
        return BAD if len(report.lines) > before else tuple(sorted(found))

    @staticmethod
    def _codes(item: Any) -> range:
        if isinstance(item, str) and (match := _RANGE.fullmatch(item)):
            return range(int(match[1]), int(match[2] or match[1]) + 1)
        if isinstance(item, int) and not isinstance(item, bool) and 100 <= item <= 599:
            return range(item, item + 1)
        return range(0)


class _Json:
    """Dotted path to value or values; tables inside are the dots."""

    def check(self, value: Any, key: str, report: Report) -> Any:
        before = len(report.lines)
        found: dict[str, tuple[Scalar, ...]] = {}
        if not isinstance(value, dict) or not value:
            report.add(key, f"{shown(cast('Any', value))} names no field", 'a table such as { status = "healthy" }')
            return BAD
        for dotted, inner, item in _leaves(cast("dict[str, Any]", value), "", key, 0):
            values = cast("list[Any]", item) if isinstance(item, list) else [item]
            if not all(dotted.split(".")) or clean(dotted) != dotted:
                report.add(inner, "is not the name of a JSON field", "a name, or names with dots between them")
            elif not values or not all(_scalar(one) for one in values):
                report.add(inner, f"{shown(cast('Any', item))} cannot be compared with", _JSON_EXPECTED)
            elif dotted in found:
                report.add(inner, "is given twice", "each field once")
            else:
                found[dotted] = tuple(values)
        return BAD if len(report.lines) > before else found


def _leaves(table: dict[str, Any], path: str, key: str, depth: int) -> Iterator[tuple[str, str, Any]]:
    """Each value of nested tables: its path in the JSON, its key in the file, itself (tables too deep stay tables)."""
    for name, item in table.items():
        dotted = f"{path}.{name}" if depth else name
        if isinstance(item, dict) and item and depth < _MAX_DEPTH:
            yield from _leaves(cast("dict[str, Any]", item), dotted, join(key, name), depth + 1)
        else:
            yield dotted, join(key, name), item


def _scalar(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 256 and clean(value) == value
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and value.bit_length() <= 64


def _expect(kept: dict[str, Any], _wrong: set[str], _key: str, _report: Report) -> Expect:
    return Expect(**kept)


EXPECT = Table({"status": _Status(), "json": _Json()}, finish=_expect, what="a table with status or json")
