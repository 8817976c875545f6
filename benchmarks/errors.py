"""What stops a benchmark before it measures. A request that fails while measuring is a ``Sample``, no error."""

from __future__ import annotations

from benchmarks.model import Side
from probes.errors import QuarterdeckError


class BenchError(QuarterdeckError):
    """A run that cannot start: layer, cause and next step. ``side`` says whose fault it is.

    Layers: ``plan`` (parameters), ``tcp``, ``ssh``, ``http``, ``service`` (wrong kind, no styles, not ready), ``host``
    (no compiler, no memory), ``engine``, ``store``.
    """

    def __init__(self, cause: str, *, layer: str, next_step: str = "", side: Side = Side.SERVER) -> None:
        super().__init__(cause, layer=layer, next_step=next_step)
        self.side = side
