"""Making remote text harmless before it is stored.

Every string that comes from a host, a service or an error of theirs passes through ``clean`` once, on the way in. What
is stored afterwards can be shown, logged and exported without another thought (it must still never be parsed as
markup: that is the screen's duty).
"""

from __future__ import annotations

import unicodedata

_DROP = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
MAX_TEXT = 256
_MAX_MARKS = 2


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """Strip control, format (bidi, zero width) and unassigned characters; bound combining marks and length.

    Every kind of space is a plain one afterwards, so that what is left is printable.

    Args:
        text: anything a remote side sent.
        limit: characters kept; a longer text ends in an ellipsis.
    """
    if len(text) > 4 * limit:
        text = text[: 4 * limit]
    if text.isascii() and text.isprintable():
        return text if len(text) <= limit else text[: limit - 1] + "…"
    out: list[str] = []
    marks = 0
    for char in unicodedata.normalize("NFC", text):
        category = unicodedata.category(char)
        if category in _DROP:
            if char in "\t\n\r":
                out.append(" ")
            continue
        if category == "Zs":
            out.append(" ")  # no-break, ideographic and thin ones are not printable, and look like this one
            continue
        if category in ("Mn", "Me"):
            marks += 1
            if marks > _MAX_MARKS or not out:
                continue
        else:
            marks = 0
        out.append(char)
    joined = "".join(out)
    return joined if len(joined) <= limit else joined[: limit - 1] + "…"


def clean_bytes(raw: bytes, limit: int = MAX_TEXT) -> str:
    """``clean`` for bytes of unknown encoding."""
    return clean(raw[: 4 * limit].decode("utf-8", "replace"), limit)
