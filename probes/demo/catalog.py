"""What the simulated fleet consists of: GPU types, machine types, and which host plays which part.

The roster is fixed (24 hosts show every scripted fault); the seed only changes
what the machines are doing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from probes.demo.noise import between, mix

MIB: Final = 1 << 20
GIB: Final = 1 << 30
GB: Final = 10**9


@dataclass(frozen=True, slots=True)
class GpuType:
    """A GPU model: the figures of its data sheet, and what `nvidia-smi` says of it when idle and when loaded."""

    name: str
    memory_mib: int
    reserved_mib: int
    limit_w: float
    idle_w: float
    idle_mhz: float
    max_mhz: float
    memory_mhz: float
    has_fan: bool
    has_ecc: bool
    pcie_gen: int
    pcie_width: int
    slowdown_c: float
    #: degrees above the air per watt drawn, once settled
    heat_c_per_w: float


H100: Final = GpuType(
    "NVIDIA H100 80GB HBM3", 81559, 557, 700.0, 72.0, 345.0, 1980.0, 2619.0, False, True, 5, 16, 87.0, 0.060
)
A100: Final = GpuType(
    "NVIDIA A100-SXM4-80GB", 81920, 634, 400.0, 61.0, 210.0, 1410.0, 1593.0, False, True, 4, 16, 85.0, 0.098
)
L4: Final = GpuType("NVIDIA L4", 23034, 480, 72.0, 12.0, 210.0, 2040.0, 6251.0, False, True, 4, 16, 83.0, 0.62)
T4: Final = GpuType("Tesla T4", 15360, 443, 70.0, 10.0, 300.0, 1590.0, 5001.0, False, True, 3, 8, 85.0, 0.66)
RTX2080: Final = GpuType(
    "NVIDIA GeForce RTX 2080 SUPER", 8192, 286, 250.0, 14.0, 300.0, 1980.0, 7751.0, True, False, 3, 16, 88.0, 0.19
)


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine type."""

    kind: str
    instance: str
    prefix: str
    gpu: GpuType | None
    gpus: int
    cores: int
    memory_bytes: int
    root_bytes: int
    data_bytes: int
    nic: str


P5: Final = Machine("p5", "p5.48xlarge", "tyo-h100", H100, 8, 192, 2048 * GIB, 200 * GB, 30_400 * GB, "enp71s0")
P4: Final = Machine("p4", "p4de.24xlarge", "ohio-a100", A100, 8, 96, 1152 * GIB, 200 * GB, 8_000 * GB, "ens32")
G6: Final = Machine("g6", "g6.12xlarge", "tyo-l4", L4, 4, 48, 192 * GIB, 160 * GB, 3_760 * GB, "ens5")
G4: Final = Machine("g4", "g4dn.xlarge", "tyo-t4", T4, 1, 4, 16 * GIB, 125 * GB, 0, "ens5")
LAB: Final = Machine("lab", "desk-side", "lab-rtx", RTX2080, 2, 16, 64 * GIB, 500 * GB, 4_000 * GB, "eno1")
C7: Final = Machine("c7", "c7i.2xlarge", "tyo-gate", None, 0, 8, 16 * GIB, 80 * GB, 0, "ens5")


class Fault(StrEnum):
    """The part a host plays. Times are in ``faults.py``."""

    NONE = "none"
    THROTTLE = "throttle"
    GPU_LOST = "gpu_lost"
    XID = "xid"
    DRIVER_HUNG = "driver_hung"
    DISK_FULL = "disk_full"
    SH_MODE = "sh_mode"
    HUNG = "hung"
    REBOOT = "reboot"
    FLOOD = "flood"
    GARBAGE = "garbage"
    KEY_CHANGED = "key_changed"
    KEY_UNKNOWN = "key_unknown"
    AUTH = "auth"
    NO_AGENT = "no_agent"
    SSH_SILENT = "ssh_silent"
    SERVICES = "services"
    SERVICES_DOWN = "services_down"


class Behaviour(StrEnum):
    """How the stand-in of one service answers."""

    OK = "ok"
    UNHEALTHY = "unhealthy"
    INITIALIZING = "initializing"
    ERROR = "error"
    FLAPPING = "flapping"
    REFUSED = "refused"
    SILENT = "silent"


