"""One simulated host: its SSH port, its services, and the faults that are in its ports rather than in its words."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import asyncssh

from probes.demo.casting import cast
from probes.demo.catalog import Behaviour, Fault
from probes.demo.faults import active
from probes.demo.session import SimulatedLogin
from probes.demo.use import Use
from probes.demo.web import ServicePort, SilentPort, bind

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from probes.demo.catalog import HostSpec, ServiceSpec
    from probes.demo.keys import Keys

SSH_PORT: Final = 2222
_BACKLOG: Final = 64
_MAX_CONNECTIONS: Final = 64
_STEP_S: Final = 0.25
_LOGIN_S: Final = 30.0


class HostServer:
    """All that listens on one address. ``now_s`` gives the seconds since the demo started."""

    def __init__(self, spec: HostSpec, address: str, keys: Keys, now_s: Callable[[], float]) -> None:
        self.spec = spec
        self.address = address
        self._now_s = now_s
        self._use = use = Use(now_s)
        self._options = asyncssh.SSHServerConnectionOptions(
            server_factory=lambda: SimulatedLogin(spec, now_s, use),
            server_host_keys=[keys.hosts[spec.id]],
            authorized_client_keys=asyncssh.import_authorized_keys(keys.authorized(spec)),
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
            gss_kex=False,
            gss_auth=False,
            agent_forwarding=False,
            x11_forwarding=False,
            compression_algs=["none"],
            encoding=None,
            line_editor=False,
            login_timeout=_LOGIN_S,
        )
        self._listener: socket.socket | None = None
        self._services: list[ServicePort | SilentPort] = [
            port for service in spec.services if (port := self._service(service)) is not None
        ]
        if spec.fault is Fault.SSH_SILENT:
            self._services.append(SilentPort(address, SSH_PORT))
        self._connections: dict[asyncio.Task[None], socket.socket] = {}
        self._parked: list[socket.socket] = []

    def _service(self, service: ServiceSpec) -> ServicePort | SilentPort | None:
        if service.behaviour is Behaviour.REFUSED:
            return None
        if service.behaviour is Behaviour.SILENT:
            return SilentPort(self.address, service.port)
        return ServicePort(self.address, service, cast(service, self.spec, self._use), self._now_s)

    async def open(self) -> None:
        """Listen on every port. Raises OSError when one is taken."""
        if self.spec.fault is not Fault.SSH_SILENT and not active(self.spec, Fault.REBOOT, self._now_s()):
            self._listen()
        await asyncio.gather(*(service.open() for service in self._services))

    def close(self) -> None:
        """Give all ports back and drop all connections."""
        self._drop()
        for service in self._services:
            service.close()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for service in self._services:
                    group.create_task(service.run())
                if self.spec.fault is not Fault.SSH_SILENT:
                    group.create_task(self._accept_forever())
                await asyncio.Event().wait()
        finally:
            self.close()

    def _listen(self) -> socket.socket:
        self._listener = bind(self.address, SSH_PORT)
        self._listener.listen(_BACKLOG)
        return self._listener

    def _drop(self) -> None:
        """What a reboot does to everybody who is connected or tries to."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for task, sock in self._connections.items():
            task.cancel()
            sock.close()
        self._unpark()

    def _unpark(self) -> None:
        for sock in self._parked:
            sock.close()
        self._parked.clear()

    async def _accept_forever(self) -> None:
        loop = asyncio.get_running_loop()
        scripted = self.spec.fault in (Fault.REBOOT, Fault.HUNG)
        while True:
            now = self._now_s()
            if active(self.spec, Fault.REBOOT, now):
                self._drop()
                await asyncio.sleep(_STEP_S)
                continue
            hung = active(self.spec, Fault.HUNG, now)
            if not hung:
                self._unpark()
            listener = self._listener or self._listen()
            try:
                async with asyncio.timeout(_STEP_S if scripted else None):
                    sock, _ = await loop.sock_accept(listener)
            except TimeoutError:
                continue
            self._take(sock, hung=hung)

    def _take(self, sock: socket.socket, *, hung: bool) -> None:
        """Serve a new connection; a hung host's kernel accepts it, and then nothing comes."""
        if len(self._connections) + len(self._parked) >= _MAX_CONNECTIONS:
            sock.close()
        elif hung:
            self._parked.append(sock)
        else:
            task = asyncio.get_running_loop().create_task(self._converse(sock))
            self._connections[task] = sock
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._connections.pop(task, None)

    async def _converse(self, sock: socket.socket) -> None:
        connection: Any = None
        try:
            connection = await asyncssh.run_server(sock, options=self._options)
            await connection.wait_closed()
        except (asyncssh.Error, OSError, TimeoutError):
            sock.close()  # a client that was refused or left: nothing to tell anybody
        finally:
            if connection is not None:
                connection.abort()
