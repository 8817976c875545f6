"""The byte stream of one agent: noise, then the bootstrap's marker, then lines into the fleet store.

Knows nothing of SSH: an SSH channel and a local child process both feed it and lend it a ``Pipe``. Everything that
arrives is hostile: lines and rates are bounded, and a line that cannot be used is counted and shown, never fatal.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from probes import clock
from probes.errors import AgentError, LinkError, LostError
from probes.hosts import agent, bootstrap
from probes.hosts.frames import FrameDecoder
from probes.hosts.protocol import MAX_LINE_BYTES, JsonDecoder, LineError, LineSplitter, decode_brief
from probes.hosts.questions import Questions
from probes.model import Answer, Brief, Hello, LinkState, Note, Processes
from probes.text import clean, clean_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probes.fleet import Fleet
    from probes.hosts.bootstrap import Boot
    from probes.hosts.intake import Intake
    from probes.hosts.protocol import LineDecoder
    from probes.model import BriefLine

log = logging.getLogger(__name__)

#: bytes of banner and .bashrc chatter tolerated before the marker
_MAX_NOISE_BYTES: Final = 256 * 1024
#: lines per sampling interval that count as a flood, and bytes per second that do
FLOOD_FACTOR: Final = 100
#: (cleaning hostile text costs 0.09 s a MB here: more than this would take the loop from the other hosts)
_FLOOD_BYTES_PER_S: Final = 4 * 1024 * 1024
_FLOOD_PAUSE_S: Final = 2.0
_FLOOD_STRIKES: Final = 3
_TOKENS_KEPT: Final = 16
#: how a sample of the Python agent begins
_SAMPLE: Final = b'{"t":"s"'
_STDERR_KEPT: Final = 2000


class Pipe(Protocol):
    """What a stream needs of its channel."""

    def write(self, data: bytes) -> None:
        """Send to the agent's stdin."""
        ...

    def pause(self) -> None:
        """Stop reading (the sender's window fills up and holds it)."""
        ...

    def resume(self) -> None:
        """Read again."""
        ...


