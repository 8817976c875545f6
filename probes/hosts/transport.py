"""Dialling a host over SSH, phase by phase, with a time limit and a named failure for each phase.

resolve -> tcp (with the error queue) -> banner -> kex -> host_key -> auth. asyncssh does the protocol; we own the
socket, the known keys, the identities and the clock.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncssh

from probes import clock
from probes.errors import (
    AuthError,
    ConnectError,
    HandshakeError,
    LinkError,
)
from probes.hosts.by_hand import ssh_command
from probes.hosts.files import FileThreads
from probes.hosts.gather import connect_on
from probes.hosts.handshake import Handshake, await_banner
from probes.hosts.jump import JumpPool
from probes.hosts.keys import Identities, KeyRing
from probes.hosts.known_hosts import KnownHosts, Trusted
from probes.hosts.ssh_config import DialPlan, plan_for
from probes.hosts.ssh_options import SharedOptions, common, for_host, own
from probes.model import Host, PortState
from probes.reach.dial import dial
from probes.text import clean

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from probes.config import Settings, Ssh
    from probes.hosts.asker import Asker
    from probes.hosts.keys import OnDisk
    from probes.reach.resolve import Resolver

    Connector = Callable[[Callable[[], asyncssh.SSHClient]], Coroutine[Any, Any, Any]]

log = logging.getLogger(__name__)

_DIALS: Final = 256
#: readings of files under way or waiting for a thread
_READS: Final = 4
#: reading ssh_config, keys and known_hosts, waiting for a thread included
_FILES_S: Final = 60.0
#: what files said is taken from memory for so long; known_hosts are asked again when dialling took longer
_FRESH_S: Final = 1.0


class Connection:
    """An authenticated SSH connection and what was learnt while making it."""

    __slots__ = ("jump", "plan", "ssh")

    def __init__(self, ssh: Any, plan: DialPlan, jump: JumpPool.Lease | None) -> None:
        self.ssh = ssh
        self.plan = plan
        self.jump = jump

    async def close(self, timeout_s: float = 2.0) -> None:
        """Close politely within ``timeout_s``, else abort; give the jump connection back."""
        self.ssh.close()
        try:
            async with asyncio.timeout(timeout_s):
                await self.ssh.wait_closed()
        except TimeoutError:
            self.ssh.abort()
        finally:
            if self.jump is not None:
                self.jump.release()


class Transport:
    """Makes connections. One per dashboard: it holds the parsed keys, known_hosts and shared jump connections."""

    def __init__(self, settings: Settings, resolver: Resolver, asker: Asker) -> None:
        try:
            Path.home()
        except RuntimeError:  # a container with a number for a user: asyncssh insists on a home
            os.environ["HOME"] = "/nonexistent"
        self._settings = settings
        self._resolver = resolver
        self._asker = asker
        self._threads = FileThreads(4)
        self.keys = KeyRing(self._threads)
        self.known_hosts = KnownHosts()
        self.jumps = JumpPool(self)
        self._plans: dict[str, tuple[Host, DialPlan]] = {}
        self._shared = SharedOptions()
        # Handshakes cost CPU here and are few at a time. Hosts that are silent hold no place among them: dialling and
        # waiting for the banner cost nothing and have a wide gate of their own.
        self._gate = asyncio.Semaphore(settings.ssh.connect_concurrency)
        self._dialling = asyncio.Semaphore(_DIALS)
        # Few at a time: those that come behind find in memory what the first ones read.
        self._reading = asyncio.Semaphore(_READS)

    def apply(self, settings: Settings) -> None:
        """Take new settings; plans are made anew, live connections stay."""
        self._settings = settings
        self._plans.clear()
        self._shared.forget()
        self.forget()

    def forget(self) -> None:
        """Look at every file again next time: a person changed something, and does not wait for a second."""
        self.keys.forget()
        self.known_hosts.forget()

    async def close(self) -> None:
        """Close the jump connections and the threads."""
        await self.jumps.close()
        self.keys.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def plan(self, host: Host) -> DialPlan:
        """The dial plan of a host (cached until the configuration is reloaded).

        Raises:
            HandshakeError: ssh_config is malformed.
        """
        cached = self._plans.get(host.id)
        if cached is not None and cached[0] is host:
            return cached[1]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._plan, host, self._settings.ssh)

    def _plan(self, host: Host, ssh: Ssh) -> DialPlan:
        """Make the plan and keep it, unless the configuration was reloaded meanwhile. Reads files."""
        cached = self._plans.get(host.id)
        if cached is not None and cached[0] is host:
            return cached[1]
        plan = plan_for(host, ssh)
        if ssh is self._settings.ssh:
            self._plans[host.id] = (host, plan)
        return plan

    def _read(self, host: Host, ssh: Ssh) -> tuple[DialPlan, OnDisk, _Seen]:
        """All that files say of how to reach a host, in one turn of a thread: each turn costs the loop 100 us."""
        plan = self._plan(host, ssh)
        found = self.keys.read(plan)
        if not plan.identity_agent:
            self._shared.of(plan, found.alone())
        return plan, found, self._look_up(plan)

    def _recall(self, host: Host, ssh: Ssh) -> tuple[DialPlan, OnDisk, _Seen] | None:
        """What ``_read`` would say, if others asked of the same files a moment ago: no thread, no file."""
        cached = self._plans.get(host.id)
        if cached is not None and cached[0] is host:
            plan = cached[1]
        elif ssh.config_files or not self._plans:
            return None
        else:  # there is no ssh_config to read
            plan = self._plan(host, ssh)
        found = self.keys.remembered(plan, _FRESH_S)
        name = plan.host_key_alias or plan.address
        trusted = self.known_hosts.remembered(plan.known_hosts, name, "", plan.port, _FRESH_S)
        return None if found is None or trusted is None else (plan, found, _Seen(*trusted))

    async def connect(self, host: Host, on_phase: Callable[[str], None], *, ask: bool = True) -> Connection:
        """Dial and authenticate.

        Args:
            host: whom to dial.
            on_phase: told the name of each phase as it begins.
            ask: whether a person may be asked for a passphrase or an answer.

        Raises:
            LinkError: one of its kinds, with layer, cause and next step.
        """
        async with _in_time():
            async with self._reading:
                ssh = self._settings.ssh
                read = self._recall(host, ssh)
                if read is None:
                    read = await asyncio.get_running_loop().run_in_executor(self._threads, self._read, host, ssh)
            plan, found, seen = read
            identities = await self.keys.joined(plan, found)
        try:
            return await self._attempt(host, plan, identities, seen, on_phase, ask=ask)
        except AuthError:
            if not ask or not identities.locked:
                raise
            unlocked = [await self.keys.unlock(path, self._asker, host.id) for path in identities.locked]
            if not any(unlocked):
                raise
        identities = await self.keys.identities(plan)
        return await self._attempt(host, plan, identities, seen, on_phase, ask=ask)

    async def _attempt(
        self,
        host: Host,
        plan: DialPlan,
        identities: Identities,
        seen: _Seen,
        on_phase: Callable[[str], None],
        *,
        ask: bool,
    ) -> Connection:
        way = _Way()
        try:
            if plan.proxy_jump:
                on_phase("jump")
                way.lease = await self.jumps.lease(plan.proxy_jump, host, on_phase)
            elif not plan.proxy_command:
                way.sock, way.address = await self._dial(plan, on_phase)
            trusted = await self._trusted(plan, seen)
            connect = await self._connector(way, plan, identities, trusted)
            asker = self._asker if ask else None
            handshake = Handshake(host, plan, trusted, self._settings.intervals, asker, gate=self._gate)
            ssh = await handshake.run(connect, on_phase, banner_seen=way.sock is not None)
        except (LinkError, asyncio.CancelledError):
            way.abandon()
            raise
        except (asyncssh.Error, OSError, ValueError) as error:
            way.abandon()
            raise translate(error, host, plan, identities) from error
        if handshake.new_key is not None:
            try:
                await self._remember(plan, handshake.new_key)
            except BaseException:
                ssh.abort()
                way.abandon()
                raise
        return Connection(ssh, plan, way.lease)

    async def _connector(self, way: _Way, plan: DialPlan, identities: Identities, trusted: Trusted) -> Connector:
        """How to make the connection: by ourselves with shared options; a proxy command is asyncssh's business."""
        if plan.proxy_command and not plan.proxy_jump:
            arguments = {**common(plan, identities), **own(plan, trusted), "proxy_command": plan.proxy_command}

            async def connect(factory: Callable[[], asyncssh.SSHClient]) -> asyncssh.SSHClientConnection:
                return await asyncssh.connect(client_factory=factory, **arguments)

            return connect
        shared = self._shared.known(plan, identities)
        if shared is None:
            async with _in_time():
                loop = asyncio.get_running_loop()
                shared = await loop.run_in_executor(self._threads, self._shared.of, plan, identities)
        over: Any = way.sock if way.lease is None else way.lease.ssh
        return lambda factory: connect_on(over, for_host(shared, plan, trusted, factory))

    async def _dial(self, plan: DialPlan, on_phase: Callable[[str], None]) -> tuple[socket.socket, str]:
        intervals = self._settings.intervals
        on_phase("resolve")
        addresses = await self._resolver.resolve(plan.address, intervals.resolve_s)
        on_phase("tcp")
        async with self._dialling:
            dialled = await dial(addresses, plan.port, intervals.tcp_s)
        best = dialled.best
        if best.sock is not None:
            on_phase("banner")
            await await_banner(best.sock, intervals.banner_s)
            return best.sock, best.address
        words = best.state.value.replace("_", " ")
        detail = f" ({dialled.detail})" if dialled.detail else ""
        raise ConnectError(
            f"port {plan.port} of {best.address} {words}{detail}", layer="tcp", next_step=_TCP_STEPS.get(best.state, "")
        )

    async def _trusted(self, plan: DialPlan, seen: _Seen) -> Trusted:
        """What known_hosts says of the name we were given; like ssh, an address it resolved to proves nothing."""
        if clock.boot_s() - seen.at_boot_s > _FRESH_S:
            async with _in_time():
                seen = await asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, plan)
        return seen.trusted

    async def trusted(self, plan: DialPlan, port: int) -> Trusted:
        """The same of another port of the host, for those who probe without logging in."""
        async with _in_time():
            looked = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, plan, port)
            return (await looked).trusted

    def _look_up(self, plan: DialPlan, port: int | None = None) -> _Seen:
        name = plan.host_key_alias or plan.address
        at_boot_s = clock.boot_s()
        found = self.known_hosts.lookup(plan.known_hosts, name, "", plan.port if port is None else port)
        return _Seen(found, at_boot_s)

    async def _remember(self, plan: DialPlan, key: asyncssh.SSHKey) -> None:
        """Write an accepted new key; a file that cannot be written is said, and asked about again next time."""
        if not plan.known_hosts:
            return
        name = plan.host_key_alias or plan.address
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(
                self._threads, self.known_hosts.append, plan.known_hosts[0], name, plan.port, key
            )
        except OSError as error:
            log.warning("the new key of %s could not be written to %s: %s", name, plan.known_hosts[0], error.strerror)


