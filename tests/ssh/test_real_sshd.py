"""Against Debian's sshd with its own keys on a free port: login shells, noise, jumps, and the death of everything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from probes.model import LinkState
from tests.support.accounts import account, noisy_home, shell_program
from tests.support.sshd import Keys, RealSshd, children_of, without_python
from tests.support.watching import settings_for, watching

pytestmark = pytest.mark.needs("sshd")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


async def test_a_real_sshd_from_login_to_sample(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "sshd", keys) as server:
        async with watching(settings_for(server.host())) as watch:
            record = await watch.until(lambda r: r.samples >= 3 and r.processes is not None and r.lag_s is not None)
            assert record.link.state is LinkState.LIVE
            assert record.sample is not None
            assert record.sample.memory.total_bytes == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        # one login for all of it, and nothing left behind
        assert server.log.read_text().count("Accepted publickey") == 1
        await _gone(server)


async def _gone(server: RealSshd, limit_s: float = 10.0) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + limit_s
    while left := children_of(server.pid):
        assert loop.time() < end, [
            Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left if Path(f"/proc/{pid}").exists()
        ]
        await asyncio.sleep(0.05)


async def test_a_killed_connection_is_made_again(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "sshd", keys) as server:
        async with watching(settings_for(server.host())) as watch:
            await watch.until(lambda r: r.samples >= 2)
            server.kill_sessions()
            seen = watch.record().samples
            await watch.until(lambda r: r.link.state is not LinkState.LIVE)
            await watch.until(lambda r: r.link.state is LinkState.LIVE and r.samples > seen + 1)


async def test_a_dead_server_is_refused_and_comes_back(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "sshd", keys) as server:
        async with watching(settings_for(server.host())) as watch:
            await watch.until(lambda r: r.samples >= 2)
            server.kill_sessions()
            server.stop()
            await watch.until(lambda r: r.link.state is LinkState.UNREACHABLE)
            record = await watch.until(lambda r: "refused" in (r.link.cause or ""))
            assert record.sample is not None  # the last values stay, with their age
            server.start()
            seen = record.samples
            await watch.until(lambda r: r.link.state is LinkState.LIVE and r.samples > seen)


@pytest.mark.parametrize("mode", ["python", "sh"])
@pytest.mark.needs("root")
async def test_a_frozen_watcher_loses_its_agents_by_the_heartbeat_rule(tmp_path: Path, keys: Keys, mode: str) -> None:
    """SIGSTOP is a laptop whose lid closed: no end of stdin, only silence. The host must be rid of us in 15 s."""
    extra = "" if mode == "python" else f"SetEnv PATH={without_python(tmp_path)}"
    with RealSshd(tmp_path / "sshd", keys, extra=extra) as server:
        config = tmp_path / "config.toml"
        host = server.host()
        config.write_text(
            f'schema = 1\n[ssh]\nconfig_files = []\n[[hosts]]\nid = "h"\naddress = "{host.address}"\nport = {host.port}\nuser = "{host.user}"\n'
            f'identity_files = ["{host.identity_files[0]}"]\nknown_hosts = ["{host.known_hosts[0]}"]\n'
        )
        watcher = subprocess.Popen(
            [sys.executable, "-m", "tui.cli", "--config", str(config), "watch"],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        try:
            assert watcher.stdout is not None
            while json.loads(await asyncio.to_thread(watcher.stdout.readline))["type"] != "sample":
                pass
            assert children_of(server.pid)
            watcher.send_signal(signal.SIGSTOP)
            await _no_agent(server, limit_s=25)
        finally:
            watcher.send_signal(signal.SIGCONT)
            watcher.terminate()
            watcher.wait(10)
            assert watcher.stdout is not None
            watcher.stdout.close()


async def _no_agent(server: RealSshd, limit_s: float) -> None:
    """Only sshd's own processes are left under the server."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit_s
    while True:
        names = []
        for pid in children_of(server.pid):
            with contextlib.suppress(OSError):
                names.append(Path(f"/proc/{pid}/comm").read_text().strip())
        if all(name.startswith("sshd") for name in names):
            return
        assert loop.time() < end, names
        await asyncio.sleep(0.1)


@pytest.mark.needs("root", "useradd")
@pytest.mark.parametrize("shell", ["bash", "dash", "zsh", "fish", "tcsh"])
async def test_any_login_shell_with_a_noisy_start_will_do(tmp_path: Path, keys: Keys, shell: str) -> None:
    program, home = shell_program(shell), noisy_home(tmp_path)
    with account(program, home) as user, RealSshd(tmp_path / "sshd", keys, extra="Banner none") as server:
        (tmp_path / "sshd" / "authorized_keys").chmod(0o644)
        (tmp_path / "sshd").chmod(0o755)
        async with watching(settings_for(server.host(user=user))) as watch:
            record = await watch.until(lambda r: r.samples >= 2)
            assert record.bad_lines == 0
        await _gone(server)


async def test_a_forced_command_in_authorized_keys_is_named(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "sshd", keys, options='command="echo only backups here"') as server:
        async with watching(settings_for(server.host())) as watch:
            record = await watch.until(lambda r: r.link.state is LinkState.AGENT_FAILED)
            assert record.link.layer == "bootstrap"
            assert "only backups here" in (record.link.cause or "")


async def test_no_sessions_allowed_is_named(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "sshd", keys, extra="MaxSessions 0") as server:
        async with watching(settings_for(server.host())) as watch:
            record = await watch.until(lambda r: r.link.state is LinkState.AGENT_FAILED)
            assert "refused a session" in (record.link.cause or "")


async def test_a_host_behind_a_real_jump_host(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "jump", keys) as jump, RealSshd(tmp_path / "target", keys) as target:
        known = tmp_path / "known"
        known.write_text(jump.known_hosts.read_text() + target.known_hosts.read_text())
        spec = f"{target.host().user}@{jump.address}:{jump.port}"
        host = target.host(proxy_jump=spec, known_hosts=(str(known),))
        async with watching(settings_for(host)) as watch:
            await watch.until(lambda r: r.samples >= 2)
        await _gone(jump)
        with RealSshd(tmp_path / "strict", keys, extra="AllowTcpForwarding no") as strict:
            known.write_text(strict.known_hosts.read_text() + target.known_hosts.read_text())
            spec = f"{target.host().user}@{strict.address}:{strict.port}"
            async with watching(settings_for(msgspec.structs.replace(host, proxy_jump=spec))) as watch:
                record = await watch.until(lambda r: r.link.state is LinkState.UNREACHABLE)
                assert "jump host could not reach" in (record.link.cause or "")


@pytest.mark.needs("ssh-agent")
async def test_an_ssh_agent_holds_the_key(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    socket_path = tmp_path / "agent.sock"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.DEVNULL)
    try:
        while not socket_path.exists():
            await asyncio.sleep(0.02)
        env = {**os.environ, "SSH_AUTH_SOCK": str(socket_path)}
        subprocess.run(["ssh-add", str(keys.private)], env=env, check=True, capture_output=True)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket_path))
        with RealSshd(tmp_path / "sshd", keys) as server:
            host = server.host(identity_files=(str(tmp_path / "absent"),))
            async with watching(settings_for(host, agent=True)) as watch:
                await watch.until(lambda r: r.samples >= 1)
            async with watching(settings_for(host, agent=False)) as watch:
                await watch.until(lambda r: r.link.state is LinkState.AUTH_FAILED)
    finally:
        agent.terminate()
        agent.wait(5)
