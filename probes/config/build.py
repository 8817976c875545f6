"""Reading a configuration file: our tables, their bounds, and what must fit together across them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from probes.config.aws import AWS
from probes.config.hosts import HOSTS, SERVICES, join_services
from probes.config.key_names import is_key, meant
from probes.config.schema import (
    AnyTable,
    Choice,
    Flag,
    ListOf,
    MapOf,
    Number,
    Report,
    Rule,
    Table,
    Text,
    join,
    near,
)
from probes.config.settings import THEMES, AwsOptions, Intervals, Settings, Ssh, Thresholds, TriageOptions, local_host
from probes.config.triage import TRIAGE
from probes.errors import ConfigError
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

SCHEMA = 1
#: the name of each action a key can be bound to, and the screens it works on; only the screens know
Actions: TypeAlias = "Mapping[str, Collection[str]]"
MAX_BYTES = 16 * 1024 * 1024

_TEMPERATURE = Number(0, 150, "a temperature in °C", above=True)
_SHARE = Number(0, 100, "a percentage", above=True)
_PATH = Text("a path in quotes", max_len=4096)
_PATHS = ListOf(_PATH, "a list of paths", max_len=64)
_KEY = Text('a key such as "f5" or "ctrl+r"; several separated by commas', re.compile(r"[^\s,]+(?: ?, ?[^\s,]+)*"), 120)


def _seconds(low: float, high: float) -> Number:
    return Number(low, high, "a usable number of seconds")


def _ordered(pairs: Iterable[tuple[str, str]], defaults: msgspec.Struct, why: str) -> Callable[..., Any]:
    """A ``finish`` that builds the struct of ``defaults`` and wants the first of each pair below the second."""

    def finish(kept: dict[str, Any], wrong: set[str], key: str, report: Report) -> Any:
        for low, high in pairs:
            low_value, high_value = kept.get(low, getattr(defaults, low)), kept.get(high, getattr(defaults, high))
            if low_value >= high_value and not {low, high} & wrong and {low, high} & kept.keys():
                given, other = (low, high) if low in kept else (high, low)
                side = "below" if given == low else "above"
                other_value = high_value if given == low else low_value
                report.add(
                    join(key, given),
                    f"{kept[given]:g} is not {side} {other} = {other_value:g}",
                    f"a value {side} it, {why}",
                )
        return msgspec.structs.replace(defaults, **kept)

    return finish


_THRESHOLDS = Table(
    {
        "temperature_warn_c": _TEMPERATURE,
        "temperature_crit_c": _TEMPERATURE,
        "gpu_memory_warn_pct": _SHARE,
        "memory_warn_pct": _SHARE,
        "memory_crit_pct": _SHARE,
        "disk_warn_pct": _SHARE,
        "disk_crit_pct": _SHARE,
    },
    finish=_ordered(
        (
            ("temperature_warn_c", "temperature_crit_c"),
            ("memory_warn_pct", "memory_crit_pct"),
            ("disk_warn_pct", "disk_crit_pct"),
        ),
        Thresholds(),
        "since a warning comes before it is critical",
    ),
)

_INTERVALS = Table(
    {
        "sample_s": _seconds(0.1, 3600),
        "services_s": _seconds(1, 3600),
        "processes_s": _seconds(1, 3600),
        "heartbeat_s": _seconds(0.5, 7),
        "stale_s": _seconds(0.2, 7200),
        "resolve_s": _seconds(0.1, 60),
        "tcp_s": _seconds(0.1, 60),
        "banner_s": _seconds(0.1, 120),
        "kex_s": _seconds(0.1, 120),
        "auth_s": _seconds(0.1, 300),
        "bootstrap_s": _seconds(0.1, 120),
        "first_sample_s": _seconds(0.1, 120),
        "silence_s": _seconds(1, 14400),
        "backoff_max_s": _seconds(1, 3600),
    },
    finish=_ordered(
        (("sample_s", "stale_s"), ("stale_s", "silence_s")),
        Intervals(),
        "since samples become stale, and then the link is given up",
    ),
)


def _ssh(kept: dict[str, Any], _wrong: set[str], _key: str, _report: Report) -> Ssh:
    return Ssh(**kept)


_SSH = Table(
    {
        "connect_concurrency": Number(1, 1024, "a number of connections", whole=True),
        "config_files": _PATHS,
        "known_hosts": _PATHS,
        "accept_new": Flag(),
        "identity_files": _PATHS,
        "agent": Flag(),
    },
    finish=_ssh,
)

_THEME = Table({"name": Choice(THEMES), "utc": Flag(), "ascii": Choice(("auto", True, False))})


_KEYS = MapOf(_KEY, "actions with their keys", Text("an action's name", re.compile(r"[a-z][a-z0-9_]*"), 64))


def _check_keys(bindings: Mapping[str, str], actions: Actions | None, report: Report) -> None:
    """Only keys, and none twice: for one action, and, where the actions are known, for two on the same screen."""
    owners: dict[str, list[str]] = {}
    for action, binding in bindings.items():
        key = join("keys", action)
        if actions is not None and action not in actions:
            report.add(key, f"no such action{near(action, list(actions))}", "a name from the help (?) or README.md")
            continue
        screens = set(actions[action]) if actions is not None else set[str]()
        for one in (part.strip() for part in binding.split(",")):
            if not is_key(one):
                likely = meant(one)
                hint = f' (did you mean "{likely}"?)' if likely else ""
                report.add(
                    key, f'"{one}" is not a key{hint}', 'a character, or a name such as "f5", "ctrl+r" or "escape"'
                )
                continue
            for owner in owners.setdefault(one, []):
                if owner == action:
                    report.add(key, f'"{one}" is twice here', "each key once")
                elif actions is not None and screens & set(actions[owner]):
                    report.add(key, f'"{one}" is already bound to {owner}', "each key once on a screen")
            owners[one].append(action)


_TOP: dict[str, Rule] = {
    "schema": Choice((SCHEMA,)),
    "hosts": HOSTS,
    "services": SERVICES,
    "thresholds": _THRESHOLDS,
    "intervals": _INTERVALS,
    "ssh": _SSH,
    "theme": _THEME,
    "keys": _KEYS,
    "triage": TRIAGE,
    "aws": AWS,
    "bench": AnyTable(),
}


def load(path: str | Path, actions: Actions | None = None) -> Settings:
    """Read and check a configuration file.

    Args:
        path: the file; relative paths inside it are relative to its folder, ``~`` is left as it is.
        actions: what ``[keys]`` may remap; None: neither names nor clashes between them are checked.

    Raises:
        ConfigError: with one line for every mistake, each starting with ``path``.
    """
    file = Path(path)
    return settings_from(parse(file), file, actions)


def settings_from(table: dict[str, Any], file: Path, actions: Actions | None = None) -> Settings:
    """Build settings from parsed TOML.

    Raises:
        ConfigError: with one line for every mistake, each starting with ``file``.
    """
    report = Report(clean(str(file), 4096))
    if "schema" not in table:
        report.add("schema", "is missing", f"schema = {SCHEMA}")
    kept = Table(_TOP).check(table, "", report)
    shared = None if "services" in table and "services" not in kept else kept.get("services", ())
    hosts = join_services(kept.get("hosts", ()), shared, report)
    _check_keys(kept.get("keys", {}), actions, report)
    if report.lines:
        raise ConfigError(report.all_lines())
    theme = kept.get("theme", {})
    ssh = kept.get("ssh", Ssh())
    base = file.absolute().parent
    return Settings(
        hosts=tuple(msgspec.structs.replace(host, **_rebased(host, base)) for host in hosts) or (local_host(),),
        thresholds=kept.get("thresholds", Thresholds()),
        intervals=kept.get("intervals", Intervals()),
        ssh=msgspec.structs.replace(ssh, config_files=_rebase(ssh.config_files, base), **_rebased(ssh, base)),
        theme=theme.get("name", "dark"),
        utc=theme.get("utc", False),
        ascii=None if theme.get("ascii", "auto") == "auto" else theme["ascii"],
        keys=kept.get("keys", {}),
        triage=kept.get("triage", TriageOptions()),
        aws=kept.get("aws", AwsOptions()),
        bench=kept.get("bench", {}),
        source=str(file),
    )


def _rebased(owner: Any, base: Path) -> dict[str, tuple[str, ...]]:
    return {name: _rebase(getattr(owner, name), base) for name in ("identity_files", "known_hosts")}


def _rebase(paths: tuple[str, ...], base: Path) -> tuple[str, ...]:
    return tuple(path if path.startswith(("/", "~")) else str(base / path) for path in paths)


def parse(file: Path) -> dict[str, Any]:
    """Read a file as TOML.

    Raises:
        ConfigError: what stops that, in one line.
    """
    label = clean(str(file), 4096)

    def mistake(wrong: str, expected: str) -> ConfigError:
        return ConfigError([f"{label}: {wrong}; expected {expected}"])

    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise mistake("does not exist", "a configuration file (quarterdeck config init writes one)") from None
    except IsADirectoryError:
        raise mistake("is a folder", "a configuration file") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise mistake(f"cannot be read: {why}", "a readable file") from None
    if len(raw) > MAX_BYTES:
        raise mistake("is too large", f"at most {MAX_BYTES // 1024 // 1024} MiB")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise mistake(f"line {line}: is not UTF-8", "a text file in UTF-8") from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise mistake("is nested too deeply", "tables and lists a few levels deep") from None
    except ValueError as error:  # TOMLDecodeError is one; absurdly long numbers are a plain one
        raise mistake(*_syntax(str(error), text)) from None


_AT = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)


def _syntax(message: str, text: str) -> tuple[str, str]:
    found = _AT.fullmatch(message)
    if found is None:
        return f"is not TOML: {clean(message)}", "TOML"
    line, column = found["line"] or str(text.count("\n") + 1), found["column"]
    place = f"line {line}, column {column}" if column else f"line {line} (the end)"
    return f"{place}: {clean(found['what'])}", "TOML"
