"""The small bench that CI runs: 20 hosts for ten seconds. It judges no time; it fails when something does not work.

``python -m tests.perf.ci`` prints the same figures as the large benches and exits 1 with the reasons when the dashboard
crashed, a host sent no sample, a key moved nothing, or the agent and the bare reader produced no line.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import Any

from tests.perf import agent_cost, fleet
from tests.perf.harness import machine, show


def problems(figures: dict[str, Any], hosts: int) -> list[str]:
    """What did not work."""
    run = figures["fleet"]
    found: list[str] = []
    if run["exit_code"] != 0:
        found.append(f"the dashboard ended with {run['exit_code']}")
    if run["healthy_without_sample"] or run["states"] != {"live": hosts}:
        found.append(f"not all hosts are live: {run['states']}")
    if run["age_ms"] is None or not run["lines_per_s"]:
        found.append("no samples in the window")
    if run["first_paint_s"] is None:
        found.append("nothing was painted")
    if run["keys"]["missed"]:
        found.append(f"{run['keys']['missed']} keys moved nothing")
    if not run["bare_reader"]["lines"]:
        found.append("the bare reader read nothing")
    if not figures["agent"]["lines"]:
        found.append("the agent sent nothing")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    real = 2 if shutil.which("sshd", path="/usr/sbin:/usr/bin") else 0
    run = argparse.Namespace(
        hosts=options.hosts, real=real, seconds=options.seconds, settle=2.0, connect_timeout=60.0, keys=5,
        reader=True, soak=False,
    )  # fmt: skip
    figures = {"machine": machine(), "fleet": fleet.run_once(run, 0.0)}
    figures["agent"] = agent_cost.cost(python=True, seconds=5.0)
    show(figures)
    found = problems(figures, options.hosts)
    for problem in found:
        print(f"perf: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
