"""What STREAM and DGEMM plan, and how they choose on a host. Pure."""

from __future__ import annotations

import importlib.resources
from typing import Any

import pytest

from benchmarks import registry
from benchmarks.benchmark import Request
from benchmarks.compute import ComputeBench
from benchmarks.compute import plan as plan_compute
from benchmarks.errors import BenchError, NotMeasurableError
from benchmarks.machine import Cache, Compiler, Machine
from benchmarks.model import Outcome, RunSpec, Sample
from benchmarks.on_host_plan import best
from benchmarks.runids import config_hash
from benchmarks.stream import StreamBench, elements_of, plan
from probes.model import Host

HOST = Host("h", "127.0.0.1")
GCC = (Compiler("gcc", "gcc 12"),)


def stream(mode: Any = "full", **extra: str) -> tuple[RunSpec, ...]:
    return plan(Request("stream", mode=mode, extra=extra), HOST, {})


def compute(**extra: str) -> tuple[RunSpec, ...]:
    return plan_compute(Request("compute", extra=extra), HOST, {})


def test_all_threads_and_one() -> None:
    runs = stream()
    assert [(run.case.id, run.options.get("threads")) for run in runs] == [("all-threads", None), ("one-thread", 1)]
    assert {(run.load.n, run.load.warmup_n, run.load.concurrency, run.load.min_s) for run in runs} == {(30, 2, 1, 5.0)}
    assert [run.case.id for run in stream(threads="4")] == ["threads-4"]
    assert [run.case.id for run in stream(cc="numpy")] == ["numpy"]


def test_the_configuration_is_what_a_person_chose() -> None:
    runs = stream()
    assert runs[0].options == {"cc": "auto"}
    hashes = {config_hash(run, 1) for run in (*runs, *stream(elements="1000"), *stream(cc="clang"))}
    assert len(hashes) == 6


def test_the_first_iteration_is_never_measured() -> None:
    for mode, n in (("quick", 10), ("full", 30)):
        request = Request("stream", mode=mode, warmup_n=0)  # pyright: ignore[reportArgumentType]
        assert {(run.load.n, run.load.warmup_n) for run in plan(request, HOST, {})} == {(n, 1)}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request("stream", rate_per_s=1.0), "one after the other"),
        (Request("stream", concurrency=2), "one after the other"),
        (Request("stream", url="http://127.0.0.1"), "the host itself"),
        (Request("stream", texts=("a",)), "the host itself"),
        (Request("stream", n=9), "9 iterations"),
        (Request("stream", extra={"elements": "0"}), "elements"),
        (Request("stream", extra={"elements": "1e6"}), "elements"),
        (Request("stream", extra={"elements": "٣"}), "elements"),
        (Request("stream", extra={"threads": "-1"}), "threads"),
        (Request("stream", extra={"cc": "gcc -O0"}), "cc"),
        (Request("stream", extra={"cc": "-x"}), "cc"),
        (Request("stream", extra={"cc": "a;b"}), "cc"),
        (Request("stream", extra={"size": "3"}), "no parameter"),
    ],
)
def test_what_makes_no_sense_is_refused(request_: Request, words: str) -> None:
    with pytest.raises(BenchError, match=words) as caught:
        plan(request_, HOST, {})
    assert caught.value.layer == "plan"
    assert caught.value.next_step


def test_compute_has_numpy_as_a_case_of_its_own() -> None:
    runs = compute()
    assert [run.case.id for run in runs] == ["portable-c", "portable-c-one-thread", "numpy"]
    assert all("portable C, not tuned LINPACK" in run.case.title for run in runs[:2])
    assert [run.case.id for run in compute(cc="numpy", threads="2")] == ["numpy-threads-2"]
    for bad in ("0", "eleven", "nan", "inf", "-2"):
        with pytest.raises(BenchError, match="ghz"):
            compute(ghz=bad)


# --- on a host ---


def test_elements() -> None:
    assert elements_of(Cache(3, 2, 64_000_000), None)[0] == 32_000_000
    assert elements_of(Cache(2, 1, 1_000_000), None)[0] == 10_000_000
    assert elements_of(None, None)[0] == 40_000_000
    assert elements_of(Cache(3, 1, 64_000_000), 16_000_000) == (
        16_000_000,
        "as given, 2.00 times the last-level cache of 64.0 MB, L3",
    )


def on(machine: Machine, spec: RunSpec) -> StreamBench:
    bench = StreamBench(spec, None)  # pyright: ignore[reportArgumentType] - nothing is connected
    bench._machine = machine
    return bench


