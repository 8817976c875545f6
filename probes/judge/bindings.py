"""Configured services against what listens inside: pure, from one host's own word. Joins the outside view by port.

"Not listening" means that no socket of the host's own network listens on that port. A container's published port can
be forwarded by firewall rules without any such socket, which the detail says.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from probes.evidence import Inside, Listener
    from probes.model import Service


class Binding(StrEnum):
    """On which addresses a port is listened on; the widest of several listeners counts."""

    ALL = "all_addresses"
    SPECIFIC = "specific_address"
    LOOPBACK = "loopback_only"
    NOT_LISTENING = "not_listening"
    NOT_KNOWN = "not_known"


class ServiceBinding(Struct, frozen=True, kw_only=True):
    """One service's port seen from inside. ``listeners`` are those of its port; ``processes`` who they are."""

    service: str
    port: int
    binding: Binding
    detail: str
    addresses: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()


_WIDEST_FIRST: Final = (Binding.ALL, Binding.SPECIFIC, Binding.LOOPBACK, Binding.NOT_KNOWN)
_FORWARDED: Final = "a container's port may still be forwarded without a socket of the host's"


def bindings(
    services: Iterable[Service], inside: Inside | None, why: str = "the host was not asked"
) -> tuple[ServiceBinding, ...]:
    """The binding of each service's port, in the order of the services.

    Args:
        services: as configured.
        inside: what the host said; None when it was not asked, for the reason ``why``.
        why: see ``inside``.
    """
    return tuple(binding_of(service, inside, why) for service in services)


def binding_of(service: Service, inside: Inside | None, why: str = "the host was not asked") -> ServiceBinding:
    """The binding of one service's port."""
    if inside is None or inside.listeners is None:
        reason = why if inside is None else inside.listeners_why or "no reason told"
        return _result(service, Binding.NOT_KNOWN, reason)
    found = tuple(one for one in inside.listeners if one.port == service.port)
    if not found:
        if inside.listeners_why is not None:
            return _result(service, Binding.NOT_KNOWN, f"not among the listed ones: {inside.listeners_why}")
        return _result(service, Binding.NOT_LISTENING, f"no process listens on it; {_FORWARDED}")
    kinds = {_kind(one.address) for one in found}
    binding = next(kind for kind in _WIDEST_FIRST if kind in kinds)
    if inside.listeners_why is not None and binding is not Binding.ALL:
        return _result(service, Binding.NOT_KNOWN, f"there may be wider listeners: {inside.listeners_why}", found)
    return _result(service, binding, _words(binding, found, inside), found)


def _result(service: Service, binding: Binding, detail: str, found: Sequence[Listener] = ()) -> ServiceBinding:
    return ServiceBinding(
        service=service.name,
        port=service.port,
        binding=binding,
        detail=detail,
        addresses=tuple(dict.fromkeys(one.address for one in found)),
        processes=_processes(found),
        listeners=tuple(found),
    )


def _kind(address: str) -> Binding:
    """What one listening address covers."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return Binding.NOT_KNOWN
    if parsed.is_unspecified:
        return Binding.ALL
    return Binding.LOOPBACK if parsed.is_loopback else Binding.SPECIFIC


def _words(binding: Binding, found: Sequence[Listener], inside: Inside) -> str:
    addresses = dict.fromkeys(one.address for one in found)
    words = f"listens on {', '.join(addresses)}"
    if binding is Binding.ALL and "0.0.0.0" not in addresses:  # noqa: S104 - it is compared with
        words += " (IPv4 too, unless the socket was made IPv6-only, which the kernel's list does not say)"
    whose = ", ".join(_processes(found)) or f"whose is not known: {inside.owners_why or 'no reason told'}"
    return f"{words}; {whose}"


def _processes(found: Sequence[Listener]) -> tuple[str, ...]:
    named = [one for one in found if one.process is not None]
    return tuple(dict.fromkeys(f"{one.process} (pid {one.pid})" if one.pid else str(one.process) for one in named))
