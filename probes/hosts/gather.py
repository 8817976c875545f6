"""An SSH connection on a socket (or jump connection) of ours, whose answers to what was read leave in one send.

asyncssh hands every packet to the transport by itself, and each send is a system call of 15 us here and a wake-up on
the host. What it writes while it works off what was read (the end of a key exchange is three packets) goes out together
when that is done, and not later: kept for the end of the loop's turn, packets would wait for those of other hosts.

``asyncssh.connect`` does the same with a transport of its own choice, and makes its options anew for each connection
(200 us and a thread's turn); here they come ready.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import asyncssh
from asyncssh.constants import MSG_IGNORE

if TYPE_CHECKING:
    import socket


class GatheringTransport(asyncio.Transport):
    """What asyncssh needs of a transport; between ``hold`` and ``let_go`` writes are gathered."""

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__()
        self._inner = inner
        self._parts: list[bytes] | None = None

    def hold(self) -> None:
        """Gather what is written from now on."""
        self._parts = []

    def let_go(self) -> None:
        """Send what was gathered."""
        parts, self._parts = self._parts, None
        if parts:
            self._inner.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Addresses and socket."""
        return self._inner.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._inner.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or keep until ``let_go``."""
        if self._parts is None:
            self._inner.write(data)
        else:
            self._parts.append(bytes(data))

    def close(self) -> None:
        """Send what waits, then close."""
        self.let_go()
        self._inner.close()

    def abort(self) -> None:
        """Close at once; what waits is dropped."""
        self._parts = None
        self._inner.abort()


class _Connection(asyncssh.SSHClientConnection):
    """asyncssh's connection without an empty IGNORE packet before each packet.

    Those are there for CBC ciphers, whose next IV is known to whoever listens (RFC 4251, 9.3.1), and stay with them.
    With all others they only cost both ends the work of a packet.
    """

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        if pkttype == MSG_IGNORE and "cbc" not in self.get_extra_info("send_cipher", "cbc"):
            return
        super().send_packet(pkttype, *args, handler=handler)


class _Feed(asyncio.Protocol):
    """Between the loop and asyncssh's connection: holds its writes while it works off what was read."""

    def __init__(self, ssh: asyncssh.SSHClientConnection) -> None:
        self._ssh = ssh
        self._inner: asyncio.Transport | None = None
        self._transport: GatheringTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner = cast("asyncio.Transport", transport)
        self._transport = GatheringTransport(self._inner)
        self._ssh.connection_made(self._transport)

    def step_aside(self) -> None:
        """Have the loop feed the connection itself: behind the login there is nothing to gather, once a second."""
        if self._inner is not None and not self._inner.is_closing():
            self._inner.set_protocol(cast("asyncio.BaseProtocol", self._ssh))

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        transport.hold()
        try:
            self._ssh.data_received(data)
        finally:
            transport.let_go()

    def eof_received(self) -> None:
        self._ssh.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ssh.connection_lost(exc)


async def connect_on(
    way: socket.socket | asyncssh.SSHClientConnection, options: asyncssh.SSHClientConnectionOptions
) -> asyncssh.SSHClientConnection:
    """Shake hands and authenticate on a connected socket, or through the jump host of a connection.

    ``options`` are this connection's alone.

    Raises:
        asyncssh.Error: as ``asyncssh.connect``; the connection is closed then.
        OSError: likewise.
    """
    loop = asyncio.get_running_loop()
    settled: asyncio.Future[None] = loop.create_future()
    options.waiter = settled
    ssh = _Connection(loop, options, wait="auth")
    feed = _Feed(ssh)
    try:
        if isinstance(way, asyncssh.SSHClientConnection):
            await way.create_connection(lambda: cast("Any", ssh), options.host, options.port)
        else:
            await loop.create_connection(lambda: feed, sock=way)
    except BaseException:  # who made the channel or the transport has closed it
        settled.cancel()
        raise
    ssh.set_extra_info(host=options.host, port=options.port)
    try:
        await settled
    except BaseException:
        ssh.abort()
        await ssh.wait_closed()
        raise
    feed.step_aside()
    return ssh
