"""One streamed answer of a language model: its chunks as they come, what they prove, and the figures they give. Pure.

Reasoning counts as output: ``usage.completion_tokens`` counts its tokens too, and a TPOT of which the tokens of the
reasoning are part while its time is not would flatter. When the visible answer began stands beside it.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import Any, Final

import msgspec
from msgspec import Struct

from benchmarks.http_failures import words_of
from benchmarks.intervals import minimum_n
from benchmarks.sse import Event, Parser, TooMuchError
from benchmarks.stats import nearest_rank
from probes.text import clean, clean_bytes

DONE: Final = b"[DONE]"
#: finish reasons that say that the server gave up
_BROKEN: Final = frozenset({"abort", "aborted", "cancelled", "error"})
#: what is kept of an answer that turns out to be no stream
_BEGINNING: Final = 4096
MAX_TOKENS: Final = 100_000_000


class BadAnswerError(Exception):
    """The answer is not usable; the text says why, and is clean. ``sent_ns`` and ``end_ns`` as of an ``Answer``."""

    def __init__(self, words: str, answer: Answer) -> None:
        super().__init__(words)
        self.sent_ns = answer.sent_ns
        self.end_ns = answer.end_ns


class Delta(Struct, gc=False):
    """What a chunk of a chat adds. Reasoning has two names: DeepSeek's and vLLM's, and that of newer vLLM."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


class Choice(Struct, gc=False):
    """``delta`` of a chat, ``text`` of a plain completion."""

    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    index: int = 0


class Usage(Struct, gc=False):
    """What the server says it has counted."""

    completion_tokens: int | None = None
    prompt_tokens: int | None = None


class Chunk(Struct, gc=False):
    """One event. What it has besides is not looked at."""

    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: Any = None
    object: str | None = None


_CHUNKS: Final = msgspec.json.Decoder(Chunk)
#: gaps of one request that its median and its p99 need, as everywhere
MEDIAN_GAPS: Final = minimum_n(0.50)
P99_GAPS: Final = minimum_n(0.99)


