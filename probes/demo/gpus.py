"""The simulated GPUs: load comes in jobs, memory stands at the job's plateau, temperature follows power with inertia.

Every figure at time ``t`` is a pure function of (host, GPU, t), and of whether a service works on the GPU then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from probes.demo.catalog import MIB, Fault, Temper, gpu_of
from probes.demo.faults import active, local_time, window
from probes.demo.noise import between, clamp, mix, unit, wave
from probes.model import Gpu, GpuProcess, Mig, Missing, Reason

if TYPE_CHECKING:
    from probes.demo.catalog import GpuType, HostSpec

#: temperature comes from the power of the last minute, read every 6 s and forgotten with a time constant of 20 s
_GRID_S: Final = 6.0
_WEIGHTS: Final = tuple(math.exp(-step * _GRID_S / 20.0) for step in range(10))
_WEIGHT_SUM: Final = sum(_WEIGHTS)
_LOST_GPU: Final = 3
MAX_TEMPERATURE_C: Final = 97.0


@dataclass(frozen=True, slots=True)
class Job:
    """What one GPU does for a while: ``load`` is the mean utilisation and ``memory`` the share taken, both 0 to 1."""

    name: str
    user: str
    load: float
    memory: float
    swing: float
    started_s: float


_KINDS: Final = {
    "training": (("python3 train.py", "mlops", 0.96, 0.88, 0.04), ("torchrun llama-8b", "akari", 0.91, 0.74, 0.08)),
    "inference": (("vllm serve", "svc-llm", 0.55, 0.90, 0.35), ("tritonserver", "triton", 0.38, 0.45, 0.25)),
    "synthesis": (("voicevox_engine", "voicevox", 0.30, 0.24, 0.30), ("openvoice_api", "openvoice", 0.42, 0.38, 0.28)),
    "lab": (("blender", "kenji", 0.82, 0.52, 0.15), ("jupyter-lab", "mina", 0.18, 0.33, 0.15)),
}
#: what waits on a GPU of its own until it is asked, by service: name, user and share of the memory
_TENANTS: Final = {
    "voicevox": ("voicevox_engine", "voicevox", 0.14),
    "openvoice": ("openvoice_api", "openvoice", 0.22),
    "llm": ("vllm serve", "svc-llm", 0.88),
}
#: utilisation while a service works
_SERVING_LOW: Final = 0.86
_SERVING_HIGH: Final = 0.96


def tenant(host: HostSpec, gpu: int) -> str | None:
    """The service that has this GPU for itself; where there is one GPU alone it is everybody's."""
    if host.machine.gpus < 2:
        return None
    names = (service.name for service in host.services if service.name in _TENANTS)
    return next((name for name in names if gpu_of(host.machine, name) == gpu), None)


def job(host: HostSpec, gpu: int, t: float) -> Job | None:
    """The job on a GPU at ``t``, or None while it is idle (about a sixth of the time)."""
    kinds = _KINDS.get(host.groups[-1])
    if kinds is None or host.temper is Temper.CPU_FALLBACK:
        return None
    lodger = tenant(host, gpu)
    if lodger is not None:
        name, user, memory = _TENANTS[lodger]
        return Job(name, user, 0.02, memory, 0.02, -host.boot_s)
    key = mix(host.key, 100 + gpu)
    length_s = between(240.0, 900.0, key)
    offset_s = between(0.0, length_s, key, 1)
    epoch = math.floor((t + offset_s) / length_s)
    started_s = epoch * length_s - offset_s
    busy = host.fault is not Fault.NONE or host.has_mig  # a faulty host that idles would hide its fault
    if not busy and unit(key, 2, epoch) < 0.17:
        return None
    name, user, load, memory, swing = kinds[mix(key, 3, epoch) % len(kinds)]
    return Job(name, user, load, memory * between(0.9, 1.05, key, 4, epoch), swing, started_s)


def load(host: HostSpec, gpu: int, t: float, *, serving: bool = False) -> float:
    """Utilisation 0 to 1, before any throttling."""
    current = job(host, gpu, t)
    key = mix(host.key, 200 + gpu)
    if serving:
        return _SERVING_LOW + (_SERVING_HIGH - _SERVING_LOW) * (0.5 + 0.5 * wave(key + 2, t, 1.3))
    if current is None:
        return 0.0
    value = current.load + current.swing * (0.6 * wave(key, t, 11.0) + 0.4 * wave(key + 1, t, 2.3))
    if current.swing < 0.1 and (t + unit(key, 5) * 60.0) % 60.0 < 3.0:
        value *= 0.25  # a checkpoint is being written
    return clamp(value, 0.0, 1.0) * clamp((t - current.started_s) / 12.0, 0.05, 1.0)


