"""Private keys: read once, decrypted at most once, shared by all connections.

A key that needs a passphrase is left aside at first (the agent may hold it); only when a host refuses everything else
is its passphrase asked, once, and kept as a decrypted key in memory, never as text.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import asyncssh
from msgspec import Struct

from probes import clock
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from probes.hosts.asker import Asker
    from probes.hosts.ssh_config import DialPlan

DEFAULT_IDENTITIES = (
    "~/.ssh/id_ed25519",
    "~/.ssh/id_ecdsa",
    "~/.ssh/id_rsa",
    "~/.ssh/id_ed25519_sk",
    "~/.ssh/id_ecdsa_sk",
)

_DEFAULT_PATHS = tuple(str(Path(name).expanduser()) for name in DEFAULT_IDENTITIES)
_ABSENT = "no such file"
_AGENT_FRESH_S = 60.0
_AGENT_TIMEOUT_S = 3.0


class Identities(Struct, frozen=True):
    """The keys to offer, in order. ``locked`` need a passphrase, ``broken`` could not be read (path: why)."""

    pairs: tuple[Any, ...]
    names: tuple[str, ...]
    locked: tuple[str, ...]
    broken: tuple[str, ...]


class _Agent(Struct, frozen=True):
    client: Any
    pairs: tuple[Any, ...]
    read_at_boot_s: float
    error: str


class KeyRing:
    """All private keys in use. Loading runs in the given executor; one caller at a time asks for a passphrase."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._loaded: dict[str, tuple[Any, ...] | None] = {}
        self._broken: dict[str, str] = {}
        self._refused: set[str] = set()
        self._asking = asyncio.Lock()
        self._agent_lock = asyncio.Lock()
        self._agents: dict[str, _Agent] = {}

    async def identities(self, plan: DialPlan) -> Identities:
        """The keys of a plan: its identity files (ssh's defaults when none is named) and those of the agent."""
        loop = asyncio.get_running_loop()
        paths = plan.identity_files or _DEFAULT_PATHS
        for path in paths:
            if path not in self._loaded and path not in self._broken:
                await loop.run_in_executor(self._executor, self._load, path, None, plan.certificate_files)
        pairs: list[Any] = []
        names: list[str] = []
        locked: list[str] = []
        broken: list[str] = []
        for path in paths:
            loaded = self._loaded.get(path, ())
            if loaded:
                pairs.extend(loaded)
                names.append(path)
            elif loaded is None:
                locked.append(path)
            elif plan.identity_files or self._broken[path] != _ABSENT:
                broken.append(f"{path}: {self._broken[path]}")
        if plan.identity_agent:
            held = await self._agent_pairs(plan, paths, broken)
            mine = {pair.public_data for pair in pairs}
            extra = [pair for pair in held if pair.public_data not in mine]
            if extra:
                names.append(f"{len(extra)} of ssh-agent")
            # a named key goes first: servers count attempts, and an agent may hold many keys
            pairs = pairs + extra if plan.identity_files else extra + pairs
        return Identities(tuple(pairs), tuple(names), tuple(locked), tuple(broken))

    async def _agent_pairs(self, plan: DialPlan, paths: Sequence[str], broken: list[str]) -> list[Any]:
        """The agent's keys, read over one shared connection and kept for a while."""
        path = plan.identity_agent or ""
        async with self._agent_lock:
            held = self._agents.get(path)
            if held is None or clock.boot_s() - held.read_at_boot_s > _AGENT_FRESH_S:
                held = await self._read_agent(path, held)
                self._agents[path] = held
        if held.error:
            broken.append(f"ssh-agent {path}: {held.error}")
        if not plan.identities_only:
            return list(held.pairs)
        loop = asyncio.get_running_loop()
        allowed = await loop.run_in_executor(self._executor, _public_data, tuple(paths))
        return [pair for pair in held.pairs if pair.public_data in allowed]

    async def _read_agent(self, path: str, before: _Agent | None) -> _Agent:
        now = clock.boot_s()
        try:
            async with asyncio.timeout(_AGENT_TIMEOUT_S):
                client = before.client if before and before.client else await asyncssh.connect_agent(path)
                pairs = tuple(await client.get_keys())
        except (OSError, ValueError, asyncssh.Error, TimeoutError) as error:
            if before and before.client:
                before.client.close()
            return _Agent(None, (), now, clean(str(error), 80) or "does not answer")
        return _Agent(client, cast("Any", pairs), now, "")

    def close(self) -> None:
        """Close the connections to agents."""
        for held in self._agents.values():
            if held.client is not None:
                held.client.close()
        self._agents.clear()

    async def unlock(self, path: str, asker: Asker, host_id: str) -> bool:
        """Ask for the passphrase of one locked key; true when it is usable now. Asked once per key and run."""
        async with self._asking:
            if self._loaded.get(path) is not None:
                return True
            if path in self._refused:
                return False
            for attempt in range(3):
                again = "" if attempt == 0 else " (that was not it)"
                answer = await asker.ask(f"Passphrase for {path}{again}", host_id=host_id, secret=True)
                if answer is None:
                    break
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._executor, self._load, path, answer, ())
                if self._loaded.get(path):
                    return True
            self._refused.add(path)
            return False

    def forget_refusals(self) -> None:
        """Ask again next time (the person pressed reconnect)."""
        self._refused.clear()
        for path in self._broken:
            self._loaded.pop(path, None)
        self._broken.clear()

    def _load(self, path: str, passphrase: str | None, certificates: tuple[str, ...]) -> None:
        try:
            pairs = asyncssh.load_keypairs([path], passphrase, [c for c in certificates if Path(c).exists()])
        except asyncssh.KeyEncryptionError:
            self._loaded[path] = None
        except asyncssh.KeyImportError as error:
            if "assphrase" in str(error):
                self._loaded[path] = None
            else:
                self._broken[path] = clean(str(error), 120)
        except FileNotFoundError:
            self._broken[path] = _ABSENT
        except OSError as error:
            self._broken[path] = error.strerror or "cannot be read"
        else:
            self._loaded[path] = tuple(cast("Any", pairs))


def _public_data(paths: tuple[str, ...]) -> set[bytes]:
    """The public halves of identity files, from the ``.pub`` beside them (for IdentitiesOnly)."""
    found: set[bytes] = set()
    for path in paths:
        try:
            found.add(asyncssh.read_public_key(f"{path}.pub").public_data)
        except (OSError, asyncssh.KeyImportError):
            continue
    return found
