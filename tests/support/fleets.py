"""Builders of fleets for tests: hosts, samples and a backend that only remembers what it was asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

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
    Link,
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probes.evidence import Evidence

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


def sample(gpus: int | tuple[Gpu, ...] = 8, **over: Any) -> Sample:
    """A healthy sample with ``gpus`` GPUs (a number, or the GPUs themselves); ``over`` replaces fields."""
    cores = 16
    fine = Sample(
        seq=1,
        uptime_s=86400.0 * 12,
        interval_s=1.0,
        cpu=Cpu(cores, 37.5, 5.2, 4.8, 4.1, tuple(float(core * 6 % 101) for core in range(cores))),
        memory=Memory(512 * GIB, 200 * GIB, 312 * GIB, 8 * GIB, 0),
        agent=AgentUse(0.03, 9 * 1024 * 1024),
        disks=(
            Disk("/", "nvme0n1p1", 400 * GIB, 120 * GIB, 2e6, 5e6, {}),
            Disk("/data", "nvme1n1", 3000 * GIB, 1200 * GIB, 4e7, 1e6, {}),
        ),
        net=(Net("lo", 1e3, 1e3, {}), Net("ens5", 1.2e6, 3.4e6, {})),
        gpus=gpus if isinstance(gpus, tuple) else tuple(gpu(index) for index in range(gpus)),
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
        units_uptime_s=86400.0 * 12 - 95.0,
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


class Investigation:
    """One call of ``investigate``, played by the test: parts arrive, then the answer."""

    def __init__(self, host_ids: tuple[str, ...], on_evidence: Callable[[str, Evidence], None]) -> None:
        self.host_ids = host_ids
        self.ended = ""
        self._on_evidence = on_evidence
        self._latest: dict[str, Evidence] = {}
        self._outcome: asyncio.Future[dict[str, Evidence]] = asyncio.get_running_loop().create_future()

    def arrive(self, host_id: str, evidence: Evidence) -> None:
        """A part arrived: the evidence so far."""
        self._latest[host_id] = evidence
        self._on_evidence(host_id, evidence)

    def answer(self) -> None:
        """Nothing more is to come."""
        self._outcome.set_result(dict(self._latest))

    def fail(self, error: Exception) -> None:
        """It breaks."""
        self._outcome.set_exception(error)

    async def wait(self) -> dict[str, Evidence]:
        try:
            found = await self._outcome
        except BaseException as error:
            self.ended = type(error).__name__
            raise
        self.ended = "answered"
        return found


class FakeBackend:
    """A ``Backend`` that remembers its calls in ``calls`` as ``(name, *args)``."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.started = asyncio.Event()
        self.cancelled = False
        self.fail: Exception | None = None
        #: what an investigation says at once; a host without an answer is told of by ``arrive`` and ``answer``
        self.answers: dict[str, Evidence] = {}
        self.investigations: list[Investigation] = []
        self.investigate_fails: Exception | None = None

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

    async def investigate(
        self, host_ids: Sequence[str], on_evidence: Callable[[str, Evidence], None], *, inside: bool = True
    ) -> dict[str, Evidence]:
        """Says ``answers`` when it has one for every host, else waits for the test to tell it part by part."""
        self.calls.append(("investigate", tuple(host_ids), inside))
        asked = Investigation(tuple(host_ids), on_evidence)
        self.investigations.append(asked)
        if self.investigate_fails is not None:
            asked.ended = "failed"
            raise self.investigate_fails
        if all(host_id in self.answers for host_id in host_ids):
            for host_id in host_ids:
                asked.arrive(host_id, self.answers[host_id])
            asked.answer()
        return await asked.wait()

    def apply(self, settings: Settings) -> None:
        self.calls.append(("apply", settings))

    def ssh_argv(self, host_id: str) -> list[str]:
        self.calls.append(("ssh_argv", host_id))
        return ["true", host_id]


HOSTILE_ID = "[/kworker][b]\u202eevil\x1b[31m漢字ハンガー"
EPOCH_S = 1_790_000_000.0
BOOT_S = 500_000.0


def _link(state: LinkState, ago_s: float, now: float, **over: Any) -> Link:
    return Link(state, now - ago_s, EPOCH_S - ago_s, **over)


