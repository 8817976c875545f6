"""What the agent costs a host: CPU and memory at 1 Hz, from /proc, without the process list.

``python -m tests.perf.agent_cost --seconds 60`` runs the shipped agent as a local child with the shipped protocol, for
each kind, and beside it, at the same time, a bare loop that sleeps a second and writes 500 bytes: what a Python process
that wakes once a second costs on this machine now. ``--other FILE`` runs another version of ``agent.py`` beside them.
On a machine with other users the ratios mean more than the percentages. ``--pairs`` runs that many of each, started in
alternating order.

CPU is read from the processes' own clocks in nanoseconds; they include threads that ended, which
``/proc/PID/task/*/schedstat`` forgets. What ended children cost (of the Python agent systemctl, every five
minutes; of the ``sh`` agent every program) is given apart, in ticks of 10 ms, and so is the CPU of the start (compiling
the source). What reading a GPU adds is only in the figures where the machine has one; ``gpus`` says how many there were.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from probes.hosts import bootstrap
from tests.perf.harness import descendants, machine, rss_bytes, show

#: the floor: wakes once a second and writes what a line has in bytes
_BARE: Final = "import os,time\nline=b'x'*499+b'\\n'\nwhile 1:time.sleep(1);os.write(1,line)"
_BEAT_S: Final = 5.0
_SETTLE_S: Final = 5.0
#: of the Python agent: no process lists
_SETTINGS: Final = {"interval_s": 1.0, "watchdog_s": 15.0, "processes_s": 1e9}


def clock_s(pid: int) -> float:
    """CPU of a process since its start, its ended threads included: its clock (clock_getcpuclockid(3) has the number)."""
    return time.clock_gettime((~pid << 3) | 2)


def tree_s(pid: int) -> float:
    """CPU of a process and of what lives below it."""
    total = 0.0
    for each in (pid, *descendants(pid)):
        try:
            total += clock_s(each)
        except OSError:  # it ended meanwhile
            continue
    return total


def ended_children_s(pid: int) -> float:
    """CPU of the children of a process that ended and were waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


class Bare:
    """The bare loop, and what every child has: a thread that drains its lines."""

    kind = "bare loop"

    def __init__(self) -> None:
        self._start([sys.executable, "-IBS", "-c", _BARE])
        self._run(self._drain)

    def _start(self, argv: list[str]) -> None:
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = self.bytes = 0
        self.last = b""
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()

    def _run(self, *works: Any) -> None:
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def _line(self) -> bytes:
        if self.process.stdout is None:
            raise RuntimeError("no pipe")
        return self.process.stdout.readline()

    def _write(self, data: bytes) -> None:
        if self.process.stdin is not None:
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def _drain(self) -> None:
        while line := self._line():
            self.lines += 1
            self.bytes += len(line)
            if b'"t":"s"' in line:
                self.last = line
            elif b'"need":"pynvml"' in line:
                self._write(bootstrap.pynvml_payload())

    def close(self) -> None:
        self._ended.set()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._end()
        self.process.wait(10)
        for thread in self._threads:
            thread.join()

    def _end(self) -> None:
        self.process.kill()


class Child(Bare):
    """The agent as a local child; a second thread beats its heart.

    Args:
        python: False for the ``sh`` agent.
        source: another version's ``agent.py``; None for the shipped one.
    """

    def __init__(self, *, python: bool = True, source: str | None = None) -> None:
        nonce = bootstrap.new_nonce()
        argv = bootstrap.local_argv(nonce, sys.executable)
        if not python:
            argv = ["/bin/sh", "-c", bootstrap.command(nonce, python=False).removeprefix("exec /bin/sh -c ").strip("'")]
        self._start(argv)
        boot = bootstrap.parse_marker(self._line(), nonce)
        if boot is None:
            raise RuntimeError("no marker")
        self.kind = boot.kind
        extra = {"processes_s": _SETTINGS["processes_s"]} if boot.kind == "python" else {}
        self._write(
            bootstrap.payload(boot.kind, 1.0, **extra) if source is None else bootstrap.packed(source, repr(_SETTINGS))
        )
        self._run(self._drain, self._beat)

    def _beat(self) -> None:
        token = 0
        while not self._ended.wait(0.0 if token == 0 else _BEAT_S):
            token += 1
            self._write(b"h %d\n" % token)

    def close(self) -> None:
        self._ended.set()
        self._threads[1].join()
        super().close()

    def _end(self) -> None:
        """The end of its stdin ends it."""


