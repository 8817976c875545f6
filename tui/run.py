"""Starting the dashboard: limits, the backend behind the first paint, and the way out."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from probes.fleet import Fleet
from probes.limits import raise_fd_limit
from probes.model import Severity
from tui.app import QuarterdeckApp
from tui.hangup import ended_by_hangup
from tui.perf import measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.config import Settings
    from probes.investigate import World
    from tui.backend import Backend
    from tui.bench_desk import BenchWork


#: how long the threads that read keys and write the screen wait for a busy loop
SWITCH_S: Final = 0.0001


def run_dashboard(settings: Settings, fleet: Fleet, reload_settings: Callable[[], Settings] | None = None) -> int:
    """Show the dashboard until the person leaves; returns the exit code."""
    with ended_by_hangup():
        return make_app(settings, fleet, reload_settings).run() or 0


def run_demo(hosts: int, seed: int) -> int:
    """Start a simulated fleet, show the dashboard on it, and end both together."""
    with ended_by_hangup():
        return asyncio.run(_demo(hosts, seed))


async def _demo(hosts: int, seed: int) -> int:
    from probes.demo.launch import start_demo  # noqa: PLC0415 - only the demo needs it

    async with await start_demo(hosts, seed) as demo:
        settings = demo.settings
        # what is measured on hosts that do not exist is gone with them
        with tempfile.TemporaryDirectory(prefix="quarterdeck-demo-") as folder:
            fleet = Fleet(settings.hosts)
            app = make_app(settings, fleet, lambda: settings, simulated=True, world=demo.world, results=Path(folder))
            return await app.run_async() or 0


def make_app(
    settings: Settings,
    fleet: Fleet,
    reload_settings: Callable[[], Settings] | None,
    *,
    simulated: bool = False,
    world: Callable[[], World] | None = None,
    results: Path | None = None,
) -> QuarterdeckApp:
    """The application on a real supervisor. ``results``: where benchmarks are stored; None: the user's state folder."""
    # Textual reads keys and writes the screen in threads of their own, which otherwise get their turn from a busy loop
    # only after 5 ms: the first paint would come 25 ms late
    sys.setswitchinterval(SWITCH_S)
    warning = raise_fd_limit(len(settings.hosts))
    if warning is not None:
        fleet.event(None, Severity.WARNING, "limits", warning)

    async def backend() -> Backend:
        gc.enable()  # off since before the imports, for a quick first paint
        # asyncssh takes 350 ms to import: in a thread, while the first screen is already there
        module: Any = await asyncio.to_thread(importlib.import_module, "probes.hosts.supervisor")
        return measured(module.Supervisor(app.settings, fleet, app.asker, world=world, first=app.first), fleet)

    def bench_work() -> BenchWork:
        from tui.bench_work import EngineWork  # noqa: PLC0415 - after first paint

        return EngineWork(lambda: app.settings, fleet, results)

    app = QuarterdeckApp(
        settings, fleet, backend, simulated=simulated, reload_settings=reload_settings, bench_work=bench_work
    )
    return app
