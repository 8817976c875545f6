"""The HTTP client of all benchmarks: one request is one request on the wire, each part timed, each size bounded.

A thin layer over aiohttp. What it adds: a failure is a ``CallFailed`` that knows its outcome and whose fault it is;
nothing is sent a second time, followed, remembered (cookies) or taken from the environment (proxies, netrc).
"""

from __future__ import annotations

import asyncio
import io
import logging
import socket
import ssl
import time
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import istr
from yarl import URL

from benchmarks.http_failures import CallFailed, NotAgain, Unresolved, failure_of, refused, timed_out, too_large
from probes.errors import ResolveError
from probes.reach.http import user_agent
from probes.reach.resolve import Resolver
from probes.reach.tls import TlsContexts
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Container, Mapping
    from types import TracebackType

    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

    from benchmarks.context import Endpoint

__all__ = ["CallFailed", "Client", "Reply", "Streaming"]

log = logging.getLogger(__name__)

Param = str | int | float | bool
_SUCCESS: Final = range(200, 300)
_MAX_HEADER: Final = 1024
#: what is read of the body of an error, for its words
_ERROR_BYTES: Final = 64 * 1024
#: A kept connection is not used again after so long. Many servers (uvicorn, node) hang up after 5 s of idleness: a
#: request that crosses that on the wire would fail, and it is never sent twice.
_KEEP_S: Final = 4.0
#: aiohttp warns of larger bodies that are handed over whole
_WHOLE_BYTES: Final = 2**19
#: URLs that are kept ready: a run asks for the same few again and again
_URLS: Final = 64
_CLOSE_S: Final = 2.0
_SAFE: Final = "/?#[]@!$&'()*+,;=:%-._~"


class Call:
    """One request while it is made: its moments, its parts so far, and the time it may take."""

    __slots__ = (
        "_at_ns",
        "_client",
        "_total_at",
        "deadline",
        "first_byte_ns",
        "name",
        "phase",
        "reused",
        "sent_ns",
        "spans",
        "tunnelled",
    )

    def __init__(self, client: Client) -> None:
        self._client = client
        self._total_at = asyncio.get_running_loop().time() + client.timeout_s
        self._at_ns = 0
        self.deadline = asyncio.timeout_at(self._total_at)
        self.first_byte_ns = 0
        self.name = client.name
        #: wait, dns, connect, first_byte, body: what is under way, and how long it may take
        self.phase: tuple[str, float] = ("wait", client.timeout_s)
        self.reused = True
        self.sent_ns: int | None = None
        self.spans: dict[str, float] = {}
        self.tunnelled = client.tunnelled

    def enter(self, phase: str, limit_s: float | None = None) -> None:
        """A part of the request begins, which has a time limit of its own or the one of the whole."""
        self._at_ns = time.perf_counter_ns()
        total_s = self._client.timeout_s
        self.phase = (phase, total_s if limit_s is None else min(limit_s, total_s))
        at = self._total_at
        if limit_s is not None:
            at = min(at, asyncio.get_running_loop().time() + limit_s)
        if at != self.deadline.when():
            self.deadline.reschedule(at)

    def queued(self) -> None:
        """Every connection of the pool is in use."""
        self.enter("wait")

    def dequeued(self) -> None:
        """One is free."""
        self.spans["wait"] = self.spans.get("wait", 0.0) + (time.perf_counter_ns() - self._at_ns) / 1e9

    def connecting(self) -> None:
        """A new connection is made."""
        self.reused = False
        self.enter("connect", self._client.connect_timeout_s)

    def connected(self) -> None:
        """It is there, TLS included."""
        self.spans["connect"] = (time.perf_counter_ns() - self._at_ns) / 1e9 - self.spans.get("dns", 0.0)

    def sent(self) -> None:
        """The request is handed to the kernel now."""
        self.enter("first_byte", self._client.first_byte_timeout_s)
        self.sent_ns = self._at_ns

    def answered(self) -> None:
        """The head of the answer is there: aiohttp tells of nothing earlier."""
        self.enter("body")
        self.first_byte_ns = self._at_ns
        if self.sent_ns is not None:
            self.spans["first_byte"] = (self._at_ns - self.sent_ns) / 1e9

    def ended(self) -> int:
        """The answer is complete, now."""
        now_ns = time.perf_counter_ns()
        self.spans["body"] = (now_ns - self.first_byte_ns) / 1e9
        return now_ns


