"""What every kind of speech service is to the benchmark, and how it is asked questions that are not measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from msgspec import Struct

from benchmarks.client import CallFailed
from benchmarks.errors import BenchError
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.client import Client
    from benchmarks.synthesis.audio import Format

#: ``missing`` of what a service that answers once, with a whole file, cannot tell
ONE_REQUEST: Final = "one request does it all: service_time is it"
WHOLE_FILE: Final = "not applicable: the answer is a whole file"
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A complete answer. ``spans`` in seconds; moments in nanoseconds of ``perf_counter_ns``.

    ``first_audio_ns``: when the first sample arrived; None: the answer was no stream. ``unwrap`` takes the audio out of
    the body (and may raise ``NotAudioError``); ``raw``: the audio has no header, and this is its format;
    ``announced_hz``: the rate the service said before, which a file must not contradict, or its length is unknown.
    """

    body: bytes
    sent_ns: int
    end_ns: int
    spans: dict[str, float]
    first_audio_ns: int | None = None
    unwrap: Callable[[bytes], bytes] | None = None
    raw: Format | None = None
    announced_hz: int | None = None


class Found(Struct, frozen=True):
    """What a service told of itself, without being loaded; texts are clean."""

    server_version: str | None = None
    device_claimed: str | None = None
    notes: tuple[str, ...] = ()
    missing: dict[str, str] = {}


class Speaker(Protocol):
    """One way to have a service speak."""

    async def discover(self) -> Found:
        """Find out what the service is, and which voice to use.

        Raises:
            BenchError: it is another kind, not ready, or has no such voice.
            CallFailed: it does not answer.
        """
        ...

    async def is_warm(self) -> bool | None:
        """Whether the voice is loaded already; None: the service does not tell.

        Raises:
            CallFailed: it does not answer.
        """
        ...

    async def make_warm(self) -> str:
        """Load the voice, where the service can be told to; a note, when that did not do.

        Raises:
            CallFailed: it does not answer.
        """
        ...

    async def speak(self, text: str) -> Spoken:
        """Have the text spoken.

        Raises:
            CallFailed: no complete answer.
            NotAudioError: an answer on the way to the audio was unusable.
        """
        ...


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person chose, as it stands in ``RunSpec.options``; None: not chosen."""

    style: str | None = None
    language: str = "ja"
    speed: float = 1.0
    model: str | None = None
    format: str = "wav"


async def ask(client: Client, path: str, what: str, params: Mapping[str, str | int] | None = None) -> bytes:
    """The body of a GET that this kind of service answers.

    Raises:
        BenchError: it answers with another status: it is no ``what``.
        CallFailed: it does not answer.
    """
    try:
        return (await client.send("GET", path, params=params)).body
    except CallFailed as failed:
        if failed.status is None or failed.status >= 500:
            raise
        raise wrong_kind(what, path, failed.detail) from None


def decoded(body: bytes, kind: Any, what: str, path: str) -> Any:
    """A JSON answer of the expected shape.

    Raises:
        BenchError: it is another: this is no ``what``.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except _UNDECODABLE as error:
        raise wrong_kind(what, path, clean(str(error), 120)) from None


def wrong_kind(what: str, path: str, why: str) -> BenchError:
    """The service on the port is something else."""
    step = "look at kind, port and path of the service (with a URL: at the parameter kind)"
    return BenchError(f"this is no {what}: GET {path}: {why}", layer="service", next_step=step)


def not_ready(cause: str, step: str = "wait until it is, or look into its log") -> BenchError:
    """The service is the right one, and cannot speak now."""
    return BenchError(cause, layer="service", next_step=step)


def behind(path: str | None, own: str) -> str:
    """The prefix under which a service lives, from the path of its health check: what stands before ``own``."""
    bare = (path or "").partition("?")[0]
    return bare.removesuffix(own) if bare.endswith(own) else ""


def listed(names: list[str]) -> str:
    """Some of many names."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
