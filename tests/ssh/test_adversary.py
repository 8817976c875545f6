"""Hosts that lie, flood, hang and die at the worst moment, in front of a running supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import asyncssh
import msgspec
import pytest

from probes import export, exposition
from probes.errors import AgentError, LinkError
from probes.hosts import agent
from probes.hosts.handshake import Handshake
from probes.hosts.keys import KeyRing
from probes.hosts.known_hosts import Trusted
from probes.hosts.session import HostSession
from probes.hosts.ssh_config import DialPlan
from probes.hosts.stream import AgentStream
from probes.judge.condition import condition
from probes.model import Host, LinkState
from tests.support.sshd import FakeHost, Keys
from tests.support.watching import QUICK, settings_for, watching

if TYPE_CHECKING:
    from pathlib import Path

LIVE = LinkState.LIVE


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def _sample(seq: int = 1, **over: Any) -> bytes:
    line = {
        "t": "s",
        "seq": seq,
        "uptime_s": 5,
        "cpu": [1, None, None, None, None, None],
        "memory": [None, None, None, None, None],
        "agent": [None, None],
        **over,
    }
    return b"\t".join(json.dumps(part).encode() for part in agent.two_parts(line)) + b"\n"


def _gpu(index: int = 0, total: Any = 80, used: Any = 40, name: str = "H100") -> list[Any]:
    tail = [None] * 9
    return [index, 1.0, total, used, 50.0, 100.0, None, None, None, {}, "GPU-1", name, *tail, []]


async def _boot(process: Any) -> str:
    nonce = process.command.split("QDK1 ")[1].split()[0].strip("\"'\\")
    process.stdout.write(f"QDK1 {nonce} python 3.11.2\n".encode())
    return nonce


def _agent_that_sends(*lines: bytes) -> Any:
    async def handle(process: Any) -> None:
        await _boot(process)
        with contextlib.suppress(BrokenPipeError, asyncssh.Error, ConnectionError):
            for line in lines:
                process.stdout.write(line)
                await process.stdout.drain()
            await process.stdin.read()

    return handle


async def test_absurd_numbers_and_texts_are_refused_and_nothing_that_reads_the_store_fails(
    tmp_path: Path, keys: Keys
) -> None:
    lies = [
        _sample(2, gpus=[_gpu(used=10**400, total=10**400)]),
        _sample(3, gpus=[_gpu(used=2**64, total=2**64)]),
        _sample(4, uptime_s=1e300),
        _sample(5, echo=[1, 10**400]),
        _sample(6, gpus=[_gpu(name="x" * 100_000)]),
        _sample(7, xid_events=[[1.0, "0000:01", n, "m"] for n in range(20_000)]),
        _sample(8, missing={f"field{n}": "error" for n in range(20_000)}),
        _sample(9, gpus=[_gpu(used=-5, total=-7), _gpu(), _gpu()]),
    ]
    handler = _agent_that_sends(_sample(1), *lies)
    # at one sample a second the megabyte of lies is no flood: each line is looked at
    intervals = msgspec.structs.replace(QUICK, sample_s=1.0)
    async with (
        FakeHost(tmp_path, keys, handler) as server,
        watching(settings_for(server.host(), intervals=intervals)) as watch,
    ):
        record = await watch.until(lambda r: r.sample is not None and r.sample.seq == 9)
        assert record.bad_lines == len(lies) - 1
        assert record.link.state is LIVE
        condition(record, watch.settings.thresholds, watch.settings.intervals, record.sample_at_boot_s)
        snapshot = export.snapshot(watch.fleet)
        assert json.loads(msgspec.json.encode(snapshot))
        assert exposition.csv_text(snapshot)
        names = [line.split(" ")[0] for line in exposition.prometheus(snapshot).splitlines() if line[0] != "#"]
        assert len(names) == len(set(names)), "a scraper refuses everything when one line is there twice"


async def test_a_host_that_talks_without_end_does_not_push_out_what_others_said(tmp_path: Path, keys: Keys) -> None:
    lines = [b'{"t":"n","layer":"x","text":"note %d"}\n' % n for n in range(60)]
    async with (
        FakeHost(tmp_path, keys, _agent_that_sends(_sample(1), *lines, _sample(2))) as server,
        watching(settings_for(server.host())) as watch,
    ):
        record = await watch.until(lambda r: r.samples == 2)
        said = [event.text for event in watch.fleet.events if event.kind == "agent"]
        assert len(said) == 41
        assert "left out" in said[-1]
        assert "note 59" in record.note  # the newest is still shown


async def test_a_flood_of_stderr_is_a_flood(tmp_path: Path, keys: Keys) -> None:
    async def handle(process: Any) -> None:
        await _boot(process)
        process.stdout.write(_sample(1))
        with contextlib.suppress(BrokenPipeError, asyncssh.Error, ConnectionError):
            while True:
                process.stderr.write(b"E" * 1_000_000)
                await process.stderr.drain()

    quick = msgspec.structs.replace(QUICK, silence_s=60.0)
    async with (
        FakeHost(tmp_path, keys, handle) as server,
        watching(settings_for(server.host(), intervals=quick)) as watch,
    ):
        record = await watch.until(lambda r: "flood" in r.bad_text)
        assert record.samples == 1


async def test_what_comes_after_the_end_of_a_stream_does_not_make_the_link_live(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server, watching(settings_for(server.host())) as watch:
        seen: list[str] = []
        stream = AgentStream(watch.fleet, "fake", "a" * 16, 1.0, lambda: seen.append("live"))
        stream.feed(b"QDK1 " + b"a" * 16 + b" python 3.11.2\n")
        stream.fail(AgentError("silent", layer="silence"))
        stream.feed(_sample(1))
        assert not seen


async def test_markers_of_others_and_our_own_echo_start_nothing_and_a_second_marker_is_a_bad_line(
    tmp_path: Path, keys: Keys
) -> None:
    async def handle(process: Any) -> None:
        nonce = process.command.split("QDK1 ")[1].split()[0].strip("\"'\\")
        process.stdout.write(process.command.encode() + b"\n")  # a terminal's echo of the command
        process.stdout.write(b"QDK1 0123456789abcdef python 3.9\n" + _sample(99))
        process.stdout.write(f"QDK1 {nonce} python 3.11.2\nQDK1 {nonce} sh again\n".encode())
        process.stdout.write(_sample(1))
        with contextlib.suppress(BrokenPipeError, asyncssh.Error, ConnectionError):
            while data := await process.stdin.read(1000):  # and of all we send
                process.stdout.write(data)

    async with FakeHost(tmp_path, keys, handle) as server, watching(settings_for(server.host())) as watch:
        record = await watch.until(lambda r: r.samples >= 1 and r.bad_lines >= 2)
        assert record.sample is not None
        assert record.sample.seq == 1
        assert record.bad_text.isprintable()


async def test_pausing_while_connecting_stops_the_attempt(tmp_path: Path, keys: Keys) -> None:
    entered = asyncio.Event()

    async def never(process: Any) -> None:
        entered.set()
        with contextlib.suppress(BrokenPipeError, asyncssh.Error, ConnectionError):
            await process.stdin.read()

    slow = msgspec.structs.replace(QUICK, auth_s=60.0, kex_s=60.0, bootstrap_s=60.0)
    async with FakeHost(tmp_path, keys) as server:
        for phase in ("tcp", "banner", "kex", "auth", "bootstrap"):
            async with watching(settings_for(server.host(), intervals=slow)) as watch:
                await watch.until(lambda r, p=phase: r.link.layer == p or r.samples)
                watch.supervisor.pause("fake")
                record = await watch.until(lambda r: r.link.state is LinkState.PAUSED)
                seen = record.samples
                watch.supervisor.resume("fake")
                await watch.until(lambda r, s=seen: r.samples > s)


async def test_a_pause_at_the_moment_of_success_is_kept(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, started = HostSession._start, 0

    async def start_and_be_paused(session: HostSession) -> Any:
        nonlocal started
        stream = await start(session)
        started += 1
        if started == 1:
            session.pause()  # nothing is awaited between this and the end of the attempt
        return stream

    monkeypatch.setattr(HostSession, "_start", start_and_be_paused)
    async with FakeHost(tmp_path, keys) as server, watching(settings_for(server.host())) as watch:
        await watch.until(lambda r: r.link.state is LinkState.PAUSED)
        watch.supervisor.resume("fake")
        await watch.until(lambda r: r.link.state is LinkState.LIVE and r.samples)
    assert started == 2


async def test_a_host_that_never_answers_the_command_can_be_paused_and_is_named(tmp_path: Path, keys: Keys) -> None:
    async def never(process: Any) -> None:
        with contextlib.suppress(BrokenPipeError, asyncssh.Error, ConnectionError):
            await process.stdin.read()

    long = msgspec.structs.replace(QUICK, bootstrap_s=60.0)
    async with FakeHost(tmp_path, keys, never) as server:
        async with watching(settings_for(server.host(), intervals=long)) as watch:
            await watch.until(lambda r: r.link.layer == "bootstrap")
            watch.supervisor.pause("fake")
            await watch.until(lambda r: r.link.state is LinkState.PAUSED, limit_s=5)
        short = msgspec.structs.replace(QUICK, bootstrap_s=0.3)
        async with watching(settings_for(server.host(), intervals=short)) as watch:
            record = await watch.until(lambda r: r.link.state is LinkState.AGENT_FAILED)
            assert "no agent started" in (record.link.cause or "")


async def test_another_address_under_the_same_id_shows_nothing_of_the_old_machine(tmp_path: Path, keys: Keys) -> None:
    async with (
        FakeHost(tmp_path, keys, _agent_that_sends(_sample(1))) as old,
        FakeHost(tmp_path, keys, _agent_that_sends()) as new,
    ):
        async with watching(settings_for(old.host("same"))) as watch:
            await watch.until(lambda r: r.samples == 1)
            watch.apply(hosts=(new.host("same"),))
            assert watch.record("same").sample is None
            await watch.until(lambda r: r.link.layer == "first_sample", "same")
            assert watch.record("same").sample is None


async def test_jump_hosts_in_a_circle_are_named_and_nobody_waits_for_ever(tmp_path: Path, keys: Keys) -> None:
    config = tmp_path / "ssh_config"
    config.write_text("Host a\n ProxyJump b\nHost b\n ProxyJump c\nHost c\n ProxyJump a\nHost self\n ProxyJump self\n")
    hosts = [Host(id=name, address=name, known_hosts=(str(tmp_path / "none"),)) for name in ("a", "b", "c", "self")]
    hosts.append(Host(id="behind", address="127.0.0.9", proxy_jump="a", known_hosts=(str(tmp_path / "none"),)))
    async with watching(settings_for(*hosts, config_files=(str(config),))) as watch:
        for host in hosts:
            record = await watch.until(lambda r: r.link.state is LinkState.UNREACHABLE, host.id, limit_s=5)
            assert "circle" in (record.link.cause or "") or "host itself" in (record.link.cause or "")


class _Forwarding(asyncssh.SSHServer):
    def connection_requested(self, *_: object) -> bool:
        return True


async def test_a_jump_host_that_dies_is_made_again_for_all_behind_it(tmp_path: Path, keys: Keys) -> None:
    jump = FakeHost(tmp_path, keys)
    made: list[Any] = []

    class Jump(_Forwarding):
        def connection_made(self, conn: Any) -> None:
            made.append(conn)

    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Jump,
        server_host_keys=[jump._host_key],
        authorized_client_keys=str(keys.authorized),
    )
    jump.port = listener.sockets[0].getsockname()[1]
    jump.write_known_hosts()
    spec = f"{jump.host().user}@127.0.0.1:{jump.port}"
    try:
        async with FakeHost(tmp_path, keys) as one, FakeHost(tmp_path, keys) as two:
            known = tmp_path / "all_known"
            known.write_text("".join(each.known_hosts.read_text() for each in (jump, one, two)))
            hosts = [
                each.host(name, proxy_jump=spec, known_hosts=(str(known),))
                for name, each in (("one", one), ("two", two))
            ]
            async with watching(settings_for(*hosts)) as watch:
                for name in ("one", "two"):
                    await watch.until(lambda r: r.samples >= 1, name)
                made[0].abort()
                for name in ("one", "two"):
                    await watch.until(lambda r: r.link.attempt == 2 and r.link.state is LIVE, name)
                assert len(made) == 2
    finally:
        listener.close()
        await listener.wait_closed()


async def test_a_renewed_certificate_and_key_are_used_without_a_restart(tmp_path: Path, keys: Keys) -> None:
    authority = asyncssh.generate_private_key("ssh-ed25519")
    trusted = tmp_path / "authorities"
    user = FakeHost(tmp_path, keys).host().user
    trusted.write_text(f"cert-authority {authority.export_public_key().decode()}")
    mine = asyncssh.read_private_key(keys.private)

    def issue(until: str) -> None:
        authority.generate_user_certificate(
            mine, "me", principals=[user or ""], valid_after=0, valid_before=until
        ).write_certificate(tmp_path / "short-cert.pub")

    config = tmp_path / "ssh_config"
    config.write_text(f"Host *\n CertificateFile {tmp_path / 'short-cert.pub'}\n")
    async with FakeHost(tmp_path, keys) as server:
        await server.stop()
        keys.authorized.write_text(trusted.read_text())
        await server.start()
        issue("20200101")
        async with watching(settings_for(server.host(), config_files=(str(config),))) as watch:
            await watch.until(lambda r: r.link.state is LinkState.AUTH_FAILED)
            issue("20990101")
            watch.supervisor.reconnect("fake")
            await watch.until(lambda r: r.link.state is LIVE)


def _plan(**over: Any) -> DialPlan:
    return DialPlan(**{"address": "127.0.0.1", "port": 22, "user": "me", **over})


async def test_odd_identity_files_are_named_and_nothing_blocks(tmp_path: Path, keys: Keys) -> None:
    fifo, folder, public = tmp_path / "fifo", tmp_path / "folder", tmp_path / "authorized_keys"
    os.mkfifo(fifo)
    folder.mkdir()
    with ThreadPoolExecutor(1) as threads:
        ring = KeyRing(threads)
        paths = (str(fifo), str(folder), str(public), str(tmp_path / "none"), str(keys.private))
        async with asyncio.timeout(5):
            found = await ring.identities(_plan(identity_files=paths))
    assert found.names == (str(keys.private),)
    said = "; ".join(found.broken)
    assert "fifo: is not a file" in said
    assert "folder: is not a file" in said
    assert "authorized_keys: holds only the public key" in said
    assert "none: no such file" in said


async def test_a_public_key_as_identity_picks_that_key_of_the_agent(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = asyncssh.read_private_key(keys.private)
    other = asyncssh.generate_private_key("ssh-ed25519")
    pairs = asyncssh.load_keypairs([mine, other])

    class Agent:
        async def get_keys(self) -> Any:
            return pairs

        def close(self) -> None: ...

    async def connect(_path: str) -> Any:
        return Agent()

    monkeypatch.setattr(asyncssh, "connect_agent", connect)
    with ThreadPoolExecutor(1) as threads:
        ring = KeyRing(threads)
        plan = _plan(identity_files=(str(keys.authorized),), identities_only=True, identity_agent="/agent")
        found = await ring.identities(plan)
        ring.close()
    assert [pair.public_data for pair in found.pairs] == [mine.public_data]
    assert found.broken == ()


async def test_known_hosts_that_never_end_and_revoked_keys(tmp_path: Path, keys: Keys) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    async with FakeHost(tmp_path, keys) as server:
        line = server.known_hosts.read_text()
        both = (str(fifo), "/dev/zero", str(server.known_hosts))
        async with watching(settings_for(server.host(known_hosts=both))) as watch:
            await watch.until(lambda r: r.link.state is LIVE)
        for text in (f"@revoked {line}", f"{line}@revoked {line}", f"@revoked * {line.split(' ', 1)[1]}{line}"):
            server.known_hosts.write_text(text)
            async with watching(settings_for(server.host(), accept_new=True)) as watch:
                record = await watch.until(lambda r: r.link.state is not LinkState.CONNECTING)
                assert record.link.state is LinkState.HOST_KEY_CHANGED, text
                assert "revoked" in (record.link.cause or "")
            assert server.known_hosts.read_text() == text


async def test_host_certificates_are_judged_as_ssh_does(tmp_path: Path, keys: Keys) -> None:
    ours, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    server = FakeHost(tmp_path, keys)
    plain = server._host_key
    certificate = ours.generate_host_certificate(plain, "host", principals=["127.0.0.1"])

    def line(name: str, key: Any) -> str:
        return f"{name} {key.export_public_key().decode()}"

    changed = LinkState.HOST_KEY_CHANGED
    async with server:
        await server.stop()
        server._options["server_host_certs"] = [certificate]
        await server.start()
        mine = f"[127.0.0.1]:{server.port}"
        for known, accept_new, state, words in (
            (line(mine, plain), False, LIVE, ""),
            (line(f"@cert-authority {mine}", ours), False, LIVE, ""),
            (line("@cert-authority *", other), True, changed, "another authority"),
            (line("@revoked *", ours) + line("@cert-authority *", ours), True, changed, "revoked"),
            ("", False, LinkState.HOST_KEY_UNKNOWN, plain.get_fingerprint()),
            ("", True, LIVE, ""),
        ):
            server.known_hosts.write_text(known)
            async with watching(settings_for(server.host(), accept_new=accept_new)) as watch:
                record = await watch.until(lambda r: r.link.state is not LinkState.CONNECTING)
                assert record.link.state is state, (known, record.link)
                assert words in (record.link.cause or "")
        assert server.known_hosts.read_text().split()[1:] == plain.export_public_key().decode().split()[:2]


async def test_a_connection_made_in_the_moment_of_cancelling_is_not_left_behind() -> None:
    class Made:
        aborted = False

        def abort(self) -> None:
            self.aborted = True

        def get_extra_info(self, _name: str) -> None: ...

    made = Made()

    async def connect(client_factory: Any) -> Any:
        client_factory().connection_made(made)
        await asyncio.sleep(0)
        trying.cancel()  # and yet we succeed
        return made

    host = Host(id="a", address="127.0.0.1")
    trusted = Trusted((), (), (), ())
    handshake = Handshake(host, _plan(), trusted, QUICK, None, gate=asyncio.Semaphore(1))
    trying = asyncio.ensure_future(handshake.run(connect, lambda _: None))
    with pytest.raises(asyncio.CancelledError):
        await trying
    assert made.aborted


@pytest.mark.parametrize(
    ("over", "words"), [({"proxy_jump": "j"}, "jump host had no answer"), ({"proxy_command": "nc"}, "ProxyCommand")]
)
async def test_silence_behind_a_jump_host_is_not_called_an_open_port(over: dict[str, str], words: str) -> None:
    async def connect(_: Any) -> None:
        await asyncio.Event().wait()

    quick = msgspec.structs.replace(QUICK, banner_s=0.01)
    handshake = Handshake(
        Host(id="a", address="10.0.0.1"),
        _plan(**over),
        Trusted((), (), (), ()),
        quick,
        None,
        gate=asyncio.Semaphore(1),
    )
    with pytest.raises(LinkError, match=words) as caught:
        await handshake.run(connect, lambda _: None)
    assert "port open" not in str(caught.value)
