"""Sound that can be told from silence and from other sound: tones with an envelope, one syllable a character.

24 kHz, mono, 16 bit. A character takes 3000 frames (0.125 s) at speed 1, so the duration of a text is known by hand:
16 characters are 2 s, 5 are 0.625 s, 88 are 11 s. The same text in the same voice is the same bytes.
"""

from __future__ import annotations

import math
import struct
import zlib
from array import array
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from probes.demo.voices.behaviour import Audio

RATE_HZ: Final = 24_000
FRAMES_PER_CHAR: Final = 3000
CHAR_S: Final = FRAMES_PER_CHAR / RATE_HZ
FRAME_BYTES: Final = 2
#: what a header says of sizes that are not known yet, as services that stream WAV write it
UNKNOWN_SIZE: Final = 0xFFFFFFFF
HEADER_BYTES: Final = 44
#: the recording that a broken service answers with, whatever it was asked
REFERENCE: Final = "this is the reference recording"
_PEAK: Final = 12_000.0
_CACHED_CHARS: Final = 400
#: how loud a syllable is, fifth by fifth
_ENVELOPE: Final = (0.35, 0.8, 1.0, 0.7, 0.25)


@lru_cache(maxsize=2048)
def _syllable(character: str, voice: str, frames: int) -> bytes:
    """PCM of one character: a pitch and a mix of three harmonics that belong to it and to the voice."""
    number = zlib.crc32(f"{voice}\0{character}".encode("utf-8", "surrogatepass"))
    period = 96 + number % 128  # frames: 107 to 250 Hz
    second, third = (number >> 8) % 256 / 400.0, (number >> 16) % 256 / 600.0
    turn = 2.0 * math.pi / period
    shape = [
        (math.sin(turn * at) + second * math.sin(2 * turn * at) + third * math.sin(3 * turn * at))
        / (1.0 + second + third)
        for at in range(period)
    ]
    loud = [array("h", [int(_PEAK * gain * value) for value in shape]).tobytes() for gain in _ENVELOPE]
    cycles = frames // period + 1
    whole = b"".join(loud[cycle * len(loud) // cycles] for cycle in range(cycles))
    return whole[: frames * FRAME_BYTES]


def pcm(text: str, voice: str = "", speed: float = 1.0) -> bytes:
    """The speech of a text: 16-bit little-endian frames, ``FRAMES_PER_CHAR / speed`` for each character."""
    frames = int(FRAMES_PER_CHAR / speed)
    return b"".join(_syllable(character, voice, frames) for character in text)


def header(data_bytes: int | None) -> bytes:
    """The 44 bytes before the frames; None: the size is not known yet."""
    riff = UNKNOWN_SIZE if data_bytes is None else 36 + data_bytes
    data = UNKNOWN_SIZE if data_bytes is None else data_bytes
    form = struct.pack("<HHIIHH", 1, 1, RATE_HZ, RATE_HZ * FRAME_BYTES, FRAME_BYTES, 8 * FRAME_BYTES)
    return b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + struct.pack("<I", 16) + form + _chunk_head(data)


def wav(text: str, voice: str = "", speed: float = 1.0, kind: Audio = "speech") -> bytes:
    """A WAV file of a text, or one of the files that a broken service sends instead."""
    cached = len(text) <= _CACHED_CHARS
    return _cached_wav(text, voice, speed, kind) if cached else _wav(text, voice, speed, kind)


def _wav(text: str, voice: str, speed: float, kind: Audio) -> bytes:
    if kind == "same":
        frames = pcm(REFERENCE)
    elif kind == "silence":
        frames = bytes(int(FRAMES_PER_CHAR / speed) * FRAME_BYTES * len(text))
    elif kind == "no_frames":
        frames = b""
    else:
        frames = pcm(text, voice, speed)
    if kind == "garbage":
        return b"\x00not a sound file\xff" * 64
    if kind == "odd_chunks":
        return _with_odd_chunks(frames)
    whole = header(len(frames)) + frames
    return whole[: HEADER_BYTES + len(frames) // 2] if kind == "truncated" else whole


_cached_wav = lru_cache(maxsize=32)(_wav)


def _chunk_head(data_bytes: int) -> bytes:
    return b"data" + struct.pack("<I", data_bytes)


def _with_odd_chunks(frames: bytes) -> bytes:
    """A valid file with a chunk of odd length before the frames and another one after them."""
    note = b"LIST" + struct.pack("<I", 17) + b"INFOISFT\x05\0\0\0demo\0" + b"\0"
    body = header(0)[12:36] + note + _chunk_head(len(frames)) + frames + b"note" + struct.pack("<I", 2) + b"\0\0"
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body
