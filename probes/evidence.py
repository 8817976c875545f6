"""What triage knows of one host: the evidence, as frozen types. Facts only; what follows from them is in ``judge``.

Every part says where it comes from and what was *not* seen: ``None`` with a reason beside it, never a guess. Text of
remote origin is cleaned before it is stored here. Times: ``_ms`` durations, ``at_wall_s`` wall clock of a label.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, field

from probes.cloud.facts import AwsEvidence  # noqa: TC001 - msgspec resolves field types when it decodes
from probes.model import Health, LinkState, PortState, Service  # noqa: TC001 - the same

# --- from outside: one probe of one port -------------------------------------------------------------------------


class Opening(StrEnum):
    """What an open port did first, before anything was asked of it or after the usual request."""

    BANNER = "banner"
    SILENT = "silent"
    CLOSED = "closed_without_a_byte"
    GARBAGE = "not_the_protocol"
    NOT_READ = "not_read"


class KeyCheck(StrEnum):
    """A presented host key or certificate against the one on file."""

    MATCH = "match"
    CHANGED = "changed"
    UNKNOWN = "unknown"
    NOT_CHECKED = "not_checked"


class SshProbe(Struct, frozen=True, kw_only=True):
    """SSH behind an open port, asked without logging in. Source: banner, key exchange, ``none`` authentication.

    ``kex_stalled``: the banner came, the key exchange did not finish in its limit. ``fingerprint`` is the presented
    key's, ``known_fingerprint`` that of known_hosts. ``auth_methods``: what the server offers (None: not asked).
    """

    opening: Opening
    banner: str = ""
    banner_ms: float | None = None
    kex_stalled: bool = False
    host_key: KeyCheck = KeyCheck.NOT_CHECKED
    fingerprint: str | None = None
    known_fingerprint: str | None = None
    #: a banner on file for this host, where one is kept
    known_banner: str | None = None
    auth_methods: tuple[str, ...] | None = None
    detail: str = ""


class TlsProbe(Struct, frozen=True, kw_only=True):
    """A TLS handshake. ``ok``: done, and the certificate verified.

    ``verify_error``: ``self-signed``, ``expired``, ``not yet valid``, ``wrong name``, ``unknown CA``, ``revoked``, or
    the library's own word; a date that is over besides is named after a comma. Times are RFC 3339.
    ``pin``: the certificate against the one on file (``known_fingerprint``), where one is.
    """

    ok: bool
    version: str | None = None
    subject: str | None = None
    issuer: str | None = None
    not_before: str | None = None
    not_after: str | None = None
    fingerprint: str | None = None
    verify_error: str | None = None
    pin: KeyCheck = KeyCheck.NOT_CHECKED
    known_fingerprint: str | None = None
    took_ms: float | None = None
    detail: str = ""


class HttpProbe(Struct, frozen=True, kw_only=True):
    """One GET. ``phases_ms``: dns, tcp, tls, first_byte, total as far as it came; ``first_line`` of the body."""

    health: Health
    status: int | None = None
    phases_ms: dict[str, float] = field(default_factory=dict[str, float])
    first_line: str = ""
    detail: str = ""


class PathMtu(Struct, frozen=True, kw_only=True):
    """Of a connection that stalled, from TCP_INFO: unanswered retransmits, and the segment and path size in use."""

    retransmits: int
    snd_mss_bytes: int
    pmtu_bytes: int | None = None
    unacked: int = 0


class Hop(Struct, frozen=True, kw_only=True):
    """One step of a path found by stepping the TTL of a connect; ``address`` None: this hop did not answer."""

    ttl: int
    address: str | None
    rtt_ms: float | None = None


class PortProbe(Struct, frozen=True, kw_only=True):
    """One service's port as seen from this machine (or, with ``via``, from the jump host).

    ``connect_ms`` only when open; ``elapsed_ms`` to the end, whatever it was. ``syns_sent`` is None when nothing left.
    ``at_once``: connect itself failed, before any packet left. ``hops`` were stepped for silent ports only, nearest
    first; empty: not stepped, or nobody answered (``hops_why`` says which).
    """

    service: Service
    address: str
    state: PortState
    detail: str = ""
    connect_ms: float | None = None
    elapsed_ms: float = 0.0
    errno_name: str | None = None
    icmp_family: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    offender: str | None = None
    offender_is_own: bool = False
    syns_sent: int | None = None
    at_once: bool = False
    local_address: str | None = None
    via: str | None = None
    opening: Opening = Opening.NOT_READ
    ssh: SshProbe | None = None
    tls: TlsProbe | None = None
    http: HttpProbe | None = None
    path_mtu: PathMtu | None = None
    hops: tuple[Hop, ...] = ()
    hops_why: str = "not stepped"


# --- from outside: the host and ourselves --------------------------------------------------------------------------


class Echo(Struct, frozen=True, kw_only=True):
    """ICMP echo. ``outcome``: reply | no_reply | not_measured (``detail`` why). No reply alone never means down."""

    outcome: str
    method: str = ""
    rtt_ms: float | None = None
    detail: str = ""


class Names(Struct, frozen=True, kw_only=True):
    """Forward and reverse DNS.

    ``name`` is what was looked up (None: the host is configured by address). ``expected`` are addresses it should
    have, from the configuration (label ``address``). ``ptr``: address to its reverse names; an address without
    an entry was not answered for (``ptr_why``). ``ptr_region``: the EC2 region in a reverse name, per address.
    """

    name: str | None = None
    addresses: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    error: str | None = None
    took_ms: float | None = None
    ptr: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    ptr_why: str | None = None
    ptr_region: dict[str, str] = field(default_factory=dict[str, str])


class ControlProbe(Struct, frozen=True, kw_only=True):
    """A connect to something else that should answer: another fleet host, a configured anchor.

    Open and refused both prove that our own way out works.
    """

    target: str
    address: str
    port: int
    state: PortState
    detail: str = ""
    connect_ms: float | None = None
    offender_is_own: bool = False
    at_once: bool = False


class LiveLink(Struct, frozen=True, kw_only=True):
    """The dashboard's own SSH session to the host, if it has one. ``established`` is older than this diagnosis."""

    state: LinkState
    established: bool = False
    since_wall_s: float | None = None
    layer: str | None = None
    cause: str | None = None


