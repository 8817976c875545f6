from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from probes.fleet import Fleet, new_link
from probes.model import LinkState
from tests.support.fleets import FakeBackend, host, sample
from tests.support.screens import (
    HOSTILE,
    NOW_S,
    app_of,
    busy_fleet,
    golden,
    hostile_fleet,
    screen_text,
    screen_widths,
    until,
    until_text,
)
from tui.screens.host import HostScreen
from tui.widgets.gpu_cards import GpuCards
from tui.widgets.process_table import ProcessTable
from tui.widgets.result_chart import ResultChart

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from tui.app import QuarterdeckApp


async def opened(pilot: Pilot[Any], host_id: str = "gpu-000") -> HostScreen:
    app: Any = pilot.app
    app.open_host(host_id)
    await until(pilot, lambda: isinstance(app.screen, HostScreen), "the Host screen")
    await until_text(pilot, f" {host_id}"[:6])
    return app.screen


async def charted(pilot: Pilot[Any]) -> None:
    """The chart is drawn in the size it has."""
    chart = pilot.app.screen.query_one(ResultChart)
    await until(pilot, lambda: 0 < len(chart.rows) == chart.size.height, "a chart")
    await pilot.pause()


def internal(app: QuarterdeckApp) -> list[str]:
    return [event.text for event in app.fleet.events if event.kind == "internal"]


@pytest.mark.parametrize(
    ("name", "size", "gpus", "cores"),
    [
        ("host_8_200x50", (200, 50), 8, 64),
        ("host_8_80x24", (80, 24), 8, 16),
        ("host_1_120x40", (120, 40), 1, 8),
        ("host_0_200x50", (200, 50), 0, 192),
    ],
)
async def test_the_overview_looks_as_it_should(name, size, gpus, cores) -> None:
    app = app_of(busy_fleet(gpus, cores=cores))
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        if screen.query_one(ResultChart).region.overlaps(screen.query_one("#body").region):
            await charted(pilot)
        assert screen_widths(app) == {size[0]}
        await golden(pilot, name)
        assert internal(app) == []


async def test_eight_gpus_and_every_section_fit_200x50() -> None:
    app = app_of(busy_fleet(8, cores=64))
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await opened(pilot)
        body = screen.query_one("#body")
        await charted(pilot)
        await until(pilot, lambda: body.max_scroll_y == 0, "nothing has to be scrolled")
        text = await until_text(pilot, "agent ")
        for words in [*(f" {i} NVIDIA H100" for i in range(1, 8)), "CPU ", "memory", "services 5 of 5 open",
                      "processes", "versions", "XID", "/data", "ens5", "python3 train.py"]:  # fmt: skip
            assert words in text, words


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (300, 80)])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_hostile_text_breaks_nothing_at_any_size(size, ascii_only) -> None:
    app = app_of(hostile_fleet(), ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        for key in "0123456":
            await pilot.press(key)
            await pilot.pause()
            assert screen_widths(app) == {size[0]}
            if ascii_only:
                rows = [line for line in screen_text(app).splitlines() if "⏎" not in line and "→" not in line]
                drawn = "".join(char for line in rows for char in line if not char.isascii())
                assert not drawn.strip("▁▂▃▄▅▆▇█▏▎▍▌▋▊▉"), drawn  # scroll bars are Textual's
        assert internal(app) == []
        assert isinstance(app.screen, HostScreen)
        assert screen is app.screen


async def test_names_that_look_like_markup_are_shown_as_they_are() -> None:
    app = app_of(hostile_fleet())
    async with app.run_test(size=(160, 50)) as pilot:
        await opened(pilot)
        await pilot.press("3")
        text = await until_text(pilot, "[/kworker]")
        for name in HOSTILE[:5]:
            assert name in text


async def test_sections_by_key_by_mouse_and_back() -> None:
    app = app_of(busy_fleet(2))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        for key, words in (("2", "CPU "), ("3", "PID USER"), ("4", ":50021"), ("5", "versions"), ("1", "NVIDIA H100")):
            await pilot.press(key)
            await until_text(pilot, words)
            assert screen.section == int(key)
        await pilot.press("4")
        assert "NVIDIA" not in await until_text(pilot, "services 5 of 5 open")
        await pilot.press("escape")
        await until(pilot, lambda: screen.section == 0, "the overview")
        assert app.screen is screen
        await pilot.click("#tabs", offset=(16, 0))
        await until(pilot, lambda: screen.section == 1, "the section that was clicked")
        await pilot.press("1")
        await until(pilot, lambda: screen.section == 0, "the same key again")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, HostScreen), "the fleet")


