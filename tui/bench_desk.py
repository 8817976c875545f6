"""The owner of what benchmarks run from the dashboard: one suite at a time, which goes on when its screen is left.

Screens read ``suite`` and ``busy``; the runner alone writes the suite. Everything that may block (planning imports the
benchmarks, the store is a file) is called in a thread. Tests bring their own ``BenchWork``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from benchmarks.errors import BenchError
from benchmarks.options import is_production
from probes.model import Severity
from probes.text import clean
from tui.bench_form import quick_check
from tui.bench_words import done_words, running_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.benchmark import Definition
    from benchmarks.compare import Comparison
    from benchmarks.result import Result
    from benchmarks.store import Row
    from benchmarks.suite import Suite, SuitePlan
    from probes.model import Host
    from tui.app import QuarterdeckApp
    from tui.bench_form import Order
    from tui.bench_trend import TrendFacts

Got = TypeVar("Got")
#: how long a cancelled run may take to hand over what it has when the dashboard ends
END_S: Final = 10.0


class BenchRunner(Protocol):
    """Runs one suite."""

    suite: Suite | None

    async def run(self, plan: SuitePlan) -> Suite:
        """Run all jobs to their ends."""
        ...

    def cancel(self) -> None:
        """End soon; ``run`` returns with what there is."""
        ...


class BenchWork(Protocol):
    """What the desk asks of engine, plans and store.

    All but ``runner`` and ``gpu_why`` block and may raise BenchError.
    """

    def definitions(self) -> tuple[Definition, ...]:
        """The benchmarks there are."""
        ...

    def plan(self, order: Order, hosts: Sequence[Host]) -> SuitePlan:
        """What is to be run where."""
        ...

    def prepare(self) -> str:
        """Import the engine and look at the store; what keeps results from being stored, in words."""
        ...

    def runner(self) -> BenchRunner:
        """A runner for one suite; after ``prepare``."""
        ...

    def gpu_why(self, host_id: str) -> str:
        """Why a host has no GPU readings."""
        ...

    def find(self, limit: int) -> tuple[Row, ...]:
        """The runs that are stored, newest first."""
        ...

    def get(self, run_id: str) -> Result:
        """One stored result."""
        ...

    def baseline(self, result: Result) -> Result | None:
        """The baseline of a result's configuration on its host."""
        ...

    def set_baseline(self, run_id: str) -> Result:
        """Make a run the baseline."""
        ...

    def compare(self, a: str, b: str) -> tuple[Comparison, ...]:
        """Compare two sides: run ids separated by commas, or ``label:L``."""
        ...

    def trend(self, run_id: str) -> TrendFacts:
        """The primary figure over the runs of this run's configuration on its host."""
        ...


