"""Reading nvidia-smi: cells, rows, lists, tables and reports of old and new drivers, and real captures."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from probes.hosts import agent, smi, smi_text

if TYPE_CHECKING:
    from probes.model import Gpu

MIB = 1 << 20


# --- cells ---


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[N/A]", "unsupported"),
        ("N/A", "unsupported"),
        ("[Not Supported]", "unsupported"),
        ("[Requested functionality has been deprecated]", "unsupported"),
        ("Not available in WDDM driver model", "unsupported"),
        ("4294967295", "unsupported"),
        ("[Unknown Error]", "error"),
        ("ERR!", "error"),
        ("[GPU requires reset]", "error"),
        ("", "error"),
        ("garbage", "error"),
        ("12 apples", "error"),
        ("-5 MiB", "error"),
        ("1e999", "error"),
        ("nan", "error"),
        ("inf", "error"),
        ("٣", "error"),
        ("[GPU is lost]", "gpu_lost"),
        ("[Insufficient Permissions]", "denied"),
        ("[Timeout]", "timeout"),
    ],
)
def test_a_cell_without_a_number_is_a_reason_never_0(text: str, reason: str) -> None:
    assert smi.MEMORY.read(text) == (None, reason)


@pytest.mark.parametrize(
    ("number", "text", "value"),
    [
        (smi.MEMORY, "81559 MiB", 81559 * MIB),
        (smi.MEMORY, "81559", 81559 * MIB),
        (smi.MEMORY, "4095 MB", 4095 * MIB),  # what drivers before 2014 called a MiB
        (smi.MEMORY, "2 GiB", 2048 * MIB),
        (smi.MEMORY, "0 MiB", 0),
        (smi.PERCENT, "100 %", 100.0),
        (smi.PERCENT, "0", 0.0),
        (smi.FAN, "110 %", 110.0),
        (smi.POWER, "295.01 W", 295.01),
        (smi.CLOCK, "1980 MHz", 1980.0),
        (smi.CELSIUS, "-8 C", -8.0),
        (smi.PCIE_WIDTH, "16x", 16),
    ],
)
def test_numbers_with_and_without_units(number: smi.Number, text: str, value: float) -> None:
    assert number.read(text) == (value, None)


@pytest.mark.parametrize(
    ("number", "text"), [(smi.PERCENT, "101"), (smi.PCIE_GEN, "0"), (smi.PID, "0"), (smi.POWER, "5 MHz")]
)
def test_numbers_out_of_bounds_are_errors(number: smi.Number, text: str) -> None:
    assert number.read(text) == (None, "error")


def test_the_unit_of_the_header_counts_where_the_cell_has_none() -> None:
    assert smi.parse_gpus("index, name, memory.used [GiB]\n0, X, 3\n")[0].memory_used_bytes == 3072 * MIB


# --- rows of --query-gpu ---


def test_columns_that_were_not_asked_for_are_unsupported() -> None:
    (gpu,) = smi.parse_gpus("index, uuid, name\n5, GPU-12ab, Some GPU\n")
    assert (gpu.index, gpu.uuid, gpu.name) == (5, "GPU-12ab", "Some GPU")
    assert gpu.missing == dict.fromkeys(agent.GPU_FIELDS, "unsupported")


def test_rows_without_a_header_need_the_query() -> None:
    assert smi.parse_gpus("0, GPU-1, A100, 50\n") == ()
    (gpu,) = smi.parse_gpus("0, GPU-1, A100, 50\n", smi.columns_of("index,uuid,name,utilization.gpu"))
    assert (gpu.name, gpu.utilization_pct) == ("A100", 50.0)


def test_a_comma_in_a_name_stays_in_the_name() -> None:
    (gpu,) = smi.parse_gpus("index, name, uuid, utilization.gpu [%]\n0, Tesla, the, First, GPU-1, 7 %\n")
    assert (gpu.name, gpu.uuid, gpu.utilization_pct) == ("Tesla, the, First", "GPU-1", 7.0)


def test_a_lost_gpu_has_no_values_even_where_some_cells_hold_some() -> None:
    (gpu,) = smi.parse_gpus("index, name, memory.total [MiB], power.draw [W]\n2, H100, 81559 MiB, [GPU is lost]\n")
    assert (gpu.index, gpu.name) == (2, "H100")
    assert gpu.memory_total_bytes is None
    assert {gpu.missing[field] for field in agent.GPU_FIELDS} == {"gpu_lost"}


def test_the_best_column_that_has_a_value_is_taken() -> None:
    header = "index, name, power.draw [W], power.draw.instant [W], power.limit [W], enforced.power.limit [W]\n"
    (gpu,) = smi.parse_gpus(header + "0, X, [N/A], 55.50 W, 300.00 W, 250.00 W\n")
    assert (gpu.power_w, gpu.power_limit_w) == (55.5, 250.0)
    (gpu,) = smi.parse_gpus(header + "0, X, [Unknown Error], [N/A], 300.00 W, [N/A]\n")
    assert (gpu.power_w, gpu.power_limit_w) == (None, 300.0)
    assert gpu.missing["power_w"] == "error"


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("0x0000000000000000", ()),
        ("0x0000000000000001", ("gpu_idle",)),
        ("0x0000000000000048", ("hw_slowdown", "hw_thermal_slowdown")),
        ("0x0000000000000400", ("bit_10",)),
    ],
)
@pytest.mark.parametrize("column", ["clocks_event_reasons.active", "clocks_throttle_reasons.active"])
def test_throttle_masks(column: str, cell: str, names: tuple[str, ...]) -> None:
    assert smi.parse_gpus(f"index, name, {column}\n0, X, {cell}\n")[0].throttle_reasons == names


def test_single_throttle_columns_do_without_a_mask_but_not_with_an_unknown_one() -> None:
    header = "index, name, clocks_throttle_reasons.gpu_idle, clocks_throttle_reasons.sw_power_cap\n"
    assert smi.parse_gpus(header + "0, X, Not Active, Active\n")[0].throttle_reasons == ("sw_power_cap",)
    (gpu,) = smi.parse_gpus(header + "0, X, Not Active, [N/A]\n")
    assert (gpu.throttle_reasons, gpu.missing["throttle_reasons"]) == (None, "unsupported")


@pytest.mark.parametrize(
    "line",
    [
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
        "Unable to determine the device handle for GPU0000:3B:00.0: GPU is lost.  Reboot the system to recover this GPU",
        "No devices were found",
        "",
        "a, b",
    ],
)
def test_messages_are_no_rows(line: str) -> None:
    assert smi.parse_gpus(f"index, uuid, name\n{line}\n") == ()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.", "gpu_lost"),
        ("Failed to initialize NVML: Insufficient Permissions", "denied"),
        ("Failed to initialize NVML: Driver/library version mismatch", "error"),
        ("Failed to initialize NVML: Unknown Error", "error"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "error"),
        ("No devices were found", "error"),
        ("0, GPU-1, H100", None),
    ],
)
def test_what_a_message_says(line: str, reason: str | None) -> None:
    assert smi.diagnose(line) == reason


# --- processes, lists, tables ---


def test_compute_apps() -> None:
    text = """gpu_uuid, pid, process_name, used_gpu_memory [MiB]
