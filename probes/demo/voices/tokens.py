"""What a language model's stand-in says, and when: server-sent events by an absolute schedule."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, Final

from probes.demo.voices.message import Piece

if TYPE_CHECKING:
    from probes.demo.voices.behaviour import Behaviour

#: characters of one to four bytes, so that a client which decodes by the chunk is found out
_TOKENS: Final = (" The", " tower", "塔", "は", " is", " höher", "高い", " than", "🗼", " we", " thought", "。")
DONE: Final = b"data: [DONE]\n\n"


def token(prompt: str, number: int) -> str:
    """The text of a token; it belongs to the prompt and the number."""
    return _TOKENS[(zlib.crc32(prompt.encode("utf-8", "surrogatepass")) + number) % len(_TOKENS)]


def text_of(prompt: str, tokens: int) -> str:
    """A whole reply."""
    return "".join(token(prompt, number) for number in range(tokens))


def event(value: object) -> bytes:
    """One server-sent event, as UTF-8 and not as escapes."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def schedule(
    behaviour: Behaviour, prompt: str, tokens: int, head: dict[str, Any], *, chat: bool, usage: dict[str, int] | None
) -> tuple[Piece, ...]:
    """The events of a stream, each with its moment in seconds after the work.

    Token j is generated at ``ttft_s + j * token_s``; a chunk goes out with its last token. What ends the stream goes
    out with the last token too.

    Args:
        behaviour: the speed, and what is left out.
        prompt: what was asked.
        tokens: how many the reply has.
        head: the fields that every chunk repeats.
        chat: deltas of chat, not the texts of plain completion.
        usage: the block of counts, or None when it was not asked for.
    """
    rest = {"usage": None} if usage is not None else {}
    pieces: list[Piece] = []

    def say(at_s: float, content: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "logprobs": None, "finish_reason": finish} | content
        pieces.append(Piece(at_s, event(head | {"choices": [choice]} | rest)))

    if chat and behaviour.role_first:
        say(0.0, {"delta": {"role": "assistant", "content": ""}})
    at_s = behaviour.ttft_s
    for first in range(0, tokens, behaviour.tokens_per_chunk):
        last = min(first + behaviour.tokens_per_chunk, tokens) - 1
        at_s = behaviour.ttft_s + last * behaviour.token_s
        text = "".join(token(prompt, number) for number in range(first, last + 1))
        say(at_s, {"delta": {"content": text}} if chat else {"text": text})
    if behaviour.finish:
        say(at_s, {"delta": {}} if chat else {"text": ""}, "stop" if tokens == behaviour.reply_tokens else "length")
    if usage is not None:
        counted: dict[str, Any] = {"choices": [], "usage": usage}
        pieces.append(Piece(at_s, event(head | counted)))
    pieces.append(Piece(at_s, DONE))
    return tuple(pieces) if behaviour.split_s is None else _halves(pieces, behaviour.split_s)


def _halves(pieces: list[Piece], ahead_s: float) -> tuple[Piece, ...]:
    """Every event in two parts; the first goes out earlier, though not before what precedes it."""
    halves: list[Piece] = []
    before_s = 0.0
    for piece in pieces:
        cut = _inside_a_character(piece.data)
        halves.append(Piece(max(before_s, piece.at_s - ahead_s), piece.data[:cut]))
        halves.append(Piece(piece.at_s, piece.data[cut:]))
        before_s = piece.at_s
    return tuple(halves)


def _inside_a_character(data: bytes) -> int:
    """Where to cut: after the first byte of a character of several, else in the middle."""
    return next((place + 1 for place, byte in enumerate(data) if byte >= 0xC0), len(data) // 2)
