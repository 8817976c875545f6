"""STREAM (E5): the memory bandwidth of a host, by copy, scale, add and triad over arrays far larger than its caches.

A variant of STREAM: own source (``native/stream.c``), compiled on the host. One request is one iteration of the four
kernels and a check of every element. Best (the convention) and median with interval, in MB/s of 10^6 bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.benchmark import Definition, Parameter
from benchmarks.errors import BenchError, NotMeasurableError
from benchmarks.machine import gb
from benchmarks.model import RESPONSE_TIME, Case, Metric, RunSpec
from benchmarks.native_program import Source
from benchmarks.on_host import OnHost
from benchmarks.on_host_plan import (
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
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.benchmark import Request
    from benchmarks.machine import Cache, Machine
    from benchmarks.model import Sample
    from probes.model import Host

ID: Final = "stream"
#: bytes that a kernel moves for one element, by the convention: what the cache reads before it writes is not counted
BYTES: Final = {"copy": 16, "scale": 16, "add": 24, "triad": 24}
_DOUBLE: Final = 8
_ARRAYS: Final = 3
#: an array is so many times as large as the last level of cache
CACHE_TIMES: Final = 4
#: the size that the reference comes with; smaller ones last too short to be timed
MIN_ELEMENTS: Final = 10_000_000
#: where the host does not say what caches it has: enough for 80 MB
DEFAULT_ELEMENTS: Final = 40_000_000
_MAX_ELEMENTS: Final = 10**12
_ONE_THREAD: Final = "one-thread"


class StreamBench(OnHost):
    """One run of STREAM."""

    compiled = Source("stream.c")
    interpreted = Source("stream_numpy.py")

    def way(self, machine: Machine) -> Way:
        """By a compiler, else by numpy, whose loops have one thread."""
        compiler = self._spec.options["cc"]
        if compiler == NUMPY:
            return numpy_way(machine, 1)
        found = compiled_way(machine, compiler, threads_of(machine, self._spec.options.get("threads")))
        if found is not None:
            return found
        if self._spec.case.id == _ONE_THREAD:
            cause = "no compiler on the host, and the numpy fallback has one thread in any case"
            raise NotMeasurableError(cause, next_step="see the other result")
        return numpy_way(machine, 1, fallback=True)

    def choose(self, machine: Machine, threads: int) -> int:
        """Elements of an array: four times the last level of cache, within half of the free memory."""
        if threads == 1 and machine.cpus == 1 and self._spec.case.id != _ONE_THREAD:
            self.note("the host has one CPU for us: all threads are one thread")
        given: int | None = self._spec.options.get("elements")
        elements, why = elements_of(machine.cache, given)
        size = elements * _DOUBLE
        self.refuse_memory(_ARRAYS * size, f"3 arrays of {gb(size)}: {why}")
        if given is not None and machine.cache is not None and size < CACHE_TIMES * machine.cache.total_bytes:
            if self._spec.load.mode == "full":
                least = least_elements(machine.cache)
                cause = f"an array of {gb(size)} is smaller than four times the last-level cache ({why})"
                raise BenchError(cause, layer="host", next_step=f"elements= at least {least}, or leave it out")
            self.note("the arrays are smaller than four times the last-level cache: this is no memory bandwidth")
        self.note(f"3 arrays of {elements} doubles, {gb(size)} each, {gb(_ARRAYS * size)} together: {why}")
        self.note("a variant of STREAM (own source); MB/s of 10^6 bytes, 16 B an element for copy and scale, 24 B else")
        return elements

    def times_s(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Of the four kernels."""
        return {kernel: answer[kernel] for kernel in BYTES}

    def values(self, times_s: Mapping[str, float]) -> dict[str, float]:
        """MB/s of the four kernels."""
        return {kernel: size * self._elements / 1e6 / times_s[kernel] for kernel, size in BYTES.items()}

    def totals(self, samples: Sequence[Sample], window_s: float) -> dict[str, float | None]:
        """The best of each kernel."""
        del window_s
        return {f"{kernel}_best": best(samples, kernel) for kernel in BYTES}


def least_elements(cache: Cache) -> int:
    """The fewest elements with which an array is four times the cache."""
    return -(-CACHE_TIMES * cache.total_bytes // _DOUBLE)


def elements_of(cache: Cache | None, given: int | None) -> tuple[int, str]:
    """How many elements an array has, and why. Pure."""
    if cache is None:
        why = "the host does not say what caches it has"
        return (given, f"as given; {why}") if given is not None else (DEFAULT_ELEMENTS, f"the default; {why}")
    instances = f"{cache.instances} x L{cache.level}" if cache.instances > 1 else f"L{cache.level}"
    known = f"{gb(cache.total_bytes)}, {instances}"
    if given is not None:
        return given, f"as given, {given * _DOUBLE / cache.total_bytes:.2f} times the last-level cache of {known}"
    wanted = least_elements(cache)
    if wanted <= MIN_ELEMENTS:
        return MIN_ELEMENTS, f"the least size, over four times the last-level cache of {known}"
    return wanted, f"four times the last-level cache of {known}"


def plan(request: Request, host: Host, options: Mapping[str, Any]) -> tuple[RunSpec, ...]:
    """All threads and one thread, or as many as were chosen. See ``Planner``."""
    del host, options
    load = closed_load(request)
    chosen = chosen_options(request, ("elements", "threads", "cc"))
    chosen["elements"] = whole(request, "elements", 1, _MAX_ELEMENTS)
    threads = chosen["threads"]
    if chosen["cc"] == NUMPY:
        cases = [(Case("numpy", "numpy, one thread, not comparable with compiled figures"), 1)]
    elif threads is not None:
        cases = [(Case(f"threads-{threads}", f"{threads} threads"), threads)]
    else:
        cases = [(Case("all-threads", "a thread for each CPU"), None), (Case(_ONE_THREAD, "one thread"), 1)]
    return tuple(RunSpec(ID, case, load, options=given_only(chosen | {"threads": number})) for case, number in cases)


def _metrics() -> tuple[Metric, ...]:
    # triad stands for the benchmark wherever one figure does
    order = ("triad", "copy", "scale", "add")
    whole_run = [
        Metric(
            f"{kernel}_best",
            "MB/s",
            "higher",
            f"best of at least 10 iterations without the first: {BYTES[kernel]} B x elements / 10^6 / time",
            f"{kernel}, best",
            "run",
        )
        for kernel in order
    ]
    single = [
        Metric(kernel, "MB/s", "higher", f"{BYTES[kernel]} B x elements / 10^6 / time of the kernel", kernel)
        for kernel in order
    ]
    return (*whole_run, *single, RESPONSE_TIME)


DEFINITION: Final = Definition(
    id=ID,
    version=1,
    title="Memory bandwidth",
    summary="a variant of STREAM, compiled on the host: copy, scale, add, triad; all threads and one",
    metrics=_metrics(),
    ladders=(),
    reference="triad_best",
    plan=plan,
    make=StreamBench,
    parameters=(
        Parameter("elements", "elements", "integer", help="of each array; default: four times the last-level cache"),
        *PARAMETERS,
    ),
    on="host",
)
