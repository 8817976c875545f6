"""Which benchmarks there are. A module is imported when its benchmark is first asked for: none costs a start."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from benchmarks.errors import BenchError

if TYPE_CHECKING:
    from benchmarks.benchmark import Definition

#: id to the module that has its ``DEFINITION``; adding a benchmark is one file and one line here
_MODULES: Final[dict[str, str]] = {
    "synthesis": "benchmarks.synthesis.definition",
    "api-latency": "benchmarks.latency",
    "llm": "benchmarks.llm.definition",
    "stream": "benchmarks.stream",
    "compute": "benchmarks.compute",
    "command": "benchmarks.command",
}


def ids() -> tuple[str, ...]:
    """The ids, in the order in which they are listed."""
    return tuple(_MODULES)


def definition(benchmark_id: str) -> Definition:
    """The definition of a benchmark.

    Raises:
        BenchError: layer ``plan``: there is no such benchmark.
    """
    module = _MODULES.get(benchmark_id)
    if module is None:
        known = ", ".join(_MODULES)
        raise BenchError(f"no benchmark {benchmark_id!r}", layer="plan", next_step=f"one of: {known}")
    return import_module(module).DEFINITION
