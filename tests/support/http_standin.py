"""An HTTP server for tests that is as healthy, as slow and as hostile as it is told to be. Raw bytes over asyncio.

It shares no code with the client it tests: what it sends is written out byte by byte.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class StandIn:
    """A running stand-in: where it listens, what it was asked, how many connections it has seen and holds."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    accepted: int = 0
    held: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def stand_in(
    script: Script, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None, asks: bool = True
) -> AsyncIterator[StandIn]:
    """Serve every connection with ``script``; with ``asks`` the request's head is read (and kept) first."""
    state = StandIn()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.accepted += 1
        state.held += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            if asks:
                state.requests.append(await reader.readuntil(b"\r\n\r\n"))
            state.asked.set()
            await script(reader, writer)
            if not writer.is_closing():
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # the client may leave when it likes, and the test may end
            pass
        finally:
            writer.close()
            state.held -= 1
            state.gone.set()
            tasks.discard(task)

    server = await asyncio.start_server(serve, host, port, ssl=tls, backlog=1024)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await server.wait_closed()


def answer(body: bytes | str, status: str = "200 OK", *headers: str, length: int | None = None) -> Script:
    """A well-formed answer; ``length`` may lie."""
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(raw) if length is None else length}", *headers]

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)

    return script


def says(raw: bytes) -> Script:
    """Exactly these bytes, then the end."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return script


def endless(first: bytes, again: bytes, pause_s: float = 0.0) -> Script:
    """Some bytes, then others for as long as the client stays."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while not writer.is_closing():
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return script


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say nothing until the client leaves."""
    await reader.read()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close without a word."""


def certificate(folder: Path, *, name: str = "localhost", address: str = "127.0.0.1", age_days: int = 0) -> Pems:
    """A fresh self-signed certificate, good for two days from ``age_days`` ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    began = datetime.now(UTC) - timedelta(days=age_days, minutes=5)
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(address))])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + timedelta(days=2))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f"{name}-{age_days}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(private + made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return Pems(context, made.public_bytes(Encoding.PEM).decode())


class Pems(NamedTuple):
    """A server's context, and its certificate for a client that is to trust it."""

    server: ssl.SSLContext
    trusted: str
