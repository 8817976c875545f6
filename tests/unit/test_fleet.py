from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.fleet import MAX_EVENTS, Fleet, new_link
from probes.history import HISTORY_LEN, History
from probes.model import Cpu, Health, Host, LinkState, PortState, Sample, Service, ServiceState, Severity, Xid
from tests.support.fleets import gpu, hello
from tests.support.fleets import sample as any_sample


def sample(count: int = 1, **over: Any) -> Sample:
    return msgspec.structs.replace(any_sample(count), **over)


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), min_size=1, max_size=2 * HISTORY_LEN + 3))
def test_a_ring_holds_the_newest_values_in_order_and_a_gap_stays_a_gap(values: list[float | None]) -> None:
    history = History(0)
    for at, value in enumerate(values):
        history.append(float(at), sample(0, cpu=Cpu(1, value, None, None, None, None)))
    series = history.series("cpu_pct")
    kept = list(enumerate(values))[-HISTORY_LEN:]
    assert [at for at, _ in series] == [float(at) for at, _ in kept]
    for (_, found), (_, wanted) in zip(series, kept, strict=True):
        assert (found is None) == (wanted is None)
        if wanted is not None and found is not None:
            assert found == pytest.approx(wanted, abs=0.2501)


def test_gpu_series_keep_unit_and_scale_and_a_lost_gpu_leaves_a_gap() -> None:
    history = History(2)
    history.append(1.0, sample(2, gpus=(gpu(0, temperature_c=88.5, power_w=652.25), gpu(1, utilization_pct=100.0))))
    history.append(2.0, sample(2, gpus=(gpu(0, temperature_c=None),)))
    assert history.series("temperature_c", 0) == [(1.0, 88.5), (2.0, None)]
    assert history.series("power_w", 0)[0] == (1.0, 652.25)
    assert history.series("utilization_pct", 1) == [(1.0, 100.0), (2.0, None)]
    assert history.series("utilization_pct", 7) == []


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_number_a_host_may_send_breaks_the_ring(value: float) -> None:
    history = History(1)
    history.append(1.0, sample(1, gpus=(gpu(0, power_w=value, utilization_pct=value),)))
    assert len(history.series("power_w", 0)) == 1


def test_the_dirty_set_is_taken_once() -> None:
    fleet = Fleet([Host("a", "a"), Host("b", "b")])
    assert fleet.take_dirty() == {"a", "b"}
    fleet.ingest("a", sample(), 1.0, None)
    assert fleet.take_dirty() == {"a"}
    assert fleet.take_dirty() == set()


def test_the_age_counts_what_the_sample_had_lagged() -> None:
    fleet = Fleet([Host("a", "a")])
    assert fleet.hosts["a"].age_s(100.0) is None
    fleet.ingest("a", sample(), 100.0, 0.5)
    assert fleet.hosts["a"].age_s(102.0) == 2.5


def test_what_is_said_of_a_host_that_was_removed_is_ignored() -> None:
    fleet = Fleet([Host("a", "a")])
    fleet.set_hosts([])
    fleet.ingest("a", sample(), 1.0, None)
    fleet.set_link("a", new_link(LinkState.LIVE))
    fleet.set_service("a", ServiceState("s", 1, PortState.OPEN))
    fleet.set_bad_line("a", "x")
    assert fleet.hosts == {}


def test_a_reload_keeps_what_is_known_and_drops_services_that_are_gone() -> None:
    one, two = Service("one", 1), Service("two", 2)
    fleet = Fleet([Host("a", "a", services=(one, two))])
    fleet.ingest("a", sample(), 1.0, None)
    fleet.set_service("a", ServiceState("one", 1, PortState.OPEN))
    fleet.set_service("a", ServiceState("two", 2, PortState.OPEN))
    version = fleet.layout_version
    fleet.set_hosts([Host("a", "a", services=(two,)), Host("b", "b")])
    assert fleet.hosts["a"].samples == 1
    assert list(fleet.hosts["a"].services) == ["two"]
    assert fleet.layout_version == version + 1


def test_a_reboot_a_link_change_and_a_new_xid_are_events_once() -> None:
    fleet = Fleet([Host("a", "a")])
    old = Xid(5.0, "0000:3b:00", 31, "old")
    fleet.set_hello("a", hello(boot_id="1"))
    fleet.ingest("a", sample(xid_events=(old,)), 1.0, None)  # what was there before we looked is not news
    assert not fleet.events
    new = Xid(9.0, "0000:3b:00", 79, "fallen off the bus")
    fleet.ingest("a", sample(xid_events=(old, new)), 2.0, None)
    fleet.ingest("a", sample(xid_events=(old, new)), 3.0, None)
    fleet.set_hello("a", hello(boot_id="2"))
    fleet.set_hello("a", hello(boot_id="2"))
    for _ in range(2):
        fleet.set_link("a", new_link(LinkState.UNREACHABLE, layer="tcp", cause="refused"))
    assert [(e.kind, e.severity) for e in fleet.events] == [
        ("xid", Severity.CRITICAL),
        ("reboot", Severity.WARNING),
        ("link", Severity.CRITICAL),
    ]
    assert "79" in fleet.events[0].text


def test_a_service_event_is_a_change_not_a_repetition() -> None:
    fleet = Fleet([Host("a", "a")])
    for state, health in [
        (PortState.OPEN, Health.OK),  # fine from the start: no news
        (PortState.OPEN, Health.OK),
        (PortState.REFUSED, Health.UNKNOWN),
        (PortState.REFUSED, Health.UNKNOWN),
        (PortState.OPEN, Health.FAILING),
        (PortState.OPEN, Health.OK),
    ]:
        fleet.set_service("a", ServiceState("web", 80, state, health=health))
    assert [e.severity for e in fleet.events] == [Severity.WARNING, Severity.WARNING, Severity.INFO]


def test_the_event_log_is_bounded_and_counts_on() -> None:
    fleet = Fleet([])
    for number in range(MAX_EVENTS + 10):
        fleet.event(None, Severity.INFO, "test", str(number))
    assert len(fleet.events) == MAX_EVENTS
    assert fleet.event_count == MAX_EVENTS + 10
    assert fleet.events[-1].text == str(MAX_EVENTS + 9)
