"""From what a person types to hosts: a configured id, a group, an ssh_config alias, or ``user@host:port``."""

from __future__ import annotations

import difflib
import ipaddress
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from probes.errors import ConfigError
from probes.inventory.ssh_config import read_aliases
from probes.model import Host
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.config.settings import Settings
    from probes.inventory.ssh_config import Aliases

_USER = re.compile(r"[^\s\-:/][^\s:/]{0,127}")
_NAME = re.compile(r"[^\s\-:/@\[\],][^\s:/@\[\],]{0,254}")
_EXPECTED = "a configured host or group, an ssh_config alias, or user@host[:port]"


class Target(Struct, frozen=True):
    """``[user@]address[:port]`` taken apart; the address is without brackets."""

    address: str
    user: str | None = None
    port: int | None = None


def parse_target(text: str) -> Target:
    """Take ``[user@]host[:port]``, ``[user@][v6]:port`` or a bare IPv6 address apart.

    Raises:
        ValueError: what is wrong with it, in words that continue "is not ..., because".
    """
    user, at, rest = text.rpartition("@")
    if at and (not _USER.fullmatch(user) or clean(user) != user):
        raise ValueError("the user before the @ is empty or has odd characters")
    if rest.startswith("["):
        address, closing, tail = rest[1:].partition("]")
        if not closing or not is_ipv6(address) or (tail and not tail.startswith(":")):
            raise ValueError("brackets go around an IPv6 address, as in [::1]:22")
        port = tail[1:] if tail else None
    elif is_ipv6(rest):
        address, port = rest, None
    else:
        address, colon, port = rest.partition(":")
        port = port if colon else None
        if not _NAME.fullmatch(address) or clean(address) != address:
            raise ValueError("the address is empty or has odd characters")
    return Target(address, user or None, None if port is None else _port(port))


def is_ipv6(text: str) -> bool:
    """Whether this is an IPv6 address, with or without a zone."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return clean(text) == text and not re.search(r"[\s/@\]]", text)


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError(f'"{clean(text, 20)}" is not a port (1 to 65535)')
    return int(text)


def resolve_targets(settings: Settings, names: Sequence[str], *, aliases: Aliases | None = None) -> tuple[Host, ...]:
    """The hosts that are meant, each once, in the order named; without names all configured ones.

    A bare word must be known (configured, or an alias); with a dot, an ``@`` or a port, or as an IP address, it is
    taken as an address. ``localhost`` is this machine; ``user@localhost`` goes over SSH.

    Args:
        settings: the configuration.
        names: what was typed.
        aliases: of ssh_config; read from ``settings.ssh.config_files`` when first needed.

    Raises:
        ConfigError: one line for every name that means nothing.
    """
    if not names:
        return settings.hosts
    ids = {host.id: host for host in settings.hosts}
    groups: dict[str, list[Host]] = {}
    for host in settings.hosts:
        for group in host.groups:
            groups.setdefault(group, []).append(host)
    found: dict[str, Host] = {}
    mistakes: list[str] = []
    for name in names:
        if name in ids:
            hosts = [ids[name]]
        elif name in groups:
            hosts = groups[name]
        else:
            if aliases is None:
                aliases = read_aliases(settings.ssh.config_files)
            try:
                hosts = [_ad_hoc(name, aliases, [*ids, *groups])]
            except ValueError as error:
                mistakes.append(str(error))
                continue
        found.update((host.id, host) for host in hosts)
    if mistakes:
        raise ConfigError(mistakes)
    return tuple(found.values())


def _ad_hoc(name: str, aliases: Aliases, known: list[str]) -> Host:
    if name == "localhost":
        return Host(id=name, address=name, local=True)
    if name in aliases:
        return Host(id=name, address=name)
    label = clean(name, 80) or '""'
    try:
        target = parse_target(name)
    except ValueError as error:
        raise ValueError(f"{label}: {error}; expected {_EXPECTED}") from None
    bare = target.user is None and target.port is None and "." not in target.address
    if bare and not is_ipv6(target.address):
        close = difflib.get_close_matches(name, [*known, *aliases.names], n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(f"{label}: unknown host; expected {_EXPECTED}{hint}")
    return Host(id=name, address=target.address, user=target.user, port=target.port)


def known_name(address: str, port: int) -> str:
    """How known_hosts spells a server."""
    return address if port == 22 else f"[{address}]:{port}"
