"""Starting and ending the simulated fleet from the application."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from probes.config import Intervals, Settings, Ssh
from probes.errors import QuarterdeckError
from probes.model import Host, Service, ServiceKind

if TYPE_CHECKING:
    from typing import Self

    from probes.investigate import World

_START_S: Final = 60.0
_END_S: Final = 5.0
_LINE_LIMIT: Final = 16 << 20
_STDERR_KEPT: Final = 4000


class DemoError(QuarterdeckError):
    """The simulated fleet could not be started."""


class Demo:
    """A running simulated fleet.

    Attributes:
        settings: the configuration that watches it: every host is marked ``simulated``.
        folder: its throw-away keys; gone after ``close``.
        pid: of the process that serves it.
    """

    def __init__(self, process: asyncio.subprocess.Process, errors: asyncio.Task[str], ready: _Ready) -> None:
        self.settings = _settings(ready)
        self.folder = ready.folder
        self.pid = process.pid
        self._process = process
        self._errors = errors

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def world(self) -> World:
        """The simulated AWS and names of the fleet: nothing real is asked about it."""
        from probes.demo.cloud import DemoAws  # noqa: PLC0415 - only triage needs them
        from probes.investigate import World  # noqa: PLC0415

        aws = DemoAws(self.settings.hosts)
        return World(aws, aws.reverse)

    async def close(self) -> None:
        """End the fleet's process and remove its folder; may be called twice."""
        await _end(self._process, self._errors)
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)


async def start_demo(hosts: int = 24, seed: int = 7, *, at_s: float = 0.0) -> Demo:
    """Start a simulated fleet of real SSH servers on loopback, in a process of its own.

    It ends when ``close`` is called, and by itself when this process ends in whatever way.

    Args:
        hosts: how many, 1 to 2000.
        seed: what the simulated machines are doing.
        at_s: where in the script of faults to start, in seconds (``faults.py`` has the times).

    Raises:
        DemoError: it could not be started; says why.
    """
    options = ("--hosts", str(hosts), "--seed", str(seed), "--at", f"{at_s:g}")
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "probes.demo.server", *options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            start_new_session=True,
        )
    except OSError as error:
        raise DemoError(f"cannot start its process: {error}", layer="demo") from None
    errors = asyncio.create_task(_tail(process.stderr), name="demo stderr")
    try:
        ready = await _ready(process, errors)
    except BaseException:
        await _end(process, errors)
        raise
    return Demo(process, errors, ready)


class _Service(msgspec.Struct):
    name: str
    port: int
    kind: ServiceKind
    path: str | None
    expect_json: dict[str, tuple[str, ...]] = {}


class _Host(msgspec.Struct):
    id: str
    address: str
    port: int
    groups: tuple[str, ...]
    labels: dict[str, str]
    services: tuple[_Service, ...]


class _Ready(msgspec.Struct):
    """The one line that the server prints."""

    folder: str
    user: str
    identity_file: str
    known_hosts: str
    hosts: tuple[_Host, ...]


async def _ready(process: asyncio.subprocess.Process, errors: asyncio.Task[str]) -> _Ready:
    if process.stdout is None:
        raise DemoError("its process has no output", layer="demo")
    try:
        async with asyncio.timeout(_START_S):
            line = await process.stdout.readline()
    except TimeoutError:
        raise DemoError(f"its process did not start within {_START_S:g} s", layer="demo") from None
    if not line:
        async with asyncio.timeout(_END_S):
            said = (await errors).strip().splitlines()
        raise DemoError(f"its process ended at once: {said[-1] if said else 'without a word'}", layer="demo")
    answer: dict[str, Any] = msgspec.json.decode(line)
    if "error" in answer:
        raise DemoError(str(answer["error"]), layer="demo", next_step="it needs Linux's 127.0.0.0/8 and free ports")
    return msgspec.convert(answer, _Ready)


async def _end(process: asyncio.subprocess.Process, errors: asyncio.Task[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    errors.cancel()
    await asyncio.gather(errors, return_exceptions=True)


async def _tail(stream: asyncio.StreamReader | None) -> str:
    """Read to the end, so that the pipe never fills, and keep the last of it."""
    kept = b""
    while stream is not None and (data := await stream.read(4096)):
        kept = (kept + data)[-_STDERR_KEPT:]
    return kept.decode("utf-8", "replace")


def _settings(ready: _Ready) -> Settings:
    return Settings(
        hosts=tuple(_host(host, ready) for host in ready.hosts),
        intervals=Intervals(services_s=5.0, backoff_max_s=15.0),
        ssh=Ssh(config_files=(), known_hosts=(ready.known_hosts,), identity_files=(ready.identity_file,), agent=False),
    )


def _host(host: _Host, ready: _Ready) -> Host:
    services = tuple(
        Service(service.name, service.port, service.kind, service.path, expect_json=dict(service.expect_json))
        for service in host.services
    )
    return Host(
        id=host.id,
        address=host.address,
        port=host.port,
        user=ready.user,
        identity_files=(ready.identity_file,),
        known_hosts=(ready.known_hosts,),
        groups=host.groups,
        labels=host.labels,
        services=services,
        simulated=True,
    )
