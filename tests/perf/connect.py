"""Cold connections: how long until every host of a fleet has sent a first sample, against a bare asyncssh loop.

``python -m tests.perf.connect --hosts 200 --rounds 5``. Both are fresh processes on the same servers, in turn, with the
same number of connections in the making at once; the time starts after the imports and, for the watcher, after its
configuration is read. Prints the medians and their ratios; with ``--seconds`` also what a line costs the watcher
without a screen.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from typing import Any

from tests.perf.fleet import read_bare
from tests.perf.harness import ROOT, Fleet, machine, show


def watch(fleet: Fleet, seconds: float, settle_s: float) -> dict[str, Any]:
    """The watcher without a screen, in a process of its own."""
    argv = [sys.executable, "-m", "tests.perf.headless", str(fleet.config()), str(seconds), str(settle_s)]
    done = subprocess.run(argv, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def middle(rows: list[dict[str, Any]], field: str) -> float:
    """The median of one field."""
    return round(statistics.median(row[field] for row in rows), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.0, help="read on for so long, for the CPU of a line")
    parser.add_argument(
        "--concurrency", type=int, default=16, help="connections in the making at once, of the bare loop"
    )
    options = parser.parse_args()
    ours: list[dict[str, Any]] = []
    bare: list[dict[str, Any]] = []
    before = machine()
    with Fleet({"ok": options.hosts}) as fleet:
        for _ in range(options.rounds):
            settle_s = 5.0 if options.seconds else 0.0
            ours.append(watch(fleet, options.seconds, settle_s))
            bare.append(read_bare(fleet, options.seconds, options.concurrency, settle_s))
    fields = ["all_sampled_s", "connecting_cpu_s"]
    if options.seconds:
        fields += ["cpu_us_per_line", "cpu_pct"]
    figures: dict[str, Any] = {"machine": before, "hosts": options.hosts, "rounds": options.rounds}
    for name, rows in (("quarterdeck", ours), ("bare_asyncssh", bare)):
        figures[name] = {field: middle(rows, field) for field in fields}
        figures[name]["all_rounds_s"] = [row["all_sampled_s"] for row in rows]
    figures["ratios"] = {
        field: round(figures["quarterdeck"][field] / figures["bare_asyncssh"][field], 2) for field in fields
    }
    show(figures)


if __name__ == "__main__":
    main()
