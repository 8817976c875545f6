"""One host, watched for as long as it is configured: connect, start the agent, stream, say why not, try again.

One task per host. Its failures are link states in the store; nothing it meets ends it but cancellation. Ageing,
heartbeats and silence are looked at by the supervisor's one timer through ``tick``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
import time
from typing import TYPE_CHECKING, Final

from probes import clock
from probes.errors import AgentError, AskError, LinkError
from probes.fleet import new_link
from probes.hosts import bootstrap
from probes.hosts.channels import LocalPipe, SshPipe, open_local, open_ssh
from probes.hosts.stream import AgentStream
from probes.model import LinkState
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypeVar

    from probes.config import Intervals, Settings
    from probes.fleet import Fleet
    from probes.hosts.intake import Intake
    from probes.hosts.questions import Question
    from probes.hosts.transport import Connection, Transport
    from probes.model import Host, Link

    _T = TypeVar("_T")

log = logging.getLogger(__name__)

#: pause before another try where trying again can hardly help by itself (a wrong key hammered fills auth.log)
PATIENT_RETRY_S: Final = 300.0
#: a link that held this long starts over with short pauses
_SETTLED_S: Final = 60.0


def _by_hand() -> AgentError:
    """Why a link ended that a person paused or renewed."""
    return AgentError("closed by hand", layer="hand")


class HostSession:
    """The life of one host's link. ``run`` is its task; the other methods are called on the same loop."""

    def __init__(
        self,
        host: Host,
        fleet: Fleet,
        transport: Transport,
        settings: Settings,
        on_closed: Callable[[], None],
        *,
        intake: Intake,
    ) -> None:
        self.host = host
        self.connection: Connection | None = None
        self._on_closed = on_closed
        self._intake = intake
        self._fleet, self._transport, self._settings = fleet, transport, settings
        self._stream: AgentStream | None = None
        self._stale_after_s = _stale_after_s(settings.intervals)
        self._attempt = 0
        self._paused = False
        self._wake = asyncio.Event()
        #: the attempt in progress, which a person may cut short
        self._starting: asyncio.Timeout | None = None
        self._watch_processes = False
        self._next_heartbeat_s = 0.0
        self._sh_only = False
        self._grace_until_s = 0.0
        self._phases_ms: dict[str, float] = {}
        self._phase_name = ""
        self._phase_at_s = 0.0

    # --- what a person does ---

    def pause(self) -> None:
        """Disconnect and stay away until ``resume``."""
        self._paused = True
        self._poke()

    def resume(self) -> None:
        """Connect again."""
        self._paused = False
        self._attempt = 0
        self._poke()

    def reconnect(self) -> None:
        """Drop the connection, if any, and try at once."""
        self._paused = False
        self._attempt = 0
        self._transport.forget()
        self._poke()

    def watch_processes(self, wanted: bool) -> None:  # noqa: FBT001 - a plain switch
        """Have the process list sent every tick, or rarely again."""
        self._watch_processes = wanted
        if self._stream is not None:
            self._stream.request(b"p 1\n" if wanted else b"p 0\n")

    @contextlib.contextmanager
    def asking(self) -> Generator[Question]:
        """A question to the running agent.

        Raises:
            AskError: there is none, or too much is asked of it.
        """
        stream = self._stream
        if stream is None or not stream.first.done():
            record = self._fleet.hosts.get(self.host.id)
            state = record.link.state.value.replace("_", " ") if record is not None else "not watched"
            cause = record.link.cause if record is not None else None
            raise AskError(f"no live link to ask over: {state}" + (f": {cause}" if cause else ""), layer="agent")
        record = self._fleet.hosts.get(self.host.id)
        bad_lines = record.bad_lines if record is not None else 0
        try:
            with stream.questions.open() as question:
                yield question
        except AskError as error:
            if record is None or record.bad_lines == bad_lines:
                raise
            words = f"{error.cause}; a line that cannot be used came meanwhile: {record.bad_text}"
            raise AskError(words, layer=error.layer) from None

    def _poke(self) -> None:
        self._wake.set()
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.reschedule(0.0)  # in the middle of connecting: that attempt ends here
        elif self._stream is not None:
            self._stream.fail(_by_hand())

    def apply(self, settings: Settings) -> None:
        """Take new intervals; a running agent is told its new pace."""
        pace = settings.intervals.sample_s
        if pace != self._settings.intervals.sample_s and self._stream is not None:
            self._stream.set_interval(pace)
        self._settings = settings
        self._stale_after_s = _stale_after_s(settings.intervals)

    # --- the supervisor's timer ---

    def tick(self, now: float, slept_s: float) -> None:
        """Look at the stream's age: heartbeat, stale, silence. ``slept_s`` is how long this machine was suspended."""
        stream = self._stream
        if stream is None or not stream.first.done():
            return
        silent_s = now - stream.last_at_boot_s
        if silent_s < self._stale_after_s and now < self._next_heartbeat_s and not slept_s:
            return  # the usual case, once a second for every host
        intervals = self._settings.intervals
        if slept_s:
            self._grace_until_s = now + intervals.silence_s
            self._next_heartbeat_s = now
        if now >= self._next_heartbeat_s:
            # behind the plan by up to a tick each time: the next is planned from the plan
            self._next_heartbeat_s = max(self._next_heartbeat_s + intervals.heartbeat_s, now)
            stream.heartbeat()
        if silent_s > self._silence_limit_s(intervals) and now > self._grace_until_s:
            stream.fail(
                AgentError(
                    f"no sample for {silent_s:.0f} s on a connection that looked alive",
                    layer="silence",
                    next_step="the host, its agent or the path hangs; connecting anew",
                )
            )
        elif silent_s > self._stale_after_s:
            self._mark_stale(slept_s)

    def _silence_limit_s(self, intervals: Intervals) -> float:
        return max(intervals.silence_s, 4 * intervals.sample_s)

    def _mark_stale(self, slept_s: float) -> None:
        record = self._fleet.hosts.get(self.host.id)
        if record is None or record.link.state is not LinkState.LIVE:
            return
        cause = f"this machine slept for {slept_s:.0f} s" if slept_s else "samples stopped arriving"
        self._set(LinkState.STALE, layer="silence", cause=cause, next_step="waiting; then connecting anew")

    # --- the task ---

    async def run(self) -> None:
        """Watch the host until cancelled."""
        try:
            while True:
                if self._paused:
                    self._set(LinkState.PAUSED)
                    await self._sleep(None)
                    continue
                started = clock.boot_s()
                try:
                    error = await self._watch()
                except LinkError as failure:
                    error = failure
                except Exception as failure:  # said and logged: a defect must not cost a host its watcher
                    log.exception("session of %s", self.host.id)
                    error = AgentError(
                        f"{type(failure).__name__}: {clean(str(failure), 160)}",
                        layer="internal",
                        next_step="please report this; trying again",
                    )
                if self._paused:
                    continue
                if error.layer == "hand":
                    self._set(LinkState.CONNECTING)
                    continue
                if clock.boot_s() - started > _SETTLED_S:
                    self._attempt = 0
                await self._back_off(error)
        finally:
            await self._close()

    async def _watch(self) -> LinkError:
        """One life of the link: returns the reason it ended."""
        self._wake.clear()
        self._attempt += 1
        try:
            self._starting = attempt = asyncio.timeout(None)  # only ``_poke`` sets that clock; each phase has its own
            try:
                async with attempt:
                    stream = await self._start()
            except TimeoutError:
                if not attempt.expired():
                    raise
                return _by_hand()
            finally:
                self._starting = None
            if self._wake.is_set():  # poked at the very moment when the attempt succeeded: its timeout came too late
                return _by_hand()
            if self._watch_processes:
                stream.request(b"p 1\n")
            return await stream.ended
        finally:
            await self._close()

    async def _start(self) -> AgentStream:
        self._phases_ms = {}
        self._phase_name = ""
        stream = await (self._start_local() if self.host.local else self._start_remote())
        self._next_heartbeat_s = clock.boot_s() + random.uniform(0.2, 1.0) * self._settings.intervals.heartbeat_s  # noqa: S311
        self._phase("first_sample")
        intervals = self._settings.intervals
        limit_s = intervals.first_sample_s + 2 * intervals.sample_s
        await self._or_ended(stream.first, stream, limit_s, "first_sample", "the agent runs but sends no sample")
        self._end_phase()
        if stream.hostname_ms is not None:
            self._phases_ms["hostname"] = stream.hostname_ms
        self._fleet.set_ssh_phases(self.host.id, self._phases_ms)
        return stream

    async def _start_remote(self) -> AgentStream:
        self.connection = connection = await self._transport.connect(self.host, self._phase)
        for note in connection.plan.notes:
            self._fleet.set_note(self.host.id, f"ssh: {note}")
        self._phase("bootstrap")
        stream, boot = await self._boot(connection, python=not self._sh_only)
        if boot.kind == "none" and not self._sh_only:
            self._sh_only = True
            await self._drop_stream()
            stream, boot = await self._boot(connection, python=False)
        if boot.kind == "none":
            raise AgentError(
                f"no Python and no usable sh: {boot.detail}", layer="bootstrap", next_step="install python3"
            )
        stream.start(boot, self._settings.intervals.processes_s)
        return stream

    async def _boot(self, connection: Connection, *, python: bool) -> tuple[AgentStream, bootstrap.Boot]:
        nonce = bootstrap.new_nonce()
        stream = self._new_stream(nonce)
        limit_s = self._settings.intervals.bootstrap_s
        try:
            async with asyncio.timeout(limit_s):
                self._pipe: SshPipe | LocalPipe | None = await open_ssh(
                    connection.ssh, bootstrap.command(nonce, python=python), stream
                )
        except TimeoutError:
            raise AgentError(
                f"the server did not open a session in {limit_s:g} s", layer="bootstrap", next_step="the host may hang"
            ) from None
        boot = await self._or_ended(stream.booted, stream, limit_s, "bootstrap", "no agent started")
        return stream, boot

    async def _start_local(self) -> AgentStream:
        self._phase("bootstrap")
        nonce = bootstrap.new_nonce()
        stream = self._new_stream(nonce)
        self._pipe = await open_local(bootstrap.local_argv(nonce, sys.executable), stream)
        limit_s = self._settings.intervals.bootstrap_s
        boot = await self._or_ended(stream.booted, stream, limit_s, "bootstrap", "no agent started")
        stream.start(boot, self._settings.intervals.processes_s)
        return stream

    def _new_stream(self, nonce: str) -> AgentStream:
        pace_s = self._settings.intervals.sample_s
        self._stream = AgentStream(self._fleet, self.host.id, nonce, pace_s, self._on_live, intake=self._intake)
        return self._stream

    async def _or_ended(
        self, future: asyncio.Future[_T], stream: AgentStream, limit_s: float, layer: str, what: str
    ) -> _T:
        """Wait for ``future``, the stream's end or the limit, whichever is first."""
        if not future.done():  # the marker often comes with the answer to the request
            waited: set[asyncio.Future[object]] = {future, stream.ended}  # pyright: ignore[reportAssignmentType]
            await asyncio.wait(waited, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if stream.ended.done():
            raise stream.ended.result()
        noise = stream.noise_words() if layer == "bootstrap" else ""
        said = f"; it said: {stream.stderr[-200:]}" if stream.stderr.strip() else ""
        step = (
            "a forced command, a restricted shell or a login script in the way?"
            if layer == "bootstrap"
            else "look at the host"
        )
        raise AgentError(f"{what} in {limit_s:g} s{noise}{said}", layer=layer, next_step=step)

    # --- link states ---

    def _on_live(self) -> None:
        self._set(LinkState.LIVE)

    def _phase(self, phase: str) -> None:
        """Time the phases; show a try in progress, but keep a known cause visible until something better is known."""
        self._end_phase()
        self._phase_name, self._phase_at_s = phase, time.perf_counter()
        record = self._fleet.hosts.get(self.host.id)
        if record is None:
            return
        link = record.link
        if link.state is LinkState.CONNECTING:  # eight times a login: only what it stands at is new
            begun = type(link)(link.state, link.since_boot_s, link.since_wall_s, phase, attempt=self._attempt)
            self._fleet.set_link(self.host.id, begun)
        elif link.state is not LinkState.LIVE and self._attempt == 1:
            self._set(LinkState.CONNECTING, layer=phase)

    def _end_phase(self) -> None:
        if self._phase_name:
            self._phases_ms[self._phase_name] = (time.perf_counter() - self._phase_at_s) * 1000
            self._phase_name = ""

    def _set(
        self,
        state: LinkState,
        *,
        layer: str | None = None,
        cause: str | None = None,
        next_step: str | None = None,
        retry_at_boot_s: float | None = None,
    ) -> None:
        record = self._fleet.hosts.get(self.host.id)
        if record is None:
            return
        link = new_link(
            state,
            layer=layer,
            cause=cause,
            next_step=next_step,
            attempt=self._attempt,
            retry_at_boot_s=retry_at_boot_s,
        )
        self._fleet.set_link(self.host.id, _keep_since(record.link, link))

    async def _back_off(self, error: LinkError) -> None:
        patient = error.patient or (isinstance(error, AgentError) and error.layer == "flood")
        pause_s = PATIENT_RETRY_S if patient else self._pause_s()
        self._set(
            error.state,
            layer=error.layer,
            cause=error.cause,
            next_step=error.next_step,
            retry_at_boot_s=clock.boot_s() + pause_s,
        )
        await self._sleep(pause_s)

    def _pause_s(self) -> float:
        """Exponential with jitter: 0.5 to 1 of 1, 2, 4, ... seconds, up to the configured maximum."""
        ceiling = min(self._settings.intervals.backoff_max_s, 2.0 ** min(self._attempt - 1, 10))
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    async def _sleep(self, seconds: float | None) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    # --- the end ---

    _pipe: SshPipe | LocalPipe | None = None

    async def _drop_stream(self) -> None:
        pipe, self._pipe = self._pipe, None
        self._stream = None
        if pipe is not None:
            await pipe.close()

    async def _close(self) -> None:
        await self._drop_stream()
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.close()
            self._on_closed()


def _stale_after_s(intervals: Intervals) -> float:
    return max(intervals.stale_s, 2 * intervals.sample_s)


def _keep_since(before: Link, link: Link) -> Link:
    """A state that goes on keeps the time it began."""
    if before.state is not link.state:
        return link
    return type(link)(
        link.state,
        before.since_boot_s,
        before.since_wall_s,
        link.layer,
        link.cause,
        link.next_step,
        link.attempt,
        link.retry_at_boot_s,
    )
