"""One GET over HTTP/1.1, judged: every phase timed and limited, every size bounded, nothing followed.

The other side is not trusted: headers of more than 64 KB, a body without end, a byte a second and plain garbage all end
in a sentence within the time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import h11
from msgspec import Struct

from probes.model import Health
from probes.reach.expect import Answer, Judgement, first_line, judge
from probes.reach.stream import CHUNK, Stream, TlsStream
from probes.reach.tls import explain, is_tls
from probes.text import clean, clean_bytes

if TYPE_CHECKING:
    from probes.reach.kinds import Expectation

MAX_HEADER_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 256 * 1024
#: how long a body that nobody needs is read, for its first line and an orderly end
BODY_GRACE_S: Final = 1.0


#: what h11 must know of our request to read the answer to it
_A_REQUEST: Final = h11.Request(method="GET", target="/", headers=[("Host", "-"), ("Connection", "close")])


class Limits(Struct, frozen=True):
    """How long each phase may take. ``total_s`` is from the first byte sent to the last one read."""

    tls_s: float = 5.0
    first_byte_s: float = 5.0
    total_s: float = 10.0


class Ask(Struct, frozen=True):
    """Whom we ask for what. ``name`` is what is dialled: it becomes Host header and TLS server name."""

    name: str
    port: int
    wanted: Expectation
    context: ssl.SSLContext | None = None

    @property
    def host_header(self) -> str:
        """Name and, where it is not the scheme's own, port."""
        name = f"[{self.name.partition('%')[0]}]" if ":" in self.name else self.name
        own = 80 if self.context is None else 443
        return name if self.port == own else f"{name}:{self.port}"


class HttpResult(Struct, frozen=True):
    """Health in words, and how long each phase took (``tls``, ``first_byte``, ``total``) as far as it came.

    ``first_line`` is the body's first line with something in it, whatever the health.
    """

    health: Health
    detail: str
    status: int | None
    phases_ms: dict[str, float]
    first_line: str = ""


class _Failure(Exception):  # noqa: N818  # it never leaves this module
    """Why there is no answer to judge."""


async def http_check(stream: Stream, ask: Ask, limits: Limits) -> HttpResult:
    """Ask over an open stream, and close it. Never raises but when cancelled.

    Source: the service's own answer to one GET without an Origin header.
    """
    phases: dict[str, float] = {}
    began_ns = time.perf_counter_ns()
    status: int | None = None
    line = ""
    total = asyncio.timeout(limits.total_s)
    try:
        async with total:
            secured = await _secure(stream, ask, limits, phases)
            answer = await _Exchange(secured, ask, phases).run(limits)
        status, line = answer.status, first_line(answer.body)
        judgement = judge(answer, ask.wanted)
    except TimeoutError:
        judgement = Judgement(Health.FAILING, _timeout_words(ask, phases, limits, total=total.expired()))
    except _Failure as failure:
        judgement = Judgement(Health.FAILING, str(failure))
    except ssl.SSLError as error:
        # after the handshake: TLS 1.3 servers refuse a client without a certificate only now
        judgement = Judgement(Health.FAILING, explain(error, b"\x16\x03", ask.name))
    except OSError as error:
        judgement = Judgement(Health.FAILING, f"the connection broke: {clean(error.strerror or str(error), 80)}")
    finally:
        stream.close()
    phases["total"] = _ms_since(began_ns)
    unverified = "tls" in phases and ask.context is not None and ask.context.verify_mode is ssl.CERT_NONE
    detail = judgement.detail + (" (certificate not verified)" if unverified else "")
    return HttpResult(judgement.health, clean(detail), status, phases, line)


async def _secure(stream: Stream, ask: Ask, limits: Limits, phases: dict[str, float]) -> Stream:
    if ask.context is None:
        return stream
    began_ns = time.perf_counter_ns()
    tls = TlsStream(stream, ask.context, ask.name.partition("%")[0])
    try:
        async with asyncio.timeout(limits.tls_s):
            await tls.handshake()
    except ssl.SSLError as error:
        raise _Failure(explain(error, tls.heard, ask.name)) from None
    except ConnectionError as error:
        raise _Failure(f"TLS: closed during the handshake ({clean(error.strerror or str(error), 80)})") from None
    phases["tls"] = _ms_since(began_ns)
    return tls


def _timeout_words(ask: Ask, phases: dict[str, float], limits: Limits, *, total: bool) -> str:
    if "first_byte" in phases:
        return f"the answer was not complete within {limits.total_s:g} s"
    if total:
        return f"no answer within {limits.total_s:g} s"
    if ask.context is not None and "tls" not in phases:
        return f"TLS: the handshake was not complete within {limits.tls_s:g} s"
    return f"no answer within {limits.first_byte_s:g} s of the request"


