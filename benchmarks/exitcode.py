"""What a headless run ends with: 0 pass, 99 missed, 3 invalid, 1 a defect of ours, 130 cancelled. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.errors import NOT_MEASURABLE
from benchmarks.kpi import PROJECTED
from benchmarks.result import LETTERS

if TYPE_CHECKING:
    from benchmarks.result import Letter, Result
    from benchmarks.suite import JobState, Suite

PASS: Final = 0
INTERNAL: Final = 1
INVALID: Final = 3
MISSED: Final = 99
CANCELLED: Final = 130
#: of several the worst
_WORST: Final = (INTERNAL, INVALID, MISSED, PASS)


def exit_code(suite: Suite, fail_under: Letter | None = None, *, cancelled: bool = False) -> int:
    """The exit code of a suite that is over.

    Args:
        suite: what ran.
        fail_under: a worse letter misses; a run without a letter cannot be told and counts as invalid then.
        cancelled: somebody ended it before its time.
    """
    if cancelled or any(job.state == "cancelled" for job in suite.jobs):
        return CANCELLED
    codes = {code for job in suite.jobs for code in _of_job(job, fail_under)}
    return next((code for code in _WORST if code in codes), INVALID)  # nothing was measured: nothing is known


def code_of(result: Result, fail_under: Letter | None = None) -> int:
    """The code of one result.

    A target is judged in full mode alone (a quick run is an estimate), and F misses every target. A check passes when
    its request did.
    """
    if result.validity.verdict == "invalid":
        return INVALID
    letter = result.grade.letter
    if result.config.mode == "check":
        return PASS if result.counts.ok == result.counts.intended else MISSED
    if fail_under is not None and letter is None:
        return INVALID
    # a projection is no target: nobody promised it
    targets = [kpi for kpi in result.kpis if not kpi.id.startswith(PROJECTED)]
    missed = letter == "F" or (result.config.mode == "full" and any(kpi.attained is False for kpi in targets))
    if fail_under is not None and letter is not None:
        missed = missed or LETTERS.index(letter) > LETTERS.index(fail_under)
    return MISSED if missed else PASS


def _of_job(job: JobState, fail_under: Letter | None) -> set[int]:
    codes = {code_of(result, fail_under) for result in job.results}
    for failure in job.failures:
        if failure.internal:
            codes.add(INTERNAL)
        elif failure.layer != NOT_MEASURABLE:
            codes.add(INVALID)
    # it failed, and no run of it says why: the engine's process did
    if job.state == "failed" and (job.results or not job.failures):
        codes.add(INTERNAL)
    return codes
