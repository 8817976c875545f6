"""What a whole run says: tokens a second by the wall clock, goodput, whether it was long enough. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.benchmark import Conclusion
from benchmarks.intervals import minimum_n
from benchmarks.llm.answer import MEDIAN_GAPS, P99_GAPS
from benchmarks.model import Outcome
from benchmarks.result import CheckResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.model import RunSpec, Sample

#: MLPerf Inference asks for so long a run (``min_duration`` of its mlperf.conf)
TAIL_S: Final = 600.0
TAIL_N: Final = minimum_n(0.99)
#: chunks of an answer that no model makes within one moment
_SEVERAL: Final = 3
_AT_ONCE_S: Final = 0.001
_NO_USAGE: Final = "no usage block in the stream: the unit is chunks, not tokens"
_OF_USAGE: Final = ("tpot", "output_tokens", "prompt_tokens", "output_tokens_per_s", "goodput")


def totals_of(samples: Sequence[Sample], *, ttft_s: float, tpot_s: float) -> dict[str, float | None]:
    """The run-scope metrics; None where they cannot be said.

    Args:
        samples: of the measure phase.
        ttft_s: the objective of the time to the first token.
        tpot_s: the objective of the time per output token.
    """
    went = [one for one in samples if one.outcome is not Outcome.CANCELLED]
    ok = [one for one in went if one.outcome is Outcome.OK]
    window_s = _window_s(went)
    if not went:
        return {}
    counted = all("output_tokens" in one.values for one in ok)
    tokens = sum(one.values["output_tokens"] for one in ok) if counted else None
    met = sum(_meets(one, ttft_s, tpot_s) for one in ok) if counted else None
    return {
        "output_tokens_per_s": _per_s(tokens, window_s),
        "output_chunks_per_s": _per_s(sum(one.values["output_chunks"] for one in ok), window_s),
        "samples_per_s": _per_s(len(ok), window_s),
        "goodput": _per_s(met, window_s),
        "success_rate": 100.0 * len(ok) / len(went),
    }


def conclude(samples: Sequence[Sample], spec: RunSpec) -> Conclusion:
    """See ``Concluder``."""
    ok = [one for one in samples if one.outcome is Outcome.OK]
    return Conclusion(checks=(_streamed(ok), _tail(samples, spec)), missing=_missing(ok) if ok else {})


def _missing(ok: Sequence[Sample]) -> dict[str, str]:
    """Why figures are not there that others have."""
    missing = {
        "time_per_chunk": "not needed: there are tokens",
        "time_to_answer": "the answers have no part that is marked as reasoning",
        "inter_chunk": f"n too small: it needs answers of {MEDIAN_GAPS + 1} chunks",
        "inter_chunk_p99": f"n too small: it needs answers of {P99_GAPS + 1} chunks",
        "inter_chunk_max": "answers of one chunk",
    }
    without = sum("output_tokens" not in one.values for one in ok)
    if without == len(ok):
        missing |= dict.fromkeys(_OF_USAGE, _NO_USAGE)
        missing["time_per_chunk"] = "answers of one chunk"
    elif without:
        why = f"no usage block in {without} of {len(ok)} answers"
        missing |= dict.fromkeys(("output_tokens_per_s", "goodput"), why)
    else:
        missing["tpot"] = "answers of one token"
        missing["prompt_tokens"] = "not in the usage block"
    found = {tag for one in ok for tag in one.values}
    return {tag: why for tag, why in missing.items() if tag not in found}


def _streamed(ok: Sequence[Sample]) -> CheckResult:
    """Whether chunks came one after the other. Where something on the way holds them back TTFT is the whole time."""
    name = "streamed"
    several = [one for one in ok if one.values["output_chunks"] >= _SEVERAL]
    if not several:
        return CheckResult(name, "not_checked", f"no answer of {_SEVERAL} chunks or more")
    at_once = sum(one.values["inter_chunk_max"] < _AT_ONCE_S for one in several)
    words = f"{at_once} of {len(several)} answers came all at once"
    return CheckResult(name, "fail" if at_once else "pass", words + (": held back on the way?" if at_once else ""))


def _tail(samples: Sequence[Sample], spec: RunSpec) -> CheckResult:
    """Whether the run was long enough to judge the slowest of a hundred; no claim beyond that."""
    name = "long_enough_for_p99"
    if spec.load.mode != "full":
        return CheckResult(name, "not_checked", f"a {spec.load.mode} run does not try to be")
    n, lasted_s = len(samples), _window_s(samples)
    enough = n >= TAIL_N and lasted_s >= TAIL_S
    detail = (
        f"{n} requests of {TAIL_N}, {lasted_s:.0f} s of {TAIL_S:.0f} s that MLPerf asks for (this is no MLPerf run)"
    )
    return CheckResult(name, "pass" if enough else "fail", detail)


def _meets(one: Sample, ttft_s: float, tpot_s: float) -> bool:
    """Whether an answer met all objectives; one of a single token has no TPOT to miss."""
    return one.values["ttft"] <= ttft_s and one.values.get("tpot", 0.0) <= tpot_s


def _window_s(samples: Sequence[Sample]) -> float:
    """From the first send to the last end."""
    went = [one for one in samples if one.outcome is not Outcome.DROPPED]
    if not went:
        return 0.0
    return (max(one.end_ns for one in went) - min(one.start_ns for one in went)) / 1e9


def _per_s(count: float | None, window_s: float) -> float | None:
    return None if count is None or window_s <= 0 else count / window_s
