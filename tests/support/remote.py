"""Running programs on a host in tests: a context of the tests' own, and looking on the host for what is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.remote import Pace, Remote
from benchmarks.ways import RunContext
from tests.support.sshd import children_of
from tests.support.watching import settings_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from probes.model import Host
    from tests.support.sshd import RealSshd

#: the 15 s rule in 1.5 s
SHORT = Pace(heartbeat_s=0.3, silence_s=1.5, grace_s=0.5, linger_s=0.3)


def ssh_context(host: Host) -> RunContext:
    """The ways to a host, as the engine has them."""
    return RunContext(host, settings_for(host))


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


def cut(server: RealSshd) -> None:
    """Kill the server's processes of every connection, and only these."""
    for pid in children_of(server.pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                os.kill(pid, signal.SIGKILL)
