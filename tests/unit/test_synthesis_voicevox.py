"""VOICEVOX: two requests apart and together, styles from the engine's list, cold and warm."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.errors import BenchError, NotMeasurableError
from benchmarks.model import Done, Outcome, Side
from benchmarks.synthesis import voicevox
from benchmarks.synthesis.voicevox import Voice, choose
from probes.demo.voices import Behaviour, OpenVoice, Pages, Stranger, Style, Voicevox, serve
from tests.support.synthesis import made, planned

SHORT_S = 0.625  # five characters of 0.125 s


async def test_a_warm_run_by_hand() -> None:
    async with serve(Voicevox(Behaviour(delay_s=0.06, query_s=0.03))) as running:
        (spec,) = planned(running, mode="quick")
        async with made(spec, running) as run:
            found = await run.preflight()
            assert (found.server_version, found.device_claimed, found.via) == ("0.24.1", None, "direct")
            assert found.endpoint == f"http://127.0.0.1:{running.port}"
            assert found.notes == ("style 8 (Demo/plain)", "its build supports cpu, cuda (not: what is in use)")
            assert found.missing["ttfa"] == "not applicable: the answer is a whole file"
            assert "not what it uses" in found.missing["device_claimed"]
            # nothing was loaded so far
            assert running.service.ledger.works == 0
            prepared = await run.prepare()
            assert prepared is not None
            assert prepared.notes[-1] == "audio must differ by text: compared with that of 2 other text(s)"
            assert running.service.initialized == {8}
            done = await run.once(0, 0)
    assert done.outcome is Outcome.OK
    assert done.values.keys() == {
        "audio_s", "rtf", "rtfx", "query_time", "synthesis_time", "seconds_per_character",
    }  # fmt: skip
    values = done.values
    assert values["audio_s"] == SHORT_S
    assert values["query_time"] == done.spans["query"] >= 0.03
    assert values["synthesis_time"] == done.spans["synthesis"] >= 0.06
    together = (done.end_ns - done.sent_ns) / 1e9
    assert together >= values["query_time"] + values["synthesis_time"]
    assert values["rtf"] == pytest.approx(together / SHORT_S)
    assert values["rtfx"] == pytest.approx(SHORT_S / together)
    assert values["seconds_per_character"] == pytest.approx(together / 5)
    assert len(done.fingerprint) == 16


async def test_the_query_goes_back_as_it_came() -> None:
    # the stand-in refuses a query that was changed in anything, fields that nobody knows included
    async with serve(Voicevox()) as running:
        (spec,) = planned(running, mode="check", texts=("引用「\"'\\」と絵文字👍です",))
        async with made(spec, running) as run:
            await run.preflight()
            assert (await run.once(0, 0)).outcome is Outcome.OK
        assert running.requests[-1].text == "引用「\"'\\」と絵文字👍です"


async def test_a_cold_run_loads_nothing_before_its_one_request() -> None:
    async with serve(Voicevox(Behaviour(cold_extra_s=0.08))) as running:
        cold, warm, *_ = planned(running)
        assert (cold.temperature, warm.temperature) == ("cold", "warm")
        async with made(cold, running) as run:
            assert "not checked whether audio differs by text" in (await run.preflight()).notes[-1]
            assert await run.prepare() is None
            assert running.service.ledger.works == 0
            assert running.service.initialized == set()
            first = await run.once(0, 0)
        async with made(warm, running) as run:
            await run.preflight()
            await run.prepare()
            then = await run.once(0, 0)
    assert first.values["synthesis_time"] >= 0.08
    assert then.outcome is Outcome.OK
    assert then.fingerprint == first.fingerprint


async def test_a_style_that_is_loaded_is_not_loaded_anew() -> None:
    asked = []

    class Recording(Voicevox):
        def _initialize(self, request):
            asked.append(request.query())
            return super()._initialize(request)

    async with serve(Recording()) as running:
        (spec,) = planned(running, mode="check", style="47")
        async with made(spec, running) as run:
            await run.preflight()
            await run.prepare()
    assert asked == [{"speaker": "47", "skip_reinit": "true"}]


async def test_what_is_warm_cannot_be_measured_cold() -> None:
    async with serve(Voicevox()) as running:
        cold, *_ = planned(running)
        running.service.initialized.add(8)
        async with made(cold, running) as run:
            with pytest.raises(NotMeasurableError, match="the style was loaded before this run"):
                await run.preflight()
        assert running.service.ledger.works == 0


async def test_an_engine_that_does_not_tell_is_not_measured_cold_and_is_warmed_up_by_requests() -> None:
    pages = {
        "/version": "0.10.0",
        "/speakers": [{"name": "Old", "styles": [{"name": "a", "id": 1}]}],
        "/supported_devices": [],
    }
    async with serve(Pages(pages=pages)) as running:
        cold, *_ = planned(running)
        async with made(cold, running) as run:
            with pytest.raises(NotMeasurableError, match="does not tell"):
                await run.preflight()
    async with serve(Voicevox(styles=(Style(3, "a", None),))) as running:
        (spec,) = planned(running, mode="check")
        async with made(spec, running) as run:
            assert (await run.preflight()).notes[0] == "style 3 (Demo/a)"


@pytest.mark.parametrize("mock", [False, True])
async def test_a_style_that_is_not_listed_is_refused_even_where_the_service_would_answer(mock: bool) -> None:
    async with serve(Voicevox(mock=mock)) as running:
        (spec,) = planned(running, mode="check", style="9999")
        async with made(spec, running) as run:
            with pytest.raises(BenchError, match='no style "9999"') as caught:
                await run.preflight()
        assert caught.value.layer == "service"
        assert caught.value.side is Side.CLIENT
        assert caught.value.next_step == "one of: 8 Demo/plain, 21 Demo/calm, 47 Other/whisper"
        assert running.service.ledger.works == 0


async def test_a_service_without_styles() -> None:
    async with serve(Voicevox(Behaviour(empty_catalog=True))) as running:
        (spec,) = planned(running, mode="check")
        async with made(spec, running) as run:
            with pytest.raises(BenchError, match="no style that talks"):
                await run.preflight()


KNOWN = [
    Voice(6000, "Singer/scale", talks=False),
    Voice(2, "四国めたん/ノーマル"),
    Voice(0, "四国めたん/あまあま"),
    Voice(3, "\uff3a/b"),
]


@pytest.mark.parametrize(
    ("wish", "id_"),
    [(None, 2), ("", 2), ("0", 0), ("四国めたん", 2), ("四国めたん/あまあま", 0), (" z/B ", 3), ("\uff13", 3)],
)
def test_how_a_style_may_be_named(wish: str | None, id_: int) -> None:
    assert choose(KNOWN, wish).id == id_


def test_styles_that_are_not_taken() -> None:
    for wish, words in (("6000", "sings"), ("あまあま", "no style"), ("-1", "no style"), ("Singer", "no style")):
        with pytest.raises(BenchError, match=words):
            choose(KNOWN, wish)


@pytest.mark.parametrize("other", [OpenVoice(), Stranger(), Pages(pages={"/version": {"version": "1"}})])
async def test_another_service_on_the_port(other) -> None:
    async with serve(other) as running:
        (spec,) = planned(running, mode="check")
        async with made(spec, running) as run:
            with pytest.raises(BenchError, match="this is no VOICEVOX engine: GET /version") as caught:
                await run.preflight()
        assert caught.value.layer == "service"


async def test_a_service_behind_a_prefix() -> None:
    pages = {"/tts/version": "0.24.1", "/tts/speakers": [{"name": "Old", "styles": [{"name": "a", "id": 1}]}]}
    async with serve(Pages(pages=pages)) as running:
        (spec,) = planned(running, mode="check", path="/tts/version")
        async with made(spec, running, path="/tts/version") as run:
            found = await run.preflight()
    assert found.server_version == "0.24.1"
    assert "does not tell which devices" in found.notes[1]


async def test_a_url_with_a_prefix() -> None:
    pages = {"/tts/version": "0.24.1", "/tts/speakers": [{"name": "Old", "styles": [{"name": "a", "id": 1}]}]}
    async with serve(Pages(pages=pages)) as running:
        from benchmarks.benchmark import Request
        from benchmarks.synthesis.definition import DEFINITION
        from tests.support.synthesis import host_of

        asked = Request("synthesis", mode="check", url=f"{running.url}/tts", extra={"kind": "voicevox"})
        (spec,) = DEFINITION.plan(asked, host_of(), {})
        async with made(spec, None) as run:
            assert (await run.preflight()).endpoint == f"{running.url}/tts"


async def checked(service: Voicevox) -> Done:
    """One request to a service, by the mode that validates."""
    async with serve(service) as running:
        (spec,) = planned(running, mode="check")
        async with made(spec, running) as run:
            await run.preflight()
            return await run.once(0, 0)


async def test_a_query_that_is_none() -> None:
    class Broken(Voicevox):
        def _audio_query(self, request):
            from probes.demo.voices.message import as_json

            return as_json(["not", "a", "query"])

    done = await checked(Broken())
    assert done.outcome is Outcome.INVALID_BODY
    assert "answered no AudioQuery" in done.detail


async def test_a_file_of_another_rate_than_the_query_announced_is_not_measured() -> None:
    # half the rate in the header doubles the length, and with it the speed
    class Mislabelled(Voicevox):
        def _synthesis(self, request):
            reply = super()._synthesis(request)
            body = bytearray(reply.body)
            assert body[24:28] == (24_000).to_bytes(4, "little")
            body[24:28] = (12_000).to_bytes(4, "little")
            reply.body = bytes(body)
            return reply

    done = await checked(Mislabelled())
    assert done.outcome is Outcome.INVALID_BODY
    assert "the file says 12000 Hz, the query said 24000 Hz" in done.detail


@pytest.mark.parametrize("rate", [None, "24000", 2.4e4, -1, True])
def test_a_query_that_announces_no_rate_takes_the_files(rate: object) -> None:
    assert voicevox._rate_hz(voicevox._fields(msgspec.json.encode({"outputSamplingRate": rate})) or {}) is None
    assert voicevox._rate_hz({}) is None
