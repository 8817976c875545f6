"""Bodies nobody has thought of: the only error is our own verdict, and what another writer wrote is read right."""

from __future__ import annotations

import io
import wave

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.synthesis.audio import Format, NotAudioError, is_text, pcm_start, read_pcm, read_wav
from benchmarks.synthesis.bodies import from_base64, from_json, from_openvoice
from probes.text import clean

names = st.sampled_from([b"fmt ", b"data", b"LIST", b"fact", b"junk"])
formats = st.sampled_from([Format(24_000, 1, 16), Format(8_000, 2, 8), Format(48_000, 3, 24), Format(16_000, 1, 32)])


@st.composite
def nearly_wav(draw: st.DrawFn) -> bytes:
    """The shape of a file with anything in its places."""
    parts = [b"RIFF", draw(st.binary(min_size=4, max_size=4)), b"WAVE"]
    for _ in range(draw(st.integers(0, 5))):
        data = draw(st.binary(max_size=48))
        size = draw(st.one_of(st.just(len(data)), st.integers(0, 2**32 - 1)))
        parts += [draw(names), size.to_bytes(4, "little"), data]
    return b"".join(parts)


@given(st.one_of(st.binary(max_size=200), nearly_wav()))
@settings(max_examples=400)
def test_any_body_is_judged(body: bytes) -> None:
    for read in (read_wav, pcm_start, lambda raw: read_pcm(raw, Format(24_000, 1, 16))):
        try:
            found = read(body)
        except NotAudioError as error:
            assert clean(str(error), 400) == str(error)
        else:
            assert found is None or isinstance(found, int) or found.frames > 0


@given(st.integers(1, 4), st.integers(1, 3), st.integers(4_000, 384_000), st.binary(min_size=12, max_size=3000))
def test_what_another_writer_wrote(width: int, channels: int, rate: int, data: bytes) -> None:
    frame = width * channels
    data = data[: len(data) // frame * frame]
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    sound = read_wav(out.getvalue())
    assert sound.frames == len(data) // frame
    assert sound.seconds * rate == len(data) // frame or abs(sound.seconds * rate - len(data) // frame) < 1e-6
    assert 0.0 <= sound.rms <= sound.peak <= 2.0
    assert sound.fingerprint == read_pcm_of(data, Format(rate, channels, 8 * width))


def read_pcm_of(data: bytes, form: Format) -> str:
    """The fingerprint of bare samples; text and files are refused there on purpose."""
    if is_text(data) or data[:4] == b"RIFF":
        return read_wav(_bare(data, form)).fingerprint
    return read_pcm(data, form).fingerprint


def _bare(data: bytes, form: Format) -> bytes:
    head = (1).to_bytes(2, "little") + form.channels.to_bytes(2, "little") + form.rate_hz.to_bytes(4, "little")
    head += bytes(4) + form.frame_bytes.to_bytes(2, "little") + form.bits.to_bytes(2, "little")
    unknown = b"\xff" * 4
    return b"RIFF" + unknown + b"WAVEfmt " + (16).to_bytes(4, "little") + head + b"data" + unknown + data


@given(st.integers(0, 2400), st.integers(0, 2400), formats)
def test_a_file_cut_anywhere_is_not_taken_for_a_whole_one(frames: int, lost: int, form: Format) -> None:
    data = bytes(range(256)) * (1 + frames * form.frame_bytes // 256)
    data = data[: max(frames, 1) * form.frame_bytes]
    whole = bytearray(_bare(data, form))
    whole[40:44] = len(data).to_bytes(4, "little")
    assert read_wav(bytes(whole)).frames == max(frames, 1)
    try:
        read_wav(bytes(whole[: len(whole) - 1 - lost]))
    except NotAudioError:
        return
    raise AssertionError("a cut file was accepted")


@given(st.binary(max_size=300), st.text(max_size=20))
def test_any_answer_in_json_is_judged(body: bytes, path: str) -> None:
    for unwrap in (from_openvoice, lambda raw: from_json(raw, path)):
        try:
            assert isinstance(unwrap(body), bytes)
        except NotAudioError as error:
            assert clean(str(error), 400) == str(error)


@given(st.text(max_size=60))
def test_any_text_is_base64_or_not(text: str) -> None:
    try:
        assert isinstance(from_base64(text), bytes)
    except NotAudioError as error:
        assert clean(str(error), 400) == str(error)
