"""An audit as rows: what failed by exposure, what was not checked and why, what passed. Never a word like "secure"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.posture_types import Checked, Exposure
from tui.widgets.folded import cell, folded
from tui.widgets.lines import rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.judge.posture_types import Posture, PostureLine
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span

CHECKS: Final = {
    "B1": "open to the world",
    "B2": "SSH",
    "B3": "instance metadata",
    "B4": "open and unneeded",
}
OUTCOMES: Final = {Checked.FAIL: "failed", Checked.NOT_CHECKED: "not checked", Checked.PASS: "passed"}
_STYLES: Final = {Checked.FAIL: "bad", Checked.NOT_CHECKED: "unknown", Checked.PASS: "good"}
_SIGNS: Final = {Checked.FAIL: 3, Checked.NOT_CHECKED: 2, Checked.PASS: 0}
_EXPOSURE_STYLES: Final = {
    Exposure.CRITICAL: "bad",
    Exposure.HIGH: "bad",
    Exposure.MEDIUM: "warn",
    Exposure.LOW: "text",
}


def shown_lines(posture: Posture | None, outcome: Checked | None, check: str | None) -> tuple[PostureLine, ...]:
    """The lines that a filter leaves; they come sorted, the failed ones first and among them the worst."""
    if posture is None:
        return ()
    return tuple(
        one
        for one in posture.lines
        if (outcome is None or one.outcome is outcome) and (check is None or one.check == check)
    )


class PostureText:
    """Builds the rows and remembers where the selected line stands.

    Args:
        lines: what is shown.
        selected: the line that is shown with its evidence and command.
        glyphs: the signs.
        width: cells of a row.
    """

    def __init__(self, lines: Sequence[PostureLine], selected: int, glyphs: Glyphs, width: int) -> None:
        self.rows: list[Row] = []
        self.selected_rows: tuple[int, int] | None = None
        self._glyphs, self._width = glyphs, width
        before: Checked | None = None
        for at, line in enumerate(lines):
            if line.outcome is not before:
                before = line.outcome
                count = sum(one.outcome is before for one in lines)
                title: list[Span] = [(f" {OUTCOMES[before]} ", _STYLES[before]), (f"{count} ", "muted")]
                self.rows += [*([()] if self.rows else []), rule(title, width, glyphs)]
            self._line(line, chosen=at == selected)

    def _line(self, line: PostureLine, *, chosen: bool) -> None:
        start = len(self.rows)
        style = _STYLES[line.outcome]
        word = line.exposure.value if line.exposure is not None else OUTCOMES[line.outcome]
        word_style = _EXPOSURE_STYLES[line.exposure] if line.exposure is not None else style
        under = "@cursor" if chosen else ""
        subject = 26 if self._width >= 100 else 18
        head: list[Span] = [
            (self._glyphs.folded if chosen else " ", "accent"),
            (f"{self._glyphs.levels[_SIGNS[line.outcome]]} ", f"{style}{under}"),
            (f"{cell(word, 11)} ", f"{word_style}{under}"),
            (f"{line.check} ", f"muted{under}"),
            (f"{cell(line.subject, subject)} ", f"text{under}"),
        ]
        indent = 15 if self._width < 60 else None
        self.rows += folded(line.statement, self._width, f"text{under}", head=head, indent=indent)
        if chosen:
            self._detail(line)
            self.selected_rows = (start, len(self.rows))

    def _detail(self, line: PostureLine) -> None:
        for at, text in enumerate(line.evidence):
            label: Span = ("   because  " if at == 0 else " " * 12, "muted")
            self.rows += folded(text, self._width, "text", head=[label])
        action = line.action
        if action is None:
            return
        self.rows += folded(action.text, self._width, "text", head=[("   do       ", "muted")])
        if action.command:
            self.rows += folded(action.command, self._width, "strong", head=[("     $ ", "accent")])
