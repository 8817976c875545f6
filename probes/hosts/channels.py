"""The two ways to an agent: an SSH channel with an exec request, and a child process on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

import asyncssh

from probes.errors import AgentError
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.hosts.stream import AgentStream

WINDOW_BYTES = 256 * 1024


class _SshSession(asyncssh.SSHClientSession[bytes]):
    """The raw callback interface of asyncssh: bytes go straight into the stream, no reader task in between."""

    def __init__(self, stream: AgentStream) -> None:
        self._stream = stream

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is None:
            self._stream.feed(data)
        else:
            self._stream.feed_stderr(data)

    def exit_status_received(self, status: int) -> None:
        self._stream.exit_status = status

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream.closed(exc)


class SshPipe:
    """The agent's channel on an SSH connection."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def write(self, data: bytes) -> None:
        """Send to stdin; a channel that closes meanwhile reports itself through the stream."""
        with contextlib.suppress(BrokenPipeError):
            self._channel.write(data)

    def pause(self) -> None:
        """Stop reading."""
        self._channel.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._channel.resume_reading()

    async def close(self) -> None:
        """End of stdin and of the channel: the agent dies of it."""
        self._channel.close()


async def open_ssh(ssh: Any, command: str, stream: AgentStream) -> SshPipe:
    """Run ``command`` on the host with its output going into ``stream``.

    Raises:
        AgentError: the server refuses the session or the command.
    """
    try:
        channel, _ = await ssh.create_session(
            lambda: _SshSession(stream),
            command,
            encoding=None,
            request_pty=False,
            window=WINDOW_BYTES,
            env=None,
            send_env=None,
        )
    except asyncssh.ChannelOpenError as error:
        raise AgentError(
            f"the server refused a session: {clean(str(error))}",
            layer="bootstrap",
            next_step="check MaxSessions and what the account may do",
        ) from None
    pipe = SshPipe(channel)
    stream.opened(pipe)
    return pipe


class _LocalProtocol(asyncio.SubprocessProtocol):
    def __init__(self, stream: AgentStream) -> None:
        self._stream = stream
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # pyright: ignore[reportAttributeAccessIssue]

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        raw = data if isinstance(data, bytes) else data.encode()
        if fd == 1:
            self._stream.feed(raw)
        else:
            self._stream.feed_stderr(raw)

    def process_exited(self) -> None:
        if self._transport is not None:
            self._stream.exit_status = self._transport.get_returncode()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream.closed(exc)
        if not self.exited.done():
            self.exited.set_result(None)


class LocalPipe:
    """The agent as a child process in its own process group."""

    def __init__(self, transport: asyncio.SubprocessTransport, protocol: _LocalProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._stdin: Any = transport.get_pipe_transport(0)
        self._stdout: Any = transport.get_pipe_transport(1)

    def write(self, data: bytes) -> None:
        """Send to stdin; a child that is gone reports itself through the stream."""
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.write(data)

    def pause(self) -> None:
        """Stop reading."""
        self._stdout.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._stdout.resume_reading()

    async def close(self) -> None:
        """End stdin, wait shortly, then kill the group; the child is always reaped."""
        if self._stdin is not None:
            self._stdin.close()
        done, _ = await asyncio.wait({self._protocol.exited}, timeout=1.5)
        if not done:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._transport.get_pid(), signal.SIGKILL)
            await asyncio.wait({self._protocol.exited}, timeout=1.5)
        self._transport.close()


async def open_local(argv: Sequence[str], stream: AgentStream) -> LocalPipe:
    """Start the agent on this machine with its output going into ``stream``.

    Raises:
        AgentError: the child cannot be started.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.subprocess_exec(
            lambda: _LocalProtocol(stream),
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise AgentError(f"cannot start {argv[0]}: {error.strerror}", layer="bootstrap", next_step="") from None
    pipe = LocalPipe(transport, protocol)
    stream.opened(pipe)
    return pipe
