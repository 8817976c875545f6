"""Running a supervisor in a test, and waiting for conditions instead of for luck."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from probes.config import Intervals, Settings, Ssh
from probes.fleet import Fleet, HostRecord
from probes.hosts.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from probes.hosts.asker import Asker
    from probes.model import Host

#: short limits: a test of a failure should not take as long as the failure
QUICK = Intervals(
    sample_s=0.2,
    heartbeat_s=0.5,
    stale_s=1.0,
    resolve_s=2.0,
    tcp_s=1.0,
    banner_s=1.0,
    kex_s=3.0,
    auth_s=5.0,
    bootstrap_s=4.0,
    first_sample_s=4.0,
    silence_s=2.0,
    backoff_max_s=1.0,
    services_s=1.0,
)


def settings_for(*hosts: Host, intervals: Intervals = QUICK, **ssh: Any) -> Settings:
    ssh_settings = Ssh(**{"config_files": (), "known_hosts": (), "agent": False, **ssh})
    return Settings(hosts=hosts, intervals=intervals, ssh=ssh_settings)


class Watch:
    def __init__(self, settings: Settings, asker: Asker | None = None) -> None:
        self.settings = settings
        self.fleet = Fleet(settings.hosts)
        self.supervisor = Supervisor(settings, self.fleet, asker)
        self.task: asyncio.Task[None] | None = None

    def record(self, host_id: str | None = None) -> HostRecord:
        return self.fleet.hosts[host_id] if host_id else next(iter(self.fleet.hosts.values()))

    async def until(
        self, condition: Callable[[HostRecord], Any], host_id: str | None = None, limit_s: float = 15.0
    ) -> HostRecord:
        """Wait until the condition holds for the host; fails with what is known of it."""
        loop = asyncio.get_running_loop()
        end = loop.time() + limit_s
        while not condition(self.record(host_id)):
            assert self.task is not None
            if self.task.done():
                self.task.result()
            if loop.time() > end:
                record = self.record(host_id)
                raise AssertionError(
                    f"not within {limit_s} s; link={msgspec.to_builtins(record.link)} samples={record.samples} "
                    f"bad={record.bad_lines} {record.bad_text!r} note={record.note!r} events={[e.text for e in self.fleet.events]}"
                )
            await asyncio.sleep(0.02)
        return self.record(host_id)

    def apply(self, **over: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, **over)
        self.supervisor.apply(self.settings)


@asynccontextmanager
async def watching(settings: Settings, asker: Asker | None = None) -> AsyncIterator[Watch]:
    watch = Watch(settings, asker)
    watch.task = asyncio.create_task(watch.supervisor.run())
    try:
        yield watch
    finally:
        watch.task.cancel()
        await asyncio.gather(watch.task, return_exceptions=True)
