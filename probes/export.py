"""Everything a screen shows, as JSON (schema 1): the objects of `snapshot` and `watch`.

Times are RFC 3339 UTC, enums snake_case, a value that could not be read is null and its reason stands in ``missing``
of the same object. No judgement is made here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, cast

from probes import clock
from probes.model import Gpu

if TYPE_CHECKING:
    from collections.abc import Iterable

    from probes.fleet import Fleet, HostRecord
    from probes.model import Event, Hello, Link, Missing, Process, Sample, ServiceState

SCHEMA_VERSION: Final = 1

_GPU_FIELDS: Final = tuple(name for name in Gpu.__struct_fields__ if name not in {"mig", "missing"})


def snapshot(fleet: Fleet, hosts: Iterable[str] | None = None) -> dict[str, Any]:
    """The whole fleet, or the named hosts, as one JSON object."""
    now_boot, now_wall = clock.boot_s(), clock.wall_s()
    names = list(fleet.hosts) if hosts is None else [name for name in hosts if name in fleet.hosts]
    return {
        "schema_version": SCHEMA_VERSION,
        "taken_at": clock.rfc3339(now_wall),
        "hosts": [host(fleet.hosts[name], now_boot) for name in names],
    }


def host(record: HostRecord, now_boot_s: float) -> dict[str, Any]:
    """One host with everything known of it."""
    return {
        "id": record.host.id,
        "address": record.host.address,
        "groups": list(record.host.groups),
        "labels": dict(record.host.labels),
        "simulated": record.host.simulated,
        "link": link(record.link, now_boot_s),
        "ssh_ms": {phase: _number(ms, 3) for phase, ms in record.ssh_ms.items()},
        "sample": sample(record, now_boot_s),
        "services": services(record, now_boot_s),
        "bad_lines": record.bad_lines,
        "note": record.note or None,
    }


def link(value: Link, now_boot_s: float) -> dict[str, Any]:
    """A link state with the layer that failed, the cause and the next step."""
    retry_s = None if value.retry_at_boot_s is None else max(value.retry_at_boot_s - now_boot_s, 0.0)
    return {
        "state": value.state.value,
        "since": clock.rfc3339(value.since_wall_s),
        "layer": value.layer,
        "cause": value.cause,
        "next_step": value.next_step or None,
        "attempt": value.attempt,
        "retry_in_s": _number(retry_s, 1),
    }


def sample(record: HostRecord, now_boot_s: float) -> dict[str, Any] | None:
    """The last sample with its age; None when the host was never sampled."""
    value = record.sample
    if value is None:
        return None
    missing = value.missing
    processes = record.processes
    hello = record.hello
    top: Missing = {}
    if processes is None:
        top["processes"] = "not_yet"
    elif "processes" in processes.missing:
        top["processes"] = processes.missing["processes"]
    top.update(_reasons(hello))
    return {
        "taken_at": clock.rfc3339(record.sample_at_wall_s),
        "age_s": _number(record.age_s(now_boot_s), 3),
        "lag_s": _number(record.lag_s, 3),
        "interval_s": _number(value.interval_s, 3),
        "mode": hello.mode if hello is not None else None,
        "cpu": _cpu(value),
        "memory": _memory(value),
        "disks": [_struct(disk) for disk in value.disks],
        "net": [_struct(nic) for nic in value.net],
        "uptime_s": _number(value.uptime_s, 2),
        "xid_events": None if value.xid_events is None else [_struct(xid) for xid in value.xid_events],
        "gpus": [_gpu(gpu, record) for gpu in value.gpus],
        "processes": None if processes is None else [_process(process) for process in processes.top],
        "versions": {name: getattr(hello, name) if hello is not None else None for name in _VERSIONS},
        "hostname": hello.hostname if hello is not None else None,
        "boot_id": hello.boot_id if hello is not None else None,
        "units": None if hello is None or hello.units is None else [_struct(unit) for unit in hello.units],
        "units_age_s": _number(record.units_age_s(now_boot_s), 1),
        "agent": {**_struct(value.agent), "missing": _part(missing, "agent")},
        "missing": {**{key: reason for key, reason in missing.items() if "." not in key}, **top},
    }


_VERSIONS: Final = ("driver", "cuda", "os", "kernel")
_GREETED: Final = ("mode", "hostname", "boot_id", "units", "units_age_s", *(f"versions.{name}" for name in _VERSIONS))


def _reasons(hello: Hello | None) -> Missing:
    """Why something is not known that a host says when it is greeted."""
    if hello is None:
        return dict.fromkeys(_GREETED, "not_yet")
    found: Missing = {}
    for key, reason in hello.missing.items():
        if key in _VERSIONS:
            found[f"versions.{key}"] = reason
        elif key in ("units", "units.docker", "units.systemd", "boot_id"):
            found[key] = reason
    if hello.units_uptime_s is None:
        found["units_age_s"] = hello.missing.get("units_uptime_s") or hello.missing.get("units", "error")
    return found


def _cpu(value: Sample) -> dict[str, Any]:
    cpu = value.cpu
    cores = cpu.per_core_pct
    return {
        "utilization_pct": _number(cpu.utilization_pct, 2),
        "count": cpu.count,
        "load1": _number(cpu.load1, 2),
        "load5": _number(cpu.load5, 2),
        "load15": _number(cpu.load15, 2),
        "per_core_pct": None if cores is None else [_number(core, 2) for core in cores],
        "missing": _part(value.missing, "cpu"),
    }


def _memory(value: Sample) -> dict[str, Any]:
    return {**_struct(value.memory), "missing": _part(value.missing, "memory")}


def _gpu(gpu: Gpu, record: HostRecord) -> dict[str, Any]:
    out: dict[str, Any] = {name: _plain(getattr(gpu, name)) for name in _GPU_FIELDS}
    missing: Missing = dict(gpu.missing)
    out["mig"] = [_struct(mig) for mig in gpu.mig]
    processes = record.processes
    if processes is None or processes.gpu is None:
        out["processes"] = None
        missing["processes"] = "not_yet" if processes is None else processes.missing.get("gpu", "unsupported")
    else:
        out["processes"] = [
            {"pid": p.pid, "user": p.user, "name": p.name, "memory_bytes": p.memory_bytes}
            for p in processes.gpu
            if p.gpu == gpu.index
        ]
    out["missing"] = missing
    return out


def _process(process: Process) -> dict[str, Any]:
    return _struct(process)


def services(record: HostRecord, now_boot_s: float) -> list[dict[str, Any]]:
    """Each configured service in configured order; one that was never probed says so."""
    out: list[dict[str, Any]] = []
    for wanted in record.host.services:
        state = record.services.get(wanted.name)
        if state is None:
            out.append(
                {
                    "name": wanted.name,
                    "port": wanted.port,
                    "kind": wanted.kind.value,
                    "state": "not_probed",
                    "connect_ms": None,
                    "health": "unknown",
                    "detail": "not probed yet",
                    "via": None,
                    "age_s": None,
                    "phases_ms": {},
                }
            )
        else:
            out.append({"kind": wanted.kind.value, **service(state, now_boot_s)})
    return out


def service(state: ServiceState, now_boot_s: float) -> dict[str, Any]:
    """One probed service."""
    return {
        "name": state.name,
        "port": state.port,
        "state": state.state.value,
        "connect_ms": _number(state.connect_ms, 3),
        "health": state.health.value,
        "detail": state.detail,
        "via": state.via,
        "age_s": _number(now_boot_s - state.at_boot_s, 3) if state.at_boot_s else None,
        "phases_ms": {name: _number(ms, 3) for name, ms in state.phases_ms.items()},
    }


def event(value: Event) -> dict[str, Any]:
    """One line of the event log."""
    return {
        "time": clock.rfc3339(value.at_wall_s),
        "host": value.host,
        "severity": value.severity.value,
        "kind": value.kind,
        "text": value.text,
    }


# --- plain values ---


def _part(missing: Missing, prefix: str) -> Missing:
    start = prefix + "."
    return {key[len(start) :]: reason for key, reason in missing.items() if key.startswith(start)}


def _struct(value: Any) -> dict[str, Any]:
    return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return _number(value, 3)
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[Any, ...]", value)]
    return value


def _number(value: float | None, digits: int) -> float | None:
    """Rounded for reading; infinities and NaN are no numbers in JSON."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, digits)