class Answer:
    """Reads one stream; moments are nanoseconds of ``perf_counter_ns``.

    Args:
        sent_ns: when the request was sent.
        max_bytes: of the whole answer.
    """

    __slots__ = (
        "_beginning", "_parser", "_visible", "answer_ns", "chunks_ns", "done", "end_ns", "events", "finish", "reasoned",
        "sent_ns", "usage",
    )  # fmt: skip

    def __init__(self, sent_ns: int, max_bytes: int) -> None:
        self.sent_ns = sent_ns
        self._parser = Parser(max_bytes=max_bytes)
        self._beginning = b""
        self._visible = False
        #: when each chunk with content came
        self.chunks_ns: list[int] = []
        #: when the first content came that is not reasoning
        self.answer_ns: int | None = None
        self.reasoned = False
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.events = 0
        #: ``[DONE]`` came: there is nothing more
        self.done = False
        self.end_ns = sent_ns

    def feed(self, raw: bytes, at_ns: int) -> None:
        """Some bytes, which were there at ``at_ns``.

        Raises:
            BadAnswerError: this is no stream of chunks, or an error came in it.
        """
        self.end_ns = at_ns
        if not self.events and len(self._beginning) < _BEGINNING:
            self._beginning += raw[:_BEGINNING]
        try:
            events = self._parser.feed(raw)
        except TooMuchError as error:
            raise BadAnswerError(str(error), self) from None
        for event in events:
            self.events += 1
            if event.data.startswith(b"[D") and event.data.strip() == DONE:
                self.done = True
                return  # what comes behind it belongs to nothing
            self._take(event, at_ns)

    def _take(self, event: Event, at_ns: int) -> None:
        try:
            chunk = _CHUNKS.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            said = clean_bytes(event.data[:320], 80)
            raise BadAnswerError(f'no chunk of an answer: "{said}" ({clean(str(error), 80)})', self) from None
        if event.name == b"error" or chunk.object == "error" or chunk.error is not None:
            raise BadAnswerError(f'an error in the stream {self.after}: "{words_of(event.data)}"', self)
        if chunk.usage is not None:
            self.usage = chunk.usage
        for choice in chunk.choices or ():
            if choice.index == 0:
                self._choice(choice, at_ns)

    def _choice(self, choice: Choice, at_ns: int) -> None:
        delta, said, thought = choice.delta, choice.text, None
        if delta is not None:
            said = delta.content or delta.refusal or said
            thought = delta.reasoning_content or delta.reasoning
        if said or thought:
            self.chunks_ns.append(at_ns)
            if not self._visible:
                self._visible = not ((said or "") + (thought or "")).isspace()
        if thought:
            self.reasoned = True
        if said and self.answer_ns is None:
            self.answer_ns = at_ns
        if choice.finish_reason:
            self.finish = choice.finish_reason

    def check(self, content_type: str = "") -> None:
        """Whether this was a whole answer; called when the stream is over.

        Raises:
            BadAnswerError: it was not.
        """
        if not self.events:
            raise BadAnswerError(self._no_stream(content_type), self)
        if self.finish is None:
            how = "ended with [DONE]" if self.done else "stopped"
            raise BadAnswerError(f"the stream {how} {self.after} without finish_reason", self)
        if self.finish in _BROKEN:
            raise BadAnswerError(f'the answer ended {self.after} with finish_reason "{clean(self.finish, 40)}"', self)
        if not self._visible:
            raise BadAnswerError(f'no content in {self.events} events, finish_reason "{clean(self.finish, 40)}"', self)

    @property
    def after(self) -> str:
        """How much had come, in words."""
        count = len(self.chunks_ns)
        return f"after {count} chunk{'' if count == 1 else 's'}"

    def _no_stream(self, content_type: str) -> str:
        beginning = self._beginning.strip()
        if not beginning:
            return "an empty answer"
        kind = clean(content_type, 60) or "no content type"
        if beginning.startswith(b"{"):
            said = words_of(self._beginning) if b'"error"' in beginning or b'"detail"' in beginning else ""
            return f"one JSON object although a stream was asked for ({kind})" + (f': "{said}"' if said else "")
        return f'no stream of events ({kind}): it begins with "{clean_bytes(beginning[:320], 80)}"'

    # --- figures ---

    @property
    def output_tokens(self) -> int | None:
        """As the usage block says; None: there was none, or none that can be."""
        return None if self.usage is None else _count(self.usage.completion_tokens)

    def values(self) -> dict[str, float]:
        """The metrics of a whole answer, by their tags; what cannot be said is left out."""
        first_ns, tokens = self.chunks_ns[0], self.output_tokens
        values = {"ttft": (first_ns - self.sent_ns) / 1e9, "output_chunks": float(len(self.chunks_ns))}
        if self.reasoned and self.answer_ns is not None:
            values["time_to_answer"] = (self.answer_ns - self.sent_ns) / 1e9
        if tokens is not None:
            values["output_tokens"] = float(tokens)
            if tokens >= 2:
                values["tpot"] = (self.end_ns - first_ns) / 1e9 / (tokens - 1)
        elif len(self.chunks_ns) >= 2:
            values["time_per_chunk"] = (self.end_ns - first_ns) / 1e9 / (len(self.chunks_ns) - 1)
        if self.usage is not None and (prompt := _count(self.usage.prompt_tokens)) is not None:
            values["prompt_tokens"] = float(prompt)
        return values | _gaps(self.chunks_ns)


def _count(found: int | None) -> int | None:
    """A number of tokens that can be; 0 is none: there was content."""
    return found if found is not None and 0 < found <= MAX_TOKENS else None


def _gaps(chunks_ns: list[int]) -> dict[str, float]:
    """Between chunks with content, in seconds; a percentile only of as many as it needs."""
    gaps = sorted((after - before) / 1e9 for before, after in pairwise(chunks_ns))
    values: dict[str, float] = {}
    if gaps:
        values["inter_chunk_max"] = gaps[-1]
    if len(gaps) >= MEDIAN_GAPS:
        values["inter_chunk"] = median(gaps)
    if len(gaps) >= P99_GAPS:
        values["inter_chunk_p99"] = gaps[nearest_rank(len(gaps), 0.99) - 1]
    return values
