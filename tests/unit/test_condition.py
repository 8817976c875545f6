from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.config import Intervals, Thresholds
from probes.fleet import Fleet, new_link
from probes.judge.condition import Level, condition
from probes.model import Disk, Health, Host, LinkState, Memory, PortState, Sample, ServiceState, Xid
from tests.support.fleets import GIB, gpu, lost
from tests.support.fleets import sample as any_sample


def sample(count: int = 1, **over: Any) -> Sample:
    return msgspec.structs.replace(any_sample(count), **over)


def _unreadable(reason: str) -> dict[str, Any]:
    fields = ("utilization_pct", "memory_used_bytes", "temperature_c")
    return {**dict.fromkeys(fields), "missing": dict.fromkeys(fields, reason)}


def _judge(
    value: Sample | None = None,
    state: LinkState = LinkState.LIVE,
    age_s: float = 0.5,
    services: tuple[ServiceState, ...] = (),
    **link: Any,
) -> tuple[Level, tuple[str, ...]]:
    fleet = Fleet([Host("h", "h")])
    if value is not None:
        fleet.ingest("h", value, 1000.0 - age_s, 0.0)
    fleet.set_link("h", new_link(state, **link))
    for service in services:
        fleet.set_service("h", service)
    verdict = condition(fleet.hosts["h"], Thresholds(), Intervals(), 1000.0)
    return verdict.level, verdict.reasons


def test_a_healthy_host_is_fine_without_reasons() -> None:
    assert _judge(sample(8)) == (Level.FINE, ())


@pytest.mark.parametrize(
    ("over", "level", "words"),
    [
        ({"gpus": (gpu(3, **lost()),)}, Level.DOWN, "gpu3 lost"),
        ({"gpus": (gpu(1, temperature_c=85.0),)}, Level.DEGRADED, "gpu1 85°C"),
        (
            {"gpus": (gpu(1, throttle_reasons=("hw_thermal_slowdown",)),)},
            Level.DEGRADED,
            "throttled: hw thermal slowdown",
        ),
        ({"gpus": (gpu(0, ecc_uncorrected=2),)}, Level.DEGRADED, "2 uncorrected ECC"),
        ({"gpus": (gpu(0, missing={"utilization_pct": "timeout"}),)}, Level.DEGRADED, "does not answer"),
        ({"gpus": (gpu(0, **_unreadable("error")),)}, Level.UNKNOWN, "gpu0 cannot be read: error"),
        ({"gpus": (gpu(0, **_unreadable("timeout")),)}, Level.UNKNOWN, "gpu0 cannot be read: timeout"),
        ({"memory": Memory(100 * GIB, 95 * GIB, 5 * GIB, 0, 0)}, Level.DEGRADED, "memory 95%"),
        ({"disks": (Disk("/data", "sdb", 100, 90, None, None, {}),)}, Level.DEGRADED, "disk /data 90%"),
        ({"xid_events": (Xid(86400.0 * 12 - 60, "0000:3b:00", 79, "off the bus"),)}, Level.DEGRADED, "XID 79"),
        ({"gpus": (), "missing": {"gpus": "timeout"}}, Level.DEGRADED, "GPUs unreadable: timeout"),
        ({"gpus": (), "missing": {"gpus": "not_yet"}}, Level.UNKNOWN, "GPUs not read yet"),
    ],
)
def test_each_fault_has_its_level_and_its_words(over: dict[str, Any], level: Level, words: str) -> None:
    found, reasons = _judge(sample(1, **over))
    assert found is level
    assert words in reasons[0]


@pytest.mark.parametrize(
    "over",
    [
        {"gpus": (gpu(0, throttle_reasons=("sw_power_cap", "gpu_idle")),)},  # a power cap is normal work, not a fault
        {"gpus": (), "missing": {"gpus": "unsupported"}},  # a host without a GPU is no fault
        {"gpus": (gpu(0, temperature_c=None, missing={"temperature_c": "unsupported"}),)},
        {"xid_events": (Xid(0.0, "0000:3b:00", 79, "long ago"),)},
        {"xid_events": None, "missing": {"xid_events": "denied"}},
        {"memory": Memory(100, None, None, None, None)},
    ],
)
def test_what_is_unknown_or_normal_is_not_a_fault(over: dict[str, Any]) -> None:
    assert _judge(sample(1, **over)) == (Level.FINE, ())


@pytest.mark.parametrize(
    "state",
    [s for s in LinkState if s not in {LinkState.LIVE, LinkState.STALE, LinkState.PAUSED, LinkState.CONNECTING}],
)
def test_a_broken_link_is_down_with_layer_and_cause_and_old_values_do_not_speak(state: LinkState) -> None:
    level, reasons = _judge(sample(1, gpus=(gpu(0, temperature_c=99.0),)), state, layer="tcp", cause="refused")
    assert level is Level.DOWN
    assert reasons == (f"{state.value.replace('_', ' ')} at tcp: refused",)


def test_no_data_and_old_data_are_unknown_and_never_fine() -> None:
    assert _judge(None)[0] is Level.UNKNOWN
    assert _judge(sample(1), age_s=60.0) == (Level.UNKNOWN, ("data is 60 s old",))
    assert _judge(sample(1), LinkState.PAUSED)[0] is Level.UNKNOWN
    assert _judge(None, LinkState.CONNECTING)[0] is Level.UNKNOWN


@pytest.mark.parametrize(
    ("state", "health", "level"),
    [
        (PortState.OPEN, Health.OK, Level.FINE),
        (PortState.OPEN, Health.UNKNOWN, Level.FINE),
        (PortState.OPEN, Health.FAILING, Level.DEGRADED),
        (PortState.NOT_PROBED, Health.UNKNOWN, Level.FINE),
        (PortState.REFUSED, Health.UNKNOWN, Level.DEGRADED),
        (PortState.FILTERED, Health.UNKNOWN, Level.DEGRADED),
        (PortState.REJECTED, Health.UNKNOWN, Level.DEGRADED),
        (PortState.UNREACHABLE, Health.UNKNOWN, Level.DEGRADED),
        (PortState.UNRESOLVED, Health.UNKNOWN, Level.DEGRADED),
    ],
)
def test_services_count_by_what_was_proved(state: PortState, health: Health, level: Level) -> None:
    service = ServiceState("voicevox", 50021, state, health=health, at_boot_s=999.0)
    assert _judge(sample(1), services=(service,))[0] is level


@given(st.permutations([gpu(0, **lost()), gpu(1, temperature_c=95.0), gpu(2)]))
def test_the_worst_comes_first_whatever_the_order(gpus: list[Any]) -> None:
    level, reasons = _judge(sample(3, gpus=tuple(gpus)))
    assert level is Level.DOWN
    assert reasons[0] == "gpu0 lost"
