"""The ``[bench]`` tables of the configuration as frozen types. Each field's docstring is what the documentation says.

A field that ends in ``_s`` is in seconds. Secrets have no place here, since what a run was asked for stands in its
result: where one is needed, ``$NAME`` names the environment variable that has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import Struct, field

from benchmarks.model import Ladder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.benchmark import Definition
    from probes.config import Settings
    from probes.model import Host


class Steps(Struct, frozen=True):
    """The boundaries of the letters for one metric, in the metric's unit, all inclusive; beyond ``c`` it is D."""

    s: float
    a: float
    b: float
    c: float


class Template(Struct, frozen=True):
    """A speech service of another kind: one request, in which ``{text}`` and ``{style}`` are filled in.

    ``audio`` is ``body`` for a WAV body, else the JSON field (dots for fields in fields) that has it as base64.
    """

    path: str
    method: Literal["GET", "POST"] = "POST"
    query: dict[str, str] = {}
    json: dict[str, Any] = {}
    form: dict[str, str] = {}
    headers: dict[str, str] = {}
    audio: str = "body"


class SynthesisOptions(Struct, frozen=True):
    """Speech synthesis."""

    texts: tuple[str, ...] = ()
    """Texts that are synthesised, each graded by itself; empty: the three fixed ones (5, 16 and 88 characters)."""
    style: str = ""
    """Voice: a style id or the id of a profile; empty: the first that the service offers."""
    templates: dict[str, Template] = {}


class ApiLatencyOptions(Struct, frozen=True):
    """Latency of an HTTP API."""

    target_s: float = 0.05
    """Response time that is an A; half of it is S, twice B, four times C."""
    path: str = ""
    """What is asked for with GET; empty: the service's own health path."""


class LlmOptions(Struct, frozen=True):
    """Language models behind an OpenAI-compatible API."""

    model: str = ""
    """Model's name; empty: the first that the service lists."""
    prompts: tuple[str, ...] = ()
    """Prompts, each graded by itself; empty: the fixed ones."""
    max_tokens: int = 128
    """Tokens that an answer may have."""
    api_key: str = ""
    """The environment variable with the key, as `"$NAME"`; empty: none is sent."""


class Preset(Struct, frozen=True):
    """A command that is run on a host, a text for ``/bin/sh``.

    ``expect_stdout`` must be in its output, or match where it is ``re:PATTERN``.
    """

    command: str
    cwd: str = ""
    env: dict[str, str] = {}
    stdin: str = ""
    expect_stdout: str = ""
    expect_exit: int = 0


#: the documented presets; AKIOS_MOCK_LLM keeps its workflow from calling a model that costs money
PRESETS: dict[str, Preset] = {
    "akios": Preset("akios run templates/hello-workflow.yml --quiet --force", env={"AKIOS_MOCK_LLM": "1"}),
    "akios-startup": Preset("akios status", env={"AKIOS_MOCK_LLM": "1"}),
}


class CommandOptions(Struct, frozen=True):
    """Commands on a host."""

    presets: dict[str, Preset] = field(default_factory=PRESETS.copy)


class BenchOptions(Struct, frozen=True, rename={"api_latency": "api-latency"}):
    """All of ``[bench]``, checked, with every default filled in."""

    at_once: int = 4
    """How many hosts are loaded at a time."""
    baseline_s: float = 15.0
    """Response time of synthesis before the GPU, against which improvement and multiplier are said."""
    target_s: float = 2.0
    """Response time of synthesis that is to be met."""
    ladders: dict[str, dict[str, Steps]] = {}
    kpi: dict[str, dict[str, float]] = {}
    synthesis: SynthesisOptions = SynthesisOptions()
    api_latency: ApiLatencyOptions = ApiLatencyOptions()
    llm: LlmOptions = LlmOptions()
    command: CommandOptions = field(default_factory=CommandOptions)
    projections: dict[str, dict[str, float]] = {}

    def for_benchmark(self, benchmark_id: str) -> dict[str, Any]:
        """The benchmark's own table as plain JSON, as its planner gets it; empty: it has none."""
        if benchmark_id not in {"synthesis", "api-latency", "llm", "command"}:
            return {}
        own = getattr(self, benchmark_id.replace("-", "_"))
        return msgspec.json.decode(msgspec.json.encode(own))

    def ladders_of(self, definition: Definition) -> tuple[Ladder, ...]:
        """The ladders that grade a benchmark: the configured ones in place of its own."""
        given = self.ladders.get(definition.id, {})
        metrics = {metric.tag: metric for metric in definition.metrics}
        own = {ladder.tag: ladder for ladder in definition.ladders}
        if definition.id == "api-latency":
            target_s = self.api_latency.target_s
            steps = Steps(target_s / 2, target_s, target_s * 2, target_s * 4)
            own = {tag: _stepped(ladder, steps) for tag, ladder in own.items()}
        for tag, steps in given.items():
            known = own.get(tag) or Ladder(
                tag,
                metrics[tag].unit if tag in metrics else "s",
                steps.s, steps.a, steps.b, steps.c,
                better="lower" if steps.s < steps.c else "higher",
            )  # fmt: skip
            own[tag] = _stepped(known, steps)
        return tuple(own.values())


def _stepped(ladder: Ladder, steps: Steps) -> Ladder:
    return msgspec.structs.replace(ladder, s=steps.s, a=steps.a, b=steps.b, c=steps.c)


def options_of(table: Mapping[str, Any], file: str = "configuration") -> BenchOptions:
    """Check the ``[bench]`` tables.

    Args:
        table: as it stands in ``Settings.bench``.
        file: what the mistakes name.

    Raises:
        ConfigError: with one line for every mistake, ``file: key: what is wrong; expected ...``.
    """
    if not table:
        return BenchOptions()
    from benchmarks.options_rules import checked  # noqa: PLC0415 - only where there is something to check

    return checked(table, file)


def mistakes_in(settings: Settings) -> list[str]:
    """All mistakes in the ``[bench]`` tables of a configuration, one line each."""
    from probes.errors import ConfigError  # noqa: PLC0415 - the same
    from probes.text import clean  # noqa: PLC0415 - the same

    try:
        options_of(settings.bench, clean(settings.source or "configuration", 4096))
    except ConfigError as error:
        return error.mistakes
    return []


_PRODUCTION: Final = frozenset({"production", "prod"})
_NO: Final = frozenset({"", "no", "false", "0", "off"})


def is_production(host: Host) -> bool:
    """Whether a host is said to be production, and so asks before it is loaded.

    A label has that value (``env = "production"``) or that name (``production = "true"``), or a group is called so.
    """
    values = {value.strip().casefold() for value in host.labels.values()}
    named = {name.casefold() for name, value in host.labels.items() if value.strip().casefold() not in _NO}
    groups = {group.casefold() for group in host.groups}
    return bool(_PRODUCTION & (values | named | groups))