class Run:
    """One child while it is measured."""

    def __init__(self, child: Bare) -> None:
        self.child = child
        self.pid = child.process.pid
        self.start_s, self.ended_s, self.at = tree_s(self.pid), ended_children_s(self.pid), time.perf_counter()
        self.lines, self.bytes, self.memory = child.lines, child.bytes, 0

    def look(self) -> None:
        self.memory = max(self.memory, rss_bytes(self.pid) + sum(rss_bytes(each) for each in descendants(self.pid)))

    def figures(self) -> dict[str, Any]:
        child, took, cpu = self.child, time.perf_counter() - self.at, tree_s(self.pid) - self.start_s
        gpus = len(msgspec.json.decode(child.last.partition(b"\t")[0])["gpus"]) if child.last else None
        return {
            "kind": child.kind,
            "cpu_pct": round(cpu / took * 100, 4),
            "ended_children_cpu_pct": round((ended_children_s(self.pid) - self.ended_s) / took * 100, 3),
            "cpu_ms_per_sample": round(cpu * 1000 / took, 3),
            "rss_mb": round(self.memory / 1e6, 1),
            "start_cpu_s": round(self.start_s, 3),
            "lines": child.lines - self.lines,
            "bytes_per_s": round((child.bytes - self.bytes) / took),
            "gpus": gpus,
        }


def measure(children: list[Bare], seconds: float) -> list[dict[str, Any]]:
    """Measure all children at the same time, after their starts have settled; and end them."""
    try:
        time.sleep(_SETTLE_S)
        runs, end = [Run(child) for child in children], time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            for run in runs:
                run.look()
            time.sleep(min(5.0, left))
        return [run.figures() for run in runs]
    finally:
        for child in children:
            child.close()


def cost(*, python: bool, seconds: float) -> dict[str, Any]:
    """Run one agent and measure it."""
    return measure([Child(python=python)], seconds)[0]


def beside(seconds: float, pairs: int, other: str | None) -> dict[str, Any]:
    """The shipped agent, the bare loop and another version at the same time: figures of the first, ratios of the sums."""
    makers: dict[str, Any] = {"python": Child, "floor": Bare}
    if other is not None:
        makers["other"] = lambda: Child(source=other)
    order = [list(makers)[:: 1 if pair % 2 == 0 else -1] for pair in range(pairs)]
    names = [name for round_ in order for name in round_]
    children: list[Bare] = []
    for name in names:
        children.append(makers[name]())
        time.sleep(0.37)  # so that they do not wake at the same moment and warm the caches for each other
    all_figures = measure(children, seconds)
    found: dict[str, Any] = {}
    for name in makers:
        each = [figures for at, figures in zip(names, all_figures, strict=True) if at == name]
        mean = sum(figures["cpu_pct"] for figures in each) / pairs
        found[name] = {**each[0], "cpu_pct": round(mean, 4), "cpu_pct_each": [figures["cpu_pct"] for figures in each]}
    ours = found["python"]["cpu_pct"]
    for name in makers:
        if name != "python":
            found[f"python_beside_{name}"] = round(ours / found[name]["cpu_pct"], 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pairs", type=int, default=1, help="how many of each")
    parser.add_argument("--other", type=Path, help="another version's agent.py, to run beside")
    parser.add_argument("--sh", action="store_true", help="measure the sh agent too")
    options = parser.parse_args()
    other = options.other.read_text(encoding="utf-8") if options.other else None
    figures: dict[str, Any] = {"machine": machine(), **beside(options.seconds, max(options.pairs, 1), other)}
    if options.sh:
        figures["sh"] = cost(python=False, seconds=options.seconds)
    show(figures)


if __name__ == "__main__":
    main()
