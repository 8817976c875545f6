"""The exit codes of `bench run`: of several the worst of 3 > 99 > 0; cancelled 130, our own defect 1."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from benchmarks.exitcode import code_of, exit_code
from benchmarks.model import Case, Load, RunSpec
from benchmarks.result import Counts, Grade, Kpi, Result, Validity
from benchmarks.suite import HostPlan, JobState, Suite, SuitePlan
from benchmarks.wire import Failed
from probes.model import Host
from tests.support.stored_results import graded, invalid, result

MISSED_KPI = Kpi("target", "response time", "s", 2.0, 3.1, False, 64.5, "measured", "target / actual")


def suite(*jobs: JobState) -> Suite:
    plan = SuitePlan("s", "synthesis", tuple(job.plan for job in jobs))
    return Suite(plan, list(jobs))


def job(*results: Result, state: Any = "done", failures: tuple[Failed, ...] = (), problems: tuple[str, ...] = ()):
    spec = RunSpec("synthesis", Case("short"), Load())
    plan = HostPlan(Host("a", "a"), (spec,))
    return JobState(plan, state, results=list(results), failures=list(failures), problems=list(problems))


def failed(layer: str = "tcp", *, internal: bool = False) -> Failed:
    return Failed(0, layer, "refused", "look", "server", internal)


def quick(made: Result) -> Result:
    return msgspec.structs.replace(made, config=Load(mode="quick", n=10))


def check(ok: int) -> Result:
    return result(
        config=Load(mode="check", n=1), counts=Counts(1, ok, {}), kpis=(MISSED_KPI,), grade=Grade(None, "default-1")
    )


@pytest.mark.parametrize(
    ("made", "fail_under", "code"),
    [
        (result(), None, 0),
        (result(), "A", 0),
        (result(), "S", 99),
        (graded("x", "B"), "A", 99),
        (graded("x", "B"), "B", 0),
        (graded("x", "D"), None, 0),
        (graded("x", "F"), None, 99),
        (graded("x", "F"), "D", 99),
        (invalid("x"), None, 3),
        (invalid("x"), "S", 3),
        (result(kpis=(MISSED_KPI,)), None, 99),
        (quick(result(kpis=(MISSED_KPI,))), None, 0),
        (quick(graded("x", "C")), "B", 99),
        (result(grade=Grade(None, "default-1", reason="ungraded (no baseline)")), None, 0),
        (result(grade=Grade(None, "default-1", reason="ungraded (no baseline)")), "A", 3),
        (check(1), None, 0),
        (check(0), None, 99),
        (result(validity=Validity("invalid", ("cancelled",)), kpis=(MISSED_KPI,)), None, 3),
    ],
)
def test_one_result(made, fail_under, code):
    assert code_of(made, fail_under) == code


@pytest.mark.parametrize(
    ("jobs", "code"),
    [
        ((job(result()), job(result())), 0),
        ((job(result(), graded("x", "F")), job(result())), 99),
        ((job(graded("x", "F")), job(invalid("y"))), 3),
        ((job(failures=(failed(),), state="failed"), job(graded("x", "F"))), 3),
        ((job(failures=(failed(internal=True),), state="failed"), job(invalid("y"))), 1),
        ((job(result(), failures=(failed("not_measurable"),)),), 0),
        ((job(failures=(failed("not_measurable"),), state="failed"),), 3),
        ((job(state="failed", problems=("the engine's process ended early (signal 9)",)),), 1),
        ((job(result(), state="failed", problems=("the engine's process ended early (exit code 1)",)),), 1),
        ((job(result(), problems=("not stored: store: no space left",)),), 0),
        ((job(result()), job(state="cancelled")), 130),
        ((job(failures=(failed(internal=True),), state="failed"), job(state="cancelled")), 130),
        ((), 3),
    ],
)  # fmt: skip
def test_of_several_the_worst(jobs, code):
    assert exit_code(suite(*jobs)) == code


def test_cancelled_after_the_last_run_is_cancelled():
    assert exit_code(suite(job(result())), cancelled=True) == 130
