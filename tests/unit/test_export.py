from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from probes import clock, export, exposition
from probes.fleet import Fleet, new_link
from probes.model import Health, Hello, Host, LinkState, PortState, Sample, Service, ServiceState, Unit
from tests.support.fleets import gpu, hello, lost, processes
from tests.support.fleets import sample as any_sample


def sample(count: int = 1, **over: Any) -> Sample:
    return msgspec.structs.replace(any_sample(count), **over)


def _fleet() -> Fleet:
    fleet = Fleet(
        [Host("a", "10.0.0.1", labels={"zone": "a"}, services=(Service("ssh", 22), Service("web", 80))), Host("b", "b")]
    )
    fleet.set_hello("a", hello())
    fleet.ingest(
        "a",
        sample(
            2,
            gpus=(gpu(0), gpu(1, **lost())),
            xid_events=None,
            missing={"xid_events": "denied", "cpu.per_core_pct": "error"},
        ),
        clock.boot_s(),
        0.002,
    )
    fleet.set_processes("a", processes(), clock.boot_s())
    fleet.set_link("a", new_link(LinkState.LIVE))
    fleet.set_service(
        "a",
        ServiceState(
            "ssh", 22, PortState.OPEN, 1.25, Health.UNKNOWN, "from the live session", at_boot_s=clock.boot_s()
        ),
    )
    fleet.set_link("b", new_link(LinkState.UNREACHABLE, layer="tcp", cause="refused", next_step="look"))
    return fleet


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return json.loads(msgspec.json.encode(value))


def test_the_snapshot_has_the_promised_shape() -> None:
    taken = _plain(export.snapshot(_fleet()))
    assert taken["schema_version"] == 1
    assert taken["taken_at"].endswith("Z")
    first, second = taken["hosts"]
    assert {"id", "address", "labels", "link", "sample", "services"} <= first.keys()
    assert {"state", "since", "cause", "next_step"} <= first["link"].keys()
    assert {
        "age_s", "interval_s", "mode", "cpu", "memory", "disks", "net", "uptime_s", "xid_events", "gpus", "processes", "versions", "agent", "missing",
    } <= first["sample"].keys()  # fmt: skip
    assert {"utilization_pct", "count", "load1", "per_core_pct"} <= first["sample"]["cpu"].keys()
    assert {"total_bytes", "used_bytes", "available_bytes", "swap_total_bytes", "swap_used_bytes"} <= first["sample"][
        "memory"
    ].keys()
    assert {"mount", "total_bytes", "used_bytes", "read_bytes_per_s", "write_bytes_per_s"} <= first["sample"]["disks"][
        0
    ].keys()
    assert first["sample"]["net"][0].keys() >= {"name", "rx_bytes_per_s", "tx_bytes_per_s"}
    assert first["sample"]["gpus"][0].keys() >= {
        "index", "uuid", "name", "utilization_pct", "memory_total_bytes", "memory_used_bytes", "memory_free_bytes", "memory_reserved_bytes",
        "temperature_c", "power_w", "power_limit_w", "sm_clock_mhz", "fan_pct", "pstate", "throttle_reasons", "ecc_uncorrected", "pcie_gen",
        "pcie_width", "mig", "processes", "missing",
    }  # fmt: skip
    assert first["sample"]["versions"].keys() == {"driver", "cuda", "os", "kernel"}
    assert first["sample"]["processes"][0].keys() == {"pid", "user", "name", "cpu_pct", "rss_bytes"}
    assert second["sample"] is None
    assert second["link"]["cause"] == "refused"


def test_a_value_that_could_not_be_read_is_null_with_its_reason() -> None:
    value = export.snapshot(_fleet())["hosts"][0]["sample"]
    assert value["xid_events"] is None
    assert value["missing"]["xid_events"] == "denied"
    assert value["cpu"]["missing"] == {"per_core_pct": "error"}
    gone = value["gpus"][1]
    assert gone["temperature_c"] is None
    assert gone["missing"]["temperature_c"] == "gpu_lost"
    nulls = {name for name, item in gone.items() if item is None}
    assert nulls <= gone["missing"].keys()


def test_gpu_processes_stand_at_their_gpu() -> None:
    first, second = export.snapshot(_fleet())["hosts"][0]["sample"]["gpus"]
    assert [p["pid"] for p in first["processes"]] == [4001]
    assert second["processes"][0]["memory_bytes"] is None


