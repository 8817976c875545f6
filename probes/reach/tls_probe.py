"""A TLS handshake as evidence: which certificate is there, and by what name the library refuses it.

First as a client that verifies. Only if the certificate is refused a second connection looks at it without verifying:
facts of a certificate that nobody vouches for, marked by ``verify_error``.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import structs

from probes import clock
from probes.evidence import TlsProbe
from probes.reach.opening import Heard
from probes.reach.stream import TlsStream
from probes.reach.tls import explain
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from probes.reach.stream import Stream
    from probes.reach.tls import TlsContexts

#: OpenSSL's X509_V_ERR numbers in a word each
_FAULTS: Final = {
    9: "not yet valid",
    10: "expired",
    18: "self-signed",
    19: "unknown CA",
    20: "unknown CA",
    21: "unknown CA",
    23: "revoked",
    62: "wrong name",
    64: "wrong name",
}
_MAX_NAME: Final = 200


class _Shaken(NamedTuple):
    """How one handshake ended."""

    der: bytes | None = None
    version: str | None = None
    fault: str | None = None
    detail: str = ""


async def tls_probe(
    connect: Callable[[], Awaitable[Stream]], contexts: TlsContexts, name: str, limit_s: float
) -> TlsProbe:
    """Shake hands; never raises but when cancelled, and closes every stream it made.

    Args:
        connect: makes another connection to the port; it may raise OSError.
        contexts: with and without verification.
        name: what was dialled: the name that the certificate must be for.
        limit_s: for each handshake, connecting included.
    """
    began_ns = time.perf_counter_ns()
    first = await _shake(connect, contexts, name, limit_s, verify=True)
    took_ms = (time.perf_counter_ns() - began_ns) / 1e6
    if first.fault is None:
        ok = first.der is not None
        return _facts(TlsProbe(ok=ok, version=first.version, took_ms=took_ms, detail=first.detail), first.der)
    second = await _shake(connect, contexts, name, limit_s, verify=False)
    detail = "; ".join(dict.fromkeys(filter(None, (first.detail, second.detail))))
    refused = TlsProbe(ok=False, version=second.version, verify_error=first.fault, took_ms=took_ms, detail=detail)
    return _facts(refused, second.der)


async def _shake(
    connect: Callable[[], Awaitable[Stream]], contexts: TlsContexts, name: str, limit_s: float, *, verify: bool
) -> _Shaken:
    heard: Heard | None = None
    try:
        context = await contexts.get(verify=verify)
        async with asyncio.timeout(limit_s):
            heard = Heard(await connect())
            tls = TlsStream(heard, context, name.partition("%")[0])
            await tls.handshake()
        return _Shaken(tls.certificate(), tls.version())
    except ssl.SSLCertVerificationError as error:
        fault = _FAULTS.get(error.verify_code) or clean(error.verify_message, 80) or "not verified"
        return _Shaken(fault=fault, detail=_without_hint(explain(error, b"", name)))
    except (OSError, ValueError) as error:
        # a ValueError is a name that no certificate can be for
        return _Shaken(detail=_failure(error, heard, name, limit_s))
    finally:
        if heard is not None:
            heard.close()


def _failure(error: OSError | ValueError, heard: Heard | None, name: str, limit_s: float) -> str:
    """A handshake that came to nothing, in words."""
    if isinstance(error, TimeoutError):
        return f"TLS: the handshake was not complete within {limit_s:g} s"
    if isinstance(error, ssl.SSLError):
        return explain(error, heard.head if heard is not None else b"", name)
    said = clean(str(getattr(error, "strerror", None) or error), 80)
    if isinstance(error, ConnectionError) and heard is not None:
        return f"TLS: closed during the handshake ({said})"
    return f"TLS: {said}"


def _without_hint(said: str) -> str:
    """``explain`` is for configured services and ends in a setting; this is evidence."""
    return said.partition(" (tls_verify")[0]


def _facts(probe: TlsProbe, der: bytes | None) -> TlsProbe:
    """The probe with what its certificate says of itself; a date that is over is a fault of its own."""
    if der is None:
        return probe
    probe = structs.replace(probe, fingerprint=f"SHA256:{hashlib.sha256(der).hexdigest()}")
    # cryptography costs 30 ms to import, and only a TLS service needs it
    from cryptography import x509  # noqa: PLC0415

    try:
        found = x509.load_der_x509_certificate(der)
        subject, issuer = found.subject.rfc4514_string(), found.issuer.rfc4514_string()
        not_before_s, not_after_s = (
            when.timestamp() for when in (found.not_valid_before_utc, found.not_valid_after_utc)
        )
        before, after = clock.rfc3339(not_before_s), clock.rfc3339(not_after_s)
    except (ValueError, TypeError, OverflowError, OSError, x509.UnsupportedGeneralNameType) as error:
        why = f"the certificate cannot be read: {clean(str(error), 100)}"
        return structs.replace(probe, detail="; ".join(filter(None, (probe.detail, why))))
    fault = probe.verify_error
    if fault is not None:
        now_s = clock.wall_s()
        over = "expired" if now_s > not_after_s else "not yet valid" if now_s < not_before_s else fault
        fault = fault if over == fault else f"{fault}, {over}"
    return structs.replace(
        probe,
        subject=clean(subject, _MAX_NAME),
        issuer=clean(issuer, _MAX_NAME),
        not_before=before,
        not_after=after,
        verify_error=fault,
    )
