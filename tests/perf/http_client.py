"""The benchmarks' HTTP client and engine beside hey, wrk, bare aiohttp and httpx, on the same servers in one run.

``python -m tests.perf.http_client [--seconds 3] [--rounds 3]``. The server has one core, the client under test another;
clients take turns. Three parts, printed as JSON:

- ``max_rate``: requests a second at concurrency 4 and 50 against a server that answers at once (``ours`` is the client
  alone, ``engine`` a run by the real engine), and ``ratio_to_hey`` of the medians; ``ratio_to_hey_by_cpu`` is that of
  requests a second of CPU time, which says the same where others use the machine too.
- ``fixed_delay``: a server that answers after 50 ms, at concurrency 4 (theory 80/s): throughput and median.
- ``open_loop``: how late the engine sends on schedule at some rates, and what that costs of a core.

hey and wrk come from Debian's packages, httpx from its own (it is no dependency); what is missing is left out, and said.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.perf.harness import ROOT, machine, show

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

PYTHON_CLIENTS = ("ours", "engine", "aiohttp", "httpx")
SERVER_CPU, CLIENT_CPU = 0, 1
DELAY_MS, DELAY_C, DELAY_N = 50.0, 4, 800


@contextlib.contextmanager
def server(delay_ms: float = 0.0) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.perf.http_server", "--delay-ms", str(delay_ms), "--cpu", str(SERVER_CPU)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        assert process.stdin is not None
        process.stdin.close()


# --- a client, in a process of its own ---


async def closed_loop(once: Callable[[], Awaitable[Any]], concurrency: int, seconds: float, n: int) -> list[float]:
    """Latencies of requests by ``concurrency`` slots, for a while, or exactly ``n`` of them; the first are not counted."""
    for _ in range(concurrency):
        await once()
    took: list[float] = []
    end = time.perf_counter() + seconds
    left = n

    async def slot() -> None:
        nonlocal left
        while (left := left - 1) >= 0 if n else time.perf_counter() < end:
            began = time.perf_counter()
            await once()
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(slot() for _ in range(concurrency)))
    return took


async def by_ours(port: int, concurrency: int, seconds: float, n: int) -> list[float]:
    from benchmarks.client import Client
    from benchmarks.context import Endpoint

    async with Client(Endpoint(f"http://127.0.0.1:{port}"), concurrency=concurrency, timeout_s=10.0) as client:
        return await closed_loop(lambda: client.send("GET", "/"), concurrency, seconds, n)


async def by_aiohttp(port: int, concurrency: int, seconds: float, n: int) -> list[float]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:

        async def once() -> None:
            async with session.get(f"http://127.0.0.1:{port}/") as response:
                await response.read()

        return await closed_loop(once, concurrency, seconds, n)


async def by_httpx(port: int, concurrency: int, seconds: float, n: int) -> list[float]:
    import httpx

    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as client:
        return await closed_loop(lambda: client.get(f"http://127.0.0.1:{port}/"), concurrency, seconds, n)


async def by_engine(
    port: int, concurrency: int, seconds: float, n: int, rate_per_s: float | None = None
) -> tuple[list[Any], Any]:
    """Samples and record of an API latency run."""
    from msgspec.structs import replace

    from benchmarks.benchmark import Request
    from benchmarks.engine import Engine
    from benchmarks.latency import DEFINITION
    from benchmarks.model import Outcome
    from benchmarks.recorder import Recorder
    from benchmarks.ways import RunContext
    from probes.config import Settings
    from probes.model import Host

    host = Host("h", "127.0.0.1")
    request = Request(
        DEFINITION.id,
        url=f"http://127.0.0.1:{port}",
        concurrency=None if rate_per_s else concurrency,
        rate_per_s=rate_per_s,
        n=max(n, 1),
        warmup_n=concurrency,
    )
    (spec,) = DEFINITION.plan(request, host, {})
    spec = replace(spec, load=replace(spec.load, min_s=0.0 if n else seconds))
    async with RunContext(host, Settings(hosts=(host,))) as context:
        recorder = Recorder(time.perf_counter_ns())
        record = await Engine(spec, DEFINITION.make(spec, context), recorder, asyncio.Event()).run()
    if any(sample.outcome is not Outcome.OK for sample in record.samples):
        raise RuntimeError(f"requests failed: {record.errors}")
    return record.samples, record


def play(options: argparse.Namespace) -> None:
    """Be one client, and print its figures."""
    os.sched_setaffinity(0, {CLIENT_CPU})
    port, concurrency, seconds, n = options.port, options.concurrency, options.seconds, options.n
    for name in ("aiohttp", "httpx", "benchmarks.latency", "benchmarks.engine", "benchmarks.ways"):
        with contextlib.suppress(ModuleNotFoundError):  # imports are not what is measured
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    if options.play == "engine":
        samples, record = asyncio.run(by_engine(port, concurrency, seconds, n, options.rate))
        took = [sample.values["service_time"] for sample in samples]
        span_s = (max(sample.end_ns for sample in samples) - min(sample.start_ns for sample in samples)) / 1e9
        lags = sorted((sample.start_ns - sample.intended_ns) / 1e6 for sample in samples)
        more = {
            "send_lag_p50_ms": round(lags[len(lags) // 2], 3),
            "send_lag_p99_ms": round(lags[-(-99 * len(lags) // 100) - 1], 3),
            "loop_lag_p99_ms": round((record.loop_lag_p99_s or 0) * 1000, 3),
            "cpu_pct": round(record.client_cpu_pct, 1),
            "cpu_us_per_request": round(record.client_cpu_pct / 100 * span_s / len(samples) * 1e6, 1),
        }
    else:
        by = {"ours": by_ours, "aiohttp": by_aiohttp, "httpx": by_httpx}[options.play]
        began, used = time.perf_counter(), _cpu_s()
        took = asyncio.run(by(port, concurrency, seconds, n))
        span_s = time.perf_counter() - began
        more = {"cpu_us_per_request": round((_cpu_s() - used) / len(took) * 1e6, 1)}
        if n:  # making the client is no part of it
            span_s = sum(took) / concurrency
    show({"n": len(took), "per_s": round(len(took) / span_s, 2), "p50_ms": round(median(took) * 1000, 3), **more})


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# --- side by side ---


def python_client(
    name: str, port: int, concurrency: int, seconds: float, *, n: int = 0, rate: float | None = None
) -> Any:
    command = [sys.executable, "-m", "tests.perf.http_client", "--play", name, "--port", str(port)]
    command += ["--concurrency", str(concurrency), "--seconds", str(seconds), "--n", str(n)]
    if rate is not None:
        command += ["--rate", str(rate)]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def hey(port: int, concurrency: int, seconds: float, n: int = 0) -> Any:
    amount = ["-n", str(n)] if n else ["-z", f"{seconds}s"]
    said, cpu_s = _pinned(["hey", *amount, "-c", str(concurrency), f"http://127.0.0.1:{port}/"], {"GOMAXPROCS": "1"})
    rate, p50 = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"50%+ in ([\d.]+) secs", said)
    assert rate is not None
    assert p50 is not None, said
    answers = re.search(r"\[200\]\s+(\d+) responses", said)
    assert answers is not None, said
    cpu_us = round(cpu_s / int(answers.group(1)) * 1e6, 1)
    return {"per_s": float(rate.group(1)), "p50_ms": float(p50.group(1)) * 1000, "cpu_us_per_request": cpu_us}


def wrk(port: int, concurrency: int, seconds: float, n: int = 0) -> Any:
    duration = f"{round(n * DELAY_MS / 1000 / concurrency) if n else round(seconds)}s"
    said, cpu_s = _pinned(
        ["wrk", "-t1", f"-c{concurrency}", f"-d{duration}", "--latency", f"http://127.0.0.1:{port}/"], {}
    )
    rate, p50 = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"50%\s+([\d.]+)(us|ms|s)", said)
    assert rate is not None
    assert p50 is not None, said
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p50.group(2)]
    answers = re.search(r"(\d+) requests in", said)
    assert answers is not None, said
    return {
        "per_s": float(rate.group(1)),
        "p50_ms": round(float(p50.group(1)) * scale, 3),
        "cpu_us_per_request": round(cpu_s / int(answers.group(1)) * 1e6, 1),
    }


def _pinned(command: list[str], environment: dict[str, str]) -> tuple[str, float]:
    """What a program says, and the CPU time it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    pinned = ["taskset", "-c", str(CLIENT_CPU), *command]
    said = subprocess.run(pinned, check=True, capture_output=True, text=True, env={**os.environ, **environment}).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return said, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def clients() -> tuple[dict[str, Callable[..., Any]], list[str]]:
    """The clients that are there, and those that are not."""
    found: dict[str, Callable[..., Any]] = {}
    missing: list[str] = []
    for name, tool in (("hey", hey), ("wrk", wrk)):
        if shutil.which(name):
            found[name] = tool
        else:
            missing.append(name)
    for name in PYTHON_CLIENTS:
        if name != "httpx" or importlib.util.find_spec("httpx") is not None:
            found[name] = lambda *args, name=name, **more: python_client(name, *args, **more)
        else:
            missing.append(name)
    return found, missing


