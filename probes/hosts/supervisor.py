"""Owner of everything that runs: one session a host, the service prober, one timer. Applies configuration changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

import asyncssh

from probes import clock
from probes.config import Ssh
from probes.config.find import expanded
from probes.evidence import HoldState, PortHold
from probes.fleet import new_link
from probes.hosts import inside as asked
from probes.hosts.asker import Asker, NobodyToAsk
from probes.hosts.by_hand import way_options
from probes.hosts.collector import Collector
from probes.hosts.intake import Intake
from probes.hosts.session import HostSession
from probes.hosts.transport import Transport
from probes.hosts.ways import Ways
from probes.input_first import InputFirst
from probes.model import LinkState, Severity
from probes.reach.resolve import Resolver
from probes.reach.services import ServiceProber
from probes.reach.tunnel import TunnelRefused, TunnelUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from probes.config import Settings
    from probes.evidence import Evidence, Inside, NodeReach
    from probes.fleet import Fleet
    from probes.investigate import Investigator, World
    from probes.model import Host

log = logging.getLogger(__name__)

_TICK_S: Final = 1.0
_SLICES: Final = 10
#: sessions looked at before the loop has a turn: a heartbeat costs a tenth of a millisecond, and a fifth of them is due
_AT_ONCE: Final = 25
#: a tick this much later than planned on the suspend-counting clock, but not on the other, is a suspend
_SLEPT_S: Final = 3.0
_CLOSE_S: Final = 5.0
_NOT_WATCHED: Final = "this host is not watched"


class Supervisor:
    """The backend of the dashboard and of the headless commands.

    Args:
        settings: what to watch and how.
        fleet: the store that is written.
        asker: who answers questions; None when nobody is there.
        world: makes whom an investigation asks besides the hosts; None: the real AWS and the system's names.
        first: whose keys its slices stand back for; None: nobody types.
    """

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        asker: Asker | None = None,
        *,
        world: Callable[[], World] | None = None,
        first: InputFirst | None = None,
    ) -> None:
        self._world = world
        self._first = first or InputFirst()
        self._settings = settings
        self._fleet = fleet
        self._resolver = Resolver()
        self._transport = Transport(settings, self._resolver, asker or NobodyToAsk())
        self.ways = Ways(self._transport)
        self._prober = ServiceProber(fleet, settings, self._resolver, self, self.ways)
        self._sessions: dict[str, HostSession] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._collector = Collector()
        self._intake = Intake()
        self._running = False
        self._investigator: Investigator | None = None

    # --- the backend interface ---

    async def run(self) -> None:
        """Watch everything until cancelled; on the way out all sessions are closed, in bounded time."""
        self._running = True
        self._collector.start(clock.boot_s())
        prober = asyncio.create_task(self._prober.run(), name="services")
        try:
            self._sync()
            await self._tick_forever(prober)
        finally:
            self._running = False
            prober.cancel()
            for task in self._tasks.values():
                task.cancel()
            waiting = {prober, *self._tasks.values(), *self._ending}
            _, late = await asyncio.wait(waiting, timeout=_CLOSE_S)
            if late:
                log.warning("%d connections did not close within %g s", len(late), _CLOSE_S)
            self._tasks.clear()
            self._sessions.clear()
            self._collector.stop()
            await self._end_investigator()
            await self._transport.close()
            await self._resolver.close()

    def reconnect(self, host_id: str) -> None:
        """Try one host again now."""
        if (session := self._sessions.get(host_id)) is not None:
            session.reconnect()

    def pause(self, host_id: str) -> None:
        """Leave one host alone until ``resume``."""
        if (session := self._sessions.get(host_id)) is not None:
            session.pause()

    def resume(self, host_id: str) -> None:
        """Watch a paused host again."""
        if (session := self._sessions.get(host_id)) is not None:
            session.resume()

    def want_processes(self, host_id: str, wanted: bool) -> None:  # noqa: FBT001 - the interface's
        """Have a host's process list each tick, or rarely."""
        if (session := self._sessions.get(host_id)) is not None:
            session.watch_processes(wanted)

    def probe_services(self, host_id: str) -> None:
        """Probe a host's services now."""
        self._prober.probe_now(host_id)

    async def inside(self, host_id: str, timeout_s: float = 12.0) -> Inside:
        """What a host says of its own sockets, sshd and firewall; without an answer, the reason."""
        session = self._sessions.get(host_id)
        return asked.nothing_known(_NOT_WATCHED) if session is None else await asked.inside_of(session, timeout_s)

    async def investigate(
        self, host_ids: Sequence[str], on_evidence: Callable[[str, Evidence], None], *, inside: bool = True
    ) -> dict[str, Evidence]:
        """Gather everything about watched hosts: see ``Investigator.investigate``."""
        from probes.investigate import Wanted  # noqa: PLC0415 - only who is in trouble pays for it

        hosts = [self._fleet.hosts[host_id].host for host_id in host_ids if host_id in self._fleet.hosts]
        others = [record.host for record in self._fleet.hosts.values()]
        return await self.investigator().investigate(hosts, on_evidence, wanted=Wanted(inside=inside), others=others)

    def investigator(self) -> Investigator:
        """Who gathers evidence; made when first needed, closed with everything else."""
        if self._investigator is None:
            from probes.cloud.aws import Aws  # noqa: PLC0415 - the same
            from probes.investigate import Investigator, World  # noqa: PLC0415
            from probes.reach.anchor import parse_anchor  # noqa: PLC0415
            from probes.reach.gather import Gatherer  # noqa: PLC0415
            from probes.reach.names import Reverse  # noqa: PLC0415

            world = World(Aws(self._settings.aws)) if self._world is None else self._world()
            reverse = Reverse(world.reverse)
            gatherer = Gatherer(self._resolver, routes=self.ways, trust=self.ways, tunnels=self, reverse=reverse)
            anchors = [parse_anchor(text) for text in self._settings.triage.anchors]
            self._investigator = Investigator(self._fleet, gatherer, world.aws, self, anchors)
        return self._investigator

    async def user_of(self, host: Host) -> str | None:
        """Who logs in on a host."""
        return await self.ways.user_of(host)

    async def address_of(self, host: Host) -> str:
        """What SSH dials for a host, ssh_config included; where that is malformed, what is configured."""
        return await self.ways.address_of(host)

    async def connect_from(self, host_id: str, address: str, port: int, timeout_s: float = 3.0) -> NodeReach:
        """One TCP connect from a host to an address or a name as that host sees it, at most ``timeout_s`` (30) long."""
        session = self._sessions.get(host_id)
        if session is None:
            return asked.not_tried(host_id, address, port, _NOT_WATCHED)
        return await asked.connect_from(session, address, port, timeout_s)

    @contextlib.asynccontextmanager
    async def holding(self, host_id: str, port: int, seconds: float) -> AsyncGenerator[asked.Hold]:
        """Have a host listen on a port of all its addresses while the block runs, at most ``seconds`` (60)."""
        session = self._sessions.get(host_id)
        if session is None:
            yield asked.Hold(PortHold(host_id=host_id, port=port, state=HoldState.UNKNOWN, detail=_NOT_WATCHED))
            return
        async with asked.holding(session, port, seconds) as hold:
            yield hold

    def apply(self, settings: Settings) -> None:
        """Take a reloaded configuration: new hosts start, removed ones end, changed ones start anew, others stay."""
        if (settings.aws, settings.triage) != (self._settings.aws, self._settings.triage) and self._running:
            self._end_later(asyncio.create_task(self._end_investigator(), name="investigator ends"))
        self._settings = settings
        self._transport.apply(settings)
        self._fleet.set_hosts(settings.hosts)
        self._prober.apply(settings)
        for session in self._sessions.values():
            session.apply(settings)
        if self._running:
            self._sync()

    def ssh_argv(self, host_id: str) -> list[str]:
        """The `ssh` command line that reaches a host as we do."""
        host = self._fleet.hosts[host_id].host
        ssh, usual = self._settings.ssh, Ssh()
        argv = ["ssh"]
        if ssh.config_files != usual.config_files:  # ssh takes one file
            argv += ["-F", str(expanded(ssh.config_files[0])) if ssh.config_files else "none"]
        if host.port is not None:
            argv += ["-p", str(host.port)]
        if host.user is not None:
            argv += ["-l", host.user]
        own = host.known_hosts or ssh.known_hosts != usual.known_hosts
        known_hosts = (host.known_hosts or ssh.known_hosts) if own else None
        way = way_options(host.identity_files or ssh.identity_files, known_hosts, host.proxy_jump)
        return [*argv, *way, "--", host.address]

    # --- tunnels for the service prober ---

    async def open(self, host_id: str, port: int) -> tuple[Any, Any]:
        """Open a connection to a port of a host from its jump host; returns asyncssh's reader and writer.

        Raises:
            TunnelUnavailable: no jump connection is up.
            TunnelRefused: the jump host says why not.
        """
        record = self._fleet.hosts.get(host_id)
        session = self._sessions.get(host_id)
        connection = session.connection if session is not None else None
        if record is None or connection is None or connection.jump is None:
            raise TunnelUnavailable("no connection to the jump host")
        try:
            return await connection.jump.ssh.open_connection(connection.plan.address, port, encoding=None)
        except asyncssh.ChannelOpenError as error:
            raise TunnelRefused(error.code, str(error.reason)) from None
        except (asyncssh.Error, OSError) as error:
            raise TunnelUnavailable(str(error)) from None

    # --- parts ---

    def _end_later(self, task: asyncio.Task[None]) -> None:
        """Own a task that ends by itself; ``run`` waits for it on the way out."""
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end_investigator(self) -> None:
        investigator, self._investigator = self._investigator, None
        if investigator is not None:
            await investigator.close()

    def _sync(self) -> None:
        """Make the sessions match the store's hosts."""
        wanted = {host_id: record.host for host_id, record in self._fleet.hosts.items()}
        for host_id in list(self._sessions):
            if wanted.get(host_id) != self._sessions[host_id].host:
                del self._sessions[host_id]
                task = self._tasks.pop(host_id)
                task.cancel()
                self._end_later(task)
        for host_id, host in wanted.items():
            if host_id not in self._sessions:
                self._fleet.set_link(host_id, new_link(LinkState.CONNECTING))
                session = HostSession(
                    host,
                    self._fleet,
                    self._transport,
                    self._settings,
                    self._collector.connection_ended,
                    intake=self._intake,
                )
                self._sessions[host_id] = session
                self._tasks[host_id] = asyncio.create_task(session.run(), name=f"host {host_id}")

    async def _tick_forever(self, prober: asyncio.Task[None]) -> None:
        """Look at every session once a second, a part of them at a time: a thousand heartbeats are no one block."""
        loop = asyncio.get_running_loop()
        boot, mono = clock.boot_s(), loop.time()
        slice_ = 0
        while True:
            await asyncio.sleep(_TICK_S / _SLICES)
            if prober.done():  # only by a defect of its own; its error must surface, not vanish
                prober.result()
            await self._take_lines()
            now, tick = clock.boot_s(), loop.time()
            slept_s = (now - boot) - (tick - mono)
            boot, mono = now, tick
            if slept_s >= _SLEPT_S:
                self._fleet.event(None, Severity.WARNING, "clock", f"this machine slept for {slept_s:.0f} s")
                for session in self._sessions.values():
                    session.tick(now, slept_s)
            slice_ = (slice_ + 1) % _SLICES
            for number, session in enumerate(list(self._sessions.values())[slice_::_SLICES]):
                if number % _AT_ONCE == 0:
                    await self._first.turn()
                session.tick(now, 0.0)
            if slice_ == 0:
                await self._first.turn()
                self._collector.tick(now)
                self._revive()

    async def _take_lines(self) -> None:
        """Work off what the hosts have sent; a storm, with turns for everybody in between."""
        await self._first.way()
        while self._intake.work():
            await self._first.turn()

    def _revive(self) -> None:
        """Start a session anew whose task ended: it never should, and the log says why it did."""
        for host_id, task in list(self._tasks.items()):
            if not task.done():
                continue
            error = None if task.cancelled() else task.exception()
            log.error("the task of %s ended", host_id, exc_info=error)
            self._fleet.event(host_id, Severity.CRITICAL, "internal", f"its task ended: {type(error).__name__}")
            del self._tasks[host_id], self._sessions[host_id]
        if len(self._tasks) != len(self._fleet.hosts):
            self._sync()
