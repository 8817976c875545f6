"""From what a person asked for to the runs of one host: which service, which prompts, which parameters. Pure."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

from benchmarks.benchmark import Parameter, cases_of, load_of
from benchmarks.errors import BenchError
from benchmarks.llm.prompts import FIXED
from benchmarks.model import RunSpec, Side
from benchmarks.ways import checked_url
from probes.model import ServiceKind
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.benchmark import Request
    from benchmarks.model import Case
    from probes.model import Host

ID: Final = "llm"
CHAT: Final = "chat"
FRESH: Final = "fresh"
TIMEOUT_S: Final = 120.0
MAX_PROMPT: Final = 100_000
#: the boundaries of an A: what a request must meet to count as goodput
TTFT_S: Final = 2.0
TPOT_S: Final = 0.1

PARAMETERS: Final = (
    Parameter("model", "model", "text", "", (), "empty: the configured one, else the first that the service lists"),
    Parameter(
        "prompt", "prompt", "choice", "auto", ("auto", "short", "long", "mixed"),
        "auto: the configured ones, else all three (quick, check: short), each by itself",
    ),
    Parameter("api", "API", "choice", CHAT, (CHAT, "completions"), "/v1/chat/completions or /v1/completions"),
    Parameter(
        "max-tokens", "tokens at most", "integer", "", (), "of an answer; empty: the configured number (128)"
    ),
    Parameter("seed", "seed", "integer", "0", (), "seed of the sampling, which is at temperature 0"),
    Parameter(
        "cache", "prompts", "choice", FRESH, (FRESH, "same"),
        "fresh: each begins with another number, so that no cache of prefixes answers; same: as they are",
    ),
    Parameter("ttft", "goodput: TTFT", "number", f"{TTFT_S:g}", (), "objective of goodput, in seconds"),
    Parameter("tpot", "goodput: TPOT", "number", f"{TPOT_S:g}", (), "objective of goodput, in seconds a token"),
    Parameter("service", "service", "text", help="which service of the host; empty: each of kind openai"),
    Parameter("url", "URL", "text", help="a base URL in place of a configured service"),
)  # fmt: skip


def plan(request: Request, host: Host, options: Mapping[str, Any]) -> tuple[RunSpec, ...]:
    """See ``Planner``: for each service, each prompt by itself."""
    chosen = _chosen(request)
    own: dict[str, Any] = {
        "model": chosen["model"] or options.get("model", ""),
        "api": chosen["api"],
        "max_tokens": _whole("max-tokens", chosen["max-tokens"] or str(options.get("max_tokens", 128)), 1, 100_000),
        "seed": _whole("seed", chosen["seed"], 0, 2**31 - 1),
        "temperature": 0,
        "cache": chosen["cache"],
        "ttft_s": _seconds("ttft", chosen["ttft"]),
        "tpot_s": _seconds("tpot", chosen["tpot"]),
    }
    load = load_of(request, timeout_s=TIMEOUT_S)
    return tuple(
        RunSpec(ID, case, load, None, service, url, own)
        for service, url in _targets(request, host)
        for case in _cases(request, chosen["prompt"], options)
    )


def _targets(request: Request, host: Host) -> list[tuple[str | None, str | None]]:
    """Each a service's name and a URL, of which one is None."""
    if request.url is not None:
        if request.service is not None:
            raise _wrong("both a service and a URL", "give one of them")
        return [(None, checked_url(request.url))]
    speaking = [service for service in host.services if service.kind is ServiceKind.OPENAI]
    names = ", ".join(clean(service.name, 40) for service in speaking) or "none"
    if request.service is None:
        if not speaking:
            step = "add one of kind openai to the configuration, or give --url"
            raise _wrong(f"{host.id} has no service with OpenAI's API", step)
        return [(service.name, None) for service in speaking]
    service = next((service for service in host.services if service.name == request.service), None)
    if service is None:
        raise _wrong(f'{host.id} has no service "{clean(request.service, 60)}"', f"of kind openai: {names}")
    if service.kind not in (ServiceKind.OPENAI, ServiceKind.HTTP):
        raise _wrong(f"{service.name} of {host.id} is of kind {service.kind.value}", f"of kind openai: {names}")
    return [(service.name, None)]


def _cases(request: Request, wanted: str, options: Mapping[str, Any]) -> tuple[Case, ...]:
    """The prompts given, else the one that was chosen, else the configured ones, else the fixed ones."""
    if request.texts and wanted != "auto":
        raise _wrong("both a text and a prompt", "give one of them")
    given = request.texts if request.texts or wanted != "auto" else tuple(options.get("prompts", ()))
    for text in given:
        _check_prompt(text)
    if given:
        cases = cases_of(given, ())
    elif wanted != "auto":
        cases = tuple(case for case in FIXED if case.id == wanted)
    else:
        cases = FIXED if request.mode == "full" else FIXED[:1]
    return cases[:1] if request.mode == "check" else cases


def _check_prompt(text: str) -> None:
    if not text.strip():
        raise _wrong("the prompt is empty", "give one with words")
    if len(text) > MAX_PROMPT:
        raise _wrong(f"the prompt has {len(text)} characters, {MAX_PROMPT} are the most", "give a shorter one")
    odd = next((char for char in text if unicodedata.category(char) in {"Cc", "Cs"} and char not in "\n\t"), None)
    if odd is not None:
        raise _wrong(f"the prompt has a control character (U+{ord(odd):04X})", "leave it out")


def _chosen(request: Request) -> dict[str, str]:
    known = {parameter.name: parameter for parameter in PARAMETERS if parameter.name not in {"service", "url"}}
    chosen = {name: parameter.default for name, parameter in known.items()}
    for name, value in request.extra.items():
        parameter = known.get(name)
        if parameter is None:
            raise _wrong(f'no parameter "{clean(name, 40)}"', f"one of: {', '.join(known)}")
        if parameter.choices and value and value not in parameter.choices:
            raise _wrong(f'{name} "{clean(value, 40)}" is unknown', f"one of: {', '.join(parameter.choices)}")
        if len(value) > 256 or not value.isprintable():
            raise _wrong(f"{name} has control characters or is too long", "give text on one line")
        chosen[name] = value or parameter.default
    return chosen


def _whole(name: str, words: str, low: int, high: int) -> int:
    if not (words.isascii() and words.isdecimal() and len(words) < 12 and low <= int(words) <= high):
        raise _wrong(f'{name} "{clean(words, 20)}"', f"a whole number, {low} to {high}")
    return int(words)


def _seconds(name: str, words: str) -> float:
    try:
        found = float(words)
    except ValueError:
        found = 0.0
    if not 0 < found <= 3600:
        raise _wrong(f'{name} "{clean(words, 20)}"', "a number of seconds above 0, at most 3600")
    return found


def _wrong(cause: str, step: str) -> BenchError:
    return BenchError(cause, layer="plan", next_step=step, side=Side.CLIENT)
