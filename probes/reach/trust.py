"""Who knows which SSH host key is the right one: what a probe needs of known_hosts, without logging in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from probes.hosts.known_hosts import Trusted
    from probes.model import Host


class Known(Struct, frozen=True):
    """What known_hosts says of a host: ``name`` as it was looked up, and the ``user`` we would log in as."""

    name: str
    user: str
    trusted: Trusted


class Trust(Protocol):
    """Looks host keys up."""

    async def known(self, host: Host, port: int) -> Known:
        """What is known of a host's SSH on a port.

        Raises:
            LinkError: it cannot be told (a malformed ssh_config).
        """
        ...
