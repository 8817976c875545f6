"""A result as others read it: its JSON, its samples as JSON lines, and the four parts that collectors expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.reasons import explained
from benchmarks.samples_file import read_samples, samples_path
from benchmarks.store_errors import store_error
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.result import Result


def document(result: Result) -> dict[str, Any]:
    """The whole result as plain JSON, in which every null has its reason."""
    return explained(msgspec.json.decode(msgspec.json.encode(result)))


def documents(results: Sequence[Result]) -> list[dict[str, Any]]:
    """What ``bench run`` and ``bench show`` print: always an array."""
    return [document(result) for result in results]


def collected(result: Result) -> dict[str, Any]:
    """The result in the four parts of benchmark collectors: metadata, performance, system, execution."""
    whole = document(result)
    gpu = whole.pop("gpu")
    metadata = _taken(whole, "schema_version", "run_id", "suite_id", "benchmark", "case", "case_text", "temperature")
    metadata |= _taken(whole, "label", "config_hash", "simulated", "missing")
    performance = _taken(whole, "metrics", "spans", "counts", "load", "validity", "grade", "kpis", "checks")
    environment, target = whole.pop("environment"), whole.pop("target")
    return {
        "metadata": {**metadata, "timestamp": whole.pop("wall_start"), "tool": environment["tool"]},
        "performance_data": {**performance, "gpu": {name: gpu[name] for name in gpu if name != "readings"}},
        "system_info": {"target": target, **environment},
        # and whatever else a result has
        "execution_context": {**whole, "gpu_readings": gpu["readings"]},
    }


def _taken(whole: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: whole.pop(name) for name in names}


def samples_text(result: Result, folder: Path) -> tuple[str, str]:
    """The samples of a run as JSON lines, and what is wrong with them in words (empty: nothing).

    Raises:
        BenchError: layer ``store``: there are none, or they cannot be read.
    """
    if result.samples_file is None:
        notes = "; ".join(note for note in result.notes if "samples" in note)
        raise store_error(f"no samples were saved of {clean(result.run_id)}" + (f" ({clean(notes)})" if notes else ""))
    read = read_samples(samples_path(folder, result.samples_file))
    problems = ["its last line was cut off"] if read.torn else []
    problems += [f"lines that are no samples: {read.unreadable}"] if read.unreadable else []
    return msgspec.json.Encoder().encode_lines(read.samples).decode(), "; ".join(problems)
