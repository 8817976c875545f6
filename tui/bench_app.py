"""The part of the application that knows of benchmarks: their owner, their screens, and what quitting means meanwhile.

Nothing of benchmarks is imported before it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tui.base_app import BaseApp
from tui.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.app import QuarterdeckApp
    from tui.bench_desk import BenchDesk, BenchWork


class BenchApp(BaseApp):
    """Opens the Bench and History screens."""

    @property
    def bench(self) -> BenchDesk:
        """The owner of benchmarks, made when first asked for."""
        if self._bench is None:
            from tui.bench_desk import BenchDesk  # noqa: PLC0415 - after first paint

            self._bench = BenchDesk(cast("QuarterdeckApp", self), self._make_bench_work())
        return self._bench

    def _make_bench_work(self) -> BenchWork:
        if self._bench_work is not None:
            return self._bench_work()
        from tui.bench_work import EngineWork  # noqa: PLC0415 - after first paint

        return EngineWork(lambda: self.settings, self.fleet)

    @guarded
    def open_bench(self, host_ids: Sequence[str], benchmark: str = "", *, check: bool = False) -> None:
        """Open the Bench screen for these hosts; what runs is shown.

        Args:
            host_ids: whom.
            benchmark: the id of the benchmark to choose; empty: the first.
            check: start the quick validation at once.
        """
        from tui.screens.bench import BenchScreen  # noqa: PLC0415 - after first paint

        if not host_ids and not self.bench.busy:
            self.say("no host is selected", bad=True)
            return
        screen = BenchScreen(host_ids, benchmark, check=check)
        self.switch_screen(screen) if isinstance(self.screen, BenchScreen) else self.push_screen(screen)

    def open_bench_check(self, host_id: str | None) -> None:
        """Start the quick validation of a host at once."""
        self.open_bench([] if host_id is None else [host_id], check=True)

    @guarded
    def action_history(self) -> None:
        """Open the History screen."""
        self.open_history()

    @guarded
    def open_history(self, filter_text: str = "", compare: tuple[str, str] | None = None) -> None:
        """Open the History screen.

        Args:
            filter_text: an expression to begin with.
            compare: two sides to compare at once.
        """
        from tui.screens.history import HistoryScreen  # noqa: PLC0415 - after first paint

        screen = HistoryScreen(filter_text, compare)
        self.switch_screen(screen) if isinstance(self.screen, HistoryScreen) else self.push_screen(screen)

    async def action_quit(self) -> None:
        """Leave; a benchmark that runs is asked about first."""
        if not self.bench_words:
            await self.leave()
            return
        from tui.screens.dialogs import Confirm  # noqa: PLC0415 - after first paint

        question = f"A benchmark runs ({self.bench_words}). Cancel it, keep what it measured, and quit?"
        self.push_screen(Confirm(question), lambda yes: self.quit_soon() if yes else None)

    def quit_asking(self) -> None:
        """The same for a command."""
        self.chore(self.action_quit(), "quit")
