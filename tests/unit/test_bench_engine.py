"""The engine on virtual time: schedules, phases, outcomes, cancellation. Every expected number is worked out by hand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.benchmark import Preflight
from benchmarks.engine import Engine, Record
from benchmarks.errors import BenchError
from benchmarks.model import Case, Done, Load, Outcome, RunSpec, Side
from benchmarks.occupancy import occupied, send_lags_s, send_rate_per_s, throughput_per_s
from benchmarks.recorder import Recorder
from tests.support.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass
class Fake:
    """A benchmark whose requests do what the test says."""

    answer: Callable[[int], Awaitable[Done]]
    calls: list[str] = field(default_factory=list)
    asked: int = 0
    in_flight: int = 0
    peak: int = 0

    async def preflight(self) -> Preflight:
        self.calls.append("preflight")
        return Preflight("http://127.0.0.1:1")

    async def prepare(self) -> None:
        self.calls.append("prepare")

    async def once(self, i: int, intended_ns: int) -> Done:
        self.asked += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            return await self.answer(i)
        finally:
            self.in_flight -= 1

    def totals(self, samples: Any, window_s: float) -> dict[str, float | None]:
        return {}

    async def cleanup(self) -> None:
        self.calls.append("cleanup")


def taking(seconds: float) -> Callable[[int], Awaitable[Done]]:
    async def answer(_: int) -> Done:
        await asyncio.sleep(seconds)
        return Done()

    return answer


def measure(fake: Fake, load: Load, **more: Any) -> Record:
    async def go() -> Record:
        import time

        stop = more.pop("stop", None) or asyncio.Event()
        spec = RunSpec("fake", Case("one"), load)
        engine = Engine(spec, fake, Recorder(time.perf_counter_ns()), stop, more.pop("barrier", None))
        if (after := more.pop("cancel_after_s", None)) is not None:
            asyncio.get_running_loop().call_later(after, stop.set)
        return await engine.run()

    return run(go())


def responses(record: Record) -> list[float]:
    return [round(one.values["response_time"], 6) for one in record.samples if one.outcome is Outcome.OK]


def test_a_closed_loop_keeps_its_slots_busy_and_no_more() -> None:
    fake = Fake(taking(0.05))
    record = measure(fake, Load(concurrency=4, n=100, min_s=0.0, warmup_n=0))
    assert len(record.samples) == 100
    assert fake.peak == 4
    assert set(responses(record)) == {0.05}
    # 25 rounds of 50 ms: 100 in 1.25 s
    assert throughput_per_s(record.samples) == pytest.approx(80.0)
    law = occupied(record.samples, 4)
    assert law is not None
    assert law.in_flight == pytest.approx(4.0)


def test_full_mode_goes_on_until_its_time_has_passed() -> None:
    record = measure(Fake(taking(0.05)), Load(concurrency=1, n=30, min_s=5.0, warmup_n=0))
    assert len(record.samples) == 100


def test_slots_that_wait_between_requests_break_littles_law() -> None:
    async def answer(i: int) -> Done:
        import time

        await asyncio.sleep(0.06)
        end_ns = time.perf_counter_ns()
        await asyncio.sleep(0.04)  # the client is busy with the answer
        return Done(end_ns=end_ns)

    law = occupied(measure(Fake(answer), Load(concurrency=2, n=40, min_s=0, warmup_n=0)).samples, 2)
    assert law is not None
    assert law.in_flight == pytest.approx(1.2, rel=0.05)


def test_a_frozen_server_shows_in_an_open_loop_and_hides_in_a_closed_one() -> None:
    """A 50 ms server that stands still from 2.0 to 4.0 s, under 10 requests a second for 6 s."""

    def server() -> Callable[[int], Awaitable[Done]]:
        began: list[float] = []

        async def answer(_: int) -> Done:
            now = asyncio.get_running_loop().time()
            began.append(now)
            at = now - began[0]
            await asyncio.sleep(4.05 - at if at + 0.05 >= 2.0 and at < 4.0 else 0.05)
            return Done()

        return answer

    record = measure(Fake(server()), Load(rate_per_s=10.0, n=60, min_s=0.0, warmup_n=0))
    ordered = sorted(responses(record))
    assert len(ordered) == 60
    assert 1.65 <= ordered[56] <= 1.95  # p95 by nearest rank: the 57th of 60
    assert ordered[29] == 0.05
    closed = sorted(responses(measure(Fake(server()), Load(concurrency=1, n=60, min_s=0.0, warmup_n=0))))
    assert closed[56] == 0.05


def test_an_open_loop_keeps_an_absolute_schedule() -> None:
    record = measure(Fake(taking(0.3)), Load(rate_per_s=8.0, n=40, min_s=0.0, warmup_n=0))
    first = record.samples[0].intended_ns
    assert [one.intended_ns - first for one in sorted(record.samples, key=lambda s: s.i)] == [
        i * 125_000_000 for i in range(40)
    ]
    assert send_rate_per_s(record.samples) == pytest.approx(8.0)
    assert max(send_lags_s(record.samples)) == pytest.approx(0.0, abs=1e-6)


def test_a_rate_fills_the_time_that_a_valid_run_needs() -> None:
    assert len(measure(Fake(taking(0.01)), Load(rate_per_s=20.0, n=30, min_s=5.0, warmup_n=0)).samples) == 100


def test_sends_over_the_limit_are_dropped_and_counted() -> None:
    fake = Fake(taking(10.0))
    record = measure(fake, Load(rate_per_s=10.0, n=20, min_s=0.0, warmup_n=0, max_in_flight=5))
    assert fake.asked == 5
    assert [one.outcome for one in sorted(record.samples, key=lambda s: s.i)] == [Outcome.OK] * 5 + [
        Outcome.DROPPED
    ] * 15


def test_a_request_that_takes_too_long_is_a_timeout_and_stays_in_the_record() -> None:
    async def answer(i: int) -> Done:
        await asyncio.sleep(9.0 if i == 3 else 0.1)
        return Done()

    record = measure(Fake(answer), Load(n=10, min_s=0.0, warmup_n=0, timeout_s=2.0))
    assert [one.outcome for one in record.samples] == [Outcome.TIMEOUT if i == 3 else Outcome.OK for i in range(10)]
    late = record.samples[3]
    assert (late.end_ns - late.start_ns) / 1e9 == pytest.approx(2.0)
    assert "2 s" in late.detail
    assert not record.died


def test_warm_up_is_a_phase_of_its_own() -> None:
    async def answer(i: int) -> Done:
        await asyncio.sleep(1.0 if fake.asked <= 2 else 0.1)
        return Done()

    fake = Fake(answer)
    record = measure(fake, Load(n=10, min_s=0.0, warmup_n=2))
    assert [phase.name for phase in record.phases] == ["preflight", "warmup", "measure"]
    assert [one.phase for one in record.warmups] == ["warmup"] * 2
    assert set(responses(record)) == {0.1}
    warmup, measured = record.phases[1:]
    assert all(one.start_ns < warmup.t1_ns for one in record.warmups)
    assert all(one.start_ns >= measured.t0_ns for one in record.samples)


def test_each_slot_is_warmed() -> None:
    record = measure(Fake(taking(0.1)), Load(concurrency=8, n=16, min_s=0.0, warmup_n=2))
    assert len(record.warmups) == 8


def test_a_cancel_sends_nothing_more_and_keeps_what_there_is() -> None:
    fake = Fake(taking(0.1))
    record = measure(fake, Load(concurrency=3, n=1000, min_s=0.0, warmup_n=0), cancel_after_s=1.05)
    assert record.cancelled
    assert fake.asked == 33  # ten rounds of three, and the three that were on their way
    outcomes = [one.outcome for one in record.samples]
    assert outcomes.count(Outcome.OK) == 30
    assert outcomes.count(Outcome.CANCELLED) == 3
    assert fake.calls[-1] == "cleanup"


def test_a_cancel_in_the_open_loop_cancels_what_is_on_its_way() -> None:
    fake = Fake(taking(5.0))
    record = measure(fake, Load(rate_per_s=10.0, n=1000, min_s=0.0, warmup_n=0), cancel_after_s=0.95)
    assert fake.asked == 10
    assert [one.outcome for one in record.samples] == [Outcome.CANCELLED] * 10
    assert fake.in_flight == 0


def test_a_server_that_dies_ends_the_run_with_what_it_had() -> None:
    async def answer(i: int) -> Done:
        await asyncio.sleep(0.1)
        return Done() if i < 20 else Done(Outcome.TRANSPORT, detail="connection refused")

    record = measure(Fake(answer), Load(n=500, min_s=0.0, warmup_n=0))
    assert record.died
    assert len(record.samples) == 30
    assert record.errors == ("transport: connection refused (10 times)",)


def dying_at(number: int, outcome: Outcome = Outcome.TRANSPORT) -> Callable[[int], Awaitable[Done]]:
    async def answer(i: int) -> Done:
        await asyncio.sleep(0.1)
        return Done(outcome) if i >= number else Done()

    return answer


def test_a_server_that_dies_just_before_the_end_died_all_the_same() -> None:
    """The last three of ten are refused: too few to end the run for, and yet nothing answered any more."""
    load = Load(mode="quick", n=10, min_s=0.0, warmup_n=0)
    assert measure(Fake(dying_at(7)), load).died
    assert not measure(Fake(dying_at(8)), load).died
    assert not measure(Fake(dying_at(7, Outcome.TIMEOUT)), load).died
    assert not measure(Fake(dying_at(7, Outcome.HTTP_ERROR)), load).died
    assert not measure(Fake(dying_at(7)), Load(n=1000), cancel_after_s=1.4).died  # cancelled after six of them


def test_failures_with_answers_between_them_are_no_death() -> None:
    async def answer(i: int) -> Done:
        await asyncio.sleep(0.1)
        return Done() if i % 9 == 0 else Done(Outcome.TRANSPORT, detail="reset")

    record = measure(Fake(answer), Load(n=90, min_s=0.0, warmup_n=0))
    assert not record.died
    assert len(record.samples) == 90


def test_a_benchmark_that_raises_is_our_own_fault_and_counted() -> None:
    async def answer(i: int) -> Done:
        await asyncio.sleep(0.1)
        if i == 1:
            raise KeyError("x\x1b[31m")
        return Done()

    record = measure(Fake(answer), Load(n=3, min_s=0.0, warmup_n=0))
    bad = record.samples[1]
    assert (bad.outcome, bad.side) == (Outcome.TRANSPORT, Side.CLIENT)
    assert "KeyError" in bad.detail
    assert "\x1b" not in bad.detail


def test_the_answers_own_moments_are_used() -> None:
    async def answer(i: int) -> Done:
        import time

        await asyncio.sleep(0.2)
        sent_ns = time.perf_counter_ns()
        await asyncio.sleep(0.3)
        end_ns = time.perf_counter_ns()
        await asyncio.sleep(0.5)  # checking the body
        return Done(sent_ns=sent_ns, end_ns=end_ns)

    (one,) = measure(Fake(answer), Load(n=1, min_s=0.0, warmup_n=0)).samples
    assert one.values["service_time"] == pytest.approx(0.3)
    assert one.values["response_time"] == pytest.approx(0.5)


def test_a_preflight_that_fails_is_an_error_and_cleaned_up() -> None:
    fake = Fake(taking(0.1))

    async def no() -> Preflight:
        raise BenchError("no styles", layer="service", next_step="load a voice")

    fake.preflight = no  # type: ignore[method-assign]
    with pytest.raises(BenchError, match="no styles"):
        measure(fake, Load())
    assert fake.calls == ["cleanup"]
    assert fake.asked == 0


def test_a_preflight_that_hangs_is_bounded() -> None:
    fake = Fake(taking(0.1))

    async def never() -> Preflight:
        await asyncio.sleep(1e6)
        raise AssertionError

    fake.preflight = never  # type: ignore[method-assign]
    with pytest.raises(BenchError, match="preflight took over 60 s"):
        measure(fake, Load())


def test_a_cleanup_that_fails_or_hangs_is_said() -> None:
    fake = Fake(taking(0.1))

    async def bad() -> None:
        raise OSError("disk \x1b]0;x\x07")

    fake.cleanup = bad  # type: ignore[method-assign]
    record = measure(fake, Load(n=1, min_s=0, warmup_n=0))
    assert record.problems == ["cleaning up failed: disk ]0;x"]

    async def hang() -> None:
        await asyncio.sleep(1e6)

    fake.cleanup = hang  # type: ignore[method-assign]
    record = measure(fake, Load(n=1, min_s=0, warmup_n=0))
    assert "took over 15 s" in record.problems[0]


def test_the_measure_phase_begins_when_the_barrier_opens() -> None:
    async def opens() -> int:
        import time

        await asyncio.sleep(3.0)
        return time.perf_counter_ns() + 500_000_000

    record = measure(Fake(taking(0.1)), Load(n=5, min_s=0.0, warmup_n=1), barrier=opens)
    assert [phase.name for phase in record.phases] == ["preflight", "warmup", "barrier", "measure"]
    waited = record.phases[2]
    assert (waited.t1_ns - waited.t0_ns) / 1e9 == pytest.approx(3.5)


def test_the_longest_time_is_kept() -> None:
    record = measure(Fake(taking(1.0)), Load(n=1000, min_s=0.0, max_s=10.0, warmup_n=0))
    assert len(record.samples) == 10