# --- from inside -----------------------------------------------------------------------------------------------------


class Listener(Struct, frozen=True, kw_only=True):
    """One listening TCP socket on the host. ``process`` is None where the kernel did not tell us whose it is."""

    address: str
    port: int
    process: str | None = None
    pid: int | None = None
    user: str | None = None


class Firewall(Struct, frozen=True, kw_only=True):
    """What one tool (nft | iptables | ip6tables) lists: presence of rules, not what they do to a packet.

    ``input_policy`` (accept | drop) is what happens to what no rule matches; None: nothing hooks into input, or, where
    ``why`` is set, it could not be read. Rules made with iptables over nf_tables are listed by nft too.
    """

    tool: str
    rules: int | None
    input_policy: str | None = None
    why: str | None = None


class Inside(Struct, frozen=True, kw_only=True):
    """What the host says of itself: listening sockets, and firewall rules where they may be read.

    ``source``: agent | ssm. ``sshd`` holds effective settings (`sshd -T`, of the standard configuration file) by
    lower-case name; None with a reason. A ``listeners_why`` beside listeners says that there are ports beyond these;
    ``listeners_omitted`` counts further sockets of listed ports, none on a wider address than is listed;
    ``owners_why`` is why some have no process. A listener on ``::`` takes IPv4 too unless it was made IPv6-only, which
    /proc does not tell; sockets in the network namespaces of containers are not among them.
    """

    source: str
    at_wall_s: float
    listeners: tuple[Listener, ...] | None = None
    listeners_why: str | None = None
    sshd: dict[str, str] | None = None
    sshd_why: str | None = None
    owners_why: str | None = None
    listeners_omitted: int = 0
    firewall: tuple[Firewall, ...] | None = None
    firewall_why: str | None = None


# --- from node to node -----------------------------------------------------------------------------------------------


class ReachState(StrEnum):
    """How a TCP connect from one host to another ended, by its errno alone.

    REFUSED: a reset came back, or a firewall's reject that looks the same. UNKNOWN: it was not tried, or not answered.
    """

    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"
    UNREACHABLE = "unreachable"
    UNRESOLVED = "unresolved"
    UNKNOWN = "unknown"


class NodeReach(Struct, frozen=True, kw_only=True):
    """One TCP connect from a host. ``address`` as asked, ``connected_to`` as it resolved there (None: it did not).

    ``took_ms`` is the connect's own time on that host, until it was open or failed. ``own_end`` is its end of the
    connection, ``address:port``.
    """

    host_id: str
    address: str
    port: int
    state: ReachState
    connected_to: str | None = None
    errno_name: str | None = None
    took_ms: float | None = None
    own_end: str | None = None
    detail: str = ""


class HoldState(StrEnum):
    """What became of the wish that a host listens on a port for a while."""

    LISTENING = "listening"
    IN_USE = "in_use"
    DENIED = "denied"
    UNKNOWN = "unknown"


class PortHold(Struct, frozen=True, kw_only=True):
    """A port that a host listened on for us. ``holder``: who has it instead, where that is known.

    ``accepted`` and ``peers`` (bounded) are whose connections came, known once it ended; None before, or when its end
    was not told.
    """

    host_id: str
    port: int
    state: HoldState
    holder: Listener | None = None
    accepted: int | None = None
    peers: tuple[str, ...] = ()
    detail: str = ""


class PairOutcome(StrEnum):
    """Whether one node can meet another on a port.

    REACHABLE: connected, and the other's own listener saw this very connection. OPEN_UNCONFIRMED: something answered,
    which the listener did not see as ours: address translation on the way, or another machine. BLOCKED: the listener
    was there, the connect failed. PORT_TAKEN: another process has the port. UNKNOWN: one side could not be asked.
    """

    REACHABLE = "reachable"
    OPEN_UNCONFIRMED = "open_unconfirmed"
    BLOCKED = "blocked"
    PORT_TAKEN = "port_taken"
    UNKNOWN = "unknown"


class PairReach(Struct, frozen=True, kw_only=True):
    """The preflight of one pair: ``source`` connects to ``target``, which it knows by ``address``."""

    source: str
    target: str
    address: str
    port: int
    outcome: PairOutcome
    detail: str
    reach: NodeReach | None = None
    hold: PortHold | None = None


class Evidence(Struct, frozen=True, kw_only=True):
    """All that one diagnosis of one host rests on. A part that is None was not gathered; ``notes`` say why.

    ``region`` and ``instance_id`` are the labels of the configuration. ``user`` is who logs in there, for the commands.
    ``local``: it is this machine. ``gpus_lost`` names GPUs that the last sample calls lost; None: no sample says
    anything of GPUs.
    """

    host_id: str
    address: str
    taken_at_wall_s: float
    ports: tuple[PortProbe, ...] = ()
    region: str | None = None
    instance_id: str | None = None
    echo: Echo | None = None
    names: Names | None = None
    controls: tuple[ControlProbe, ...] = ()
    link: LiveLink | None = None
    inside: Inside | None = None
    inside_why: str = "not asked"
    aws: AwsEvidence | None = None
    user: str | None = None
    local: bool = False
    gpus_lost: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
