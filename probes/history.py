"""The last minutes of a host as flat ring buffers: what charts are drawn from. Written by the fleet store alone."""

from __future__ import annotations

from array import array
from math import isnan
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from probes.model import Brief

HISTORY_LEN: Final = 200
#: Series and their steps. Fine ones are kept in 16 bits; percentages and temperatures, which charts show to half a
#: unit, in 8: at 1,000 hosts x 8 GPUs the rings are a tenth of all memory.
_FINE: Final = {"rx": 1 / 65536, "tx": 1 / 65536, "power_w": 20.0}
_HALF: Final = 2.0
_FINE_GAP: Final = 65535
_HALF_GAP: Final = 255
_HOST_FINE: Final = ("rx", "tx")
_HOST_HALF: Final = ("cpu_pct", "memory_pct")
_GPU_FINE: Final = ("power_w",)
_GPU_HALF: Final = ("utilization_pct", "memory_pct", "temperature_c")


class History:
    """Ring buffers of one host: the last ``HISTORY_LEN`` samples of a few series, in two flat arrays.

    Values are fixed point: percent and degrees Celsius in halves (0 to 127), watts in twentieths, rates in steps of
    64 KiB/s. What is out of range is shown at its end; a gap is a gap, never 0. A sample is one row in each array: what
    is written once a second for every host lies together in memory.
    """

    __slots__ = ("_fine", "_fine_width", "_gpus", "_half", "_half_width", "_pos", "_when", "count")

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus
        self._fine_width = len(_HOST_FINE) + gpus * len(_GPU_FINE)
        self._half_width = len(_HOST_HALF) + gpus * len(_GPU_HALF)
        self._fine = array("H", [_FINE_GAP]) * (self._fine_width * HISTORY_LEN)
        self._half = bytearray([_HALF_GAP]) * (self._half_width * HISTORY_LEN)
        self._when = array("d", [0.0]) * HISTORY_LEN
        self._pos = 0
        self.count = 0

    @property
    def gpus(self) -> int:
        """How many GPUs the buffers hold."""
        return self._gpus

    def append(self, at_boot_s: float, sample: Brief) -> None:
        """Write one row; O(GPUs), no allocation that stays."""
        rx = tx = None
        for nic in sample.net:
            if nic.rx_bytes_per_s is not None and nic.tx_bytes_per_s is not None and nic.name != "lo":
                rx = (rx or 0.0) + nic.rx_bytes_per_s
                tx = (tx or 0.0) + nic.tx_bytes_per_s
        gpus = sample.gpus if len(sample.gpus) <= self._gpus else sample.gpus[: self._gpus]
        fine = [_fix(rx, _FINE["rx"], _FINE_GAP), _fix(tx, _FINE["tx"], _FINE_GAP)]
        half = [
            _fix(sample.cpu.utilization_pct, _HALF, _HALF_GAP),
            _fix(_share(sample.memory.used_bytes, sample.memory.total_bytes), _HALF, _HALF_GAP),
        ]
        # the hot path of the store, 32 values a line: what is in range is written without a call
        for gpu in gpus:
            power, busy, warm = gpu.power_w, gpu.utilization_pct, gpu.temperature_c
            total, used = gpu.memory_total_bytes, gpu.memory_used_bytes
            if power is None:
                fine.append(_FINE_GAP)
            else:
                fine.append(int(power * 20.0 + 0.5) if 0.0 <= power <= 3276.0 else _fix(power, 20.0, _FINE_GAP))
            half += (
                _HALF_GAP if busy is None else int(busy + busy + 0.5) if 0.0 <= busy <= 126.0 else _clipped(busy),
                int(used * 200 / total + 0.5) if total and used is not None and 0 <= used <= total else _HALF_GAP,
                _HALF_GAP if warm is None else int(warm + warm + 0.5) if 0.0 <= warm <= 126.0 else _clipped(warm),
            )
        if len(gpus) < self._gpus:  # one that is gone leaves a gap
            fine += [_FINE_GAP] * (self._fine_width - len(fine))
            half += [_HALF_GAP] * (self._half_width - len(half))
        pos = self._pos
        self._when[pos] = at_boot_s
        self._fine[pos * self._fine_width : (pos + 1) * self._fine_width] = array("H", fine)
        self._half[pos * self._half_width : (pos + 1) * self._half_width] = bytes(half)
        self._pos = (pos + 1) % HISTORY_LEN
        if self.count < HISTORY_LEN:
            self.count += 1

    def series(self, name: str, gpu: int | None = None) -> list[tuple[float, float | None]]:
        """Return ``(boot_s, value or None)`` oldest first.

        Args:
            name: a host series (``cpu_pct``, ``memory_pct``, ``rx``, ``tx`` in bytes/s) or, with ``gpu`` (position in
                the sample), ``utilization_pct``, ``memory_pct``, ``temperature_c``, ``power_w``.
            gpu: position of the GPU, or None for a host series.
        """
        if gpu is not None and gpu >= self._gpus:
            return []
        fine, half = (_HOST_FINE, _HOST_HALF) if gpu is None else (_GPU_FINE, _GPU_HALF)
        kind = fine if name in fine else half
        column = kind.index(name)
        if gpu is not None:
            column += (len(_HOST_FINE) if kind is fine else len(_HOST_HALF)) + gpu * len(kind)
        data, gap = (self._fine, _FINE_GAP) if kind is fine else (self._half, _HALF_GAP)
        width = self._fine_width if kind is fine else self._half_width
        scale = _FINE.get(name, _HALF)
        first = self._pos - self.count
        out: list[tuple[float, float | None]] = []
        for step in range(self.count):
            at = (first + step) % HISTORY_LEN
            raw = data[at * width + column]
            out.append((self._when[at], None if raw == gap else raw / scale))
        return out


def _share(used: int | None, total: int | None) -> float | None:
    return used / total * 100.0 if total and used is not None else None


def _fix(value: float | None, scale: float, gap: int) -> int:
    """The nearest step, or the gap; what is out of range is clipped below the gap."""
    if value is None:
        return gap
    step = value * scale + 0.5
    if 0.0 <= step < gap:
        return int(step)
    return gap if isnan(step) else 0 if step < 0.0 else gap - 1


def _clipped(value: float) -> int:
    return _fix(value, _HALF, _HALF_GAP)
