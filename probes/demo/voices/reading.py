"""Reading one HTTP/1.1 request: what is none is refused as uvicorn refuses it, and every size is bounded."""

from __future__ import annotations

import asyncio
from typing import Final

from probes.demo.voices.message import Reply, Request

#: what uvicorn takes too
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 8 << 20
_MAX_HEADERS: Final = 100
_BODY_TIMEOUT_S: Final = 30.0


class BadRequest(Exception):  # noqa: N818  # it never leaves this package
    """What came is no request; the text is the answer's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(status, text.encode(), "text/plain; charset=utf-8")


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


def stays(request: Request, version: str) -> bool:
    """Whether the client wants to keep the connection."""
    asked = request.headers.get("connection", "").lower()
    return "keep-alive" in asked if version == "HTTP/1.0" else "close" not in asked


async def with_body(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    """The request with its body, read now.

    Raises:
        BadRequest: the body is too long, or framed as nothing known.
        OSError, EOFError, TimeoutError: the client went, or sent too slowly.
    """
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
