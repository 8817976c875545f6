"""The machinery behind ``BenchDesk``: the engine's runner, plans, the store of results. Imported when first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import registry
from benchmarks.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.benchmark import Definition
    from benchmarks.compare import Comparison
    from benchmarks.result import Result
    from benchmarks.store import Row, Store
    from benchmarks.suite import SuitePlan
    from probes.config import Settings
    from probes.fleet import Fleet
    from probes.model import Host
    from tui.bench_desk import BenchRunner
    from tui.bench_form import Order
    from tui.bench_trend import TrendFacts


class EngineWork:
    """A ``BenchWork`` on the real engine and the user's store.

    Args:
        settings: the configuration as it is now.
        fleet: the store of samples, for the GPUs' readings.
        folder: where results and locks are; None: the user's state folder.
    """

    def __init__(self, settings: Callable[[], Settings], fleet: Fleet, folder: Path | None = None) -> None:
        self._settings = settings
        self._fleet = fleet
        self._folder = folder
        self._store: Store | None = None

    def definitions(self) -> tuple[Definition, ...]:
        """The benchmarks there are; importing them is what takes time."""
        return tuple(registry.definition(each) for each in registry.ids())

    def plan(self, order: Order, hosts: Sequence[Host]) -> SuitePlan:
        """Plan for these hosts."""
        from benchmarks.plan import plan_suite  # noqa: PLC0415 - when first used

        return plan_suite(
            order.request,
            hosts,
            self._options(order.request.benchmark),
            repeat=order.repeat,
            label=order.label,
            at_once=order.at_once,
            together=order.together,
            solo=order.solo,
        )

    def _options(self, benchmark_id: str) -> Mapping[str, Any]:
        from benchmarks.options import options_of  # noqa: PLC0415 - when first used

        return options_of(self._settings().bench).for_benchmark(benchmark_id)

    # --- running ---

    def prepare(self) -> str:
        """Import the runner, and see whether results can be stored."""
        import benchmarks.gpu  # noqa: PLC0415 - when first used
        import benchmarks.runner  # noqa: F401, PLC0415 - the same

        try:
            self._open()
        except BenchError as error:
            return f"results are not stored: {error}"
        return ""

    def runner(self) -> BenchRunner:
        """A runner on the store, or on none where it cannot be used."""
        from benchmarks.runner import Runner  # noqa: PLC0415 - imported by prepare
        from benchmarks.store import locks_folder  # noqa: PLC0415 - the same

        store = self._store
        locks = locks_folder() if self._folder is None else self._folder / "locks"
        folder = None if store is None else store.samples_folder
        return Runner(self._settings(), self._fleet, store, samples_folder=folder, locks=locks)

    def gpu_why(self, host_id: str) -> str:
        """Why there are no readings."""
        from benchmarks.gpu import GpuRecorder  # noqa: PLC0415 - imported by prepare

        return GpuRecorder(self._fleet, host_id).why_none()

    # --- the store ---

    def _open(self) -> Store:
        if self._store is None:
            from benchmarks.store import Store  # noqa: PLC0415 - when first used

            self._store = Store.open(None if self._folder is None else self._folder / "results.sqlite3")
        return self._store

    def find(self, limit: int) -> tuple[Row, ...]:
        """The newest runs."""
        from benchmarks.store import Query  # noqa: PLC0415 - when first used

        return self._open().find(Query(limit=limit))

    def get(self, run_id: str) -> Result:
        """One result."""
        return self._open().get(run_id)

    def baseline(self, result: Result) -> Result | None:
        """What it is measured against."""
        return self._open().baseline(result.config_hash, result.target.host, result.target.service)

    def set_baseline(self, run_id: str) -> Result:
        """Make it the baseline."""
        return self._open().set_baseline(run_id)

    def compare(self, a: str, b: str) -> tuple[Comparison, ...]:
        """Two sides by their selectors."""
        from benchmarks.compare import compare_all  # noqa: PLC0415 - when first used

        store = self._open()
        return compare_all(store.runs_of(a), store.runs_of(b), a, b)

    def trend(self, run_id: str) -> TrendFacts:
        """The figure over the runs."""
        from tui.bench_trend import trend_of  # noqa: PLC0415 - when first used

        store = self._open()
        result = store.get(run_id)
        return trend_of(result, store.trend(result.config_hash, result.target.host, result.target.service))
