"""The language of filters: a grammar, and the fields of whatever is filtered. No field of its own.

::

    expression := and ( "|" and )*
    and        := not ( "&"? not )*          two terms side by side mean "&"
    not        := "!" not | "(" expression ")" | term
    term       := FIELD OP VALUE | WORD
    OP         := "=" "!=" "~=" ">" "<" ">=" "<="

``~=`` is "contains", or a pattern when the value has ``*`` or ``?`` (no regular expressions: they can be made to hang).
Text compares without case; ``_`` and space are one.

An unknown value matches no comparison, not even a negated one: ``!(temp>85)`` are those *known* to be cool. ``temp=?``
are those whose value is unknown, ``temp!=?`` the others. Values never are guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct

#: what is filtered
Item = TypeVar("Item")
#: True, False, or None for "cannot be told"
Verdict = bool | None
Test = Callable[[Item, float], Verdict]
Numbers = Callable[[Item, float], "float | None"]
Texts = Callable[[Item], "tuple[str, ...] | None"]

MAX_LENGTH: Final = 500
_MAX_DEPTH: Final = 50


class FilterError(ValueError):
    """The expression cannot be understood; ``position`` is the character where."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"at {position + 1}: {message}")
        self.message = message
        self.position = position


class Filter(Struct, Generic[Item], frozen=True, gc=False):
    """A compiled expression."""

    text: str
    test: Test[Item]

    def matches(self, item: Item, now_boot_s: float) -> bool:
        """Whether an item is known to match."""
        return self.test(item, now_boot_s) is True


def _none_dotted(_head: str, _rest: str) -> Any:
    return None


class Language(Struct, Generic[Item], frozen=True):
    """The fields.

    ``numbers``: field -> (what it is, units it may be given in, how to read it); ``texts``: field -> (what it is, how
    to read it). ``bare``: where a bare word is looked for. ``dotted``: how to read ``HEAD.REST``, None where there is
    no such head; ``dotted_names`` are said where a field is not known.
    """

    numbers: dict[str, tuple[str, dict[str, float], Numbers[Item]]]
    texts: dict[str, tuple[str, Texts[Item]]]
    bare: Callable[[Item], Iterable[str]]
    dotted: Callable[[str, str], Texts[Item] | None] = _none_dotted
    dotted_names: tuple[str, ...] = ()


_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)|(?P<op>~=|!=|>=|<=|==|=|>|<)|(?P<mark>[&|!()])|(?P<quoted>"[^"]*"|'[^']*')|(?P<word>[^\s&|!()<>=~"']+)"""
)
_NUMBER: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(.*)", re.DOTALL)


class _Token(Struct, frozen=True, gc=False):
    kind: str
    text: str
    at: int


def parse_in(language: Language[Item], text: str) -> Filter[Item] | None:
    """Compile an expression; None for an empty one.

    Raises:
        FilterError: with the position and what was expected.
    """
    if len(text) > MAX_LENGTH:
        raise FilterError(f"longer than {MAX_LENGTH} characters", MAX_LENGTH)
    tokens = _tokens(text)
    if len(tokens) == 1:
        return None
    parser = _Parser(language, tokens)
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


class _Parser(Generic[Item]):
    """Recursive descent over the tokens; each method returns the test of what it read."""

    def __init__(self, language: Language[Item], tokens: list[_Token]) -> None:
        self._language = language
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

    def either(self, depth: int) -> Test[Item]:
        tests = [self._all(depth)]
        while self.peek.text == "|" and self.peek.kind == "mark":
            self._take()
            tests.append(self._all(depth))
        return tests[0] if len(tests) == 1 else _any_of(tests)

    def _all(self, depth: int) -> Test[Item]:
        tests = [self._negation(depth)]
        while True:
            token = self.peek
            if token.kind == "mark" and token.text == "&":
                self._take()
            elif token.kind == "end" or (token.kind == "mark" and token.text in "|)"):
                break
            tests.append(self._negation(depth))
        return tests[0] if len(tests) == 1 else _all_of(tests)

    def _negation(self, depth: int) -> Test[Item]:
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

    def _term(self, token: _Token) -> Test[Item]:
        if self.peek.kind != "op" or token.kind == "quoted":
            return _bare(self._language, token.text)
        op = self._take()
        value = self._take()
        if value.kind not in ("word", "quoted"):
            raise FilterError(f"a value is missing after {op.text}", value.at)
        return _comparison(self._language, token, "=" if op.text == "==" else op.text, op.at, value)


