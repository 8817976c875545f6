"""Shared connections to jump hosts, kept while somebody uses them.

One per jump specification and what is offered and trusted on the way: hosts with keys or known_hosts files of their own
do not ride on what another host's opened.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from probes.errors import ConnectError, LinkError
from probes.model import Host

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.hosts.transport import Connection, Transport


#: a jump host that is silent this long, three times, is gone: else those behind it would share a dead connection for
#: as long as TCP believes in it
_ALIVE_EVERY_S: Final = 15.0

#: specification, identity files, known_hosts files
_Key = tuple[str, tuple[str, ...], tuple[str, ...]]

#: the jump connection that the running task is making, if it is making one
_making: ContextVar[_Key | None] = ContextVar("making", default=None)


class _Shared:
    """One jump connection, or the attempt to make it. ``behind``: the jump connection it waits for itself."""

    __slots__ = ("behind", "connection", "task", "users")

    def __init__(self, task: asyncio.Task[Connection]) -> None:
        self.task = task
        self.connection: Connection | None = None
        self.behind: _Key | None = None
        self.users = 0


class JumpPool:
    """Jump connections by specification (``user@host:port``, or a comma list: the last hop is reached via the rest)."""

    class Lease:
        """One user's hold on a shared jump connection."""

        __slots__ = ("_key", "_pool", "_shared", "ssh")

        def __init__(self, pool: JumpPool, key: _Key, shared: _Shared, ssh: Any) -> None:
            self._pool: JumpPool | None = pool
            self._key = key
            self._shared = shared
            self.ssh = ssh

        def release(self) -> None:
            """Give the connection back; the last one out lets it be closed."""
            pool, self._pool = self._pool, None
            if pool is not None:
                pool.release(self._key, self._shared)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._shared: dict[_Key, _Shared] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def lease(self, spec: str, target: Host, on_phase: Callable[[str], None]) -> Lease:
        """Return a lease on the connection for ``spec``, made now if nobody has one.

        Raises:
            LinkError: the jump host itself could not be reached; the cause starts with its name.
        """
        before, _, last = spec.rpartition(",")
        jump = _jump_host(last.strip(), before.strip() or None, target)
        if jump.address == target.address and jump.port == target.port:  # of this host alone, not of all behind it
            raise ConnectError(f"jump host {spec}: is the host itself", layer="jump", next_step="mend proxy_jump")
        key = (spec, target.identity_files, target.known_hosts)
        self._refuse_loop(key)
        shared = self._shared.get(key)
        if shared is not None and shared.task.done() and not _usable(shared):
            self._shared.pop(key, None)
            shared = None
        if shared is None:
            task = asyncio.create_task(self._connect(key, jump, on_phase), name=f"jump {spec}")
            shared = self._shared[key] = _Shared(task)
        shared.users += 1
        try:
            # several hosts wait for one attempt: the first one's cancellation must not end it for the others
            connection = await asyncio.shield(shared.task)
        except LinkError as error:
            self.release(key, shared)
            copy = type(error)(f"jump host {spec}: {error.cause}", layer=error.layer, next_step=error.next_step)
            raise copy from None
        except BaseException:
            self.release(key, shared)
            raise
        shared.connection = connection
        return JumpPool.Lease(self, key, shared, connection.ssh)

    def _refuse_loop(self, key: _Key) -> None:
        """Note that the jump host being connected to is itself behind ``key``.

        Raises:
            ConnectError: ``key`` waits, in the end, for that very jump host.
        """
        making = _making.get()
        if making is None:
            return
        way = [making[0]]
        step: _Key | None = key
        while step is not None:
            way.append(step[0])
            if step == making:
                words = " -> ".join(way)
                raise ConnectError(
                    f"jump hosts in a circle: {words}", layer="jump", next_step="mend ProxyJump in ssh_config"
                )
            following = self._shared.get(step)
            step = following.behind if following is not None and not following.task.done() else None
        if (mine := self._shared.get(making)) is not None:
            mine.behind = key

    def release(self, key: _Key, shared: _Shared) -> None:
        """Count one user less; close when nobody is left."""
        shared.users -= 1
        if shared.users > 0:
            return
        if self._shared.get(key) is shared:
            del self._shared[key]
        task = asyncio.create_task(_end(shared), name=f"close jump {key[0]}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every jump connection, in bounded time."""
        for shared in list(self._shared.values()):
            task = asyncio.create_task(_end(shared))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        self._shared.clear()
        if self._closing:
            await asyncio.wait(set(self._closing), timeout=3.0)

    async def _connect(self, key: _Key, host: Host, on_phase: Callable[[str], None]) -> Connection:
        _making.set(key)  # this is a task of its own, with a context of its own
        connection = await self._transport.connect(host, lambda phase: on_phase(f"jump {phase}"))
        connection.ssh.set_keepalive(_ALIVE_EVERY_S, 3)
        return connection


def _usable(shared: _Shared) -> bool:
    if shared.task.cancelled() or (shared.task.done() and shared.task.exception() is not None):
        return False
    if not shared.task.done():
        return True
    return not shared.task.result().ssh.is_closed()


async def _end(shared: _Shared) -> None:
    if not shared.task.done():
        shared.task.cancel()
        await asyncio.wait({shared.task}, timeout=2.0)
    if shared.task.done() and not shared.task.cancelled() and shared.task.exception() is None:
        await shared.task.result().close()


def _jump_host(spec: str, before: str | None, target: Host) -> Host:
    text = spec.removeprefix("ssh://")
    user, at, rest = text.rpartition("@")
    address, port = rest, None
    if rest.startswith("["):
        address, _, tail = rest[1:].partition("]")
        port = int(tail[1:]) if tail[1:].isdigit() else None
    elif rest.count(":") == 1:
        address, _, number = rest.partition(":")
        port = int(number) if number.isdigit() else None
    return Host(
        id=spec,
        address=address,
        port=port,
        user=user if at else None,
        identity_files=target.identity_files,
        known_hosts=target.known_hosts,
        # an empty string means: no jump, whatever ssh_config says (the first hop is dialled directly)
        proxy_jump=before,
    )
