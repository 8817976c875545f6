"""The fleet without a screen: run the supervisor until every host has answered or failed, or for as long as asked."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Self

from msgspec import Struct, structs

from probes import clock, export
from probes.fleet import Fleet
from probes.judge.condition import Condition, Level, condition
from probes.limits import raise_fd_limit
from probes.model import Event, Host, LinkState, PortState, Severity
from probes.reach.services import waits_for_tunnel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from probes.config import Settings
    from probes.evidence import Evidence, PairReach
    from probes.fleet import HostRecord
    from probes.investigate import Wanted

log = logging.getLogger(__name__)

_POLL_S: Final = 0.1
#: rates and the process list need two readings
_SAMPLES_WANTED: Final = 2
#: how long a preflight waits for the agents of its nodes
_UP_S: Final = 20.0
_WAITING: Final = frozenset({LinkState.CONNECTING, LinkState.LIVE, LinkState.STALE})


class Watched:
    """A running supervisor and its store; ``async with`` owns it."""

    def __init__(self, settings: Settings) -> None:
        # asyncssh costs 350 ms to import; commands that need no host never pay for it
        from probes.hosts.supervisor import Supervisor  # noqa: PLC0415

        self.fleet = Fleet(settings.hosts)
        self.supervisor = Supervisor(settings, self.fleet)
        self._task: asyncio.Task[None] | None = None
        warning = raise_fd_limit(len(settings.hosts))
        if warning is not None:
            self.fleet.event(None, Severity.WARNING, "limits", warning)
            log.warning(warning)  # without a log file this goes to stderr

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.supervisor.run(), name="supervisor")
        await asyncio.sleep(0)
        for host_id in self.fleet.hosts:
            self.supervisor.probe_services(host_id)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, done: Callable[[HostRecord], bool], timeout_s: float) -> bool:
        """Wait until ``done`` holds for every host, at most ``timeout_s``; false when time ran out.

        Raises:
            RuntimeError: the supervisor itself ended (a defect, never a host's doing).
        """
        end = clock.boot_s() + timeout_s
        while clock.boot_s() < end:
            self.raise_if_dead()
            if all(done(record) for record in self.fleet.hosts.values()):
                return True
            await asyncio.sleep(_POLL_S)
        return False

    def raise_if_dead(self) -> None:
        """Raise what ended the supervisor, if it ended."""
        if self._task is not None and self._task.done():
            self._task.result()
            raise RuntimeError("the supervisor ended")


def settled(record: HostRecord) -> bool:
    """Whether waiting longer brings nothing.

    Two samples, with GPUs and a process list, or a named failure; and every service, also behind a jump host.
    """
    link = record.link
    reading = record.brief is not None and record.brief.missing.get("gpus") == "not_yet"
    sampled = record.samples >= _SAMPLES_WANTED and record.processes is not None and not reading
    failed = link.state not in _WAITING
    if any(waits_for_tunnel(record, state) for state in record.services.values()):
        return False
    return (sampled or failed) and len(record.services) >= len(record.host.services)


async def take_snapshot(settings: Settings, timeout_s: float) -> dict[str, Any]:
    """Watch all hosts of ``settings`` until each is settled, at most ``timeout_s``; returns the snapshot object."""
    async with Watched(settings) as watched:
        await watched.until(settled, timeout_s)
        # taken before anything is taken down: ages are those of the measurement
        return export.snapshot(watched.fleet)


async def follow(settings: Settings) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield one object per sample, link change, service probe and event, for ever, in rounds of what is new.

    Nothing piles up behind a slow reader: it misses samples, and is told how many events it missed.
    """
    async with Watched(settings) as watched:
        fleet = watched.fleet
        seen: dict[str, tuple[int, object, dict[str, float]]] = {}
        events = 0
        while True:
            watched.raise_if_dead()
            lines: list[dict[str, Any]] = []
            for host_id in fleet.take_dirty():
                record = fleet.hosts.get(host_id)
                if record is None:
                    continue
                samples, link, services = seen.get(host_id, (0, None, {}))
                lines += _changes(record, samples, link, services)
                probed = {name: state.at_boot_s for name, state in record.services.items()}
                seen[host_id] = (record.samples, record.link, probed)
            lines += _new_events(fleet, fleet.event_count - events)
            events = fleet.event_count
            if lines:
                yield lines
            await asyncio.sleep(_POLL_S)


def _new_events(fleet: Fleet, new: int) -> list[dict[str, Any]]:
    if not new:
        return []
    kept = list(fleet.events)[-new:]
    lines = [_line("event", item.host, export.event(item), item.at_wall_s) for item in kept]
    if new > len(kept):
        words = f"{new - len(kept)} events before these were lost: the reader of this output was too slow"
        lost = Event(clock.wall_s(), clock.boot_s(), None, Severity.WARNING, "output", words)
        lines.insert(0, _line("event", None, export.event(lost)))
    return lines


def _changes(record: HostRecord, samples: int, link: object, services: dict[str, float]) -> list[dict[str, Any]]:
    now = clock.boot_s()
    host_id = record.host.id
    out: list[dict[str, Any]] = []
    if record.link is not link:
        out.append(_line("link", host_id, {"link": export.link(record.link, now)}))
    if record.samples != samples:
        out.append(_line("sample", host_id, {"sample": export.sample(record, now)}))
    for name, state in record.services.items():
        if services.get(name) != state.at_boot_s:
            out.append(_line("service", host_id, {"service": export.service(state, now)}))
    return out


def _line(kind: str, host_id: str | None, body: dict[str, Any], at_wall_s: float | None = None) -> dict[str, Any]:
    return {
        "schema_version": export.SCHEMA_VERSION,
        "type": kind,
        "host": host_id,
        "time": clock.rfc3339(clock.wall_s() if at_wall_s is None else at_wall_s),
        **{key: value for key, value in body.items() if key not in {"host", "time"}},
    }


async def investigate(
    settings: Settings, hosts: Sequence[Host], wanted: Wanted, others: Sequence[Host] = ()
) -> dict[str, Evidence]:
    """Gather evidence about these hosts, logging in to each for its own view if that is wanted.

    Args:
        settings: how to connect; its hosts are not watched.
        hosts: whom.
        wanted: which ports, and whether to log in.
        others: other hosts of the fleet, for the control probe.
    """
    # their services are probed by the investigation itself, once
    watched = tuple(structs.replace(host, services=()) for host in hosts) if wanted.inside else ()
    async with Watched(structs.replace(settings, hosts=watched)) as running:
        investigator = running.supervisor.investigator()
        return await investigator.investigate(hosts, wanted=wanted, others=others)


class Node(Struct, frozen=True):
    """A host of a preflight; ``address``: how the other nodes call it, None: what SSH dials."""

    host: Host
    address: str | None = None


async def preflight(settings: Settings, nodes: Sequence[Node], port: int, timeout_s: float) -> tuple[PairReach, ...]:
    """Whether every node reaches every other one on a port; a result for each ordered pair.

    Args:
        settings: how to connect; its hosts are not watched.
        nodes: at least two.
        port: must be free on all of them.
        timeout_s: of each connect.
    """
    from probes.reach import nodes as between  # noqa: PLC0415

    watched = tuple(structs.replace(node.host, services=()) for node in nodes)
    async with Watched(structs.replace(settings, hosts=watched)) as running:
        await running.until(_asked, _UP_S)
        supervisor = running.supervisor
        addresses = {node.host.id: node.address or (await supervisor.address_of(node.host)) for node in nodes}
        ids = list(addresses)
        pairs = [between.Pair(one, other, addresses[other]) for one in ids for other in ids if one != other]
        return await between.preflight(supervisor, pairs, port, timeout_s)


def _asked(record: HostRecord) -> bool:
    """Whether a host can be asked now, or has failed with a reason."""
    return record.samples > 0 or record.link.state not in _WAITING


async def check(settings: Settings, timeout_s: float) -> list[tuple[HostRecord, Condition]]:
    """Judge every host once it has settled, at most after ``timeout_s``."""
    async with Watched(settings) as watched:
        in_time = await watched.until(settled, timeout_s)
        now = clock.boot_s()
        judged: list[tuple[HostRecord, Condition]] = []
        for record in watched.fleet.hosts.values():
            verdict = condition(record, settings.thresholds, settings.intervals, now)
            if not in_time and not settled(record) and verdict.level is Level.FINE:
                verdict = Condition(Level.UNKNOWN, (f"not everything was measured in {timeout_s:g} s",))
            judged.append((record, _with_unprobed(record, verdict)))
        return judged


def _with_unprobed(record: HostRecord, verdict: Condition) -> Condition:
    """A service that could not be probed is not fine: nobody knows."""
    unknown = [s for s in record.services.values() if s.state is PortState.NOT_PROBED]
    if verdict.level >= Level.UNKNOWN or not unknown:
        return verdict
    words = tuple(f"{s.name} :{s.port} not probed" + (f" ({s.detail})" if s.detail else "") for s in unknown)
    return Condition(Level.UNKNOWN, (*words, *verdict.reasons))


def worst(levels: list[Level]) -> Level:
    """The worst level of several hosts: down > unknown > degraded > fine; of none: unknown."""
    return max(levels, default=Level.UNKNOWN)
