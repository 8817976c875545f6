"""Names to addresses, without ever blocking the event loop or waiting for a name server longer than asked.

``getaddrinfo`` is the system's own answer (hosts file, search domains, everything ssh would see), but it blocks and may
hang for half a minute: it runs in daemon threads. Answers are kept for 30 s, failures for 5 s; the same name asked
twice at once is looked up once.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final, NamedTuple

from probes import clock
from probes.errors import ResolveError
from probes.reach.threads import DaemonPool, PoolFullError
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

KEEP_S: Final = 30.0
KEEP_FAILURE_S: Final = 5.0
MAX_ADDRESSES: Final = 8
_MAX_CACHED: Final = 20_000
_LOOPBACK: Final = ("127.0.0.1", "::1")
_MAX_NAME: Final = 253


class _Answer(NamedTuple):
    """A cached outcome: addresses, or the failure's cause and next step."""

    until_boot_s: float
    addresses: tuple[str, ...]
    cause: str = ""
    next_step: str = ""


class Resolver:
    """Resolves names for everyone: sessions and probers share one, and so its cache."""

    def __init__(self, lookup: Callable[[str], tuple[str, ...]] | None = None, *, threads: int = 16) -> None:
        """Take ``lookup`` (name to addresses, blocking, raises ``socket.gaierror``) in place of getaddrinfo."""
        self._lookup = lookup or system_lookup
        self._pool = DaemonPool("resolve", threads)
        self._cache: dict[str, _Answer] = {}
        self._asking: dict[str, asyncio.Task[_Answer]] = {}

    async def resolve(self, name: str, timeout_s: float) -> tuple[str, ...]:
        """Addresses of a name in the system's order of preference; a literal address is its own answer.

        Raises:
            ResolveError: there is no such name, the name server does not answer, or not in time; it says which.
        """
        known = self.known(name)
        if known is not None:
            return known
        key = _key(name)
        answer = self._cache.get(key)
        if answer is None or answer.until_boot_s <= clock.boot_s():
            answer = await self._ask_once(name, key, timeout_s)
        if not answer.addresses:
            raise ResolveError(answer.cause, layer="resolve", next_step=answer.next_step)
        return answer.addresses

    def known(self, name: str) -> tuple[str, ...] | None:
        """The addresses that need no look-up: of a literal, of localhost, of a name asked for a moment ago."""
        literal = literal_address(name)
        if literal is not None:
            return (literal,)
        key = _key(name)
        if key == "localhost":
            # never asked of a server: RFC 6761
            return _LOOPBACK
        answer = self._cache.get(key)
        if answer is None or not answer.addresses or answer.until_boot_s <= clock.boot_s():
            return None
        return answer.addresses

    def forget(self, name: str | None = None) -> None:
        """Look this name up anew next time; without a name: every name, since the network changed."""
        if name is None:
            self._cache.clear()
        else:
            self._cache.pop(_key(name), None)

    async def close(self) -> None:
        """Cancel look-ups that are waited for and let the threads go."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)
        self._pool.close()

    async def _ask_once(self, name: str, key: str, timeout_s: float) -> _Answer:
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(name, key, timeout_s), name=f"resolve {key}")
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # shielded: another may wait for the same answer. The look-up itself ends by its own time limit.
        return await asyncio.shield(task)

    async def _ask(self, name: str, key: str, timeout_s: float) -> _Answer:
        shown = clean(name, 80)
        keep_s, addresses, cause, next_step = KEEP_FAILURE_S, (), "", ""
        try:
            addresses = await self._pool.run(lambda: self._lookup(name), timeout_s)
            keep_s = KEEP_S
            if not addresses:
                cause, next_step = f"{shown} has no address", "check the name's A and AAAA records"
        except TimeoutError:
            cause = f"no answer for {shown} within {timeout_s:g} s"
            next_step = "the name server hangs: check /etc/resolv.conf, network and VPN"
        except PoolFullError as error:
            cause, next_step = f"{shown} was not asked for ({error})", "the name server hangs: check network and VPN"
        except socket.gaierror as error:
            cause, next_step = _explain(shown, error)
        except (OSError, UnicodeError) as error:
            cause, next_step = f"{shown} cannot be looked up ({clean(str(error), 120)})", "check the address"
        answer = _Answer(clock.boot_s() + keep_s, addresses[:MAX_ADDRESSES], cause, next_step)
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[key] = answer
        return answer


def _key(name: str) -> str:
    return name.rstrip(".").lower()


def literal_address(name: str) -> str | None:
    """The address when ``name`` is one (``10.0.0.1``, ``fd00::1``, ``[fd00::1]``, ``fe80::1%eth0``), else None."""
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    try:
        socket.inet_pton(family, bare.partition("%")[0] if family == socket.AF_INET6 else bare)
    except (OSError, UnicodeError, ValueError):
        return None
    return bare


def system_lookup(name: str) -> tuple[str, ...]:
    """``getaddrinfo``, each address once, in its order.

    Raises:
        socket.gaierror: it has no answer.
    """
    if not name or len(name) > _MAX_NAME:
        raise socket.gaierror(socket.EAI_NONAME, "not a possible name")
    found: dict[str, None] = {}
    for family, _, _, _, sockaddr in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
        if family in (socket.AF_INET, socket.AF_INET6):
            found[str(sockaddr[0])] = None
    return tuple(found)


def _explain(shown: str, error: socket.gaierror) -> tuple[str, str]:
    """Cause and next step of what getaddrinfo said."""
    if error.errno == socket.EAI_NONAME:
        return f"there is no name {shown}", "check the spelling, the search domain, and whether it needs a VPN"
    if error.errno == getattr(socket, "EAI_NODATA", None):
        return f"{shown} exists but has no address", "check the name's A and AAAA records"
    if error.errno == socket.EAI_AGAIN:
        return f"no name server answers for {shown}", "check /etc/resolv.conf, network and VPN"
    if error.errno == socket.EAI_FAIL:
        return f"the name server failed for {shown}", "ask another name server: dig, resolvectl query"
    return f"{shown} does not resolve ({clean(error.strerror or str(error), 120)})", "check the name"
