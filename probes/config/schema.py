"""A small declarative check of parsed TOML that reports every mistake, each with what was expected.

(msgspec stops at the first one.) A ``Rule`` looks at one value: it returns the value to keep, or says what is wrong to
the ``Report`` and returns ``BAD``. A mistake in one value never hides one in another.
"""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from msgspec import Struct, field

from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: a value that was wrong; its mistake is in the report
BAD: Final = object()
_SHOWN = 60
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_MAX_LINES = 200


class Report(Struct):
    """Collects mistakes of one file. ``lines`` are ready to be shown."""

    file: str
    lines: list[str] = field(default_factory=list[str])
    left_out: int = 0

    def add(self, key: str, wrong: str, expected: str) -> None:
        """Note one mistake as one line; beyond a bound they are only counted."""
        if len(self.lines) >= _MAX_LINES:
            self.left_out += 1
            return
        self.lines.append(f"{self.file}: {key}: {wrong}; expected {expected}")

    def all_lines(self) -> list[str]:
        """Every line, and how many were left out beyond the bound."""
        if not self.left_out:
            return self.lines
        return [*self.lines, f"{self.file}: and {self.left_out} more mistakes"]


class Rule(Protocol):
    """Checks one value."""

    def check(self, value: Any, key: str, report: Report) -> Any:
        """Return what to keep of ``value``, or note mistakes under ``key`` and return ``BAD``."""
        ...


def shown(value: object) -> str:
    """A value as it stands in TOML, shortened and harmless to a terminal."""
    match value:
        case bool():
            text = "true" if value else "false"
        case str():
            text = f'"{value}"'
        case dict():
            text = "a table"
        case list():
            text = "a list"
        case int() if value.bit_length() > 64:  # Python refuses to write out very long ones
            text = "a number of more than 64 bits"
        case _:
            text = str(value)
    return clean(text, _SHOWN)


def join(key: str, name: object) -> str:
    """The dotted key of ``name`` inside ``key``."""
    text = str(name)
    if not _BARE_KEY.match(text):
        text = f'"{clean(text, _SHOWN)}"'
    return f"{key}.{text}" if key else text


def near(word: str, known: Sequence[str]) -> str:
    """`` (did you mean "x"?)`` when a known word is near, else nothing."""
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""


class Text(Struct, frozen=True):
    """Text on one line without control characters.

    ``pattern`` must match all of it; ``expected`` describes that in words.
    """

    expected: str = "text in quotes"
    pattern: re.Pattern[str] | None = None
    max_len: int = 256
    empty: bool = False

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        if not isinstance(value, str):
            report.add(key, f"{shown(value)} is not text", self.expected)
        elif not value and not self.empty:
            report.add(key, "is empty", self.expected)
        elif len(value) > self.max_len:
            report.add(key, f"is {len(value)} characters long", f"at most {self.max_len}")
        elif clean(value, self.max_len) != value:
            report.add(key, f"{shown(value)} has control or invisible characters", self.expected)
        elif self.pattern is not None and not self.pattern.fullmatch(value):
            report.add(key, f"{shown(value)} does not fit", self.expected)
        else:
            return value
        return BAD


class Number(Struct, frozen=True):
    """A finite number in ``low..high``; ``above`` makes the lower bound exclusive. ``noun`` completes "is not ..."."""

    low: float
    high: float
    noun: str = "in range"
    whole: bool = False
    above: bool = False

    def bounds(self) -> str:
        """The bounds in words."""
        if self.above:
            return f"above {_number(self.low)}, at most {_number(self.high)}"
        return f"{_number(self.low)} to {_number(self.high)}"

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        expected = self.bounds()
        kind = "whole number" if self.whole else "number"
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            report.add(key, f"{shown(value)} is not a {kind}", f"a {kind}, {expected}")
            return BAD
        low_ok = value > self.low if self.above else value >= self.low
        if not (low_ok and value <= self.high):  # so written, NaN is refused
            report.add(key, f"{shown(value)} is not {self.noun}", expected)
            return BAD
        return value if self.whole else float(value)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


class Flag(Struct, frozen=True):
    """true or false."""

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        if isinstance(value, bool):
            return value
        report.add(key, f"{shown(value)} is neither true nor false", "true or false")
        return BAD


