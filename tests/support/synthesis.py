"""A synthesis run without the engine: planned for a stand-in, made with a context of fixed endpoints, and closed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.benchmark import Request
from benchmarks.context import Endpoint
from benchmarks.synthesis.definition import DEFINITION
from benchmarks.synthesis.run import Synthesis
from probes.config import Settings
from probes.model import Host, Service, ServiceKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.model import RunSpec
    from probes.demo.voices import Running


@dataclass
class FixedContext:
    """Knows the way to every service: loopback."""

    host: Host
    settings: Settings
    tls_verify: bool = True
    asked: list[str] = field(default_factory=list)

    async def endpoint(self, service: Service | None, url: str | None) -> Endpoint:
        if url is not None:
            self.asked.append(url)
            return Endpoint(url)
        self.asked.append(service.name)
        scheme = "https" if service.tls else "http"
        return Endpoint(f"{scheme}://127.0.0.1:{service.port}", tls_verify=service.tls_verify)

    async def ssh(self) -> Any:
        raise AssertionError("nobody needs SSH here")

    async def another_ssh(self) -> Any:
        raise AssertionError("nobody needs SSH here")


def host_of(*services: Service) -> Host:
    return Host(id="node", address="127.0.0.1", services=services)


def planned(
    running: Running, kind: str = "voicevox", options: dict[str, Any] | None = None, **asked: Any
) -> tuple[RunSpec, ...]:
    """The runs for a stand-in that is a service of its host."""
    service = Service("voice", running.port, ServiceKind(kind), path=asked.pop("path", None))
    return DEFINITION.plan(Request("synthesis", service="voice", **asked), host_of(service), options or {})


@asynccontextmanager
async def made(
    spec: RunSpec, running: Running | None, kind: str = "voicevox", options: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Synthesis]:
    """The running instance, closed at the end."""
    services = () if running is None else (Service("voice", running.port, ServiceKind(kind), **more),)
    host = host_of(*services)
    context = FixedContext(host, Settings(hosts=(host,), bench={"synthesis": options or {}}))
    run = DEFINITION.make(spec, context)
    assert isinstance(run, Synthesis)
    try:
        yield run
    finally:
        await run.cleanup()
