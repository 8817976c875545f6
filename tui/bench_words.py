"""Figures, letters and states of benchmarks as words; a state is never told by colour alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tui.format import UNKNOWN, bytes_text, duration_text
from tui.widgets.folded import tidy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.result import Grade, Letter, Result
    from benchmarks.suite import State, Suite
    from benchmarks.wire import Failed
    from tui.glyphs import Glyphs

STATE_WORDS: Final[dict[State, str]] = {
    "queued": "queued",
    "starting": "starting",
    "running": "running",
    "at_barrier": "at barrier",
    "done": "done",
    "failed": "FAILED",
    "cancelled": "cancelled",
}
STATE_STYLES: Final[dict[State, str]] = {
    "queued": "muted",
    "starting": "accent",
    "running": "accent",
    "at_barrier": "accent",
    "done": "good",
    "failed": "bad",
    "cancelled": "warn",
}
LETTER_STYLES: Final[dict[Letter, str]] = {"S": "good", "A": "good", "B": "warn", "C": "warn", "D": "bad", "F": "bad"}
#: the order of outcomes, and their words
OUTCOME_WORDS: Final = {
    "ok": "ok",
    "http_error": "HTTP error",
    "transport": "transport",
    "timeout": "timeout",
    "invalid_body": "invalid body",
    "cancelled": "cancelled",
    "dropped": "dropped",
}
MODE_WORDS: Final = {
    "quick": "quick: 10 requests a case, at most A~",
    "full": "full: 30 requests a case and more, the whole grade",
    "check": "check: connectivity and one request, no letter",
}


def latency_text(seconds: float | None) -> str:
    """``0.31 ms``, ``310 ms``, ``1.204 s``, ``52.10 s``, ``3m04s``."""
    if seconds is None:
        return UNKNOWN
    if not seconds:
        return "0 s"
    if seconds < 0.9995:
        ms = seconds * 1000
        return f"{ms:.2f} ms" if ms < 9.995 else f"{ms:.1f} ms" if ms < 99.95 else f"{ms:.0f} ms"
    if seconds < 9.9995:
        return f"{seconds:.3f} s"
    return f"{seconds:.2f} s" if seconds < 119.995 else duration_text(seconds)


def figure_text(value: float | None, unit: str) -> str:
    """A figure with its unit; seconds as durations, large numbers with separators."""
    if value is None:
        return UNKNOWN
    if unit == "s":
        return latency_text(value)
    if unit in {"bytes", "B"}:
        return bytes_text(value)
    size = abs(value)
    number = f"{value:,.0f}" if size >= 1000 else f"{value:.1f}" if size >= 100 else f"{value:.3g}"
    if unit == "%":
        return f"{number}%"
    if unit == "1":
        return number
    return f"{number} {tidy(unit)}".rstrip() if not unit.startswith("1/") else f"{number}/{tidy(unit[2:])}"


def known_text(value: float | None, unit: str, why: str | None) -> str:
    """A figure, or why there is none; ``failures`` make it infinite."""
    if value is not None:
        return figure_text(value, unit)
    return "infinite (failures)" if why == "failures" else f"{UNKNOWN} ({tidy(why)})" if why else UNKNOWN


def rate_text(per_s: float | None) -> str:
    """Requests a second."""
    return UNKNOWN if per_s is None else figure_text(per_s, "1/s")


def letter_text(grade: Grade, verdict: str) -> str:
    """``A``, ``A~`` (quick mode), ``A?`` (provisional), ``INVALID``, ``-`` (not graded)."""
    return short_letter(grade.letter, verdict, approximate=grade.approximate, provisional=grade.provisional)


def short_letter(letter: str | None, verdict: str, *, approximate: bool, provisional: bool) -> str:
    """The same of a row in a list."""
    if verdict == "invalid":
        return "INVALID"
    if letter is None:
        return "-"
    return f"{letter}{'~' if approximate else ''}{'?' if provisional else ''}"


def letter_style(letter: str | None, verdict: str) -> str:
    """The style of a letter."""
    if verdict == "invalid":
        return "alert"
    return "unknown" if letter is None else next((s for one, s in LETTER_STYLES.items() if one == letter), "text")


def state_sign(state: State, glyphs: Glyphs) -> str:
    """One character for a job's state."""
    signs = {
        "queued": glyphs.not_probed,
        "starting": glyphs.ellipsis,
        "running": glyphs.more,
        "at_barrier": glyphs.paused,
        "done": glyphs.levels[0],
        "failed": glyphs.levels[3],
        "cancelled": glyphs.levels[1],
    }
    return signs[state]


def outcome_counts(outcomes: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """What requests ended as, in a fixed order: word, count, style. Only ok is always there."""
    known = [(OUTCOME_WORDS[name], outcomes.get(name, 0), name) for name in OUTCOME_WORDS]
    known += [(tidy(name), count, name) for name, count in outcomes.items() if name not in OUTCOME_WORDS]
    found: list[tuple[str, int, str]] = []
    for word, count, name in known:
        if count or name == "ok":
            found.append((word, count, "good" if name == "ok" else "warn" if name == "cancelled" else "bad"))
    return found


def failure_text(failed: Failed) -> str:
    """Why a run could not start: layer, cause, next step."""
    own = "a defect of quarterdeck: " if failed.internal else ""
    then = f" ({failed.next_step})" if failed.next_step else ""
    return tidy(f"{failed.layer}: {own}{failed.cause}{then}")


def case_text(result: Result) -> str:
    """A case with its service and temperature."""
    parts = (result.target.service, result.case, result.temperature)
    return tidy(" ".join(part for part in parts if part))


def done_words(suite: Suite) -> str:
    """How a suite ended, in one line."""
    counts: dict[str, int] = {}
    for job in suite.jobs:
        counts[job.state] = counts.get(job.state, 0) + 1
    ended = ", ".join(f"{count} {state}" for state, count in counts.items())
    letters = ", ".join(letter_text(result.grade, result.validity.verdict) for result in suite.results[:6])
    more = f" and {len(suite.results) - 6} more" if len(suite.results) > 6 else ""
    return f"{suite.plan.benchmark}: {ended}" + (f"; {letters}{more}" if letters else "")


def running_words(suite: Suite) -> str:
    """A running suite in a few words, for the header."""
    over = sum(job.state in ("done", "failed", "cancelled") for job in suite.jobs)
    jobs, hosts = len(suite.jobs), len({job.plan.host.id for job in suite.jobs})
    if jobs > 1:
        return f"bench {suite.plan.benchmark} {over}/{jobs} {'hosts' if jobs == hosts else 'jobs'}"
    progress = suite.jobs[0].progress if suite.jobs else None
    return f"bench {suite.plan.benchmark}" + (f" {progress_count(progress.done, progress.total)}" if progress else "")


def progress_count(done: int, total: int | None) -> str:
    """``7/10``, or ``7`` where the end is a time."""
    return f"{done}/{total}" if total is not None else f"{done}"
