from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest

from probes.reach.gate import Gate, places
from probes.reach.schedule import Schedule, phase

IDS = [f"gpu-{number:04d}" for number in range(1000)]


def run(schedule: Schedule, since: float, until: float, step: float = 0.01) -> list[tuple[float, str]]:
    """Drive a schedule with a clock of our own; who was due when."""
    turns: list[tuple[float, str]] = []
    for tick in range(round((until - since) / step)):
        now = since + tick * step
        turns += [(now, key) for key in schedule.due(now)]
    return turns


def test_phases_are_stable_and_even() -> None:
    assert phase("gpu-0001") == phase("gpu-0001")
    tenths = Counter(int(phase(key) * 10) for key in IDS)
    assert set(tenths) == set(range(10))
    assert max(tenths.values()) < 2 * min(tenths.values())


def test_each_is_due_once_an_interval_and_never_all_at_once() -> None:
    schedule = Schedule(10.0)
    schedule.keep(IDS, 1000.0, 10.0)
    turns = run(schedule, 1000.0, 1060.0)
    whens: dict[str, list[float]] = {key: [] for key in IDS}
    for now, key in turns:
        whens[key].append(now)
    for times in whens.values():
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert 4.9 <= gaps[0] <= 15.1, "the first turn may be off its phase"
        assert all(abs(gap - 10.0) < 0.02 for gap in gaps[1:])
    per_second = Counter(int(now) for now, _ in turns)
    assert max(per_second.values()) < 200, "1,000 hosts each 10 s are 100 a second"


def test_first_turns_come_within_the_given_spread() -> None:
    schedule = Schedule(10.0)
    schedule.keep(IDS[:10], 0.0, 0.5)
    assert {key for _, key in run(schedule, 0.0, 0.51)} == set(IDS[:10])


def test_a_stall_is_not_made_up_for() -> None:
    schedule = Schedule(10.0)
    schedule.keep(IDS, 0.0, 10.0)
    run(schedule, 0.0, 30.0)
    burst = schedule.due(3630.0)
    assert len(burst) < 600, "an hour asleep must not fire a thousand hosts at once"
    rest = run(schedule, 3630.0, 3640.0)
    assert {key for _, key in rest} | set(burst) == set(IDS)


def test_hosts_come_and_go() -> None:
    schedule = Schedule(10.0)
    schedule.keep(["a", "b"], 0.0, 0.0)
    assert sorted(schedule.due(0.0)) == ["a", "b"]
    schedule.keep(["b", "c"], 1.0, 0.0)
    assert schedule.due(1.0) == ["c"]
    assert "a" not in schedule
    assert len(schedule) == 2
    assert {key for _, key in run(schedule, 1.0, 20.0)} == {"b", "c"}
    schedule.keep([], 20.0, 0.0)
    assert schedule.next_at() is None
    assert schedule.due(1e9) == []


def test_soon_is_now_and_keeps_the_phase() -> None:
    schedule = Schedule(10.0)
    schedule.keep(["a"], 0.0, 0.0)
    usual = [now for now, _ in run(schedule, 0.0, 40.0)][2:]
    schedule.soon("a", 40.5)
    schedule.soon("unknown", 40.5)
    assert schedule.next_at() == 40.5
    after = [now for now, _ in run(schedule, 40.5, 80.0)]
    assert after[0] == 40.5
    assert (after[1] - usual[0]) % 10.0 == pytest.approx(0.0, abs=0.02) or (after[1] - usual[0]) % 10.0 > 9.98


def test_another_interval_holds_from_now_on() -> None:
    schedule = Schedule(10.0)
    schedule.keep(IDS, 0.0, 10.0)
    run(schedule, 0.0, 20.0)
    schedule.set_interval(2.0, 20.0)
    counts = Counter(key for _, key in run(schedule, 20.0, 30.0))
    assert set(counts) == set(IDS)
    assert set(counts.values()) <= {4, 5, 6}


def test_the_heap_does_not_grow() -> None:
    schedule = Schedule(10.0)
    for turn in range(1000):
        schedule.keep(IDS[:10], float(turn), 0.0)
        schedule.soon(IDS[0], float(turn))
        schedule.set_interval(5.0 + turn % 7, float(turn))
        schedule.due(float(turn))
    assert len(schedule._heap) < 500


# --- the gate ---


async def test_silent_ones_never_hold_up_the_others() -> None:
    gate, hold = Gate(8), asyncio.Event()

    async def silent() -> None:
        async with gate.place(slow=True):
            await hold.wait()

    waiting = [asyncio.create_task(silent()) for _ in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (gate.inside, gate.slow_inside) == (6, 6)
    for _ in range(50):
        async with gate.place(slow=False):
            assert gate.inside == 7
    hold.set()
    await asyncio.gather(*waiting)
    assert (gate.inside, gate.slow_inside) == (0, 0)


async def test_gate_is_bounded_fair_and_survives_cancellation() -> None:
    gate, order = Gate(2), list[int]()
    most = 0

    async def work(number: int) -> None:
        nonlocal most
        async with gate.place(slow=False):
            most = max(most, gate.inside)
            order.append(number)
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(work(number)) for number in range(40)]
    await asyncio.sleep(0)
    for task in tasks[5::3]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 2
    assert order == sorted(order)
    assert len(order) == 40 - len(tasks[5::3])
    assert gate.inside == 0
    assert not any(gate._waiting)


async def test_place_given_in_the_moment_of_a_cancellation_is_passed_on() -> None:
    gate = Gate(1)
    await gate._enter(slow=False)
    cancelled = asyncio.create_task(gate._enter(slow=False))
    next_one = asyncio.create_task(gate._enter(slow=False))
    await asyncio.sleep(0)
    gate._leave(slow=False)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await asyncio.wait_for(next_one, 5)
    assert gate.inside == 1


def test_places_leave_descriptors_for_the_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, hosts, expected in ((1024, 10, 379), (1024, 1000, 64), (1 << 20, 5000, 2048), (-1, 5000, 2048)):
        monkeypatch.setattr("resource.getrlimit", lambda _, soft=soft: (soft, soft))
        assert places(hosts) == expected
