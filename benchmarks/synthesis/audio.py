"""WAV files and raw PCM from services that are not trusted: parsed, measured, never believed.

Nothing is allocated by a size that the file declares. Chunks may stand in any order; a file that was streamed declares
0 or 0xFFFFFFFF bytes (ffmpeg and others: nearly 2 GiB) and reaches to the end of the body. A file that declares more
than there is was cut off.
"""

from __future__ import annotations

import codecs
import math
import struct
from array import array
from hashlib import sha256
from typing import Final

from msgspec import Struct

from probes.text import clean_bytes

#: a declared length from here on says "I did not know": 0xFFFFFFFF, and 0x7FFFFFFF less some headers
UNKNOWN_LENGTH: Final = 0x7FFF_0000
#: samples that are looked at to tell sound from silence, evenly spread over the file: 1 ms of the loop
LOOKED_AT: Final = 4_000
#: It is silence when less than 1 % of the samples are louder than -46 dBFS (so that a click is silence too), or when
#: the root mean square is below -60 dBFS; both about the mean. Speech peaks above -20 dBFS, has -35 to -15 dBFS root
#: mean square, and more than half of it is loud.
LOUD: Final = 0.005
LEAST_LOUD_SHARE: Final = 0.01
SILENT_RMS: Final = 0.001
MAX_CHANNELS: Final = 8
RATES_HZ: Final = (4_000, 384_000)
MAX_CHUNKS: Final = 1_000

_PCM: Final = 1
_FLOAT: Final = 3
_EXTENSIBLE: Final = 0xFFFE
#: what follows the format number in the GUID of an extensible format
_GUID_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")
_OTHERS: Final = (
    (b"ID3", "MP3"),
    (b"\xff\xfb", "MP3"),
    (b"\xff\xf3", "MP3"),
    (b"OggS", "Ogg"),
    (b"fLaC", "FLAC"),
    (b"RF64", "RF64"),
    (b"RIFX", "RIFX"),
)


class NotAudioError(Exception):
    """The body is not usable audio; the text says why, and is clean."""


class Format(Struct, frozen=True):
    """How the samples are written: ``kind`` int (8 bits: unsigned) or float, little-endian, channels interleaved."""

    rate_hz: int
    channels: int
    bits: int
    kind: str = "int"

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * self.bits // 8


class Sound(Struct, frozen=True):
    """What a body holds. ``peak`` and ``rms`` are shares of full scale, about the mean.

    They are of the samples that were looked at, as is ``loud``, the share of them beyond ``LOUD``. ``fingerprint``
    identifies all samples (SHA-256, shortened). ``open_ended``: the file did not declare its length, so that a missing
    end cannot be seen.
    """

    format: Format
    frames: int
    peak: float
    rms: float
    loud: float
    fingerprint: str
    open_ended: bool = False

    @property
    def seconds(self) -> float:
        """Frames by rate."""
        return self.frames / self.format.rate_hz

    @property
    def silent(self) -> bool:
        """Whether there is nothing to hear."""
        return self.loud < LEAST_LOUD_SHARE or self.rms < SILENT_RMS


def read_wav(body: bytes) -> Sound:
    """What a WAV file holds.

    Raises:
        NotAudioError: it is none, it is cut off, it has no frames, or its encoding is not one of PCM 8, 16, 24, 32 bits
            and float 32 bits.
    """
    if len(body) < 12 or body[:4] != b"RIFF" or body[8:12] != b"WAVE":
        raise NotAudioError(not_riff(body))
    wave = _chunks(body)
    if wave.format is None:
        raise NotAudioError("a WAV file without a fmt chunk")
    if wave.at is None:
        raise NotAudioError("a WAV file without a data chunk")
    return _sound(memoryview(body)[wave.at : wave.end], wave.format, open_ended=wave.open_ended)


def read_pcm(body: bytes, form: Format) -> Sound:
    """What raw samples hold; nobody declares their length or format.

    Raises:
        NotAudioError: no frames, or it ends within a frame, or it is text.
    """
    if is_text(body):
        raise NotAudioError(not_riff(body))
    if body[:4] == b"RIFF":
        raise NotAudioError("a RIFF file where raw samples were asked for")
    return _sound(memoryview(body), form, open_ended=True)


def pcm_start(beginning: bytes) -> int | None:
    """Where the samples of a WAV file begin, as soon as what has come of it shows that; None: not yet.

    Raises:
        NotAudioError: it is no WAV file.
    """
    if beginning[:4] != b"RIFF"[: len(beginning)] or beginning[8:12] != b"WAVE"[: max(0, len(beginning) - 8)]:
        raise NotAudioError(not_riff(beginning))
    at = 12
    for _ in range(MAX_CHUNKS):
        if len(beginning) < at + 8:
            return None
        if beginning[at : at + 4] == b"data":
            return at + 8
        at += 8 + _padded(_number(beginning, at + 4, 4))
    raise NotAudioError(f"more than {MAX_CHUNKS} chunks before the samples")


def is_text(body: bytes) -> bool:
    """Whether a body begins like JSON, HTML or XML; one byte would not tell it from raw samples."""
    start = body[:64]
    if start[:1] not in (b"{", b"[", b"<") or any(byte < 32 and byte not in b"\t\r\n" for byte in start):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True


def not_riff(body: bytes) -> str:
    """What a body is that is no WAV file, in words."""
    if not body:
        return "an empty body instead of audio"
    for start, name in _OTHERS:
        if body.startswith(start):
            return f"{name} instead of a WAV file"
    if len(body) < 12 and b"RIFF".startswith(body[:4]):
        return f"a WAV file cut off after {len(body)} bytes"
    return f'no WAV file: it begins with "{clean_bytes(body[:60], 60)}"'


