"""What drawing the fleet costs: the dashboard in a pty, fed from memory, its CPU against the same feed without it.

    python tests/perf/grid.py [--hosts 1000] [--gpus 8] [--seconds 10] [--size 200x50]

Prints one JSON object. ``rendering_core_pct`` is the share of one core that the dashboard adds to storing the samples;
``longest_block_ms`` the most CPU time any one callback of the event loop took (CPU, so that a busy machine does not
count).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import pty
import random
import select
import statistics
import struct
import sys
import termios
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.fleets import fleet_of, gpu, sample, settings_of

WARM_S = 3.0


def pool(gpus: int, count: int = 64):
    rng = random.Random(1)  # noqa: S311 - plausible figures, not secrets
    made = []
    for seq in range(count):
        cards = tuple(
            gpu(i, utilization_pct=float(rng.randrange(101)), temperature_c=float(rng.randrange(35, 79)),
                power_w=rng.uniform(80, 690), memory_used_bytes=rng.randrange(1, 79) * 1024**3)
            for i in range(gpus)
        )  # fmt: skip
        base = sample(cards, seq=seq)
        made.append(base)
    return made


async def feed(fleet, samples, hosts, stop_at):
    """Every host once a second, spread evenly, 20 batches a second."""
    from probes import clock

    ids = list(fleet.hosts)
    step = max(len(ids) // 20, 1)
    at = turn = 0
    started = time.monotonic()
    while time.monotonic() < stop_at:
        for host_id in ids[at : at + step]:
            fleet.ingest(host_id, samples[(turn + at) % len(samples)], clock.boot_s(), 0.05)
        at += step
        if at >= len(ids):
            at = 0
        turn += 1
        await asyncio.sleep(max(started + turn / 20 - time.monotonic(), 0))


def watch_callbacks(longest):
    run = asyncio.Handle._run

    def timed(self):
        before = time.thread_time()
        try:
            return run(self)
        finally:
            took = time.thread_time() - before
            if took > 0.002:
                longest.append((took * 1000, repr(self._callback)[:160]))

    asyncio.Handle._run = timed


def child(args, report):
    """Runs in the pty."""
    from tui.app import QuarterdeckApp

    fleet = fleet_of(args.hosts, args.gpus)
    samples = pool(args.gpus)
    app = QuarterdeckApp(settings_of(fleet), fleet)
    longest = []
    watch_callbacks(longest)

    async def measure():
        loop_end = time.monotonic() + WARM_S + args.seconds
        feeder = asyncio.create_task(feed(fleet, samples, args.hosts, loop_end))
        await asyncio.sleep(WARM_S)
        longest.clear()
        before, start = time.process_time(), time.monotonic()
        lags = []
        while time.monotonic() < start + args.seconds:
            then = time.monotonic()
            await asyncio.sleep(0.02)
            lags.append(time.monotonic() - then - 0.02)
        cpu, wall = time.process_time() - before, time.monotonic() - start
        await feeder
        lags.sort()
        longest.sort(reverse=True)
        report.update(
            with_dashboard_core_pct=round(cpu / wall * 100, 2),
            loop_lag_ms={
                "p50": round(statistics.median(lags) * 1e3, 2),
                "p99": round(lags[int(len(lags) * 0.99)] * 1e3, 2),
            },
            longest_block_ms=round(longest[0][0], 2) if longest else 2.0,
            longest_blocks=[(round(ms, 2), what) for ms, what in longest[:3]],
            troubles=app.banner,
        )
        app.exit()

    app.call_later(lambda: app.chore(measure(), "measure"))
    if args.profile:
        import cProfile

        profile = cProfile.Profile()
        app.call_later(profile.enable)
        app.run()
        profile.disable()
        profile.dump_stats(args.profile)
    else:
        app.run()


def baseline(args):
    """The same feed with nobody looking."""
    fleet = fleet_of(args.hosts, args.gpus)
    samples = pool(args.gpus)
    before, start = time.process_time(), time.monotonic()

    async def run():
        feeder = asyncio.create_task(feed(fleet, samples, args.hosts, start + args.seconds))
        while not feeder.done():
            await asyncio.wait([feeder], timeout=0.02)

    asyncio.run(run())
    return (time.process_time() - before) / (time.monotonic() - start) * 100


def in_pty(args, columns, rows):
    """Run ``child`` in a pty of that size; returns its report and the bytes it wrote to the screen."""
    read_end, write_end = os.pipe()
    pid, master = pty.fork()
    if pid == 0:
        os.close(read_end)
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
        os.environ.pop("NO_COLOR", None)
        report = {}
        code = 1
        try:
            child(args, report)
            os.write(write_end, json.dumps(report).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write_end)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    written = 0
    done = threading.Event()
    while not done.is_set():
        ready, _, _ = select.select([master], [], [], 30)
        if not ready:
            break
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        written += len(data)
    os.waitpid(pid, 0)
    with os.fdopen(read_end) as pipe, contextlib.suppress(json.JSONDecodeError):
        return json.loads(pipe.read()), written
    return {"error": "the dashboard ended without a report"}, written


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--size", default="200x50")
    parser.add_argument("--profile", default="")
    args = parser.parse_args()
    columns, rows = map(int, args.size.split("x"))
    base = baseline(args)
    report, written = in_pty(args, columns, rows)
    out = {"hosts": args.hosts, "gpus": args.gpus, "size": args.size, "seconds": args.seconds,
           "store_only_core_pct": round(base, 2), **report,
           "screen_bytes_per_s": round(written / (args.seconds + WARM_S))}  # fmt: skip
    if "with_dashboard_core_pct" in out:
        out["rendering_core_pct"] = round(out["with_dashboard_core_pct"] - base, 2)
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
