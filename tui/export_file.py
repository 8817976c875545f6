"""Writing what is known, and records of diagnoses and audits, from the running dashboard without holding it up."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from probes import clock, export

if TYPE_CHECKING:
    from probes.fleet import Fleet

#: hosts put into words between two turns of the event loop: about 4 ms
_BATCH = 20
#: what may stand in the name of a file of ours; a host's id may be anything
_SAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME: Final = 80
_TRIES: Final = 1000


async def take_snapshot(fleet: Fleet) -> dict[str, Any]:
    """The snapshot document of the whole fleet; the event loop gets its turn every few hosts."""
    document = export.snapshot(fleet, ())
    for at, host_id in enumerate(tuple(fleet.hosts)):
        record = fleet.hosts.get(host_id)
        if record is not None:
            document["hosts"].append(export.host(record, clock.boot_s()))
        if at % _BATCH == _BATCH - 1:
            await asyncio.sleep(0)
    return document


def write(document: dict[str, Any], path: str) -> str:
    """Write a document to a file that only its owner can read; returns the path.

    Raises:
        OSError: the file exists already, or cannot be written.
    """
    return str(write_text(Path(path).expanduser(), _json(document)))


def write_record(texts: dict[str, dict[str, Any] | str], path: str, stem: str, at_wall_s: float) -> list[str]:
    """Write one record in several forms, each to a file that only its owner can read; returns the paths.

    Args:
        texts: a JSON document or a text by the ending of its file.
        path: the files without their endings (an ending that is one of ours is taken off); empty: a new name in the
            state folder.
        stem: what the name starts with there; of any origin.
        at_wall_s: the time in the name.

    Raises:
        OSError: a file exists already, or cannot be written.
    """
    forms = {ending: text if isinstance(text, str) else _json(text) for ending, text in texts.items()}
    if path:
        target = Path(path).expanduser()
        target = target.with_suffix("") if target.suffix[1:] in forms else target
        return [str(write_text(_with_ending(target, ending), text)) for ending, text in forms.items()]
    folder = records_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    when = datetime.fromtimestamp(at_wall_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{_SAFE.sub('_', stem)[:_NAME]}-{when}"
    for number in range(1, _TRIES):
        target = folder / (name if number == 1 else f"{name}-{number}")
        if not any(_with_ending(target, ending).exists() for ending in forms):
            return [str(write_text(_with_ending(target, ending), text)) for ending, text in forms.items()]
    raise FileExistsError(f"{folder / name} and {_TRIES - 2} more of that name exist")


def records_folder() -> Path:
    """Where records lie when no path is given."""
    import platformdirs  # noqa: PLC0415 - when first used

    return platformdirs.user_state_path("quarterdeck") / "records"


def _with_ending(target: Path, ending: str) -> Path:
    return target.with_name(f"{target.name}.{ending}")


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(target: Path, text: str) -> Path:
    """Write a text to a file that only its owner can read, whole or not at all; returns the path.

    Never over another file: the name is taken first, then the finished file takes its place.

    Raises:
        OSError: the file exists already, or cannot be written.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:40]}.", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target
