"""The command line as a person and a script use it: real processes, real exit codes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.sshd import FakeHost, Keys, RealSshd, children_of, free_port

ROOT = Path(__file__).parents[2]


def _run(
    *args: str, cwd: Path | None = None, env: dict[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tui.cli", *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "QUARTERDECK_CONFIG": "", **(env or {})},
    )
    assert done.returncode == code, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, Any]:
    """A folder without a configuration, and an empty home."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return {"cwd": folder, "env": {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "xdg")}}


def _config(path: Path, *hosts: Any, services: str = "") -> Path:
    lines = [
        "schema = 1",
        "[ssh]",
        "config_files = []",
        "agent = false",
        "[intervals]",
        "tcp_s = 1.0",
        "sample_s = 0.5",
    ]
    for host in hosts:
        lines += [
            "[[hosts]]",
            f'id = "{host.id}"',
            f'address = "{host.address}"',
            f"port = {host.port}",
            f'user = "{host.user}"',
            f'identity_files = ["{host.identity_files[0]}"]',
            f'known_hosts = ["{host.known_hosts[0]}"]',
            services,
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_help_and_version_load_nothing_heavy() -> None:
    code = (
        "import sys\nfrom tui.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as e:\n    assert e.code == 0\n"
        "heavy = {'textual', 'asyncssh', 'boto3', 'plotext', 'rich', 'asyncio', 'msgspec', 'prometheus_client', 'psutil'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)
    assert _run("--version").stdout.startswith("quarterdeck ")


def test_without_a_configuration_the_snapshot_is_of_this_machine(elsewhere: dict[str, Any]) -> None:
    (host,) = json.loads(_run("snapshot", **elsewhere).stdout)["hosts"]
    assert host["link"]["state"] == "live"
    assert host["sample"]["interval_s"] is not None  # the second sample: rates are there
    assert host["sample"]["cpu"]["utilization_pct"] is not None
    assert host["sample"]["cpu"]["count"] == os.cpu_count()
    assert host["sample"]["hostname"] == socket.gethostname()
    assert host["sample"]["processes"]


@pytest.mark.needs("sshd")
def test_a_snapshot_over_a_real_sshd_is_written_with_exit_0_even_with_a_dead_host_in_it(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    with RealSshd(tmp_path / "sshd", keys) as server:
        dead = server.host("dead", port=free_port())
        services = f'services = [{{ name = "ssh", port = {server.port}, kind = "ssh" }}, {{ name = "gone", port = {free_port()} }}]'
        config = _config(tmp_path / "config.toml", server.host("good"), dead, services=services)
        good, bad = json.loads(_run("--config", str(config), "snapshot").stdout)["hosts"]
        assert good["link"]["state"] == "live"
        assert good["sample"]["mode"].startswith("python")
        assert {s["name"]: s["state"] for s in good["services"]} == {"ssh": "open", "gone": "refused"}
        assert bad["link"]["state"] == "unreachable"
        assert bad["link"]["layer"] == "tcp"
        assert "refused" in bad["link"]["cause"]
        assert bad["sample"] is None
        only = json.loads(_run("--config", str(config), "snapshot", "good").stdout)["hosts"]
        assert [host["id"] for host in only] == ["good"]
        text = _run("--config", str(config), "snapshot", "--format", "prometheus").stdout
        assert 'quarterdeck_up{host="good",state="live"} 1.0' in text
        assert 'quarterdeck_up{host="dead",state="unreachable"} 0.0' in text
        assert _run("--config", str(config), "snapshot", "--format", "csv").stdout.startswith(
            "host,object,name,field,value,missing,age_s\n"
        )


async def test_check_has_one_line_a_host_and_the_worst_exit_code(tmp_path: Path) -> None:
    import asyncio

    keys = Keys(tmp_path)
    async with FakeHost(tmp_path, keys) as server:
        dead = server.host("dead", port=free_port())
        config = _config(tmp_path / "config.toml", server.host("good"), dead)
        done = await asyncio.to_thread(_run, "--config", str(config), "check", "good", code=0)
        assert done.stdout.startswith("good: fine - live")
        done = await asyncio.to_thread(_run, "--config", str(config), "check", code=2)
        assert [line.split(" - ")[0] for line in done.stdout.splitlines()] == ["good: fine", "dead: down"]
        degraded = _config(
            tmp_path / "two.toml",
            server.host("good"),
            services=f'services = [{{ name = "web", port = {free_port()} }}]',
        )
        done = await asyncio.to_thread(_run, "--config", str(degraded), "check", code=1)
        assert "web" in done.stdout
        assert "refused" in done.stdout


@pytest.mark.parametrize(("command", "code"), [("snapshot", 2), ("watch", 2), ("check", 3)])
def test_every_mistake_is_one_line_and_the_exit_code_says_so(tmp_path: Path, command: str, code: int) -> None:
    config = tmp_path / "config.toml"
    config.write_text('schema = 1\n[[hosts]]\nid = "a"\naddress = "a"\nport = 70000\n[intervals]\nsample_s = -1\n')
    done = _run("--config", str(config), command, code=code)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(str(config)) for line in lines)
    assert "port" in lines[0]
    assert "sample_s" in lines[1]
    _run("--config", str(tmp_path / "absent.toml"), command, code=code)


@pytest.mark.parametrize(("command", "code"), [("snapshot", 2), ("check", 3)])
def test_a_mistake_in_the_options_is_not_taken_for_a_host_that_is_down(tmp_path: Path, command: str, code: int) -> None:
    for options, words in ((["--bogus"], "--bogus"), (["--timeout", "0"], "range"), (["--timeout", "nan"], "finite")):
        done = _run(command, *options, code=code)
        assert words in done.stderr
        assert done.stdout == ""
    log = tmp_path / "absent" / "log"
    done = _run("--log-file", str(log), command, code=code)
    assert done.stderr.strip() == (f"--log-file: {log}: No such file or directory; expected a file that can be written")


@pytest.mark.parametrize(("command", "code"), [("snapshot", 2), ("check", 3)])
def test_an_unknown_host_is_a_clear_line(tmp_path: Path, command: str, code: int) -> None:
    config = tmp_path / "config.toml"
    config.write_text('schema = 1\n[ssh]\nconfig_files = []\n[[hosts]]\nid = "gpu-1"\naddress = "127.0.0.1"\n')
    done = _run("--config", str(config), command, "gpu-l", code=code)
    assert "gpu-l" in done.stderr
    assert "gpu-1" in done.stderr
    assert "Traceback" not in done.stderr


def test_watch_streams_lines_of_every_kind_and_ends_its_agent_on_sigterm(elsewhere: dict[str, Any]) -> None:
    watcher = subprocess.Popen(
        [sys.executable, "-m", "tui.cli", "watch"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=elsewhere["cwd"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **elsewhere["env"]},
    )
    try:
        assert watcher.stdout is not None
        seen: dict[str, dict[str, Any]] = {}
        samples = 0
        while samples < 2:
            line = json.loads(watcher.stdout.readline())
            assert {"schema_version", "type", "host", "time"} <= line.keys()
            seen[line["type"]] = line
            samples += line["type"] == "sample"
        assert seen["sample"]["sample"]["cpu"]["count"] == os.cpu_count()
        assert {"link", "sample", "event"} <= seen.keys()
        agents = children_of(watcher.pid)
        assert agents
        watcher.send_signal(signal.SIGTERM)
        assert watcher.wait(15) == 130
        assert not [pid for pid in agents if Path(f"/proc/{pid}").exists()]
    finally:
        watcher.kill()
        watcher.wait()
        assert watcher.stdout is not None
        watcher.stdout.close()


def test_a_reader_that_goes_away_ends_watch_quietly(elsewhere: dict[str, Any]) -> None:
    command = f"{sys.executable} -m tui.cli watch | head -n 2; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        timeout=40,
        check=True,
        cwd=elsewhere["cwd"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **elsewhere["env"]},
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def test_config_commands(elsewhere: dict[str, Any]) -> None:
    assert "none" in _run("config", "path", **elsewhere).stdout
    written = _run("config", "init", **elsewhere).stdout.split(": ")[1].strip()
    assert Path(written).stat().st_mode & 0o777 == 0o600
    assert _run("config", "path", **elsewhere).stdout.strip() == written
    assert "fine" in _run("config", "check", **elsewhere).stdout
    assert "exists" in _run("config", "init", **elsewhere, code=2).stderr
    shown = _run("config", "show", **elsewhere).stdout
    again = elsewhere["cwd"] / "again.toml"
    again.write_text(shown)
    assert "fine" in _run("config", "check", str(again), **elsewhere).stdout
    assert json.loads(_run("config", "show", "--format", "json", **elsewhere).stdout)["intervals"]["sample_s"] == 1.0


def test_the_log_file_is_private_and_holds_no_secret(tmp_path: Path, elsewhere: dict[str, Any]) -> None:
    log = tmp_path / "quarterdeck.log"
    _run("--log-file", str(log), "snapshot", **elsewhere)
    assert log.stat().st_mode & 0o777 == 0o600
    assert " INFO probes.fleet: link info localhost: live\n" in log.read_text()
    _run("--log-file", str(tmp_path / "no" / "where.log"), "snapshot", **elsewhere, code=2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_and_host_names(shell: str, tmp_path: Path) -> None:
    script = _run("completion", shell).stdout
    assert "_QUARTERDECK_COMPLETE" in script
    config = tmp_path / "config.toml"
    config.write_text('schema = 1\n[ssh]\nconfig_files = []\n[[hosts]]\nid = "gpu-1"\naddress = "127.0.0.1"\n')
    if shell == "bash":
        env = {
            "_QUARTERDECK_COMPLETE": "bash_complete",
            "COMP_WORDS": f"quarterdeck --config {config} snapshot gp",
            "COMP_CWORD": "4",
        }
        program = Path(sys.executable).parent / "quarterdeck"
        done = subprocess.run(
            [str(program)], env={**os.environ, **env}, capture_output=True, text=True, timeout=20, check=True
        )
        assert done.stdout.strip() == "plain,gpu-1"
