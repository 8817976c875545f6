"""Compute (E8): floating-point operations a second of a host in double precision, by multiplying matrices.

Portable C (``native/dgemm.c``), compiled on the host: not tuned LINPACK. Where the host has numpy, the same by the
library behind it (OpenBLAS, as a rule) as a case of its own. The share of the theoretical peak is said where the peak
is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.benchmark import Definition, Parameter, Preflight
from benchmarks.errors import NotMeasurableError
from benchmarks.machine import gb
from benchmarks.model import RESPONSE_TIME, Case, Metric, RunSpec
from benchmarks.native_program import Source
from benchmarks.on_host import OnHost
from benchmarks.on_host_plan import (
    AUTO,
    NUMPY,
    PARAMETERS,
    Way,
    best,
    chosen_options,
    closed_load,
    compiled_way,
    given_only,
    numpy_way,
    threads_of,
    whole,
    wrong,
)
from benchmarks.peak import Peak, peak
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.benchmark import Request
    from benchmarks.machine import Machine
    from benchmarks.model import Sample
    from probes.model import Host

ID: Final = "compute"
LABEL: Final = "portable C, not tuned LINPACK"
#: rows of the matrices up to so many threads: large enough that the threads do not wait for each other
_SIZES: Final = ((8, 2048), (64, 4096), (1 << 30, 8192))
_MAX_SIZE: Final = 65_536
_DOUBLE: Final = 8


class ComputeBench(OnHost):
    """One run of DGEMM."""

    compiled = Source("dgemm.c")
    interpreted = Source("dgemm_numpy.py")
    _peak = Peak(None, "the program was not started")

    def way(self, machine: Machine) -> Way:
        """By a compiler or by numpy, as the case is; where one is missing the other case is what can be had."""
        chosen = self._spec.options
        threads = threads_of(machine, chosen.get("threads"))
        if chosen["by"] == NUMPY:
            if machine.numpy is None and machine.compilers and chosen["cc"] != NUMPY:
                raise NotMeasurableError("the host's python3 has no numpy", next_step="see the case in portable C")
            return numpy_way(machine, threads)
        found = compiled_way(machine, chosen["cc"], threads)
        if found is None:
            cause = f"no compiler on the host; numpy {machine.numpy} is measured as a case of its own"
            raise NotMeasurableError(cause, next_step="install gcc for the case in portable C")
        return found

    def choose(self, machine: Machine, threads: int) -> int:
        """Rows of the matrices, within half of the free memory."""
        del machine
        given: int | None = self._spec.options.get("size")
        size = given or next(rows for up_to, rows in _SIZES if threads <= up_to)
        self.refuse_memory(3 * _DOUBLE * size * size, f"3 matrices of {size} x {size}")
        self.note(f"C = A x B of {size} x {size} doubles, {gb(3 * _DOUBLE * size * size)} together")
        if self._spec.options["by"] != NUMPY:
            self.note(LABEL)
        return size

    async def prepare(self) -> Preflight:
        """Start the program; and say the peak of the threads that it has."""
        await super().prepare()
        ghz: float | None = self._spec.options.get("ghz")
        self._peak = peak(self._machine, self._way.threads, ghz)
        if self._peak.gflops is None:
            self.note(f"theoretical peak not known: {self._peak.words}")
        else:
            self.note(f"theoretical peak {self._peak.gflops:.1f} GFLOP/s: {self._peak.words}")
        return self._found()

    def times_s(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Of the one multiplication."""
        return {"multiplying": answer["seconds"]}

    def values(self, times_s: Mapping[str, float]) -> dict[str, float]:
        """GFLOP/s."""
        return {"gflops": 2.0 * self._elements**3 / 1e9 / times_s["multiplying"]}

    def totals(self, samples: Sequence[Sample], window_s: float) -> dict[str, float | None]:
        """The best, and its share of the peak."""
        del window_s
        found = best(samples, "gflops")
        limit = self._peak.gflops
        return {"gflops_best": found, "peak_share": None if found is None or not limit else 100 * found / limit}


def plan(request: Request, host: Host, options: Mapping[str, Any]) -> tuple[RunSpec, ...]:
    """Portable C with all threads and with one, and numpy with all; or with as many as were chosen. See ``Planner``."""
    del host, options
    load = closed_load(request)
    chosen = chosen_options(request, ("size", "threads", "cc", "ghz"))
    chosen |= {"size": whole(request, "size", 16, _MAX_SIZE), "ghz": _ghz(request.extra.get("ghz", ""))}
    threads: int | None = chosen["threads"]
    name = "" if threads is None else f"-threads-{threads}"
    words = "all threads" if threads is None else f"{threads} threads"
    runs: list[tuple[Case, str, int | None]] = []
    if chosen["cc"] != NUMPY:
        runs.append((Case(f"portable-c{name}", f"{LABEL}; {words}"), AUTO, threads))
        if threads is None:
            runs.append((Case("portable-c-one-thread", f"{LABEL}; one thread"), AUTO, 1))
    runs.append((Case(f"numpy{name}", f"numpy and the library behind it; {words}"), NUMPY, threads))
    return tuple(
        RunSpec(ID, case, load, options=given_only(chosen | {"by": by, "threads": number})) for case, by, number in runs
    )


def _ghz(text: str) -> float | None:
    """The frequency that a person gave.

    Raises:
        BenchError: layer ``plan``: it is none.
    """
    if not text.strip():
        return None
    try:
        ghz = float(text)
    except ValueError:
        ghz = 0.0
    if not 0.1 <= ghz <= 10.0:
        raise wrong(f'ghz "{clean(text, 40)}"', "a number, 0.1 to 10")
    return ghz


DEFINITION: Final = Definition(
    id=ID,
    version=1,
    title="Compute",
    summary=f"DGEMM on the host: {LABEL}; and numpy where the host has it",
    metrics=(
        Metric("gflops_best", "GFLOP/s", "higher", "best of at least 10: 2 n^3 / 10^9 / time", "GFLOP/s, best", "run"),
        Metric("gflops", "GFLOP/s", "higher", "2 n^3 / 10^9 / time of the multiplication", "GFLOP/s"),
        Metric(
            "peak_share",
            "%",
            "higher",
            "best / (cores x frequency x FLOP a cycle)",
            "share of the theoretical peak",
            "run",
        ),
        RESPONSE_TIME,
    ),
    ladders=(),
    reference="gflops_best",
    plan=plan,
    make=ComputeBench,
    parameters=(
        Parameter("size", "rows", "integer", help="of the square matrices; default: by the number of threads"),
        *PARAMETERS,
        Parameter("ghz", "GHz", "number", help="frequency for the theoretical peak, where the host does not say it"),
    ),
    on="host",
)
