"""A program in a real pseudo-terminal, driven and read like a person would."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_CONTROL = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[@-_]")


def _environment() -> dict[str, str]:
    """Ours without a size: test runners set one, and it would win over the terminal's own."""
    return {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}


class Terminal:
    """`python PROGRAM ARGS` (`-m tui.cli`) on a pty of the given size; ``seen`` is everything it wrote."""

    def __init__(
        self,
        *args: str,
        columns: int = 120,
        rows: int = 40,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        program: tuple[str, ...] = ("-m", "tui.cli"),
    ) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.seen = b""
        self._modes = termios.tcgetattr(slave)
        self._slave = slave
        self.process = subprocess.Popen(
            [sys.executable, *program, *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            cwd=cwd or ROOT,
            env={**_environment(), "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **(env or {})},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - the pty must be its controlling terminal
        )

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def pump(self, limit_s: float) -> bool:
        """Read what is there, waiting at most ``limit_s``; false at the end of the program."""
        ready, _, _ = select.select([self.master], [], [], limit_s)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += data
        return bool(data)

    def until(self, text: str, limit_s: float = 30.0, since: int = 0) -> str:
        """Read until the text was painted; returns everything painted, without control sequences."""
        end = time.monotonic() + limit_s
        while text not in (painted := self.painted(since)):
            if time.monotonic() > end or not self.pump(0.2):
                raise AssertionError(f"{text!r} was not painted; the end of it: {painted[-3000:]!r}")
        return painted

    def painted(self, since: int = 0) -> str:
        return _CONTROL.sub(b"", self.seen[since:]).decode("utf-8", "replace")

    def wait(self, limit_s: float = 20.0) -> int:
        """Read to the end of the program and return its exit code."""
        end = time.monotonic() + limit_s
        while self.process.poll() is None:
            if time.monotonic() > end:
                raise AssertionError(f"still running; painted: {self.painted()[-2000:]!r}")
            self.pump(0.1)
        while select.select([self.master], [], [], 0.2)[0]:
            before = len(self.seen)
            self.pump(0.1)
            if len(self.seen) == before:
                break
        return self.process.returncode

    def restored(self) -> bool:
        """Whether the alternate screen was left and the line discipline is as before."""
        left = self.seen.rfind(b"\x1b[?1049l") > self.seen.rfind(b"\x1b[?1049h")
        return left and termios.tcgetattr(self._slave)[3] == self._modes[3]

    def hang_up(self) -> None:
        """Close the terminal's window."""
        for descriptor in (self.master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)
        self.master = self._slave = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.hang_up()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
