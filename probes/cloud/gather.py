"""One batch of questions about many addresses in one region: what depends on nothing first, then what it led to.

Each question goes out once for all hosts. One that fails leaves its reason under the part it was for, and the others go
on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from probes.cloud import read
from probes.cloud.addresses import is_public, parsed
from probes.cloud.clients import MAX_VALUES
from probes.cloud.operations import (
    ACCESS_EXCLUSIONS,
    ACCESS_OPTIONS,
    ACLS,
    ADDRESSES,
    GROUP_RULES,
    INSTANCES,
    INTERFACES,
    PREFIX_LIST,
    ROUTES,
    SSM_INSTANCES,
    STATUSES,
)
from probes.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from probes.cloud.clients import Clients
    from probes.cloud.operations import Operation

    Record = dict[str, Any]

T = TypeVar("T")
_MAX_IDS: Final = 100


class Gathered:
    """What AWS said in one round, indexed for assembling. ``failed`` are the reasons by part, the first of each.

    A dictionary that is None was not read. ``whole`` is the reason why nothing more can be read (what was ``answered``
    before stays true).
    """

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self.whole: str | None = None
        self.answered = False
        #: whether a question failed that may be answered when it is asked again
        self.passing = False
        #: an address to the interfaces that have it
        self.by_address: dict[str, list[Record]] = {}
        #: whether an address without an interface is known to have none
        self.searched = True
        self.elastic: dict[str, Record] | None = None
        self.instances: dict[str, Record] = {}
        self.statuses: dict[str, Record] | None = None
        self.rules: list[Record] | None = None
        #: by subnet
        self.acls: dict[str, Record] | None = None
        #: by subnet, and the main ones by VPC
        self.tables: dict[str, Record] | None = None
        self.main_tables: dict[str, Record] | None = None
        self.prefixes: dict[str, tuple[str, ...]] = {}
        self.access: Record | None = None
        self.exclusions: list[Record] | None = None
        self.shared: dict[str, int] | None = None
        self.managed: set[str] | None = None


class Round:
    """Asks, and keeps reasons. One is made for one batch.

    Args:
        clients: the door.
        region: where.
        deadline_s: on ``boot_s``; what is not answered by then is unknown, with that reason.
        with_ssm: ask also which instances Systems Manager reaches (opt-in).
    """

    def __init__(self, clients: Clients, region: str, deadline_s: float, *, with_ssm: bool) -> None:
        self._clients = clients
        self._region = region
        self._deadline_s = deadline_s
        self._with_ssm = with_ssm
        self._got = Gathered()
        self._interfaces: dict[str, Record] = {}

    async def gather(self, addresses: Iterable[str], instance_ids: Iterable[str]) -> Gathered:
        """Ask everything about these addresses and instances, in three steps."""
        wanted = sorted({str(one) for one in map(parsed, addresses) if one is not None})
        public = [one for one in wanted if _is_public_v4(one)]
        named = sorted(set(instance_ids))
        await _together(
            self._find_interfaces(wanted, public),
            self._find_elastic(public),
            self._find_instances("instance-id", named),
            self._read_access(),
        )
        await self._find_elastic_interfaces()
        found = self._index(set(wanted))
        groups = _values(one["GroupId"] for record in found for one in record.get("Groups") or ())
        attached = _values(read.instance_of(record) for record in found)
        elastic = _values(one.get("InstanceId") for one in (self._got.elastic or {}).values())
        instances = sorted({*named, *attached, *elastic})
        await _together(
            self._find_instances("instance-id", [one for one in instances if one not in self._got.instances]),
            self._read_statuses([one for one in instances if one in attached or one in self._got.instances]),
            self._read_rules(groups),
            self._read_acls(_values(record.get("SubnetId") for record in found)),
            self._read_tables(
                _values(record.get("SubnetId") for record in found), _values(record.get("VpcId") for record in found)
            ),
            self._count_shared(groups),
            self._read_managed(instances),
        )
        return self._got

    async def _ask(self, operation: Operation, part: str, **parameters: Any) -> list[Record] | None:
        """The items, or None with the reason noted under ``part``."""
        if self._got.whole is not None:
            self._got.failed.setdefault(part, self._got.whole)
            return None
        try:
            found = await self._clients.ask(operation, self._region, self._deadline_s, **parameters)
        except CloudError as error:
            self._got.passing |= not error.lasting
            if error.whole:
                self._got.whole = self._got.whole or error.reason
            self._got.failed.setdefault(part, error.reason)
            return None
        self._got.answered = True
        return found

    async def _filtered(
        self, operation: Operation, part: str, name: str, values: list[str], more: tuple[str, str] | None = None
    ) -> list[Record] | None:
        """The items whose filter ``name`` has one of ``values``; a long list is asked in pieces, at once."""
        extra = [{"Name": more[0], "Values": [more[1]]}] if more else []
        answers = await _together(
            *(
                self._ask(operation, part, Filters=[{"Name": name, "Values": values[at : at + MAX_VALUES]}, *extra])
                for at in range(0, len(values), MAX_VALUES)
            )
        )
        items: list[Record] = []
        for answer in answers:
            if answer is None:
                return None
            items += answer
        return items

    async def _find_interfaces(self, addresses: list[str], public: list[str]) -> None:
        six = [one for one in addresses if ":" in one]
        private = [one for one in addresses if one not in public and one not in six]
        await _together(
            self._keep_interfaces("association.public-ip", public, "ip-address"),
            self._keep_interfaces(
                "addresses.private-ip-address", private, "network-interface.addresses.private-ip-address"
            ),
            self._keep_interfaces("ipv6-addresses.ipv6-address", six, "network-interface.ipv6-addresses.ipv6-address"),
        )

    async def _keep_interfaces(self, name: str, values: list[str], of_instance: str = "") -> None:
        """Interfaces by a filter; where that may not be asked, those of the instances that have the address."""
        found = await self._filtered(INTERFACES, "address", name, values)
        if found is not None:
            self._interfaces |= {one["NetworkInterfaceId"]: one for one in found}
            return
        if not of_instance:
            return
        self._got.searched = False
        await self._find_instances(of_instance, values)
        for record in self._got.instances.values():
            for one in record.get("NetworkInterfaces") or ():
                self._interfaces.setdefault(one["NetworkInterfaceId"], read.with_owner(one, record["InstanceId"]))

    async def _find_elastic_interfaces(self) -> None:
        """Those that only DescribeAddresses named: an Elastic IP on a secondary private address, for one."""
        ids = _values(one.get("NetworkInterfaceId") for one in (self._got.elastic or {}).values())
        await self._keep_interfaces("network-interface-id", [one for one in ids if one not in self._interfaces])

    def _index(self, wanted: set[str]) -> list[Record]:
        """Put the interfaces under the addresses asked about; the interfaces of these."""
        for record in self._interfaces.values():
            for one in read.addresses_of(record) & wanted:
                self._got.by_address.setdefault(one, []).append(record)
        return [record for records in self._got.by_address.values() for record in records]

    async def _find_elastic(self, public: list[str]) -> None:
        found = await self._filtered(ADDRESSES, "address", "public-ip", public)
        if found is not None:
            self._got.elastic = {one["PublicIp"]: one for one in found}

    async def _find_instances(self, name: str, values: list[str]) -> None:
        found = await self._filtered(INSTANCES, "instance", name, values)
        for reservation in found or ():
            for one in reservation.get("Instances") or ():
                self._got.instances[one["InstanceId"]] = one

    async def _read_statuses(self, ids: list[str]) -> None:
        answers = await _together(
            *(
                self._ask(STATUSES, "instance_status", InstanceIds=ids[at : at + _MAX_IDS], IncludeAllInstances=True)
                for at in range(0, len(ids), _MAX_IDS)
            )
        )
        if None not in answers:
            self._got.statuses = {one["InstanceId"]: one for answer in answers for one in answer or ()}

    async def _read_rules(self, groups: list[str]) -> None:
        found = await self._filtered(GROUP_RULES, "security_group", "group-id", groups)
        if found is not None:
            self._got.rules = [one for one in found if not one.get("IsEgress")]
            await self._read_prefixes("security_group", read.prefix_lists_of(self._got.rules, "PrefixListId"))

    async def _read_acls(self, subnets: list[str]) -> None:
        found = await self._filtered(ACLS, "nacl", "association.subnet-id", subnets)
        if found is not None:
            self._got.acls = {one["SubnetId"]: record for record in found for one in record.get("Associations") or ()}

    async def _read_tables(self, subnets: list[str], vpcs: list[str]) -> None:
        own, main = await _together(
            self._filtered(ROUTES, "route", "association.subnet-id", subnets),
            self._filtered(ROUTES, "route", "vpc-id", vpcs, ("association.main", "true")),
        )
        if own is not None:
            self._got.tables = {
                one["SubnetId"]: record
                for record in own
                for one in record.get("Associations") or ()
                if one.get("SubnetId")
            }
        if main is not None:
            self._got.main_tables = {record["VpcId"]: record for record in main}
        routes = [one for record in (*(own or ()), *(main or ())) for one in record.get("Routes") or ()]
        await self._read_prefixes("route", read.prefix_lists_of(routes, "DestinationPrefixListId"))

    async def _read_prefixes(self, part: str, ids: set[str]) -> None:
        """The entries of prefix lists; one that cannot be read stays unread, and the rules that name it say so."""
        wanted = sorted(ids)
        answers = await _together(*(self._ask(PREFIX_LIST, f"prefix_list_{part}", PrefixListId=one) for one in wanted))
        for one, answer in zip(wanted, answers, strict=True):
            if answer is not None:
                self._got.prefixes[one] = tuple(str(entry["Cidr"]) for entry in answer)

    async def _read_access(self) -> None:
        options, exclusions = await _together(
            self._ask(ACCESS_OPTIONS, "public_access_block"), self._ask(ACCESS_EXCLUSIONS, "public_access_block")
        )
        self._got.access = options[0] if options else None
        self._got.exclusions = exclusions

    async def _count_shared(self, groups: list[str]) -> None:
        found = await self._filtered(INTERFACES, "shared", "group-id", groups)
        if found is not None:
            # an interface with groups of two pieces of the list comes twice
            once = {record["NetworkInterfaceId"]: record for record in found}
            held = Counter(one["GroupId"] for record in once.values() for one in record.get("Groups") or ())
            self._got.shared = {group: held[group] for group in groups}

    async def _read_managed(self, ids: list[str]) -> None:
        """Which instances Systems Manager reaches."""
        if not self._with_ssm:
            return
        answers = await _together(
            *(
                self._ask(SSM_INSTANCES, "ssm", Filters=[{"Key": "InstanceIds", "Values": ids[at : at + _MAX_IDS]}])
                for at in range(0, len(ids), _MAX_IDS)
            )
        )
        if None not in answers:
            self._got.managed = {
                one["InstanceId"] for answer in answers for one in answer or () if one.get("PingStatus") == "Online"
            }


async def _together(*questions: Coroutine[Any, Any, T]) -> list[T]:
    """Ask at the same time. When one is not understood, the others are not left behind without anybody waiting."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(question) for question in questions]
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return [task.result() for task in tasks]


def _is_public_v4(text: str) -> bool:
    address = parsed(text)
    return address is not None and address.version == 4 and is_public(address)


def _values(found: Iterable[Any]) -> list[str]:
    return sorted({str(one) for one in found if one})
