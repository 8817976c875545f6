"""Hosts that do not do well: the screen says what is known, since when, and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from probes.fleet import Fleet, new_link
from probes.model import LinkState
from tests.support.fleets import host, lost, sample
from tests.support.screens import NOW_S, app_of, busy_fleet, golden, screen_text, until, until_text
from tui.screens.host import HostScreen
from tui.themes import palette
from tui.widgets.lines import LinesPanel


def stopped(fleet: Fleet, ago_s: float) -> None:
    """The last sample came ``ago_s`` ago."""
    fleet.hosts["gpu-000"].sample_at_boot_s = NOW_S - ago_s


@pytest.mark.parametrize(
    ("state", "layer", "words"),
    [
        (LinkState.UNREACHABLE, "tcp", "unreachable"),
        (LinkState.AUTH_FAILED, "auth", "auth failed"),
        (LinkState.HOST_KEY_CHANGED, "host_key", "KEY CHANGED"),
        (LinkState.AGENT_FAILED, "bootstrap", "agent failed"),
        (LinkState.STALE, "silence", "stale"),
    ],
)
async def test_a_dead_host_keeps_its_last_values_dimmed_with_age_cause_and_next_step(state, layer, words) -> None:
    fleet = busy_fleet(2)
    stopped(fleet, 184)
    link = new_link(state, layer=layer, cause="the reason [/]", next_step="do this", attempt=4)
    fleet.set_link("gpu-000", replace(link, since_boot_s=NOW_S - 90, retry_at_boot_s=NOW_S + 12))
    app = app_of(fleet)
    async with app.run_test(size=(120, 40)) as pilot:
        app.open_host("gpu-000")
        text = await until_text(pilot, "LAST VALUES, 3m04s old")
        assert f"{words} for 1m30s" in text
        assert f"{layer}: the reason [/]" in text
        assert "next: do this" in text
        assert "attempt 4 failed, next in 12s" in text
        assert "NVIDIA H100" in text, "the last values stay"
        assert " 0% " not in text.splitlines()[6]
        values = app.screen.query_one("#gpus", LinesPanel).rows
        styles = {style for row in values[1:] for part, style in row if part.strip()}
        assert not styles & {"text", "good", "warn", "bad", "accent"}
        old = palette(app.theme).old
        drawn = [segment.style for strip in app.screen._compositor.render_strips() for segment in strip]
        assert any(style is not None and style.color == old.color and style.italic for style in drawn)


async def test_a_host_that_was_never_sampled_shows_no_values_at_all() -> None:
    fleet = Fleet([host("gpu-000")])
    link = new_link(LinkState.HOST_KEY_UNKNOWN, layer="host_key", cause="no known_hosts entry", next_step="ssh gpu-000")
    fleet.set_link("gpu-000", replace(link, since_boot_s=NOW_S - 5))
    app = app_of(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_host("gpu-000")
        await until_text(pilot, "No sample was received")
        await golden(pilot, "host_never_sampled_80x24")
        text = screen_text(app)
        assert "CPU " not in text.replace("2 CPU", "")
        assert "0%" not in text
        fleet.set_link("gpu-000", new_link(LinkState.LIVE))
        fleet.ingest("gpu-000", sample(1), NOW_S, 0.01)
        await until_text(pilot, "NVIDIA H100")
        assert "No sample" not in screen_text(app)


@pytest.mark.parametrize(
    ("state", "words"),
    [(LinkState.CONNECTING, "Values appear here"), (LinkState.PAUSED, "nothing is read until it is resumed")],
)
async def test_waiting_states_say_what_they_wait_for(state, words) -> None:
    fleet = Fleet([host("gpu-000")])
    fleet.set_link("gpu-000", new_link(state))
    app = app_of(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_host("gpu-000")
        await until_text(pilot, words)


async def test_a_lost_gpu_stands_out_and_the_header_says_it() -> None:
    fleet = busy_fleet(2)
    record = fleet.hosts["gpu-000"]
    assert record.sample is not None
    cards = (record.sample.gpus[0], replace(record.sample.gpus[1], **lost()))
    fleet.ingest("gpu-000", replace(record.sample, gpus=cards), NOW_S, 0.01)
    app = app_of(fleet)
    async with app.run_test(size=(120, 40)) as pilot:
        app.open_host("gpu-000")
        text = await until_text(pilot, "GPU LOST")
        assert "down: gpu1 lost" in text


async def test_an_age_goes_on_while_nothing_comes() -> None:
    now = [NOW_S]
    fleet = busy_fleet(1)
    app = app_of(fleet)
    app.boot_s = lambda: now[0]
    async with app.run_test(size=(120, 40)) as pilot:
        app.open_host("gpu-000")
        await until_text(pilot, "sample 0.5s old")
        now[0] += 3
        await until_text(pilot, "sample 3.5s old")
        now[0] += 3
        await until_text(pilot, "LAST VALUES, 6.5s old")


async def test_a_suspended_laptop_shows_the_real_age() -> None:
    now = [NOW_S]
    fleet = busy_fleet(1)
    app = app_of(fleet)
    app.boot_s = lambda: now[0]
    async with app.run_test(size=(120, 40)) as pilot:
        app.open_host("gpu-000")
        await until_text(pilot, "sample 0.5s old")
        now[0] += 3 * 3600  # the boot clock counts suspend
        text = await until_text(pilot, "LAST VALUES, 3h00m old")
        assert "now" not in [line.strip() for line in text.splitlines()]


async def test_a_reboot_with_fewer_gpus_keeps_the_screen() -> None:
    fleet = busy_fleet(8)
    app = app_of(fleet)
    async with app.run_test(size=(160, 50)) as pilot:
        app.open_host("gpu-000")
        await until_text(pilot, " 7 NVIDIA")
        for _ in range(7):
            await pilot.press("g")
        fleet.ingest("gpu-000", sample(2), NOW_S, 0.01)
        await until(pilot, lambda: " 7 NVIDIA" not in screen_text(app), "two GPUs")
        fleet.ingest("gpu-000", replace(sample(0), missing={"gpus": "timeout"}), NOW_S, 0.01)
        await until_text(pilot, "could not be read: timed out")
        assert isinstance(app.screen, HostScreen)
        assert not [e for e in fleet.events if e.kind == "internal"]


async def test_resizing_through_every_size_breaks_nothing() -> None:
    app: Any = app_of(busy_fleet(4))
    async with app.run_test(size=(200, 50)) as pilot:
        app.open_host("gpu-000")
        await until_text(pilot, "NVIDIA")
        for size in ((20, 5), (300, 80), (80, 24), (1, 1), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await until_text(pilot, "services")
        assert not [e for e in app.fleet.events if e.kind == "internal"]
