"""Versions that differ from what most of the fleet runs. Pure; a fleet without a majority has no drift.

A version of one host alone proves nothing, and of two hosts that differ none is "wrong": a host drifts only from a
value that more than half of the hosts that told theirs have in common.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from probes.fleet import HostRecord
    from probes.model import Hello

#: fields of ``Hello`` that are compared
VERSION_FIELDS: Final = ("driver", "cuda", "os", "kernel")


class Majority(Struct, frozen=True):
    """What most hosts have: ``count`` of the ``total`` hosts that told theirs."""

    value: str
    count: int
    total: int


def majorities(records: Iterable[HostRecord]) -> dict[str, Majority]:
    """The value that more than half of the hosts share, by field; fields without one are left out."""
    counters: dict[str, Counter[str]] = {field: Counter() for field in VERSION_FIELDS}
    for record in records:
        hello = record.hello
        if hello is None:
            continue
        for field, counter in counters.items():
            value: str | None = getattr(hello, field)
            if value is not None:
                counter[value] += 1
    found: dict[str, Majority] = {}
    for field, counter in counters.items():
        total = counter.total()
        if total and (best := counter.most_common(1)[0])[1] * 2 > total:
            found[field] = Majority(best[0], best[1], total)
    return found


def drifts(hello: Hello, common: dict[str, Majority]) -> dict[str, Majority]:
    """The fields in which a host differs from the majority, with what the majority has."""
    return {
        field: majority
        for field, majority in common.items()
        if (value := getattr(hello, field)) is not None and value != majority.value
    }
