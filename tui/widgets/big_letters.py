"""Letters that can be read from the other side of the room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tui.glyphs import Glyphs

#: five rows of at most seven cells
_SHAPES: Final[dict[str, tuple[str, ...]]] = {
    "S": (" ######", "##     ", " ##### ", "     ##", "###### "),
    "A": ("  ###  ", " ## ## ", "##   ##", "#######", "##   ##"),
    "B": ("###### ", "##   ##", "###### ", "##   ##", "###### "),
    "C": (" ######", "##     ", "##     ", "##     ", " ######"),
    "D": ("###### ", "##   ##", "##   ##", "##   ##", "###### "),
    "F": ("#######", "##     ", "#####  ", "##     ", "##     "),
    "~": ("       ", " ##   #", "#  #  #", "#   ## ", "       "),
    "-": ("       ", "       ", " ##### ", "       ", "       "),
    "!": ("##   ##", " ## ## ", "  ###  ", " ## ## ", "##   ##"),
}
HEIGHT: Final = 5


def big(text: str, glyphs: Glyphs) -> list[str]:
    """The characters side by side, as rows of the same width; ``!`` is the cross of what is invalid."""
    shapes = [_SHAPES[char] for char in text]
    rows = ["  ".join(shape[y] for shape in shapes) for y in range(HEIGHT)]
    return rows if glyphs.ellipsis == "~" else [row.replace("#", "█") for row in rows]
