"""From what a person asked for to the runs of one host: which service, which way, which texts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from msgspec import Struct, structs

from benchmarks.benchmark import Parameter, cases_of, load_of
from benchmarks.errors import BenchError
from benchmarks.model import Load, RunSpec, Side
from benchmarks.synthesis import backend
from benchmarks.synthesis.template import digest_of, template_of
from benchmarks.synthesis.texts import FIXED, QUICK, checked_text
from benchmarks.ways import checked_url
from probes.model import ServiceKind
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.benchmark import Request
    from benchmarks.model import Case, Temperature
    from probes.model import Host, Service

ID: Final = "synthesis"
TEMPLATE: Final = "template"
DIRECT: Final = "direct"
BACKENDS: Final = ("backend-voicevox", "backend-unified", "backend-clone")
#: kinds that speak on a port of their own, and are measured when nobody names a service
SPEAKING: Final = (ServiceKind.VOICEVOX, ServiceKind.OPENVOICE, ServiceKind.OPENAI)
_KINDS: Final = ("voicevox", "openvoice", "openai", "backend")
#: bytes: the text stands in the request's first line, of which VOICEVOX's server takes 64 KB
_QUERY_BYTES: Final = 60_000
_SPEEDS: Final = (0.5, 2.0)

PARAMETERS: Final = (
    Parameter(
        "through",
        "way",
        "choice",
        "auto",
        ("auto", DIRECT, *BACKENDS),
        "the service itself, or one of the backend's three ways to it",
    ),
    Parameter("kind", "kind of --url", "choice", "auto", ("auto", *_KINDS), "what answers at the URL that was given"),
    Parameter("template", "template", "text", "", (), "a name in [bench.synthesis.templates]"),
    Parameter("language", "language", "text", "ja", (), "what OpenVoice is told"),
    Parameter("speed", "speed", "number", "1", (), "0.5 to 2; not for VOICEVOX itself"),
    Parameter(
        "model", "model", "text", "", (), "of /v1/audio/speech; empty: the first listed, one for speech before others"
    ),
    Parameter("format", "format", "choice", "wav", ("wav", "pcm"), "of /v1/audio/speech"),
    Parameter(
        "temperature",
        "temperature",
        "choice",
        "auto",
        ("auto", "warm", "cold"),
        "auto: once cold where that can be told (VOICEVOX, full mode), then warm",
    ),
)


class _Target(Struct, frozen=True):
    """One service, and the way to it. ``kind`` is one of the benchmark's kinds or ``template``."""

    kind: str
    way: str
    service: str | None = None
    url: str | None = None


def plan(request: Request, host: Host, options: Mapping[str, Any]) -> tuple[RunSpec, ...]:
    """See ``Planner``: for each service, once cold where that can be told, then each text warm."""
    chosen = _chosen(request)
    cases = _cases(request, options)
    runs: list[RunSpec] = []
    for target in _targets(request, chosen, host):
        own = _own_options(target, request, chosen, options)
        for case in cases:
            _check_limit(case, target)
        load = load_of(request)
        if _has_cold(target, request, chosen):
            runs.append(_run(target, cases[0], _cold(load), "cold", own))
        if chosen["temperature"] != "cold":
            runs += [_run(target, case, load, "warm", own) for case in cases]
    return tuple(runs)


def _run(target: _Target, case: Case, load: Load, temperature: Temperature, own: dict[str, Any]) -> RunSpec:
    return RunSpec(ID, case, load, temperature, target.service, target.url, own)


def _cold(load: Load) -> Load:
    """One request: the first is the only one that is cold. As a check it has no letter, and needs no minimum."""
    return structs.replace(load, mode="check", n=1, min_s=0.0, warmup_n=0, concurrency=1, rate_per_s=None)


def _has_cold(target: _Target, request: Request, chosen: dict[str, str]) -> bool:
    """Only an engine that says whether a style is loaded has a cold run that is worth its name."""
    able = target.kind == "voicevox" and target.way == DIRECT
    if chosen["temperature"] == "cold" and not able:
        raise _wrong("this service does not tell whether it is cold", "only VOICEVOX itself does: leave cold out")
    return able and (chosen["temperature"] == "cold" or (chosen["temperature"] == "auto" and request.mode == "full"))


# --- which service ------------------------------------------------------------------------------------------------


def _targets(request: Request, chosen: dict[str, str], host: Host) -> list[_Target]:
    if request.url is not None:
        if request.service is not None:
            raise _wrong("both a service and a URL", "give one of them")
        return [_at_url(request.url, chosen)]
    if chosen["kind"] != "auto":
        raise _wrong("a kind without a URL", "a service of the configuration has its kind there: leave kind out")
    if request.service is not None:
        service = next((service for service in host.services if service.name == request.service), None)
        if service is None:
            names = ", ".join(clean(service.name, 40) for service in host.services) or "none"
            raise _wrong(f'{host.id} has no service "{clean(request.service, 60)}"', f"it has: {names}")
        return [_target(service, chosen)]
    if chosen["template"]:
        raise _wrong("a template without a service or a URL", "say --service NAME or --url URL")
    if chosen["through"] in BACKENDS:
        return [_target(_backend_of(host), chosen)]
    found = [_target(service, chosen) for service in host.services if service.kind in SPEAKING]
    if not found:
        step = "configure one (kind voicevox, openvoice or openai), or give --service or --url"
        raise _wrong(f"{host.id} has no service that speaks", step)
    return found


