"""Asking hosts over their session: who listens, can they reach each other; and hosts that lie, are mute or go away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
from typing import TYPE_CHECKING, Any

import asyncssh
import msgspec
import pytest

from probes.evidence import HoldState, Inside, PairOutcome, ReachState
from probes.judge.bindings import Binding, bindings
from probes.model import Host, LinkState, Service
from probes.reach.nodes import Pair, preflight
from tests.support.listening import listening, listening_child, silent_port
from tests.support.sshd import FakeHost, Keys, RealSshd, free_port, without_python
from tests.support.watching import QUICK, settings_for, watching

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

ME = pwd.getpwuid(os.getuid()).pw_name
HERE = Host("here", "localhost", local=True)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


# --- who listens ---


async def _look(watch: Any, host_id: str) -> None:
    """All that a look at a host which is this machine must find."""
    await watch.until(lambda r: r.samples >= 1, host_id)
    with (
        listening("127.0.0.1") as loopback,
        listening("0.0.0.0") as every,
        listening_child("127.0.0.2") as (pid, other),
    ):
        found: Inside = await watch.supervisor.inside(host_id, 20.0)
        services = (Service("a", loopback), Service("b", every), Service("c", other), Service("d", free_port()))
    joined = {one.service: one for one in bindings(services, found)}
    assert [joined[name].binding for name in "abcd"] == [
        Binding.LOOPBACK,
        Binding.ALL,
        Binding.LOOPBACK,
        Binding.NOT_LISTENING,
    ]
    assert found.source == "agent"
    assert found.listeners_why is None
    (mine,) = joined["a"].listeners
    assert (mine.pid, mine.user) == (os.getpid(), ME)
    assert joined["c"].listeners[0].pid == pid
    for value, why in ((found.sshd, found.sshd_why), (found.firewall, found.firewall_why)):
        assert (value is None) == (why is not None)


async def test_a_look_inside_over_ssh(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server, watching(settings_for(server.host("h"))) as watch:
        await _look(watch, "h")
        assert len(server.commands) == 1  # over the stream that is there: no channel and no process for a question
        assert watch.record().bad_lines == 0


@pytest.mark.needs("sshd")
async def test_a_look_inside_over_a_real_sshd(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "sshd", keys) as server:
        async with watching(settings_for(server.host("h"))) as watch:
            await _look(watch, "h")
            found = await watch.supervisor.inside("h", 20.0)
            assert found.listeners is not None
            (own,) = [one for one in found.listeners if one.port == server.port]
            assert (own.address, own.process, own.pid) == ("127.0.0.1", "sshd", server.pid)


async def test_a_look_at_this_machine_is_the_same() -> None:
    async with watching(settings_for(HERE)) as watch:
        await _look(watch, "here")


async def test_a_host_without_python_lists_its_sockets_without_their_processes(tmp_path: Path, keys: Keys) -> None:
    shell = tmp_path / "shell"
    shell.write_text(f'#!/bin/sh\nPATH={without_python(tmp_path)} exec /bin/sh "$@"\n')
    shell.chmod(0o755)
    async with FakeHost(tmp_path, keys, shell=str(shell)) as server, watching(settings_for(server.host("h"))) as watch:
        record = await watch.until(lambda r: r.samples >= 1 and r.hello is not None)
        assert record.hello is not None
        assert record.hello.mode.startswith("sh")
        with listening("127.0.0.1") as port:
            found = await watch.supervisor.inside("h", 20.0)
        assert found.listeners is not None
        (mine,) = [one for one in found.listeners if one.port == port]
        assert (mine.address, mine.process, mine.user) == ("127.0.0.1", None, ME)
        assert "unsupported" in (found.owners_why or "")
        assert "unsupported" in (found.firewall_why or "")
        reach = await watch.supervisor.connect_from("h", "127.0.0.1", 1, 5.0)
        assert (reach.state, "without Python" in reach.detail) == (ReachState.UNKNOWN, True)
        assert record.bad_lines == 0


# --- from node to node ---


async def test_a_connect_from_a_host_is_open_refused_or_silent(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server, watching(settings_for(server.host("h"))) as watch:
        await watch.until(lambda r: r.samples >= 1)
        ask = watch.supervisor.connect_from
        with listening() as port, silent_port() as silent:
            found, refused, nothing = await asyncio.gather(
                ask("h", "127.0.0.1", port, 5.0),
                ask("h", "127.0.0.1", free_port(), 5.0),
                ask("h", "127.0.0.1", silent, 0.3),
            )
        assert (found.state, found.connected_to, found.errno_name) == (ReachState.OPEN, "127.0.0.1", None)
        assert found.took_ms is not None
        assert (refused.state, refused.errno_name) == (ReachState.REFUSED, "ECONNREFUSED")
        assert (nothing.state, nothing.errno_name) == (ReachState.SILENT, "ETIMEDOUT")


@pytest.mark.parametrize("address", ["10.0.0.1 22\nq", "", "-x", "a\x1b[2J", "ä.example", "x" * 300])
async def test_an_address_that_is_none_is_never_sent(address: str) -> None:
    async with watching(settings_for(HERE)) as watch:
        await watch.until(lambda r: r.samples >= 1)
        found = await watch.supervisor.connect_from("here", address, 22, 5.0)
        assert found.state is ReachState.UNKNOWN
        seen = watch.record().samples
        await watch.until(lambda r: r.samples > seen)
        assert watch.record().note == ""


async def test_two_agents_prove_that_a_free_port_can_be_reached(tmp_path: Path, keys: Keys) -> None:
    port = free_port()
    one, two = FakeHost(tmp_path, keys, address="127.0.0.2"), FakeHost(tmp_path, keys, address="127.0.0.3")
    async with one, two, watching(settings_for(one.host("a"), two.host("b"))) as watch:
        for host_id in "ab":
            await watch.until(lambda r: r.samples >= 1, host_id)
        pairs = [Pair("a", "b", "127.0.0.3"), Pair("a", "b", "127.0.0.4"), Pair("gone", "b", "127.0.0.3")]
        reachable, other, gone = await preflight(watch.supervisor, pairs, port)
        assert (reachable.outcome, reachable.detail) == (
            PairOutcome.REACHABLE,
            "the target's listener saw this connection",
        )
        assert other.outcome is PairOutcome.REACHABLE  # it listens on all addresses, the loopback ones too
        assert (gone.outcome, "not watched" in gone.detail) == (PairOutcome.UNKNOWN, True)
        assert reachable.hold is not None
        assert reachable.hold.accepted == 2
        after = await watch.supervisor.connect_from("a", "127.0.0.3", port, 5.0)
        assert after.state is ReachState.REFUSED  # nobody listens any more


async def test_a_port_in_use_is_said_with_its_holder(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys) as server, watching(settings_for(server.host("h"))) as watch:
        await watch.until(lambda r: r.samples >= 1)
        with listening_child("127.0.0.1") as (pid, port):
            (found,) = await preflight(watch.supervisor, [Pair("h", "h", "127.0.0.1")], port)
        assert found.outcome is PairOutcome.PORT_TAKEN
        assert f"(pid {pid}) on 127.0.0.1" in found.detail


async def test_a_held_port_ends_with_its_block_its_time_or_its_asker() -> None:
    async with watching(settings_for(HERE)) as watch:
        await watch.until(lambda r: r.samples >= 1)
        port = free_port()
        async with watch.supervisor.holding("here", port, 60) as hold:
            assert hold.port.state is HoldState.LISTENING
            assert hold.port.accepted is None
            assert await _state(watch, port) is ReachState.OPEN
            ended = await hold.end()
            assert ended.accepted == 1
            assert await hold.end() is ended
        async with watch.supervisor.holding("here", port, 1):
            while await _state(watch, port) is not ReachState.REFUSED:
                await asyncio.sleep(0.05)

        async def hold_it() -> None:
            async with watch.supervisor.holding("here", port, 60):
                await asyncio.sleep(60)

        task = asyncio.create_task(hold_it())
        while await _state(watch, port) is not ReachState.OPEN:
            await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while await _state(watch, port) is not ReachState.REFUSED:
            await asyncio.sleep(0.05)
        assert watch.record().bad_lines == 0


async def _state(watch: Any, port: int) -> ReachState:
    return (await watch.supervisor.connect_from("here", "127.0.0.1", port, 5.0)).state


# --- hosts that lie, are mute, or go away ---


def _sample(seq: int) -> bytes:
    nothing = {"cpu": [1, *[None] * 5], "memory": [None] * 5, "agent": [None, None]}
    return json.dumps({"t": "s", "seq": seq, "uptime_s": 5, **nothing}).encode() + b"\n"


def _agent(answer: Callable[[Any, list[str]], Awaitable[None] | None]) -> Callable[[Any], Awaitable[None]]:
    """An agent that sends a sample, and then has ``answer(process, words)`` for each request."""

    async def handle(process: Any) -> None:
        nonce = process.command.split("QDK1 ")[1].split()[0].strip("\"'\\")
        process.stdout.write(f"QDK1 {nonce} python 3.11.2\n".encode())
        with contextlib.suppress(BrokenPipeError, asyncssh.Error, ConnectionError):
            size = int(await process.stdin.readline())
            await process.stdin.readexactly(size)
            process.stdout.write(_sample(1))
            while line := await process.stdin.readline():
                words = line.decode().split()
                if words[0] in "lcbe" and (waited := answer(process, words)) is not None:
                    await waited

    return handle


def _line(token: str, **more: Any) -> bytes:
    return json.dumps({"t": "a", "token": token, **more}).encode() + b"\n"


async def _asked(tmp_path: Path, keys: Keys, answer: Any, timeout_s: float = 0.5) -> tuple[Inside, Any]:
    patient = dict.fromkeys(("silence_s", "stale_s"), 60.0)
    intervals = msgspec.structs.replace(QUICK, sample_s=1.0, **patient)
    async with (
        FakeHost(tmp_path, keys, _agent(answer)) as server,
        watching(settings_for(server.host("h"), intervals=intervals)) as watch,
    ):
        await watch.until(lambda r: r.samples >= 1)
        found = await watch.supervisor.inside("h", timeout_s)
        return found, watch.record()


async def test_a_mute_host_is_a_reason_and_no_hang(tmp_path: Path, keys: Keys) -> None:
    found, record = await _asked(tmp_path, keys, lambda *_: None)
    assert found.listeners is None
    assert found.listeners_why == found.sshd_why == found.firewall_why == "no answer in 0.5 s"
    assert record.bad_lines == 0


async def test_an_answer_with_another_token_is_none_and_is_counted(tmp_path: Path, keys: Keys) -> None:
    def lie(process: Any, words: list[str]) -> None:
        rows = [["0.0.0.0", 1, "x", 1, "x"]]
        process.stdout.write(_line("0" * 16, inside=[rows, 1, None, None, {}, {}]))

    found, record = await _asked(tmp_path, keys, lie)
    assert found.listeners is None
    assert "no answer" in (found.listeners_why or "")
    assert "nobody waits for" in (found.listeners_why or "")
    assert record.bad_lines == 1


@pytest.mark.parametrize("count", [5000, 100_000])
async def test_an_answer_of_absurd_size_is_refused_and_said(tmp_path: Path, keys: Keys, count: int) -> None:
    def flood(process: Any, words: list[str]) -> None:
        rows = [["127.0.0.1", port % 65535, "x", port, "x"] for port in range(count)]
        process.stdout.write(_line(words[1], inside=[rows, count, None, None, {}, {}]))

    found, record = await _asked(tmp_path, keys, flood, 3.0)
    assert found.listeners is None
    assert "cannot be used" in (found.listeners_why or "")
    assert record.bad_lines >= 1
    assert record.link.state is LinkState.LIVE


async def test_hostile_text_in_an_answer_is_harmless(tmp_path: Path, keys: Keys) -> None:
    def lie(process: Any, words: list[str]) -> None:
        evil = "\x1b[2J\x1b]0;pwned\x07\u202eevil"
        rows = [["1\x1b[2J", 80, evil, 1, evil]]
        more = [{"port\x1b": evil}, [["nft\x07", 1, evil, {}]], {"owners": "denied"}, {"owners": evil}]
        process.stdout.write(_line(words[1], inside=[rows, 1, *more]))

    found, _ = await _asked(tmp_path, keys, lie, 3.0)
    assert found.listeners is not None
    assert found.listeners[0].process == "[2J]0;pwnedevil"
    text = msgspec.json.encode(found).decode()
    assert "\\u001b" not in text
    assert "\u202e" not in text
    assert bindings((Service("web", 80),), found)[0].binding is Binding.NOT_KNOWN


@pytest.mark.parametrize(
    "answer",
    [
        {"connect": ["open", None, None, 1.0, None, ""]},
        {"hold": ["listening", None, 0, [], ""]},
        {},
        {"inside": [[["a", 1]], 1, None, None, {}, {}]},
        {"inside": None, "refused": "gone fishing"},
    ],
)
async def test_an_answer_of_another_kind_is_none(tmp_path: Path, keys: Keys, answer: dict[str, Any]) -> None:
    found, _ = await _asked(tmp_path, keys, lambda process, words: process.stdout.write(_line(words[1], **answer)), 1.0)
    assert found.listeners is None
    assert found.listeners_why


async def test_a_refusal_has_its_words(tmp_path: Path, keys: Keys) -> None:
    def refuse(process: Any, words: list[str]) -> None:
        process.stdout.write(_line(words[1], refused="unsupported", detail="not here\x1b[m"))

    found, _ = await _asked(tmp_path, keys, refuse, 5.0)
    assert found.listeners_why == "unsupported: not here[m"


async def test_a_flood_of_false_answers_is_a_flood(tmp_path: Path, keys: Keys) -> None:
    async def flood(process: Any, words: list[str]) -> None:
        while True:
            process.stdout.write(_line("f" * 16) * 500)
            await process.stdout.drain()

    found, record = await _asked(tmp_path, keys, flood, 1.0)
    assert found.listeners is None
    assert found.listeners_why
    assert record.bad_lines > 0


async def test_a_link_that_is_lost_meanwhile_ends_the_wait_with_its_cause(tmp_path: Path, keys: Keys) -> None:
    def die(process: Any, words: list[str]) -> None:
        process.exit(1)

    found, _ = await _asked(tmp_path, keys, die, 30.0)
    assert "lost meanwhile: the agent ended" in (found.listeners_why or "")


async def test_a_host_without_a_link_and_one_nobody_watches() -> None:
    dead = Host("dead", "127.0.0.1", port=free_port(), user="x")
    async with watching(settings_for(dead)) as watch:
        await watch.until(lambda r: r.link.state is LinkState.UNREACHABLE)
        found = await watch.supervisor.inside("dead", 5.0)
        assert "no live link to ask over: unreachable" in (found.listeners_why or "")
        reach = await watch.supervisor.connect_from("dead", "127.0.0.1", 22, 5.0)
        assert (reach.state, "no live link" in reach.detail) == (ReachState.UNKNOWN, True)
        async with watch.supervisor.holding("dead", 29501, 5) as hold:
            assert (hold.port.state, "no live link" in hold.port.detail) == (HoldState.UNKNOWN, True)
        assert (await watch.supervisor.inside("nobody", 5.0)).listeners_why == "this host is not watched"
        async with watch.supervisor.holding("nobody", 29501, 5) as hold:
            assert hold.port.detail == "this host is not watched"


async def test_a_cancelled_question_leaves_nothing_behind(tmp_path: Path, keys: Keys) -> None:
    heard = asyncio.Event()

    def hear(process: Any, words: list[str]) -> None:
        heard.set()

    intervals = msgspec.structs.replace(QUICK, silence_s=60.0)
    async with (
        FakeHost(tmp_path, keys, _agent(hear)) as server,
        watching(settings_for(server.host("h"), intervals=intervals)) as watch,
    ):
        await watch.until(lambda r: r.samples >= 1)
        task = asyncio.create_task(watch.supervisor.inside("h", 60.0))
        await heard.wait()
        stream = watch.supervisor._sessions["h"]._stream
        assert stream is not None
        assert len(stream.questions) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(stream.questions) == 0


async def test_a_hold_that_is_cancelled_before_its_answer_is_ended_too(tmp_path: Path, keys: Keys) -> None:
    heard: list[list[str]] = []

    def hear(process: Any, words: list[str]) -> None:
        heard.append(words)

    intervals = msgspec.structs.replace(QUICK, silence_s=60.0)
    async with (
        FakeHost(tmp_path, keys, _agent(hear)) as server,
        watching(settings_for(server.host("h"), intervals=intervals)) as watch,
    ):
        await watch.until(lambda r: r.samples >= 1)

        async def hold() -> None:
            async with watch.supervisor.holding("h", 29501, 60):
                raise AssertionError("never listening")

        task = asyncio.create_task(hold())
        await watch.until(lambda _: len(heard) == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await watch.until(lambda _: len(heard) == 2)
    assert [words[0] for words in heard] == ["b", "e"]
    assert heard[0][1] == heard[1][1]