#: the request that the running task is making: aiohttp's hooks, the resolver and TLS tell it their moments
_CALL: ContextVar[Call] = ContextVar("call")


class Reply:
    """A complete answer with an expected status.

    ``sent_ns``, ``first_byte_ns`` (the whole head was there) and ``end_ns`` are moments of ``perf_counter_ns``;
    ``spans`` are seconds: ``wait`` for a free connection of the pool; ``dns``, ``connect`` (TCP and TLS) and ``tls``
    alone, only where a new connection was made; ``first_byte`` from sending to the head of the answer; ``body``.
    """

    __slots__ = ("_raw", "body", "end_ns", "first_byte_ns", "sent_ns", "spans", "status")

    def __init__(self, response: ClientResponse, call: Call, body: bytes, end_ns: int) -> None:
        self._raw = response.headers
        self.status = response.status
        self.body = body
        self.spans = call.spans
        self.sent_ns = call.sent_ns or 0
        self.first_byte_ns = call.first_byte_ns
        self.end_ns = end_ns

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers by their names in lower case, cleaned and bounded; of several alike the first."""
        return _headers(self._raw)


class Streaming:
    """An answer that is read as it arrives: iterate once, over (bytes, moment they were there)."""

    def __init__(self, response: ClientResponse, call: Call, max_bytes: int) -> None:
        self._response = response
        self._call = call
        self._max_bytes = max_bytes
        self.status = response.status
        self.headers = _headers(response.headers)
        self.sent_ns = call.sent_ns or 0
        self.first_byte_ns = call.first_byte_ns
        self.spans = call.spans

    async def __aiter__(self) -> AsyncIterator[tuple[bytes, int]]:
        total = 0
        while chunk := await self._next():
            at_ns = time.perf_counter_ns()
            total += len(chunk)
            if total > self._max_bytes:
                raise too_large(self._call, self.status, self._max_bytes)
            yield chunk, at_ns
        self._call.ended()

    async def _next(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise failure_of(error, self._call, self._response) from error


class Client:
    """Makes the requests of one run against one endpoint, over at most ``concurrency`` kept connections.

    Args:
        endpoint: where; the base URL's path is a prefix of every path.
        concurrency: connections at most; a request beyond them waits (span ``wait``).
        timeout_s: of a whole request, waiting included.
        connect_timeout_s: of name, TCP and TLS.
        first_byte_timeout_s: from sending to the head of the answer; None: only ``timeout_s`` limits it.
        max_bytes: of a body, decompressed; a longer one is cut off with its connection.
        headers: sent with every request. An ``Origin`` is never sent.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        concurrency: int,
        timeout_s: float,
        connect_timeout_s: float = 5.0,
        first_byte_timeout_s: float | None = None,
        max_bytes: int = 64 * 2**20,
        headers: Mapping[str, str] = {},
    ) -> None:
        self.timeout_s = timeout_s
        self.connect_timeout_s = connect_timeout_s
        self.first_byte_timeout_s = first_byte_timeout_s
        self._endpoint = endpoint
        self._concurrency = concurrency
        self._max_bytes = max_bytes
        parts = urlsplit(endpoint.base_url)
        #: whom we think we talk to: what a certificate must be for
        self.name = parts.hostname or ""
        #: whether what we dial is the near end of a tunnel of ours
        self.tunnelled = endpoint.via == "ssh_tunnel"
        self._tls = parts.scheme == "https"
        self._server_name = self.name if self._tls and endpoint.dial is not None else None
        host = parts.netloc.rpartition("@")[2]
        self._prefix = quote(parts.path.rstrip("/"), safe=_SAFE)
        self._origin = f"{parts.scheme}://{host}"
        self._headers = {"user-agent": user_agent(), "accept-encoding": "identity", **_without_origin(headers)}
        if endpoint.dial is not None:
            # a resolver would not do: aiohttp asks none for a literal address
            address, port = endpoint.dial
            self._origin = f"{parts.scheme}://{f'[{address}]' if ':' in address else address}:{port}"
            self._headers["host"] = host.removesuffix(":443" if self._tls else ":80")
        self._urls: dict[str, URL] = {}
        self._contexts = TlsContexts()
        self._resolver = Resolver(threads=2)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        context: ssl.SSLContext | bool = False
        if self._tls:
            context = await self._contexts.get(verify=self._endpoint.tls_verify)
            context.sslobject_class = _TimedTls
        connector = aiohttp.TCPConnector(
            limit=self._concurrency,
            ssl=context,
            resolver=_Names(self._resolver, self.connect_timeout_s),
            use_dns_cache=False,
            keepalive_timeout=_KEEP_S,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={istr(name): value for name, value in self._headers.items()},
            timeout=aiohttp.ClientTimeout(),  # none of aiohttp's: ``Call`` keeps the time
            trust_env=False,
            trace_configs=[_tracing()],
            middlewares=(_sent_once,),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._session is not None:
                async with asyncio.timeout(_CLOSE_S):
                    await self._session.close()
        except TimeoutError:
            log.warning(
                "a connection to %s did not close in %g s: the other side takes nothing more", self.name, _CLOSE_S
            )
        finally:
            self._contexts.close()
            await self._resolver.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Param] | None = None,
        json: Any = None,
        form: Mapping[str, Param] | None = None,
        headers: Mapping[str, str] | None = None,
        ok: Container[int] = _SUCCESS,
    ) -> Reply:
        """Make one request and read its answer.

        Args:
            method: GET, POST, ...
            path: behind the base URL; may have a query.
            params: further query.
            json: body, encoded as JSON.
            form: body, as form fields.
            headers: of this request.
            ok: the statuses that are expected.

        Raises:
            CallFailed: anything but a complete answer with an expected status.
        """
        request = self._request(method, path, params, _body(json, form), headers)
        call = Call(self)
        try:
            async with call.deadline:
                response = await self._open(call, request, ok)
                try:
                    return Reply(response, call, await self._whole(response, call), call.ended())
                finally:
                    if not response.closed:  # it was not read to its end: that costs the connection
                        response.close()
        except TimeoutError:
            raise timed_out(call) from None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Param] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        ok: Container[int] = _SUCCESS,
    ) -> AsyncGenerator[Streaming]:
        """Make one request and read its answer as it arrives; ``timeout_s`` counts until the block is left.

        An answer that was not read to its end costs the connection.

        Raises:
            CallFailed: as ``send``, while the block runs too.
        """
        request = self._request(method, path, params, _body(json, None), headers)
        call = Call(self)
        try:
            async with call.deadline:
                response = await self._open(call, request, ok)
                try:
                    yield Streaming(response, call, self._max_bytes)
                finally:
                    response.close()
        except TimeoutError:
            if not call.deadline.expired():
                raise  # the block's own
            raise timed_out(call) from None

    async def _open(self, call: Call, request: _Request, ok: Container[int]) -> ClientResponse:
        """Send a request; the head of its answer, with an expected status."""
        if self._session is None:
            raise RuntimeError("the client is not entered")
        _CALL.set(call)
        try:
            response = await self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                server_hostname=self._server_name,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise failure_of(error, call, None) from error
        if response.status in ok:
            return response
        try:
            raise refused(call, response, await _excerpt(response))
        finally:
            response.close()

    async def _whole(self, response: ClientResponse, call: Call) -> bytes:
        """The body, to its end."""
        limit, total = self._max_bytes, 0
        if (response.content_length or 0) > limit:
            raise too_large(call, response.status, limit)
        chunks: list[bytes] = []
        try:
            while chunk := await response.content.readany():
                total += len(chunk)
                if total > limit:
                    raise too_large(call, response.status, limit)
                chunks.append(chunk)
        except (aiohttp.ClientError, OSError) as error:
            raise failure_of(error, call, response) from error
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, Param] | None,
        body: tuple[bytes, str] | None,
        headers: Mapping[str, str] | None,
    ) -> _Request:
        own = {} if headers is None else _without_origin(headers)
        url = self._url(path, params)
        if body is None:
            return _Request(method, url, None, own or None)
        raw, kind = body
        return _Request(method, url, raw if len(raw) < _WHOLE_BYTES else io.BytesIO(raw), {"content-type": kind, **own})

    def _url(self, path: str, params: Mapping[str, Param] | None) -> URL:
        if params is None:
            made = self._urls.get(path)
            if made is None:
                if len(self._urls) >= _URLS:
                    self._urls.clear()
                made = self._urls[path] = self._new_url(path, None)
            return made
        return self._new_url(path, params)

    def _new_url(self, path: str, params: Mapping[str, Param] | None) -> URL:
        target = f"{self._origin}{self._prefix}{quote(path, safe=_SAFE)}"
        if params:
            query = urlencode({name: _text(value) for name, value in params.items()}, quote_via=quote)
            target += f"{'&' if '?' in path else '?'}{query}"
        return URL(target, encoded=True)


