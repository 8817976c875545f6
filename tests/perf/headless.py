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
from typing import TYPE_CHECKING, Any

from probes import config
from probes.fleet import Fleet
from probes.hosts.supervisor import Supervisor
from probes.limits import raise_fd_limit
from tests.perf.harness import rss_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from probes.fleet import HostRecord
    from probes.model import Host

_LIMIT_S = 180.0


class Counting(Fleet):
    """The store, which also says when every host has sent a sample: at that moment, as the bare reader's gather does."""

    def __init__(self, hosts: Iterable[Host]) -> None:
        super().__init__(hosts)
        self.waiting = set(self.hosts)
        self.all_sampled = asyncio.Event()

    def ingest(self, host_id: str, *arguments: Any) -> HostRecord | None:
        record = super().ingest(host_id, *arguments)
        self.waiting.discard(host_id)
        if not self.waiting:
            self.all_sampled.set()
            self.ingest = super().ingest  # type: ignore[method-assign] - what a line costs is measured without this
        return record


async def watch(path: Path, seconds: float, settle_s: float) -> dict[str, Any]:
    settings = config.load(path)
    raise_fd_limit(len(settings.hosts))
    fleet = Counting(settings.hosts)
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    running = asyncio.create_task(Supervisor(settings, fleet).run())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LIMIT_S):
            await fleet.all_sampled.wait()
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
        "without_sample": len(fleet.waiting),
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
