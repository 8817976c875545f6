"""Everything a host can do wrong on an open port, on fixed ports of one network namespace.

``python -m tests.support.many_services FOLDER``: FOLDER holds ``host_key``, ``authorized_keys``, and two certificates. Says
``ready`` and runs until stdin ends.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import asyncssh

from tests.support.sshd import FakeHost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SSH, CLOSES, MUTE_SSH, FAILING, SECURE, HEALTHY, LOOPBACK, FILTERED, ENDLESS, GARBAGE, HANGS, EXPIRED = (
    22, 7201, 7202, 7203, 7204, 7205, 7206, 7207, 7209, 7210, 7211, 7212,
)  # fmt: skip
#: where the server certificates are, as ``http_standin.certificate`` names them
VALID_PEM, EXPIRED_PEM = "localhost-0.pem", "localhost-9.pem"


def _web(status: str, body: str) -> Callable[[Any, Any], Awaitable[None]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()

    return answer


async def _closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del reader, writer


async def _hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del writer
    await reader.read()


async def _endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del reader
    while True:
        writer.write(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 4096)
        await writer.drain()


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del reader
    writer.write(b"\x00\x1b[2J\xff\xfe garbage \x07 \xe2\x80\xae\n")
    await writer.drain()


def _tls(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def _serve(handler: Callable[[Any, Any], Awaitable[None]], port: int, address: str, **more: Any) -> None:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the prober has heard enough
        finally:
            writer.close()

    await asyncio.start_server(guarded, address, port, **more)


async def _main(folder: Path) -> None:
    host: Any = FakeHost(folder, SimpleNamespace(authorized=folder / "authorized_keys"), address="0.0.0.0")
    host._host_key = asyncssh.read_private_key(folder / "host_key")
    await host.start(SSH)
    every = "0.0.0.0"
    await _serve(_closes, CLOSES, every)
    await _serve(_hangs, MUTE_SSH, every)
    await _serve(_web("500 Internal Server Error", "no model\nsecond line"), FAILING, every)
    await _serve(_web("200 OK", "fine"), SECURE, every, ssl=_tls(folder / VALID_PEM))
    await _serve(_web("200 OK", "fine"), EXPIRED, every, ssl=_tls(folder / EXPIRED_PEM))
    await _serve(_web("200 OK", "fine"), HEALTHY, every)
    await _serve(_web("200 OK", "fine"), LOOPBACK, "127.0.0.1")
    await _serve(_web("200 OK", "fine"), FILTERED, every)
    await _serve(_endless, ENDLESS, every)
    await _serve(_garbage, GARBAGE, every)
    await _serve(_hangs, HANGS, every)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await host.stop()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
