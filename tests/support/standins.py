"""Asking a stand-in with the standard library's own client, and a clock that goes only when it is told to."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from probes.demo.voices import Running

LIMIT_S = 10.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def _ask(port: int, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


async def ask(running: Running, method: str, path: str, body: object = None, **headers: str) -> Answer:
    """One request on a connection of its own; a body that is no bytes goes as JSON."""
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await asyncio.to_thread(_ask, running.port, method, path, raw, named)


async def query(running: Running, text: str, style: int = 8) -> bytes:
    """VOICEVOX's first step."""
    answer = await ask(running, "POST", f"/audio_query?speaker={style}&text={quote(text)}")
    assert answer.status == 200
    return answer.body


async def say(running: Running, text: str, style: int = 8) -> Answer:
    """VOICEVOX's two steps."""
    return await ask(running, "POST", f"/synthesis?speaker={style}", await query(running, text, style))


async def until(done: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(LIMIT_S):
        while not done():
            await asyncio.sleep(0.005)


def frames_of(sound: bytes) -> bytes:
    """The frames of a WAV as the standard library reads it."""
    with wave.open(io.BytesIO(sound)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24000)
        return file.readframes(file.getnframes())


class StepClock:
    """Stands still until ``to`` moves it; then all who waited for that moment go on."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    def now_s(self) -> float:
        return self._now_s

    async def sleep_until(self, at_s: float) -> None:
        if at_s <= self._now_s:
            return
        entry = (at_s, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._changed.set()
        try:
            await entry[1]
        finally:
            self._waiting = [other for other in self._waiting if other is not entry]

    async def sleepers(self, count: int) -> list[float]:
        """Wait until so many wait; the moments that they wait for, in order."""
        async with asyncio.timeout(LIMIT_S):
            while len(self._waiting) != count:
                self._changed.clear()
                await self._changed.wait()
        return sorted(at_s for at_s, _ in self._waiting)

    def to(self, at_s: float) -> None:
        """Let the time be ``at_s``."""
        self._now_s = at_s
        due = [future for due_s, future in self._waiting if due_s <= at_s]
        self._waiting = [entry for entry in self._waiting if entry[0] > at_s]
        for future in due:
            if not future.done():
                future.set_result(None)