class AgentStream:
    """One run of one agent. ``booted`` and ``first`` resolve once; ``ended`` when the channel is gone or unusable."""

    def __init__(
        self,
        fleet: Fleet,
        host_id: str,
        nonce: str,
        interval_s: float,
        on_live: Callable[[], None],
        *,
        intake: Intake | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.booted: asyncio.Future[Boot] = loop.create_future()
        self.first: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[LinkError] = loop.create_future()
        self.opened_at_boot_s = self.last_at_boot_s = clock.boot_s()
        #: from the opening of the channel to the agent's first word (its hostname), in milliseconds
        self.hostname_ms: float | None = None
        self.stderr = ""
        self.exit_status: int | None = None
        self.questions = Questions(self.request)
        self._fleet, self._host_id, self._nonce = fleet, host_id, nonce
        self._interval_s = interval_s
        self._on_live = on_live
        #: where sample lines wait to be worked off together; None: each at once
        self._intake = intake
        self._waits = False
        self._pipe: Pipe | None = None
        self._splitter = LineSplitter()
        self._decoder: LineDecoder | None = None
        self._noise_bytes = 0
        self._noise = ""
        self._sent: OrderedDict[int, float] = OrderedDict()
        self._token = 0
        self._overlong_seen = 0
        self._window_at_s = 0.0
        self._window_lines = 0
        self._window_bytes = 0
        self._strikes = 0
        self._resume: asyncio.TimerHandle | None = None

    # --- the channel's side ---

    def opened(self, pipe: Pipe) -> None:
        """The channel is there."""
        self._pipe = pipe

    def feed(self, data: bytes) -> None:
        """Take bytes of stdout. Never raises: an exception here would silently drop the host."""
        if self.ended.done():  # what comes behind the end is nobody's: it must not make the link look alive
            return
        try:
            self._feed(data)
        except Exception as error:  # noqa: BLE001 - logged, counted and shown
            self._trip(error)

    def feed_stderr(self, data: bytes) -> None:
        """Keep the end of stderr, to say what went wrong."""
        if not self.ended.done() and not self._flooded(len(data), 0, clock.boot_s()):
            self.stderr = (self.stderr + clean_bytes(data, _STDERR_KEPT))[-_STDERR_KEPT:]

    def closed(self, error: Exception | None = None) -> None:
        """The channel is gone."""
        if self._intake is not None:
            self._intake.settle(self)
        if self._resume is not None:
            self._resume.cancel()
        status = "" if self.exit_status is None else f", exit status {self.exit_status}"
        said = f"; it said: {self.stderr[-200:]}" if self.stderr.strip() else ""
        if not self.booted.done():
            noise = f"; before that came: {self._noise!r}" if self._noise else ""
            cause = f"the login ended before the agent started{status}{said}{noise}"
            failure: LinkError = AgentError(cause, layer="bootstrap", next_step=_BOOT_STEP)
        elif error is not None:
            words = clean(str(error), 120) or type(error).__name__
            failure = LostError(f"connection lost: {words}", layer="silence", next_step="connecting anew")
        else:
            failure = AgentError(f"the agent ended{status}{said}", layer="agent", next_step="it is started again")
        self.fail(failure)

    def fail(self, error: LinkError) -> None:
        """End the stream with a cause; later causes are ignored."""
        if not self.ended.done():
            self.ended.set_result(error)
            self.questions.end(error)

    # --- the session's side ---

    def heartbeat(self) -> None:
        """Send a heartbeat; its echo bounds the age of later samples."""
        if self._pipe is not None:
            self._pipe.write(self._next_heartbeat())

    def _next_heartbeat(self) -> bytes:
        self._token += 1
        self._sent[self._token] = clock.boot_s()
        while len(self._sent) > _TOKENS_KEPT:
            self._sent.popitem(last=False)
        return b"h %d\n" % self._token

    def request(self, line: bytes) -> None:
        """Send one request line to the agent."""
        if self._pipe is not None and self.booted.done() and not self.ended.done():
            self._pipe.write(line)

    def set_interval(self, interval_s: float) -> None:
        """Have the agent sample at another pace."""
        self._interval_s = interval_s
        self.request(b"i %r\n" % interval_s)

    def start(self, boot: Boot, processes_s: float) -> None:
        """Send the agent itself, and the first heartbeat behind it in the same write: that is one packet less."""
        if self._pipe is not None:
            self._pipe.write(_payload(boot.kind, self._interval_s, processes_s) + self._next_heartbeat())

    # --- reading ---

    def _feed(self, data: bytes) -> None:
        now = clock.boot_s()
        if self._waits and self._put_down(data, now):
            return
        lines = self._splitter.feed(data)
        if self._flooded(len(data), len(lines), now):
            return
        if self._splitter.overlong != self._overlong_seen:
            self._overlong_seen = self._splitter.overlong
            self._fleet.set_bad_line(self._host_id, "a line longer than 1 MiB was dropped")
        for line in lines:
            if self._decoder is None:  # until the marker
                self._look_for_marker(line)
            elif self._waits and line.startswith(_SAMPLE) and self._intake is not None:
                self._intake.put(self, line, now)
            elif line:
                self._use(self._decoder, line, now)
        if self._decoder is None:
            self._count_noise(len(data))

    def _put_down(self, data: bytes, now: float) -> bool:
        """Put down what is one whole sample, as nearly every read is; kept as it came, since a copy would cost more."""
        if (
            self._intake is None
            or not data.startswith(_SAMPLE)
            or data.find(b"\n") != len(data) - 1
            or len(data) > MAX_LINE_BYTES
            or not self._splitter.between_lines
        ):
            return False
        if not self._flooded(len(data), 1, now):
            self._intake.put(self, data, now)
        return True

    def _count_noise(self, size: int) -> None:
        self._noise_bytes += size
        if self._noise_bytes > _MAX_NOISE_BYTES:
            self.fail(
                AgentError(
                    f"more than {_MAX_NOISE_BYTES >> 10} KiB of output before the agent started: {self._noise!r}",
                    layer="bootstrap",
                    next_step=_BOOT_STEP,
                )
            )

    def _look_for_marker(self, line: bytes) -> None:
        boot = bootstrap.parse_marker(line, self._nonce)
        if boot is not None:
            self._decoder = _CheckedFrames() if boot.kind == "sh" else JsonDecoder()
            self.booted.set_result(boot)
        elif len(self._noise) < 120:
            self._noise = (self._noise + " " + clean_bytes(line, 120)).strip()[:160]

    def noise_words(self) -> str:
        """What came before the marker, for the failure message."""
        return f"; it printed: {self._noise!r}" if self._noise else ""

    def use(self, line: bytes, at_boot_s: float) -> None:
        """Work off a JSON line that waited. Never raises: it is called for many hosts in turn."""
        if self.ended.done():
            return
        try:
            self._store(decode_brief(line), line, at_boot_s)
        except LineError as error:
            self._fleet.set_bad_line(self._host_id, clean(str(error)))
        except Exception as error:  # noqa: BLE001 - logged, counted and shown
            self._trip(error)

    def _trip(self, error: Exception) -> None:
        """A defect of ours in one line: logged, counted and shown, and the host goes on."""
        log.error("reading the stream of %s", self._host_id, exc_info=error)
        self._fleet.set_bad_line(self._host_id, f"internal: {type(error).__name__}: {clean(str(error), 120)}")

    def _use(self, decoder: LineDecoder, line: bytes, now: float) -> None:
        try:
            decoded = decoder.feed(line)
        except LineError as error:
            self._fleet.set_bad_line(self._host_id, clean(str(error)))
            return
        for item, text in decoded:
            self._store(item, text, now)

    def _store(self, item: BriefLine, line: bytes, now: float) -> None:
        fleet, host_id = self._fleet, self._host_id
        if type(item) is Brief:  # isinstance of these classes costs a microsecond, and this is every line of every host
            self.last_at_boot_s = now
            record = fleet.ingest(host_id, item, now, self._lag_s(item, now), line)
            if record is None or record.link.state is not LinkState.LIVE:
                self._on_live()
            if not self.first.done():
                self.first.set_result(None)
                self._waits = self._intake is not None and isinstance(self._decoder, JsonDecoder)
        elif isinstance(item, Processes):
            fleet.set_processes(host_id, item, now)
        elif isinstance(item, Hello):
            if self.hostname_ms is None:
                self.hostname_ms = (now - self.opened_at_boot_s) * 1000
            fleet.set_hello(host_id, item)
        elif isinstance(item, Answer):
            if not self.questions.take(item):
                fleet.set_bad_line(host_id, "an answer that nobody waits for")
        elif isinstance(item, Note):
            self._take_note(item)

    def _take_note(self, note: Note) -> None:
        if note.need == "pynvml":
            if self._pipe is not None:
                self._pipe.write(bootstrap.pynvml_payload())
        elif note.text:
            self._fleet.set_note(self._host_id, f"{note.layer}: {note.text}")

    def _lag_s(self, sample: Brief, now: float) -> float | None:
        """How old the sample can be at most: what passed since we sent the token it echoes, less its stay there."""
        if sample.echo is None:
            return None
        sent = self._sent.get(sample.echo[0])
        if sent is None:
            return None
        return max(now - sent - sample.echo[1] / 1000, 0.0)

    # --- floods ---

    def _flooded(self, size: int, lines: int, now: float) -> bool:
        """Count lines and bytes of the running interval; pause the reader on a flood, give up on the third."""
        if now - self._window_at_s >= self._interval_s:
            if self._window_lines <= FLOOD_FACTOR // 4:
                self._strikes = 0
            self._window_at_s, self._window_lines, self._window_bytes = now, 0, 0
        self._window_lines += lines
        self._window_bytes += size
        if self._window_lines <= FLOOD_FACTOR and self._window_bytes <= _FLOOD_BYTES_PER_S * self._interval_s:
            return False
        self._strikes += 1
        self._window_lines = self._window_bytes = 0
        if self._strikes >= _FLOOD_STRIKES:
            self.fail(
                AgentError(
                    f"over {FLOOD_FACTOR} times the expected rate, {_FLOOD_STRIKES} times in a row",
                    layer="flood",
                    next_step="look at what runs in the place of the agent on that host",
                )
            )
        elif self._pipe is not None and self._resume is None:
            self._pipe.pause()
            self._fleet.set_bad_line(self._host_id, f"flood: reading paused for {_FLOOD_PAUSE_S:g} s")
            self._resume = asyncio.get_running_loop().call_later(_FLOOD_PAUSE_S, self._read_again)
        return True

    def _read_again(self) -> None:
        self._resume = None
        if self._pipe is not None and not self.ended.done():
            self._window_at_s = clock.boot_s()
            self._pipe.resume()


class _CheckedFrames:
    """Frames of the sh agent, whose text becomes facts here, held to the same bounds as the other agent's JSON."""

    __slots__ = ("_frames", "_json")

    def __init__(self) -> None:
        self._frames = FrameDecoder()
        self._json = JsonDecoder()

    def feed(self, line: bytes) -> Sequence[tuple[BriefLine, bytes]]:
        """Decode one line.

        Raises:
            LineError: it cannot be used, or says something absurd.
        """
        checked: list[tuple[BriefLine, bytes]] = []
        for item in self._frames.feed(line):
            try:
                checked += self._json.feed(agent.encode(msgspec.to_builtins(item)).rstrip())
            except LineError:
                raise
            except (OverflowError, ValueError) as error:
                raise LineError(f"absurd values: {clean(str(error), 120)}") from None
        return checked


@lru_cache(maxsize=16)
def _payload(kind: str, interval_s: float, processes_s: float) -> bytes:
    """The agent and its settings: compressed once, sent to a thousand hosts."""
    more = {"processes_s": processes_s} if kind == "python" else {}
    return bootstrap.payload(kind, interval_s, **more)


_BOOT_STEP: Final = "a forced command, a restricted shell or a login script in the way? try: ssh HOST true"
