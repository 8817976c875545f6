"""What a screen shows, as text; golden files of it; a host with history on a clock that stands still."""

from __future__ import annotations

import asyncio
import difflib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from probes.model import (
    GpuProcess,
    Health,
    Mig,
    PortState,
    Process,
    Processes,
    ServiceState,
    Unit,
    Xid,
)
from tests.support.fleets import GIB, fleet_of, gpu, hello, sample, settings_of
from tui.app import QuarterdeckApp

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.pilot import Pilot

    from probes.fleet import Fleet

#: the boot clock and the wall clock of the tests
NOW_S = 100_000.0
WALL_S = 1_700_000_000.0
SNAPSHOTS = Path(__file__).resolve().parent.parent / "snapshot"
#: names that try to be something else: markup, escapes (already cleaned on the way in), wide, combining, right to left
HOSTILE = (
    "[/kworker]",
    "[red]x[/red]",
    "[kworker/0:1]",
    "[@click=app.quit]now[/]",
    "日本語プロセス",
    "e\u0301e\u0301\u0323 combining",
    "עברית عربى",
    "👩‍🚀❤️🇩🇪 flags",
    "x" * 300,
    "$(reboot)\\",
    "",
)


def screen_text(app: QuarterdeckApp) -> str:
    """What is on the screen, line by line, without trailing blanks."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


def screen_widths(app: QuarterdeckApp) -> set[int]:
    """Cell widths of the lines on the screen: one value when nothing is out of line."""
    return {strip.cell_length for strip in app.screen._compositor.render_strips()}


async def until(pilot: Pilot[Any], condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, by events; fails with ``what`` and the screen after 10 s."""
    try:
        async with asyncio.timeout(10):
            while not condition():
                await pilot.pause(0.02)
    except TimeoutError:
        raise AssertionError(f"not within 10 s: {what}\n{screen_text(pilot.app)}") from None


async def until_text(pilot: Pilot[Any], text: str) -> str:
    """Wait for a text on the screen; returns the screen."""
    app: Any = pilot.app
    await until(pilot, lambda: text in screen_text(app), repr(text))
    return screen_text(app)


async def golden(pilot: Pilot[Any], name: str) -> None:
    """Compare the screen, its line of keys apart, with ``tests/snapshot/NAME.txt``, once it has settled.

    QUARTERDECK_UPDATE_SNAPSHOTS=1 writes the file instead; read what it wrote.
    """
    path = SNAPSHOTS / f"{name}.txt"
    app: Any = pilot.app

    def drawn() -> list[str]:
        return screen_text(app).split("\n")[:-1]

    if os.environ.get("QUARTERDECK_UPDATE_SNAPSHOTS") == "1":
        await pilot.pause(2)
        path.write_text("\n".join(drawn()) + "\n", encoding="utf-8")
        return
    assert path.exists(), f"{path.name} is missing: run with QUARTERDECK_UPDATE_SNAPSHOTS=1 and read what it wrote"
    kept = path.read_text(encoding="utf-8").split("\n")[:-1]
    for _ in range(150):
        if drawn() == kept:
            return
        await pilot.pause(0.02)
    changes = "\n".join(difflib.unified_diff(kept, drawn(), "kept", "drawn", lineterm="", n=0))
    raise AssertionError(f"differs from {path.name}; is that what you wanted?\n{changes}")


def wave(step: int, shift: float) -> float:
    """A curve between 0 and 1."""
    return 0.5 + 0.5 * math.sin(step / 20 + shift)


