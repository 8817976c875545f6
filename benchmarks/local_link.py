"""This machine in place of a host over SSH: child processes with the face of an SSH connection.

What runs programs on hosts (``benchmarks.remote``) needs little of asyncssh's connection: a session per command, and
closing. So the same keeper, the same tokens and the same rules of life and death hold here, without a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class LocalConnection:
    """Runs commands by ``/bin/sh -c``, each in a session of its own, as sshd does."""

    def __init__(self) -> None:
        self._transports: set[asyncio.SubprocessTransport] = set()
        self._closed = False

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    async def create_session(self, make: Callable[[], Any], command: str, **_: Any) -> tuple[Any, Any]:
        """Start a command; the session's callbacks are asyncssh's.

        Raises:
            OSError: it cannot be started.
        """
        if self._closed:
            raise ConnectionError("closed")
        session = make()
        loop = asyncio.get_running_loop()
        home = Path.home()
        transport, child = await loop.subprocess_exec(
            lambda: _Child(session),
            "/bin/sh",
            "-c",
            command,
            start_new_session=True,
            cwd=home if home.is_dir() else "/",
            env=dict(os.environ),
        )
        self._transports.add(transport)
        child.on_end = lambda: self._transports.discard(transport)
        return child, session

    def close(self) -> None:
        """Close the standard input of everything that runs: the keeper ends it."""
        self._closed = True
        for transport in tuple(self._transports):
            _close_stdin(transport)

    async def wait_closed(self) -> None:
        """Wait until everything has ended."""
        while self._transports:  # noqa: ASYNC110 - the ends are callbacks of several transports
            await asyncio.sleep(0.01)

    def abort(self) -> None:
        """Kill what is left of the shells themselves."""
        self._closed = True
        for transport in tuple(self._transports):
            with contextlib.suppress(ProcessLookupError):
                transport.kill()
            transport.close()


def _close_stdin(transport: asyncio.SubprocessTransport) -> None:
    pipe = transport.get_pipe_transport(0)
    if pipe is not None and not pipe.is_closing():
        pipe.close()


class _Child(asyncio.SubprocessProtocol):
    """asyncio's callbacks of a child, given on as asyncssh's of a session; its own face is that of a channel."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._transport: asyncio.SubprocessTransport | None = None
        self.on_end: Callable[[], None] | None = None
        self._ended = False

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.SubprocessTransport):
            self._transport = transport
        self._session.connection_made(self)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._session.data_received(data, None if fd == 1 else 1)

    def process_exited(self) -> None:
        code = self._transport.get_returncode() if self._transport is not None else None
        if code is None:
            return
        if code >= 0:
            self._session.exit_status_received(code)
        else:
            name = signal.Signals(-code).name.removeprefix("SIG")
            self._session.exit_signal_received(name, False, "", "")

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._session.connection_lost(exc)
        if self._transport is not None:
            self._transport.close()
        if self.on_end is not None:
            self.on_end()

    # --- asyncssh's side ---

    def write(self, data: bytes) -> None:
        """Send to its standard input."""
        pipe = self._transport.get_pipe_transport(0) if self._transport is not None else None
        if pipe is None or pipe.is_closing() or not isinstance(pipe, asyncio.WriteTransport):
            raise BrokenPipeError
        pipe.write(data)

    def write_eof(self) -> None:
        """End its standard input."""
        if self._transport is not None:
            _close_stdin(self._transport)

    def close(self) -> None:
        """Read no more of it; what runs does not notice until it writes."""
        if self._transport is None or self._ended:
            return
        for fd in (0, 1, 2):
            pipe = self._transport.get_pipe_transport(fd)
            if pipe is not None:
                pipe.close()
