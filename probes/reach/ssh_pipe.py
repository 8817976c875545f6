"""asyncssh over a ``Stream`` of ours: a socket or a tunnel alike, watched byte by byte, and never closed by it.

asyncssh takes anything with ``create_connection`` as a tunnel. What it is given here is a transport whose bytes are
moved by two tasks, so that every byte can be counted and an error in it is an error of this probe alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.reach.opening import Heard

#: a whole key exchange is some 5 KB
_MAX_BYTES: Final = 256 * 1024


class _Pipe(asyncio.Transport):
    """What asyncssh writes to: a queue that a task sends from."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closed.is_set():
            self.waiting.put_nowait(bytes(data))

    def close(self) -> None:
        self.closed.set()

    def abort(self) -> None:
        self.closed.set()

    def is_closing(self) -> bool:
        return self.closed.is_set()


class StreamTunnel:
    """Give it to asyncssh as ``tunnel``; ``conn`` is then its connection. ``close`` it, whatever became of it."""

    def __init__(self, heard: Heard, prepare: Callable[[Any], None]) -> None:
        self.conn: Any = None
        self.heard = heard
        #: set when bytes came, and when the stream ended
        self.news = asyncio.Event()
        self._prepare = prepare
        self._tasks: list[asyncio.Task[None]] = []

    async def create_connection(self, session_factory: Callable[[], Any], *_: Any) -> tuple[asyncio.Transport, Any]:
        """See asyncssh's connections: a transport and the protocol on it."""
        self.conn = session_factory()
        self._prepare(self.conn)
        pipe = _Pipe()
        self.conn.connection_made(pipe)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._receive(pipe), name="ssh probe receives"),
            loop.create_task(self._send(pipe), name="ssh probe sends"),
        ]
        return pipe, self.conn

    async def close(self) -> None:
        """End the tasks; the stream stays open, and its owner's."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _receive(self, pipe: _Pipe) -> None:
        error: Exception | None = None
        try:
            while not pipe.closed.is_set():
                data = await self.heard.receive()
                self.news.set()
                if not data:
                    break
                self.conn.data_received(data)
                if self.heard.total > _MAX_BYTES:
                    error = ConnectionAbortedError(
                        f"more than {_MAX_BYTES // 1024} KB before the key exchange was over"
                    )
                    break
        except Exception as caught:  # noqa: BLE001 - hostile bytes: whatever asyncssh makes of them ends this connection
            error = caught
        self.news.set()
        self.conn.connection_lost(error)

    async def _send(self, pipe: _Pipe) -> None:
        while True:
            data = await pipe.waiting.get()
            try:
                await self.heard.send(data)
            except OSError as error:
                self.conn.connection_lost(error)
                return