async def test_next_and_previous_host_go_round_and_the_process_list_follows() -> None:
    app = app_of(busy_fleet(1, hosts=3))
    async with app.run_test(size=(120, 40)) as pilot:
        backend = app.backend = FakeBackend()
        screen = await opened(pilot)
        order = [screen.host_id]
        for _ in range(3):
            await pilot.press("n")
            order.append(screen.host_id)
            await until_text(pilot, f" {screen.host_id}  live")
        assert order[0] == order[3]
        assert len(set(order)) == 3
        await pilot.press("N")
        assert screen.host_id == order[2]
        wanted = [call for call in backend.calls if call[0] == "want_processes"]
        assert wanted[0] == ("want_processes", order[0], True)
        assert wanted[1:3] == [("want_processes", order[0], False), ("want_processes", order[1], True)]
        await pilot.press("escape")
        await until(pilot, lambda: backend.calls[-1] == ("want_processes", order[2], False), "no more wanted")


async def test_the_process_list_is_asked_for_only_while_somebody_looks() -> None:
    app = app_of(busy_fleet(1))
    async with app.run_test(size=(80, 24)) as pilot:
        backend = app.backend = FakeBackend()
        await opened(pilot)
        await until(pilot, lambda: backend.calls == [("want_processes", "gpu-000", True)], "asked")
        await pilot.press("question_mark")
        await until(pilot, lambda: backend.calls[-1] == ("want_processes", "gpu-000", False), "covered")
        await pilot.press("escape")
        await until(pilot, lambda: backend.calls[-1] == ("want_processes", "gpu-000", True), "back on top")
        assert len(backend.calls) == 3


async def test_a_backend_that_comes_later_is_asked_too() -> None:
    app = app_of(busy_fleet(1))
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        backend = app.backend = FakeBackend()
        await until(pilot, lambda: ("want_processes", "gpu-000", True) in backend.calls, "asked")


async def test_new_samples_are_drawn_and_a_covered_screen_draws_nothing() -> None:
    fleet = busy_fleet(1)
    app = app_of(fleet)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        fleet.ingest("gpu-000", sample(1), NOW_S, 0.01)
        count = fleet.hosts["gpu-000"].samples
        await until_text(pilot, f"{count} samples")
        await pilot.press("question_mark")
        await pilot.pause()
        drawn_at = screen._drawn_at_s
        fleet.ingest("gpu-000", sample(1), NOW_S, 0.01)
        for _ in range(60):
            await pilot.pause(0.02)
        assert screen._drawn_at_s == drawn_at
        await pilot.press("escape")
        await until_text(pilot, f"{count + 1} samples")


async def test_only_lines_that_changed_are_drawn_again(monkeypatch) -> None:
    app = app_of(busy_fleet(2))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        await pilot.pause()
        cards = screen.query_one(GpuCards)
        refreshed: list[tuple[Any, ...]] = []
        monkeypatch.setattr(cards, "refresh", lambda *regions, **_: refreshed.append(regions))
        cards.redraw()
        assert refreshed == [], "nothing changed"
        cards.selected = 1
        cards.redraw()
        assert len(refreshed) == 1
        assert len(refreshed[0]) == 1, "the line of titles alone"


