"""One SSH handshake under our own clocks: which phase it is in, when that phase is over, and what the host key was."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any, Final

import asyncssh

from probes.errors import AuthError, ConnectError, HandshakeError, HostKeyChangedError, HostKeyUnknownError, LinkError
from probes.hosts.by_hand import forget_key_command, ssh_command
from probes.inventory.targets import known_name
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from probes.config import Intervals
    from probes.hosts.asker import Asker
    from probes.hosts.known_hosts import Trusted
    from probes.hosts.ssh_config import DialPlan
    from probes.model import Host

_MAX_PROMPTS: Final = 8


class _Client(asyncssh.SSHClient):
    """asyncssh's callbacks, noted down."""

    def __init__(self, owner: Handshake) -> None:
        self.owner = owner

    def connection_made(self, conn: Any) -> None:
        self.owner.ssh = conn

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del host, addr, port
        return self.owner.judge_key(key)

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del host, addr, port
        return self.owner.judge_authority(key)

    def begin_auth(self, username: str) -> None:
        del username
        self.owner.begin("auth")

    async def password_auth_requested(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return await self.owner.question("Password")

    def kbdint_auth_requested(self) -> str | None:
        return "" if self.owner.may_ask() else None

    async def kbdint_challenge_received(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, name: str, instructions: str, lang: str, prompts: Any
    ) -> Any:
        del lang
        head = clean(" ".join(part for part in (name, instructions) if part), 200)
        answers: list[str] = []
        for prompt, echo in list(prompts)[:_MAX_PROMPTS]:
            text = " ".join(part for part in (head, clean(str(prompt), 120)) if part)
            answer = await self.owner.question(text, secret=not echo)
            if answer is None:
                return None
            answers.append(answer)
        return answers


class Handshake:
    """Has asyncssh connect under per-phase limits and turns what it sees into named failures."""

    def __init__(
        self,
        host: Host,
        plan: DialPlan,
        trusted: Trusted,
        intervals: Intervals,
        asker: Asker | None,
        *,
        gate: asyncio.Semaphore,
    ) -> None:
        self.ssh: Any = None
        #: the key to remember, when the host was unknown and accept-new is on
        self.new_key: asyncssh.SSHKey | None = None
        self._host, self._plan, self._trusted, self._asker = host, plan, trusted, asker
        self._gate = gate
        self._limits = {"banner": intervals.banner_s, "kex": intervals.kex_s, "auth": intervals.auth_s}
        self._phase = "banner"
        self._began = time.perf_counter()
        self._paused_s = 0.0
        self._asking = 0
        self._asked = 0
        self._key_error: LinkError | None = None
        self._on_phase: Callable[[str], None] = lambda _: None

    async def run(
        self,
        connect: Callable[[Callable[[], asyncssh.SSHClient]], Coroutine[Any, Any, Any]],
        on_phase: Callable[[str], None],
        *,
        banner_seen: bool = False,
    ) -> Any:
        """Connect and authenticate, when the gate lets us; returns asyncssh's connection.

        Args:
            connect: makes the connection with the given maker of the client's callbacks.
            on_phase: told the name of each phase as it begins.
            banner_seen: whether the server has sent something already.

        Raises:
            LinkError: a phase timed out or the host key is not the known one.
            asyncssh.Error: its own failures, to be translated by the caller.
        """
        self._on_phase = on_phase
        on_phase("waiting")
        async with self._gate:
            self._phase = "kex" if banner_seen else "banner"
            self._began = time.perf_counter()
            on_phase(self._phase)
            task = asyncio.create_task(connect(lambda: _Client(self)))
            try:
                return await self._finish(task)
            except BaseException:
                await self._abandon(task)
                raise

    async def _abandon(self, task: asyncio.Future[Any]) -> None:
        """Leave no connection behind, not even one that was just made when we were cancelled.

        Its socket is about to be closed: a transport still on it would catch the next connection of that number.
        """
        try:
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=1.0)
        finally:
            if self.ssh is not None:
                self.ssh.abort()

    async def _finish(self, task: asyncio.Future[Any]) -> Any:
        while not task.done():
            await asyncio.wait({task}, timeout=self._left_s())
            if not task.done() and self._left_s() <= 0:
                raise self._late()
        try:
            connection = task.result()
        except asyncssh.HostKeyNotVerifiable as error:
            raise self._key_error or HostKeyChangedError(
                clean(str(error)), layer="host_key", next_step="compare the key with the one you trust"
            ) from None
        except (asyncssh.ConnectionLost, ConnectionError) as error:
            self._advance()
            raise self._key_error or HandshakeError(
                f"connection closed during {self._phase}: {clean(str(error), 120)}",
                layer=self._phase,
                next_step="check MaxStartups, fail2ban and the server's log",
            ) from None
        self.begin("done")
        return connection

    # --- phases ---

    def begin(self, phase: str) -> None:
        """Note that a phase begins (and the one before has ended)."""
        now = time.perf_counter()
        self._phase, self._began, self._paused_s = phase, now, 0.0
        if phase in self._limits:
            self._on_phase(phase)

    def _advance(self) -> None:
        if self._phase == "banner" and self.ssh is not None and self.ssh.get_extra_info("server_version"):
            self.begin("kex")

    def _left_s(self) -> float:
        self._advance()
        if self._asking:
            return 0.5  # the person's time is not the host's
        limit = self._limits.get(self._phase, 5.0)
        return max(limit - (time.perf_counter() - self._began - self._paused_s), 0.0)

    def _late(self) -> LinkError:
        limit = self._limits.get(self._phase, 5.0)
        if self._phase == "banner" and self._plan.proxy_command:
            return HandshakeError(
                f"no SSH banner through the ProxyCommand in {limit:g} s",
                layer="banner",
                next_step="try that command by hand",
            )
        if self._phase == "banner" and self.ssh is None:  # the channel through the jump host did not even open
            return ConnectError(
                f"the jump host had no answer from {self._plan.address}:{self._plan.port} in {limit:g} s",
                layer="tcp",
                next_step="a firewall or a dead host behind it: check the address as seen from the jump host",
            )
        if self._phase == "banner":
            return _no_banner(limit)
        if self._phase == "kex":
            return HandshakeError(
                f"banner fine, key exchange did not finish in {limit:g} s",
                layer="kex",
                next_step="a path-MTU black hole or an overloaded host",
            )
        return AuthError(
            f"authentication as {self._plan.user} did not finish in {limit:g} s",
            layer="auth",
            next_step="sshd may wait for DNS, PAM or LDAP on the host",
        )

    # --- the host key ---

    def judge_key(self, key: asyncssh.SSHKey) -> bool:
        """Decide about a key that is not among the trusted ones; true only for accept-new of an unknown host."""
        print_ = key.get_fingerprint()
        plan = self._plan
        name = known_name(plan.address, plan.port)
        if key in self._trusted.revoked:
            self._key_error = HostKeyChangedError(
                f"{name} presents {key.get_algorithm()} {print_}, which is marked as revoked in known_hosts",
                layer="host_key",
                next_step="do not connect: that key is no longer to be trusted; ask who revoked it",
            )
            return False
        if self._trusted.known:
            self._key_error = HostKeyChangedError(
                f"{name} presents {key.get_algorithm()} {print_}, not the key in known_hosts: maybe not your host",
                layer="host_key",
                next_step="if it was rebuilt, verify that fingerprint on its console, then: "
                + forget_key_command(plan),
            )
            return False
        if plan.accept_new:
            self.new_key = key
            return True
        self._key_error = HostKeyUnknownError(
            f"{name} is not in known_hosts (it presents {key.get_algorithm()} {print_})",
            layer="host_key",
            next_step=f"verify that fingerprint, then connect once: {ssh_command(plan)}",
        )
        return False

    def judge_authority(self, key: asyncssh.SSHKey) -> bool:
        """Decide about a host certificate by an authority that is not among the trusted ones: never accepted."""
        self._key_error = HostKeyChangedError(
            f"{self._plan.address} presents a certificate by another authority ({key.get_algorithm()} "
            f"{key.get_fingerprint()}) than known_hosts trusts: maybe not your host",
            layer="host_key",
            next_step="verify that authority, then add it to known_hosts as @cert-authority",
        )
        return False

    # --- questions ---

    def may_ask(self) -> bool:
        """Whether a person may be asked now."""
        return self._asker is not None and self._asked < _MAX_PROMPTS

    async def question(self, prompt: str, *, secret: bool = True) -> str | None:
        """Ask the person; the time this takes does not count against the phase."""
        if self._asker is None or not self.may_ask():
            return None
        self._asked += 1
        self._asking += 1
        started = time.perf_counter()
        self._gate.release()  # a person thinks for long: others may connect meanwhile
        try:
            return await self._asker.ask(
                f"{prompt} for {self._plan.user}@{self._plan.address}", host_id=self._host.id, secret=secret
            )
        finally:
            await self._gate.acquire()
            self._asking -= 1
            self._paused_s += time.perf_counter() - started


