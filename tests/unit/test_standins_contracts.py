"""The stand-ins keep the contracts of the services they stand in for: calls, statuses, bodies."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, urlencode

import pytest

from probes.demo.voices import Backend, Behaviour, OpenAi, OpenVoice, Pages, Stranger, Style, Voicevox, serve
from tests.support.standins import ask, frames_of, query, say

FORM = "application/x-www-form-urlencoded"


def form(**fields: str) -> bytes:
    return urlencode(fields).encode()


def multipart(**fields: str) -> bytes:
    parts = "".join(
        f'--xx\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    return f"{parts}--xx--\r\n".encode()


# --- VOICEVOX ---


async def test_voicevox_says_what_it_is():
    async with serve(Voicevox()) as running:
        assert (await ask(running, "GET", "/version")).body == b'"0.24.1"'
        assert (await ask(running, "GET", "/supported_devices")).json() == {"cpu": True, "cuda": True, "dml": False}
        speakers = (await ask(running, "GET", "/speakers")).json()
        assert [set(speaker) for speaker in speakers] == [
            {"name", "speaker_uuid", "styles", "version", "supported_features"}
        ] * len(speakers)
        styles = [style for speaker in speakers for style in speaker["styles"]]
        assert {style["type"] for style in styles} == {"talk", "singing_teacher", "frame_decode"}
        assert styles[0]["type"] != "talk"
        assert not {1, 3, 5} & {style["id"] for style in styles}


async def test_an_old_voicevox_has_no_types_and_an_empty_one_no_styles():
    async with serve(Voicevox(styles=(Style(4, "plain", None),))) as running:
        assert (await ask(running, "GET", "/speakers")).json()[0]["styles"] == [{"name": "plain", "id": 4}]
        assert (await say(running, "はい", 4)).status == 200
        running.service.behave(empty_catalog=True)
        assert (await ask(running, "GET", "/speakers")).json() == []


async def test_voicevox_speaks_in_two_steps():
    async with serve(Voicevox()) as running:
        answer = await say(running, "こんにちは")
        assert (answer.status, answer.headers["content-type"]) == (200, "audio/wav")
        assert len(frames_of(answer.body)) == 2 * 15000
        assert (await say(running, "さようなら")).body != answer.body
        assert (await say(running, "こんにちは", 21)).body != answer.body
        made = json.loads(await query(running, "こんにちは"))
        assert made["outputSamplingRate"] == 24000
        assert {"accent_phrases", "speedScale", "outputStereo", "kana"} < set(made)
        assert running.requests[-1].route == "POST /audio_query"
        assert [asked.text for asked in running.requests if asked.work == 0] == ["こんにちは"]


async def test_a_query_that_was_changed_is_refused_and_one_in_another_form_is_not():
    async with serve(Voicevox()) as running:
        made = json.loads(await query(running, "はい"))
        as_is = await ask(running, "POST", "/synthesis?speaker=8", json.dumps(made, indent=2, sort_keys=True).encode())
        assert as_is.status == 200
        unknown = {name: value for name, value in made.items() if not name.startswith("x-")}
        for changed in (made | {"speedScale": 1.1}, made | {"more": 1}, unknown, [], {}):
            answer = await ask(running, "POST", "/synthesis?speaker=8", changed)
            assert (answer.status, "detail" in answer.json()) == (422, True)
        assert (await ask(running, "POST", "/synthesis?speaker=8", b"not json")).status == 422


@pytest.mark.parametrize(
    ("method", "path", "status", "key"),
    [
        ("POST", "/audio_query?speaker=8", 422, "detail"),
        ("POST", "/audio_query?text=a", 422, "detail"),
        ("POST", "/audio_query?text=a&speaker=one", 422, "detail"),
        ("POST", "/audio_query?text=a&speaker=3", 422, "message"),
        ("POST", "/audio_query?text=a&speaker=3001", 422, "message"),
        ("POST", "/initialize_speaker?speaker=99", 422, "message"),
        ("GET", "/is_initialized_speaker?speaker=99", 422, "message"),
        ("GET", "/synthesis", 405, "detail"),
        ("GET", "/health", 404, "detail"),
    ],
)
async def test_what_voicevox_refuses(method, path, status, key):
    async with serve(Voicevox()) as running:
        answer = await ask(running, method, path)
        assert (answer.status, list(answer.json())) == (status, [key])


async def test_a_mock_engine_answers_for_a_style_that_there_is_not():
    async with serve(Voicevox(mock=True)) as running:
        assert (await say(running, "はい", 424242)).status == 200


async def test_a_speaker_is_initialised_by_a_call_or_by_its_first_work():
    async with serve(Voicevox()) as running:

        async def ready(style: int) -> bool:
            return (await ask(running, "GET", f"/is_initialized_speaker?speaker={style}")).json()

        assert (await ready(8), await ready(21)) == (False, False)
        answer = await ask(running, "POST", "/initialize_speaker?speaker=8&skip_reinit=true")
        assert (answer.status, answer.body) == (204, b"")
        await say(running, "はい", 21)
        assert (await ready(8), await ready(21), await ready(47)) == (True, True, False)


async def test_voicevox_and_an_empty_text():
    async with serve(Voicevox()) as running:
        answer = await say(running, "")
        assert (answer.status, frames_of(answer.body)) == (200, b"")
        running.service.behave(empty_text="crash")
        assert (await ask(running, "POST", "/audio_query?text=&speaker=8")).status == 500


async def test_a_foreign_origin_is_refused_and_a_line_that_is_too_long_is_no_request():
    async with serve(Voicevox()) as running:
        assert (await ask(running, "GET", "/version", Origin="http://evil.example")).status == 403
        answer = await ask(running, "POST", f"/audio_query?speaker=8&text={quote('あ' * 10_000)}")
        assert (answer.status, answer.body) == (400, b"Invalid HTTP request received.")


# --- OpenVoice ---


async def test_openvoice_a_speaks_base64_in_json_and_takes_both_kinds_of_form():
    async with serve(OpenVoice()) as running:
        health = (await ask(running, "GET", "/health")).json()
        assert set(health) == {
            "status", "service", "version", "openvoice_available", "pytorch_device", "model_files_status",
        }  # fmt: skip
        profiles = (await ask(running, "GET", "/voice-clone/profiles")).json()
        assert profiles[0]["status"] != "ready"  # the first is not the one to take
        profile = profiles[1]["id"]
        fields = {"text": "はい、é", "voice_profile_id": profile, "language": "ja", "speed": "2.0"}
        answers = [
            await ask(running, "POST", "/voice-clone/synthesize", form(**fields), Content_Type=FORM),
            await ask(
                running,
                "POST",
                "/voice-clone/synthesize",
                multipart(**fields),
                Content_Type="multipart/form-data; boundary=xx",
            ),
        ]
        for answer in answers:
            said = answer.json()
            assert (answer.status, said["success"], said["error"]) == (200, True, None)
            assert len(frames_of(base64.b64decode(said["audio_data"]))) == 2 * 4 * 1500
        assert answers[0].body == answers[1].body
        as_json = await ask(running, "POST", "/voice-clone/synthesize", fields, Content_Type="application/json")
        assert as_json.status == 422


async def test_openvoice_b_speaks_wav():
    async with serve(OpenVoice(flavour="ec2")) as running:
        health = (await ask(running, "GET", "/health")).json()
        assert set(health) == {"status", "service", "device", "initialized", "profiles_count", "encoding"}
        profile = (await ask(running, "GET", "/api/profiles")).json()[1]["id"]
        body = form(text="はい", profile_id=profile, language="ja")
        answer = await ask(running, "POST", "/api/synthesize", body, Content_Type=FORM)
        assert (answer.status, answer.headers["content-type"]) == (200, "audio/wav")
        assert len(frames_of(answer.body)) == 2 * 6000
        assert (await ask(running, "GET", "/voice-clone/profiles")).status == 404


async def test_the_successor_says_more():
    async with serve(OpenVoice(flavour="successor")) as running:
        health = (await ask(running, "GET", "/health")).json()
        assert {"vram_usage_mb", "gpu_name", "pytorch_device"} < set(health)
        assert (await ask(running, "GET", "/model/status")).json()["loaded"] is True
        body = form(text="abcdefgh", voice_profile_id="a41b77c0")
        answer = await ask(running, "POST", "/voice-clone/synthesize", body, Content_Type=FORM)
        assert answer.json()["duration"] == 1.0
    async with serve(OpenVoice()) as running:
        assert (await ask(running, "GET", "/model/status")).status == 404


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"text": "a"}, 422),
        ({"voice_profile_id": "a41b77c0"}, 422),
        ({"text": "a", "voice_profile_id": "a41b77c0", "speed": "fast"}, 422),
        ({"text": "a", "voice_profile_id": "a41b77c0", "speed": "2.1"}, 400),
        ({"text": "a", "voice_profile_id": "a41b77c0", "speed": "nan"}, 400),
        ({"text": " ", "voice_profile_id": "a41b77c0"}, 400),
        ({"text": "a", "voice_profile_id": "nobody"}, 500),
        ({"text": "a", "voice_profile_id": "5f0c1d2e"}, 500),
    ],
)
async def test_what_openvoice_refuses(fields, status):
    async with serve(OpenVoice()) as running:
        answer = await ask(running, "POST", "/voice-clone/synthesize", form(**fields), Content_Type=FORM)
        assert (answer.status, "detail" in answer.json()) == (status, True)


@pytest.mark.parametrize("flavour", ["native", "ec2", "successor"])
async def test_an_openvoice_that_is_not_ready_says_so_with_200(flavour):
    async with serve(OpenVoice(Behaviour(initializing=True), flavour=flavour)) as running:
        answer = await ask(running, "GET", "/health")
        assert (answer.status, answer.json()["status"]) == (200, "initializing")
        path, name = (
            ("/api/synthesize", "profile_id") if flavour == "ec2" else ("/voice-clone/synthesize", "voice_profile_id")
        )
        body = form(text="a", **{name: "a41b77c0"})
        assert (await ask(running, "POST", path, body, Content_Type=FORM)).status == 500
        running.service.behave(initializing=False, empty_catalog=True)
        listed = await ask(running, "GET", "/api/profiles" if flavour == "ec2" else "/voice-clone/profiles")
        assert listed.json() == []


# --- backend ---


async def test_the_backends_calls():
    async with serve(Backend()) as running:
        assert (await ask(running, "GET", "/health")).json() == {"status": "healthy"}
        assert (await ask(running, "GET", "/api/voicevox/health")).json() == {"status": "healthy", "version": "0.24.1"}
        unified = (await ask(running, "GET", "/api/unified-voice/health")).json()
        assert unified == {"service": "healthy", "providers": {"voicevox": "healthy", "openvoice": "healthy"}}
        profiles = (await ask(running, "GET", "/api/voice-clone/profiles")).json()
        assert set(profiles[1]) == {"id", "name", "language", "created_at", "sample_count", "status"}
        profile = profiles[1]["id"]
        first = await ask(
            running, "POST", "/api/voicevox/synthesis", {"text": "はい", "speaker_id": 8, "speed_scale": 1.0}
        )
        second = await ask(
            running,
            "POST",
            "/api/unified-voice/synthesize",
            {"text": "はい", "voice_profile_id": profile, "speed": 2.0},
        )
        third = await ask(running, "POST", f"/api/voice-clone/test/{profile}", form(text="はい"), Content_Type=FORM)
        assert [len(frames_of(answer.body)) for answer in (first, second, third)] == [12000, 6000, 12000]
        assert running.service.ledger.by_route["POST /api/voice-clone/test/{id}"] == 1


async def test_calls_that_do_not_exist_are_404():
    async with serve(Backend()) as running:
        for method, path in (("POST", "/api/voice-clone/synthesize"), ("GET", "/api/system/stats")):
            assert (await ask(running, method, path)).status == 404


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/api/voicevox/synthesis", {"text": "a"}, 422),
        ("/api/voicevox/synthesis", {"speaker_id": 8}, 422),
        ("/api/voicevox/synthesis", {"text": "a" * 1001, "speaker_id": 8}, 422),
        ("/api/voicevox/synthesis", {"text": "a" * 1000, "speaker_id": 8}, 200),
        ("/api/voicevox/synthesis", {"text": "a", "speaker_id": 3}, 500),
        ("/api/voicevox/synthesis", [], 422),
        ("/api/unified-voice/synthesize", {"text": "a", "voice_profile_id": "nobody"}, 404),
        ("/api/unified-voice/synthesize", {"text": "a", "voice_profile_id": "a41b77c0", "speed": "x"}, 422),
        ("/api/unified-voice/synthesize", {"text": "", "voice_profile_id": "a41b77c0"}, 400),
    ],
)
async def test_what_the_backend_refuses(path, fields, status):
    async with serve(Backend()) as running:
        assert (await ask(running, "POST", path, fields)).status == status


async def test_the_backends_healths_are_200_whatever_they_say():
    async with serve(Backend(Behaviour(unhealthy=True))) as running:
        one = await ask(running, "GET", "/api/voicevox/health")
        assert (one.status, one.json()["status"]) == (200, "unhealthy")
        assert (await ask(running, "GET", "/api/unified-voice/health")).json()["service"] == "healthy"
        running.service.behave(initializing=True)
        both = await ask(running, "GET", "/api/unified-voice/health")
        assert (both.status, both.json()["service"]) == (200, "degraded")
        assert (await ask(running, "GET", "/health")).json() == {"status": "healthy"}


# --- OpenAI ---


def chat(**more: object) -> dict:
    return {"model": "demo-8b", "messages": [{"role": "user", "content": "why?"}]} | more


async def test_a_model_answers_whole():
    async with serve(OpenAi(Behaviour(reply_tokens=5))) as running:
        listed = (await ask(running, "GET", "/v1/models")).json()
        assert (listed["object"], [model["id"] for model in listed["data"]]) == ("list", ["demo-8b"])
        said = (await ask(running, "POST", "/v1/chat/completions", chat())).json()
        assert said["choices"][0]["message"]["content"]
        assert (said["choices"][0]["finish_reason"], said["usage"]["completion_tokens"]) == ("stop", 5)
        said = (
            await ask(running, "POST", "/v1/completions", {"model": "demo-8b", "prompt": "x", "max_tokens": 3})
        ).json()
        assert (said["choices"][0]["finish_reason"], said["usage"]["completion_tokens"]) == ("length", 3)
        assert said["choices"][0]["text"]


@pytest.mark.parametrize(("asked", "usage", "blocks"), [(True, True, 1), (True, False, 0), (False, True, 0)])
async def test_usage_comes_to_who_asks_unless_the_server_has_none(asked, usage, blocks):
    async with serve(OpenAi(Behaviour(reply_tokens=3, usage=usage))) as running:
        more = {"stream_options": {"include_usage": True}} if asked else {}
        answer = await ask(running, "POST", "/v1/chat/completions", chat(stream=True, **more))
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.body.count(b'"completion_tokens": 3') == blocks
        assert answer.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("kind", ["wav", "pcm"])
async def test_speech_whole_and_streamed_has_the_same_frames(kind):
    asked = {"model": "demo-8b", "input": "はいはい", "voice": "demo", "response_format": kind}
    async with serve(OpenAi()) as running:
        whole = await ask(running, "POST", "/v1/audio/speech", asked)
        running.service.behave(first_audio_s=0.0)
        stream = await ask(running, "POST", "/v1/audio/speech", asked)
    head = 44 if kind == "wav" else 0
    assert whole.headers["content-type"] == stream.headers["content-type"] == f"audio/{kind}"
    assert ("content-length" in whole.headers, "transfer-encoding" in stream.headers) == (True, True)
    assert whole.body[head:] == stream.body[head:]
    assert len(whole.body) - head == 2 * 12000


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/v1/chat/completions", chat(model="other"), 404),
        ("/v1/audio/speech", {"model": "other", "input": "a", "voice": "demo"}, 404),
        ("/v1/chat/completions", {"messages": []}, 400),
        ("/v1/chat/completions", {"model": "demo-8b", "messages": [1]}, 400),
        ("/v1/completions", {"model": "demo-8b"}, 400),
        ("/v1/completions", {"model": "demo-8b", "prompt": ""}, 400),
        ("/v1/audio/speech", {"model": "demo-8b", "input": "", "voice": "demo"}, 400),
        ("/v1/audio/speech", {"model": "demo-8b", "input": "a", "voice": "nobody"}, 400),
        ("/v1/audio/speech", {"model": "demo-8b", "input": "a", "voice": "demo", "response_format": "flac"}, 400),
        ("/v1/completions", [], 400),
    ],
)
async def test_what_openai_refuses(path, fields, status):
    async with serve(OpenAi()) as running:
        answer = await ask(running, "POST", path, fields)
        assert (answer.status, answer.json()["error"]["code"]) == (status, status)


async def test_a_key_is_asked_for_and_not_kept():
    async with serve(OpenAi(api_key="s3cret")) as running:
        assert (await ask(running, "GET", "/v1/models")).status == 401
        assert (await ask(running, "GET", "/v1/models", Authorization="Bearer wrong")).status == 401
        assert (await ask(running, "GET", "/v1/models", Authorization="Bearer s3cret")).status == 200
        assert "s3cret" not in repr(running.requests)


# --- others ---


async def test_a_stranger_greets_whatever_it_is_asked_and_pages_know_their_own():
    async with serve(Stranger()) as running:
        for method, path in (("GET", "/version"), ("POST", "/synthesis?speaker=8"), ("GET", "/v1/models")):
            answer = await ask(running, method, path)
            assert (answer.status, answer.headers["content-type"]) == (200, "text/html")
    async with serve(Pages(pages={"/": {"app": "demo"}})) as running:
        assert (await ask(running, "GET", "/")).json() == {"app": "demo"}
        assert (await ask(running, "GET", "/nowhere")).status == 404
