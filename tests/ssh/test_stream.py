"""STREAM and DGEMM under the engine, against Debian's sshd: figures, every kind of host, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from benchmarks import registry
from benchmarks.benchmark import Request
from benchmarks.compute import ComputeBench
from benchmarks.engine import Engine, Record
from benchmarks.errors import BenchError
from benchmarks.model import Outcome
from benchmarks.native_program import Source
from benchmarks.recorder import Recorder
from benchmarks.stream import StreamBench
from benchmarks.wire import Finished, FromEngine, Job
from tests.support.leaks import until
from tests.support.remote import SHORT, cut, none_left, running, seen, ssh_context
from tests.support.sshd import Keys, RealSshd, children_of
from tests.support.watching import settings_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from benchmarks.model import RunSpec
    from benchmarks.on_host import OnHost
    from probes.model import Host

pytestmark = [pytest.mark.needs("sshd", "pgrep", "cc"), pytest.mark.timeout(120)]

STREAM = Source("stream.c").text
NAME = "quarterdeck-native.*"


#: a command that runs another on one CPU
ONE_CPU = (
    sys.executable,
    "-c",
    "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.execvp(sys.argv[1], sys.argv[1:])",
)


@dataclass
class Inline:
    """A program that is not the package's."""

    text: str


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """The host's TMPDIR, where a test can see what is left."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def server(tmp_path: Path, keys: Keys, scratch: Path) -> Iterator[RealSshd]:
    with RealSshd(tmp_path / "sshd", keys, extra=environment(scratch)) as server:
        yield server
        # whatever the test did, the host is as it was: no folder, and no process but the server
        assert list(scratch.glob(NAME)) == []


def environment(scratch: Path, path: str = "/usr/bin:/bin") -> str:
    """Of every session: no start-up file of the account's adds to it."""
    home = scratch.with_name("home")
    home.mkdir(exist_ok=True)
    return f"SetEnv TMPDIR={scratch} PATH={path} HOME={home}"


def path_without(folder: Path, *names: str, **instead: str) -> str:
    """A PATH without some programs (by how their names begin), and with scripts in place of others."""
    folder.mkdir()
    for name, text in instead.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    for source in ("/usr/bin", "/bin"):
        for program in Path(source).iterdir():
            link = folder / program.name
            if not program.name.startswith(names) and not os.path.lexists(link):
                link.symlink_to(program)
    return str(folder)


COMPILERS = ("cc", "gcc", "clang", "c99", "c89", "x86_64-linux-gnu-gcc", "aarch64-linux-gnu-gcc")


def python_with_numpy() -> str | None:
    """A Python that has numpy; the one of Debian, as a rule, has not."""
    for path in (
        shutil.which("python3"),
        "/usr/bin/python3",
        *map(str, Path("/root/.pyenv/versions").glob("*/bin/python3")),
    ):
        if path and subprocess.run([path, "-c", "import numpy"], capture_output=True, check=False).returncode == 0:
            return path
    return None


def left_in_places() -> set[Path]:
    return {each for place in ("/tmp", "/dev/shm", "/var/tmp") for each in Path(place).glob(NAME)}


def specs(benchmark: str, mode: Any = "quick", **extra: str) -> tuple[RunSpec, ...]:
    request = Request(benchmark, mode=mode, timeout_s=30.0, extra=extra)
    return registry.definition(benchmark).plan(request, None, {})  # pyright: ignore[reportArgumentType]


def some_elements() -> str:
    """A size that stands on no other program's command line."""
    return str(100_000 + secrets.randbelow(100_000))


async def run(
    server: RealSshd, spec: RunSpec, meanwhile: Callable[[asyncio.Event], Awaitable[None]] | None = None
) -> tuple[Record, OnHost]:
    kind = {"stream": StreamBench, "compute": ComputeBench}[spec.benchmark]
    async with ssh_context(server.host()) as context:
        bench, stop = kind(spec, context, SHORT), asyncio.Event()
        going = asyncio.create_task(Engine(spec, bench, Recorder(time.perf_counter_ns()), stop).run())
        try:
            if meanwhile is not None:
                await meanwhile(stop)
        finally:
            record = await going
    return record, bench


def outcomes(record: Record) -> list[Outcome]:
    return [one.outcome for one in record.samples]


