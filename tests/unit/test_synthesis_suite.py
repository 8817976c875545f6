"""Synthesis from plan to letter: real engine processes against stand-ins. Letters and counts are written by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from benchmarks.benchmark import Request
from benchmarks.errors import NOT_MEASURABLE
from benchmarks.exitcode import INVALID, MISSED, PASS, exit_code
from benchmarks.plan import plan_suite
from benchmarks.runner import Runner
from probes.config import default_settings
from probes.demo.voices import Behaviour, OpenAi, OpenVoice, Voicevox, serve
from probes.fleet import Fleet
from probes.model import Host, Service, ServiceKind

if TYPE_CHECKING:
    from benchmarks.suite import Suite
    from probes.demo.voices import Running


def host_of(*services: Service) -> Host:
    return Host("one", "127.0.0.1", local=True, services=services)


def voicevox(running: Running) -> Host:
    return host_of(Service("voicevox", running.port, ServiceKind.VOICEVOX))


async def suite_of(host: Host, **asked: Any) -> Suite:
    runner = Runner(default_settings(), Fleet((host,)), None, first_sample_s=0.0)
    return await runner.run(plan_suite(Request("synthesis", **asked), (host,), {}))


def passes(suite: Suite) -> None:
    """Whether nothing is held against a suite but how busy this machine is."""
    reasons = [reason for result in suite.results for reason in result.validity.reasons]
    assert all(reason.startswith(("the client", "Little's law", "drift")) for reason in reasons), reasons
    assert exit_code(suite) == (INVALID if reasons else PASS)


async def test_a_quick_run() -> None:
    async with serve(Voicevox(Behaviour(delay_s=0.02, query_s=0.01))) as running:
        suite = await suite_of(voicevox(running), mode="quick")
        # two other texts, one to warm up, ten measured
        assert running.service.ledger.by_route["POST /synthesis"] == 13
    (job,) = suite.jobs
    assert (job.failures, job.problems) == ([], [])
    (result,) = suite.results
    assert (result.case, result.temperature, result.counts.ok) == ("r0-short", "warm", 10)
    assert result.target.service == "voicevox"
    assert result.target.server_version == "0.24.1"
    assert result.target.device_claimed is None
    assert "not what it uses" in result.target.missing["device_claimed"]
    assert result.missing["ttfa"] == "not applicable: the answer is a whole file"
    assert "ttfa" not in result.target.missing
    assert "style 8 (Demo/plain)" in result.notes
    assert "audio must differ by text: compared with that of 2 other text(s)" in result.notes
    metrics = result.metrics
    assert (metrics["audio_s"].min, metrics["audio_s"].max, metrics["audio_s"].n) == (0.625, 0.625, 10)
    assert metrics["query_time"].min >= 0.01
    assert metrics["synthesis_time"].min >= 0.02
    assert metrics["rtf_total"].value >= 0.03 / 0.625
    assert 0 < metrics["rtfx_total"].value <= 0.625 / 0.03
    assert {"query", "synthesis"} <= result.spans.keys()
    assert result.grade.uncapped in ("S", None)
    passes(suite)
    assert result.grade.letter == ("A" if result.validity.verdict == "valid" else None)


async def test_cold_once_and_not_again() -> None:
    async with serve(Voicevox(Behaviour(cold_extra_s=0.05))) as running:
        first = await suite_of(voicevox(running), extra={"temperature": "cold"})
        again = await suite_of(voicevox(running), extra={"temperature": "cold"})
    (result,) = first.results
    assert (result.temperature, result.counts.intended, result.counts.ok) == ("cold", 1, 1)
    assert result.grade.letter is None
    assert [phase.name for phase in result.phases] == ["preflight", "measure"]
    assert result.metrics["synthesis_time"].min >= 0.05
    passes(first)
    assert again.results == ()
    ((failure,),) = [job.failures for job in again.jobs]
    assert (failure.layer, failure.cause) == (NOT_MEASURABLE, "cold: the style was loaded before this run")
    assert exit_code(again) == INVALID  # nothing else was asked for


async def test_a_check_has_no_letter_and_passes() -> None:
    async with serve(OpenVoice(Behaviour(delay_s=0.01))) as running:
        host = host_of(Service("openvoice", running.port, ServiceKind.OPENVOICE))
        suite = await suite_of(host, mode="check")
        assert running.service.ledger.works == 2
    (result,) = suite.results
    assert (result.grade.letter, result.counts.ok, result.target.device_claimed) == (None, 1, "cuda")
    passes(suite)


async def test_a_recording_instead_of_speech_starts_no_run_and_fails_a_check() -> None:
    async with serve(OpenVoice(Behaviour(audio="same"))) as running:
        host = host_of(Service("openvoice", running.port, ServiceKind.OPENVOICE))
        quick = await suite_of(host, mode="quick")
        check = await suite_of(host, mode="check")
    assert quick.results == ()
    assert "two texts have the same audio" in quick.jobs[0].failures[0].cause
    assert exit_code(quick) == INVALID
    (result,) = check.results
    assert result.counts.by_outcome["invalid_body"] == 1
    assert exit_code(check) in (MISSED, INVALID)


async def test_all_failed_on_the_servers_side_is_f() -> None:
    async with serve(Voicevox(Behaviour(error_share=1.0))) as running:
        suite = await suite_of(voicevox(running), mode="quick")
    (result,) = suite.results
    assert (result.counts.intended, result.counts.ok) == (10, 0)
    assert result.counts.by_outcome["http_error"] == 10
    assert result.grade.letter == "F"
    assert any("CUDA error" in line for line in result.errors)
    assert result.metrics["rtf_total"].value is None


async def test_a_service_that_dies_mid_run_is_f_and_what_there_was_is_kept() -> None:
    # two other texts, one to warm up, four measured, then nothing
    async with serve(Voicevox(Behaviour(dies_after=7))) as running:
        suite = await suite_of(voicevox(running), mode="quick", n=40)
    (result,) = suite.results
    assert result.counts.ok == 4
    assert result.counts.by_outcome["transport"] >= 10
    assert result.grade.letter == "F"


async def test_after_a_cancel_the_service_sees_at_most_as_many_more_as_were_on_their_way() -> None:
    async with serve(Voicevox(Behaviour(delay_s=0.05))) as running:
        host = voicevox(running)
        runner = Runner(default_settings(), Fleet((host,)), None, first_sample_s=0.0)
        asked = Request("synthesis", n=2000, concurrency=3, texts=("はい、どうぞ。",), extra={"temperature": "warm"})
        task = asyncio.create_task(runner.run(plan_suite(asked, (host,), {})))
        async with asyncio.timeout(30):
            while running.service.ledger.works < 12:
                await asyncio.sleep(0.01)
        runner.cancel()
        # what was sent before the engine heard of it, and what was on its way then
        suite = await task
        seen = running.service.ledger.total
        await asyncio.sleep(0.2)
        assert running.service.ledger.total == seen
        assert running.service.ledger.in_flight == 0
    (result,) = suite.results
    assert result.validity.reasons[0].startswith("cancelled after ")
    assert result.counts.by_outcome["cancelled"] <= 3
    assert result.counts.ok > 0


async def test_several_services_are_several_runs() -> None:
    async with serve(Voicevox()) as voice, serve(OpenAi(Behaviour(), models=("demo-8b",))) as model:
        host = host_of(
            Service("voicevox", voice.port, ServiceKind.VOICEVOX), Service("llm", model.port, ServiceKind.OPENAI)
        )
        suite = await suite_of(host, mode="check")
    # this stand-in speaks with any model it lists: two services, two results, never pooled
    assert [result.target.service for result in suite.results] == ["voicevox", "llm"]
    passes(suite)
