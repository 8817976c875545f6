"""The fleet screen, driven by keys and mouse at every size."""

from __future__ import annotations

import pytest
from textual import events

from probes import clock
from probes.fleet import Fleet, new_link
from probes.input_first import HOLD_S, InputFirst
from probes.model import Cpu, LinkState
from tests.support.fleets import FakeBackend, fleet_of, host, make_live, mixed_fleet, sample, settings_of
from tests.support.screens import NOW_S, WALL_S, app_of, golden, screen_text, screen_widths, until, until_text
from tui.app import QuarterdeckApp

SIZES = [(80, 24), (120, 40), (200, 50), (20, 5), (300, 80)]


class Clock:
    """A clock that the test turns."""

    def __init__(self, now: float = NOW_S) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def running(fleet, turned=None, **over):
    turned = turned or Clock()
    return QuarterdeckApp(
        settings_of(fleet), fleet, utc=True, boot_s=turned, wall_s=lambda: WALL_S, ascii_only=False, **over
    )


def rows_of(app):
    """The host column of the visible rows."""
    place = next(place for place in app.fleet_screen.grid.painter.layout.placed if place.column.key == "host")
    lines = screen_text(app).split("\n")
    top = app.fleet_screen.grid.region.y
    height = min(app.fleet_screen.grid.size.height, len(app.board.lines))
    return [line[place.x : place.x + place.width].strip() for line in lines[top : top + height]]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
async def test_golden(size, ascii_only):
    app = app_of(mixed_fleet(NOW_S), ascii_only=ascii_only, simulated=True)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert screen_widths(app) == {size[0]}
        text = screen_text(app)
        await golden(pilot, f"fleet-{size[0]}x{size[1]}{'-ascii' if ascii_only else ''}")
        assert "SIMULATED" in text
        if ascii_only:
            assert text.isascii()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_golden_with_everything_open(size):
    fleet = mixed_fleet(NOW_S)
    for event in list(fleet.events):
        fleet.events.remove(event)
    app = app_of(fleet)
    async with app.run_test(size=size) as pilot:
        await pilot.press("down", "space", "g", "e", "slash", *"hos", "exclamation_mark")
        await pilot.pause()
        assert screen_widths(app) == {size[0]}
        await golden(pilot, f"fleet-open-{size[0]}x{size[1]}")


async def test_shrinking_and_growing_keeps_everything():
    app = app_of(mixed_fleet(NOW_S))
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.press("down", "down")
        chosen = app.fleet_screen.selected
        before = screen_text(app)
        for size in ((20, 5), (1, 1), (40, 8), (41, 9), (80, 24), (2, 60), (200, 50)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert screen_widths(app) == {size[0]}
        assert app.fleet_screen.selected == chosen
        assert screen_text(app) == before
        assert not app.banner


async def test_no_hosts_and_no_matches_say_so():
    app = app_of(Fleet([]))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "no hosts")
        await pilot.press(*"jkg", "enter", "space", "p", "y", "Y", "E", "f", "end", "pagedown", "less_than_sign")
        assert not app.banner
    app = app_of(fleet_of(3, at_boot_s=NOW_S))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f")
        await until_text(pilot, "no host matches")


async def test_a_new_sample_is_drawn_and_the_age_goes_on():
    turned = Clock()
    fleet = fleet_of(3, 4, at_boot_s=NOW_S)
    app = running(fleet, turned)
    async with app.run_test(size=(120, 24)) as pilot:
        await until_text(pilot, "<2s")
        fleet.ingest("gpu-001", sample(4, cpu=Cpu(4, 99.0, 1.0, 1.0, 1.0, None)), NOW_S, 0.0)
        text = await until_text(pilot, " 99 ")
        assert " 99 " in next(line for line in text.split("\n") if "gpu-001" in line)
        turned.now += 7
        text = await until_text(pilot, "old data")
        turned.now += 1
        await until_text(pilot, "0/3 hosts live")
        text = await until_text(pilot, " 8s ")
        assert all(" 8s " in line for line in text.split("\n")[3:6])