GPU-1, 4711, /opt/a, b and c, 512 MiB
GPU-1, 4712, [Insufficient Permissions], [Insufficient Permissions]
GPU-2, x, broken, 1 MiB
No running processes found
"""
    first, second = smi.parse_apps(text)
    assert (first.gpu, first.pid, first.name, first.memory_bytes) == ("GPU-1", 4711, "/opt/a, b and c", 512 * MIB)
    assert (second.name, second.memory_bytes, second.memory_reason) == (None, None, "denied")


def test_the_list_with_mig() -> None:
    text = """GPU 0: A100-SXM4-40GB (UUID: GPU-5d5ba0d6)
  MIG 1g.5gb      Device  0: (UUID: MIG-GPU-5d5ba0d6/7/0)
  MIG 1g.5gb Device 1: (UUID: MIG-aaaa)
GPU 1: NVIDIA H100 (UUID: GPU-ffff)
Unable to determine the device handle for gpu 0000:3B:00.0: GPU is lost.
"""
    first, second = smi_text.parse_list(text)
    assert (first.index, first.name, first.uuid) == (0, "A100-SXM4-40GB", "GPU-5d5ba0d6")
    assert [(mig.index, mig.name, mig.uuid) for mig in first.mig] == [
        (0, "MIG 1g.5gb", "MIG-GPU-5d5ba0d6/7/0"),
        (1, "MIG 1g.5gb", "MIG-aaaa"),
    ]
    assert (second.index, second.mig) == (1, ())


OLD_TABLE = """+-----------------------------------------------------------------------------+
| NVIDIA-SMI 418.87.00    Driver Version: 418.87.00    CUDA Version: 10.1     |
|   0  Tesla V100-SXM2...  On   | 00000000:00:1E.0 Off |                    0 |
| N/A   42C    P0    38W / 300W |   1234MiB / 16130MiB |      0%      Default |
+-----------------------------------------------------------------------------+
| Processes:                                                       GPU Memory |
|  GPU       PID   Type   Process name                             Usage      |
|=============================================================================|
|    0     12345      C   python train.py                             1223MiB |
|    0       999    C+G   ...two  words in it                             N/A |
+-----------------------------------------------------------------------------+
"""
NEW_TABLE = """| NVIDIA-SMI 610.62                 KMD Version: 610.62        CUDA UMD Version: 13.3     |
| Processes:                                                                              |
|    0   N/A  N/A           23988    C+G   ...t\\Edge\\Application\\msedge.exe      N/A      |
|    0   N/A  N/A           17648    C+G   ...IA App\\CEF\\NVIDIA Overlay          N/A      |
|    0   N/A  N/A              77      C   [Insufficient Permissions]   [Insufficient Permissions] |
"""


def test_the_table_of_an_old_driver() -> None:
    table = smi_text.parse_table(OLD_TABLE)
    assert (table.driver, table.cuda) == ("418.87.00", "10.1")
    first, second = table.processes
    assert (first.gpu, first.pid, first.name, first.memory_bytes) == (0, 12345, "python train.py", 1223 * MIB)
    assert (second.pid, second.memory_bytes, second.memory_reason) == (999, None, "unsupported")


def test_the_table_of_a_new_driver_names_its_versions_otherwise() -> None:
    table = smi_text.parse_table(NEW_TABLE)
    assert (table.driver, table.cuda) == ("610.62", "13.3")
    assert [(app.pid, app.name, app.memory_reason) for app in table.processes] == [
        (23988, "...t\\Edge\\Application\\msedge.exe", "unsupported"),
        (17648, "...IA App\\CEF\\NVIDIA Overlay", "unsupported"),
        (77, None, "denied"),
    ]


# --- reports (-q) ---

OLD_REPORT = """
==============NVSMI LOG==============

