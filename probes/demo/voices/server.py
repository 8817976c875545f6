"""The HTTP/1.1 side of a stand-in: connections kept alive, several at once, every size bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from probes.demo.voices.message import Reply, Request

if TYPE_CHECKING:
    import ssl
    from collections import deque
    from collections.abc import AsyncIterator

    from probes.demo.voices.ledger import Asked
    from probes.demo.voices.service import Service

#: what uvicorn takes too
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 8 << 20
_MAX_HEADERS: Final = 100
_MAX_CONNECTIONS: Final = 4096
_BACKLOG: Final = 1024
_BODY_TIMEOUT_S: Final = 30.0
_RESET: Final = struct.pack("ii", 1, 0)
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_NO_BODY: Final = frozenset({204, 304})


class BadRequest(Exception):  # noqa: N818  # it never leaves this package
    """What came is no request; the text is the answer's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(status, text.encode(), "text/plain; charset=utf-8")


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
                keep = _stays(request, version)
                request = await _with_body(request, reader, writer)
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


def parse(raw: bytes) -> tuple[Request, str]:
    """A request without its body, and the version of HTTP it is in.

    Raises:
        BadRequest: it is none.
    """
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or len(lines) > _MAX_HEADERS:
        raise BadRequest(400, "Invalid HTTP request received.")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(400, "Invalid HTTP request received.")
        headers.setdefault(name.lower(), value.strip())
    if words[2] != "HTTP/1.0" and "host" not in headers:
        raise BadRequest(400, "Invalid HTTP request received.")
    return Request(words[0], words[1], headers), words[2]


def _stays(request: Request, version: str) -> bool:
    asked = request.headers.get("connection", "").lower()
    return "keep-alive" in asked if version == "HTTP/1.0" else "close" not in asked


async def _with_body(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    chunked = "chunked" in request.headers.get("transfer-encoding", "").lower()
    text = request.headers.get("content-length", "0")
    if not chunked and text == "0":
        return request
    if not text.isdecimal():
        raise BadRequest(400, "Invalid HTTP request received.")
    if int(text) > MAX_BODY_BYTES:
        raise BadRequest(413, "Request Entity Too Large")
    if request.headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async with asyncio.timeout(_BODY_TIMEOUT_S):
        body = await _chunked_body(reader) if chunked else await reader.readexactly(int(text))
    return Request(request.method, request.target, request.headers, body)


async def _chunked_body(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        line = await reader.readuntil(b"\r\n")
        try:
            length = int(line.partition(b";")[0], 16)
        except ValueError:
            raise BadRequest(400, "Invalid HTTP request received.") from None
        size += length
        if length < 0 or size > MAX_BODY_BYTES:
            raise BadRequest(413, "Request Entity Too Large")
        if length == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return b"".join(parts)
        parts.append((await reader.readexactly(length + 2))[:length])


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
) -> AsyncIterator[Running]:
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
