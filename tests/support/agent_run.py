"""A real agent as a child process, driven as the watcher drives it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from probes.hosts import bootstrap
from probes.hosts.frames import FrameDecoder
from probes.hosts.protocol import LineError, decode
from probes.model import Answer, Hello, Line, Note, Processes, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

_T = TypeVar("_T", Hello, Sample, Processes, Note, Answer)
TIMEOUT_S = 20.0


class AgentRun:
    """Starts an agent, feeds its lines to the shipped decoder, and waits for what a test asks for."""

    def __init__(
        self,
        argv: Sequence[str],
        nonce: str,
        *,
        interval_s: float = 0.1,
        watchdog_s: float = 15.0,
        environ: Mapping[str, str] | None = None,
        heartbeat: bool = True,
        answer_notes: bool = True,
        read: bool = True,
        **settings: object,
    ) -> None:
        self.lines: list[Line] = []
        self.bad: list[str] = []
        self.raw: list[bytes] = []
        self.noise: list[bytes] = []
        self.boot: bootstrap.Boot | None = None
        self._answer = answer_notes
        self._news = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environ or {})},
            start_new_session=True,  # nothing the agent signals can reach the tests
        )
        self.boot = self._boot(nonce)
        if self.boot is None or self.boot.kind == "none":
            return
        self.send(bootstrap.payload(self.boot.kind, interval_s, watchdog_s=watchdog_s, **settings))
        if heartbeat:
            self.send(b"h 7\n")
        self._decoder = FrameDecoder().feed if self.boot.kind == "sh" else _whole
        self._thread = threading.Thread(target=self._read, daemon=True)
        if read:
            self._thread.start()

    def _boot(self, nonce: str) -> bootstrap.Boot | None:
        assert self.process.stdout is not None
        for line in iter(self.process.stdout.readline, b""):
            boot = bootstrap.parse_marker(line, nonce)
            if boot is not None:
                return boot
            self.noise.append(line)
        return None

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in iter(self.process.stdout.readline, b""):
            try:
                found = self._decoder(line.rstrip(b"\n"))
            except LineError as error:
                with self._news:
                    self.bad.append(f"{error}: {line[:200]!r}")
                    self._news.notify_all()
                continue
            with self._news:
                self.raw.append(line)
                self.lines += found
                self._news.notify_all()
            if self._answer and any(isinstance(one, Note) and one.need == "pynvml" for one in found):
                self.send(bootstrap.pynvml_payload())
        with self._news:
            self._ended = True
            self._news.notify_all()

    def send(self, data: bytes) -> None:
        """Write to the agent's stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def eof(self) -> None:
        """Close the agent's stdin."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def all(self, kind: type[_T]) -> list[_T]:
        """All lines of a kind so far."""
        with self._news:
            return [line for line in self.lines if isinstance(line, kind)]

    def wait(self, kind: type[_T], wanted: Callable[[_T], object] = lambda _: True, *, after: int = 0) -> _T:
        """The first line of a kind (from number ``after`` on) for which ``wanted`` is true."""
        until = time.monotonic() + TIMEOUT_S
        with self._news:
            while True:
                for line in [one for one in self.lines if isinstance(one, kind)][after:]:
                    if wanted(line):
                        return line
                left = until - time.monotonic()
                if left <= 0 or self._ended:
                    last = [one for one in self.lines if isinstance(one, kind)][-1:]
                    raise AssertionError(f"no such {kind.__name__}; last: {last}; bad: {self.bad[-3:]}")
                self._news.wait(left)

    def wait_end(self, timeout_s: float = TIMEOUT_S) -> int:
        """The exit status, once it ended."""
        return self.process.wait(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        assert self.process.stdout is not None
        if self.boot is not None and self.boot.kind != "none" and self._thread.ident is not None:
            self._thread.join(5)
        self.process.stdout.close()


def session_members(session: int) -> dict[int, str]:
    """{pid: command name} of the living processes of a session: whatever an agent left behind is among them."""
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            raw = (folder / "stat").read_bytes()
        except OSError:
            continue
        fields = raw[raw.rindex(b")") + 2 :].split()
        if int(fields[3]) == session and fields[0] not in (b"Z", b"X"):
            found[int(folder.name)] = raw[raw.index(b"(") + 1 : raw.rindex(b")")].decode()
    return found


def wait_until(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> bool:
    """Whether the condition came true in time."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if condition():
            return True
        threading.Event().wait(0.02)  # the pace of looking; the condition decides
    return bool(condition())


def _whole(line: bytes) -> tuple[Line]:
    return (decode(line),)