async def test_a_row_that_is_drawn_is_condensed_before_it_is():
    fleet = fleet_of(400, at_boot_s=NOW_S)
    app = running(fleet)
    async with app.run_test(size=(120, 24)):
        grid, seen = app.fleet_screen.grid, rows_of(app)
        for host_id in fleet.hosts:
            fleet.ingest(host_id, sample(2), NOW_S, 0.0)
        app.board.take(fleet.take_dirty(), NOW_S)
        assert all(app.board.rows[host_id].gpus == 8 for host_id in seen)
        for y in range(len(seen)):
            grid.render_line(y)
        assert all(app.board.rows[host_id].gpus == 2 for host_id in seen)
        assert app.board.waits("gpu-399")
        fleet.ingest(seen[0], sample(3), NOW_S, 0.0)
        fleet.ingest(seen[-1], sample(3), NOW_S, 0.0)
        app.board.take(fleet.take_dirty(), NOW_S)
        grid.refresh_changed(0, 2)
        assert [app.board.rows[seen[at]].gpus for at in (0, -1)] == [3, 2]
        grid.refresh_changed(1, 2)
        assert [app.board.rows[seen[at]].gpus for at in (0, -1)] == [3, 3]


async def test_the_cursor_stays_on_its_host_when_the_order_changes():
    turned = Clock()
    fleet = fleet_of(30, at_boot_s=NOW_S)
    app = running(fleet, turned)
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.press("down", "down")
        assert app.fleet_screen.selected == "gpu-002"
        turned.now += 3
        fleet.set_link("gpu-020", new_link(LinkState.UNREACHABLE, layer="tcp", cause="refused"))
        await until(pilot, lambda: rows_of(app)[0] == "gpu-020", "the dead host is first")
        assert app.fleet_screen.selected == "gpu-002"
        assert rows_of(app).index("gpu-002") == 3


async def test_the_view_stays_at_the_top_where_one_watches():
    turned = Clock()
    fleet = fleet_of(200, at_boot_s=NOW_S)
    app = running(fleet, turned)
    async with app.run_test(size=(120, 24)) as pilot:
        fleet.set_link("gpu-190", new_link(LinkState.UNREACHABLE))
        turned.now += 1.5
        await until(pilot, lambda: rows_of(app)[0] == "gpu-190", "the worst is at the top")
        assert app.fleet_screen.selected == "gpu-190", "an untouched cursor stays at the top"
        await pilot.press("down", "up")
        make_live(fleet, "gpu-190", at_boot_s=turned.now)
        turned.now += 3
        await until(pilot, lambda: rows_of(app)[0] == "gpu-000", "it is fine again")
        assert app.fleet_screen.selected == "gpu-190", "a touched one follows its host"
        assert app.fleet_screen.grid.scroll_offset.y == 0
        await pilot.press("down")
        await until(pilot, lambda: "gpu-191" in rows_of(app), "and comes into sight with the next key")


async def test_nothing_moves_while_the_cursor_is_moved():
    turned = Clock()
    fleet = fleet_of(5, at_boot_s=NOW_S)
    app = running(fleet, turned)
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.press("down")
        fleet.set_link("gpu-004", new_link(LinkState.UNREACHABLE, layer="tcp", cause="refused"))
        turned.now += 1.5
        await until_text(pilot, "tcp: refused")
        assert rows_of(app)[0] == "gpu-000"
        turned.now += 1
        await until(pilot, lambda: rows_of(app)[0] == "gpu-004", "the order is made anew after a rest")


async def test_a_thousand_hosts_scroll_to_the_last():
    fleet = fleet_of(1000, at_boot_s=NOW_S)
    app = app_of(fleet)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("end")
        await until_text(pilot, "gpu-999")
        assert app.fleet_screen.selected == "gpu-999"
        await pilot.press("pageup", "k", "home")
        await until_text(pilot, "gpu-000")
        assert app.fleet_screen.selected == "gpu-000"
        await pilot.press("pagedown")
        assert app.fleet_screen.selected != "gpu-000"