def _target(service: Service, chosen: dict[str, str]) -> _Target:
    through = chosen["through"]
    if service.kind in (ServiceKind.TCP, ServiceKind.SSH):
        raise _wrong(f"{service.name} is of kind {service.kind.value}", "choose a service that speaks HTTP")
    if chosen["template"]:
        return _Target(TEMPLATE, _only_direct(through), service.name)
    if service.kind is ServiceKind.HTTP:
        if through == DIRECT:
            raise _wrong(f"{service.name} is of kind http", "say its kind in the configuration, or choose a template")
        return _Target("backend", _backend_way(through, service.path or ""), service.name)
    return _Target(service.kind.value, _only_direct(through), service.name)


def _at_url(url: str, chosen: dict[str, str]) -> _Target:
    url = checked_url(url)
    kind, through = chosen["kind"], chosen["through"]
    if chosen["template"]:
        if kind != "auto":
            raise _wrong("both a kind and a template", "give one of them")
        return _Target(TEMPLATE, _only_direct(through), url=url)
    if kind == "auto" and through in BACKENDS:
        kind = "backend"
    if kind == "auto":
        raise _wrong("a URL without its kind", f"say --param kind=KIND ({', '.join(_KINDS)}) or template=NAME")
    if kind == "backend":
        return _Target(kind, _backend_way(through, ""), url=url)
    return _Target(kind, _only_direct(through), url=url)


def _backend_of(host: Host) -> Service:
    web = [service for service in host.services if service.kind is ServiceKind.HTTP]
    likely = [service for service in web if service.name == "backend" or "/api/" in (service.path or "")] or web
    if len(likely) != 1:
        names = ", ".join(clean(service.name, 40) for service in likely) or "none"
        raise _wrong(f"which service of {host.id} is the backend?", f"say --service NAME; of kind http: {names}")
    return likely[0]


def _backend_way(through: str, path: str) -> str:
    if through == DIRECT:
        raise _wrong("the backend does not speak itself", f"say --param through=WAY: {', '.join(BACKENDS)}")
    if through != "auto":
        return through
    if "/api/unified-voice/" in path:
        return "backend-unified"
    return "backend-clone" if "/api/voice-clone/" in path else "backend-voicevox"


def _only_direct(through: str) -> str:
    if through in BACKENDS:
        raise _wrong(f"{through} leads through the backend", "choose the backend's service, of kind http")
    return DIRECT


# --- what is asked of it ------------------------------------------------------------------------------------------


def _own_options(
    target: _Target, request: Request, chosen: dict[str, str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """What stands in the result and makes runs comparable or not; only what this kind of service heeds."""
    own: dict[str, Any] = {"kind": target.kind, "through": target.way}
    configured = options.get("style")
    style = request.style if request.style is not None else configured if isinstance(configured, str) else None
    if style:
        own["style"] = style
    speed = _speed(chosen["speed"])
    if speed != 1.0 and (target.kind in ("voicevox", TEMPLATE) or target.way == "backend-clone"):
        why = "VOICEVOX's query is sent back unmodified" if target.kind == "voicevox" else "this way has no speed"
        raise _wrong(f"speed {speed:g}: {why}", "leave the speed out")
    if target.kind != "voicevox":
        own["speed"] = speed
    if target.kind == "openvoice":
        own["language"] = chosen["language"]
    elif target.kind == "openai":
        own |= {"model": chosen["model"], "format": chosen["format"]}
    elif target.kind == TEMPLATE:
        template = template_of(options.get("templates", {}), chosen["template"])
        own |= {"template": chosen["template"], "template_digest": digest_of(template)}
    return own


def _chosen(request: Request) -> dict[str, str]:
    known = {parameter.name: parameter for parameter in PARAMETERS}
    chosen = {name: parameter.default for name, parameter in known.items()}
    for name, value in request.extra.items():
        parameter = known.get(name)
        if parameter is None:
            raise _wrong(f'no parameter "{clean(name, 40)}"', f"one of: {', '.join(known)}")
        if parameter.choices and value not in parameter.choices:
            raise _wrong(f'{name} "{clean(value, 40)}" is unknown', f"one of: {', '.join(parameter.choices)}")
        if len(value) > 200 or not value.isprintable():
            raise _wrong(f"{name} has control characters or is too long", "give text on one line")
        chosen[name] = value or parameter.default
    return chosen


def _speed(words: str) -> float:
    try:
        speed = float(words)
    except ValueError:
        speed = 0.0
    if not _SPEEDS[0] <= speed <= _SPEEDS[1]:
        raise _wrong(f'speed "{clean(words, 20)}"', f"a number, {_SPEEDS[0]:g} to {_SPEEDS[1]:g}")
    return speed


# --- which texts --------------------------------------------------------------------------------------------------


def _cases(request: Request, options: Mapping[str, Any]) -> tuple[Case, ...]:
    """The texts given, else the configuration's, else the fixed ones; a check and quick mode take one fixed text."""
    given = request.texts
    if not given:
        configured = options.get("texts")
        given = tuple(cast("list[str]", configured)) if isinstance(configured, list) else ()
    for text in given:
        checked_text(text)
    cases = cases_of(given, FIXED if request.mode == "full" else (QUICK,))
    return cases[:1] if request.mode == "check" else cases


def _check_limit(case: Case, target: _Target) -> None:
    if target.kind == "backend":
        checked_text(case.text, backend.MAX_CHARACTERS, "the backend's limit")
    elif target.kind == "voicevox" and (size := len(quote(case.text, safe=""))) > _QUERY_BYTES:
        why = f"its text travels in the URL, where these {len(case.text)} characters are {size} bytes"
        raise _wrong(f"too long for VOICEVOX: {why}; {_QUERY_BYTES} are the most", "give a shorter text")


def _wrong(cause: str, step: str) -> BenchError:
    return BenchError(cause, layer="plan", next_step=step, side=Side.CLIENT)
