"""Numbers as text: every number with its unit, unknown as a word or a dash, never as 0.

Pure functions from values to plain strings; colours belong to the widgets.
"""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = "—"
_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def bytes_text(value: float | None) -> str:
    """``1536`` -> ``1.5 KiB``; binary units, three significant digits."""
    if value is None:
        return UNKNOWN
    size, unit = float(value), 0
    while abs(size) >= 999.5 and unit < len(_BINARY) - 1:
        size /= 1024
        unit += 1
    digits = 0 if unit == 0 or size >= 99.95 else 1
    return f"{size:.{digits}f} {_BINARY[unit]}"


def rate_text(bytes_per_s: float | None) -> str:
    """Bytes per second with a binary unit."""
    return UNKNOWN if bytes_per_s is None else f"{bytes_text(bytes_per_s)}/s"


def pct_text(value: float | None) -> str:
    """A percentage without decimals."""
    return UNKNOWN if value is None else f"{value:.0f}%"


def ratio_pct(used: float | None, total: float | None) -> float | None:
    """Used of total in percent; None when either is unknown or total is 0."""
    return None if used is None or not total else used / total * 100


def temperature_text(value: float | None) -> str:
    """Degrees Celsius."""
    return UNKNOWN if value is None else f"{value:.0f}°C"


def watts_text(value: float | None) -> str:
    """Watts, kilowatts from 10,000 W on."""
    if value is None:
        return UNKNOWN
    return f"{value:.0f} W" if value < 9999.5 else f"{value / 1000:.1f} kW"


def duration_text(seconds: float | None) -> str:
    """``0.4s``, ``12s``, ``3m04s``, ``2h05m``, ``3d04h``: at most six cells."""
    if seconds is None:
        return UNKNOWN
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"
