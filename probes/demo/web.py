"""The ports of a simulated host's services: one that is served, opens and closes, and one that is silent."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from probes.demo.catalog import Behaviour
from probes.demo.faults import FLAPPING
from probes.demo.voices import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.demo.catalog import ServiceSpec
    from probes.demo.voices import Service

_FILLERS: Final = 8
_FILL_WAIT_S: Final = 0.2
_FLAP_STEP_S: Final = 0.5


class SilentPort:
    """A port that answers nothing at all, without root and without a firewall.

    A listening socket whose accept queue is full: Linux then drops every further SYN, so a client sees exactly what a
    dropping firewall shows, silence. The queue is filled by connections of our own that nobody ever accepts.
    """

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port
        self._sockets: list[socket.socket] = []

    async def open(self) -> None:
        """Bind, and fill the queue until a connect stays unanswered. Raises OSError when the port is taken."""
        listener = bind(self._address, self._port)
        self._sockets.append(listener)
        listener.listen(0)
        loop = asyncio.get_running_loop()
        for _ in range(_FILLERS):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            self._sockets.append(filler)
            try:
                async with asyncio.timeout(_FILL_WAIT_S):
                    await loop.sock_connect(filler, (self._address, self._port))
            except TimeoutError:
                return
        raise OSError(f"{self._address}:{self._port} still answers after {_FILLERS} connections")

    async def run(self) -> None:
        """Nothing changes on a silent port."""

    def close(self) -> None:
        """Give the port back."""
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()


class ServicePort:
    """A service on its port. ``now_s`` gives the time of the script, by which a flapping service opens and closes."""

    def __init__(self, address: str, spec: ServiceSpec, service: Service, now_s: Callable[[], float]) -> None:
        self._spec = spec
        self._server = Server(service, address, spec.port)
        self._now_s = now_s

    async def open(self) -> None:
        """Start answering. Raises OSError when the port is taken."""
        await self._server.open()

    async def run(self) -> None:
        """Open and close a flapping service by the script; nothing to do for the others."""
        while self._spec.behaviour is Behaviour.FLAPPING:
            await asyncio.sleep(_FLAP_STEP_S)
            if FLAPPING.on(self._now_s()):
                self.close()
            elif not self._server.listening:
                await self._server.open()

    def close(self) -> None:
        """Stop answering."""
        self._server.close()


def bind(address: str, port: int) -> socket.socket:
    """A TCP socket bound to an address and port; the caller listens on it. Raises OSError when it is taken."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
