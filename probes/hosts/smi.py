"""Reading what nvidia-smi prints as CSV: ``--query-gpu`` and ``--query-compute-apps``, of any driver, liberally.

Pure functions. A cell that holds no number becomes a reason (``[N/A]`` unsupported, ``[Insufficient Permissions]``
denied, ``[GPU is lost]`` gpu_lost, ...), never 0; a cell that makes no sense becomes ``error``. The text forms
(``-L``, the plain table, ``-q``) are read by ``smi_text``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from probes.hosts import agent
from probes.model import Gpu, Mig, Missing, Reason
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_GPUS: Final = 64
MAX_APPS: Final = 256
_MAX_CELLS: Final = 512
_MAX_LINE: Final = 65536

# --- cells ---

_MIB: Final = 1 << 20
_BYTES: Final = {"b": 1, "bytes": 1, "kib": 1 << 10, "kb": 1 << 10, "mib": _MIB, "mb": _MIB, "gib": 1 << 30,
                 "gb": 1 << 30, "tib": 1 << 40}  # fmt: skip
_WATTS: Final = {"w": 1.0, "mw": 0.001, "kw": 1000.0}
_HERTZ: Final = {"mhz": 1.0, "ghz": 1000.0, "khz": 0.001, "hz": 1e-6}
_NUMBER: Final = re.compile(r"([-+]?[0-9]{1,20}(?:\.[0-9]{1,9})?)\s*([A-Za-z%]{0,5})")
_SENTINELS: Final = frozenset({0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF})

_WORDS: Final[tuple[tuple[str, Reason], ...]] = (
    ("gpu is lost", "gpu_lost"),
    ("fallen off", "gpu_lost"),
    ("insufficient perm", "denied"),
    ("no permission", "denied"),
    ("permission denied", "denied"),
    ("not permitted", "denied"),
    ("timeout", "timeout"),
    ("timed out", "timeout"),
    ("unknown error", "error"),
    ("err!", "error"),
    ("requires reset", "error"),
    ("not supported", "unsupported"),
    ("unsupported", "unsupported"),
    ("not available", "unsupported"),
    ("deprecated", "unsupported"),
    ("n/a", "unsupported"),
)


def reason_of(text: str) -> Reason:
    """The reason a cell without a value stands for; ``error`` for what is not known."""
    low = text.strip().strip("[]").lower()
    for words, reason in _WORDS:
        if words in low:
            return reason
    return "unsupported" if low in ("none", "na", "-", "unknown") else "error"


@dataclass(frozen=True, slots=True)
class Number:
    """How to read one kind of number: accepted units with their factors, the factor without a unit, the bounds."""

    units: Mapping[str, float]
    plain: float
    low: float
    high: float
    whole: bool = False

    def read(self, text: str, unit: str = "") -> tuple[float | int | None, Reason | None]:
        """(value, None) or (None, reason) of a cell; ``unit`` is the unit of its column's header."""
        found = _NUMBER.fullmatch(text.strip())
        if found is None:
            return None, reason_of(text)
        own = (found.group(2) or unit).lower()
        factor = self.units.get(own, None if found.group(2) else self.plain)
        if factor is None:
            return None, "error"
        if "." not in found.group(1) and int(found.group(1)) in _SENTINELS:
            return None, "unsupported"
        value = float(found.group(1)) * factor
        if not self.low <= value <= self.high:
            return None, "error"
        return (round(value), None) if self.whole else (value, None)


PERCENT: Final = Number({"%": 1.0}, 1.0, 0.0, 100.0)
FAN: Final = Number({"%": 1.0}, 1.0, 0.0, 1000.0)
MEMORY: Final = Number(_BYTES, _MIB, 0.0, 2.0**50, whole=True)
CELSIUS: Final = Number({"c": 1.0}, 1.0, -100.0, 300.0)
POWER: Final = Number(_WATTS, 1.0, 0.0, 1e5)
CLOCK: Final = Number(_HERTZ, 1.0, 0.0, 1e5)
COUNT: Final = Number({}, 1.0, 0.0, 2.0**62, whole=True)
PCIE_GEN: Final = Number({}, 1.0, 1.0, 32.0, whole=True)
PCIE_WIDTH: Final = Number({"x": 1.0}, 1.0, 1.0, 64.0, whole=True)
PID: Final = Number({}, 1.0, 1.0, 2.0**31, whole=True)