def heat(host: HostSpec, t: float) -> float:
    """How far the cooling has failed, 0 to 1 (only the throttling host)."""
    script = window(host, Fault.THROTTLE)
    return 0.0 if script is None else script.swell(local_time(host, t), 14.0)


def power_w(host: HostSpec, gpu: int, kind: GpuType, t: float, *, serving: bool = False) -> float:
    """Power drawn now."""
    busy = load(host, gpu, t, serving=serving)
    draw = kind.idle_w + (kind.limit_w - kind.idle_w) * busy**0.8 * 0.97
    draw *= 1.0 - 0.25 * heat(host, t)
    return clamp(draw + 0.01 * kind.limit_w * wave(mix(host.key, 300 + gpu), t, 1.7), kind.idle_w * 0.9, kind.limit_w)


def temperature_c(host: HostSpec, gpu: int, kind: GpuType, t: float) -> float:
    """Core temperature: the air plus what the power of the last minute left, plus what a failed fan adds."""
    air = between(24.0, 31.0, host.key, 400 + gpu)
    place = t / _GRID_S
    cell = math.floor(place)
    before, after = _settled_w(host, gpu, kind, cell - 1), _settled_w(host, gpu, kind, cell)
    warm = air + kind.heat_c_per_w * (before + (after - before) * (place - cell))
    failed = heat(host, t)
    hot = kind.slowdown_c + 2.5 + 1.5 * wave(mix(host.key, 500 + gpu), t, 9.0)
    return clamp(warm + failed * max(0.0, hot - warm), 15.0, MAX_TEMPERATURE_C)


@lru_cache(maxsize=8192)
def _settled_w(host: HostSpec, gpu: int, kind: GpuType, cell: int) -> float:
    """The power that the temperature stands for at a point of the grid."""
    readings = (power_w(host, gpu, kind, (cell - step) * _GRID_S) for step in range(len(_WEIGHTS)))
    return sum(weight * watts for weight, watts in zip(_WEIGHTS, readings, strict=True)) / _WEIGHT_SUM


def gpu_lost(host: HostSpec, gpu: int, t: float) -> bool:
    """Whether this GPU has fallen off the bus."""
    return gpu == _LOST_GPU and active(host, Fault.GPU_LOST, t)


def uuid(host: HostSpec, gpu: int, prefix: str = "GPU", part: int = 0) -> str:
    """A UUID in NVIDIA's form that stays the same for the host and GPU."""
    digits = f"{mix(host.key, 600 + gpu, part):016x}{mix(host.key, 700 + gpu, part):016x}"
    return f"{prefix}-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def read_gpu(host: HostSpec, gpu: int, kind: GpuType, t: float, *, serving: bool = False) -> Gpu:
    """One GPU as the agent would report it at ``t``; ``serving``: a service works on it."""
    if gpu_lost(host, gpu, t):
        return _unread(host, gpu, kind, "gpu_lost")
    if active(host, Fault.DRIVER_HUNG, t):
        return _unread(host, gpu, kind, "timeout")
    missing: Missing = {}
    mig = _mig(host, gpu, t)
    busy = load(host, gpu, t, serving=serving)
    failed = heat(host, t)
    heated = temperature_c(host, gpu, kind, t)
    power = power_w(host, gpu, kind, t, serving=serving)
    used = memory_used_bytes(host, gpu, kind, t)
    total, reserved = kind.memory_mib * MIB, kind.reserved_mib * MIB
    clock = kind.idle_mhz + (kind.max_mhz - kind.idle_mhz) * (0.0 if busy < 0.02 else 1.0 - 0.1 * busy - 0.45 * failed)
    if mig:
        missing["utilization_pct"] = "unsupported"
    fan = None
    if kind.has_fan:
        fan = round(clamp(22.0 + 1.6 * (heated - 40.0), 0.0, 100.0))
    else:
        missing["fan_pct"] = "unsupported"
    corrected = uncorrected = None
    if kind.has_ecc:
        corrected, uncorrected = _ecc(host, gpu, t)
    else:
        missing["ecc_corrected"] = missing["ecc_uncorrected"] = "unsupported"
    return Gpu(
        index=gpu,
        uuid=uuid(host, gpu),
        name=kind.name,
        utilization_pct=None if mig else float(round(100.0 * busy)),
        memory_total_bytes=total,
        memory_used_bytes=used,
        memory_free_bytes=total - reserved - used,
        memory_reserved_bytes=reserved,
        temperature_c=float(round(heated)),
        power_w=round(power, 1),
        power_limit_w=kind.limit_w,
        sm_clock_mhz=float(round(clock / 15.0) * 15),
        memory_clock_mhz=kind.memory_mhz if busy > 0 or not kind.has_fan else 405.0,
        fan_pct=fan,
        pstate="P0" if busy > 0 else "P8",
        throttle_reasons=_reasons(busy, heated, power, kind),
        ecc_corrected=corrected,
        ecc_uncorrected=uncorrected,
        pcie_gen=kind.pcie_gen if busy > 0 or not kind.has_fan else 1,
        pcie_width=kind.pcie_width,
        mig=mig,
        missing=missing,
    )


