"""Draw the README's picture: the dashboard on the simulated fleet, as it looks after half a minute.

Run by hand: ``python -m tests.support.picture docs/fleet.svg``.
"""

from __future__ import annotations

import asyncio
import html
import re
import sys
from pathlib import Path

from probes.demo.launch import start_demo
from probes.fleet import Fleet
from tui.run import make_app

_SIZE = (150, 36)
_RUN = re.compile(r'(<text [^>]*?x=")([0-9.]+)(" [^>]*?textLength=")([0-9.]+)("[^>]*>)((?:&#160;)+)([^<&][^<]*)')
_FONT_FACE = re.compile(r"@font-face\s*\{.*?\}", re.DOTALL)


async def draw(path: Path, keys: list[str]) -> None:
    async with await start_demo(24, 7) as demo:
        app = make_app(demo.settings, Fleet(demo.settings.hosts), None, simulated=True)
        async with app.run_test(size=_SIZE) as pilot:
            await pilot.pause(30.0)
            for key in keys:
                await pilot.press(key)
                await pilot.pause(4.0)
            svg = app.export_screenshot(title="quarterdeck demo")
    # no picture of ours fetches anything from anywhere
    path.write_text(_RUN.sub(_placed, _FONT_FACE.sub("", svg)), encoding="utf-8")


def _placed(run: re.Match[str]) -> str:
    """The run without its leading spaces, moved to where it begins: some renderers drop them."""
    before, x, middle, length, after, spaces, text = run.groups()
    count = len(spaces) // len("&#160;")
    cell = float(length) / (count + _cells(text))
    return f"{before}{float(x) + count * cell:g}{middle}{float(length) - count * cell:g}{after}{text}"


def _cells(text: str) -> int:
    return len(html.unescape(text))


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1]), sys.argv[2:]))
