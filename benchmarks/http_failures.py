"""A request that failed, in words: how it ended, whose fault it is, and what was seen. Remote text is cleaned here."""

from __future__ import annotations

import errno
import os
import ssl
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp
import msgspec

from benchmarks.model import Done, Outcome, Side
from probes.reach.tls import explain
from probes.text import clean, clean_bytes

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from benchmarks.client import Call

_MAX_WORDS: Final = 200
#: this machine has run out of something: no server is to blame
_OURS: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.ENOBUFS, errno.ENOMEM, errno.EACCES}
)
#: refusals that a right request may meet too: too slow, too early, too many
_SERVERS_4XX: Final = frozenset({408, 425, 429})
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})


class CallFailed(Exception):  # noqa: N818 - it is no defect of ours but what a request ended as
    """A request that ended as anything but a complete, expected answer. ``detail`` is cleaned and bounded."""

    def __init__(
        self, outcome: Outcome, side: Side, detail: str, *, status: int | None = None, call: Call | None = None
    ) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.side = side
        self.detail = detail
        self.status = status
        self.spans = {} if call is None else call.spans
        self.sent_ns = None if call is None else call.sent_ns

    def done(self) -> Done:
        """The same, as a benchmark says it of one request."""
        return Done(self.outcome, spans=self.spans, sent_ns=self.sent_ns, side=self.side, detail=self.detail)


class NotAgain(aiohttp.ClientError):
    """The connection broke after the request was sent, before an answer; aiohttp's error is its cause."""


class Unresolved(OSError):  # noqa: N818 - the resolver's answer, for the connector
    """A name has no address; the text says why."""


def timed_out(call: Call) -> CallFailed:
    """A part of the request, or all of it, took too long."""
    phase, limit_s = call.phase
    words = {
        "wait": "no free connection",
        "connect": "not connected",
        "first_byte": "no answer",
        "body": "the answer was not complete",
    }[phase]
    since = " of sending" if phase == "first_byte" else ""
    return CallFailed(Outcome.TIMEOUT, Side.SERVER, f"{words} within {limit_s:g} s{since}", call=call)


def too_large(call: Call, status: int, max_bytes: int) -> CallFailed:
    """An answer that was cut off."""
    size = f"{max_bytes // 2**20} MiB" if max_bytes >= 2**20 else f"{max_bytes} bytes"
    return CallFailed(Outcome.INVALID_BODY, Side.SERVER, f"answer larger than {size}", status=status, call=call)


def refused(call: Call, response: ClientResponse, body: bytes) -> CallFailed:
    """An answer with another status than expected."""
    status = response.status
    said = f"HTTP {status}"
    if 300 <= status < 400:
        where = clean(response.headers.get("location", "").partition("?")[0], 120)
        said += f": redirects to {where or 'nowhere'} (not followed: give that URL)"
    elif words := words_of(body) or clean(response.reason or "", 80):
        said += f": {words}"
    if after := clean(response.headers.get("retry-after", ""), 40):
        said += f" (Retry-After: {after})"  # for who reads it: one request is one sample, nothing waits
    wrong_request = 300 <= status < 500 and status not in _SERVERS_4XX
    side = Side.CLIENT if wrong_request else Side.SERVER
    return CallFailed(Outcome.HTTP_ERROR, side, said, status=status, call=call)


def words_of(body: bytes) -> str:
    """What an error's body says: ``detail``, ``message`` or ``error`` of a JSON object, else its first line."""
    try:
        decoded: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        lines = (clean_bytes(line, _MAX_WORDS).strip() for line in body[:4096].splitlines())
        return next((line for line in lines if line), "")
    return clean(_said(decoded), _MAX_WORDS)


def _said(found: Any) -> str:
    """The first text of an error, however it is wrapped: FastAPI's list of faults, OpenAI's ``error.message``."""
    for _ in range(4):
        if isinstance(found, list) and found:
            found = cast("list[Any]", found)[0]
        elif isinstance(found, dict):
            fields = cast("dict[str, Any]", found)
            found = next((fields[name] for name in ("detail", "message", "msg", "error") if fields.get(name)), "")
        else:
            break
    return found if isinstance(found, str) else msgspec.json.encode(found).decode()


