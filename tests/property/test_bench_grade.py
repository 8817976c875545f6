"""A letter never becomes better because a request became slower or failed, in any mode."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.grade import grade, policy
from benchmarks.model import RESPONSE_TIME, Ladder, Metric
from benchmarks.result import LETTERS, Counts, Validity
from benchmarks.stats import describe

TPOT = Metric("tpot", "s", "lower", "of a test")
TOKENS = Metric("tokens", "1/s", "higher", "of a test")
POLICY = policy({
    "one": (Ladder("response_time", "s", 1, 2, 5, 10),),
    "two": (Ladder("response_time", "s", 1, 2, 5, 10, tail=0.99), Ladder("tpot", "s", 2, 3, 4, 8, tail=0.99)),
    "up": (Ladder("tokens", "1/s", 10, 5, 2, 1, better="higher"),),
})  # fmt: skip
#: seconds near and on the boundaries; None: the request failed
TIMES = st.none() | st.sampled_from([0.5, 0.9, 1.0, 1.5, 2.0, 2.5, 4.0, 5.0, 6.0, 10.0, 12.0]) | st.floats(0.1, 20)
#: the same time many times, so that every n of the policy is reached
RUNS = st.lists(st.tuples(TIMES, st.sampled_from([1, 1, 2, 5, 9, 28, 90])), min_size=1, max_size=8).map(
    lambda groups: [time for time, times in groups for _ in range(times)]
)
MODES = st.sampled_from(["full", "quick", "check"])
BENCHMARKS = st.sampled_from(["one", "two", "up"])


def letter(times, mode, benchmark, died=False):
    ok = [time for time in times if time is not None]
    failed = len(times) - len(ok)
    metrics = {
        "response_time": describe(ok, RESPONSE_TIME, failed),
        "tpot": describe([2 * time for time in ok], TPOT, failed),
        "tokens": describe([10 / time for time in ok], TOKENS, failed),
    }
    return grade(
        POLICY, benchmark, mode=mode, counts=Counts(len(times), len(ok), {}), metrics=metrics,
        validity=Validity("valid"), died=died,
    )  # fmt: skip


def not_better(after, before):
    if before.letter is None:
        # too few for a letter but not for an F
        return after.letter in (None, "F")
    return after.letter is not None and LETTERS.index(after.letter) >= LETTERS.index(before.letter)


@given(RUNS, MODES, BENCHMARKS, st.data())
def test_a_slower_request_never_improves_the_letter(times, mode, benchmark, data):
    at = data.draw(st.integers(0, len(times) - 1))
    slower = list(times)
    if slower[at] is not None:
        slower[at] += data.draw(st.floats(0, 20))
    assert not_better(letter(slower, mode, benchmark), letter(times, mode, benchmark))


@given(RUNS, MODES, BENCHMARKS, st.data())
def test_nor_does_a_failure(times, mode, benchmark, data):
    at = data.draw(st.sets(st.integers(0, len(times) - 1), min_size=1))
    failing = [None if each in at else time for each, time in enumerate(times)]
    assert not_better(letter(failing, mode, benchmark), letter(times, mode, benchmark))


@given(RUNS, MODES, BENCHMARKS)
def test_nor_does_a_dead_server(times, mode, benchmark):
    assert not_better(letter(times, mode, benchmark, died=True), letter(times, mode, benchmark))


@given(RUNS, MODES, BENCHMARKS, st.randoms(use_true_random=False))
def test_the_order_of_requests_is_nothing_to_the_grade(times, mode, benchmark, random):
    shuffled = list(times)
    random.shuffle(shuffled)
    assert letter(shuffled, mode, benchmark) == letter(times, mode, benchmark)


@given(RUNS, MODES, BENCHMARKS)
def test_a_letter_is_the_worst_of_ladder_and_caps(times, mode, benchmark):
    found = letter(times, mode, benchmark)
    if found.letter is None:
        assert found.reason
        return
    caps = [cap.letter for cap in found.caps]
    assert found.letter == max([found.uncapped, *caps] if found.uncapped else caps, key=LETTERS.index)
    assert not (found.provisional and found.letter in ("S", "F"))
    assert not (mode == "quick" and found.letter == "S")
    for part in found.parts:
        assert LETTERS.index(part.letter or "D") - LETTERS.index(part.uncapped or "D") in (0, 1)
