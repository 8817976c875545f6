"""Starting the dashboard: limits, the backend behind the first paint, and the way out."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any

from probes.limits import raise_fd_limit
from probes.model import Severity
from tui.app import QuarterdeckApp

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.config import Settings
    from probes.fleet import Fleet
    from tui.backend import Backend


def run_dashboard(
    settings: Settings,
    fleet: Fleet,
    reload_settings: Callable[[], Settings] | None = None,
    *,
    simulated: bool = False,
) -> int:
    """Show the dashboard until the person leaves; returns the exit code."""
    warning = raise_fd_limit(len(settings.hosts))
    if warning is not None:
        fleet.event(None, Severity.WARNING, "limits", warning)

    async def backend() -> Backend:
        # asyncssh takes 350 ms to import: in a thread, while the first screen is already there
        module: Any = await asyncio.to_thread(importlib.import_module, "probes.hosts.supervisor")
        return module.Supervisor(settings, fleet, app.asker)

    app = QuarterdeckApp(settings, fleet, backend, simulated=simulated, reload_settings=reload_settings)
    return app.run() or 0