def test_a_service_that_was_never_probed_says_so() -> None:
    states = {s["name"]: s for s in export.snapshot(_fleet())["hosts"][0]["services"]}
    assert states["ssh"]["state"] == "open"
    assert states["ssh"]["connect_ms"] == 1.25
    assert states["web"]["state"] == "not_probed"
    assert states["web"]["connect_ms"] is None


def test_infinities_and_nan_are_never_in_the_json() -> None:
    fleet = _fleet()
    fleet.ingest(
        "a", sample(1, gpus=(gpu(0, power_w=float("inf"), utilization_pct=float("nan")),)), clock.boot_s(), None
    )
    found = export.snapshot(fleet)["hosts"][0]["sample"]["gpus"][0]
    assert found["power_w"] is None
    assert found["utilization_pct"] is None


def test_prometheus_output_is_parsed_by_its_own_parser_and_has_no_line_for_the_unknown() -> None:
    families = {
        f.name: f for f in text_string_to_metric_families(exposition.prometheus(_plain(export.snapshot(_fleet()))))
    }
    temperatures = families["quarterdeck_dev_gpu_temp_celsius"].samples
    assert [(s.labels["gpu"], s.value) for s in temperatures] == [("0", 40.0)]
    missing = {
        (s.labels["gpu"], s.labels["field"]): s.labels["reason"] for s in families["quarterdeck_value_missing"].samples
    }
    assert missing[("1", "temperature_c")] == "gpu_lost"
    assert missing[("", "cpu.per_core_pct")] == "error"
    assert {s.labels["host"]: s.value for s in families["quarterdeck_up"].samples} == {"a": 1.0, "b": 0.0}
    assert [s.labels["service"] for s in families["quarterdeck_service_up"].samples] == ["ssh"]


def test_csv_has_one_value_a_line_with_its_age_or_its_reason() -> None:
    rows = list(csv.DictReader(io.StringIO(exposition.csv_text(_plain(export.snapshot(_fleet()))))))
    gone = [r for r in rows if r["object"] == "gpu" and r["name"] == "1" and r["field"] == "power_w"]
    assert gone[0]["value"] == ""
    assert gone[0]["missing"] == "gpu_lost"
    assert {r["value"] for r in rows if r["host"] == "b" and r["field"] == "state"} == {"unreachable"}


@pytest.mark.parametrize(
    ("greeting", "why"),
    [
        (None, "not_yet"),
        (
            hello(units=None, units_uptime_s=None, boot_id=None, missing={"units": "denied", "boot_id": "error"}),
            "denied",
        ),
        (hello(units=(), units_uptime_s=None, missing={"units_uptime_s": "error", "units.docker": "denied"}), "error"),
    ],
)
def test_nothing_of_a_sample_is_null_without_a_reason(greeting: Hello | None, why: str) -> None:
    fleet = Fleet([Host("a", "a")])
    if greeting is not None:
        fleet.set_hello("a", greeting)
    fleet.ingest("a", sample(0, xid_events=None, missing={"xid_events": "denied"}), clock.boot_s(), 0.002)
    (host,) = _plain(export.snapshot(fleet))["hosts"]
    found = host["sample"]
    nulls = {key for key, value in found.items() if value is None}
    nulls |= {f"versions.{key}" for key, value in found["versions"].items() if value is None}
    assert {"xid_events", "processes", "units_age_s"} <= nulls
    assert nulls <= found["missing"].keys()
    assert found["missing"]["units_age_s"] == why
    if greeting is not None and greeting.units is not None:
        assert found["missing"]["units.docker"] == "denied"


def test_units_have_the_age_of_their_asking() -> None:
    fleet = Fleet([Host("a", "a")])
    now = clock.boot_s()
    fleet.set_hello("a", hello(units=(Unit("docker", "web", "running", "Up"),), units_uptime_s=1000.0))
    fleet.ingest("a", sample(0, uptime_s=1060.0), now - 2.0, 0.0)
    (host,) = _plain(export.snapshot(fleet))["hosts"]
    assert host["sample"]["units"] == [{"kind": "docker", "name": "web", "state": "running", "detail": "Up"}]
    assert 62.0 <= host["sample"]["units_age_s"] <= 62.0 + (clock.boot_s() - now) + 0.1
    assert "units_age_s" not in host["sample"]["missing"]
