"""API latency (E1): how long a service takes to answer a simple GET, against a target of 50 ms.

R1 measured five requests with a mean of 23.2 ms. Here the requests are as many as the statistics need, over kept
connections; what making a connection costs (name, TCP, TLS) is in the spans and, of the first one, in the notes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.benchmark import Definition, Parameter, Preflight, load_of
from benchmarks.client import CallFailed, Client
from benchmarks.errors import BenchError
from benchmarks.model import RESPONSE_TIME, SERVICE_TIME, THROUGHPUT, Case, Done, Ladder, Outcome, RunSpec, Side
from benchmarks.ways import checked_url
from probes.model import ServiceKind
from probes.reach.kinds import expectation
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from benchmarks.benchmark import Request
    from benchmarks.context import Context, Endpoint
    from benchmarks.model import Sample
    from probes.model import Host, Service

ID: Final = "api-latency"
TARGET_S: Final = 0.050
#: a service that takes longer for a health question is broken, not slow
_TIMEOUT_S: Final = 10.0
_HTTP: Final = frozenset({ServiceKind.HTTP, ServiceKind.VOICEVOX, ServiceKind.OPENVOICE, ServiceKind.OPENAI})
#: what an answer may be where nothing is expected: a redirect would measure a page that nobody asked for
_FINE: Final = range(200, 300)
_MAX_PATH: Final = 16_000


class ApiLatency:
    """One run: the same GET again and again."""

    def __init__(self, spec: RunSpec, context: Context) -> None:
        self._spec = spec
        self._context = context
        self._path: str = spec.options["path"]
        statuses: list[int] = spec.options["expect_status"]
        self._ok: Container[int] = frozenset(statuses) or _FINE
        self._client: Client | None = None

    async def preflight(self) -> Preflight:
        """Find the way, make one request, and say how long each part of it took.

        Raises:
            BenchError: no way there, or no proper answer.
        """
        service = self._service()
        endpoint = await self._context.endpoint(service, self._spec.url)
        load = self._spec.load
        at_once = load.max_in_flight if load.rate_per_s is not None else load.concurrency
        client = Client(endpoint, concurrency=at_once, timeout_s=load.timeout_s)
        self._client = await client.__aenter__()
        try:
            reply = await client.send("GET", self._path, ok=self._ok)
        except CallFailed as error:
            raise _not_ready(error, self._path) from None
        server = clean(reply.headers.get("server", ""), 80)
        return Preflight(
            endpoint=endpoint.base_url,
            server_version=server or None,
            via="ssh_tunnel" if endpoint.via == "ssh_tunnel" else "direct",
            tunnel_ms=endpoint.tunnel_ms,
            notes=(_first_request(reply.spans, endpoint),),
            missing={} if server else {"server_version": "the service sends no Server header"},
        )

    async def prepare(self) -> None:
        """Nothing to prepare."""

    async def once(self, i: int, intended_ns: int) -> Done:
        """GET the path; any expected status with a complete body is OK."""
        del i, intended_ns
        if self._client is None:
            raise RuntimeError("preflight comes first")
        try:
            reply = await self._client.send("GET", self._path, ok=self._ok)
        except CallFailed as error:
            return error.done()
        return Done(spans=reply.spans, sent_ns=reply.sent_ns, end_ns=reply.end_ns)

    def totals(self, samples: Sequence[Sample], window_s: float) -> Mapping[str, float | None]:
        """None of its own."""
        del samples, window_s
        return {}

    async def cleanup(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.__aexit__(None, None, None)

    def _service(self) -> Service | None:
        name = self._spec.service
        return next((service for service in self._context.host.services if service.name == name), None)


def plan(request: Request, host: Host, options: Mapping[str, Any]) -> tuple[RunSpec, ...]:
    """One run for the service that is named, else for the only HTTP service, or for a URL. See ``Planner``."""
    del options  # its target is the grade's business
    service = None if request.url is not None and request.service is None else _chosen(request, host)
    url = None if request.url is None else checked_url(request.url)
    path = _path(request.extra.get("path", ""), service)
    wanted = list(service.expect_status) if service is not None else []
    return (
        RunSpec(
            benchmark=ID,
            case=Case("get", f"GET {clean(path, 80)}", path),
            load=load_of(request, timeout_s=_TIMEOUT_S),
            service=None if service is None else service.name,
            url=url,
            options={"path": path, "expect_status": wanted},
        ),
    )


def _chosen(request: Request, host: Host) -> Service:
    """The service that is meant.

    Raises:
        BenchError: layer ``plan``: there is none, or there are several, or it does not speak HTTP.
    """
    speaking = [service for service in host.services if service.kind in _HTTP]
    names = ", ".join(service.name for service in speaking)
    if request.service is not None:
        for service in host.services:
            if service.name != request.service:
                continue
            if service.kind not in _HTTP:
                raise _mistake(f"{service.name} of {host.id} does not speak HTTP", f"one of: {names or 'none'}")
            return service
        raise _mistake(f"{host.id} has no service {clean(request.service, 80)!r}", f"one of: {names or 'none'}")
    if not speaking:
        raise _mistake(f"{host.id} has no HTTP service", "add one to the configuration, or give --url")
    if len(speaking) > 1:
        raise _mistake(f"{host.id} has several HTTP services", f"name one with --service: {names}")
    return speaking[0]


def _path(given: str, service: Service | None) -> str:
    """The path that is asked for: the one given, else the service's own, else its kind's health path.

    Raises:
        BenchError: layer ``plan``: it is no path.
    """
    if not given:
        wanted = None if service is None else expectation(service)
        return "/" if wanted is None else wanted.path
    if not given.startswith("/") or clean(given, _MAX_PATH) != given:
        raise _mistake(f"{clean(given, 80)!r} is no path", "it begins with / and has no control characters")
    return given


def _mistake(cause: str, expected: str) -> BenchError:
    return BenchError(cause, layer="plan", next_step=expected, side=Side.CLIENT)


def _not_ready(error: CallFailed, path: str) -> BenchError:
    """The first request failed: nothing is measured then."""
    step = "start the service, or look at its log"
    if error.outcome is Outcome.HTTP_ERROR and error.side is Side.CLIENT:
        step = "choose another path with --param path=/..., or say in the configuration what the service expects"
    elif error.outcome is Outcome.TIMEOUT:
        step = "is it busy? give it longer with --timeout"
    return BenchError(f"GET {clean(path, 80)}: {error.detail}", layer="http", next_step=step, side=error.side)


def _first_request(spans: Mapping[str, float], endpoint: Endpoint) -> str:
    """What the first request's parts took, connecting included."""
    titles = (("dns", "name"), ("connect", "connect"), ("tls", "of it TLS"), ("first_byte", "first byte"))
    parts = [f"{title} {spans[name] * 1000:.1f} ms" for name, title in titles if name in spans]
    way = " through the tunnel" if endpoint.via == "ssh_tunnel" else ""
    return f"first request, on a new connection{way}: {', '.join(parts)}"


DEFINITION: Final = Definition(
    id=ID,
    version=1,
    title="API latency",
    summary="one GET again and again: response time against the target of 50 ms",
    metrics=(RESPONSE_TIME, SERVICE_TIME, THROUGHPUT),
    ladders=(Ladder("response_time", "s", s=TARGET_S / 2, a=TARGET_S, b=TARGET_S * 2, c=TARGET_S * 4),),
    plan=plan,
    make=ApiLatency,
    parameters=(
        Parameter("path", "path", "text", help="what is asked for; default: the service's own health path"),
        Parameter("url", "URL", "text", help="a base URL in place of a configured service"),
        Parameter("service", "service", "text", help="which service of the host; needed where several speak HTTP"),
    ),
)
