"""When a server is taken for dead, and what is said of failures. Moments are made up."""

from __future__ import annotations

import pytest

from benchmarks.model import Done, Outcome
from benchmarks.recorder import Recorder

SECOND = 1_000_000_000


def recorder() -> Recorder:
    made = Recorder(0)
    made.begin("measure")
    return made


def ended(recorder: Recorder, outcome: Outcome, sent_s: float, end_s: float) -> None:
    sent_ns, end_ns = round(sent_s * SECOND), round(end_s * SECOND)
    recorder.take(0, recorder.phase, sent_ns, sent_ns, Done(outcome, sent_ns=sent_ns, end_ns=end_ns))


def test_a_server_that_froze_for_two_timeouts_is_not_dead():
    """Ten a second, a timeout of 1 s, frozen from 3 s to 5 s: eleven time out, and the twelfth is answered."""
    found = recorder()
    for at in range(30, 41):
        ended(found, Outcome.TIMEOUT, at / 10, at / 10 + 1)
        assert not found.gone
    ended(found, Outcome.OK, 4.1, 5.05)
    assert not found.gone


def test_connections_that_all_break_at_one_moment_are_no_death():
    found = recorder()
    for _ in range(64):
        ended(found, Outcome.TRANSPORT, 1.0, 1.5)
    assert not found.gone


@pytest.mark.parametrize(("outcome", "enough"), [(Outcome.TRANSPORT, 10), (Outcome.TIMEOUT, 5)])
def test_one_after_the_other_without_an_answer_is_death(outcome: Outcome, enough: int):
    found = recorder()
    for at in range(enough - 1):
        ended(found, outcome, at, at + 1)
    assert not found.gone
    ended(found, outcome, enough - 1, enough)
    assert found.gone


@pytest.mark.parametrize("answer", [Outcome.OK, Outcome.HTTP_ERROR, Outcome.INVALID_BODY])
def test_an_answer_of_any_kind_shows_that_it_lives(answer: Outcome):
    found = recorder()
    for at in range(40):
        ended(found, answer if at % 9 == 8 else Outcome.TRANSPORT, at, at + 1)
        assert not found.gone


def test_failures_of_the_warm_up_are_not_counted_with_those_measured():
    found = Recorder(0)
    found.begin("warmup")
    ended(found, Outcome.HTTP_ERROR, 0, 1)
    found.begin("measure")
    ended(found, Outcome.HTTP_ERROR, 1, 2)
    ended(found, Outcome.HTTP_ERROR, 2, 3)
    assert found.error_lines() == ("http_error (2 times)", "http_error (in the warm-up)")
