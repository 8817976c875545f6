"""A VOICEVOX engine: ``audio_query``, then ``synthesis`` with exactly what that answered; timed apart and together."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from benchmarks.client import CallFailed
from benchmarks.errors import BenchError
from benchmarks.model import Side
from benchmarks.synthesis.audio import NotAudioError
from benchmarks.synthesis.speaker import WHOLE_FILE, Found, Spoken, ask, decoded, listed, not_ready
from probes.text import clean

if TYPE_CHECKING:
    from benchmarks.client import Client
    from benchmarks.synthesis.speaker import Wishes

_WHAT: Final = "VOICEVOX engine"
_SPAN_NAMES: Final = ("wait", "dns", "connect", "tls")


class _Style(Struct, frozen=True):
    name: str
    id: int
    type: str | None = None

    @property
    def talks(self) -> bool:
        """Others sing; engines before 0.16 do not say."""
        return self.type is None or self.type == "talk"


class _Speaker(Struct, frozen=True):
    name: str
    styles: tuple[_Style, ...]


class Voice(Struct, frozen=True):
    """One style of one speaker; ``id`` is what VOICEVOX calls ``speaker`` in its requests."""

    id: int
    title: str
    talks: bool = True


class Voicevox:
    """Speaks through an engine of its own port."""

    def __init__(self, client: Client, prefix: str, wishes: Wishes) -> None:
        self._client = client
        self._prefix = prefix
        self._wishes = wishes
        self._style = -1

    async def discover(self) -> Found:
        """See ``Speaker``."""
        version: str = decoded(await self._ask("/version"), str, _WHAT, "/version")
        voice = choose(await voices(self._client, self._prefix), self._wishes.style)
        self._style = voice.id
        return Found(
            server_version=clean(version, 60),
            notes=(f"style {voice.id} ({voice.title})", await self._devices()),
            missing={
                "device_claimed": "VOICEVOX tells what its build can use, not what it uses",
                "ttfa": WHOLE_FILE,
            },
        )

    async def is_warm(self) -> bool | None:
        """See ``Speaker``."""
        path = f"{self._prefix}/is_initialized_speaker"
        try:
            reply = await self._client.send("GET", path, params={"speaker": self._style})
        except CallFailed as failed:
            if failed.status in (404, 405):
                return None
            raise
        try:
            return msgspec.json.decode(reply.body, type=bool)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    async def make_warm(self) -> str:
        """See ``Speaker``."""
        params = {"speaker": self._style, "skip_reinit": True}
        try:
            await self._client.send("POST", f"{self._prefix}/initialize_speaker", params=params)
        except CallFailed as failed:
            if failed.status not in (404, 405):
                raise
            return "this engine cannot be told to load a style: the warm-up requests do"
        return ""

    async def speak(self, text: str) -> Spoken:
        """See ``Speaker``; spans ``query`` and ``synthesis``, each from sending to the end of its answer."""
        send, style = self._client.send, self._style
        query = await send("POST", f"{self._prefix}/audio_query", params={"text": text, "speaker": style})
        fields = _fields(query.body)
        if fields is None:
            raise NotAudioError(f'audio_query answered no AudioQuery: "{clean_beginning(query.body)}"')
        spans = {name: query.spans[name] for name in _SPAN_NAMES if name in query.spans}
        spans["query"] = (query.end_ns - query.sent_ns) / 1e9
        try:
            # Raw: its fields differ by version, and go back as they came
            reply = await send(
                "POST", f"{self._prefix}/synthesis", params={"speaker": style}, json=msgspec.Raw(query.body)
            )
        except CallFailed as failed:
            failed.sent_ns, failed.spans = query.sent_ns, spans
            raise
        spans["synthesis"] = (reply.end_ns - reply.sent_ns) / 1e9
        return Spoken(reply.body, query.sent_ns, reply.end_ns, spans, announced_hz=_rate_hz(fields))

    async def _ask(self, path: str) -> bytes:
        return await ask(self._client, self._prefix + path, _WHAT)

    async def _devices(self) -> str:
        """What the build can use, as a note; never what is in use."""
        try:
            body = (await self._client.send("GET", f"{self._prefix}/supported_devices")).body
            found: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
        except (CallFailed, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return "the engine does not tell which devices its build supports"
        able = [clean(name, 20) for name, yes in found.items() if yes is True]
        return f"its build supports {listed(able) or 'no device'} (not: what is in use)"


async def voices(client: Client, prefix: str) -> list[Voice]:
    """Every style of an engine, those that sing included.

    Raises:
        BenchError: this is no VOICEVOX engine.
        CallFailed: it does not answer.
    """
    body = await ask(client, f"{prefix}/speakers", _WHAT)
    found: list[_Speaker] = decoded(body, list[_Speaker], _WHAT, "/speakers")
    return [
        Voice(style.id, f"{clean(speaker.name, 40)}/{clean(style.name, 40)}", style.talks)
        for speaker in found
        for style in speaker.styles
    ]


def choose(known: list[Voice], wish: str | None) -> Voice:
    """The style that is wanted: by its id, as ``speaker/style``, or the first of a speaker; else the first that talks.

    Raises:
        BenchError: layer ``service``: there is none, or no such. Asked here, since some engines answer 200 to any id.
    """
    talking = [voice for voice in known if voice.talks]
    if not talking:
        raise not_ready("the engine has no style that talks", "install a voice library")
    if wish is None or not wish.strip():
        return talking[0]
    words = _plain(wish)
    if words.isdecimal():
        hits = [voice for voice in known if voice.id == int(words)]
    else:
        hits = [voice for voice in talking if words in (_plain(voice.title), _plain(voice.title.partition("/")[0]))]
    if not hits:
        names = listed([f"{voice.id} {voice.title}" for voice in talking])
        raise BenchError(
            f'no style "{clean(wish, 60)}"', layer="service", next_step=f"one of: {names}", side=Side.CLIENT
        )
    if not hits[0].talks:
        raise BenchError(
            f"style {hits[0].id} ({hits[0].title}) sings", layer="service", next_step="choose one that talks",
            side=Side.CLIENT,
        )  # fmt: skip
    return hits[0]


def clean_beginning(body: bytes) -> str:
    """The first of an unexpected body."""
    return clean(body[:320].decode("utf-8", "replace"), 80)


def _plain(words: str) -> str:
    return unicodedata.normalize("NFKC", words).strip().casefold()


def _fields(body: bytes) -> dict[str, msgspec.Raw] | None:
    """What a query has, undecoded; None: it is no object."""
    try:
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _rate_hz(fields: dict[str, msgspec.Raw]) -> int | None:
    """``outputSamplingRate`` of a query; None where it has no such number."""
    digits = bytes(fields.get("outputSamplingRate", b""))
    return int(digits) if digits.isdigit() and len(digits) < 7 else None
