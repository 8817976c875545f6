"""What is asked: prompts of fixed and mixed length, the same words in every run and on every machine."""

from __future__ import annotations

import secrets
from random import Random
from typing import Final

from benchmarks.model import Case

#: words of the generated text: short and common, one or two tokens each in the usual vocabularies
_WORDS: Final = (  # noqa: SIM905 - nobody reads a list of a hundred literals
    "the a one this that every some most old new small large early late cold warm open quiet north river harbour "
    "station bridge market garden window letter engine signal morning evening winter summer captain teacher doctor "
    "driver farmer child paper water stone light road train ship house field number record answer question reason "
    "moved waited turned looked carried opened closed followed counted measured wrote found kept left reached began "
    "slowly quickly often never always before after under over between toward along without against during and but "
    "or because while where when until with from for into"
).split()

SHORT: Final = "In three short sentences, explain why the sky looks blue by day and red at sunset."
_LONG_TASK: Final = "Read the following text and describe in a few sentences what it is about."
LONG_WORDS: Final = 500
MIXED: Final = "mixed"
#: words of the text in a mixed prompt; each is as likely as the others
MIXED_WORDS: Final = (16, 32, 64, 128, 256, 512, 1024)
MIXED_SEED: Final = 1


def words(count: int, seed: str) -> str:
    """So many words, in sentences of 8 to 15; the same for the same seed."""
    # Random(str).random() is the same in every version of Python; its other methods need not be
    rng = Random(f"quarterdeck:{seed}")  # noqa: S311 - text, no secret
    out: list[str] = []
    left = 0
    for at in range(count):
        word = _WORDS[int(rng.random() * len(_WORDS))]
        if not left:
            left = 8 + int(rng.random() * 8)
            word = word.capitalize()
        left -= 1
        out.append(word + ("." if not left or at == count - 1 else ""))
    return " ".join(out)


def long_prompt(count: int, seed: str) -> str:
    """A task and a text of so many words."""
    return f"{_LONG_TASK}\n\n{words(count, seed)}"


def mixed_words(i: int) -> int:
    """How long the text of request ``i`` is in a mixture: by its number alone, so that runs offer the same."""
    share = Random(f"quarterdeck:mixed:{MIXED_SEED}:{i}").random()  # noqa: S311 - the same
    return MIXED_WORDS[int(share * len(MIXED_WORDS))]


FIXED: Final = (
    Case("short", "about 20 tokens", SHORT),
    Case("long", f"{LONG_WORDS} words", long_prompt(LONG_WORDS, "long")),
    Case(
        MIXED,
        f"{MIXED_WORDS[0]} to {MIXED_WORDS[-1]} words",
        f"generated texts of {', '.join(map(str, MIXED_WORDS))} words, by the request's number and seed {MIXED_SEED}",
    ),
)


def prompt_of(case: Case, i: int) -> str:
    """What request ``i`` of a case asks."""
    return long_prompt(mixed_words(i), f"mixed:{MIXED_SEED}:{i}") if case.id == MIXED else case.text


def fresh(prompt: str) -> str:
    """The prompt behind a number that no request had before, so that no cache of prefixes has seen it.

    Always of the same length: what it costs in tokens hardly differs.
    """
    return f"[{secrets.randbelow(10**12):012d}] {prompt}"