class _Exchange:
    """One request and its answer, read within bounds."""

    def __init__(self, stream: Stream, ask: Ask, phases: dict[str, float]) -> None:
        self._stream = stream
        self._ask = ask
        self._phases = phases
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._head = b""
        self._before_answer = 0
        self._sent_ns = 0

    async def run(self, limits: Limits) -> Answer:
        """Send the request and read the answer.

        Raises:
            TimeoutError: no first byte in time.
            OSError: the connection broke.
        """
        await self._stream.send(self._request())
        self._sent_ns = time.perf_counter_ns()
        async with asyncio.timeout(limits.first_byte_s):
            await self._fill()
        try:
            response = await self._response()
            body, cut = await self._some_body(response.status_code)
        except h11.RemoteProtocolError as error:
            raise _Failure(self._not_http(error)) from None
        headers = {bytes(name): bytes(value) for name, value in response.headers}
        return Answer(
            response.status_code,
            body,
            clean_bytes(bytes(response.reason), 40),
            clean_bytes(headers.get(b"location", b""), 200),
            clean_bytes(headers.get(b"content-encoding", b""), 20).strip().lower(),
            cut,
        )

    def _request(self) -> bytes:
        """The request as bytes; h11 is only told that one was sent, since building it costs as much as all the rest."""
        self._http.send(_A_REQUEST)
        self._http.send(h11.EndOfMessage())
        # quote leaves neither a space nor a line end: what the configuration says cannot break out of its line
        target = quote(self._ask.wanted.path, safe="/?#[]@!$&'()*+,;=:%-._~")
        host = quote(self._ask.host_header, safe="[]:.%")
        return (
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {user_agent()}\r\n"
            "Accept: application/json, */*;q=0.5\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
        ).encode("ascii")

    async def _response(self) -> h11.Response:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.ConnectionClosed):
                raise _Failure(self._closed())
            if event is h11.NEED_DATA:
                await self._fill()
                # many small interim answers are as endless as one long header
                if self._before_answer > MAX_HEADER_BYTES:
                    raise _Failure(f"headers longer than {MAX_HEADER_BYTES // 1024} KB")

    async def _some_body(self, status: int) -> tuple[bytes, bool]:
        """The body up to the bound, and whether there was more; where it decides nothing, waited for only briefly."""
        parts: list[bytes] = []
        if self._ask.wanted.wants_json and status in self._ask.wanted.statuses:
            return await self._body(status, parts)
        try:
            async with asyncio.timeout(BODY_GRACE_S):
                return await self._body(status, parts)
        except TimeoutError:
            return b"".join(parts), True

    async def _body(self, status: int, parts: list[bytes]) -> tuple[bytes, bool]:
        size = 0
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise _Failure(f"{status}, but the body broke off: {clean(str(error), 100)}") from None
            if isinstance(event, h11.Data):
                parts.append(bytes(event.data[: MAX_BODY_BYTES - size]))
                size += len(event.data)
                if size > MAX_BODY_BYTES:
                    return b"".join(parts), True
            elif event is h11.NEED_DATA:
                await self._fill()
            else:
                return b"".join(parts), False

    async def _fill(self) -> None:
        data = await self._stream.receive()
        if not self._head:
            self._phases["first_byte"] = _ms_since(self._sent_ns)
            self._head = data[:64]
        self._before_answer += len(data)
        self._http.receive_data(data)

    def _closed(self) -> str:
        return "the service closed the connection without an answer"

    def _not_http(self, error: h11.RemoteProtocolError) -> str:
        if not self._head:
            return self._closed()
        if self._ask.context is None and is_tls(self._head):
            return "the port speaks TLS (https), but is configured as plain http (tls = true)"
        if not self._head.startswith(b"HTTP/"):
            return f'not HTTP: it answered "{clean_bytes(self._head, 60)}"'
        if self._before_answer > MAX_HEADER_BYTES - CHUNK:
            return f"headers longer than {MAX_HEADER_BYTES // 1024} KB"
        return f"broken HTTP: {clean(str(error), 120)}"


@cache
def user_agent() -> str:
    """``quarterdeck/1.2.3``."""
    with contextlib.suppress(PackageNotFoundError):
        return f"quarterdeck/{version('quarterdeck')}"
    return "quarterdeck"


def _ms_since(began_ns: int) -> float:
    return (time.perf_counter_ns() - began_ns) / 1e6
