"""A program that measures a host, on the host: compiled there (or run by its Python), and talked to line by line.

The program prints one JSON line for every command on its stdin, the first line unasked. It runs under the keeper of
``benchmarks.remote``, so it dies with us; what compiling needed is removed before it runs (``native/launch.sh``).
"""

from __future__ import annotations

import asyncio
import importlib.resources
import shlex
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from benchmarks.errors import BenchError
from benchmarks.remote import Program
from probes.text import clean, clean_bytes

if TYPE_CHECKING:
    from benchmarks.remote import Ended, Remote, RemoteProcess

#: compilers that are looked for, the best first
COMPILERS: Final = ("cc", "gcc", "clang")
#: a line of ours is far shorter; what has no end is no program of ours
_MAX_LINE: Final = 8 * 1024
_MAX_WAITING: Final = 256
_PREFIX: Final = b"QDN "
_KILLED: Final = " (killed: out of memory?)"
_ILLEGAL: Final = " (illegal instruction: is this CPU emulated? cc=numpy does without)"
_MEANING: Final[dict[int | str, str]] = {137: _KILLED, "KILL": _KILLED, 132: _ILLEGAL, "ILL": _ILLEGAL}


class Source(Struct, frozen=True):
    """A program: a C file of the package to compile, or a Python file of the package for the host's numpy."""

    file: str

    @property
    def text(self) -> str:
        """The source."""
        return importlib.resources.files("benchmarks").joinpath(f"native/{self.file}").read_text(encoding="utf-8")


class Hello(Struct, frozen=True):
    """What a program says first. ``elements`` of one array, or the rows of a matrix; ``bytes`` of all memory it has."""

    hello: str
    threads: int
    elements: int
    bytes: int
    compiler: str
    timer_resolution_s: float
    openmp: bool = False
    #: of numpy: the library that computes
    library: str = ""


class Refused(Struct, frozen=True):
    """What a program says in place of a hello."""

    error: str
    needed_bytes: float = 0
    available_bytes: float = 0


class Launched(Struct, frozen=True):
    """How a program came to run: the flags it was compiled with, and folders from which nothing may be started."""

    hello: Hello
    flags: str = ""
    noexec: str = ""


class ProgramLostError(Exception):
    """The program is gone, or says what no program of ours says. ``lost``: it is gone."""

    def __init__(self, detail: str, *, lost: bool = True) -> None:
        super().__init__(detail)
        self.detail = detail
        self.lost = lost