def said(record: Record, words: str) -> str:
    (note,) = [note for note in record.preflight.notes if words in note]
    return note


async def refused(server: RealSshd, spec: RunSpec) -> BenchError:
    with pytest.raises(BenchError) as caught:
        await run(server, spec)
    return caught.value


# --- figures ---


async def test_the_figures_of_stream(server: RealSshd) -> None:
    for spec in specs("stream", elements="300000"):
        record, bench = await run(server, spec)
        assert outcomes(record) == [Outcome.OK] * 10
        assert len(record.warmups) == 1
        assert record.problems == []
        for one in record.samples:
            for kernel, size in (("copy", 16), ("scale", 16), ("add", 24), ("triad", 24)):
                assert one.values[kernel] == pytest.approx(size * 300_000 / one.spans[kernel] / 1e6)
            # the program's own times, which the way there is not in
            assert sum(one.spans.values()) < one.values["service_time"]
        totals = bench.totals(record.samples, 1.0)
        assert totals["triad_best"] == max(one.values["triad"] for one in record.samples)
        assert None not in totals.values()
        assert record.preflight.via == "ssh"
        assert record.preflight.case is None
        assert "-O3 -march=native -fopenmp" in said(record, "compiled there")
        assert "300000 doubles" in said(record, "3 arrays")
        assert said(record, "a variant of STREAM")
    await nothing_runs(server)


async def test_the_figures_of_compute(server: RealSshd) -> None:
    for spec in specs("compute", size="200", ghz="2.5")[:2]:
        record, bench = await run(server, spec)
        assert outcomes(record) == [Outcome.OK] * 10
        for one in record.samples:
            assert one.values["gflops"] == pytest.approx(2 * 200**3 / one.spans["multiplying"] / 1e9)
        totals = bench.totals(record.samples, 1.0)
        assert totals["gflops_best"] == max(one.values["gflops"] for one in record.samples)
        assert said(record, "portable C, not tuned LINPACK")
        assert said(record, "theoretical peak")
    await nothing_runs(server)


@pytest.mark.parametrize("size", [16, 17, 23, 24, 25, 97, 257, 385])
def test_matrices_of_any_size_are_multiplied_rightly(size: int, tmp_path: Path) -> None:
    """Against the check by a vector, with one thread and with two, and with the narrowest vectors."""
    source = tmp_path / "dgemm.c"
    source.write_text(Source("dgemm.c").text)
    for flags in (["-O2", "-fopenmp", "-march=native"], ["-O1"]):
        subprocess.run(["cc", *flags, "-o", tmp_path / "dgemm", source, "-lm"], check=True, capture_output=True)
        for threads in ("1", "2"):
            done = subprocess.run(
                [tmp_path / "dgemm", threads, str(size)],
                input=b"run\ncheck\nrun\ncheck\n",
                capture_output=True,
                check=True,
            )
            lines = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
            assert [line["check"] for line in lines if "check" in line] == [True, True]
            assert all(line["scaled_residual"] < 1 for line in lines if "check" in line)


def test_a_thousand_iterations_neither_overflow_nor_pass_for_one_less(tmp_path: Path) -> None:
    source = tmp_path / "stream.c"
    source.write_text(STREAM)
    subprocess.run(["cc", "-O2", "-o", tmp_path / "stream", source, "-lm"], check=True, capture_output=True)
    commands = b"run\ncheck\n" * 1000
    done = subprocess.run([tmp_path / "stream", "1", "64"], input=commands, capture_output=True, check=True)
    checks = [line for line in map(msgspec.json.decode, done.stdout.splitlines()) if "check" in line]
    assert len(checks) == 1000
    assert all(line["check"] for line in checks)
    # one triad of a thousand left out is seen at once
    lazy = STREAM.replace("  triad(s);", "  if (i != 500) triad(s);")
    assert lazy != STREAM
    source.write_text(lazy)
    subprocess.run(["cc", "-O2", "-o", tmp_path / "stream", source, "-lm"], check=True, capture_output=True)
    done = subprocess.run([tmp_path / "stream", "1", "64"], input=commands, capture_output=True, check=True)
    checks = [line["check"] for line in map(msgspec.json.decode, done.stdout.splitlines()) if "check" in line]
    assert checks == [True] * 500 + [False] * 500


