"""What a host is to a program that measures it: CPUs, caches, free memory, compilers. Pure, from what ``look.sh`` says.

Everything is a stranger's text: what cannot be read is None, and never a number out of nothing.
"""

from __future__ import annotations

import importlib.resources
import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from benchmarks.remote_words import Program
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_SIZE: Final = re.compile(r"([0-9]{1,12})([KMG]?)")
_FACTOR: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_MEMORY: Final = re.compile(r"(\w+):\s+([0-9]{1,15}) kB")
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
#: no machine has more CPUs; a list that says so is not believed
_MAX_CPUS: Final = 65_536
#: cgroup v1 says "no limit" with a number near 2^63
_NO_LIMIT_BYTES: Final = 1 << 60
_MAX_COMPILERS: Final = 8


class Cache(Struct, frozen=True):
    """The last level of cache: how many instances there are, and what they hold together."""

    level: int
    instances: int
    total_bytes: int


class Compiler(Struct, frozen=True):
    """A compiler by the name under which it was found, and the first line that it says of itself."""

    name: str
    version: str


class Machine(Struct, frozen=True):
    """A host. ``cpus`` are those that we may use, by affinity and control groups; None where the host does not say.

    ``cores`` are the physical ones below them, ``max_hz`` their highest frequency where it is one and the same.
    ``available_bytes`` is what can be had now without swapping, the limits of control groups regarded.
    """

    cpus: int | None = None
    cores: int | None = None
    cache: Cache | None = None
    available_bytes: int | None = None
    total_bytes: int | None = None
    model: str = ""
    architecture: str = ""
    vendor: str = ""
    family: int | None = None
    flags: frozenset[str] = frozenset()
    max_hz: int | None = None
    load_1min: float | None = None
    compilers: tuple[Compiler, ...] = ()
    numpy: str | None = None
    stale: tuple[str, ...] = ()


def look(compilers: Sequence[str], *, numpy: bool) -> Program:
    """The program that says what a host is, for the compilers' names or paths."""
    text = importlib.resources.files("benchmarks").joinpath("native/look.sh").read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return Program(f"set -- '{' '.join(compilers)}' {int(numpy)}\n{code}", keep_bytes=512 * 1024)


def parse(text: str) -> Machine | None:
    """What ``look.sh`` said; None when it did not come to its end."""
    sections = _sections(text)
    if "end" not in sections:
        return None
    found = (_MEMORY.fullmatch(line.strip()) for line in sections.get("memory", ()))
    memory: dict[str, int] = {each[1]: int(each[2]) * 1024 for each in found if each is not None}
    about = _about(sections.get("cpuinfo", ()))
    limits = _limits(sections.get("limits", ()))
    allowed = cpu_list(" ".join(sections.get("allowed", ())).partition(":")[2].strip())
    family = about.get("cpu family", "")
    return Machine(
        cpus=_usable(allowed, _quota_cpus(limits)),
        cores=_cores(allowed, sections.get("siblings", ())),
        cache=last_level(sections.get("caches", ())),
        available_bytes=_least(memory.get("MemAvailable"), _free_in_groups(limits)),
        total_bytes=memory.get("MemTotal"),
        model=clean(about.get("model name", ""), 80),
        architecture=clean(" ".join(sections.get("machine", ())), 20),
        vendor=clean(about.get("vendor_id", ""), 40),
        family=int(family) if _NUMBER.fullmatch(family) else None,
        flags=frozenset((about.get("flags") or about.get("Features") or "").split()),
        max_hz=_frequency(sections.get("frequency", ())),
        load_1min=_load(sections.get("load", ())),
        compilers=tuple(_compilers(sections.get("compilers", ()))),
        numpy=clean(" ".join(sections.get("numpy", ())), 40) or None,
        stale=tuple(clean(line, 120) for line in sections.get("stale", ())[:20]),
    )


def _sections(text: str) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("== "):
            lines = sections.setdefault(line[3:].strip(), [])
        elif line.strip():
            lines.append(line)
    return sections


# --- CPUs ---


def cpu_list(text: str) -> frozenset[int] | None:
    """The kernel's list of CPUs, such as ``0-3,8``; None when it is none."""
    found: set[int] = set()
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        if not _NUMBER.fullmatch(low) or (high and not _NUMBER.fullmatch(high)):
            return None
        first, last = int(low), int(high or low)
        if not first <= last < _MAX_CPUS:
            return None
        found.update(range(first, last + 1))
    return frozenset(found)


def _usable(allowed: frozenset[int] | None, quota: float | None) -> int | None:
    """How many threads find a CPU: a quota of 2.5 CPUs keeps two busy."""
    if allowed is None:
        return None
    return len(allowed) if quota is None else max(1, min(len(allowed), int(quota)))


