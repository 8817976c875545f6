"""Synthesis through the backend, as its users get it: three ways, each behind a health check of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from benchmarks.errors import BenchError
from benchmarks.model import Side
from benchmarks.synthesis import openvoice
from benchmarks.synthesis.speaker import ONE_REQUEST, WHOLE_FILE, Found, Spoken, ask, decoded, not_ready
from probes.text import clean

if TYPE_CHECKING:
    from benchmarks.client import Client
    from benchmarks.synthesis.speaker import Wishes

_WHAT: Final = "backend"
_MISSING: Final = {
    "ttfa": WHOLE_FILE,
    "query_time": ONE_REQUEST,
    "synthesis_time": ONE_REQUEST,
    "device_claimed": "the backend does not tell",
}
#: characters; /api/voicevox/synthesis refuses more, and the others are held to the same
MAX_CHARACTERS: Final = 1000


class _Backend:
    """What the three ways have in common."""

    def __init__(self, client: Client, prefix: str, wishes: Wishes) -> None:
        self._client = client
        self._prefix = prefix
        self._wishes = wishes
        self._voice: str | int = ""

    async def is_warm(self) -> bool | None:
        """See ``Speaker``: it does not tell."""
        return None

    async def make_warm(self) -> str:
        """See ``Speaker``: there is no such request."""
        return ""

    async def _health(self, path: str) -> dict[str, Any]:
        where = self._prefix + path
        return decoded(await ask(self._client, where, _WHAT), dict[str, Any], _WHAT, where)

    async def _choose_profile(self) -> str:
        known = await openvoice.profiles(self._client, f"{self._prefix}/api/voice-clone/profiles", _WHAT)
        profile = openvoice.choose(known, self._wishes.style)
        self._voice = profile.id
        return f"profile {profile.title}"


class BackendVoicevox(_Backend):
    """``POST /api/voicevox/synthesis``. The backend lists no styles: an id must be given."""

    async def discover(self) -> Found:
        """See ``Speaker``."""
        style = (self._wishes.style or "").strip()
        if not (style.isascii() and style.isdecimal() and len(style) < 10):
            step = "give --style ID, one of the engine's own list (/speakers of the VOICEVOX service)"
            raise BenchError(
                "the backend does not list VOICEVOX's styles", layer="plan", next_step=step, side=Side.CLIENT
            )
        self._voice = int(style)
        health = await self._health("/api/voicevox/health")
        if health.get("status") != "healthy":
            said = health.get("error") or health.get("status")
            raise not_ready(f'the backend says that VOICEVOX is not well: "{clean(str(said), 120)}"')
        version = health.get("version")
        return Found(
            server_version=clean(version, 60) if isinstance(version, str) else None,
            notes=("through the backend, /api/voicevox", f"style {self._voice}, which the backend does not check"),
            missing=_MISSING,
        )

    async def speak(self, text: str) -> Spoken:
        """See ``Speaker``."""
        body = {"text": text, "speaker_id": self._voice, "speed_scale": self._wishes.speed}
        return openvoice.spoken(await self._client.send("POST", f"{self._prefix}/api/voicevox/synthesis", json=body))


class BackendUnified(_Backend):
    """``POST /api/unified-voice/synthesize``."""

    async def discover(self) -> Found:
        """See ``Speaker``."""
        health = await self._health("/api/unified-voice/health")
        if health.get("service") != "healthy":
            raise not_ready(f'the backend\'s unified voice is "{clean(str(health.get("service")), 40)}"')
        return Found(notes=("through the backend, /api/unified-voice", await self._choose_profile()), missing=_MISSING)

    async def speak(self, text: str) -> Spoken:
        """See ``Speaker``; pitch, volume and emotion are left to the backend."""
        body = {"text": text, "voice_profile_id": self._voice, "speed": self._wishes.speed}
        path = f"{self._prefix}/api/unified-voice/synthesize"
        return openvoice.spoken(await self._client.send("POST", path, json=body))


class BackendClone(_Backend):
    """``POST /api/voice-clone/test/{id}``, the one way to a cloned voice that exists."""

    async def discover(self) -> Found:
        """See ``Speaker``."""
        return Found(
            notes=(
                "through the backend, /api/voice-clone/test",
                "its health proves only that the process answers: not asked",
                await self._choose_profile(),
            ),
            missing=_MISSING,
        )

    async def speak(self, text: str) -> Spoken:
        """See ``Speaker``."""
        path = f"{self._prefix}/api/voice-clone/test/{quote(str(self._voice), safe='')}"
        return openvoice.spoken(await self._client.send("POST", path, form={"text": text}))