async def test_charts_by_key_and_cards_by_mouse() -> None:
    app = app_of(busy_fleet(2))
    async with app.run_test(size=(160, 50)) as pilot:
        screen = await opened(pilot)
        await until_text(pilot, "GPU 0 load")
        for words in ("GPU 0 temperature", "GPU 0 power", "host load", "network"):
            await pilot.press("v")
            await until_text(pilot, words)
        await pilot.press("V", "V")
        await until_text(pilot, "GPU 0 power")
        await pilot.press("right")
        await until_text(pilot, "GPU 1 power")
        await pilot.press("left")
        await until_text(pilot, "GPU 0 power")
        cards = screen.query_one(GpuCards)
        await pilot.click(GpuCards, offset=(cards.size.width // 2 + 10, 2))
        await until_text(pilot, "GPU 1 power")
        await pilot.press("6")
        await until(pilot, lambda: len(screen.query_one(ResultChart).rows) > 40, "the large chart")


async def test_the_order_of_processes_can_be_chosen() -> None:
    app = app_of(busy_fleet(2))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        await pilot.press("3")
        await until_text(pilot, "by GPU memory")
        await pilot.press("o")
        await until_text(pilot, "by CPU")
        assert screen.query_one(ProcessTable).order == "cpu"
        await pilot.press("o")
        await until_text(pilot, "by memory")


async def test_what_is_asked_of_the_backend() -> None:
    app = app_of(busy_fleet(1))
    async with app.run_test(size=(120, 40)) as pilot:
        backend = app.backend = FakeBackend()
        await opened(pilot)
        await pilot.press("p", "x", "r", "ctrl+y")
        await until(pilot, lambda: ("ssh_argv", "gpu-000") in backend.calls, "the command")
        for call in (("pause", "gpu-000"), ("reconnect", "gpu-000"), ("probe_services", "gpu-000")):
            assert call in backend.calls


async def test_a_host_that_leaves_the_configuration_closes_its_screen() -> None:
    fleet = busy_fleet(1)
    app = app_of(fleet)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        fleet.set_hosts([record.host for host_id, record in fleet.hosts.items() if host_id != "gpu-000"])
        await until(pilot, lambda: not isinstance(app.screen, HostScreen), "the fleet")
        assert internal(app) == []


async def test_a_defect_in_a_panel_is_shown_and_the_rest_goes_on(monkeypatch) -> None:
    app = app_of(busy_fleet(1))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        cards = screen.query_one(GpuCards)

        def broken(width: int) -> list[Any]:
            raise ValueError("[/boom]")

        monkeypatch.setattr(cards, "build", broken)
        text = await until_text(pilot, "this part could not be drawn")
        assert "processes" in text
        await until_text(pilot, "[/boom]")
        assert app.is_running


async def test_the_chart_of_a_broken_plotext_says_so(monkeypatch) -> None:
    def broken(*_: Any, **__: Any) -> list[Any]:
        raise RuntimeError("no canvas")

    monkeypatch.setattr("tui.widgets.result_chart.draw", broken)
    app = app_of(busy_fleet(1))
    async with app.run_test(size=(120, 50)) as pilot:
        await opened(pilot)
        await until_text(pilot, "the chart could not be drawn: RuntimeError")
        assert app.is_running


async def test_the_chart_is_drawn_at_most_every_two_seconds() -> None:
    app = app_of(busy_fleet(1))
    async with app.run_test(size=(120, 50)) as pilot:
        screen = await opened(pilot)
        await charted(pilot)
        chart = screen.query_one(ResultChart)
        before = chart.drawings
        for _ in range(5):
            screen._draw()
        await pilot.pause()
        assert chart.drawings == before
        assert chart._chart is not None
        chart.show(chart._chart, NOW_S + 2.5)
        await until(pilot, lambda: chart.drawings == before + 1, "a new drawing after two seconds")


@pytest.mark.parametrize("theme", ["mono", "light", "colour-blind"])
async def test_every_theme_draws(theme) -> None:
    app = app_of(hostile_fleet())
    async with app.run_test(size=(160, 50)) as pilot:
        app.theme = theme
        await opened(pilot)
        await until_text(pilot, "services 5 of 5 open")
        assert internal(app) == []


async def test_no_color_has_no_colours(monkeypatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = app_of(hostile_fleet())
    async with app.run_test(size=(160, 50)) as pilot:
        await opened(pilot)
        await until_text(pilot, "services 5 of 5 open")
        colours = set()
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                if segment.style is not None and segment.style.color is not None:
                    triplet = segment.style.color.get_truecolor()
                    colours.add(max(triplet) - min(triplet))
        assert max(colours) <= 2, "grey at most"


async def test_a_simulated_fleet_says_so_on_every_size() -> None:
    for size in ((200, 50), (80, 24), (20, 5)):
        app = app_of(busy_fleet(1), simulated=True)
        async with app.run_test(size=size) as pilot:
            await opened(pilot)
            assert "SIMULATED" in screen_text(app)


async def test_an_unsampled_host_and_link_trouble_are_said() -> None:
    fleet = Fleet([host("gpu-000")])
    fleet.set_link("gpu-000", new_link(LinkState.CONNECTING))
    app = app_of(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await until_text(pilot, "No sample was received from this host yet.")
        assert "never sampled" in screen_text(app)
