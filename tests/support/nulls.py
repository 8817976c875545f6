"""The rule for all JSON that is printed: where a field is null, its object says why."""

from __future__ import annotations

from typing import Any


def unexplained(value: Any, at: str = "$") -> list[str]:
    """Where a null stands without a reason in the object it stands in."""
    if isinstance(value, list):
        return [line for i, each in enumerate(value) for line in unexplained(each, f"{at}[{i}]")]
    if not isinstance(value, dict):
        return []
    found = []
    for name, each in value.items():
        said = name == "reason" or value.get("reason") or name in value.get("missing", {})
        found += [f"{at}.{name}"] if each is None and not said else unexplained(each, f"{at}.{name}")
    return found
