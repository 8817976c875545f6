"""What a simulated AWS says of the simulated fleet, so that triage can be tried on it. Nothing is sent anywhere.

One host plays the incident that triage was written for: all its ports are silent, its address has a reverse name in
another region and belongs to nobody in ours, and the instance that the configuration names is stopped, while its
security group stands open. Everything else about AWS is fine.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from probes import clock
from probes.cloud.assemble import PARTS
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
from probes.config.settings import AwsOptions
from probes.demo.noise import mix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.cloud.assemble import Target
    from probes.model import Host

#: the label by which the incident's host is known
INCIDENT_LABEL: Final = "incident"
_MINE: Final = "127.0.0.1"
_OTHER_REGION: Final = "us-east-2"
_EVERYBODY: Final = "0.0.0.0/0"


class DemoAws:
    """Answers for the simulated hosts as ``probes.cloud.aws.Aws`` does for real ones."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.options = AwsOptions()
        self._hosts = {host.id: host for host in hosts}

    async def facts(self, targets: Sequence[Target], *, limit_s: float = 0.0) -> dict[str, AwsEvidence]:
        """What the simulated AWS says of these hosts."""
        del limit_s
        return {target.host_id: self._facts(target) for target in targets}

    def close(self) -> None:
        """Nothing is held."""

    def reverse(self, address: str) -> tuple[str, ...]:
        """The reverse names of an address, as the system's look-up gives them.

        Raises:
            socket.gaierror: it has none.
        """
        host = next((host for host in self._hosts.values() if host.address == address), None)
        region = host.labels.get("region", "") if host is not None else ""
        if host is None or "-" not in region or region == "on-premises":
            raise socket.gaierror(socket.EAI_NONAME, "no reverse name")
        region = _OTHER_REGION if INCIDENT_LABEL in host.labels else region
        return (f"ec2-{address.replace('.', '-')}.{region}.compute.amazonaws.com",)

    def _facts(self, target: Target) -> AwsEvidence:
        host = self._hosts.get(target.host_id)
        region = None if host is None else host.labels.get("region")
        if host is None or region in (None, "on-premises"):
            unknown: dict[str, str] = {}
            unknown.update((part, "this simulated host stands in no cloud") for part in (*PARTS, "credentials"))
            return AwsEvidence(region=None, taken_at_wall_s=clock.wall_s(), unknown=unknown)
        number = f"{mix(*host.id.encode()) & 0xFFFFFFFF:08x}"
        incident = INCIDENT_LABEL in host.labels
        instance = _instance(host.labels.get("instance_id", f"i-{number}"), host, stopped=incident)
        return AwsEvidence(
            region=region,
            taken_at_wall_s=clock.wall_s(),
            address=Address(address=target.address, in_account=False)
            if incident
            else Address(
                address=target.address,
                in_account=True,
                elastic=True,
                allocation_id=f"eipalloc-{number}",
                association_id=f"eipassoc-{number}",
                interface_id=f"eni-{number}",
                instance_id=instance.instance_id,
            ),
            configured_instance=instance if incident else None,
            instance=None if incident else instance,
            interface=_interface(number),
            rules=(
                Rule(rule_id="sgr-demo", group_id="sg-demo", protocol="-1", cidr=_EVERYBODY, description="simulated"),
            ),
            acl=_open_acl(),
            routes=_to_the_internet(),
            public_access_block=PublicAccessBlock(mode="off", excluded=False),
            my_address=_MINE,
            my_address_source="simulated",
            shared={"sg-demo": len(self._hosts)},
        )


def _instance(instance_id: str, host: Host, *, stopped: bool) -> Instance:
    return Instance(
        instance_id=instance_id,
        state="stopped" if stopped else "running",
        state_reason="Server.SpotInstanceTermination: simulated" if stopped else None,
        instance_type=host.labels.get("instance_type"),
        lifecycle="spot" if stopped else None,
        public_address=None if stopped else host.address,
        system_status=None if stopped else "ok",
        instance_status=None if stopped else "ok",
        imds_tokens="required",
        imds_hop_limit=1,
        imds_endpoint="enabled",
        has_ssm=False,
    )


def _interface(number: str) -> Interface:
    return Interface(
        interface_id=f"eni-{number}",
        subnet_id="subnet-demo",
        vpc_id="vpc-demo",
        private_addresses=("10.0.0.10",),
        group_ids=("sg-demo",),
    )


def _open_acl() -> Acl:
    def entry(number: int, *, allow: bool, egress: bool) -> AclEntry:
        return AclEntry(number=number, allow=allow, egress=egress, protocol="-1", cidr=_EVERYBODY)

    both = (False, True)
    allowed = tuple(entry(100, allow=True, egress=egress) for egress in both)
    return Acl(acl_id="acl-demo", entries=allowed + tuple(entry(32767, allow=False, egress=egress) for egress in both))


def _to_the_internet() -> RouteTable:
    routes = (
        RouteEntry(destination="10.0.0.0/16", target="local"),
        RouteEntry(destination=_EVERYBODY, target="igw-demo"),
    )
    return RouteTable(table_id="rtb-demo", is_main=True, routes=routes)