def failure_of(error: Exception, call: Call, response: ClientResponse | None) -> CallFailed:
    """An error of aiohttp or of the system."""
    status = None if response is None else response.status
    if isinstance(error, aiohttp.ClientConnectorError):
        return _not_connected(error, call)
    if isinstance(error, NotAgain):
        return _broken(error.__cause__, call)
    if isinstance(error, aiohttp.ClientPayloadError) and response is not None:
        return CallFailed(Outcome.TRANSPORT, Side.SERVER, _cut_short(response, error), status=status, call=call)
    if isinstance(error, aiohttp.ClientResponseError):
        said = clean(error.message, 120)
        return CallFailed(Outcome.TRANSPORT, Side.SERVER, f"the answer is not proper HTTP: {said}", call=call)
    if isinstance(error, aiohttp.InvalidURL):
        said = clean(str(error), 120)
        return CallFailed(Outcome.TRANSPORT, Side.CLIENT, f"not a URL: {said}", call=call)
    detail = f"the connection broke: {_plain(error)}"
    return CallFailed(Outcome.TRANSPORT, _side(error), detail, status=status, call=call)


def _not_connected(error: aiohttp.ClientConnectorError, call: Call) -> CallFailed:
    cause = error.os_error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    if call.tunnelled and isinstance(cause, ConnectionRefusedError):
        # its near end is ours: the server may be as well as ever
        detail = "the SSH tunnel is gone: its connection to the host was lost"
        return CallFailed(Outcome.TRANSPORT, Side.CLIENT, detail, call=call)
    if isinstance(cause, Unresolved):
        detail = str(cause)
    elif isinstance(cause, ssl.SSLError) and cause.reason in _NOT_TLS:
        detail = "the port does not speak TLS (is the URL http, or tls = false missing?)"
    elif isinstance(cause, ssl.SSLError):
        detail = explain(cause, b"\x16\x03", call.name)
    elif call.phase[0] == "connect" and isinstance(cause, ConnectionResetError) and error.ssl:
        detail = "TLS: closed during the handshake"
    else:
        detail = f"not connected: {_plain(cause)}"
    return CallFailed(Outcome.TRANSPORT, _side(cause), clean(detail), call=call)


def _broken(error: BaseException | None, call: Call) -> CallFailed:
    """Between sending and an answer."""
    if isinstance(error, ssl.SSLError):
        return CallFailed(Outcome.TRANSPORT, Side.SERVER, explain(error, b"\x16\x03", call.name), call=call)
    # without a number: aiohttp found the connection closed when it came to write
    closed = isinstance(error, aiohttp.ServerDisconnectedError) or (isinstance(error, OSError) and error.errno is None)
    what = "closed without an answer" if closed else f"broke before an answer: {_plain(error)}"
    if call.reused:
        detail = f"the kept connection was {what}" if closed else f"the kept connection {what}"
        detail += "; perhaps just as the request was sent (it is never sent twice)"
    else:
        detail = f"the connection {'was ' if closed else ''}{what}"
    return CallFailed(Outcome.TRANSPORT, _side(error), detail, call=call)


def _cut_short(response: ClientResponse, error: aiohttp.ClientPayloadError) -> str:
    got = response.content.total_raw_bytes
    wanted = response.content_length
    if wanted is not None and got < wanted:
        return f"the answer ended after {got} of {wanted} bytes"
    text = clean(str(error), 120)
    if "chunked" in response.headers.get("transfer-encoding", "").lower() and "not completed" in text:
        return f"the answer ended after {got} bytes, before its last chunk"
    return f"the answer broke after {got} bytes: {text}"


def _side(error: BaseException | None) -> Side:
    return Side.CLIENT if isinstance(error, OSError) and error.errno in _OURS else Side.SERVER


def _plain(error: BaseException | None) -> str:
    """The system's words for an error; of an unknown one its name."""
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    said = clean(str(error or ""), 120)
    return said or type(error).__name__
