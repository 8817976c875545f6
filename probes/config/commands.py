"""What ``quarterdeck config init | check | show | path`` do; the command line only prints what these return."""

from __future__ import annotations

import errno
import json
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from probes.config.build import SCHEMA, load
from probes.errors import ConfigError
from probes.model import Host
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from probes.config.build import Actions
    from probes.config.settings import Settings
    from probes.model import Service


def reference_text() -> str:
    """The commented reference: in a checkout the top ``config.toml``, in an installation the copy in the package."""
    packaged = resources.files("probes") / "reference.toml"
    if packaged.is_file():
        return packaged.read_text("utf-8")
    return (Path(__file__).parents[2] / "config.toml").read_text("utf-8")


def init(path: Path) -> Path:
    """Write the commented reference to a new file that only its owner can read; folders are made as needed.

    The file appears whole or not at all, and one that is there already is never overwritten.

    Raises:
        ConfigError: the file exists, or cannot be written.
    """
    label = clean(str(path), 4096)
    text = reference_text()
    scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            _link(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)
    except FileExistsError as error:
        if error.filename2 is None and error.filename != str(scratch):
            raise ConfigError([f"{label}: its folder is a file; expected a folder"]) from None
        raise ConfigError([f"{label}: exists already; expected a new file (nothing was changed)"]) from None
    except OSError as error:
        raise ConfigError([f"{label}: cannot be written: {error.strerror}; expected a writable folder"]) from None
    return path


def _link(scratch: Path, path: Path) -> None:
    """Give the finished file its name; unlike a rename, a link fails when the name is taken."""
    try:
        os.link(scratch, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "exists", str(scratch), None, str(path)) from None
        scratch.rename(path)


def check(path: Path, actions: Actions | None = None) -> list[str]:
    """All mistakes of a file, one line each; empty when it is right.

    Args:
        path: the file.
        actions: what ``[keys]`` may remap; None: that is not checked.
    """
    try:
        load(path, actions)
    except ConfigError as error:
        return error.mistakes
    return []


def show(settings: Settings, form: str = "toml") -> str:
    """What is in force, defaults included, as ``toml`` (which can be loaded again) or ``json``."""
    if form == "json":
        return json.dumps(msgspec.to_builtins(settings), ensure_ascii=False, indent=2)
    origin = f"from {clean(settings.source, 4096)}" if settings.source else "no file: the defaults"
    parts = [f"# {origin}\nschema = {SCHEMA}\n"]
    parts += [_section("[[hosts]]", _host_table(host)) for host in settings.hosts]
    for name in ("thresholds", "intervals", "ssh", "triage", "aws"):
        parts.append(_section(f"[{name}]", msgspec.structs.asdict(getattr(settings, name))))
    automatic = "auto" if settings.ascii is None else settings.ascii
    parts.append(_section("[theme]", {"name": settings.theme, "utc": settings.utc, "ascii": automatic}))
    for name, table in (("keys", settings.keys), ("bench", settings.bench)):
        if table:
            parts.append(_section(f"[{name}]", table))
    return "\n".join(parts)


def _section(name: str, table: Mapping[str, Any]) -> str:
    return f"{name}\n" + "".join(f"{_key(key)} = {_value(value)}\n" for key, value in table.items())


def _host_table(host: Host) -> dict[str, Any]:
    table = _given(host, Host(id="", address=""))
    if host.services:
        table["services"] = [_service_table(service) for service in host.services]
    return {"id": host.id, "address": host.address, **table}


def _service_table(service: Service) -> dict[str, Any]:
    table: dict[str, Any] = {"name": service.name, "port": service.port, "kind": service.kind.value}
    if service.path is not None:
        table["path"] = service.path
        if service.tls:
            table |= {"tls": True, "tls_verify": service.tls_verify}
            table |= {"pin": service.pin} if service.pin else {}
        expect: dict[str, Any] = {"status": _ranges(service.expect_status)}
        if service.expect_json:
            expect["json"] = service.expect_json
        table["expect"] = expect
    return table


def _given(struct: msgspec.Struct, default: msgspec.Struct) -> dict[str, Any]:
    """The fields that differ from the default (None has no TOML)."""
    return {
        name: value
        for name, value in msgspec.structs.asdict(struct).items()
        if value != getattr(default, name) and name != "services"
    }


def _ranges(codes: Sequence[int]) -> list[int | str]:
    """``200, 201, 202, 404`` as ``"200-202", 404``."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][-1] + 1:
            runs[-1][1:] = [code]
        else:
            runs.append([code])
    return [f"{run[0]}-{run[1]}" if len(run) > 1 else run[0] for run in runs]


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("-", "_").replace("_", "a").isalnum()
    return name if bare else _value(name)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case dict():
            items = cast("dict[str, object]", value).items()
            return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in items) + " }"
        case list() | tuple():
            return "[" + ", ".join(_value(item) for item in cast("Sequence[object]", value)) + "]"
        case _:
            return str(value)
