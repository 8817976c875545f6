"""LLM figures against a stand-in that says exactly when each token is generated, and what reading chunks costs.

``python -m tests.perf.llm_exact [--rounds 1] [--only NAME]``. The stand-in has a process of its own, the engine another, as
in ``bench run``. Printed as JSON:

- ``runs``: for each load and figure what follows from the stand-in's schedule, what was measured (the median, or the
  run's value), and whether that is within 2 ms and 2 % (rates: within 2 %). Token j is generated at ``ttft + j * token``
  and a chunk goes out with its last token, so with k tokens a chunk and n in all the first chunk is there at
  ``ttft + (k - 1) * token`` and the last at ``ttft + (n - 1) * token``.
  ``bare_socket_s`` is the same first chunk seen by a blocking socket, one request at a time, after the run: what of the
  offset is the stand-in's and the network's.
- ``parser``: chunks a second that one core reads, decodes and counts, one at a time and 16 a read.
- ``engine``: chunks a second of a run with many answers at once, and what of a core that took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import time
from statistics import median
from typing import Any, NamedTuple

from benchmarks.benchmark import Request
from benchmarks.llm.answer import Answer
from benchmarks.plan import plan_suite
from benchmarks.runner import Runner
from probes.config import default_settings
from probes.demo.voices import Behaviour
from probes.demo.voices.process import start
from probes.fleet import Fleet
from probes.model import Host, Service, ServiceKind
from tests.perf.harness import machine, show


class Exact(NamedTuple):
    """One load, and the stand-in's schedule in seconds."""

    name: str
    ttft_s: float
    token_s: float
    tokens: int
    per_chunk: int = 1
    concurrency: int | None = 1
    rate_per_s: float | None = None
    n: int = 30

    @property
    def first_s(self) -> float:
        return self.ttft_s + (self.per_chunk - 1) * self.token_s

    @property
    def whole_s(self) -> float:
        return self.ttft_s + (self.tokens - 1) * self.token_s

    def expected(self, intended: int) -> dict[str, float]:
        """By tag; the last chunk may hold fewer tokens, which is why ``tokens`` divides by ``per_chunk`` here."""
        if self.rate_per_s is None:
            rounds = -(-intended // (self.concurrency or 1))
            lasted_s = rounds * self.whole_s
        else:
            lasted_s = (intended - 1) / self.rate_per_s + self.whole_s
        return {
            "ttft": self.first_s,
            "tpot": (self.whole_s - self.first_s) / (self.tokens - 1),
            "inter_chunk": self.per_chunk * self.token_s,
            "service_time": self.whole_s,
            "output_tokens": float(self.tokens),
            "output_tokens_per_s": intended * self.tokens / lasted_s,
            "samples_per_s": intended / lasted_s,
        }


LOADS = (
    Exact("one at a time", ttft_s=0.2, token_s=0.02, tokens=32),
    Exact("eight at a time, 4 tokens a chunk", ttft_s=0.2, token_s=0.005, tokens=128, per_chunk=4, concurrency=8, n=64),
    Exact("open loop, 10/s", ttft_s=0.2, token_s=0.01, tokens=32, concurrency=None, rate_per_s=10.0, n=60),
)  # fmt: skip
BUSY = Exact("64 at a time", ttft_s=0.05, token_s=0.02, tokens=64, concurrency=64, n=256)


def bare(port: int, tokens: int) -> float:
    """Seconds from sending to the second event (the first is the empty role delta), on a connection of its own."""
    fields = {"model": "demo-8b", "stream": True, "max_tokens": tokens, "messages": [{"role": "user", "content": "x"}]}
    body = json.dumps(fields).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 10) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began_s = time.perf_counter()
        link.sendall(head.encode() + body)
        seen = b""
        while seen.count(b"data: {") < 2:
            part = link.recv(65536)
            if not part:
                raise RuntimeError("the stand-in hung up")
            seen += part
        return time.perf_counter() - began_s


