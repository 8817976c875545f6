"""Facts read over real HTTP from moto's server, and what the evaluators make of them: rows 3 to 14 of the table."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from probes.cloud.assemble import Target
from probes.cloud.aws import Aws
from probes.config import AwsOptions
from probes.judge.aws_groups import judge_groups
from probes.judge.aws_nacl import judge_nacl
from probes.judge.aws_public_access import judge_public_access
from probes.judge.aws_routes import judge_routes
from probes.judge.diagnosis import Outcome
from probes.judge.layer_judgement import Cause
from tests.support.aws import REGION, isolate, moto_server

ME = "198.51.100.7"
OTHER_REGION = "us-east-2"
#: private addresses are the same in every VPC of the same range: each test has its own
RANGES = itertools.count(1)


@pytest.fixture(scope="session")
def cloud():
    """The server, one client to build with and one reader: making them is what takes time. Each test has its own VPC."""
    with moto_server() as address, pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        import boto3

        isolate(patch, Path(folder), address)
        client = boto3.session.Session().client("ec2", region_name=REGION)
        aws = Aws(AwsOptions(region=REGION, my_address=ME))
        image = client.register_image(Name="image")["ImageId"]
        # the environment of other tests in this process must not stay changed: the clients are made, and keep theirs
        assert asyncio.run(aws.warm([REGION])) is None
        patch.undo()
        yield SimpleNamespace(address=address, ec2=client, aws=aws, image=image)
        aws.close()


@pytest.fixture
def aws(cloud):
    return cloud.aws


@pytest.fixture
def ec2(cloud, tmp_path, monkeypatch):
    isolate(monkeypatch, tmp_path, cloud.address)
    return cloud.ec2


@pytest.fixture
def net(ec2, cloud):
    """A VPC with a way to the internet, one subnet, a group that lets us in at 22, an instance and an Elastic IP."""
    cidr = f"10.{next(RANGES)}.1.0/24"
    vpc = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    group = ec2.create_security_group(GroupName=f"g-{uuid.uuid4()}", Description="d", VpcId=vpc)["GroupId"]
    allow(ec2, group, 22, f"{ME}/32")
    instance = start(ec2, subnet, group, cloud.image)
    eip = ec2.allocate_address(Domain="vpc")
    interface = interface_of(ec2, instance)
    ec2.associate_address(AllocationId=eip["AllocationId"], NetworkInterfaceId=interface)
    return SimpleNamespace(
        vpc=vpc,
        subnet=subnet,
        gateway=gateway,
        table=table["RouteTableId"],
        group=group,
        instance=instance,
        interface=interface,
        address=eip["PublicIp"],
        allocation=eip["AllocationId"],
    )


def allow(ec2, group, port, cidr):
    ec2.authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}],
    )


def start(ec2, subnet, group, image):
    (instance,) = ec2.run_instances(
        ImageId=image,
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        SecurityGroupIds=[group],
        InstanceType="g4dn.xlarge",
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
    )["Instances"]
    return instance["InstanceId"]


def interface_of(ec2, instance):
    (found,) = ec2.describe_network_interfaces(Filters=[{"Name": "attachment.instance-id", "Values": [instance]}])[
        "NetworkInterfaces"
    ]
    return found["NetworkInterfaceId"]


async def facts(aws, address, **more):
    return (await aws.facts([Target(host_id="h", address=address, **more)], fresh=True))["h"]


async def test_everything_of_a_healthy_host(aws, net):
    found = await facts(aws, net.address)
    assert found.region == REGION
    assert found.address.in_account
    assert found.address.elastic
    assert found.address.allocation_id == net.allocation
    assert (found.address.interface_id, found.address.instance_id) == (net.interface, net.instance)
    assert (found.instance.instance_id, found.instance.state) == (net.instance, "running")
    assert found.instance.instance_type == "g4dn.xlarge"
    assert (found.instance.system_status, found.instance.instance_status) == ("ok", "ok")
    assert (found.instance.imds_tokens, found.instance.imds_hop_limit) == ("required", 2)
    assert found.instance.public_address == net.address
    assert found.interface.group_ids == (net.group,)
    assert (found.interface.subnet_id, found.interface.vpc_id) == (net.subnet, net.vpc)
    assert [(rule.protocol, rule.from_port, rule.cidr) for rule in found.rules] == [("tcp", 22, f"{ME}/32")]
    assert found.rules[0].rule_id.startswith("sgr-")
    assert found.routes.is_main
    assert found.shared == {net.group: 1}
    assert found.my_address == ME
    assert found.unknown == {}
    assert (found.public_access_block.mode, found.public_access_block.excluded) == ("off", False)
    assert judge_public_access(found).outcome is Outcome.PASS
    assert judge_groups(found, 22).outcome is Outcome.PASS
    assert judge_nacl(found, 22).outcome is Outcome.PASS
    assert judge_routes(found).outcome is Outcome.PASS


async def test_row_3_an_address_of_another_region_is_confirmed_there(aws, ec2):
    import boto3

    there = boto3.session.Session().client("ec2", region_name=OTHER_REGION)
    address = there.allocate_address(Domain="vpc")["PublicIp"]
    here = await facts(aws, address)
    assert here.address.in_account is False
    assert here.unknown["security_group"] == "the address is on no interface of this account in this region"
    second = await facts(aws, address, region=OTHER_REGION)
    assert (second.region, second.address.in_account, second.address.elastic) == (OTHER_REGION, True, True)


async def test_row_3_the_configured_instance_shows_the_real_address(aws, net):
    found = await facts(aws, "18.118.69.100", instance_id=net.instance)
    assert found.address.in_account is False
    assert found.configured_instance.instance_id == net.instance
    assert found.configured_instance.public_address == net.address
    assert found.configured_instance.state == "running"


async def test_row_4_not_associated(aws, ec2):
    eip = ec2.allocate_address(Domain="vpc")
    found = await facts(aws, eip["PublicIp"])
    assert (found.address.in_account, found.address.elastic) == (True, True)
    assert found.address.allocation_id == eip["AllocationId"]
    assert found.address.interface_id is None
    assert found.address.association_id is None
    assert found.unknown["nacl"] == "the Elastic IP is not associated, so there is no interface"


async def test_row_5_on_another_instance(aws, ec2, net, cloud):
    wanted = start(ec2, net.subnet, net.group, cloud.image)
    found = await facts(aws, net.address, instance_id=wanted)
    assert found.instance.instance_id == net.instance
    assert found.configured_instance.instance_id == wanted
    assert found.instance.launched_at.endswith("Z")
    assert found.configured_instance.launched_at.endswith("Z")
    assert found.shared == {net.group: 2}


async def test_row_6_stopped_and_terminated(aws, ec2, net):
    ec2.stop_instances(InstanceIds=[net.instance])
    found = await facts(aws, net.address)
    assert found.instance.state == "stopped"
    assert "Client.UserInitiatedShutdown" in found.instance.state_reason
    ec2.terminate_instances(InstanceIds=[net.instance])
    found = await facts(aws, net.address, instance_id=net.instance)
    assert (found.instance or found.configured_instance).state == "terminated"


async def test_row_10_no_rule_for_the_port(aws, net):
    judged = judge_groups(await facts(aws, net.address), 8001)
    assert (judged.outcome, judged.cause) == (Outcome.BLOCK, Cause.NO_RULE)
    assert judged.missing_rule == f"allow tcp 8001 from {ME}/32 in {net.group}"
    assert f"--group-id {net.group} --region {REGION}" in judged.command
    assert f"CidrIp={ME}/32" in judged.command


async def test_row_10_the_group_is_on_another_interface(aws, ec2, net, cloud):
    """The rule exists, on the instance's second interface: the address leads to the first one."""
    allow(ec2, net.group, 8001, f"{ME}/32")
    bare = ec2.create_security_group(GroupName=f"b-{uuid.uuid4()}", Description="d", VpcId=net.vpc)["GroupId"]
    instance = start(ec2, net.subnet, bare, cloud.image)
    first = interface_of(ec2, instance)
    eip = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=eip["AllocationId"], NetworkInterfaceId=first)
    second = ec2.create_network_interface(SubnetId=net.subnet, Groups=[net.group])["NetworkInterface"]
    ec2.attach_network_interface(NetworkInterfaceId=second["NetworkInterfaceId"], InstanceId=instance, DeviceIndex=1)
    found = await facts(aws, eip["PublicIp"])
    assert found.interface.group_ids == (bare,)
    assert second["NetworkInterfaceId"] in found.instance.interface_ids
    assert judge_groups(found, 8001).cause is Cause.NO_RULE


