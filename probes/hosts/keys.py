"""Private keys: read once and again when the file changed, decrypted at most once, shared by all connections.

A key that needs a passphrase is left aside at first (the agent may hold it); only when a host refuses everything else
is its passphrase asked, once, and kept as a decrypted key in memory, never as text.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import asyncssh
from msgspec import Struct

from probes import clock
from probes.config.find import expanded
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

_DEFAULT_PATHS = tuple(str(expanded(name)) for name in DEFAULT_IDENTITIES)
_ABSENT = "no such file"
_RECENT_KEPT = 256
_AGENT_FRESH_S = 60.0
_AGENT_TIMEOUT_S = 3.0


class Identities(Struct, frozen=True):
    """The keys to offer, in order. ``locked`` need a passphrase, ``broken`` could not be read (path: why)."""

    pairs: tuple[Any, ...]
    names: tuple[str, ...]
    locked: tuple[str, ...]
    broken: tuple[str, ...]


class OnDisk(Struct, frozen=True):
    """What a plan's identity files hold. ``public_only``: public halves of files without a private one, and why."""

    pairs: tuple[Any, ...]
    names: tuple[str, ...]
    locked: tuple[str, ...]
    broken: tuple[str, ...]
    public_only: dict[bytes, str]

    def alone(self) -> Identities:
        """The keys to offer where no agent holds more."""
        return Identities(self.pairs, self.names, self.locked, (*self.broken, *self.public_only.values()))


_Stamp = tuple[int, int, int] | None


class _Key(Struct, frozen=True):
    """One identity file as it was at ``stamp``. ``key`` is None when it is locked, or ``broken`` says why."""

    stamp: _Stamp
    key: Any
    broken: str
    public: bytes | None


class _Offer(Struct, frozen=True):
    """The key pairs of one identity file with the certificates that belong to it."""

    stamps: tuple[_Stamp, ...]
    pairs: tuple[Any, ...]


class _Agent(Struct, frozen=True):
    client: Any
    pairs: tuple[Any, ...]
    read_at_boot_s: float
    error: str


