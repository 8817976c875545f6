"""The perf log says what the store holds, only when it was asked for."""

from __future__ import annotations

import asyncio
import json

import pytest

from probes import clock
from probes.demo.catalog import plan
from probes.demo.simulate import sample
from probes.fleet import Fleet, new_link
from probes.model import Host, LinkState
from tui import perf


class Backend:
    """Runs until cancelled."""

    def __init__(self) -> None:
        self.running = asyncio.Event()

    async def run(self) -> None:
        self.running.set()
        await asyncio.Event().wait()


def fleet_of_three() -> Fleet:
    fleet = Fleet(
        [Host(id=name, address=name, groups=(group,)) for name, group in (("a", "x"), ("b", "x"), ("c", "y"))]
    )
    now, made = clock.boot_s(), sample(plan(1, 1)[0], 5.0, 1, 1.0)
    fleet.ingest("a", made, now - 2.0, 0.5)
    fleet.ingest("c", made, now - 60.0, None)
    fleet.set_link("a", new_link(LinkState.LIVE))
    return fleet


def test_ages_count_every_host_that_ever_spoke():
    told = perf.figures(fleet_of_three(), [0.001, 0.002])
    assert told["members"] == 3
    assert told["sampled"] == 2
    assert told["age_ms"]["max"] == pytest.approx(60_000, abs=2000)
    assert told["states"] == {"live": 1, "connecting": 2}
    assert told["lines"] == 2
    assert told["lags_ms"] == [1.0, 2.0]
    assert told["lag_ms"]["max"] == 2.0
    assert told["rss_bytes"] > 1_000_000


def test_ages_can_be_limited_to_a_group():
    told = perf.figures(fleet_of_three(), [], "x")
    assert (told["members"], told["sampled"]) == (2, 1)
    assert told["age_ms"]["max"] == pytest.approx(2500, abs=1000)
    assert told["lag_ms"] is None
    assert perf.figures(fleet_of_three(), [], "nobody")["age_ms"] is None


async def test_nothing_is_recorded_unless_asked(monkeypatch):
    monkeypatch.delenv(perf.VARIABLE, raising=False)
    backend = Backend()
    before = backend.run
    assert perf.measured(backend, Fleet()) is backend
    assert backend.run == before


async def test_a_line_a_second_while_the_backend_runs(monkeypatch, tmp_path):
    log = tmp_path / "perf.log"
    monkeypatch.setenv(perf.VARIABLE, str(log))
    monkeypatch.setattr(perf, "_LINE_S", 0.1)
    running = asyncio.create_task(perf.measured(Backend(), fleet_of_three()).run())
    async with asyncio.timeout(10):
        while not log.exists() or len(log.read_text().splitlines()) < 2:
            await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert log.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[1]["at_s"] > lines[0]["at_s"]
    assert lines[1]["cpu_s"] >= lines[0]["cpu_s"] > 0
    assert all(task.get_name() != "perf log" for task in asyncio.all_tasks())