async def test_row_11_only_a_group_reference(aws, ec2, net):
    friends = ec2.create_security_group(GroupName=f"f-{uuid.uuid4()}", Description="d", VpcId=net.vpc)["GroupId"]
    ec2.authorize_security_group_ingress(
        GroupId=net.group,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 8001, "ToPort": 8001, "UserIdGroupPairs": [{"GroupId": friends}]}
        ],
    )
    found = await facts(aws, net.address)
    assert {rule.source_group_id for rule in found.rules} == {None, friends}
    judged = judge_groups(found, 8001)
    assert (judged.outcome, judged.cause) == (Outcome.BLOCK, Cause.GROUP_REFERENCE_ONLY)


async def test_prefix_lists_are_expanded(aws, ec2, net):
    made = ec2.create_managed_prefix_list(
        PrefixListName="office",
        MaxEntries=5,
        AddressFamily="IPv4",
        Entries=[{"Cidr": "192.0.2.0/24"}, {"Cidr": f"{ME}/32"}],
    )["PrefixList"]["PrefixListId"]
    ec2.authorize_security_group_ingress(
        GroupId=net.group,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 8001, "ToPort": 8001, "PrefixListIds": [{"PrefixListId": made}]}
        ],
    )
    found = await facts(aws, net.address)
    (rule,) = [one for one in found.rules if one.prefix_list_id]
    assert rule.prefix_cidrs == ("192.0.2.0/24", f"{ME}/32")
    assert judge_groups(found, 8001).outcome is Outcome.PASS


