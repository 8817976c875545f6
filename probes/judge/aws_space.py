"""Sets of addresses, and where our packets come from as AWS sees it. Shared by the evaluators of AWS facts.

A set of addresses is a tuple of disjoint networks of one family. Two networks nest or are disjoint, which keeps this
small: cutting a network into a set needs no ranges.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, collapse_addresses, ip_network
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from msgspec import Struct

from probes.cloud.addresses import NOT_PUBLIC, Network, is_public, parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from probes.cloud.facts import AwsEvidence

Space: TypeAlias = tuple[Network, ...]

EVERYWHERE: Final[dict[int, Space]] = {4: (ip_network("0.0.0.0/0"),), 6: (ip_network("::/0"),)}
_SHOWN: Final = 6


class Source(Struct, frozen=True, kw_only=True):
    """Where our packets come from, as the AWS side sees it.

    ``address`` None: not known (``why``). ``version`` is the family we come by: that of the address we go to.
    ``private``: we go to a private address of the interface, so no internet gateway is on the way.
    """

    version: int
    address: IPv4Address | IPv6Address | None = None
    private: bool = False
    why: str = ""

    @property
    def space(self) -> Space:
        """The addresses we may come from: one, or all that can."""
        if self.address is not None:
            return (ip_network(self.address),)
        return EVERYWHERE[self.version] if self.private else public_space(self.version)

    @property
    def cidr(self) -> str | None:
        """Our address as ``/32`` or ``/128``; None when it is not known."""
        return None if self.address is None else str(ip_network(self.address))


def source_of(evidence: AwsEvidence) -> Source:
    """Our side of the path to the address the evidence is about."""
    target = parsed(evidence.address.address) if evidence.address is not None else None
    mine = parsed(evidence.my_address) if evidence.my_address else None
    version = target.version if target is not None else mine.version if mine is not None else 4
    private = (
        target is not None
        and target.version == 4
        and evidence.interface is not None
        and str(target) in evidence.interface.private_addresses
    )
    if mine is None:
        why = f"my address as AWS sees it is not known ({evidence.my_address_source}); set aws.my_address"
    elif mine.version != version:
        why = f"my address {mine} is not IPv{version}, by which this address is reached; set aws.my_address"
    elif private != (not is_public(mine)):
        kind = "private" if private else "public"
        why = f"the path goes to a {kind} address, and my address {mine} is none; set aws.my_address"
    else:
        return Source(version=version, address=mine, private=private)
    return Source(version=version, private=private, why=why)


def network(text: str | None) -> Network | None:
    """A CIDR, or None where there is none or it is not one (a prefix list's id)."""
    if not text:
        return None
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def public_space(version: int) -> Space:
    """All addresses that can come through an internet gateway."""
    left = EVERYWHERE[version]
    for one in NOT_PUBLIC[version]:
        _, left = cut(left, one)
    return left


def cut(space: Space, by: Network) -> tuple[Space, Space]:
    """Split a set into what lies inside ``by`` and the rest; another family's network takes nothing."""
    inside: list[Network] = []
    outside: list[Network] = []
    for one in space:
        if one.version != by.version:
            outside.append(one)
        elif one.subnet_of(cast("Any", by)):
            inside.append(one)
        elif by.subnet_of(cast("Any", one)):
            inside.append(by)
            outside += one.address_exclude(cast("Any", by))
        else:
            outside.append(one)
    return tuple(inside), tuple(outside)


def covers(networks: Iterable[Network], space: Space) -> bool:
    """Whether these networks together hold the whole set."""
    left = space
    for one in networks:
        _, left = cut(left, one)
    return not left


def merged(space: Iterable[Network]) -> Space:
    """The same addresses in as few networks as possible, in order."""
    return tuple(collapse_addresses(cast("Any", space)))


def minus(space: Space, taken: Space) -> Space:
    """A set without another."""
    left = space
    for one in taken:
        _, left = cut(left, one)
    return merged(left)


def only_for(space: Space, allowed: Space) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Who of a set is let in, by the shorter list: in words, then those let in, or those refused."""
    refused = tuple(str(one) for one in minus(space, allowed))
    if len(refused) < len(allowed):
        return f"for all but {listed(refused)}", (), refused
    texts = tuple(str(one) for one in allowed)
    return f"only for {listed(texts) or 'nobody'}", texts, ()


def listed(words: Sequence[object]) -> str:
    """A few of them, and how many more."""
    text = ", ".join(str(word) for word in words[:_SHOWN])
    return f"{text} and {len(words) - _SHOWN} more" if len(words) > _SHOWN else text
