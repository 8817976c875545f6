"""What is spoken: the fixed texts, what may be spoken at all, and how long it may take to say."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from benchmarks.errors import BenchError
from benchmarks.model import Case, Side
from benchmarks.synthesis.audio import NotAudioError

if TYPE_CHECKING:
    from benchmarks.synthesis.audio import Sound

#: Three Japanese texts of 5, 16 and 88 characters. Their lengths are what counts: they are those of the incident report
#: whose 15 s are the baseline (which names them in the order 16, 5, 88). Never reworded: results would not compare.
FIXED: Final = (
    Case("r0-short", "5 characters", "こんにちは"),
    Case("r0-medium", "16 characters", "こんにちは、音声合成テストです。"),
    Case(
        "r0-long",
        "88 characters",
        "音声合成の性能を測るための長い文章です。自然な抑揚と正確な発音を保ちながら、どれだけ速く音声を作れるかを"
        "確かめます。結果は毎回同じ条件で記録し、前の測定と比べて判断に使います。",
    ),
)
#: quick mode and a check take one text: the shortest
QUICK: Final = FIXED[0]
#: Two texts that sound different, said before a run: audio that is the same for both is no synthesis.
DIFFERENT: Final = ("はい、そうです。", "いいえ、まったく違います。")

#: no service says more at once, and no table shows it
MAX_CHARACTERS: Final = 20_000
_NO_TEXT: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})

#: Speech takes 0.03 to 1.0 s a character that is spoken (at speed 1; Japanese: about 0.15, English: about 0.07), and
#: there may be 5 s of pauses around it. It is never shorter than 0.05 s.
SHORTEST_S: Final = 0.03
LONGEST_S: Final = 1.0
SLACK_S: Final = 5.0
LEAST_S: Final = 0.05


def checked_text(text: str, limit: int | None = None, why: str = "") -> str:
    """A text that can be sent.

    Args:
        text: as a person gave it.
        limit: the service's own, in characters; None: none is known.
        why: whose limit it is.

    Raises:
        BenchError: layer ``plan``: empty, nothing to say in it, too long, control characters.
    """
    if not text.strip():
        raise _wrong("the text is empty", "give a text to speak")
    odd = next((char for char in text if unicodedata.category(char) in _NO_TEXT), None)
    if odd is not None:
        raise _wrong(f"the text has a control character (U+{ord(odd):04X})", "give it on one line, without them")
    if not spoken_characters(text):
        raise _wrong("the text has nothing to speak in it", "give one with letters or numbers")
    most = min(limit or MAX_CHARACTERS, MAX_CHARACTERS)
    if len(text) > most:
        whose = f" ({why})" if why and most == limit else ""
        raise _wrong(f"the text has {len(text)} characters, {most} are the most{whose}", "give a shorter one")
    return text


def spoken_characters(text: str) -> int:
    """How many characters are letters, kana, kanji or numbers."""
    return sum(unicodedata.category(char)[0] in "LN" for char in text)


def plausible_s(text: str, speed: float = 1.0) -> tuple[float, float]:
    """The shortest and the longest that a text may take to say, in seconds."""
    count = spoken_characters(text)
    return max(LEAST_S, SHORTEST_S * count / speed), (LONGEST_S * count + SLACK_S) / speed


def check_sound(sound: Sound, text: str, speed: float = 1.0) -> None:
    """Whether a sound can be this text.

    Raises:
        NotAudioError: silence, or too short or too long for it.
    """
    if sound.silent:
        raise NotAudioError(
            f"silence: {sound.seconds:.2f} s with a peak of {100 * sound.peak:.2g} % and {100 * sound.rms:.2g} % rms"
        )
    shortest, longest = plausible_s(text, speed)
    if not shortest <= sound.seconds <= longest:
        raise NotAudioError(
            f"{sound.seconds:.2f} s of audio for {len(text)} characters (plausible: {shortest:.2f} to {longest:.2f} s)"
        )


def body_limit(text: str) -> int:
    """How many bytes an answer may have: the longest plausible audio at 48 kHz and 32 bits, written as base64."""
    longest = int(plausible_s(text, 0.5)[1] * 48_000 * 4 * 4 / 3)
    return min(max(longest, 8 * 2**20), 256 * 2**20)


def _wrong(cause: str, step: str) -> BenchError:
    return BenchError(cause, layer="plan", next_step=step, side=Side.CLIENT)
