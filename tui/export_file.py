"""Writing the snapshot JSON from the running dashboard, without holding up the screen."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes import clock, export

if TYPE_CHECKING:
    from probes.fleet import Fleet

#: hosts put into words between two turns of the event loop: about 4 ms
_BATCH = 20


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
    target = Path(path).expanduser()
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False, allow_nan=False)
        file.write("\n")
    return str(target)
