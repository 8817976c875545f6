"""Which configuration file holds: flag, environment, ``./config.toml``, the user's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from probes.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENT = "QUARTERDECK_CONFIG"
_SCHEMA_LINE = re.compile(rb"^(?:\xef\xbb\xbf)?[ \t]*schema[ \t]*=[ \t]*1[ \t]*(?:#.*)?\r?$", re.MULTILINE)
_TABLE_LINE = re.compile(rb"^[ \t]*\[", re.MULTILINE)
_HEAD_BYTES = 65536


def find(explicit: str | Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """Say which file is the configuration, or None when there is none.

    A file that is asked for by name (flag or environment) is returned even when it does not exist: loading it then
    says so, instead of something else being watched silently.

    Args:
        explicit: the ``--config`` flag.
        environ: the process environment.
        cwd: the folder quarterdeck was started in; its ``config.toml`` counts only if it carries ``schema = 1``.
    """
    named = explicit or environ.get(ENVIRONMENT)
    if named:
        return expanded(named)
    here = cwd / "config.toml"
    if carries_schema(here):
        return here
    try:
        user = user_path(environ)
        return user if user.exists() else None
    except (ConfigError, OSError):  # no home, or not ours to look into: then no file of ours there
        return None


def user_path(environ: Mapping[str, str]) -> Path:
    """Where the user's own configuration belongs, whether it exists or not.

    Raises:
        ConfigError: there is no home folder to look in.
    """
    base = environ.get("XDG_CONFIG_HOME", "")
    if base.startswith("/"):
        return Path(base) / "quarterdeck" / "config.toml"
    import platformdirs  # noqa: PLC0415 - not needed when a file is named, and --help must be quick

    try:
        return platformdirs.user_config_path("quarterdeck") / "config.toml"
    except RuntimeError:
        raise ConfigError(["no home folder is known; expected HOME or XDG_CONFIG_HOME to be set"]) from None


def carries_schema(path: Path) -> bool:
    """Whether a file says ``schema = 1`` before its first table: many programs have a ``config.toml``.

    Looked for as text, so that our own file with a syntax error is found (and its error shown), not passed over.
    """
    try:
        if not path.is_file():  # a FIFO would block for ever
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    table = _TABLE_LINE.search(head)
    return _SCHEMA_LINE.search(head[: table.start()] if table else head) is not None


def expanded(name: str | Path) -> Path:
    """The path with ``~`` filled in; left as it is where there is no such home."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)
