"""The simulated fleet over real SSH: it speaks the agent's protocol, plays its faults, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import msgspec
import pytest

from probes.demo.launch import DemoError, start_demo
from probes.fleet import Fleet
from probes.hosts import bootstrap
from probes.hosts.protocol import LineError, decode
from probes.hosts.supervisor import Supervisor
from probes.judge.diagnosis import Level
from probes.judge.triage import diagnose
from probes.model import Hello, LinkState, Processes, Sample, ServiceKind

if TYPE_CHECKING:
    from probes.demo.launch import Demo
    from probes.model import Host


def host_of(demo: Demo, host_id: str) -> Host:
    return next(host for host in demo.settings.hosts if host.id == host_id)


def exists(path: str) -> bool:
    return Path(path).exists()


def mode_of(path: str) -> int:
    return Path(path).stat().st_mode & 0o777


def login(host: Host):
    return asyncssh.connect(
        host.address,
        host.port,
        username=host.user,
        client_keys=list(host.identity_files),
        known_hosts=host.known_hosts[0],
        config=None,
        agent_path=None,
        connect_timeout=5,
    )


async def until_live(fleet: Fleet, host_id: str) -> None:
    async with asyncio.timeout(20):
        while fleet.hosts[host_id].link.state is not LinkState.LIVE:
            await asyncio.sleep(0.05)


class Watcher:
    """A watcher without quarterdeck's own machinery: bootstrap, then lines."""

    def __init__(self, process, interval_s: float) -> None:
        self.process = process
        self.interval_s = interval_s

    async def boot(self, nonce: str) -> None:
        async with asyncio.timeout(5):
            while (boot := bootstrap.parse_marker(await self.process.stdout.readline(), nonce)) is None:
                pass
        assert boot.kind == "python"
        self.process.stdin.write(bootstrap.payload("python", self.interval_s))
        self.request(b"h 1\n")

    def request(self, line: bytes) -> None:
        self.process.stdin.write(line)

    async def next(self, kind: type):
        async with asyncio.timeout(5):
            while True:
                line = await self.process.stdout.readline()
                assert line, "the stream ended"
                item = decode(line.rstrip())
                if isinstance(item, kind):
                    return item


async def start_watch(connection, interval_s: float = 0.1) -> Watcher:
    nonce = bootstrap.new_nonce()
    process = await connection.create_process(bootstrap.command(nonce), encoding=None)
    watcher = Watcher(process, interval_s)
    await watcher.boot(nonce)
    return watcher


async def test_a_simulated_host_speaks_the_agents_protocol():
    async with await start_demo(1) as demo, login(demo.settings.hosts[0]) as connection:
        watcher = await start_watch(connection)
        hello = await watcher.next(Hello)
        assert hello.mode == "python+nvml"
        first, second = await watcher.next(Sample), await watcher.next(Sample)
        assert (first.seq, first.interval_s) == (0, None)
        assert second.seq == 1
        assert 0.05 < second.interval_s < 2
        assert second.echo[0] == 1
        assert len(second.gpus) == 8
        watcher.request(b"h 42\n")
        while (await watcher.next(Sample)).echo[0] != 42:
            pass
        watcher.request(b"p 1\n")
        before, after = await watcher.next(Processes), await watcher.next(Processes)
        assert before.top != after.top
        watcher.request(b"p 0\ni 0.5\n")
        while (slow := await watcher.next(Sample)).interval_s < 0.4:
            assert slow.seq < 100
        watcher.request(b"q\n")
        async with asyncio.timeout(5):
            await watcher.process.wait_closed()
        assert watcher.process.exit_status == 0


async def test_the_settings_describe_a_simulated_fleet():
    async with await start_demo(24) as demo:
        hosts = demo.settings.hosts
        assert len(hosts) == len({host.address for host in hosts}) == 24
        assert all(host.simulated and host.address.startswith("127.") for host in hosts)
        assert mode_of(demo.folder) == 0o700
        assert mode_of(hosts[0].identity_files[0]) == 0o600
        kinds = {service.kind for host in hosts for service in host.services}
        assert {ServiceKind.VOICEVOX, ServiceKind.OPENVOICE, ServiceKind.HTTP} <= kinds
        assert demo.settings.ssh.agent is False
        assert demo.settings.ssh.config_files == ()