@pytest.mark.parametrize("name", ["stream", "dgemm"])
def test_the_programs_refuse_what_does_not_fit(name: str, tmp_path: Path) -> None:
    source = tmp_path / "program.c"
    source.write_text(Source(f"{name}.c").text)
    subprocess.run(["cc", "-O1", "-o", tmp_path / "program", source, "-lm"], check=True, capture_output=True)
    size = {"stream": "10000000000000", "dgemm": "5000000"}[name]
    for arguments, words in (
        (["1", size], "half of the available"),
        (["0", "1"], "bad"),
        (["1", "x"], "bad"),
        ([], "bad"),
    ):
        done = subprocess.run([tmp_path / "program", *arguments], input=b"run\n", capture_output=True, check=False)
        assert done.returncode == 3
        assert words in msgspec.json.decode(done.stdout)["error"]


# --- hosts ---


async def test_a_host_with_one_core(tmp_path: Path, keys: Keys, scratch: Path) -> None:
    with RealSshd(tmp_path / "s", keys, extra=environment(scratch), enter=ONE_CPU) as server:
        record, _ = await run(server, specs("stream", elements="200000")[0])
        assert outcomes(record) == [Outcome.OK] * 10
        assert said(record, "1 CPU may be used")
        assert said(record, "one CPU for us")
        assert "2 threads wanted, 1 CPUs" in (await refused(server, specs("stream", threads="2")[0])).cause


async def test_a_host_without_compiler_and_without_numpy(tmp_path: Path, keys: Keys, scratch: Path) -> None:
    path = path_without(tmp_path / "bin", *COMPILERS, "python", "platform-python")
    with RealSshd(tmp_path / "s", keys, extra=environment(scratch, path)) as server:
        for spec in (*specs("stream"), *specs("compute")):
            error = await refused(server, spec)
            assert (error.layer, error.side.value) == ("host", "server")
            assert error.next_step
        assert (await refused(server, specs("stream")[0])).cause == (
            "not possible: no compiler (cc, gcc, clang) and no numpy"
        )


async def test_a_host_without_compiler_but_with_numpy(tmp_path: Path, keys: Keys, scratch: Path) -> None:
    python = python_with_numpy()
    if python is None:
        pytest.skip("needs a Python with numpy")
    path = path_without(tmp_path / "bin", *COMPILERS, "python", python3=f'#!/bin/sh\nexec {python} "$@"\n')
    with RealSshd(tmp_path / "s", keys, extra=environment(scratch, path)) as server:
        every, one = specs("stream", elements="200000")
        record, _ = await run(server, every)
        assert outcomes(record) == [Outcome.OK] * 10
        assert record.preflight.case is not None
        assert record.preflight.case.id == "numpy-fallback"
        assert said(record, "numpy fallback, not comparable with compiled figures")
        assert (await refused(server, one)).layer == "not_measurable"
        portable, _, numpy = specs("compute", size="200")
        assert (await refused(server, portable)).layer == "not_measurable"
        record, _ = await run(server, numpy)
        assert outcomes(record) == [Outcome.OK] * 10
        assert record.preflight.case is None
        assert "numpy" in said(record, "run there")
        await nothing_runs(server)
        assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    ("option", "case"),
    [("-fopenmp", "all-threads-no-openmp" if os.cpu_count() != 1 else None), ("-march=native", None)],
)
async def test_a_compiler_that_refuses_an_option(
    tmp_path: Path, keys: Keys, scratch: Path, option: str, case: str | None
) -> None:
    picky = f'#!/bin/sh\ncase " $* " in *" {option} "*) echo "error: {option}?" >&2; exit 1 ;; esac\nexec /usr/bin/cc "$@"\n'
    path = path_without(tmp_path / "bin", *COMPILERS[1:], cc=picky)
    with RealSshd(tmp_path / "s", keys, extra=environment(scratch, f"{path}:/usr/bin")) as server:
        record, _ = await run(server, specs("stream", elements="200000")[0])
        assert outcomes(record) == [Outcome.OK] * 10
        assert said(record, f"refuses {option}")
        found = record.preflight.case
        assert (found.id if found is not None else None) == case
        assert ("1 thread" in record.preflight.notes) == (option == "-fopenmp" or os.cpu_count() == 1)
        record, _ = await run(server, specs("compute", size="200", ghz="2")[0])
        assert outcomes(record) == [Outcome.OK] * 10
        if option == "-fopenmp":
            assert "cores x" not in said(record, "theoretical peak")
        assert not list(scratch.iterdir())


