"""The process behind ``quarterdeck demo``: SSH servers and service stand-ins on addresses of 127.0.0.0/8.

Run as ``python -m probes.demo.server --hosts 24 --seed 7``. One JSON line on stdout says when everything listens and
where (or ``{"error": ...}``); the process ends with its parent (end of stdin) or on SIGTERM, SIGINT or SIGHUP, and
takes its folder of keys with it. It is a process of its own, since a dashboard that shared its event loop with 24
servers would measure itself.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from probes.demo.catalog import Behaviour, plan
from probes.demo.host import SSH_PORT, HostServer
from probes.demo.keys import USER, write_keys, write_known_hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.demo.catalog import HostSpec

MAX_HOSTS: Final = 2000
_BLOCKS: Final = range(77, 127)
_HOSTS_PER_NET: Final = 250


def addresses(block: int, hosts: int) -> list[str]:
    """The addresses of a fleet in one block: 127.BLOCK.0.1 and on."""
    return [f"127.{block}.{index // _HOSTS_PER_NET}.{index % _HOSTS_PER_NET + 1}" for index in range(hosts)]


async def open_fleet(specs: Sequence[HostSpec], folder: Path, at_s: float) -> tuple[list[HostServer], dict[str, Any]]:
    """Listen on the first block of addresses where every port is free.

    Args:
        specs: the hosts.
        folder: where their keys go.
        at_s: where in the script of faults to start.

    Returns:
        The servers, and what the launcher must know.

    Raises:
        OSError: no block has all the ports free, or this system has no loopback addresses beyond 127.0.0.1.
    """
    loop = asyncio.get_running_loop()
    start_s = loop.time() - at_s
    keys = write_keys(folder, specs)
    failure: OSError | None = None
    for block in _BLOCKS:
        places = zip(specs, addresses(block, len(specs)), strict=True)
        fleet = [HostServer(spec, address, keys, lambda: loop.time() - start_s) for spec, address in places]
        results = await asyncio.gather(*(host.open() for host in fleet), return_exceptions=True)
        failure = next((result for result in results if isinstance(result, OSError)), None)
        if failure is None:
            write_known_hosts(keys, [(host.spec, host.address, SSH_PORT) for host in fleet])
            return fleet, _ready(folder, fleet)
        for host in fleet:
            host.close()
    raise OSError(f"no free block of addresses in 127.{_BLOCKS[0]}.0.0 to 127.{_BLOCKS[-1]}.0.0: {failure}")


def _ready(folder: Path, fleet: Sequence[HostServer]) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "user": USER,
        "identity_file": str(folder / "id_ed25519"),
        "known_hosts": str(folder / "known_hosts"),
        "hosts": [_describe(host) for host in fleet],
    }


def _describe(host: HostServer) -> dict[str, Any]:
    spec = host.spec
    services = [
        {"name": service.name, "port": service.port, "kind": service.kind, "path": service.path}
        | ({"expect_json": {"status": ["healthy"]}} if service.behaviour is Behaviour.UNHEALTHY else {})
        for service in spec.services
    ]
    return {
        "id": spec.id,
        "address": host.address,
        "port": SSH_PORT,
        "groups": spec.groups,
        "labels": spec.labels,
        "fault": spec.fault,
        "services": services,
    }


async def _until_told() -> None:
    """Wait for the end of stdin, or a signal to end."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, told.set)
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    waiting = [loop.create_task(told.wait()), loop.create_task(_drain(reader))]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    transport.close()


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(4096):
        pass


async def serve(hosts: int, seed: int, folder: Path, at_s: float) -> None:
    """Open the fleet, say so on stdout, and serve until told to end."""
    fleet, ready = await open_fleet(plan(hosts, seed), folder, at_s)
    _say(ready)
    tasks = [asyncio.create_task(host.run()) for host in fleet]
    told = asyncio.create_task(_until_told())
    try:
        done, _ = await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (told, *tasks):
            task.cancel()
        await asyncio.gather(told, *tasks, return_exceptions=True)


def _say(line: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; the exit status is 1 when it could not start."""
    parser = argparse.ArgumentParser(prog="python -m probes.demo.server", description=__doc__)
    parser.add_argument("--hosts", type=int, default=24, help=f"1 to {MAX_HOSTS}")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--at", type=float, default=0.0, help="seconds into the script of faults to start at")
    options = parser.parse_args(argv)
    if not 1 <= options.hosts <= MAX_HOSTS:
        parser.error(f"--hosts must be 1 to {MAX_HOSTS}")
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="quarterdeck-demo-"))  # 0700
    try:
        asyncio.run(serve(options.hosts, options.seed, folder, options.at))
    except OSError as error:
        _say({"error": str(error)})
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
