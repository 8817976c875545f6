"""What a body holds: real files, streamed ones, cut ones, and everything that is no audio."""

from __future__ import annotations

import io
import math
import struct
import wave
from array import array

import pytest

from benchmarks.synthesis.audio import Format, NotAudioError, is_text, pcm_start, read_pcm, read_wav

RATE = 24_000


def tone(frames: int, amplitude: int = 8000) -> bytes:
    return array("h", [int(amplitude * math.sin(at / 7)) for at in range(frames)]).tobytes()


def chunk(name: bytes, data: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(data) if size is None else size) + data + b"\0" * (len(data) % 2)


def fmt(code: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16) -> bytes:
    width = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", code, channels, rate, rate * width, width, bits))


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def written(frames: int = 2400, channels: int = 1, width: int = 2) -> bytes:
    """By the standard library's own writer."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(RATE)
        file.writeframes((tone(frames * channels * width // 2 + 1))[: frames * channels * width])
    return out.getvalue()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_pcm_of_every_width_as_another_writer_writes_it(channels: int, width: int) -> None:
    sound = read_wav(written(2400, channels, width))
    assert (sound.frames, sound.seconds) == (2400, 0.1)
    assert sound.format == Format(RATE, channels, 8 * width)
    assert not sound.silent
    assert not sound.open_ended


def test_peak_and_rms_are_shares_of_full_scale_about_the_mean() -> None:
    square = array("h", [16384, -16384] * 2000).tobytes()
    sound = read_wav(riff(fmt(), chunk(b"data", square)))
    assert sound.peak == pytest.approx(0.5)
    assert sound.rms == pytest.approx(0.5)


def test_every_width_has_the_same_level() -> None:
    words = array("h", [16384, -16384] * 2000)
    three = b"".join(b"\0" + struct.pack("<h", word) for word in words)
    four = b"".join(b"\0\0" + struct.pack("<h", word) for word in words)
    one = bytes([192, 64] * 2000)
    floats = array("f", [0.5, -0.5] * 2000).tobytes()
    for code, bits, data in ((1, 8, one), (1, 24, three), (1, 32, four), (3, 32, floats)):
        sound = read_wav(riff(fmt(code, bits=bits), chunk(b"data", data)))
        assert (sound.peak, sound.rms) == (pytest.approx(0.5), pytest.approx(0.5)), bits


def test_a_list_of_odd_length_before_the_samples_and_chunks_behind_them() -> None:
    body = riff(chunk(b"LIST", b"INFOISFT\x05\0\0\0demo\0"), fmt(), chunk(b"data", tone(240)), chunk(b"note", b"abc"))
    assert read_wav(body).frames == 240


def test_the_format_behind_the_samples() -> None:
    assert read_wav(riff(chunk(b"data", tone(240)), fmt())).frames == 240


def test_an_extensible_format() -> None:
    plain = struct.pack("<HHIIHH", 0xFFFE, 1, RATE, 2 * RATE, 2, 16)
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    more = struct.pack("<HHI", 22, 16, 4) + guid
    assert read_wav(riff(chunk(b"fmt ", plain + more), chunk(b"data", tone(240)))).format == Format(RATE, 1, 16)
    with pytest.raises(NotAudioError, match="extensible"):
        read_wav(riff(chunk(b"fmt ", plain + more[:-1] + b"\0"), chunk(b"data", tone(240))))


@pytest.mark.parametrize(
    ("whole", "samples"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF),  # ffmpeg to a pipe, OpenAI
        (0, 0),  # a header that was to be filled in later
        (36, 0),  # the same, by a writer that counted the header
        (0x7FFFFFFF, 0x7FFFFFFF - 36),  # sox to a pipe
        (0xFFFFFFFF, 0),
    ],
)
def test_a_streamed_file_reaches_to_the_end(whole: int, samples: int) -> None:
    sound = read_wav(riff(fmt(), chunk(b"data", tone(240), samples), size=whole))
    assert (sound.frames, sound.open_ended) == (240, True)


@pytest.mark.parametrize("kept", [100, 44 + 1, 44 + 478, 44 + 479])
def test_a_file_that_is_cut_off(kept: int) -> None:
    with pytest.raises(NotAudioError, match=f"cut off: 480 bytes of samples declared, {kept - 44} came"):
        read_wav(riff(fmt(), chunk(b"data", tone(240)))[:kept])


def test_a_stream_that_ends_within_a_frame() -> None:
    with pytest.raises(NotAudioError, match="within a frame"):
        read_wav(riff(fmt(), chunk(b"data", tone(240), 0xFFFFFFFF), size=0xFFFFFFFF)[:-1])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "an empty body"),
        (b"RIF", "cut off after 3 bytes"),
        (b"ID3\x04" + bytes(100), "MP3 instead"),
        (b"OggS" + bytes(100), "Ogg instead"),
        (b"fLaC" + bytes(100), "FLAC instead"),
        (b"\x00not a sound file\xff" * 64, "no WAV file: it begins with"),
        (b"RIFF\x04\0\0\0AVI " + bytes(20), "no WAV file"),
        (riff(), "without a fmt chunk"),
        (riff(fmt()), "without a data chunk"),
        (riff(fmt(), chunk(b"data", b"")), "no samples"),
        (riff(fmt(), chunk(b"data", b""), chunk(b"LIST", b"abcd")), "no samples"),
        (riff(fmt(), fmt(), chunk(b"data", tone(9))), "two fmt chunks"),
        (riff(fmt(), chunk(b"data", tone(9)), chunk(b"data", tone(9))), "two data chunks"),
        (riff(chunk(b"fmt ", b"\1\0"), chunk(b"data", tone(9))), "a fmt chunk of 2 bytes"),
        (riff(fmt(code=7, bits=8), chunk(b"data", tone(9))), "encoding 7 with 8 bits"),
        (riff(fmt(code=3, bits=64), chunk(b"data", bytes(64))), "encoding 3 with 64 bits"),
        (riff(fmt(bits=12), chunk(b"data", tone(9))), "encoding 1 with 12 bits"),
        (riff(fmt(channels=0), chunk(b"data", tone(9))), "0 channels"),
        (riff(fmt(channels=9), chunk(b"data", tone(9))), "9 channels"),
        (riff(fmt(rate=0), chunk(b"data", tone(9))), "a rate of 0 Hz"),
        (riff(fmt(rate=4_000_000_0), chunk(b"data", tone(9))), "a rate of 40000000 Hz"),
        (riff(*[chunk(b"junk", b"")] * 1001), "more than 1000 chunks"),
        (riff(fmt(code=3, bits=32), chunk(b"data", array("f", [math.nan] * 9).tobytes())), "no numbers"),
        (riff(fmt(code=3, bits=32), chunk(b"data", array("f", [math.inf, -math.inf] * 9).tobytes())), "no numbers"),
    ],
)
def test_what_is_no_usable_audio(body: bytes, words: str) -> None:
    with pytest.raises(NotAudioError, match=words):
        read_wav(body)


def test_a_frame_size_that_does_not_fit() -> None:
    odd = struct.pack("<HHIIHH", 1, 2, RATE, 4 * RATE, 2, 16)
    with pytest.raises(NotAudioError, match="frames of 2 bytes where 4 belong"):
        read_wav(riff(chunk(b"fmt ", odd), chunk(b"data", tone(8))))


@pytest.mark.parametrize(
    "samples",
    [
        array("h", [0] * 4800),
        array("h", [12000] * 4800),  # a constant is no sound, however large
        array("h", [3, -3] * 2400),  # dither
        array("h", [20000] + [0] * 480_000),  # one click
    ],
)
def test_silence(samples: array[int]) -> None:
    assert read_wav(riff(fmt(), chunk(b"data", samples.tobytes()))).silent


def test_one_silent_channel_of_two_is_still_sound() -> None:
    for left in (0, 1):
        frames = array("h")
        for at in range(60_000):
            value = int(8000 * math.sin(at / 7))
            frames.extend((value, 0) if left else (0, value))
        assert not read_wav(riff(fmt(channels=2), chunk(b"data", frames.tobytes()))).silent


@pytest.mark.parametrize("period", [2, 3, 4, 60, 61, 62, 63, 100, 120, 125])
def test_a_tone_does_not_stand_still_under_the_samples_that_are_looked_at(period: int) -> None:
    frames = array("h", [round(8000 * math.cos(2 * math.pi * at / period)) for at in range(120_000)])
    sound = read_wav(riff(fmt(), chunk(b"data", frames.tobytes())))
    assert not sound.silent
    assert sound.loud > 0.4


def test_the_fingerprint_is_of_the_samples_alone() -> None:
    one = read_wav(riff(fmt(), chunk(b"data", tone(240))))
    dressed = read_wav(riff(chunk(b"LIST", b"abc"), fmt(), chunk(b"data", tone(240))))
    other = read_wav(riff(fmt(), chunk(b"data", tone(240, 8001))))
    assert one.fingerprint == dressed.fingerprint != other.fingerprint


def test_raw_samples() -> None:
    sound = read_pcm(tone(2400), Format(RATE, 1, 16))
    assert (sound.seconds, sound.open_ended, sound.silent) == (0.1, True, False)
    for body, words in (
        (tone(3)[:5], "within a frame"),
        (b"", "no samples"),
        (written(), "RIFF file where raw"),
        (b'{"detail": "no"}', "no WAV file"),
    ):
        with pytest.raises(NotAudioError, match=words):
            read_pcm(body, Format(RATE, 1, 16))


def test_samples_that_begin_like_text_are_samples() -> None:
    for first in (b"{", b"<", b"["):
        assert read_pcm(first + tone(2400)[1:], Format(RATE, 1, 16)).frames == 2400
    for text in (
        b'{"detail": "no"}',
        b"<!DOCTYPE html>",
        b"[]",
        '{"e": "エラー"}'.encode(),
        b'{"e": "' + "あ".encode() * 30,
    ):
        assert is_text(text)
    for samples in (b"", b"RIFF", b"{\0\0\0", b"{\xff\xfe", b"plain"):
        assert not is_text(samples)


def test_where_the_samples_begin_is_known_as_soon_as_it_can_be() -> None:
    body = riff(chunk(b"LIST", b"abc"), fmt(), chunk(b"data", tone(240), 0xFFFFFFFF), size=0xFFFFFFFF)
    start = 12 + 8 + 4 + 24 + 8
    assert [pcm_start(body[:kept]) for kept in (0, 3, 11, 12, start - 1)] == [None] * 5
    assert pcm_start(body[:start]) == start
    assert body[start:] == tone(240)
    for wrong in (b"ID3", b"RIFX", b"RIFF\0\0\0\0AVI "):
        with pytest.raises(NotAudioError):
            pcm_start(wrong)
