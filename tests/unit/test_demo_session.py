"""The stand-in of the agent keeps the agent's own rules: it dies without heartbeats, and a hung machine does nothing."""

from __future__ import annotations

import asyncio

import pytest

from probes.demo.catalog import Fault, plan
from probes.demo.faults import WINDOWS
from probes.demo.session import GARBAGE, HEARTBEAT_LIMIT_S, AgentStandIn
from probes.demo.wire import Inbox, nonce_of
from probes.hosts import bootstrap
from probes.hosts.protocol import MAX_LINE_BYTES, LineError, decode
from probes.model import Sample

FLEET = plan(24, 7)


class Channel:
    """What a session writes to."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.status: int | None = None
        self.wrote = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.lines.append(data)
        self.wrote.set()

    def exit(self, status: int) -> None:
        self.status = status
        self.wrote.set()

    async def until(self, done) -> None:
        async with asyncio.timeout(5):
            while not done():
                self.wrote.clear()
                await self.wrote.wait()


class Clock:
    def __init__(self, at_s: float) -> None:
        self.ahead_s = at_s - asyncio.get_running_loop().time()

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead_s


def start(fault: Fault, clock: Clock) -> tuple[AgentStandIn, Channel]:
    host = next(host for host in FLEET if host.fault is fault)
    session, channel = AgentStandIn(host, clock), Channel()
    session.connection_made(channel)
    nonce = bootstrap.new_nonce()
    assert session.exec_requested(bootstrap.command(nonce))
    session.session_started()
    assert bootstrap.parse_marker(channel.lines[-1].splitlines()[-1], nonce)
    session.data_received(bootstrap.payload("python", 0.05) + b"h 1\n", None)
    return session, channel


def samples(channel: Channel) -> int:
    return sum(b'"t":"s"' in line for line in channel.lines)


async def test_it_ends_itself_without_heartbeats():
    clock = Clock(0.0)
    session, channel = start(Fault.NONE, clock)
    await channel.until(lambda: samples(channel) >= 2)
    assert channel.status is None
    clock.ahead_s += HEARTBEAT_LIMIT_S
    session.data_received(b"h 2\n", None)
    said = samples(channel)
    await channel.until(lambda: samples(channel) > said)
    assert channel.status is None
    clock.ahead_s += HEARTBEAT_LIMIT_S + 0.1
    await channel.until(lambda: channel.status is not None)
    assert channel.status == 0
    session.connection_lost(None)


async def test_a_hung_host_neither_speaks_nor_ends_and_comes_back_only_to_die():
    script = WINDOWS[Fault.HUNG]
    clock = Clock(script.start_s - 1)
    session, channel = start(Fault.HUNG, clock)
    await channel.until(lambda: samples(channel) >= 1)
    clock.ahead_s += 1.5
    await asyncio.sleep(0.1)
    said = len(channel.lines)
    clock.ahead_s += HEARTBEAT_LIMIT_S + 5
    session.data_received(b"h 9\n", None)
    await asyncio.sleep(0.2)
    assert len(channel.lines) == said
    assert channel.status is None
    clock.ahead_s += script.end_s - script.start_s
    await channel.until(lambda: channel.status is not None)
    session.connection_lost(None)


async def test_a_slow_reader_loses_samples_instead_of_filling_memory():
    session, channel = start(Fault.NONE, Clock(0.0))
    await channel.until(lambda: samples(channel) >= 1)
    session.pause_writing()
    said = len(channel.lines)
    await asyncio.sleep(0.2)
    assert len(channel.lines) == said
    session.resume_writing()
    await channel.until(lambda: len(channel.lines) > said)
    session.connection_lost(None)


async def test_a_login_without_the_bootstrap_gets_one_line():
    session, channel = AgentStandIn(FLEET[0], Clock(0.0)), Channel()
    session.connection_made(channel)
    assert session.shell_requested()
    session.session_started()
    assert b"simulated" in channel.lines[0]
    assert channel.status == 0


@pytest.mark.parametrize("garbage", GARBAGE)
def test_no_garbage_is_a_sample(garbage):
    if len(garbage) > MAX_LINE_BYTES:
        return
    with pytest.raises(LineError):
        decode(garbage.rstrip(b"\n"))


def test_the_inbox_takes_a_payload_in_any_pieces():
    stream = bootstrap.payload("python", 2.5) + b"h 7\np 1\nq\n"
    for step in (1, 7, 1000, len(stream)):
        inbox, started, requests = Inbox(), False, []
        for at in range(0, len(stream), step):
            piece = stream[at : at + step]
            if not started:
                started = inbox.take_payload(piece)
                piece = b""
            if started:
                requests += inbox.requests(piece)
        assert inbox.interval_s == 2.5
        assert [(request.verb, request.argument) for request in requests] == [("h", "7"), ("p", "1"), ("q", "")]


def test_a_payload_that_is_none_is_refused():
    with pytest.raises(ValueError, match="invalid literal"):
        Inbox().take_payload(b"rm -rf /\n")
    with pytest.raises(ValueError, match="bytes"):
        Inbox().take_payload(b"99999999999\n")


def test_only_a_bootstrap_command_has_a_nonce():
    nonce = bootstrap.new_nonce()
    assert nonce_of(bootstrap.command(nonce)) == nonce
    assert nonce_of(bootstrap.command(nonce, python=False)) == nonce
    assert nonce_of("uptime") is None


def test_garbage_includes_a_line_beyond_the_limit():
    assert max(len(line) for line in GARBAGE) > MAX_LINE_BYTES


def test_samples_are_decoded_by_the_shipped_decoder():
    from probes.demo.simulate import sample
    from probes.demo.wire import encode_line

    made = sample(FLEET[0], 30.0, 1, 1.0, (3, 4))
    decoded = decode(encode_line(made).rstrip(b"\n"))
    assert isinstance(decoded, Sample)
    assert decoded == made
