"""From AWS's answers to facts. Pure: dictionaries as boto3 gives them in, frozen types out, text cleaned on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from probes.cloud.facts import (
    Acl,
    AclEntry,
    Address,
    Instance,
    Interface,
    PublicAccessBlock,
    RouteEntry,
    RouteTable,
    Rule,
)
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Record = dict[str, Any]

#: where in a route its target stands, the first that is there
_TARGETS: Final = (
    "GatewayId", "NatGatewayId", "TransitGatewayId", "VpcPeeringConnectionId", "EgressOnlyInternetGatewayId",
    "LocalGatewayId", "CarrierGatewayId", "CoreNetworkArn", "OdbNetworkArn", "NetworkInterfaceId", "InstanceId",
)  # fmt: skip
#: exclusions that are in force, or cannot be told from it
_IN_FORCE: Final = frozenset({"create-complete", "update-in-progress", "update-complete", "update-failed"})


def addresses_of(record: Record) -> set[str]:
    """Every address that leads to an interface: private ones, their public ones, IPv6."""
    found = {str(one["Ipv6Address"]) for one in record.get("Ipv6Addresses") or ()}
    found.add(_text(record.get("PrivateIpAddress")))
    found.add(_text(_inner(record, "Association").get("PublicIp")))
    for one in record.get("PrivateIpAddresses") or ():
        found.add(_text(one.get("PrivateIpAddress")))
        found.add(_text(_inner(one, "Association").get("PublicIp")))
    return found - {""}


def interface(record: Record) -> Interface:
    """An interface of DescribeNetworkInterfaces, or of an instance in DescribeInstances."""
    private = [_text(one.get("PrivateIpAddress")) for one in record.get("PrivateIpAddresses") or ()]
    private = private or [_text(record.get("PrivateIpAddress"))]
    return Interface(
        interface_id=_text(record["NetworkInterfaceId"]),
        subnet_id=_text(record.get("SubnetId")) or None,
        vpc_id=_text(record.get("VpcId")) or None,
        availability_zone=_text(record.get("AvailabilityZone")) or None,
        private_addresses=tuple(one for one in private if one),
        ipv6_addresses=tuple(_text(one["Ipv6Address"]) for one in record.get("Ipv6Addresses") or ()),
        group_ids=tuple(_text(one["GroupId"]) for one in record.get("Groups") or ()),
    )


def instance_of(record: Record) -> str | None:
    """The instance an interface is attached to."""
    return _text(_inner(record, "Attachment").get("InstanceId")) or None


def with_owner(record: Record, instance_id: str) -> Record:
    """An interface as DescribeInstances lists it, with its instance written in as DescribeNetworkInterfaces does."""
    return {**record, "Attachment": {**_inner(record, "Attachment"), "InstanceId": instance_id}}


def owner_of(record: Record) -> str:
    """Whose an interface without an instance is, in words."""
    kind, text = _text(record.get("InterfaceType")), _text(record.get("Description"))
    return " ".join(part for part in (kind if kind != "interface" else "", f'"{text}"' if text else "") if part)


def associated(address: str, record: Record, elastic: Record | None) -> Address:
    """An address that leads to an interface. ``elastic`` is its record in DescribeAddresses, if it has one."""
    association: Record = {}
    for one in (record, *(record.get("PrivateIpAddresses") or ())):
        if _inner(one, "Association").get("PublicIp") == address:
            association = one["Association"]
    known = elastic or association
    return Address(
        address=address,
        in_account=True,
        elastic=bool(known.get("AllocationId")),
        allocation_id=_text(known.get("AllocationId")) or None,
        association_id=_text(known.get("AssociationId")) or None,
        interface_id=_text(record["NetworkInterfaceId"]),
        instance_id=instance_of(record),
    )


def elastic_only(address: str, record: Record) -> Address:
    """An Elastic IP whose interface, if it has one, was not read."""
    return Address(
        address=address,
        in_account=True,
        elastic=True,
        allocation_id=_text(record.get("AllocationId")) or None,
        association_id=_text(record.get("AssociationId")) or None,
        interface_id=_text(record.get("NetworkInterfaceId")) or None,
        instance_id=_text(record.get("InstanceId")) or None,
    )


def instance(record: Record, status: Record | None, *, has_ssm: bool | None) -> Instance:
    """An instance of DescribeInstances with its entry of DescribeInstanceStatus, if that was read."""
    options = _inner(record, "MetadataOptions")
    launched = record.get("LaunchTime")
    return Instance(
        instance_id=_text(record["InstanceId"]),
        state=_text(_inner(record, "State").get("Name")) or "unknown",
        state_reason=_state_reason(record),
        instance_type=_text(record.get("InstanceType")) or None,
        launched_at=launched.strftime("%Y-%m-%dT%H:%M:%SZ") if launched is not None else None,
        lifecycle=_text(record.get("InstanceLifecycle")) or None,
        availability_zone=_text(_inner(record, "Placement").get("AvailabilityZone")) or None,
        interface_ids=tuple(_text(one["NetworkInterfaceId"]) for one in record.get("NetworkInterfaces") or ()),
        public_address=_text(record.get("PublicIpAddress")) or None,
        system_status=_check(status, "SystemStatus"),
        instance_status=_check(status, "InstanceStatus"),
        imds_tokens=_text(options.get("HttpTokens")) or None,
        imds_hop_limit=options.get("HttpPutResponseHopLimit"),
        imds_endpoint=_text(options.get("HttpEndpoint")) or None,
        profile_arn=_text(_inner(record, "IamInstanceProfile").get("Arn")) or None,
        has_ssm=has_ssm,
    )


def rule(record: Record, prefixes: Mapping[str, tuple[str, ...]]) -> Rule:
    """An ingress rule of DescribeSecurityGroupRules. ``prefixes`` are the prefix lists that could be read."""
    prefix_list = _text(record.get("PrefixListId")) or None
    return Rule(
        rule_id=_text(record.get("SecurityGroupRuleId")) or None,
        group_id=_text(record["GroupId"]),
        protocol=_text(record["IpProtocol"]),
        from_port=record.get("FromPort"),
        to_port=record.get("ToPort"),
        cidr=_text(record.get("CidrIpv4")) or None,
        ipv6_cidr=_text(record.get("CidrIpv6")) or None,
        prefix_list_id=prefix_list,
        prefix_cidrs=prefixes.get(prefix_list) if prefix_list else None,
        source_group_id=_text(_inner(record, "ReferencedGroupInfo").get("GroupId")) or None,
        description=_text(record.get("Description")),
    )


def acl(record: Record) -> Acl:
    """A network ACL, entries in the order in which they are tried."""
    entries = [_entry(one) for one in record.get("Entries") or ()]
    return Acl(
        acl_id=_text(record["NetworkAclId"]),
        entries=tuple(sorted(entries, key=lambda entry: (entry.egress, entry.number))),
    )


def _entry(record: Record) -> AclEntry:
    ports = _inner(record, "PortRange")
    icmp = _inner(record, "IcmpTypeCode")
    return AclEntry(
        number=int(record["RuleNumber"]),
        allow=record["RuleAction"] == "allow",
        egress=bool(record["Egress"]),
        protocol=_text(record["Protocol"]),
        cidr=_text(record.get("CidrBlock")) or None,
        ipv6_cidr=_text(record.get("Ipv6CidrBlock")) or None,
        from_port=ports.get("From"),
        to_port=ports.get("To"),
        icmp_type=icmp.get("Type"),
        icmp_code=icmp.get("Code"),
    )


def route_table(record: Record, prefixes: Mapping[str, tuple[str, ...]], *, is_main: bool) -> RouteTable:
    """A route table. ``prefixes`` are the prefix lists that could be read."""
    return RouteTable(
        table_id=_text(record["RouteTableId"]),
        is_main=is_main,
        routes=tuple(_route(one, prefixes) for one in record.get("Routes") or ()),
    )


def _route(record: Record, prefixes: Mapping[str, tuple[str, ...]]) -> RouteEntry:
    prefix_list = _text(record.get("DestinationPrefixListId"))
    cidr = _text(record.get("DestinationCidrBlock")) or _text(record.get("DestinationIpv6CidrBlock"))
    return RouteEntry(
        destination=cidr or prefix_list,
        target=next((_text(record[key]) for key in _TARGETS if record.get(key)), "unknown"),
        state=_text(record.get("State")) or "active",
        origin=_text(record.get("Origin")),
        prefix_cidrs=prefixes.get(prefix_list) if prefix_list else None,
    )


def public_access(options: Record, exclusions: Iterable[Record], at: Interface) -> PublicAccessBlock:
    """VPC Block Public Access as it holds for an interface: an exclusion names its subnet or its VPC."""
    ends = {f"subnet/{at.subnet_id}": 0, f"vpc/{at.vpc_id}": 1}
    held = [
        (ends[end], _text(one.get("InternetGatewayExclusionMode")))
        for one in exclusions
        if (end := _text(one.get("ResourceArn")).rpartition(":")[2]) in ends and one.get("State") in _IN_FORCE
    ]
    inner = _inner(options, "VpcBlockPublicAccessOptions")
    return PublicAccessBlock(
        mode=_text(inner.get("InternetGatewayBlockMode")) or "off",
        excluded=bool(held),
        # that of the subnet before that of the VPC
        exclusion_mode=min(held)[1] if held else None,
        managed_by=_text(inner.get("ManagedBy")) or None,
    )


def prefix_lists_of(records: Iterable[Record], key: str) -> set[str]:
    """The ids of the prefix lists that rules (``PrefixListId``) or routes (``DestinationPrefixListId``) name."""
    return {_text(one[key]) for one in records if one.get(key)}


def _check(status: Record | None, name: str) -> str | None:
    return _text(_inner(status or {}, name).get("Status")) or None


def _state_reason(record: Record) -> str | None:
    """AWS's code and message; the older free text where there is no code."""
    told = _inner(record, "StateReason")
    parts = [_text(told.get("Code")), _text(told.get("Message"))]
    if parts[1].startswith(parts[0]):
        parts = parts[1:]
    return ": ".join(part for part in parts if part) or _text(record.get("StateTransitionReason")) or None


def _inner(record: Record, key: str) -> Record:
    """A table inside a table; an empty one where there is none."""
    return record.get(key) or {}


def _text(value: object) -> str:
    return "" if value is None else clean(str(value))
