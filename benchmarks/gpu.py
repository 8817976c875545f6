"""GPUs during a run: readings on the run's time axis, what they sum up to, and whether a claimed device was in use.

The readings come from the host agent's stream. Its samples carry no clock of ours: a reading stands at the moment its
sample arrived, moved back by what the sample had lagged at most.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from benchmarks.result import CheckResult, GpuReading, GpuUse
from benchmarks.schedule import NS
from probes import clock
from probes.model import LinkState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.result import Phase, Result
    from probes.fleet import Fleet, HostRecord

#: "> 80 % during synthesis"
BUSY_PCT: Final = 80.0
#: a GPU below this while a service works is not what the service works on; above: something is
IDLE_PCT: Final = 5.0
#: a GPU above this before any load is somebody else's
CONTENDED_PCT: Final = 10.0
_FEW: Final = 3
#: what a sample may stick out of the measure phase
_SLACK_NS: Final = NS // 5
#: a sample older than this says nothing of now
_FRESH_S: Final = 3.0
_MAX_READINGS: Final = 50_000
_ON_GPU: Final = ("cuda", "gpu", "rocm", "mps")


class GpuRecorder:
    """Takes each new sample of one host from the store while a run goes on."""

    def __init__(self, fleet: Fleet, host_id: str) -> None:
        self._fleet = fleet
        self._host_id = host_id
        self.readings: list[GpuReading] = []
        self.left_out = 0
        record = fleet.hosts.get(host_id)
        self._seen = 0 if record is None else record.samples
        #: what held the host's GPUs before there was any load of ours, in words; empty: nothing did
        self.contended = "" if record is None else contended(record, clock.boot_s())

    def names(self) -> str | None:
        """The names of the host's GPUs with their number; None when they are not known."""
        record = self._fleet.hosts.get(self._host_id)
        sample = None if record is None else record.sample
        counts = Counter(gpu.name for gpu in sample.gpus if gpu.name) if sample is not None else Counter[str]()
        return ", ".join(f"{count} x {name}" for name, count in counts.items()) or None

    def look(self) -> bool:
        """Take what is new; whether there was something. Called a few times a second."""
        record = self._fleet.hosts.get(self._host_id)
        if record is None or record.brief is None or record.samples == self._seen:
            return False
        self._seen = record.samples
        age_s = clock.boot_s() - record.sample_at_boot_s + (record.lag_s or 0.0)
        at_ns = time.perf_counter_ns() - round(age_s * NS)
        for gpu in record.brief.gpus:
            if len(self.readings) >= _MAX_READINGS:
                self.left_out += 1
                continue
            self.readings.append(GpuReading(at_ns, gpu.index, gpu.utilization_pct, gpu.memory_used_bytes, gpu.power_w))
        return True

    def why_none(self) -> str:
        """Why there are no readings, in words."""
        record = self._fleet.hosts.get(self._host_id)
        if record is None:
            return "the host is not watched"
        link = record.link
        if link.state not in (LinkState.LIVE, LinkState.STALE):
            words = link.state.value.replace("_", " ")
            return f"no agent on the host: {words}" + (f" ({link.cause})" if link.cause else "")
        if record.brief is None:
            return "the host has not sent a sample yet"
        if not record.brief.gpus:
            reason = record.brief.missing.get("gpus")
            return f"the GPUs cannot be read: {reason}" if reason and reason != "unsupported" else "the host has no GPU"
        return "no sample arrived during the run"


def summarize(readings: Sequence[GpuReading], measured: Phase | None, why_none: str) -> GpuUse:
    """The busiest GPU's figures over the measure phase.

    The utilisation of a sample covers the time since the one before it; only those that lie wholly inside count.
    """
    if not readings:
        return GpuUse(missing={"readings": why_none or "no sample arrived during the run"})
    kept = tuple(readings)
    if measured is None:
        return GpuUse(readings=kept, missing={"utilization_mean_pct": "the measure phase was not reached"})
    by_gpu: dict[int, list[GpuReading]] = {}
    before: dict[int, int] = {}
    for one in kept:
        since_ns = before.get(one.index, one.at_ns - NS)
        before[one.index] = one.at_ns
        if measured.t0_ns - _SLACK_NS <= since_ns and one.at_ns <= measured.t1_ns + _SLACK_NS:
            by_gpu.setdefault(one.index, []).append(one)
    if not by_gpu:
        return GpuUse(readings=kept, missing={"utilization_mean_pct": "no sample arrived during the measure phase"})
    busiest = max(by_gpu, key=lambda index: (_mean(_loads(by_gpu[index])) or -1.0, -index))
    rows = by_gpu[busiest]
    loads, powers = _loads(rows), [one.power_w for one in rows if one.power_w is not None]
    memory = [one.memory_used_bytes for one in rows if one.memory_used_bytes is not None]
    missing = {
        name: "the GPU does not say"
        for name, found in (("utilization_mean_pct", loads), ("memory_max_bytes", memory), ("power_mean_w", powers))
        if not found
    }
    return GpuUse(
        readings=kept,
        index=busiest,
        n=len(rows),
        utilization_mean_pct=_mean(loads),
        utilization_max_pct=max(loads, default=None),
        memory_max_bytes=max(memory, default=None),
        power_mean_w=_mean(powers),
        missing=missing,
    )


