"""The benchmark of language models as it is listed: its metrics, its ladders, its parameters."""

from __future__ import annotations

from typing import Final

from benchmarks.benchmark import Definition
from benchmarks.llm.planning import ID, PARAMETERS, TPOT_S, TTFT_S, plan
from benchmarks.llm.run import Llm
from benchmarks.llm.totals import conclude
from benchmarks.model import Ladder, Metric

_WALL: Final = "(last response - first send)"
METRICS: Final = (
    Metric("ttft", "s", "lower", "first non-empty content (reasoning included) - send", "time to first token"),
    Metric(
        "tpot", "s/token", "lower", "(end to end - ttft) / (output tokens - 1), at least 2 tokens",
        "time per output token",
    ),
    Metric("output_tokens", "tokens", "higher", "usage.completion_tokens", "output tokens"),
    Metric("prompt_tokens", "tokens", "lower", "usage.prompt_tokens", "prompt tokens"),
    Metric("output_chunks", "chunks", "higher", "stream events with content", "chunks"),
    Metric("inter_chunk", "s", "lower", "median of a request's gaps between chunks, n >= 5", "inter-chunk latency"),
    Metric("inter_chunk_p99", "s", "lower", "p99 of a request's gaps between chunks, n >= 299", "inter-chunk p99"),
    Metric("inter_chunk_max", "s", "lower", "longest of a request's gaps between chunks", "longest gap"),
    Metric("time_to_answer", "s", "lower", "first content that is not reasoning - send", "time to answer"),
    Metric(
        "time_per_chunk", "s/chunk", "lower", "(end to end - ttft) / (chunks - 1), without usage", "time per chunk"
    ),
    Metric(
        "output_tokens_per_s", "tokens/s", "higher", f"sum of usage.completion_tokens / {_WALL}", "output tokens/s",
        "run",
    ),
    Metric("output_chunks_per_s", "chunks/s", "higher", f"sum of chunks / {_WALL}", "chunks/s", "run"),
    Metric("samples_per_s", "1/s", "higher", f"ok requests / {_WALL}", "samples/s", "run"),
    Metric(
        "goodput", "1/s", "higher", f"requests within the objectives of ttft and tpot / {_WALL}", "goodput", "run"
    ),
    Metric("success_rate", "%", "higher", "ok requests / intended requests", "success rate", "run"),
)  # fmt: skip

#: the tail is graded as soon as there are enough requests for it
LADDERS: Final = (
    Ladder("ttft", "s", s=0.5, a=TTFT_S, b=4.0, c=8.0, tail=0.99),
    Ladder("tpot", "s/token", s=0.03, a=TPOT_S, b=0.2, c=0.4, tail=0.99),
)

DEFINITION: Final = Definition(
    id=ID,
    version=1,
    title="Language model",
    summary="Streamed answers over OpenAI's API: time to the first token, time per token, tokens a second, goodput",
    metrics=METRICS,
    ladders=LADDERS,
    plan=plan,
    make=Llm,
    parameters=PARAMETERS,
    conclude=conclude,
)