def feed(fleet: Fleet, host_id: str, gpus: int, *, cores: int = 16, samples: int = 240, end_s: float = NOW_S) -> None:
    """Fill a host's history with curves, the last sample half a second before ``end_s``."""
    for step in range(samples):
        at_s = end_s - 0.5 - (samples - 1 - step)
        cards = tuple(
            gpu(
                index,
                utilization_pct=round(100 * wave(step, index)),
                memory_used_bytes=int((5 + 70 * wave(step // 4, index)) * GIB),
                memory_free_bytes=int((75 - 70 * wave(step // 4, index)) * GIB),
                temperature_c=round(45 + 30 * wave(step // 2, index)),
                power_w=round(100 + 580 * wave(step, index)),
            )
            for index in range(gpus)
        )
        base = sample(0, seq=step, uptime_s=86400.0 * 12 + step)
        per_core = tuple(float((core * 37 + step) % 101) for core in range(cores))
        cpu = replace(base.cpu, count=cores, utilization_pct=20 + 60 * wave(step, 0), per_core_pct=per_core)
        missing = {} if gpus else {"gpus": "unsupported", "xid_events": "unsupported"}
        xid = base.xid_events if gpus else None
        fleet.ingest(host_id, replace(base, gpus=cards, cpu=cpu, missing=missing, xid_events=xid), at_s, 0.012)


def busy_fleet(gpus: int = 8, hosts: int = 3, **over: Any) -> Fleet:
    """Hosts with ``gpu-000`` full of history and processes, on the tests' clock."""
    fleet = fleet_of(hosts, gpus, NOW_S - 240)
    feed(fleet, "gpu-000", gpus, **over)
    for host_id in fleet.hosts:
        fleet.set_hello(host_id, hello(hostname=host_id, mode="python+nvml" if gpus else "python"))
    for state in tuple(fleet.hosts["gpu-000"].services.values()):
        fleet.set_service("gpu-000", replace(state, at_boot_s=NOW_S - 3))
    on_gpu = tuple(GpuProcess(index, 4001 + index, "alice", "python3", (20 + index) * GIB) for index in range(gpus))
    top = (
        Process(4001, "alice", "python3 train.py --config big.yaml", 780.0, 12 * GIB),
        Process(17, "root", "[kworker/0:1]", 3.0, 0),
        Process(18, None, "[/kworker]", None, None),
    )
    fleet.set_processes("gpu-000", Processes(312, top, on_gpu if gpus else ()), NOW_S - 2)
    return fleet


def hostile_fleet() -> Fleet:
    """A host on which every text and value is as unpleasant as the wire allows."""
    fleet = busy_fleet(gpus=4)
    record = fleet.hosts["gpu-000"]
    assert record.sample is not None
    cards = (
        gpu(0, name=HOSTILE[1], throttle_reasons=("hw_thermal_slowdown", "sw_power_cap"), ecc_uncorrected=3),
        gpu(1, name=HOSTILE[4], temperature_c=97.0, mig=(Mig(0, None, HOSTILE[5], 10 * GIB, None),)),
        gpu(2, name=None, utilization_pct=None, missing={"name": "error", "utilization_pct": "denied"}),
        gpu(3, utilization_pct=0.0, power_w=None, power_limit_w=None, missing={"power_w": "timeout"}),
    )
    xids = (Xid(100.0, "0000:3b:00", 79, HOSTILE[1]), Xid(86400.0, "0000:af:00", 31, HOSTILE[7]))
    last = replace(record.sample, gpus=cards, xid_events=xids, seq=999)
    fleet.ingest("gpu-000", last, NOW_S - 0.2, None)
    top = tuple(Process(i, HOSTILE[-1 - i], name, float(i), i * GIB) for i, name in enumerate(HOSTILE))
    on_gpu = tuple(GpuProcess(index, 3, HOSTILE[4], HOSTILE[6], GIB) for index in range(4))
    fleet.set_processes("gpu-000", Processes(9999, top, on_gpu), NOW_S - 1)
    units = tuple(Unit("docker", name, "Exited (1)", HOSTILE[7]) for name in HOSTILE[:4])
    fleet.set_hello("gpu-000", hello(hostname=HOSTILE[1], os=HOSTILE[4], kernel=HOSTILE[8], driver="1.2", units=units))
    fleet.set_service(
        "gpu-000",
        ServiceState("backend", 55433, PortState.OPEN, 3.0, Health.FAILING, HOSTILE[3] + HOSTILE[4] * 9, HOSTILE[5],
                     at_boot_s=NOW_S - 1),
    )  # fmt: skip
    fleet.set_bad_line("gpu-000", HOSTILE[1])
    fleet.set_note("gpu-000", HOSTILE[6])
    return fleet


def app_of(fleet: Fleet, **over: Any) -> QuarterdeckApp:
    """The application on the tests' clock, in UTC, drawing Unicode unless told otherwise."""
    over.setdefault("ascii_only", False)
    return QuarterdeckApp(settings_of(fleet), fleet, utc=True, boot_s=lambda: NOW_S, wall_s=lambda: WALL_S, **over)
