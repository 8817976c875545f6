"""Figures about this process while it runs, for the performance bench: one JSON line a second into a file.

Off unless ``$QUARTERDECK_PERF_LOG`` names a file; ``$QUARTERDECK_PERF_GROUP`` limits the ages to the hosts of one
group. Each line: CPU and memory of the process, event loop lag over the last second, lines ingested so far, hosts by
link state, how old the last samples are at that moment (since arrival, plus what the echoed heartbeat says of the way
here).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from probes import clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.fleet import Fleet
    from tui.backend import Backend

VARIABLE = "QUARTERDECK_PERF_LOG"
GROUP_VARIABLE = "QUARTERDECK_PERF_GROUP"
_LAG_STEP_S = 0.02
_LINE_S = 1.0


def measured(backend: Backend, fleet: Fleet) -> Backend:
    """The backend itself, or, where the variable is set, one that records while it runs."""
    path = os.environ.get(VARIABLE)
    if not path:
        return backend
    run = backend.run

    async def run_and_record() -> None:
        recorder = asyncio.create_task(record(fleet, path), name="perf log")
        try:
            await run()
        finally:
            recorder.cancel()
            await asyncio.gather(recorder, return_exceptions=True)

    backend.run = run_and_record  # type: ignore[method-assign]
    return backend


async def record(fleet: Fleet, path: str) -> None:
    """Append a line a second until cancelled."""
    import json  # noqa: PLC0415 - every start of the dashboard would pay for it

    loop = asyncio.get_running_loop()
    out = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    group = os.environ.get(GROUP_VARIABLE)
    lags_s: list[float] = []
    due_s = loop.time() + _LINE_S
    try:
        while True:
            before_s = loop.time()
            await asyncio.sleep(_LAG_STEP_S)
            now_s = loop.time()
            lags_s.append(now_s - before_s - _LAG_STEP_S)
            if now_s >= due_s:
                due_s = now_s + _LINE_S
                os.write(out, json.dumps(figures(fleet, lags_s, group)).encode() + b"\n")
                lags_s.clear()
    finally:
        os.close(out)


def figures(fleet: Fleet, lags_s: Sequence[float], group: str | None = None) -> dict[str, Any]:
    """One line's content; times in milliseconds, memory in bytes, ``cpu_s`` since the start of the process.

    Every host of the group that ever sent a sample counts among the ages, whatever its link: a stalled one must show.
    """
    now = clock.boot_s()
    states: Counter[str] = Counter()
    ages_s: list[float] = []
    members = 0
    for host in fleet.hosts.values():
        states[host.link.state.value] += 1
        if group is not None and group not in host.host.groups:
            continue
        members += 1
        age_s = host.age_s(now)
        if age_s is not None:
            ages_s.append(age_s)
    return {
        "at_s": round(now, 3),
        "cpu_s": round(time.process_time(), 4),
        "rss_bytes": _rss_bytes(),
        "lines": fleet.lines,
        "events": fleet.event_count,
        "states": dict(states),
        "lag_ms": _spread_ms(lags_s),
        "members": members,
        "sampled": len(ages_s),
        "age_ms": _spread_ms(ages_s),
        "lags_ms": [round(lag * 1000, 2) for lag in lags_s],
    }


def _spread_ms(values_s: Sequence[float]) -> dict[str, float] | None:
    if not values_s:
        return None
    ordered = sorted(values_s)
    last = len(ordered) - 1
    picks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[min(last, int(share * len(ordered)))] * 1000, 2) for name, share in picks.items()}


def _rss_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - one line a second, and pathlib costs more than it
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
