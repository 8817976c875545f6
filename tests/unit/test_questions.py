"""Questions to an agent: matched by token, bounded, and ended by whatever ends them."""

from __future__ import annotations

import asyncio

import pytest

from probes.errors import AskError, LostError
from probes.hosts.questions import Questions
from probes.model import Answer


def questions() -> tuple[Questions, list[bytes]]:
    sent: list[bytes] = []
    return Questions(sent.append), sent


async def test_an_answer_finds_its_question_and_no_other() -> None:
    asked, sent = questions()
    with asked.open() as one, asked.open() as two:
        one.send("l")
        two.send("c", "10.0.0.1", 22, 500)
        assert sent == [f"l {one.token}\n".encode(), f"c {two.token} 10.0.0.1 22 500\n".encode()]
        assert asked.take(Answer(two.token, detail="b"))
        assert asked.take(Answer(one.token, detail="a"))
        assert not asked.take(Answer("0" * 16))
        assert (await one.answer(5)).detail == "a"
        assert (await two.answer(5)).detail == "b"
    assert len(asked) == 0


async def test_no_answer_is_said_after_the_time_it_had() -> None:
    asked, _ = questions()
    with asked.open() as one, pytest.raises(AskError, match=r"no answer in 0\.01 s"):
        await one.answer(0.01)
    assert len(asked) == 0


async def test_a_refusal_is_an_error_with_its_words() -> None:
    asked, _ = questions()
    with asked.open() as one:
        asked.take(Answer(one.token, refused="unsupported", detail="no Python"))
        with pytest.raises(AskError, match="unsupported: no Python"):
            await one.answer(5)


async def test_the_end_of_the_stream_ends_every_wait_and_what_is_asked_later() -> None:
    asked, _ = questions()
    with asked.open() as one:
        waiting = asyncio.create_task(one.answer(60))
        await asyncio.sleep(0)
        asked.end(LostError("reset by peer", layer="silence"))
        with pytest.raises(AskError, match="reset by peer"):
            await waiting
    with asked.open() as late, pytest.raises(AskError, match="reset by peer"):
        await late.answer(60)


async def test_an_answer_that_came_before_the_end_still_counts() -> None:
    asked, _ = questions()
    with asked.open() as one:
        asked.take(Answer(one.token, detail="in time"))
        asked.end(LostError("gone", layer="silence"))
        assert (await one.answer(5)).detail == "in time"


async def test_a_cancelled_wait_leaves_nothing_and_its_late_answer_is_no_fault() -> None:
    asked, _ = questions()
    tokens: list[str] = []

    async def wait() -> None:
        with asked.open() as one:
            tokens.append(one.token)
            await one.answer(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(asked) == 0
    assert asked.take(Answer(tokens[0]))


async def test_a_host_cannot_pile_up_answers() -> None:
    asked, _ = questions()
    with asked.open() as one:
        taken = [asked.take(Answer(one.token)) for _ in range(1000)]
    assert sum(taken) == 4


async def test_questions_are_bounded() -> None:
    asked, _ = questions()
    with pytest.raises(AskError, match="open already"):
        _open_all(asked)


def _open_all(asked: Questions, depth: int = 300) -> None:
    with asked.open():
        if depth:
            _open_all(asked, depth - 1)


@pytest.mark.parametrize("word", ["a b", "a\nq", "", "\x1b", "é", "a\tb"])
async def test_a_word_that_would_not_stay_one_is_never_sent(word: str) -> None:
    asked, sent = questions()
    with asked.open() as one, pytest.raises(ValueError, match="not fit"):
        one.send("c", word, 22, 100)
    assert sent == []