class _Wave(Struct):
    """Format and where the samples are; ``end`` is within the body."""

    format: Format | None = None
    at: int | None = None
    end: int = 0
    open_ended: bool = False


def _chunks(body: bytes) -> _Wave:
    wave = _Wave()
    at = 12
    for _ in range(MAX_CHUNKS):
        if len(body) < at + 8:
            return wave
        name, size, start = body[at : at + 4], _number(body, at + 4, 4), at + 8
        if name == b"fmt ":
            if wave.format is not None:
                raise NotAudioError("a WAV file with two fmt chunks")
            wave.format = _format(body[start : start + min(size, 40)])
        elif name == b"data":
            if wave.at is not None:
                raise NotAudioError("a WAV file with two data chunks")
            wave.at = start
            wave.open_ended = _is_open(body, start, size)
            wave.end = len(body) if wave.open_ended else start + size
            if wave.end > len(body):
                raise NotAudioError(f"cut off: {size} bytes of samples declared, {len(body) - start} came")
            if wave.open_ended:
                return wave
        at = start + _padded(size)
    raise NotAudioError(f"a WAV file of more than {MAX_CHUNKS} chunks")


def _is_open(body: bytes, start: int, size: int) -> bool:
    """Whether the writer did not know the length: it said so, or wrote 0 in a header that nobody came back to."""
    if size:
        return size >= UNKNOWN_LENGTH
    whole = _number(body, 4, 4)
    return start < len(body) and (whole == 0 or whole >= UNKNOWN_LENGTH or whole + 8 <= start)


def _format(raw: bytes) -> Format:
    if len(raw) < 16:
        raise NotAudioError(f"a fmt chunk of {len(raw)} bytes")
    code, channels, rate_hz = _number(raw, 0, 2), _number(raw, 2, 2), _number(raw, 4, 4)
    frame_bytes, bits = _number(raw, 12, 2), _number(raw, 14, 2)
    if code == _EXTENSIBLE:
        if len(raw) < 40 or raw[26:40] != _GUID_TAIL:
            raise NotAudioError("an extensible format that is not understood")
        code = _number(raw, 24, 2)
    form = Format(rate_hz, channels, bits, "float" if code == _FLOAT else "int")
    if (code == _PCM and bits not in (8, 16, 24, 32)) or (code == _FLOAT and bits != 32) or code not in (_PCM, _FLOAT):
        raise NotAudioError(f"encoding {code} with {bits} bits is not supported (PCM and 32-bit float are)")
    if not 1 <= channels <= MAX_CHANNELS:
        raise NotAudioError(f"{channels} channels")
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise NotAudioError(f"a rate of {rate_hz} Hz")
    if frame_bytes != form.frame_bytes:
        raise NotAudioError(f"frames of {frame_bytes} bytes where {form.frame_bytes} belong")
    return form


def _sound(samples: memoryview, form: Format, *, open_ended: bool) -> Sound:
    if not len(samples):
        raise NotAudioError("no samples")
    if len(samples) % form.frame_bytes:
        raise NotAudioError("cut off: the samples end within a frame")
    peak, rms, loud = _level(_some(samples, form))
    mark = sha256(samples).hexdigest()[:16]
    return Sound(form, len(samples) // form.frame_bytes, peak, rms, loud, mark, open_ended=open_ended)


def _some(samples: memoryview, form: Format) -> array[float]:
    """At most ``LOOKED_AT`` samples as shares of full scale, in two passes over the file.

    Their steps have no common divisor: a tone cannot stand still in both. Every channel gets its turn.
    """
    count = len(samples) // (form.bits // 8)
    if count <= LOOKED_AT:
        return _picked(samples, form, 1)
    first = _step(-(-2 * count // LOOKED_AT), form.channels)
    second = _step(first + 1, first * form.channels)
    return _picked(samples, form, first) + _picked(samples, form, second)


def _step(least: int, coprime_to: int) -> int:
    step = least
    while math.gcd(step, coprime_to) != 1:
        step += 1
    return step


def _picked(samples: memoryview, form: Format, step: int) -> array[float]:
    """One sample in ``step``."""
    width = form.bits // 8
    if width == 1:
        return array("d", ((value - 128) / 128 for value in samples[::step]))
    # of three bytes the upper two are plenty to tell sound from silence
    skipped = width & 1
    kept = width - skipped
    picked = bytearray(kept * len(range(0, len(samples) // width, step)))
    for at in range(kept):
        picked[at::kept] = samples[skipped + at :: width * step]
    code, full = ("f", 1) if form.kind == "float" else ("h", 1 << 15) if kept == 2 else ("i", 1 << 31)
    values: tuple[float, ...] = struct.unpack(f"<{len(picked) // kept}{code}", picked)
    return array("d", (value / full for value in values))


def _level(values: array[float]) -> tuple[float, float, float]:
    """Peak, root mean square and loud share about the mean: a constant is silence, whatever its value."""
    count = len(values)
    mean = sum(values) / count
    if not math.isfinite(mean):
        raise NotAudioError("samples that are no numbers")
    peak = max(max(values) - mean, mean - min(values))
    rms = math.sqrt(sum((value - mean) ** 2 for value in values) / count)
    return peak, rms, sum(not mean - LOUD < value < mean + LOUD for value in values) / count


def _number(raw: bytes, at: int, size: int) -> int:
    return int.from_bytes(raw[at : at + size], "little")


def _padded(size: int) -> int:
    """Chunks begin at even places."""
    return size + (size & 1)