class _Seen(NamedTuple):
    """What known_hosts said of a host, and when."""

    trusted: Trusted
    at_boot_s: float


@asynccontextmanager
async def _in_time() -> AsyncGenerator[None]:
    """The time limit of reading files; when it is over, the failure says so."""
    try:
        async with asyncio.timeout(_FILES_S):
            yield
    except TimeoutError:
        raise HandshakeError(
            f"reading ssh_config, keys and known_hosts took over {_FILES_S:g} s",
            layer="ssh_config",
            next_step="a dead file server, or a Match exec that does not end?",
        ) from None


class _Way:
    """What leads to the host: a socket of ours, a leased jump connection, or a proxy command."""

    __slots__ = ("address", "lease", "sock")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.address = ""
        self.lease: JumpPool.Lease | None = None

    def abandon(self) -> None:
        if self.sock is not None:
            self.sock.close()
        if self.lease is not None:
            self.lease.release()


_TCP_STEPS: Final = {
    PortState.REFUSED: "the host answers but no sshd listens there: check sshd and the port",
    PortState.FILTERED: "something drops the packets: check security group, firewall and address",
    PortState.REJECTED: "a firewall answered with a rejection: check its rules",
    PortState.OPEN: "it opens and is reset at once: MaxStartups, fail2ban, or a proxy for a dead service",
    PortState.UNREACHABLE: "no way to that address: check routes, VPN and the address",
}


