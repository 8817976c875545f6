"""The filter of the fleet screen: ``temp>85 & host~=gpu | !live``; its grammar is in ``filter_language``.

A bare word is looked for in host id, groups, state and reasons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tui.filter_language import MAX_LENGTH, Filter, FilterError, Language, Numbers, Texts, glob, parse_in

if TYPE_CHECKING:
    from tui.rows import Row

__all__ = ["DOTTED", "MAX_LENGTH", "NUMBERS", "TEXTS", "Filter", "FilterError", "glob", "parse"]

_PLAIN: Final = {"": 1.0}
_PERCENT: Final = {"": 1.0, "%": 1.0}
_CELSIUS: Final = {"": 1.0, "c": 1.0, "°c": 1.0}
_WATTS: Final = {"": 1.0, "w": 1.0, "kw": 1e3}
_SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RATE: Final = {"": 1.0, "k": 1024.0, "m": 1024.0**2, "g": 1024.0**3}

#: field -> (what it is, units it may be given in, how to read it)
NUMBERS: Final[dict[str, tuple[str, dict[str, float], Numbers[Row]]]] = {
    "temp": ("hottest GPU, °C", _CELSIUS, lambda row, _: row.temp),
    "util": ("mean utilisation of the GPUs, %", _PERCENT, lambda row, _: row.util),
    "gpumem": ("used GPU memory, %", _PERCENT, lambda row, _: row.gpumem),
    "power": ("power of the GPUs, W", _WATTS, lambda row, _: row.power),
    "gpus": ("number of GPUs", _PLAIN, lambda row, _: row.gpus),
    "lost": ("number of lost GPUs", _PLAIN, lambda row, _: row.lost if row.gpus is not None else None),
    "cpu": ("CPU utilisation, %", _PERCENT, lambda row, _: row.cpu),
    "mem": ("used memory, %", _PERCENT, lambda row, _: row.mem),
    "load": ("load average of 1 minute", _PLAIN, lambda row, _: row.load),
    "disk": ("fullest file system, %", _PERCENT, lambda row, _: row.disk),
    "rx": ("received, bytes/s", _RATE, lambda row, _: row.rx),
    "tx": ("sent, bytes/s", _RATE, lambda row, _: row.tx),
    "age": ("age of the last sample, s", _SECONDS, lambda row, now: row.age_s(now)),
    "for": ("time in this condition, s", _SECONDS, lambda row, now: now - row.since_boot_s),
}


def _one(value: str | None) -> tuple[str, ...] | None:
    return None if value is None else (value,)


def _gpu_names(row: Row) -> tuple[str, ...] | None:
    return row.gpu_names() or None


TEXTS: Final[dict[str, tuple[str, Texts[Row]]]] = {
    "host": ("host id", lambda row: (row.id_text,)),
    "address": ("address", lambda row: (row.record.host.address,)),
    "group": ("any of its groups", lambda row: row.record.host.groups),
    "state": ("link state", lambda row: (row.record.link.state.value,)),
    "level": ("fine, degraded, unknown or down", lambda row: (row.level.name,)),
    "reason": ("any reason or the link's cause", lambda row: (*row.reasons, row.record.link.cause or "")),
    "gpu": ("any GPU's name", _gpu_names),
    "mode": ("agent mode", lambda row: _one(row.record.hello.mode if row.record.hello else None)),
    "driver": ("driver version", lambda row: _one(row.record.hello.driver if row.record.hello else None)),
    "kernel": ("kernel version", lambda row: _one(row.record.hello.kernel if row.record.hello else None)),
}
#: fields with a name of the user's behind a dot
DOTTED: Final = {
    "label": "a label of the host, as in label.zone=a",
    "service": "a service: its port's state and its health, as in service.ssh=refused or service.api=failing",
}


def _dotted(head: str, rest: str) -> Texts[Row] | None:
    if head == "label":
        return lambda row: _one(row.record.host.labels.get(rest))
    if head == "service":
        return lambda row: _service(row, rest)
    return None


def _service(row: Row, name: str) -> tuple[str, ...] | None:
    state = row.record.services.get(name)
    if state is None:
        return None
    return (state.state.value, state.health.value) if state.health.value != "unknown" else (state.state.value,)


def _words(row: Row) -> tuple[str, ...]:
    record = row.record
    return (row.id_text, record.link.state.value, *record.host.groups, row.reason, *row.reasons)


LANGUAGE: Final[Language[Row]] = Language(NUMBERS, TEXTS, _words, _dotted, ("label.NAME", "service.NAME"))


def parse(text: str) -> Filter[Row] | None:
    """Compile an expression; None for an empty one.

    Raises:
        FilterError: with the position and what was expected.
    """
    return parse_in(LANGUAGE, text)
