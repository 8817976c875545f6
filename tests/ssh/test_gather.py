"""SSH on a socket of ours: what is written while reading leaves together, and nothing is left behind or cut off."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest
from asyncssh.constants import MSG_IGNORE

from probes.hosts.gather import GatheringTransport, connect_on
from probes.hosts.keys import Identities
from probes.hosts.known_hosts import KnownHosts
from probes.hosts.ssh_config import DialPlan
from probes.hosts.ssh_options import SharedOptions, for_host
from tests.support.leaks import open_sockets, other_tasks, until
from tests.support.sshd import FakeHost, Keys

if TYPE_CHECKING:
    from pathlib import Path


class _Inner(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.ended = ""

    def write(self, data: Any) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


def test_what_is_written_while_held_leaves_at_once_and_in_order() -> None:
    inner = _Inner()
    transport = GatheringTransport(inner)
    transport.write(b"at once")
    assert inner.sent == [b"at once"]
    transport.hold()
    buffer = bytearray(b"c")
    for part in (b"a", b"b", buffer):
        transport.write(part)
    buffer[:] = b"x"  # the caller's again
    assert inner.sent == [b"at once"]
    transport.let_go()
    assert inner.sent == [b"at once", b"abc"]
    transport.hold()
    transport.let_go()
    transport.write(b"d")
    assert inner.sent == [b"at once", b"abc", b"d"]


def test_closing_sends_what_waits_and_aborting_does_not() -> None:
    closed, aborted = _Inner(), _Inner()
    polite, rude = GatheringTransport(closed), GatheringTransport(aborted)
    for transport in (polite, rude):
        transport.hold()
        transport.write(b"bye")
    polite.close()
    rude.abort()
    for transport in (polite, rude):
        assert transport.is_closing()
        transport.let_go()
    assert (closed.sent, aborted.sent) == ([b"bye"], [])


def _options(server: FakeHost, keys: Keys, **algorithms: str) -> asyncssh.SSHClientConnectionOptions:
    plan = DialPlan(server.address, server.port, "me", algorithms=algorithms)
    pairs = tuple(asyncssh.load_keypairs(str(keys.private)))
    trusted = KnownHosts().lookup((str(server.known_hosts),), server.address, "", server.port)
    return for_host(SharedOptions().of(plan, Identities(pairs, (), (), ())), plan, trusted, asyncssh.SSHClient)


async def _socket_to(server: FakeHost) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (server.address, server.port))
    return sock


async def test_a_large_write_arrives_whole_and_the_goodbye_is_heard(tmp_path: Path) -> None:
    keys, got = Keys(tmp_path), bytearray()
    ends: list[Exception | None] = []

    async def swallow(process: Any) -> None:
        while data := await process.stdin.read(65536):
            got.extend(data)
        process.stdout.write(b"%d\n" % len(got))
        process.exit(0)

    class Ending(asyncssh.SSHServer):
        def connection_lost(self, exc: Exception | None) -> None:
            ends.append(exc)

    async with FakeHost(tmp_path, keys, swallow) as server:
        server._server.close()
        listener = await asyncssh.listen(
            server.address,
            server.port,
            server_factory=Ending,
            server_host_keys=[server._host_key],
            authorized_client_keys=str(keys.authorized),
            process_factory=swallow,
            encoding=None,
            reuse_address=True,
        )
        connection = await connect_on(await _socket_to(server), _options(server, keys))
        body = bytes(range(256)) * 20_000
        done = await connection.run("count", input=body, encoding=None)
        assert done.stdout == b"%d\n" % len(body)
        assert got == body
        connection.close()
        await connection.wait_closed()
        await until(lambda: bool(ends))
        assert ends == [None]  # an orderly end, not a lost connection
        listener.close()
        await listener.wait_closed()


@pytest.mark.parametrize(
    ("cipher", "ignores"), [("aes128-gcm@openssh.com", False), ("aes256-ctr", False), ("aes256-cbc", True)]
)
async def test_empty_packets_go_before_others_only_with_ciphers_that_need_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cipher: str, ignores: bool
) -> None:
    keys, sent = Keys(tmp_path), list[int]()
    send = asyncssh.SSHClientConnection.send_packet

    def noted(self: Any, pkttype: int, *args: bytes, **more: Any) -> None:
        sent.append(pkttype)
        send(self, pkttype, *args, **more)

    monkeypatch.setattr(asyncssh.SSHClientConnection, "send_packet", noted)
    async with FakeHost(
        tmp_path, keys, encryption_algs=["aes128-gcm@openssh.com", "aes256-ctr", "aes256-cbc"]
    ) as server:
        connection = await connect_on(await _socket_to(server), _options(server, keys, encryption_algs=cipher))
        assert connection.get_extra_info("send_cipher") == cipher
        done = await connection.run("echo said", encoding=None)
        connection.close()
        await connection.wait_closed()
    assert done.stdout == b"said\n"
    assert (MSG_IGNORE in sent) is ignores


async def test_a_wrong_host_key_is_refused(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    async with FakeHost(tmp_path, keys) as server:
        server.write_known_hosts(asyncssh.generate_private_key("ssh-ed25519"))
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            await connect_on(await _socket_to(server), _options(server, keys))


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 20])
async def test_cancelled_at_any_moment_it_leaves_nothing(tmp_path: Path, turns: int) -> None:
    keys = Keys(tmp_path)
    async with FakeHost(tmp_path, keys) as server:
        options = _options(server, keys)
        sockets, tasks = open_sockets(), other_tasks()
        sock = await _socket_to(server)
        trying = asyncio.create_task(connect_on(sock, options))
        for _ in range(turns):
            await asyncio.sleep(0)
        trying.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await trying
        sock.close()
        await until(lambda: open_sockets() <= sockets and other_tasks() <= tasks)
