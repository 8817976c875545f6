"""The facts quarterdeck keeps, as frozen types with units in their names.

What the agent sends *is* what is stored: the wire types (``Hello``, ``Sample``, ``Processes``, ``Note``) are decoded
straight into these structs. Nested wire types are JSON arrays in field order (short lines, fast decoding); the five
line types are JSON objects with a ``t`` tag. A value that could not be read is ``None``, and ``missing`` of the same
object names the field and the reason; never 0.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

Reason = Literal["unsupported", "denied", "error", "timeout", "gpu_lost", "not_yet"]

#: what a host may send: a number that fits in no 64 bits or is past all sense would end in an overflow in whatever
#: divides, formats or encodes it later, an endless text or list in memory; decoding refuses the line instead
Int = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Float = Annotated[float, Meta(ge=-1e18, le=1e18)]
Text = Annotated[str, Meta(max_length=1024)]
Missing = Annotated[dict[Text, Reason], Meta(max_length=1024)]
_FEW: Final = Meta(max_length=256)
_MANY: Final = Meta(max_length=4096)


# --- what a host says (wire types) -------------------------------------------------------------------------------


class Mig(Struct, frozen=True, array_like=True, gc=False):
    """One MIG instance of a GPU."""

    index: Int
    uuid: Text | None
    name: Text | None
    memory_total_bytes: Int | None
    memory_used_bytes: Int | None


class GpuBrief(Struct, frozen=True, array_like=True, gc=False):
    """What every sample of a GPU is judged, sorted and charted by."""

    index: Int
    utilization_pct: Float | None
    memory_total_bytes: Int | None
    memory_used_bytes: Int | None
    temperature_c: Float | None
    power_w: Float | None
    power_limit_w: Float | None
    throttle_reasons: Annotated[tuple[Text, ...], _FEW] | None
    ecc_uncorrected: Int | None
    missing: Missing


class Gpu(GpuBrief, frozen=True, array_like=True, gc=False):
    """One GPU at one moment. Source: NVML, or `nvidia-smi --query-gpu` in sh mode."""

    uuid: Text | None
    name: Text | None
    memory_free_bytes: Int | None
    memory_reserved_bytes: Int | None
    sm_clock_mhz: Float | None
    memory_clock_mhz: Float | None
    fan_pct: Float | None
    pstate: Text | None
    ecc_corrected: Int | None
    pcie_gen: Int | None
    pcie_width: Int | None
    mig: Annotated[tuple[Mig, ...], _FEW]


class GpuMore(Struct, frozen=True, array_like=True, gc=False):
    """The other fields of ``Gpu``, in the second part of a sample's line."""

    uuid: Text | None
    name: Text | None
    memory_free_bytes: Int | None
    memory_reserved_bytes: Int | None
    sm_clock_mhz: Float | None
    memory_clock_mhz: Float | None
    fan_pct: Float | None
    pstate: Text | None
    ecc_corrected: Int | None
    pcie_gen: Int | None
    pcie_width: Int | None
    mig: Annotated[tuple[Mig, ...], _FEW]


class CpuBrief(Struct, frozen=True, array_like=True, gc=False):
    """What every sample of the CPUs is judged, sorted and charted by."""

    count: Int
    utilization_pct: Float | None
    load1: Float | None


class Cpu(CpuBrief, frozen=True, array_like=True, gc=False):
    """CPU use over the last interval (needs two readings) and load. Source: /proc/stat, /proc/loadavg."""

    load5: Float | None
    load15: Float | None
    per_core_pct: Annotated[tuple[Float | None, ...], _MANY] | None


class CpuMore(Struct, frozen=True, array_like=True, gc=False):
    """The other fields of ``Cpu``, in the second part of a sample's line."""

    load5: Float | None
    load15: Float | None
    per_core_pct: Annotated[tuple[Float | None, ...], _MANY] | None


class Memory(Struct, frozen=True, array_like=True, gc=False):
    """Memory. ``used`` is total minus available, as `free` says it. Source: /proc/meminfo."""

    total_bytes: Int | None
    used_bytes: Int | None
    available_bytes: Int | None
    swap_total_bytes: Int | None
    swap_used_bytes: Int | None