Timestamp                           : Thu Sep  5 10:00:00 2019
Driver Version                      : 418.87.00
CUDA Version                        : 10.1

Attached GPUs                       : 2
GPU 00000000:00:1E.0
    Product Name                    : Tesla V100-SXM2-16GB
    GPU UUID                        : GPU-1111
    PCI
        GPU Link Info
            PCIe Generation
                Max                 : 3
                Current             : 3
            Link Width
                Max                 : 16x
                Current             : 8x
    Fan Speed                       : N/A
    Performance State               : P0
    Clocks Throttle Reasons
        Idle                        : Not Active
        SW Power Cap                : Active
        HW Slowdown                 : Active
            HW Thermal Slowdown     : Active
    FB Memory Usage
        Total                       : 16130 MiB
        Used                        : 1234 MiB
        Free                        : 14896 MiB
    Utilization
        Gpu                         : 93 %
        Memory                      : 50 %
    ECC Errors
        Volatile
            Single Bit
                Device Memory       : 3
                Total               : 3
            Double Bit
                Device Memory       : 0
                Total               : 0
        Aggregate
            Double Bit
                Total               : 9
    Temperature
        GPU Current Temp            : 42 C
        GPU Shutdown Temp           : 90 C
    Power Readings
        Power Management            : Supported
        Power Draw                  : 38.48 W
        Power Limit                 : 300.00 W
        Enforced Power Limit        : 290.00 W
    Clocks
        Graphics                    : 1300 MHz
        SM                          : 1312 MHz
        Memory                      : 877 MHz
    Max Clocks
        SM                          : 1530 MHz
    Processes
        Process ID                  : 12345
            Type                    : C
            Name                    : python train.py
            Used GPU Memory         : 1223 MiB
GPU 00000000:00:1F.0
    Product Name                    : Tesla V100-SXM2-16GB
    GPU UUID                        : GPU-2222
    Utilization
        Gpu                         : GPU is lost
