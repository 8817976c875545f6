"""The probes of a diagnosis as JSON objects: what was measured, and a reason for every value that is null."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from msgspec import Struct

    from probes.evidence import PortProbe

#: nested probes that only some kinds of service have
_NESTED: Final = ("ssh", "tls", "http", "path_mtu")
_FLAT: Final = (
    "address", "state", "detail", "connect_ms", "elapsed_ms", "errno_name", "icmp_family", "icmp_type", "icmp_code",
    "offender", "offender_is_own", "syns_sent", "local_address", "via", "opening", "hops_why",
)  # fmt: skip


def probe_record(port: PortProbe) -> dict[str, Any]:
    """One port: the service, what was measured, and ``missing``."""
    record: dict[str, Any] = {
        "service": port.service.name,
        "port": port.service.port,
        "kind": port.service.kind.value,
    }
    record |= {name: plain(getattr(port, name)) for name in _FLAT}
    record |= {name: _nested(getattr(port, name)) for name in _NESTED}
    record["hops"] = [_nested(hop) for hop in port.hops]
    return with_missing(record)


def with_missing(record: dict[str, Any]) -> dict[str, Any]:
    """Name each null of an object: a probe that has no such value, or did not come that far, is ``unsupported``."""
    return {**record, "missing": {name: "unsupported" for name, value in record.items() if value is None}}


def _nested(value: Struct | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return with_missing({name: plain(getattr(value, name)) for name in value.__struct_fields__})


def plain(value: Any) -> Any:
    """A value that JSON can hold; infinities and NaN are no numbers there."""
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    return value
