"""A benchmark without a screen: the runner with a watch of its own, interrupts, and one line of progress."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Final

import msgspec

from benchmarks.card import figure, letter
from benchmarks.runner import Runner
from benchmarks.store import locks_folder
from benchmarks.suite import OVER
from probes.headless import Watched
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from benchmarks.result import Result
    from benchmarks.store import Store
    from benchmarks.suite import JobState, Suite, SuitePlan
    from benchmarks.wire import Progress
    from probes.config import Settings

_DRAW_S: Final = 0.25
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def drive(settings: Settings, plan: SuitePlan, store: Store | None) -> tuple[Suite, bool]:
    """Run a suite while its hosts are watched for their GPUs; returns it, and whether it was cancelled.

    The first interrupt ends it in order; a second one without waiting for what was measured.
    """
    hosts = {job.host.id: msgspec.structs.replace(job.host, services=()) for job in plan.jobs}
    # what is measured is not probed besides
    watched_settings = msgspec.structs.replace(settings, hosts=tuple(hosts.values()))
    async with Watched(watched_settings) as watched:
        folder = None if store is None else store.samples_folder
        runner = Runner(settings, watched.fleet, store, samples_folder=folder, locks=locks_folder())
        running = asyncio.create_task(runner.run(plan), name="suite")
        stop = Stop(runner, running)
        stop.listen()
        line = ProgressLine(sys.stderr) if sys.stderr.isatty() else None
        try:
            while not running.done():
                await asyncio.wait({running}, timeout=_DRAW_S)
                if line is not None and runner.suite is not None:
                    line.draw(runner.suite)
            suite = await _ended(running, runner, cancelled=stop.asked)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            if line is not None:
                line.clear()
        if line is not None:
            line.draw(suite)
            line.clear()
        return suite, stop.asked


async def _ended(running: asyncio.Task[Suite], runner: Runner, *, cancelled: bool) -> Suite:
    try:
        return await running
    except asyncio.CancelledError:
        if not cancelled or runner.suite is None:
            raise
        return runner.suite


class Stop:
    """What an interrupt does: the first asks the runner to end, the second ends it."""

    def __init__(self, runner: Runner, running: asyncio.Task[Suite]) -> None:
        self._runner = runner
        self._running = running
        self.asked = False

    def listen(self) -> None:
        """Take the signals; whoever listened before takes them back when the loop's work is over."""
        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.add_signal_handler(number, self._heard)

    def _heard(self) -> None:
        if self.asked:
            self._running.cancel()
        else:
            self.asked = True
            self._runner.cancel()


class ProgressLine:
    """One line of a terminal, drawn again and again; what has ended stays above it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._told: set[str] = set()
        self._gone = False

    def draw(self, suite: Suite) -> None:
        """Show where the suite stands."""
        width = shutil.get_terminal_size().columns - 1
        for result in suite.results:
            if result.run_id not in self._told:
                self._told.add(result.run_id)
                self._write(f"\r\x1b[K{clean(result_words(result), width)}\n")
        self._write(f"\r\x1b[K{clean(progress_words(suite), width)}")

    def clear(self) -> None:
        """Leave an empty line."""
        self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        if self._gone:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:  # the terminal was closed: the run goes on to its orderly end
            self._gone = True


def result_words(result: Result) -> str:
    """One finished run."""
    what = " ".join(part for part in (result.case, result.temperature) if part)
    grade = result.grade
    value = "" if grade.value is None else f"  {grade.statistic} {figure(grade.value, grade.unit or '')}"
    why = f"  {'; '.join(result.validity.reasons)}" if result.validity.reasons else ""
    return f"{result.target.host} {what}: {letter(result)}{value}{why}"


def progress_words(suite: Suite) -> str:
    """The hosts that are over, and where each running one stands."""
    over = sum(job.state in OVER for job in suite.jobs)
    running = [job for job in suite.jobs if job.state not in OVER and job.state != "queued"]
    parts = [f"{over} of {len(suite.jobs)} done"] if len(suite.jobs) > 1 else []
    parts += [_job_words(job) for job in running]
    return " | ".join(parts)


def _job_words(job: JobState) -> str:
    progress = job.progress
    if progress is None:
        return f"{job.plan.host.id} {job.state.replace('_', ' ')}"
    runs = f" {progress.run + 1}/{progress.runs}" if progress.runs > 1 else ""
    what = " ".join(part for part in (progress.case, progress.temperature) if part)
    return f"{job.plan.host.id}{runs} {what}: {phase_words(progress)}"


def phase_words(progress: Progress) -> str:
    """Phase, n of total, rate, what remains, errors by what they ended as."""
    total = "" if progress.total is None else f"/{progress.total}"
    parts = [f"{progress.phase} {progress.done}{total}"]
    if progress.rate_per_s is not None:
        parts.append(figure(progress.rate_per_s, "1/s"))
    if progress.p50_s is not None:
        parts.append(f"p50 {figure(progress.p50_s, 's')}")
    if progress.eta_s is not None:
        parts.append(f"ETA {progress.eta_s:.0f} s")
    parts += [f"{count} {name}" for name, count in progress.outcomes.items() if count and name != "ok"]
    return ", ".join(parts)


def problems_of(suite: Suite) -> Iterable[str]:
    """What could not be measured or kept, a line each."""
    for job in suite.jobs:
        host = clean(job.plan.host.id)
        for failure in job.failures:
            spec = job.plan.runs[failure.run] if failure.run < len(job.plan.runs) else None
            what = " ".join(part for part in (spec.case.id, spec.temperature) if part) if spec else ""
            then = f" ({failure.next_step})" if failure.next_step else ""
            yield clean(f"{host} {what}: {failure.layer}: {failure.cause}{then}", 1000)
        for problem in job.problems:
            yield clean(f"{host}: {problem}", 1000)
