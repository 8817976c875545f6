"""API latency: what is planned, what preflight says, and runs by the real engine against stand-ins."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import registry
from benchmarks.benchmark import Request
from benchmarks.engine import Engine
from benchmarks.errors import BenchError
from benchmarks.latency import DEFINITION
from benchmarks.model import Outcome, Side
from benchmarks.recorder import Recorder
from benchmarks.ways import RunContext
from probes.config import Settings
from probes.model import Host, Service, ServiceKind
from tests.support.http_standin import answer, stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.engine import Record
    from benchmarks.model import RunSpec

WEB = Service("web", 80, ServiceKind.HTTP)
VOICE = Service("voice", 50021, ServiceKind.VOICEVOX, path="/x/version", expect_status=(200, 204))


def host_of(*services: Service) -> Host:
    return Host("h", "127.0.0.1", services=services)


def planned(*services: Service, **request: Any) -> RunSpec:
    (spec,) = DEFINITION.plan(Request("api-latency", **request), host_of(*services), {})
    return spec


def mistake(*services: Service, **request: Any) -> BenchError:
    with pytest.raises(BenchError) as caught:
        planned(*services, **request)
    assert (caught.value.layer, caught.value.side) == ("plan", Side.CLIENT)
    assert caught.value.next_step
    return caught.value


# --- planning ---


def test_it_is_registered() -> None:
    assert registry.definition("api-latency") is DEFINITION
    ladder = DEFINITION.ladders[0]
    assert (ladder.tag, ladder.s, ladder.a, ladder.b, ladder.c) == ("response_time", 0.025, 0.05, 0.1, 0.2)


@pytest.mark.parametrize(
    ("services", "request_", "service", "path", "statuses"),
    [
        ((WEB,), {}, "web", "/", []),
        ((VOICE,), {}, "voice", "/x/version", [200, 204]),
        ((Service("v", 1, ServiceKind.VOICEVOX),), {}, "v", "/version", []),
        ((Service("o", 1, ServiceKind.OPENAI),), {}, "o", "/v1/models", []),
        ((WEB, VOICE), {"service": "voice"}, "voice", "/x/version", [200, 204]),
        ((WEB,), {"extra": {"path": "/ping?x=1"}}, "web", "/ping?x=1", []),
        ((), {"url": "http://h:1/api"}, None, "/", []),
        ((VOICE, WEB), {"url": "http://h:1", "service": "voice"}, "voice", "/x/version", [200, 204]),
    ],
)  # fmt: skip
def test_what_is_asked_of_whom(
    services: tuple[Service, ...], request_: dict[str, Any], service: str | None, path: str, statuses: list[int]
) -> None:
    spec = planned(*services, **request_)
    assert (spec.service, spec.options["path"], spec.options["expect_status"]) == (service, path, statuses)
    assert spec.load.timeout_s == 10.0


def test_mistakes_are_named() -> None:
    ssh = Service("ssh", 22, ServiceKind.SSH)
    assert "no HTTP service" in mistake(ssh).cause
    assert mistake(WEB, VOICE).next_step == "name one with --service: web, voice"
    assert "does not speak HTTP" in mistake(ssh, WEB, service="ssh").cause
    assert "no service 'other'" in mistake(WEB, service="other").cause
    assert "is no path" in mistake(WEB, extra={"path": "ping"}).cause
    assert "is no path" in mistake(WEB, extra={"path": "/a\r\nHost: x"}).cause
    assert "user or a password" in mistake(url="http://me:secret@h").cause


def test_a_path_of_ten_thousand_characters_is_fine() -> None:
    path = "/?q=" + "a" * 10_000
    assert planned(WEB, extra={"path": path}).options["path"] == path


# --- running ---


async def run(port: int, *, stop_after: int | None = None, service: Service = WEB, **request: Any) -> Record:
    host = host_of(Service(service.name, port, service.kind, service.path, expect_status=service.expect_status))
    (spec,) = DEFINITION.plan(Request("api-latency", **request), host, {})
    recorder, stop = Recorder(time.perf_counter_ns()), asyncio.Event()
    async with RunContext(host, Settings(hosts=(host,))) as context:
        return await Engine(spec, DEFINITION.make(spec, context), recorder, stop).run()


def serving(status: str = "200 OK", body: bytes = b"{}", server: str = "Server: uvicorn\x1b[0m/1\r\n") -> Any:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            head = f"HTTP/1.1 {status}\r\n{server}Content-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)

    return script


async def test_a_run_from_preflight_to_samples() -> None:
    async with stand_in(serving(server="Server: uvicorn\r\n"), asks=False) as server:
        record = await run(server.port, mode="quick")
    preflight = record.preflight
    assert (preflight.endpoint, preflight.server_version, preflight.via) == (
        f"http://127.0.0.1:{server.port}",
        "uvicorn",
        "direct",
    )
    (note,) = preflight.notes
    assert note.startswith("first request, on a new connection: connect ")
    assert "first byte" in note
    assert len(record.samples) == 10
    assert {sample.outcome for sample in record.samples} == {Outcome.OK}
    # kept connections: one to see that the port is open, one that the first request made, none for a sample
    assert server.accepted == 2
    for sample in record.samples:
        assert set(sample.spans) == {"first_byte", "body"}
        assert sample.values["service_time"] == (sample.end_ns - sample.start_ns) / 1e9
        assert sample.intended_ns <= sample.start_ns < sample.end_ns


async def test_without_a_server_header_that_is_said() -> None:
    async with stand_in(serving(server=""), asks=False) as server:
        record = await run(server.port, mode="check")
    assert record.preflight.server_version is None
    assert record.preflight.missing == {"server_version": "the service sends no Server header"}


@pytest.mark.parametrize(
    ("status", "side", "words"),
    [
        ("404 Not Found", Side.CLIENT, "choose another path"),
        ("503 Busy", Side.SERVER, "look at its log"),
        ("302 Found", Side.CLIENT, "choose another path"),
    ],
)
async def test_a_first_request_that_fails_starts_nothing(status: str, side: Side, words: str) -> None:
    async with stand_in(answer("", status)) as server:
        with pytest.raises(BenchError) as caught:
            await run(server.port)
        assert len(server.requests) == 1
    assert (caught.value.layer, caught.value.side) == ("http", side)
    assert caught.value.cause.startswith(f"GET /: HTTP {status[:3]}")
    assert words in caught.value.next_step


async def test_an_expected_status_is_fine_whatever_it_is() -> None:
    service = Service("web", 1, ServiceKind.HTTP, expect_status=(401,))
    async with stand_in(serving("401 Unauthorized"), asks=False) as server:
        record = await run(server.port, service=service, mode="quick")
    assert {sample.outcome for sample in record.samples} == {Outcome.OK}


def counting(served: list[str], statuses: Iterator[str | None]) -> Any:
    """One status after the other, on whatever connection; None and the end: hang up."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n") and (status := next(statuses, None)) is not None:
            served.append(status)
            writer.write(f'HTTP/1.1 {status}\r\nContent-Length: 18\r\n\r\n{{"detail": "full"}}'.encode())

    return script


async def test_failures_while_measuring_are_samples() -> None:
    served: list[str] = []
    statuses = itertools.cycle(["200 OK", "200 OK", "200 OK", "500 Oops"])
    async with stand_in(counting(served, statuses), asks=False) as server:
        record = await run(server.port, n=10, mode="quick", warmup_n=0)
    assert len(served) == 11  # one of preflight, ten that were measured, none twice
    failed = [sample for sample in record.samples if sample.outcome is not Outcome.OK]
    assert [(sample.outcome, sample.side, sample.detail) for sample in failed] == [
        (Outcome.HTTP_ERROR, Side.SERVER, "HTTP 500: full")
    ] * 2
    assert len(record.samples) == 10
    assert record.errors == ("http error: HTTP 500: full (2 times)",)


async def test_a_server_that_dies_ends_the_run() -> None:
    served: list[str] = []
    async with stand_in(counting(served, iter(["200 OK"] * 6)), asks=False) as server:
        record = await run(server.port, n=500, warmup_n=0)
    assert record.died
    assert [sample.outcome for sample in record.samples] == [Outcome.OK] * 5 + [Outcome.TRANSPORT] * 10