def run(load: Exact) -> tuple[Any, float]:
    """The result of one run by the real engine, and the first chunk's time as a bare socket sees it."""
    behaviour = Behaviour(
        ttft_s=load.ttft_s, token_s=load.token_s, reply_tokens=load.tokens, tokens_per_chunk=load.per_chunk
    )
    with start("openai", behaviour, exact=True) as server:
        host = Host("here", "127.0.0.1", services=(Service("model", server.port, ServiceKind.OPENAI),))
        request = Request(
            "llm", n=load.n, concurrency=load.concurrency, rate_per_s=load.rate_per_s,
            extra={"prompt": "short", "max-tokens": str(load.tokens)},
        )  # fmt: skip
        suite_plan = plan_suite(request, (host,), {"model": "", "max_tokens": 128})
        suite = asyncio.run(Runner(default_settings(), Fleet((host,)), None, first_sample_s=0.0).run(suite_plan))
        floor_s = median(bare(server.port, load.tokens) for _ in range(9))
    (job,) = suite.jobs
    if len(suite.results) != 1:
        raise RuntimeError(f"no result: {job.failures} {job.problems}")
    (result,) = suite.results
    if result.counts.ok != result.counts.intended:
        raise RuntimeError(f"requests failed: {result.errors}")
    return result, floor_s


def compared(load: Exact) -> dict[str, Any]:
    """Expected and measured."""
    result, floor_s = run(load)
    figures: dict[str, Any] = {}
    for tag, expected in load.expected(result.counts.intended).items():
        metric = result.metrics[tag]
        measured = metric.value if metric.scope == "run" else metric.median
        assert measured is not None
        off, share = measured - expected, (measured - expected) / expected
        within = abs(share) <= 0.02 and (metric.unit not in {"s", "s/token"} or abs(off) <= 0.002)
        p90 = None if metric.scope == "run" or "p90" not in metric.q else metric.q["p90"].value
        figures[tag] = {
            "unit": metric.unit, "expected": round(expected, 6), "measured": round(measured, 6),
            "p90": None if p90 is None else round(p90, 6), "off": round(off, 6), "off_pct": round(100 * share, 3),
            "within": within,
        }  # fmt: skip
    return {
        "load": load.name,
        "schedule": load._asdict(),
        "requests": result.counts.intended,
        "validity": result.validity.verdict,
        "reasons": result.validity.reasons,
        "letter": result.grade.letter,
        "client_cpu_pct": result.load.client_cpu_pct,
        "loop_lag_p99_s": result.load.loop_lag_p99_s,
        "bare_socket_s": round(floor_s, 6),
        "figures": figures,
        "all_within": all(figure["within"] for figure in figures.values()),
    }


def parsed(per_read: int, seconds: float = 2.0) -> dict[str, float]:
    """Chunks a second of CPU time."""
    chunk = json.dumps({
        "id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": 1_750_000_000,
        "model": "demo-8b", "choices": [{"index": 0, "delta": {"content": " tower"}, "logprobs": None,
                                          "finish_reason": None}], "usage": None,
    })  # fmt: skip
    raw = f"data: {chunk}\n\n".encode() * per_read
    count, began_s = 0, time.process_time()
    while (took_s := time.process_time() - began_s) < seconds:
        answer = Answer(0, 1 << 40)
        for at in range(1000):
            answer.feed(raw, at)
        count += 1000 * per_read
    return {"chunks_per_read": per_read, "bytes_per_chunk": len(raw) / per_read, "chunks_per_s": round(count / took_s)}


def busy() -> dict[str, Any]:
    """What a run costs that has many answers at once."""
    result, _ = run(BUSY)
    chunks_per_s, cpu_pct = result.metrics["output_chunks_per_s"].value, result.load.client_cpu_pct
    return {
        "load": BUSY.name,
        "expected_chunks_per_s": round(BUSY.expected(result.counts.intended)["output_tokens_per_s"]),
        "chunks_per_s": round(chunks_per_s),
        "client_cpu_pct": cpu_pct,
        "chunks_per_s_of_a_whole_core": round(100 * chunks_per_s / cpu_pct) if cpu_pct else None,
        "validity": result.validity.verdict,
        "reasons": result.validity.reasons,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=["runs", "parser", "engine"])
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": machine(), "load_average": os.getloadavg()}
    if options.only in (None, "runs"):
        figures["runs"] = [compared(load) for _ in range(options.rounds) for load in LOADS]
    if options.only in (None, "parser"):
        figures["parser"] = [parsed(1), parsed(16)]
    if options.only in (None, "engine"):
        figures["engine"] = busy()
    show(figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
