"""``/v1/audio/speech``, whole and streamed, and services that a template of the configuration describes."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.benchmark import Request
from benchmarks.errors import BenchError, NotMeasurableError
from benchmarks.model import Outcome
from benchmarks.options import options_of
from benchmarks.synthesis.definition import DEFINITION
from benchmarks.synthesis.template import filled, from_environment, template_of
from probes.demo.voices import Behaviour, OpenAi, OpenVoice, serve
from probes.demo.voices.audio import wav
from tests.support.http_standin import answer, stand_in
from tests.support.synthesis import host_of, made, planned

MODELS = ("demo-8b", "kokoro-82m")


@pytest.mark.parametrize("form", ["wav", "pcm"])
async def test_a_whole_file_has_no_first_audio(form: str) -> None:
    async with serve(OpenAi(Behaviour(delay_s=0.03), models=MODELS)) as running:
        (spec,) = planned(running, "openai", mode="quick", extra={"format": form})
        async with made(spec, running, "openai") as run:
            found = await run.preflight()
            assert found.notes == (f"model kokoro-82m, voice alloy, {form}", "2 models listed")
            assert "ttfa" not in found.missing  # it is not known yet whether it streams
            prepared = await run.prepare()
            assert prepared is not None
            assert prepared.missing["ttfa"] == "not applicable: the answer is a whole file"
            done = await run.once(0, 0)
    assert done.outcome is Outcome.OK, done.detail
    assert done.values.keys() == {"audio_s", "rtf", "rtfx", "seconds_per_character"}
    assert done.values["audio_s"] == 0.625


@pytest.mark.parametrize("form", ["wav", "pcm"])
async def test_first_audio_is_the_first_sample_and_not_the_header(form: str) -> None:
    # the header is sent at once; the first sample 0.15 s later, the other four characters 0.03 s apart
    behaviour = Behaviour(first_audio_s=0.15, audio_chunk_s=0.03)
    async with serve(OpenAi(behaviour, models=MODELS)) as running:
        (spec,) = planned(running, "openai", mode="quick", extra={"format": form})
        async with made(spec, running, "openai") as run:
            await run.preflight()
            prepared = await run.prepare()
            assert prepared is not None
            assert "ttfa" not in prepared.missing
            done = await run.once(0, 0)
    assert done.outcome is Outcome.OK, done.detail
    assert done.values["audio_s"] == 0.625
    whole_s = (done.end_ns - done.sent_ns) / 1e9
    assert 0.15 <= done.values["ttfa"] < whole_s
    assert whole_s >= 0.27


async def test_a_header_that_comes_in_pieces() -> None:
    body = wav("こんにちは")

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for part in (body[:3], body[3:20], body[20:44]):
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 44, body[44:]))

    options = {"templates": {"raw": {"path": "/say", "json": {"t": "{text}"}}}}
    async with stand_in(script) as server:
        asked = Request("synthesis", mode="check", url=f"http://127.0.0.1:{server.port}", extra={"template": "raw"})
        (spec,) = DEFINITION.plan(asked, host_of(), options)
        async with made(spec, None, options=options) as run:
            await run.preflight()
            done = await run.once(0, 0)
    assert done.outcome is Outcome.OK, done.detail
    assert done.values["ttfa"] >= 0.06


async def test_a_stream_that_breaks_off() -> None:
    async with serve(OpenAi(Behaviour(first_audio_s=0.0, drops_after=2), models=MODELS)) as running:
        (spec,) = planned(running, "openai", mode="check")
        async with made(spec, running, "openai") as run:
            await run.preflight()
            done = await run.once(0, 0)
    assert done.outcome is Outcome.TRANSPORT
    assert done.values == {}


async def test_which_model_is_taken() -> None:
    for models, extra, said in (
        (MODELS, {"model": "demo-8b"}, "model demo-8b"),
        (("only-one",), {}, "model only-one"),
        ((), {}, "model tts-1"),
    ):
        async with serve(OpenAi(models=models)) as running:
            (spec,) = planned(running, "openai", mode="check", style="demo", extra=extra)
            async with made(spec, running, "openai") as run:
                assert (await run.preflight()).notes[0] == f"{said}, voice demo, wav"
    async with serve(OpenAi(models=MODELS)) as running:
        (spec,) = planned(running, "openai", mode="check", extra={"model": "nope"})
        async with made(spec, running, "openai") as run:
            with pytest.raises(BenchError, match='no model "nope"'):
                await run.preflight()


async def test_a_language_model_is_skipped_and_not_failed() -> None:
    async with stand_in(answer('{"detail": "Not Found"}', "404 Not Found", "Connection: close")) as server:
        async with serve(OpenAi()) as running:
            (spec,) = planned(running, "openai", mode="quick")
        server_like = type("Place", (), {"port": server.port})
        async with made(spec, server_like, "openai") as run:
            found = await run.preflight()
            assert found.notes[1] == "the service lists no models"
            with pytest.raises(NotMeasurableError, match="has no /v1/audio/speech: HTTP 404"):
                await run.prepare()


async def test_what_is_plausible_depends_on_the_speed() -> None:
    # 0.25 s for ten characters: at least 0.3 s at speed 1, 0.15 s at speed 2
    async with stand_in(answer(wav("あい"), "200 OK", "Connection: close")) as server:
        for speed, outcome in (("1", Outcome.INVALID_BODY), ("2", Outcome.OK)):
            extra = {"kind": "openai", "speed": speed}
            texts = ("あいうえおかきくけこ",)
            asked = Request("synthesis", mode="check", url=f"http://127.0.0.1:{server.port}", texts=texts, extra=extra)
            (spec,) = DEFINITION.plan(asked, host_of(), {})
            async with made(spec, None) as run:
                await run.preflight()
                assert (await run.once(0, 0)).outcome is outcome


async def test_a_voice_that_is_refused() -> None:
    async with serve(OpenAi(models=MODELS)) as running:
        (spec,) = planned(running, "openai", mode="quick", style="nobody")
        async with made(spec, running, "openai") as run:
            await run.preflight()
            with pytest.raises(BenchError, match="refuses to speak: HTTP 400: input must be a string, voice one of"):
                await run.prepare()


# --- templates ---


def template(**fields) -> dict:
    return {"templates": {"mine": {"path": "/say", "json": {"t": "{text}"}} | fields}}


async def templated(running_or_url, options: dict, **asked):
    url = running_or_url if isinstance(running_or_url, str) else running_or_url.url
    request = Request("synthesis", mode="check", url=url, extra={"template": "mine"}, **asked)
    (spec,) = DEFINITION.plan(request, host_of(), options)
    async with made(spec, None, options=options) as run:
        await run.preflight()
        return await run.once(0, 0)


async def test_templates_of_known_services() -> None:
    """The same stand-ins as above, described instead of known."""
    async with serve(OpenAi(models=MODELS)) as running:
        body = {"model": "kokoro-82m", "input": "{text}", "voice": "{style}", "speed": 2}
        options = template(path="/v1/audio/speech", json=body)
        done = await templated(running, options, style="demo")
        assert done.outcome is Outcome.OK, done.detail
        assert done.values["audio_s"] == 0.3125
        assert (await templated(running, options, style="nobody")).detail.startswith("HTTP 400")
    async with serve(OpenVoice()) as running:
        form = {"text": "{text}", "voice_profile_id": "{style}"}
        options = {"templates": {"mine": {"path": "/voice-clone/synthesize", "form": form, "audio": "audio_data"}}}
        done = await templated(running, options, style="a41b77c0")
        assert done.outcome is Outcome.OK, done.detail
        assert done.values["audio_s"] == 0.625
        assert running.requests[-1].text == "こんにちは"
    async with serve(OpenVoice(flavour="ec2")) as running:
        form = {"text": "{text}", "profile_id": "{style}"}
        options = {"templates": {"mine": {"path": "/api/synthesize", "form": form}}}
        done = await templated(running, options, style="a41b77c0")
        assert done.outcome is Outcome.OK, done.detail


async def test_what_is_spoken_cannot_leave_its_place() -> None:
    text = 'あ", "voice": "{style}", "x": "\\ & ?a=b %00 {text}'
    body = wav("あいうえおかきくけこ")
    async with stand_in(answer(body, "200 OK", "Connection: close")) as server:
        options = template(method="GET", path="/say/{text}/{style}", query={"q": "{text}"})
        options["templates"]["mine"].pop("json")
        await templated(f"http://127.0.0.1:{server.port}", options, texts=(text,), style="s/t")
    first = server.requests[0].split(b"\r\n")[0].decode()
    quoted = "%E3%81%82%22%2C%20%22voice%22%3A%20%22%7Bstyle%7D%22%2C%20%22x%22%3A%20%22%5C%20%26%20%3Fa%3Db%20%2500%20%7Btext%7D"
    assert first == f"GET /say/{quoted}/s%2Ft?q={quoted} HTTP/1.1"


def test_values_are_filled_in_once_and_names_never() -> None:
    words = {"text": "{style}", "style": "S"}
    shape = {"{text}": ["{text}", 1, None, True, {"a": "<{style}>{text}"}]}
    assert filled(shape, words) == {"{text}": ["{style}", 1, None, True, {"a": "<S>{style}"}]}


async def test_a_secret_comes_from_the_environment_and_goes_nowhere_else(monkeypatch) -> None:
    monkeypatch.setenv("VOICE_KEY", "Bearer s3cret-key")
    options = template(headers={"Authorization": "$VOICE_KEY", "Origin": "http://evil.example"})
    request = Request("synthesis", mode="check", url="http://127.0.0.1:9", extra={"template": "mine"})
    (spec,) = DEFINITION.plan(request, host_of(), options)
    assert "s3cret" not in repr(spec)
    assert "VOICE_KEY" not in repr(spec)
    refusal = answer('{"detail": "bad key: Bearer s3cret-key"}', "401 Unauthorized", "Connection: close")
    async with stand_in(refusal) as server:
        done = await templated(f"http://127.0.0.1:{server.port}", options)
    head = server.requests[0].decode().lower()
    assert "authorization: bearer s3cret-key" in head
    assert "origin:" not in head
    assert done.detail == "HTTP 401: bad key: ***"


async def test_a_service_that_wants_a_key(monkeypatch) -> None:
    monkeypatch.setenv("VOICE_KEY", "Bearer right")
    async with serve(OpenAi(models=("tts-1",), api_key="right")) as running:
        body = {"model": "tts-1", "input": "{text}", "voice": "alloy"}
        options = template(path="/v1/audio/speech", json=body, headers={"authorization": "$VOICE_KEY"})
        assert (await templated(running, options)).outcome is Outcome.OK
        monkeypatch.setenv("VOICE_KEY", "Bearer wrong")
        assert (await templated(running, options)).detail.startswith("HTTP 401")


def test_what_the_environment_lacks_or_spoils(monkeypatch) -> None:
    monkeypatch.delenv("VOICE_KEY", raising=False)
    with pytest.raises(BenchError, match="VOICE_KEY is not set"):
        from_environment("$VOICE_KEY")
    monkeypatch.setenv("VOICE_KEY", "a\r\nX-Other: b")
    with pytest.raises(BenchError, match="control characters"):
        from_environment("$VOICE_KEY")
    for plain in ("$", "$5", "$VOICE_KEY!", "a $VOICE_KEY", "$VOICE_KEY\n"):
        assert from_environment(plain) == plain


async def test_a_variable_that_is_not_set_stops_the_run_before_anything_is_sent(monkeypatch) -> None:
    monkeypatch.delenv("VOICE_KEY", raising=False)
    async with serve(OpenAi()) as running:
        with pytest.raises(BenchError, match="VOICE_KEY is not set"):
            await templated(running, template(headers={"Authorization": "$VOICE_KEY"}))
        assert running.service.ledger.total == 0


def test_a_template_as_the_configuration_has_it_and_as_plain_json() -> None:
    table = {"synthesis": template()}
    checked = options_of(table)
    assert template_of(checked.synthesis.templates, "mine") == template_of(
        checked.for_benchmark("synthesis")["templates"], "mine"
    )
    with pytest.raises(BenchError, match='no template "other"') as caught:
        template_of(checked.synthesis.templates, "other")
    assert caught.value.next_step == "one of: mine"


async def test_a_long_answer_is_listened_to_in_a_thread() -> None:
    text = "あ" * 200  # 25 s: 1.2 MB
    async with serve(OpenVoice()) as running:
        (spec,) = planned(running, "openvoice", mode="check", texts=(text,))
        async with made(spec, running, "openvoice") as run:
            await run.preflight()
            done = await run.once(0, 0)
    assert done.values["audio_s"] == 25.0
