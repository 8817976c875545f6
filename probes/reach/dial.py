"""One port at several addresses: in order, a little staggered, the first open one wins (RFC 8305 in the small).

Every address keeps its own result: a name whose IPv6 address is dead must not look healthy just because IPv4 is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from probes.model import PortState
from probes.reach.tcp import Attempt, TcpResult, tcp_connect

if TYPE_CHECKING:
    from collections.abc import Sequence

STAGGER_S: Final = 0.25
MAX_DIALLED: Final = 4
#: which failure speaks for a port with several addresses: the one that proves most
_RANK: Final = {
    PortState.OPEN: 0,
    PortState.REFUSED: 1,
    PortState.REJECTED: 2,
    PortState.FILTERED: 3,
    PortState.UNREACHABLE: 4,
    PortState.UNRESOLVED: 5,
    PortState.NOT_PROBED: 6,
}


class DialResult(Struct, frozen=True):
    """``best`` speaks for the port; ``each`` has one result an address, in the order they were tried."""

    best: TcpResult
    each: tuple[TcpResult, ...]

    @property
    def detail(self) -> str:
        """Why, with the address named when there are several and they differ."""
        tried = [result for result in self.each if result is self.best or result.state is not PortState.NOT_PROBED]
        if len({(result.state, result.detail) for result in tried}) < 2:
            return self.best.detail
        return "; ".join(f"{result.address} {_words(result)}" for result in tried)


async def dial(addresses: Sequence[str], port: int, timeout_s: float, stagger_s: float = STAGGER_S) -> DialResult:
    """Connect to the first address that opens; at most ``MAX_DIALLED`` are tried, each with its own ``timeout_s``.

    An address that was not needed, or whose answer was no longer waited for, is NOT_PROBED. The caller owns
    ``best.sock``. Cancelled, it leaves no socket behind.

    Raises:
        ValueError: no address, or one that is no literal address.
    """
    if not addresses:
        raise ValueError("nothing to dial")
    order = _interleave(addresses)[:MAX_DIALLED]
    if len(order) == 1:
        only = await tcp_connect(order[0], port, timeout_s)
        return DialResult(only, (only,))
    race = _Race(port, timeout_s)
    best: TcpResult | None = None
    try:
        for address in order[:-1]:
            race.start(address)
            if await race.wait(stagger_s):
                break
        else:
            race.start(order[-1])
            while race.running and not await race.wait(None):
                pass
        each = tuple(race.results.get(a) or TcpResult(a, port, PortState.NOT_PROBED, "not waited for") for a in order)
        best = min(each, key=lambda result: _RANK[result.state])
        return DialResult(best, tuple(r if r is best else _without_socket(r) for r in each))
    finally:
        race.end(best)


class _Race:
    """The attempts of one dial: those running, and the results of those that ended."""

    __slots__ = ("_port", "_timeout_s", "results", "running")

    def __init__(self, port: int, timeout_s: float) -> None:
        self._port = port
        self._timeout_s = timeout_s
        self.running: dict[str, Attempt] = {}
        self.results: dict[str, TcpResult] = {}

    def start(self, address: str) -> None:
        attempt = Attempt(address, self._port, self._timeout_s)
        known = attempt.start()
        if known is None:
            self.running[address] = attempt
        else:
            self.results[address] = known

    async def wait(self, at_most_s: float | None) -> bool:
        """Wait until one more attempt ended, or the time is over. True when one is open."""
        if self.running:
            futures = [attempt.done for attempt in self.running.values()]
            await asyncio.wait(futures, timeout=at_most_s, return_when=asyncio.FIRST_COMPLETED)
            for address in [address for address, attempt in self.running.items() if attempt.done.done()]:
                self.results[address] = self.running.pop(address).done.result()
        return any(result.state is PortState.OPEN for result in self.results.values())

    def end(self, best: TcpResult | None) -> None:
        """Close every socket but the best one's."""
        for attempt in self.running.values():
            attempt.abandon()
        for result in self.results.values():
            if result is not best and result.sock is not None:
                result.sock.close()


def _without_socket(result: TcpResult) -> TcpResult:
    return structs.replace(result, sock=None)


def _interleave(addresses: Sequence[str]) -> list[str]:
    """The system's order, families taking turns, so that one dead family does not eat all the tries."""
    first = [a for a in addresses if (":" in a) == (":" in addresses[0])]
    second = [a for a in addresses if (":" in a) != (":" in addresses[0])]
    mixed: list[str] = []
    for position in range(max(len(first), len(second))):
        mixed += first[position : position + 1] + second[position : position + 1]
    return list(dict.fromkeys(mixed))


def _words(result: TcpResult) -> str:
    words = result.state.value.replace("_", " ")
    return f"{words} ({result.detail})" if result.detail else words
