"""Which stand-in plays which service of the simulated fleet, and how fast it is on that host's hardware.

For a text of 5, 16 and 88 characters VOICEVOX takes about 0.2, 0.3 and 0.9 s on an L4, 0.6, 1.2 and 4.8 s on a T4, and
2.3, 3.9 and 14.7 s on the host that claims CUDA and synthesises on its processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from probes.demo import voices
from probes.demo.catalog import Behaviour, Temper, gpu_of
from probes.demo.voices.openvoice import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.demo.catalog import HostSpec, ServiceSpec
    from probes.demo.use import Use

_L4: Final = voices.Behaviour(
    delay_s=0.15, delay_per_char_s=0.0085, jitter_s=0.04, cold_extra_s=1.2, query_s=0.008, slots=1
)
_T4: Final = voices.Behaviour(
    delay_s=0.35, delay_per_char_s=0.05, jitter_s=0.08, cold_extra_s=2.5, query_s=0.02, slots=1
)
_PROCESSOR: Final = voices.Behaviour(
    delay_s=1.3, delay_per_char_s=0.15, jitter_s=0.4, cold_extra_s=4.0, query_s=0.03, slots=1
)
#: cloning a voice takes so much longer than VOICEVOX
_CLONING: Final = 1.4
_LLM_L4: Final = voices.Behaviour(ttft_s=0.35, token_s=0.027, jitter_s=0.06, reply_tokens=128, slots=16)
_LLM_H100: Final = voices.Behaviour(ttft_s=0.09, token_s=0.011, jitter_s=0.02, reply_tokens=128, slots=64)
_FAILING_SHARE: Final = 0.08
_PAGES: Final[dict[str, dict[str, object]]] = {
    "frontend": {"/": {"app": "demo"}},
    "exporter": {"/metrics": {}, "/": {}},
}


def cast(service: ServiceSpec, host: HostSpec, use: Use) -> voices.Service:
    """The stand-in of one service, with the speed and the faults of its host; its work loads what ``use`` counts."""
    if service.name in _PAGES:
        return voices.Pages(_faults(voices.Behaviour(), service), pages=_PAGES[service.name])
    gpu = None if host.temper is Temper.CPU_FALLBACK else gpu_of(host.machine, service.name)
    on_busy = use.hook(gpu)
    return _voice(service, host, _faults(_pace(service, host), service), on_busy)


def _voice(
    service: ServiceSpec, host: HostSpec, behaviour: voices.Behaviour, on_busy: Callable[[int], None]
) -> voices.Service:
    if service.name == "voicevox":
        return voices.Voicevox(behaviour, on_busy=on_busy)
    if service.name == "openvoice":
        flavour = "ec2" if host.machine.kind == "g6" else "native"
        # the list of that flavour does not say which profile can be used
        usable = tuple(profile for profile in PROFILES if profile.status == "ready")
        return voices.OpenVoice(behaviour, flavour=flavour, profiles=usable, on_busy=on_busy)
    if service.name == "llm":
        return voices.OpenAi(behaviour, on_busy=on_busy)
    return voices.Backend(behaviour, on_busy=on_busy)


def _pace(service: ServiceSpec, host: HostSpec) -> voices.Behaviour:
    kind = host.machine.kind
    if service.name == "llm":
        pace = _LLM_H100 if kind == "p5" else _LLM_L4
    elif host.temper is Temper.CPU_FALLBACK:
        pace = _PROCESSOR
    else:
        pace = _L4 if kind == "g6" else _T4
    pace = structs.replace(pace, seed=host.index)
    if service.name == "openvoice":
        pace = structs.replace(
            pace, delay_s=pace.delay_s * _CLONING, delay_per_char_s=pace.delay_per_char_s * _CLONING, cold_extra_s=0.0
        )
    if host.temper is Temper.FAILING:
        pace = structs.replace(pace, error_share=_FAILING_SHARE)
    return pace


def _faults(behaviour: voices.Behaviour, service: ServiceSpec) -> voices.Behaviour:
    """The part that the service plays in the script."""
    if service.behaviour is Behaviour.ERROR:
        return structs.replace(behaviour, scope="all", error_share=1.0, error_status=502)
    return structs.replace(
        behaviour,
        initializing=service.behaviour is Behaviour.INITIALIZING,
        unhealthy=service.behaviour is Behaviour.UNHEALTHY,
    )
