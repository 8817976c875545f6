"""An answer that may arrive while it is still being made: when its first sample came."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.synthesis.audio import NotAudioError, pcm_start
from benchmarks.synthesis.speaker import Spoken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.client import Client
    from benchmarks.synthesis.audio import Format


async def listen(
    client: Client,
    method: str,
    path: str,
    *,
    params: Mapping[str, str | int | float | bool] | None = None,
    json: Any = None,
    raw: Format | None = None,
) -> Spoken:
    """Make one request and read its answer as it comes.

    First audio is the arrival of the first byte behind the WAV header (``raw``: of the first byte), since a header can
    be sent before anything was synthesised. An answer with a Content-Length was finished when it began: no stream.

    Raises:
        CallFailed: no complete answer.
    """
    body = bytearray()
    watch = _FirstSample(raw)
    async with client.stream(method, path, params=params, json=json) as answer:
        async for chunk, at_ns in answer:
            body += chunk
            watch.look(body, at_ns)
        end_ns = time.perf_counter_ns()
        whole = "content-length" in answer.headers
        return Spoken(
            bytes(body),
            answer.sent_ns,
            end_ns,
            answer.spans,
            first_audio_ns=None if whole else watch.at_ns,
            raw=raw,
        )


class _FirstSample:
    """Looks at what has come until the first sample is there."""

    def __init__(self, raw: Format | None) -> None:
        self.at_ns: int | None = None
        self._start = None if raw is None else 0
        self._hopeless = False

    def look(self, body: bytearray, at_ns: int) -> None:
        """What has come until now, the last of it at ``at_ns``."""
        if self.at_ns is not None or self._hopeless:
            return
        if self._start is None:
            try:
                # headers of real files fit into the first kilobytes
                self._start = pcm_start(bytes(body[:65536]))
            except NotAudioError:
                self._hopeless = True  # whoever checks the whole says so
                return
        if self._start is not None and len(body) > self._start:
            self.at_ns = at_ns