async def test_wrong_keys_and_a_missing_python_are_played():
    async with await start_demo(24) as demo:
        for host_id in ("tyo-t4-03", "tyo-t4-07"):
            with pytest.raises(asyncssh.HostKeyNotVerifiable):
                await login(host_of(demo, host_id))
        with pytest.raises(asyncssh.PermissionDenied):
            await login(host_of(demo, "tyo-t4-04"))
        async with login(host_of(demo, "tyo-gate-02")) as connection:
            nonce = bootstrap.new_nonce()
            done = await connection.run(bootstrap.command(nonce), encoding=None)
            assert bootstrap.parse_marker(done.stdout.strip(), nonce).kind == "none"


async def fetch(address: str, port: int, path: str) -> tuple[int, object]:
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    return int(head.split()[1]), msgspec.json.decode(body)


async def test_services_answer_refuse_and_keep_silent():
    async with await start_demo(24, at_s=1) as demo:
        good, ill = host_of(demo, "tyo-t4-02").address, host_of(demo, "tyo-t4-01").address
        assert await fetch(good, 50021, "/version") == (200, "0.24.1")
        assert (await fetch(good, 8001, "/health"))[1]["status"] == "healthy"
        assert (await fetch(ill, 8001, "/health"))[1]["status"] == "initializing"
        assert (await fetch(ill, 55433, "/api/voicevox/health"))[1]["status"] == "unhealthy"
        assert (await fetch(ill, 55434, "/"))[0] == 502
        assert (await fetch(good, 55433, "/nowhere"))[0] == 404
        down = host_of(demo, "tyo-l4-03").address
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(down, 8001)
        silent = host_of(demo, "tyo-t4-05")
        for address, port in ((down, 50021), (silent.address, 55433), (silent.address, silent.port)):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.open_connection(address, port), 0.7)


async def synthesise(address: str) -> int:
    """The two steps of VOICEVOX on one connection; the status of the second."""
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection(address, 50021)
        body, status = b"", b""
        for path in ("/audio_query?text=hello&speaker=8", "/synthesis?speaker=8"):
            head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            status = lines[0].split()[1]
            length = next(line for line in lines if line.startswith(b"content-length:"))
            body = await reader.readexactly(int(length.split(b":")[1]))
        writer.close()
        await writer.wait_closed()
    assert body.startswith(b"RIFF")
    return int(status)


async def test_a_service_that_works_loads_the_gpu_of_its_host_in_the_agents_samples():
    async with await start_demo(24, at_s=1) as demo:
        for host_id, loads_gpu in (("tyo-l4-01", True), ("tyo-t4-02", False)):
            host = host_of(demo, host_id)
            async with login(host) as connection:
                watcher = await start_watch(connection)
                task = asyncio.create_task(synthesise(host.address))
                seen = []
                while not task.done():
                    watcher.request(b"h 2\n")
                    seen.append(await watcher.next(Sample))
                assert await task == 200
                gpu = max(sample.gpus[0].utilization_pct for sample in seen)
                cpu = max(sample.cpu.utilization_pct or 0.0 for sample in seen)
                assert (gpu >= 85, cpu >= 85) == (loads_gpu, not loads_gpu)


async def test_the_fleet_has_both_flavours_of_openvoice_and_models():
    async with await start_demo(24, at_s=1) as demo:
        t4, l4 = host_of(demo, "tyo-t4-02").address, host_of(demo, "tyo-l4-01").address
        assert (await fetch(t4, 8001, "/voice-clone/profiles"))[0] == 200
        assert (await fetch(l4, 8001, "/api/profiles"))[0] == 200
        assert (await fetch(l4, 8000, "/v1/models"))[1]["data"][0]["id"] == "demo-8b"
        assert (await fetch(host_of(demo, "tyo-h100-01").address, 8000, "/v1/models"))[0] == 200


async def test_a_flapping_service_and_a_rebooting_host_refuse_while_they_are_down():
    async with await start_demo(24, at_s=92) as demo:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host_of(demo, "tyo-l4-04").address, 2222)
        assert (await fetch(host_of(demo, "tyo-l4-03").address, 55433, "/health"))[0] == 200
    async with await start_demo(24, at_s=46) as demo:
        async with asyncio.timeout(5):
            while True:
                try:
                    await fetch(host_of(demo, "tyo-l4-03").address, 55433, "/health")
                except ConnectionRefusedError:
                    break
                await asyncio.sleep(0.1)


