"""The HTTP/1.1 side of a stand-in: connections kept alive, several at once, every size bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from probes.demo.voices.reading import MAX_HEAD_BYTES, BadRequest, parse, stays, with_body

if TYPE_CHECKING:
    import ssl

    from probes.demo.voices.message import Reply
    from probes.demo.voices.service import Service

_MAX_CONNECTIONS: Final = 4096
_BACKLOG: Final = 1024
_RESET: Final = struct.pack("ii", 1, 0)
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_NO_BODY: Final = frozenset({204, 304})


class Wire:
    """The answer to one request, as bytes."""

    def __init__(self, writer: asyncio.StreamWriter, *, keep: bool, chunked: bool, bodyless: bool = False) -> None:
        self.keep = keep
        self._writer = writer
        self._can_chunk = chunked
        self._bodyless = bodyless
        self._chunked = False

    async def whole(self, reply: Reply) -> None:
        """The complete answer."""
        bodyless = self._bodyless or reply.status in _NO_BODY
        self._writer.write(self._head(reply, len(reply.body)) + (b"" if bodyless else reply.body))
        await self._writer.drain()

    async def begin(self, reply: Reply, length: int | None) -> None:
        """The head alone; without a length the body is chunked (HTTP/1.0: it ends with the connection)."""
        self._chunked = length is None and self._can_chunk
        if length is None and not self._can_chunk:
            self.keep = False
        self._writer.write(self._head(reply, length))
        await self._writer.drain()

    async def send(self, data: bytes) -> None:
        """A part of the body. Raises ConnectionError when the client is gone."""
        if self._bodyless or not data:
            return
        if self._writer.is_closing():
            raise ConnectionResetError("the client is gone")
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        await self._writer.drain()

    async def end(self) -> None:
        """The end of a body that was begun."""
        if self._chunked and not self._bodyless:
            self._writer.write(b"0\r\n\r\n")
            await self._writer.drain()

    def _head(self, reply: Reply, length: int | None) -> bytes:
        lines = [f"HTTP/1.1 {reply.status} {_PHRASES.get(reply.status, 'Unknown')}", "server: uvicorn"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        if reply.status not in _NO_BODY:
            lines.append(f"content-type: {reply.content_type}")
            if length is not None:
                lines.append(f"content-length: {length}")
            elif self._chunked:
                lines.append("transfer-encoding: chunked")
        lines.append(f"connection: {'keep-alive' if self.keep else 'close'}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


class Server:
    """Serves one stand-in on one address. ``port`` is the real one once it is open."""

    def __init__(self, service: Service, address: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.service = service
        self.address = address
        self.port = port
        self.tls = tls
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def listening(self) -> bool:
        """Whether it takes connections."""
        return self._server is not None

    async def open(self) -> None:
        """Start listening. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(
            self._accept, self.address, self.port, limit=MAX_HEAD_BYTES, backlog=_BACKLOG, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.service.on_death = self.close

    def close(self) -> None:
        """Stop listening, and reset every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, writer in list(self._open.items()):
            reset(writer)
            if task is not asyncio.current_task():
                task.cancel()

    async def shut(self) -> None:
        """Close, and return when nothing of it is left."""
        self.close()
        if self._open:
            await asyncio.wait(list(self._open))
            await asyncio.sleep(0)  # their transports close in the next step of the loop

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= _MAX_CONNECTIONS or self._server is None:
            reset(writer)
            return
        self.service.ledger.connections += 1
        self.service.ledger.open_connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="stand-in connection")
        self._open[task] = writer
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self.service.ledger.open_connections -= 1
        del self._open[task]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            context = {"message": "a stand-in failed", "exception": error, "task": task}
            asyncio.get_running_loop().call_exception_handler(context)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (OSError, EOFError, TimeoutError):
            pass  # the client came and went, or said nothing for too long: nothing to answer
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered = 0
        while True:
            behaviour = self.service.behaviour
            try:
                async with asyncio.timeout(behaviour.keep_alive_s):
                    raw = await reader.readuntil(b"\r\n\r\n")
                request, version = parse(raw)
                keep = stays(request, version)
                request = await with_body(request, reader, writer)
            except asyncio.LimitOverrunError:
                await self._refuse(writer, BadRequest(400, "Invalid HTTP request received."))
                return
            except BadRequest as bad:
                await self._refuse(writer, bad)
                return
            answered += 1
            keep = keep and answered != behaviour.requests_per_connection
            wire = Wire(writer, keep=keep, chunked=version != "HTTP/1.0", bodyless=request.method == "HEAD")
            try:
                await self.service.handle(request, wire)
            except ConnectionAbortedError:
                reset(writer)
                return
            if not wire.keep:
                return

    async def _refuse(self, writer: asyncio.StreamWriter, bad: BadRequest) -> None:
        self.service.refused(bad.reply.status)
        await Wire(writer, keep=False, chunked=False).whole(bad.reply)
        if writer.can_write_eof():
            writer.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    """Drop a connection so that the client sees a reset, not an end."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
