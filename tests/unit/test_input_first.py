"""Slices of work that stand back for a key."""

from __future__ import annotations

import pytest

from probes.input_first import AT_MOST_S, HOLD_S, InputFirst


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def pressed_every(first: InputFirst, clock: Clock, pause_s: float, seconds: float) -> list[float]:
    """Press keys, look each millisecond; the lengths of the stretches in which slices stood back."""
    stretches: list[float] = []
    held_s = 0.0
    due_s = end_s = clock.now_s
    end_s += seconds
    while clock.now_s < end_s:
        if clock.now_s >= due_s:
            due_s += pause_s
            first.came()
        if first.left_s > 0:
            held_s += 0.001
        elif held_s:
            stretches.append(held_s)
            held_s = 0.0
        clock.now_s += 0.001
    return stretches + [held_s] * (held_s > 0)


def test_nobody_typed() -> None:
    assert InputFirst().left_s <= 0


def test_a_key_holds_for_a_moment() -> None:
    clock = Clock()
    first = InputFirst(clock)
    first.came()
    assert first.left_s == pytest.approx(HOLD_S)
    clock.now_s += HOLD_S
    assert first.left_s <= 0


def test_keys_without_a_pause_hold_no_longer_than_the_bound() -> None:
    clock = Clock()
    stretches = pressed_every(InputFirst(clock), clock, 0.004, 5.0)
    assert len(stretches) == 1
    assert stretches[0] <= AT_MOST_S + 0.002


def test_a_key_held_down_leaves_slices_every_other_moment() -> None:
    clock = Clock()
    stretches = pressed_every(InputFirst(clock), clock, 0.033, 1.0)
    assert len(stretches) == 31
    assert max(stretches) <= HOLD_S + 0.002


def test_after_a_pause_a_key_goes_first_again() -> None:
    clock = Clock()
    first = InputFirst(clock)
    pressed_every(first, clock, 0.004, 1.0)
    assert first.left_s <= 0
    clock.now_s += 2 * HOLD_S
    first.came()
    assert first.left_s == pytest.approx(HOLD_S)


class Loop:
    """Sleeps on the test's clock, and whoever sleeps there is typed beside."""

    def __init__(self, clock: Clock, first: InputFirst, keys: int) -> None:
        self.clock, self.first, self.keys = clock, first, keys

    async def sleep(self, seconds: float) -> None:
        self.clock.now_s += seconds * 0.9
        if self.keys:
            self.keys -= 1
            self.first.came()
        self.clock.now_s += seconds * 0.1


@pytest.mark.parametrize(("keys", "at_least_s", "at_most_s"), [(0, HOLD_S, HOLD_S), (2, 0.03, 0.05), (1000, 0.1, 0.1)])
async def test_a_slice_waits_for_keys_and_never_longer_than_its_bound(monkeypatch, keys, at_least_s, at_most_s) -> None:
    clock = Clock()
    first = InputFirst(clock)
    monkeypatch.setattr("probes.input_first.asyncio", Loop(clock, first, keys))
    await first.way()
    assert clock.now_s == 50.0
    first.came()
    await first.way()
    assert at_least_s - 1e-9 <= clock.now_s - 50.0 <= at_most_s + 1e-9
    assert at_most_s <= AT_MOST_S