class Disk(Struct, frozen=True, array_like=True, gc=False):
    """One mounted block file system. Source: statvfs and /proc/diskstats.

    Sizes are up to 30 s older than the sample, 10 s while somebody looks at the host; rates are the sample's own.
    """

    mount: Text
    device: Text
    total_bytes: Int | None
    used_bytes: Int | None
    read_bytes_per_s: Float | None
    write_bytes_per_s: Float | None
    missing: Missing


class Net(Struct, frozen=True, array_like=True, gc=False):
    """One network interface. Source: /proc/net/dev."""

    name: Text
    rx_bytes_per_s: Float | None
    tx_bytes_per_s: Float | None
    missing: Missing


class Xid(Struct, frozen=True, array_like=True, gc=False):
    """One NVIDIA XID error of the kernel log. ``uptime_s`` is the host's clock since its boot."""

    uptime_s: Float
    pci: Text
    code: Int
    message: Text


class AgentUse(Struct, frozen=True, array_like=True, gc=False):
    """What the agent itself costs the host, measured by itself."""

    cpu_pct: Float | None
    rss_bytes: Int | None


class Brief(Struct, frozen=True, gc=False, tag_field="t", tag="s"):
    """A sample without what only a close look needs (``Sample`` has it all, and is one too).

    Every line is decoded this far when it arrives; the rest waits in the line until somebody looks (see
    ``probes.hosts.protocol``). It is what conditions, sorting, totals and histories are made of.
    """

    seq: Int
    uptime_s: Float
    cpu: CpuBrief
    memory: Memory
    agent: AgentUse
    interval_s: Float | None = None
    echo: tuple[Int, Int] | None = None
    disks: Annotated[tuple[Disk, ...], _FEW] = ()
    net: Annotated[tuple[Net, ...], _FEW] = ()
    gpus: tuple[GpuBrief, ...] = ()
    xid_events: Annotated[tuple[Xid, ...], _FEW] | None = None
    missing: Missing = {}


class More(Struct, frozen=True, gc=False):
    """The second part of a sample's line: a row for each of the brief's GPUs."""

    cpu: CpuMore
    gpus: tuple[GpuMore, ...]


class Sample(Brief, frozen=True, gc=False, tag_field="t", tag="s"):
    """All fast-changing facts of one host at one moment.

    ``interval_s`` is what passed on the host's clock since the sample before (``None`` on the first); ``echo`` is the
    last heartbeat token the agent has seen and the milliseconds since then, from which the watcher bounds how old the
    sample can be without comparing two clocks. ``xid_events`` is what the kernel log holds (bounded to the newest).

    Names in ``missing``: ``interval_s``, ``xid_events``, ``gpus``, ``disks``, ``net`` (a list that could not be had),
    and dotted for nested objects without a table of their own: ``cpu.count`` (it is then 0), ``cpu.utilization_pct``,
    ``cpu.per_core_pct``, ``cpu.load1`` (5, 15), ``memory.total_bytes``, ``memory.used_bytes``,
    ``memory.available_bytes``, ``memory.swap_total_bytes``, ``memory.swap_used_bytes``, ``agent.cpu_pct``,
    ``agent.rss_bytes``. Of ``Processes``: ``top``, ``gpu``, ``gpu.memory_bytes``. Of ``Hello``: its fields, and
    ``units.docker``, ``units.systemd`` where only one of the two could be asked.
    """

    cpu: Cpu
    gpus: tuple[Gpu, ...] = ()


class Process(Struct, frozen=True, array_like=True, gc=False):
    """One process. ``cpu_pct`` is of one core, over the last interval."""

    pid: Int
    user: Text | None
    name: Text
    cpu_pct: Float | None
    rss_bytes: Int | None


class GpuProcess(Struct, frozen=True, array_like=True, gc=False):
    """One process on one GPU (``gpu`` is the GPU's index)."""

    gpu: Int
    pid: Int
    user: Text | None
    name: Text | None
    memory_bytes: Int | None


