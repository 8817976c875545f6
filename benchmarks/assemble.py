"""From the record of a run to its result: statistics, validity, grade, KPIs. Pure but for the environment's labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from benchmarks import grade, kpi, validity
from benchmarks.benchmark import Conclusion
from benchmarks.environment import environment
from benchmarks.model import ENGINE_METRICS, Metric, Outcome, Side
from benchmarks.occupancy import occupied, send_lags_s, send_rate_per_s, throughput_per_s
from benchmarks.result import BenchmarkRef, Counts, GpuUse, LoadResult, Result, Target
from benchmarks.runids import config_hash
from benchmarks.schedule import NS
from benchmarks.stats import describe, figure_of, nearest_rank, run_metric
from benchmarks.trend import drift

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.benchmark import Definition
    from benchmarks.engine import Record
    from benchmarks.model import RunSpec, Sample
    from benchmarks.options import BenchOptions
    from benchmarks.result import Kpi, MetricResult
    from benchmarks.wire import Job
    from probes.model import Host

_NO_AGENT: Final = "the engine does not see the host's GPUs"
_LAGS: Final = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
_TARGET: Final = frozenset(Target.__struct_fields__)
_NOT_OURS: Final = frozenset({Outcome.OK, Outcome.CANCELLED, Outcome.DROPPED})


def assemble(
    record: Record,
    spec: RunSpec,
    definition: Definition,
    job: Job,
    *,
    options: BenchOptions,
    totals: dict[str, float | None],
    run_id: str,
    samples_file: str | None,
) -> Result:
    """Judge a run.

    Args:
        record: what happened.
        spec: what was wanted.
        definition: of the benchmark.
        job: host, suite and label.
        options: of the configuration: ladders, targets, baseline.
        totals: the benchmark's own run-scope figures.
        run_id: its name.
        samples_file: where the samples are, None: nowhere.
    """
    if record.preflight.case is not None:
        spec = structs.replace(spec, case=record.preflight.case)
    samples = [one for one in record.samples if one.outcome is not Outcome.CANCELLED]
    counts = _counts(record.samples)
    concluded = Conclusion() if definition.conclude is None else definition.conclude(samples, spec)
    missing = record.preflight.missing | concluded.missing
    metrics = _metrics(samples, definition, totals, missing)
    load = _load(record, spec, samples)
    judged = validity.judge(_facts(record, spec, samples, load, metrics))
    ladders = grade.policy({definition.id: definition.ladders}, {definition.id: options.ladders_of(definition)})
    letter = grade.grade(
        ladders,
        definition.id,
        mode=spec.load.mode,
        counts=counts,
        metrics=metrics,
        validity=judged,
        died=record.died,
    )
    return Result(
        run_id=run_id,
        suite_id=job.suite_id,
        benchmark=BenchmarkRef(definition.id, definition.version),
        case=spec.case.id,
        case_text=spec.case.text,
        temperature=spec.temperature,
        config=spec.load,
        options=spec.options,
        config_hash=config_hash(spec, definition.version),
        target=_target(record, spec, job),
        environment=environment(job.host),
        wall_start=record.wall_start,
        t0_ns=record.t0_ns,
        phases=tuple(record.phases),
        load=load,
        counts=counts,
        metrics=metrics,
        validity=judged,
        grade=letter,
        spans=_spans(samples),
        kpis=(
            *_kpis(definition, options, metrics, samples, counts),
            *_projected(job.host, options, metrics),
        ),
        gpu=GpuUse(missing={"readings": _NO_AGENT}),
        checks=concluded.checks,
        errors=record.errors,
        notes=(*record.preflight.notes, *concluded.notes, *record.problems),
        label=job.label,
        nodes=job.nodes,
        at_once=job.at_once,
        samples_file=samples_file,
        simulated=job.host.simulated,
        missing=_missing(missing, samples_file),
    )


def _counts(samples: Sequence[Sample]) -> Counts:
    by_outcome = {outcome.value: 0 for outcome in Outcome}
    for one in samples:
        by_outcome[one.outcome] += 1
    return Counts(len(samples), by_outcome[Outcome.OK], by_outcome)


def _metrics(
    samples: Sequence[Sample], definition: Definition, totals: dict[str, float | None], missing: dict[str, str]
) -> dict[str, MetricResult]:
    """Every metric that applies: one that no OK request has a value of is left out, unless the engine owns it.

    ``missing`` says why one of the run is not there.
    """
    ok = [one for one in samples if one.outcome is Outcome.OK]
    failures = len(samples) - len(ok)
    found: dict[str, MetricResult] = {}
    for metric in (*ENGINE_METRICS, *definition.metrics):
        if metric.scope == "run":
            value = throughput_per_s(samples) if metric.tag == "throughput" else totals.get(metric.tag)
            found[metric.tag] = run_metric(
                value, metric, missing.get(metric.tag, "not measured") if ok else "no request succeeded"
            )
            continue
        values = [one.values[metric.tag] for one in ok if metric.tag in one.values]
        if values or metric in ENGINE_METRICS:
            found[metric.tag] = describe(values, metric, failures)
    return found


def _spans(samples: Sequence[Sample]) -> dict[str, MetricResult]:
    """The parts of the OK requests, each over those that had it."""
    names = dict.fromkeys(name for one in samples for name in one.spans)
    found: dict[str, MetricResult] = {}
    for name in names:
        values = [one.spans[name] for one in samples if one.outcome is Outcome.OK and name in one.spans]
        if values:
            found[name] = describe(values, Metric(name, "s", "lower", f"time of the part {name}"))
    return found


def _load(record: Record, spec: RunSpec, samples: Sequence[Sample]) -> LoadResult:
    rate = spec.load.rate_per_s
    achieved = throughput_per_s(samples) if rate is None else send_rate_per_s(samples)
    lags = send_lags_s(samples) if rate is not None else []
    missing = {"concurrency": "open loop"} if rate is not None else {"target_per_s": "closed loop"}
    if achieved is None:
        missing["achieved_per_s"] = "too few requests"
    for name, value in (("loop_lag_p99_s", record.loop_lag_p99_s), ("client_cpu_pct", record.client_cpu_pct)):
        if value is None:
            missing[name] = "the measure phase was too short" if record.measured else "nothing was measured"
    return LoadResult(
        model=spec.load.model,
        concurrency=spec.load.concurrency if rate is None else None,
        target_per_s=rate,
        achieved_per_s=achieved,
        dropped=sum(one.outcome is Outcome.DROPPED for one in samples),
        send_lag_s={name: lags[nearest_rank(len(lags), p) - 1] for name, p in _LAGS.items()} if lags else {},
        loop_lag_p99_s=record.loop_lag_p99_s,
        client_cpu_pct=record.client_cpu_pct,
        missing=missing,
    )


def _facts(
    record: Record,
    spec: RunSpec,
    samples: Sequence[Sample],
    load: LoadResult,
    metrics: dict[str, MetricResult],
) -> validity.RunFacts:
    measured = record.measured
    ok = sorted((one for one in samples if one.outcome is Outcome.OK), key=lambda one: one.start_ns)
    law = occupied(samples, spec.load.concurrency) if spec.load.rate_per_s is None else None
    return validity.RunFacts(
        mode=spec.load.mode,
        intended=len(samples),
        ok=len(ok),
        measured_s=0.0 if measured is None else (measured.t1_ns - measured.t0_ns) / NS,
        warmup_done=len(record.warmups),
        warmup_wanted=spec.load.warmup_n,
        cancelled=record.cancelled,
        died=record.died,
        client_failures=sum(one.side is Side.CLIENT and one.outcome not in _NOT_OURS for one in samples),
        p50_s=metrics["service_time"].median,
        loop_lag_p99_s=record.loop_lag_p99_s,
        client_cpu_pct=record.client_cpu_pct,
        target_per_s=spec.load.rate_per_s,
        achieved_per_s=load.achieved_per_s if spec.load.rate_per_s is not None else None,
        concurrency=spec.load.concurrency if spec.load.rate_per_s is None else None,
        little_concurrency=None if law is None else law.in_flight,
        drift=drift([one.values["response_time"] for one in ok], [one.start_ns / NS for one in ok]),
    )


def _missing(found: dict[str, str], samples_file: str | None) -> dict[str, str]:
    """Why samples are not there, and why metrics are not that do not apply."""
    missing = {} if samples_file is not None else {"samples_file": "samples were not kept"}
    return missing | {name: why for name, why in found.items() if name not in _TARGET}


def _target(record: Record, spec: RunSpec, job: Job) -> Target:
    found = record.preflight
    missing = {name: why for name, why in found.missing.items() if name in _TARGET}
    missing.setdefault("device_in_use", _NO_AGENT)
    for name, value in (("server_version", found.server_version), ("device_claimed", found.device_claimed)):
        if value is None:
            missing.setdefault(name, "the service does not say")
    return Target(
        host=job.host.id,
        endpoint=found.endpoint,
        service=spec.service,
        server_version=found.server_version,
        device_claimed=found.device_claimed,
        via=found.via,
        tunnel_ms=found.tunnel_ms,
        missing=missing,
    )


def _kpis(
    definition: Definition,
    options: BenchOptions,
    metrics: dict[str, MetricResult],
    samples: Sequence[Sample],
    counts: Counts,
) -> tuple[Kpi, ...]:
    """Synthesis against target and baseline (D5), API latency against its target (E1), and configured targets (F6)."""
    response = metrics["response_time"]
    values = [one.values["response_time"] for one in samples if one.outcome is Outcome.OK]
    fixed: tuple[Kpi, ...] = ()
    if definition.id == "synthesis":
        target_s, baseline_s = options.target_s, options.baseline_s
        fixed = kpi.kpis(response, values, counts.intended, target_s=target_s, baseline_s=baseline_s)
    elif definition.id == "api-latency":
        fixed = kpi.target_kpis(response, values, counts.intended, target_s=options.api_latency.target_s)
    return (*fixed, *kpi.figure_kpis(metrics, options.kpi.get(definition.id, {})))


def _projected(host: Host, options: BenchOptions, metrics: dict[str, MetricResult]) -> list[Kpi]:
    """What was projected for the host's instance type beside what was measured (E7)."""
    instance_type = host.labels.get("instance_type", "")
    lines: list[Kpi] = []
    for tag, projected in options.projections.get(instance_type, {}).items():
        metric = metrics.get(tag)
        if metric is None:
            continue  # a figure of another benchmark
        lines += kpi.against_projection(
            f"{kpi.PROJECTED}{tag}",
            tag,
            metric.unit,
            projected=projected,
            measured=figure_of(metric),
            better=metric.better,
            projected_by=f"the configuration, for {instance_type}",
        )
    return lines