def mixed_fleet(now: float = BOOT_S) -> Fleet:
    """Every state once, at a fixed moment: hot, lost, dead, stale, unknown key, changed key, paused, hostile."""
    names = ["fine-1", "fine-2", "hot", "lost-gpu", "dead", "stale", "retrying", "key-unknown", "key-changed",
             "no-auth", "no-agent", "paused", "first-time", "no-gpu", "half-known", "bad-ports", "full-disk"]  # fmt: skip
    hosts = [host(name, groups=("train",) if at % 2 else ("serve", "blue")) for at, name in enumerate(names)]
    hosts += [host(HOSTILE_ID, groups=("[red]",)), host("a-very-long-host-name-that-goes-on.and.on.example.com")]
    fleet = Fleet(hosts)
    for record in fleet.hosts.values():
        record.link = _link(LinkState.CONNECTING, 3, now)
    for name in ("fine-1", "fine-2", "hot", "lost-gpu", "stale", "no-gpu", "half-known", "bad-ports", "full-disk",
                 HOSTILE_ID, "a-very-long-host-name-that-goes-on.and.on.example.com"):  # fmt: skip
        make_live(fleet, name, at_boot_s=now)
        fleet.hosts[name].link = _link(LinkState.LIVE, 7200, now)
    fleet.ingest("hot", sample(_hot()), now, 0.01)
    fleet.ingest("lost-gpu", sample((gpu(0), gpu(1), gpu(2), gpu(3, **lost()))), now, 0.01)
    fleet.ingest("no-gpu", sample(0, missing={"gpus": "unsupported"}), now, 0.01)
    unknown = gpu(1, utilization_pct=None, power_w=None, temperature_c=None, missing={"utilization_pct": "denied"})
    fleet.ingest("half-known", sample((gpu(0), unknown), cpu=Cpu(8, None, 1.0, 1.0, 1.0, None)), now, None)
    disk = Disk("/", "sda1", 100 * GIB, 97 * GIB, 0.0, 0.0, {})
    fleet.ingest("full-disk", sample(disks=(disk,)), now, 0.01)
    fleet.ingest("stale", sample(), now - 75, 0.01)
    for name, state in zip(
        ("ssh", "backend", "openvoice", "voicevox", "frontend"),
        (PortState.OPEN, PortState.REFUSED, PortState.FILTERED, PortState.REJECTED, PortState.UNRESOLVED),
        strict=True,
    ):
        fleet.set_service("bad-ports", ServiceState(name, 1, state, None, at_boot_s=now))
    fleet.set_service(
        "hot", ServiceState("voicevox", 50021, PortState.OPEN, 2.0, Health.FAILING, "initializing", at_boot_s=now)
    )
    links = {
        "dead": _link(LinkState.UNREACHABLE, 184, now, layer="tcp", cause="connection refused by 10.0.0.7 port 22"),
        "stale": _link(LinkState.STALE, 70, now, layer="silence", cause="no line for 75 s"),
        "retrying": _link(LinkState.CONNECTING, 2, now, layer="tcp", cause="no answer in 3.5 s", attempt=4),
        "key-unknown": _link(LinkState.HOST_KEY_UNKNOWN, 600, now, layer="host_key", cause="ssh-ed25519 SHA256:abc is not in known_hosts"),
        "key-changed": _link(LinkState.HOST_KEY_CHANGED, 90000, now, layer="host_key", cause="ssh-ed25519 SHA256:def is not the known key", next_step="verify the host before you trust it"),
        "no-auth": _link(LinkState.AUTH_FAILED, 61, now, layer="auth", cause="publickey not accepted for root"),
        "no-agent": _link(LinkState.AGENT_FAILED, 5, now, layer="bootstrap", cause="exit status 127"),
        "paused": _link(LinkState.PAUSED, 3600, now),
    }  # fmt: skip
    for name, link in links.items():
        fleet.hosts[name].link = link
    fleet.take_dirty()
    return fleet


def _hot() -> tuple[Gpu, ...]:
    cards = tuple(gpu(index, temperature_c=79.0 + 2 * index, utilization_pct=100.0) for index in range(8))
    return (*cards[:7], replace(cards[7], throttle_reasons=("hw_thermal_slowdown",)))
