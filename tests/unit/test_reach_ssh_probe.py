"""SSH behind an open port: asyncssh's server, Debian's sshd, and peers that are none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from probes.evidence import KeyCheck, Opening, SshProbe
from probes.hosts.known_hosts import KnownHosts
from probes.reach.opening import Heard
from probes.reach.ssh_probe import SshAsk, ssh_probe
from probes.reach.stream import SocketStream
from probes.reach.tcp import tcp_connect
from probes.reach.trust import Known
from tests.support.http_standin import endless, hang_up, says, silence, stand_in
from tests.support.leaks import open_sockets, other_tasks, until
from tests.support.sshd import Keys, RealSshd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

KEY = asyncssh.generate_private_key("ssh-ed25519")
OTHER = asyncssh.generate_private_key("ssh-ed25519")
ECDSA = asyncssh.generate_private_key("ecdsa-sha2-nistp256")


def known(folder: Path, port: int, *lines: str) -> Known:
    """What a known_hosts file of these lines says of ``[box]:port``."""
    file = folder / "known"
    file.write_text("".join(f"{line.format(name=f'[box]:{port}')}\n" for line in lines))
    return Known("box", "me", KnownHosts().lookup([str(file)], "box", "", port))


def line(key: asyncssh.SSHKey) -> str:
    return f"{{name}} {key.export_public_key().decode().strip()}"


async def probe(port: int, ask: SshAsk, banner_s: float = 5.0, kex_s: float = 5.0) -> SshProbe:
    result = await tcp_connect("127.0.0.1", port, 5.0)
    assert result.sock is not None
    with result.sock as sock:
        return await ssh_probe(Heard(SocketStream(sock)), ask, banner_s, kex_s)


class _Server(asyncssh.SSHServer):
    """Notes every user name that asks to log in."""

    asked: list[str]

    def begin_auth(self, username: str) -> bool:
        self.asked.append(username)
        return True

    def password_auth_supported(self) -> bool:
        return True


async def against(work: Callable[[int], Awaitable[SshProbe]], *keys: Any, **options: Any) -> tuple[SshProbe, list[str]]:
    """Run a probe against an asyncssh server with these host keys; the probe, and who tried to log in."""
    asked: list[str] = []
    kind = type("Server", (_Server,), {"asked": asked})
    server = await asyncssh.listen("127.0.0.1", 0, server_factory=kind, server_host_keys=list(keys), **options)
    try:
        return await work(server.sockets[0].getsockname()[1]), asked
    finally:
        server.close()
        await server.wait_closed()


# --- the host key ---


async def test_known_key_matches_and_nobody_logs_in(tmp_path: Path) -> None:
    async def work(port: int) -> SshProbe:
        return await probe(port, SshAsk("box", port, known(tmp_path, port, line(KEY))))

    found, asked = await against(work, KEY)
    assert (found.opening, found.host_key, found.detail) == (Opening.BANNER, KeyCheck.MATCH, "")
    assert found.fingerprint == found.known_fingerprint == KEY.get_fingerprint()
    assert found.banner.startswith("SSH-2.0-AsyncSSH")
    assert found.banner_ms is not None
    assert found.auth_methods is None
    assert not found.kex_stalled
    assert asked == []
    await until(lambda: not other_tasks())


async def test_other_key_is_changed_and_both_are_named(tmp_path: Path) -> None:
    async def work(port: int) -> SshProbe:
        return await probe(port, SshAsk("box", port, known(tmp_path, port, line(OTHER)), auth_methods=True))

    found, asked = await against(work, KEY)
    assert found.host_key is KeyCheck.CHANGED
    assert (found.fingerprint, found.known_fingerprint) == (KEY.get_fingerprint(), OTHER.get_fingerprint())
    assert found.auth_methods is None
    assert "authentication methods not asked: the key is not the known one" in found.detail
    # not even a user name is told to a host that may not be ours
    assert asked == []


async def test_known_type_is_asked_for_first(tmp_path: Path) -> None:
    async def work(port: int) -> SshProbe:
        return await probe(port, SshAsk("box", port, known(tmp_path, port, line(ECDSA))))

    found, _ = await against(work, KEY, ECDSA)
    assert found.host_key is KeyCheck.MATCH
    # a server that has no key of that type presents another, which is then another key
    found, _ = await against(work, KEY)
    assert found.host_key is KeyCheck.CHANGED


async def test_unknown_host_is_unknown(tmp_path: Path) -> None:
    async def work(port: int) -> SshProbe:
        return await probe(port, SshAsk("box", port, known(tmp_path, port)))

    found, _ = await against(work, KEY)
    assert (found.host_key, found.detail) == (KeyCheck.UNKNOWN, "box is not in known_hosts")
    assert (found.fingerprint, found.known_fingerprint) == (KEY.get_fingerprint(), None)


async def test_without_known_hosts_the_key_is_shown_and_not_checked() -> None:
    async def work(port: int) -> SshProbe:
        return await probe(port, SshAsk("box", port, unchecked="no known_hosts at hand"))

    found, asked = await against(work, KEY)
    assert (found.host_key, found.detail) == (KeyCheck.NOT_CHECKED, "no known_hosts at hand")
    assert found.fingerprint == KEY.get_fingerprint()
    assert asked == []


async def test_revoked_key_is_changed(tmp_path: Path) -> None:
    async def work(port: int) -> SshProbe:
        return await probe(port, SshAsk("box", port, known(tmp_path, port, "@revoked " + line(KEY), line(OTHER))))

    found, _ = await against(work, KEY)
    assert found.host_key is KeyCheck.CHANGED
    assert "revoked" in found.detail
    assert found.known_fingerprint == OTHER.get_fingerprint()


async def test_host_certificates_are_judged_by_their_authority(tmp_path: Path) -> None:
    certificate = OTHER.generate_host_certificate(KEY, "box", principals=["box"])

    async def trusting(port: int) -> SshProbe:
        # the address that was dialled is not the name the certificate is for
        return await probe(port, SshAsk("127.0.0.1", port, known(tmp_path, port, "@cert-authority " + line(OTHER))))

    async def distrusting(port: int) -> SshProbe:
        return await probe(port, SshAsk("box", port, known(tmp_path, port, "@cert-authority " + line(ECDSA))))

    found, _ = await against(trusting, (KEY, certificate))
    assert found.host_key is KeyCheck.MATCH
    found, _ = await against(distrusting, (KEY, certificate))
    assert found.host_key is KeyCheck.CHANGED
    assert "authority" in found.detail


# --- methods, only when asked for ---


async def test_methods_are_asked_only_on_request(tmp_path: Path) -> None:
    async def work(port: int) -> SshProbe:
        return await probe(port, SshAsk("box", port, known(tmp_path, port, line(KEY)), auth_methods=True))

    found, asked = await against(work, KEY)
    assert found.host_key is KeyCheck.MATCH
    assert found.auth_methods is not None
    assert "password" in found.auth_methods
    assert asked == ["me"]


@pytest.mark.needs("sshd")
async def test_real_sshd(tmp_path: Path) -> None:
    with RealSshd(tmp_path / "sshd", Keys(tmp_path)) as sshd:
        trusted = KnownHosts().lookup([str(sshd.known_hosts)], sshd.address, "", sshd.port)
        plain = await probe(sshd.port, SshAsk(sshd.address, sshd.port, Known(sshd.address, "nobody", trusted)))
        asked = await probe(
            sshd.port, SshAsk(sshd.address, sshd.port, Known(sshd.address, "nobody", trusted), auth_methods=True)
        )
        log = sshd.log.read_text()
    assert plain.host_key is asked.host_key is KeyCheck.MATCH
    assert plain.banner.startswith("SSH-2.0-OpenSSH")
    assert plain.auth_methods is None
    assert asked.auth_methods == ("publickey",)
    assert "password" not in log.lower()


# --- whoever is no SSH server ---


@pytest.mark.parametrize(
    ("script", "opening", "words"),
    [
        (silence, Opening.SILENT, "no SSH banner in 0.3 s"),
        (hang_up, Opening.CLOSED, "closed without a byte (end of stream)"),
        (says(b"Exceeded MaxStartups\r\n"), Opening.GARBAGE, 'it answered "Exceeded MaxStartups", then closed it'),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Opening.GARBAGE, "HTTP/1.1 400 Bad Request"),
        (says(b"\x1b[2J\x00\xff\xfe"), Opening.GARBAGE, "not SSH"),
        (endless(b"", b"A" * 8192), Opening.GARBAGE, "not SSH"),
        (endless(b"220 mail\r\n", b"220 mail\r\n", 0.01), Opening.GARBAGE, "220 mail"),
        (endless(b"S", b"S", 0.05), Opening.GARBAGE, "not SSH"),
    ],
)
async def test_what_is_not_ssh(script: Any, opening: Opening, words: str) -> None:
    before = open_sockets()
    async with stand_in(script, asks=False) as peer:
        found = await probe(peer.port, SshAsk("box", peer.port), 0.3, 0.3)
        assert (found.opening, found.banner) == (opening, "")
        assert words in found.detail
        assert found.host_key is KeyCheck.NOT_CHECKED
    assert not found.kex_stalled
    assert open_sockets() == before
    assert not other_tasks()


async def test_banner_and_then_nothing_is_a_stalled_key_exchange() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\r\nSSH-2.0-OpenSSH_9.6\x1b[31m\r\n")
        await reader.read(1 << 20)
        await asyncio.sleep(60)

    async with stand_in(script, asks=False) as peer:
        found = await probe(peer.port, SshAsk("box", peer.port), 5.0, 0.2)
    assert found.kex_stalled
    assert (found.opening, found.banner) == (Opening.BANNER, "SSH-2.0-OpenSSH_9.6[31m")
    assert found.detail == "the banner came, the key exchange did not finish in 0.2 s"


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (b"", "closed during the key exchange"),
        (b"\xff" * 64, "key exchange"),
        (b"\x00" * 64, "key exchange"),
    ],
)
async def test_banner_and_then_nonsense_is_said(after: bytes, words: str) -> None:
    async with stand_in(says(b"SSH-2.0-x\r\n" + after), asks=False) as peer:
        found = await probe(peer.port, SshAsk("box", peer.port))
    assert (found.opening, found.host_key, found.kex_stalled) == (Opening.BANNER, KeyCheck.NOT_CHECKED, False)
    assert words in found.detail
    assert not other_tasks()


@pytest.mark.parametrize("first", [b"SSH-2.0-\xff\xfe\r\n", b"SSH-1.5-old\r\n"])
async def test_banner_that_the_library_cannot_take(first: bytes) -> None:
    async with stand_in(says(first), asks=False) as peer:
        found = await probe(peer.port, SshAsk("box", peer.port))
    assert found.opening is Opening.BANNER
    assert found.detail


async def test_endless_data_in_the_key_exchange_is_bounded() -> None:
    packet = (1020).to_bytes(4, "big") + bytes([10, 2]) + bytes(1018)
    async with stand_in(endless(b"SSH-2.0-x\r\n", packet * 8), asks=False) as peer:
        found = await probe(peer.port, SshAsk("box", peer.port))
    assert found.opening is Opening.BANNER
    assert found.detail
    assert not other_tasks()


async def test_cancelled_it_leaves_nothing() -> None:
    before = open_sockets()
    async with stand_in(silence, asks=False) as peer:
        task = asyncio.create_task(probe(peer.port, SshAsk("box", peer.port), 60.0, 60.0))
        await until(lambda: peer.held == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: peer.held == 0)
    assert open_sockets() == before
    assert not other_tasks()
