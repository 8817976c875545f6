"""From what a round gathered to the evidence of one host: every part is a fact, or has a reason. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from probes.cloud import read
from probes.cloud.addresses import parsed
from probes.cloud.facts import Address, AwsEvidence, Instance
from probes.text import clean

if TYPE_CHECKING:
    from probes.cloud.facts import Interface
    from probes.cloud.gather import Gathered

    Record = dict[str, Any]

#: what an evidence consists of; each is a fact or has its line in ``unknown``
PARTS: Final = ("address", "instance", "security_group", "nacl", "route", "public_access_block")
#: the parts that hang on an interface
_OF_INTERFACE: Final = ("security_group", "nacl", "route", "public_access_block")


class Target(Struct, frozen=True, kw_only=True):
    """One host to ask about.

    ``address`` is the IP address that is dialled. ``instance_id`` and ``region`` are what the configuration says of the
    host (labels of the same names), None where it says nothing.
    """

    host_id: str
    address: str
    instance_id: str | None = None
    region: str | None = None


class Mine(Struct, frozen=True):
    """Our address as AWS sees it, and how we know it (or why not)."""

    address: str | None
    source: str


def nothing(region: str | None, reason: str, mine: Mine, at_wall_s: float) -> AwsEvidence:
    """The evidence where AWS cannot be asked at all: every part is unknown for one reason."""
    return AwsEvidence(
        region=region,
        taken_at_wall_s=at_wall_s,
        my_address=mine.address,
        my_address_source=mine.source,
        unknown=dict.fromkeys(("credentials", *PARTS), reason),
    )


def evidence_of(target: Target, region: str, got: Gathered, mine: Mine, at_wall_s: float) -> AwsEvidence:
    """The evidence of one host from a round that asked about it."""
    if got.whole is not None and not got.answered:
        return nothing(region, got.whole, mine, at_wall_s)
    unknown: dict[str, str] = {"credentials": got.whole} if got.whole is not None else {}
    address, record = _address(target, got, unknown)
    interface = read.interface(record) if record is not None else None
    instance, configured = _instances(target, address, record, got, unknown)
    if interface is None:
        why = _no_interface(address, got)
        unknown |= dict.fromkeys(_OF_INTERFACE, why)
        return AwsEvidence(
            region=region,
            taken_at_wall_s=at_wall_s,
            address=address,
            instance=instance,
            configured_instance=configured,
            my_address=mine.address,
            my_address_source=mine.source,
            unknown=unknown,
        )
    return AwsEvidence(
        region=region,
        taken_at_wall_s=at_wall_s,
        address=address,
        instance=instance,
        configured_instance=configured,
        interface=interface,
        rules=_rules(interface, got, unknown),
        acl=_acl(interface, got, unknown),
        routes=_routes(interface, got, unknown),
        public_access_block=_access(interface, got, unknown),
        my_address=mine.address,
        my_address_source=mine.source,
        shared=_shared(interface, got, unknown),
        unknown=unknown,
    )


def _address(target: Target, got: Gathered, unknown: dict[str, str]) -> tuple[Address | None, Record | None]:
    """Whose the address is, and the record of its interface."""
    ip = parsed(target.address)
    if ip is None:
        unknown["address"] = f"{clean(target.address)} is a name, and AWS is asked by address"
        return None, None
    text = str(ip)
    records = got.by_address.get(text, [])
    elastic = (got.elastic or {}).get(text)
    if len(records) > 1:
        mine = [one for one in records if read.instance_of(one) == target.instance_id]
        if len(mine) != 1:
            ids = ", ".join(str(one["NetworkInterfaceId"]) for one in records[:4])
            unknown["address"] = f"{len(records)} interfaces have {text} ({ids}); set the label instance_id of the host"
            return None, None
        records = mine
    if records:
        return read.associated(text, records[0], elastic), records[0]
    if elastic is not None:
        return read.elastic_only(text, elastic), None
    if not got.searched or got.elastic is None:
        unknown["address"] = got.failed.get("address", "the address was not looked up")
        return None, None
    return Address(address=text, in_account=False), None


def _instances(
    target: Target, address: Address | None, record: Record | None, got: Gathered, unknown: dict[str, str]
) -> tuple[Instance | None, Instance | None]:
    """The instance the address leads to, and the configured one where that is another."""
    led_to = address.instance_id if address is not None else None
    instance = _instance(led_to, got)
    if led_to is not None and instance is None:
        unknown["instance"] = got.failed.get("instance", f"{led_to} is not known to DescribeInstances")
    elif led_to is None and record is not None:
        owner = read.owner_of(record)
        unknown["instance"] = f"{record['NetworkInterfaceId']} belongs to no instance{f': {owner}' if owner else ''}"
    elif led_to is None:
        unknown["instance"] = unknown.get("address") or "the address leads to no instance"
    configured = _instance(target.instance_id, got) if target.instance_id != led_to else None
    if target.instance_id and target.instance_id != led_to and configured is None:
        unknown["configured_instance"] = got.failed.get(
            "instance", f"{clean(target.instance_id)} is not in this account and region (label instance_id)"
        )
    if (instance or configured) is not None and got.statuses is None:
        unknown["instance_status"] = got.failed.get("instance_status", "the status checks were not read")
    if (instance or configured) is not None and got.managed is None and "ssm" in got.failed:
        unknown["ssm"] = got.failed["ssm"]
    return instance, configured


def _instance(instance_id: str | None, got: Gathered) -> Instance | None:
    record = got.instances.get(instance_id) if instance_id else None
    if record is None or instance_id is None:
        return None
    has_ssm = instance_id in got.managed if got.managed is not None else None
    return read.instance(record, (got.statuses or {}).get(instance_id), has_ssm=has_ssm)


def _no_interface(address: Address | None, got: Gathered) -> str:
    if address is None:
        return f"the interface is not known: {got.failed.get('address', 'see address')}"
    if not address.in_account:
        return "the address is on no interface of this account in this region"
    if address.interface_id is None:
        return "the Elastic IP is not associated, so there is no interface"
    return got.failed.get("address", f"{address.interface_id} could not be read")


def _rules(interface: Interface, got: Gathered, unknown: dict[str, str]) -> tuple[Any, ...] | None:
    if got.rules is None:
        unknown["security_group"] = got.failed.get("security_group", "the security groups were not read")
        return None
    mine = [one for one in got.rules if one["GroupId"] in interface.group_ids]
    if read.prefix_lists_of(mine, "PrefixListId") - got.prefixes.keys():
        unknown["security_group"] = got.failed.get("prefix_list_security_group", "a prefix list was not read")
    return tuple(read.rule(one, got.prefixes) for one in mine)


def _acl(interface: Interface, got: Gathered, unknown: dict[str, str]) -> Any:
    record = (got.acls or {}).get(interface.subnet_id or "")
    if record is None:
        unknown["nacl"] = got.failed.get("nacl", f"no network ACL is known for {interface.subnet_id}")
        return None
    return read.acl(record)


def _routes(interface: Interface, got: Gathered, unknown: dict[str, str]) -> Any:
    """The subnet's own table; the main one only when it is certain that the subnet has none."""
    record = (got.tables or {}).get(interface.subnet_id or "")
    is_main = False
    if record is None and got.tables is not None:
        record, is_main = (got.main_tables or {}).get(interface.vpc_id or ""), True
    if record is None:
        unknown["route"] = got.failed.get("route", f"no route table is known for {interface.subnet_id}")
        return None
    if read.prefix_lists_of(record.get("Routes") or (), "DestinationPrefixListId") - got.prefixes.keys():
        unknown["route"] = got.failed.get("prefix_list_route", "a prefix list was not read")
    return read.route_table(record, got.prefixes, is_main=is_main)


def _access(interface: Interface, got: Gathered, unknown: dict[str, str]) -> Any:
    if got.access is not None:
        found = read.public_access(got.access, got.exclusions or (), interface)
        if found.mode == "off" or got.exclusions is not None:
            return found
    unknown["public_access_block"] = got.failed.get("public_access_block", "VPC Block Public Access was not read")
    return None


def _shared(interface: Interface, got: Gathered, unknown: dict[str, str]) -> dict[str, int]:
    if got.shared is None:
        unknown["shared"] = got.failed.get("shared", "who shares the security groups was not read")
        return {}
    return {group: got.shared[group] for group in interface.group_ids if group in got.shared}
