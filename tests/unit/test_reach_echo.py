from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from probes.reach import echo as module
from probes.reach.echo import echo, judge_ping, ping_arguments
from tests.support.leaks import open_sockets, other_tasks

REPLY = b"""PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.
64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.437 ms

--- 10.0.0.1 ping statistics ---
1 packets transmitted, 1 received, 0% packet loss, time 0ms
"""
UNREACHABLE = b"""PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.
From 10.0.0.9 icmp_seq=1 Destination Host Unreachable

1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms
"""


@pytest.fixture
def no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "_open", fail)


def program(folder: Path, text: str) -> str:
    path = folder / "ping"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_ping_is_told_seconds_where_seconds_are_its_unit() -> None:
    assert ping_arguments("10.0.0.1", 1.5, "linux") == ["-n", "-c", "1", "-w", "2", "-W", "2", "10.0.0.1"]
    assert ping_arguments("10.0.0.1", 0.2, "linux")[4:6] == ["1", "-W"]
    assert ping_arguments("10.0.0.1", 2.0, "darwin") == ["-n", "-c", "1", "-t", "2", "10.0.0.1"]
    assert ping_arguments("fd00::1", 2.0, "darwin") == ["-n", "-c", "1", "fd00::1"]


def test_what_ping_said() -> None:
    found = judge_ping(0, REPLY, "no socket")
    assert (found.outcome, found.method, found.rtt_ms) == ("reply", "ping", 0.437)
    found = judge_ping(0, REPLY.replace(b"time=0.437 ms", b"time<1 ms"), "")
    assert found.rtt_ms == 1.0
    found = judge_ping(1, UNREACHABLE, "no socket")
    assert found.outcome == "no_reply"
    assert found.detail == "From 10.0.0.9 icmp_seq=1 Destination Host Unreachable (no socket)"
    assert judge_ping(1, b"", "why").detail == "no reply (why)"
    found = judge_ping(2, b"ping: socktype: SOCK_RAW\nping: socket: \x1b[31mOperation not permitted\n", "why")
    assert (found.outcome, found.detail) == ("not_measured", "why; ping ended with 2: ping: socktype: SOCK_RAW")
    # a status of 0 without a time is no reply that we could show
    assert judge_ping(0, b"", "why").outcome == "not_measured"


@pytest.mark.usefixtures("no_socket")
async def test_without_a_socket_and_a_program_it_is_not_measured() -> None:
    found = await echo("127.0.0.1", 0.2, find=lambda _: None)
    assert found.outcome == "not_measured"
    assert found.detail == "no ICMP socket (Permission denied), and no ping program"
    found = await echo("127.0.0.1", 0.2, find=lambda _: "/nonexistent/ping")
    assert "ping does not start (No such file" in found.detail


@pytest.mark.usefixtures("no_socket")
async def test_ping_program_is_asked_with_its_own_words(tmp_path: Path) -> None:
    path = program(tmp_path, 'echo "$@" >&2; echo "time=1.25 ms"; exit 0')
    found = await echo("::1", 0.2, find=lambda _: path)
    assert (found.outcome, found.rtt_ms) == ("reply", 1.25)
    path = program(tmp_path, "yes | head -c 1000000; exit 1")
    assert (await echo("::1", 0.2, find=lambda _: path)).outcome == "no_reply"


@pytest.mark.usefixtures("no_socket")
async def test_ping_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PING_GRACE_S", -0.95)
    path = program(tmp_path, "exec sleep 60")
    found = await echo("127.0.0.1", 0.1, find=lambda _: path)
    assert (found.outcome, found.method) == ("not_measured", "ping")
    assert "did not end" in found.detail
    assert not other_tasks()


@pytest.mark.usefixtures("no_socket")
async def test_cancelled_ping_leaves_no_process(tmp_path: Path) -> None:
    path = program(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    task = asyncio.create_task(echo("127.0.0.1", 30, find=lambda _: path))
    async with asyncio.timeout(10):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()
    assert not other_tasks()


@pytest.mark.needs("ping")
@pytest.mark.usefixtures("no_socket")
@pytest.mark.skipif(sys.platform != "linux", reason="the flags are Linux's")
async def test_real_ping_reaches_loopback() -> None:
    found = await echo("127.0.0.1", 1.0)
    # where ping itself may not ask, it says so
    assert (found.outcome == "reply" and found.rtt_ms is not None) or "ping ended with" in found.detail


async def test_only_literal_addresses_are_asked() -> None:
    with pytest.raises(ValueError, match="literal"):
        await echo("gpu-1", 1.0)


# --- replies on a socket, spoken by hand ---


def test_checksum_is_the_internets() -> None:
    packet = bytes.fromhex("0800000012340001") + b"abcdefgh1"
    total = module._checksum(packet)
    whole = packet[:2] + total.to_bytes(2, "big") + packet[4:]
    assert module._checksum(whole) == 0


def test_only_replies_to_our_own_requests_count() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = module._Asked(sock, 1.0)
        asked._sent_ns.append(1)
        header = bytes([0, 0, 0, 0, 0, 0, 0, 0])
        ours = (0).to_bytes(2, "big") + asked._token
        assert asked._number(header + ours) == 0
        # with the IP header still on
        assert asked._number(bytes([0x45]) + bytes(19) + header + ours) == 0
        for foreign in (
            b"",
            header,
            header + ours[:-1],
            header + ours[:-1] + bytes([ours[-1] ^ 1]),
            bytes([8]) + header[1:] + ours,
            header + (7).to_bytes(2, "big") + asked._token,
            bytes([0x4F]) + bytes(30),
        ):
            assert asked._number(foreign) is None


async def test_nothing_is_left_when_cancelled() -> None:
    before = open_sockets()
    task = asyncio.create_task(echo("127.0.0.1", 5.0, find=lambda _: None))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert open_sockets() == before
    assert not other_tasks()