async def await_banner(sock: socket.socket, limit_s: float) -> None:
    """Wait until the server has sent something; closes ``sock`` on failure. Nothing is read from it.

    Raises:
        HandshakeError: silence, or the connection was closed at once.
    """
    try:
        first = await _first_byte(sock, limit_s)
    except TimeoutError:
        sock.close()
        raise _no_banner(limit_s) from None
    except asyncio.CancelledError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise _closed_early(error.strerror or str(error)) from None
    if not first:
        sock.close()
        raise _closed_early("end of stream")


async def _first_byte(sock: socket.socket, limit_s: float) -> bytes:
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock.fileno(), lambda: readable.done() or readable.set_result(None))
    try:
        async with asyncio.timeout(limit_s):
            await readable
    finally:
        loop.remove_reader(sock.fileno())
    return sock.recv(1, socket.MSG_PEEK)


def _no_banner(limit_s: float) -> HandshakeError:
    return HandshakeError(
        f"port open, no SSH banner in {limit_s:g} s",
        layer="banner",
        next_step="sshd or the host hangs, or something else listens there: look at its console",
    )


def _closed_early(why: str) -> HandshakeError:
    return HandshakeError(
        f"port open, but it closed without a banner ({why})",
        layer="banner",
        next_step="MaxStartups, fail2ban, a TCP wrapper, or a proxy for a dead service",
    )
