"""The sound of the stand-ins, as the standard library's own reader hears it."""

from __future__ import annotations

import io
import struct
import wave

import pytest

from probes.demo.voices import audio
from tests.support.standins import frames_of

LONG = "本日は晴天なり。" * 11  # 88 characters


@pytest.mark.parametrize(("text", "frames"), [("こ", 3000), ("こんにちは", 15000), ("a" * 16, 48000), (LONG, 264000)])
def test_a_character_is_an_eighth_of_a_second(text, frames):
    assert len(frames_of(audio.wav(text))) == 2 * frames


def test_speed_divides_the_duration():
    assert len(frames_of(audio.wav("abcd", speed=2.0))) == 2 * 6000
    assert len(frames_of(audio.wav("abcd", speed=0.5))) == 2 * 24000


def test_every_text_and_every_voice_has_a_sound_of_its_own_and_keeps_it():
    texts = ["はい", "いは", "はい。", "hello", "hallo", LONG, LONG[:-1], "a", "b", "🗼"]
    sounds = {audio.wav(text, voice) for text in texts for voice in ("8", "21")}
    assert len(sounds) == 2 * len(texts)
    again = audio.wav("はい", "8")
    audio.wav.__globals__["_syllable"].cache_clear()
    audio.wav.__globals__["_cached_wav"].cache_clear()
    assert audio.wav("はい", "8") == again


def test_it_is_loud_and_never_clipped():
    values = struct.unpack("<48000h", frames_of(audio.wav("こんにちは、世界の皆さん。お元気")))
    assert max(map(abs, values)) < 32767
    assert (sum(value * value for value in values) / len(values)) ** 0.5 > 1000


def test_the_broken_kinds_are_broken_as_they_say():
    assert set(frames_of(audio.wav("abc", kind="silence"))) == {0}
    assert frames_of(audio.wav("abc", kind="no_frames")) == b""
    assert audio.wav("abc", kind="same") == audio.wav("something else entirely", "21", kind="same")
    with pytest.raises(wave.Error), wave.open(io.BytesIO(audio.wav("abc", kind="garbage"))):
        pass
    cut = audio.wav("abcd", kind="truncated")
    assert struct.unpack("<I", cut[40:44]) == (24000,)  # what the header says
    assert len(cut) == 44 + 12000


def test_odd_chunks_are_valid_and_hold_the_same_frames():
    odd = audio.wav("abc", kind="odd_chunks")
    assert frames_of(odd) == frames_of(audio.wav("abc"))
    assert odd.index(b"data") != 36
    assert struct.unpack("<I", odd[4:8]) == (len(odd) - 8,)


def test_a_streams_header_knows_no_size():
    assert audio.header(None)[:8] == b"RIFF\xff\xff\xff\xff"
    assert audio.header(None)[36:] == b"data\xff\xff\xff\xff"
    assert audio.header(6)[4:8] == struct.pack("<I", 42)