class KeyRing:
    """All private keys in use. Loading runs in the given executor; one caller at a time asks for a passphrase."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._keys: dict[str, _Key] = {}
        self._offers: dict[tuple[str, tuple[str, ...]], _Offer] = {}
        #: what was read lately, and when
        self._recent: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[float, OnDisk]] = {}
        self._refused: set[str] = set()
        self._asking = asyncio.Lock()
        self._agent_lock = asyncio.Lock()
        self._agents: dict[str, _Agent] = {}

    async def identities(self, plan: DialPlan) -> Identities:
        """The keys of a plan: its identity files (ssh's defaults when none is named) and those of the agent."""
        loop = asyncio.get_running_loop()
        return await self.joined(plan, await loop.run_in_executor(self._executor, self.read, plan))

    def read(self, plan: DialPlan) -> OnDisk:
        """The keys of a plan's identity files. Reads files: call it off the event loop."""
        read_at_s = clock.boot_s()
        paths = plan.identity_files or _DEFAULT_PATHS
        pairs: list[Any] = []
        names: list[str] = []
        locked: list[str] = []
        broken: list[str] = []
        public_only: dict[bytes, str] = {}
        for path, (key, offered) in zip(paths, self._read(paths, plan.certificate_files), strict=True):
            if offered:
                pairs.extend(offered)
                names.append(path)
            elif not key.broken:
                locked.append(path)
            elif key.public is not None:
                public_only[key.public] = f"{path}: {key.broken}"
            elif plan.identity_files or key.broken != _ABSENT:
                broken.append(f"{path}: {key.broken}")
        found = OnDisk(tuple(pairs), tuple(names), tuple(locked), tuple(broken), public_only)
        if len(self._recent) >= _RECENT_KEPT:
            self._recent.clear()
        self._recent[plan.identity_files, plan.certificate_files] = (read_at_s, found)
        return found

    def remembered(self, plan: DialPlan, within_s: float) -> OnDisk | None:
        """What ``read`` found for the same files if that was ``within_s``; reads none of them."""
        at_s, found = self._recent.get((plan.identity_files, plan.certificate_files), (0.0, None))
        return found if clock.boot_s() - at_s <= within_s else None

    async def joined(self, plan: DialPlan, found: OnDisk) -> Identities:
        """What was read, with the keys of the plan's agent, if it has one."""
        if not plan.identity_agent:
            return found.alone()
        broken, public_only = list(found.broken), dict(found.public_only)
        held = await self._agent_pairs(plan, plan.identity_files or _DEFAULT_PATHS, broken)
        mine = {pair.public_data for pair in found.pairs}
        extra = tuple(pair for pair in held if pair.public_data not in mine)
        for pair in extra:  # the private half of a public key that was named
            public_only.pop(pair.key_public_data, None)
        names = (*found.names, f"{len(extra)} of ssh-agent") if extra else found.names
        # a named key goes first: servers count attempts, and an agent may hold many keys
        pairs = found.pairs + extra if plan.identity_files else extra + found.pairs
        return Identities(pairs, names, found.locked, (*broken, *public_only.values()))

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
        return [pair for pair in held.pairs if pair.key_public_data in allowed]

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
            if (known := self._keys.get(path)) is not None and known.key is not None:
                return True
            if path in self._refused:
                return False
            for attempt in range(3):
                again = "" if attempt == 0 else " (that was not it)"
                answer = await asker.ask(f"Passphrase for {path}{again}", host_id=host_id, secret=True)
                if answer is None:
                    break
                loop = asyncio.get_running_loop()
                self._keys[path] = key = await loop.run_in_executor(self._executor, _load, path, answer)
                if key.key is not None:
                    self._recent.clear()
                    return True
            self._refused.add(path)
            return False

    def forget(self) -> None:
        """Look and ask again next time (the person pressed reconnect)."""
        self._refused.clear()
        self._recent.clear()

    def _read(self, paths: tuple[str, ...], certificates: tuple[str, ...]) -> list[tuple[_Key, tuple[Any, ...]]]:
        """Each file's key and what it has to offer; read again when the key or a certificate is not what it was.

        A short-lived certificate is renewed under the same name many times in the life of a watch.
        """
        found: list[tuple[_Key, tuple[Any, ...]]] = []
        for path in paths:
            key = self._keys.get(path)
            if key is None or key.stamp != _stamp(path):
                self._keys[path] = key = _load(path, None)
            if key.key is None:
                found.append((key, ()))
                continue
            files = (f"{path}-cert.pub", *certificates)
            stamps = (key.stamp, *map(_stamp, files))
            offer = self._offers.get((path, certificates))
            if offer is None or offer.stamps != stamps:
                certs = [cert for file in files for cert in _certificates(file)]
                offer = _Offer(stamps, tuple(cast("Any", asyncssh.load_keypairs([key.key], None, certs))))
                self._offers[path, certificates] = offer
            found.append((key, offer.pairs))
        return found


def _stamp(path: str) -> _Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116 - asked for each host, and making a Path costs more than asking
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _load(path: str, passphrase: str | None) -> _Key:
    stamp = _stamp(path)
    why, public = "", None
    try:
        if stamp is None or Path(path).is_file():  # a FIFO would block for ever
            return _Key(stamp, asyncssh.read_private_key(path, passphrase), "", None)
        why = "is not a file"
    except asyncssh.KeyEncryptionError:
        pass
    except asyncssh.KeyImportError as error:
        if "assphrase" not in str(error):
            public = _public(path)
            why = clean(str(error), 120) if public is None else "holds only the public key"
    except FileNotFoundError:
        why = _ABSENT
    except OSError as error:
        why = error.strerror or "cannot be read"
    return _Key(stamp, None, why, public)


def _certificates(path: str) -> list[Any]:
    try:
        return list(cast("Any", asyncssh.load_certificates(path))) if Path(path).is_file() else []
    except (OSError, asyncssh.KeyImportError):
        return []


def _public(path: str) -> bytes | None:
    try:
        return asyncssh.read_public_key(path).public_data if Path(path).is_file() else None
    except (OSError, asyncssh.KeyImportError):
        return None


def _public_data(paths: tuple[str, ...]) -> set[bytes]:
    """The public halves of identity files, from the ``.pub`` beside them or the file itself (for IdentitiesOnly)."""
    return {data for path in paths for name in (f"{path}.pub", path) if (data := _public(name)) is not None}
