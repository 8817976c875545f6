"""The KPI table by hand: against R0's 15 s and the target of 2 s."""

from __future__ import annotations

import pytest

from benchmarks.kpi import against_projection, figure_kpis, kpis, target_kpis
from benchmarks.model import RESPONSE_TIME, THROUGHPUT
from benchmarks.stats import describe, run_metric


def table(values, failed=0, **options):
    lines = kpis(describe(values, RESPONSE_TIME, failed), values, len(values) + failed, **options)
    return {line.id: line for line in lines}


def test_against_fifteen_seconds():
    found = table([1.5] * 9 + [3.0], achievement_target_pct=80.0)
    p50, improvement, multiplier, achievement = found.values()
    assert (p50.target, p50.actual, p50.attained) == (2.0, 1.5, True)
    assert p50.attainment_pct == pytest.approx(133.333, abs=0.001)
    # 1 - 1.5 / 15; the target follows from 2 s: 1 - 2 / 15
    assert improvement.actual == pytest.approx(90.0)
    assert improvement.target == pytest.approx(86.6667, abs=1e-4)
    assert improvement.attained
    assert (multiplier.actual, multiplier.target, multiplier.attained) == (10.0, 7.5, True)
    assert (achievement.actual, achievement.attained) == (90.0, True)
    assert achievement.attainment_pct == pytest.approx(112.5)
    assert {line.source for line in found.values()} == {"measured"}
    assert improvement.formula == "1 - p50 / 15 s"
    assert achievement.formula == "9 within 2 s / 10 intended (a failure is not within)"


def test_slower_than_the_baseline_is_negative():
    found = table([30.0] * 10)
    assert found["improvement"].actual == pytest.approx(-100.0)
    assert found["multiplier"].actual == 0.5
    assert not found["improvement"].attained
    assert found["achievement"].actual == 0.0


def test_failures_miss_the_target():
    found = table([1.0] * 6, 4)
    assert found["achievement"].actual == 60.0
    assert found["achievement"].missing["target"] == "no share is wanted"
    assert found["achievement"].attained is None
    assert found["response_p50"].actual == 1.0


def test_what_is_missing_has_its_reason():
    failed = table([1.0] * 3, 7)
    assert failed["response_p50"].actual is None
    assert failed["response_p50"].missing["actual"] == "failures"
    assert failed["multiplier"].missing["actual"] == "failures"
    assert failed["multiplier"].target == 7.5
    few = table([1.0] * 4)
    assert few["improvement"].missing["actual"] == "n too small"
    none = table([])
    assert none["achievement"].missing["actual"] == "no request was made"
    odd = table([1.0] * 10, baseline_s=0.0)
    assert odd["improvement"].missing["actual"] == "a baseline of 0 s is none"
    instant = table([0.0] * 10)
    assert instant["multiplier"].missing["actual"] == "p50 is 0 s"


def test_measured_against_projected():
    rate, off = against_projection(
        "workflows", "workflows/s", "1/s", projected=50.0, measured=44.44, better="higher", projected_by="t3.small, R2"
    )
    assert (rate.target, rate.actual, rate.attained, rate.source) == (50.0, 44.44, False, "measured")
    assert rate.attainment_pct == pytest.approx(88.88)
    assert rate.formula == "measured against projected by t3.small, R2"
    assert off.id == "workflows_deviation"
    assert off.actual == pytest.approx(-11.12)
    assert off.formula == "measured / projected - 1"


def test_a_projection_never_stands_in_for_a_figure():
    rate, off = against_projection(
        "memory", "peak memory", "MB", projected=21.0, measured=None, better="lower", projected_by="R2"
    )
    assert (rate.actual, rate.attained, rate.missing["actual"]) == (None, None, "not measured")
    assert off.missing["actual"] == "not measured"
    nobody, off = against_projection(
        "memory",
        "peak memory",
        "MB",
        projected=None,
        measured=20.0,
        better="lower",
        projected_by="nobody",
        source="stale",
    )
    assert (nobody.actual, nobody.source, nobody.missing["attained"]) == (20.0, "stale", "nothing projected")
    assert off.missing["actual"] == "nothing projected"
    _, zero = against_projection(
        "memory", "peak memory", "MB", projected=0.0, measured=20.0, better="lower", projected_by="R2"
    )
    assert zero.missing["actual"] == "the projection is not above 0"


def test_a_target_without_a_baseline():
    values = [0.03] * 8 + [0.08] * 2
    time, achievement = target_kpis(describe(values, RESPONSE_TIME), values, 10, target_s=0.05)
    assert (time.target, time.actual, time.attained) == (0.05, 0.03, True)
    assert time.formula == "error-adjusted p50 of end - intended send"
    assert (achievement.actual, achievement.title) == (80.0, "requests within 0.05 s")


def test_targets_of_the_configuration():
    metrics = {"throughput": run_metric(40.0, THROUGHPUT), "response_time": describe([1.0] * 3, RESPONSE_TIME)}
    rate, time, none = figure_kpis(metrics, {"throughput": 50.0, "response_time": 2.0, "rtf": 0.1})
    assert (rate.actual, rate.unit, rate.attained, rate.attainment_pct) == (40.0, "1/s", False, 80.0)
    assert (time.actual, time.attained, time.missing["actual"]) == (None, None, "n too small")
    assert (none.actual, none.missing["actual"]) == (None, "not measured")