"""


def test_the_report_of_an_old_driver() -> None:
    report = smi_text.parse_report(OLD_REPORT)
    assert (report.driver, report.cuda) == ("418.87.00", "10.1")
    gpu, lost = report.gpus
    assert (gpu.name, gpu.uuid, gpu.utilization_pct, gpu.temperature_c) == (
        "Tesla V100-SXM2-16GB",
        "GPU-1111",
        93.0,
        42.0,
    )
    assert (gpu.memory_total_bytes, gpu.memory_used_bytes, gpu.memory_free_bytes) == (
        16130 * MIB,
        1234 * MIB,
        14896 * MIB,
    )
    assert (gpu.power_w, gpu.power_limit_w, gpu.sm_clock_mhz, gpu.memory_clock_mhz) == (38.48, 290.0, 1312.0, 877.0)
    assert gpu.throttle_reasons == ("sw_power_cap", "hw_slowdown", "hw_thermal_slowdown")
    assert (gpu.ecc_corrected, gpu.ecc_uncorrected, gpu.pcie_gen, gpu.pcie_width, gpu.pstate) == (3, 0, 3, 8, "P0")
    assert gpu.missing == {"fan_pct": "unsupported", "memory_reserved_bytes": "unsupported"}
    assert (lost.index, lost.uuid, lost.missing["power_w"]) == (1, "GPU-2222", "gpu_lost")
    (process,) = report.processes
    assert (process.gpu, process.pid, process.name, process.memory_bytes) == (0, 12345, "python train.py", 1223 * MIB)


def test_new_reports_put_notes_behind_versions_and_move_the_power_limit() -> None:
    text = """
Driver Version                          : 610.62 [Deprecated; will be removed in CUDA 14.0. Use KMD Version instead]
CUDA Version                            : 13.3 [Deprecated; will be removed in CUDA 14.0.]
KMD Version                             : 610.62
GPU 00000000:0C:00.0
    Product Name                        : NVIDIA GeForce RTX 2080 SUPER
    GPU Power Readings
        Average Power Draw              : N/A
        Instantaneous Power Draw        : 37.21 W
        GPU Ceiling Power Limit
            Current Power Limit         : 250.00 W
    ECC Errors
        Volatile
            SRAM Correctable            : 1
            SRAM Uncorrectable Parity   : 2
            SRAM Uncorrectable SEC-DED  : 3
            DRAM Correctable            : 4
            DRAM Uncorrectable          : 5