async def test_the_cursor_line_keeps_its_place_on_the_screen_when_rows_above_it_move():
    turned = Clock()
    fleet = fleet_of(200, at_boot_s=NOW_S)
    app = running(fleet, turned)
    async with app.run_test(size=(120, 30)) as pilot:
        app.fleet_screen.grid.go_to(100)
        app.fleet_screen.grid.scroll_to(y=95, animate=False)
        await pilot.pause()
        turned.now += 3
        fleet.set_link("gpu-190", new_link(LinkState.UNREACHABLE))
        await until(pilot, lambda: app.board.lines[0].host_id == "gpu-190", "sorted")
        assert app.fleet_screen.grid.scroll_offset.y == 96
        assert rows_of(app)[5] == "gpu-100"


async def test_sorting_by_keys_dialog_header_and_back():
    app = app_of(mixed_fleet(NOW_S))
    async with app.run_test(size=(200, 40)) as pilot:
        await pilot.press("greater_than_sign")
        assert app.board.sort == "host"
        assert "host▲" in screen_text(app)
        await pilot.press("less_than_sign", "less_than_sign")
        assert app.board.sort == "reason"
        await pilot.press("s", "home", *["down"] * 8, "enter")
        assert app.board.sort == "temp"
        assert rows_of(app)[0] == "hot"
        await pilot.press("r")
        await pilot.pause()
        assert rows_of(app)[0] != "hot"
        assert "reversed" in screen_text(app)
        header = app.fleet_screen.query_one("GridHeader")
        place = next(place for place in app.fleet_screen.grid.painter.layout.placed if place.column.key == "disk")
        await pilot.click(header, offset=(place.x + 1, 0))
        await pilot.pause()
        assert (app.board.sort, app.board.reverse) == ("disk", False)
        assert rows_of(app)[0] == "full-disk"
        await pilot.click(header, offset=(place.x + 1, 0))
        assert app.board.reverse


async def test_filter_while_typing_with_mistakes_and_escape():
    app = app_of(mixed_fleet(NOW_S))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("slash", *"host~=fine")
        await until_text(pilot, "2 of 19 hosts")
        assert rows_of(app) == ["fine-1", "fine-2"]
        app.fleet_screen.query_one("Input").value = "host~=fine & tmep>3"
        text = await until_text(pilot, "did you mean temp")
        assert "at 14:" in text
        assert rows_of(app) == ["fine-1", "fine-2"], "the filter before stays"
        await pilot.press("enter")
        assert app.fleet_screen.query("Prompt"), "a mistake is not accepted"
        app.fleet_screen.query_one("Input").value = "host~=fine"
        await pilot.press("enter")
        await until(pilot, lambda: not app.fleet_screen.query("Prompt"), "the prompt is gone")
        assert "/host~=fine (2 of 19)" in screen_text(app)
        await pilot.press("slash", *" !", "escape")
        await until(pilot, lambda: not app.fleet_screen.query("Prompt"), "the prompt is gone")
        assert app.board.filter.text == "host~=fine"
        await pilot.press("escape")
        assert app.board.filter is None
        assert len(app.board.lines) == 19


async def test_a_filter_that_is_text_with_markup_is_shown_as_it_is():
    app = app_of(mixed_fleet(NOW_S))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("slash", *"[/b][red]")
        await until_text(pilot, "0 of 19 hosts")
        await pilot.press("enter")
        await until_text(pilot, "/[/b][red] (0 of 19)")
        assert not app.banner


