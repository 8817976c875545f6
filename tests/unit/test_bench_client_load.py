"""What the engine says of itself: how late its event loop was. On virtual time; a loop that stands still is a jump."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from benchmarks.client_load import ClientLoad
from tests.support import virtual_time


async def lag_p99_of(seconds: float, stands_still: dict[float, float]) -> float | None:
    """The lag of a phase in which the loop stands still at some moments, each for so long."""
    loop: Any = asyncio.get_running_loop()
    own = ClientLoad()
    sampling = asyncio.create_task(own.run())
    own.start()
    for at_s, for_s in stands_still.items():
        loop.call_later(at_s, loop.stand_still, for_s)
    await asyncio.sleep(seconds)
    own.stop()
    sampling.cancel()
    return own.lag_p99_s()


def test_a_loop_that_is_never_late():
    assert virtual_time.run(lag_p99_of(10.0, {})) == pytest.approx(0.0, abs=1e-6)


def test_one_long_standstill_is_not_one_sample_of_a_thousand():
    """2 of 10 s: every moment of them was late, so that 1 % of the samples were late by more than 1.9 s."""
    found = virtual_time.run(lag_p99_of(10.0, {4.005: 2.0}))
    assert found is not None
    assert 1.85 < found < 1.95


def test_standing_still_for_less_than_a_hundredth_of_the_time_is_not_seen_in_a_p99():
    assert virtual_time.run(lag_p99_of(10.0, {4.005: 0.05})) == pytest.approx(0.0, abs=1e-6)
