"""A stand-in that listens for as long as a block lasts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probes.demo.voices.server import Server

if TYPE_CHECKING:
    import ssl
    from collections import deque
    from collections.abc import AsyncGenerator

    from probes.demo.voices.ledger import Asked
    from probes.demo.voices.service import Service


@dataclass(frozen=True, slots=True)
class Running:
    """A stand-in that listens."""

    server: Server

    @property
    def service(self) -> Service:
        """What is served; ``behave`` changes it."""
        return self.server.service

    @property
    def address(self) -> str:
        """Where."""
        return self.server.address

    @property
    def port(self) -> int:
        """Where."""
        return self.server.port

    @property
    def url(self) -> str:
        """Base URL without a slash at its end."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'http' if self.server.tls is None else 'https'}://{host}:{self.port}"

    @property
    def requests(self) -> deque[Asked]:
        """What was asked, oldest first; bounded."""
        return self.service.ledger.asked


@asynccontextmanager
async def serve(
    service: Service, *, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Running]:
    """Serve a stand-in; at the end its port is free and its connections are gone.

    Raises:
        OSError: the port is taken.
    """
    server = Server(service, address, port, tls)
    await server.open()
    try:
        yield Running(server)
    finally:
        await server.shut()
