"""Repeatable noise: pure functions of integer keys, so that a simulation can be asked for any moment in any order."""

from __future__ import annotations

import math
from typing import Final

_MASK: Final = (1 << 64) - 1
_STEP: Final = 0x9E3779B97F4A7C15


def mix(*keys: int) -> int:
    """Hash integers to 64 bits (splitmix64's finaliser, chained)."""
    state = 0
    for key in keys:
        state = (state + key + _STEP) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def unit(*keys: int) -> float:
    """A number in [0, 1) that belongs to the keys."""
    return (mix(*keys) >> 11) / (1 << 53)


def between(low: float, high: float, *keys: int) -> float:
    """A number in [low, high) that belongs to the keys."""
    return low + (high - low) * unit(*keys)


def wave(key: int, t: float, period_s: float) -> float:
    """Smooth noise in [-1, 1]: cosine-blended lattice noise with one new value per ``period_s``."""
    place = t / period_s
    cell = math.floor(place)
    blend = (1.0 - math.cos(math.pi * (place - cell))) / 2.0
    before, after = unit(key, cell), unit(key, cell + 1)
    return 2.0 * (before + (after - before) * blend) - 1.0


def clamp(value: float, low: float, high: float) -> float:
    """``value``, kept within [low, high]."""
    return low if value < low else min(value, high)