@pytest.mark.needs("root", "unshare")
@pytest.mark.parametrize("everywhere", [False, True])
async def test_folders_from_which_nothing_may_be_started(
    tmp_path: Path, keys: Keys, scratch: Path, everywhere: bool
) -> None:
    places = [str(scratch), *(["/tmp", "/dev/shm", "/var/tmp"] if everywhere else [])]
    mounts = "; ".join(f"mount --bind {place} {place} && mount -o remount,bind,noexec {place}" for place in places)
    enter = ("unshare", "-m", "sh", "-c", f'{mounts}; exec "$@"', "sh")
    before = left_in_places()
    with RealSshd(tmp_path / "s", keys, extra=environment(scratch), enter=enter) as server:
        spec = specs("stream", elements="200000")[0]
        if everywhere:
            error = await refused(server, spec)
            assert "no folder in which a program could be made and started" in error.cause
            assert str(scratch) in error.cause
        else:
            record, _ = await run(server, spec)
            assert outcomes(record) == [Outcome.OK] * 10
            assert str(scratch) in said(record, "nothing may be started from")
    # another run may be compiling there at this moment
    await until(lambda: left_in_places() <= before, 30)
    assert not list(scratch.iterdir())


async def test_not_enough_memory(server: RealSshd) -> None:
    error = await refused(server, specs("stream", elements="1000000000000")[0])
    assert error.layer == "host"
    assert "not enough memory: 24000.00 GB needed" in error.cause
    assert "free" in error.cause


async def test_stale_folders_are_said_and_left_alone(server: RealSshd, scratch: Path) -> None:
    stale, young = scratch / "quarterdeck-native.0123456789", scratch / "quarterdeck-native.abcdefghij"
    for folder in (stale, young):
        folder.mkdir()
        (folder / "program").write_text("not ours")
    old = time.time() - 3600
    os.utime(stale, (old, old))
    record, _ = await run(server, specs("stream", elements="200000")[0])
    assert outcomes(record) == [Outcome.OK] * 10
    assert str(stale) in said(record, "left behind by an older run")
    assert (stale / "program").read_text() == "not ours"
    shutil.rmtree(stale)
    shutil.rmtree(young)


# --- programs that are not as they should be ---


