"""A result, schema 1: one benchmark, host, case and temperature. What is stored, shown, compared and exported.

JSON has no infinity: a statistic made infinite by failures is ``value: null, reason: "failures"``. Where a field is
null, ``missing`` of the same object says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct, field

from benchmarks.model import SCHEMA_VERSION, Better, Load, Temperature

if TYPE_CHECKING:
    from collections.abc import Iterable

Letter = Literal["S", "A", "B", "C", "D", "F"]
#: from the best to the worst
LETTERS: Final[tuple[Letter, ...]] = ("S", "A", "B", "C", "D", "F")


def worst_letter(letters: Iterable[Letter]) -> Letter | None:
    """The worst of some letters; None of none."""
    given = set(letters)
    return next((letter for letter in reversed(LETTERS) if letter in given), None)


Check = Literal["pass", "fail", "not_checked"]


class BenchmarkRef(Struct, frozen=True):
    """Which benchmark, in which version of its definition; results of two versions are not compared."""

    id: str
    version: int


class Target(Struct, frozen=True):
    """What was loaded. ``via``: ``direct``, or ``ssh_tunnel`` with the tunnel's own latency (median of channel opens).

    ``device_claimed`` is what the service says it runs on; ``device_in_use`` what the GPU showed during the run.
    """

    host: str
    endpoint: str
    service: str | None = None
    server_version: str | None = None
    device_claimed: str | None = None
    device_in_use: str | None = None
    via: Literal["direct", "ssh_tunnel", "ssh", "local"] = "direct"
    tunnel_ms: float | None = None
    missing: dict[str, str] = {}


class Environment(Struct, frozen=True):
    """Where the engine ran (tool, python, os, cpu), and what the host is (gpu, instance_type, region)."""

    tool: str
    python: str
    os: str
    cpu: str
    gpu: str | None = None
    instance_type: str | None = None
    region: str | None = None
    missing: dict[str, str] = {}


class Phase(Struct, frozen=True):
    """One phase on the run's time axis."""

    name: Literal["preflight", "warmup", "barrier", "measure", "drain", "validate"]
    t0_ns: int
    t1_ns: int


class LoadResult(Struct, frozen=True):
    """How load was offered in fact. ``achieved_per_s``: sends a second (open), completions a second (closed).

    ``send_lag_s``: how late sends were against the schedule (open loop), by percentile name.
    """

    model: Literal["closed", "open"]
    concurrency: int | None
    target_per_s: float | None
    achieved_per_s: float | None
    dropped: int
    send_lag_s: dict[str, float]
    loop_lag_p99_s: float | None
    client_cpu_pct: float | None
    missing: dict[str, str] = {}


class Counts(Struct, frozen=True):
    """Intended requests of the measure phase by what they ended as."""

    intended: int
    ok: int
    by_outcome: dict[str, int]


class Quantile(Struct, frozen=True):
    """A percentile with its two-sided 95 % interval; None with the reason (``n too small``, ``failures``).

    ``upper`` is the one-sided 95 % upper bound (lower bound where higher is better) that grades use. Where there is a
    value, ``reason`` is of what is missing beside it: ``interval: n too small``, ``bound: failures`` (it is infinite).
    """

    value: float | None
    ci: tuple[float, float] | None = None
    upper: float | None = None
    reason: str | None = None


class MetricResult(Struct, frozen=True):
    """One metric. Request scope: statistics over the OK requests, and ``adjusted``: a failure is infinitely bad.

    Run scope: ``value`` alone (``n`` 1). ``sd`` has n - 1 below the line; ``cv`` is sd / mean.
    """

    unit: str
    formula: str
    better: Better
    scope: Literal["request", "run"]
    n: int
    value: float | None = None
    mean: float | None = None
    median: float | None = None
    sd: float | None = None
    cv: float | None = None
    min: float | None = None
    max: float | None = None
    outliers: int = 0
    q: dict[str, Quantile] = {}
    adjusted: dict[str, Quantile] = {}
    missing: dict[str, str] = {}


