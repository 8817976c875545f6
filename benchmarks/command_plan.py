"""Planning commands on a host: from parameters and presets to runs, and from a run's options to a program. Pure."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, Final

from benchmarks.benchmark import Parameter, load_of
from benchmarks.errors import BenchError
from benchmarks.model import Case, RunSpec, Side
from benchmarks.options_rules import SECRET
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.benchmark import Request
    from benchmarks.remote import Ended
    from probes.model import Host

ID: Final = "command"
#: runs before the warm-up that are watched for memory and CPU
USAGE_RUNS: Final = 5
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOCAL: Final = re.compile(r"(?:env:|\$)([A-Za-z_][A-Za-z0-9_]*)")
#: a shorter value cannot be told from other text
_SECRET_LENGTH: Final = 4
#: what the shell's codes mean when nobody expected them
_CODES: Final = {
    126: "no permission to execute it, or it is a directory",
    127: "command not found",
    130: "interrupted",
    137: "killed (out of memory?)",
    143: "terminated",
}
PARAMETERS: Final = (
    Parameter("command", "command", "text", help="what is run, a text for /bin/sh; everybody on the host may see it"),
    Parameter("preset", "preset", "text", help="a preset of the configuration in its place; several with commas"),
    Parameter("cwd", "directory", "text", help="where it runs; default: the home directory"),
    Parameter(
        "env", "environment", "text", help="NAME=VALUE ..., quoted as for a shell; NAME=env:LOCAL takes it from here"
    ),
    Parameter("stdin", "stdin", "text", help="its standard input, or @FILE"),
    Parameter("expect_exit", "exit codes", "text", "0", help="those that are fine, with commas"),
    Parameter("expect_stdout", "output", "text", help="text that must be in its output, or re:PATTERN"),
    Parameter(
        "usage", "runs for memory", "integer", str(USAGE_RUNS), help="runs before the warm-up for peak RSS and CPU"
    ),
)


def plan(request: Request, host: Host, options: Mapping[str, Any]) -> tuple[RunSpec, ...]:
    """One run for each command. See ``Planner``."""
    del host
    presets: Mapping[str, Mapping[str, Any]] = options.get("presets", {})
    load = load_of(request)
    usage = _number(request.extra.get("usage", ""), USAGE_RUNS, 100, "usage")
    if load.mode == "check":
        usage = 0
    return tuple(
        RunSpec(benchmark=ID, case=case, load=load, options={**own, "usage": min(usage, load.n)})
        for case, own in _commands(request, presets)
    )


def _commands(request: Request, presets: Mapping[str, Mapping[str, Any]]) -> list[tuple[Case, dict[str, Any]]]:
    given = request.extra
    command = given.get("command", "").strip()
    texts = (*((command,) if command else ()), *request.texts)
    named = [name.strip() for name in given.get("preset", "").split(",") if name.strip()]
    if texts and named:
        raise _mistake("a command and a preset at once", "choose one of them")
    if not texts and not named:
        known = ", ".join(presets)
        raise _mistake("no command", f"give --param command=... or --param preset=NAME (of: {known or 'none'})")
    found: list[tuple[Case, dict[str, Any]]] = []
    for name in named:
        if name not in presets:
            raise _mistake(f"no preset {clean(name, 60)!r}", f"one of: {', '.join(presets) or 'none'}")
        found.append((_case(name, presets[name]["command"]), _options(given, presets[name])))
    for at, text in enumerate(texts, 1):
        found.append((_case("command" if len(texts) == 1 else f"command-{at}", text), _options(given, {})))
    return found


def _case(case_id: str, command: str) -> Case:
    if not command.strip() or "\0" in command:
        raise _mistake(f"the command of {clean(case_id, 60)} is empty, or has a NUL in it", "a text for /bin/sh")
    return Case(case_id, clean(command, 80), command)


def _options(given: Mapping[str, str], preset: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is made with: the preset, and over it what was given."""
    expected = given.get("expect_stdout") or preset.get("expect_stdout", "")
    if expected.startswith("re:"):
        try:
            re.compile(expected[3:])
        except re.error as error:
            raise _mistake(f"expect_stdout is no pattern: {error}", "re: and a regular expression of Python") from None
    codes = given.get("expect_exit") or str(preset.get("expect_exit", 0))
    return {
        "cwd": given.get("cwd") or preset.get("cwd", ""),
        "env": {**preset.get("env", {}), **environment(given.get("env", ""))},
        "stdin": given.get("stdin") or preset.get("stdin", ""),
        "expect_exit": sorted({_number(code.strip(), 0, 255, "expect_exit") for code in codes.split(",")}),
        "expect_stdout": expected,
    }


