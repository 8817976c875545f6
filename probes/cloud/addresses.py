"""Addresses as AWS tells them apart: public ones, private ones, IPv6. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

#: what never comes through an internet gateway, by family
NOT_PUBLIC: Final[dict[int, tuple[Network, ...]]] = {
    4: tuple(
        ip_network(cidr)
        for cidr in (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.168.0.0/16", "224.0.0.0/3",
        )
    ),
    6: tuple(ip_network(cidr) for cidr in ("::/3", "4000::/2", "8000::/1")),
}  # fmt: skip


def parsed(text: str | None) -> IPv4Address | IPv6Address | None:
    """An address, or None for a name or nothing."""
    if not text:
        return None
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address can come through an internet gateway.

    ``is_global`` will not do: it refuses the ranges of documentation, and loopback, where a simulated cloud keeps its
    public addresses.
    """
    return address.is_loopback or not any(address in one for one in NOT_PUBLIC[address.version])