async def test_faults_groups_marks_and_escape_unwinds_them():
    app = app_of(mixed_fleet(NOW_S))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("f")
        assert "fine-1" not in rows_of(app)
        assert "faults only" in screen_text(app)
        await pilot.press("space", "space")
        await until_text(pilot, "2 marked")
        await pilot.press("escape")
        assert "fine-1" in rows_of(app)
        assert len(app.board.marked) == 2
        await pilot.press("escape")
        assert not app.board.marked
        await pilot.press("g")
        text = await until_text(pilot, "▾ train")
        assert "hosts:" in text
        await pilot.press("home", "enter")
        await until_text(pilot, "▸ ")
        await pilot.press("enter")
        await pilot.pause()
        assert "▸ " not in screen_text(app)
        await pilot.press("g")
        await pilot.pause()
        assert len(app.board.lines) == 4
        await pilot.press("g")
        await until_text(pilot, "▾ host key changed")
        await pilot.press("g")
        assert len(app.board.lines) == 19


async def test_pause_resume_and_reconnect_go_to_the_backend():
    fleet = fleet_of(5, at_boot_s=NOW_S)
    backend = FakeBackend()

    async def factory():
        return backend

    app = app_of(fleet, backend_factory=factory)
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: app.backend is not None, "the backend runs")
        await pilot.press("p")
        await pilot.press("down", "space", "space", "p")
        fleet.set_link("gpu-001", new_link(LinkState.PAUSED))
        fleet.set_link("gpu-002", new_link(LinkState.PAUSED))
        await pilot.press("p", "ctrl+r")
        assert backend.calls == [
            ("pause", "gpu-000"), ("pause", "gpu-001"), ("pause", "gpu-002"), ("resume", "gpu-001"), ("resume", "gpu-002"),
            ("reconnect", "gpu-001"), ("reconnect", "gpu-002"),
        ]  # fmt: skip


async def test_without_a_backend_the_keys_say_so():
    app = app_of(fleet_of(2, at_boot_s=NOW_S))
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.press("p")
        await until_text(pilot, "nothing is being watched")


async def test_freeze_stops_the_picture_and_says_so():
    turned = Clock()
    fleet = fleet_of(3, at_boot_s=NOW_S)
    app = running(fleet, turned)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("ctrl+s")
        before = await until_text(pilot, "DISPLAY FROZEN")
        fleet.set_link("gpu-001", new_link(LinkState.UNREACHABLE, cause="refused"))
        await until(pilot, lambda: app.board.rows["gpu-001"].rank == 3, "the board knows")
        turned.now += 30
        await pilot.pause(0.6)
        grid = slice(3, 20)
        assert screen_text(app).split("\n")[grid] == before.split("\n")[grid]
        await pilot.press("ctrl+s")
        await until_text(pilot, "refused")


async def test_event_log_follows_stays_and_filters():
    fleet = fleet_of(3, at_boot_s=NOW_S)
    app = app_of(fleet)
    async with app.run_test(size=(120, 40)) as pilot:
        from probes.model import Severity

        for number in range(40):
            fleet.event(f"gpu-00{number % 3}", Severity.WARNING, "test", f"event-{number} [/b]")
        await pilot.press("e")
        await until_text(pilot, "event-39 [/b]")
        fleet.event("gpu-000", Severity.CRITICAL, "test", "event-40")
        await until_text(pilot, "event-40")
        log = app.fleet_screen.query_one("EventLog")
        log.scroll_to(y=3, animate=False)
        await pilot.pause()
        top = screen_text(app).split("\n")[log.content_region.y]
        fleet.event("gpu-001", Severity.INFO, "test", "event-41")
        await until(pilot, lambda: log.shown[-1].text == "event-41", "taken")
        await pilot.pause()
        assert screen_text(app).split("\n")[log.content_region.y] == top, "scrolled back it stays"
        await pilot.press("E")
        text = await until_text(pilot, "events of gpu-000")
        assert "event-40" in text
        assert "event-41" not in text
        await pilot.press("E")
        await until_text(pilot, "event-41")
        await pilot.press("e")
        await pilot.pause()
        assert not app.fleet_screen.query("EventLog")