"""
    report = smi_text.parse_report(text)
    assert (report.driver, report.cuda) == ("610.62", "13.3")
    (gpu,) = report.gpus
    assert (gpu.power_w, gpu.power_limit_w) == (37.21, 250.0)
    assert (gpu.ecc_corrected, gpu.ecc_uncorrected) == (5, 10)


def test_one_unknown_part_of_an_ecc_sum_makes_it_unknown() -> None:
    text = "GPU 00000000:0C:00.0\n    ECC Errors\n        Volatile\n            SRAM Uncorrectable : 0\n            DRAM Uncorrectable : N/A\n"
    (gpu,) = smi_text.parse_report(text).gpus
    assert (gpu.ecc_uncorrected, gpu.missing["ecc_uncorrected"]) == (None, "unsupported")


# --- real captures ---

#: field -> (column, what to multiply by), read by the test on its own
PLAIN = {
    "utilization_pct": ("utilization.gpu", 1.0),
    "memory_total_bytes": ("memory.total", MIB),
    "memory_used_bytes": ("memory.used", MIB),
    "memory_free_bytes": ("memory.free", MIB),
    "memory_reserved_bytes": ("memory.reserved", MIB),
    "temperature_c": ("temperature.gpu", 1.0),
    "power_w": ("power.draw", 1.0),
    "power_limit_w": ("enforced.power.limit", 1.0),
    "sm_clock_mhz": ("clocks.current.sm", 1.0),
    "memory_clock_mhz": ("clocks.current.memory", 1.0),
    "fan_pct": ("fan.speed", 1.0),
    "ecc_corrected": ("ecc.errors.corrected.volatile.total", 1.0),
    "ecc_uncorrected": ("ecc.errors.uncorrected.volatile.total", 1.0),
    "pcie_gen": ("pcie.link.gen.current", 1.0),
    "pcie_width": ("pcie.link.width.current", 1.0),
}


def captures() -> list[Path]:
    folder = os.environ.get("QUARTERDECK_CAPTURES")
    return sorted(Path(folder).rglob("*.txt")) if folder else []


def sections(text: str) -> list[tuple[str, str]]:
    """(title and command, body) of the parts of a capture, which stand between lines of 80 number signs."""
    parts = re.split(r"^#{80}\n((?:# .*\n)+)#{80}\n", text, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def compare(gpu: Gpu, header: str, line: str) -> int:
    names = [name.strip().split(" [")[0] for name in header.split(",")]
    row = dict(zip(names, [cell.strip() for cell in line.split(",")], strict=True))
    compared = 0
    for field, (column, factor) in PLAIN.items():
        if column not in row:
            continue
        digits = re.match(r"^(-?[\d.]+)( |$)", row[column])
        got = getattr(gpu, field)
        if digits is None:
            assert got is None, (field, row[column])
            assert field in gpu.missing
        else:
            assert got == pytest.approx(float(digits.group(1)) * factor), (field, row[column])
            assert field not in gpu.missing
        compared += 1
    assert gpu.uuid == row["uuid"]
    assert gpu.name == row["name"]
    assert gpu.index == int(row["index"])
    return compared


@pytest.mark.needs("captures")
def test_every_row_of_the_captures_is_read_as_it_stands() -> None:
    compared = 0
    for path in captures():
        for title, body in sections(path.read_text(encoding="utf-8", errors="replace")):
            lines = [line for line in body.splitlines() if line.strip()]
            if "--query-gpu=" not in title or not lines:
                continue
            gpus = smi.parse_gpus(body)
            assert len(gpus) == len(lines) - 1, path
            for gpu, line in zip(gpus, lines[1:], strict=True):
                compared += compare(gpu, lines[0], line)
    assert compared > 50


@pytest.mark.needs("captures")
def test_the_reports_and_tables_of_the_captures_agree_with_the_rows() -> None:
    agreed = 0
    for path in captures():
        parts = sections(path.read_text(encoding="utf-8", errors="replace"))
        listed: tuple[smi_text.Listed, ...] = ()
        for phase in ("idle", "load"):
            found = {title: body for title, body in parts if title.startswith(f"# {phase} ::")}
            report = next((smi_text.parse_report(body) for title, body in found.items() if "query (-q)" in title), None)
            rows = next((smi.parse_gpus(body) for title, body in found.items() if "--query-gpu=" in title), ())
            table = next(
                (smi_text.parse_table(body) for title, body in found.items() if "default table" in title), None
            )
            listed = next((smi_text.parse_list(body) for title, body in parts if "nvidia-smi -L" in title), listed)
            if report is None or not rows:
                continue
            for one, other, entry in zip(report.gpus, rows, listed, strict=True):
                for field in (
                    "uuid",
                    "name",
                    "memory_total_bytes",
                    "memory_reserved_bytes",
                    "power_limit_w",
                    "fan_pct",
                ):
                    assert getattr(one, field) == getattr(other, field), (path, field)
                assert (entry.uuid, entry.name) == (one.uuid, one.name)
                assert [mig.index for mig in one.mig] == [mig.index for mig in entry.mig]
                for field in agent.GPU_FIELDS:
                    assert (getattr(one, field) is None) == (field in one.missing)
            assert table is not None
            assert (table.driver, table.cuda) == (report.driver, report.cuda)
            assert {(app.pid, app.memory_bytes) for app in table.processes} == {
                (app.pid, app.memory_bytes) for app in report.processes
            }
            for (gpu, index), (total, used) in table.mig.items():
                mig = report.gpus[gpu].mig[index]
                assert (mig.memory_total_bytes, mig.memory_used_bytes) == (total, used)
            agreed += 1
    assert agreed >= 2


@pytest.mark.needs("captures")
def test_the_processes_of_the_captures_are_all_read() -> None:
    seen = 0
    for path in captures():
        for title, body in sections(path.read_text(encoding="utf-8", errors="replace")):
            if "--query-compute-apps=" not in title:
                continue
            lines = [line for line in body.splitlines() if line.strip()][1:]
            apps = smi.parse_apps(body)
            assert len(apps) == len(lines), path
            for app, line in zip(apps, lines, strict=True):
                assert f", {app.pid}, " in line
                assert app.name is None or app.name in line
                assert app.memory_bytes is None or f"{app.memory_bytes // MIB} MiB" in line
                seen += 1
    assert seen > 0