class Processes(Struct, frozen=True, gc=False, tag_field="t", tag="p"):
    """The process list: the busiest (bounded) and all GPU processes. Every 30 s, or each tick on request."""

    total: Int
    top: Annotated[tuple[Process, ...], _MANY]
    gpu: Annotated[tuple[GpuProcess, ...], _MANY] | None
    missing: Missing = {}


class Unit(Struct, frozen=True, array_like=True, gc=False):
    """One container or systemd unit. ``kind``: docker | systemd; ``state`` in the tool's own word.

    Asked every five minutes, every minute while somebody looks at the host, and after a unit or container came or went.
    """

    kind: Text
    name: Text
    state: Text
    detail: Text


class Hello(Struct, frozen=True, gc=False, tag_field="t", tag="h"):
    """What does not change while a host is up; sent first, and again when it changed.

    ``mode``: ``python+nvml``, ``python`` (no NVIDIA driver), ``sh+nvidia-smi``, ``sh``. ``units_uptime_s`` is the
    host's uptime when it was asked for its units; without units there is none, and the reason is theirs.
    """

    mode: Text
    hostname: Text
    os: Text | None = None
    kernel: Text | None = None
    driver: Text | None = None
    cuda: Text | None = None
    python: Text | None = None
    boot_id: Text | None = None
    pid: Int | None = None
    units: Annotated[tuple[Unit, ...], _MANY] | None = None
    units_uptime_s: Float | None = None
    missing: Missing = {}


class Note(Struct, frozen=True, gc=False, tag_field="t", tag="n"):
    """The agent's own word about something that went wrong, or that it needs (``need``: ``pynvml``)."""

    layer: Text
    text: Text
    need: Text | None = None


class ListenerRow(Struct, frozen=True, array_like=True, gc=False):
    """One listening TCP socket. ``user`` owns the process, or the socket where the process is not known."""

    address: Text
    port: Int
    process: Text | None
    pid: Int | None
    user: Text | None


class FirewallRow(Struct, frozen=True, array_like=True, gc=False):
    """What one tool (nft, iptables, ip6tables) says: how many rules there are, and what happens to the rest of input.

    ``input_policy``: ``accept`` or ``drop``; missing with ``unsupported`` where nothing hooks into input.
    """

    tool: Text
    rules: Int | None
    input_policy: Text | None
    missing: Missing


class InsideAnswer(Struct, frozen=True, array_like=True, gc=False):
    """What a host says of its own sockets. Source: /proc/net/tcp{,6}, /proc/PID/fd, `sshd -T`, `nft`, `iptables`.

    ``total`` is how many listeners there are, None when that is not known; ``listeners`` may be fewer, each port with
    its widest address. Names in ``missing``: ``listeners`` (with some in the list: there are more ports), ``owners``,
    ``sshd``, ``firewall``; ``words`` has what was said, by the same names and ``firewall.nft`` and the like.
    """

    listeners: Annotated[tuple[ListenerRow, ...], _MANY] | None
    total: Int | None
    sshd: Annotated[dict[Text, Text], Meta(max_length=32)] | None
    firewall: Annotated[tuple[FirewallRow, ...], _FEW] | None
    missing: Missing
    words: Annotated[dict[Text, Text], _FEW]


class ConnectAnswer(Struct, frozen=True, array_like=True, gc=False):
    """How one TCP connect from a host ended. ``own_end`` is its own ``address:port`` of a connection that was made."""

    state: Literal["open", "refused", "silent", "unreachable", "unresolved", "error"]
    address: Text | None
    errno_name: Text | None
    took_ms: Float | None
    own_end: Text | None
    words: Text


class HoldAnswer(Struct, frozen=True, array_like=True, gc=False):
    """A port that a host was asked to listen on: first whether it does, later that it ended, and who had come."""

    state: Literal["listening", "ended", "in_use", "denied", "error"]
    holder: ListenerRow | None
    accepted: Int
    peers: Annotated[tuple[Text, ...], _FEW]
    words: Text


