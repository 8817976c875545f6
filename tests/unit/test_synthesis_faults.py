"""What a service does wrong, and what a run makes of it. Figures and outcomes are written by hand."""

from __future__ import annotations

import socket

import pytest

from benchmarks.errors import BenchError
from benchmarks.model import Outcome, Sample, Side
from benchmarks.synthesis.run import totals_of
from probes.demo.voices import Backend, Behaviour, OpenAi, OpenVoice, Voicevox, serve
from probes.model import Service, ServiceKind
from tests.support.http_standin import certificate
from tests.support.synthesis import made, planned


async def one(behaviour: Behaviour, mode: str = "check", **asked):
    """One request to a VOICEVOX that is healthy until it is measured."""
    async with serve(Voicevox()) as running:
        (spec,) = planned(running, mode=mode, **asked)
        async with made(spec, running) as run:
            await run.preflight()
            await run.prepare()
            running.service.behave(behaviour)
            return await run.once(0, 0)


@pytest.mark.parametrize(
    ("behaviour", "outcome", "words"),
    [
        (Behaviour(error_share=1.0), Outcome.HTTP_ERROR, "HTTP 500: CUDA error"),
        (Behaviour(error_share=1.0, error_status=503), Outcome.HTTP_ERROR, "HTTP 503"),
        (Behaviour(ok_error_body=True), Outcome.INVALID_BODY, 'the service answered "CUDA out of memory" instead of'),
        (Behaviour(audio="silence"), Outcome.INVALID_BODY, "silence: 0.62 s"),
        (Behaviour(audio="truncated"), Outcome.INVALID_BODY, "cut off: 30000 bytes of samples declared, 15000 came"),
        (Behaviour(audio="no_frames"), Outcome.INVALID_BODY, "no samples"),
        (Behaviour(audio="garbage"), Outcome.INVALID_BODY, "no WAV file: it begins with"),
        (Behaviour(dies_after=0), Outcome.TRANSPORT, ""),
        (Behaviour(drops_after=0), Outcome.TRANSPORT, "ended after"),
        (Behaviour(flood="huge"), Outcome.INVALID_BODY, "answer larger than 8 MiB"),
        (Behaviour(flood="endless"), Outcome.INVALID_BODY, "answer larger than 8 MiB"),
    ],
)
async def test_a_request_that_fails(behaviour: Behaviour, outcome: Outcome, words: str) -> None:
    done = await one(behaviour)
    assert (done.outcome, done.side) == (outcome, Side.SERVER)
    assert words in done.detail
    assert done.values == {}


async def test_odd_chunks_are_no_fault() -> None:
    assert (await one(Behaviour(audio="odd_chunks"))).values["audio_s"] == 0.625


async def test_an_answer_that_does_not_come_is_a_timeout() -> None:
    done = await one(Behaviour(held=True), timeout_s=1.0)
    assert done.outcome is Outcome.TIMEOUT
    assert "query" in done.spans
    # the moment of the first of the two requests, so that the time of both is counted
    assert done.sent_ns is not None


async def test_a_failed_synthesis_began_with_its_query() -> None:
    async with serve(Voicevox(Behaviour(query_s=0.05, error_share=1.0))) as running:
        (spec,) = planned(running, mode="check")
        async with made(spec, running) as run:
            await run.preflight()
            done = await run.once(0, 0)
    assert done.spans.keys() >= {"query"}
    assert "synthesis" not in done.spans
    assert done.spans["query"] >= 0.05


async def test_the_same_audio_for_every_text_is_found_before_the_run() -> None:
    async with serve(Voicevox(Behaviour(audio="same"))) as running:
        (spec,) = planned(running, mode="quick")
        async with made(spec, running) as run:
            await run.preflight()
            with pytest.raises(BenchError, match="two texts have the same audio") as caught:
                await run.prepare()
    assert (caught.value.layer, caught.value.side) == ("service", Side.SERVER)


async def test_a_check_finds_it_with_two_requests() -> None:
    async with serve(OpenVoice(Behaviour(audio="same"))) as running:
        (spec,) = planned(running, "openvoice", mode="check")
        async with made(spec, running, "openvoice") as run:
            await run.preflight()
            prepared = await run.prepare()
            assert prepared is not None
            assert prepared.notes[-1] == "audio must differ by text: compared with that of 1 other text(s)"
            done = await run.once(0, 0)
        assert running.service.ledger.works == 2
    assert done.outcome is Outcome.INVALID_BODY
    assert done.detail == "the same audio as for another text: is it a recording?"


