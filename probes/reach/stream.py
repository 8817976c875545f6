"""Byte streams the HTTP check talks over: a socket of ours, a tunnel through a jump host, and TLS over either.

Plain coroutines over ``sock_recv``/``sock_sendall``: no transport, no protocol object and no second buffer a check.
TLS is a pair of memory buffers, so that it works the same through a tunnel.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import socket

CHUNK: Final = 16 * 1024


class Stream(Protocol):
    """Bytes both ways. Every call may raise ``OSError``; ``close`` never does."""

    async def receive(self) -> bytes:
        """At most ``CHUNK`` bytes (TLS may give a little more); empty at the end."""
        ...

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        ...

    def close(self) -> None:
        """Close at once; no waiting."""
        ...


class TunnelReader(Protocol):
    """The reading half of a tunnel, as asyncio's and asyncssh's stream readers are."""

    async def read(self, n: int = -1, /) -> bytes:
        """Up to ``n`` bytes, empty at the end."""
        ...


class TunnelWriter(Protocol):
    """The writing half of a tunnel."""

    def write(self, data: bytes, /) -> None:
        """Buffer bytes to send."""
        ...

    async def drain(self) -> None:
        """Wait until the buffer has room."""
        ...

    def close(self) -> None:
        """Close both halves."""
        ...


class SocketStream:
    """An open non-blocking socket, owned from now on."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._loop = asyncio.get_running_loop()

    async def receive(self) -> bytes:
        """See ``Stream``."""
        return await self._loop.sock_recv(self.sock, CHUNK)

    async def send(self, data: bytes) -> None:
        """See ``Stream``."""
        await self._loop.sock_sendall(self.sock, data)

    def close(self) -> None:
        """See ``Stream``."""
        self.sock.close()


class TunnelStream:
    """A reader and writer pair, owned from now on."""

    def __init__(self, reader: TunnelReader, writer: TunnelWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> bytes:
        """See ``Stream``."""
        try:
            return await self._reader.read(CHUNK)
        except OSError:
            raise
        except Exception as error:
            raise _broken(error) from error

    async def send(self, data: bytes) -> None:
        """See ``Stream``."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            raise
        except Exception as error:
            raise _broken(error) from error

    def close(self) -> None:
        """See ``Stream``."""
        # the tunnel may be gone already, and then there is nothing to close
        with contextlib.suppress(OSError):
            self._writer.close()


def _broken(error: Exception) -> ConnectionError:
    """The SSH library's own errors are no ``OSError``; to a check they are all one: the connection broke."""
    return ConnectionError(f"tunnel: {error or type(error).__name__}")


class TlsStream:
    """TLS as a client over another stream. ``heard`` is the first bytes that came, for when it was not TLS at all."""

    def __init__(self, inner: Stream, context: ssl.SSLContext, server_name: str) -> None:
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.heard = b""

    async def handshake(self) -> None:
        """Shake hands and verify the certificate as the context says.

        Raises:
            ssl.SSLError: it failed; ``SSLCertVerificationError`` for the certificate.
            OSError: the connection broke.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
                continue
            except ssl.SSLError:
                # our alert tells the server why; it may be gone already
                with contextlib.suppress(OSError):
                    await self._flush()
                raise
            await self._flush()
            return

    def version(self) -> str | None:
        """The protocol agreed on (``TLSv1.3``), once the handshake is done."""
        return self._tls.version()

    def certificate(self) -> bytes | None:
        """The other side's certificate in DER, verified or not, once the handshake is done."""
        return self._tls.getpeercert(binary_form=True)

    async def receive(self) -> bytes:
        """See ``Stream``."""
        while True:
            try:
                return self._tls.read(CHUNK)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    async def send(self, data: bytes) -> None:
        """See ``Stream``."""
        self._tls.write(data)
        await self._flush()

    def close(self) -> None:
        """See ``Stream``."""
        self._inner.close()

    async def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            await self._inner.send(data)

    async def _fill(self) -> None:
        data = await self._inner.receive()
        if not self.heard:
            self.heard = data[:64]
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
