"""OpenVoice of both flavours and through the backend: told apart, ready or not, profiles, forms, base64."""

from __future__ import annotations

import base64

import pytest

from benchmarks.errors import BenchError
from benchmarks.model import Outcome, Side
from benchmarks.synthesis.audio import NotAudioError
from benchmarks.synthesis.bodies import from_base64, from_json, from_openvoice
from benchmarks.synthesis.openvoice import Profile, check_ready, choose, is_native
from probes.demo.voices import Backend, Behaviour, OpenVoice, Pages, Stranger, Voicevox, serve
from probes.demo.voices import Profile as Voice
from tests.support.synthesis import made, planned

GOOD = (Voice("a41b77c0", "Demo"), Voice("c9d08e13", "Other", "en"))


@pytest.mark.parametrize("flavour", ["native", "successor", "ec2"])
async def test_both_flavours_and_the_successor_speak(flavour) -> None:
    async with serve(OpenVoice(Behaviour(delay_s=0.04), flavour=flavour, profiles=GOOD)) as running:
        (spec,) = planned(running, "openvoice", mode="quick")
        async with made(spec, running, "openvoice") as run:
            found = await run.preflight()
            assert found.device_claimed == "cuda"
            assert found.server_version == {"native": "2.0", "successor": "3.0", "ec2": None}[flavour]
            letter = "B (raw WAV)" if flavour == "ec2" else "A (base64 in JSON)"
            assert found.notes[:2] == (f"OpenVoice, flavour {letter}", "profile a41b77c0 (Demo)")
            assert ("it names its GPU: NVIDIA L4" in found.notes) is (flavour == "successor")
            assert ("it says that it holds 5123.4 MB of GPU memory" in found.notes) is (flavour == "successor")
            assert found.missing.keys() == {"ttfa", "query_time", "synthesis_time"}
            await run.prepare()
            done = await run.once(0, 0)
    assert done.outcome is Outcome.OK, done.detail
    assert done.values.keys() == {"audio_s", "rtf", "rtfx", "seconds_per_character"}
    assert done.values["audio_s"] == 0.625
    assert (done.end_ns - done.sent_ns) / 1e9 >= 0.04
    assert running.requests[-1].text == "こんにちは"


async def test_a_profile_that_failed_is_not_taken_by_itself() -> None:
    async with serve(OpenVoice()) as running:  # its first profile has failed
        (spec,) = planned(running, "openvoice", mode="check")
        async with made(spec, running, "openvoice") as run:
            assert "profile a41b77c0 (Demo)" in (await run.preflight()).notes


async def test_where_profiles_have_no_status_the_first_that_speaks_is_used() -> None:
    async with serve(OpenVoice(flavour="ec2")) as running:  # its first profile has failed, and the list does not say so
        (spec,) = planned(running, "openvoice", mode="quick")
        async with made(spec, running, "openvoice") as run:
            assert "profile 5f0c1d2e (Broken)" in (await run.preflight()).notes
            found = await run.prepare()
            assert "profile a41b77c0 (Demo) instead: those before it cannot speak" in found.notes
            assert (await run.once(0, 0)).outcome is Outcome.OK


async def test_a_profile_that_was_chosen_is_kept_though_it_cannot_speak() -> None:
    async with serve(OpenVoice(flavour="ec2")) as running:
        (spec,) = planned(running, "openvoice", mode="quick", style="5f0c1d2e")
        async with made(spec, running, "openvoice") as run:
            await run.preflight()
            await run.prepare()
            assert (await run.once(0, 0)).outcome is Outcome.HTTP_ERROR


async def test_no_profile_speaks() -> None:
    broken = (Voice("1", "a", status="failed"), Voice("2", "b", status="failed"))
    async with serve(OpenVoice(flavour="ec2", profiles=broken)) as running:
        (spec,) = planned(running, "openvoice", mode="quick")
        async with made(spec, running, "openvoice") as run:
            await run.preflight()
            await run.prepare()
            done = await run.once(0, 0)
    assert done.outcome is Outcome.HTTP_ERROR
    assert "1" in done.detail


@pytest.mark.parametrize("wish", ["c9d08e13", "Other"])
async def test_a_profile_by_id_or_name(wish: str) -> None:
    async with serve(OpenVoice()) as running:
        (spec,) = planned(running, "openvoice", mode="check", style=wish)
        async with made(spec, running, "openvoice") as run:
            assert "profile c9d08e13 (Other)" in (await run.preflight()).notes


async def test_an_unknown_profile() -> None:
    async with serve(OpenVoice()) as running:
        (spec,) = planned(running, "openvoice", mode="check", style="nobody")
        async with made(spec, running, "openvoice") as run:
            with pytest.raises(BenchError, match='no profile "nobody"') as caught:
                await run.preflight()
    assert caught.value.side is Side.CLIENT
    assert caught.value.next_step.startswith("one of: 5f0c1d2e (Broken), a41b77c0 (Demo)")


