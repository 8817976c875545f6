"""Why a field of a result is null, where its form alone says it: no ``null`` leaves us without a reason.

What was found out while it was measured stands in ``missing`` already and is never replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

_RESULT: Final = {
    "temperature": "not applicable",
    "label": "none was given",
    "samples_file": "no samples were saved",
}
_CONFIG: Final = {"rate_per_s": "closed loop"}
_LOAD: Final = {"concurrency": "open loop", "target_per_s": "closed loop"}
_TARGET: Final = {
    "service": "a URL, or the host itself",
    "server_version": "not known",
    "device_claimed": "not known",
    "device_in_use": "not known",
    "tunnel_ms": "no tunnel was used",
}
_OF_A_RUN: Final[dict[str, str]] = dict.fromkeys(("mean", "median", "sd", "cv", "min", "max"), "it has one value a run")
_OF_A_REQUEST: Final = {"value": "it has one value a request: see median and q"}
_NOT_GIVEN: Final = "not measured"


def explained(made: dict[str, Any]) -> dict[str, Any]:
    """A result as plain JSON in which every null has its reason: in ``missing`` or ``reason`` of the same object.

    A percentile carries its own ``reason``. Rows of ``gpu.readings`` are arrays, and a null in one was not read.
    """
    for name, known in (("config", _CONFIG), ("load", _LOAD), ("target", _TARGET), ("environment", {})):
        made[name] = filled(made[name], known)
    for part in ("metrics", "spans"):
        made[part] = {tag: filled(one, _of_metric(one)) for tag, one in made[part].items()}
    made["gpu"] = filled(made["gpu"], {}, next(iter(made["gpu"]["missing"].values()), _NOT_GIVEN))
    made["kpis"] = [filled(line, {}) for line in made["kpis"]]
    grade = made["grade"]
    parts = [filled(part, {}, part["reason"] or _unsaid(part)) for part in grade["parts"]]
    made["grade"] = filled({**grade, "parts": parts}, {}, grade["reason"] or _unsaid(grade))
    return filled(made, _RESULT)


def _of_metric(metric: Mapping[str, Any]) -> dict[str, str]:
    return _OF_A_RUN if metric["scope"] == "run" else _OF_A_REQUEST


def _unsaid(graded: Mapping[str, Any]) -> str:
    """Why figures of a grade with a letter are null: failures made them infinite, or they have no bound."""
    return "failures" if graded["value"] is None or "error-adjusted" in (graded["statistic"] or "") else "no bound"


def filled(part: Mapping[str, Any], known: Mapping[str, str], otherwise: str = _NOT_GIVEN) -> dict[str, Any]:
    """An object with a reason for each of its nulls; the objects in it are left alone.

    Args:
        part: plain JSON; ``missing`` is added to it where it is needed.
        known: reasons by field.
        otherwise: of other fields.
    """
    said = cast("dict[str, str]", part.get("missing", {}))
    unsaid = [name for name, value in part.items() if value is None and name != "reason" and name not in said]
    if not unsaid and "missing" in part:
        return dict(part)
    added = {name: known.get(name, otherwise) for name in unsaid}
    return {**part, "missing": {**added, **said}} if added or "missing" in part else dict(part)
