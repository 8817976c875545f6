"""What ssh_config says of a host, for those who probe it from outside: the way there, and the key it should have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.errors import LinkError
from probes.reach.route import Route
from probes.reach.trust import Known

if TYPE_CHECKING:
    from probes.hosts.transport import Transport
    from probes.model import Host


class Ways:
    """Routes and known keys by the same dial plans that sessions use. See ``Routes`` and ``Trust``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def route(self, host: Host) -> Route:
        """How a host's ports are reached, ssh_config included.

        Raises:
            LinkError: ssh_config is malformed.
        """
        plan = await self._transport.plan(host)
        if plan.proxy_jump:
            return Route(plan.address, plan.port, plan.proxy_jump)
        blocked = "a ProxyCommand leads to it, which only ssh can use" if plan.proxy_command else None
        return Route(plan.address, plan.port, None, blocked)

    async def user_of(self, host: Host) -> str | None:
        """Who logs in there; None when ssh_config is malformed, or without SSH."""
        if host.local:
            return None
        try:
            return (await self._transport.plan(host)).user
        except LinkError:
            return None  # the way there fails for the same reason, and that is what is shown

    async def address_of(self, host: Host) -> str:
        """What is dialled for a host; where ssh_config is malformed, the address as it is configured."""
        try:
            return (await self._transport.plan(host)).address
        except LinkError:
            return host.address  # no session comes about for the same reason, and that is what is shown

    async def known(self, host: Host, port: int) -> Known:
        """What known_hosts says of a host on a port.

        Raises:
            LinkError: ssh_config is malformed.
        """
        plan = await self._transport.plan(host)
        trusted = await self._transport.trusted(plan, port)
        return Known(plan.host_key_alias or plan.address, plan.user, trusted)