class NativeProgram:
    """One program on a host. ``close`` ends it.

    Args:
        remote: what keeps programs on that host.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._process: RemoteProcess | None = None
        self._partial = bytearray()
        self._lines: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._flooded = False
        self._end: asyncio.Task[Ended] | None = None

    async def compile(self, source: Source, compiler: str, arguments: str, *, bind: bool) -> Launched:
        """Compile a C program on the host and start it.

        Args:
            source: the program.
            compiler: a name or path on the host.
            arguments: of the program, in one string.
            bind: whether threads stay on their CPUs.

        Raises:
            BenchError: layer ``host``: it cannot be compiled or started there; ``ssh``: the connection is lost.
        """
        raw = source.text.encode()
        words = shlex.join([str(len(raw)), compiler, arguments, "true" if bind else "false"])
        return await self._launch(Program(f"set -- {words}\n{_script('launch.sh')}", stdin=raw), compiler)

    async def interpret(self, source: Source, arguments: str, threads: int) -> Launched:
        """Start a Python program with the host's own Python.

        Args:
            source: the program.
            arguments: of the program, in one string.
            threads: that its libraries may use.

        Raises:
            BenchError: see ``compile``.
        """
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
        command = f"exec python3 -u -c {shlex.quote(source.text)} {arguments}"
        return await self._launch(Program(command, env=dict.fromkeys(names, str(threads))), "python3")

    async def _launch(self, program: Program, compiler: str) -> Launched:
        self._process = await self._remote.start(program, self._hear)
        self._end = asyncio.create_task(self._process.wait(), name="program on the host")
        flags = noexec = ""
        while True:
            try:
                line = await self._line()
            except ProgramLostError as error:
                step = "look at the host's memory and its log: was it killed?"
                raise BenchError(f"the program did not start: {error.detail}", layer="host", next_step=step) from None
            if not line.startswith(_PREFIX):
                return Launched(_hello(line), flags, noexec)
            word, _, said = clean_bytes(line[len(_PREFIX) :], 400).partition(" ")
            if word == "compiled":
                flags = said
            elif word == "noexec":
                noexec = said
            elif word == "failed":
                raise _failed(said, compiler)

    # --- talking ---

    def ask(self, *commands: str) -> None:
        """Send commands.

        Raises:
            ProgramLostError: nobody is there to hear them.
        """
        if self._process is None or self._end is None or self._end.done():
            raise ProgramLostError(self._how_it_ended())
        self._process.say("".join(f"{command}\n" for command in commands).encode())

    async def answer(self) -> dict[str, Any]:
        """The next line.

        Raises:
            ProgramLostError: it is gone, or this is no such line.
        """
        line = await self._line()
        try:
            return msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise ProgramLostError(f"it said {clean_bytes(line, 120)!r}", lost=False) from None

    def _hear(self, data: bytes) -> None:
        if self._flooded:
            return
        self._partial += data
        *whole, rest = bytes(self._partial).split(b"\n")
        self._partial[:] = rest
        self._lines += whole
        if len(self._lines) > _MAX_WAITING or len(rest) > _MAX_LINE:
            self._flooded = True
            self._partial.clear()
        if self._lines or self._flooded:
            self._news.set()

    async def _line(self) -> bytes:
        """The next line, which may have come before the end did."""
        if not self._lines and not self._flooded:
            await self._wait()
        if self._flooded:
            raise ProgramLostError("it says far more than it was asked", lost=False)
        if not self._lines:
            raise ProgramLostError(self._how_it_ended())
        return self._lines.popleft()

    async def _wait(self) -> None:
        """Wait for a line or the end of the program."""
        end = self._end
        if end is None:
            return
        self._news.clear()
        news = asyncio.create_task(self._news.wait(), name="next line")
        try:
            await asyncio.wait({news, end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            await asyncio.wait({news})

    def _how_it_ended(self) -> str:
        end = self._end
        if end is None or not end.done():
            return "it was not started"
        if end.cancelled() or end.exception() is not None:
            return "it was ended"
        ended = end.result()
        if ended.lost or ended.problem:
            return ended.lost or ended.problem
        said = clean(ended.stderr.text().strip().rpartition("\n")[2], 120)
        how = f"signal {clean(ended.signal, 20)}" if ended.signal else f"status {ended.exit_code}"
        how += _MEANING.get(ended.exit_code or ended.signal or "", "")
        return f"it ended with {how}{f': {said}' if said else ''}"

    async def close(self) -> None:
        """End the program with all below it."""
        process, end = self._process, self._end
        if process is not None and (end is None or not end.done()):
            await process.kill()
        if end is not None:
            end.cancel()
            await asyncio.wait({end})


def _script(file: str) -> str:
    lines = Source(file).text.splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def _hello(line: bytes) -> Hello:
    """The first line of a program.

    Raises:
        BenchError: layer ``host``: it refuses, or it is not ours.
    """
    try:
        found = msgspec.json.decode(line, type=dict[str, Any])
        if "error" not in found:
            return msgspec.convert(found, Hello)
        refused = msgspec.convert(found, Refused, strict=False)
    except msgspec.MsgspecError:
        cause = f"the program did not start: it said {clean_bytes(line, 120)!r}"
        raise BenchError(cause, layer="host", next_step="run it again; was the file changed?") from None
    needed, have = refused.needed_bytes / 1e9, refused.available_bytes / 1e9
    cause = f"not enough memory: {clean(refused.error, 120)} ({needed:.2f} GB needed, {have:.2f} GB available)"
    raise BenchError(cause, layer="host", next_step="free some, or choose fewer elements (elements=)")


def _failed(said: str, compiler: str) -> BenchError:
    word, _, why = said.partition(" ")
    if word == "compile":
        step = "try another compiler with cc=, or numpy with cc=numpy"
        return BenchError(f"{clean(compiler, 200)} does not compile the program: {why}", layer="host", next_step=step)
    return BenchError(why, layer="host", next_step="set TMPDIR on the host to a folder without noexec")