def translate(error: BaseException, host: Host, plan: DialPlan, identities: Identities) -> LinkError:
    """An asyncssh or operating system error as one of ours, with layer, cause and next step."""
    text = clean(str(error), 200) or type(error).__name__
    if isinstance(error, asyncssh.PermissionDenied):
        return _refused(plan, identities)
    if isinstance(error, asyncssh.ChannelOpenError):
        return ConnectError(
            f"the jump host could not reach {plan.address}:{plan.port}: {text}",
            layer="tcp",
            next_step="check the address as seen from the jump host",
        )
    if isinstance(error, asyncssh.KeyExchangeFailed):
        step = "no algorithm in common: update sshd or set Ciphers/KexAlgorithms"
    elif isinstance(error, (asyncssh.ConnectionLost, ConnectionError)):
        text, step = f"closed during the handshake: {text}", "check MaxStartups, fail2ban and the server's log"
    elif isinstance(error, asyncssh.Error):
        step = "check that an SSH server answers there"
    else:
        return HandshakeError(text, layer="tcp", next_step=f"check the configuration of {host.id}")
    return HandshakeError(text, layer="kex", next_step=step)


def _refused(plan: DialPlan, identities: Identities) -> AuthError:
    offered = ", ".join(identities.names) or "no key: none was found"
    extra = "".join(f"; {item}" for item in identities.broken)
    locked = "".join(f"; {path} is encrypted (add it to ssh-agent)" for path in identities.locked)
    return AuthError(
        f"user {plan.user} was not accepted (offered {offered}{extra}{locked})",
        layer="auth",
        next_step=f"try: {ssh_command(plan, '-v')}",
    )
