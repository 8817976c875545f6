"""Running programs on a host so that they die with us.

Closing an SSH channel does not end what runs behind it. So each ``Remote`` has a **keeper** on the host, a small shell
script on a channel of its own. It is sent a heartbeat every 5 s, and ends everything that was started, with a TERM and
then a KILL, when it is told to, when its stdin ends (we are gone, killed, or the connection is), or when it hears
nothing for 15 s (we are frozen). It finds a command by its token, which is on the command line of the shell that leads
the command's session and in the environment of everything below, and takes all members of the sessions that bearers
lead (``benchmarks/keeper.sh``). Nothing is installed or written on the host.

A command itself is a plain exec channel: its exit status is sshd's, and it costs what a command costs over ssh and one
small shell more. Out of the keeper's sight is only what has left its session *and* emptied its environment, or what
changed its user.

Every connection is of our own (``Context.another_ssh``), as many as the host's limit of sessions on each demands.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, Self

from benchmarks.errors import BenchError
from benchmarks.remote_keeper import Keeper, Pace
from benchmarks.remote_links import Links
from benchmarks.remote_session import CommandSession, Ended, Text, Times
from benchmarks.remote_words import Program, Usage, command_line, lines, new_nonce, token
from probes.text import clean, clean_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from benchmarks.context import Context

__all__ = ["Ended", "Pace", "Program", "Remote", "RemoteProcess", "Text", "Times", "Usage"]

#: how long a command that is to be ended may take to start: what has not started cannot be found
_START_S: Final = 2.0
_SWEEP_S: Final = 3.0
_DEFAULT: Final = Pace()


class RemoteProcess:
    """A program that runs on a host. Whoever started it waits for it or kills it."""

    def __init__(self, keeper: Keeper, pace: Pace, number: int, program: Program, session: CommandSession) -> None:
        self._keeper = keeper
        self._pace = pace
        self._number = number
        self._program = program
        self._session = session

    async def wait(self) -> Ended:
        """Wait until it has ended and all its output is read. Cancelled, it goes on: see ``kill``."""
        session = self._session
        await session.exited.wait()
        leftover = not await self._drained()
        if session.exit_code is None and session.signal is None:
            # its connection is lost; where that is not the keeper's, it does not know
            await self._keeper.bury(self._number)
        elif leftover:
            # something that it left behind holds its output open
            await self._keeper.bury(self._number)
            await self._drained()
            session.hang_up()
        return self._ended(leftover=leftover)

    async def _drained(self) -> bool:
        """Wait for the end of the output for as long as any comes."""
        session = self._session
        while not session.closed.is_set():
            before = session.received_bytes
            try:
                async with asyncio.timeout(self._pace.linger_s):
                    await session.closed.wait()
            except TimeoutError:
                if session.received_bytes == before:
                    return False
        return True

    def say(self, data: bytes) -> None:
        """Send more of its stdin; one that has ended does not hear it."""
        self._session.say(data)

    async def kill(self) -> int | None:
        """End it with all below it, TERM then KILL. Returns when they are gone, in bounded time.

        Returns:
            How many would not end; None: the keeper is gone, and ended them itself.
        """
        try:
            async with asyncio.timeout(_START_S):
                await self._session.begun.wait()
        except TimeoutError:
            pass  # its token stands on the command line of the login shell all the same
        left = await self._keeper.bury(self._number)
        self._session.hang_up()
        return left

    def _ended(self, *, leftover: bool) -> Ended:
        session = self._session
        usage = session.usage() if self._program.witness else None
        lost = problem = ""
        if session.exit_code is None and session.signal is None:
            lost = (
                clean(str(session.why)) if session.why else "the connection, or its server process on the host, ended"
            )
        elif session.word == "cwd":
            problem = f"no such directory, or no permission: {clean(self._program.cwd or '')}"
        elif session.started_ns is None:
            said = clean_bytes(session.noise.strip(), 200)
            problem = f"the host did not start it{f' and said: {said}' if said else ''}"
        return Ended(
            session.exit_code,
            session.signal,
            session.streams[1].text(),
            session.streams[2].text(),
            session.times(),
            lost=lost,
            problem=problem,
            leftover=leftover,
            usage=usage,
        )


class Remote:
    """Programs on one host, and the connections they need. Use as an async context manager.

    Args:
        context: whose host; every connection is opened by its ``another_ssh`` and closed here.
        pace: the intervals of life and death.
    """

    def __init__(self, context: Context, pace: Pace = _DEFAULT) -> None:
        self._pace = pace
        self._nonce = new_nonce()
        self._numbers = 0
        self._links = Links(context)
        self._keeper = Keeper(self._nonce, pace)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def connect_auth_s(self) -> list[float]:
        """Of every connection that was opened, how long name, TCP, key exchange and login took."""
        return self._links.connect_auth_s

    @property
    def sessions_per_connection(self) -> int | None:
        """The host's limit (the keeper counts as one); None: it was not reached."""
        return self._links.limit

    async def open(self) -> None:
        """Connect, and have the keeper on the host.

        Raises:
            BenchError: layer ``ssh``: no connection, no session; ``host``: no keeper can live there.
        """
        try:
            await self._keeper.start(self._links)
        except BaseException:
            await self.close()
            raise

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, program: Program) -> Ended:
        """Run a program to its end. Cancelled: it is ended first, with all below it, in bounded time.

        Raises:
            BenchError: layer ``plan`` (it cannot be said to a shell), ``ssh`` (no connection, no session, lost).
        """
        process = await self.start(program)
        try:
            return await process.wait()
        except asyncio.CancelledError:
            await asyncio.shield(self._own(process.kill()))
            raise

    async def start(self, program: Program, listener: Callable[[bytes], None] | None = None) -> RemoteProcess:
        """Start a program. Cancelled while it starts: what has started is ended.

        Args:
            program: what to run.
            listener: given its stdout as it comes; its stdin stays open then, see ``RemoteProcess.say``.

        Raises:
            BenchError: see ``run``.
        """
        if self._keeper.gone:
            raise BenchError("the connection to the host is lost", layer="ssh", next_step="look at the host's sshd")
        self._numbers += 1
        starting = self._own(self._begin(program, self._numbers, listener))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.shield(self._own(_abandon(starting)))
            raise

    async def _begin(self, program: Program, number: int, listener: Callable[[bytes], None] | None) -> RemoteProcess:
        mark = token(self._nonce, number)
        raw = lines(program, mark) + program.stdin
        asked_ns = time.perf_counter_ns()
        session = await self._links.execute(
            lambda link: CommandSession(
                mark, program.keep_bytes, asked_ns, on_open=link.opened, on_close=link.closed, listener=listener
            ),
            command_line(mark),
        )
        session.send(raw)
        return RemoteProcess(self._keeper, self._pace, number, program, session)

    async def _sweep(self) -> None:
        """Where a connection is left without its keeper (the host killed it): have another one, to end everything."""
        if self._links.alive:
            with contextlib.suppress(BenchError, TimeoutError):  # then the connection is going, too
                async with asyncio.timeout(_SWEEP_S):
                    await self._keeper.start(self._links)

    def _own(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End everything that runs, then the keeper, and close the connections; in bounded time."""
        try:
            if self._keeper.gone and self._numbers:
                await self._sweep()
            await self._keeper.end()
        finally:
            tasks = set(self._tasks)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=2.0)
            await self._links.close()


async def _abandon(starting: asyncio.Task[RemoteProcess]) -> None:
    """End a program that nobody waits for any more, once it has started; one that cannot start is given up."""
    done, _ = await asyncio.wait({starting}, timeout=_START_S)
    if not done:
        starting.cancel()
        await asyncio.wait({starting})
    if not starting.cancelled() and starting.exception() is None:
        await starting.result().kill()
