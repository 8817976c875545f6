"""Diagnose a host that is watched already, as the dashboard does: run inside a network namespace.

``python -m tests.support.diagnose_live CONFIG``: prints ``ready`` once every host's session lives; diagnoses the first
host when a line comes, and prints the document and its exit code.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from probes.config import load
from probes.diagnose_report import document, exit_code
from probes.headless import Watched
from probes.judge.triage import diagnose
from probes.model import LinkState


async def _main(path: Path) -> None:
    settings = load(path)
    async with Watched(settings) as watched:
        assert await watched.until(lambda record: record.link.state is LinkState.LIVE, 20.0)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        host_id = settings.hosts[0].id
        found = await watched.supervisor.investigate([host_id], lambda _, __: None)
        diagnosis = diagnose(found[host_id])
        answer = {"document": document(diagnosis), "code": exit_code(diagnosis)}
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
