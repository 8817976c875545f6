"""What a benchmark is to the engine: a definition (what it measures, how it is planned) and a running instance.

A benchmark is one small file: it defines a ``Definition`` and a class with the methods of ``Benchmark``. The engine
owns schedule, clock, timeouts, cancellation, phases, recording, statistics and grade.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from msgspec import Struct

from benchmarks.model import Case, Ladder, Load, Metric
from benchmarks.result import CheckResult  # noqa: TC001 - msgspec resolves field types when it decodes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.context import Context
    from benchmarks.model import Done, RunSpec, Sample
    from probes.model import Host


class Preflight(Struct, frozen=True):
    """What a benchmark found out before it loads anything. ``notes`` are said in the result.

    ``case``: what is measured in place of the case that was planned, and is never compared with it; None: as planned.
    """

    endpoint: str
    server_version: str | None = None
    device_claimed: str | None = None
    via: Literal["direct", "ssh_tunnel", "ssh", "local"] = "direct"
    tunnel_ms: float | None = None
    notes: tuple[str, ...] = ()
    missing: dict[str, str] = {}
    case: Case | None = None


class Benchmark(Protocol):
    """One run of a benchmark against one host."""

    async def preflight(self) -> Preflight:
        """Find the service or host and what it is. Loads nothing.

        Raises:
            BenchError: the run cannot start.
        """
        ...

    async def prepare(self) -> Preflight | None:
        """Make ready what the first request needs (initialise a speaker, compile a program). Not measured.

        Returns the preflight again with what was found out meanwhile, None: nothing was.

        Raises:
            BenchError: it cannot be made ready.
        """
        ...

    async def once(self, i: int, intended_ns: int) -> Done:
        """Make one request and check what came back; timed and limited by the engine. Never raises but cancellation."""
        ...

    def totals(self, samples: Sequence[Sample], window_s: float) -> Mapping[str, float | None]:
        """The run-scope metrics of the benchmark, from the samples of the measure phase; None: it cannot be said."""
        ...

    async def cleanup(self) -> None:
        """Leave nothing behind, on the host either. Called once, whatever happened; bounded by the engine."""
        ...


class Parameter(Struct, frozen=True):
    """One thing a person may choose: a field of the Bench screen's form and an option of ``bench run``.

    ``name`` is the option's name without its dashes. ``kind``: text, integer, number, choice.
    """

    name: str
    title: str
    kind: Literal["text", "integer", "number", "choice"]
    default: str = ""
    choices: tuple[str, ...] = ()
    help: str = ""


class Request(Struct, frozen=True):
    """What a person asked for, before it is planned for a host. None: the benchmark's default."""

    benchmark: str
    mode: Literal["full", "quick", "check"] = "full"
    n: int | None = None
    concurrency: int | None = None
    rate_per_s: float | None = None
    warmup_n: int | None = None
    timeout_s: float | None = None
    texts: tuple[str, ...] = ()
    style: str | None = None
    service: str | None = None
    url: str | None = None
    #: further parameters of the benchmark, by their names
    extra: dict[str, str] = {}


class Planner(Protocol):
    """Turns a request into the runs of one host. Pure."""

    def __call__(self, request: Request, host: Host, options: Mapping[str, Any]) -> tuple[RunSpec, ...]:
        """Plan the runs, in the order in which they are made.

        Args:
            request: what was asked for.
            host: of the configuration.
            options: the benchmark's table ``[bench.<id>]`` of the configuration, checked, as plain JSON.

        Raises:
            BenchError: layer ``plan``: no such service on this host, an empty text, a rate that cannot be trusted.
        """
        ...


class Maker(Protocol):
    """Makes the running instance."""

    def __call__(self, spec: RunSpec, context: Context) -> Benchmark:
        """Make it; nothing is connected yet."""
        ...


class Conclusion(Struct, frozen=True):
    """What a benchmark says of a run that is over. ``missing``: why metrics are not there, by tag."""

    checks: tuple[CheckResult, ...] = ()
    notes: tuple[str, ...] = ()
    missing: dict[str, str] = {}


class Concluder(Protocol):
    """Looks at a run that is over."""

    def __call__(self, samples: Sequence[Sample], spec: RunSpec) -> Conclusion:
        """Conclude, from the samples of the measure phase without those that were cancelled. Pure."""
        ...


class Definition(Struct, frozen=True):
    """A benchmark as it is listed, planned and made."""

    id: str
    version: int
    title: str
    summary: str
    metrics: tuple[Metric, ...]
    ladders: tuple[Ladder, ...]
    plan: Planner
    make: Maker
    parameters: tuple[Parameter, ...] = ()
    #: the metric that is graded against a recorded baseline or a configured target, where there is no ladder
    reference: str | None = None
    #: loads a service of the host, or runs on the host itself over SSH
    on: Literal["service", "host"] = "service"
    #: what only the finished run can tell; None: nothing
    conclude: Concluder | None = None


def load_of(request: Request, *, full_n: int = 30, timeout_s: float = 60.0, warmup_n: int = 2) -> Load:
    """The load that a request asks for, with the mode's own defaults.

    Full: at least ``full_n`` requests and 5 s. Quick: 10 requests. Check: one request, no warm-up. A number that was
    given wins over the mode's.
    """
    n = {"full": full_n, "quick": 10, "check": 1}[request.mode] if request.n is None else request.n
    warm = {"full": warmup_n, "quick": 1, "check": 0}[request.mode] if request.warmup_n is None else request.warmup_n
    return Load(
        mode=request.mode,
        concurrency=request.concurrency or 1,
        rate_per_s=request.rate_per_s,
        n=n,
        min_s=5.0 if request.mode == "full" else 0.0,
        warmup_n=warm,
        timeout_s=timeout_s if request.timeout_s is None else request.timeout_s,
    )


def cases_of(texts: Sequence[str], fixed: Sequence[Case]) -> tuple[Case, ...]:
    """The cases of a request: the texts given, else the fixed ones."""
    if not texts:
        return tuple(fixed)
    return tuple(Case(f"text-{at}", f"{len(text)} characters", text) for at, text in enumerate(texts, 1))
