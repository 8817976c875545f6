"""The service itself: which models it lists, what it is, and the words for what it refuses."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from benchmarks.client import CallFailed
from benchmarks.errors import BenchError, NotMeasurableError
from benchmarks.model import Side
from probes.text import clean

if TYPE_CHECKING:
    from benchmarks.client import Client

_VARIABLE: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_VERSION_S: Final = 3.0
_SHOWN: Final = 8
_MODELS: Final = "/v1/models"
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Model(Struct, frozen=True):
    id: str


class _Models(Struct, frozen=True):
    data: tuple[_Model, ...] = ()


class _Version(Struct, frozen=True):
    version: str


class Models(Struct, frozen=True):
    """What ``/v1/models`` lists; ``known`` None: it lists nothing that can be read. ``server`` is its Server header."""

    known: tuple[str, ...] | None
    server: str = ""

    @property
    def shown(self) -> str:
        """Some of many names."""
        names = [clean(name, 60) for name in self.known or ()]
        return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def key_of(named: str) -> str | None:
    """The key in the environment variable that is named, as ``$NAME``; None: none is named.

    Raises:
        BenchError: layer ``plan``: the variable is not set, or not fit for a header.
    """
    match = _VARIABLE.fullmatch(named)
    if match is None:
        return None
    key = os.environ.get(match[1], "").strip()
    if not key:
        step = "[bench.llm] api_key names it: set it and run again"
        raise BenchError(f"the environment variable {match[1]} is not set", layer="plan", next_step=step,
                         side=Side.CLIENT)  # fmt: skip
    if not (key.isascii() and key.isprintable()):
        step = "set it to the key alone, on one line"
        raise BenchError(f"the environment variable {match[1]} has characters that no key has", layer="plan",
                         next_step=step, side=Side.CLIENT)  # fmt: skip
    return key


async def models_of(client: Client, base: str) -> Models:
    """What the service lists.

    Raises:
        CallFailed: it does not answer, or not so that anything else would succeed (401, 403, 5xx).
    """
    try:
        reply = await client.send("GET", base + _MODELS)
    except CallFailed as failed:
        if failed.status is None or failed.status >= 500 or failed.status in (401, 403, 429):
            raise
        return Models(None)
    server = clean(reply.headers.get("server", ""), 80)
    try:
        found = msgspec.json.decode(reply.body, type=_Models)
    except _UNDECODABLE:
        return Models(None, server)
    return Models(tuple(model.id for model in found.data), server)


async def version_of(client: Client, base: str) -> str | None:
    """What ``/version`` says, as vLLM's does; None: nothing, which is no fault. It is asked once, and briefly."""
    try:
        async with asyncio.timeout(_VERSION_S):
            reply = await client.send("GET", f"{base}/version")
        return clean(msgspec.json.decode(reply.body, type=_Version).version, 60) or None
    except (CallFailed, TimeoutError, *_UNDECODABLE):
        return None


def choose(wish: str, models: Models) -> str:
    """The model that is asked: the one that is wanted, else the first that is listed.

    One that is wanted and not listed is asked all the same, since lists leave out aliases: the answer decides.

    Raises:
        BenchError: none is wanted, and none is listed.
    """
    if wish:
        return wish
    if models.known is None:
        step = "name one with --param model=NAME; is it the right port and kind?"
        raise BenchError(f"the service lists no models under {_MODELS}", layer="service", next_step=step)
    if not models.known:
        step = "load one, or look into the service's log"
        raise BenchError("the service has no model", layer="service", next_step=step)
    return models.known[0]


def refused(failed: CallFailed, said: str, path: str, model: str, models: Models, *, openai: bool) -> BenchError:
    """The first request was refused in a way that every other would be.

    Args:
        failed: how.
        said: its detail, without secrets.
        path: what was asked.
        model: for which model.
        models: that the service lists.
        openai: whether the service is configured as one of this kind.
    """
    name = clean(model, 80)
    if failed.status in (401, 403):
        step = 'name the environment variable with the key in [bench.llm] api_key, as "$NAME"'
        return BenchError(f"the service wants another key: {said}", layer="http", next_step=step, side=Side.CLIENT)
    listed = models.known is not None and model in models.known
    if failed.status in (400, 404, 422) and models.known and not listed:
        step = f"one of: {models.shown}"
        return BenchError(f'no model "{name}": {said}', layer="service", next_step=step, side=Side.CLIENT)
    if failed.status in (404, 405, 501) and listed and openai:
        # one that speaks, or embeds: one of the services that are tried when nobody names one
        return NotMeasurableError(f"{path} is not there: {said}", next_step="it may be a service of another sort")
    step = "see the service's log, and the benchmark's parameters (api, model, max-tokens)"
    if failed.status == 404 and models.known is None:
        step = "is the model's name right, and the path of the service? it lists no models"
    return BenchError(f"the service refuses the request: {said}", layer="service", next_step=step, side=failed.side)


def body_of(api: str, prompt: str, options: dict[str, Any], model: str, *, usage: bool) -> dict[str, Any]:
    """One request as JSON. ``usage``: ask for the counts at the end of the stream."""
    asked: dict[str, Any] = {
        "model": model,
        "max_tokens": options["max_tokens"],
        "temperature": options["temperature"],
        "seed": options["seed"],
        "stream": True,
    }
    if usage:
        asked["stream_options"] = {"include_usage": True}
    return asked | ({"prompt": prompt} if api != "chat" else {"messages": [{"role": "user", "content": prompt}]})