def memory_used_bytes(host: HostSpec, gpu: int, kind: GpuType, t: float) -> int:
    """Memory used: the context's few MiB when idle, else the job's plateau after its loading time."""
    current = job(host, gpu, t)
    room = (kind.memory_mib - kind.reserved_mib) * MIB
    if current is None:
        return 3 * MIB
    loaded = clamp((t - current.started_s) / 20.0, 0.0, 1.0)
    return min(room, 3 * MIB + int(room * 0.98 * min(1.0, current.memory) * loaded) // MIB * MIB)


def gpu_processes(host: HostSpec, t: float) -> tuple[GpuProcess, ...] | None:
    """The processes on the GPUs, one for each busy GPU that answers; None while the driver hangs."""
    kind = host.machine.gpu
    if kind is None:
        return ()
    if active(host, Fault.DRIVER_HUNG, t):
        return None
    found: list[GpuProcess] = []
    for gpu in range(host.machine.gpus):
        current = job(host, gpu, t)
        if current is None or gpu_lost(host, gpu, t):
            continue
        memory = max(0, memory_used_bytes(host, gpu, kind, t) - 3 * MIB)
        found.append(GpuProcess(gpu, job_pid(host, gpu, current), current.user, current.name, memory))
    return tuple(found)


def job_pid(host: HostSpec, gpu: int, current: Job) -> int:
    """The process id of a job: the same as long as the job runs."""
    return 2000 + mix(host.key, 800 + gpu, int(current.started_s * 10) & 0xFFFFFFFF) % 4_000_000


def _reasons(busy: float, heated: float, power: float, kind: GpuType) -> tuple[str, ...]:
    if heated >= kind.slowdown_c:
        return ("hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown")
    if busy < 0.02:
        return ("gpu_idle",)
    return ("sw_power_cap",) if power > 0.97 * kind.limit_w else ()


def _ecc(host: HostSpec, gpu: int, t: float) -> tuple[int, int]:
    corrected = mix(host.key, 900 + gpu) % 4
    script = window(host, Fault.XID)
    if script is None or gpu != 1:
        return corrected, 0
    return corrected + script.count(local_time(host, t)) * 12, script.count(local_time(host, t))


def _mig(host: HostSpec, gpu: int, t: float) -> tuple[Mig, ...]:
    if not host.has_mig or gpu:
        return ()
    slices = (("MIG 3g.40gb", 40448), ("MIG 2g.20gb", 19968), ("MIG 1g.10gb", 9728), ("MIG 1g.10gb", 9728))
    instances: list[Mig] = []
    for place, (name, total_mib) in enumerate(slices):
        share = 0.35 + 0.3 * wave(mix(host.key, 1000 + place), t, 40.0)
        used = int(total_mib * clamp(share, 0.0, 1.0)) * MIB
        instances.append(Mig(place, uuid(host, gpu, "MIG", place + 1), name, total_mib * MIB, used))
    return tuple(instances)


def _unread(host: HostSpec, gpu: int, kind: GpuType, reason: Reason) -> Gpu:
    """A GPU of which only what was known before is left."""
    fields = (
        "utilization_pct", "memory_total_bytes", "memory_used_bytes", "memory_free_bytes", "memory_reserved_bytes",
        "temperature_c", "power_w", "power_limit_w", "sm_clock_mhz", "memory_clock_mhz", "fan_pct", "pstate",
        "throttle_reasons", "ecc_corrected", "ecc_uncorrected", "pcie_gen", "pcie_width",
    )  # fmt: skip
    missing: Missing = dict.fromkeys(fields, reason)
    values: dict[str, Any] = dict.fromkeys(fields)
    return Gpu(index=gpu, uuid=uuid(host, gpu), name=kind.name, mig=(), missing=missing, **values)
