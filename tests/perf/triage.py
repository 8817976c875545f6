"""How long a diagnosis from outside takes, between real namespaces. Prints JSON, judges nothing.

``python -m tests.perf.triage [--rounds 5]`` (needs nft, ip and user namespaces). The hosts stand behind two routers; a
silent port is one that the host's firewall drops. Times are of the diagnosis itself, without starting Python.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import time
from typing import Any

from probes.limits import raise_fd_limit
from probes.model import Host
from probes.reach.gather import Gatherer, Options, service_for
from probes.reach.names import Reverse
from tests.support.leaks import open_sockets
from tests.support.netns import Net

_HOSTS = 100
_SILENT = (7201, 7202, 7203, 7204, 7205)
_OPEN = (7301, 7302)
_REFUSED = (7401, 7402)
_RULES = """
table inet t {
  chain in {
    type filter hook input priority 0;
    tcp dport 7201-7205 drop
    icmp type echo-request drop
  }
}
"""
#: accepts and holds, so that no backlog fills up
_SERVER = """
import asyncio, sys
async def hold(reader, writer):
    await reader.read()
    writer.close()
async def main():
    for port in map(int, sys.argv[1:]):
        await asyncio.start_server(hold, "0.0.0.0", port, backlog=1024)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


def address_of(number: int) -> str:
    return f"10.77.2.{number + 10}"


async def inside(hosts: int, ports: list[int], rounds: int) -> dict[str, Any]:
    """Run by ourselves in the watcher's namespace."""
    raise_fd_limit(hosts)
    services = tuple(service_for(port) for port in ports)
    fleet = [Host(id=f"h{n:03d}", address=address_of(n), services=services) for n in range(hosts)]
    walls: list[float] = []
    cpus: list[float] = []
    states: dict[str, int] = {}
    peak = stepped = 0
    # no name server answers in the namespace: its absence is measured with the rest
    async with Gatherer(reverse=Reverse()) as gathering:
        for _ in range(rounds):
            wall, cpu = time.perf_counter(), time.process_time()
            options = Options(steps=64 if hosts == 1 else 1)
            task = asyncio.ensure_future(gathering.probe_fleet(fleet, lambda _, options=options: options))
            while not task.done():
                await asyncio.wait({task}, timeout=0.25)
                peak = max(peak, len(open_sockets()))
            found = task.result()
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
            probes = [probe for evidence in found.values() for probe in evidence.ports]
            states = {}
            for probe in probes:
                states[probe.state] = states.get(probe.state, 0) + 1
            stepped = sum(1 for probe in probes if probe.hops)
    return {
        "hosts": hosts,
        "ports": len(ports),
        "rounds": rounds,
        "wall_s_median": round(statistics.median(walls), 2),
        "wall_s_max": round(max(walls), 2),
        "cpu_s_median": round(statistics.median(cpus), 2),
        "sockets_peak": peak,
        "states": states,
        "ports_with_hops": stepped,
        "max_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def outside(rounds: int) -> dict[str, Any]:
    cases = {
        "five_silent_ports_of_one_host": (1, list(_SILENT)),
        "five_open_and_refused_ports_of_one_host": (1, [*_OPEN, *_REFUSED, 7403]),
        "hundred_hosts_of_five_silent_ports": (_HOSTS, list(_SILENT)),
        "hundred_hosts_mixed": (_HOSTS, [*_OPEN, *_REFUSED, _SILENT[0]]),
    }
    found: dict[str, Any] = {}
    with Net(routers=2) as net:
        for number in range(_HOSTS):
            net.server.run("ip", "address", "add", f"{address_of(number)}/24", "dev", "eth0")
        net.server.rules(_RULES)
        net.start(net.server, sys.executable, "-c", _SERVER, *map(str, _OPEN))
        for name, (hosts, ports) in cases.items():
            asked = [str(hosts), ",".join(map(str, ports)), str(rounds)]
            found[name] = json.loads(net.watcher.run(sys.executable, "-m", "tests.perf.triage", "--inside", *asked))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        hosts, ports, rounds = args.inside
        print(json.dumps(asyncio.run(inside(int(hosts), [int(port) for port in ports.split(",")], int(rounds)))))
    else:
        print(json.dumps(outside(args.rounds), indent=2))


if __name__ == "__main__":
    main()