#: field of Gpu -> (how to read it, its columns, the best one first; other drivers call them otherwise)
NUMBERS: Final[dict[str, tuple[Number, tuple[str, ...]]]] = {
    "utilization_pct": (PERCENT, ("utilization.gpu",)),
    "memory_total_bytes": (MEMORY, ("memory.total",)),
    "memory_used_bytes": (MEMORY, ("memory.used",)),
    "memory_free_bytes": (MEMORY, ("memory.free",)),
    "memory_reserved_bytes": (MEMORY, ("memory.reserved",)),
    "temperature_c": (CELSIUS, ("temperature.gpu",)),
    "power_w": (POWER, ("power.draw", "power.draw.average", "power.draw.instant")),
    "power_limit_w": (POWER, ("enforced.power.limit", "power.limit")),
    "sm_clock_mhz": (CLOCK, ("clocks.current.sm", "clocks.sm")),
    "memory_clock_mhz": (CLOCK, ("clocks.current.memory", "clocks.mem")),
    "fan_pct": (FAN, ("fan.speed",)),
    "ecc_corrected": (COUNT, ("ecc.errors.corrected.volatile.total",)),
    "ecc_uncorrected": (COUNT, ("ecc.errors.uncorrected.volatile.total",)),
    "pcie_gen": (PCIE_GEN, ("pcie.link.gen.current", "pcie.link.gen.gpucurrent")),
    "pcie_width": (PCIE_WIDTH, ("pcie.link.width.current",)),
}
_THROTTLE: Final = ("clocks_event_reasons.", "clocks_throttle_reasons.")
_THROTTLE_NAMES: Final = tuple(name for _, name in agent.THROTTLE_BITS)
_PSTATE: Final = re.compile(r"P([0-9]|1[0-5])")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]{1,16}")
_UUID: Final = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z/-]{1,100}")
_COLUMN: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.]*)(?:\s*\[([^\]]{0,16})\])?")
_NAMES: Final = frozenset({"name", "gpu_name", "process_name", "name of process"})
_KNOWN: Final = frozenset(
    {"index", "uuid", "gpu_uuid", "pid", "process_name", "used_gpu_memory", "used_memory", "driver_version", "pstate"}
    | {"name", "gpu_name", "timestamp", "count"}
    | {column for _, columns in NUMBERS.values() for column in columns}
    | {prefix + "active" for prefix in _THROTTLE}
)


def read_pstate(text: str) -> tuple[str | None, Reason | None]:
    """``P0`` to ``P15``."""
    found = _PSTATE.fullmatch(text.strip().upper())
    return (found.group(), None) if found else (None, reason_of(text))


def read_mask(text: str) -> tuple[tuple[str, ...] | None, Reason | None]:
    """The names of the reasons in a hexadecimal clocks-event mask."""
    text = text.strip()
    if _HEX.fullmatch(text) is None:
        return None, reason_of(text)
    return tuple(agent.throttle_names(int(text, 16))), None


def read_name(text: str) -> tuple[str | None, Reason | None]:
    """A name as clean text; a bracketed cell is none."""
    text = text.strip()
    if not text or text.lower() in ("n/a", "unknown error", "err!") or (text[0] == "[" and text[-1] == "]"):
        return None, reason_of(text)
    return clean(text), None


def read_uuid(text: str) -> tuple[str | None, Reason | None]:
    """A GPU's or MIG instance's UUID."""
    found = _UUID.fullmatch(text.strip())
    return (found.group(), None) if found else (None, reason_of(text))