class BenchDesk:
    """One per application.

    Args:
        deck: the application.
        work: the machinery.
    """

    def __init__(self, deck: QuarterdeckApp, work: BenchWork) -> None:
        self._deck = deck
        self.work = work
        self.definitions: tuple[Definition, ...] = ()
        self._runner: BenchRunner | None = None
        self._task: asyncio.Task[None] | None = None
        #: why the last order was not run; empty: it was
        self.refusal = ""
        #: why results are not stored; empty: they are
        self.not_stored = ""
        #: grows when something but the suite changed
        self.version = 0

    # --- what screens read ---

    @property
    def suite(self) -> Suite | None:
        """The running suite, else the last one."""
        return None if self._runner is None else self._runner.suite

    @property
    def busy(self) -> bool:
        """Whether a suite runs, or is about to."""
        return self._task is not None and not self._task.done()

    @property
    def state(self) -> tuple[int, int, bool]:
        """Another value whenever there is something to draw."""
        return self.version, -1 if self.suite is None else self.suite.version, self.busy

    @property
    def words(self) -> str:
        """What runs, for headers; empty: nothing."""
        if not self.busy:
            return ""
        return clean("bench starts" if self.suite is None or self.suite.over else running_words(self.suite))

    def production(self, host_ids: Sequence[str]) -> list[str]:
        """Those of the hosts that say they are production."""
        hosts = self._deck.fleet.hosts
        return [host_id for host_id in host_ids if host_id in hosts and is_production(hosts[host_id].host)]

    # --- what screens do ---

    async def ask(self, work: Callable[[], Got]) -> Got:
        """Ask the machinery in a thread.

        Raises:
            BenchError: as the machinery says.
        """
        from tui.app import in_thread  # noqa: PLC0415 - app imports the screens

        got: Got = await in_thread(work)
        return got

    async def load(self) -> tuple[Definition, ...]:
        """The benchmarks there are, imported when first asked for.

        Raises:
            BenchError: they cannot be listed.
        """
        if not self.definitions:
            self.definitions = await self.ask(self.work.definitions)
        return self.definitions

    def hosts(self, host_ids: Sequence[str]) -> list[Host]:
        """Hosts as they are configured now.

        Raises:
            BenchError: one is no longer configured.
        """
        records = self._deck.fleet.hosts
        gone = [clean(host_id) for host_id in host_ids if host_id not in records]
        if gone:
            raise BenchError(f"no longer configured: {', '.join(gone)}", layer="plan", next_step="choose other hosts")
        return [records[host_id].host for host_id in host_ids]

    async def quick(self, host_id: str) -> Order:
        """The quick validation of a host: the first benchmark of a service that it has.

        Raises:
            BenchError: it has none; says why the first one cannot be run.
        """
        hosts = self.hosts([host_id])
        why: BenchError | None = None
        for definition in await self.load():
            if definition.on != "service":
                continue
            order = quick_check(definition, host_id)
            try:
                await self.ask(lambda order=order: self.work.plan(order, hosts))
            except BenchError as error:
                why = why or error
            else:
                return order
        raise why or BenchError("there is no benchmark of a service", layer="plan")

    def refuse(self, why: str) -> None:
        """What was asked for is not run."""
        self.refusal = clean(why, 500)
        self.version += 1

    def start(self, order: Order) -> bool:
        """Plan and run; False while another suite runs."""
        if self.busy:
            return False
        self.refusal = ""
        self._runner = None
        self.version += 1
        self._task = self._deck.chore(self._run(order), "benchmark")
        return True

    def cancel(self) -> bool:
        """End the running suite soon, keeping what it measured; False when nothing runs."""
        if not self.busy:
            return False
        if self._runner is not None:
            self._runner.cancel()
        elif self._task is not None:
            self._task.cancel()
        return True

    async def end(self) -> None:
        """The dashboard ends: cancel, and wait a little for the partial results."""
        task = self._task
        if task is not None and self.cancel():
            await asyncio.wait([task], timeout=END_S)

    async def _run(self, order: Order) -> None:
        try:
            hosts = self.hosts(order.host_ids)
            plan = await self.ask(lambda: self.work.plan(order, hosts))
            self.not_stored = await self.ask(self.work.prepare)
        except BenchError as error:
            self.refusal = clean(str(error), 500)
            self._tell(f"{order.request.benchmark} was not started: {self.refusal}", Severity.WARNING)
            return
        except asyncio.CancelledError:
            self.refusal = "cancelled before anything was run"
            raise
        finally:
            self.version += 1
        runner = self._runner = self.work.runner()
        self._event(f"{plan.benchmark} began on {_hosts(plan)}")
        try:
            suite = await runner.run(plan)
        finally:
            self.version += 1
        bad = any(job.state == "failed" for job in suite.jobs)
        self._tell(done_words(suite), Severity.WARNING if bad else Severity.INFO)

    def _tell(self, text: str, severity: Severity) -> None:
        self._event(text, severity)
        if not getattr(self._deck.screen, "shows_bench", False):
            self._deck.say(f"benchmark {text}", bad=severity is not Severity.INFO)

    def _event(self, text: str, severity: Severity = Severity.INFO) -> None:
        self._deck.fleet.event(None, severity, "bench", clean(text, 500))


def _hosts(plan: SuitePlan) -> str:
    ids = list(dict.fromkeys(job.host.id for job in plan.jobs))
    return ids[0] if len(ids) == 1 else f"{len(ids)} hosts"
