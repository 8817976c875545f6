"""The dashboard itself, in a real terminal, on a real sshd: it shows the host, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.sshd import Keys, RealSshd, children_of
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.needs("sshd")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealSshd]:
    with RealSshd(tmp_path / "sshd", Keys(tmp_path)) as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, server: RealSshd) -> Path:
    host = server.host()
    path = tmp_path / "config.toml"
    path.write_text(
        f'schema = 1\n[ssh]\nconfig_files = []\nagent = false\n[[hosts]]\nid = "the-real-one"\naddress = "{host.address}"\n'
        f'port = {host.port}\nuser = "{host.user}"\nidentity_files = ["{host.identity_files[0]}"]\nknown_hosts = ["{host.known_hosts[0]}"]\n'
    )
    return path


def _sessions_end(server: RealSshd, limit_s: float = 12.0) -> None:
    end = time.monotonic() + limit_s
    while left := children_of(server.pid):
        assert time.monotonic() < end, [
            Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left if Path(f"/proc/{pid}").exists()
        ]
        time.sleep(0.05)


@pytest.mark.parametrize("way", ["q", "ctrl-c", "SIGTERM", "SIGHUP"])
def test_every_way_out_restores_the_terminal_and_ends_the_agents(config: Path, server: RealSshd, way: str) -> None:
    with Terminal("--config", str(config)) as terminal:
        terminal.until("the-real-one")
        terminal.until("1/1")
        assert children_of(server.pid)
        if way == "q":
            terminal.send(b"q")
        elif way == "ctrl-c":
            terminal.send(b"\x03")
        else:
            terminal.process.send_signal(getattr(signal, way))
        code = terminal.wait()
        assert terminal.restored()
        assert code == 0 or way in {"SIGTERM", "SIGHUP"}, code
        assert "Traceback" not in terminal.painted()
    _sessions_end(server)


def test_a_killed_dashboard_leaves_no_agent(config: Path, server: RealSshd) -> None:
    with Terminal("--config", str(config)) as terminal:
        terminal.until("1/1")
        terminal.process.kill()
        terminal.wait()
    _sessions_end(server)


@pytest.mark.parametrize("command", ["config", "demo"])
def test_a_terminal_that_is_gone_takes_the_dashboard_with_it(config: Path, server: RealSshd, command: str) -> None:
    arguments = ("--config", str(config)) if command == "config" else ("demo", "--hosts", "3")
    with Terminal(*arguments) as terminal:
        terminal.until("1/1" if command == "config" else "hosts live")
        children = children_of(terminal.process.pid)
        terminal.hang_up()
        terminal.process.wait(20)
        end = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in children):
            assert time.monotonic() < end
            time.sleep(0.05)
    _sessions_end(server)


def test_a_host_that_dies_is_said_and_the_dashboard_stays(config: Path, server: RealSshd) -> None:
    with Terminal("--config", str(config), columns=160) as terminal:
        terminal.until("1/1")
        server.kill_sessions()
        server.stop()
        terminal.until("unreachable")
        terminal.until("refused")
        server.start()
        terminal.until("1/1", since=len(terminal.seen))
        terminal.send(b"q")
        assert terminal.wait() == 0


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50), (20, 5), (300, 80)])
def test_any_size_and_a_resize_in_flight(config: Path, server: RealSshd, columns: int, rows: int) -> None:
    with Terminal("--config", str(config), columns=columns, rows=rows) as terminal:
        terminal.pump(1.0)
        for wanted in ((20, 5), (columns, rows), (100, 30)):
            terminal.resize(*wanted)
            os.killpg(terminal.process.pid, signal.SIGWINCH)
            for _ in range(5):
                terminal.pump(0.1)
        terminal.until("1/1")
        terminal.send(b"q")
        assert terminal.wait() == 0
        assert terminal.restored()


def test_no_color_and_a_locale_without_utf8(config: Path, server: RealSshd) -> None:
    with Terminal(
        "--config", str(config), env={"NO_COLOR": "1", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ) as terminal:
        painted = terminal.until("1/1")
        terminal.send(b"q")
        assert terminal.wait() == 0
    assert painted.isascii()
