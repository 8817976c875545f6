"""Builders of fleets for tests: hosts, samples and a backend that only remembers what it was asked."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec.structs import replace

from probes import clock
from probes.config import Settings
from probes.fleet import Fleet, new_link
from probes.model import (
    AgentUse,
    Cpu,
    Disk,
    Gpu,
    GpuProcess,
    Health,
    Hello,
    Host,
    LinkState,
    Memory,
    Missing,
    Net,
    PortState,
    Process,
    Processes,
    Sample,
    Service,
    ServiceKind,
    ServiceState,
)

GIB = 1024**3
LOST: Missing = dict.fromkeys(("utilization_pct", "temperature_c", "power_w", "memory_used_bytes"), "gpu_lost")


def gpu(index: int = 0, **over: Any) -> Gpu:
    """A busy H100; ``over`` replaces fields. ``gpu(3, **lost())`` has fallen off the bus."""
    fine = Gpu(
        index=index,
        uuid=f"GPU-{index:08x}-0000-0000-0000-000000000000",
        name="NVIDIA H100 80GB HBM3",
        utilization_pct=float((index * 13 + 7) % 101),
        memory_total_bytes=80 * GIB,
        memory_used_bytes=(index * 9 % 80) * GIB,
        memory_free_bytes=(80 - index * 9 % 80) * GIB,
        memory_reserved_bytes=GIB // 2,
        temperature_c=40.0 + index * 3,
        power_w=300.0 + index * 10,
        power_limit_w=700.0,
        sm_clock_mhz=1980.0,
        memory_clock_mhz=2619.0,
        fan_pct=None,
        pstate="P0",
        throttle_reasons=(),
        ecc_corrected=0,
        ecc_uncorrected=0,
        pcie_gen=5,
        pcie_width=16,
        mig=(),
        missing={"fan_pct": "unsupported"},
    )
    return replace(fine, **over) if over else fine


def lost() -> dict[str, Any]:
    """Fields of a GPU that has fallen off the bus."""
    gone = ("utilization_pct", "memory_total_bytes", "memory_used_bytes", "memory_free_bytes", "memory_reserved_bytes",
            "temperature_c", "power_w", "power_limit_w", "sm_clock_mhz", "memory_clock_mhz", "fan_pct", "pstate",
            "throttle_reasons", "ecc_corrected", "ecc_uncorrected", "pcie_gen", "pcie_width")  # fmt: skip
    return {**dict.fromkeys(gone), "missing": dict.fromkeys(gone, "gpu_lost")}


def sample(gpus: int = 8, **over: Any) -> Sample:
    """A healthy sample with ``gpus`` GPUs; ``over`` replaces fields."""
    cores = 16
    fine = Sample(
        seq=1,
        uptime_s=86400.0 * 12,
        interval_s=1.0,
        cpu=Cpu(cores, 37.5, tuple(float(core * 6 % 101) for core in range(cores)), 5.2, 4.8, 4.1),
        memory=Memory(512 * GIB, 200 * GIB, 312 * GIB, 8 * GIB, 0),
        agent=AgentUse(0.03, 9 * 1024 * 1024),
        disks=(
            Disk("/", "nvme0n1p1", 400 * GIB, 120 * GIB, 2e6, 5e6, {}),
            Disk("/data", "nvme1n1", 3000 * GIB, 1200 * GIB, 4e7, 1e6, {}),
        ),
        net=(Net("lo", 1e3, 1e3, {}), Net("ens5", 1.2e6, 3.4e6, {})),
        gpus=tuple(gpu(index) for index in range(gpus)),
        xid_events=(),
    )
    return replace(fine, **over) if over else fine


def services() -> tuple[Service, ...]:
    """The five services of the reference host."""
    return (
        Service("ssh", 22, ServiceKind.SSH),
        Service("backend", 55433),
        Service("openvoice", 8001, ServiceKind.OPENVOICE),
        Service("voicevox", 50021, ServiceKind.VOICEVOX),
        Service("frontend", 55434, ServiceKind.HTTP, path="/"),
    )


def hello(**over: Any) -> Hello:
    """What a host with the NVML agent says first."""
    fine = Hello(
        mode="python+nvml",
        hostname="node",
        os="Ubuntu 24.04",
        kernel="6.8.0-45-generic",
        driver="570.86.15",
        cuda="12.8",
        python="3.12.3",
        boot_id="4c3c2ed1-0000-0000-0000-000000000001",
        pid=4242,
        units=(),
    )
    return replace(fine, **over) if over else fine


def processes() -> Processes:
    """A short process list with two GPU processes, one of them with a name that looks like markup."""
    return Processes(
        total=312,
        top=(
            Process(4001, "alice", "python3 train.py", 780.0, 12 * GIB),
            Process(17, "root", "[kworker/0:1]", 3.0, 0),
            Process(18, None, "[/kworker]", None, None),
        ),
        gpu=(GpuProcess(0, 4001, "alice", "python3", 60 * GIB), GpuProcess(1, 4002, None, None, None)),
    )


def host(host_id: str, **over: Any) -> Host:
    """A host with the reference services."""
    fine = Host(host_id, f"{host_id}.example", groups=("lab",), labels={"zone": "a"}, services=services())
    return replace(fine, **over) if over else fine


def all_open(fleet: Fleet, host_id: str, at_boot_s: float | None = None) -> None:
    """All configured services of a host are open and healthy."""
    now = clock.boot_s() if at_boot_s is None else at_boot_s
    for service in fleet.hosts[host_id].host.services:
        fleet.set_service(
            host_id, ServiceState(service.name, service.port, PortState.OPEN, 1.2, Health.OK, at_boot_s=now)
        )


def make_live(fleet: Fleet, host_id: str, gpus: int = 8, at_boot_s: float | None = None, **over: Any) -> None:
    """Bring one host to live with a sample, a hello and open services."""
    now = clock.boot_s() if at_boot_s is None else at_boot_s
    fleet.set_link(host_id, replace(new_link(LinkState.LIVE), since_boot_s=now))
    fleet.set_hello(host_id, hello(hostname=host_id))
    all_open(fleet, host_id, now)
    fleet.ingest(host_id, sample(gpus, **over), now, 0.01)


def fleet_of(n: int, gpus: int = 8, at_boot_s: float | None = None) -> Fleet:
    """``n`` healthy hosts ``gpu-000`` ... with ``gpus`` GPUs each, in groups of ten."""
    fleet = Fleet(host(f"gpu-{i:03d}", groups=(f"rack-{i // 10}",)) for i in range(n))
    for host_id in fleet.hosts:
        make_live(fleet, host_id, gpus, at_boot_s)
    return fleet


def settings_of(fleet: Fleet, **over: Any) -> Settings:
    """Default settings with the hosts of a fleet."""
    hosts = tuple(record.host for record in fleet.hosts.values())
    return replace(Settings(hosts=hosts), **over)


class FakeBackend:
    """A ``Backend`` that remembers its calls in ``calls`` as ``(name, *args)``."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.started = asyncio.Event()
        self.cancelled = False
        self.fail: Exception | None = None

    async def run(self) -> None:
        """Until cancelled, or until ``fail`` is set beforehand."""
        self.started.set()
        if self.fail is not None:
            raise self.fail
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled = True

    def reconnect(self, host_id: str) -> None:
        self.calls.append(("reconnect", host_id))

    def pause(self, host_id: str) -> None:
        self.calls.append(("pause", host_id))

    def resume(self, host_id: str) -> None:
        self.calls.append(("resume", host_id))

    def want_processes(self, host_id: str, wanted: bool) -> None:
        self.calls.append(("want_processes", host_id, wanted))

    def probe_services(self, host_id: str) -> None:
        self.calls.append(("probe_services", host_id))

    def apply(self, settings: Settings) -> None:
        self.calls.append(("apply", settings))

    def ssh_argv(self, host_id: str) -> list[str]:
        self.calls.append(("ssh_argv", host_id))
        return ["true", host_id]
