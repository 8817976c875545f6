"""For tests of the Bench and History screens: results by hand, a runner that plays a script, the machinery's stand-in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from benchmarks.benchmark import Definition, Parameter, load_of
from benchmarks.compare import compare_all
from benchmarks.errors import BenchError
from benchmarks.model import Case, Ladder, Load, Metric, RunSpec
from benchmarks.plan import _check
from benchmarks.result import (
    BenchmarkRef,
    Cap,
    CheckResult,
    Counts,
    Environment,
    GpuReading,
    GpuUse,
    Grade,
    Kpi,
    LoadResult,
    MetricResult,
    Phase,
    Quantile,
    Result,
    Target,
    Validity,
)
from benchmarks.store import Row
from benchmarks.suite import HostPlan, JobState, Suite, SuitePlan
from benchmarks.wire import Failed, Point, Progress
from tests.support.fleets import fleet_of
from tests.support.screens import NOW_S, app_of, until
from tui.bench_trend import trend_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.pilot import Pilot

    from benchmarks.benchmark import Request
    from probes.model import Host
    from tui.app import QuarterdeckApp
    from tui.bench_form import Order

S = 1_000_000_000
T0 = 5_000 * S
TEXTS = (
    Case("medium", "16 characters", "こんにちは、音声合成のテストです"),
    Case("short", "5 characters", "こんにちは"),
    Case("long", "88 characters", "長い文章です。" * 12),
)


# --- a benchmark ---


def _plan(request: Request, host: Host, options: Any) -> tuple[RunSpec, ...]:
    if not any(service.name == "voicevox" for service in host.services):
        raise BenchError(f"{host.id} has no speech service", layer="plan", next_step="configure one, or give --url")
    load = load_of(request)
    return tuple(RunSpec("synthesis", case, load, "warm", "voicevox") for case in TEXTS)


def _make(spec: RunSpec, context: Any) -> Any:
    raise NotImplementedError


SYNTHESIS = Definition(
    id="synthesis",
    version=1,
    title="speech synthesis",
    summary="seconds from a text to its audio, three fixed texts",
    metrics=(Metric("response_time", "s", "lower", "end - intended send"),),
    ladders=(Ladder("response_time", "s", 1, 2, 5, 10),),
    plan=_plan,
    make=_make,
    parameters=(
        Parameter("service", "service", "choice", "voicevox", ("voicevox", "openvoice"), "which one speaks"),
        Parameter("text", "text", "text", "three fixed texts", help="one text of your own"),
        Parameter("style", "style", "text", "the first the service has"),
        Parameter("pauses", "pauses", "number", "0", help="seconds between requests"),
    ),
)
LATENCY = replace(
    SYNTHESIS, id="api-latency", title="API latency", summary="how long a small answer takes",
    plan=lambda request, host, options: (RunSpec("api-latency", Case("health"), load_of(request)),), parameters=(),
)  # fmt: skip


# --- results ---


def metric(median: float, n: int = 30, **over: Any) -> MetricResult:
    """A metric of n requests around a median in seconds."""
    q = {
        "p50": Quantile(median, (median * 0.95, median * 1.06), median * 1.05),
        "p90": Quantile(median * 1.2, None, median * 1.4) if n >= 29 else Quantile(None, reason="n too small"),
        "p95": Quantile(None, reason="n too small"),
        "p99": Quantile(None, reason="n too small"),
    }
    fine = MetricResult(
        unit="s", formula="end - intended send", better="lower", scope="request", n=n, mean=median * 1.02,
        median=median, sd=median * 0.1, cv=0.1, min=median * 0.8, max=median * 1.3, q=q, adjusted=q,
    )  # fmt: skip
    return replace(fine, **over)


def readings(seconds: int, busy: float = 93.0, start: int = 1) -> tuple[GpuReading, ...]:
    """One GPU, a reading a second: idle, then busy, then idle."""
    return tuple(
        GpuReading(T0 + at * S, 0, busy if start <= at < seconds - 1 else 2.0, 9 << 30, 240.0) for at in range(seconds)
    )


def graded_s(**over: Any) -> Result:
    """A full run whose letter is S."""
    gpu = GpuUse(readings(14), 0, 10, 91.4, 97.0, 9 << 30, 238.0)
    fine = Result(
        run_id="20261125T203102Z-4f1c2a",
        suite_id="20261125T203058Z-000001",
        benchmark=BenchmarkRef("synthesis", 1),
        case="medium",
        case_text=TEXTS[0].text,
        temperature="warm",
        config=Load(),
        options={},
        config_hash="9f3a11c0",
        target=Target("gpu-000", "http://gpu-000.example:50021", "voicevox", "0.14.6", "cuda", "GPU 0"),
        environment=Environment("quarterdeck 0.1.0", "3.12.3", "Linux 6.8", "x86_64, 8 cores", "NVIDIA H100 80GB HBM3",
                                "p5.4xlarge", "ap-northeast-1"),
        wall_start="2026-11-25T20:31:02Z",
        t0_ns=T0,
        phases=(Phase("warmup", T0, T0 + S), Phase("measure", T0 + S, T0 + 13 * S), Phase("drain", T0 + 13 * S, T0 + 14 * S)),
        load=LoadResult("closed", 1, None, 2.4, 0, {}, 0.0012, 11.0),
        counts=Counts(30, 30, {"ok": 30}),
        metrics={
            "response_time": metric(0.41), "service_time": metric(0.41),
            "rtf": metric(0.16, unit="", formula="processing s / audio s"),
            "throughput": MetricResult("1/s", "ok requests / (end of the last - start of the first)", "higher", "run", 1, value=2.4),
        },
        validity=Validity("valid"),
        grade=Grade("S", "synthesis-1", statistic="response_time p90, error-adjusted", value=0.492, upper=0.574, unit="s",
                    uncapped="S"),
        spans={"query": metric(0.06), "synthesis": metric(0.35)},
        kpis=(
            Kpi("target", "time to audio", "s", 2.0, 0.41, True, 488.0, "measured", "target / p50"),
            Kpi("improvement", "against the baseline", "%", None, 97.3, None, None, "measured", "1 - p50 / 15 s",
                {"target": "none is configured"}),
            Kpi("rate", "within the target", "%", 95.0, 100.0, True, 105.0, "measured", "requests within 2 s / intended"),
        ),
        gpu=gpu,
        checks=(
            CheckResult("gpu_over_80_pct", "pass", "GPU 0 over 80 % during synthesis: mean 91 % of 10 samples"),
            CheckResult("audio_differs", "pass", "three texts gave three audios"),
        ),
        label="before",
        samples_file="20261125T203102Z-4f1c2a.jsonl",
    )  # fmt: skip
    return replace(fine, **over)


def graded_capped(**over: Any) -> Result:
    """A quick run with failures: capped, approximate, provisional, on the CPU though the service claims cuda."""
    fine = graded_s(
        run_id="20261125T204500Z-77aa01",
        wall_start="2026-11-25T20:45:00Z",
        config_hash="51c0ffee",
        config=Load(mode="quick", n=10, min_s=0.0, warmup_n=1),
        target=Target("gpu-000", "http://127.0.0.1:41822", "voicevox", "0.14.6", "cuda", "CPU", via="ssh_tunnel", tunnel_ms=23.4),
        counts=Counts(10, 9, {"ok": 9, "timeout": 1}),
        metrics={"response_time": metric(1.9, 9, adjusted={**metric(1.9, 9).q, "p50": Quantile(1.94, None, None)}, outliers=1)},
        grade=Grade("B", "synthesis-1", provisional=True, approximate=True, statistic="response_time p50, error-adjusted",
                    value=1.94, upper=None, unit="s", uncapped="A",
                    caps=(Cap("B", "response_time p50, error-adjusted: its one-sided 95 % bound is infinite (failures): one step down, provisional"),
                          Cap("B", "over 5 % failed (1 of 10): at most B")),
                    missing={"upper": "failures"}),
        validity=Validity("valid", marks=("contended: python3 held 61 % of GPU 0 before the run",)),
        spans={},
        kpis=(Kpi("target", "time to audio", "s", 2.0, 1.94, True, 103.0, "measured", "target / p50"),
              Kpi("cost", "cost of an hour of audio", "USD", 0.05, 0.083, False, 60.0, "projected", "price / throughput")),
        gpu=GpuUse(missing={"readings": "the host has no GPU agent: stale (no line for 75 s)"}),
        checks=(CheckResult("gpu_over_80_pct", "fail", "GPU over 80 % during synthesis: mean 3 % of 12 samples"),
                CheckResult("device_claim", "fail", "the service claims cuda and the GPU holds 3 MiB: it runs on the CPU"),
                CheckResult("audio_differs", "not_checked", "one text alone was synthesised")),
        errors=("timeout: no answer within 60 s [/b]",),
        notes=("reached through an SSH tunnel: port 50021 is filtered from here",),
        label=None,
    )  # fmt: skip
    return replace(fine, **over)


def invalid(**over: Any) -> Result:
    """A run whose figures cannot be trusted."""
    fine = graded_s(
        run_id="20261125T205011Z-0b0b0b",
        wall_start="2026-11-25T20:50:11Z",
        counts=Counts(30, 30, {"ok": 30}),
        validity=Validity("invalid", ("the client was the bottleneck: event-loop lag p99 84 ms, more than 20 ms",
                                      "no more than 2.1 s were measured, 5 s are needed")),
        grade=Grade(None, "synthesis-1", reason="INVALID"),
        kpis=(),
        checks=(),
        spans={},
    )  # fmt: skip
    return replace(fine, **over)


def row_of(result: Result, **over: Any) -> Row:
    """The result as it stands in the list."""
    grade = result.grade
    fine = Row(
        result.run_id, result.suite_id, result.benchmark.id, result.benchmark.version, result.target.host,
            result.target.service, result.case,
        result.temperature, result.label, result.config.mode, result.wall_start, result.config_hash, grade.letter,
        grade.approximate, grade.provisional, result.validity.verdict, grade.statistic, grade.value, grade.unit,
        result.simulated, False,
    )  # fmt: skip
    return replace(fine, **over)


def progress(done: int, total: int | None = 10, **over: Any) -> Progress:
    """A point in the measure phase."""
    fine = Progress(
        run=0, runs=3, case="medium", temperature="warm", phase="measure", done=done, total=total, elapsed_s=0.5 + done,
        rate_per_s=1.02, eta_s=None if total is None else float(total - done), outcomes={"ok": done}, t0_ns=T0,
        in_flight=1,
    )  # fmt: skip
    return replace(fine, **over)


def points(count: int, *, failed: Sequence[int] = (), first_s: float = 0.4) -> tuple[Point, ...]:
    """One request a second, slower and slower, some of which failed."""
    return tuple(
        Point(1.0 + at, 8.0 if at in failed else first_s + 0.06 * (at % 7), at not in failed) for at in range(count)
    )


# --- the machinery ---


class ScriptedRunner:
    """A runner that the test plays: ``job(n)`` is changed, then ``changed()``; ``finish`` ends it."""

    def __init__(self) -> None:
        self.suite: Suite | None = None
        self.cancelled = False
        self.ended = ""
        self._over = asyncio.Event()
        self._error: Exception | None = None

    async def run(self, plan: SuitePlan) -> Suite:
        self.suite = Suite(plan, [JobState(job) for job in plan.jobs])
        try:
            await self._over.wait()
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        if self._error is not None:
            self.ended = "broken"
            raise self._error
        self.ended = "returned"
        return self.suite

    def cancel(self) -> None:
        """As the real one: every job ends with what it had."""
        self.cancelled = True
        assert self.suite is not None
        for job in self.suite.jobs:
            if job.state not in ("done", "failed"):
                job.state = "cancelled"
        self.finish()

    def breaks(self, error: Exception) -> None:
        """A defect of ours."""
        self._error = error
        self._over.set()

    def job(self, at: int = 0) -> JobState:
        assert self.suite is not None
        return self.suite.jobs[at]

    def play(self, at: int = 0, *, state: str = "running", **fields: Any) -> None:
        """Change one job and say so."""
        job: Any = self.job(at)
        job.state = state
        for name, value in fields.items():
            setattr(job, name, value)
        self.changed()

    def changed(self) -> None:
        assert self.suite is not None
        self.suite.version += 1

    def finish(self) -> None:
        self.changed()
        self._over.set()


class FakeWork:
    """A ``BenchWork`` without engine and disk; ``calls`` remembers what was asked."""

    def __init__(self, *results: Result) -> None:
        self.results: list[Result] = list(results)
        self.calls: list[tuple[Any, ...]] = []
        self.runners: list[ScriptedRunner] = []
        self.benchmarks: tuple[Definition, ...] = (SYNTHESIS, LATENCY)
        self.fails: BenchError | None = None
        self.not_stored = ""
        self.baselines: dict[str, str] = {}

    @property
    def last(self) -> ScriptedRunner:
        return self.runners[-1]

    def definitions(self) -> tuple[Definition, ...]:
        return self.benchmarks

    def plan(self, order: Order, hosts: Sequence[Host]) -> SuitePlan:
        _check(order.request, order.repeat, order.at_once)
        definition = next(one for one in self.benchmarks if one.id == order.request.benchmark)
        jobs = tuple(HostPlan(host, definition.plan(order.request, host, {}), order.label) for host in hosts)
        if order.together:
            behind = tuple(replace(job, nodes=len(jobs), stage=9) for job in jobs)
            jobs = (*jobs, *behind) if order.solo else behind
        return SuitePlan("20261125T203058Z-000001", definition.id, jobs * order.repeat, order.at_once)

    def prepare(self) -> str:
        return self.not_stored

    def runner(self) -> ScriptedRunner:
        self.calls.append(("runner",))
        self.runners.append(ScriptedRunner())
        return self.runners[-1]

    def gpu_why(self, host_id: str) -> str:
        return "no agent on the host: unreachable"

    def _store(self, *call: Any) -> None:
        self.calls.append(call)
        if self.fails is not None:
            raise self.fails

    def find(self, limit: int) -> tuple[Row, ...]:
        self._store("find", limit)
        newest = self.results[::-1][:limit]
        return tuple(row_of(one, baseline=one.run_id in self.baselines.values()) for one in newest)

    def get(self, run_id: str) -> Result:
        self._store("get", run_id)
        return next(one for one in self.results if one.run_id == run_id)

    def baseline(self, result: Result) -> Result | None:
        run_id = self.baselines.get(result.config_hash)
        return next((one for one in self.results if one.run_id == run_id), None)

    def set_baseline(self, run_id: str) -> Result:
        self._store("set_baseline", run_id)
        result = self.get(run_id)
        if result.validity.verdict != "valid":
            raise BenchError(
                f"{run_id} is invalid and can be no baseline", layer="plan", next_step="choose a valid run"
            )
        self.baselines[result.config_hash] = run_id
        return result

    def compare(self, a: str, b: str) -> Any:
        self._store("compare", a, b)
        return compare_all(self._side(a), self._side(b), a, b)

    def _side(self, selector: str) -> list[Result]:
        if selector.startswith("label:"):
            return [one for one in self.results if one.label == selector[6:]]
        return [self.get(run_id) for run_id in selector.split(",")]

    def trend(self, run_id: str) -> Any:
        self._store("trend", run_id)
        result = self.get(run_id)
        rows = [
            row_of(one)
            for one in self.results
            if (one.config_hash, one.target.host) == (result.config_hash, result.target.host)
            and one.validity.verdict == "valid"
        ]
        return trend_of(result, rows)


def bench_app(work: FakeWork, hosts: int = 3, **over: Any) -> QuarterdeckApp:
    """The application on a few healthy hosts and this machinery."""
    return app_of(fleet_of(hosts, 1, NOW_S - 2), bench_work=lambda: work, **over)


async def opened(pilot: Pilot[Any], *keys: str, screen: str = "BenchScreen") -> Any:
    """Press keys (``b`` when there are none) and wait for the screen and what it reads."""
    app: Any = pilot.app
    await pilot.press(*(keys or ("b",)))
    await until(pilot, lambda: type(app.screen).__name__ == screen, screen)
    if screen == "BenchScreen":
        await until(pilot, lambda: app.screen.form is not None or app.screen._form.empty != "", "the benchmarks")
    return app.screen


async def started(pilot: Pilot[Any], work: FakeWork, *keys: str) -> ScriptedRunner:
    """Open the Bench screen, start what is set up, and wait for the runner."""
    screen = await opened(pilot, *keys)
    await until(pilot, lambda: screen._form.plan is not None, "planned")
    await pilot.press("s")
    await until(pilot, lambda: bool(work.runners) and work.last.suite is not None, "it runs")
    return work.last


def could_not_start() -> Failed:
    return Failed(0, "service", "port 50021 answers as [b]nginx[/b], not as VOICEVOX",
                  "check the port of the service in the configuration", "server")  # fmt: skip


def past_runs() -> tuple[Result, ...]:
    """Five runs labelled before, five slower ones labelled after, a quick one with a cap, an invalid one."""
    found: list[Result] = []
    for label, hour, median, graded in (("before", 20, 0.41, 0.49), ("after", 21, 0.71, 0.86)):
        for at in range(5):
            fine = graded_s()
            value = round(graded + 0.02 * at, 3)
            found.append(
                replace(
                    fine,
                    run_id=f"20261125T{hour}3{at}02Z-{label[0]}{label[0]}000{at}",
                    wall_start=f"2026-11-25T{hour}:3{at}:02Z",
                    label=label,
                    grade=replace(fine.grade, value=value, upper=value + 0.1, provisional=value == 0.94),
                    metrics={"response_time": metric(median + 0.02 * at)},
                )
            )
    return (*found, graded_capped(), invalid(metrics={"response_time": metric(0.45)}))
