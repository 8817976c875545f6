"""Runs against the stand-in and against servers written out byte by byte: outcomes, words and requests by hand."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.errors import BenchError, NotMeasurableError
from benchmarks.model import Done, Outcome, Side
from probes.demo.voices import Behaviour, OpenAi, serve
from probes.model import ServiceKind
from tests.support.http_standin import answer, stand_in
from tests.support.llm import made
from tests.support.sshd import free_port
from tests.unit.test_llm_answer import DONE, delta, event, usage

if TYPE_CHECKING:
    from benchmarks.benchmark import Preflight

MODELS = json.dumps({"object": "list", "data": [{"id": "m-1"}, {"id": "m-2"}]}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FINE = delta(content="The sky") + delta("stop") + usage(5) + DONE


# --- the stand-in ---


async def found(behaviour: Behaviour | None = None, openai: OpenAi | None = None, **asked: Any) -> Preflight:
    """What a run says before it measures."""
    async with serve(openai or OpenAi(behaviour)) as running, made(running.port, **asked) as run:
        await run.preflight()
        prepared = await run.prepare()
        assert prepared is not None
        return prepared


async def one(behaviour: Behaviour, **asked: Any) -> Done:
    """One request to a server that is healthy until it is measured."""
    async with serve(OpenAi()) as running, made(running.port, **asked) as run:
        await run.preflight()
        await run.prepare()
        running.service.behave(behaviour)
        return await run.once(0, 0)


@pytest.mark.parametrize("api", ["chat", "completions"])
async def test_a_run_asks_for_a_stream_with_usage(api: str) -> None:
    async with serve(OpenAi(Behaviour(reply_tokens=40, tokens_per_chunk=4))) as running:
        async with made(running.port, params={"api": api, "max-tokens": "32", "cache": "same", "seed": "5"}) as run:
            await run.preflight()
            await run.prepare()
            done = await run.once(0, 0)
    assert done.outcome is Outcome.OK
    values = done.values
    assert (values["output_tokens"], values["output_chunks"]) == (32, 8)
    assert values["prompt_tokens"] > 15
    assert set(values) == {"ttft", "tpot", "output_tokens", "prompt_tokens", "output_chunks", "inter_chunk_max",
                           "inter_chunk"}  # fmt: skip
    assert done.sent_ns is not None
    assert done.end_ns is not None
    assert values["tpot"] == pytest.approx((done.end_ns - done.sent_ns) / 1e9 / 31 - values["ttft"] / 31)
    assert {"first_byte", "body"} <= set(done.spans)


async def test_what_preflight_and_the_first_answer_tell() -> None:
    preflight = await found(Behaviour(reply_tokens=6, tokens_per_chunk=2))
    first, prompts, last = preflight.notes
    assert first == "model demo-8b, the first of 1 that the service lists"
    assert prompts.startswith("each prompt begins with another number")
    assert last.startswith("first answer, before the run: TTFT ")
    assert last.endswith(" ms, 3 chunks, 6 tokens by its usage block")
    assert preflight.missing["device_claimed"] == "the service does not tell"
    assert (await found(Behaviour(usage=False))).notes[-1].endswith("no usage block: the unit is chunks")


async def test_a_model_that_is_named() -> None:
    two = OpenAi(models=("a", "b"))
    assert (await found(openai=two, params={"model": "b"})).notes[0] == "model b"
    assert (await found(openai=OpenAi(models=("a", "b")))).notes[0] == "model a, the first of 2 that the service lists"
    assert (await found(openai=OpenAi(models=("a", "b")), options={"model": "b"})).notes[0] == "model b"


@pytest.mark.parametrize("api", ["chat", "completions"])
async def test_a_model_that_there_is_not(api: str) -> None:
    with pytest.raises(BenchError, match='no model "gpt-9": HTTP 404: The model `gpt-9` does not exist') as caught:
        await found(openai=OpenAi(models=("a", "b")), params={"model": "gpt-9", "api": api})
    assert (caught.value.layer, caught.value.side) == ("service", Side.CLIENT)
    assert caught.value.next_step == "one of: a, b"


async def test_no_model_at_all() -> None:
    with pytest.raises(BenchError, match="the service has no model"):
        await found(Behaviour(empty_catalog=True))


@pytest.mark.parametrize(
    ("behaviour", "outcome", "words"),
    [
        (Behaviour(error_share=1.0), Outcome.HTTP_ERROR, "HTTP 500: "),
        (Behaviour(error_share=1.0, error_status=429, retry_after_s=7), Outcome.HTTP_ERROR, "(Retry-After: 7)"),
        (Behaviour(initializing=True), Outcome.HTTP_ERROR, "HTTP 503: the model is being loaded"),
        (Behaviour(ok_error_body=True), Outcome.INVALID_BODY,
         'one JSON object although a stream was asked for (application/json): "CUDA out of memory"'),
        (Behaviour(finish=False), Outcome.INVALID_BODY,
         "the stream ended with [DONE] after 32 chunks without finish_reason"),
        (Behaviour(reply_tokens=0), Outcome.INVALID_BODY, 'finish_reason "stop"'),
        (Behaviour(drops_after=5), Outcome.TRANSPORT, "(in the stream, after 4 chunks)"),
        (Behaviour(dies_after=0), Outcome.TRANSPORT, ""),
    ],
)  # fmt: skip
async def test_a_request_that_fails(behaviour: Behaviour, outcome: Outcome, words: str) -> None:
    done = await one(behaviour)
    assert (done.outcome, done.side) == (outcome, Side.SERVER), done.detail
    assert words in done.detail
    assert done.values == {}
    assert done.sent_ns is not None


async def test_a_stream_that_stands_still_is_a_timeout() -> None:
    done = await one(Behaviour(ttft_s=0.01, token_s=30.0), timeout_s=0.5)
    assert done.outcome is Outcome.TIMEOUT
    assert done.detail == "the answer was not complete within 0.5 s (in the stream, after 1 chunk)"


async def test_characters_cut_between_packets() -> None:
    done = await one(Behaviour(split_s=0.001, token_s=0.002, ttft_s=0.002))
    assert done.outcome is Outcome.OK
    assert done.values["output_chunks"] == 32


async def test_a_429_is_one_sample_and_one_request() -> None:
    async with serve(OpenAi()) as running, made(running.port) as run:
        await run.preflight()
        await run.prepare()
        before = running.service.ledger.works
        running.service.behave(Behaviour(error_share=1.0, error_status=429, retry_after_s=3600))
        done = await run.once(0, 0)
        assert running.service.ledger.works == before + 1
    assert (done.outcome, done.side) == (Outcome.HTTP_ERROR, Side.SERVER)
    assert done.detail.endswith("(Retry-After: 3600)")


async def test_a_service_that_fails_before_the_run_is_measured_failing() -> None:
    async with serve(OpenAi(Behaviour(error_share=1.0, error_status=503))) as running, made(running.port) as run:
        await run.preflight()
        prepared = await run.prepare()
        assert prepared is not None
        assert prepared.notes[-1].startswith("the first request, before the run, failed: HTTP 503")
        assert (await run.once(0, 0)).outcome is Outcome.HTTP_ERROR


async def test_prompts_are_fresh_or_the_same() -> None:
    for cache, distinct in (("fresh", 3), ("same", 1)):
        async with serve(OpenAi()) as running, made(running.port, params={"cache": cache}) as run:
            await run.preflight()
            await run.prepare()
            for i in range(2):
                assert (await run.once(i, 0)).outcome is Outcome.OK
            texts = [asked.text for asked in running.requests if asked.work is not None]
        assert len(texts) == 3
        assert len(set(texts)) == distinct
        assert len({len(text) for text in texts}) == 1


# --- keys ---


async def test_a_key_is_sent_and_never_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_KEY", "sk-0123456789abcdef")
    preflight = await found(openai=OpenAi(api_key="sk-0123456789abcdef"), options={"api_key": "$LLM_KEY"})
    assert "with the key in $LLM_KEY" in preflight.notes
    assert "sk-" not in repr(preflight)


async def test_a_key_that_is_not_set_or_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLM_KEY", raising=False)
    with pytest.raises(BenchError, match="the environment variable LLM_KEY is not set"):
        await found(options={"api_key": "$LLM_KEY"})
    monkeypatch.setenv("LLM_KEY", "sk-wrong\nkey")
    with pytest.raises(BenchError, match="characters that no key has"):
        await found(options={"api_key": "$LLM_KEY"})
    monkeypatch.setenv("LLM_KEY", "sk-wrong-key")
    for options in ({"api_key": "$LLM_KEY"}, {}):
        with pytest.raises(BenchError, match="the service wants another key: HTTP 401") as caught:
            await found(openai=OpenAi(api_key="sk-right"), options=options)
        assert "[bench.llm] api_key" in caught.value.next_step


async def test_a_server_that_repeats_the_key_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_KEY", "sk-0123456789abcdef")
    said = {"error": {"message": "bad key sk-0123456789abcdef, " + "x" * 152 + " sk-0123456789abcdef"}}
    script = talking(failing("500 Oops", json.dumps(said).encode()))
    async with stand_in(script, asks=False) as server, made(server.port, options={"api_key": "$LLM_KEY"}) as run:
        await run.preflight()
        await run.prepare()
        done = await run.once(0, 0)
    assert done.outcome is Outcome.HTTP_ERROR
    assert "bad key ***" in done.detail
    assert "sk-01" not in done.detail


# --- servers written by hand ---


def chunked(raw: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(raw), raw)


def streaming(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return HEAD + b"".join(map(chunked, parts)) + end


def failing(status: str, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def talking(*replies: bytes, models: bytes | None = None, version: bytes | None = None, asked: Any = None) -> Any:
    """Kept connections; the last reply to a prompt is given again and again."""
    left = list(replies)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                           if line.startswith(b"content-length")), 0)  # fmt: skip
            body = await reader.readexactly(length)
            path = head.split(b" ")[1]
            if path.endswith(b"/v1/models"):
                writer.write(failing("200 OK", MODELS) if models is None else models)
            elif path.endswith(b"/version"):
                writer.write(failing("404 Not Found") if version is None else version)
            else:
                if asked is not None:
                    asked.append((path.decode(), json.loads(body)))
                writer.write(left.pop(0) if len(left) > 1 else left[0])

    return script


async def measured(script: Any, **asked: Any) -> tuple[Preflight, Done]:
    async with stand_in(script, asks=False) as server:
        if asked.pop("at_url", False):
            asked["url"] = f"http://127.0.0.1:{server.port}{asked.pop('behind', '')}"
        async with made(server.port, **asked) as run:
            await run.preflight()
            prepared = await run.prepare()
            assert prepared is not None
            return prepared, await run.once(0, 0)


async def test_the_request_as_it_is_sent() -> None:
    asked: list[tuple[str, Any]] = []
    _, done = await measured(
        talking(streaming(FINE), asked=asked), params={"cache": "same", "seed": "9"}, texts=("Why?",)
    )
    assert done.outcome is Outcome.OK
    assert asked == [("/v1/chat/completions", {
        "model": "m-1", "max_tokens": 128, "temperature": 0, "seed": 9, "stream": True,
        "stream_options": {"include_usage": True}, "messages": [{"role": "user", "content": "Why?"}],
    })] * 2  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ({}, "/v1/completions"),
        ({"path": "/llm/v1/models"}, "/llm/v1/completions"),
        ({"at_url": True}, "/v1/completions"),
        ({"at_url": True, "behind": "/v1"}, "/v1/completions"),
        ({"at_url": True, "behind": "/proxy/v1/"}, "/proxy/v1/completions"),
        ({"kind": ServiceKind.HTTP, "path": "/health", "service": "model"}, "/v1/completions"),
    ],
)
async def test_where_it_is_sent(asked: dict[str, Any], path: str) -> None:
    seen: list[tuple[str, Any]] = []
    prepared, done = await measured(talking(streaming(FINE), asked=seen), params={"api": "completions"}, **asked)
    assert {where for where, _ in seen} == {path}
    assert "prompt" in seen[0][1]
    assert done.outcome is Outcome.OK
    assert not prepared.endpoint.endswith("/v1")


async def test_a_connection_is_kept_when_the_body_ends_with_done() -> None:
    async with stand_in(talking(streaming(FINE)), asks=False) as server, made(server.port) as run:
        await run.preflight()
        await run.prepare()
        for i in range(5):
            assert (await run.once(i, 0)).outcome is Outcome.OK
        assert server.accepted == 1


async def test_a_body_that_does_not_end_after_done_costs_a_connection_and_no_answer() -> None:
    async with stand_in(talking(streaming(FINE, end=b"")), asks=False) as server, made(server.port) as run:
        await run.preflight()
        await run.prepare()
        done = await run.once(0, 0)
        assert done.outcome is Outcome.OK
        assert done.values["output_tokens"] == 5
        assert server.accepted == 2


async def test_the_version_of_vllm_and_of_others() -> None:
    prepared, _ = await measured(talking(streaming(FINE), version=failing("200 OK", b'{"version": "0.11.0"}')))
    assert prepared.server_version == "0.11.0"
    named = failing("200 OK", MODELS, "Server: llama.cpp")
    prepared, _ = await measured(talking(streaming(FINE), models=named, version=failing("200 OK", b"[1]")))
    assert prepared.server_version == "llama.cpp"
    prepared, _ = await measured(talking(streaming(FINE)))
    assert prepared.server_version is None
    assert "no Server header" in prepared.missing["server_version"]


async def test_a_service_that_refuses_stream_options_is_asked_without() -> None:
    asked: list[tuple[str, Any]] = []
    refusal = failing("400 Bad Request", b'{"error": {"message": "Unrecognized argument: stream_options"}}')
    reply = streaming(delta(content="a") + delta("stop") + DONE)
    prepared, done = await measured(talking(refusal, reply, asked=asked))
    assert ["stream_options" in body for _, body in asked] == [True, False, False]
    assert "the service refuses stream_options, so it was not asked for usage" in prepared.notes
    assert done.outcome is Outcome.OK
    assert "output_tokens" not in done.values


async def test_a_service_without_a_list_of_models() -> None:
    none = failing("404 Not Found", b'{"detail": "Not Found"}')
    with pytest.raises(BenchError, match="the service lists no models under /v1/models") as caught:
        await measured(talking(streaming(FINE), models=none))
    assert "--param model=NAME" in caught.value.next_step
    prepared, _ = await measured(talking(streaming(FINE), models=none), params={"model": "x"})
    assert prepared.notes[0] == "model x; the service lists none"
    with pytest.raises(BenchError, match="the service refuses the request: HTTP 404: Not Found") as caught:
        await measured(talking(none, models=none), params={"model": "x"})
    assert "it lists no models" in caught.value.next_step


async def test_an_alias_that_is_not_listed_is_asked_all_the_same() -> None:
    prepared, done = await measured(talking(streaming(FINE)), params={"model": "alias"})
    assert prepared.notes[0] == "model alias, which is not among the 2 that the service lists"
    assert done.outcome is Outcome.OK


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "422 Unprocessable"])
async def test_an_unknown_model_by_any_status(status: str) -> None:
    with pytest.raises(BenchError, match='no model "gpt-9"') as caught:
        await measured(talking(failing(status, b'{"detail": "no such model"}')), params={"model": "gpt-9"})
    assert caught.value.next_step == "one of: m-1, m-2"


async def test_a_service_of_another_sort_is_not_measurable_unless_it_was_named_by_url() -> None:
    nothing = failing("404 Not Found", b'{"detail": "Not Found"}')
    with pytest.raises(NotMeasurableError, match="/v1/chat/completions is not there"):
        await measured(talking(nothing))
    with pytest.raises(BenchError, match="the service refuses the request") as caught:
        await measured(talking(nothing), at_url=True)
    assert not isinstance(caught.value, NotMeasurableError)


async def test_a_refusal_that_has_nothing_to_do_with_the_model() -> None:
    refusal = failing("400 Bad Request", b'{"error": {"message": "maximum context length is 64 tokens"}}')
    with pytest.raises(BenchError, match="maximum context length is 64 tokens") as caught:
        await measured(talking(refusal))
    assert caught.value.side is Side.CLIENT


@pytest.mark.parametrize(
    ("reply", "outcome", "detail"),
    [
        (streaming(delta(content="a") + delta(content="b")), Outcome.INVALID_BODY,
         "the stream stopped after 2 chunks without finish_reason"),
        (streaming(delta(content="a"), delta(content="b")[:20]), Outcome.INVALID_BODY,
         "the stream stopped after 1 chunk without finish_reason"),
        (streaming(delta(content="a"), event(error={"message": "preempted"})), Outcome.INVALID_BODY,
         'an error in the stream after 1 chunk: "preempted"'),
        (failing("200 OK", b'{"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}]}'),
         Outcome.INVALID_BODY, "one JSON object although a stream was asked for (application/json)"),
        (streaming(), Outcome.INVALID_BODY, "an empty answer"),
        (failing("302 Found", b"", "Location: http://127.0.0.1:1/login"), Outcome.HTTP_ERROR, None),
    ],
)  # fmt: skip
async def test_answers_that_are_none(reply: bytes, outcome: Outcome, detail: str | None) -> None:
    _, done = await measured(talking(streaming(FINE), reply))
    assert done.outcome is outcome
    assert detail is None or done.detail == detail
    assert done.values == {}


async def test_an_answer_without_end_is_cut_off() -> None:
    flood = HEAD + chunked(delta(content="x" * 60_000)) * 150
    _, done = await measured(talking(streaming(FINE), flood))
    assert done.outcome is Outcome.INVALID_BODY
    assert done.detail.startswith("answer larger than 8 MiB (in the stream, after 1")


async def test_an_event_without_end_is_cut_off() -> None:
    flood = HEAD + chunked(b"data: " + b"x" * 60_000) + chunked(b"x" * 60_000) * 20
    _, done = await measured(talking(streaming(FINE), flood))
    assert (done.outcome, done.detail) == (Outcome.INVALID_BODY, "more than 1 MiB in one event")


async def test_cancelling_ends_the_request_and_its_connection() -> None:
    stuck = HEAD + chunked(delta(content="a"))
    async with stand_in(talking(streaming(FINE), stuck), asks=False) as server, made(server.port) as run:
        await run.preflight()
        await run.prepare()
        server.gone.clear()
        task = asyncio.create_task(run.once(0, 0))
        done, _ = await asyncio.wait({task}, timeout=0.2)
        assert not done
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            await server.gone.wait()
        assert server.held == 0


async def test_bytes_one_by_one() -> None:
    raw = delta(content="塔🗼") + delta("stop") + usage(4) + DONE
    _, done = await measured(talking(streaming(*(raw[at : at + 1] for at in range(len(raw))))))
    assert done.outcome is Outcome.OK, done.detail
    assert done.values["output_tokens"] == 4


async def test_a_server_that_is_not_there() -> None:
    port = free_port()
    async with made(port) as run:
        with pytest.raises(BenchError, match="refused") as caught:
            await run.preflight()
    assert caught.value.layer == "tcp"


async def test_a_web_page_in_place_of_a_model() -> None:
    async with stand_in(answer("<html>", "200 OK", "Connection: close")) as server, made(server.port) as run:
        with pytest.raises(BenchError, match="the service lists no models"):
            await run.preflight()
