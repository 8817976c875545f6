"""The results of one host: a line each, and the selected one's grade card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.widgets.bench_card import card_rows, results_rows
from tui.widgets.bench_together import together_rows
from tui.widgets.folded import folded
from tui.widgets.lines import LinesPanel, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.multi import CaseSummary
    from benchmarks.result import Result
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row


class ResultPanel(LinesPanel):
    """The grade card."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.results: Sequence[Result] = ()
        self.selected = 0
        self.glyphs: Glyphs | None = None
        self.empty = ""
        self.baseline: Result | None = None
        #: what several nodes did together; empty: they did not
        self.together: Sequence[CaseSummary] = ()

    @property
    def shown(self) -> int:
        """Which of the results is shown."""
        return min(self.selected, max(len(self.results) - 1, 0))

    def build(self, width: int) -> list[Row]:
        """A line for each result, then the card."""
        if self.glyphs is None:
            return []
        if not self.results:
            return folded(self.empty, width, "muted", head=[(" ", "muted")])
        rows = together_rows(self.together, self.glyphs, width)
        if len(self.results) > 1:
            title = f" {len(self.results)} results "
            rows.append(rule([(title, "strong"), (" left and right choose", "muted")], width, self.glyphs))
            rows += results_rows(self.results, self.shown, self.glyphs, width)
            rows.append(rule((), width, self.glyphs))
        return rows + card_rows(self.results[self.shown], self.glyphs, width, baseline=self.baseline)
