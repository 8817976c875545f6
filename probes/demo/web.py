"""Stand-ins for the services of a simulated host: small HTTP answers, closed ports, and a port that is silent."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Final

from probes.demo.catalog import Behaviour
from probes.demo.faults import FLAPPING

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.demo.catalog import ServiceSpec

_REQUEST_LIMIT: Final = 16 * 1024
_REQUEST_TIMEOUT_S: Final = 5.0
_FILLERS: Final = 8
_FILL_WAIT_S: Final = 0.2
_FLAP_STEP_S: Final = 0.5


class SilentPort:
    """A port that answers nothing at all, without root and without a firewall.

    A listening socket whose accept queue is full: Linux then drops every further SYN, so a client sees exactly what a
    dropping firewall shows, silence. The queue is filled by connections of our own that nobody ever accepts.
    """

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port
        self._sockets: list[socket.socket] = []

    async def open(self) -> None:
        """Bind, and fill the queue until a connect stays unanswered. Raises OSError when the port is taken."""
        listener = bind(self._address, self._port)
        self._sockets.append(listener)
        listener.listen(0)
        loop = asyncio.get_running_loop()
        for _ in range(_FILLERS):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            self._sockets.append(filler)
            try:
                async with asyncio.timeout(_FILL_WAIT_S):
                    await loop.sock_connect(filler, (self._address, self._port))
            except TimeoutError:
                return
        raise OSError(f"{self._address}:{self._port} still answers after {_FILLERS} connections")

    async def run(self) -> None:
        """Nothing changes on a silent port."""

    def close(self) -> None:
        """Give the port back."""
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()


class HttpPort:
    """One HTTP service. ``now_s`` gives the time of the script, by which a flapping service opens and closes."""

    def __init__(self, address: str, spec: ServiceSpec, now_s: Callable[[], float]) -> None:
        self._address = address
        self._spec = spec
        self._now_s = now_s
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Start answering. Raises OSError when the port is taken."""
        await self._listen()

    async def run(self) -> None:
        """Open and close a flapping service by the script; nothing to do for the others."""
        while self._spec.behaviour is Behaviour.FLAPPING:
            await asyncio.sleep(_FLAP_STEP_S)
            if FLAPPING.on(self._now_s()):
                self.close()
            elif self._server is None:
                await self._listen()

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _listen(self) -> None:
        listener = bind(self._address, self._spec.port)
        self._server = await asyncio.start_server(self._answer, sock=listener, limit=_REQUEST_LIMIT)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                status, body = respond(self._spec, words[1] if len(words) > 1 else "/")
                writer.write(_frame(status, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            pass  # a port check that connects and leaves: nothing to answer
        finally:
            writer.close()


def respond(spec: ServiceSpec, target: str) -> tuple[int, bytes]:
    """The answer of a service to ``GET target``: status and JSON body."""
    path = target.split("?", 1)[0]
    if spec.behaviour is Behaviour.ERROR:
        return 502, b'{"detail": "upstream did not answer"}'
    answer = _ANSWERS.get(spec.name, {}).get(path)
    if answer is None:
        return 404, b'{"detail": "Not Found"}'
    if spec.behaviour is Behaviour.INITIALIZING:
        answer = {"status": "initializing", "service": "OpenVoice", "version": "2.0", "openvoice_available": False}
    elif spec.behaviour is Behaviour.UNHEALTHY:
        answer = {"status": "unhealthy", "error": "connection to 127.0.0.1:50021 refused"}
    return 200, json.dumps(answer).encode()


_OPENVOICE: Final = {
    "status": "healthy",
    "service": "OpenVoice",
    "version": "2.0",
    "openvoice_available": True,
    "pytorch_device": "cuda",
    "model_files_status": {"converter": True},
}
_ANSWERS: Final[dict[str, dict[str, object]]] = {
    "voicevox": {
        "/": {"name": "VOICEVOX ENGINE"},
        "/version": "0.24.1",
        "/health": {"status": "healthy"},
        "/speakers": [{"name": "Demo", "speaker_uuid": "0", "styles": [{"name": "plain", "id": 3, "type": "talk"}]}],
        "/supported_devices": {"cpu": True, "cuda": True, "dml": False},
    },
    "openvoice": {"/health": _OPENVOICE},
    "backend": {
        "/health": {"status": "healthy"},
        "/api/voicevox/health": {"status": "healthy", "version": "0.24.1"},
        "/api/unified-voice/health": {"service": "healthy", "providers": {"voicevox": "healthy"}},
    },
    "frontend": {"/": {"app": "demo"}},
    "exporter": {"/metrics": {}, "/": {}},
}
_PHRASES: Final = {200: "OK", 404: "Not Found", 502: "Bad Gateway"}


def _frame(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def bind(address: str, port: int) -> socket.socket:
    """A TCP socket bound to an address and port; the caller listens on it. Raises OSError when it is taken."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
