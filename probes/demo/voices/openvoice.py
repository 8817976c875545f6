"""Stand-ins of the OpenVoice service: flavour A ("native"), flavour B ("ec2") and the successor of A (Qwen3-TTS)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from msgspec import Struct

from probes.demo.voices.audio import CHAR_S, wav
from probes.demo.voices.message import Reply, Request, as_json, detail, invalid
from probes.demo.voices.service import Route, Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.demo.voices.behaviour import Behaviour
    from probes.demo.voices.clock import Clock

Flavour = Literal["native", "ec2", "successor"]


class Profile(Struct, frozen=True):
    """A cloned voice."""

    id: str
    name: str
    language: str = "ja"
    status: str = "ready"


PROFILES: Final = (
    Profile("5f0c1d2e", "Broken", status="failed"),
    Profile("a41b77c0", "Demo"),
    Profile("c9d08e13", "Other", "en"),
)


class OpenVoice(Service):
    """One of the flavours.

    Args:
        behaviour: speed and faults.
        flavour: which.
        profiles: what it lists.
        device: what health claims.
        clock: another time than the event loop's.
        on_busy: told of work on the GPU.
    """

    kind: ClassVar[str] = "openvoice"

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        flavour: Flavour = "native",
        profiles: tuple[Profile, ...] = PROFILES,
        device: str = "cuda",
        gpu_name: str = "NVIDIA L4",
        clock: Clock | None = None,
        on_busy: Callable[[int], None] | None = None,
    ) -> None:
        self._flavour: Flavour = flavour
        self._profiles = profiles
        self._device = device
        self._gpu_name = gpu_name
        super().__init__(behaviour, clock=clock, on_busy=on_busy)

    def routes(self) -> tuple[Route, ...]:
        """The calls of the flavour."""
        health = Route("GET", "/health", self._health)
        if self._flavour == "ec2":
            return (
                health,
                Route("GET", "/api/profiles", self._list),
                Route("POST", "/api/synthesize", self._synthesize_raw, work=True),
            )
        more = (Route("GET", "/model/status", self._model_status),) if self._flavour == "successor" else ()
        return (
            health,
            Route("GET", "/voice-clone/profiles", self._list),
            Route("POST", "/voice-clone/synthesize", self._synthesize_json, work=True),
            *more,
        )

    def ok_error(self) -> Reply:
        """Flavour A has its own words for it."""
        if self._flavour == "ec2":
            return super().ok_error()
        return as_json({"success": False, "audio_data": None, "message": "", "error": "CUDA out of memory"})

    def _health(self, request: Request) -> Reply:
        del request
        behaviour = self.behaviour
        ready = not behaviour.initializing
        status = "unhealthy" if behaviour.unhealthy else "healthy" if ready else "initializing"
        if self._flavour == "ec2":
            return as_json(
                {
                    "status": status,
                    "service": "openvoice",
                    "device": self._device,
                    "initialized": ready,
                    "profiles_count": len(self._listed()),
                    "encoding": "utf-8",
                }
            )
        said: dict[str, Any] = {
            "status": status,
            "service": "Qwen3-TTS" if self._flavour == "successor" else "OpenVoice",
            "version": "3.0" if self._flavour == "successor" else "2.0",
            "openvoice_available": ready,
            "pytorch_device": self._device,
            "model_files_status": {"checkpoint": True, "config": True},
        }
        if self._flavour == "successor":
            said |= {"vram_usage_mb": 5123.4 if ready else 0.0, "gpu_name": self._gpu_name}
        return as_json(said)

    def _model_status(self, request: Request) -> Reply:
        del request
        ready = not self.behaviour.initializing
        return as_json({"loaded": ready, "model": "Qwen3-TTS-1.7B", "device": self._device})

    def _listed(self) -> tuple[Profile, ...]:
        return () if self.behaviour.empty_catalog else self._profiles

    def _list(self, request: Request) -> Reply:
        del request
        if self._flavour == "ec2":
            return as_json([{"id": profile.id, "name": profile.name} for profile in self._listed()])
        return as_json(
            [
                {
                    "id": profile.id,
                    "name": profile.name,
                    "language": profile.language,
                    "status": profile.status,
                    "reference_audio": f"/app/profiles/{profile.id}.wav",
                }
                for profile in self._listed()
            ]
        )

    def _synthesize_json(self, request: Request) -> Reply:
        asked = self._asked(request, "voice_profile_id")
        if isinstance(asked, Reply):
            return asked
        text, profile, speed = asked
        sound = base64.b64encode(wav(text, profile, speed, self.behaviour.audio)).decode()
        said: dict[str, Any] = {"success": True, "audio_data": sound, "message": "Synthesis completed", "error": None}
        if self._flavour == "successor":
            said["duration"] = round(len(text) * CHAR_S / speed, 3)
        reply = as_json(said)
        reply.text, reply.chars = text, len(text)
        return reply

    def _synthesize_raw(self, request: Request) -> Reply:
        asked = self._asked(request, "profile_id")
        if isinstance(asked, Reply):
            return asked
        text, profile, speed = asked
        return Reply(200, wav(text, profile, speed, self.behaviour.audio), "audio/wav", text=text, chars=len(text))

    def _asked(self, request: Request, profile_field: str) -> tuple[str, str, float] | Reply:
        """Text, profile and speed of a form, or why they cannot be had."""
        form = request.form()
        for name in ("text", profile_field):
            if name not in form:
                return invalid("body", name)
        text, profile = form["text"], form[profile_field]
        speed = _number(form.get("speed", "1.0"))
        if speed is None:
            return invalid("body", "speed", "Input should be a valid number", "float_parsing")
        return self._refusal(text, profile, speed) or (text, profile, speed)

    def _refusal(self, text: str, profile: str, speed: float) -> Reply | None:
        if not text.strip() and self.behaviour.empty_text == "crash":
            return detail(500, "list index out of range")
        if not text.strip() and self.behaviour.empty_text == "refuse":
            return detail(400, "Text must not be empty")
        if not 0.5 <= speed <= 2.0:
            return detail(400, "Speed must be between 0.5 and 2.0")
        if self.behaviour.initializing:
            return detail(500, "Synthesis failed: models are not loaded")
        if all(profile != known.id or known.status != "ready" for known in self._listed()):
            return detail(500, f"Synthesis failed: no usable voice profile {profile}")
        return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