async def test_a_wrong_result_is_an_invalid_body(server: RealSshd, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = STREAM.replace("c[j] = a[j] + b[j];", "c[j] = j == elements / 2 ? a[j] : a[j] + b[j];")
    assert broken != STREAM
    monkeypatch.setattr(StreamBench, "compiled", Inline(broken))
    record, bench = await run(server, specs("stream", elements="200000")[0])
    assert outcomes(record) == [Outcome.INVALID_BODY] * 10
    assert "the result is wrong" in record.samples[0].detail
    assert "max relative error" in record.samples[0].detail
    assert set(bench.totals(record.samples, 1.0).values()) == {None}


async def test_a_wrong_product_is_an_invalid_body(server: RealSshd, monkeypatch: pytest.MonkeyPatch) -> None:
    good = Source("dgemm.c").text
    broken = good.replace("  double to = seconds();\n  printf", "  double to = seconds();\n  C[7] *= 1.0001;\n  printf")
    assert broken != good
    monkeypatch.setattr(ComputeBench, "compiled", Inline(broken))
    record, _ = await run(server, specs("compute", size="200")[0])
    assert outcomes(record) == [Outcome.INVALID_BODY] * 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("int main(void) { return nothing; }", "does not compile the program"),
        ("int main(void) { return 7; }", "the program did not start: it ended with status 7"),
        ("#include <stdlib.h>\nint main(void) { abort(); }", "the program did not start: it ended with"),
        ("#include <signal.h>\nint main(void) { return raise(SIGILL); }", "illegal instruction"),
        ("#include <signal.h>\nint main(void) { return raise(SIGKILL); }", "out of memory?"),
        ('#include <stdio.h>\nint main(void) { puts("\\033[31mhello"); return 0; }', "it said '[31mhello'"),
        ("#include <stdio.h>\nint main(void) { for (;;) putchar(65); }", "far more than it was asked"),
        (
            '#include <stdio.h>\nint main(void) { puts("{\\"error\\": \\"no memory\\", \\"needed_bytes\\": 2e9}"); return 3; }',
            r"not enough memory: no memory (2.00 GB needed",
        ),
    ],
)  # fmt: skip
async def test_a_program_that_does_not_start(
    server: RealSshd, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.setattr(StreamBench, "compiled", Inline(text))
    error = await refused(server, specs("stream", elements="200000")[0])
    assert error.layer == "host"
    assert words in error.cause
    assert error.next_step
    await nothing_runs(server)


async def test_a_program_that_dies_ends_the_run_with_what_it_had(
    server: RealSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    mortal = STREAM.replace("static void run(long i) {", "static void run(long i) {\n  if (i == 5) abort();")
    monkeypatch.setattr(StreamBench, "compiled", Inline(mortal))
    record, _ = await run(server, specs("stream", elements="200000")[0])
    assert outcomes(record)[:4] == [Outcome.OK] * 4
    assert set(outcomes(record)[4:]) == {Outcome.TRANSPORT}
    assert "the program on the host: it ended with" in record.samples[4].detail


async def test_after_a_timeout_the_answers_are_told_apart(server: RealSshd, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = STREAM.replace(
        "static void run(long i) {",
        "static void run(long i) {\n  struct timespec wait = {2, 0};\n  if (i == 3) nanosleep(&wait, NULL);",
    )
    monkeypatch.setattr(StreamBench, "compiled", Inline(slow))
    spec = msgspec.structs.replace(specs("stream", elements="200000")[0])
    spec = msgspec.structs.replace(spec, load=msgspec.structs.replace(spec.load, timeout_s=1.2))
    record, _ = await run(server, spec)
    assert outcomes(record)[2] is Outcome.TIMEOUT
    assert outcomes(record).count(Outcome.OK) >= 8
    assert Outcome.TRANSPORT not in outcomes(record)
    assert Outcome.INVALID_BODY not in outcomes(record)


# --- nothing is left ---


def program(elements: str) -> str:
    """What a running program has on its command line, and nothing else."""
    return f"/proc/self/fd/9 [0-9]+ {elements}"


async def nothing_runs(server: RealSshd) -> None:
    async with asyncio.timeout(15):
        while children_of(server.pid):
            await asyncio.sleep(0.05)


async def test_while_it_runs_there_is_no_folder_and_cancelled_no_program(server: RealSshd, scratch: Path) -> None:
    elements = some_elements()
    spec = specs("stream", "full", elements=str(40_000_000))[0]
    spec = msgspec.structs.replace(spec, load=msgspec.structs.replace(spec.load, mode="quick", n=100_000))
    spec = msgspec.structs.replace(spec, options=spec.options | {"elements": int(elements)})

    async def cancel(stop: asyncio.Event) -> None:
        await seen(program(elements), 1, 30)
        assert list(scratch.iterdir()) == []
        stop.set()

    record, _ = await run(server, spec, cancel)
    assert record.cancelled
    await none_left(program(elements))
    await nothing_runs(server)


async def test_a_connection_lost_mid_run(server: RealSshd, scratch: Path) -> None:
    elements = some_elements()
    spec = specs("stream", elements=elements)[0]
    spec = msgspec.structs.replace(spec, load=msgspec.structs.replace(spec.load, n=100_000))

    async def lose(_: asyncio.Event) -> None:
        await seen(program(elements), 1, 30)
        await asyncio.sleep(0.3)
        cut(server)

    record, _ = await run(server, spec, lose)
    assert record.died
    assert record.samples[-1].outcome is Outcome.TRANSPORT
    await none_left(program(elements))
    await nothing_runs(server)
    assert list(scratch.iterdir()) == []


SLOW_COMPILER = '#!/bin/sh\ncase "$1" in --version) echo slow 1 ;; *) sleep 300; : qdslow{marker} ;; esac\n'


@pytest.mark.parametrize("how", ["cancelled", "cut", "killed"])
async def test_ended_while_it_compiles(tmp_path: Path, keys: Keys, scratch: Path, how: str) -> None:
    """The one moment at which there is a folder."""
    marker = some_elements()
    path = path_without(tmp_path / "bin", *COMPILERS[1:], cc=SLOW_COMPILER.format(marker=marker))
    with RealSshd(tmp_path / "s", keys, extra=environment(scratch, path)) as server:
        compiling = f"/bin/cc -O3 .*{scratch}"
        spec = specs("stream", elements=marker)[0]
        if how == "killed":
            await _kill_the_engine(server.host(), spec, compiling, scratch)
        else:

            async def end(stop: asyncio.Event) -> None:
                await seen(compiling, 1, 30)
                assert len(list(scratch.glob(NAME))) == 1
                assert next(scratch.glob(NAME)).stat().st_mode & 0o777 == 0o700
                if how == "cut":
                    cut(server)
                else:
                    stop.set()

            if how == "cut":
                with pytest.raises(BenchError, match="the program did not start"):
                    await run(server, spec, end)
            else:
                record, _ = await run(server, spec, end)
                assert record.cancelled
                assert record.samples == []
        await none_left(compiling, 15)
        await nothing_runs(server)
        await emptied(scratch)


async def emptied(folder: Path) -> None:
    """The trap that removes the folder is the last thing that happens on the host."""
    async with asyncio.timeout(15):
        while list(folder.iterdir()):
            await asyncio.sleep(0.05)


async def _kill_the_engine(host: Host, spec: RunSpec, compiling: str, scratch: Path) -> None:
    """The worker's own process, as the dashboard starts it; killed, there is nobody to clean up but the keeper."""
    job = Job("suite", host, settings_for(host), (spec,), None)
    worker = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        assert worker.stdin is not None
        worker.stdin.write(msgspec.json.encode(job) + b"\n")
        worker.stdin.flush()
        await seen(compiling, 1, 30)
        assert len(list(scratch.glob(NAME))) == 1
        worker.send_signal(signal.SIGKILL)
    finally:
        worker.kill()
        worker.communicate()


async def test_the_engine_killed_while_it_runs(server: RealSshd, scratch: Path) -> None:
    elements = some_elements()
    spec = specs("stream", elements=elements)[0]
    spec = msgspec.structs.replace(spec, load=msgspec.structs.replace(spec.load, n=100_000))
    await _kill_the_engine_running(server.host(), spec, program(elements))
    await none_left(program(elements), 15)
    await nothing_runs(server)
    assert list(scratch.iterdir()) == []


async def _kill_the_engine_running(host: Host, spec: RunSpec, marker: str) -> None:
    job = Job("suite", host, settings_for(host), (spec,), None)
    worker = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        assert worker.stdin is not None
        worker.stdin.write(msgspec.json.encode(job) + b"\n")
        worker.stdin.flush()
        await seen(marker, 1, 30)
    finally:
        worker.kill()
        worker.communicate()


# --- whole ---


async def test_whole_results_by_the_worker(server: RealSshd) -> None:
    host = server.host()
    runs = (*specs("stream", elements="200000"), specs("compute", size="200")[0])
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.worker", stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=2**24
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(msgspec.json.encode(Job("suite", host, settings_for(host), runs, None)) + b"\n")
    results = []
    while line := await worker.stdout.readline():
        message = msgspec.json.decode(line, type=FromEngine)
        if isinstance(message, Finished):
            results.append(message.result)
    worker.stdin.close()
    assert await worker.wait() == 0
    assert [result.case for result in results] == ["all-threads", "one-thread", "portable-c"]
    for result in results[:2]:
        assert result.counts.ok == 10
        assert result.grade.letter is None
        assert result.grade.reason == "ungraded (no baseline)" or result.validity.verdict == "invalid"
        triad = result.metrics["triad"]
        assert (triad.n, triad.unit, triad.better) == (10, "MB/s", "higher")
        assert result.metrics["triad_best"].value == triad.max
        assert triad.q["p50"].ci is not None
    assert results[2].metrics["gflops_best"].unit == "GFLOP/s"
    assert results[2].metrics["peak_share"].value is None or results[2].metrics["peak_share"].value > 0
    assert len({result.config_hash for result in results}) == 3
    assert not running(r"/proc/self/fd/9 [0-9]+ 200000")
    await nothing_runs(server)
