"""Any other HTTP service, as ``[bench.synthesis.templates.NAME]`` of the configuration describes it.

``{text}`` and ``{style}`` stand inside values and are put in as values: nothing that is spoken can end a JSON string or
begin another field. A value ``$NAME`` is read from the environment when the run begins, so that secrets are neither in
the file nor in results or logs.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

import msgspec

from benchmarks.errors import BenchError
from benchmarks.model import Side
from benchmarks.options import Template
from benchmarks.synthesis.bodies import from_json
from benchmarks.synthesis.speaker import ONE_REQUEST, Found, Spoken
from benchmarks.synthesis.streaming import listen
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.client import Client
    from benchmarks.synthesis.speaker import Wishes

_PLACE: Final = re.compile(r"\{(text|style)\}")
_VARIABLE: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


def template_of(tables: Mapping[str, Any], name: str) -> Template:
    """The template of that name.

    Args:
        tables: ``[bench.synthesis.templates]``, checked, as plain JSON or as ``Template``.
        name: which.

    Raises:
        BenchError: layer ``plan``: there is none.
    """
    if name not in tables:
        known = ", ".join(sorted(tables))
        step = f"one of: {known}" if known else "add [bench.synthesis.templates.NAME] to the configuration"
        raise _wrong(f'no template "{clean(name, 60)}"', step)
    return msgspec.convert(tables[name], Template)


def digest_of(template: Template) -> str:
    """Tells two versions of a template apart in ``config_hash`` without repeating what it holds."""
    return hashlib.sha256(msgspec.json.encode(template, order="deterministic")).hexdigest()[:12]


class FromTemplate:
    """Speaks as a template says. See ``headers_of`` for what its client must send besides."""

    def __init__(self, client: Client, template: Template, wishes: Wishes) -> None:
        self._client = client
        self._template = template
        self._style = wishes.style or ""
        self._query = _with_environment(template.query)
        self._json = _with_environment(template.json)
        self._form = _with_environment(template.form)

    async def discover(self) -> Found:
        """See ``Speaker``: nothing is known of the service that could be asked."""
        return Found(
            notes=("as a template of the configuration says; nothing was asked of the service before",),
            missing={
                "query_time": ONE_REQUEST,
                "synthesis_time": ONE_REQUEST,
                "server_version": "a template says nothing of it",
                "device_claimed": "a template says nothing of it",
            },
        )

    async def is_warm(self) -> bool | None:
        """See ``Speaker``: it does not tell."""
        return None

    async def make_warm(self) -> str:
        """See ``Speaker``: there is no such request."""
        return ""

    async def speak(self, text: str) -> Spoken:
        """See ``Speaker``; first audio is timed where the body itself is the audio and streams."""
        template = self._template
        words = {"text": text, "style": self._style}
        path = _PLACE.sub(lambda place: quote(words[place[1]], safe=""), template.path)
        params, body = filled(self._query, words) or None, filled(self._json, words) or None
        if template.audio == "body" and not self._form:
            return await listen(self._client, template.method, path, params=params, json=body)
        form = filled(self._form, words) or None
        reply = await self._client.send(template.method, path, params=params, json=body, form=form)
        unwrap = None if template.audio == "body" else _unwrapper(template.audio)
        return Spoken(reply.body, reply.sent_ns, reply.end_ns, reply.spans, unwrap=unwrap)


def _unwrapper(path: str) -> Callable[[bytes], bytes]:
    return lambda body: from_json(body, path)


def filled(value: Any, words: Mapping[str, str]) -> Any:
    """A copy of a structure with the placeholders of its texts filled in, once: what is put in is not looked at."""
    return _mapped(value, lambda text: _PLACE.sub(lambda place: words[place[1]], text))


def headers_of(template: Template) -> dict[str, str]:
    """The headers, with what they name of the environment.

    Raises:
        BenchError: layer ``plan``: a variable is not set.
    """
    return _with_environment(template.headers)


def from_environment(value: str) -> str:
    """A value, or the variable that it names: ``$NAME``.

    Raises:
        BenchError: layer ``plan``: the variable is not set, or not fit for a header.
    """
    match = _VARIABLE.fullmatch(value)
    if match is None:
        return value
    found = os.environ.get(match[1], "").strip()
    if not found:
        raise _wrong(f"the environment variable {match[1]} is not set", "a template names it; set it and run again")
    if not found.isprintable():
        raise _wrong(f"the environment variable {match[1]} has control characters", "set it to text on one line")
    return found


def secrets_of(template: Template) -> tuple[str, ...]:
    """What the environment gave, to be taken out of whatever a service repeats."""
    found: set[str] = set()

    def take(text: str) -> str:
        if _VARIABLE.fullmatch(text):
            found.add(from_environment(text))
        return text

    _mapped([template.headers, template.query, template.json, template.form], take)
    return tuple(found)


def _with_environment(value: Any) -> Any:
    return _mapped(value, from_environment)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of a structure with every text in it changed; names of fields stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _mapped(item, change) for name, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_mapped(item, change) for item in cast("list[Any]", value)]
    return value


def _wrong(cause: str, step: str) -> BenchError:
    return BenchError(cause, layer="plan", next_step=step, side=Side.CLIENT)
