"""Running programs on a host in tests: a context of the tests' own, and looking on the host for what is left."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.remote import Pace, Remote
from probes.hosts.asker import NobodyToAsk
from probes.hosts.transport import Transport
from probes.reach.resolve import Resolver
from tests.support.watching import settings_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from probes.model import Host

#: the 15 s rule in 1.5 s
SHORT = Pace(heartbeat_s=0.3, silence_s=1.5, grace_s=0.5, linger_s=0.3)


class SshContext:
    """``benchmarks.context.Context`` with SSH alone."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.settings = settings_for(host)
        self._resolver = Resolver(threads=1)
        self._transport = Transport(self.settings, self._resolver, NobodyToAsk())
        self._connections: list[Any] = []

    async def endpoint(self, service: Any, url: Any) -> Any:
        raise NotImplementedError

    async def ssh(self) -> Any:
        return await self.another_ssh()

    async def another_ssh(self) -> Any:
        connection = await self._transport.connect(self.host, lambda _: None, ask=False)
        self._connections.append(connection)
        return connection.ssh

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()
        await self._transport.close()
        await self._resolver.close()


@asynccontextmanager
async def ssh_context(host: Host) -> AsyncIterator[SshContext]:
    context = SshContext(host)
    try:
        yield context
    finally:
        await context.close()


@asynccontextmanager
async def remote_on(host: Host, pace: Pace = SHORT) -> AsyncIterator[Remote]:
    async with ssh_context(host) as context, Remote(context, pace) as remote:
        yield remote


def new_marker() -> str:
    """An argument that no other process has."""
    return f"qdmark{secrets.token_hex(6)}"


def running(marker: str) -> list[str]:
    """What runs on this machine with the marker among its arguments, one line each; looked at with ``pgrep``."""
    done = subprocess.run(["pgrep", "-af", marker], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if " pgrep " not in line]


async def seen(marker: str, count: int, at_most_s: float = 10.0) -> None:
    """Wait until at least so many processes bear the marker."""
    async with asyncio.timeout(at_most_s):
        while len(running(marker)) < count:
            await asyncio.sleep(0.02)


async def none_left(marker: str, at_most_s: float = 10.0) -> None:
    """Wait until no process bears the marker; fails with those that do."""
    try:
        async with asyncio.timeout(at_most_s):
            while running(marker):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(running(marker)) from None


def family(marker: str) -> str:
    """A command whose leader, child, grandchild, stubborn one, one in a group of its own and one in a session of its own bear the marker.

    Each waits long; the stubborn one ignores TERM, one has an empty environment.
    """
    wait = f"sleep 300; : {marker}"
    return (
        f"sh -c '{wait}' & sh -c 'sh -c \"{wait}\" & {wait}' & "
        f"sh -c 'trap \"\" TERM; sleep 301; sleep 302; : {marker}' & "
        f"env -i PATH=\"$PATH\" sh -c '{wait}' & "
        f"setsid sh -c '{wait}' & "
        f"bash -c 'set -m; sh -c \"{wait}\" & wait; : {marker}' & "
        f"wait; : {marker}"
    )


#: processes of ``family`` that bear the marker, the shells that lead it apart
FAMILY = 8
