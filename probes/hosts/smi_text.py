"""Reading the texts nvidia-smi writes for people: ``-L``, the plain table, and ``-q``, of old and new drivers.

Pure functions, with the cell rules of ``smi``: a value that is not there is a reason, never 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from probes.hosts import smi
from probes.model import Mig
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from probes.hosts.smi import App, Number
    from probes.model import Gpu, Missing, Reason

_MAX_LINES: Final = 200_000
_VERSION: Final = r"([0-9]{1,4}(?:\.[0-9]{1,4}){1,3})"

# --- nvidia-smi -L ---

_LIST_GPU: Final = re.compile(r"GPU ([0-9]{1,3}): (.{1,200}?) \(UUID: ([^)\s]{1,100})\)")
_LIST_MIG: Final = re.compile(r"\s*MIG (.{1,60}?)\s+Device\s+([0-9]{1,3}): \(UUID: ([^)\s]{1,100})\)")


@dataclass(frozen=True, slots=True)
class Listed:
    """One GPU of ``nvidia-smi -L``, with its MIG instances (without memory: the list does not have it)."""

    index: int
    name: str | None
    uuid: str | None
    mig: tuple[Mig, ...]


def parse_list(text: str) -> tuple[Listed, ...]:
    """``nvidia-smi -L``."""
    gpus: list[tuple[int, str, str, list[Mig]]] = []
    for line in text.splitlines()[:_MAX_LINES]:
        found = _LIST_GPU.match(line)
        if found is not None and len(gpus) < smi.MAX_GPUS:
            gpus.append((int(found.group(1)), found.group(2), found.group(3), []))
            continue
        found = _LIST_MIG.match(line)
        if found is not None and gpus and len(gpus[-1][3]) < 16:
            name = clean("MIG " + found.group(1), 60)
            gpus[-1][3].append(Mig(int(found.group(2)), smi.read_uuid(found.group(3))[0], name, None, None))
    return tuple(
        Listed(index, smi.read_name(name)[0], smi.read_uuid(uuid)[0], tuple(migs)) for index, name, uuid, migs in gpus
    )


# --- the plain table ---

_DRIVER: Final = re.compile(r"(?:Driver|KMD) Version:?\s*:?\s*" + _VERSION)
_CUDA: Final = re.compile(r"CUDA (?:UMD )?Version\s*:\s*" + _VERSION)
_MIG_ROW: Final = re.compile(
    r"\|\s*([0-9]{1,3})\s+(?:[0-9]{1,3}|N/A)\s+(?:[0-9]{1,3}|N/A)\s+([0-9]{1,3})\s*\|\s*(\S+)\s*/\s*(\S+)\s*\|"
)
_PROCESS_ROW: Final = re.compile(
    r"\|\s*([0-9]{1,3})\s+(?:(?:[0-9]{1,3}|N/A)\s+(?:[0-9]{1,3}|N/A)\s+)?([0-9]{1,10})\s+([CGM][CGM+]*)\s+"
    r"(.{1,200}?)\s+([0-9]+\s?[KMG]iB|N/A|ERR!|\[[^\]]{1,40}\]|Insufficient Permissions|Not Supported)\s*\|"
)


@dataclass(frozen=True, slots=True)
class Table:
    """What the plain table has: versions, MIG memory by (GPU index, MIG index), processes."""

    driver: str | None
    cuda: str | None
    mig: dict[tuple[int, int], tuple[int | None, int | None]]
    processes: tuple[App, ...]


def parse_table(text: str) -> Table:
    """The output of ``nvidia-smi`` without arguments."""
    driver, cuda = _DRIVER.search(text[:4096]), _CUDA.search(text[:4096])
    mig: dict[tuple[int, int], tuple[int | None, int | None]] = {}
    processes: list[App] = []
    section = ""
    for line in text.splitlines()[:_MAX_LINES]:
        if "MIG devices:" in line:
            section = "mig"
        elif "Processes:" in line:
            section = "processes"
        elif section == "mig":
            found = _MIG_ROW.match(line)
            if found is not None and len(mig) < 16 * smi.MAX_GPUS:
                used, total = smi.MEMORY.read(found.group(3))[0], smi.MEMORY.read(found.group(4))[0]
                mig[int(found.group(1)), int(found.group(2))] = (_whole(total), _whole(used))
        elif section == "processes":
            found = _PROCESS_ROW.match(line)
            if found is not None and len(processes) < smi.MAX_APPS and int(found.group(2)) > 0:
                memory, why = smi.MEMORY.read(found.group(5))
                name = smi.read_name(found.group(4))[0]
                processes.append(smi.App(int(found.group(1)), int(found.group(2)), name, _whole(memory), why))
    return Table(driver.group(1) if driver else None, cuda.group(1) if cuda else None, mig, tuple(processes))


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


# --- nvidia-smi -q ---


@dataclass(slots=True)
class _Node:
    """One line of the indented text, with what stands indented below it."""

    key: str
    value: str | None
    indent: int
    children: list[_Node] = field(default_factory=list["_Node"])

    def find(self, *path: str) -> _Node | None:
        """The node below this one by its keys, None when there is none."""
        node: _Node | None = self
        for key in path:
            node = next((child for child in node.children if child.key.lower() == key.lower()), None)
            if node is None:
                return None
        return node

    def walk(self) -> Iterator[_Node]:
        """All nodes below this one."""
        stack = list(reversed(self.children))
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))


def _tree(text: str) -> _Node:
    root = _Node("", None, -1)
    path = [root]
    for raw in text.splitlines()[:_MAX_LINES]:
        line = raw.expandtabs(8).rstrip()[:1000]
        key, colon, value = line.partition(" : ")
        if not line.strip() or line.startswith(("#", "=", "$", "-", "+", "|")):
            continue
        if not colon and line.endswith(" :"):
            key = line[:-2]
        indent = len(line) - len(line.lstrip(" "))
        while path[-1].indent >= indent:
            path.pop()
        node = _Node(key.strip(), value.strip() if colon else None, indent)
        path[-1].children.append(node)
        if len(path) < 12:
            path.append(node)
    return root


#: field of Gpu -> (how to read it, where it stands, the best place first; other drivers have it elsewhere)
_PLACES: Final[dict[str, tuple[Number, tuple[tuple[str, ...], ...]]]] = {
    "utilization_pct": (smi.PERCENT, (("Utilization", "GPU"),)),
    "memory_total_bytes": (smi.MEMORY, (("FB Memory Usage", "Total"), ("Memory Usage", "Total"))),
    "memory_used_bytes": (smi.MEMORY, (("FB Memory Usage", "Used"), ("Memory Usage", "Used"))),
    "memory_free_bytes": (smi.MEMORY, (("FB Memory Usage", "Free"), ("Memory Usage", "Free"))),
    "memory_reserved_bytes": (smi.MEMORY, (("FB Memory Usage", "Reserved"),)),
    "temperature_c": (smi.CELSIUS, (("Temperature", "GPU Current Temp"), ("Temperature", "GPU"))),
    "power_w": (
        smi.POWER,
        (
            ("GPU Power Readings", "Power Draw"),
            ("GPU Power Readings", "Average Power Draw"),
            ("GPU Power Readings", "Instantaneous Power Draw"),
            ("Power Readings", "Power Draw"),
        ),
    ),
    "power_limit_w": (
        smi.POWER,
        (
            ("GPU Power Readings", "Current Power Limit"),
            ("GPU Power Readings", "GPU Ceiling Power Limit", "Current Power Limit"),
            ("GPU Power Readings", "Enforced Power Limit"),
            ("Power Readings", "Enforced Power Limit"),
            ("Power Readings", "Power Limit"),
        ),
    ),
    "sm_clock_mhz": (smi.CLOCK, (("Clocks", "SM"),)),
    "memory_clock_mhz": (smi.CLOCK, (("Clocks", "Memory"),)),
    "fan_pct": (smi.FAN, (("Fan Speed",),)),
    "pcie_gen": (smi.PCIE_GEN, (("PCI", "GPU Link Info", "PCIe Generation", "Current"),)),
    "pcie_width": (smi.PCIE_WIDTH, (("PCI", "GPU Link Info", "Link Width", "Current"),)),
}


@dataclass(frozen=True, slots=True)
class Report:
    """What ``nvidia-smi -q`` has."""

    driver: str | None
    cuda: str | None
    gpus: tuple[Gpu, ...]
    processes: tuple[App, ...]


def parse_report(text: str) -> Report:
    """The output of ``nvidia-smi -q``."""
    root = _tree(text)
    gpus: list[Gpu] = []
    processes: list[App] = []
    for node in root.children:
        if re.match(r"GPU [0-9A-Fa-f]{4,8}:", node.key) is None or len(gpus) >= smi.MAX_GPUS:
            continue
        index = len(gpus)
        gpus.append(_gpu(node, index))
        listed = node.find("Processes") or node.find("Compute Processes")
        if listed is not None:
            processes += _processes(listed, index)
    driver = _version(root, "KMD Version", "Driver Version")
    return Report(driver, _version(root, "CUDA UMD Version", "CUDA Version"), tuple(gpus), tuple(processes))


def _version(root: _Node, *keys: str) -> str | None:
    for key in keys:
        node = root.find(key)
        found = re.match(_VERSION, node.value or "") if node is not None else None
        if found is not None:
            return found.group(1)
    return None


def _gpu(node: _Node, index: int) -> Gpu:
    values: dict[str, object] = {}
    missing: Missing = {}

    def take(name: str, got: tuple[object | None, Reason | None]) -> None:
        if got[0] is None:
            missing[name] = got[1] or "error"
        else:
            values[name] = got[0]

    for name, (number, places) in _PLACES.items():
        take(name, _read(node, number, places))
    state = node.find("Performance State")
    take("pstate", (None, "unsupported") if state is None else smi.read_pstate(state.value or ""))
    take("throttle_reasons", _throttle(node))
    take("ecc_corrected", _ecc(node, "Single Bit", "Correctable"))
    take("ecc_uncorrected", _ecc(node, "Double Bit", "Uncorrectable"))
    uuid_node, name_node = node.find("GPU UUID"), node.find("Product Name")
    uuid, uuid_why = (None, "unsupported") if uuid_node is None else smi.read_uuid(uuid_node.value or "")
    name, name_why = (None, "unsupported") if name_node is None else smi.read_name(name_node.value or "")
    if "gpu_lost" in (*missing.values(), uuid_why, name_why):
        return smi.without_values(index, uuid, name, "gpu_lost")
    if uuid_why:
        missing["uuid"] = uuid_why
    if name_why:
        missing["name"] = name_why
    return smi.build(index, uuid, name, values, missing, mig=_migs(node))


def _read(node: _Node, number: Number, places: tuple[tuple[str, ...], ...]) -> tuple[float | int | None, Reason | None]:
    """The first place that holds a value; else the reason of the first place there is."""
    why: Reason | None = None
    for path in places:
        at = node.find(*path)
        if at is None or at.value is None:
            # a whole section may be one word: "Power Readings : N/A"
            head = node.find(path[0])
            why = why or (smi.reason_of(head.value) if head is not None and head.value else None)
            continue
        value, reason = number.read(at.value)
        if value is not None:
            return value, None
        why = why or reason
    return None, why or "unsupported"


_THROTTLE_KEYS: Final = {
    "idle": "gpu_idle",
    "applications clocks setting": "applications_clocks_setting",
    "sw power cap": "sw_power_cap",
    "hw slowdown": "hw_slowdown",
    "hw thermal slowdown": "hw_thermal_slowdown",
    "hw power brake slowdown": "hw_power_brake_slowdown",
    "sync boost": "sync_boost",
    "sw thermal slowdown": "sw_thermal_slowdown",
    "display clock setting": "display_clock_setting",
}


def _throttle(node: _Node) -> tuple[tuple[str, ...] | None, Reason | None]:
    section = node.find("Clocks Event Reasons") or node.find("Clocks Throttle Reasons")
    if section is None:
        return None, "unsupported"
    if section.value is not None:
        return None, smi.reason_of(section.value)
    active: list[str] = []
    read = 0
    for line in section.walk():
        name, value = _THROTTLE_KEYS.get(line.key.lower()), (line.value or "").lower()
        if name is None:
            continue
        if value not in ("active", "not active"):
            return None, smi.reason_of(value)
        read += 1
        if value == "active":
            active.append(name)
    return (tuple(active), None) if read else (None, "error")


def _ecc(node: _Node, old: str, kind: str) -> tuple[int | None, Reason | None]:
    """Volatile errors: the total of older drivers, else the sum of what newer ones list; one unknown part: unknown."""
    volatile = node.find("ECC Errors", "Volatile")
    if volatile is None:
        section = node.find("ECC Errors")
        return None, smi.reason_of(section.value) if section is not None and section.value else "unsupported"
    total = volatile.find(old, "Total")
    if total is not None:
        value, why = smi.COUNT.read(total.value or "")
        return _whole(value), why
    parts = [line for line in volatile.children if re.match(rf"[SD]RAM {kind}\b", line.key)]
    if not parts:
        return None, "unsupported"
    count = 0
    for part in parts:
        value, why = smi.COUNT.read(part.value or "")
        if value is None:
            return None, why
        count += int(value)
    return count, None


def _migs(node: _Node) -> tuple[Mig, ...]:
    out: list[Mig] = []
    for line in node.children:
        if line.key != "MIG Device" or len(out) >= 16:
            continue
        index = line.find("Index")
        memory = line.find("FB Memory Usage") or line.find("Shared FB Memory Usage")
        if index is None or re.fullmatch(r"[0-9]{1,3}", index.value or "") is None:
            continue
        total = smi.MEMORY.read(_value(memory, "Total"))[0]
        used = smi.MEMORY.read(_value(memory, "Used"))[0]
        out.append(Mig(int(index.value or ""), None, None, _whole(total), _whole(used)))
    return tuple(out)


def _value(node: _Node | None, key: str) -> str:
    found = None if node is None else node.find(key)
    return "" if found is None else found.value or ""


def _processes(node: _Node, index: int) -> list[App]:
    out: list[App] = []
    for line in node.children:
        if line.key not in ("Process ID", "Process Id", "PID"):
            continue
        pid, _ = smi.PID.read(line.value or "")
        if pid is not None and len(out) < smi.MAX_APPS:
            memory, why = smi.MEMORY.read(_value(line, "Used GPU Memory"))
            name = smi.read_name(_value(line, "Name"))[0]
            out.append(smi.App(index, int(pid), name, _whole(memory), why))
    return out