def _loads(rows: Sequence[GpuReading]) -> list[float]:
    return [one.utilization_pct for one in rows if one.utilization_pct is not None]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def device_in_use(use: GpuUse) -> tuple[str | None, str]:
    """What the work ran on by what the GPU showed: ``gpu``, ``cpu``, or None; and the evidence in words."""
    if use.utilization_max_pct is None or use.n < _FEW:
        return None, next(iter(use.missing.values()), f"only {use.n} GPU samples during the measure phase")
    memory = "" if use.memory_max_bytes is None else f", at most {use.memory_max_bytes / 2**20:.0f} MiB in use"
    words = f"GPU {use.index} at {use.utilization_max_pct:.0f} % at most{memory}, {use.n} samples"
    return ("gpu" if use.utilization_max_pct > IDLE_PCT else "cpu"), words


def checks(use: GpuUse, claimed: str | None) -> tuple[CheckResult, ...]:
    """The lines about the GPU: busy over 80 % while measured, and the claimed device against the observed one."""
    found, words = device_in_use(use)
    peak = use.utilization_max_pct
    if peak is None or use.n < _FEW:
        busy = CheckResult("gpu_over_80_pct", "not_checked", words)
    else:
        mean = use.utilization_mean_pct or 0.0
        words_busy = f"GPU {use.index}: mean {mean:.0f} %, at most {peak:.0f} % over {use.n} samples; wanted over 80 %"
        busy = CheckResult("gpu_over_80_pct", "pass" if mean > BUSY_PCT else "fail", words_busy)
    if claimed is None:
        return busy, CheckResult("device_claim", "not_checked", "the service does not say which device it uses")
    if found is None:
        return busy, CheckResult("device_claim", "not_checked", f"claims {claimed}; {words}")
    on_gpu = any(word in claimed.lower() for word in _ON_GPU)
    agrees = on_gpu == (found == "gpu")
    return busy, CheckResult("device_claim", "pass" if agrees else "fail", f"claims {claimed}; {words}")


def contended(record: HostRecord, now_boot_s: float) -> str:
    """Whether somebody uses the GPUs of a host, before it is loaded: in words, empty when not (or not known)."""
    age_s = record.age_s(now_boot_s)
    if record.brief is None or age_s is None or age_s > _FRESH_S:
        return ""
    loads = [gpu.utilization_pct for gpu in record.brief.gpus if gpu.utilization_pct is not None]
    holders: dict[int, set[int]] = {}
    for process in (record.processes.gpu or ()) if record.processes is not None else ():
        holders.setdefault(process.gpu, set()).add(process.pid)
    crowded = next((index for index, pids in sorted(holders.items()) if len(pids) > 1), None)
    if crowded is not None:
        return f"contended: {len(holders[crowded])} processes held memory of GPU {crowded} before the run"
    busy = max(loads, default=0.0)
    return f"contended: a GPU was at {busy:.0f} % before the run" if busy > CONTENDED_PCT else ""


def merged(result: Result, recorder: GpuRecorder) -> Result:
    """The result with its GPU part: use, checks, device in use and the mark ``contended``."""
    measured = next((phase for phase in result.phases if phase.name == "measure"), None)
    last_ns = max((phase.t1_ns for phase in result.phases), default=result.t0_ns)
    readings = [one for one in recorder.readings if result.t0_ns <= one.at_ns <= last_ns + NS]
    use = summarize(readings, measured, recorder.why_none())
    found, words = device_in_use(use)
    target = msgspec.structs.replace(result.target, device_in_use=found)
    if found is None:
        target = msgspec.structs.replace(target, missing={**target.missing, "device_in_use": words})
    marks = (*result.validity.marks, recorder.contended) if recorder.contended else result.validity.marks
    names, surroundings = recorder.names(), result.environment
    if names is not None:
        without = {name: why for name, why in surroundings.missing.items() if name != "gpu"}
        surroundings = msgspec.structs.replace(surroundings, gpu=names, missing=without)
    return msgspec.structs.replace(
        result,
        gpu=use,
        target=target,
        environment=surroundings,
        checks=(*result.checks, *checks(use, result.target.device_claimed)),
        validity=msgspec.structs.replace(result.validity, marks=marks),
    )
