"""How a host is measured: the way (compiler or numpy, threads), the load, what a person may choose. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, structs

from benchmarks.benchmark import Parameter, load_of
from benchmarks.errors import BenchError
from benchmarks.model import Outcome, Side
from benchmarks.native_program import COMPILERS
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.benchmark import Request
    from benchmarks.machine import Machine
    from benchmarks.model import Load, Sample

NUMPY: Final = "numpy"
AUTO: Final = "auto"
#: the convention: best of at least ten, without the first
MIN_BEST: Final = 10
#: one iteration; a host that takes longer is swapping or gone
_TIMEOUT_S: Final = 120.0
_COMPILER: Final = re.compile(r"[A-Za-z0-9_./+][A-Za-z0-9_./+-]{0,199}")
_MAX_THREADS: Final = 65_536

PARAMETERS: Final = (
    Parameter("threads", "threads", "integer", help="instead of all and one"),
    Parameter("cc", "compiler", "text", AUTO, help="name or path on the host; numpy: the host's numpy instead"),
)


class Way(Struct, frozen=True):
    """How it is measured on this host: by which compiler (None: by numpy) and with how many threads."""

    compiler: str | None
    version: str
    threads: int
    fallback: bool = False


def threads_of(machine: Machine, wanted: int | None) -> int:
    """How many threads: those wanted, None: one for each CPU that may be used. Pure.

    Raises:
        BenchError: layer ``host``: the host has not so many CPUs, or does not say.
    """
    if wanted is None and machine.cpus is None:
        step = "say how many threads with threads="
        raise BenchError("the host does not say how many CPUs it has", layer="host", next_step=step)
    if wanted is not None and machine.cpus is not None and wanted > machine.cpus:
        cause = f"{wanted} threads wanted, {machine.cpus} CPUs may be used"
        raise BenchError(cause, layer="host", next_step=f"threads= at most {machine.cpus}", side=Side.CLIENT)
    return wanted or machine.cpus or 1


def compiled_way(machine: Machine, compiler: str, threads: int) -> Way | None:
    """By the first compiler that was found; None: there is none, and numpy may stand in. Pure.

    Raises:
        BenchError: layer ``host``: the compiler that was named is not there, or neither one nor numpy.
    """
    if machine.compilers:
        first = machine.compilers[0]
        return Way(first.name, first.version, threads)
    if compiler != AUTO:
        step = "name another with cc=, or leave it out"
        raise BenchError(f"no compiler {clean(compiler, 80)} on the host", layer="host", next_step=step)
    if machine.numpy is None:
        cause = f"not possible: no compiler ({', '.join(COMPILERS)}) and no numpy"
        raise BenchError(cause, layer="host", next_step="install one of them on the host, such as gcc")
    return None


def numpy_way(machine: Machine, threads: int, *, fallback: bool = False) -> Way:
    """By the host's numpy. Pure.

    Raises:
        BenchError: layer ``host``: there is none.
    """
    if machine.numpy is None:
        step = "install it, or leave cc= out"
        raise BenchError("the host's python3 has no numpy", layer="host", next_step=step)
    return Way(None, f"numpy {machine.numpy}", threads, fallback)


def best(samples: Sequence[Sample], tag: str) -> float | None:
    """The best of at least ten, the convention; None of fewer."""
    found = [one.values[tag] for one in samples if one.outcome is Outcome.OK and tag in one.values]
    return max(found) if len(found) >= MIN_BEST else None


# --- planning ---


def closed_load(request: Request) -> Load:
    """The load: one iteration after the other, at least ten, the first of all as warm-up.

    Raises:
        BenchError: layer ``plan``: something else was asked for.
    """
    if request.rate_per_s is not None or (request.concurrency or 1) != 1:
        raise wrong("iterations run one after the other", "leave rate and concurrency out; threads= is what you mean")
    if request.url is not None or request.service is not None or request.texts or request.style is not None:
        raise wrong("this measures the host itself", "leave service, URL, text and style out")
    load = load_of(request, timeout_s=_TIMEOUT_S)
    if request.mode == "check":
        return load
    if load.n < MIN_BEST:
        raise wrong(f"{load.n} iterations", f"the figure is the best of at least {MIN_BEST}")
    return structs.replace(load, warmup_n=max(load.warmup_n, 1))


def whole(request: Request, name: str, low: int, high: int) -> int | None:
    """A parameter that is a whole number; None: not given.

    Raises:
        BenchError: layer ``plan``: it is none, or out of bounds.
    """
    text = request.extra.get(name, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 15 or not low <= int(text) <= high:
        raise wrong(f'{name} "{clean(text, 40)}"', f"a whole number, {low} to {high}")
    return int(text)


def chosen_options(request: Request, names: Sequence[str]) -> dict[str, Any]:
    """What was chosen, and only that: hosts of different caches have the same configuration.

    Raises:
        BenchError: layer ``plan``.
    """
    for name in request.extra:
        if name not in names:
            raise wrong(f'no parameter "{clean(name, 40)}"', f"one of: {', '.join(names)}")
    compiler = request.extra.get("cc", "").strip() or AUTO
    if _COMPILER.fullmatch(compiler) is None:
        raise wrong(f'cc "{clean(compiler, 40)}"', "a name or a path, without flags")
    return {"threads": whole(request, "threads", 1, _MAX_THREADS), "cc": compiler}


def given_only(options: dict[str, Any]) -> dict[str, Any]:
    """Without what nobody chose: a result has no null without a reason."""
    return {name: value for name, value in options.items() if value is not None}


def wrong(cause: str, step: str) -> BenchError:
    """Something that cannot be planned."""
    return BenchError(cause, layer="plan", next_step=step, side=Side.CLIENT)
