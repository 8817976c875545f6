"""Every question that is put to AWS: the one table from which the code asks and the IAM policy is made.

No call is made that does not stand here (a test holds the code to it), so the policy in docs/iam-policy.md is the
least that works.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Operation(Struct, frozen=True, kw_only=True):
    """One operation of an AWS service.

    Args:
        service: the name of boto3's client, which is also the prefix of the IAM action.
        name: the operation's name in the API and in IAM.
        method: the client's method.
        items: where in an answer its items are; empty: the answer is one item.
        pages: how further pages are asked for: ``paginator`` (boto3's), ``token`` (boto3 has none) or ``none``.
        absent: error codes that mean "there is none", which is a fact.
        opt_in: the option without which it is never called; empty: always allowed.
        why: what it tells us.
    """

    service: str
    name: str
    method: str
    why: str
    items: str = ""
    pages: str = "paginator"
    absent: tuple[str, ...] = ()
    opt_in: str = ""

    @property
    def action(self) -> str:
        """The IAM action."""
        return f"{self.service}:{self.name}"


INTERFACES: Final = Operation(
    service="ec2",
    name="DescribeNetworkInterfaces",
    method="describe_network_interfaces",
    items="NetworkInterfaces",
    why="which interface an address leads to, its groups and subnet, and how many interfaces share a group",
)
ADDRESSES: Final = Operation(
    service="ec2",
    name="DescribeAddresses",
    method="describe_addresses",
    items="Addresses",
    pages="none",
    absent=("InvalidAddress.NotFound",),
    why="whether an address is an Elastic IP of ours, and with what it is associated",
)
INSTANCES: Final = Operation(
    service="ec2",
    name="DescribeInstances",
    method="describe_instances",
    items="Reservations",
    absent=("InvalidInstanceID.NotFound",),
    why="state, reason of a stop, type, launch time, IMDS options",
)
STATUSES: Final = Operation(
    service="ec2",
    name="DescribeInstanceStatus",
    method="describe_instance_status",
    items="InstanceStatuses",
    why="the system and the instance status check",
)
GROUP_RULES: Final = Operation(
    service="ec2",
    name="DescribeSecurityGroupRules",
    method="describe_security_group_rules",
    items="SecurityGroupRules",
    why="the rules of the security groups, with their ids",
)
PREFIX_LIST: Final = Operation(
    service="ec2",
    name="GetManagedPrefixListEntries",
    method="get_managed_prefix_list_entries",
    items="Entries",
    why="the CIDRs of a prefix list that a rule or a route names",
)
ACLS: Final = Operation(
    service="ec2",
    name="DescribeNetworkAcls",
    method="describe_network_acls",
    items="NetworkAcls",
    why="the network ACL of the subnet",
)
ROUTES: Final = Operation(
    service="ec2",
    name="DescribeRouteTables",
    method="describe_route_tables",
    items="RouteTables",
    why="the route table of the subnet, or the main one",
)
ACCESS_OPTIONS: Final = Operation(
    service="ec2",
    name="DescribeVpcBlockPublicAccessOptions",
    method="describe_vpc_block_public_access_options",
    items="",
    pages="none",
    why="whether VPC Block Public Access is on",
)
ACCESS_EXCLUSIONS: Final = Operation(
    service="ec2",
    name="DescribeVpcBlockPublicAccessExclusions",
    method="describe_vpc_block_public_access_exclusions",
    items="VpcBlockPublicAccessExclusions",
    pages="token",
    why="which subnets and VPCs are excluded from it",
)
SSM_INSTANCES: Final = Operation(
    service="ssm",
    name="DescribeInstanceInformation",
    method="describe_instance_information",
    items="InstanceInformationList",
    opt_in="allow_ssm",
    why="whether the Systems Manager agent of the instance answers",
)
SSM_SEND: Final = Operation(
    service="ssm",
    name="SendCommand",
    method="send_command",
    pages="none",
    opt_in="allow_ssm",
    why="runs the fixed script that lists listening sockets and firewall rules",
)
SSM_RESULT: Final = Operation(
    service="ssm",
    name="GetCommandInvocation",
    method="get_command_invocation",
    pages="none",
    absent=("InvocationDoesNotExist",),
    opt_in="allow_ssm",
    why="its output",
)

OPERATIONS: Final = (
    INTERFACES,
    ADDRESSES,
    INSTANCES,
    STATUSES,
    GROUP_RULES,
    PREFIX_LIST,
    ACLS,
    ROUTES,
    ACCESS_OPTIONS,
    ACCESS_EXCLUSIONS,
    SSM_INSTANCES,
    SSM_SEND,
    SSM_RESULT,
)
