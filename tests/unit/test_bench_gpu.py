"""GPUs on the run's axis: readings out of the store, their sums, and claimed against observed devices."""

from __future__ import annotations

import time

import pytest

from benchmarks import gpu
from benchmarks.result import GpuReading, GpuUse, Phase
from probes import clock
from probes.fleet import Fleet, new_link
from probes.model import GpuProcess, Host, LinkState, Processes
from tests.support.fleets import gpu as gpu_of
from tests.support.fleets import sample

MIB = 2**20
S = 1_000_000_000


def reading(at_s: float, load: float | None, *, index: int = 0, memory: int | None = 3 * MIB) -> GpuReading:
    return GpuReading(round(at_s * S), index, load, memory, 70.0)


MEASURED = Phase("measure", 10 * S, 20 * S)


def test_the_busiest_gpu_of_the_measure_phase_counts() -> None:
    rows = [reading(at, 90.0 if 10 <= at <= 20 else 0.0, index=1, memory=8000 * MIB) for at in range(5, 30)]
    rows += [reading(at, 2.0) for at in range(5, 30)]
    use = gpu.summarize(rows, MEASURED, "")
    assert (use.index, use.n) == (1, 10)  # 11 to 20 s: each covers the second before it, and all of it lies inside
    assert use.utilization_max_pct == 90.0
    assert use.utilization_mean_pct == pytest.approx(90.0)
    assert use.memory_max_bytes == 8000 * MIB
    assert len(use.readings) == 50


def test_nothing_read_is_said_and_never_zero() -> None:
    assert gpu.summarize([], MEASURED, "the host has no GPU") == GpuUse(missing={"readings": "the host has no GPU"})
    late = gpu.summarize([reading(50, 10.0)], MEASURED, "")
    assert late.utilization_mean_pct is None
    assert "measure phase" in late.missing["utilization_mean_pct"]
    mute = gpu.summarize([reading(12, None, memory=None)] * 4, MEASURED, "")
    assert mute.utilization_max_pct is None
    assert "utilization_mean_pct" in mute.missing


@pytest.mark.parametrize(
    ("load", "claimed", "busy", "claim"),
    [
        (95.0, "cuda", "pass", "pass"),
        (40.0, "cuda:0", "fail", "pass"),
        (0.0, "cuda", "fail", "fail"),  # R1: it says cuda, and the GPU holds 3 MiB
        (0.0, "cpu", "fail", "pass"),
        (95.0, "cpu", "pass", "fail"),
        (80.0, None, "fail", "not_checked"),
    ],
)
def test_claimed_against_observed(load: float, claimed: str | None, busy: str, claim: str) -> None:
    use = gpu.summarize([reading(at, load) for at in range(10, 20)], MEASURED, "")
    first, second = gpu.checks(use, claimed)
    assert (first.outcome, second.outcome) == (busy, claim)
    if claim == "fail" and claimed == "cuda":
        assert second.detail == "claims cuda; GPU 0 at 0 % at most, at most 3 MiB in use, 9 samples"


def test_too_few_samples_prove_nothing() -> None:
    use = gpu.summarize([reading(11, 95.0), reading(12, 95.0)], MEASURED, "")
    first, second = gpu.checks(use, "cuda")
    assert (first.outcome, second.outcome) == ("not_checked", "not_checked")
    assert "only 2 GPU samples" in second.detail


def test_new_samples_become_readings_moved_back_by_their_lag() -> None:
    host = Host("h", "127.0.0.1")
    fleet = Fleet([host])
    fleet.ingest("h", sample(gpus=(gpu_of(0, utilization_pct=50.0),)), clock.boot_s(), 0.0)
    recorder = gpu.GpuRecorder(fleet, "h")
    assert not recorder.look()  # what was there before is not of the run
    fleet.ingest("h", sample(gpus=(gpu_of(0, utilization_pct=70.0),)), clock.boot_s(), 0.5)
    before_ns = time.perf_counter_ns()
    assert recorder.look()
    (one,) = recorder.readings
    assert one.utilization_pct == 70.0
    assert one.at_ns <= before_ns - 0.4 * S
    assert not recorder.look()


def test_why_there_are_no_readings() -> None:
    fleet = Fleet([Host("h", "127.0.0.1")])
    assert gpu.GpuRecorder(fleet, "other").why_none() == "the host is not watched"
    recorder = gpu.GpuRecorder(fleet, "h")
    fleet.set_link("h", new_link(LinkState.AUTH_FAILED, cause="user x was not accepted"))
    assert recorder.why_none() == "no agent on the host: auth failed (user x was not accepted)"
    fleet.set_link("h", new_link(LinkState.LIVE))
    assert "not sent a sample" in recorder.why_none()
    fleet.ingest("h", sample(gpus=()), clock.boot_s(), 0.0)
    assert recorder.why_none() == "the host has no GPU"


def test_somebody_else_on_the_gpu_is_marked() -> None:
    fleet = Fleet([Host("h", "127.0.0.1")])
    record = fleet.hosts["h"]
    now = clock.boot_s()
    assert gpu.contended(record, now) == ""
    fleet.ingest("h", sample(gpus=(gpu_of(0, utilization_pct=3.0),)), now, 0.0)
    assert gpu.contended(record, now) == ""
    fleet.ingest("h", sample(gpus=(gpu_of(0, utilization_pct=60.0),)), now, 0.0)
    assert gpu.contended(record, now) == "contended: a GPU was at 60 % before the run"
    assert gpu.contended(record, now + 60) == ""  # too old to say anything of now
    two = tuple(GpuProcess(0, pid, "u", "python", 100) for pid in (1, 2))
    fleet.set_processes("h", Processes(2, (), two), now)
    assert "2 processes" in gpu.contended(record, now)
