"""What a person chooses on the Bench screen before a run: benchmark, mode, hosts, parameters. No widget here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from msgspec import Struct

from benchmarks.benchmark import Parameter, Request
from tui.bench_words import MODE_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.benchmark import Definition

Mode = Literal["quick", "full", "check"]
#: the first is the default of the key
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
BENCHMARK, MODE, HOSTS = "benchmark", "mode", "hosts"
_OWN: Final = "the mode's own"
#: what every benchmark takes, unless its definition says it otherwise
LOAD: Final = (
    Parameter("n", "requests", "integer", _OWN, help="of each case, while measuring"),
    Parameter("concurrency", "at a time", "integer", "1", help="closed loop: requests on their way"),
    Parameter("rate", "rate", "number", "closed loop", help="open loop instead: requests a second, on schedule"),
    Parameter("warmup", "warm-up", "integer", _OWN, help="requests before that are not measured"),
    Parameter("timeout", "timeout", "number", _OWN, help="seconds; a request that takes longer failed"),
)
#: how several hosts start
APART, TOGETHER, SCALED = "apart", "together", "scaling"
_START: Final = Parameter(
    "start",
    "start",
    "choice",
    APART,
    (APART, TOGETHER, SCALED),
    "together: at one moment; scaling: each alone before",
)
#: what is chosen for the whole suite
SUITE: Final = (
    Parameter("at-once", "hosts at once", "integer", "4", help="the others wait for their turn"),
    _START,
    Parameter("repeat", "repeat", "integer", "1", help="runs of each case; a comparison needs 4 a side"),
    Parameter("label", "label", "text", "none", help="stands in the results; comparisons can name it"),
)
#: parameters whose field of the request is called otherwise
_FIELDS: Final = {
    "n": "n",
    "concurrency": "concurrency",
    "rate": "rate_per_s",
    "warmup": "warmup_n",
    "timeout": "timeout_s",
    "style": "style",
    "service": "service",
    "url": "url",
}


class Field(Struct, frozen=True):
    """One line of the form. ``value`` is what was chosen, empty: the default stands."""

    parameter: Parameter
    value: str = ""
    mistake: str = ""

    @property
    def name(self) -> str:
        """Its parameter's name."""
        return self.parameter.name

    @property
    def shown(self) -> str:
        """What is in force."""
        return self.value or self.parameter.default


class Order(Struct, frozen=True):
    """What is to be run, ready to be planned."""

    request: Request
    host_ids: tuple[str, ...]
    at_once: int = 4
    repeat: int = 1
    label: str | None = None
    together: bool = False
    solo: bool = False


class FormError(ValueError):
    """The form cannot be run as it stands; names the field."""


class Form:
    """The choices. What was typed for one benchmark is kept while another one is looked at.

    Args:
        definitions: the benchmarks, in the order in which they are offered; at least one.
        host_ids: whom, in their order.
    """

    def __init__(self, definitions: Sequence[Definition], host_ids: Sequence[str]) -> None:
        self.definitions = tuple(definitions)
        self.host_ids = tuple(dict.fromkeys(host_ids))
        self.mode: Mode = MODES[0]
        self._at = 0
        self._values: dict[tuple[str, str], str] = {}

    @property
    def definition(self) -> Definition:
        """The chosen benchmark."""
        return self.definitions[self._at]

    def choose(self, benchmark_id: str) -> None:
        """Choose a benchmark by its id.

        Raises:
            FormError: there is none of that name.
        """
        ids = [one.id for one in self.definitions]
        if benchmark_id not in ids:
            raise FormError(f"no benchmark {benchmark_id!r}: {', '.join(ids)}")
        self._at = ids.index(benchmark_id)

    def fields(self) -> tuple[Field, ...]:
        """The lines of the form, as they stand."""
        ids = tuple(one.id for one in self.definitions)
        own = self.definition.parameters
        taken = {one.name for one in own}
        suite = SUITE if len(self.host_ids) > 1 else SUITE[2:]
        fixed = (
            Field(Parameter(BENCHMARK, BENCHMARK, "choice", ids[0], ids, self.definition.summary), self.definition.id),
            Field(Parameter(MODE, MODE, "choice", MODES[0], MODES, MODE_WORDS[self.mode]), self.mode),
            Field(Parameter(HOSTS, HOSTS, "text", "none"), ", ".join(self.host_ids)),
        )
        rest = (*own, *(one for one in LOAD if one.name not in taken), *suite)
        return (*fixed, *(self._field(one) for one in rest))

    def _field(self, parameter: Parameter) -> Field:
        value = self._values.get((self.definition.id, parameter.name), "")
        return Field(parameter, value, mistake_in(parameter, value))

    def set(self, name: str, value: str) -> None:
        """Type a value; empty brings the default back."""
        self._values[self.definition.id, name] = value.strip()

    def step(self, name: str, step: int) -> None:
        """The next of a choice's values, round and round."""
        if name == BENCHMARK:
            self._at = (self._at + step) % len(self.definitions)
        elif name == MODE:
            self.mode = MODES[(MODES.index(self.mode) + step) % len(MODES)]
        else:
            field = next(one for one in self.fields() if one.name == name)
            choices = field.parameter.choices
            if choices:
                at = choices.index(field.shown) if field.shown in choices else -1 if step > 0 else 0
                self.set(name, choices[(at + step) % len(choices)])

    def order(self) -> Order:
        """What was chosen.

        Raises:
            FormError: a value cannot be read, or no host is chosen.
        """
        fields = self.fields()
        for field in fields:
            if field.mistake:
                raise FormError(f"{field.parameter.title}: {field.mistake}")
        if not self.host_ids:
            raise FormError("no host is chosen")
        values = {one.name: one for one in fields if one.value and one.name not in (BENCHMARK, MODE, HOSTS)}
        known: dict[str, Any] = {
            field: _read(values[name].parameter, values[name].value)
            for name, field in _FIELDS.items()
            if name in values
        }
        texts = (values["text"].value,) if "text" in values else ()
        suite = {one.name for one in SUITE}
        extra = {name: one.value for name, one in values.items() if name not in {*_FIELDS, *suite, "text"}}
        request = Request(self.definition.id, self.mode, texts=texts, extra=extra, **known)
        whole = {name: int(values[name].value) for name in ("at-once", "repeat") if name in values}
        label = values["label"].value if "label" in values else None
        start = values["start"].value if "start" in values else APART
        return Order(
            request,
            self.host_ids,
            whole.get("at-once", 4),
            whole.get("repeat", 1),
            label,
            together=start != APART,
            solo=start == SCALED,
        )


def quick_check(definition: Definition, host_id: str) -> Order:
    """The quick validation of one host: connectivity and one request."""
    return Order(Request(definition.id, "check"), (host_id,))


def mistake_in(parameter: Parameter, value: str) -> str:
    """What is wrong with a value, empty: nothing."""
    if not value or parameter.kind == "text":
        return ""
    if parameter.kind == "choice":
        return "" if value in parameter.choices else f"one of: {', '.join(parameter.choices)}"
    number = _read(parameter, value)
    if number is None:
        return "expected a whole number" if parameter.kind == "integer" else "expected a number"
    return "" if number >= 0 else "expected no negative number"


def _read(parameter: Parameter, value: str) -> Any:
    """The value in its kind; None: it cannot be read."""
    if parameter.kind in ("text", "choice"):
        return value
    try:
        number = int(value) if parameter.kind == "integer" else float(value)
    except ValueError:
        return None
    return cast("float", number) if math.isfinite(number) else None
