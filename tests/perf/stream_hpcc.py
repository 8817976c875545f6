"""Our STREAM against Debian's ``hpcc``, taking turns on one machine with arrays of one size. Prints JSON and a table.

``python -m tests.perf.stream_hpcc [--turns 5] [--order 8190] [--alone]``

Debian's hpcc has no threads, so it is our case of one thread that is compared with its SingleSTREAM: the best of ten
iterations without the first on both sides. An array of hpcc has ORDER^2 / 3 elements, whatever memory there is. hpcc
has no way to run STREAM alone: what comes before it runs too (about a minute), but for its two DGEMMs, which a
preloaded ``cblas_dgemm`` that does nothing skips; it is ended once STREAM's figures are written. ``--alone`` leaves
hpcc out.

Debian builds hpcc with -O2 for every CPU of the architecture, ours is built for the CPU it runs on. So ours is also built
with -O2 and run beside it: that column says how much of a difference is the compiler's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.benchmark import Request
from benchmarks.engine import Engine
from benchmarks.model import Outcome
from benchmarks.recorder import Recorder
from benchmarks.stream import BYTES, StreamBench, plan
from tests.support.remote import ssh_context
from tests.support.sshd import Keys, RealSshd

KERNELS = ("copy", "scale", "add", "triad")
_END = "End of SingleSTREAM section."
_LONGEST_S = 900.0

#: HPL's input with one process and one order; the rest as Debian's example has it
_INPUT = """\
HPLinpack benchmark input file
Innovative Computing Laboratory, University of Tennessee
HPL.out      output file name (if any)
8            device out (6=stdout,7=stderr,file)
1            # of problems sizes (N)
{order}      Ns
1            # of NBs
80           NBs
0            PMAP process mapping (0=Row-,1=Column-major)
1            # of process grids (P x Q)
1            Ps
1            Qs
16.0         threshold
1            # of panel fact
2            PFACTs (0=left, 1=Crout, 2=Right)
1            # of recursive stopping criterium
4            NBMINs (>= 1)
1            # of panels in recursion
2            NDIVs
1            # of recursive panel fact.
1            RFACTs (0=left, 1=Crout, 2=Right)
1            # of broadcast
1            BCASTs (0=1rg,1=1rM,2=2rg,3=2rM,4=Lng,5=LnM)
1            # of lookahead depth
1            DEPTHs (>=0)
2            SWAP (0=bin-exch,1=long,2=mix)
64           swapping threshold
0            L1 in (0=transposed,1=no-transposed) form
0            U  in (0=transposed,1=no-transposed) form
1            Equilibration (0=no,1=yes)
8            memory alignment in double (> 0)
##### This line (no. 32) is ignored (it serves as a separator). ######
0            Number of additional problem sizes for PTRANS
1200         values of N
0            number of additional blocking sizes for PTRANS
40           values of NB
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--order", type=int, default=8_190)
    parser.add_argument("--alone", action="store_true")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended early, it ends hpcc too
    elements = args.order**2 // 3
    turns: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="quarterdeck-perf-") as name:
        folder = Path(name)
        nothing, built = _nothing(folder), _built(folder)
        for turn in range(args.turns):
            one: dict[str, Any] = {"load_1min": os.getloadavg()[0]}
            if not args.alone:
                one["hpcc"] = _hpcc(folder / f"hpcc{turn}", args.order, elements, nothing)
            one["ours_o2"] = _ours_o2(built, elements)
            one["ours"] = asyncio.run(_ours(folder / f"ours{turn}", elements))
            turns.append(one)
    found = {
        "machine": _model(),
        "elements": elements,
        "array_bytes": elements * 8,
        "turns": turns,
        "kernels": {kernel: _compared(turns, kernel) for kernel in KERNELS},
    }
    print(json.dumps(found, indent=1))
    if not args.alone:
        print(_table(found))


def _nothing(folder: Path) -> Path:
    """A library whose DGEMM does nothing."""
    library = folder / "nothing.so"
    source = "void cblas_dgemm(void) {}\n"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", library, "-"], input=source.encode(), check=True)
    return library


