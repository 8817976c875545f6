"""The signs of the screen, each table in Unicode and in plain ASCII; a state is never told by colour alone."""

from __future__ import annotations

import locale
import os
from typing import Final

from msgspec import Struct

from probes.model import LinkState, PortState

#: state words, long (wide screens) and short (80 columns)
WORDS: Final = {
    LinkState.CONNECTING: ("connecting", "connect"),
    LinkState.LIVE: ("live", "live"),
    LinkState.STALE: ("stale", "stale"),
    LinkState.UNREACHABLE: ("unreachable", "unreach"),
    LinkState.AUTH_FAILED: ("auth failed", "no auth"),
    LinkState.HOST_KEY_UNKNOWN: ("key unknown", "key unkn"),
    LinkState.HOST_KEY_CHANGED: ("KEY CHANGED", "KEY CHGD"),
    LinkState.AGENT_FAILED: ("agent failed", "no agent"),
    LinkState.PAUSED: ("paused", "paused"),
}


class Glyphs(Struct, frozen=True, gc=False):
    """One table of signs, each one cell wide unless said otherwise.

    ``levels`` is indexed by ``Level`` (fine, degraded, unknown, down); ``heat`` from idle to full.
    """

    levels: str
    heat: str
    lost: str
    missing: str
    more: str
    mark: str
    paused: str
    open: str
    open_unknown: str
    failing: str
    not_probed: str
    ports: dict[PortState, str]
    unknown: str
    ellipsis: str
    up: str
    down: str
    folded: str
    unfolded: str
    separator: str
    line: str
    bar: str
    degrees: str

    def text(self, text: str) -> str:
        """A text of ours in this table: in ASCII its dashes, degrees and ellipses are spelt with ASCII characters."""
        if self.ellipsis != "~" or text.isascii():
            return text
        return "".join(char if char.isascii() else _SPELT.get(char, "?") for char in text)


_SPELT: Final = {"—": "-", "…": "~", "°": "", "·": "|", "▲": "^", "▼": "v", "●": "*", "→": ">"}
_PLAIN: Final = ("C", "POSIX")
_PORTS: Final = {
    PortState.REFUSED: "r",
    PortState.FILTERED: "f",
    PortState.REJECTED: "x",
    PortState.UNREACHABLE: "u",
    PortState.UNRESOLVED: "n",
}

UNICODE: Final = Glyphs(
    levels="●▲?✖",
    heat="▁▂▃▄▅▆▇█",
    lost="x",
    missing="?",
    more="»",
    mark="*",
    paused="=",
    open="●",
    open_unknown="○",
    failing="◐",
    not_probed="·",
    ports=_PORTS,
    unknown="—",
    ellipsis="…",
    up="▲",
    down="▼",
    folded="▸",
    unfolded="▾",
    separator="·",
    line="─",
    bar="│",
    degrees="°C",
)
ASCII: Final = Glyphs(
    levels="+!?X",
    heat="0123456789",
    lost="x",
    missing="?",
    more=">",
    mark="*",
    paused="=",
    open="+",
    open_unknown="o",
    failing="!",
    not_probed=".",
    ports=_PORTS,
    unknown="-",
    ellipsis="~",
    up="^",
    down="v",
    folded=">",
    unfolded="v",
    separator="|",
    line="-",
    bar="|",
    degrees="C",
)


def locale_is_ascii() -> bool:
    """Whether the locale's encoding cannot carry the Unicode table (``LC_ALL=C``, ``ISO-8859-1``, ...).

    Python itself sets LC_CTYPE to C.UTF-8 when only LANG=C is given (PEP 538), so that pair is read as LANG=C.
    """
    every, ctype, lang = (os.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    if not every and lang in _PLAIN and ctype in ("C.UTF-8", "C.utf8", "UTF-8"):
        return True
    named = every or ctype or lang
    if named in _PLAIN:
        return True
    encoding = named.rpartition(".")[2] if "." in named else locale.getpreferredencoding(do_setlocale=False)
    return encoding.partition("@")[0].lower().replace("-", "") != "utf8"


def glyphs_for(ascii_only: bool | None) -> Glyphs:  # noqa: FBT001 - the one setting this is about
    """The table to use: as configured, else as the locale allows."""
    if ascii_only is None:
        ascii_only = locale_is_ascii()
    return ASCII if ascii_only else UNICODE