def environment(text: str) -> dict[str, str]:
    """``NAME=VALUE ...`` as a table; what looks like a secret must be taken from here, since options stand in results.

    Raises:
        BenchError: layer ``plan``.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _mistake(f"env cannot be taken apart ({error})", "NAME=VALUE ..., quoted as for a shell") from None
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or _NAME.fullmatch(name) is None:
            raise _mistake(f"env: {clean(name, 60)!r} is no NAME=VALUE", "NAME=VALUE ..., quoted as for a shell")
        if SECRET.search(name) and _LOCAL.fullmatch(value) is None:
            cause = f"env: {name} looks like a secret, which would stand in results"
            raise _mistake(cause, f"{name}=env:VARIABLE, the environment variable here that has it")
        found[name] = value
    return found


def resolved(env: Mapping[str, str], here: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The environment with ``env:LOCAL`` and ``$LOCAL`` taken from here, and the values that came so: secrets.

    Raises:
        BenchError: layer ``plan``: there is no such variable here.
    """
    found: dict[str, str] = {}
    secrets: list[str] = []
    for name, value in env.items():
        local = _LOCAL.fullmatch(value)
        if local is None:
            found[name] = value
            continue
        if local.group(1) not in here:
            raise _mistake(f"env: {name} is to come from ${local.group(1)}, which is not set here", "set and export it")
        found[name] = here[local.group(1)]
        if len(found[name]) >= _SECRET_LENGTH:
            secrets.append(found[name])
    return found, tuple(secrets)


def _number(text: str, default: int, at_most: int, what: str) -> int:
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text[:9]) > at_most:
        raise _mistake(f"{what} {clean(text, 40)!r}", f"expected 0 to {at_most}")
    return int(text)


def _mistake(cause: str, expected: str) -> BenchError:
    return BenchError(cause, layer="plan", next_step=expected, side=Side.CLIENT)


# --- judging how it ended ---


def fault(ended: Ended, expect_exit: list[int], expect_stdout: str) -> str:
    """What is wrong with how a command ended; empty: nothing."""
    if ended.problem:
        return ended.problem
    if ended.signal is not None:
        return f"ended by SIG{clean(ended.signal, 20)}{_said(ended)}"
    code = ended.exit_code
    if code not in expect_exit:
        hint = f" {_CODES[code]}" if code in _CODES else ""
        return f"exit {code}:{hint}{_said(ended)}" if hint or _said(ended) else f"exit {code}, nothing on stderr"
    if not expect_stdout:
        return ""
    text = ended.stdout.text()
    pattern = expect_stdout.startswith("re:")
    there = re.search(expect_stdout[3:], text) is not None if pattern else expect_stdout in text
    if there:
        return ""
    where = "" if ended.stdout.whole else " (its first and last 64 KiB were looked at)"
    return f"exit {code}, but its output has no {clean(expect_stdout, 60)!r}{where}: {clean(text.strip(), 80)!r}"


def _said(ended: Ended) -> str:
    """The last line of stderr that says anything."""
    said = [line for line in ended.stderr.text().splitlines() if line.strip()]
    return f" {clean(said[-1].strip(), 160)}" if said else ""
