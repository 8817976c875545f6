"""The watcher without a screen: how long until every host has sent a sample, and what a line costs afterwards.

``python -m tests.perf.headless CONFIG SECONDS SETTLE`` prints JSON with the same fields as the bare reader's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from probes import config
from probes.fleet import Fleet
from probes.hosts.supervisor import Supervisor
from probes.limits import raise_fd_limit
from tests.perf.harness import rss_bytes

_LIMIT_S = 180.0


async def watch(path: Path, seconds: float, settle_s: float) -> dict[str, Any]:
    settings = config.load(path)
    raise_fd_limit(len(settings.hosts))
    fleet = Fleet(settings.hosts)
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    running = asyncio.create_task(Supervisor(settings, fleet).run())
    waiting = list(fleet.hosts.values())
    while waiting and time.perf_counter() - start_s < _LIMIT_S:
        await asyncio.sleep(0.01)
        waiting = [host for host in waiting if not host.samples]
    all_s, connecting_cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    await asyncio.sleep(settle_s)
    cpu_s, lines, at_s = time.process_time(), fleet.lines, time.perf_counter()
    await asyncio.sleep(seconds)
    cpu_s, lines, took_s = time.process_time() - cpu_s, fleet.lines - lines, time.perf_counter() - at_s
    memory = rss_bytes("self")
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return {
        "hosts": len(fleet.hosts),
        "without_sample": len(waiting),
        "all_sampled_s": round(all_s, 3),
        "connecting_cpu_s": round(connecting_cpu_s, 3),
        "lines": lines,
        "lines_per_s": round(lines / took_s, 1) if took_s else None,
        "cpu_pct": round(cpu_s / took_s * 100, 2) if took_s else None,
        "cpu_us_per_line": round(cpu_s / lines * 1e6, 1) if lines else None,
        "rss_bytes": memory,
    }


def main() -> None:
    path, seconds, settle_s = sys.argv[1:4]
    print(json.dumps(asyncio.run(watch(Path(path), float(seconds), float(settle_s)))))


if __name__ == "__main__":
    main()
