"""What the agent costs a host: CPU and memory at 1 Hz, from /proc, without the process list.

``python -m tests.perf.agent_cost --seconds 60`` runs the shipped agent as a local child with the shipped protocol, for
each kind. The CPU of its start (compiling its source) is given apart. What reading a GPU adds is only in the figures
where the machine has one; ``gpus`` says how many there were.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from typing import Any

import msgspec

from probes.hosts import bootstrap
from tests.perf.harness import descendants, machine, rss_bytes, show, tree_cpu_s


class Child:
    """The agent as a local child; a thread drains its lines and beats its heart."""

    def __init__(self, *, python: bool) -> None:
        nonce = bootstrap.new_nonce()
        argv = bootstrap.local_argv(nonce, sys.executable)
        if not python:
            argv = ["/bin/sh", "-c", bootstrap.command(nonce, python=False).removeprefix("exec /bin/sh -c ").strip("'")]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        boot = bootstrap.parse_marker(self._line(), nonce)
        if boot is None:
            raise RuntimeError("no marker")
        self.kind = boot.kind
        extra = {"processes_s": 1e9} if boot.kind == "python" else {}
        self.lines = self.bytes = 0
        self.last = b""
        self._write(bootstrap.payload(boot.kind, 1.0, **extra))
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._drain, self._beat)]
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

    def _beat(self) -> None:
        token = 0
        while not self._ended.wait(0.0 if token == 0 else 5.0):
            token += 1
            self._write(b"h %d\n" % token)

    def close(self) -> None:
        self._ended.set()
        self._threads[1].join()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(10)
        self._threads[0].join()


def cost(*, python: bool, seconds: float) -> dict[str, Any]:
    """Run one agent and measure it after its start has settled."""
    child = Child(python=python)
    try:
        time.sleep(5.0)
        pid = child.process.pid
        started_cpu_s, at = tree_cpu_s(pid), time.perf_counter()
        lines, size, memory = child.lines, child.bytes, 0
        while (left := seconds - (time.perf_counter() - at)) > 0:
            memory = max(memory, rss_bytes(pid) + sum(rss_bytes(each) for each in descendants(pid)))
            time.sleep(min(5.0, left))
        took, cpu = time.perf_counter() - at, tree_cpu_s(pid) - started_cpu_s
        gpus = len(msgspec.json.decode(child.last.partition(b"\t")[0])["gpus"]) if child.last else None
        return {
            "kind": child.kind,
            "cpu_pct": round(cpu / took * 100, 3),
            "cpu_ms_per_sample": round(cpu * 1000 / took, 3),
            "rss_mb": round(memory / 1e6, 1),
            "start_cpu_s": round(started_cpu_s, 3),
            "lines": child.lines - lines,
            "bytes_per_s": round((child.bytes - size) / took),
            "gpus": gpus,
        }
    finally:
        child.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--sh", action="store_true", help="measure the sh agent too")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": machine(), "python": cost(python=True, seconds=options.seconds)}
    if options.sh:
        figures["sh"] = cost(python=False, seconds=options.seconds)
    show(figures)


if __name__ == "__main__":
    main()
