"""Tunnels in the making: one a service at most, however long the jump host takes.

SSH cannot take back a request for a channel. A jump host tries to connect to a silent port for two minutes; asking
again every ten seconds would pile up a dozen sockets a port on it. So an opening that outlived its time limit stays
ours, is not repeated while it lasts, and is closed when it comes too late.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from probes.model import PortState
from probes.reach.tunnel import TunnelRefused, TunnelUnavailable, judge_refusal
from probes.reach.verdict import Verdict
from probes.text import clean

if TYPE_CHECKING:
    from probes.reach.stream import TunnelReader, TunnelWriter
    from probes.reach.tunnel import Tunnels

    Pair = tuple[TunnelReader, TunnelWriter]

_CLOSE_S: Final = 1.0


class TunnelSilentError(Exception):
    """The jump host has not said yet whether it could connect; the text says for how long."""


class _Opening:
    """One request for a channel, and whether somebody waits for it now."""

    __slots__ = ("began_s", "task", "wanted")

    def __init__(self, task: asyncio.Task[Pair], began_s: float) -> None:
        self.task = task
        self.began_s = began_s
        self.wanted = False


class Openings:
    """Opens tunnels; owns those that are not open yet."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels
        self._openings: dict[tuple[str, str, int], _Opening] = {}

    async def open(self, host_id: str, name: str, port: int, limit_s: float) -> Pair:
        """Open a tunnel for a service, or go on waiting for the one asked for before.

        Raises:
            TunnelSilentError: no answer within ``limit_s``; the opening goes on.
            TunnelRefused, TunnelUnavailable: what the tunnels said.
        """
        loop = asyncio.get_running_loop()
        key = (host_id, name, port)
        opening = self._openings.get(key)
        if opening is None:
            task = loop.create_task(self._tunnels.open(host_id, port), name=f"tunnel to {name} of {host_id}")
            opening = self._openings[key] = _Opening(task, loop.time())
            task.add_done_callback(lambda _: self._ended(key))
        opening.wanted = True
        try:
            await asyncio.wait({opening.task}, timeout=limit_s)
        except asyncio.CancelledError:
            opening.wanted = False
            _close_late(opening.task)
            raise
        if opening.task.done():
            return opening.task.result()
        opening.wanted = False
        raise TunnelSilentError(f"no answer to the jump host's connect for {loop.time() - opening.began_s:.1f} s")

    async def attempt(self, host_id: str, name: str, port: int, limit_s: float) -> Pair | Verdict:
        """``open``, with what a tunnel that did not open proves of the port in place of an exception."""
        try:
            return await self.open(host_id, name, port, limit_s)
        except TunnelSilentError as silent:
            return Verdict(PortState.FILTERED, str(silent))
        except TunnelRefused as refused:
            return judge_refusal(refused.reason_code, refused.text)
        except TunnelUnavailable as unavailable:
            return Verdict(PortState.NOT_PROBED, clean(str(unavailable)) or "no connection to the jump host")

    async def close(self) -> None:
        """Give all of them up."""
        tasks = {opening.task for opening in self._openings.values()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S)

    def _ended(self, key: tuple[str, str, int]) -> None:
        opening = self._openings.pop(key)
        if not opening.wanted:
            _close_late(opening.task)


def _close_late(task: asyncio.Task[Pair]) -> None:
    """Close a tunnel that nobody takes any more; its failure interests nobody either."""
    if task.done() and not task.cancelled() and task.exception() is None:
        task.result()[1].close()
