"""Streamed answers by hand: which figures they give, and what is wrong with those that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.llm.answer import Answer, BadAnswerError

MS = 1_000_000
DONE = b"data: [DONE]\n\n"


def event(**fields: Any) -> bytes:
    return f"data: {json.dumps(fields, ensure_ascii=False)}\n\n".encode()


def delta(finish: str | None = None, **fields: Any) -> bytes:
    return event(id="c", choices=[{"index": 0, "delta": fields, "finish_reason": finish}], usage=None)


def text(words: str, finish: str | None = None) -> bytes:
    return event(choices=[{"index": 0, "text": words, "finish_reason": finish}])


def usage(completion: Any, prompt: Any = 9) -> bytes:
    return event(choices=[], usage={"completion_tokens": completion, "prompt_tokens": prompt, "total_tokens": 1})


def read(*parts: tuple[int, bytes], kind: str = "text/event-stream", sent_ms: int = 1000) -> Answer:
    """Parts with the milliseconds after sending at which they came."""
    answer = Answer(sent_ms * MS, 1_000_000)
    for at_ms, raw in parts:
        if not answer.done:
            answer.feed(raw, (sent_ms + at_ms) * MS)
    answer.check(kind)
    return answer


def wrong(*parts: tuple[int, bytes], kind: str = "text/event-stream") -> str:
    with pytest.raises(BadAnswerError) as caught:
        read(*parts, kind=kind)
    assert caught.value.sent_ns == 1000 * MS
    return str(caught.value)


# --- figures ---


def test_a_chat_by_hand() -> None:
    answer = read(
        (10, delta(role="assistant", content="")),
        (200, delta(content="The")),
        (240, delta(content=" 塔")),
        (300, delta(content=" is high")),
        (350, delta("stop")),
        (350, usage(6)),
        (400, DONE),
    )
    # the empty role delta is no token; 6 tokens in 3 chunks; (400 - 200) / (6 - 1)
    assert answer.values() == pytest.approx(
        {"ttft": 0.2, "tpot": 0.04, "output_tokens": 6, "prompt_tokens": 9, "output_chunks": 3, "inter_chunk_max": 0.06}
    )
    assert (answer.end_ns, answer.finish) == (1400 * MS, "stop")


def test_a_plain_completion_by_hand() -> None:
    values = read((100, text("a")), (110, text("b")), (120, text("", "length")), (120, usage(2)), (130, DONE)).values()
    assert values["ttft"] == pytest.approx(0.1)
    assert values["tpot"] == pytest.approx(0.03)


def test_without_usage_there_are_no_tokens() -> None:
    values = read((100, text("a")), (150, text("b")), (200, text("c", "stop")), (220, DONE)).values()
    assert values == pytest.approx(
        {"ttft": 0.1, "time_per_chunk": 0.06, "output_chunks": 3, "inter_chunk_max": 0.05}
    )  # fmt: skip


@pytest.mark.parametrize("count", [None, 0, -5, 10**12])
def test_a_usage_block_that_cannot_be_is_none(count: int | None) -> None:
    values = read((1, text("a")), (2, text("b", "stop")), (2, usage(count, None))).values()
    assert {"output_tokens", "prompt_tokens", "tpot"}.isdisjoint(values)


def test_one_token_has_no_time_per_token() -> None:
    values = read((100, delta("length", content="a")), (100, usage(1)), (100, DONE)).values()
    assert values == pytest.approx({"ttft": 0.1, "output_tokens": 1, "prompt_tokens": 9, "output_chunks": 1})


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_output_and_the_answer_has_its_own_time(name: str) -> None:
    values = read(
        (100, delta(**{name: "hm"})), (150, delta(content="So")), (200, delta("stop")), (200, usage(3)), (200, DONE)
    ).values()
    assert values["ttft"] == pytest.approx(0.1)
    assert values["time_to_answer"] == pytest.approx(0.15)
    assert values["tpot"] == pytest.approx(0.05)


def test_reasoning_that_used_up_all_tokens_is_an_answer() -> None:
    values = read((100, delta(reasoning="hm")), (110, delta("length", content=None)), (110, DONE)).values()
    assert "time_to_answer" not in values


def test_gaps_have_a_median_from_five_and_a_p99_from_299() -> None:
    def values(gaps: list[int]) -> dict[str, float]:
        at, parts = 50, [(50, text("a"))]
        for gap in gaps:
            at += gap
            parts.append((at, text("b")))
        return read(*parts, (at, text("", "stop"))).values()

    assert values([1, 2, 3, 9])["inter_chunk_max"] == pytest.approx(0.009)
    assert "inter_chunk" not in values([1, 2, 3, 9])
    assert values([1, 2, 30, 4, 5])["inter_chunk"] == pytest.approx(0.004)
    assert "inter_chunk_p99" not in values([1] * 298)
    # of 299 values nearest rank takes the 297th: ceil(296.01)
    assert values([2] * 296 + [7, 8, 9])["inter_chunk_p99"] == pytest.approx(0.007)
    assert values([2] * 297 + [8, 9])["inter_chunk_p99"] == pytest.approx(0.002)


def test_events_of_one_read_came_at_one_moment() -> None:
    values = read((100, text("a") + text("b") + text("c", "stop") + DONE)).values()
    assert (values["inter_chunk_max"], values["time_per_chunk"]) == (0.0, 0.0)


def test_other_choices_and_what_comes_after_the_end_are_not_counted() -> None:
    other = event(choices=[{"index": 1, "delta": {"content": "other"}}])
    answer = read(
        (50, other), (100, delta("stop", content="mine")), (120, DONE + delta(content="late")), (500, b": x\n")
    )
    assert (answer.chunks_ns, answer.end_ns) == ([1100 * MS], 1120 * MS)


def test_a_stream_without_done_is_whole_when_it_has_a_finish_reason() -> None:
    assert read((100, delta(content="a")), (120, delta("stop"))).end_ns == 1120 * MS


def test_characters_cut_by_the_network_are_whole() -> None:
    raw = delta(content="塔🗼") + delta("stop") + DONE
    answer = Answer(0, 1000)
    for at in range(len(raw)):
        if not answer.done:
            answer.feed(raw[at : at + 1], (at + 1) * MS)
    answer.check()
    # the first event is complete with the second of its two line ends
    assert answer.chunks_ns == [len(delta(content="塔🗼")) * MS]


def test_done_with_a_blank_behind_it() -> None:
    assert read((1, delta("stop", content="a")), (2, b"data: [DONE] \r\n\r\n")).done


def test_strange_but_harmless_fields() -> None:
    parts = (
        (1, b": OPENROUTER PROCESSING\n\n"),
        (2, event(choices=None)),
        (3, event(object="chat.completion.chunk", error=None, choices=[{"delta": None}])),
        (4, delta("", content="a", tool_calls=[{"x": 1}], role=None)),
        (5, delta("eos_token")),
    )
    assert read(*parts).values()["ttft"] == pytest.approx(0.004)


# --- what is no answer ---


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((), "an empty answer"),
        (((1, b"\n\n"),), "an empty answer"),
        (((1, delta(content="a")), (2, delta(content="b"))), "the stream stopped after 2 chunks without finish_reason"),
        (((1, delta(content="a")), (2, b'data: {"choices": [{"delta": {"con')),
         "the stream stopped after 1 chunk without finish_reason"),
        (((1, delta(content="a")), (2, DONE)), "the stream ended with [DONE] after 1 chunk without finish_reason"),
        (((1, delta(role="assistant", content="")), (2, delta("stop")), (3, DONE)),
         'no content in 3 events, finish_reason "stop"'),
        (((1, delta(content=" \n")), (2, delta("stop")), (3, DONE)), 'no content in 3 events, finish_reason "stop"'),
        (((1, delta(content="a")), (2, delta("abort"))), 'the answer ended after 1 chunk with finish_reason "abort"'),
        (((1, delta(content="a")), (2, event(error={"message": "CUDA out of memory", "code": 500}))),
         'an error in the stream after 1 chunk: "CUDA out of memory"'),
        (((1, event(object="error", message="no\x1b[31m memory")),),
         'an error in the stream after 0 chunks: "no[31m memory"'),
        (((1, b'event: error\ndata: {"detail": "gone"}\n\n'),), 'an error in the stream after 0 chunks: "gone"'),
        (((1, b"data: hello\n\n"),), 'no chunk of an answer: "hello" (JSON is malformed: invalid character (byte 0))'),
        (((1, b'data: {"choices": "\xff"}\n\n'),), "no chunk of an answer: "),
        (((1, b"data: " + b"[" * 3000 + b"\n\n"),), "no chunk of an answer: "),
        (((1, b"data: " + b"x" * 2_000_000),), "more than "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(parts: tuple[tuple[int, bytes], ...], words: str) -> None:
    said = wrong(*parts)
    assert said == words if not words.endswith(" ") else said.startswith(words)


@pytest.mark.parametrize(
    ("raw", "kind", "words"),
    [
        (b'{"choices": [{"message": {"content": "hi"}}]}', "application/json",
         "one JSON object although a stream was asked for (application/json)"),
        (b'{\n  "error": {"message": "busy"}\n}\n', "",
         'one JSON object although a stream was asked for (no content type): "busy"'),
        (b"<html><title>Welcome</title>", "text/html",
         'no stream of events (text/html): it begins with "<html><title>Welcome</title>"'),
    ],
)  # fmt: skip
def test_what_is_no_stream_is_said(raw: bytes, kind: str, words: str) -> None:
    assert wrong((1, raw), kind=kind) == words