async def test_mouse_selects_scrolls_and_opens(monkeypatch):
    opened = []
    monkeypatch.setattr(QuarterdeckApp, "open_host", lambda _self, host_id: opened.append(host_id))
    app = app_of(fleet_of(100, at_boot_s=NOW_S))
    async with app.run_test(size=(120, 30)) as pilot:
        grid = app.fleet_screen.grid
        await pilot.click(grid, offset=(20, 4))
        assert app.fleet_screen.selected == "gpu-004"
        await pilot.click(grid, offset=(20, 6), times=2)
        await until(pilot, lambda: opened == ["gpu-006"], "a double click opens")
        await pilot._post_mouse_events([events.MouseScrollDown], grid, offset=(20, 4))
        await until(pilot, lambda: grid.scroll_offset.y > 0, "the wheel scrolls")
        assert app.fleet_screen.selected == "gpu-006", "the wheel does not select"


async def test_enter_opens_the_host_screen_and_escape_comes_back():
    turned = Clock(clock.boot_s())
    fleet = fleet_of(3, at_boot_s=turned.now)
    app = running(fleet, turned)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("down", "enter")
        await until(pilot, lambda: type(app.screen).__name__ == "HostScreen", "the host screen")
        assert app.selected_host == "gpu-001"
        fleet.set_link("gpu-002", new_link(LinkState.UNREACHABLE, layer="tcp", cause="refused"))
        turned.now += 5
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.fleet_screen, "back")
        await until_text(pilot, "tcp: refused")
        assert app.fleet_screen.selected == "gpu-001"


async def test_a_host_that_vanishes_from_the_configuration_leaves_the_cursor_somewhere_sensible():
    turned = Clock()
    fleet = fleet_of(5, at_boot_s=NOW_S)
    app = running(fleet, turned)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("end")
        turned.now += 3
        fleet.set_hosts([fleet.hosts["gpu-001"].host, host("zz-new")])
        await until(pilot, lambda: sorted(rows_of(app)) == ["gpu-001", "zz-new"], "two hosts")
        assert app.fleet_screen.selected in ("gpu-001", "zz-new")
        make_live(fleet, "zz-new", at_boot_s=turned.now)
        await until(pilot, lambda: app.board.rows["zz-new"].live, "live")
        assert not app.banner


async def test_drawing_stands_back_for_a_key_and_the_cursor_moves_meanwhile():
    fleet = fleet_of(30)
    app = running(fleet)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        stopped = Clock()
        app.first = InputFirst(stopped)
        before = app.fleet_screen.selected
        await pilot.press("j")
        assert app.first.left_s == pytest.approx(HOLD_S)
        assert app.fleet_screen.selected != before
        await pilot.pause(0.1)  # a beat that was under way when the key came is over
        row = app.board.rows[app.fleet_screen.selected]
        fleet.ingest(row.host_id, sample(seq=9), NOW_S, 0.05)
        drawn = row.version
        await pilot.pause(0.2)
        assert row.version == drawn
        stopped.now += HOLD_S
        await until(pilot, lambda: row.version != drawn, "the beats go on")
        assert not app.banner


async def test_a_host_that_the_filter_hides_is_not_acted_on():
    fleet = fleet_of(3, at_boot_s=NOW_S)
    backend = FakeBackend()

    async def made() -> FakeBackend:
        return backend

    app = QuarterdeckApp(settings_of(fleet), fleet, made, boot_s=lambda: NOW_S, wall_s=lambda: WALL_S)
    async with app.run_test(size=(120, 20)) as pilot:
        await until(pilot, lambda: app.backend is not None, "the backend")
        await pilot.press("j", "slash", *"nosuch", "enter")
        await until_text(pilot, "no host matches")
        assert app.fleet_screen.selected is None
        await pilot.press("p", "ctrl+r", "y", "space", "enter")
        await pilot.pause()
        assert app.screen is app.fleet_screen
        assert backend.calls == []
        assert app.board.marked == set()
        assert "gpu-001" not in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.fleet_screen.selected == "gpu-001", "the cursor is where it was")
