"""When a stand-in answers: pure functions with figures known by hand, and the same through a clock that is told to go."""

from __future__ import annotations

import asyncio
import json

import pytest

from probes.demo.voices import Behaviour, OpenAi, Voicevox, serve
from probes.demo.voices.clock import LoopClock, Slots
from probes.demo.voices.tokens import schedule
from tests.support.standins import StepClock, ask, query, until


def test_work_takes_its_delay_and_its_characters():
    behaviour = Behaviour(delay_s=0.5, delay_per_char_s=0.0125, cold_extra_s=3.0)
    assert behaviour.work_s(0, 0) == 0.5
    assert behaviour.work_s(7, 16) == pytest.approx(0.7)
    assert behaviour.work_s(7, 16, cold=True) == pytest.approx(3.7)
    slow = Behaviour(delay_s=0.5, slow_numbers=(3,), slow_extra_s=9.0)
    assert [slow.work_s(number, 0) for number in (2, 3, 4)] == [0.5, 9.5, 0.5]
    assert Behaviour(delay_per_char_s=0.0125).work_s(0, 88) / (88 * 0.125) == pytest.approx(0.1)  # the RTF


def test_jitter_belongs_to_the_seed_and_the_number():
    behaviour = Behaviour(delay_s=1.0, jitter_s=0.2)
    took = [behaviour.work_s(number, 0) for number in range(500)]
    assert took == [behaviour.work_s(number, 0) for number in range(500)]
    assert took != [Behaviour(delay_s=1.0, jitter_s=0.2, seed=8).work_s(number, 0) for number in range(500)]
    assert 1.0 <= min(took) < 1.01
    assert 1.19 < max(took) < 1.2


def test_errors_come_by_share_and_by_number():
    assert [number for number in range(9) if Behaviour(error_numbers=(1, 4)).fails(number)] == [1, 4]
    assert sum(Behaviour(error_share=0.08).fails(number) for number in range(10_000)) in range(700, 901)
    assert not any(Behaviour().fails(number) for number in range(1000))
    assert all(Behaviour(error_share=1.0).fails(number) for number in range(1000))


@pytest.mark.parametrize(
    ("begun_s", "work_s", "done_s"),
    [
        (1.9, 0.05, 1.95),  # over before
        (1.99, 0.05, 4.04),  # 10 ms before, 40 ms after
        (2.0, 0.05, 4.05),
        (3.9, 0.05, 4.05),
        (4.0, 0.05, 4.05),  # thawed
        (3.0, 0.0, 4.0),
        (0.0, 10.0, 12.0),
    ],
)
def test_work_stands_still_while_the_service_is_frozen(begun_s, work_s, done_s):
    behaviour = Behaviour(frozen_from_s=2.0, frozen_for_s=2.0)
    assert behaviour.through_s(begun_s, work_s) == pytest.approx(done_s)


def test_the_frozen_server_of_the_acceptance():
    """50 ms, frozen for 2 s, 10 a second for 6 s: the fourth largest of 60 is 1.75 s."""
    behaviour = Behaviour(delay_s=0.05, frozen_from_s=2.0, frozen_for_s=2.0)
    took = sorted(behaviour.through_s(i / 10, behaviour.work_s(i, 0)) - i / 10 for i in range(60))
    assert took[56] == pytest.approx(1.75)
    assert took[29] == pytest.approx(0.05)


async def test_frozen_requests_wait_and_then_all_proceed():
    clock = StepClock()
    behaviour = Behaviour(delay_s=0.05, frozen_from_s=1.0, frozen_for_s=2.0)
    async with serve(Voicevox(behaviour, clock=clock), port=0) as running:
        body = await query(running, "はい")  # the first request: time zero of the freeze
        clock.to(1.5)
        asks = [asyncio.create_task(ask(running, "POST", "/synthesis?speaker=8", body)) for _ in range(3)]
        health = asyncio.create_task(ask(running, "GET", "/version"))
        assert await clock.sleepers(4) == pytest.approx([3.0, 3.05, 3.05, 3.05])
        clock.to(3.0)
        assert (await health).status == 200
        assert not any(task.done() for task in asks)
        clock.to(3.05)
        assert [(await task).status for task in asks] == [200, 200, 200]


