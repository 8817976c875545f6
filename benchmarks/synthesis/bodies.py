"""From an answer's body to sound: JSON with base64 in it, errors in the place of audio. Pure; nothing is believed."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import Struct

from benchmarks.http_failures import words_of
from benchmarks.synthesis.audio import NotAudioError, is_text, read_pcm, read_wav
from probes.text import clean, clean_bytes

if TYPE_CHECKING:
    from benchmarks.synthesis.audio import Sound
    from benchmarks.synthesis.speaker import Spoken

#: a longer body is looked at in a thread: the loop sends requests meanwhile
_LONG_BYTES: Final = 2**20
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Wrapped(Struct, frozen=True):
    """OpenVoice's answer (flavour A); its successor adds fields."""

    success: bool | None = None
    audio_data: str | None = None
    message: Any = None
    error: Any = None


async def examine(spoken: Spoken) -> Sound:
    """What an answer sounds like.

    Raises:
        NotAudioError: it is no usable audio.
    """
    if len(spoken.body) <= _LONG_BYTES:
        return sound_of(spoken)
    return await asyncio.to_thread(sound_of, spoken)


def sound_of(spoken: Spoken) -> Sound:
    """``examine`` without a thread."""
    body = spoken.body if spoken.unwrap is None else spoken.unwrap(spoken.body)
    if is_text(body) and (said := words_of(body)):
        raise NotAudioError(f'the service answered "{said}" instead of audio')
    sound = read_wav(body) if spoken.raw is None else read_pcm(body, spoken.raw)
    if spoken.announced_hz not in (None, sound.format.rate_hz):
        raise NotAudioError(
            f"the file says {sound.format.rate_hz} Hz, the query said {spoken.announced_hz} Hz: its length is unknown"
        )
    return sound


def from_openvoice(body: bytes) -> bytes:
    """The audio of ``{success, audio_data, message, error}``.

    Raises:
        NotAudioError: it was no success, or has no audio.
    """
    try:
        answer = msgspec.json.decode(body, type=_Wrapped)
    except _UNDECODABLE:
        raise NotAudioError(f'no JSON with audio: it begins with "{clean_bytes(body[:60], 60)}"') from None
    if answer.success is False or not answer.audio_data:
        said = next((words for words in (answer.error, answer.message) if isinstance(words, str) and words), "")
        what = "says that it failed" if answer.success is False else "sent no audio"
        raise NotAudioError(f"the service {what}" + (f': "{clean(said, 160)}"' if said else ""))
    return from_base64(answer.audio_data)


def from_json(body: bytes, path: str) -> bytes:
    """The audio at a dotted path (names, and positions in lists) of any JSON.

    Raises:
        NotAudioError: there is no text at that path, or it is no base64.
    """
    try:
        found: Any = msgspec.json.decode(body)
    except _UNDECODABLE:
        raise NotAudioError(f'no JSON: it begins with "{clean_bytes(body[:60], 60)}"') from None
    for step in path.split("."):
        if isinstance(found, dict):
            found = cast("dict[str, Any]", found).get(step)
        elif isinstance(found, list) and step.isascii() and step.isdecimal() and len(step) < 7:
            items = cast("list[Any]", found)
            found = items[int(step)] if int(step) < len(items) else None
        else:
            found = None
    if not isinstance(found, str) or not found:
        said = words_of(body)
        raise NotAudioError(
            f'no audio at "{clean(path, 60)}" of the answer' + (f': "{clean(said, 120)}"' if said else "")
        )
    return from_base64(found)


def from_base64(text: str) -> bytes:
    """Strict: no line breaks, nothing left over.

    Raises:
        NotAudioError: it is no base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotAudioError(f'audio that is no base64: it begins with "{clean(text[:40], 40)}"') from None