def _comparison(language: Language[Item], field: _Token, op: str, op_at: int, value: _Token) -> Test[Item]:
    name = field.text.casefold()
    missing = value.kind == "word" and value.text == "?"
    if missing and op not in ("=", "!="):
        raise FilterError("? (unknown) goes with = or !=", value.at)
    if name in language.numbers:
        _, units, number = language.numbers[name]
        if missing:
            return _is_missing(number, wanted=op == "=")
        if op == "~=":
            raise FilterError(f"{name} is a number: use = != > < >= <=", op_at)
        return _numeric(number, op, _number(value, units))
    texts = _texts(language, field)
    if missing:
        return _is_missing(lambda row, _: texts(row) or None, wanted=op == "=")
    if op not in ("=", "!=", "~="):
        raise FilterError(f"{name} is text: use = != ~=", op_at)
    return _textual(texts, op, _fold(value.text))


def _texts(language: Language[Item], field: _Token) -> Texts[Item]:
    name = field.text.casefold()
    if name in language.texts:
        return language.texts[name][1]
    head, dot, rest = field.text.partition(".")
    read = language.dotted(head.casefold(), rest) if dot and rest else None
    if read is None:
        raise FilterError(f"no field {field.text!r}: {_known(language, name)}", field.at)
    return read


def _known(language: Language[Any], name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for a mistake

    every = [*language.numbers, *language.texts, *language.dotted_names]
    near = get_close_matches(name, every, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "fields are " + ", ".join(every)


def _number(value: _Token, units: dict[str, float]) -> float:
    match = _NUMBER.fullmatch(value.text)
    scale = units.get(match.group(2).strip().casefold()) if match else None
    if match is None or scale is None:
        allowed = ", ".join(unit for unit in units if unit)
        raise FilterError(f"{value.text!r} is not a number" + (f" (units: {allowed})" if allowed else ""), value.at)
    return float(match.group(1)) * scale


def _numeric(number: Numbers[Item], op: str, limit: float) -> Test[Item]:
    compare = _COMPARE[op]

    def test(item: Item, now_boot_s: float) -> Verdict:
        value = number(item, now_boot_s)
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


def _textual(texts: Texts[Item], op: str, wanted: str) -> Test[Item]:
    fits: Callable[[str], bool]
    if op == "~=" and not {"*", "?"}.isdisjoint(wanted):
        fits = lambda text: glob(wanted, text)  # noqa: E731 - one of three alternatives
    elif op == "~=":
        fits = lambda text: wanted in text  # noqa: E731
    else:
        fits = lambda text: text == wanted  # noqa: E731

    def test(item: Item, _now_boot_s: float) -> Verdict:
        values = texts(item)
        if values is None:
            return None
        found = any(fits(_fold(value)) for value in values)
        return not found if op == "!=" else found

    return test


def _is_missing(read: Callable[[Item, float], Any], *, wanted: bool) -> Test[Item]:
    return lambda row, now: (read(row, now) is None) is wanted


def _bare(language: Language[Item], word: str) -> Test[Item]:
    wanted = _fold(word)

    def test(item: Item, _now_boot_s: float) -> Verdict:
        return any(wanted in _fold(text) for text in language.bare(item))

    return test


def _any_of(tests: list[Test[Item]]) -> Test[Item]:
    def test(item: Item, now_boot_s: float) -> Verdict:
        verdict: Verdict = False
        for inner in tests:
            found = inner(item, now_boot_s)
            if found:
                return True
            if found is None:
                verdict = None
        return verdict

    return test


def _all_of(tests: list[Test[Item]]) -> Test[Item]:
    def test(item: Item, now_boot_s: float) -> Verdict:
        verdict: Verdict = True
        for inner in tests:
            found = inner(item, now_boot_s)
            if found is False:
                return False
            if found is None:
                verdict = None
        return verdict

    return test


def _negated(inner: Test[Item]) -> Test[Item]:
    def test(item: Item, now_boot_s: float) -> Verdict:
        found = inner(item, now_boot_s)
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