# --- rows ---


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a CSV: their names without units, and the units of the header."""

    names: tuple[str, ...]
    units: tuple[str, ...]


def columns_of(names: str | Sequence[str]) -> Columns:
    """Columns from a query string (``index,uuid,...``) or a list of names."""
    parts = names.split(",") if isinstance(names, str) else names
    return Columns(tuple(part.strip() for part in parts), ("",) * len(parts))


def parse_header(line: str) -> Columns | None:
    """The columns when the line is a CSV header, else None."""
    cells = _cells(line)
    found = [_COLUMN.fullmatch(cell) for cell in cells]
    names = tuple(match.group(1) for match in found if match is not None)
    if len(names) != len(cells) or not _KNOWN.intersection(names):
        return None
    return Columns(names, tuple((match.group(2) or "") for match in found if match is not None))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line[:_MAX_LINE].split(",", _MAX_CELLS)]


def _row(line: str, columns: Columns) -> dict[str, tuple[str, str]] | None:
    """{column: (cell, unit)}; commas too many are taken to be inside the name, commas too few are no row."""
    cells = _cells(line)
    extra = len(cells) - len(columns.names)
    if extra < 0:
        return None
    if extra:
        at = next((place for place, name in enumerate(columns.names) if name in _NAMES), None)
        if "process_name" in columns.names:
            at = columns.names.index("process_name")
        if at is None:
            return None
        cells[at : at + extra + 1] = [", ".join(cells[at : at + extra + 1])]
    return {name: (cell, unit) for name, cell, unit in zip(columns.names, cells, columns.units, strict=True)}


def _pick(row: Mapping[str, tuple[str, str]], names: Iterable[str]) -> str | None:
    return next((row[name][0] for name in names if name in row), None)


@dataclass(frozen=True, slots=True)
class GpuRow:
    """One row of ``--query-gpu``: the GPU, and what the row says beside it."""

    gpu: Gpu
    driver: str | None
    mig_mode: bool


def parse_gpu(line: str, columns: Columns, position: int = 0) -> GpuRow | None:
    """One row of ``--query-gpu``, or None when the line is no such row.

    Args:
        line: the line.
        columns: of the header, or of the query.
        position: the row's place in its block: the index, when there is no index column.
    """
    row = _row(line, columns)
    if row is None:
        return None
    values: dict[str, object] = {}
    missing: Missing = {}
    for field, (number, names) in NUMBERS.items():
        _take(values, missing, field, _best(number, names, row))
    pstate = _pick(row, ("pstate",))
    _take(values, missing, "pstate", (None, "unsupported") if pstate is None else read_pstate(pstate))
    _take(values, missing, "throttle_reasons", _throttle(row))
    uuid_text, name_text = _pick(row, ("uuid", "gpu_uuid")), _pick(row, ("name", "gpu_name"))
    uuid, uuid_why = (None, "unsupported") if uuid_text is None else read_uuid(uuid_text)
    name, name_why = (None, "unsupported") if name_text is None else read_name(name_text)
    if not values and uuid is None and name is None:
        return None  # some message with as many commas as a row
    index = _index(row, position)
    driver = _driver(_pick(row, ("driver_version",)))
    mig_text = _pick(row, ("mig.mode.current",))
    if "gpu_lost" in missing.values() or uuid_why == "gpu_lost" or name_why == "gpu_lost":
        return GpuRow(without_values(index, uuid, name, "gpu_lost"), driver, mig_mode=False)
    if uuid_why:
        missing["uuid"] = uuid_why
    if name_why:
        missing["name"] = name_why
    return GpuRow(build(index, uuid, name, values, missing), driver, mig_mode=(mig_text or "").lower() == "enabled")


def build(
    index: int,
    uuid: str | None,
    name: str | None,
    values: Mapping[str, object],
    missing: Missing,
    *,
    mig: tuple[Mig, ...] = (),
) -> Gpu:
    """A Gpu from the values that could be read; every field without a value must have its reason."""
    fields = {field: values.get(field) for field in agent.GPU_FIELDS}
    for field, value in fields.items():
        if value is None:
            missing.setdefault(field, "unsupported")
    return Gpu(index=index, uuid=uuid, name=name, mig=mig, missing=missing, **fields)  # pyright: ignore[reportArgumentType]


def without_values(index: int, uuid: str | None, name: str | None, reason: Reason) -> Gpu:
    """A GPU none of whose values can be had."""
    missing: Missing = dict.fromkeys(agent.GPU_FIELDS, reason)
    if uuid is None:
        missing["uuid"] = reason
    if name is None:
        missing["name"] = reason
    return build(index, uuid, name, {}, missing)


def _take(values: dict[str, object], missing: Missing, field: str, got: tuple[object | None, Reason | None]) -> None:
    if got[0] is None:
        missing[field] = got[1] or "error"
    else:
        values[field] = got[0]


def _best(
    number: Number, names: Iterable[str], row: Mapping[str, tuple[str, str]]
) -> tuple[float | int | None, Reason | None]:
    """The first column that holds a value; else the reason of the first column there is."""
    why: Reason | None = None
    for name in names:
        if name in row:
            value, reason = number.read(*row[name])
            if value is not None:
                return value, None
            why = why or reason
    return None, why or "unsupported"


def _throttle(row: Mapping[str, tuple[str, str]]) -> tuple[tuple[str, ...] | None, Reason | None]:
    for prefix in _THROTTLE:
        if prefix + "active" in row:
            return read_mask(row[prefix + "active"][0])
    cells = {
        name: row[prefix + name][0].lower() for prefix in _THROTTLE for name in _THROTTLE_NAMES if prefix + name in row
    }
    if not cells:
        return None, "unsupported"
    for text in cells.values():
        if text not in ("active", "not active"):
            return None, reason_of(text)
    return tuple(name for name, text in cells.items() if text == "active"), None


def _index(row: Mapping[str, tuple[str, str]], position: int) -> int:
    text = _pick(row, ("index",)) or ""
    return int(text) if re.fullmatch(r"[0-9]{1,3}", text) else position


def _driver(text: str | None) -> str | None:
    found = re.match(r"[0-9]{2,4}(?:\.[0-9]{1,4}){1,3}", text or "")
    return found.group() if found else None


def parse_gpus(text: str, columns: Columns | None = None) -> tuple[Gpu, ...]:
    """All rows of a whole ``--query-gpu`` output; ``columns`` only for one without a header."""
    gpus: list[Gpu] = []
    for line in text.splitlines():
        header = parse_header(line)
        if header is not None:
            columns = header
        elif columns is not None and len(gpus) < MAX_GPUS:
            row = parse_gpu(line, columns, len(gpus))
            if row is not None:
                gpus.append(row.gpu)
    return tuple(gpus)


@dataclass(frozen=True, slots=True)
class App:
    """One process on a GPU. ``gpu`` is its index or UUID, whichever the output names."""

    gpu: int | str | None
    pid: int
    name: str | None
    memory_bytes: int | None
    memory_reason: Reason | None


def parse_apps(text: str, columns: Columns | None = None) -> tuple[App, ...]:
    """All rows of ``--query-compute-apps``; ``columns`` only for one without a header."""
    apps: list[App] = []
    for line in text.splitlines():
        header = parse_header(line)
        if header is not None:
            columns = header
            continue
        row = _row(line, columns) if columns is not None else None
        app = _app(row) if row is not None else None
        if app is not None and len(apps) < MAX_APPS:
            apps.append(app)
    return tuple(apps)


def _app(row: Mapping[str, tuple[str, str]]) -> App | None:
    pid, _ = PID.read(_pick(row, ("pid",)) or "")
    if pid is None:
        return None
    name, _ = read_name(_pick(row, ("process_name", "name")) or "")
    memory: float | int | None = None
    why: Reason | None = "unsupported"
    for column in ("used_gpu_memory", "used_memory"):
        if column in row:
            memory, why = MEMORY.read(*row[column])
            break
    uuid, _ = read_uuid(_pick(row, ("gpu_uuid",)) or "")
    return App(uuid, int(pid), name, None if memory is None else int(memory), why)


def diagnose(line: str) -> Reason | None:
    """The reason in a line by which nvidia-smi says that it failed, or None when it is no such line."""
    low = line.lower()
    signs = ("failed", "unable to", "error", "lost", "not found", "insufficient", "no devices", "reboot", "mismatch")
    return reason_of(line) if any(sign in low for sign in signs) else None