def _cores(allowed: frozenset[int] | None, siblings: Iterable[str]) -> int | None:
    """Physical cores that have a CPU that we may use."""
    groups = [cpu_list(line.strip()) for line in siblings]
    if allowed is None or not groups or any(group is None for group in groups):
        return None
    distinct = {group for group in groups if group is not None}
    if not allowed <= frozenset().union(*distinct):
        return None
    return sum(1 for group in distinct if group & allowed)


def _frequency(lines: Sequence[str]) -> int | None:
    """The highest frequency in Hz; None where it is not said, or not the same on all CPUs."""
    if len(lines) != 1 or not _NUMBER.fullmatch(lines[0].strip()):
        return None
    return int(lines[0]) * 1000 or None


def _about(lines: Iterable[str]) -> dict[str, str]:
    """``name : value`` lines of /proc/cpuinfo; of CPUs that differ only what they share of their flags."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if name in found and name in ("flags", "Features"):
            value = " ".join(set(found[name].split()) & set(value.split()))
        elif name in found and found[name] != value:
            value = "several kinds"
        found[name] = value
    return found


# --- caches ---


def last_level(lines: Iterable[str]) -> Cache | None:
    """The last level of cache from ``LEVEL TYPE SIZE CPUS`` lines: L3, else L2, each instance counted once."""
    found: dict[int, dict[frozenset[int] | str, int]] = {}
    for line in lines:
        words = line.split()
        if len(words) != 4 or words[0] not in ("2", "3", "4") or words[1] not in ("Unified", "Data"):
            continue
        size = _SIZE.fullmatch(words[2])
        cpus = cpu_list(words[3])
        if size is None or cpus is None:
            return None  # one that cannot be read would make the sum too small
        size_bytes = int(size[1]) * _FACTOR[size[2]]
        if size_bytes:
            found.setdefault(int(words[0]), {})[cpus] = size_bytes
    # an L4 in front of memory is rare and not always one; L3 is what the rule means
    level = next((level for level in (3, 2) if level in found), None)
    if level is None:
        return None
    return Cache(level, len(found[level]), sum(found[level].values()))


# --- memory and limits ---


def _least(*values: int | None) -> int | None:
    """The least of those that are known; None when the first is not."""
    known = [value for value in values if value is not None]
    return min(known) if values[0] is not None else None


def _limits(lines: Iterable[str]) -> dict[str, dict[str, str]]:
    """The files of control groups by folder and name."""
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        path, _, value = line.partition(" ")
        folder, _, name = path.rpartition("/")
        found.setdefault(folder.rstrip("/"), {})[name] = value.strip()
    return found


def _free_in_groups(limits: Mapping[str, Mapping[str, str]]) -> int | None:
    """What the tightest control group still lets us have: its limit less what is used and cannot be reclaimed."""
    free: list[int] = []
    for files in limits.values():
        for limit_name, used_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit = files.get(limit_name, "")
            if not _NUMBER.fullmatch(limit) or int(limit) >= _NO_LIMIT_BYTES:
                continue
            held = _number(files, used_name) - _number(files, "inactive_file")
            free.append(max(int(limit) - max(held, 0), 0))
    return min(free, default=None)


def _number(files: Mapping[str, str], name: str) -> int:
    text = files.get(name, "")
    return int(text) if _NUMBER.fullmatch(text) else 0


def _quota_cpus(limits: Mapping[str, Mapping[str, str]]) -> float | None:
    """How many CPUs' time the tightest control group lets us have; None: as much as there is."""
    found: list[float] = []
    for files in limits.values():
        words = files.get("cpu.max", "").split() or [
            files.get("cpu.cfs_quota_us", ""),
            files.get("cpu.cfs_period_us", ""),
        ]
        if len(words) == 2 and all(_NUMBER.fullmatch(word) for word in words) and int(words[1]):
            found.append(int(words[0]) / int(words[1]))
    return min(found, default=None)


def _load(lines: Sequence[str]) -> float | None:
    words = lines[0].split() if lines else []
    try:
        load = float(words[0]) if words else None
    except ValueError:
        return None
    return load if load is not None and 0 <= load < 1e6 else None


def _compilers(lines: Iterable[str]) -> Iterator[Compiler]:
    for line in list(lines)[:_MAX_COMPILERS]:
        name, _, version = line.partition(" ")
        yield Compiler(clean(name, 200), " ".join(clean(version, 120).split()))


# --- in words ---


def gb(size_bytes: float) -> str:
    """Bytes for people, with 10^9 or 10^6."""
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
