"""The footer: as many keys as fit, in the order of the table of keys, as they are mapped now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.keys import format_key

from tui.keys import KEYS, Key, Section, effective
from tui.widgets.drawn import DrawnLines, Piece, joined

if TYPE_CHECKING:
    from rich.segment import Segment
    from textual import events


class KeyBar(DrawnLines):
    """One line of key hints for the given sections; a click runs the action.

    Args:
        sections: the sections of the table of keys, the more specific first.
    """

    def __init__(self, *sections: Section) -> None:
        super().__init__()
        self._sections = sections
        self._spans: list[tuple[int, int, Key]] = []

    def draw(self, width: int, height: int) -> list[list[Segment]]:  # noqa: ARG002 - one line whatever the height
        """Keys with their words; those that do not fit are left out from the end."""
        p = self.palette
        mapped = effective(self.qd.settings.keys)
        hints = [
            (key, key_name(bound))
            for section in self._sections
            for key in KEYS
            if key.section == section and key.hint and (bound := mapped.get(key.id, key.keys))
        ]
        hints.sort(key=lambda hint: hint[0].id != "help")  # whoever knows this one finds all others
        used, self._spans, pieces = 0, [], []
        for key, name in hints:
            size = len(name) + 1 + len(key.hint)
            if used + size > width:
                break
            self._spans.append((used, used + size, key))
            pieces += [Piece(name, p.accent), Piece(key.hint, p.muted)]
            used += size + 2
        segments: list[Segment] = []
        for at in range(0, len(pieces), 2):
            pair = joined(pieces[at : at + 2], [], len(pieces[at].text) + 1 + len(pieces[at + 1].text), p.text, " ")
            segments += pair
            if at + 2 < len(pieces):
                segments += joined([], [], 2, p.text)
        rest = width - sum(len(segment.text) for segment in segments)
        return [segments + joined([], [], rest, p.text)] if rest > 0 else [segments]

    async def on_click(self, event: events.Click) -> None:
        """Run the action under the pointer."""
        for start, end, key in self._spans:
            if start <= event.x < end:
                await self.screen.run_action(key.action) if key.section != "app" else await self.app.run_action(
                    key.action
                )


def key_name(keys: str) -> str:
    """The first of a binding's keys as it is written on a keyboard."""
    key = keys.partition(",")[0].strip()
    name = format_key(key)
    return name if name.isascii() else key