async def test_rows_12_and_13_network_acl(aws, ec2, net):
    (acl,) = ec2.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [net.subnet]}])[
        "NetworkAcls"
    ]
    deny(ec2, acl["NetworkAclId"], 90, 22, egress=False)
    judged = judge_nacl(await facts(aws, net.address), 22)
    assert (judged.outcome, judged.cause) == (Outcome.BLOCK, Cause.INGRESS_DENY)
    assert judged.matched == (f"{acl['NetworkAclId']} rule 90 ingress",)
    assert "--rule-number 89" in judged.command
    ec2.delete_network_acl_entry(NetworkAclId=acl["NetworkAclId"], RuleNumber=90, Egress=False)
    deny(ec2, acl["NetworkAclId"], 80, 1024, egress=True, to=65535)
    judged = judge_nacl(await facts(aws, net.address), 22)
    assert (judged.outcome, judged.cause) == (Outcome.BLOCK, Cause.EGRESS_DENY)


def deny(ec2, acl, number, port, *, egress, to=None):
    ec2.create_network_acl_entry(
        NetworkAclId=acl,
        RuleNumber=number,
        Protocol="6",
        RuleAction="deny",
        Egress=egress,
        CidrBlock="198.51.100.0/24",
        PortRange={"From": port, "To": to or port},
    )


async def test_row_14_routes(aws, ec2, net):
    own = ec2.create_route_table(VpcId=net.vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=own, SubnetId=net.subnet)
    found = await facts(aws, net.address)
    assert (found.routes.table_id, found.routes.is_main) == (own, False)
    assert judge_routes(found).cause is Cause.NO_ROUTE
    ec2.create_route(RouteTableId=own, DestinationCidrBlock="0.0.0.0/0", GatewayId=net.gateway)
    assert judge_routes(await facts(aws, net.address)).outcome is Outcome.PASS
    ec2.create_route(RouteTableId=own, DestinationCidrBlock="198.51.100.0/24", NetworkInterfaceId=net.interface)
    judged = judge_routes(await facts(aws, net.address))
    assert judged.matched == ("198.51.100.0/24",)
    assert judged.outcome is not Outcome.PASS


async def test_private_addresses_and_a_batch(aws, ec2, net):
    (record,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[net.interface])["NetworkInterfaces"]
    private = record["PrivateIpAddress"]
    free = ec2.allocate_address(Domain="vpc")["PublicIp"]
    found = await aws.facts(
        [
            Target(host_id="public", address=net.address),
            Target(host_id="private", address=private),
            Target(host_id="free", address=free),
            Target(host_id="stranger", address="203.0.113.99"),
            Target(host_id="name", address="gpu.example.org", instance_id=net.instance),
        ]
    )
    assert found["public"].address.instance_id == found["private"].address.instance_id == net.instance
    assert found["private"].interface == found["public"].interface
    assert found["free"].address.interface_id is None
    assert found["stranger"].address.in_account is False
    assert "is a name" in found["name"].unknown["address"]
    assert found["name"].configured_instance.instance_id == net.instance
    judged = judge_groups(found["private"], 8001)
    assert judged.outcome is Outcome.BLOCK
    assert ME not in (judged.command or "")


async def test_a_private_address_of_two_vpcs_is_told_apart_by_the_instance(aws, ec2, cloud):
    made = []
    for _ in range(2):
        vpc = ec2.create_vpc(CidrBlock="10.250.1.0/24")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.250.1.0/24")["Subnet"]["SubnetId"]
        group = ec2.create_security_group(GroupName=f"p-{uuid.uuid4()}", Description="d", VpcId=vpc)["GroupId"]
        made.append(
            ec2.create_network_interface(SubnetId=subnet, Groups=[group], PrivateIpAddress="10.250.1.9")[
                "NetworkInterface"
            ]["NetworkInterfaceId"]
        )
    found = await facts(aws, "10.250.1.9")
    assert found.address is None
    assert "2 interfaces have 10.250.1.9" in found.unknown["address"]
    assert judge_groups(found, 22).outcome is Outcome.UNKNOWN


async def test_without_the_filter_by_address_interfaces_are_found_by_the_elastic_ip(aws, net, monkeypatch):
    """moto as it is refuses association.public-ip: so do restricted roles, and the rest must still be found."""
    from moto.ec2.models.elastic_network_interfaces import NetworkInterface

    taught = NetworkInterface.get_filter_value

    def refuse(self, name, method=None):
        if name == "association.public-ip":
            from moto.ec2.exceptions import InvalidFilter

            raise InvalidFilter(name)
        return taught(self, name, method)

    monkeypatch.setattr(NetworkInterface, "get_filter_value", refuse)
    found = await facts(aws, net.address)
    assert found.address.interface_id == net.interface
    assert judge_groups(found, 22).outcome is Outcome.PASS
    assert "address" not in found.unknown
