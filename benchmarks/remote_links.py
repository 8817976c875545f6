"""The SSH connections of a ``Remote``, and the sessions on them: one more where the host's limit is reached."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import asyncssh

from benchmarks.errors import BenchError
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.context import Context

#: what may be on its way to us unread: a gigabyte of output is read, and only counted
_WINDOW_BYTES: Final = 2 * 1024 * 1024
#: connections that one set of programs may open
_MAX_CONNECTIONS: Final = 64
#: a session that was closed counts on the other side a moment longer: the first pause, doubled each time, and how often
_AGAIN_S: Final = 0.01
_AGAIN: Final = 7


class Session(Protocol):
    """What a session must say of itself: whether the server has opened its channel."""

    opened_ns: int | None


S = TypeVar("S", bound=Session)


class Link:
    """One connection and its sessions. ``limit`` None: not reached yet; ``most``: so many were open at a time."""

    __slots__ = ("limit", "most", "opening", "sessions", "ssh")

    def __init__(self, ssh: Any, limit: int | None) -> None:
        self.ssh = ssh
        self.limit = limit
        self.opening = self.sessions = self.most = 0

    def opened(self) -> None:
        """A session was opened."""
        self.opening -= 1
        self.sessions += 1
        self.most = max(self.most, self.sessions)

    def closed(self) -> None:
        """A session was closed."""
        self.sessions -= 1

    @property
    def has_room(self) -> bool:
        """Whether one more session may be tried."""
        return not self.ssh.is_closed() and (self.limit is None or self.sessions + self.opening < self.limit)

    async def execute(self, session: Session, command: str) -> None:
        """Open a session channel that executes a command; the server's error is raised as it is."""
        self.opening += 1
        try:
            await self.ssh.create_session(
                lambda: session,
                command,
                encoding=None,
                request_pty=False,
                window=_WINDOW_BYTES,
                env=None,
                send_env=None,
            )
        except BaseException:
            if session.opened_ns is None:
                self.opening -= 1
            raise


class Links:
    """The connections; each is opened when there is no room on the others.

    Args:
        context: whose ``another_ssh`` opens them. They are closed here.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._links: list[Link] = []
        self._connecting = asyncio.Lock()
        #: sessions that the host allows on one connection; None: not reached yet
        self.limit: int | None = None
        #: of every connection, how long name, TCP, key exchange and login took
        self.connect_auth_s: list[float] = []

    async def execute(self, make: Callable[[Link], S], command: str) -> S:
        """Execute a command on a connection that has room for it.

        Args:
            make: makes the session for a connection; called again for every attempt.
            command: the command line.

        Raises:
            BenchError: layer ``ssh``: no connection, no session on a fresh one, or it is lost.
        """
        tries = 0
        while True:
            link = await self._with_room()
            session = make(link)
            try:
                await link.execute(session, command)
            except asyncssh.ChannelOpenError as error:
                if session.opened_ns is not None or link.ssh.is_closed() or not link.most:
                    raise _refused(error) from None
                if link.sessions < link.most and tries < _AGAIN:
                    await asyncio.sleep(_AGAIN_S * 2**tries)
                    tries += 1
                elif link.sessions:
                    self._limit_to(link.sessions)
                else:
                    raise _refused(error) from None
            except (asyncssh.Error, OSError) as error:
                step = "look at the host's sshd and the way there"
                cause = f"the connection is lost: {clean(str(error))}"
                raise BenchError(cause, layer="ssh", next_step=step) from None
            else:
                return session

    def _limit_to(self, sessions: int) -> None:
        self.limit = sessions if self.limit is None else min(self.limit, sessions)
        for link in self._links:
            link.limit = self.limit

    async def _with_room(self) -> Link:
        for link in self._links:
            if link.has_room:
                return link
        async with self._connecting:
            # others waited for the same, and one of them may have opened it
            for link in self._links:
                if link.has_room:
                    return link
            return await self._connect()

    async def _connect(self) -> Link:
        if len(self._links) >= _MAX_CONNECTIONS:
            step = "raise MaxSessions in the host's sshd_config, or ask for less at a time"
            raise BenchError(f"{_MAX_CONNECTIONS} connections are not enough", layer="ssh", next_step=step)
        began_ns = time.perf_counter_ns()
        ssh = await self._context.another_ssh()
        self.connect_auth_s.append((time.perf_counter_ns() - began_ns) / 1e9)
        link = Link(ssh, self.limit)
        self._links.append(link)
        return link

    @property
    def alive(self) -> bool:
        """Whether a connection is left."""
        return any(not link.ssh.is_closed() for link in self._links)

    async def close(self) -> None:
        """Close them, politely within 2 s, else at once."""
        for link in self._links:
            link.ssh.close()
        try:
            async with asyncio.timeout(2.0):
                await asyncio.gather(*(link.ssh.wait_closed() for link in self._links))
        except TimeoutError:
            pass
        finally:
            for link in self._links:
                link.ssh.abort()


def _refused(error: Exception) -> BenchError:
    step = "check MaxSessions and what the account may do"
    return BenchError(f"the server refused a session: {clean(str(error))}", layer="ssh", next_step=step)
