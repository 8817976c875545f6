"""A stand-in of a server that is compatible with OpenAI's interface: models, speech, chat and completion."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from probes.demo.voices.audio import FRAME_BYTES, FRAMES_PER_CHAR, HEADER_BYTES, header, wav
from probes.demo.voices.message import Piece, Reply, Request, as_json
from probes.demo.voices.service import Route, Service
from probes.demo.voices.tokens import schedule, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.demo.voices.behaviour import Behaviour
    from probes.demo.voices.clock import Clock

_CREATED: Final = 1_750_000_000
_TYPES: Final = {"wav": "audio/wav", "pcm": "audio/pcm"}


class OpenAi(Service):
    """The server.

    Args:
        behaviour: speed and faults.
        models: what it lists and answers for; any other is 404.
        voices: of speech.
        api_key: what ``Authorization: Bearer`` must hold; None: nothing is asked for.
        clock: another time than the event loop's.
        on_busy: told of work on the GPU.
    """

    kind: ClassVar[str] = "openai"

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        models: tuple[str, ...] = ("demo-8b",),
        voices: tuple[str, ...] = ("alloy", "demo"),
        api_key: str | None = None,
        clock: Clock | None = None,
        on_busy: Callable[[int], None] | None = None,
    ) -> None:
        self._models = models
        self._voices = voices
        self._api_key = api_key
        super().__init__(behaviour, clock=clock, on_busy=on_busy)

    def routes(self) -> tuple[Route, ...]:
        """The calls of the contract."""
        return (
            Route("GET", "/v1/models", self._list),
            Route("POST", "/v1/chat/completions", self._chat, work=True),
            Route("POST", "/v1/completions", self._complete, work=True),
            Route("POST", "/v1/audio/speech", self._speech, work=True),
        )

    def failure(self, status: int, text: str) -> Reply:
        """An error in OpenAI's words."""
        return _error(status, text)

    def ok_error(self) -> Reply:
        """An error with status 200."""
        reply = _error(500, "CUDA out of memory")
        reply.status = 200
        return reply

    def gate(self, request: Request) -> Reply | None:
        """The key."""
        if self._api_key is None:
            return None
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        good = hmac.compare_digest(given, f"Bearer {self._api_key}".encode())
        return None if good else _error(401, "Incorrect API key provided")

    def _listed(self) -> tuple[str, ...]:
        return () if self.behaviour.empty_catalog else self._models

    def _list(self, request: Request) -> Reply:
        del request
        data = [{"id": name, "object": "model", "created": _CREATED, "owned_by": "demo"} for name in self._listed()]
        return as_json({"object": "list", "data": data})

    # --- language ---

    def _chat(self, request: Request) -> Reply:
        asked = self._fields(request)
        if isinstance(asked, Reply):
            return asked
        messages = asked.get("messages")
        if not isinstance(messages, list) or not messages:
            return _error(400, "messages: field required")
        parts: list[str] = []
        for message in cast("list[object]", messages):
            content = cast("dict[str, object]", message).get("content") if isinstance(message, dict) else None
            if not isinstance(content, str):
                return _error(400, "messages: content must be a string")
            parts.append(content)
        return self._generate(asked, "\n".join(parts), chat=True)

    def _complete(self, request: Request) -> Reply:
        asked = self._fields(request)
        if isinstance(asked, Reply):
            return asked
        prompt = asked.get("prompt")
        if not isinstance(prompt, str):
            return _error(400, "prompt: must be a string")
        return self._generate(asked, prompt, chat=False)

    def _generate(self, asked: dict[str, Any], prompt: str, *, chat: bool) -> Reply:
        behaviour = self.behaviour
        if not prompt and behaviour.empty_text != "accept":
            crash = behaviour.empty_text == "crash"
            return _error(500, "list index out of range") if crash else _error(400, "the prompt is empty")
        limit = asked.get("max_completion_tokens", asked.get("max_tokens"))
        tokens = behaviour.reply_tokens if not isinstance(limit, int) else min(behaviour.reply_tokens, limit)
        prompt_tokens = 1 + len(prompt) // 4
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": prompt_tokens + tokens,
        }
        stem = "chat.completion" if chat else "text_completion"
        head = {"id": f"{'chat' if chat else ''}cmpl-{self.ledger.works}", "created": _CREATED, "model": asked["model"]}
        reply = Reply(text=prompt, chars=len(prompt))
        if asked.get("stream") is True:
            options = asked.get("stream_options")
            wanted = isinstance(options, dict) and cast("dict[str, object]", options).get("include_usage") is True
            head["object"] = f"{stem}.chunk" if chat else stem
            reply.content_type = "text/event-stream; charset=utf-8"
            counted = usage if wanted and behaviour.usage else None
            reply.pieces = schedule(behaviour, prompt, tokens, head, chat=chat, usage=counted)
            return reply
        text = text_of(prompt, tokens)
        said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        finish = None if not behaviour.finish else "stop" if tokens == behaviour.reply_tokens else "length"
        whole = head | {"object": stem, "choices": [{"index": 0, "finish_reason": finish, "logprobs": None} | said]}
        reply.body = as_json(whole | ({"usage": usage} if behaviour.usage else {})).body
        reply.after_s = behaviour.ttft_s + max(0, tokens - 1) * behaviour.token_s
        return reply

    def _fields(self, request: Request) -> dict[str, Any] | Reply:
        """The fields of a request for a model that there is, or why there are none."""
        fields = request.json()
        if not isinstance(fields, dict):
            return _error(400, "the body is not a JSON object")
        asked = cast("dict[str, Any]", fields)
        model = asked.get("model")
        if not isinstance(model, str):
            return _error(400, "model: field required")
        if model not in self._listed():
            return _error(404, f"The model `{model}` does not exist.", "NotFoundError")
        return _error(503, "the model is being loaded") if self.behaviour.initializing else asked

    # --- speech ---

    def _speech(self, request: Request) -> Reply:
        asked = self._fields(request)
        if isinstance(asked, Reply):
            return asked
        text, voice = asked.get("input"), asked.get("voice")
        kind, speed = asked.get("response_format", "wav"), asked.get("speed", 1.0)
        if not isinstance(text, str) or voice not in self._voices or kind not in _TYPES:
            return _error(400, f"input must be a string, voice one of {self._voices}, response_format wav or pcm")
        if not isinstance(speed, (int, float)) or not 0.25 <= speed <= 4.0:
            return _error(400, "speed must be between 0.25 and 4")
        behaviour = self.behaviour
        if not text.strip() and behaviour.empty_text != "accept":
            crash = behaviour.empty_text == "crash"
            return _error(500, "list index out of range") if crash else _error(400, "input must not be empty")
        whole = wav(text, str(voice), float(speed), behaviour.audio)
        reply = Reply(content_type=_TYPES[str(kind)], text=text, chars=len(text))
        if behaviour.first_audio_s is None:
            reply.body = whole if kind == "wav" else whole[HEADER_BYTES:]
        else:
            reply.pieces = _spoken(whole, behaviour, float(speed), has_header=kind == "wav")
        return reply


def _spoken(whole: bytes, behaviour: Behaviour, speed: float, *, has_header: bool) -> tuple[Piece, ...]:
    """A stream of speech: the header with its sizes unknown at once, then one character after the other."""
    pieces = [Piece(0.0, header(None))] if has_header else []
    size = int(FRAMES_PER_CHAR / speed) * FRAME_BYTES
    frames = whole[HEADER_BYTES:]
    first_s = behaviour.first_audio_s or 0.0
    for nth, place in enumerate(range(0, len(frames), size)):
        pieces.append(Piece(first_s + nth * behaviour.audio_chunk_s, frames[place : place + size]))
    return tuple(pieces)


def _error(status: int, text: str, kind: str = "BadRequestError") -> Reply:
    return as_json({"error": {"message": text, "type": kind, "param": None, "code": status}}, status)