async def test_a_service_that_fails_before_the_run_is_measured_failing() -> None:
    async with serve(Voicevox(Behaviour(error_share=1.0))) as running:
        (spec,) = planned(running, mode="quick")
        async with made(spec, running) as run:
            await run.preflight()
            prepared = await run.prepare()
            assert prepared is not None
            assert prepared.notes[-1].startswith("not checked whether audio differs by text: HTTP 500")
            assert (await run.once(0, 0)).outcome is Outcome.HTTP_ERROR


async def test_silence_before_the_run_is_measured_as_what_it_is() -> None:
    async with serve(OpenVoice(Behaviour(audio="no_frames"))) as running:
        (spec,) = planned(running, "openvoice", mode="quick")
        async with made(spec, running, "openvoice") as run:
            await run.preflight()
            prepared = await run.prepare()
            assert prepared is not None
            assert prepared.notes[-1] == "not checked whether audio differs by text: no samples"


async def test_a_service_that_is_down() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with serve(Voicevox()) as running:
        (spec,) = planned(running, mode="check")
        async with made(spec, None) as run:
            run._context.host = run._context.host.__class__(
                id="node", address="127.0.0.1", services=(Service("voice", port, ServiceKind.VOICEVOX),)
            )
            with pytest.raises(BenchError, match="refused") as caught:
                await run.preflight()
    assert (caught.value.layer, caught.value.side) == ("tcp", Side.SERVER)


async def test_a_service_that_answers_500_to_everything() -> None:
    async with serve(Voicevox(Behaviour(scope="all", error_share=1.0))) as running:
        (spec,) = planned(running, mode="check")
        async with made(spec, running) as run:
            with pytest.raises(BenchError, match="HTTP 500") as caught:
                await run.preflight()
    assert caught.value.layer == "http"


async def test_a_certificate_that_nobody_signed(tmp_path) -> None:
    async with serve(Voicevox(), tls=certificate(tmp_path).server) as running:
        (spec,) = planned(running, mode="check")
        async with made(spec, running, tls=True) as run:
            with pytest.raises(BenchError, match="self-signed") as caught:
                await run.preflight()
            assert "tls_verify" in caught.value.cause
        async with made(spec, running, tls=True, tls_verify=False) as run:
            await run.preflight()
            assert (await run.once(0, 0)).outcome is Outcome.OK


async def test_a_service_that_is_not_the_benchmarks_is_left_running() -> None:
    async with serve(Voicevox()) as running:
        (spec,) = planned(running, mode="check")
        async with made(spec, running) as run:
            await run.preflight()
            await run.once(0, 0)
        assert running.server.listening


@pytest.mark.parametrize(
    ("service", "kind"), [(OpenVoice(), "openvoice"), (OpenAi(models=("tts-1",)), "openai"), (Backend(), "http")]
)
async def test_cleaning_up_twice_and_before_anything_was_opened(service, kind: str) -> None:
    async with serve(service) as running:
        (spec,) = planned(running, kind, mode="check", style="8" if kind == "http" else None)
        async with made(spec, running, kind) as run:
            await run.cleanup()
            await run.preflight()
            await run.cleanup()


# --- totals ---


def sample(i: int, seconds: float, audio_s: float | None) -> Sample:
    outcome = Outcome.OK if audio_s is not None else Outcome.HTTP_ERROR
    values = {} if audio_s is None else {"audio_s": audio_s}
    return Sample(i, "measure", 0, 0, round(seconds * 1e9), outcome, values)


def test_totals_by_hand() -> None:
    # 1 + 3 s of processing for 2 + 6 s of audio, all in 5 s of wall time; the failure counts in neither
    samples = [sample(0, 1.0, 2.0), sample(1, 3.0, 6.0), sample(2, 9.0, None)]
    assert totals_of(samples, 5.0) == {"rtf_total": 0.5, "rtfx_total": 1.6}


def test_totals_of_nothing_are_not_said() -> None:
    assert totals_of([sample(0, 1.0, None)], 5.0) == {"rtf_total": None, "rtfx_total": None}
    assert totals_of([], 0.0) == {"rtf_total": None, "rtfx_total": None}
