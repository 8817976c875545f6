"""What ``[keys]`` may name: a character, or one of the names under which a terminal's other keys are known."""

from __future__ import annotations

import string
import unicodedata
from typing import Final

_MODIFIERS: Final = frozenset({"alt", "ctrl", "hyper", "meta", "shift", "super"})
_NAMES: Final = frozenset(
    {
        *("up", "down", "left", "right", "home", "end", "pageup", "pagedown"),
        *("enter", "escape", "tab", "space", "backspace", "insert", "delete"),
        # characters that Unicode calls otherwise
        *("slash", "backslash", "at", "minus", "plus", "underscore"),
        *(f"f{number}" for number in range(1, 25)),
    }
)
#: what keys are called elsewhere, our own help included
_OTHERWISE: Final = {
    "esc": "escape",
    "return": "enter",
    "pgup": "pageup",
    "page_up": "pageup",
    "pgdn": "pagedown",
    "page_down": "pagedown",
    "del": "delete",
    "ins": "insert",
}


def is_key(name: str) -> bool:
    """Whether a key can be called this; upper case is another character, and of names there is none."""
    *modifiers, key = name.rsplit("+", 1) if len(name) > 1 else [name]
    if modifiers and not set(modifiers[0].split("+")) <= _MODIFIERS:
        return False
    if len(key) == 1:
        return not (modifiers and key.isupper())
    return key in _NAMES or _is_character(key)


def meant(name: str) -> str | None:
    """The key that was meant by a name that is none, if that is clear."""
    modifiers, plus, key = name.lower().rpartition("+")
    likely = f"{modifiers}{plus}{_OTHERWISE.get(key, key)}"
    return likely if is_key(likely) else None


def _is_character(name: str) -> bool:
    """Whether Unicode has a character of that name, written as in ``question_mark``."""
    if name in _PUNCTUATION:
        return True
    try:
        char = unicodedata.lookup(name.replace("_", " "))
    except KeyError:
        return False
    return char.isprintable() and _written(char) == name  # ESC and others are names, too, but not of characters


def _written(char: str) -> str:
    return unicodedata.name(char, "").lower().replace("-", "_").replace(" ", "_")


_PUNCTUATION: Final = frozenset(map(_written, string.punctuation))