class Choice(Struct, frozen=True):
    """One of a few values, compared with their type (``True`` is not 1)."""

    values: tuple[str | int | bool, ...]

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        for known in self.values:
            if type(known) is type(value) and known == value:
                return known
        words = [known for known in self.values if isinstance(known, str)]
        hint = near(value, words) if isinstance(value, str) else ""
        report.add(key, f"{shown(value)} is unknown{hint}", one_of([shown(known) for known in self.values]))
        return BAD


def one_of(words: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


class ListOf(Struct, frozen=True):
    """A list of values under one rule, kept as a tuple without the wrong ones (whose mistakes are noted)."""

    item: Rule
    what: str
    max_len: int = 256

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        if not isinstance(value, list):
            report.add(key, f"{shown(value)} is not a list", self.what)
            return BAD
        items = cast("list[Any]", value)
        if len(items) > self.max_len:
            report.add(key, f"has {len(items)} entries", f"at most {self.max_len}")
            return BAD
        checked = [self.item.check(item, f"{key}[{at}]", report) for at, item in enumerate(items)]
        return tuple(item for item in checked if item is not BAD)


class MapOf(Struct, frozen=True):
    """A table with free names, each value under one rule."""

    item: Rule
    what: str
    name: Text = field(default_factory=Text)

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        if not isinstance(value, dict):
            report.add(key, f"{shown(value)} is not a table", self.what)
            return BAD
        kept: dict[str, Any] = {}
        for name, item in cast("dict[str, Any]", value).items():
            inner = join(key, name)
            if self.name.check(name, inner, report) is BAD:
                continue
            checked = self.item.check(item, inner, report)
            if checked is not BAD:
                kept[name] = checked
        return kept


class AnyTable(Struct, frozen=True):
    """A table that is kept as it stands, as long as JSON can hold it too."""

    max_depth: int = 8

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        before = len(report.lines)
        if not isinstance(value, dict):
            report.add(key, f"{shown(value)} is not a table", "a table")
            return BAD
        self._walk(value, key, report, 0)
        return cast("dict[str, Any]", value) if len(report.lines) == before else BAD

    def _walk(self, value: Any, key: str, report: Report, depth: int) -> None:
        if depth > self.max_depth:
            report.add(key, "is nested too deeply", f"at most {self.max_depth} levels")
        elif isinstance(value, dict):
            for name, item in cast("dict[str, Any]", value).items():
                self._walk(name, join(key, name), report, depth)
                self._walk(item, join(key, name), report, depth + 1)
        elif isinstance(value, list):
            for at, item in enumerate(cast("list[Any]", value)):
                self._walk(item, f"{key}[{at}]", report, depth + 1)
        elif isinstance(value, str):
            Text(max_len=65536, empty=True).check(value, key, report)
        elif not _plain_number(value):
            report.add(
                key, f"{shown(value)} has no place here", "text, a finite number, true, false, a list or a table"
            )


def _plain_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and value.bit_length() <= 64


class Table(Struct, frozen=True):
    """A table with known names. ``finish`` may check what spans several fields and build the value to keep.

    Only the fields that were given and right are kept: the caller's types hold the defaults. ``finish`` gets what was
    kept and the names that were wrong, so that it does not call a wrong field a missing one.
    """

    fields: Mapping[str, Rule]
    required: tuple[str, ...] = ()
    finish: Callable[[dict[str, Any], set[str], str, Report], Any] | None = None
    what: str = "a table"

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        if not isinstance(value, dict):
            report.add(key or "file", f"{shown(value)} is not a table", self.what)
            return BAD
        table = cast("dict[str, Any]", value)
        kept: dict[str, Any] = {}
        wrong: set[str] = set()
        for name, item in table.items():
            rule = self.fields.get(name)
            if rule is None:
                hint = near(name, list(self.fields))
                report.add(join(key, name), f"is unknown{hint}", one_of(list(self.fields)))
                continue
            checked = rule.check(item, join(key, name), report)
            if checked is BAD:
                wrong.add(name)
            else:
                kept[name] = checked
        for name in self.required:
            if name not in table:
                report.add(join(key, name), "is missing", _wanted(self.fields[name]))
                wrong.add(name)
        return self.finish(kept, wrong, key, report) if self.finish else kept


def _wanted(rule: Rule) -> str:
    if isinstance(rule, Text):
        return rule.expected
    return "a value"
