"""What probing ports costs the watcher: CPU time a probe, and a fleet's share of a core. Prints JSON, judges nothing.

``python -m tests.perf.reach [--hosts 1000] [--ports 5] [--interval 10] [--seconds 30]``

The ports answer in a separate process on loopback; the kernel's own work for a loopback packet is charged to whoever
sends it, so the figures hold a little more than a real network would cost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from msgspec import structs

from probes.config import Settings
from probes.fleet import Fleet
from probes.model import Host, Service, ServiceKind
from probes.reach.http import Ask, Limits, http_check
from probes.reach.kinds import expectation
from probes.reach.resolve import Resolver
from probes.reach.services import ServiceProber
from probes.reach.stream import SocketStream
from probes.reach.tcp import tcp_connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

_AT_ONCE = 50
_VOICE = Service("voicevox", 1, ServiceKind.VOICEVOX)

_SERVER = """
import asyncio, sys
ANSWER = b'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 8\\r\\nConnection: close\\r\\n\\r\\n"0.14.5"'
class Http(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(ANSWER)
        self.transport.close()
async def main():
    server = await asyncio.get_running_loop().create_server(Http, "0.0.0.0", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


@contextlib.contextmanager
def server() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


def address_of(number: int) -> str:
    """Different addresses, so that TIME_WAIT does not use up the local ports of one."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


async def cost_us(probe: Callable[[int], Awaitable[None]], count: int) -> float:
    """CPU time of this process per probe, ``_AT_ONCE`` in flight."""
    for part in (0, 1):  # the first few warm caches up
        total = count if part else _AT_ONCE
        began = time.process_time()
        for first in range(0, total, _AT_ONCE):
            await asyncio.gather(*(probe(first + n) for n in range(_AT_ONCE)))
    return (time.process_time() - began) / count * 1e6


async def single_probes(port: int, closed: int, count: int) -> dict[str, float]:
    wanted = expectation(_VOICE)
    assert wanted is not None

    async def connect(number: int, to: int) -> None:
        result = await tcp_connect(address_of(number % 1000), to, 3.5)
        if result.sock is not None:
            result.sock.close()

    async def health(number: int) -> None:
        address = address_of(number % 1000)
        result = await tcp_connect(address, port, 3.5)
        assert result.sock is not None
        answer = await http_check(SocketStream(result.sock), Ask(address, port, wanted), Limits())
        assert answer.health == "ok", answer

    return {
        "tcp_open_us": await cost_us(lambda n: connect(n, port), count),
        "tcp_refused_us": await cost_us(lambda n: connect(n, closed), count),
        "http_health_us": await cost_us(health, count),
    }


async def fleet_share(args: argparse.Namespace, services: tuple[Service, ...]) -> dict[str, Any]:
    """The whole prober on a fleet: its share of a core after the first round, and whether it kept its pace."""
    hosts = tuple(Host(id=f"h{n:05d}", address=address_of(n), services=services) for n in range(args.hosts))
    settings = Settings(hosts=hosts)
    settings = structs.replace(settings, intervals=structs.replace(settings.intervals, services_s=args.interval))
    fleet, resolver = Fleet(hosts), Resolver()
    written = 0
    store = fleet.set_service

    def count(host_id: str, state: Any) -> None:
        nonlocal written
        written += 1
        store(host_id, state)

    fleet.set_service = count
    task = asyncio.create_task(ServiceProber(fleet, settings, resolver).run())
    await asyncio.sleep(args.interval * 1.6)  # the first round is quicker than the pace; it is not measured
    written, cpu, wall = 0, time.process_time(), time.perf_counter()
    await asyncio.sleep(args.seconds)
    share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    rate = written / (time.perf_counter() - wall)
    task.cancel()
    await asyncio.wait({task})
    await resolver.close()
    states: dict[str, int] = {}
    for record in fleet.hosts.values():
        for state in record.services.values():
            key = f"{state.state}/{state.health}"
            states[key] = states.get(key, 0) + 1
    return {
        "share_of_a_core_pct": round(share * 100, 2),
        "probes_per_s": round(rate, 1),
        "us_per_probe": round(share / rate * 1e6, 1) if rate else None,
        "states": states,
    }


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    with server() as port, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
        single = await single_probes(port, closed, args.count)
        tcp = tuple(Service(f"tcp{n}", port) for n in range(args.ports))
        http = tuple(Service(f"http{n}", port, ServiceKind.VOICEVOX) for n in range(args.ports))
        refused = tuple(Service(f"none{n}", closed) for n in range(args.ports))
        return {
            "hosts": args.hosts,
            "ports_per_host": args.ports,
            "interval_s": args.interval,
            "seconds": args.seconds,
            "single_probe": {name: round(value, 1) for name, value in single.items()},
            "fleet_all_tcp_open": await fleet_share(args, tcp),
            "fleet_all_refused": await fleet_share(args, refused),
            "fleet_all_http": await fleet_share(args, http),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--ports", type=int, default=5)
    parser.add_argument("--interval", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--count", type=int, default=3000, help="single probes of each kind")
    print(json.dumps(asyncio.run(measure(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
