"""Diagnose hosts all at once and print the evidence as JSON: run inside a network namespace.

Stdin: ``hosts`` (fields of Host; ``services`` of Service), and optionally ``controls`` (fields of Candidate), ``steps``,
``budget`` (fields of Budget), ``known_hosts`` (a file).
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec

from probes.hosts.known_hosts import KnownHosts
from probes.model import Host
from probes.reach.budget import Budget
from probes.reach.control import Candidate
from probes.reach.gather import Gatherer, Options
from probes.reach.trust import Known


class _File:
    """What one known_hosts file says."""

    def __init__(self, file: str) -> None:
        self._file = file

    async def known(self, host: Host, port: int) -> Known:
        return Known(host.address, "nobody", KnownHosts().lookup([self._file], host.address, "", port))


async def _main(asked: dict[str, Any]) -> None:
    hosts = msgspec.convert(asked["hosts"], list[Host])
    controls = msgspec.convert(asked.get("controls", ()), tuple[Candidate, ...])
    options = Options(controls=controls, steps=asked.get("steps", 64))
    trust = _File(asked["known_hosts"]) if "known_hosts" in asked else None
    async with Gatherer(budget=Budget(**asked.get("budget", {})), trust=trust) as gathering:
        found = await gathering.probe_fleet(hosts, lambda _: options)
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    asyncio.run(_main(msgspec.json.decode(sys.stdin.buffer.read())))
