"""The History screen, driven by keys at several sizes on runs kept in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from benchmarks.errors import BenchError
from probes.fleet import Fleet
from tests.support.benching import FakeWork, bench_app, graded_s, opened, past_runs, started
from tests.support.fleets import HOSTILE_ID, host
from tests.support.screens import HOSTILE, app_of, golden, screen_text, screen_widths, until, until_text
from tui.app import QuarterdeckApp

if TYPE_CHECKING:
    from typing import Any

SIZES = [(80, 24), (120, 40), (200, 50)]


def internal(app: QuarterdeckApp) -> list[str]:
    return [event.text for event in app.fleet.events if event.kind == "internal"]


async def history(pilot: Any, work: FakeWork) -> Any:
    screen = await opened(pilot, "H", screen="HistoryScreen")
    await until(pilot, lambda: screen._loaded, "the runs are read")
    await pilot.pause(0.05)
    return screen


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("size", SIZES)
async def test_the_list(size, ascii_only) -> None:
    work = FakeWork(*past_runs())
    work.baselines["9f3a11c0"] = past_runs()[0].run_id
    app = bench_app(work, ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        await history(pilot, work)
        await until_text(pilot, "12 runs")
        await pilot.press("space", "space")
        await until_text(pilot, "2 marked")
        await golden(pilot, f"history-{size[0]}x{size[1]}{'-ascii' if ascii_only else ''}")
        assert screen_widths(app) == {size[0]}
        assert not ascii_only or screen_text(app).isascii()
        assert internal(app) == []


async def test_newest_first_and_the_filter() -> None:
    work = FakeWork(*past_runs())
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await history(pilot, work)
        assert [row.run_id for row in screen.shown] == [one.run_id for one in reversed(past_runs())]
        await pilot.press("slash", *"label=after letter=S")
        await until_text(pilot, "5 of 12 runs")
        await pilot.press("enter")
        await until_text(pilot, "/label=after letter=S")
        await until(pilot, lambda: "INVALID" not in screen_text(app), "the others are gone")
        await pilot.press("slash", *" (")
        await until_text(pilot, "a condition is missing here")
        await pilot.press("escape")
        await until_text(pilot, "5 of 12 runs")
        await pilot.press("slash")
        await pilot.press("ctrl+u", *"nothing", "enter")
        await until_text(pilot, "no run fits the filter")
        await pilot.press("y", "enter", "space", "t", "s", "escape")
        await until_text(pilot, "12 runs")
        app.run_command("history letter=INVALID")
        await until_text(pilot, "1 of 12 runs")
        app.run_command("history letter>A")
        await until_text(pilot, "filter at 7: letter is text")
        await until_text(pilot, "12 runs")


async def test_moving_and_copying(monkeypatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(QuarterdeckApp, "copy_to_clipboard", lambda _self, text: copied.append(text))
    many = [replace(graded_s(), run_id=f"run-{at:03d}") for at in range(120)]
    work = FakeWork(*many)
    app = bench_app(work)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await history(pilot, work)
        await pilot.press("end", "y")
        await until(pilot, lambda: copied == ["run-000"], "the last")
        await until(pilot, lambda: screen._body.scroll_y == screen._body.max_scroll_y > 0, "scrolled to it")
        await pilot.press("k", "y", "pageup", "y", "home", "y", "down", "j", "y", "pagedown", "y")
        assert copied == ["run-000", "run-001", "run-021", "run-119", "run-117", "run-097"]
        work.results.append(replace(graded_s(), run_id="run-new"))
        await pilot.press("r")
        await until_text(pilot, "121 runs")
        assert screen.selected.run_id == "run-097", "the cursor stays on its run"


async def test_a_run_is_opened_as_a_card_with_its_baseline() -> None:
    work = FakeWork(*past_runs())
    app = bench_app(work)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        screen = await history(pilot, work)
        await pilot.press("enter")
        await until_text(pilot, "no letter: these figures cannot be trusted")
        await pilot.press("j", "pagedown", "end", "home", "escape")
        await until_text(pilot, "12 runs")
        await pilot.press("s")
        await until_text(pilot, "no baseline was set: plan: 20261125T205011Z-0b0b0b is invalid and can be no baseline")
        await pilot.press("end", "s")
        await until_text(pilot, "baseline of medium on gpu-000: 20261125T2030")
        await until(pilot, lambda: screen.selected.baseline, "and marked as such")
        await pilot.press("k", "enter")
        await until_text(pilot, "baseline response_time p90, error-adjusted 490 ms on 2026-11-25T20:30:02Z")
        await pilot.press("space", "enter", "slash", "escape")
        await until_text(pilot, "12 runs")
        assert internal(app) == []


async def test_two_labels_are_compared_with_intervals() -> None:
    work = FakeWork(*past_runs())
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        await history(pilot, work)
        await pilot.press("end", "space", "k", "k", "k", "k", "k", "space", "V")
        text = await until_text(pilot, "A is better")
        assert ("compare", "label:before", "label:after") in work.calls
        for words in ("A median 450 ms", "B median 750 ms", "label:before is better: label:after - label:before +300 ms",
                      "(95 % +240 ms to +360 ms, exact ranks)"):  # fmt: skip
            assert words in text, text
        assert "20261125T205011Z-0b0b0b is INVALID and not counted" in text
        await golden(pilot, "history-compare-120x40")


async def test_two_runs_are_too_few_and_the_same_is_no_difference() -> None:
    same = [replace(graded_s(), run_id=f"{side}{at}", label=side) for side in "ab" for at in range(4)]
    work = FakeWork(*same)
    app = bench_app(work)
    async with app.run_test(size=(80, 24)) as pilot:
        await history(pilot, work)
        await pilot.press("space", "space", "v")
        text = await until_text(pilot, "needs 4 a side")
        assert "95% 389 ms to 435 ms" in text
        await golden(pilot, "history-too-few-80x24")
        app.run_command("compare label:a label:b")
        await until_text(pilot, "no detectable difference")
        app.run_command("compare label:a")
        await until_text(pilot, "compare needs two sides")


async def test_two_marked_runs_are_needed_to_compare() -> None:
    work = FakeWork(*past_runs())
    app = bench_app(work)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await history(pilot, work)
        await pilot.press("v")
        await until_text(pilot, "mark two runs with space: the first is A, the second B")
        await pilot.press("j", "space", "space", "V")
        await until_text(pilot, "need a label each, and not the same")
        assert [call for call in work.calls if call[0] == "compare"] == []


async def test_runs_of_two_configurations_are_not_compared() -> None:
    work = FakeWork(*past_runs())
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        await history(pilot, work)
        await pilot.press("j", "space", "space", "v")
        text = await until_text(pilot, "NOT COMPARED load mode differs: 'quick' and 'full'")
        assert "A median" not in text
        await golden(pilot, "history-refused-120x40")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: "marked" not in screen_text(app), "the marks are cleared")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.fleet_screen, "left")


async def test_a_trend_is_drawn_and_judged() -> None:
    work = FakeWork(*past_runs())
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await history(pilot, work)
        await pilot.press("end", "t")
        await until_text(pilot, "WORSE: +")
        await until(pilot, lambda: screen._chart.drawings > 0, "drawn")
        await golden(pilot, "history-trend-120x40")
        assert internal(app) == []


async def test_no_trend_from_one_point() -> None:
    work = FakeWork(graded_s())
    app = bench_app(work)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await history(pilot, work)
        await pilot.press("t")
        await until_text(pilot, "no trend from one run")
        assert not screen._chart.display
        await golden(pilot, "history-one-point-80x24")


async def test_a_store_that_cannot_be_read_is_said_with_what_to_do() -> None:
    work = FakeWork()
    work.fails = BenchError(
        "results.sqlite3 is damaged: [/b]; it was left as it is", layer="store", next_step="move it away"
    )
    app = bench_app(work)
    async with app.run_test(size=(80, 24)) as pilot:
        await history(pilot, work)
        await until_text(pilot, "no run can be shown")
        await until_text(pilot, "the stored runs cannot be read: store: results.sqlite3 is damaged: [/b]")
        work.fails = None
        await pilot.press("r")
        await until_text(pilot, "no run is stored yet: b on a host measures it")
        assert internal(app) == []


async def test_a_suite_that_ends_is_there_at_once() -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        runner = await started(pilot, work)
        await history(pilot, work)
        await until_text(pilot, "bench synthesis")
        await until_text(pilot, "no run is stored yet")
        work.results.append(graded_s())
        runner.play(state="done", results=[graded_s()])
        runner.finish()
        await until_text(pilot, "1 run ")


@pytest.mark.parametrize("size", [(20, 5), (39, 9), (40, 10), (80, 24), (90, 45), (160, 40), (300, 80)])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_hostile_text_at_any_size(size, ascii_only) -> None:
    runs = [
        replace(
            graded_s(), run_id=f"{HOSTILE[at % 5]}{at}", label=HOSTILE[at], case=HOSTILE[-1 - at], wall_start=HOSTILE[at],
            target=replace(graded_s().target, host=HOSTILE_ID), config_hash=HOSTILE[0],
        )
        for at in range(len(HOSTILE))
    ]  # fmt: skip
    work = FakeWork(*runs)
    app = app_of(Fleet([host(HOSTILE_ID)]), bench_work=lambda: work, ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        await history(pilot, work)
        for key in (
            "space",
            "space",
            "v",
            "escape",
            "t",
            "j",
            "escape",
            "enter",
            "end",
            "escape",
            "s",
            "y",
            "slash",
            "escape",
        ):
            await pilot.press(key)
            await pilot.pause(0.05)
            assert screen_widths(app) == {size[0]}
            text = screen_text(app)
            assert "\x1b" not in text
            assert "\u202e" not in text
            assert not ascii_only or text.isascii()
        assert internal(app) == []
        if size[0] < 40 or size[1] < 10:
            assert "too small" in screen_text(app)
