"""What a running benchmark is given: the host, the configuration, and ways there that the engine owns and closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from probes.config import Settings
    from probes.model import Host, Service


class Endpoint(Struct, frozen=True):
    """How an HTTP service is reached. ``base_url`` has scheme, original host and port: what Host and SNI say.

    ``dial`` is where the connection really goes (address, port): a tunnel's local end; None: where the URL says.
    """

    base_url: str
    tls_verify: bool = True
    via: str = "direct"
    tunnel_ms: float | None = None
    dial: tuple[str, int] | None = None


class Context(Protocol):
    """Owned by the engine; everything it opened is closed when the run is over."""

    @property
    def host(self) -> Host:
        """Whom."""
        ...

    @property
    def settings(self) -> Settings:
        """The configuration (its hosts: this one)."""
        ...

    async def endpoint(self, service: Service | None, url: str | None) -> Endpoint:
        """How to reach a service: directly, else through a tunnel on an SSH connection of the engine's own.

        Raises:
            BenchError: neither way; the cause names both.
        """
        ...

    async def ssh(self) -> Any:
        """An authenticated ``asyncssh.SSHClientConnection`` to the host, opened when first asked for and shared.

        Raises:
            BenchError: layer ``ssh`` with the link's cause and next step.
        """
        ...

    async def another_ssh(self) -> Any:
        """One more connection of its own (a host allows few sessions on one); closed with the others."""
        ...
