"""Rule 8, each condition on either side of its limit."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.trend import Drift
from benchmarks.validity import RunFacts, judge, lag_limit_s

GOOD = RunFacts(
    mode="full", intended=30, ok=30, measured_s=5.0, warmup_done=2, warmup_wanted=2, p50_s=0.05,
    loop_lag_p99_s=0.002, client_cpu_pct=20.0, concurrency=4, little_concurrency=4.0,
)  # fmt: skip
OPEN = msgspec.structs.replace(GOOD, concurrency=None, little_concurrency=None, target_per_s=20.0, achieved_per_s=20.0)


def judged(of=GOOD, **changes):
    return judge(msgspec.structs.replace(of, **changes))


def test_a_good_run_is_valid_without_marks():
    assert (judged().verdict, judged().reasons, judged().marks) == ("valid", (), ())
    assert judged(OPEN) == judged()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"intended": 29, "ok": 29}, "29 requests, fewer than the 30 that a full run needs"),
        ({"measured_s": 4.99}, "measured for 4.99 s, less than 5 s"),
        ({"warmup_done": 1}, "the warm-up made 1 of 2 requests"),
        ({"cancelled": True}, "cancelled after 30 requests"),
        ({"client_failures": 1}, "1 of 30 requests failed through the client's own fault"),
        ({"loop_lag_p99_s": 0.0101}, "the client was late: event-loop lag p99 10.1 ms, more than 10.0 ms"),
        ({"loop_lag_p99_s": None}, "the client's event-loop lag was not measured"),
        ({"client_cpu_pct": 80.0}, "the client was busy: 80 % of a core, not under 80 %"),
        ({"client_cpu_pct": None}, "the client's CPU use was not measured"),
        (
            {"little_concurrency": 3.59},
            "Little's law: mean latency x throughput is 3.59, not within 10 % of the 4 slots",
        ),
        (
            {"little_concurrency": 4.41},
            "Little's law: mean latency x throughput is 4.41, not within 10 % of the 4 slots",
        ),
        (
            {"drift": Drift(30, 0.009, 0.011, 0.1, 0.11)},
            "drift: +11% of the median from the first to the last request (Mann-Kendall p 0.009, n 30)",
        ),
        (
            {"drift": Drift(30, 0.001, -0.05, 0.0, None)},
            "drift: -0.05 from the first to the last request (Mann-Kendall p 0.001, n 30)",
        ),
        ({"intended": 0, "ok": 0, "mode": "quick"}, "no request was made"),
    ],
)
def test_what_makes_a_run_invalid(changes, reason):
    found = judged(**changes)
    assert (found.verdict, found.reasons) == ("invalid", (reason,))


@pytest.mark.parametrize(
    "changes",
    [
        {"loop_lag_p99_s": 0.010},
        {"loop_lag_p99_s": 0.05, "p50_s": 1.0},  # 5 % of p50
        {"client_cpu_pct": 79.9},
        {"little_concurrency": 3.6},
        {"little_concurrency": 4.4},
        {"drift": Drift(30, 0.01, 0.05, 0.1, 0.5)},  # p not below 0.01
        {"drift": Drift(30, 0.001, 0.01, 0.1, 0.1)},  # 10 % is not more than 10 %
        {"ok": 1},
    ],
)
def test_what_is_just_within(changes):
    assert judged(**changes).verdict == "valid"


def test_open_loop_must_reach_its_rate():
    assert judged(OPEN, achieved_per_s=19.0).verdict == "valid"
    assert judged(OPEN, achieved_per_s=18.9).reasons == ("18.90 of 20 requests/s were sent (94%, not at least 95 %)",)
    assert judged(OPEN, achieved_per_s=None).reasons == ("the rate achieved was not measured (target 20/s)",)


@pytest.mark.parametrize("mode", ["quick", "check"])
def test_short_modes_are_exempt_from_number_and_length(mode):
    short = {"mode": mode, "intended": 1, "ok": 1, "measured_s": 0.1}
    assert judged(**short).verdict == "valid"
    assert judged(**short, loop_lag_p99_s=None).marks == ("client's load not measured",)
    assert judged(**short, loop_lag_p99_s=0.5).verdict == "invalid"
    assert judged(**short, warmup_done=0).verdict == "invalid"


def test_a_dead_server_is_graded_and_not_excused():
    gone = {"died": True, "intended": 4, "ok": 2, "measured_s": 0.4, "client_cpu_pct": 99.0, "little_concurrency": None}
    assert judged(**gone) == judged()
    assert judged(**gone, warmup_done=0).verdict == "valid"
    assert judged(**gone, cancelled=True).verdict == "invalid"
    assert judged(**gone, client_failures=1).verdict == "invalid"


def test_a_server_that_answers_nothing_is_graded_too():
    # refused connections come back at once: the client is busy, and it changes nothing
    nothing = {"ok": 0, "p50_s": None, "client_cpu_pct": 100.0, "loop_lag_p99_s": 0.2, "little_concurrency": None}
    assert judged(**nothing).verdict == "valid"
    assert judged(**nothing, client_failures=30).verdict == "invalid"


def test_marks_do_not_invalidate():
    assert judged(contended=True).marks == ("contended",)
    assert judged(contended=True).verdict == "valid"
    assert judged(little_concurrency=None).marks == ("Little's law not checked: the slots were never all occupied",)


def test_every_reason_is_given():
    assert len(judged(intended=3, ok=3, measured_s=1.0, cancelled=True, client_cpu_pct=100.0).reasons) == 4


def test_limit_of_the_lag():
    assert lag_limit_s(None) == 0.010
    assert lag_limit_s(0.1) == 0.010
    assert lag_limit_s(2.0) == 0.1
