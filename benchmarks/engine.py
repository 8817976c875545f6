"""One run, phase by phase: preflight, warm-up, barrier, measure. Owns schedule, clock, timeouts and cancellation.

What comes out is a ``Record``: the samples and what is known about the run. ``benchmarks.assemble`` judges it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks import schedule
from benchmarks.client_load import ClientLoad
from benchmarks.errors import BenchError
from benchmarks.model import Done, Outcome, Side
from benchmarks.result import Phase
from benchmarks.schedule import NS
from benchmarks.wire import Progress
from probes import clock
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from benchmarks.benchmark import Benchmark, Preflight
    from benchmarks.model import RunSpec, Sample
    from benchmarks.recorder import Recorder

log = logging.getLogger(__name__)

_PREFLIGHT_S: Final = 60.0
_PREPARE_S: Final = 300.0
_CLEANUP_S: Final = 15.0
_CANCELLED: Final = Done(Outcome.CANCELLED, detail="the run was cancelled")


@dataclass(slots=True)
class Record:
    """What a run left behind, before anybody judged it."""

    preflight: Preflight
    t0_ns: int
    wall_start: str
    phases: list[Phase] = field(default_factory=list[Phase])
    samples: list[Sample] = field(default_factory=list["Sample"])
    warmups: list[Sample] = field(default_factory=list["Sample"])
    cancelled: bool = False
    died: bool = False
    loop_lag_p99_s: float | None = None
    client_cpu_pct: float | None = None
    errors: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list[str])

    @property
    def measured(self) -> Phase | None:
        """The measure phase, drain included; None when it was not reached."""
        return next((phase for phase in self.phases if phase.name == "measure"), None)


class Engine:
    """Runs one benchmark once.

    Args:
        spec: what to run.
        bench: the running instance; the engine calls its ``cleanup``.
        recorder: where the samples go.
        stop: set by whoever wants the run to end early; what there is is kept.
        barrier: waits until all hosts of the suite are ready and returns the common start; None: none.
    """

    def __init__(
        self,
        spec: RunSpec,
        bench: Benchmark,
        recorder: Recorder,
        stop: asyncio.Event,
        barrier: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        self._spec = spec
        self._bench = bench
        self._recorder = recorder
        self._stop = stop
        self._barrier = barrier
        self._given_up = asyncio.Event()
        self._died = False
        self.phase = "preflight"
        self._phase_from_ns = time.perf_counter_ns()

    async def run(self) -> Record:
        """Run it to the end, or until ``stop``.

        Raises:
            BenchError: it could not start.
        """
        record: Record | None = None
        try:
            record = Record(await self._start(), self._recorder.t0_ns, clock.rfc3339(clock.wall_s()))
            record.phases.append(self._phase("preflight", self._recorder.t0_ns))
            if not self._stop.is_set():
                await self._measure(record)
        finally:
            problem = await self._clean_up()
        if problem:
            record.problems.append(problem)
        record.cancelled = self._stop.is_set()
        record.died = self._died or (not record.cancelled and self._recorder.ended_gone)
        record.samples, record.warmups = self._recorder.samples, self._recorder.warmups
        record.errors = self._recorder.error_lines()
        return record

    # --- phases ---

    async def _start(self) -> Preflight:
        """Preflight and prepare, each within its bound; a stop ends them."""
        found: list[Preflight] = []

        async def begin() -> None:
            async with self._bounded("preflight", _PREFLIGHT_S):
                found.append(await self._bench.preflight())
            async with self._bounded("preparing", _PREPARE_S):
                found[0] = await self._bench.prepare() or found[0]

        await schedule.until_stopped(asyncio.create_task(begin(), name="preflight"), self._stop, lambda: None)
        if not found:
            raise BenchError("cancelled before anything was measured", layer="engine", side=Side.CLIENT)
        return found[0]

    @asynccontextmanager
    async def _bounded(self, what: str, limit_s: float) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(limit_s):
                yield
        except TimeoutError:
            step = "is the service busy with something else?"
            raise BenchError(f"{what} took over {limit_s:g} s", layer="engine", next_step=step) from None

    async def _measure(self, record: Record) -> None:
        load = self._spec.load
        if load.warmup_n:
            began_ns = self._enter("warmup")
            warm = max(load.warmup_n, min(load.concurrency, 64))
            await self._offer(schedule.closed(self, load, self._given_up, n=warm, min_s=0.0))
            record.phases.append(self._phase("warmup", began_ns))
        if self._barrier is not None and not self._stop.is_set():
            began_ns = self._enter("barrier")
            await self._wait_for_others(self._barrier)
            record.phases.append(self._phase("barrier", began_ns))
        if self._stop.is_set():
            return
        own = ClientLoad()
        lag = asyncio.create_task(own.run(), name="loop lag")
        began_ns = self._enter("measure")
        try:
            own.start()
            await self._offer(self._loop())
        finally:
            own.stop()
            lag.cancel()
            await asyncio.wait({lag})
        record.phases.append(self._phase("measure", began_ns))
        record.loop_lag_p99_s, record.client_cpu_pct = own.lag_p99_s(), own.cpu_pct

    def _loop(self) -> Awaitable[None]:
        load = self._spec.load
        if load.rate_per_s is None:
            return schedule.closed(self, load, self._given_up, n=load.n, min_s=load.min_s)
        return schedule.open_loop(self, load, load.rate_per_s, self._given_up)

    async def _offer(self, loop: Awaitable[None]) -> None:
        """Run a loop; a stop cancels what is on its way at once, a dead server lets it end."""
        self._given_up.clear()

        async def offering() -> None:
            await loop

        await schedule.until_stopped(asyncio.create_task(offering(), name="load"), self._stop, lambda: None)

    async def _wait_for_others(self, barrier: Callable[[], Awaitable[int]]) -> None:
        async def wait() -> None:
            at_ns = await barrier()
            await asyncio.sleep(max(at_ns - time.perf_counter_ns(), 0) / NS)

        await schedule.until_stopped(asyncio.create_task(wait(), name="barrier"), self._stop, lambda: None)

    async def _clean_up(self) -> str:
        """Have the benchmark leave nothing behind; what went wrong in words."""
        try:
            async with asyncio.timeout(_CLEANUP_S):
                await self._bench.cleanup()
        except TimeoutError:
            return f"cleaning up took over {_CLEANUP_S:g} s and was given up"
        except Exception as error:
            log.exception("cleanup of %s", self._spec.benchmark)
            return f"cleaning up failed: {clean(str(error))}"
        return ""

    def _enter(self, phase: str) -> int:
        self.phase = phase
        self._phase_from_ns = time.perf_counter_ns()
        if phase in {"warmup", "measure"}:
            self._recorder.begin("warmup" if phase == "warmup" else "measure")
        return self._phase_from_ns

    def _phase(self, name: str, t0_ns: int) -> Phase:
        return Phase(name, t0_ns, time.perf_counter_ns())  # pyright: ignore[reportArgumentType]

    # --- what the loops ask ---

    async def attempt(self, i: int, intended_ns: int) -> None:
        """Make request ``i`` within its timeout, and record how it ended."""
        recorder, phase = self._recorder, self._recorder.phase
        recorder.in_flight += 1
        start_ns = time.perf_counter_ns()
        done = _CANCELLED
        try:
            async with asyncio.timeout(self._spec.load.timeout_s):
                done = await self._bench.once(i, intended_ns)
        except TimeoutError:
            done = Done(Outcome.TIMEOUT, detail=f"no complete answer within {self._spec.load.timeout_s:g} s")
        except Exception as error:
            # a defect of the benchmark: it is counted as ours, and the run goes on with what it has
            log.exception("request %d of %s", i, self._spec.benchmark)
            words = clean(f"{type(error).__name__}: {error}")
            done = Done(Outcome.TRANSPORT, side=Side.CLIENT, detail=f"quarterdeck failed: {words}")
        finally:
            recorder.in_flight -= 1
            recorder.take(i, phase, intended_ns, start_ns, done)
        if recorder.gone and phase == "measure":
            self._died = True
            self._given_up.set()
        elif recorder.gone:
            self._given_up.set()  # the measure phase will say so with figures

    def drop(self, i: int, intended_ns: int) -> None:
        """Record a request that was not sent."""
        self._recorder.drop(i, intended_ns)

    # --- what a screen sees ---

    def progress(self, run: int, runs: int) -> Progress:
        """Where the run stands now; takes the points since the last call."""
        load, recorder = self._spec.load, self._recorder
        now_ns = time.perf_counter_ns()
        passed_s = (now_ns - self._phase_from_ns) / NS
        total = {"warmup": load.warmup_n, "measure": load.n}.get(self.phase)
        done = recorder.done if total is not None else 0
        points, left_out = recorder.take_points()
        return Progress(
            run=run,
            runs=runs,
            case=self._spec.case.id,
            temperature=self._spec.temperature,
            phase=self.phase,
            done=done,
            total=None if total is None else max(total, done),
            elapsed_s=(now_ns - recorder.t0_ns) / NS,
            rate_per_s=recorder.rate_per_s() if total is not None else None,
            eta_s=_eta_s(done, total, passed_s, load.min_s if self.phase == "measure" else 0.0),
            outcomes=dict(recorder.outcomes),
            t0_ns=recorder.t0_ns,
            in_flight=recorder.in_flight,
            points=points,
            points_left_out=left_out,
            last_error=recorder.last_error,
            service=self._spec.service,
        )


def _eta_s(done: int, total: int | None, passed_s: float, min_s: float) -> float | None:
    """Seconds until a phase ends at the pace so far, and not before ``min_s``; None before anything ended."""
    if total is None or not done or passed_s <= 0:
        return None
    return max(passed_s * max(total - done, 0) / done, min_s - passed_s, 0.0)