class Answer(Struct, frozen=True, gc=False, tag_field="t", tag="a"):
    """The answer to a request with that token: one of the parts, or ``refused`` with the reason and words."""

    token: Annotated[str, Meta(max_length=32)]
    inside: InsideAnswer | None = None
    connect: ConnectAnswer | None = None
    hold: HoldAnswer | None = None
    refused: Reason | None = None
    detail: Text = ""


Line = Hello | Sample | Processes | Note | Answer
#: a line as it is decoded on arrival
BriefLine = Hello | Brief | Processes | Note | Answer


# --- what we configure -------------------------------------------------------------------------------------------


class ServiceKind(StrEnum):
    """How a service is checked once its port answers."""

    TCP = "tcp"
    HTTP = "http"
    SSH = "ssh"
    VOICEVOX = "voicevox"
    OPENVOICE = "openvoice"
    OPENAI = "openai"


class Service(Struct, frozen=True):
    """One service of a host. ``path`` and ``expect_*`` only matter to the HTTP kinds.

    ``expect_json`` maps dotted JSON paths to the values that mean healthy (any of). ``pin`` is the certificate that the
    service should present, as ``SHA256:`` and 64 hexadecimal digits.
    """

    name: str
    port: int
    kind: ServiceKind = ServiceKind.TCP
    path: str | None = None
    tls: bool = False
    tls_verify: bool = True
    expect_status: tuple[int, ...] = ()
    expect_json: dict[str, tuple[str | int | float | bool | None, ...]] = {}
    pin: str | None = None


class Host(Struct, frozen=True):
    """One host as configured. ``user``, ``port`` etc. left ``None`` come from ssh_config, else ssh's defaults.

    ``address`` is what is dialled: a name, an address or an ssh_config alias. ``local`` hosts need no SSH.
    """

    id: str
    address: str
    port: int | None = None
    user: str | None = None
    identity_files: tuple[str, ...] = ()
    known_hosts: tuple[str, ...] = ()
    proxy_jump: str | None = None
    groups: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    services: tuple[Service, ...] = ()
    local: bool = False
    simulated: bool = False


# --- what we conclude about a connection -------------------------------------------------------------------------


class LinkState(StrEnum):
    """The state of our link to a host, in the words shown."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALE = "stale"
    UNREACHABLE = "unreachable"
    AUTH_FAILED = "auth_failed"
    HOST_KEY_UNKNOWN = "host_key_unknown"
    HOST_KEY_CHANGED = "host_key_changed"
    AGENT_FAILED = "agent_failed"
    PAUSED = "paused"


class Link(Struct, frozen=True):
    """A link state with its time and, when it is bad, the layer, the cause and what to do.

    ``layer``: resolve, tcp, banner, kex, host_key, auth, jump, bootstrap, first_sample, silence, agent, flood.
    """

    state: LinkState
    since_boot_s: float
    since_wall_s: float
    layer: str | None = None
    cause: str | None = None
    next_step: str | None = None
    attempt: int = 0
    retry_at_boot_s: float | None = None


class PortState(StrEnum):
    """What a connect to a port proved."""

    OPEN = "open"
    REFUSED = "refused"
    FILTERED = "filtered"
    REJECTED = "rejected_by_firewall"
    UNREACHABLE = "unreachable"
    UNRESOLVED = "unresolved"
    NOT_PROBED = "not_probed"


class Health(StrEnum):
    """What the service said of itself once the port was open."""

    OK = "ok"
    FAILING = "failing"
    UNKNOWN = "unknown"


class ServiceState(Struct, frozen=True, gc=False):
    """The last probe of one service. ``detail`` says why in words; ``via`` names the jump host that probed."""

    name: str
    port: int
    state: PortState
    connect_ms: float | None = None
    health: Health = Health.UNKNOWN
    detail: str = ""
    via: str | None = None
    at_boot_s: float = 0.0
    phases_ms: dict[str, float] = field(default_factory=dict[str, float])


class Severity(StrEnum):
    """How loud an event is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Event(Struct, frozen=True, gc=False):
    """Something rare worth a line in the event log: a link or service that changed, an XID, a version drift."""

    at_wall_s: float
    at_boot_s: float
    host: str | None
    severity: Severity
    kind: str
    text: str
