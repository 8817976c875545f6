"""Everything that can be learnt of a host from outside, at once and within a few seconds, as evidence for triage.

Names, echo, reverse names, every port, the hops of silent ports and the control probes run side by side; each part is
told as soon as it is there. Nothing is concluded here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self

from probes.model import Service, ServiceKind
from probes.reach.ask import Asker
from probes.reach.budget import Budget
from probes.reach.gate import places
from probes.reach.names import Reverse
from probes.reach.openings import Openings
from probes.reach.outside import Diagnosis, Options, Part, Tools
from probes.reach.port import PortProber
from probes.reach.resolve import Resolver
from probes.reach.route import ConfiguredRoutes
from probes.reach.tunnel import NoTunnels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from probes.evidence import Evidence
    from probes.model import Host
    from probes.reach.route import Routes
    from probes.reach.trust import Trust
    from probes.reach.tunnel import Tunnels

__all__ = ["Budget", "Gatherer", "Options", "Part", "service_for"]

_SSH_PORT: Final = 22
#: hosts whose probing begins at once; the others follow as these end
_HOSTS_AT_ONCE: Final = 256


class Gatherer:
    """Gathers evidence; ``async with`` owns its threads.

    Args:
        resolver: names to addresses, shared with others; None: one of its own.
        routes: the way to a host, ssh_config included; None: as the configuration alone says it.
        trust: what known_hosts says; None: host keys are shown and not checked.
        tunnels: channels from jump hosts; None: hosts behind one are *not probed*.
        reverse: addresses to names; None: the system's.
        budget: time limits.
        sockets: how many may be open at once; None: what the limit on file descriptors allows.
    """

    def __init__(
        self,
        resolver: Resolver | None = None,
        *,
        routes: Routes | None = None,
        trust: Trust | None = None,
        tunnels: Tunnels | None = None,
        reverse: Reverse | None = None,
        budget: Budget | None = None,
        sockets: int | None = None,
    ) -> None:
        self._own_resolver = Resolver() if resolver is None else None
        self._asker = Asker(budget or Budget(), trust)
        self._openings = Openings(tunnels or NoTunnels())
        bound = asyncio.Semaphore(sockets or places(0))
        self._tools = Tools(
            budget or Budget(),
            resolver or self._own_resolver or Resolver(),
            routes or ConfiguredRoutes(),
            reverse or Reverse(),
            PortProber(budget or Budget(), self._asker, self._openings, bound),
            bound,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the threads, and of tunnels that are still being opened."""
        self._asker.close()
        self._tools.reverse.close()
        await self._openings.close()
        if self._own_resolver is not None:
            await self._own_resolver.close()

    async def probe_host(
        self, host: Host, options: Options | None = None, on_part: Callable[[Part], None] = lambda _: None
    ) -> Evidence:
        """Probe one host, known to the configuration or not. Cancelled, it leaves no task and no socket.

        Args:
            host: whom to probe.
            options: which ports, which controls.
            on_part: told each part as it arrives. An open port is told twice: when it opens, and when its service has
                been asked.

        Returns:
            Evidence with ports (in the order of the services), echo, names, controls, and notes.
        """
        return await Diagnosis(self._tools, host, options or Options(), on_part).run()

    async def probe_fleet(
        self,
        hosts: Iterable[Host],
        options: Callable[[Host], Options] | None = None,
        on_part: Callable[[str, Part], None] = lambda _, __: None,
    ) -> dict[str, Evidence]:
        """Probe many hosts at once; by host id. ``options`` says what each is asked; hops are stepped once a host."""
        turns = asyncio.Semaphore(_HOSTS_AT_ONCE)

        async def one(host: Host) -> tuple[str, Evidence]:
            wanted = options(host) if options is not None else Options(steps=1)
            async with turns:
                return host.id, await self.probe_host(host, wanted, lambda part: on_part(host.id, part))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(host)) for host in hosts]
        return dict(task.result() for task in tasks)


def service_for(port: int) -> Service:
    """A service for a bare port: SSH for 22, else plain TCP, since nothing more is known of it."""
    if port == _SSH_PORT:
        return Service("ssh", port, ServiceKind.SSH)
    return Service(f"tcp-{port}", port)
