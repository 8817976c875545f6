"""Certificates as evidence: every fault by its name, made with ``cryptography`` and served on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from probes.reach.stream import SocketStream, Stream
from probes.reach.tcp import tcp_connect
from probes.reach.tls import TlsContexts
from probes.reach.tls_probe import tls_probe
from tests.support.http_standin import certificate, endless, hang_up, says, silence, stand_in
from tests.support.leaks import open_sockets, other_tasks, until

if TYPE_CHECKING:
    from pathlib import Path

    from probes.evidence import TlsProbe

NOW = datetime.now(UTC)


class Authority:
    """A certificate authority that signs what it is told to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        own = self._builder(self._name, NOW - timedelta(days=9), NOW + timedelta(days=9))
        own = own.public_key(self._key.public_key()).add_extension(x509.BasicConstraints(True, 0), critical=True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        own = own.add_extension(usage, critical=True)
        own = own.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        self.pem = own.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    def _builder(self, subject: x509.Name, begins: datetime, ends: datetime) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        return builder.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)

    def server(
        self,
        *,
        begins: datetime = NOW - timedelta(days=1),
        ends: datetime = NOW + timedelta(days=1),
        address: str = "127.0.0.1",
        subject: str = "box",
    ) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        builder = self._builder(name, begins, ends).public_key(key.public_key())
        builder = builder.add_extension(alternative, critical=False).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        made = builder.sign(self._key, hashes.SHA256())
        pem = self._folder / "server.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem.write_bytes(private + made.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.der = made.public_bytes(Encoding.DER)
        return context


async def look(port: int, trusted: str | None = None, limit_s: float = 5.0) -> TlsProbe:
    async def connect() -> Stream:
        result = await tcp_connect("127.0.0.1", port, 5.0)
        if result.sock is None:
            raise ConnectionRefusedError(111, "Connection refused")
        return SocketStream(result.sock)

    contexts = TlsContexts()
    if trusted is not None:
        (await contexts.get(verify=True)).load_verify_locations(cadata=trusted)
    try:
        return await tls_probe(connect, contexts, "127.0.0.1", limit_s)
    finally:
        contexts.close()


async def test_good_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with stand_in(silence, tls=authority.server(), asks=False) as peer:
        found = await look(peer.port, authority.pem)
    assert (found.ok, found.verify_error, found.detail, found.version) == (True, None, "", "TLSv1.3")
    assert (found.subject, found.issuer) == ("CN=box", "CN=Test CA")
    assert found.fingerprint == f"SHA256:{hashlib.sha256(authority.der).hexdigest()}"
    assert found.not_before is not None
    assert found.not_after is not None
    ends = datetime.fromisoformat(found.not_after)
    assert abs(ends - NOW - timedelta(days=1)) < timedelta(seconds=2)
    assert found.not_after.endswith("Z")
    assert found.took_ms is not None


@pytest.mark.parametrize(
    ("made", "trusts", "fault", "words"),
    [
        ({}, False, "unknown CA", "does not trust"),
        ({"ends": NOW - timedelta(hours=1)}, True, "expired", "has expired"),
        ({"begins": NOW + timedelta(hours=1)}, True, "not yet valid", "not valid yet"),
        ({"address": "10.0.0.1"}, True, "wrong name", "another address than 127.0.0.1"),
        ({"ends": NOW - timedelta(hours=1)}, False, "unknown CA, expired", "does not trust"),
    ],
)
async def test_fault_by_its_name(tmp_path: Path, made: dict[str, Any], trusts: bool, fault: str, words: str) -> None:
    authority = Authority(tmp_path)
    async with stand_in(silence, tls=authority.server(**made), asks=False) as peer:
        found = await look(peer.port, authority.pem if trusts else None)
    assert (found.ok, found.verify_error) == (False, fault)
    assert words in found.detail
    # what nobody vouches for is still shown
    assert found.fingerprint == f"SHA256:{hashlib.sha256(authority.der).hexdigest()}"
    assert found.not_after is not None
    assert "tls_verify" not in found.detail


@pytest.mark.parametrize(("age_days", "fault"), [(0, "self-signed"), (30, "self-signed, expired")])
async def test_self_signed(tmp_path: Path, age_days: int, fault: str) -> None:
    before = open_sockets()
    async with stand_in(silence, tls=certificate(tmp_path, age_days=age_days).server, asks=False) as peer:
        found = await look(peer.port)
    assert (found.ok, found.verify_error) == (False, fault)
    assert found.subject == found.issuer == "CN=localhost"
    await until(lambda: open_sockets() == before)


async def test_hostile_subject_is_harmless(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with stand_in(silence, tls=authority.server(subject="a\x1b[2J\u202eb" + "x" * 40), asks=False) as peer:
        found = await look(peer.port)
    assert found.subject is not None
    assert found.subject.isprintable()
    assert len(found.subject) <= 200


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (hang_up, "closed during the handshake"),
        (says(b"SSH-2.0-OpenSSH_9.6\r\n"), "does not speak TLS"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "speaks plain http"),
        (says(b"\x16\x03\x01\x00\x02\xff\xff"), "TLS:"),
        (silence, "not complete within 0.3 s"),
        (endless(b"\x16\x03\x03\x40\x00", b"\x00" * 4096), "TLS:"),
        (endless(b"\x16", b"\x03", 0.05), "TLS:"),
    ],
)
async def test_what_is_not_tls(script: Any, words: str) -> None:
    before = open_sockets()
    async with stand_in(script, asks=False) as peer:
        found = await look(peer.port, limit_s=0.3)
    assert (found.ok, found.verify_error, found.fingerprint) == (False, None, None)
    assert words in found.detail
    await until(lambda: open_sockets() == before)
    assert not other_tasks()


async def test_port_that_closed_meanwhile() -> None:
    async with stand_in(silence, asks=False) as peer:
        port = peer.port
    found = await look(port)
    assert "Connection refused" in found.detail


async def test_cancelled_it_leaves_nothing() -> None:
    before = open_sockets()
    async with stand_in(silence, asks=False) as peer:
        task = asyncio.create_task(look(peer.port, limit_s=60))
        await until(lambda: peer.held == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: peer.held == 0)
    await until(lambda: open_sockets() == before)
    assert not other_tasks()
