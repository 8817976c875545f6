from __future__ import annotations

import pytest
from msgspec.structs import replace

from probes.model import LinkState, PortState
from tests.support.fleets import settings_of
from tests.support.screens import NOW_S, WALL_S, app_of, busy_fleet, screen_text, screen_widths, until, until_text
from tui.app import QuarterdeckApp
from tui.commands import COMMANDS
from tui.filter import DOTTED, NUMBERS, TEXTS
from tui.glyphs import ASCII, UNICODE, WORDS
from tui.keys import KEYS
from tui.screens.help import HelpScreen
from tui.widgets.help_text import SECTION_WORDS, help_rows, key_names
from tui.widgets.lines import plain, row_width
from tui.widgets.service_list import STATE_WORDS


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_everything_there_is_is_explained(glyphs) -> None:
    text = " ".join(plain(help_rows({}, glyphs, 120)).split())
    for key in KEYS:
        assert key.description.split(":")[0] in text, key
        assert key_names(key.keys, glyphs) in text
    for state in LinkState:
        assert WORDS[state][0] in text
    for state in PortState:
        assert STATE_WORDS[state] in text
    for name in (*NUMBERS, *TEXTS, *DOTTED):
        assert name in text
    for command in COMMANDS:
        assert f":{command.name}" in text
        assert command.description in text


def test_every_section_of_keys_has_a_title() -> None:
    assert {key.section for key in KEYS} <= set(SECTION_WORDS)


@pytest.mark.parametrize("width", [10, 20, 40, 78, 80, 120, 200, 300])
def test_the_help_keeps_to_its_width(width) -> None:
    rows = help_rows({}, UNICODE, width)
    if width >= 40:
        assert max(row_width(row) for row in rows) <= width


def test_a_remapped_key_is_shown_as_it_is_mapped() -> None:
    assert "F5" in plain(help_rows({"reload": "f5"}, UNICODE, 100)).replace("f5", "F5")


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (200, 50)])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_the_help_opens_scrolls_and_leaves(size, ascii_only) -> None:
    app = app_of(busy_fleet(1), ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen), "the help")
        await pilot.pause()
        first = screen_text(app)
        assert screen_widths(app) == {size[0]}
        await pilot.press("pagedown")
        await until(pilot, lambda: screen_text(app) != first, "another page")
        await pilot.press("home", "down")
        await pilot.press("end")
        body = app.screen.query_one("#body")
        await until(pilot, lambda: body.scroll_offset.y == body.max_scroll_y > 0, "the end")
        await until_text(pilot, "reason")
        if ascii_only:
            lines = screen_text(app).splitlines()[1:-1]
            assert not "".join(c for line in lines for c in line if not c.isascii()).strip("▁▂▃▄▅▆▇█")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, HelpScreen), "back")
        assert not [e for e in app.fleet.events if e.kind == "internal"]


async def test_remapped_keys_reach_the_help_and_the_host_screen() -> None:
    fleet = busy_fleet(1)
    settings = replace(settings_of(fleet), keys={"host_next": "f7"})
    app = QuarterdeckApp(settings, fleet, utc=True, boot_s=lambda: NOW_S, wall_s=lambda: WALL_S, ascii_only=False)
    async with app.run_test(size=(120, 60)) as pilot:
        app.open_host("gpu-000")
        await pilot.pause()
        await pilot.press("f7")
        assert app.screen.host_id != "gpu-000"  # type: ignore[attr-defined]
        await pilot.press("question_mark")
        await until_text(pilot, "f7")