class _Request(NamedTuple):
    """What is handed to aiohttp."""

    method: str
    url: URL
    body: bytes | io.BytesIO | None
    headers: dict[str, str] | None


class _Names(AbstractResolver):
    """Names to addresses off the loop; a failure keeps its cause."""

    def __init__(self, resolver: Resolver, timeout_s: float) -> None:
        self._resolver = resolver
        self._timeout_s = timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family
        addresses = self._resolver.known(host)
        if addresses is None:
            began_ns = time.perf_counter_ns()
            try:
                addresses = await self._resolver.resolve(host, self._timeout_s)
            except ResolveError as error:
                raise Unresolved(error.cause) from None
            _CALL.get().spans["dns"] = (time.perf_counter_ns() - began_ns) / 1e9
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """The resolver is the client's, and closed by it."""


class _TimedTls(ssl.SSLObject):
    """Tells the request for which it is made how long the handshake took."""

    _began_ns = 0

    def do_handshake(self) -> None:
        if not self._began_ns:
            self._began_ns = time.perf_counter_ns()
        super().do_handshake()
        _CALL.get().spans["tls"] = (time.perf_counter_ns() - self._began_ns) / 1e9


async def _sent_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from sending an idempotent request again by itself when a kept connection was closed meanwhile."""
    try:
        response = await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise NotAgain from error
    _CALL.get().answered()
    return response


def _tracing() -> aiohttp.TraceConfig:
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_queued_start.append(_on_queued)
    tracing.on_connection_queued_end.append(_on_dequeued)
    tracing.on_connection_create_start.append(_on_connecting)
    tracing.on_connection_create_end.append(_on_connected)
    tracing.on_request_headers_sent.append(_on_sent)
    return tracing


async def _on_queued(*_: object) -> None:
    _CALL.get().queued()


async def _on_dequeued(*_: object) -> None:
    _CALL.get().dequeued()


async def _on_connecting(*_: object) -> None:
    _CALL.get().connecting()


async def _on_connected(*_: object) -> None:
    _CALL.get().connected()


async def _on_sent(*_: object) -> None:
    _CALL.get().sent()


async def _excerpt(response: ClientResponse) -> bytes:
    """The beginning of an error's body; nothing, when even that cannot be had."""
    found = b""
    try:
        while len(found) < _ERROR_BYTES and (chunk := await response.content.readany()):
            found += chunk
    except (aiohttp.ClientError, OSError):
        # the status is the failure; its words are a help, and may be missing
        return found
    return found[:_ERROR_BYTES]


def _headers(raw: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in raw.items():
        found.setdefault(clean(name.lower(), 128), clean(value, _MAX_HEADER))
    return found


def _body(json: Any, form: Mapping[str, Param] | None) -> tuple[bytes, str] | None:
    """The body of a request and its type."""
    if form is not None:
        fields = urlencode({name: _text(value) for name, value in form.items()})
        return fields.encode("ascii"), "application/x-www-form-urlencoded"
    return None if json is None else (msgspec.json.encode(json), "application/json")


def _without_origin(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower() != "origin"}


def _text(value: Param) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
