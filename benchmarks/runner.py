"""Runs a suite: one engine process a job, as many at once as allowed; GPU readings, barrier, results into the store.

A job whose engine hangs or dies ends by itself with what it had; the others go on. Cancelling ends every engine, keeps
the partial results and leaves no process behind.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from benchmarks import registry
from benchmarks.errors import BenchError
from benchmarks.gpu import GpuRecorder, merged
from benchmarks.host_lock import measuring
from benchmarks.options import options_of
from benchmarks.referenced import graded, wants_reference
from benchmarks.suite import MAX_POINTS, JobState, Suite
from benchmarks.wire import Cancel, Failed, Finished, FromEngine, Go, Job, Over, Progress, Ready
from probes.errors import QuarterdeckError
from probes.model import LinkState
from probes.text import clean_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.result import Result
    from benchmarks.suite import SuitePlan
    from benchmarks.wire import ToEngine
    from probes.config import Settings
    from probes.fleet import Fleet

log = logging.getLogger(__name__)

_LINE_LIMIT: Final = 64 * 1024 * 1024
_LOOK_S: Final = 0.2
#: how long a job waits for the first sample of its host, whose GPUs are to be seen before the load
FIRST_SAMPLE_S: Final = 6.0
_LAST_SAMPLE_S: Final = 1.6
#: from being cancelled to being killed: the engine's own clean-up has 15 s
_END_S: Final = 25.0
#: an engine reports five times a second; silent for so long it hangs
_SILENT_S: Final = 30.0
_GRACE_S: Final = 2.0
_BARRIER_S: Final = 120.0
_HEAD_START_NS: Final = 300_000_000
_STDERR: Final = 4000


class Saver(Protocol):
    """Where results go; blocking, called in a thread."""

    def save(self, result: Result) -> None:
        """Keep a result. Raises QuarterdeckError when it cannot be kept."""
        ...

    def baseline(self, config_hash: str, host: str, service: str | None) -> Result | None:
        """The baseline of a configuration on a host's service. Raises QuarterdeckError when it is unreadable."""
        ...


