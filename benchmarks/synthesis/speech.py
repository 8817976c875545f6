"""Any service with OpenAI's ``POST /v1/audio/speech``; first audio is timed where the answer streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from benchmarks.client import CallFailed
from benchmarks.errors import BenchError
from benchmarks.model import Side
from benchmarks.synthesis.audio import Format
from benchmarks.synthesis.speaker import ONE_REQUEST, Found, listed
from benchmarks.synthesis.streaming import listen
from probes.text import clean

if TYPE_CHECKING:
    from benchmarks.client import Client
    from benchmarks.synthesis.speaker import Spoken, Wishes

#: raw samples as OpenAI defines them; nothing in the answer says so
PCM: Final = Format(24_000, 1, 16)
DEFAULT_MODEL: Final = "tts-1"
DEFAULT_VOICE: Final = "alloy"
_SPEAKS: Final = ("tts", "speech", "kokoro", "voice", "audio")


class _Model(Struct, frozen=True):
    id: str


class _Models(Struct, frozen=True):
    data: tuple[_Model, ...] = ()


class Speech:
    """Speaks through ``/v1/audio/speech``."""

    def __init__(self, client: Client, prefix: str, wishes: Wishes) -> None:
        self._client = client
        self._prefix = prefix
        self._wishes = wishes
        self._model = wishes.model or DEFAULT_MODEL
        self._voice = wishes.style or DEFAULT_VOICE

    async def discover(self) -> Found:
        """See ``Speaker``. A service without a list of models is taken at its word."""
        known = await self._models()
        if known is None:
            note = "the service lists no models"
        elif self._wishes.model is not None and known and self._wishes.model not in known:
            names = listed([clean(name, 60) for name in known])
            raise BenchError(
                f'no model "{clean(self._wishes.model, 60)}"', layer="service", next_step=f"one of: {names}",
                side=Side.CLIENT,
            )  # fmt: skip
        else:
            if self._wishes.model is None:
                self._model = next((name for name in known if _speaks(name)), known[0] if known else DEFAULT_MODEL)
            note = f"{len(known)} models listed"
        voice = f"model {clean(self._model, 60)}, voice {clean(self._voice, 60)}, {self._wishes.format}"
        return Found(
            notes=(voice, note),
            missing={
                "query_time": ONE_REQUEST,
                "synthesis_time": ONE_REQUEST,
                "device_claimed": "the service does not tell",
            },
        )

    async def is_warm(self) -> bool | None:
        """See ``Speaker``: it does not tell."""
        return None

    async def make_warm(self) -> str:
        """See ``Speaker``: there is no such request."""
        return ""

    async def speak(self, text: str) -> Spoken:
        """See ``Speaker``."""
        wishes = self._wishes
        body: dict[str, Any] = {
            "model": self._model,
            "input": text,
            "voice": self._voice,
            "response_format": wishes.format,
        }
        if wishes.speed != 1.0:
            body["speed"] = wishes.speed
        raw = PCM if wishes.format == "pcm" else None
        return await listen(self._client, "POST", f"{self._prefix}/v1/audio/speech", json=body, raw=raw)

    async def _models(self) -> list[str] | None:
        try:
            reply = await self._client.send("GET", f"{self._prefix}/v1/models")
            found = msgspec.json.decode(reply.body, type=_Models)
        except CallFailed as failed:
            if failed.status is None or failed.status >= 500:
                raise
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return [model.id for model in found.data]


def _speaks(model: str) -> bool:
    return any(word in model.lower() for word in _SPEAKS)
