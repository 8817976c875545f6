"""What the dashboard is compared with: idle programs of the same libraries, run beside it.

``python -m tests.perf.idle app`` is a Textual application with a list of 1,000 lines drawn by the line interface and a
cursor on j and k, that does nothing else. ``empty`` is a Textual application with one word on it. ``loop SECONDS``
measures the lag of an event loop that does nothing, as the dashboard measures its own, and prints it as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import ClassVar


def run_app() -> None:
    from rich.segment import Segment
    from rich.style import Style
    from textual.app import App, ComposeResult
    from textual.binding import Binding
    from textual.geometry import Size
    from textual.scroll_view import ScrollView
    from textual.strip import Strip
    from textual.widgets import Static

    plain, marked = Style(bgcolor="#101418"), Style(bgcolor="#2b3d52")

    class List(ScrollView, can_focus=True):
        BINDINGS: ClassVar = [Binding("j", "step(1)"), Binding("k", "step(-1)")]

        def __init__(self) -> None:
            super().__init__()
            self.virtual_size = Size(200, 1000)
            self.at = 0

        def render_line(self, y: int) -> Strip:
            row = y + self.scroll_offset.y
            style = marked if row == self.at else plain
            return Strip([Segment(f" host-{row:04d}   live   {row * 7 % 100:3d} %".ljust(self.size.width), style)])

        def action_step(self, by: int) -> None:
            before, self.at = self.at, min(max(self.at + by, 0), 999)
            for row in (before, self.at):
                self.refresh_line(row - self.scroll_offset.y)

    class Idle(App[None]):
        def compose(self) -> ComposeResult:
            yield Static("idle\n\n", markup=False)
            yield List()

        def on_mount(self) -> None:
            self.query_one(List).focus()

    Idle().run()


def run_empty() -> None:
    from textual.app import App, ComposeResult
    from textual.widgets import Static

    class Empty(App[None]):
        def compose(self) -> ComposeResult:
            yield Static("ready", markup=False)

    Empty().run()


async def loop_lag(seconds: float) -> list[float]:
    """Lags of an idle loop in milliseconds."""
    loop = asyncio.get_running_loop()
    lags_ms: list[float] = []
    end = loop.time() + seconds
    while (before := loop.time()) < end:
        await asyncio.sleep(0.02)
        lags_ms.append((loop.time() - before - 0.02) * 1000)
    return lags_ms


def main() -> None:
    what = sys.argv[1]
    if what == "app":
        run_app()
    elif what == "empty":
        run_empty()
    else:
        from tests.perf.harness import spread

        print(json.dumps(spread(asyncio.run(loop_lag(float(sys.argv[2]))))))


if __name__ == "__main__":
    main()
