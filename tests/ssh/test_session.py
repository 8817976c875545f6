"""Hosts over SSH against in-process servers: what works, and each failure with its layer, cause and next step."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import asyncssh
import msgspec
import pytest

from probes import clock
from probes.hosts.transport import Transport
from probes.model import LinkState
from tests.support.sshd import FakeHost, Keys, free_port
from tests.support.watching import QUICK, settings_for, watching

LIVE = LinkState.LIVE


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


async def test_a_host_streams_samples_with_a_bounded_age(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server, watching(settings_for(server.host())) as watch:
        record = await watch.until(lambda r: r.samples >= 4 and r.lag_s is not None and r.processes is not None)
        assert record.link.state is LIVE
        assert record.hello is not None
        assert record.hello.hostname == socket.gethostname()
        assert record.hello.mode.startswith("python")
        assert record.sample is not None
        assert record.sample.cpu.utilization_pct is not None
        assert record.sample.cpu.count == os.cpu_count()
        assert record.lag_s is not None
        assert 0 <= record.lag_s < 2
        assert record.bad_lines == 0
        assert {"resolve", "tcp", "banner", "kex", "auth", "bootstrap", "hostname"} <= record.ssh_ms.keys()
        assert all(ms >= 0 for ms in record.ssh_ms.values())
        assert server.connections == 1
        assert len(server.commands) == 1  # one channel for everything, never one a tick


async def test_the_agent_dies_with_its_watcher(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server:
        async with watching(settings_for(server.host())) as watch:
            await watch.until(lambda r: r.samples >= 2)
        (child,) = server.processes
        async with asyncio.timeout(5):
            await child.wait()


async def test_a_killed_agent_is_started_again_and_the_cause_is_kept_as_an_event(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server, watching(settings_for(server.host())) as watch:
        await watch.until(lambda r: r.samples >= 2)
        server.processes[0].kill()
        await watch.until(lambda r: r.link.state is LinkState.AGENT_FAILED)
        seen = watch.record().samples
        await watch.until(lambda r: r.link.state is LIVE and r.samples > seen + 1)
        assert any("agent ended" in event.text for event in watch.fleet.events)


async def test_unknown_host_key_never_connects_and_names_the_fingerprint(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server:
        server.known_hosts.write_text("")
        async with watching(settings_for(server.host())) as watch:
            record = await watch.until(lambda r: r.link.state is LinkState.HOST_KEY_UNKNOWN)
            assert record.link.layer == "host_key"
            assert "SHA256:" in (record.link.cause or "")
            assert "verify" in (record.link.next_step or "")
            assert server.commands == []
            assert record.link.retry_at_boot_s is not None
            assert record.link.retry_at_boot_s - record.link.since_boot_s > 100  # no hammering


async def test_changed_host_key_never_connects_even_with_accept_new(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server:
        server.write_known_hosts(asyncssh.generate_private_key("ssh-ed25519"))
        before = server.known_hosts.read_text()
        async with watching(settings_for(server.host(), accept_new=True)) as watch:
            record = await watch.until(lambda r: r.link.state is LinkState.HOST_KEY_CHANGED)
            assert "maybe not your host" in (record.link.cause or "")
            assert "ssh-keygen -R" in (record.link.next_step or "")
            assert server.commands == []
        assert server.known_hosts.read_text() == before


async def test_a_known_key_of_another_type_is_a_changed_key_and_not_a_vague_failure(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server:
        server.write_known_hosts(asyncssh.generate_private_key("ecdsa-sha2-nistp256"))
        async with watching(settings_for(server.host())) as watch:
            record = await watch.until(lambda r: r.link.state not in {LinkState.CONNECTING, LIVE})
            assert record.link.state is LinkState.HOST_KEY_CHANGED


async def test_accept_new_records_the_key_once_and_is_strict_from_then_on(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server:
        server.known_hosts.unlink()
        async with watching(settings_for(server.host(), accept_new=True)) as watch:
            await watch.until(lambda r: r.samples >= 1)
        assert server.known_hosts.stat().st_mode & 0o777 == 0o600
        assert len(server.known_hosts.read_text().splitlines()) == 1
        async with watching(settings_for(server.host())) as watch:
            await watch.until(lambda r: r.samples >= 1)


async def test_a_refused_key_names_user_and_keys_and_is_not_hammered(tmp_path: Path, keys: Keys) -> None:
    other = Keys(_folder(tmp_path / "other"))
    async with FakeHost(tmp_path, keys) as server:
        host = server.host(identity_files=(str(other.private),), user="nobody-here")
        async with watching(settings_for(host)) as watch:
            record = await watch.until(lambda r: r.link.state is LinkState.AUTH_FAILED)
            assert "nobody-here" in (record.link.cause or "")
            assert str(other.private) in (record.link.cause or "")
            assert (record.link.next_step or "").startswith("try: ssh -v")
            assert record.link.retry_at_boot_s is not None
            assert record.link.retry_at_boot_s - record.link.since_boot_s > 100


async def test_a_missing_identity_file_is_named(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server:
        host = server.host(identity_files=(str(tmp_path / "nowhere"),))
        async with watching(settings_for(host)) as watch:
            record = await watch.until(lambda r: r.link.state is LinkState.AUTH_FAILED)
            assert f"{tmp_path / 'nowhere'}: no such file" in (record.link.cause or "")


class _Answers:
    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.prompts: list[tuple[str, str, bool]] = []

    async def ask(self, prompt: str, *, host_id: str, secret: bool) -> str | None:
        self.prompts.append((prompt, host_id, secret))
        return self.answers.pop(0) if self.answers else None


def _lock(keys: Keys, passphrase: str) -> None:
    # few rounds: how long it takes to try passphrases is not ours to test
    key = asyncssh.read_private_key(keys.private)
    key.write_private_key(keys.private, passphrase=passphrase, rounds=4, ignore_few_rounds=True)


async def test_an_encrypted_key_is_asked_for_once_and_serves_several_hosts(tmp_path: Path, keys: Keys) -> None:
    _lock(keys, "sesame")
    async with FakeHost(tmp_path, keys) as one, FakeHost(tmp_path, keys) as two:
        asker = _Answers("wrong", "sesame")
        async with watching(settings_for(one.host("one"), two.host("two")), asker) as watch:
            await watch.until(lambda r: r.samples >= 1, "one")
            await watch.until(lambda r: r.samples >= 1, "two")
        assert [prompt[2] for prompt in asker.prompts] == [True, True]
        assert "that was not it" in asker.prompts[1][0]


async def test_headless_an_encrypted_key_fails_with_the_reason(tmp_path: Path, keys: Keys) -> None:
    _lock(keys, "sesame")
    async with FakeHost(tmp_path, keys) as server, watching(settings_for(server.host())) as watch:
        record = await watch.until(lambda r: r.link.state is LinkState.AUTH_FAILED)
        assert "is encrypted (add it to ssh-agent)" in (record.link.cause or "")


async def test_keyboard_interactive_is_asked_and_never_stored(tmp_path: Path, keys: Keys) -> None:
    class Server(asyncssh.SSHServer):
        def kbdint_auth_supported(self) -> bool:
            return True

        def public_key_auth_supported(self) -> bool:
            return False

        def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
            return ("", "", "", [("One-time code\x1b[2J:", False)])

        def validate_kbdint_response(self, username: str, responses: Any) -> bool:
            return list(responses) == ["123456"]

    fake = FakeHost(tmp_path, keys)
    await fake.start()
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Server,
        server_host_keys=[fake._host_key],
        process_factory=fake._shell,
        encoding=None,
    )
    try:
        port = server.sockets[0].getsockname()[1]
        fake.port = port
        fake.write_known_hosts()
        asker = _Answers("123456")
        async with watching(settings_for(fake.host()), asker) as watch:
            await watch.until(lambda r: r.samples >= 1)
        assert len(asker.prompts) == 1
        assert "One-time code[2J:" in asker.prompts[0][0]
    finally:
        server.close()
        await server.wait_closed()
        await fake.stop()


async def test_a_refused_port_is_refused_and_a_silent_one_filtered(tmp_path: Path, keys: Keys) -> None:
    host = FakeHost(tmp_path, keys).host()
    with _backlogged() as silent_port:
        refused = msgspec.structs.replace(host, id="refused", port=free_port())
        silent = msgspec.structs.replace(host, id="silent", port=silent_port)
        async with watching(settings_for(refused, silent)) as watch:
            record = await watch.until(lambda r: r.link.state is LinkState.UNREACHABLE, "refused")
            assert record.link.layer == "tcp"
            assert "refused" in (record.link.cause or "")
            record = await watch.until(lambda r: r.link.state is LinkState.UNREACHABLE, "silent")
            assert "filtered" in (record.link.cause or "")


async def test_a_name_that_does_not_resolve_is_said(tmp_path: Path, keys: Keys) -> None:
    host = FakeHost(tmp_path, keys).host(address="no-such-host.invalid", port=22)
    async with watching(settings_for(host)) as watch:
        record = await watch.until(lambda r: r.link.state is LinkState.UNREACHABLE)
        assert record.link.layer == "resolve"
        assert "no-such-host.invalid" in (record.link.cause or "")


@pytest.mark.parametrize(
    ("script", "layer", "words"),
    [
        ("silent", "banner", "no SSH banner in 1 s"),
        ("closes", "banner", "closed without a banner"),
        ("http", "kex", ""),
        ("banner_only", "kex", "key exchange did not finish"),
    ],
)
async def test_a_broken_handshake_names_its_phase(
    tmp_path: Path, keys: Keys, script: str, layer: str, words: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            if script == "http":
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            elif script == "banner_only":
                writer.write(b"SSH-2.0-Stuck_1.0\r\n")
            if script in {"silent", "banner_only"}:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    host = msgspec.structs.replace(FakeHost(tmp_path, keys).host(), port=port)
    intervals = msgspec.structs.replace(QUICK, kex_s=1.0)
    try:
        async with watching(settings_for(host, intervals=intervals)) as watch:
            record = await watch.until(lambda r: r.link.state is LinkState.UNREACHABLE)
            assert record.link.layer == layer
            assert words in (record.link.cause or "")
            assert record.link.next_step
    finally:
        server.close()
        await server.wait_closed()


async def test_a_forced_command_is_named_with_what_it_printed(tmp_path: Path, keys: Keys) -> None:
    async def forced(process: Any) -> None:
        process.stdout.write(b"This account is only for backups.\r\n")
        process.exit(1)

    async with FakeHost(tmp_path, keys, forced) as server, watching(settings_for(server.host())) as watch:
        record = await watch.until(lambda r: r.link.state is LinkState.AGENT_FAILED)
        assert record.link.layer == "bootstrap"
        assert "only for backups" in (record.link.cause or "")
        assert "exit status 1" in (record.link.cause or "")


async def test_noise_before_the_agent_is_ignored_and_endless_noise_is_cut(tmp_path: Path, keys: Keys) -> None:
    async def endless(process: Any) -> None:
        with contextlib.suppress(BrokenPipeError, asyncssh.Error, ConnectionError):
            while True:
                process.stdout.write(b"welcome to this very nice machine\n" * 1000)
                await process.stdout.drain()

    async with FakeHost(tmp_path, keys, endless) as server, watching(settings_for(server.host())) as watch:
        record = await watch.until(lambda r: r.link.state is LinkState.AGENT_FAILED)
        assert record.link.layer in {"bootstrap", "flood"}
        assert record.samples == 0


def _agent_that_sends(payload: bytes, *, then_wait: bool = True) -> Any:
    """A handler that boots like a Python agent and then sends what the test wants."""

    async def handle(process: Any) -> None:
        nonce = process.command.split("QDK1 ")[1].split()[0].strip("\"'\\")
        process.stdout.write(f"QDK1 {nonce} python 3.11.2\n".encode())
        process.stdout.write(payload)
        with contextlib.suppress(BrokenPipeError, asyncssh.Error, ConnectionError):
            await process.stdout.drain()
            if then_wait:
                await process.stdin.read()

    return handle


_GOOD = (
    b'{"t":"s","seq":%d,"uptime_s":5,"cpu":[1,null,null],"memory":[null,null,null,null,null],'
    b'"agent":[null,null],"missing":{"cpu.utilization_pct":"not_yet"}}\t{"cpu":[null,null,null],"gpus":[]}\n'
)


async def test_garbage_lines_are_counted_and_shown_and_the_good_ones_used(tmp_path: Path, keys: Keys) -> None:
    payload = _GOOD % 1 + b"\x00\xff\x1b[2J garbage\n{}\n" + b"[" * 3000 + b"\n" + _GOOD % 2
    async with (
        FakeHost(tmp_path, keys, _agent_that_sends(payload)) as server,
        watching(settings_for(server.host())) as watch,
    ):
        record = await watch.until(lambda r: r.samples == 2)
        assert record.bad_lines == 3
        assert record.bad_text
        assert record.bad_text.isprintable()
        assert record.link.state is LIVE


async def test_a_line_of_100_megabytes_costs_neither_memory_nor_the_host(tmp_path: Path, keys: Keys) -> None:
    async def handle(process: Any) -> None:
        nonce = process.command.split("QDK1 ")[1].split()[0].strip("\"'\\")
        process.stdout.write(f"QDK1 {nonce} python 3.11.2\n".encode() + _GOOD % 1)
        with contextlib.suppress(BrokenPipeError, asyncssh.Error, ConnectionError):
            for _ in range(100):
                process.stdout.write(b"x" * 1_000_000)
                await process.stdout.drain()
            process.stdout.write(b"\n" + _GOOD % 2)
            await process.stdin.read()

    async with FakeHost(tmp_path, keys, handle) as server, watching(settings_for(server.host())) as watch:
        await watch.until(lambda r: r.samples == 1)
        before = _rss_kib()
        record = await watch.until(lambda r: r.bad_lines >= 1 or r.link.state is LinkState.AGENT_FAILED, limit_s=30)
        assert "longer than 1 MiB" in record.bad_text or "flood" in (record.link.cause or "") + record.bad_text
        assert _rss_kib() - before < 40_000


def _rss_kib() -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0])


async def test_a_flood_is_paused_then_dropped_with_that_reason_and_others_are_untouched(
    tmp_path: Path, keys: Keys
) -> None:
    async def flood(process: Any) -> None:
        nonce = process.command.split("QDK1 ")[1].split()[0].strip("\"'\\")
        process.stdout.write(f"QDK1 {nonce} python 3.11.2\n".encode())
        with contextlib.suppress(BrokenPipeError, asyncssh.Error, ConnectionError):
            while True:
                process.stdout.write((_GOOD % 1) * 200)
                await process.stdout.drain()

    async with FakeHost(tmp_path, keys, flood) as bad, FakeHost(tmp_path, keys) as good:
        async with watching(settings_for(bad.host("bad"), good.host("good"))) as watch:
            await watch.until(lambda r: r.samples >= 2, "good")
            record = await watch.until(lambda r: r.link.state is LinkState.AGENT_FAILED, "bad", limit_s=30)
            assert record.link.layer == "flood"
            assert (record.link.cause or "").startswith("over 100 times the expected rate")
            assert "flood" in record.bad_text
            assert watch.record("good").link.state is LIVE


async def test_a_silent_agent_is_stale_then_given_up_and_the_last_values_stay(tmp_path: Path, keys: Keys) -> None:
    handler = _agent_that_sends(_GOOD % 1)
    async with FakeHost(tmp_path, keys, handler) as server, watching(settings_for(server.host())) as watch:
        record = await watch.until(lambda r: r.link.state is LinkState.STALE)
        assert record.sample is not None
        record = await watch.until(lambda r: r.link.state is LinkState.AGENT_FAILED)
        assert record.link.layer == "silence"
        assert record.sample is not None


async def test_pause_disconnects_and_resume_connects_again(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server, watching(settings_for(server.host("h"))) as watch:
        await watch.until(lambda r: r.samples >= 1)
        watch.supervisor.pause("h")
        await watch.until(lambda r: r.link.state is LinkState.PAUSED)
        async with asyncio.timeout(5):
            await server.processes[0].wait()
        seen = watch.record().samples
        watch.supervisor.resume("h")
        await watch.until(lambda r: r.link.state is LIVE and r.samples > seen)


async def test_reload_adds_removes_and_keeps(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as one, FakeHost(tmp_path, keys) as two:
        async with watching(settings_for(one.host("one"))) as watch:
            await watch.until(lambda r: r.samples >= 1, "one")
            watch.apply(hosts=(one.host("one"), two.host("two")))
            await watch.until(lambda r: r.samples >= 1, "two")
            assert one.connections == 1  # an unchanged host keeps its connection
            watch.apply(hosts=(two.host("two"),))
            assert "one" not in watch.fleet.hosts
            async with asyncio.timeout(5):
                await one.processes[0].wait()


async def test_process_list_every_tick_on_request(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server, watching(settings_for(server.host("h"))) as watch:
        await watch.until(lambda r: r.processes is not None)
        first = watch.record().processes_at_boot_s
        watch.supervisor.want_processes("h", True)
        await watch.until(lambda r: r.processes_at_boot_s > first)
        assert any(p.pid == os.getpid() for p in watch.record().processes.top) or watch.record().processes.total > 40


async def test_this_machine_is_watched_by_the_same_agent_without_ssh() -> None:
    from probes.config import default_settings

    settings = msgspec.structs.replace(default_settings(), intervals=QUICK)
    async with watching(settings) as watch:
        record = await watch.until(lambda r: r.samples >= 2)
        assert record.link.state is LIVE
        assert record.hello is not None
        assert record.hello.hostname == socket.gethostname()


async def test_hosts_behind_a_jump_share_one_connection_to_it(tmp_path: Path, keys: Keys) -> None:
    class Jump(asyncssh.SSHServer):
        count = 0

        def connection_made(self, conn: Any) -> None:
            Jump.count += 1

        def connection_requested(self, *_: object) -> bool:
            return True

    fake = FakeHost(tmp_path, keys)
    jump = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Jump,
        server_host_keys=[fake._host_key],
        authorized_client_keys=str(keys.authorized),
    )
    try:
        fake.port = jump.sockets[0].getsockname()[1]
        spec = f"{fake.host().user}@127.0.0.1:{fake.port}"
        async with FakeHost(tmp_path, keys) as one, FakeHost(tmp_path, keys) as two:
            known = tmp_path / "all_known"
            fake.write_known_hosts()
            known.write_text(fake.known_hosts.read_text() + one.known_hosts.read_text() + two.known_hosts.read_text())
            hosts = [
                server.host(name, proxy_jump=spec, known_hosts=(str(known),))
                for name, server in (("one", one), ("two", two))
            ]
            async with watching(settings_for(*hosts)) as watch:
                await watch.until(lambda r: r.samples >= 1, "one")
                await watch.until(lambda r: r.samples >= 1, "two")
                assert Jump.count == 1
            dead = hosts[0]
            async with watching(settings_for(msgspec.structs.replace(dead, id="dead", port=free_port()))) as watch:
                record = await watch.until(lambda r: r.link.state is LinkState.UNREACHABLE)
                assert "the jump host could not reach" in (record.link.cause or "")
    finally:
        jump.close()
        await jump.wait_closed()


async def test_a_host_that_does_not_trust_its_jump_host_does_not_ride_on_one_that_does(
    tmp_path: Path, keys: Keys
) -> None:
    async with FakeHost(tmp_path, keys) as jump, FakeHost(tmp_path, keys) as one, FakeHost(tmp_path, keys) as two:
        jump.forward = True
        spec = f"{jump.host().user}@127.0.0.1:{jump.port}"
        known = tmp_path / "all_known"
        known.write_text("".join(each.known_hosts.read_text() for each in (jump, one, two)))
        trusting = one.host("trusting", proxy_jump=spec, known_hosts=(str(known),))
        strict = two.host("strict", proxy_jump=spec)  # knows the key of its own host alone
        async with watching(settings_for(trusting, strict)) as watch:
            await watch.until(lambda r: r.samples >= 1, "trusting")
            record = await watch.until(lambda r: r.link.state is LinkState.HOST_KEY_UNKNOWN, "strict")
            assert "jump host" in (record.link.cause or "")
            since_s = record.link.since_boot_s
            watch.supervisor.reconnect("strict")  # now there surely is a connection that it could ride on
            await watch.until(
                lambda r: r.link.state is LinkState.HOST_KEY_UNKNOWN and r.link.since_boot_s > since_s, "strict"
            )
            assert two.connections == 0


async def test_nobody_waits_for_a_hung_host(tmp_path: Path, keys: Keys) -> None:
    """Twice as many hosts hang before their banner as may connect at once: a healthy one is not delayed by them."""
    with contextlib.ExitStack() as stack:
        hung = [stack.enter_context(_listening()) for _ in range(8)]
        async with FakeHost(tmp_path, keys) as server:
            hosts = [msgspec.structs.replace(server.host(), id=f"hung{i}", port=port) for i, port in enumerate(hung)]
            intervals = msgspec.structs.replace(QUICK, banner_s=10.0)
            async with watching(
                settings_for(*hosts, server.host("good"), intervals=intervals, connect_concurrency=4)
            ) as watch:
                await watch.until(lambda r: r.samples >= 1, "good", limit_s=8)
                assert watch.record("hung0").link.state is LinkState.CONNECTING


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@contextlib.contextmanager
def _listening() -> Any:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(8)
        yield sock.getsockname()[1]


@contextlib.contextmanager
def _backlogged() -> Any:
    """A port that is silent without a firewall: its accept queue is full, so the kernel drops every SYN."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
            fillers.append(filler)
        try:
            yield sock.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()


