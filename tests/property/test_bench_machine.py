"""No text of a host crashes what reads it, and no sum is larger or smaller than its parts."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.machine import Machine, cpu_list, last_level, parse
from benchmarks.peak import peak
from benchmarks.stream import CACHE_TIMES, elements_of, least_elements

SECTIONS = (
    "memory", "allowed", "load", "cpuinfo", "machine", "caches", "siblings", "frequency", "limits", "compilers", "numpy",
    "stale",
)  # fmt: skip
LINES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["MemAvailable: 12 kB", "Cpus_allowed_list:\t0-3", "nan", "inf 1", "3 Unified 32K 0-3", "٣ Unified ٣K ٣",
         "/a/memory.max ٣", "/a/memory.current -1", "/a/cpu.max 1 0", "flags\t: avx512f", "²", "cpu family\t: ²"]
    ),
)  # fmt: skip
DOCUMENTS = st.lists(st.tuples(st.sampled_from(SECTIONS), st.lists(LINES, max_size=5)), max_size=14)


@given(DOCUMENTS, st.integers(1, 512))
def test_no_text_crashes_and_no_number_comes_out_of_nothing(parts: list[tuple[str, list[str]]], threads: int) -> None:
    text = "".join(f"== {name}\n" + "".join(f"{line}\n" for line in lines) for name, lines in parts)
    machine = parse(f"{text}\n== end\n")
    assert machine is not None
    for value in (machine.cpus, machine.cores, machine.max_hz):
        assert value is None or value >= 1
    assert machine.available_bytes is None or machine.available_bytes >= 0
    assert machine.load_1min is None or math.isfinite(machine.load_1min)
    assert all(each.name.isprintable() and each.version.isprintable() for each in machine.compilers)
    found = peak(machine, threads)
    assert found.words
    assert found.gflops is None or found.gflops > 0


@given(st.text(max_size=300))
def test_anything_at_all(text: str) -> None:
    parse(text)
    last_level(text.splitlines())
    cpu_list(text)


@st.composite
def caches(draw: st.DrawFn) -> tuple[list[str], int]:
    """L3 instances over disjoint CPUs, each listed once for each of its CPUs, and their sum in bytes."""
    sizes = draw(st.lists(st.integers(1, 1 << 20), min_size=1, max_size=12))
    lines, total, cpu = [], 0, 0
    for size_kib in sizes:
        width = draw(st.integers(1, 8))
        shared = f"{cpu}-{cpu + width - 1}" if width > 1 else str(cpu)
        lines += [f"3 Unified {size_kib}K {shared}"] * width + [f"2 Unified 512K {cpu}"]
        total, cpu = total + size_kib * 1024, cpu + width
    return draw(st.permutations(lines)), total


@given(caches())
def test_each_instance_of_a_cache_counts_once(given_caches: tuple[list[str], int]) -> None:
    lines, total = given_caches
    found = last_level(lines)
    assert found is not None
    assert (found.level, found.total_bytes) == (3, total)


@given(caches())
def test_an_array_is_four_times_the_cache_and_not_one_element_larger_than_needed(
    given_caches: tuple[list[str], int],
) -> None:
    cache = last_level(given_caches[0])
    assert cache is not None
    elements, why = elements_of(cache, None)
    assert elements * 8 >= CACHE_TIMES * cache.total_bytes
    assert (least_elements(cache) - 1) * 8 < CACHE_TIMES * cache.total_bytes
    assert "last-level cache" in why


@given(st.sets(st.integers(0, 4095), min_size=1, max_size=60))
def test_a_list_of_cpus_is_read_as_it_was_written(cpus: set[int]) -> None:
    assert cpu_list(",".join(map(str, sorted(cpus)))) == cpus


@given(st.integers(1, 4096), st.integers(1, 256), st.floats(0.1, 10))
def test_more_threads_than_cores_have_no_higher_peak(threads: int, cores: int, ghz: float) -> None:
    machine = Machine(architecture="x86_64", cores=cores, flags=frozenset({"avx2", "fma"}))
    found = peak(machine, threads, ghz).gflops
    assert found is not None
    assert math.isclose(found, min(threads, cores) * ghz * 16)
