"""Numbers as text: every number with its unit, unknown as a word or a dash, never as 0.

Pure functions from values to plain strings; colours belong to the widgets.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from rich.cells import cell_len

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


def age_text(seconds: float | None) -> str:
    """An age in whole units, at most four cells: ``0s``, ``59s``, ``3m``, ``23h``, ``12d``, ``999d``."""
    if seconds is None:
        return UNKNOWN
    whole = int(seconds) if seconds > 0 else 0
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86400:
        return f"{whole // 3600}h"
    return f"{min(whole // 86400, 999)}d"


def recent_text(seconds: float | None) -> str:
    """``age_text``, but ``<2s`` as long as it is: a digit that flips every second says nothing and tires the eye."""
    return "<2s" if seconds is not None and seconds < 2.0 else age_text(seconds)


def short_bytes(value: float | None) -> str:
    """Bytes in at most four cells, binary, the unit's letter alone: ``640G``, ``1.5T``, ``0B``."""
    if value is None:
        return UNKNOWN
    size, unit = float(value), 0
    while size >= 999.5 and unit < len(_BINARY) - 1:
        size /= 1024
        unit += 1
    digits = 1 if unit and size < 9.95 else 0
    return f"{size:.{digits}f}{_BINARY[unit][0]}"


def short_watts(value: float | None) -> str:
    """Watts in at most five cells with the unit: ``950W``, ``2.1kW``, ``45kW``, ``1.2MW``."""
    if value is None:
        return UNKNOWN
    for limit, scale, unit in ((999.5, 1.0, "W"), (9950.0, 1e3, "kW"), (999.5e3, 1e3, "kW"), (9.95e6, 1e6, "MW")):
        if value < limit:
            return f"{value / scale:.{1 if limit in (9950.0, 9.95e6) else 0}f}{unit}"
    return f"{value / 1e6:.0f}MW"


def clock_text(epoch_s: float, *, utc: bool, seconds: bool = True) -> str:
    """A wall time as ``HH:MM:SS`` with its zone: ``Z`` for UTC, the zone's name for local time."""
    when = datetime.fromtimestamp(epoch_s, UTC) if utc else datetime.fromtimestamp(epoch_s, UTC).astimezone()
    text = when.strftime("%H:%M:%S" if seconds else "%H:%M")
    return f"{text}Z" if utc else f"{text} {when.tzname() or ''}".rstrip()


def cells(text: str) -> int:
    """How many terminal cells a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, *, right: bool = False, ellipsis: str = "…") -> str:
    """A text in exactly ``width`` cells: padded, or cut with an ellipsis. Wide and combining characters count right.

    Args:
        text: already cleaned text (no control characters).
        width: cells to fill; below 1 gives an empty text.
        right: align to the right.
        ellipsis: one cell that says something was cut.
    """
    if width < 1:
        return ""
    if text.isascii():
        size = len(text)
        if size > width:
            return text[: width - 1] + ellipsis
    else:
        text = text.replace("\ufe0f", "").replace("\ufe0e", "")  # terminals disagree about their width
        size = cell_len(text)
        if size > width:
            text = _cut(text, width - 1) + ellipsis
            size = cell_len(text)
    pad = " " * (width - size)
    return pad + text if right else text + pad


def _cut(text: str, width: int) -> str:
    """The longest prefix of at most ``width`` cells that starts no cluster it cannot finish."""
    used = 0
    for at, char in enumerate(text):
        size = cell_len(char)
        if used + size > width:
            return text[:at]
        used += size
    return text
