"""The evidence of one host sorted for the rows of the decision table: which ports answered, were silent, and so on.

Everything here is read off the evidence; nothing is concluded yet. Ports are put into a fixed order first, so that the
answer does not depend on the order in which the probes ended.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from probes.evidence import Evidence, KeyCheck, Opening, PortProbe
from probes.judge.aws_groups import judge_groups
from probes.judge.aws_nacl import judge_nacl
from probes.judge.aws_public_access import judge_public_access
from probes.judge.aws_routes import judge_routes
from probes.judge.aws_space import is_public, parsed
from probes.judge.layer_judgement import LayerJudgement  # noqa: TC001 - a struct's field type
from probes.model import LinkState, PortState, ServiceKind

if TYPE_CHECKING:
    from probes.cloud.facts import AwsEvidence
    from probes.evidence import ControlProbe, Inside, Listener

#: what the host says of itself counts as "now" for this long
INSIDE_FRESH_S: Final = 120.0
#: a connect that fails this early, without an ICMP error and without a SYN, was refused by this machine
_AT_ONCE_MS: Final = 200.0
_BY_ERRNO_ALONE: Final = "by errno alone"
HTTP_KINDS: Final = frozenset({ServiceKind.HTTP, ServiceKind.VOICEVOX, ServiceKind.OPENVOICE, ServiceKind.OPENAI})
_STATUS_FINE: Final = ("ok", "not-applicable")


class Case(Struct, frozen=True, kw_only=True):
    """One host's evidence with its ports in order, and what AWS's own rules make of each silent or open port."""

    evidence: Evidence
    ports: tuple[PortProbe, ...]
    groups: dict[int, LayerJudgement] = {}
    acls: dict[int, LayerJudgement] = {}
    route: LayerJudgement | None = None
    public_access: LayerJudgement | None = None

    @property
    def address(self) -> str:
        """The address this is about."""
        return self.evidence.address

    @property
    def aws(self) -> AwsEvidence | None:
        """What AWS said."""
        return self.evidence.aws

    @property
    def region(self) -> str | None:
        """The region for commands."""
        return (self.aws.region if self.aws is not None else None) or self.evidence.region

    @property
    def direct(self) -> tuple[PortProbe, ...]:
        """Ports probed from this machine, apart from those that never left it."""
        return tuple(port for port in self.ports if port.via is None and not is_own(port))

    @property
    def own(self) -> tuple[PortProbe, ...]:
        """Ports that our own machine refused to dial."""
        return tuple(port for port in self.ports if is_own(port))

    @property
    def silent(self) -> tuple[PortProbe, ...]:
        """Silent ports seen from this machine."""
        return tuple(port for port in self.direct if port.state is PortState.FILTERED)

    @property
    def answered(self) -> tuple[PortProbe, ...]:
        """Ports on which the host itself answered, us or a jump host: open, reset, or its own firewall's word."""
        return tuple(port for port in self.ports if answers(port))

    @property
    def live(self) -> bool:
        """Whether an established SSH session to the host lives."""
        link = self.evidence.link
        return link is not None and link.established and link.state is LinkState.LIVE

    @property
    def host_answers(self) -> bool:
        """Whether anything proves that packets get to the host and back."""
        return bool(self.answered) or self.live

    @property
    def all_silent(self) -> bool:
        """Whether every port that we dialled was silent, and there was one."""
        dialled = [port for port in self.direct if port.state is not PortState.NOT_PROBED]
        return bool(dialled) and all(port.state is PortState.FILTERED for port in dialled) and not self.host_answers

    @property
    def inside(self) -> Inside | None:
        """The host's own view, if it is recent enough to hold against the probes."""
        inside = self.evidence.inside
        if inside is None or not abs(self.evidence.taken_at_wall_s - inside.at_wall_s) <= INSIDE_FRESH_S:
            return None
        return inside

    @property
    def stopped_by_us(self) -> bool:
        """Whether our own way out fails, so that nothing can be said of the host."""
        dialled = [port for port in self.ports if port.via is None and port.state is not PortState.NOT_PROBED]
        if self.host_answers or not dialled:
            return False
        if all(is_own(port) for port in dialled):
            return True
        controls = [one for one in self.evidence.controls if one.state is not PortState.NOT_PROBED]
        heard = any(port.state is PortState.REJECTED and not is_own(port) for port in dialled)
        return bool(controls) and not any(control_fine(one) for one in controls) and not heard


def case_of(evidence: Evidence) -> Case:
    """Sort the evidence, and let the evaluators say what AWS's rules make of each port."""
    ports = tuple(sorted(evidence.ports, key=_order))
    aws = evidence.aws
    if aws is None:
        return Case(evidence=evidence, ports=ports)
    numbers = sorted({port.service.port for port in ports if port.via is None})
    return Case(
        evidence=evidence,
        ports=ports,
        groups={number: judge_groups(aws, number) for number in numbers},
        acls={number: judge_nacl(aws, number) for number in numbers},
        route=judge_routes(aws),
        public_access=judge_public_access(aws),
    )