async def test_a_freeze_can_begin_with_a_request_and_holds_what_is_under_way():
    clock = StepClock()
    behaviour = Behaviour(delay_s=0.5, frozen_for_s=2.0, frozen_from_work=1)
    async with serve(Voicevox(behaviour, clock=clock)) as running:
        body = await query(running, "はい")
        first = asyncio.create_task(ask(running, "POST", "/synthesis?speaker=8", body))
        assert await clock.sleepers(1) == [0.5]
        clock.to(0.25)
        second = asyncio.create_task(ask(running, "POST", "/synthesis?speaker=8", body))
        assert await clock.sleepers(2) == [0.5, 2.75]
        clock.to(0.5)
        assert await clock.sleepers(2) == [2.5, 2.75]
        clock.to(2.5)
        assert (await first).status == 200
        clock.to(2.75)
        assert (await second).status == 200
        assert (await say_of(running, clock, body, 3.25)).status == 200


async def say_of(running, clock, body, due_s):
    task = asyncio.create_task(ask(running, "POST", "/synthesis?speaker=8", body))
    assert await clock.sleepers(1) == [due_s]
    clock.to(due_s)
    return await task


async def test_one_slot_is_a_line_for_the_gpu():
    clock = StepClock()
    async with serve(Voicevox(Behaviour(delay_s=1.0, slots=1), clock=clock)) as running:
        body = await query(running, "はい")
        asks = [asyncio.create_task(ask(running, "POST", "/synthesis?speaker=8", body)) for _ in range(3)]
        await until(lambda: running.service.slots.waiting == 2)
        for second in (1.0, 2.0, 3.0):
            assert await clock.sleepers(1) == [second]
            clock.to(second)
        assert [(await task).status for task in asks] == [200, 200, 200]
        works = [asked for asked in running.requests if asked.work is not None]
        assert sorted(asked.begun_s for asked in works) == [0.0, 1.0, 2.0]
        assert sorted(asked.ended_s for asked in works) == [1.0, 2.0, 3.0]
        assert (running.service.ledger.working_peak, running.service.ledger.peak) == (3, 3)


async def test_a_cold_style_takes_longer_once():
    clock = StepClock()
    async with serve(Voicevox(Behaviour(delay_s=0.5, cold_extra_s=4.0), clock=clock)) as running:
        body = await query(running, "はい")
        for due_s in (4.5, 5.0):
            task = asyncio.create_task(ask(running, "POST", "/synthesis?speaker=8", body))
            assert await clock.sleepers(1) == [due_s]
            clock.to(due_s)
            await task
        task = asyncio.create_task(ask(running, "POST", "/initialize_speaker?speaker=21&skip_reinit=true"))
        assert await clock.sleepers(1) == [9.0]
        clock.to(9.0)
        assert (await task).status == 204
        task = asyncio.create_task(ask(running, "POST", "/synthesis?speaker=21", body))
        assert await clock.sleepers(1) == [9.5]
        clock.to(9.5)
        await task


async def test_first_byte_and_body_come_late_without_a_slot():
    clock = StepClock()
    behaviour = Behaviour(first_byte_s=0.25, delay_s=0.5, body_s=0.125, slots=1)
    async with serve(Voicevox(Behaviour(), clock=clock)) as running:
        body = await query(running, "はい")
        running.service.behave(behaviour)
        task = asyncio.create_task(ask(running, "POST", "/synthesis?speaker=8", body))
        for due_s in (0.25, 0.75, 0.875):
            assert await clock.sleepers(1) == [due_s]
            clock.to(due_s)
        assert (await task).status == 200
        task = asyncio.create_task(ask(running, "GET", "/version"))
        assert await clock.sleepers(1) == [1.125]
        clock.to(1.125)
        await task


async def test_the_loops_clock_never_rings_early():
    clock = LoopClock()
    at_s = clock.now_s() + 0.01
    await clock.sleep_until(at_s)
    assert clock.now_s() >= at_s
    await clock.sleep_until(at_s - 1)


async def test_the_line_passes_over_who_left_and_grows_when_it_may():
    slots = Slots()
    slots.limit = 1
    order: list[int] = []
    leave = asyncio.Event()

    async def hold(number: int) -> None:
        async with slots.one():
            order.append(number)
            await leave.wait()

    tasks = [asyncio.create_task(hold(number)) for number in range(4)]
    await asyncio.sleep(0)
    assert (order, slots.waiting) == ([0], 3)
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    slots.limit = 2
    await asyncio.sleep(0)
    assert (order, slots.waiting) == ([0, 2], 1)
    leave.set()
    await asyncio.gather(tasks[0], tasks[2], tasks[3])
    assert (order, slots.waiting) == ([0, 2, 3], 0)


