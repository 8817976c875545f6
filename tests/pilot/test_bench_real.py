"""The Bench and History screens on the real engine, a stand-in of the service, and a store on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from probes.demo.voices import Behaviour, Voicevox, serve
from probes.fleet import Fleet
from probes.model import Host, Service, ServiceKind
from tests.support.screens import app_of, screen_text, until, until_text

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from tui.app import QuarterdeckApp


@pytest.fixture
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "quarterdeck"


def dashboard(port: int) -> QuarterdeckApp:
    service = Service("voicevox", port, ServiceKind.VOICEVOX)
    return app_of(Fleet([Host("speaker", "127.0.0.1", services=(service,))]))


async def ended(pilot: Pilot[int], app: QuarterdeckApp) -> None:
    """Wait until what was started has ended; the engine's process takes its time."""
    await until(pilot, lambda: app.bench.suite is not None, "it runs")
    for _ in range(6):
        if app.bench.busy:
            await pilot.pause(2)
    await until(pilot, lambda: not app.bench.busy, "it ended")


async def test_one_key_validates_a_speech_service_and_the_result_is_in_the_history(state) -> None:
    async with serve(Voicevox(Behaviour(delay_s=0.02))) as running:
        app = dashboard(running.port)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("B")
            await ended(pilot, app)
            text = await until_text(pilot, "[3 result]")
            assert "RUNNING" not in text
            results = app.bench.suite.results
            assert results, app.bench.suite.jobs[0]
            assert {one.config.mode for one in results} == {"check"}
            assert {one.grade.letter for one in results} == {None}, "a check has no letter"
            assert [one.counts.ok for one in results] == [1] * len(results)
            await until_text(pilot, "NOT GRADED")
            await pilot.press("H")
            await until_text(pilot, f"{len(results)} run")
            await until_text(pilot, "synthesis")
            await pilot.press("enter")
            await until_text(pilot, "NOT GRADED")
            await pilot.press("escape", "t")
            await until_text(pilot, "trend")
            assert not [event for event in app.fleet.events if event.kind == "internal"], screen_text(app)
    assert (state / "results.sqlite3").exists()


async def test_a_cancelled_run_keeps_what_it_measured(state) -> None:
    async with serve(Voicevox(Behaviour(delay_s=0.3))) as running:
        app = dashboard(running.port)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("b")
            await until(
                pilot,
                lambda: getattr(app.screen, "_form", None) is not None and app.screen._form.plan is not None,
                "planned",
            )
            await pilot.press("s")
            await until_text(pilot, "[measure]")
            await until(pilot, lambda: app.bench.suite.jobs[0].points != [], "a request has ended")
            await pilot.press("x")
            await ended(pilot, app)
            job = app.bench.suite.jobs[0]
            assert job.state == "cancelled"
            assert job.results[-1].validity.verdict == "invalid"
            assert job.results[-1].counts.intended > 0
            await until_text(pilot, "INVALID")
            await pilot.press("H")
            await until_text(pilot, "INVALID")


async def test_a_port_that_is_no_speech_service_is_named(state) -> None:
    from probes.demo.voices import Pages

    async with serve(Pages()) as running:
        app = dashboard(running.port)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("B")
            await ended(pilot, app)
            assert app.bench.suite.jobs[0].state == "failed"
            await until_text(pilot, "could not start")
    assert not (state / "results.sqlite3").exists()