def test_memory_that_is_not_free_is_named() -> None:
    # 4 x 64 MB are 256 MB, three of them 768 MB; half of 1.5 GB is 750 MB
    machine = Machine(cpus=2, cache=Cache(3, 2, 64_000_000), available_bytes=1_500_000_000)
    with pytest.raises(BenchError, match=r"not enough memory: 768\.0 MB needed .*, 1\.50 GB free") as caught:
        on(machine, stream()[0]).choose(machine, 2)
    assert caught.value.layer == "host"
    enough = Machine(cpus=2, cache=Cache(3, 2, 64_000_000), available_bytes=1_536_000_000)
    assert on(enough, stream()[0]).choose(enough, 2) == 32_000_000
    silent = Machine(cpus=2, cache=Cache(3, 2, 64_000_000))
    with pytest.raises(BenchError, match="does not say how much memory"):
        on(silent, stream()[0]).choose(silent, 2)


def test_an_array_below_four_caches_is_refused_in_full_and_marked_in_quick_mode() -> None:
    machine = Machine(cpus=2, cache=Cache(3, 1, 64_000_000), available_bytes=10**12)
    with pytest.raises(BenchError, match="smaller than four times") as caught:
        on(machine, stream(elements="1000")[0]).choose(machine, 2)
    assert "32000000" in caught.value.next_step
    quick = on(machine, stream("quick", elements="1000")[0])
    assert quick.choose(machine, 2) == 1000
    assert any("no memory bandwidth" in note for note in quick._notes)


def test_the_way() -> None:
    full, one = stream()
    found = on(Machine(), full).way(Machine(cpus=8, compilers=GCC, numpy="2.0"))
    assert (found.compiler, found.threads, found.fallback) == ("gcc", 8, False)
    bare = Machine(cpus=8, numpy="2.0")
    found = on(bare, full).way(bare)
    assert (found.compiler, found.threads, found.fallback) == (None, 1, True)
    with pytest.raises(NotMeasurableError):
        on(bare, one).way(bare)
    nothing = Machine(cpus=8)
    with pytest.raises(BenchError, match=r"not possible: no compiler \(cc, gcc, clang\) and no numpy"):
        on(nothing, full).way(nothing)
    with pytest.raises(BenchError, match="no compiler icc"):
        on(bare, stream(cc="icc")[0]).way(bare)
    with pytest.raises(BenchError, match="no numpy"):
        on(nothing, stream(cc="numpy")[0]).way(nothing)
    with pytest.raises(BenchError, match="16 threads wanted, 8 CPUs"):
        on(nothing, stream(threads="16")[0]).way(Machine(cpus=8, compilers=GCC))
    with pytest.raises(BenchError, match="how many CPUs"):
        on(nothing, full).way(Machine(compilers=GCC))


def test_the_way_of_compute() -> None:
    def way_of(spec: RunSpec, machine: Machine) -> str | None:
        return ComputeBench(spec, None).way(machine).compiler  # pyright: ignore[reportArgumentType]

    portable, _, numpy = compute()
    assert way_of(portable, Machine(cpus=2, compilers=GCC)) == "gcc"
    assert way_of(numpy, Machine(cpus=2, compilers=GCC, numpy="2.0")) is None
    with pytest.raises(NotMeasurableError, match="no numpy"):
        way_of(numpy, Machine(cpus=2, compilers=GCC))
    with pytest.raises(NotMeasurableError, match="no compiler"):
        way_of(portable, Machine(cpus=2, numpy="2.0"))
    for spec in (portable, numpy):
        with pytest.raises(BenchError, match="no") as caught:
            way_of(spec, Machine(cpus=2))
        assert caught.value.layer == "host"


def sample(i: int, value: float, outcome: Outcome = Outcome.OK) -> Sample:
    return Sample(i, "measure", 0, 0, 1, outcome, {"triad": value})


def test_best_of_at_least_ten() -> None:
    ten = [sample(i, 100.0 + i) for i in range(10)]
    assert best(ten, "triad") == 109.0
    assert best(ten[:9], "triad") is None
    assert best([*ten[:9], sample(9, 999.0, Outcome.INVALID_BODY)], "triad") is None


def test_both_are_listed_and_their_sources_travel_with_the_package() -> None:
    for name in ("stream", "compute"):
        definition = registry.definition(name)
        assert (definition.id, definition.on, definition.ladders) == (name, "host", ())
    folder = importlib.resources.files("benchmarks").joinpath("native")
    for file in ("stream.c", "dgemm.c", "look.sh", "launch.sh", "stream_numpy.py", "dgemm_numpy.py"):
        assert folder.joinpath(file).is_file()