def _order(port: PortProbe) -> tuple[int, str, str, str, str]:
    # repr last: two probes of one service in either order give the same list
    return port.service.port, port.service.name, port.via or "", port.state.value, repr(port)


# --- one port ---


def is_reset(port: PortProbe) -> bool:
    """A genuine RST: refused, and no ICMP error in the queue."""
    return port.state is PortState.REFUSED and port.icmp_type is None and not port.offender_is_own


def by_errno_alone(port: PortProbe) -> bool:
    """Whether this system cannot tell a RST from a firewall's ICMP error."""
    return _BY_ERRNO_ALONE in port.detail


def from_host(port: PortProbe) -> bool:
    """An ICMP error that the host itself sent."""
    return port.state is PortState.REJECTED and not is_own(port) and port.offender == port.address


def answers(port: PortProbe) -> bool:
    """Whether the host itself answered on this port."""
    return port.state is PortState.OPEN or is_reset(port) or from_host(port)


def is_own(port: PortProbe) -> bool:
    """Whether this machine, not the network, refused: its own ICMP error, or a connect that failed at once."""
    if port.via is not None or port.state not in (PortState.REJECTED, PortState.UNREACHABLE, PortState.REFUSED):
        return False
    if port.offender_is_own:
        return True
    if port.state is PortState.REFUSED or port.icmp_type is not None or port.offender is not None:
        return False
    return port.syns_sent is None and port.elapsed_ms < _AT_ONCE_MS and not by_errno_alone(port)


def tls_fine(port: PortProbe) -> bool:
    """Whether TLS works as configured: a certificate that nobody vouches for is accepted by ``tls_verify = false``."""
    tls = port.tls
    return tls is not None and (tls.ok or (tls.version is not None and not port.service.tls_verify))


def ssh_opening(port: PortProbe) -> Opening:
    """What an SSH port did first."""
    return port.ssh.opening if port.ssh is not None else port.opening


def control_fine(control: ControlProbe) -> bool:
    """Open, refused and a remote firewall's word all prove that our packets get out and answers in."""
    if control.state in (PortState.OPEN, PortState.REFUSED):
        return not control.offender_is_own
    return control.state is PortState.REJECTED and not control.offender_is_own and not control.at_once


def ssh_ports(case: Case) -> tuple[PortProbe, ...]:
    """The SSH services among the ports."""
    return tuple(port for port in case.ports if port.service.kind is ServiceKind.SSH)


def ssh_usable(case: Case) -> PortProbe | None:
    """An SSH port through which one can work: its banner came, and its key is not a stranger's."""
    for port in ssh_ports(case):
        ssh = port.ssh
        if port.state is not PortState.OPEN:
            continue
        if ssh is not None and (ssh.kex_stalled or ssh.host_key is KeyCheck.CHANGED):
            continue
        if ssh_opening(port) is Opening.BANNER or case.live:
            return port
    return None


def stranger(case: Case) -> bool:
    """Whether what answers has proved not to be our host."""
    link = case.evidence.link
    if link is not None and link.state is LinkState.HOST_KEY_CHANGED:
        return True
    return any(
        (port.ssh is not None and port.ssh.host_key is KeyCheck.CHANGED)
        or (port.tls is not None and port.tls.pin is KeyCheck.CHANGED)
        or banner_changed(port)
        for port in case.ports
        if port.state is PortState.OPEN
    )


def banner_changed(port: PortProbe) -> bool:
    """Whether the banner is another than the one on file."""
    ssh = port.ssh
    return ssh is not None and bool(ssh.known_banner) and bool(ssh.banner) and ssh.banner != ssh.known_banner


def known_host(case: Case) -> bool:
    """Whether the host has proved that it is ours: its key is the one on file, or a session lives."""
    return case.live or any(
        port.state is PortState.OPEN and port.ssh is not None and port.ssh.host_key is KeyCheck.MATCH
        for port in case.ports
    )


# --- what AWS says of the instance ---


def checks_fine(case: Case) -> bool:
    """Running, and both status checks passed."""
    instance = case.aws.instance if case.aws is not None else None
    return (
        instance is not None
        and instance.state == "running"
        and instance.system_status in _STATUS_FINE
        and instance.instance_status in _STATUS_FINE
    )


# --- what listens inside ---


def listeners(case: Case, port: int) -> tuple[Listener, ...]:
    """The sockets that listen on a port, as the host itself says now; none without a recent view."""
    inside = case.inside
    if inside is None or inside.listeners is None:
        return ()
    found = [one for one in inside.listeners if one.port == port]
    return tuple(sorted(found, key=lambda one: (one.address, one.process or "")))


def is_loopback(address: str) -> bool:
    """Whether a listener is reachable from its own machine only."""
    try:
        return ip_address(address.partition("%")[0].strip("[]")).is_loopback
    except ValueError:
        return address == "localhost"


def public(address: str) -> bool:
    """Whether an address can only be reached through the internet."""
    one = parsed(address)
    return one is not None and is_public(one)
