"""From an HTTP answer to healthy or not, in words. Pure: bytes in, judgement out.

A field that is absent, one that is null, one with another value and a body that is no JSON at all are different facts
and have different words.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from probes.model import Health
from probes.reach.kinds import Expectation, Shape
from probes.text import clean, clean_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_VALUE: Final = 60
_MAX_LINE: Final = 120
_MAX_MODELS: Final = 3
_BOM: Final = b"\xef\xbb\xbf"


class Answer(NamedTuple):
    """What came back: ``cut`` when the body was longer than we read; ``encoding`` its Content-Encoding, if any."""

    status: int
    body: bytes
    reason: str = ""
    location: str = ""
    encoding: str = ""
    cut: bool = False


class Judgement(NamedTuple):
    """Health and the sentence that says why."""

    health: Health
    detail: str


class _Absent:
    """No such field: not the same as null."""


_ABSENT: Final = _Absent()


def judge(answer: Answer, wanted: Expectation) -> Judgement:
    """Judge an answer: status first, then the body's shape, then its fields."""
    shown = _status_words(answer)
    if answer.status not in wanted.statuses:
        line = first_line(answer.body)
        said = f': "{line}"' if line else ""
        return Judgement(Health.FAILING, f"{shown}, expected {ranges(wanted.statuses)}{said}")
    if not wanted.wants_json:
        return Judgement(Health.OK, shown)
    if answer.cut:
        return Judgement(Health.FAILING, f"{answer.status}, but the body is longer than we read, so no JSON to judge")
    document, wrong = _decode(answer)
    if wrong:
        return Judgement(Health.FAILING, f"{answer.status}, but the body is {wrong}")
    return _judge_document(answer.status, document, wanted)


def first_line(body: bytes) -> str:
    """The first line with something in it, harmless and short."""
    for line in body[:4096].splitlines():
        text = clean_bytes(line, _MAX_LINE).strip()
        if text:
            return text
    return ""


def ranges(numbers: Iterable[int]) -> str:
    """``200-299, 304``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def find(document: Any, path: str) -> Any:
    """The value at a dotted path (numbers index lists; a key may itself contain dots), or ``_ABSENT``."""
    if isinstance(document, dict):
        fields = cast("dict[str, Any]", document)
        if path in fields:
            return fields[path]
        # the longest key first would only matter for keys with dots, and those are whole far more often than not
        for at in (i for i, char in enumerate(path) if char == "."):
            if path[:at] in fields:
                return find(fields[path[:at]], path[at + 1 :])
        return _ABSENT
    if isinstance(document, list):
        head, _, rest = path.partition(".")
        items = cast("list[Any]", document)
        if not head.isascii() or not head.isdigit() or len(head) > 9 or int(head) >= len(items):
            return _ABSENT
        return find(items[int(head)], rest) if rest else items[int(head)]
    return _ABSENT


def _decode(answer: Answer) -> tuple[Any, str]:
    """The document, or why there is none."""
    if answer.encoding not in ("", "identity"):
        return None, f"compressed ({clean(answer.encoding, 20)}) although we asked for plain"
    body = answer.body.removeprefix(_BOM).strip()
    if not body:
        return None, "empty, not JSON"
    try:
        return msgspec.json.decode(body), ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, f'not JSON: "{first_line(body)}"'


def _judge_document(status: int, document: Any, wanted: Expectation) -> Judgement:
    if wanted.shape is not Shape.ANY:
        return _judge_shape(status, document, wanted.shape)
    wrong: list[str] = []
    right: list[str] = []
    for path, values in wanted.json.items():
        found = find(document, path)
        # the path comes from our own configuration, the value from the service
        if found is _ABSENT:
            wrong.append(f"{path} is absent, expected {_choices(values)}")
        elif not any(_same(found, value) for value in values):
            wrong.append(f"{path} is {_shown(found)}, expected {_choices(values)}")
        else:
            right.append(f"{path} {_shown(found)}")
    if wrong:
        return Judgement(Health.FAILING, f"{status}, but " + "; ".join(wrong))
    return Judgement(Health.OK, ", ".join([str(status), *right, *_notes(document, wanted)]))


def _judge_shape(status: int, document: Any, shape: Shape) -> Judgement:
    if shape is Shape.STRING:
        if isinstance(document, str) and document:
            return Judgement(Health.OK, f"{status}, version {clean(document, _MAX_VALUE)}")
        return Judgement(Health.FAILING, f"{status}, but the version is {_shown(document)}, expected {shape.value}")
    models = find(document, "data")
    if not isinstance(models, list):
        what = "absent" if models is _ABSENT else _shown(models)
        return Judgement(Health.FAILING, f"{status}, but data is {what}, expected {shape.value}")
    names = [find(model, "id") for model in cast("list[Any]", models)]
    if not names:
        return Judgement(Health.FAILING, f"{status}, but it serves no model")
    listed = ", ".join(clean(name, _MAX_VALUE) for name in names[:_MAX_MODELS] if isinstance(name, str))
    more = f" and {len(names) - _MAX_MODELS} more" if len(names) > _MAX_MODELS else ""
    return Judgement(Health.OK, f"{status}, {len(names)} model{'s' if len(names) > 1 else ''}: {listed}{more}")


def _notes(document: Any, wanted: Expectation) -> list[str]:
    notes: list[str] = []
    for label, paths in wanted.notes.items():
        found = next((value for path in paths if isinstance(value := find(document, path), str | int | float)), None)
        if found is not None:
            notes.append(f"{label} {clean(str(found), _MAX_VALUE)}")
    return notes


def _same(found: Any, wanted: Any) -> bool:
    """Equal as JSON: true is not 1, 1 is 1.0."""
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return clean(msgspec.json.encode(value).decode(), _MAX_VALUE)


def _choices(values: tuple[Any, ...]) -> str:
    return " or ".join(_shown(value) for value in values)


def _status_words(answer: Answer) -> str:
    words = clean(answer.reason, 40) or _PHRASES.get(answer.status, "")
    shown = f"{answer.status} {words}".rstrip()
    if answer.location and 300 <= answer.status < 400:
        shown += f" to {clean(answer.location, _MAX_LINE)}, not followed"
    return shown


_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