class Temper(StrEnum):
    """How the services of a host fare when they are loaded: a matter of benchmarks, not of the script."""

    PLAIN = "plain"
    #: they claim CUDA and work on the processor: slow, and no GPU is loaded
    CPU_FALLBACK = "cpu_fallback"
    #: some of what they are asked fails
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service stand-in; ``kind`` and ``path`` are those of the configuration."""

    name: str
    port: int
    kind: str
    path: str | None = None
    behaviour: Behaviour = Behaviour.OK


@dataclass(frozen=True, slots=True, eq=False)
class HostSpec:
    """One simulated host (equal only to itself, so that it can be a key).

    ``round`` counts how often the roster was used up before it: it shifts the times of the faults.
    """

    index: int
    id: str
    machine: Machine
    fault: Fault
    round: int
    key: int
    boot_s: float
    groups: tuple[str, ...]
    labels: dict[str, str]
    services: tuple[ServiceSpec, ...]
    temper: Temper

    @property
    def has_mig(self) -> bool:
        """Whether the first GPU is split into MIG instances (one H100 host of each round)."""
        return self.machine is P5 and self.fault is Fault.NONE and self.index % len(_ROSTER) == 0


_ROSTER: Final = (
    (P5, Fault.NONE),
    (P5, Fault.THROTTLE),
    (G4, Fault.SERVICES),
    (P4, Fault.NONE),
    (P4, Fault.GPU_LOST),
    (G6, Fault.NONE),
    (G6, Fault.HUNG),
    (G4, Fault.NONE),
    (G4, Fault.KEY_CHANGED),
    (P5, Fault.NONE),
    (G6, Fault.SERVICES_DOWN),
    (C7, Fault.NONE),
    (P4, Fault.XID),
    (G6, Fault.REBOOT),
    (LAB, Fault.NONE),
    (G4, Fault.AUTH),
    (LAB, Fault.SH_MODE),
    (P5, Fault.GARBAGE),
    (G6, Fault.DISK_FULL),
    (G4, Fault.SSH_SILENT),
    (P4, Fault.DRIVER_HUNG),
    (G4, Fault.FLOOD),
    (C7, Fault.NO_AGENT),
    (G4, Fault.KEY_UNKNOWN),
)
#: by the place in the roster: a T4 and an L4 that are well otherwise, or nearly
_TEMPERS: Final = {7: Temper.CPU_FALLBACK, 18: Temper.FAILING}


def gpu_of(machine: Machine, service: str) -> int | None:
    """The GPU on which a service works; None: on the processor, or on none at all."""
    if not machine.gpus:
        return None
    return {"voicevox": 0, "backend": 0, "openvoice": 1 % machine.gpus, "llm": machine.gpus - 1}.get(service)


def plan(hosts: int, seed: int) -> tuple[HostSpec, ...]:
    """Return the fleet, host by host; the same for the same arguments.

    Args:
        hosts: how many, at least 1. The roster is repeated as often as needed.
        seed: what the machines are doing, and since when they are up.
    """
    numbers: dict[str, int] = {}
    fleet: list[HostSpec] = []
    for index in range(hosts):
        machine, fault = _ROSTER[index % len(_ROSTER)]
        numbers[machine.prefix] = numbers.get(machine.prefix, 0) + 1
        key = mix(seed, index)
        fleet.append(
            HostSpec(
                index=index,
                id=f"{machine.prefix}-{numbers[machine.prefix]:02d}",
                machine=machine,
                fault=fault,
                round=index // len(_ROSTER),
                key=key,
                boot_s=between(3.0e3, 9.0e6, key, 1),
                groups=_groups(machine),
                labels=_labels(machine, fault),
                services=_services(machine, fault),
                temper=_TEMPERS.get(index % len(_ROSTER), Temper.PLAIN),
            )
        )
    return tuple(fleet)


def _labels(machine: Machine, fault: Fault) -> dict[str, str]:
    labels = {"instance_type": machine.instance, "region": _region(machine), "role": _groups(machine)[-1]}
    if fault is Fault.SSH_SILENT:
        labels |= {"incident": "all ports silent", "instance_id": "i-0123456789abcdef0"}
    return labels


def _region(machine: Machine) -> str:
    return {"ohio": "us-east-2", "lab": "on-premises"}.get(machine.prefix.split("-")[0], "ap-northeast-1")


def _groups(machine: Machine) -> tuple[str, ...]:
    site = machine.prefix.split("-")[0]
    role = {"p5": "training", "p4": "training", "g6": "inference", "g4": "synthesis", "lab": "lab"}
    return (site, role.get(machine.kind, "gateway"))


def _services(machine: Machine, fault: Fault) -> tuple[ServiceSpec, ...]:
    scripted = _scripted_services(fault)
    if scripted:
        return scripted
    backend = ServiceSpec("backend", 55433, "http", "/health")
    frontend = ServiceSpec("frontend", 55434, "http", "/")
    models: tuple[ServiceSpec, ...] = ()
    if machine.kind in ("g6", "p5") and fault in (Fault.NONE, Fault.DISK_FULL):
        models = (ServiceSpec("llm", 8000, "openai"),)
    if machine.kind in ("g4", "g6"):
        voicevox = ServiceSpec("voicevox", 50021, "voicevox")
        openvoice = ServiceSpec("openvoice", 8001, "openvoice", "/health")
        return (voicevox, openvoice, backend, frontend, *models)
    if machine.kind == "c7":
        return (backend, frontend)
    return (ServiceSpec("exporter", 9400, "tcp"), *models)


def _scripted_services(fault: Fault) -> tuple[ServiceSpec, ...]:
    """Those of a host whose part is in its services; none for the others."""
    if fault is Fault.SERVICES:
        return (
            ServiceSpec("voicevox", 50021, "voicevox"),
            ServiceSpec("openvoice", 8001, "openvoice", "/health", Behaviour.INITIALIZING),
            ServiceSpec("backend", 55433, "http", "/api/voicevox/health", Behaviour.UNHEALTHY),
            ServiceSpec("frontend", 55434, "http", "/", Behaviour.ERROR),
        )
    if fault is Fault.SERVICES_DOWN:
        return (
            ServiceSpec("voicevox", 50021, "voicevox", behaviour=Behaviour.SILENT),
            ServiceSpec("openvoice", 8001, "openvoice", "/health", Behaviour.REFUSED),
            ServiceSpec("backend", 55433, "http", "/health", Behaviour.FLAPPING),
        )
    if fault is Fault.SSH_SILENT:  # R0's incident: every port of the host is silent
        silent = Behaviour.SILENT
        return (
            ServiceSpec("voicevox", 50021, "voicevox", behaviour=silent),
            ServiceSpec("openvoice", 8001, "openvoice", "/health", silent),
            ServiceSpec("backend", 55433, "http", "/health", silent),
            ServiceSpec("frontend", 55434, "http", "/", silent),
        )
    return ()
