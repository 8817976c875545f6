"""The last line: an error nobody guarded, in a screen on top, costs that screen and not the dashboard."""

from __future__ import annotations

import asyncio

import pytest
from textual.screen import Screen
from textual.widget import Widget

from probes.fleet import new_link
from probes.model import LinkState
from tests.support.fleets import fleet_of
from tests.support.screens import NOW_S, app_of, until_text


class Broken(Widget):
    """Raises where it is told to."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def render_line(self, y):
        if self.where == "render":
            raise ValueError("unguarded [/b]")
        return super().render_line(y)

    def on_key(self):
        if self.where == "key":
            raise ValueError("unguarded [/b]")

    def on_mount(self):
        if self.where == "mount":
            raise ValueError("unguarded [/b]")
        self.can_focus = True
        self.focus()
        if self.where == "timer":
            self.set_interval(0.01, lambda: 1 / 0)


class BrokenScreen(Screen[None]):
    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def compose(self):
        if self.where == "compose":
            raise ValueError("unguarded [/b]")
        yield Broken(self.where)

    def key_z(self):
        if self.where == "screen":
            raise ValueError("unguarded [/b]")


@pytest.mark.parametrize("where", ["render", "key", "mount", "timer", "compose", "screen"])
async def test_the_screen_goes_the_dashboard_stays(where, caplog):
    fleet = fleet_of(3, at_boot_s=NOW_S)
    app = app_of(fleet)
    async with app.run_test(size=(160, 30)) as pilot:
        app.push_screen(BrokenScreen(where))
        if where in ("key", "screen"):
            await pilot.press("z")
        async with asyncio.timeout(10):  # not by the pilot: it would wait for the broken screen's answer
            while app.screen is not app.fleet_screen or not app.banner:
                await asyncio.sleep(0.02)
        await until_text(pilot, "ZeroDivisionError" if where == "timer" else "unguarded [/b]")
        assert "Traceback" in caplog.text
        await pilot.press("down")
        assert app.fleet_screen.selected == "gpu-001"
        fleet.set_link("gpu-002", new_link(LinkState.UNREACHABLE, cause="and it goes on"))
        await until_text(pilot, "and it goes on")
