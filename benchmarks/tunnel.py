"""A tunnel to a port of a host on an SSH connection of ours, and what its refusal proves."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any, Final

import asyncssh
from msgspec import Struct

from benchmarks.errors import BenchError
from probes.model import PortState
from probes.reach.tunnel import (
    ADMINISTRATIVELY_PROHIBITED,
    CONNECT_FAILED,
    RESOURCE_SHORTAGE,
    UNKNOWN_CHANNEL_TYPE,
    judge_words,
)
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPENS: Final = 6
_WHY: Final = {
    ADMINISTRATIVELY_PROHIBITED: "its sshd does not allow forwarding (AllowTcpForwarding, PermitOpen)",
    UNKNOWN_CHANNEL_TYPE: "its SSH server cannot forward",
    RESOURCE_SHORTAGE: "its sshd is short of resources",
}


class Refusal(Struct, frozen=True):
    """Why a port cannot be reached from its own host; ``forbidden``: sshd was not even asked to try."""

    state: PortState
    words: str
    forbidden: bool = False


class Tunnel:
    """A port of this machine that leads to one of the host."""

    def __init__(self, ssh: Any, listener: Any, inside: str, port: int, limit_s: float) -> None:
        self._ssh = ssh
        self._listener = listener
        self._inside = inside
        self._port = port
        self._limit_s = limit_s
        self.local_port: int = listener.get_port()

    @property
    def lost(self) -> bool:
        """Whether its SSH connection is gone."""
        return self._ssh.is_closed()

    async def latency_ms(self) -> float:
        """The median of some openings of a channel: what the way through SSH costs a new connection.

        Raises:
            BenchError: it no longer opens.
        """
        took: list[float] = []
        for _ in range(_OPENS):
            began_ns = time.perf_counter_ns()
            refusal = await _try(self._ssh, self._inside, self._port, self._limit_s)
            if refusal is not None:
                step = "look at the service and at sshd on the host"
                raise BenchError(f"the tunnel opened once and no more: {refusal.words}", layer="tcp", next_step=step)
            took.append((time.perf_counter_ns() - began_ns) / 1e6)
        return statistics.median(took)

    def close(self) -> None:
        """Take no more connections; those that are open end with the SSH connection."""
        self._listener.close()


async def open_tunnel(ssh: Any, inside: Sequence[str], port: int, limit_s: float) -> Tunnel | Refusal:
    """Open a tunnel to the first of some names of the host, as it knows itself, at which the port opens.

    Args:
        ssh: ``asyncssh.SSHClientConnection``.
        inside: names or addresses.
        port: the service's.
        limit_s: for each opening.

    Returns:
        The tunnel, or the refusal of the first name, which says most.
    """
    first: Refusal | None = None
    for name in dict.fromkeys(inside):
        refusal = await _try(ssh, name, port, limit_s)
        if refusal is None:
            return Tunnel(ssh, await _listen(ssh, name, port), name, port, limit_s)
        first = first or refusal
        if refusal.state is not PortState.REFUSED:
            break
    return first or Refusal(PortState.NOT_PROBED, "nothing to try")


async def _listen(ssh: Any, inside: str, port: int) -> Any:
    """Listen here for the tunnel; asyncio forgets a listener whose making is cancelled, and it would stay open."""
    making = asyncio.ensure_future(ssh.forward_local_port("127.0.0.1", 0, inside, port))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        await asyncio.wait({making}, timeout=1.0)
        if making.done() and not making.cancelled() and making.exception() is None:
            making.result().close()
        raise


async def _try(ssh: Any, inside: str, port: int, limit_s: float) -> Refusal | None:
    """Open one channel and close it; None: it opened."""
    try:
        async with asyncio.timeout(limit_s):
            _, writer = await ssh.open_connection(inside, port, encoding=None)
    except TimeoutError:
        return Refusal(PortState.FILTERED, f"no answer through it within {limit_s:g} s")
    except asyncssh.ChannelOpenError as error:
        said = clean(error.reason, 120) or "no reason given"
        if error.code == CONNECT_FAILED:
            return Refusal(judge_words(said).state, f'its sshd says "{said}"')
        return Refusal(PortState.NOT_PROBED, f"{_WHY.get(error.code, 'its sshd refused')}: {said}", forbidden=True)
    except (asyncssh.Error, OSError) as error:
        return Refusal(PortState.NOT_PROBED, f"the SSH connection broke: {clean(str(error), 120)}")
    writer.close()
    return None
