"""What the dashboard or the command line and the engine's process say to each other: one JSON line each.

The engine runs in a process of its own, so that drawing a screen never delays a request and its own CPU can be judged.
It reads one ``Job`` and then ``Go`` and ``Cancel`` from stdin (whose end cancels too), and writes the others to stdout.
"""

from __future__ import annotations

from msgspec import Struct

from benchmarks.model import RunSpec  # noqa: TC001 - msgspec resolves field types when it decodes
from benchmarks.result import Result  # noqa: TC001 - the same
from probes.config import Settings  # noqa: TC001 - the same
from probes.model import Host  # noqa: TC001 - the same


class Job(Struct, frozen=True, tag_field="t", tag="job"):
    """The runs of one host, one after the other; with several ``nodes`` each waits before it measures for ``Go``."""

    suite_id: str
    host: Host
    settings: Settings
    runs: tuple[RunSpec, ...]
    samples_folder: str | None
    nodes: int = 1
    at_once: int = 1
    label: str | None = None


class Go(Struct, frozen=True, tag_field="t", tag="go"):
    """The start barrier opens at this moment of the machine's monotonic clock."""

    at_ns: int


class Cancel(Struct, frozen=True, tag_field="t", tag="cancel"):
    """End the run, keep what there is, start no other run."""


class Point(Struct, frozen=True, array_like=True, gc=False):
    """One finished request for the growing plot: seconds since the run began, response time, how it ended."""

    at_s: float
    response_s: float
    ok: bool


class Progress(Struct, frozen=True, tag_field="t", tag="progress"):
    """Where a run stands, about five times a second. ``total`` None: it ends by time.

    ``outcomes`` and ``rate_per_s`` (completions over the last seconds) are of the running phase; ``points`` are those
    finished since the last one (bounded: ``points_left_out``).
    """

    run: int
    runs: int
    case: str
    temperature: str | None
    phase: str
    done: int
    total: int | None
    elapsed_s: float
    rate_per_s: float | None
    eta_s: float | None
    outcomes: dict[str, int]
    t0_ns: int
    p50_s: float | None = None
    in_flight: int = 0
    points: tuple[Point, ...] = ()
    points_left_out: int = 0
    last_error: str = ""
    service: str | None = None


class Ready(Struct, frozen=True, tag_field="t", tag="ready"):
    """A run stands at the start barrier."""

    run: int


class Finished(Struct, frozen=True, tag_field="t", tag="finished"):
    """A run ended and was judged; partial ones too."""

    run: int
    result: Result


class Failed(Struct, frozen=True, tag_field="t", tag="failed"):
    """A run could not start. ``internal``: a defect of ours."""

    run: int
    layer: str
    cause: str
    next_step: str
    side: str
    internal: bool = False


class Over(Struct, frozen=True, tag_field="t", tag="over"):
    """Nothing comes after this."""

    cancelled: bool


ToEngine = Job | Go | Cancel
FromEngine = Progress | Ready | Finished | Failed | Over
