from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from probes.hosts.collector import OLD_EVERY_S, YOUNG_EVERY_S, Collector

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Node:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    made.start(0.0)
    yield made
    made.stop()
    assert gc.isenabled()


def test_young_cycles_are_collected_at_our_pace_and_not_before(collector: Collector) -> None:
    assert not gc.isenabled()
    gone = weakref.ref(_Node())
    assert collector.tick(YOUNG_EVERY_S - 0.1) is None
    assert gone() is not None
    assert collector.tick(YOUNG_EVERY_S) == 1
    assert gone() is None
    assert collector.tick(YOUNG_EVERY_S + 0.1) is None


def test_old_cycles_are_collected_once_enough_connections_have_ended(collector: Collector) -> None:
    node = _Node()
    gone = weakref.ref(node)
    gc.collect()  # it is old now
    del node
    assert collector.tick(OLD_EVERY_S * 10) == 1
    assert gone() is not None
    for _ in range(20):
        collector.connection_ended()
    assert collector.tick(OLD_EVERY_S * 10 + 1) == 2
    assert gone() is None
    assert collector.tick(OLD_EVERY_S * 10 + 2) is None
