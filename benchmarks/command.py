"""Commands on a host over SSH: how long a start takes, how many a second at a concurrency, what they cost.

One request runs the command once, on an exec channel of its own, as ssh would. ssh's own share is measured with
``true``, at the same concurrency, before anything else. Memory and CPU are taken in a few runs of their own before the
warm-up, since whoever watches a process for them costs a start itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.benchmark import Definition, Preflight
from benchmarks.command_plan import ID, PARAMETERS, fault, plan, resolved
from benchmarks.errors import BenchError
from benchmarks.model import Done, Metric, Outcome, Side
from benchmarks.occupancy import throughput_per_s
from benchmarks.remote import Pace, Program, Remote
from benchmarks.schedule import NS
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.context import Context
    from benchmarks.model import RunSpec, Sample
    from benchmarks.remote import Ended, Times, Usage

#: runs of `true` for the baseline, at least
_BASELINE: Final = 10
_BASELINE_S: Final = 60.0
_MAX_STDIN: Final = 16 * 1024 * 1024

METRICS: Final = (
    Metric(
        "commands_per_s", "1/s", "higher", "commands that ended as expected / (end of the last - start of the first)",
        "commands per second", "run",
    ),
    Metric(
        "exec_to_exit", "s", "lower", "exit known - start seen, on our clock (the way here is in both)", "exec to exit"
    ),
    Metric("channel_open", "s", "lower", "session channel opened - asked for", "channel open"),
    Metric("over_baseline", "s", "lower", "service_time - baseline_true", "over the baseline"),
    Metric(
        "baseline_true", "s", "lower",
        "median service time of `true` at the same concurrency, at least 10 runs before the warm-up",
        "baseline (true)", "run",
    ),
    Metric(
        "exec_to_exit_host", "s", "lower",
        "median of the runs before the warm-up, one at a time, on the host's monotonic clock",
        "exec to exit, the host's clock", "run",
    ),
    Metric(
        "peak_rss_bytes", "B", "lower", "largest of the runs before the warm-up, of its largest process (wait4)",
        "peak RSS", "run",
    ),
    Metric("cpu_s", "s", "lower", "median of the runs before the warm-up, user + system (wait4)", "CPU", "run"),
    Metric("connections", "1", "lower", "SSH connections that were needed for the concurrency", "connections", "run"),
    Metric(
        "connect_auth", "s", "lower", "median over the connections: name, TCP, key exchange and login",
        "connect and login", "run",
    ),
    Metric(
        "leftovers", "1", "lower", "commands that left processes which held their output, and were ended",
        "left running", "run",
    ),
)  # fmt: skip


class Command:
    """See ``Benchmark``.

    Args:
        spec: its case is the command, its options are ``command_plan``'s.
        context: the ways to the host.
        pace: the intervals of life and death; tests make them short.
    """

    def __init__(self, spec: RunSpec, context: Context, pace: Pace | None = None) -> None:
        self._spec = spec
        self._context = context
        self._remote = Remote(context) if pace is None else Remote(context, pace)
        self._program = Program(spec.case.text)
        self._secrets: tuple[str, ...] = ()
        self._baseline_s: float | None = None
        self._usage: list[Usage] = []
        self._leftovers = 0

    async def preflight(self) -> Preflight:
        """Connect, and run ``true`` once in the command's directory and environment."""
        options = self._spec.options
        env, self._secrets = resolved(options["env"], os.environ)
        stdin, note = await _stdin(options["stdin"])
        self._program = Program(self._spec.case.text, options["cwd"] or None, env, stdin)
        await self._remote.open()
        ended = await self._remote.run(Program("true", self._program.cwd, env, witness=True))
        self._must_be_fine(ended)
        notes = ["exec_to_exit is on our clock, from the start marker to the exit status"]
        if note:
            notes.append(note)
        if self._spec.options["usage"] and (ended.usage is None or ended.usage.wall_s is None):
            notes.append("peak RSS, CPU and exec to exit on the host's clock need Python on the host: none was found")
        return Preflight(
            endpoint="this machine" if self._context.host.local else f"ssh {self._context.host.address}",
            via="local" if self._context.host.local else "ssh",
            notes=tuple(notes),
            missing={"server_version": "a command has none that is known", "device_claimed": "not a service"},
        )

    async def prepare(self) -> None:
        """The baseline with ``true`` (which opens the connections that are needed), and the runs for memory and CPU."""
        await self._measure_baseline()
        limit_s = self._spec.load.timeout_s
        for _ in range(self._spec.options["usage"]):
            watched = Program(
                self._program.command, self._program.cwd, self._program.env, self._program.stdin, witness=True
            )
            try:
                async with asyncio.timeout(limit_s):
                    ended = await self._remote.run(watched)
            except TimeoutError:
                return  # what is measured will say so
            if self._fault(ended) or ended.usage is None:
                return
            self._usage.append(ended.usage)

    async def _measure_baseline(self) -> None:
        concurrency = self._spec.load.concurrency
        program = Program("true", self._program.cwd, self._program.env)
        times: list[Times] = []

        async def slot() -> None:
            for at in range(1 - (-_BASELINE // concurrency)):
                ended = await self._remote.run(program)
                self._must_be_fine(ended)
                if at:  # the first may have had to connect
                    times.append(ended.times)

        try:
            async with asyncio.timeout(_BASELINE_S), asyncio.TaskGroup() as slots:
                for _ in range(concurrency):
                    slots.create_task(slot())
        except TimeoutError:
            step = "is the host overloaded? ask for less at a time"
            raise BenchError(f"`true` took over {_BASELINE_S:g} s", layer="host", next_step=step) from None
        except ExceptionGroup as group:
            # one of them says it all
            raise group.exceptions[0] from None
        measured = [(one.closed_ns - one.asked_ns) / NS for one in times if one.closed_ns is not None]
        self._baseline_s = statistics.median(measured)

    async def once(self, i: int, intended_ns: int) -> Done:
        """Run it once, and look how it ended."""
        del i, intended_ns
        try:
            ended = await self._remote.run(self._program)
        except BenchError as error:
            return Done(Outcome.TRANSPORT, side=error.side, detail=error.cause)
        self._leftovers += ended.leftover
        times = ended.times
        if ended.lost:
            detail = f"the connection is lost: {ended.lost}"
            return Done(Outcome.TRANSPORT, sent_ns=times.asked_ns, end_ns=ended.end_ns, detail=detail)
        wrong = self._fault(ended)
        if wrong:
            return Done(Outcome.INVALID_BODY, sent_ns=times.asked_ns, end_ns=ended.end_ns, detail=wrong)
        spans = spans_of(times)
        values = {"exec_to_exit": spans["run"], "channel_open": spans["channel_open"]}
        if self._baseline_s is not None and ended.end_ns is not None:
            values["over_baseline"] = (ended.end_ns - times.asked_ns) / NS - self._baseline_s
        return Done(values=values, spans=spans, sent_ns=times.asked_ns, end_ns=ended.end_ns)

    def totals(self, samples: Sequence[Sample], window_s: float) -> Mapping[str, float | None]:
        """The figures of the run."""
        del window_s
        walls = [use.wall_s for use in self._usage if use.wall_s is not None]
        peaks = [use.peak_rss_bytes for use in self._usage if use.peak_rss_bytes is not None]
        cpus = [use.cpu_s for use in self._usage if use.cpu_s is not None]
        # nobody logs in to this machine
        connects = [] if self._context.host.local else self._remote.connect_auth_s
        return {
            "commands_per_s": throughput_per_s(samples),
            "baseline_true": self._baseline_s,
            "exec_to_exit_host": statistics.median(walls) if walls else None,
            "peak_rss_bytes": float(max(peaks)) if peaks else None,
            "cpu_s": statistics.median(cpus) if cpus else None,
            "connections": float(len(connects)),
            "connect_auth": statistics.median(connects) if connects else None,
            "leftovers": float(self._leftovers),
        }

    async def cleanup(self) -> None:
        """End everything on the host, and close the connections."""
        await self._remote.close()

    def _must_be_fine(self, ended: Ended) -> None:
        """``true`` itself must run.

        Raises:
            BenchError: layer ``ssh`` or ``host``.
        """
        if ended.lost:
            step = "look at the host's sshd"
            raise BenchError(f"the connection is lost: {ended.lost}", layer="ssh", next_step=step)
        wrong = self._hidden(fault(ended, [0], ""))
        if wrong:
            step = "check --param cwd and env" if ended.problem else "does a shell work there?"
            raise BenchError(wrong, layer="host", next_step=step, side=Side.CLIENT if ended.problem else Side.SERVER)

    def _fault(self, ended: Ended) -> str:
        options = self._spec.options
        return self._hidden(fault(ended, options["expect_exit"], options["expect_stdout"]))

    def _hidden(self, text: str) -> str:
        """A text without the values that were taken from the environment here."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def spans_of(times: Times) -> dict[str, float]:
    """The parts of a command that ended, in seconds."""
    moments = (
        ("channel_open", times.asked_ns, times.opened_ns),
        ("exec", times.opened_ns, times.confirmed_ns),
        ("login_shell", times.confirmed_ns, times.started_ns),
        ("run", times.started_ns, times.exited_ns),
        ("first_byte", times.started_ns, times.first_byte_ns),
    )
    # the marker may be read before the task that waited for the confirmation goes on
    return {name: max(end - start, 0) / NS for name, start, end in moments if start is not None and end is not None}


async def _stdin(given: str) -> tuple[bytes, str]:
    """The standard input and what is said of it.

    Raises:
        BenchError: layer ``plan``: the file cannot be read, or it is too long.
    """
    if not given.startswith("@"):
        return given.encode(errors="surrogateescape"), ""
    path = Path(given[1:])

    def read() -> bytes:
        with path.open("rb") as file:
            return file.read(_MAX_STDIN + 1)

    try:
        data = await asyncio.to_thread(read)
    except (OSError, ValueError) as error:
        words = clean(str(error), 160)
        raise BenchError(f"stdin: {words}", layer="plan", next_step="a file here", side=Side.CLIENT) from None
    if len(data) > _MAX_STDIN:
        step = "have the command read a file on the host"
        cause = f"stdin is longer than {_MAX_STDIN // 2**20} MiB"
        raise BenchError(cause, layer="plan", next_step=step, side=Side.CLIENT)
    return data, f"stdin: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:16]}"


DEFINITION: Final = Definition(
    id=ID,
    version=1,
    title="Command",
    summary="A command on the host over SSH: start-up, commands a second, memory; ssh's own share apart",
    metrics=METRICS,
    ladders=(),
    reference="commands_per_s",
    plan=plan,
    make=Command,
    parameters=PARAMETERS,
    on="host",
)
