"""A program in a pseudo-terminal: enough of a terminal to know what is on the screen, and when it got there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TOKEN = re.compile(
    r"\x1b\[([0-9;:?<=>]*)[ -/]*([@-~])"  # control sequence: parameters, final
    r"|\x1b[PX^_\]].*?(?:\x07|\x1b\\)"  # strings: title and the like
    r"|\x1b[ -/]*[0-~]"  # other escapes
    r"|([^\x1b]+)",  # text and C0 controls
    re.DOTALL,
)
_INCOMPLETE = re.compile(r"\x1b(?:\[[0-9;:?<=>]*[ -/]*|[PX^_\]][^\x07]*)?\Z")


class Screen:
    """What stands on the screen: a character and a background for each cell."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.text = [[" "] * columns for _ in range(rows)]
        self.ground = [[""] * columns for _ in range(rows)]
        self._row = self._column = 0
        self._style = ""
        self._reverse = False
        self._rest = ""

    def feed(self, data: str) -> None:
        """Take output of the program."""
        data = self._rest + data
        cut = _INCOMPLETE.search(data)
        self._rest = data[cut.start() :] if cut else ""
        for match in _TOKEN.finditer(data, 0, cut.start() if cut else len(data)):
            parameters, final, text = match.groups()
            if text is not None:
                self._put(text)
            elif final is not None:
                self._control(parameters, final)

    def line(self, row: int) -> str:
        """The text of a row."""
        return "".join(self.text[row]).rstrip()

    def is_blank(self) -> bool:
        """Whether nothing but spaces is on the screen."""
        return all(cell == " " for row in self.text for cell in row)

    def _put(self, text: str) -> None:
        for char in text:
            if char == "\n":
                self._row = min(self._row + 1, self.rows - 1)
            elif char == "\r":
                self._column = 0
            elif char == "\b":
                self._column = max(self._column - 1, 0)
            elif char >= " ":
                if self._column < self.columns:
                    self.text[self._row][self._column] = char
                    self.ground[self._row][self._column] = self._style + ("r" if self._reverse else "")
                self._column += 2 if unicodedata.east_asian_width(char) in "WF" else 1

    def _control(self, parameters: str, final: str) -> None:
        if final in "Hf":
            numbers = [int(part) if part.isdigit() else 1 for part in parameters.split(";")]
            self._row = min(max(numbers[0], 1), self.rows) - 1
            self._column = min(max(numbers[1] if len(numbers) > 1 else 1, 1), self.columns) - 1
        elif final == "m":
            self._styled(parameters.split(";"))
        elif final == "J" and parameters in ("2", "3"):
            self.text = [[" "] * self.columns for _ in range(self.rows)]
            self.ground = [[""] * self.columns for _ in range(self.rows)]
        elif final in "ABCD":
            step = int(parameters or 1)
            if final in "AB":
                self._row = min(max(self._row + (step if final == "B" else -step), 0), self.rows - 1)
            else:
                self._column = max(self._column + (step if final == "C" else -step), 0)

    def _styled(self, codes: list[str]) -> None:
        place = 0
        while place < len(codes):
            code = codes[place] or "0"
            if code == "0":
                self._style, self._reverse = "", False
            elif code == "7":
                self._reverse = True
            elif code == "27":
                self._reverse = False
            elif code in ("38", "48"):
                length = 5 if codes[place + 1 : place + 2] == ["2"] else 3
                if code == "48":
                    self._style = ";".join(codes[place : place + length])
                place += length - 1
            elif code == "49":
                self._style = ""
            elif code.isdigit() and (40 <= int(code) <= 47 or 100 <= int(code) <= 107):
                self._style = code
            place += 1


class Terminal:
    """A child in a pseudo-terminal, read by a thread; ``screen`` is current, ``wait`` wakes up at each output."""

    def __init__(
        self, argv: Sequence[str], *, rows: int = 50, columns: int = 200, env: Mapping[str, str] | None = None
    ) -> None:
        self.screen = Screen(rows, columns)
        self.bytes = 0
        self.raw = b""
        self._changed = threading.Condition()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        wanted = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8", **(env or {})}
        wanted.pop("NO_COLOR", None)
        self.started_s = time.perf_counter()
        self._child = subprocess.Popen(
            list(argv), stdin=slave, stdout=slave, stderr=slave, env=wanted, start_new_session=True, close_fds=True
        )
        os.close(slave)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        return self._child.poll()

    def send(self, keys: bytes) -> float:
        """Type; returns when."""
        now = time.perf_counter()
        os.write(self._master, keys)
        return now

    def wait(self, done: Callable[[Screen], bool], timeout_s: float) -> float | None:
        """Wait until the screen is as wanted; returns when the output that made it so had arrived, None if late."""
        end = time.perf_counter() + timeout_s
        with self._changed:
            while not done(self.screen):
                left = end - time.perf_counter()
                if left <= 0 or not self._changed.wait(left):
                    return None
            return self._at_s

    _at_s = 0.0

    def close(self, timeout_s: float = 15.0) -> int | None:
        """End the program as a person's SIGTERM would; kill it when it does not; returns its exit code."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._thread.join(5.0)
        return self._child.returncode

    def _read(self) -> None:
        try:
            while True:
                select.select([self._master], [], [])
                data = os.read(self._master, 1 << 16)
                now = time.perf_counter()
                if not data:
                    return
                with self._changed:
                    self._at_s = now
                    self.bytes += len(data)
                    self.raw = (self.raw + data)[-20_000:]
                    self.screen.feed(data.decode("utf-8", "replace"))
                    self._changed.notify_all()
        except OSError:
            return  # EIO: the child closed its side
        finally:
            os.close(self._master)


def calibrate(terminal: Terminal, column: int = 3) -> str:
    """The background that marks the cursor: what moves down a row on j and back on k."""
    end = time.perf_counter() + 20.0
    while time.perf_counter() < end:
        grounds = [row[column] for row in terminal.screen.ground]
        candidates = {ground for ground in grounds if grounds.count(ground) == 1}
        terminal.send(b"j")
        time.sleep(0.5)
        after = [row[column] for row in terminal.screen.ground]
        terminal.send(b"k")
        time.sleep(0.5)
        for ground in candidates:
            if after.count(ground) == 1 and after.index(ground) != grounds.index(ground):
                return ground
    raise RuntimeError("no cursor was seen to move")


def key_to_paint_ms(terminal: Terminal, key: bytes, ground: str, column: int = 3) -> float | None:
    """Press a key that moves the cursor; milliseconds until it stands elsewhere on the screen, None if it never does."""

    def place(screen: Screen) -> int | None:
        return next((row for row in range(screen.rows) if screen.ground[row][column] == ground), None)

    before = place(terminal.screen)
    sent = terminal.send(key)
    seen = terminal.wait(lambda screen: place(screen) not in (before, None), 3.0)
    return None if seen is None else (seen - sent) * 1000