def _hpcc(folder: Path, order: int, elements: int, nothing: Path) -> dict[str, float]:
    """SingleSTREAM of one run of hpcc, in MB/s of 10^6 bytes."""
    program = shutil.which("hpcc")
    assert program is not None, "needs hpcc"
    folder.mkdir()
    (folder / "hpccinf.txt").write_text(_INPUT.format(order=order))
    written = folder / "hpccoutf.txt"
    environment = {**os.environ, "LD_PRELOAD": str(nothing), "OMPI_ALLOW_RUN_AS_ROOT": "1"}
    process = subprocess.Popen(
        [program],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + _LONGEST_S
        while not (written.exists() and _END in written.read_text()):
            assert process.poll() is None, f"hpcc ended with {process.returncode}"
            assert time.monotonic() < end, "hpcc takes too long"
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return figures_of(written.read_text(), elements)


def figures_of(text: str, elements: int) -> dict[str, float]:
    """What hpccoutf.txt says of SingleSTREAM."""
    section = text.partition("Begin of SingleSTREAM section.")[2].partition(_END)[0]
    size = re.search(r"Array size = (\d+)", section)
    assert size is not None, section
    assert int(size[1]) == elements, f"hpcc's arrays have {size[1]} elements, ours {elements}"
    found = {}
    for kernel in KERNELS:
        line = re.search(rf"^{kernel.capitalize()}:\s+([\d.]+)", section, re.MULTILINE)
        assert line is not None, section
        found[kernel] = float(line[1]) * 1000
    return found


def _built(folder: Path) -> Path:
    """Our program, built as Debian builds hpcc."""
    (folder / "stream.c").write_text(StreamBench.compiled.text)
    subprocess.run(["cc", "-O2", "-o", folder / "stream", folder / "stream.c", "-lm"], check=True)
    return folder / "stream"


def _ours_o2(program: Path, elements: int) -> dict[str, float]:
    """The best of ten iterations without the first, in MB/s."""
    commands = b"run\n" * 11 + b"check\n"
    done = subprocess.run([program, "1", str(elements)], input=commands, capture_output=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["check"] is True, lines[-1]
    return {kernel: max(BYTES[kernel] * elements / 1e6 / line[kernel] for line in lines[2:-1]) for kernel in KERNELS}


async def _ours(folder: Path, elements: int) -> dict[str, Any]:
    """One run of the benchmark, as a person makes it, over SSH to a server on this machine."""
    folder.mkdir()
    request = Request("stream", mode="quick", extra={"elements": str(elements), "threads": "1"})
    with RealSshd(folder / "sshd", Keys(folder)) as server:
        host = server.host()
        (spec,) = plan(request, host, {})
        async with ssh_context(host) as context:
            bench = StreamBench(spec, context)
            record = await Engine(spec, bench, Recorder(time.perf_counter_ns()), asyncio.Event()).run()
    assert [one.outcome for one in record.samples] == [Outcome.OK] * 10, record.errors
    totals = bench.totals(record.samples, 1.0)
    medians = {kernel: statistics.median(one.values[kernel] for one in record.samples) for kernel in KERNELS}
    best = {kernel: totals[f"{kernel}_best"] for kernel in KERNELS}
    return {**best, "median": medians, "notes": record.preflight.notes}


def _compared(turns: list[dict[str, Any]], kernel: str) -> dict[str, float | None]:
    """Medians over the turns, and ours against hpcc's."""
    ours, same = (statistics.median(turn[who][kernel] for turn in turns) for who in ("ours", "ours_o2"))
    every = [turn["hpcc"][kernel] for turn in turns if "hpcc" in turn]
    theirs = statistics.median(every) if every else None
    return {
        "ours_mb_s": ours,
        "ours_o2_mb_s": same,
        "hpcc_mb_s": theirs,
        "ratio": ours / theirs if theirs else None,
        "ratio_o2": same / theirs if theirs else None,
    }


def _table(found: dict[str, Any]) -> str:
    lines = ["| kernel | hpcc, MB/s | ours, MB/s | ratio | ours with -O2, MB/s | ratio |", "|---|---|---|---|---|---|"]
    for kernel, each in found["kernels"].items():
        figures = f"{each['hpcc_mb_s']:.0f} | {each['ours_mb_s']:.0f} | {each['ratio']:.3f}"
        lines.append(f"| {kernel} | {figures} | {each['ours_o2_mb_s']:.0f} | {each['ratio_o2']:.3f} |")
    return "\n".join(lines)


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()}, {os.cpu_count()} CPUs, {platform.release()}"
    return platform.machine()


if __name__ == "__main__":
    main()
