"""A stand-in of the VOICEVOX engine."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, ClassVar, Final

from msgspec import Struct

from probes.demo.voices.audio import wav
from probes.demo.voices.message import Reply, Request, as_json, detail, invalid
from probes.demo.voices.service import Route, Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.demo.voices.behaviour import Behaviour
    from probes.demo.voices.clock import Clock

VERSION: Final = "0.24.1"


class Style(Struct, frozen=True):
    """A style of a speaker. ``type`` None: an engine so old that it has no types."""

    id: int
    name: str
    type: str | None = "talk"
    speaker: str = "Demo"


#: ids that nobody would guess, and styles that cannot talk before those that can
STYLES: Final = (
    Style(6000, "scale", "frame_decode", "Singer"),
    Style(3001, "teacher", "singing_teacher", "Singer"),
    Style(8, "plain", "talk", "Demo"),
    Style(21, "calm", "talk", "Demo"),
    Style(47, "whisper", "talk", "Other"),
)


class Voicevox(Service):
    """The VOICEVOX engine.

    Args:
        behaviour: speed and faults.
        styles: what ``/speakers`` lists.
        version: of the engine.
        devices: what ``/supported_devices`` claims.
        mock: the engine runs in mock mode: an unknown style is answered with 200 too.
        clock: another time than the event loop's.
        on_busy: told of work on the GPU.
    """

    kind: ClassVar[str] = "voicevox"

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        styles: tuple[Style, ...] = STYLES,
        version: str = VERSION,
        devices: tuple[str, ...] = ("cpu", "cuda"),
        mock: bool = False,
        clock: Clock | None = None,
        on_busy: Callable[[int], None] | None = None,
    ) -> None:
        self._styles = styles
        self._version = version
        self._devices = devices
        self._mock = mock
        self.initialized: set[int] = set()
        super().__init__(behaviour, clock=clock, on_busy=on_busy)

    def routes(self) -> tuple[Route, ...]:
        """The calls of the contract."""
        return (
            Route("GET", "/version", self._answer_version),
            Route("GET", "/speakers", self._answer_speakers),
            Route("GET", "/supported_devices", self._answer_devices),
            Route("POST", "/initialize_speaker", self._initialize),
            Route("GET", "/is_initialized_speaker", self._is_initialized),
            Route("POST", "/audio_query", self._audio_query),
            Route("POST", "/synthesis", self._synthesis, work=True),
            Route("GET", "/", self._portal),
        )

    def gate(self, request: Request) -> Reply | None:
        """A browser's foreign page is refused."""
        return detail(403, "Origin not allowed") if "origin" in request.headers else None

    def _portal(self, request: Request) -> Reply:
        del request
        return Reply(200, b"<!doctype html><title>VOICEVOX ENGINE</title>\n", "text/html; charset=utf-8")

    def _answer_version(self, request: Request) -> Reply:
        del request
        return as_json(self._version)

    def _answer_devices(self, request: Request) -> Reply:
        del request
        return as_json({name: name in self._devices for name in ("cpu", "cuda", "dml")})

    def _answer_speakers(self, request: Request) -> Reply:
        del request
        speakers: dict[str, list[Style]] = {}
        for style in () if self.behaviour.empty_catalog else self._styles:
            speakers.setdefault(style.speaker, []).append(style)
        return as_json([self._speaker(name, styles) for name, styles in speakers.items()])

    def _speaker(self, name: str, styles: list[Style]) -> dict[str, Any]:
        number = zlib.crc32(name.encode())
        return {
            "name": name,
            "speaker_uuid": f"{number:08x}-0000-4000-8000-{number:012x}",
            "styles": [
                {"name": style.name, "id": style.id} | ({"type": style.type} if style.type else {}) for style in styles
            ],
            "version": self._version,
            "supported_features": {"permitted_synthesis_morphing": "ALL"},
        }

    def _initialize(self, request: Request) -> Reply:
        style = self._style(request)
        if isinstance(style, Reply):
            return style
        again = request.query().get("skip_reinit", "false").lower() != "true"
        cold = again or style not in self.initialized
        self.initialized.add(style)
        return Reply(204, after_s=self.behaviour.cold_extra_s if cold else 0.0)

    def _is_initialized(self, request: Request) -> Reply:
        style = self._style(request)
        return style if isinstance(style, Reply) else as_json(style in self.initialized)

    def _audio_query(self, request: Request) -> Reply:
        text = request.query().get("text")
        if text is None:
            return invalid("query", "text")
        style = self._style(request)
        if isinstance(style, Reply):
            return style
        if not text and self.behaviour.empty_text == "crash":
            return Reply(500, b"Internal Server Error", "text/plain; charset=utf-8")
        reply = as_json(audio_query(text))
        reply.after_s = self.behaviour.query_s
        return reply

    def _synthesis(self, request: Request) -> Reply:
        style = self._style(request)
        if isinstance(style, Reply):
            return style
        query = request.json()
        if not isinstance(query, dict):
            return invalid("body", "accent_phrases")
        text = str(query.get("kana", ""))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        if query != audio_query(text):
            return invalid("body", "accent_phrases", "not what audio_query answered", "value_error")
        if not text and self.behaviour.empty_text == "crash":
            return Reply(500, b"Internal Server Error", "text/plain; charset=utf-8")
        cold = style not in self.initialized
        self.initialized.add(style)
        body = wav(text, str(style), kind=self.behaviour.audio)
        return Reply(200, body, "audio/wav", text=text, chars=len(text), cold=cold)

    def _style(self, request: Request) -> int | Reply:
        """The style that is asked for, or why it cannot be."""
        given = request.query().get("speaker")
        if given is None:
            return invalid("query", "speaker")
        if not given.lstrip("-").isdecimal():
            return invalid("query", "speaker", "Input should be a valid integer", "int_parsing")
        style = int(given)

        if self._mock or any(style == known.id for known in self._styles if known.type in ("talk", None)):
            return style
        return as_json({"message": f"該当するスタイルが見つかりません: {style}"}, 422)


def audio_query(text: str) -> dict[str, Any]:
    """The query of a text: one mora a character, and fields that no client knows of.

    The numbers belong to the text, so that a query that was changed can be told from the one that was answered.
    """
    number = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    moras = [
        {
            "text": character,
            "consonant": None,
            "consonant_length": None,
            "vowel": "aiueo"[ord(character) % 5],
            "vowel_length": round(0.05 + (ord(character) % 97) / 1000, 4),
            "pitch": round(5.2 + (ord(character) % 89) / 100, 4),
        }
        for character in text
    ]
    phrases = [{"moras": moras, "accent": 1, "pause_mora": None, "is_interrogative": text.endswith("?")}]
    return {
        "accent_phrases": phrases if text else [],
        "speedScale": 1.0,
        "pitchScale": 0.0,
        "intonationScale": 1.0,
        "volumeScale": 1.0,
        "prePhonemeLength": 0.1,
        "postPhonemeLength": 0.1,
        "pauseLength": None,
        "pauseLengthScale": 1.0,
        "outputSamplingRate": 24000,
        "outputStereo": False,
        "kana": text,
        "x-engine-of-tomorrow": {"seed": number, "bias": round(number / (1 << 32), 9), "layers": [1, 2.5, None]},
    }
