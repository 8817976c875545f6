"""A running benchmark of a language model: one streamed answer after the other, each read to its end and checked."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from msgspec import structs

from benchmarks.benchmark import Preflight
from benchmarks.client import CallFailed, Client
from benchmarks.errors import BenchError
from benchmarks.llm.answer import Answer, BadAnswerError
from benchmarks.llm.planning import CHAT, FRESH
from benchmarks.llm.prompts import fresh, prompt_of
from benchmarks.llm.server import Models, body_of, choose, key_of, models_of, refused, version_of
from benchmarks.llm.totals import totals_of
from benchmarks.model import Done, Outcome, Side
from benchmarks.options import options_of
from benchmarks.synthesis.speaker import behind
from probes.model import ServiceKind
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from benchmarks.client import Streaming
    from benchmarks.context import Context, Endpoint
    from benchmarks.model import RunSpec, Sample
    from probes.model import Service

#: After ``[DONE]`` the end of the body follows in the same packet or the next; for it the connection is kept. A server
#: that holds it back longer costs the connection, not the slot.
_LINGER_S: Final = 0.1
#: bytes of one token's event that are allowed for, and of an answer besides
_TOKEN_BYTES: Final = 8 * 1024
_LEAST_BYTES: Final = 8 * 2**20
_MOST_BYTES: Final = 256 * 2**20
#: characters that give a key away
_KEY_BEGINS: Final = 8


class Llm:
    """See ``Benchmark``."""

    def __init__(self, spec: RunSpec, context: Context) -> None:
        self._spec = spec
        self._context = context
        self._stack = AsyncExitStack()
        self._client: Client | None = None
        self._found: Preflight | None = None
        self._models = Models(None)
        self._model = ""
        self._base = ""
        self._key: str | None = None
        self._usage = True
        self._max_bytes = min(max(spec.options["max_tokens"] * _TOKEN_BYTES, _LEAST_BYTES), _MOST_BYTES)

    # --- before ---

    async def preflight(self) -> Preflight:
        """See ``Benchmark``: the way, the models, the version."""
        service, spec = self._service(), self._spec
        named = options_of(self._context.settings.bench).llm.api_key
        self._key = key_of(named)
        endpoint = await self._context.endpoint(service, spec.url)
        endpoint, self._base = _rooted(endpoint, service)
        load = spec.load
        client = self._client = await self._stack.enter_async_context(
            Client(
                endpoint,
                concurrency=load.concurrency if load.rate_per_s is None else load.max_in_flight,
                timeout_s=load.timeout_s,
                max_bytes=self._max_bytes,
                headers={} if self._key is None else {"authorization": f"Bearer {self._key}"},
            )
        )
        try:
            self._models = await models_of(client, self._base)
        except CallFailed as failed:
            raise self._cannot(failed) from None
        self._model = choose(spec.options["model"], self._models)
        version = await version_of(client, self._base) or self._models.server or None
        missing = {"device_claimed": "the service does not tell"}
        if version is None:
            missing["server_version"] = "the service sends no Server header, and has no /version"
        self._found = Preflight(
            endpoint=endpoint.base_url,
            server_version=version,
            via="ssh_tunnel" if endpoint.via == "ssh_tunnel" else "direct",
            tunnel_ms=endpoint.tunnel_ms,
            notes=(self._about_model(), self._about_prompts(), *_about_key(named, self._key, endpoint)),
            missing=missing,
        )
        return self._found

    async def prepare(self) -> Preflight | None:
        """See ``Benchmark``: one request, which shows whether there is such a model, and whether its stream has usage.

        A service that fails here on its own side is measured all the same: its failures are the result.
        """
        if self._found is None:
            raise RuntimeError("preflight comes first")
        notes = [*self._found.notes]
        try:
            answer = await self._first(notes)
        except CallFailed as failed:
            if failed.side is Side.CLIENT:
                raise self._refused(failed) from None
            notes.append(f"the first request, before the run, failed: {self._safe(failed.detail)}")
        except BadAnswerError as error:
            notes.append(f"the first answer, before the run, was not usable: {self._safe(str(error))}")
        else:
            notes.append(_about_first(answer))
        return structs.replace(self._found, notes=tuple(notes))

    async def _first(self, notes: list[str]) -> Answer:
        """The first answer; from a service that knows no ``stream_options`` one without them."""
        try:
            return await self._ask(0, {})
        except CallFailed as failed:
            unknown = "stream_options" in failed.detail or "include_usage" in failed.detail
            if failed.status not in (400, 422) or not unknown:
                raise
        self._usage = False
        notes.append("the service refuses stream_options, so it was not asked for usage")
        return await self._ask(0, {})

    # --- measured ---

    async def once(self, i: int, intended_ns: int) -> Done:
        """See ``Benchmark``."""
        del intended_ns
        spans: dict[str, float] = {}
        try:
            answer = await self._ask(i, spans)
        except CallFailed as failed:
            return structs.replace(failed.done(), detail=self._safe(failed.detail))
        except BadAnswerError as error:
            return Done(
                Outcome.INVALID_BODY,
                spans=spans,
                sent_ns=error.sent_ns,
                end_ns=error.end_ns,
                detail=self._safe(str(error)),
            )
        return Done(values=answer.values(), spans=spans, sent_ns=answer.sent_ns, end_ns=answer.end_ns)

    def totals(self, samples: Sequence[Sample], window_s: float) -> Mapping[str, float | None]:
        """See ``Benchmark``."""
        del window_s  # from the first send to the last response, not to the end of the drain
        options = self._spec.options
        return totals_of(samples, ttft_s=options["ttft_s"], tpot_s=options["tpot_s"])

    async def cleanup(self) -> None:
        """See ``Benchmark``: close the connections."""
        await self._stack.aclose()

    async def _ask(self, i: int, spans: dict[str, float]) -> Answer:
        """One request, never sent twice; a whole answer, checked. Its parts are put into ``spans``.

        Raises:
            CallFailed: no complete answer, or a status that says so; after a part of it with how much had come.
            BadAnswerError: a complete one that is none.
        """
        if self._client is None:
            raise RuntimeError("preflight comes first")
        options = self._spec.options
        prompt = prompt_of(self._spec.case, i)
        if options["cache"] == FRESH:
            prompt = fresh(prompt)
        body = body_of(options["api"], prompt, options, self._model, usage=self._usage)
        answer: Answer | None = None
        try:
            async with self._client.stream("POST", self._base + self._path, json=body) as stream:
                answer = Answer(stream.sent_ns, self._max_bytes)
                try:
                    await _read(stream, answer)
                finally:
                    spans.update(stream.spans)
                answer.check(stream.headers.get("content-type", ""))
        except CallFailed as failed:
            if answer is not None:
                failed.detail += f" (in the stream, {answer.after})"
            raise
        return answer

    # --- parts ---

    @property
    def _path(self) -> str:
        return "/v1/chat/completions" if self._spec.options["api"] == CHAT else "/v1/completions"

    def _service(self) -> Service | None:
        name = self._spec.service
        if name is None:
            return None
        service = next((service for service in self._context.host.services if service.name == name), None)
        if service is None:
            raise BenchError(f"{self._context.host.id} has no service {name}", layer="plan", side=Side.CLIENT)
        return service

    def _about_model(self) -> str:
        name, known = clean(self._model, 80), self._models.known
        if known is None:
            return f"model {name}; the service lists none"
        if self._model not in known:
            return f"model {name}, which is not among the {len(known)} that the service lists"
        if self._spec.options["model"]:
            return f"model {name}"
        return f"model {name}, the first of {len(known)} that the service lists"

    def _about_prompts(self) -> str:
        if self._spec.options["cache"] == FRESH:
            return "each prompt begins with another number: no cache of prefixes can answer for it"
        return "prompts are repeated: a cache of prefixes may answer for them"

    def _cannot(self, failed: CallFailed) -> BenchError:
        """A service that does not answer before the run."""
        if failed.status in (401, 403):
            return self._refused(failed)
        layer = "http" if failed.status is not None else "tcp"
        step = "is the service running? see quarterdeck diagnose" if failed.status is None else "see the service's log"
        return BenchError(self._safe(failed.detail), layer=layer, next_step=step, side=failed.side)

    def _refused(self, failed: CallFailed) -> BenchError:
        service = self._service()
        openai = service is not None and service.kind is ServiceKind.OPENAI
        return refused(failed, self._safe(failed.detail), self._path, self._model, self._models, openai=openai)

    def _safe(self, words: str) -> str:
        """Without the key, should the service repeat it; also one that was cut off."""
        if self._key is None:
            return words
        return re.sub(re.escape(self._key[:_KEY_BEGINS]) + r"\S*", "***", words)


async def _read(stream: Streaming, answer: Answer) -> None:
    """Read a stream to its end."""
    parts = aiter(stream)
    async for raw, at_ns in parts:
        answer.feed(raw, at_ns)
        if answer.done:
            await _linger(parts)
            return


async def _linger(parts: AsyncIterator[Any]) -> None:
    """The answer is complete: wait a moment for the end of the body, so that the connection can be used again."""
    try:
        async with asyncio.timeout(_LINGER_S):
            async for _ in parts:
                pass
    except (TimeoutError, CallFailed):
        # it costs this connection, and says nothing about the answer, which was there
        return


def _rooted(endpoint: Endpoint, service: Service | None) -> tuple[Endpoint, str]:
    """The endpoint, and what stands before ``/v1``. Base URLs of OpenAI's own clients end with it: both are taken."""
    if service is not None:
        return endpoint, behind(service.path, "/v1/models")
    return structs.replace(endpoint, base_url=endpoint.base_url.rstrip("/").removesuffix("/v1")), ""


def _about_key(named: str, key: str | None, endpoint: Endpoint) -> tuple[str, ...]:
    """That a key was sent, never the key."""
    if key is None:
        return ()
    parts = urlsplit(endpoint.base_url)
    note = f"with the key in {named}"
    if parts.scheme == "http" and endpoint.via == "direct" and not _is_loopback(parts.hostname or ""):
        note += ", which goes over the network in the clear (http)"
    return (note,)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _about_first(answer: Answer) -> str:
    values = answer.values()
    tokens = values.get("output_tokens")
    counted = "no usage block: the unit is chunks" if tokens is None else f"{tokens:.0f} tokens by its usage block"
    return (
        f"first answer, before the run: TTFT {values['ttft'] * 1000:.1f} ms, "
        f"{values['output_chunks']:.0f} chunks, {counted}"
    )