async def test_a_suspended_laptop_is_said_and_every_link_gets_time_to_prove_itself(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The boot clock jumps by five minutes as after a suspend: nothing is dropped for it, and no age is a lie."""
    async with FakeHost(tmp_path, keys) as server, watching(settings_for(server.host())) as watch:
        await watch.until(lambda r: r.samples >= 2)
        seen = watch.record().samples
        real = clock.boot_s
        monkeypatch.setattr(clock, "boot_s", lambda: real() + 300.0)
        await watch.until(lambda r: any("slept for 300 s" in event.text for event in watch.fleet.events))
        await watch.until(lambda r: r.link.state is LIVE and r.samples > seen + 2)
        assert server.connections == 1
        age_s = watch.record().age_s(clock.boot_s())
        assert age_s is not None
        assert age_s < 60


async def test_a_defect_of_ours_costs_no_host_its_watcher(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeHost(tmp_path, keys) as server:
        real = Transport.connect
        calls = 0

        async def sometimes(self: Transport, *args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise TypeError("a defect")
            return await real(self, *args, **kwargs)

        monkeypatch.setattr(Transport, "connect", sometimes)
        async with watching(settings_for(server.host())) as watch:
            await watch.until(lambda r: r.samples >= 1)
            assert any("TypeError: a defect" in event.text for event in watch.fleet.events)


async def test_an_exception_while_reading_is_counted_and_the_stream_goes_on(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeHost(tmp_path, keys) as server, watching(settings_for(server.host())) as watch:
        await watch.until(lambda r: r.samples >= 2)
        seen = watch.record().samples
        real = watch.fleet.ingest
        raised = []

        def once(*args: Any) -> None:
            if not raised:
                raised.append(True)
                raise RuntimeError("boom")
            real(*args)

        monkeypatch.setattr(watch.fleet, "ingest", once)
        await watch.until(lambda r: r.samples > seen + 1)
        assert watch.record().bad_lines == 1
        assert "RuntimeError: boom" in watch.record().bad_text
        assert server.connections == 1