class Runner:
    """Runs one suite.

    Args:
        settings: how hosts are reached; handed to the engines.
        fleet: the store that the host agents' samples go to, for the GPU readings.
        store: keeps results; None: they are only returned.
        samples_folder: where the engines write the samples, None: nowhere.
        locks: folder of the locks of hosts that are measured; None: beside the samples, where there is such a folder.
        on_change: called on the event loop when the suite changed.
        first_sample_s: how long a job waits for the first sample of a host that is being connected to.
    """

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        store: Saver | None,
        *,
        samples_folder: Path | None = None,
        locks: Path | None = None,
        on_change: Callable[[], None] | None = None,
        first_sample_s: float = FIRST_SAMPLE_S,
    ) -> None:
        self._settings = settings
        self._fleet = fleet
        self._store = store
        self._samples_folder = samples_folder
        self._locks = locks or (None if samples_folder is None else samples_folder.parent / "locks")
        self._on_change = on_change
        self._first_sample_s = first_sample_s
        self.suite: Suite | None = None
        self._stop = asyncio.Event()
        self._barrier: Barrier | None = None

    def cancel(self) -> None:
        """End the suite soon: ``run`` returns with what there is."""
        self._stop.set()

    async def run(self, plan: SuitePlan) -> Suite:
        """Run all jobs of a plan to their ends.

        Cancelling the task ends the engines, too, without waiting for what they measured.
        """
        suite = self.suite = Suite(plan, [JobState(job) for job in plan.jobs])
        for stage in sorted({job.stage for job in plan.jobs}):
            await self._stage([state for state in suite.jobs if state.plan.stage == stage], plan)
        return suite

    async def _stage(self, jobs: list[JobState], plan: SuitePlan) -> None:
        together = max(state.plan.nodes for state in jobs) > 1
        self._barrier = Barrier(len(jobs)) if together else None
        places = asyncio.Semaphore(1 if plan.in_turn else len(jobs) if together else plan.at_once)
        hosts: dict[str, asyncio.Lock] = {}
        async with asyncio.TaskGroup() as tasks:
            for state in jobs:
                lock = hosts.setdefault(state.plan.host.id, asyncio.Lock())
                tasks.create_task(self._job(state, places, lock), name=f"bench {state.plan.host.id}")

    def _changed(self) -> None:
        if self.suite is not None:
            self.suite.version += 1
        if self._on_change is not None:
            self._on_change()

    async def _job(self, state: JobState, places: asyncio.Semaphore, host: asyncio.Lock) -> None:
        async with places, host:
            if self._stop.is_set():
                state.state = "cancelled"
            else:
                state.started_ns = time.perf_counter_ns()
                try:
                    with measuring(self._locks, state.plan.host) as not_held:
                        state.problems += filter(None, (not_held,))
                        await self._run_job(state)
                except BenchError as error:
                    state.state = "failed"
                    state.failures.append(Failed(0, error.layer, error.cause, error.next_step, error.side.value))
                state.ended_ns = time.perf_counter_ns()
        if self._barrier is not None:
            self._barrier.leave()
        self._changed()

    async def _run_job(self, state: JobState) -> None:
        state.state = "starting"
        self._changed()
        await self._first_sample(state.plan.host.id)
        gpus = GpuRecorder(self._fleet, state.plan.host.id)
        engine = EngineProcess()
        try:
            await engine.start(self._wire_job(state))
            await self._follow(state, engine, gpus)
        except OSError as error:
            state.problems.append(f"the engine's process could not be started: {error.strerror}")
        finally:
            words = await engine.end()
        if words:
            state.problems.append(words)
        if self._stop.is_set():
            state.state = "cancelled"
        else:
            state.state = "failed" if words or not state.results else "done"

    def _wire_job(self, state: JobState) -> Job:
        plan = self.suite.plan if self.suite is not None else None
        return Job(
            suite_id=plan.suite_id if plan is not None else "",
            host=state.plan.host,
            settings=msgspec.structs.replace(self._settings, hosts=(state.plan.host,)),
            runs=state.plan.runs,
            samples_folder=None if self._samples_folder is None else str(self._samples_folder),
            nodes=state.plan.nodes,
            at_once=plan.limit if plan is not None else 1,
            label=state.plan.label,
        )

    async def _first_sample(self, host_id: str) -> None:
        """Give the host's agent a moment, so that its GPUs are seen before there is load; never required."""
        end = time.monotonic() + self._first_sample_s
        while time.monotonic() < end and not self._stop.is_set():
            record = self._fleet.hosts.get(host_id)
            if record is None or record.samples or record.link.state is not LinkState.CONNECTING:
                return
            await asyncio.sleep(_LOOK_S)

    async def _follow(self, state: JobState, engine: EngineProcess, gpus: GpuRecorder) -> None:
        """Take what the engine says until it is over, it hangs, or it is gone."""
        looking = asyncio.create_task(self._look(state, gpus), name="gpu readings")
        stopping = asyncio.create_task(self._pass_on_stop(engine), name="cancel")
        waiting: asyncio.Task[None] | None = None
        try:
            while True:
                message = await _heard(engine, _SILENT_S if state.state != "at_barrier" else _BARRIER_S + _SILENT_S)
                if message is None or isinstance(message, Over):
                    return
                if isinstance(message, Ready) and self._barrier is not None:
                    state.state = "at_barrier"
                    waiting = asyncio.create_task(self._open_barrier(engine, self._barrier), name="barrier")
                await self._take(state, message, gpus)
                self._changed()
        except TimeoutError:
            state.problems.append(f"the engine's process said nothing for {_SILENT_S:g} s and was ended")
        except msgspec.DecodeError as error:
            state.problems.append(f"the engine's process said what is no message: {error}")
        finally:
            tasks = {task for task in (looking, stopping, waiting) if task is not None}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _take(self, state: JobState, message: FromEngine, gpus: GpuRecorder) -> None:
        if isinstance(message, Progress):
            if state.state == "starting" or (state.state == "at_barrier" and message.phase != "barrier"):
                state.state = "running"
            if state.progress is None or state.progress.t0_ns != message.t0_ns:
                state.points, state.points_left_out = [], 0
            state.progress = message
            room = MAX_POINTS - len(state.points)
            state.points += message.points[:room]
            state.points_left_out += message.points_left_out + max(len(message.points) - room, 0)
        elif isinstance(message, Failed):
            state.failures.append(message)
        elif isinstance(message, Finished):
            await self._last_sample(state.plan.host.id, message.result, gpus)
            result = message.result
            if result.target.service is not None or result.target.via in {"direct", "ssh_tunnel"}:
                result = merged(result, gpus)
            result, unread = await self._against_reference(result)
            state.results.append(result)
            state.problems += filter(None, (unread,))
            try:
                state.problems += filter(None, (await self._save(result),))
            except asyncio.CancelledError:
                state.problems.append(f"ended while {result.run_id} was being stored: list-runs shows whether it was")
                raise

    async def _last_sample(self, host_id: str, result: Result, gpus: GpuRecorder) -> None:
        """Wait for the host's sample that covers the end of the measure phase: it is still on its way."""
        ended_ns = max((phase.t1_ns for phase in result.phases), default=0)
        record = self._fleet.hosts.get(host_id)
        end = time.monotonic() + _LAST_SAMPLE_S
        while time.monotonic() < end and record is not None and record.brief is not None and record.brief.gpus:
            gpus.look()
            if gpus.readings and gpus.readings[-1].at_ns >= ended_ns:
                return
            await asyncio.sleep(_LOOK_S)

    async def _against_reference(self, result: Result) -> tuple[Result, str]:
        """Grade what has no ladder by a target or the baseline; and why the baseline could not be read."""
        definition = registry.definition(result.benchmark.id)
        if not wants_reference(result, definition):
            return result, ""
        baseline, problem, target = None, "", result.target
        if self._store is not None:
            try:
                baseline = await asyncio.to_thread(
                    self._store.baseline, result.config_hash, target.host, target.service
                )
            except QuarterdeckError as error:
                problem = f"the baseline cannot be read: {error}"
        targets = options_of(self._settings.bench).kpi.get(result.benchmark.id, {})
        return graded(result, definition, baseline, targets), problem

    async def _save(self, result: Result) -> str:
        """Keep a result; what kept it from it in words. The result itself is never lost by that."""
        if self._store is None:
            return ""
        try:
            await asyncio.to_thread(self._store.save, result)
        except QuarterdeckError as error:
            return f"not stored: {error}"
        return ""

    async def _look(self, state: JobState, gpus: GpuRecorder) -> None:
        while True:
            if gpus.look():
                state.gpu = gpus.readings
                self._changed()
            await asyncio.sleep(_LOOK_S)

    async def _pass_on_stop(self, engine: EngineProcess) -> None:
        await self._stop.wait()
        engine.say(Cancel())

    async def _open_barrier(self, engine: EngineProcess, barrier: Barrier) -> None:
        engine.say(Go(await barrier.wait()))


