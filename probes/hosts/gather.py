"""An SSH connection on a socket (or jump connection) of ours, whose packets of one turn of the loop leave in one send.

asyncssh hands every packet to the transport by itself, and each send is a system call: some 20 a login, 15 us apiece.
It often has several to say at once, so gathering what one turn of the loop wrote halves the calls, here and on the
host, and delays nothing: the turn must end before anything else happens.

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
    """What asyncssh needs of a transport; ``write`` waits for the end of the loop's turn."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._inner = inner
        self._loop = loop
        self._parts: list[bytes] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Addresses and socket."""
        return self._inner.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._inner.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send with what else this turn of the loop has to send."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(bytes(data))

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._inner.is_closing():
            self._inner.write(b"".join(parts))

    def close(self) -> None:
        """Send what waits, then close."""
        self._flush()
        self._inner.close()

    def abort(self) -> None:
        """Close at once; what waits is dropped."""
        self._parts = []
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


class _Starter(asyncio.Protocol):
    """Stands in for the connection until there is a transport to wrap; what arrives goes to asyncssh directly."""

    def __init__(self, ssh: asyncssh.SSHClientConnection, loop: asyncio.AbstractEventLoop) -> None:
        self._ssh, self._loop = ssh, loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raw = cast("asyncio.Transport", transport)
        raw.set_protocol(cast("Any", self._ssh))  # a protocol in all but its base class
        self._ssh.connection_made(GatheringTransport(raw, self._loop))


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
    try:
        if isinstance(way, asyncssh.SSHClientConnection):
            await way.create_connection(lambda: cast("Any", ssh), options.host, options.port)
        else:
            await loop.create_connection(lambda: _Starter(ssh, loop), sock=way)
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
    return ssh
