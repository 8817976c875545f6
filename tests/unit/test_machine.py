"""What a host says of itself, and what is made of it. Expected numbers are worked out by hand."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.machine import Cache, Machine, cpu_list, last_level, parse
from benchmarks.peak import peak

EPYC = """\
== memory
MemTotal:       65536000 kB
MemAvailable:   60000000 kB
== allowed
Cpus_allowed_list:\t0-7
== load
0.25 0.30 0.11 1/345 4242
== cpuinfo
cpu family\t: 25
flags\t\t: fpu sse2 avx avx2 fma
model name\t: AMD EPYC 7R13 Processor
vendor_id\t: AuthenticAMD
== machine
x86_64
== caches
1 Data 32K 0,4
1 Instruction 32K 0,4
2 Unified 512K 0,4
2 Unified 512K 1,5
3 Unified 32768K 0-1,4-5
3 Unified 32768K 2-3,6-7
== siblings
0,4
1,5
2,6
3,7
== frequency
3600000
== limits
== compilers
gcc gcc (GCC) 11.5.0 20240719
== numpy
== stale
/tmp/quarterdeck-native.Ab12Cd34Ef
== end
"""


def of(text: str) -> Machine:
    machine = parse(text)
    assert machine is not None
    return machine


def changed(section: str, *lines: str) -> Machine:
    """The host with another section."""
    head, _, rest = EPYC.partition(f"== {section}\n")
    tail = rest[rest.index("== ") :]
    return of(f"{head}== {section}\n" + "".join(f"{line}\n" for line in lines) + tail)


def test_a_host() -> None:
    machine = of(EPYC)
    assert (machine.cpus, machine.cores) == (8, 4)
    assert machine.cache == Cache(3, 2, 67_108_864)
    assert (machine.available_bytes, machine.total_bytes) == (61_440_000_000, 67_108_864_000)
    assert (machine.model, machine.vendor, machine.family) == ("AMD EPYC 7R13 Processor", "AuthenticAMD", 25)
    assert machine.max_hz == 3_600_000_000
    assert machine.load_1min == 0.25
    assert [(each.name, each.version) for each in machine.compilers] == [("gcc", "gcc (GCC) 11.5.0 20240719")]
    assert machine.numpy is None
    assert machine.stale == ("/tmp/quarterdeck-native.Ab12Cd34Ef",)


def test_what_did_not_come_to_its_end_is_nothing() -> None:
    assert parse(EPYC.replace("== end\n", "")) is None
    assert parse("") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", {0}),
        ("0-3,8", {0, 1, 2, 3, 8}),
        ("", None),
        ("3-1", None),
        ("0-99999999", None),
        ("a", None),
        ("1,", None),
    ],
)
def test_lists_of_cpus(text: str, expected: set[int] | None) -> None:
    assert cpu_list(text) == expected


def test_without_an_l3_it_is_the_l2_and_an_instance_counts_once() -> None:
    lines = ["2 Unified 1M 0-1", "2 Unified 1M 0-1", "2 Unified 1M 2-3", "1 Data 32K 0"]
    assert last_level(lines) == Cache(2, 2, 2 * 1024 * 1024)


@pytest.mark.parametrize("line", ["3 Unified - 0-3", "3 Unified 32768K -", "3 Unified many 0-3"])
def test_a_cache_that_cannot_be_read_leaves_no_sum(line: str) -> None:
    assert last_level(["2 Unified 512K 0", line]) is None
    assert last_level([]) is None


def test_affinity_and_quota_limit_the_cpus() -> None:
    assert changed("allowed", "Cpus_allowed_list:\t1,5").cpus == 2
    assert changed("allowed", "Cpus_allowed_list:\t1,5").cores == 1
    assert changed("allowed").cpus is None
    assert changed("limits", "/sys/fs/cgroup/a/cpu.max 250000 100000").cpus == 2
    assert changed("limits", "/sys/fs/cgroup/a/cpu.max 50000 100000").cpus == 1
    assert changed("limits", "/sys/fs/cgroup/a/cpu.max max 100000").cpus == 8
    first = ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us 300000", "/sys/fs/cgroup/cpu/cpu.cfs_period_us 100000")
    assert changed("limits", *first).cpus == 3
    assert changed("limits", first[0].replace("300000", "-1"), first[1]).cpus == 8


def test_control_groups_limit_the_memory_and_the_tightest_holds() -> None:
    lines = (
        "/sys/fs/cgroup/a/b/memory.max 4000000000",
        "/sys/fs/cgroup/a/b/memory.current 1500000000",
        "/sys/fs/cgroup/a/b/inactive_file 500000000",
        "/sys/fs/cgroup/a/memory.max 3500000000",
        "/sys/fs/cgroup/a/memory.current 1500000000",
    )
    assert changed("limits", *lines).available_bytes == 2_000_000_000
    assert changed("limits", *lines[:3]).available_bytes == 3_000_000_000
    assert changed("limits", "/sys/fs/cgroup/memory.max max").available_bytes == 61_440_000_000
    none = ("/sys/fs/cgroup/memory/memory.limit_in_bytes 9223372036854771712",)
    assert changed("limits", *none).available_bytes == 61_440_000_000
    # a limit does not stand in for what the kernel does not say
    assert changed("memory", "MemTotal: 1000 kB").available_bytes is None


def test_frequencies_that_differ_are_not_one() -> None:
    assert changed("frequency", "3600000", "2400000").max_hz is None
    assert changed("frequency").max_hz is None


def test_of_cpus_that_differ_only_the_common_flags_count() -> None:
    machine = changed("cpuinfo", "flags\t: avx2 fma avx512f", "flags\t: avx2 fma", "model name\t: A", "model name\t: B")
    assert machine.flags == {"avx2", "fma"}
    assert machine.model == "several kinds"


def test_text_of_a_host_is_made_harmless() -> None:
    assert changed("compilers", "cc \x1b[31mred\x07").compilers[0].version == "[31mred"


# --- the peak ---


def test_the_peak_of_avx2() -> None:
    # 4 cores x 3.6 GHz x 16; two threads have two cores, sixteen no more than four
    assert peak(of(EPYC), 8).gflops == pytest.approx(230.4)
    assert peak(of(EPYC), 2).gflops == pytest.approx(115.2)
    assert peak(of(EPYC), 16).gflops == pytest.approx(230.4)
    assert peak(of(EPYC), 8, ghz=2.0).gflops == pytest.approx(128.0)
    assert "as given" in peak(of(EPYC), 8, ghz=2.0).words


@pytest.mark.parametrize(
    ("vendor", "family", "flags", "per_cycle"),
    [
        ("GenuineIntel", 6, {"sse2", "avx", "avx2", "fma", "avx512f"}, 32),
        ("AuthenticAMD", 25, {"sse2", "avx", "avx2", "fma", "avx512f"}, 16),
        ("AuthenticAMD", 26, {"sse2", "avx", "avx2", "fma", "avx512f"}, 32),
        ("GenuineIntel", 6, {"sse2", "avx", "avx2"}, 8),
        ("GenuineIntel", 6, {"sse2"}, 4),
    ],
)
def test_operations_a_cycle(vendor: str, family: int, flags: set[str], per_cycle: int) -> None:
    machine = msgspec.structs.replace(
        Machine(), vendor=vendor, family=family, flags=frozenset(flags), architecture="x86_64", cores=1
    )
    assert peak(machine, 1, ghz=1.0).gflops == per_cycle


def test_neon_has_a_peak_and_sve_is_not_guessed() -> None:
    arm = Machine(architecture="aarch64", cores=2, flags=frozenset({"fp", "asimd"}))
    assert peak(arm, 2, ghz=2.5).gflops == 40.0
    found = peak(msgspec.structs.replace(arm, flags=frozenset({"asimd", "sve"})), 2, ghz=2.5)
    assert found.gflops is None
    assert "SVE" in found.words


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("frequency", "frequency"),
        ("siblings", "share a core"),
        ("machine", "architecture"),
        ("cpuinfo", "no vector instructions"),
    ],
)
def test_what_is_not_known_leaves_no_peak_but_the_reason(section: str, words: str) -> None:
    found = peak(changed(section), 8)
    assert found.gflops is None
    assert words in found.words


def test_an_amd_family_that_is_not_known_has_none() -> None:
    machine = Machine(architecture="x86_64", cores=1, flags=frozenset({"avx512f"}), vendor="AuthenticAMD", family=99)
    assert peak(machine, 1, ghz=1.0).gflops is None
