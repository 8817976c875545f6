"""A run against a language model's stand-in without the engine: planned, made with a fixed endpoint, and closed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.benchmark import Request
from benchmarks.llm.definition import DEFINITION
from benchmarks.llm.run import Llm
from probes.config import Settings
from probes.model import Service, ServiceKind
from tests.support.synthesis import FixedContext, host_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.model import RunSpec

CONFIGURED = {"model": "", "prompts": [], "max_tokens": 128, "api_key": ""}


def service_of(port: int, kind: ServiceKind = ServiceKind.OPENAI, path: str | None = None) -> Service:
    return Service("model", port, kind, path=path)


def planned(
    *services: Service, options: dict[str, Any] | None = None, params: dict[str, str] | None = None, **asked: Any
) -> tuple[RunSpec, ...]:
    request = Request("llm", extra=params or {}, **asked)
    return DEFINITION.plan(request, host_of(*services), CONFIGURED | (options or {}))


@asynccontextmanager
async def made(
    port: int, *, path: str | None = None, kind: ServiceKind = ServiceKind.OPENAI, options: dict[str, Any] | None = None,
    **asked: Any,
) -> AsyncIterator[Llm]:  # fmt: skip
    """The running instance of the first run that is planned; the service is at this port unless a URL is given."""
    service = service_of(port, kind, path)
    spec = planned(service, options=options, **({"mode": "check"} | asked))[0]
    host = host_of(service)
    run = DEFINITION.make(spec, FixedContext(host, Settings(hosts=(host,), bench={"llm": options or {}})))
    assert isinstance(run, Llm)
    try:
        yield run
    finally:
        await run.cleanup()
