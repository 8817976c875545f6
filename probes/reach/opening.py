"""What an open port does first: a word of its own, silence, or the end of the stream without a byte.

A proxy whose container is dead accepts and hangs up; a wedged process accepts and says nothing. Both look open.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from probes.evidence import Opening
from probes.text import clean, clean_bytes

if TYPE_CHECKING:
    from probes.reach.stream import Stream

_MAX_HEAD: Final = 1024
_MAX_SHOWN: Final = 120


class Heard:
    """A stream that remembers how it began: its first bytes, and whether and how it ended."""

    def __init__(self, inner: Stream) -> None:
        self._inner = inner
        self.head = b""
        self.total = 0
        #: None while it lives; why it ended otherwise
        self.ended: str | None = None

    async def receive(self) -> bytes:
        """See ``Stream``."""
        try:
            data = await self._inner.receive()
        except OSError as error:
            self.ended = clean(error.strerror or str(error), 80) or type(error).__name__
            raise
        if not data:
            self.ended = "end of stream"
        self.total += len(data)
        if len(self.head) < _MAX_HEAD:
            self.head += data[: _MAX_HEAD - len(self.head)]
        return data

    async def send(self, data: bytes) -> None:
        """See ``Stream``."""
        await self._inner.send(data)

    def close(self) -> None:
        """See ``Stream``."""
        self._inner.close()

    def opening(self, *, fits: bool) -> Opening:
        """What was seen so far; ``fits``: whether the first bytes are of the protocol that was expected."""
        if self.total:
            return Opening.BANNER if fits else Opening.GARBAGE
        return Opening.SILENT if self.ended is None else Opening.CLOSED

    @property
    def shown(self) -> str:
        """The first line that came, harmless and short."""
        for line in self.head.splitlines():
            text = clean_bytes(line, _MAX_SHOWN).strip()
            if text:
                return text
        return ""


async def listen_first(heard: Heard, limit_s: float) -> str:
    """Wait a little for a first word or a hang-up, saying nothing; what was seen, in words."""
    try:
        async with asyncio.timeout(limit_s):
            await heard.receive()
    except TimeoutError:
        return ""
    except OSError:
        # ``ended`` has the reason, and says it below
        pass
    if heard.total:
        return f'it says "{heard.shown}"'
    return f"accepted, then closed without a byte ({heard.ended})"
