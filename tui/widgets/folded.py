"""Text of any origin over several lines: made harmless, broken at spaces, nothing lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.text import clean
from tui.format import cells, fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.widgets.lines import Row, Span

#: longer than any command or statement of ours
_LIMIT: Final = 8000
#: terminals disagree about the width of what these select
_SELECTORS: Final = ("\ufe0f", "\ufe0e")
_NARROW: Final = 8


def tidy(text: str) -> str:
    """A text that can be measured and shown: no control, format or selector characters."""
    text = clean(text, _LIMIT)
    if not text.isascii():
        for selector in _SELECTORS:
            text = text.replace(selector, "")
    return text


def cell(text: str, width: int) -> str:
    """The same in exactly ``width`` cells."""
    return fit(tidy(text), width)


def pieces(text: str, width: int) -> list[str]:
    """A text broken at spaces into lines of at most ``width`` cells; a word that is longer is broken inside."""
    width = max(width, 2)
    lines: list[str] = []
    line = ""
    for word in tidy(text).split(" "):
        candidate = f"{line} {word}" if line else word
        if cells(candidate) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        line = word
        while cells(line) > width:
            head = _prefix(line, width)
            lines.append(head)
            line = line[len(head) :]
    return [*lines, line]


def _prefix(word: str, width: int) -> str:
    """The longest beginning that fits; always at least one character."""
    at, used = 0, 0
    while at < len(word):
        used = cells(word[: at + 1]) if not word.isascii() else at + 1
        if used > width:
            break
        at += 1
    return word[: max(at, 1)]


def folded(
    text: str, width: int, style: str, *, head: Sequence[Span] = (), indent: int | None = None, limit: int | None = None
) -> list[Row]:
    """Rows of at most ``width`` cells.

    Args:
        text: of any origin.
        width: cells of a row, ``head`` included.
        style: of the text.
        head: what the first row starts with, already fitted.
        indent: cells before the rows after the first; None: as wide as ``head``.
        limit: rows at most; the last one then ends with an ellipsis.
    """
    start = sum(cells(part) for part, _ in head)
    indent = start if indent is None else indent
    if width - max(start, indent) < _NARROW:
        # no room beside what stands before: the text goes below it
        if not head:
            return [((cell(text, width), style),)]
        return [tuple(_cut(head, width)), *(folded(text, width, style, limit=limit) if text else [])]
    lines = pieces(text, width - max(start, indent))
    if limit is not None and len(lines) > limit:
        lines = [*lines[: limit - 1], _ended(lines[limit - 1], width - max(start, indent))]
    pad: Span = (" " * indent, "text")
    return [((*head, (line, style)) if at == 0 else (pad, (line, style))) for at, line in enumerate(lines)]


def _cut(spans: Sequence[Span], width: int) -> list[Span]:
    out: list[Span] = []
    for text, style in spans:
        room = width - sum(cells(part) for part, _ in out)
        if room < 1:
            break
        out.append((text if cells(text) <= room else fit(text, room), style))
    return out


def _ended(line: str, width: int) -> str:
    return line + "…" if cells(line) < width else _prefix(line, width - 1) + "…"
