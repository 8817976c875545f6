"""TLS contexts, and a failed handshake in words."""

from __future__ import annotations

import ssl
from typing import Final

from probes.reach.threads import DaemonPool
from probes.text import clean, clean_bytes

_LOAD_S: Final = 10.0
_TLS_RECORDS: Final = frozenset({20, 21, 22, 23})
#: OpenSSL's X509_V_ERR numbers
_CERTIFICATE: Final = {
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: "the certificate is self-signed",
    19: "the certificate's chain ends in a self-signed one that this machine does not trust",
    20: "this machine does not trust the certificate's issuer",
    21: "the certificate's chain is incomplete",
    23: "the certificate was revoked",
    62: "the certificate is for another name than {name}",
    64: "the certificate is for another address than {name}",
}


class TlsContexts:
    """One context that verifies and one that does not, made on first use, off the event loop: that reads a CA file."""

    def __init__(self) -> None:
        self._pool = DaemonPool("tls", 1, 16)
        self._made: dict[bool, ssl.SSLContext] = {}

    async def get(self, *, verify: bool) -> ssl.SSLContext:
        """Return the shared context.

        Raises:
            OSError: it could not be made in time.
        """
        context = self._made.get(verify)
        if context is None:
            context = await self._pool.run(lambda: _make(verify=verify), _LOAD_S)
            self._made[verify] = context
        return context

    def close(self) -> None:
        """Let the thread go."""
        self._pool.close()


def _make(*, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def explain(error: ssl.SSLError, heard: bytes, name: str) -> str:
    """A failed handshake: which fault of the certificate, or that it was not TLS, or TLS's own reason."""
    if isinstance(error, ssl.SSLCertVerificationError):
        words = _CERTIFICATE.get(error.verify_code)
        said = words.format(name=clean(name, 80)) if words else f"certificate: {clean(error.verify_message, 120)}"
        return f"TLS: {said} (tls_verify = false accepts it)"
    if heard and not is_tls(heard):
        if looks_like_http(heard):
            return "the port speaks plain http, not https (configured with tls = true)"
        return f'the port does not speak TLS: it answered "{clean_bytes(heard, 40)}"'
    if isinstance(error, ssl.SSLEOFError) or not heard:
        return "TLS: closed during the handshake"
    return f"TLS: {clean((error.reason or str(error)).replace('_', ' ').lower(), 120)}"


def is_tls(first: bytes) -> bool:
    """Whether bytes begin with a TLS record."""
    return len(first) >= 2 and first[0] in _TLS_RECORDS and first[1] == 3


def looks_like_http(first: bytes) -> bool:
    """Whether bytes begin like an HTTP answer, or like the page an old server sends to nonsense."""
    start = first.lstrip()[:5].upper()
    return start in (b"HTTP/", b"<!DOC", b"<HTML")