def test_profiles_of_which_none_is_usable() -> None:
    with pytest.raises(BenchError, match=r"no voice profile is usable: 1 .x., 2"):
        choose([Profile(1, "x", "Failed"), Profile("2", None, "processing")], None)
    assert choose([Profile(1, "x", "failed"), Profile(7)], " ").id == 7
    assert choose([Profile(1, "x", "failed")], "1").id == 1


@pytest.mark.parametrize("flavour", ["native", "ec2"])
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (Behaviour(initializing=True), 'not ready: its status is "initializing"'),
        (Behaviour(unhealthy=True), 'not ready: its status is "unhealthy"'),
        (Behaviour(empty_catalog=True), "no voice profile"),
    ],
)
async def test_a_service_that_cannot_speak_yet(flavour, behaviour: Behaviour, words: str) -> None:
    async with serve(OpenVoice(behaviour, flavour=flavour)) as running:
        (spec,) = planned(running, "openvoice", mode="check")
        async with made(spec, running, "openvoice") as run:
            with pytest.raises(BenchError, match=words) as caught:
                await run.preflight()
    assert (caught.value.layer, caught.value.side) == ("service", Side.SERVER)


@pytest.mark.parametrize(
    "other",
    [Voicevox(), Stranger(), Backend(), Pages(pages={"/health": {"status": "healthy"}}), Pages(pages={"/health": []})],
)
async def test_another_service_on_the_port(other) -> None:
    async with serve(other) as running:
        (spec,) = planned(running, "openvoice", mode="check")
        async with made(spec, running, "openvoice") as run:
            with pytest.raises(BenchError, match="this is no OpenVoice service: GET /health"):
                await run.preflight()


def test_the_flavour_is_what_health_has_more_keys_of() -> None:
    assert is_native({"status": "healthy", "pytorch_device": "cpu"}, "/health")
    assert not is_native({"status": "healthy", "device": "cpu", "initialized": True}, "/health")
    assert is_native({"pytorch_device": "cpu", "openvoice_available": True, "initialized": True}, "/health")
    with pytest.raises(BenchError, match="neither"):
        is_native({"status": "healthy", "device": "cpu"}, "/health")


def test_flavour_b_may_be_healthy_and_not_initialised() -> None:
    check_ready({"status": "healthy", "initialized": True}, native=False)
    check_ready({"status": "healthy", "initialized": False}, native=True)
    with pytest.raises(BenchError, match="it is not initialised"):
        check_ready({"status": "healthy", "initialized": False}, native=False)
    with pytest.raises(BenchError, match='its status is "None"'):
        check_ready({}, native=True)


async def test_health_that_names_no_device() -> None:
    pages = {"/health": {"status": "healthy", "openvoice_available": False}, "/voice-clone/profiles": [{"id": 3}]}
    async with serve(Pages(pages=pages)) as running:
        (spec,) = planned(running, "openvoice", mode="check")
        async with made(spec, running, "openvoice") as run:
            found = await run.preflight()
    assert found.device_claimed is None
    assert found.missing["device_claimed"] == "its health does not name a device"
    assert found.notes[2] == "its health says that OpenVoice itself is not available"


async def test_speed_reaches_flavour_a_and_is_refused_for_b() -> None:
    async with serve(OpenVoice(profiles=GOOD)) as running:
        (spec,) = planned(running, "openvoice", mode="check", extra={"speed": "2"})
        async with made(spec, running, "openvoice") as run:
            await run.preflight()
            assert (await run.once(0, 0)).values["audio_s"] == 0.3125
    async with serve(OpenVoice(profiles=GOOD, flavour="ec2")) as running:
        async with made(spec, running, "openvoice") as run:
            with pytest.raises(BenchError, match="has no speed"):
                await run.preflight()


async def test_success_false_with_status_200() -> None:
    async with serve(OpenVoice(Behaviour(ok_error_body=True))) as running:
        (spec,) = planned(running, "openvoice", mode="check")
        async with made(spec, running, "openvoice") as run:
            await run.preflight()
            done = await run.once(0, 0)
    assert done.outcome is Outcome.INVALID_BODY
    assert done.detail == 'the service says that it failed: "CUDA out of memory"'
    assert done.sent_ns is not None
    assert done.end_ns is not None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no JSON with audio"),
        (b"RIFF....WAVE", "no JSON with audio"),
        (b"[]", "no JSON with audio"),
        (b'{"success": true}', "sent no audio"),
        (b'{"success": true, "audio_data": ""}', "sent no audio"),
        (b'{"success": true, "audio_data": 7}', "no JSON with audio"),
        (b'{"success": false, "audio_data": "AAAA"}', "says that it failed"),
        (b'{"success": false, "error": "out\\u001b[31m\\u202e of memory"}', r'failed: "out\[31m of memory"'),
        (b'{"success": true, "audio_data": "AAA"}', "no base64"),
        (b'{"success": true, "audio_data": "AA AA"}', "no base64"),
        ('{"success": true, "audio_data": "\uff21\uff21\uff21\uff21"}'.encode(), "no base64"),
        (b"[" * 100_000, "no JSON with audio"),
    ],
)
def test_answers_of_flavour_a_that_are_none(body: bytes, words: str) -> None:
    with pytest.raises(NotAudioError, match=words):
        from_openvoice(body)


