"""An OpenVoice service, of two flavours that ``/health`` tells apart.

A ("native", and its successors): profiles under ``/voice-clone``, base64 in JSON. B ("EC2"): under ``/api``, raw WAV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct

from benchmarks.client import CallFailed
from benchmarks.errors import BenchError
from benchmarks.model import Side
from benchmarks.synthesis.bodies import from_openvoice
from benchmarks.synthesis.speaker import (
    ONE_REQUEST,
    WHOLE_FILE,
    Found,
    Spoken,
    ask,
    decoded,
    listed,
    not_ready,
    wrong_kind,
)
from benchmarks.synthesis.texts import DIFFERENT
from probes.text import clean

if TYPE_CHECKING:
    from benchmarks.client import Client, Reply
    from benchmarks.synthesis.speaker import Wishes

_WHAT: Final = "OpenVoice service"
#: profiles that are tried where none has a status
_TRIED: Final = 5
_A_KEYS: Final = frozenset({"openvoice_available", "pytorch_device", "model_files_status"})
_B_KEYS: Final = frozenset({"initialized", "profiles_count", "encoding"})
_READY: Final = "healthy"
#: a profile in one of these states cannot speak yet, or never will
_UNUSABLE: Final = frozenset({"failed", "error", "pending", "processing", "training", "uploading", "queued"})
_MISSING: Final = {"ttfa": WHOLE_FILE, "query_time": ONE_REQUEST, "synthesis_time": ONE_REQUEST}


class Profile(Struct, frozen=True):
    """A cloned voice."""

    id: str | int
    name: str | None = None
    status: str | None = None

    @property
    def title(self) -> str:
        """Id and name, clean."""
        return clean(f"{self.id} ({self.name})" if self.name else str(self.id), 80)


class OpenVoice:
    """Speaks through a service of either flavour."""

    def __init__(self, client: Client, prefix: str, wishes: Wishes) -> None:
        self._client = client
        self._prefix = prefix
        self._wishes = wishes
        self._native = True
        self._profile: str | int = ""
        #: profiles to be tried, where nobody chose one and the list does not say which can be used
        self._candidates: list[Profile] = []

    async def discover(self) -> Found:
        """See ``Speaker``."""
        path = f"{self._prefix}/health"
        health: dict[str, Any] = decoded(await ask(self._client, path, _WHAT), dict[str, Any], _WHAT, path)
        self._native = is_native(health, path)
        check_ready(health, native=self._native)
        if not self._native and self._wishes.speed != 1.0:
            step = "leave the speed out"
            raise BenchError("this flavour of OpenVoice has no speed", layer="plan", next_step=step, side=Side.CLIENT)
        where = f"{self._prefix}{'/voice-clone' if self._native else '/api'}/profiles"
        known = await profiles(self._client, where, _WHAT)
        profile = choose(known, self._wishes.style)
        if not self._wishes.style and all(one.status is None for one in known):
            self._candidates = known[:_TRIED]
        self._profile = profile.id
        device = health.get("pytorch_device" if self._native else "device")
        claimed = clean(device, 60) if isinstance(device, str) and device else None
        return Found(
            server_version=_text(health, "version"),
            device_claimed=claimed,
            notes=(
                f"OpenVoice, flavour {'A (base64 in JSON)' if self._native else 'B (raw WAV)'}",
                f"profile {profile.title}",
                *_extras(health),
            ),
            missing=_MISSING if claimed else {**_MISSING, "device_claimed": "its health does not name a device"},
        )

    async def is_warm(self) -> bool | None:
        """See ``Speaker``: it does not tell."""
        return None

    async def make_warm(self) -> str:
        """See ``Speaker``: there is no such request. Where profiles have no status, the first that speaks is used."""
        if len(self._candidates) < 2:
            return ""
        first = self._profile
        for profile in self._candidates:
            self._profile = profile.id
            try:
                await self.speak(DIFFERENT[0])
            except CallFailed as failed:
                if failed.side is Side.CLIENT:
                    raise
            else:
                return "" if profile.id == first else f"profile {profile.title} instead: those before it cannot speak"
        self._profile = first  # none can: its failures are the result
        return ""

    async def speak(self, text: str) -> Spoken:
        """See ``Speaker``."""
        wishes = self._wishes
        if not self._native:
            form = {"text": text, "profile_id": self._profile, "language": wishes.language}
            return spoken(await self._client.send("POST", f"{self._prefix}/api/synthesize", form=form))
        form = {
            "text": text,
            "voice_profile_id": self._profile,
            "language": wishes.language,
            "speed": f"{wishes.speed:g}",
        }
        reply = await self._client.send("POST", f"{self._prefix}/voice-clone/synthesize", form=form)
        return Spoken(reply.body, reply.sent_ns, reply.end_ns, reply.spans, unwrap=from_openvoice)


def spoken(reply: Reply) -> Spoken:
    """One whole answer that is audio."""
    return Spoken(reply.body, reply.sent_ns, reply.end_ns, reply.spans)


def is_native(health: dict[str, Any], path: str) -> bool:
    """Which flavour: A (True) or B.

    Raises:
        BenchError: neither.
    """
    a, b = len(_A_KEYS & health.keys()), len(_B_KEYS & health.keys())
    if a == b:
        raise wrong_kind(_WHAT, path, "the fields of neither of its flavours")
    return a > b


def check_ready(health: dict[str, Any], *, native: bool) -> None:
    """Whether it can speak now: it answers 200 before it can.

    Raises:
        BenchError: not yet.
    """
    status = health.get("status")
    if status != _READY:
        raise not_ready(f'OpenVoice is not ready: its status is "{clean(str(status), 40)}"')
    if not native and health.get("initialized") is False:
        raise not_ready("OpenVoice is not ready: it is not initialised")


async def profiles(client: Client, path: str, what: str) -> list[Profile]:
    """The profiles of a service.

    Raises:
        BenchError: this is no such service.
        CallFailed: it does not answer.
    """
    return cast("list[Profile]", decoded(await ask(client, path, what), list[Profile], what, path))


def choose(known: list[Profile], wish: str | None) -> Profile:
    """The profile that is wanted, by id or name; else the first that can speak.

    Raises:
        BenchError: there is none, or no such.
    """
    if not known:
        raise not_ready("the service has no voice profile", "upload one, then run again")
    names = listed([profile.title for profile in known])
    if wish is None or not wish.strip():
        usable = [profile for profile in known if (profile.status or "").lower() not in _UNUSABLE]
        if not usable:
            raise not_ready(f"no voice profile is usable: {names}", "look into the service's log")
        return usable[0]
    hits = [profile for profile in known if str(profile.id) == wish] or [p for p in known if p.name == wish]
    if not hits:
        raise BenchError(
            f'no profile "{clean(wish, 60)}"', layer="service", next_step=f"one of: {names}", side=Side.CLIENT
        )
    return hits[0]


def _extras(health: dict[str, Any]) -> list[str]:
    notes: list[str] = []
    if health.get("openvoice_available") is False:
        notes.append("its health says that OpenVoice itself is not available")
    if gpu := _text(health, "gpu_name"):
        notes.append(f"it names its GPU: {gpu}")
    used = health.get("vram_usage_mb")
    if isinstance(used, int | float) and not isinstance(used, bool):
        notes.append(f"it says that it holds {used:g} MB of GPU memory")
    return notes


def _text(health: dict[str, Any], name: str) -> str | None:
    value = health.get(name)
    return clean(value, 80) if isinstance(value, str) and value else None
