"""Another program in the foreground, in a real terminal: it gets the keys, the fleet goes on, the screen comes back."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

_APP = """
import asyncio, sys
from tests.support.fleets import FakeBackend, fleet_of, settings_of
from tui.app import QuarterdeckApp

argv, beats = sys.argv[2:], open(sys.argv[1], "w", buffering=1)

class Backend(FakeBackend):
    async def run(self):
        while True:
            beats.write("beat\\n")
            await asyncio.sleep(0.05)
    def ssh_argv(self, host_id):
        return argv

async def factory():
    return Backend()

fleet = fleet_of(3)
sys.exit(QuarterdeckApp(settings_of(fleet), fleet, factory).run())
"""


def start(tmp_path: Path, *argv: str) -> tuple[Terminal, Path]:
    script, beats = tmp_path / "app.py", tmp_path / "beats"
    script.write_text(_APP)
    terminal = Terminal(str(beats), *argv, program=(str(script),), env={"LC_ALL": "C.UTF-8"})
    terminal.until("gpu-002")
    beats_grow(terminal, beats)
    return terminal, beats


def beats_grow(terminal: Terminal, beats: Path) -> None:
    before = beats.read_text().count("beat")
    end = time.monotonic() + 10
    while beats.read_text().count("beat") < before + 5:
        assert time.monotonic() < end, "the event loop stands still"
        terminal.pump(0.05)


def test_the_program_gets_the_keys_the_fleet_goes_on_and_the_screen_comes_back(tmp_path):
    terminal, beats = start(tmp_path, sys.executable, "-c", "print('IN-' + 'SHELL'); print('GOT-' + input())")
    try:
        terminal.send(b"S")
        terminal.until("IN-SHELL")
        here = len(terminal.seen)
        beats_grow(terminal, beats)
        assert terminal.painted(here).strip() == "", "nothing is drawn over the program"
        terminal.send(b"q \n")
        terminal.until("GOT-q", since=here)
        terminal.until("gpu-002", since=here)
        after = len(terminal.seen)
        terminal.send(b"q")
        assert terminal.wait() == 0
        assert b"\x1b[?1049l" in terminal.seen[after:]
    finally:
        terminal.close()


def test_ctrl_c_belongs_to_the_program_and_its_failure_is_said(tmp_path):
    code = "import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit(7)); print('RE' + 'ADY', flush=True); signal.pause()"
    terminal, _ = start(tmp_path, sys.executable, "-c", code)
    try:
        terminal.send(b"S")
        terminal.until("READY")
        here = len(terminal.seen)
        terminal.send(b"\x03")
        terminal.until("ended with status 7", since=here)
        assert terminal.process.poll() is None
        terminal.send(b"\x03")
        assert terminal.wait() == 0, "and now it is ours again"
    finally:
        terminal.close()


def test_a_program_that_is_not_there_is_said(tmp_path):
    terminal, _ = start(tmp_path, "/nonexistent/ssh", "host")
    try:
        terminal.send(b"S")
        terminal.until("/nonexistent/ssh: No such file or directory")
        terminal.send(b"q")
        assert terminal.wait() == 0
    finally:
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_program_runs_ends_both(tmp_path, number):
    code = "import time; print('RE' + 'ADY', flush=True); time.sleep(60)"
    terminal, _ = start(tmp_path, sys.executable, "-c", code)
    try:
        terminal.send(b"S")
        terminal.until("READY")
        terminal.process.send_signal(number)
        assert terminal.wait() == 0
    finally:
        terminal.close()
