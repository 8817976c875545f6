"""What a simulated host says at a given moment: ``hello``, ``sample`` and ``processes``, as the agent's own structs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.demo.catalog import GIB, MIB, Fault
from probes.demo.faults import boot_age_s, boots, local_time, window
from probes.demo.gpus import gpu_processes, job, job_pid, load, read_gpu
from probes.demo.noise import between, clamp, mix, unit, wave
from probes.demo.use import IDLE
from probes.model import AgentUse, Cpu, Disk, Hello, Memory, Missing, Net, Process, Processes, Sample, Unit, Xid

if TYPE_CHECKING:
    from probes.demo.catalog import HostSpec
    from probes.demo.use import Serving

_AGENT_RSS_BYTES: Final = 9_100_000
_DAEMONS: Final = (
    ("systemd", "root"), ("dockerd", "root"), ("containerd", "root"), ("nvidia-persistenced", "nvidia-persistenced"),
    ("sshd", "root"), ("chronyd", "_chrony"), ("amazon-ssm-agent", "root"), ("node_exporter", "prometheus"),
    ("dcgm-exporter", "root"), ("journald", "root"), ("kworker/0:1-events", "root"), ("uvicorn", "backend"),
    ("nginx", "www-data"), ("bash", "ubuntu"), ("rsyslogd", "syslog"), ("irqbalance", "root"),
)  # fmt: skip


def hello(host: HostSpec, t: float) -> Hello:
    """The unchanging facts, as sent first on a connection made at ``t`` seconds after the start of the demo."""
    machine = host.machine
    missing: Missing = {}
    driver = cuda = None
    mode = "python+nvml"
    if machine.gpu is None:
        mode = "python"
    else:
        driver, cuda = ("570.86.15", "12.8") if host.fault is Fault.XID else ("580.95.05", "13.0")
    if host.fault is Fault.SH_MODE:
        mode = "sh+nvidia-smi"
        missing["python"] = "unsupported"
    units = None
    if host.groups[-1] in ("inference", "synthesis"):
        units = (
            Unit("docker", "voicevox", "running", "Up 3 days"),
            Unit("docker", "openvoice", "running", "Up 3 days (healthy)"),
            Unit("systemd", "backend.service", "active", "running"),
        )
    else:
        missing["units"] = "denied"
    return Hello(
        mode=mode,
        hostname=f"ip-10-0-{host.index // 250}-{host.index % 250 + 4}",
        os="Ubuntu 22.04.5 LTS" if machine.kind != "lab" else "Debian GNU/Linux 12 (bookworm)",
        kernel="6.8.0-1021-aws" if machine.kind != "lab" else "6.1.0-28-amd64",
        driver=driver,
        cuda=cuda,
        python=None if host.fault is Fault.SH_MODE else "3.10.12",
        boot_id=_boot_id(host, t),
        pid=1000 + mix(host.key, 40, boots(host, t)) % 60_000,
        units=units,
        units_uptime_s=None if units is None else round(boot_age_s(host, t), 2),
        missing=missing,
    )


def sample(
    host: HostSpec,
    t: float,
    seq: int,
    interval_s: float | None,
    echo: tuple[int, int] | None = None,
    *,
    serving: Serving = IDLE,
) -> Sample:
    """All fast-changing facts at ``t`` seconds after the start of the demo.

    Args:
        host: which host.
        t: seconds since the start of the demo.
        seq: number of the sample on its connection, from 0.
        interval_s: seconds since the sample before; None on the first, whose rates are then missing.
        echo: heartbeat token and milliseconds since it came, as in ``Sample.echo``.
        serving: what the services of the host load now.
    """
    machine = host.machine
    first = interval_s is None
    missing: Missing = {}
    xids = None
    if machine.kind == "lab":
        missing["xid_events"] = "denied"
    else:
        xids = _xids(host, t)
    kind = machine.gpu
    gpus = (
        ()
        if kind is None
        else tuple(read_gpu(host, i, kind, t, serving=i in serving.gpus) for i in range(machine.gpus))
    )
    return Sample(
        seq=seq,
        uptime_s=round(boot_age_s(host, t), 2),
        cpu=_cpu(host, t, first=first, serving=serving.cpu),
        memory=_memory(host, t),
        agent=AgentUse(None if first else round(0.03 + 0.01 * unit(host.key, 41, seq), 3), _AGENT_RSS_BYTES),
        interval_s=interval_s,
        echo=echo,
        disks=_disks(host, t, first=first),
        net=_net(host, t, first=first),
        gpus=gpus,
        xid_events=xids,
        missing=missing,
    )


def processes(host: HostSpec, t: float) -> Processes:
    """The busiest processes and those on the GPUs."""
    jobs: dict[int, Process] = {}
    for gpu in range(host.machine.gpus):
        current = job(host, gpu, t)
        if current is not None:
            pid = job_pid(host, gpu, current)
            cpu = round(100.0 * clamp(load(host, gpu, t) * between(0.8, 1.6, pid), 0.0, 8.0), 1)
            jobs[pid] = Process(pid, current.user, current.name, cpu, int(between(2.0, 30.0, pid, 1) * GIB))
    top = list(jobs.values())
    for place, (name, user) in enumerate(_DAEMONS):
        key = mix(host.key, 50 + place)
        cpu = round(max(0.0, 0.8 + 0.8 * wave(key, t, 8.0) - 0.1 * place), 1)
        top.append(Process(1 + key % 3000 if place else 1, user, name, cpu, int(between(4.0, 160.0, key) * MIB)))
    top.sort(key=lambda process: -(process.cpu_pct or 0.0))
    on_gpus = gpu_processes(host, t)
    missing: Missing = {} if on_gpus is not None else {"gpu": "timeout"}
    return Processes(
        total=240 + len(top) + mix(host.key, 42, int(t / 30)) % 9, top=tuple(top), gpu=on_gpus, missing=missing
    )


def _boot_id(host: HostSpec, t: float) -> str:
    digits = f"{mix(host.key, 43, boots(host, t)):016x}{mix(host.key, 44, boots(host, t)):016x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _mean_load(host: HostSpec, t: float) -> float:
    """How busy the host is as a whole, 0 to 1: what its GPUs do, or a gateway's own traffic."""
    gpus = host.machine.gpus
    if not gpus:
        return clamp(0.25 + 0.15 * wave(mix(host.key, 10), t, 45.0), 0.0, 1.0)
    return sum(load(host, gpu, t) for gpu in range(gpus)) / gpus


