"""A watcher in a process of its own that runs one program on a host: for tests that kill or freeze it.

``python -m tests.support.remote_watcher HOST_JSON COMMAND`` runs it with short intervals until it is ended.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec

from benchmarks.remote import Program
from probes.model import Host
from tests.support.remote import remote_on


async def main() -> None:
    host = msgspec.json.decode(sys.argv[1], type=Host)
    async with remote_on(host) as remote:
        await remote.run(Program(sys.argv[2]))


if __name__ == "__main__":
    asyncio.run(main())