def compare(port: int, concurrency: int, seconds: float, rounds: int, n: int = 0) -> dict[str, Any]:
    """Each client in turn, ``rounds`` times; every round, and the medians."""
    found, _ = clients()
    every: dict[str, list[Any]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, client in found.items():
            every[name].append(client(port, concurrency, seconds, n=n))
    middle: dict[str, Any] = {
        name: {key: round(median(one[key] for one in runs), 3) for key in runs[0] if key != "n"}
        for name, runs in every.items()
    }
    if "hey" in middle:
        for figures in middle.values():
            figures["ratio_to_hey"] = round(figures["per_s"] / middle["hey"]["per_s"], 4)
            cpu_ratio = middle["hey"]["cpu_us_per_request"] / figures["cpu_us_per_request"]
            figures["ratio_to_hey_by_cpu"] = round(cpu_ratio, 4)
            figures["p50_minus_hey_ms"] = round(figures["p50_ms"] - middle["hey"]["p50_ms"], 3)
    return {"median": middle, "rounds": {name: [one["per_s"] for one in runs] for name, runs in every.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rates", default="100,500,1000,1500,2000")
    parser.add_argument("--parts", default="max_rate,fixed_delay,open_loop")
    parser.add_argument("--play", choices=PYTHON_CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--concurrency", type=int, default=4, help=argparse.SUPPRESS)
    parser.add_argument("--n", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play is not None:
        play(options)
        return
    parts = options.parts.split(",")
    figures: dict[str, Any] = {"machine": machine(), "missing": clients()[1], "load_1m": os.getloadavg()[0]}
    with server() as port:
        if "max_rate" in parts:
            figures["max_rate"] = {
                f"c{concurrency}": compare(port, concurrency, options.seconds, options.rounds)
                for concurrency in (4, 50)
            }
        if "open_loop" in parts:
            figures["open_loop"] = {
                rate: python_client("engine", port, 4, options.seconds, rate=float(rate))
                for rate in options.rates.split(",")
            }
    if "fixed_delay" in parts:
        with server(DELAY_MS) as port:
            figures["fixed_delay"] = compare(port, DELAY_C, options.seconds, options.rounds, n=DELAY_N)
    show(figures)


if __name__ == "__main__":
    main()
