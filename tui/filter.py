"""The filter language of the fleet screen: ``temp>85 & host~=gpu | !live``.

::

    expression := and ( "|" and )*
    and        := not ( "&"? not )*          two terms side by side mean "&"
    not        := "!" not | "(" expression ")" | term
    term       := FIELD OP VALUE | WORD
    OP         := "=" "!=" "~=" ">" "<" ">=" "<="

A bare word is looked for in host id, groups, state and reasons. ``~=`` is "contains", or a pattern when the value has
``*`` or ``?`` (no regular expressions: they can be made to hang). Text compares without case; ``_`` and space are one.

An unknown value matches no comparison, not even a negated one: ``!(temp>85)`` are the hosts *known* to be cool.
``temp=?`` are the hosts whose value is unknown, ``temp!=?`` the others. Values never are guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:
    from tui.rows import Row

#: True, False, or None for "cannot be told"
Verdict = bool | None
Test = Callable[["Row", float], Verdict]

MAX_LENGTH: Final = 500
_MAX_DEPTH: Final = 50


class FilterError(ValueError):
    """The expression cannot be understood; ``position`` is the character where."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"at {position + 1}: {message}")
        self.message = message
        self.position = position


class Filter(Struct, frozen=True, gc=False):
    """A compiled expression."""

    text: str
    test: Test

    def matches(self, row: Row, now_boot_s: float) -> bool:
        """Whether a host is known to match."""
        return self.test(row, now_boot_s) is True


Numbers = Callable[["Row", float], float | None]
Texts = Callable[["Row"], "tuple[str, ...] | None"]

_PLAIN: Final = {"": 1.0}
_PERCENT: Final = {"": 1.0, "%": 1.0}
_CELSIUS: Final = {"": 1.0, "c": 1.0, "°c": 1.0}
_WATTS: Final = {"": 1.0, "w": 1.0, "kw": 1e3}
_SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RATE: Final = {"": 1.0, "k": 1024.0, "m": 1024.0**2, "g": 1024.0**3}

#: field -> (what it is, units it may be given in, how to read it)
NUMBERS: Final[dict[str, tuple[str, dict[str, float], Numbers]]] = {
    "temp": ("hottest GPU, °C", _CELSIUS, lambda row, _: row.temp),
    "util": ("mean utilisation of the GPUs, %", _PERCENT, lambda row, _: row.util),
    "gpumem": ("used GPU memory, %", _PERCENT, lambda row, _: row.gpumem),
    "power": ("power of the GPUs, W", _WATTS, lambda row, _: row.power),
    "gpus": ("number of GPUs", _PLAIN, lambda row, _: row.gpus),
    "lost": ("number of lost GPUs", _PLAIN, lambda row, _: row.lost if row.gpus is not None else None),
    "cpu": ("CPU utilisation, %", _PERCENT, lambda row, _: row.cpu),
    "mem": ("used memory, %", _PERCENT, lambda row, _: row.mem),
    "load": ("load average of 1 minute", _PLAIN, lambda row, _: row.load),
    "disk": ("fullest file system, %", _PERCENT, lambda row, _: row.disk),
    "rx": ("received, bytes/s", _RATE, lambda row, _: row.rx),
    "tx": ("sent, bytes/s", _RATE, lambda row, _: row.tx),
    "age": ("age of the last sample, s", _SECONDS, lambda row, now: row.age_s(now)),
    "for": ("time in this condition, s", _SECONDS, lambda row, now: now - row.since_boot_s),
}


def _one(value: str | None) -> tuple[str, ...] | None:
    return None if value is None else (value,)


def _gpu_names(row: Row) -> tuple[str, ...] | None:
    return row.gpu_names() or None


TEXTS: Final[dict[str, tuple[str, Texts]]] = {
    "host": ("host id", lambda row: (row.id_text,)),
    "address": ("address", lambda row: (row.record.host.address,)),
    "group": ("any of its groups", lambda row: row.record.host.groups),
    "state": ("link state", lambda row: (row.record.link.state.value,)),
    "level": ("fine, degraded, unknown or down", lambda row: (row.level.name,)),
    "reason": ("any reason or the link's cause", lambda row: (*row.reasons, row.record.link.cause or "")),
    "gpu": ("any GPU's name", _gpu_names),
    "mode": ("agent mode", lambda row: _one(row.record.hello.mode if row.record.hello else None)),
    "driver": ("driver version", lambda row: _one(row.record.hello.driver if row.record.hello else None)),
    "kernel": ("kernel version", lambda row: _one(row.record.hello.kernel if row.record.hello else None)),
}
#: fields with a name of the user's behind a dot
DOTTED: Final = {
    "label": "a label of the host, as in label.zone=a",
    "service": "a service: its port's state and its health, as in service.ssh=refused or service.api=failing",
}

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)|(?P<op>~=|!=|>=|<=|==|=|>|<)|(?P<mark>[&|!()])|(?P<quoted>"[^"]*"|'[^']*')|(?P<word>[^\s&|!()<>=~"']+)"""
)
_NUMBER: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(.*)", re.DOTALL)