async def test_a_hung_host_accepts_and_says_nothing():
    async with await start_demo(24, at_s=55) as demo:
        host = host_of(demo, "tyo-l4-02")
        reader, writer = await asyncio.open_connection(host.address, host.port)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.5)
        writer.close()


async def bad_lines_before_a_sample(watcher: Watcher, wanted: int) -> int:
    """Read until a good sample that follows ``wanted`` bad lines; return how many were bad."""
    bad = 0
    async with asyncio.timeout(8):
        while True:
            try:
                await watcher.next(Sample)
            except LineError:
                bad += 1
                continue
            if bad >= wanted:
                return bad


async def test_garbage_comes_between_good_samples():
    async with await start_demo(24, at_s=17) as demo, login(host_of(demo, "tyo-h100-04")) as connection:
        watcher = await start_watch(connection, 0.3)
        await watcher.next(Sample)
        assert await bad_lines_before_a_sample(watcher, wanted=1) >= 1


async def test_close_ends_the_process_and_removes_the_keys():
    demo = await start_demo(3)
    assert exists(demo.folder)
    assert exists(f"/proc/{demo.pid}")
    await demo.close()
    assert not exists(demo.folder)
    assert not exists(f"/proc/{demo.pid}")
    await demo.close()


async def test_two_demos_run_beside_each_other():
    async with await start_demo(3) as one, await start_demo(3) as other:
        assert {host.address for host in one.settings.hosts}.isdisjoint(host.address for host in other.settings.hosts)
        async with login(other.settings.hosts[0]) as connection:
            await start_watch(connection)


async def test_a_fleet_that_cannot_start_says_why():
    with pytest.raises(DemoError, match="--hosts must be 1 to 2000"):
        await start_demo(0)


LAUNCHER = """
import asyncio
from probes.demo.launch import start_demo

async def main():
    demo = await start_demo(3)
    print(demo.pid, demo.folder, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_launcher_that_dies_leaves_no_process_and_no_keys(number):
    launcher = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LAUNCHER, stdout=asyncio.subprocess.PIPE, cwd=os.fspath(Path(__file__).parents[2])
    )
    async with asyncio.timeout(20):
        pid, folder = (await launcher.stdout.readline()).decode().split()
    assert exists(folder)
    launcher.send_signal(number)
    await launcher.wait()
    async with asyncio.timeout(10):
        while exists(folder) or exists(f"/proc/{pid}"):
            await asyncio.sleep(0.05)


async def test_the_incident_is_diagnosed_from_the_simulated_cloud_and_names_and_nothing_real_is_asked() -> None:
    """Every port silent, the address named in another region, the instance stopped, its group open."""
    async with await start_demo(24, 7) as demo:
        fleet = Fleet(demo.settings.hosts)
        supervisor = Supervisor(demo.settings, fleet, world=demo.world)
        running = asyncio.create_task(supervisor.run())
        incident = next(host for host in demo.settings.hosts if "incident" in host.labels)
        well = next(host for host in demo.settings.hosts if host.id == "tyo-t4-02")
        told: list[str] = []
        try:
            await until_live(fleet, well.id)
            evidence = await supervisor.investigate([incident.id, well.id], lambda host_id, _: told.append(host_id))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert {incident.id, well.id} == set(told)
    bad = diagnose(evidence[incident.id])
    assert bad.severity.level is Level.SEV1
    rows = {verdict.row: verdict for verdict in bad.verdicts}
    assert set(rows) == {3, 6}
    assert "us-east-2" in rows[3].statement
    assert rows[6].next_actions[0].command == (
        "aws ec2 start-instances --instance-ids i-0123456789abcdef0 --region ap-northeast-1"
    )
    ends = {name: end.outcome.value for name, end in bad.layers.items()}
    assert (ends["egress"], ends["address"], ends["instance"]) == ("pass", "block", "block")
    assert (ends["security_group"], ends["nacl"], ends["route"]) == ("pass", "pass", "pass")
    fine = diagnose(evidence[well.id])
    assert fine.verdicts == ()
    assert fine.layers["http"].outcome.value == "pass"