async def test_who_is_called_and_cancelled_at_once_gives_the_slot_back():
    slots = Slots()
    slots.limit = 1
    leave = asyncio.Event()

    async def hold() -> None:
        async with slots.one():
            await leave.wait()

    first, second, third = (asyncio.create_task(hold()) for _ in range(3))
    await asyncio.sleep(0)
    leave.set()
    first.cancel()
    await asyncio.sleep(0)  # the first has left, the second is called and has not run yet
    second.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(first, second, third, return_exceptions=True)
    assert third.exception() is None


def events(pieces) -> list:
    lines = b"".join(piece.data for piece in pieces).decode().split("\n\n")
    return [line.removeprefix("data: ") for line in lines if line]


def test_tokens_come_by_an_absolute_schedule():
    behaviour = Behaviour(ttft_s=0.5, token_s=0.03, reply_tokens=4)
    pieces = schedule(behaviour, "why?", 4, {"id": "x"}, chat=True, usage={"completion_tokens": 4})
    assert [piece.at_s for piece in pieces] == pytest.approx([0.0, 0.5, 0.53, 0.56, 0.59, 0.59, 0.59, 0.59])
    said = events(pieces)
    assert json.loads(said[0])["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(json.loads(line)["choices"][0]["delta"]["content"] for line in said[1:5])
    assert json.loads(said[5])["choices"][0]["finish_reason"] == "stop"
    assert json.loads(said[6])["choices"] == []
    assert json.loads(said[6])["usage"] == {"completion_tokens": 4}
    assert said[7] == "[DONE]"


def test_several_tokens_in_a_chunk_go_out_with_their_last():
    behaviour = Behaviour(ttft_s=1.0, token_s=0.1, reply_tokens=9, tokens_per_chunk=3, role_first=False)
    pieces = schedule(behaviour, "why?", 7, {}, chat=False, usage=None)
    assert [piece.at_s for piece in pieces] == pytest.approx([1.2, 1.5, 1.6, 1.6, 1.6])
    assert json.loads(events(pieces)[3])["choices"][0]["finish_reason"] == "length"
    one_by_one = schedule(Behaviour(reply_tokens=9), "why?", 7, {}, chat=False, usage=None)

    def text(parts) -> str:
        return "".join(json.loads(line)["choices"][0]["text"] for line in events(parts)[:-1])

    assert text(pieces) == text(one_by_one) != ""


def test_a_split_event_is_cut_inside_a_character_and_ends_on_time():
    behaviour = Behaviour(ttft_s=0.5, token_s=0.2, reply_tokens=12, split_s=0.05, role_first=False)
    pieces = schedule(behaviour, "why?", 12, {}, chat=True, usage=None)
    assert [piece.at_s for piece in pieces[:4]] == pytest.approx([0.45, 0.5, 0.65, 0.7])
    broken = 0
    for piece in pieces:
        try:
            piece.data.decode()
        except UnicodeDecodeError:
            broken += 1
    assert broken >= 8
    assert [piece.at_s for piece in pieces] == sorted(piece.at_s for piece in pieces)
    whole = schedule(Behaviour(reply_tokens=12, role_first=False), "why?", 12, {}, chat=True, usage=None)
    assert events(pieces) == events(whole)


async def test_a_stream_is_sent_as_it_was_scheduled():
    clock = StepClock()
    behaviour = Behaviour(delay_s=1.0, ttft_s=0.5, token_s=0.25, reply_tokens=3)
    async with serve(OpenAi(behaviour, clock=clock)) as running:
        asked = {"model": "demo-8b", "messages": [{"role": "user", "content": "why?"}], "stream": True}
        task = asyncio.create_task(ask(running, "POST", "/v1/chat/completions", asked))
        for due_s in (1.0, 1.5, 1.75, 2.0):
            assert await clock.sleepers(1) == [due_s]
            clock.to(due_s)
        assert (await task).body.endswith(b"data: [DONE]\n\n")
        assert running.requests[-1].sent_s == [1.0, 1.5, 1.75, 2.0, 2.0, 2.0]


async def test_speech_streams_its_first_frame_when_it_says():
    clock = StepClock()
    async with serve(OpenAi(Behaviour(first_audio_s=0.3, audio_chunk_s=0.1), clock=clock)) as running:
        asked = {"model": "demo-8b", "input": "abc", "voice": "demo", "response_format": "wav"}
        task = asyncio.create_task(ask(running, "POST", "/v1/audio/speech", asked))
        for due_s in (0.3, 0.4, 0.5):
            assert await clock.sleepers(1) == pytest.approx([due_s])
            clock.to(due_s)
        answer = await task
        assert len(answer.body) == 44 + 3 * 6000
        assert running.requests[-1].sent_s == pytest.approx([0.0, 0.3, 0.4, 0.5])
