"""Themes: Textual's colours for widgets, and a ``Palette`` of ready-made styles for lines drawn by hand.

Every meaning also has a glyph or a word; ``mono`` uses no colour at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from rich.style import Style
from textual.theme import Theme

DEFAULT: Final = "dark"


@dataclass(frozen=True, slots=True)
class Palette:
    """Styles by meaning. ``old`` is for values that are not from now; ``heat_*`` for the per-GPU strip."""

    text: Style
    strong: Style
    muted: Style
    old: Style
    good: Style
    warn: Style
    bad: Style
    unknown: Style
    accent: Style
    header: Style
    sorted: Style
    group: Style
    mark: Style
    cursor: Style
    alert: Style
    simulated: Style


@dataclass(frozen=True, slots=True)
class _Colors:
    background: str
    surface: str
    panel: str
    text: str
    muted: str
    old: str
    good: str
    warn: str
    bad: str
    unknown: str
    accent: str
    cursor: str
    dark: bool


_COLORS: Final = {
    "dark": _Colors(
        "#0f1318", "#171d24", "#202833", "#d7dde4", "#8b98a7", "#75818f", "#63c47c", "#e8b64c", "#ff6e67",
        "#c792ea", "#5cc1ff", "#2b3d52", dark=True,
    ),
    "light": _Colors(
        "#fbfbfa", "#f0f1f2", "#e2e5e9", "#1d2329", "#5c6670", "#737d87", "#14702f", "#8a5a00", "#c11722",
        "#7a3ec8", "#0a5fb4", "#cfe2f7", dark=False,
    ),
    "colour-blind": _Colors(
        "#0f1318", "#171d24", "#202833", "#d7dde4", "#8b98a7", "#75818f", "#56b4e9", "#f0e442", "#ff8c1a",
        "#cc99cc", "#9ad0f5", "#2b3d52", dark=True,
    ),
    "mono": _Colors(
        "#000000", "#000000", "#000000", "#e6e6e6", "#b0b0b0", "#909090", "#e6e6e6", "#e6e6e6", "#e6e6e6",
        "#e6e6e6", "#e6e6e6", "#303030", dark=True,
    ),
}  # fmt: skip
NAMES: Final = tuple(_COLORS)


def themes() -> list[Theme]:
    """The themes to register with the application."""
    return [
        Theme(
            name=name,
            primary=c.accent,
            secondary=c.muted,
            warning=c.warn,
            error=c.bad,
            success=c.good,
            accent=c.accent,
            foreground=c.text,
            background=c.background,
            surface=c.surface,
            panel=c.panel,
            dark=c.dark,
        )
        for name, c in _COLORS.items()
    ]


@lru_cache(maxsize=8)
def palette(name: str) -> Palette:
    """The hand-drawn styles of a theme; an unknown name gets the default's."""
    if name == "mono":
        return _mono()
    c = _COLORS.get(name) or _COLORS[DEFAULT]
    return Palette(
        text=Style(color=c.text),
        strong=Style(color=c.text, bold=True),
        muted=Style(color=c.muted),
        old=Style(color=c.old, italic=True),
        good=Style(color=c.good),
        warn=Style(color=c.warn),
        bad=Style(color=c.bad, bold=True),
        unknown=Style(color=c.unknown),
        accent=Style(color=c.accent),
        header=Style(color=c.muted, bgcolor=c.panel),
        sorted=Style(color=c.accent, bgcolor=c.panel, bold=True),
        group=Style(color=c.accent, bold=True),
        mark=Style(color=c.accent, bold=True),
        cursor=Style(bgcolor=c.cursor),
        alert=Style(color=c.background, bgcolor=c.bad, bold=True),
        simulated=Style(color=c.background, bgcolor=c.warn, bold=True),
    )


def _mono() -> Palette:
    plain, bold, dim, reverse = Style(), Style(bold=True), Style(dim=True), Style(reverse=True)
    return Palette(
        text=plain,
        strong=bold,
        muted=dim,
        old=Style(dim=True, italic=True),
        good=plain,
        warn=bold,
        bad=Style(bold=True, reverse=True),
        unknown=Style(italic=True),
        accent=bold,
        header=Style(underline=True),
        sorted=Style(underline=True, bold=True),
        group=Style(bold=True, underline=True),
        mark=bold,
        cursor=reverse,
        alert=Style(reverse=True, bold=True),
        simulated=Style(reverse=True, bold=True),
    )
