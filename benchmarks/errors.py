"""What stops a benchmark before it measures. A request that fails while measuring is a ``Sample``, no error."""

from __future__ import annotations

from benchmarks.model import Side
from probes.errors import QuarterdeckError


class BenchError(QuarterdeckError):
    """A run that cannot start: layer, cause and next step. ``side`` says whose fault it is.

    Layers: ``plan`` (parameters), ``tcp``, ``ssh``, ``http``, ``service`` (wrong kind, no styles, not ready), ``host``
    (no compiler, no memory), ``engine``, ``store``, ``not_measurable``.
    """

    def __init__(self, cause: str, *, layer: str, next_step: str = "", side: Side = Side.SERVER) -> None:
        super().__init__(cause, layer=layer, next_step=next_step)
        self.side = side


NOT_MEASURABLE = "not_measurable"


class NotMeasurableError(BenchError):
    """Nothing is wrong, but this cannot be measured now: a cold start of what is warm already.

    The other runs go on, and no exit code is spoilt by it.
    """

    def __init__(self, cause: str, *, next_step: str = "") -> None:
        super().__init__(cause, layer=NOT_MEASURABLE, next_step=next_step)