class GpuReading(Struct, frozen=True, array_like=True, gc=False):
    """One GPU at one moment of the run; ``at_ns`` on the run's axis, moved back by what the sample had lagged."""

    at_ns: int
    index: int
    utilization_pct: float | None
    memory_used_bytes: int | None
    power_w: float | None


class GpuUse(Struct, frozen=True):
    """The GPUs of the host during the measure phase. ``readings`` hold all phases; the figures only the measure phase.

    ``index``: the GPU that was busiest, whose figures these are. Without readings all is None and ``missing`` has the
    reason.
    """

    readings: tuple[GpuReading, ...] = ()
    index: int | None = None
    n: int = 0
    utilization_mean_pct: float | None = None
    utilization_max_pct: float | None = None
    memory_max_bytes: int | None = None
    power_mean_w: float | None = None
    missing: dict[str, str] = {}


class CheckResult(Struct, frozen=True):
    """One line that passed, failed or was not checked (why), such as "GPU over 80 % during synthesis"."""

    id: str
    outcome: Check
    detail: str


class Validity(Struct, frozen=True):
    """Whether the figures may be trusted. ``reasons`` of INVALID; ``marks`` such as ``contended`` do not invalidate."""

    verdict: Literal["valid", "invalid"]
    reasons: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


class Cap(Struct, frozen=True):
    """One rule that lowered the letter, or would have: ``reason`` says it in words."""

    letter: Letter
    reason: str


class GradePart(Struct, frozen=True):
    """What one ladder says. ``letter`` has the step down of a bound that crosses a boundary, ``uncapped`` has not."""

    tag: str
    statistic: str
    unit: str
    value: float | None
    upper: float | None
    letter: Letter | None
    uncapped: Letter | None
    provisional: bool = False
    reason: str | None = None


class Grade(Struct, frozen=True):
    """The letter, how it came about, and the policy that gave it. ``letter`` None: not graded, with the reason.

    ``statistic`` names the graded figure (``response_time p90, error-adjusted``), ``value`` is it, ``upper`` its bound,
    ``uncapped`` the letter of the ladder alone. ``approximate`` is quick mode's "~". ``parts``: every ladder that was
    looked at; the figures of the grade are those of the worst.
    """

    letter: Letter | None
    policy_id: str
    provisional: bool = False
    approximate: bool = False
    statistic: str | None = None
    value: float | None = None
    upper: float | None = None
    unit: str | None = None
    uncapped: Letter | None = None
    caps: tuple[Cap, ...] = ()
    reason: str | None = None
    parts: tuple[GradePart, ...] = ()
    missing: dict[str, str] = {}


class Kpi(Struct, frozen=True):
    """One line of the KPI table: target, actual, attainment, and where the actual came from."""

    id: str
    title: str
    unit: str
    target: float | None
    actual: float | None
    attained: bool | None
    attainment_pct: float | None
    source: Literal["measured", "estimated", "projected", "stale"]
    formula: str
    missing: dict[str, str] = {}


class Result(Struct, frozen=True):
    """One run of one case. ``wall_start`` is a label (RFC 3339); ``t0_ns`` the zero of the run's time axis."""

    run_id: str
    suite_id: str
    benchmark: BenchmarkRef
    case: str
    case_text: str
    temperature: Temperature | None
    config: Load
    options: dict[str, Any]
    config_hash: str
    target: Target
    environment: Environment
    wall_start: str
    t0_ns: int
    phases: tuple[Phase, ...]
    load: LoadResult
    counts: Counts
    metrics: dict[str, MetricResult]
    validity: Validity
    grade: Grade
    spans: dict[str, MetricResult] = {}
    kpis: tuple[Kpi, ...] = ()
    gpu: GpuUse = field(default_factory=GpuUse)
    checks: tuple[CheckResult, ...] = ()
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    label: str | None = None
    #: how many hosts began their measure phases together with this one, itself included
    nodes: int = 1
    #: how many hosts of the suite were loaded at a time at most
    at_once: int = 1
    samples_file: str | None = None
    simulated: bool = False
    schema_version: int = SCHEMA_VERSION
    missing: dict[str, str] = {}
