"""A simulated account in a network namespace: moto, whose Elastic IPs are addresses of the namespace's loopback.

What stands behind an address is then real: listeners on it, and firewall rules for it. Nothing leaves the namespace.
"""

from __future__ import annotations

import itertools
import json
import sys
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tests.support.aws import REGION
from tests.support.netns import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable

ME = "198.51.100.7"


class Site(NamedTuple):
    """A VPC with a way to the internet, one subnet, one group, an instance with an Elastic IP."""

    region: str
    vpc: str
    subnet: str
    gateway: str
    table: str
    acl: str
    group: str
    instance: str
    interface: str
    address: str
    allocation: str


class Ec2:
    """EC2 of one region: ``ec2.stop_instances(InstanceIds=[...])``, as with boto3's client."""

    def __init__(self, cloud: Cloud, region: str) -> None:
        self._cloud = cloud
        self._region = region

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda **parameters: self._cloud.tell(call=name, region=self._region, **{"with": parameters})


class Cloud:
    """moto in ``space``; ``with`` ends it. A namespace of its own if none is given."""

    def __init__(self, space: Namespace | None = None) -> None:
        self._own = Namespace() if space is None else None
        self.space = space or self._own
        assert self.space is not None
        self.space.run("ip", "link", "set", "lo", "up")
        self._process = self.space.popen(sys.executable, "-m", "tests.support.moto_inside")
        self.endpoint = self._read()["address"]
        self._images: dict[str, str] = {}
        self._ranges = itertools.count(1)

    @property
    def env(self) -> dict[str, str]:
        """The environment of a command that has credentials for this account."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
            "AWS_DEFAULT_REGION": REGION,
        }

    @property
    def anchor(self) -> str:
        """What always answers: moto itself."""
        return self.endpoint.removeprefix("http://")

    def tell(self, **asked: Any) -> Any:
        """Have one line answered."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "moto ended"
        return json.loads(line)

    def ec2(self, region: str = REGION) -> Ec2:
        return Ec2(self, region)

    def drop(self, address: str, *ports: int) -> None:
        """Have the kernel drop packets to these ports of an address; without ports, all of them."""
        which = f" tcp dport {{ {', '.join(map(str, ports))} }}" if ports else ""
        rule = f"add rule inet t c ip daddr {address}{which} drop"
        base = "add table inet t\nadd chain inet t c { type filter hook input priority 0; }\n"
        assert self.space is not None
        self.space.run("nft", "-f", "-", stdin=base + rule + "\n")

    def listen(self, address: str, *ports: int) -> None:
        for port in ports:
            self.tell(listen=[address, port])

    def site(self, *ports: int, region: str = REGION, cidr: str = f"{ME}/32") -> Site:
        """A site whose group lets these ports in from ``cidr``; its range is its own."""
        ec2 = self.ec2(region)
        own = f"10.{next(self._ranges)}.1.0/24"
        vpc = ec2.create_vpc(CidrBlock=own)["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=own)["Subnet"]["SubnetId"]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        table = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"][0][
            "RouteTableId"
        ]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        acls = ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["NetworkAcls"]
        group = ec2.create_security_group(GroupName=f"g-{uuid.uuid4()}", Description="d", VpcId=vpc)["GroupId"]
        for port in ports:
            self.allow(group, port, cidr, region)
        instance, interface = self.start(subnet, group, region)
        address, allocation = self.elastic(interface, region)
        return Site(
            region,
            vpc,
            subnet,
            gateway,
            table,
            acls[0]["NetworkAclId"],
            group,
            instance,
            interface,
            address,
            allocation,
        )

    def allow(self, group: str, port: int, cidr: str, region: str = REGION) -> None:
        permission = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}
        self.ec2(region).authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])

    def start(self, subnet: str, group: str, region: str = REGION) -> tuple[str, str]:
        """An instance and its interface."""
        ec2 = self.ec2(region)
        if region not in self._images:
            self._images[region] = ec2.register_image(Name="image")["ImageId"]
        made = ec2.run_instances(
            ImageId=self._images[region], MinCount=1, MaxCount=1, SubnetId=subnet, SecurityGroupIds=[group],
            InstanceType="g4dn.xlarge",
        )  # fmt: skip
        instance = made["Instances"][0]["InstanceId"]
        named = [{"Name": "attachment.instance-id", "Values": [instance]}]
        found = ec2.describe_network_interfaces(Filters=named)["NetworkInterfaces"]
        return instance, found[0]["NetworkInterfaceId"]

    def elastic(self, interface: str | None, region: str = REGION) -> tuple[str, str]:
        """An Elastic IP, on an interface or loose, and its allocation."""
        ec2 = self.ec2(region)
        made = ec2.allocate_address(Domain="vpc")
        if interface is not None:
            ec2.associate_address(AllocationId=made["AllocationId"], NetworkInterfaceId=interface)
        return made["PublicIp"], made["AllocationId"]

    def close(self) -> None:
        self._process.communicate(timeout=10)
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