def _cpu(host: HostSpec, t: float, *, first: bool, serving: bool) -> Cpu:
    count = host.machine.cores
    busy = clamp(0.04 + 0.35 * _mean_load(host, t) + 0.05 * wave(mix(host.key, 11), t, 6.0), 0.0, 1.0)
    low, width = 0.4, 1.2
    if serving:  # synthesis takes all cores alike
        busy, low, width = 0.93, 0.95, 0.1
    load1 = round(busy * count * (1.0 + 0.1 * wave(mix(host.key, 12), t, 60.0)), 2)
    load5 = round(load1 * (1.0 + 0.05 * wave(mix(host.key, 13), t, 300.0)), 2)
    load15 = round(load5 * (1.0 + 0.05 * wave(mix(host.key, 14), t, 900.0)), 2)
    if first:
        return Cpu(count, None, load1, load5, load15, None)
    tick = int(t)
    cores = tuple(
        round(100.0 * clamp(busy * (low + width * unit(host.key, 15, core, tick)), 0.0, 1.0), 1)
        for core in range(count)
    )
    return Cpu(count, round(sum(cores) / count, 1), load1, load5, load15, cores)


def _memory(host: HostSpec, t: float) -> Memory:
    total = host.machine.memory_bytes - 3 * host.machine.memory_bytes // 200  # firmware and kernel keep some
    share = clamp(0.12 + 0.45 * _mean_load(host, t - 20.0) + 0.06 * wave(mix(host.key, 16), t, 120.0), 0.02, 0.96)
    used = int(total * share) // 4096 * 4096
    swap = 0 if host.machine.kind in ("p5", "p4") else 4 * GIB
    return Memory(total, used, total - used, swap, swap // 40 // 4096 * 4096)


def _disks(host: HostSpec, t: float, *, first: bool) -> tuple[Disk, ...]:
    machine = host.machine
    missing: Missing = {"read_bytes_per_s": "not_yet", "write_bytes_per_s": "not_yet"} if first else {}
    mounts = [("/", "nvme0n1p1", machine.root_bytes, 0.96 if host.fault is Fault.DISK_FULL else None)]
    if machine.data_bytes:
        mounts.append(("/data", "nvme1n1", machine.data_bytes, None))
    disks: list[Disk] = []
    for place, (mount, device, total, fixed) in enumerate(mounts):
        key = mix(host.key, 20 + place)
        share = fixed if fixed is not None else between(0.25, 0.75, key)
        used = min(total, int(total * share + 2.0e5 * max(0.0, t))) // 4096 * 4096
        read = write = None
        if not first:
            busy = _mean_load(host, t)
            read = round(busy * 60e6 * max(0.0, 0.5 + wave(key + 1, t, 7.0)), 1)
            write = round(busy * 25e6 * max(0.0, 0.3 + wave(key + 2, t, 13.0)), 1)
        disks.append(Disk(mount, device, total, used, read, write, missing))
    return tuple(disks)


def _net(host: HostSpec, t: float, *, first: bool) -> tuple[Net, ...]:
    if first:
        missing: Missing = {"rx_bytes_per_s": "not_yet", "tx_bytes_per_s": "not_yet"}
        return (Net("lo", None, None, missing), Net(host.machine.nic, None, None, missing))
    scale = {"p5": 1.5e9, "p4": 8e8, "g6": 6e7}.get(host.machine.kind, 6e6) * (0.02 + _mean_load(host, t))
    key = mix(host.key, 30)
    receive = round(scale * clamp(0.5 + 0.5 * wave(key, t, 5.0), 0.0, 1.0), 1)
    send = round(scale * clamp(0.3 + 0.3 * wave(key + 1, t, 5.0), 0.0, 1.0), 1)
    inside = round(9000.0 * (1.0 + wave(key + 2, t, 4.0)), 1)
    return (Net("lo", inside, inside, {}), Net(host.machine.nic, receive, send, {}))


def _xids(host: HostSpec, t: float) -> tuple[Xid, ...]:
    """What the kernel log holds: it grows by the script, and is empty again after a reboot."""
    now = local_time(host, t)
    lost, ill = window(host, Fault.GPU_LOST), window(host, Fault.XID)
    found: list[Xid] = []
    if lost is not None:
        for nth in range(lost.count(now)):
            at = host.boot_s + nth * lost.period_s + lost.start_s + host.round * 7.0
            found.append(
                Xid(round(at, 3), "0000:a0:1c", 79, "pid='<unknown>', name=<unknown>, GPU has fallen off the bus.")
            )
    if ill is not None:
        for nth in range(ill.count(now)):
            at = host.boot_s + nth * ill.period_s + ill.start_s + host.round * 7.0
            pid = 2000 + mix(host.key, 45, nth) % 90_000
            found.append(Xid(round(at, 3), "0000:10:1d", 31, f"pid={pid}, name=python3, MMU Fault: ENGINE GRAPHICS"))
            found.append(Xid(round(at + 0.4, 3), "0000:10:1d", 48, f"pid={pid}, name=python3, DBE (double bit error)"))
    return tuple(found[-16:])
