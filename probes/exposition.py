"""Snapshots in the text formats other tools read: Prometheus exposition and CSV.

Prometheus names follow DCGM's fields with base units in the name; a value that is missing has no line (a scraper then
sees its absence, never a 0), and one ``quarterdeck_value_missing`` line says why.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: snapshot field of a GPU -> metric name, meaning
_GPU: Final = {
    "utilization_pct": ("quarterdeck_dev_gpu_util_percent", "GPU utilisation (DCGM_FI_DEV_GPU_UTIL)"),
    "memory_total_bytes": ("quarterdeck_dev_fb_total_bytes", "Frame buffer memory in all (DCGM_FI_DEV_FB_TOTAL)"),
    "memory_used_bytes": ("quarterdeck_dev_fb_used_bytes", "Frame buffer memory used (DCGM_FI_DEV_FB_USED)"),
    "memory_free_bytes": ("quarterdeck_dev_fb_free_bytes", "Frame buffer memory free (DCGM_FI_DEV_FB_FREE)"),
    "memory_reserved_bytes": ("quarterdeck_dev_fb_reserved_bytes", "Reserved by driver (DCGM_FI_DEV_FB_RESERVED)"),
    "temperature_c": ("quarterdeck_dev_gpu_temp_celsius", "GPU temperature (DCGM_FI_DEV_GPU_TEMP)"),
    "power_w": ("quarterdeck_dev_power_usage_watts", "Power draw (DCGM_FI_DEV_POWER_USAGE)"),
    "power_limit_w": ("quarterdeck_dev_power_mgmt_limit_watts", "Power limit (DCGM_FI_DEV_POWER_MGMT_LIMIT)"),
    "sm_clock_mhz": ("quarterdeck_dev_sm_clock_megahertz", "SM clock (DCGM_FI_DEV_SM_CLOCK)"),
    "memory_clock_mhz": ("quarterdeck_dev_mem_clock_megahertz", "Memory clock (DCGM_FI_DEV_MEM_CLOCK)"),
    "fan_pct": ("quarterdeck_dev_fan_speed_percent", "Fan speed (DCGM_FI_DEV_FAN_SPEED)"),
    "ecc_uncorrected": (
        "quarterdeck_dev_ecc_dbe_volatile_errors",
        "Uncorrected ECC errors (DCGM_FI_DEV_ECC_DBE_VOL_TOTAL)",
    ),
    "pcie_gen": ("quarterdeck_dev_pcie_link_gen", "PCIe generation in use (DCGM_FI_DEV_PCIE_LINK_GEN)"),
    "pcie_width": ("quarterdeck_dev_pcie_link_width_lanes", "PCIe lanes in use (DCGM_FI_DEV_PCIE_LINK_WIDTH)"),
}
_GPU_LABELS: Final = ("host", "gpu", "uuid", "model")


class _SnapshotCollector:
    """Presents one snapshot object to prometheus_client."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self._hosts: list[dict[str, Any]] = snapshot["hosts"]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield _gauge("quarterdeck_up", "1 when the host streams now, else 0", self._up(), ("host", "state"))
        yield _gauge("quarterdeck_sample_age_seconds", "Age of the last sample", self._top("age_s"), ("host",))
        yield from self._host_metrics()
        for field, (name, text) in _GPU.items():
            yield _gauge(name, text, self._gpus(field), _GPU_LABELS)
        yield _gauge("quarterdeck_dev_xid_events", "XID errors in the kernel log", self._xids(), ("host",))
        yield _gauge(
            "quarterdeck_service_up",
            "1 open and not failing, else 0",
            self._services(),
            ("host", "service", "port", "state"),
        )
        yield _gauge(
            "quarterdeck_service_connect_seconds", "TCP connect time", self._connects(), ("host", "service", "port")
        )
        yield _gauge(
            "quarterdeck_value_missing",
            "A value that could not be read, and why",
            self._missing(),
            ("host", "gpu", "field", "reason"),
        )

    def _up(self) -> Iterator[tuple[tuple[str, ...], float]]:
        for host in self._hosts:
            state = host["link"]["state"]
            yield (host["id"], state), 1.0 if state == "live" else 0.0

    def _sampled(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for host in self._hosts:
            if host["sample"] is not None:
                yield host["id"], host["sample"]

    def _top(self, *path: str) -> Iterator[tuple[tuple[str, ...], float | None]]:
        for name, sample in self._sampled():
            value: Any = sample
            for step in path:
                value = value[step]
            yield (name,), value

    def _host_metrics(self) -> Iterator[GaugeMetricFamily]:
        one = ("host",)
        yield _gauge("quarterdeck_cpu_utilization_percent", "CPU, all cores", self._top("cpu", "utilization_pct"), one)
        yield _gauge("quarterdeck_load1", "Load over 1 minute", self._top("cpu", "load1"), one)
        yield _gauge("quarterdeck_memory_total_bytes", "Memory in all", self._top("memory", "total_bytes"), one)
        yield _gauge("quarterdeck_memory_used_bytes", "Total minus available", self._top("memory", "used_bytes"), one)
        yield _gauge("quarterdeck_uptime_seconds", "Since boot", self._top("uptime_s"), one)
        yield _gauge("quarterdeck_agent_cpu_percent", "The agent, of one core", self._top("agent", "cpu_pct"), one)
        yield _gauge("quarterdeck_agent_resident_bytes", "The agent", self._top("agent", "rss_bytes"), one)
        disk, nic = ("host", "mount"), ("host", "interface")
        for field, name in (
            ("total_bytes", "quarterdeck_disk_total_bytes"),
            ("used_bytes", "quarterdeck_disk_used_bytes"),
            ("read_bytes_per_s", "quarterdeck_disk_read_bytes_per_second"),
            ("write_bytes_per_s", "quarterdeck_disk_write_bytes_per_second"),
        ):
            yield _gauge(name, f"Disk, {field}", self._rows("disks", "mount", field), disk)
        for field, name in (
            ("rx_bytes_per_s", "quarterdeck_network_receive_bytes_per_second"),
            ("tx_bytes_per_s", "quarterdeck_network_transmit_bytes_per_second"),
        ):
            yield _gauge(name, f"Network, {field}", self._rows("net", "name", field), nic)

    def _rows(self, table: str, key: str, field: str) -> Iterator[tuple[tuple[str, ...], float | None]]:
        for name, sample in self._sampled():
            for row in sample[table]:
                yield (name, row[key]), row[field]

    def _gpus(self, field: str) -> Iterator[tuple[tuple[str, ...], float | None]]:
        for name, sample in self._sampled():
            for gpu in sample["gpus"]:
                yield (name, str(gpu["index"]), gpu["uuid"] or "", gpu["name"] or ""), gpu[field]

    def _xids(self) -> Iterator[tuple[tuple[str, ...], float | None]]:
        for name, sample in self._sampled():
            events = sample["xid_events"]
            yield (name,), None if events is None else float(len(events))

    def _services(self) -> Iterator[tuple[tuple[str, ...], float | None]]:
        for host in self._hosts:
            for service in host["services"]:
                state = service["state"]
                up = None if state == "not_probed" else float(state == "open" and service["health"] != "failing")
                yield (host["id"], service["name"], str(service["port"]), state), up

    def _connects(self) -> Iterator[tuple[tuple[str, ...], float | None]]:
        for host in self._hosts:
            for service in host["services"]:
                ms = service["connect_ms"]
                yield (host["id"], service["name"], str(service["port"])), None if ms is None else ms / 1000

    def _missing(self) -> Iterator[tuple[tuple[str, ...], float | None]]:
        for name, sample in self._sampled():
            for part in ("", "cpu", "memory", "agent"):
                where = sample[part] if part else sample
                for field, reason in where["missing"].items():
                    yield (name, "", f"{part}.{field}".lstrip("."), reason), 1.0
            for gpu in sample["gpus"]:
                for field, reason in gpu["missing"].items():
                    yield (name, str(gpu["index"]), field, reason), 1.0
            for table, key in (("disks", "mount"), ("net", "name")):
                for row in sample[table]:
                    for field, reason in row["missing"].items():
                        yield (name, "", f"{table}.{row[key]}.{field}", reason), 1.0


def _gauge(
    name: str, text: str, rows: Iterable[tuple[tuple[str, ...], float | None]], labels: tuple[str, ...]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    seen: set[tuple[str, ...]] = set()
    for values, value in rows:
        # a host that says the same thing twice must not spoil the page: a scraper refuses all of it then
        if value is not None and values not in seen:
            seen.add(values)
            family.add_metric(list(values), value)
    return family


def prometheus(snapshot: dict[str, Any]) -> str:
    """A snapshot as Prometheus text exposition."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_SnapshotCollector(snapshot))
    return generate_latest(registry).decode()


def csv_text(snapshot: dict[str, Any]) -> str:
    """A snapshot as CSV, one value a line: host, object, name, field, value, reason when there is none, age."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("host", "object", "name", "field", "value", "missing", "age_s"))
    for row in _rows(snapshot):
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _cell(value: object) -> object:
    """A text that a spreadsheet would run as a formula is marked as text: it may come from a hostile host."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _rows(snapshot: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    for host in snapshot["hosts"]:
        yield host["id"], "link", "", "state", host["link"]["state"], host["link"]["cause"] or "", ""
        if host["sample"] is not None:
            yield from _sample_rows(host["id"], host["sample"])
        for service in host["services"]:
            for field in ("state", "connect_ms", "health", "detail"):
                value = service[field]
                shown = "" if value is None else value
                yield host["id"], "service", service["name"], field, shown, "", service["age_s"]


def _sample_rows(host_id: str, sample: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    age = sample["age_s"]
    for part in ("cpu", "memory", "agent", "versions"):
        yield from _object_rows(host_id, part, "", sample[part], age)
    yield from _object_rows(host_id, "host", "", {"uptime_s": sample["uptime_s"], "mode": sample["mode"]}, age)
    for table, key in (("gpus", "index"), ("disks", "mount"), ("net", "name")):
        for row in sample[table]:
            yield from _object_rows(host_id, table.rstrip("s"), str(row[key]), row, age)


def _object_rows(host_id: str, kind: str, name: str, row: dict[str, Any], age: float) -> Iterator[tuple[object, ...]]:
    missing: dict[str, str] = row.get("missing", {})
    for field, value in row.items():
        if field == "missing" or isinstance(value, (list, dict)):
            continue
        yield (host_id, kind, name, field, "" if value is None else value, missing.get(field, ""), age)