class _Token(Struct, frozen=True, gc=False):
    kind: str
    text: str
    at: int


def parse(text: str) -> Filter | None:
    """Compile an expression; None for an empty one.

    Raises:
        FilterError: with the position and what was expected.
    """
    if len(text) > MAX_LENGTH:
        raise FilterError(f"longer than {MAX_LENGTH} characters", MAX_LENGTH)
    tokens = _tokens(text)
    if len(tokens) == 1:
        return None
    parser = _Parser(tokens)
    test = parser.either(0)
    left = parser.peek
    if left.kind != "end":
        raise FilterError(f"unexpected {left.text!r}", left.at)
    return Filter(text.strip(), test)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            what = "quote is not closed" if text[at] in "\"'" else f"unexpected {text[at]!r}"
            raise FilterError(what, at)
        kind = str(match.lastgroup)
        if kind == "quoted":
            found.append(_Token(kind, match.group()[1:-1], at))
        elif kind != "space":
            found.append(_Token(kind, match.group(), at))
        at = match.end()
    found.append(_Token("end", "", len(text)))
    return found


class _Parser:
    """Recursive descent over the tokens; each method returns the test of what it read."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def peek(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def either(self, depth: int) -> Test:
        tests = [self._all(depth)]
        while self.peek.text == "|" and self.peek.kind == "mark":
            self._take()
            tests.append(self._all(depth))
        return tests[0] if len(tests) == 1 else _any_of(tests)

    def _all(self, depth: int) -> Test:
        tests = [self._negation(depth)]
        while True:
            token = self.peek
            if token.kind == "mark" and token.text == "&":
                self._take()
            elif token.kind == "end" or (token.kind == "mark" and token.text in "|)"):
                break
            tests.append(self._negation(depth))
        return tests[0] if len(tests) == 1 else _all_of(tests)

    def _negation(self, depth: int) -> Test:
        token = self._take()
        if depth > _MAX_DEPTH:
            raise FilterError("nested too deeply", token.at)
        if token.kind == "mark" and token.text == "!":
            inner = self._negation(depth + 1)
            return _negated(inner)
        if token.kind == "mark" and token.text == "(":
            inner = self.either(depth + 1)
            closing = self._take()
            if closing.kind != "mark" or closing.text != ")":
                raise FilterError("expected )", closing.at)
            return inner
        if token.kind in ("word", "quoted"):
            return self._term(token)
        what = "a condition is missing here" if token.kind == "end" else f"unexpected {token.text!r}"
        raise FilterError(f"{what}: expected a word or FIELD OP VALUE", token.at)

    def _term(self, token: _Token) -> Test:
        if self.peek.kind != "op" or token.kind == "quoted":
            return _bare(token.text)
        op = self._take()
        value = self._take()
        if value.kind not in ("word", "quoted"):
            raise FilterError(f"a value is missing after {op.text}", value.at)
        return _comparison(token, "=" if op.text == "==" else op.text, op.at, value)


def _comparison(field: _Token, op: str, op_at: int, value: _Token) -> Test:
    name = field.text.casefold()
    missing = value.kind == "word" and value.text == "?"
    if missing and op not in ("=", "!="):
        raise FilterError("? (unknown) goes with = or !=", value.at)
    if name in NUMBERS:
        _, units, number = NUMBERS[name]
        if missing:
            return _is_missing(number, wanted=op == "=")
        if op == "~=":
            raise FilterError(f"{name} is a number: use = != > < >= <=", op_at)
        return _numeric(number, op, _number(value, units))
    texts = _texts(field)
    if missing:
        return _is_missing(lambda row, _: texts(row) or None, wanted=op == "=")
    if op not in ("=", "!=", "~="):
        raise FilterError(f"{name} is text: use = != ~=", op_at)
    return _textual(texts, op, _fold(value.text))


def _texts(field: _Token) -> Texts:
    name = field.text.casefold()
    if name in TEXTS:
        return TEXTS[name][1]
    head, dot, rest = field.text.partition(".")
    if dot and rest and head.casefold() == "label":
        return lambda row: _one(row.record.host.labels.get(rest))
    if dot and rest and head.casefold() == "service":
        return lambda row: _service(row, rest)
    raise FilterError(f"no field {field.text!r}: {_known(name)}", field.at)


def _service(row: Row, name: str) -> tuple[str, ...] | None:
    state = row.record.services.get(name)
    if state is None:
        return None
    return (state.state.value, state.health.value) if state.health.value != "unknown" else (state.state.value,)


def _known(name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for a mistake

    every = [*NUMBERS, *TEXTS, "label.NAME", "service.NAME"]
    near = get_close_matches(name, every, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "fields are " + ", ".join(every)


def _number(value: _Token, units: dict[str, float]) -> float:
    match = _NUMBER.fullmatch(value.text)
    scale = units.get(match.group(2).strip().casefold()) if match else None
    if match is None or scale is None:
        allowed = ", ".join(unit for unit in units if unit)
        raise FilterError(f"{value.text!r} is not a number" + (f" (units: {allowed})" if allowed else ""), value.at)
    return float(match.group(1)) * scale


def _numeric(number: Numbers, op: str, limit: float) -> Test:
    compare = _COMPARE[op]

    def test(row: Row, now_boot_s: float) -> Verdict:
        value = number(row, now_boot_s)
        return None if value is None else compare(value, limit)

    return test


_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "=": lambda value, limit: value == limit,
    "!=": lambda value, limit: value != limit,
    ">": lambda value, limit: value > limit,
    "<": lambda value, limit: value < limit,
    ">=": lambda value, limit: value >= limit,
    "<=": lambda value, limit: value <= limit,
}


def _textual(texts: Texts, op: str, wanted: str) -> Test:
    fits: Callable[[str], bool]
    if op == "~=" and not {"*", "?"}.isdisjoint(wanted):
        fits = lambda text: glob(wanted, text)  # noqa: E731 - one of three alternatives
    elif op == "~=":
        fits = lambda text: wanted in text  # noqa: E731
    else:
        fits = lambda text: text == wanted  # noqa: E731

    def test(row: Row, _now_boot_s: float) -> Verdict:
        values = texts(row)
        if values is None:
            return None
        found = any(fits(_fold(value)) for value in values)
        return not found if op == "!=" else found

    return test


def _is_missing(read: Callable[[Row, float], Any], *, wanted: bool) -> Test:
    return lambda row, now: (read(row, now) is None) is wanted


def _bare(word: str) -> Test:
    wanted = _fold(word)

    def test(row: Row, _now_boot_s: float) -> Verdict:
        record = row.record
        return (
            wanted in _fold(row.id_text)
            or wanted in _fold(record.link.state.value)
            or any(wanted in _fold(group) for group in record.host.groups)
            or wanted in _fold(row.reason)
            or any(wanted in _fold(reason) for reason in row.reasons)
        )

    return test


def _any_of(tests: list[Test]) -> Test:
    def test(row: Row, now_boot_s: float) -> Verdict:
        verdict: Verdict = False
        for inner in tests:
            found = inner(row, now_boot_s)
            if found:
                return True
            if found is None:
                verdict = None
        return verdict

    return test


def _all_of(tests: list[Test]) -> Test:
    def test(row: Row, now_boot_s: float) -> Verdict:
        verdict: Verdict = True
        for inner in tests:
            found = inner(row, now_boot_s)
            if found is False:
                return False
            if found is None:
                verdict = None
        return verdict

    return test


def _negated(inner: Test) -> Test:
    def test(row: Row, now_boot_s: float) -> Verdict:
        found = inner(row, now_boot_s)
        return None if found is None else not found

    return test


def _fold(text: str) -> str:
    return text.casefold().replace("_", " ")


def glob(pattern: str, text: str) -> bool:
    """Whether a whole text fits a pattern of ``*`` and ``?``; at most len(pattern) x len(text) steps."""
    at = here = 0
    star, retry = -1, 0
    while here < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, retry = at, here
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[here]):
            at += 1
            here += 1
        elif star >= 0:
            retry += 1
            at, here = star + 1, retry
        else:
            return False
    return pattern[at:].strip("*") == ""
