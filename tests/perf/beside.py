"""What a line costs the watcher (sessions, decoding, store; no screen), beside the bare asyncssh reader.

``python -m tests.perf.beside --hosts 1000 --seconds 20 --rounds 3``. Both run at the same time on the same hosts, so that
whatever else the machine does weighs on both. Lines are all lines of the agents: samples and process lists. Prints each
round, and the medians.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from statistics import median
from typing import Any

from tests.perf.fleet import plays, reader_input
from tests.perf.harness import ROOT, Fleet, machine, show

#: both have connected by then, even one after the other on a busy machine
SETTLE_S = 15.0


def side_by_side(fleet: Fleet, seconds: float) -> dict[str, Any]:
    """One round: CPU per line of both, in microseconds, and their ratio."""
    wanted = reader_input(fleet, seconds, 16, SETTLE_S)
    commands = {
        "watcher": ["tests.perf.headless", str(fleet.config()), str(seconds), str(SETTLE_S)],
        "bare_reader": ["tests.perf.reader", str(wanted)],
    }
    running = {
        name: subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, text=True, stdout=subprocess.PIPE)
        for name, command in commands.items()
    }
    found = {name: json.loads(process.communicate()[0]) for name, process in running.items()}
    keys = ("cpu_us_per_line", "lines_per_s", "cpu_pct", "rss_bytes")
    figures: dict[str, Any] = {name: {key: one[key] for key in keys} for name, one in found.items()}
    figures["ratio"] = round(found["watcher"]["cpu_us_per_line"] / found["bare_reader"]["cpu_us_per_line"], 3)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": machine(), "hosts": options.hosts}
    with Fleet(plays(options.hosts, 0, 0.0, soak=False), 0) as fleet:
        rounds = figures["rounds"] = [side_by_side(fleet, options.seconds) for _ in range(options.rounds)]
    figures["ratio"] = round(median(each["ratio"] for each in rounds), 3)
    for name in ("watcher", "bare_reader"):
        figures[name] = round(median(each[name]["cpu_us_per_line"] for each in rounds), 1)
    show(figures)


if __name__ == "__main__":
    main()
