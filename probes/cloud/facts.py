"""What AWS says of an address, as frozen types. What could not be read is ``None`` and has a line in ``unknown``.

No boto3 here: the judge and the tests read these types without it. Rules are kept as AWS states them (protocol numbers
and names, port ranges, CIDRs); what follows from them is judged in ``probes.judge``.
"""

from __future__ import annotations

from msgspec import Struct, field


class Address(Struct, frozen=True, kw_only=True):
    """Whose the address is. ``in_account`` False: DescribeNetworkInterfaces and DescribeAddresses both do not know it.

    ``elastic``: it is an Elastic IP (``allocation_id``). Not associated: ``interface_id`` and ``instance_id`` None.
    """

    address: str
    in_account: bool
    elastic: bool = False
    allocation_id: str | None = None
    association_id: str | None = None
    interface_id: str | None = None
    instance_id: str | None = None


class Instance(Struct, frozen=True, kw_only=True):
    """An instance. ``state``: pending | running | shutting-down | terminated | stopping | stopped.

    ``state_reason`` is AWS's own code and message. ``system_status``, ``instance_status``: ok | impaired |
    initializing | insufficient-data | not-applicable, None when not reported.
    """

    instance_id: str
    state: str
    state_reason: str | None = None
    instance_type: str | None = None
    launched_at: str | None = None
    lifecycle: str | None = None
    availability_zone: str | None = None
    interface_ids: tuple[str, ...] = ()
    public_address: str | None = None
    system_status: str | None = None
    instance_status: str | None = None
    imds_tokens: str | None = None
    imds_hop_limit: int | None = None
    imds_endpoint: str | None = None
    profile_arn: str | None = None
    has_ssm: bool | None = None


class Interface(Struct, frozen=True, kw_only=True):
    """A network interface: where the rules hang."""

    interface_id: str
    subnet_id: str | None = None
    vpc_id: str | None = None
    availability_zone: str | None = None
    private_addresses: tuple[str, ...] = ()
    ipv6_addresses: tuple[str, ...] = ()
    group_ids: tuple[str, ...] = ()


class Rule(Struct, frozen=True, kw_only=True):
    """One ingress rule of a security group. One source a rule: CIDR, IPv6 CIDR, prefix list or group.

    ``protocol``: tcp | udp | icmp | icmpv6 | a number | "-1" (all). For ICMP ``from_port`` is the type and ``to_port``
    the code, -1 for all. ``prefix_cidrs`` are the entries of a prefix list, None when they could not be read.
    """

    rule_id: str | None
    group_id: str
    protocol: str
    from_port: int | None = None
    to_port: int | None = None
    cidr: str | None = None
    ipv6_cidr: str | None = None
    prefix_list_id: str | None = None
    prefix_cidrs: tuple[str, ...] | None = None
    source_group_id: str | None = None
    description: str = ""


class AclEntry(Struct, frozen=True, kw_only=True):
    """One entry of a network ACL. ``number`` 32767 is the final ``*`` deny. ``protocol``: a number, "-1" is all."""

    number: int
    allow: bool
    egress: bool
    protocol: str
    cidr: str | None = None
    ipv6_cidr: str | None = None
    from_port: int | None = None
    to_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None


class Acl(Struct, frozen=True, kw_only=True):
    """The network ACL of the subnet."""

    acl_id: str
    entries: tuple[AclEntry, ...]


class RouteEntry(Struct, frozen=True, kw_only=True):
    """One route. ``target`` is the gateway's, interface's or connection's id, or ``local``.

    ``destination`` is a CIDR or a prefix list's id; ``state``: active | blackhole; ``origin``: CreateRouteTable |
    CreateRoute | EnableVgwRoutePropagation, empty when not told.
    """

    destination: str
    target: str
    state: str = "active"
    origin: str = ""
    prefix_cidrs: tuple[str, ...] | None = None


class RouteTable(Struct, frozen=True, kw_only=True):
    """The route table in force for the subnet. ``is_main``: the subnet has no table of its own."""

    table_id: str
    is_main: bool
    routes: tuple[RouteEntry, ...]


class PublicAccessBlock(Struct, frozen=True, kw_only=True):
    """VPC Block Public Access. ``mode``: off | block-bidirectional | block-ingress; ``excluded``: by an exclusion."""

    mode: str
    excluded: bool
    exclusion_mode: str | None = None
    managed_by: str | None = None


class AwsEvidence(Struct, frozen=True, kw_only=True):
    """All that AWS said about one address.

    ``unknown``: part name to the reason in words with the next step, such as "AccessDenied for
    ec2:DescribeNetworkAcls; allow ...". A part that is None has its line: ``address``, ``instance``,
    ``security_group``, ``nacl``, ``route``, ``public_access_block``. Besides: ``credentials`` (nothing can be asked),
    ``configured_instance`` (the label names none that is known), ``instance_status``, ``shared``, ``ssm``; and
    ``security_group`` or ``route`` where a prefix list in them could not be read, though the rest was.

    ``my_address`` is ours as AWS sees it, None when neither configured nor asked; ``my_address_source`` says how it is
    known, or why not. ``shared``: group id to the number of interfaces that use it.
    """

    region: str | None
    taken_at_wall_s: float
    address: Address | None = None
    #: the instance the configuration names for this host, when that is another one than the address leads to
    configured_instance: Instance | None = None
    instance: Instance | None = None
    interface: Interface | None = None
    rules: tuple[Rule, ...] | None = None
    acl: Acl | None = None
    routes: RouteTable | None = None
    public_access_block: PublicAccessBlock | None = None
    my_address: str | None = None
    my_address_source: str = "not known"
    shared: dict[str, int] = field(default_factory=dict[str, int])
    unknown: dict[str, str] = field(default_factory=dict[str, str])
