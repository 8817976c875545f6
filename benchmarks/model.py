"""The words of the benchmark engine: what a request ended as, how load is offered, what is measured, what is run.

Durations are in seconds. Moments are nanoseconds of ``time.perf_counter_ns``, which on Linux is ``CLOCK_MONOTONIC``:
the same axis in every process of this machine, unrelated to the wall clock and to the clocks of hosts.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal

from msgspec import Struct

SCHEMA_VERSION: Final = 1


class Outcome(StrEnum):
    """How an intended request ended; every one ends as exactly one of these."""

    OK = "ok"
    HTTP_ERROR = "http_error"
    TRANSPORT = "transport"
    TIMEOUT = "timeout"
    INVALID_BODY = "invalid_body"
    CANCELLED = "cancelled"
    DROPPED = "dropped"


class Side(StrEnum):
    """Whose fault a failure is: a server that fails is graded, a client that fails makes the run invalid."""

    SERVER = "server"
    CLIENT = "client"


Temperature = Literal["cold", "warm"]
Mode = Literal["full", "quick", "check"]
Better = Literal["lower", "higher"]


class Done(Struct, frozen=True, gc=False):
    """What a benchmark says of one request it made. ``values`` by metric tag, in the metric's unit; only when OK.

    ``sent_ns`` is the moment the request proper was sent, None: when ``once`` was called; ``end_ns`` the moment its
    answer was complete, before it was checked, None: when ``once`` returned. ``side`` and ``detail`` are of a failure;
    detail is cleaned and bounded. ``fingerprint`` identifies the answer's content (audio that must differ by text),
    ``spans`` are the parts of the request by name in seconds (dns, connect, first_byte, query, synthesis, ...).
    """

    outcome: Outcome = Outcome.OK
    values: dict[str, float] = {}
    spans: dict[str, float] = {}
    sent_ns: int | None = None
    end_ns: int | None = None
    side: Side = Side.SERVER
    detail: str = ""
    fingerprint: str = ""


class Sample(Struct, frozen=True, gc=False):
    """One intended request as it is recorded: a line of the JSONL beside the result.

    ``values`` of an OK request hold the benchmark's own metrics and the engine's ``service_time`` and
    ``response_time``. A dropped send has ``start_ns == end_ns == intended_ns``.
    """

    i: int
    phase: Literal["warmup", "measure"]
    intended_ns: int
    start_ns: int
    end_ns: int
    outcome: Outcome
    values: dict[str, float] = {}
    spans: dict[str, float] = {}
    side: Side = Side.SERVER
    detail: str = ""
    fingerprint: str = ""


class Load(Struct, frozen=True):
    """How load is offered, and for how long.

    Closed loop: ``concurrency`` slots, each sending its next request when the last one ended, until ``n`` were
    intended and ``min_s`` have passed. Open loop (``rate_per_s`` given): request i is intended at ``t0 + i / rate``,
    whatever the server does; exactly ``n`` of them, or as many as fill ``min_s``, whichever is more; a send while
    ``max_in_flight`` are on their way is dropped and counted. Both end at ``max_s``; what is on its way then is waited
    for, at most ``timeout_s``.
    """

    mode: Mode = "full"
    concurrency: int = 1
    rate_per_s: float | None = None
    n: int = 30
    min_s: float = 5.0
    max_s: float = 900.0
    warmup_n: int = 2
    timeout_s: float = 60.0
    max_in_flight: int = 1000

    @property
    def model(self) -> Literal["closed", "open"]:
        """Which loop."""
        return "closed" if self.rate_per_s is None else "open"


class Metric(Struct, frozen=True):
    """One thing that is measured; screens, JSON and documentation are made from it.

    ``scope`` request: one value an OK request; run: one value of the whole measure phase.
    """

    tag: str
    unit: str
    better: Better
    formula: str
    title: str = ""
    scope: Literal["request", "run"] = "request"


#: what the engine measures of every request, whatever the benchmark
SERVICE_TIME: Final = Metric("service_time", "s", "lower", "end - actual send", "service time")
RESPONSE_TIME: Final = Metric("response_time", "s", "lower", "end - intended send", "response time")
THROUGHPUT: Final = Metric(
    "throughput", "1/s", "higher", "ok requests / (end of the last - start of the first)", "throughput", "run"
)
ENGINE_METRICS: Final = (RESPONSE_TIME, SERVICE_TIME, THROUGHPUT)


class Ladder(Struct, frozen=True):
    """The boundaries of the letters for one metric, all inclusive; what is worse than ``c`` is D.

    ``percentile`` is the one that is graded in full mode (the error-adjusted one); when ``tail`` is given and n
    suffices for it, that one is graded instead.
    """

    tag: str
    unit: str
    s: float
    a: float
    b: float
    c: float
    better: Better = "lower"
    percentile: float = 0.90
    tail: float | None = None


class Case(Struct, frozen=True):
    """One text, prompt or command that is measured by itself; never pooled with another."""

    id: str
    title: str = ""
    text: str = ""


class RunSpec(Struct, frozen=True):
    """One run: a benchmark, a case, a temperature, a load. ``options`` are the benchmark's own, plain JSON, no secrets.

    ``service`` names the service of the host that is loaded (None: the host itself), ``url`` a base URL given instead.
    """

    benchmark: str
    case: Case
    load: Load
    temperature: Temperature | None = None
    service: str | None = None
    url: str | None = None
    options: dict[str, Any] = {}
