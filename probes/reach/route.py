"""How a host's ports are reached: by which address, or through which jump host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from probes.model import Host

_SSH_PORT: Final = 22
_DIRECT: Final = ("", "none")


class Route(Struct, frozen=True):
    """``address``: name or address to connect to; ``via``: the jump host that must do it instead of us.

    ``blocked``: why neither is possible (a ProxyCommand leads to the host: only ssh can use that).
    """

    address: str
    ssh_port: int = _SSH_PORT
    via: str | None = None
    blocked: str | None = None


class Routes(Protocol):
    """Who knows the way, ssh_config included. Must answer from a cache: it is asked at every round."""

    async def route(self, host: Host) -> Route:
        """Return the way to a host.

        Raises:
            LinkError: it cannot be told (a malformed ssh_config); services are then *not probed*, with the cause.
        """
        ...


class ConfiguredRoutes:
    """The way as our own configuration alone says it."""

    async def route(self, host: Host) -> Route:
        """See ``Routes``."""
        via = None if (host.proxy_jump or "") in _DIRECT else host.proxy_jump
        return Route(host.address, host.port or _SSH_PORT, via)