def test_audio_in_any_json() -> None:
    text = base64.b64encode(b"sound").decode()
    body = f'{{"out": [{{"audio": "{text}"}}], "error": "none given"}}'.encode()
    assert from_json(body, "out.0.audio") == b"sound"
    for path in ("out", "out.1.audio", "out.x", "", "audio", "out.0.audio.x", "out.99999999999", "out.-1"):
        with pytest.raises(NotAudioError, match=r'no audio at ".*" of the answer: "none given"'):
            from_json(body, path)
    with pytest.raises(NotAudioError, match="no JSON"):
        from_json(b"RIFF", "out")
    assert from_base64("") == b""


# --- through the backend ---

WAYS = {"backend-voicevox": "21", "backend-unified": None, "backend-clone": "Other"}


@pytest.mark.parametrize("way", WAYS)
async def test_the_three_ways_through_the_backend(way: str) -> None:
    async with serve(Backend(Behaviour(delay_s=0.02))) as running:
        (spec,) = planned(running, "http", mode="quick", style=WAYS[way], extra={"through": way})
        async with made(spec, running, "http") as run:
            found = await run.preflight()
            assert found.notes[0].startswith("through the backend, /api/")
            assert running.service.ledger.works == 0
            await run.prepare()
            done = await run.once(0, 0)
    assert done.outcome is Outcome.OK, done.detail
    assert done.values["audio_s"] == 0.625
    assert running.requests[-1].text == "こんにちは"


async def test_an_odd_profile_id_stays_one_part_of_the_path() -> None:
    async with serve(Backend(profiles=(Voice("a b?x=%41", "Odd"),))) as running:
        (spec,) = planned(running, "http", mode="check", extra={"through": "backend-clone"})
        async with made(spec, running, "http") as run:
            await run.preflight()
            assert (await run.once(0, 0)).outcome is Outcome.OK


async def test_the_backend_lists_no_styles() -> None:
    async with serve(Backend()) as running:
        for style in (None, "Demo/plain", "-3", "٣"):
            (spec,) = planned(running, "http", mode="check", style=style)
            async with made(spec, running, "http") as run:
                with pytest.raises(BenchError, match="does not list") as caught:
                    await run.preflight()
            assert "--style ID" in caught.value.next_step


@pytest.mark.parametrize(
    ("way", "behaviour", "words"),
    [
        (
            "backend-voicevox",
            Behaviour(unhealthy=True),
            'VOICEVOX is not well: "connection to 127.0.0.1:50021 refused"',
        ),
        ("backend-unified", Behaviour(unhealthy=True, initializing=True), 'unified voice is "degraded"'),
        ("backend-unified", Behaviour(empty_catalog=True), "no voice profile"),
        ("backend-clone", Behaviour(empty_catalog=True), "no voice profile"),
    ],
)
async def test_a_backend_that_says_with_200_that_it_is_not_well(way: str, behaviour: Behaviour, words: str) -> None:
    async with serve(Backend(behaviour)) as running:
        (spec,) = planned(
            running, "http", mode="check", style="8" if "voicevox" in way else None, extra={"through": way}
        )
        async with made(spec, running, "http") as run:
            with pytest.raises(BenchError, match=words):
                await run.preflight()


async def test_a_style_that_the_backend_does_not_know_fails_as_the_server_says() -> None:
    async with serve(Backend()) as running:
        (spec,) = planned(running, "http", mode="check", style="9999")
        async with made(spec, running, "http") as run:
            await run.preflight()
            done = await run.once(0, 0)
    assert (done.outcome, done.detail) == (
        Outcome.HTTP_ERROR, "HTTP 500: VOICEVOX synthesis failed: unknown style 9999",
    )  # fmt: skip


async def test_a_frontend_in_the_place_of_the_backend() -> None:
    async with serve(Stranger()) as running:
        (spec,) = planned(running, "http", mode="check", style="8")
        async with made(spec, running, "http") as run:
            with pytest.raises(BenchError, match="this is no backend"):
                await run.preflight()
