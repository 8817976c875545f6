"""What may stand in the ``[bench]`` tables: every mistake is one line, and all of them are found."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from benchmarks.model import ENGINE_METRICS
from benchmarks.options import (
    PRESETS,
    ApiLatencyOptions,
    BenchOptions,
    CommandOptions,
    LlmOptions,
    Preset,
    Steps,
    SynthesisOptions,
    Template,
)
from probes.config.schema import (
    BAD,
    AnyTable,
    Choice,
    ListOf,
    MapOf,
    Number,
    Report,
    Table,
    Text,
    join,
    near,
    one_of,
    shown,
)
from probes.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: the benchmarks there are or will be: a configuration may speak of those that this version cannot run
IDS: Final = ("synthesis", "api-latency", "llm", "command", "stream", "compute")

_WORD: Final = Text("a short name without spaces, commas and colons", re.compile(r"[^\s,:\-][^\s,:]*"), 64)
_METRIC: Final = Text("the name of a metric", re.compile(r"[a-z][a-z0-9_.\-]*"), 64)
_INSTANCE_TYPE: Final = Text("an instance type, such as g4dn.xlarge", re.compile(r"[a-z0-9][a-z0-9.\-]*"), 64)
_SECONDS: Final = Number(0, 86400, "a usable number of seconds", above=True)
_FIGURE: Final = Number(-1e15, 1e15, "a usable figure")
_LONG: Final = Text("text in quotes", max_len=10_000)
_LONG_OR_NONE: Final = Text("text in quotes", max_len=10_000, empty=True)
_VARIABLE: Final = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")
#: a name that promises a secret
SECRET: Final = re.compile(r"auth|cookie|secret|token|password|passwd|credential|(?:^|[-_])key$", re.IGNORECASE)


class _Secretless:
    """A table of words in which a name that promises a secret has ``$NAME``, never the secret itself."""

    what = "names with their values"

    def __init__(self, name: Text) -> None:
        self._map = MapOf(Text(max_len=4096, empty=True), self.what, name)

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        kept = self._map.check(value, key, report)
        if kept is BAD:
            return BAD
        for name, word in kept.items():
            if SECRET.search(name) and not _VARIABLE.fullmatch(word):
                report.add(
                    join(key, name),
                    "looks like a secret, which would stand in results",
                    '"$NAME", the environment variable that has it',
                )
        return kept


class _Multiline:
    """Text that may have several lines."""

    expected = "text in quotes"

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        if isinstance(value, str) and len(value) <= 65536 and "\x00" not in value:
            return value
        report.add(key, f"{shown(value)} is not text of at most 65536 characters", self.expected)
        return BAD


def _steps(kept: dict[str, Any], wrong: set[str], key: str, report: Report) -> Any:
    if wrong or kept.keys() != {"s", "a", "b", "c"}:
        return BAD
    values = [kept[name] for name in "sabc"]
    if values != sorted(set(values)) and values != sorted(set(values), reverse=True):
        report.add(key, f"{', '.join(f'{value:g}' for value in values)} do not follow each other",
                   "s, a, b and c each beyond the one before")  # fmt: skip
        return BAD
    return Steps(**kept)


_STEPS: Final = Table(dict.fromkeys("sabc", _FIGURE), required=("s", "a", "b", "c"), finish=_steps)


class _ByBenchmark:
    """A table of benchmarks, each with a table of its metrics."""

    def __init__(self, item: Table | Number, what: str) -> None:
        self._metrics = MapOf(item, what, _METRIC)
        self.what = what

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        kept = MapOf(self._metrics, "benchmarks with their metrics", _METRIC).check(value, key, report)
        if kept is BAD:
            return BAD
        for benchmark, metrics in kept.items():
            if benchmark not in IDS:
                report.add(join(key, benchmark), f"is no benchmark{near(benchmark, IDS)}", one_of(IDS))
                continue
            for tag, steps in metrics.items():
                _check_metric(benchmark, tag, steps, join(join(key, benchmark), tag), report)
        return kept


def _check_metric(benchmark: str, tag: str, given: Steps | float, key: str, report: Report) -> None:
    """Where this version has the benchmark, its metrics are known, and which way is better."""
    from benchmarks import registry  # noqa: PLC0415 - benchmarks read options

    if benchmark not in registry.ids():
        return
    metrics = {metric.tag: metric for metric in (*ENGINE_METRICS, *registry.definition(benchmark).metrics)}
    if tag not in metrics:
        report.add(key, f"is no metric of {benchmark}{near(tag, list(metrics))}", one_of(list(metrics)))
    elif isinstance(given, Steps) and (given.s < given.c) != (metrics[tag].better == "lower"):
        wrong = f"goes the wrong way: of {tag} {metrics[tag].better} is better"
        report.add(key, wrong, "the best figure as s, the worst as c")


def _template(kept: dict[str, Any], wrong: set[str], key: str, report: Report) -> Any:
    bodies = [name for name in ("json", "form") if name in kept]
    if len(bodies) == 2:
        report.add(join(key, "form"), "is a second body beside json", "json or form")
        return BAD
    if bodies and kept.get("method") == "GET":
        report.add(join(key, bodies[0]), "is a body, which GET has not", 'method = "POST"')
        return BAD
    if not wrong and "{text}" not in repr([kept["path"], kept.get("query"), kept.get("json"), kept.get("form")]):
        report.add(key, "never says {text}", "{text} in path, query, json or form")
        return BAD
    return BAD if wrong else Template(**kept)


_TEMPLATE: Final = Table(
    {
        "method": Choice(("GET", "POST")),
        "path": Text("a path that starts with /", re.compile(r"/[!-~]*"), 2048),
        "query": _Secretless(Text("the name of a parameter", max_len=128)),
        "json": AnyTable(),
        "form": _Secretless(Text("the name of a field", max_len=128)),
        "headers": _Secretless(Text("the name of a header", re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"), 128)),
        "audio": Text('"body", or the JSON field with the audio as base64', re.compile(r"[^\s.]+(?:\.[^\s.]+)*"), 128),
    },
    required=("path",),
    finish=_template,
    what="a table with path",
)

SYNTHESIS: Final = Table(
    {
        "texts": ListOf(_LONG, "a list of texts, at most 10000 characters each", 32),
        "style": Text("the id of a style or profile", max_len=128, empty=True),
        "templates": MapOf(_TEMPLATE, "names with their requests", _WORD),
    }
)
API_LATENCY: Final = Table(
    {"target_s": _SECONDS, "path": Text("a path that starts with /", re.compile(r"|/[!-~]*"), 2048, empty=True)}
)
LLM: Final = Table(
    {
        "model": Text("the name of a model", max_len=256, empty=True),
        "prompts": ListOf(_LONG, "a list of prompts, at most 10000 characters each", 32),
        "max_tokens": Number(1, 100_000, "a number of tokens", whole=True),
        "api_key": Text(
            '"$NAME", the environment variable that has it', re.compile(rf"|{_VARIABLE.pattern}"), 128, empty=True
        ),
    }
)
_PRESET: Final = Table(
    {
        "command": Text("a text for /bin/sh", re.compile(r".*\S.*"), 4096),
        "cwd": Text("a folder on the host", max_len=4096, empty=True),
        "env": _Secretless(Text("the name of a variable", re.compile(r"[A-Za-z_][A-Za-z0-9_]*"), 128)),
        "stdin": _Multiline(),
        "expect_stdout": _LONG_OR_NONE,
        "expect_exit": Number(0, 255, "an exit code", whole=True),
    },
    required=("command",),
    finish=lambda kept, wrong, _key, _report: BAD if wrong else Preset(**kept),
    what="a table with command",
)
COMMAND: Final = Table({"presets": MapOf(_PRESET, "names with their commands", _WORD)})
BENCH: Final = Table(
    {
        "at_once": Number(1, 64, "a number of hosts", whole=True),
        "baseline_s": _SECONDS,
        "target_s": _SECONDS,
        "ladders": _ByBenchmark(_STEPS, "metrics with s, a, b and c"),
        "kpi": _ByBenchmark(_FIGURE, "metrics with their targets"),
        "synthesis": SYNTHESIS,
        "api-latency": API_LATENCY,
        "llm": LLM,
        "command": COMMAND,
        "projections": MapOf(
            MapOf(_FIGURE, "metrics with their figures", _METRIC), "instance types with their figures", _INSTANCE_TYPE
        ),
    }
)


def checked(table: Mapping[str, Any], file: str) -> BenchOptions:
    """See ``benchmarks.options.options_of``."""
    report = Report(file)
    kept = BENCH.check(dict(table), "bench", report)
    if report.lines:
        raise ConfigError(report.all_lines())
    kept["synthesis"] = SynthesisOptions(**kept.get("synthesis", {}))
    kept["api_latency"] = ApiLatencyOptions(**kept.pop("api-latency", {}))
    kept["llm"] = LlmOptions(**kept.get("llm", {}))
    kept["command"] = CommandOptions({**PRESETS, **kept.get("command", {}).get("presets", {})})
    return msgspec.structs.replace(BenchOptions(), **kept)
