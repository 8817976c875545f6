"""Builders of evidence for tests of triage: R0's host, its five ports, and what AWS says when all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from probes.cloud.facts import (
    Acl,
    AclEntry,
    Address,
    AwsEvidence,
    Instance,
    Interface,
    PublicAccessBlock,
    RouteEntry,
    RouteTable,
    Rule,
)
from probes.evidence import (
    ControlProbe,
    Echo,
    Evidence,
    HttpProbe,
    Inside,
    KeyCheck,
    Listener,
    LiveLink,
    Names,
    Opening,
    PortProbe,
    SshProbe,
)
from probes.judge.triage import diagnose
from probes.model import Health, LinkState, PortState, Service, ServiceKind

if TYPE_CHECKING:
    from probes.judge.diagnosis import Diagnosis, Verdict

X = "18.118.69.100"
ME = "203.0.113.7"
REGION = "ap-northeast-1"
NOW = 1_760_000_000.0
SSH = Service("ssh", 22, ServiceKind.SSH)
BACKEND = Service("backend", 55433, ServiceKind.HTTP, path="/health")
OPENVOICE = Service("openvoice", 8001, ServiceKind.OPENVOICE)
VOICEVOX = Service("voicevox", 50021, ServiceKind.VOICEVOX)
FRONTEND = Service("frontend", 55434, ServiceKind.TCP)
FIVE = (SSH, BACKEND, OPENVOICE, VOICEVOX, FRONTEND)
#: when the address answers for itself
BY_ADDRESS = Names(name=None)


def silent(service: Service = OPENVOICE, **over: Any) -> PortProbe:
    fields: dict[str, Any] = {
        "service": service, "address": X, "state": PortState.FILTERED, "detail": "no answer to 3 SYNs within 3.5 s",
        "elapsed_ms": 3501.0, "syns_sent": 3,
    }  # fmt: skip
    return PortProbe(**{**fields, **over})


def opened(service: Service = OPENVOICE, **over: Any) -> PortProbe:
    """An open port; an SSH one with its banner and a host key on file, an HTTP one healthy."""
    fields: dict[str, Any] = {
        "service": service, "address": X, "state": PortState.OPEN, "connect_ms": 20.0, "elapsed_ms": 20.0,
        "syns_sent": 1,
    }  # fmt: skip
    if service.kind is ServiceKind.SSH:
        fields["opening"] = Opening.BANNER
        fields["ssh"] = SshProbe(
            opening=Opening.BANNER, banner="SSH-2.0-OpenSSH_9.6", banner_ms=41.0, host_key=KeyCheck.MATCH
        )
    elif service.kind is not ServiceKind.TCP:
        fields["http"] = HttpProbe(health=Health.OK, status=200, detail="200 OK")
    return PortProbe(**{**fields, **over})


def reset(service: Service = OPENVOICE, **over: Any) -> PortProbe:
    fields: dict[str, Any] = {
        "service": service, "address": X, "state": PortState.REFUSED, "errno_name": "ECONNREFUSED",
        "detail": "reset by the host: it is up, nothing listens there", "elapsed_ms": 21.0, "syns_sent": 1,
    }  # fmt: skip
    return PortProbe(**{**fields, **over})


def icmp(code: int, offender: str | None = X, service: Service = OPENVOICE, **over: Any) -> PortProbe:
    """An ICMP 3/``code`` from an address."""
    fields: dict[str, Any] = {
        "service": service, "address": X, "state": PortState.REJECTED, "elapsed_ms": 5.0, "syns_sent": 1,
        "errno_name": "ECONNREFUSED" if code == 3 else "EHOSTUNREACH", "icmp_family": 4, "icmp_type": 3,
        "icmp_code": code, "offender": offender,
    }  # fmt: skip
    return PortProbe(**{**fields, **over})


CONTROL = ControlProbe(target="gpu-2", address="3.115.141.166", port=22, state=PortState.OPEN, connect_ms=12.0)
DEAD_CONTROL = ControlProbe(
    target="gpu-2", address="3.115.141.166", port=22, state=PortState.FILTERED, detail="no answer within 3.5 s"
)
NO_ECHO = Echo(outcome="no_reply", method="socket")


def host(*ports: PortProbe, **over: Any) -> Evidence:
    """A host configured by address in Tokyo, with a control that is fine and an echo that was not answered."""
    fields: dict[str, Any] = {
        "host_id": "tokyo-gpu-1", "address": X, "taken_at_wall_s": NOW, "ports": ports, "region": REGION,
        "names": BY_ADDRESS, "controls": (CONTROL,), "echo": NO_ECHO, "user": "ubuntu",
    }  # fmt: skip
    return Evidence(**{**fields, **over})


# --- AWS ---

INSTANCE = Instance(
    instance_id="i-0aaa", state="running", instance_type="g4dn.xlarge", launched_at="2026-01-02T03:04:05Z",
    availability_zone="ap-northeast-1a", interface_ids=("eni-1",), public_address=X, system_status="ok",
    instance_status="ok", has_ssm=False, imds_tokens="required", imds_hop_limit=1, imds_endpoint="enabled",
)  # fmt: skip
INTERFACE = Interface(
    interface_id="eni-1", subnet_id="subnet-1", vpc_id="vpc-1", availability_zone="ap-northeast-1a",
    private_addresses=("10.0.0.5",), group_ids=("sg-1",),
)  # fmt: skip
ADDRESS = Address(
    address=X, in_account=True, elastic=True, allocation_id="eipalloc-1", association_id="eipassoc-1",
    interface_id="eni-1", instance_id="i-0aaa",
)  # fmt: skip
OPEN_ACL = Acl(
    acl_id="acl-1",
    entries=(
        AclEntry(number=100, allow=True, egress=False, protocol="-1", cidr="0.0.0.0/0"),
        AclEntry(number=32767, allow=False, egress=False, protocol="-1", cidr="0.0.0.0/0"),
        AclEntry(number=100, allow=True, egress=True, protocol="-1", cidr="0.0.0.0/0"),
        AclEntry(number=32767, allow=False, egress=True, protocol="-1", cidr="0.0.0.0/0"),
    ),
)
TO_IGW = RouteTable(
    table_id="rtb-1", is_main=False,
    routes=(RouteEntry(destination="10.0.0.0/16", target="local"), RouteEntry(destination="0.0.0.0/0", target="igw-1")),
)  # fmt: skip


def rule(port: int, cidr: str | None = f"{ME}/32", **over: Any) -> Rule:
    fields: dict[str, Any] = {
        "rule_id": f"sgr-{port}", "group_id": "sg-1", "protocol": "tcp", "from_port": port, "to_port": port,
        "cidr": cidr,
    }  # fmt: skip
    return Rule(**{**fields, **over})


RULES = tuple(rule(service.port) for service in FIVE)


def aws(**over: Any) -> AwsEvidence:
    """AWS lets my address in on all five ports; the instance runs and its checks are fine."""
    fields: dict[str, Any] = {
        "region": REGION, "taken_at_wall_s": NOW, "address": ADDRESS, "instance": INSTANCE, "interface": INTERFACE,
        "rules": RULES, "acl": OPEN_ACL, "routes": TO_IGW,
        "public_access_block": PublicAccessBlock(mode="off", excluded=False), "my_address": ME,
        "my_address_source": "configured",
    }  # fmt: skip
    return AwsEvidence(**{**fields, **over})


def instance(**over: Any) -> Instance:
    return replace(INSTANCE, **over)


# --- inside ---


def inside(*listeners: tuple[str, int], **over: Any) -> Inside:
    found = tuple(Listener(address=address, port=port, process="python", pid=812) for address, port in listeners)
    return Inside(**{"source": "agent", "at_wall_s": NOW - 2.0, "listeners": found, **over})


LIVE = LiveLink(state=LinkState.LIVE, established=True, since_wall_s=NOW - 3600.0)


# --- looking at the answer ---


def rows(evidence: Evidence) -> list[int]:
    """The rows that fired, in the order of the answer."""
    return [one.row for one in diagnose(evidence).verdicts]


def verdict(evidence: Evidence, row: int) -> Verdict:
    """The only verdict of a row."""
    (found,) = [one for one in diagnose(evidence).verdicts if one.row == row]
    return found


def commands(found: Verdict) -> list[str | None]:
    return [one.command for one in found.next_actions]


def outcome(diagnosis: Diagnosis, layer: str) -> str:
    return diagnosis.layers[layer].outcome.value
