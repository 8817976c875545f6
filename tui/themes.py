"""Themes: Textual's colours for widgets, and a ``Palette`` of ready-made styles for lines drawn by hand.

Every meaning also has a glyph or a word; ``mono`` uses no colour at all.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace
from rich.style import Style
from textual.theme import Theme

DEFAULT: Final = "dark"
Ground = Literal["background", "surface", "panel"]


class Palette(Struct, frozen=True, gc=False):
    """Styles by meaning. ``old`` is for values that are not from now, ``heat_*`` for bars of hot GPUs."""

    text: Style
    strong: Style
    muted: Style
    old: Style
    good: Style
    warn: Style
    bad: Style
    unknown: Style
    accent: Style
    heat_warn: Style
    heat_bad: Style
    header: Style
    sorted: Style
    group: Style
    mark: Style
    cursor: Style
    alert: Style
    simulated: Style


class _Colors(Struct, frozen=True, gc=False):
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
    "mono": _Colors(*["ansi_default"] * 12, dark=True),
}  # fmt: skip
NAMES: Final = tuple(_COLORS)
#: what Textual's own widgets would colour
_MONO_VARIABLES: Final[dict[str, str]] = dict.fromkeys(
    (
        "ansi-background", "ansi-foreground", "border", "border-blurred", "block-cursor-foreground",
        "block-cursor-background", "block-hover-background", "input-cursor-background", "input-cursor-foreground",
        "input-selection-background", "input-selection-foreground", "scrollbar", "scrollbar-hover", "scrollbar-active",
        "scrollbar-background", "scrollbar-corner-color", "screen-selection-background", "screen-selection-foreground",
        "footer-key-foreground",
    ),
    "ansi_default",
)  # fmt: skip


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
            boost=c.panel,
            dark=c.dark,
            ansi=name == "mono",
            variables=_MONO_VARIABLES if name == "mono" else {},
        )
        for name, c in _COLORS.items()
    ]


@lru_cache(maxsize=16)
def palette(name: str, ground: Ground = "background") -> Palette:
    """The hand-drawn styles of a theme on one of its grounds; an unknown name gets the default's.

    A line drawn by hand brings its own background: nothing is laid under it.
    """
    if name == "mono":
        return _mono()
    c = _COLORS.get(name) or _COLORS[DEFAULT]
    base = Style(bgcolor={"background": c.background, "surface": c.surface, "panel": c.panel}[ground])
    return Palette(
        text=base + Style(color=c.text),
        strong=base + Style(color=c.text, bold=True),
        muted=base + Style(color=c.muted),
        old=base + Style(color=c.old, italic=True),
        good=base + Style(color=c.good),
        warn=base + Style(color=c.warn),
        bad=base + Style(color=c.bad, bold=True),
        unknown=base + Style(color=c.unknown),
        accent=base + Style(color=c.accent),
        heat_warn=base + Style(color=c.warn),
        heat_bad=base + Style(color=c.bad),
        header=Style(color=c.muted, bgcolor=c.panel),
        sorted=Style(color=c.accent, bgcolor=c.panel, bold=True),
        group=base + Style(color=c.accent, bold=True),
        mark=base + Style(color=c.accent, bold=True),
        cursor=Style(bgcolor=c.cursor),
        alert=Style(color=c.background, bgcolor=c.bad, bold=True),
        simulated=Style(color=c.background, bgcolor=c.warn, bold=True),
    )


@lru_cache(maxsize=16)
def cursor_palette(name: str) -> Palette:
    """A theme's styles on the cursor's line."""
    base = palette(name)
    styles: dict[str, Style] = {}
    for each in base.__struct_fields__:
        style: Style = getattr(base, each)
        # without colours the cursor is reverse video: what is reversed already is underlined instead
        styles[each] = style + base.cursor + Style(underline=(style.reverse and base.cursor.reverse) or None)
    return replace(base, **styles)


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
        heat_warn=bold,  # a reversed bar would read as its opposite; temperature and reason say it in numbers
        heat_bad=bold,
        header=Style(underline=True),
        sorted=Style(underline=True, bold=True),
        group=Style(bold=True, underline=True),
        mark=bold,
        cursor=reverse,
        alert=Style(reverse=True, bold=True),
        simulated=Style(reverse=True, bold=True),
    )
