"""Any other HTTP service, as ``[bench.synthesis.templates.NAME]`` of the configuration describes it.

``{text}`` and ``{style}`` stand inside values and are put in as values: nothing that is spoken can end a JSON string or
begin another field. A value ``env:NAME`` (or ``Bearer env:NAME``) is read from the environment when the run begins, so
that secrets are neither in the file nor in results or logs.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from benchmarks.errors import BenchError
from benchmarks.model import Side
from benchmarks.synthesis import openvoice
from benchmarks.synthesis.audio import Format
from benchmarks.synthesis.bodies import from_json
from benchmarks.synthesis.speaker import ONE_REQUEST, Found, Spoken
from benchmarks.synthesis.streaming import listen
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.client import Client
    from benchmarks.synthesis.speaker import Wishes

_PLACE: Final = re.compile(r"\{(text|style)\}")
_FROM_ENV: Final = re.compile(r"(?:^|(?<= ))env:([A-Za-z_][A-Za-z0-9_]*)$")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
Scalar = str | int | float | bool


class Template(Struct, frozen=True, forbid_unknown_fields=True):
    """One table. ``audio``: ``body``, or the dotted path to base64 in a JSON answer.

    ``pcm_rate_hz``: the audio is raw 16-bit samples at this rate, one channel; None: it is a WAV file. ``health`` is
    the path of a GET that must answer 2xx before the run.
    """

    method: Literal["GET", "POST", "PUT"] = "POST"
    path: str = "/"
    query: dict[str, Scalar] = {}
    json: Any = UNSET
    form: dict[str, Scalar] | UnsetType = UNSET
    headers: dict[str, str] = {}
    audio: str = "body"
    style: str = ""
    pcm_rate_hz: int | None = None
    max_characters: int | None = None
    health: str | None = None

    @property
    def raw(self) -> Format | None:
        """The format of raw samples."""
        return None if self.pcm_rate_hz is None else Format(self.pcm_rate_hz, 1, 16)


def template_of(options: Mapping[str, Any], name: str) -> Template:
    """The template of that name in the table ``[bench.synthesis]``.

    Raises:
        BenchError: layer ``plan``: there is none, or it is wrong.
    """
    tables = options.get("templates")
    known = cast("dict[str, Any]", tables) if isinstance(tables, dict) else {}
    if name not in known:
        names = ", ".join(sorted(known)) or "there is none: add [bench.synthesis.templates.NAME] to the configuration"
        raise _wrong(f'no template "{clean(name, 60)}"', f"one of: {names}" if known else names)
    where = f"[bench.synthesis.templates.{clean(name, 60)}]"
    try:
        found = msgspec.convert(known[name], Template)
    except msgspec.ValidationError as error:
        raise _wrong(f"{where}: {clean(str(error), 160)}", "see config.toml") from None
    _check(found, where)
    return found


def digest_of(template: Template) -> str:
    """Tells two versions of a template apart in ``config_hash`` without repeating what it holds."""
    return hashlib.sha256(msgspec.json.encode(template, order="deterministic")).hexdigest()[:12]


def _check(found: Template, where: str) -> None:
    if found.json is not UNSET and found.form is not UNSET:
        raise _wrong(f"{where}: json and form", "a request has one body: keep one of them")
    if not found.path.startswith("/"):
        raise _wrong(f"{where}: path does not begin with /", "the URL or the service has scheme, host and port")
    places = [found.path, found.query, found.json, found.form]
    if not any("{text}" in text for place in places for text in _texts(place)):
        raise _wrong(f"{where}: {{text}} is nowhere", "put it into path, query, json or form")
    for name, value in found.headers.items():
        if not _HEADER_NAME.fullmatch(name) or any(ord(char) < 32 or ord(char) == 127 for char in value):
            raise _wrong(f'{where}: header "{clean(name, 60)}"', "a name, and a value on one line")
    if found.pcm_rate_hz is not None and not 4_000 <= found.pcm_rate_hz <= 384_000:
        raise _wrong(f"{where}: pcm_rate_hz is {found.pcm_rate_hz}", "4000 to 384000")


class FromTemplate:
    """Speaks as a template says."""

    def __init__(self, client: Client, template: Template, wishes: Wishes) -> None:
        self._client = client
        self._template = template
        self._style = wishes.style or template.style
        self._query = _with_environment(template.query)
        self._json = None if template.json is UNSET else _with_environment(template.json)
        self._form = None if template.form is UNSET else _with_environment(template.form)

    async def discover(self) -> Found:
        """See ``Speaker``."""
        if self._template.health is not None:
            await self._client.send("GET", self._template.health)
        missing = {
            "query_time": ONE_REQUEST,
            "synthesis_time": ONE_REQUEST,
            "device_claimed": "a template says nothing of it",
        }
        asked = "" if self._template.health else "; nothing was asked of the service before"
        return Found(notes=(f"as a template of the configuration says{asked}",), missing=missing)

    async def is_warm(self) -> bool | None:
        """See ``Speaker``: it does not tell."""
        return None

    async def make_warm(self) -> str:
        """See ``Speaker``: there is no such request."""
        return ""

    async def speak(self, text: str) -> Spoken:
        """See ``Speaker``."""
        template = self._template
        words = {"text": text, "style": self._style}
        path = _PLACE.sub(lambda place: quote(words[place[1]], safe=""), template.path)
        params = filled(self._query, words) or None
        if template.audio == "body" and self._form is None:
            body = None if self._json is None else filled(self._json, words)
            return await listen(self._client, template.method, path, params=params, json=body, raw=template.raw)
        reply = await self._client.send(
            template.method,
            path,
            params=params,
            json=None if self._json is None else filled(self._json, words),
            form=None if self._form is None else filled(self._form, words),
        )
        answer = openvoice.spoken(reply)
        unwrap = None if template.audio == "body" else _unwrapper(template.audio)
        return Spoken(answer.body, answer.sent_ns, answer.end_ns, answer.spans, unwrap=unwrap, raw=template.raw)


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
    return {name: from_environment(value) for name, value in template.headers.items()}


def from_environment(value: str) -> str:
    """A value, or what it names: ``env:NAME``, also behind a word (``Bearer env:NAME``).

    Raises:
        BenchError: layer ``plan``: the variable is not set, or not fit for a header.
    """
    match = _FROM_ENV.search(value)
    if match is None:
        return value
    found = os.environ.get(match[1], "").strip()
    if not found:
        raise _wrong(f"the environment variable {match[1]} is not set", "a template names it; set it and run again")
    if not found.isprintable():
        raise _wrong(f"the environment variable {match[1]} has control characters", "set it to text on one line")
    return value[: match.start()] + found


def secrets_of(template: Template) -> tuple[str, ...]:
    """What the environment gave, to be taken out of whatever a service repeats. Call after ``headers_of``."""
    texts = _texts([template.headers, template.query, template.json, template.form])
    names = [match[1] for text in texts if (match := _FROM_ENV.search(text))]
    return tuple({os.environ[name].strip() for name in names if os.environ.get(name, "").strip()})


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


def _texts(value: Any) -> list[str]:
    found: list[str] = []

    def take(text: str) -> str:
        found.append(text)
        return text

    _mapped(value, take)
    return found


def _wrong(cause: str, step: str) -> BenchError:
    return BenchError(cause, layer="plan", next_step=step, side=Side.CLIENT)
