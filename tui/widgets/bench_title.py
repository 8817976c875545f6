"""The first lines of the Bench screen: what, whom, how it stands, the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tui.bench_words import done_words, letter_style
from tui.format import clock_text
from tui.widgets.folded import folded, tidy
from tui.widgets.lines import LinesPanel, clip, row_width

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp
    from tui.bench_desk import BenchDesk
    from tui.widgets.lines import Row, Span


class BenchTitle(LinesPanel):
    """One line, and more where something is to be said."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.desk: BenchDesk | None = None
        self.host_id = ""
        self.tiny = False

    def build(self, width: int) -> list[Row]:
        """Title and news."""
        app, desk = cast("QuarterdeckApp", self.app), self.desk
        if desk is None:
            return []
        state = self._state(desk)
        if self.tiny:
            return [clip([("bench", "strong")], width), *folded(state[0], width, state[1], limit=2),
                    clip([("terminal too small", "warn")], width)]  # fmt: skip
        spans: list[Span] = [(" SIMULATED ", "simulated")] if app.simulated else []
        spans += [(" bench ", "strong"), (tidy(self.host_id), "accent"), ("  ", "text"), state]
        now: Span = (clock_text(app.wall_s(), utc=app.utc) + " ", "muted")
        left = width - row_width(spans) - row_width([now])
        rows: list[Row] = [(*spans, (" " * left, "text"), now)] if left > 0 else [clip(spans, width)]
        if desk.refusal:
            rows += folded(desk.refusal, width, "text", head=[(" NOT STARTED ", "alert"), (" ", "text")], limit=3)
        if desk.not_stored:
            rows += folded(desk.not_stored, width, "warn", head=[(f" {app.glyphs.levels[1]} ", "warn")], limit=3)
        return rows

    def _state(self, desk: BenchDesk) -> Span:
        suite = desk.suite
        if desk.busy:
            return (f"RUNNING {desk.words.removeprefix('bench ')}", "accent")
        if suite is None:
            return ("nothing runs", "muted")
        if not suite.over:
            return ("ENDED EARLY", "bad")
        bad = any(job.state != "done" for job in suite.jobs)
        return (f"ended: {done_words(suite)}", "warn" if bad else letter_style(suite.letter, "valid"))
