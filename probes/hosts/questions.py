"""What was asked of one running agent and is not answered yet: requests with a token, answers matched by it.

Tokens cannot be guessed, so an answer of another time or to nobody is told from a real one. Nothing here waits for
ever: an answer, the end of the stream or the asker's own time limit ends each wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from typing import TYPE_CHECKING, Final

from probes.errors import AskError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from probes.errors import LinkError
    from probes.model import Answer

_MAX_OPEN: Final = 256
#: answers kept for one question; a host that sends more of them says nothing new
_MAX_ANSWERS: Final = 4


class Question:
    """One request; some have more than one answer, which are read in turn."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.token = secrets.token_hex(8)
        self._send = send
        self._answers: deque[Answer] = deque()
        self._lost: LinkError | None = None
        self._news = asyncio.Event()

    def send(self, verb: str, *words: str | int) -> None:
        """Send a request line with this token.

        Raises:
            ValueError: a word that would not stay one word.
        """
        parts = [verb, self.token, *map(str, words)]
        if not all(part.isascii() and part.isprintable() and part and " " not in part for part in parts):
            raise ValueError(f"not fit for a request: {parts!r}")
        self._send(" ".join(parts).encode() + b"\n")

    async def answer(self, timeout_s: float) -> Answer:
        """The next answer.

        Raises:
            AskError: the stream ended, time ran out, or the agent refused.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not self._answers:
                    if self._lost is not None:
                        raise AskError(f"the link was lost meanwhile: {self._lost.cause}", layer=self._lost.layer)
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AskError(f"no answer in {timeout_s:g} s", layer="agent") from None
        answer = self._answers.popleft()
        if answer.refused is not None:
            raise AskError(f"{answer.refused}: {answer.detail}" if answer.detail else answer.refused, layer="agent")
        return answer

    def take(self, answer: Answer) -> bool:
        """Keep an answer; False when there are more than anybody waits for."""
        if len(self._answers) >= _MAX_ANSWERS:
            return False
        self._answers.append(answer)
        self._news.set()
        return True

    def lose(self, error: LinkError) -> None:
        """No answer will come any more."""
        self._lost = error
        self._news.set()


class Questions:
    """All open questions of one stream."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._open: dict[str, Question] = {}
        self._lost: LinkError | None = None
        self._past: deque[str] = deque(maxlen=_MAX_OPEN)

    def __len__(self) -> int:
        return len(self._open)

    @contextlib.contextmanager
    def open(self) -> Generator[Question]:
        """A question, forgotten at the end of the block however that comes.

        Raises:
            AskError: too many are open.
        """
        if len(self._open) >= _MAX_OPEN:
            raise AskError(f"{_MAX_OPEN} questions to this host are open already", layer="agent")
        question = Question(self._send)
        if self._lost is not None:
            question.lose(self._lost)
        self._open[question.token] = question
        try:
            yield question
        finally:
            del self._open[question.token]
            self._past.append(question.token)

    def take(self, answer: Answer) -> bool:
        """Give an answer to its question; False when nobody ever asked, or not for so much."""
        question = self._open.get(answer.token)
        if question is None:
            return answer.token in self._past  # too late for whoever asked; no fault of the host's
        return question.take(answer)

    def end(self, error: LinkError) -> None:
        """The stream is gone."""
        self._lost = error
        for question in self._open.values():
            question.lose(error)