class Barrier:
    """A common start for all jobs that are still there; who leaves or is late does not hold up the others."""

    def __init__(self, parties: int) -> None:
        self._parties = parties
        self._waiting: list[asyncio.Future[int]] = []

    async def wait(self) -> int:
        """Wait for the others, at most two minutes; returns the moment at which all begin."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._open_if_full()
        try:
            async with asyncio.timeout(_BARRIER_S):
                return await asyncio.shield(future)
        except TimeoutError:
            self._open()
            return await future
        finally:
            if future in self._waiting:
                self._waiting.remove(future)

    def leave(self) -> None:
        """One party ended for good."""
        self._parties -= 1
        self._open_if_full()

    def _open_if_full(self) -> None:
        if self._waiting and len(self._waiting) >= self._parties:
            self._open()

    def _open(self) -> None:
        at_ns = time.perf_counter_ns() + _HEAD_START_NS
        for future in self._waiting:
            if not future.done():
                future.set_result(at_ns)
        self._waiting.clear()


async def _heard(engine: EngineProcess, limit_s: float) -> FromEngine | None:
    """What an engine says next.

    When the time is over it is given a little more: if it was us who stood still (stopped at the terminal), what it
    said meanwhile waits in the pipe.

    Raises:
        TimeoutError: it says nothing.
    """
    try:
        async with asyncio.timeout(limit_s):
            return await engine.hear()
    except TimeoutError:
        async with asyncio.timeout(_GRACE_S):
            return await engine.hear()


def _path() -> str:
    """Where our packages are, before whatever the environment says."""
    ours = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join([ours, *filter(None, [os.environ.get("PYTHONPATH")])])


class EngineProcess:
    """One engine's process: started, spoken to, listened to, and ended in bounded time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._errors: asyncio.Task[bytes] | None = None
        self._decoder = msgspec.json.Decoder(FromEngine)
        self._over = False

    async def start(self, job: Job) -> None:
        """Start it and hand it its job.

        Raises:
            OSError: it could not be started.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # no module of the folder that we happen to be in
            "-m",
            "benchmarks.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            # an interrupt at the terminal is ours to pass on
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": _path()},
        )
        self._errors = asyncio.create_task(self._drain(self._process), name="engine stderr")
        self.say(job)

    async def _drain(self, process: asyncio.subprocess.Process) -> bytes:
        """The last of what it writes to stderr: a pipe that is full would stop it."""
        kept = b""
        while process.stderr is not None and (chunk := await process.stderr.read(65536)):
            kept = (kept + chunk)[-_STDERR:]
        return kept

    def say(self, message: ToEngine) -> None:
        """Write a message; to one that is gone it says nothing."""
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(msgspec.json.encode(message) + b"\n")

    async def hear(self) -> FromEngine | None:
        """The next message; None when it will say nothing more.

        Raises:
            msgspec.DecodeError: it said something else.
        """
        if self._process is None or self._process.stdout is None:
            return None
        try:
            line = await self._process.stdout.readline()
        except ValueError as error:  # longer than the limit
            raise msgspec.DecodeError(str(error)) from None
        if not line:
            return None
        message = self._decoder.decode(line)
        self._over = isinstance(message, Over)
        return message

    async def end(self) -> str:
        """Let it end, else kill it; what was wrong with its end, in words."""
        process = self._process
        if process is None or self._errors is None:
            return ""
        if process.stdin is not None:
            process.stdin.close()
        killed = False
        try:
            async with asyncio.timeout(_END_S):
                await process.wait()
        except TimeoutError:
            killed = True
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        said = await self._errors
        if killed:
            return f"the engine's process did not end within {_END_S:g} s and was killed"
        code = process.returncode or 0
        if code == 0 and self._over:
            return ""
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        last = clean_bytes(said.strip().rpartition(b"\n")[2], 300)
        return f"the engine's process ended early ({how})" + (f": {last}" if last else "")
