"""A stand-in of the backend, which offers the synthesis services under its own calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from probes.demo.voices.audio import wav
from probes.demo.voices.message import Reply, Request, as_json, detail, invalid
from probes.demo.voices.openvoice import PROFILES, Profile
from probes.demo.voices.service import Route, Service
from probes.demo.voices.voicevox import STYLES, VERSION, Style

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.demo.voices.behaviour import Behaviour
    from probes.demo.voices.clock import Clock

MAX_TEXT: Final = 1000


class Backend(Service):
    """The backend. What other services might ask of it and does not exist is answered with 404.

    ``Behaviour.unhealthy`` is its VOICEVOX alone; together with ``initializing`` all its providers have failed.
    """

    kind: ClassVar[str] = "backend"

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        styles: tuple[Style, ...] = STYLES,
        profiles: tuple[Profile, ...] = PROFILES,
        clock: Clock | None = None,
        on_busy: Callable[[int], None] | None = None,
    ) -> None:
        self._styles = frozenset(style.id for style in styles if style.type in ("talk", None))
        self._profiles = profiles
        super().__init__(behaviour, clock=clock, on_busy=on_busy)

    def routes(self) -> tuple[Route, ...]:
        """The calls of the contract."""
        return (
            Route("GET", "/health", self._health),
            Route("GET", "/api/voicevox/health", self._voicevox_health),
            Route("GET", "/api/unified-voice/health", self._unified_health),
            Route("GET", "/api/voice-clone/profiles", self._list),
            Route("POST", "/api/voicevox/synthesis", self._voicevox, work=True),
            Route("POST", "/api/unified-voice/synthesize", self._unified, work=True),
            Route("POST", "/api/voice-clone/test/{id}", self._test, work=True),
        )

    def _health(self, request: Request) -> Reply:
        del request
        return as_json({"status": "healthy"})

    def _voicevox_health(self, request: Request) -> Reply:
        del request
        if self.behaviour.unhealthy:
            return as_json({"status": "unhealthy", "error": "connection to 127.0.0.1:50021 refused"})
        return as_json({"status": "healthy", "version": VERSION})

    def _unified_health(self, request: Request) -> Reply:
        del request
        behaviour = self.behaviour
        providers = {
            "voicevox": "unhealthy" if behaviour.unhealthy else "healthy",
            "openvoice": "unhealthy" if behaviour.initializing else "healthy",
        }
        service = "degraded" if set(providers.values()) == {"unhealthy"} else "healthy"
        return as_json({"service": service, "providers": providers})

    def _listed(self) -> tuple[Profile, ...]:
        return () if self.behaviour.empty_catalog else self._profiles

    def _list(self, request: Request) -> Reply:
        del request
        return as_json(
            [
                {
                    "id": profile.id,
                    "name": profile.name,
                    "language": profile.language,
                    "created_at": "2025-06-01T09:00:00",
                    "sample_count": 3,
                    "status": profile.status,
                }
                for profile in self._listed()
            ]
        )

    def _voicevox(self, request: Request) -> Reply:
        fields = _object(request)
        style = fields.get("speaker_id")
        if not isinstance(style, int):
            return invalid("body", "speaker_id")
        if style not in self._styles:
            return detail(500, f"VOICEVOX synthesis failed: unknown style {style}")
        if self.behaviour.unhealthy:
            return detail(500, "VOICEVOX synthesis failed: connection to 127.0.0.1:50021 refused")
        return self._speech(fields.get("text"), str(style), fields.get("speed_scale", 1.0))

    def _unified(self, request: Request) -> Reply:
        fields = _object(request)
        profile = fields.get("voice_profile_id")
        if not isinstance(profile, str):
            return invalid("body", "voice_profile_id")
        return self._cloned(fields.get("text"), profile, fields.get("speed", 1.0))

    def _test(self, request: Request) -> Reply:
        return self._cloned(request.form().get("text"), request.path.rpartition("/")[2], 1.0)

    def _cloned(self, text: object, profile: str, speed: object) -> Reply:
        if all(profile != known.id or known.status != "ready" for known in self._listed()):
            return detail(404, f"Voice profile not found: {profile}")
        if self.behaviour.initializing:
            return detail(500, "OpenVoice synthesis failed: the service is initializing")
        return self._speech(text, profile, speed)

    def _speech(self, text: object, voice: str, speed: object) -> Reply:
        if not isinstance(text, str):
            return invalid("body", "text")
        if len(text) > MAX_TEXT:
            return invalid("body", "text", f"String should have at most {MAX_TEXT} characters", "string_too_long")
        if not text.strip() and self.behaviour.empty_text != "accept":
            crash = self.behaviour.empty_text == "crash"
            return detail(500, "list index out of range") if crash else detail(400, "Text must not be empty")
        if not isinstance(speed, (int, float)) or not 0.5 <= speed <= 2.0:
            return invalid("body", "speed", "Input should be between 0.5 and 2", "float_parsing")
        body = wav(text, voice, float(speed), self.behaviour.audio)
        return Reply(200, body, "audio/wav", text=text, chars=len(text))


def _object(request: Request) -> dict[str, Any]:
    """The fields of a JSON object; none when the body is something else."""
    fields = request.json()
    return cast("dict[str, Any]", fields) if isinstance(fields, dict) else {}
