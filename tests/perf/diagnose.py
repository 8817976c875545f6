"""How long a whole diagnosis takes, from the command's start and from its first packet. Prints JSON, judges nothing.

``python -m tests.perf.diagnose [--rounds 3]`` (needs nft, ip and user namespaces). The hosts stand behind two routers;
their firewall drops everything. The first packet is seen on the host's side. A name server does not answer, and where
AWS is on there are no credentials and the address of the instance metadata service is silent, as it is on a LAN.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from probes.config import AwsOptions, Settings, Ssh
from probes.headless import investigate
from probes.investigate import Wanted
from probes.judge.triage import diagnose
from probes.limits import raise_fd_limit
from probes.model import Host, Service, ServiceKind
from tests.perf.triage import address_of
from tests.support.diagnosing import Desk
from tests.support.netns import Net

_HOSTS = 100
_PORTS = (22, 55433, 8001, 50021, 55434)
_DROP = """
table inet t {
  chain in {
    type filter hook input priority 0;
    tcp dport { 22, 55433, 8001, 50021, 55434 } drop
    icmp type echo-request drop
  }
}
"""
_SILENT_METADATA = """
table inet t {
  chain through {
    type filter hook prerouting priority 0;
    ip daddr 169.254.0.0/16 drop
    udp dport 53 drop
  }
}
"""


def first_syn() -> None:
    """Run by ourselves on the host: say when the first SYN came, on the clock that all namespaces share."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as sock:
        print("ready", flush=True)
        while True:
            frame = sock.recv(128)
            at_s = time.monotonic()
            header = (frame[14] & 15) * 4
            if frame[23] == socket.IPPROTO_TCP and frame[14 + header + 13] & 0x12 == 0x02:
                print(at_s, flush=True)
                return


def one(net: Net, desk: Desk, *args: str) -> tuple[float, float]:
    """Seconds from the command's start and from its first packet to its end."""
    sniffer = net.server.popen(sys.executable, "-m", "tests.perf.diagnose", "--first-syn")
    assert sniffer.stdout is not None
    assert sniffer.stdout.readline() == b"ready\n"
    began_s = time.monotonic()
    found = desk.run("diagnose", address_of(0), "--ports", ",".join(map(str, _PORTS)), "--json", *args)
    ended_s = time.monotonic()
    assert set(found.states.values()) == {"filtered"}, found.err
    packet_s = float(sniffer.communicate(timeout=10)[0])
    return ended_s - began_s, ended_s - packet_s


def command(net: Net, rounds: int, config: str, *args: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder) / "desk", net.watcher)
        # as on a LAN: the metadata service is looked for
        del desk.env["AWS_EC2_METADATA_DISABLED"]
        desk.config(f'[triage]\nanchors = ["10.77.1.1:9"]\n{config}')
        times = [one(net, desk, *args) for _ in range(rounds)]
    whole, after = zip(*times, strict=True)
    return {
        "rounds": rounds,
        "from_start_s_median": round(statistics.median(whole), 2),
        "from_start_s_max": round(max(whole), 2),
        "from_first_packet_s_median": round(statistics.median(after), 2),
        "from_first_packet_s_max": round(max(after), 2),
    }


def inside(rounds: int) -> dict[str, Any]:
    """Run by ourselves in the watcher's namespace: the whole fleet in one investigation, AWS off."""
    raise_fd_limit(_HOSTS)
    services = tuple(Service(f"s{port}", port, ServiceKind.SSH if port == 22 else ServiceKind.TCP) for port in _PORTS)
    hosts = [Host(id=f"h{n:03d}", address=address_of(n), services=services) for n in range(_HOSTS)]
    ssh = Ssh(config_files=(), known_hosts=(), agent=False)
    settings = Settings(hosts=tuple(hosts), ssh=ssh, aws=AwsOptions(enabled=False))
    walls: list[float] = []
    cpus: list[float] = []
    states: dict[str, int] = {}
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        found = asyncio.run(investigate(settings, hosts, Wanted(inside=False), settings.hosts))
        judged = [diagnose(evidence) for evidence in found.values()]
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        states = {}
        for probe in (probe for diagnosis in judged for probe in diagnosis.probes):
            states[probe["state"]] = states.get(probe["state"], 0) + 1
    return {
        "hosts": _HOSTS,
        "ports": len(_PORTS),
        "rounds": rounds,
        "wall_s_median": round(statistics.median(walls), 2),
        "wall_s_max": round(max(walls), 2),
        "cpu_s_median": round(statistics.median(cpus), 2),
        "states": states,
        "max_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def outside(rounds: int) -> dict[str, Any]:
    off, on = "[aws]\nenabled = false\n", '[aws]\nregion = "ap-northeast-1"\n'
    with Net(routers=2) as net:
        for number in range(_HOSTS):
            net.server.run("ip", "address", "add", f"{address_of(number)}/24", "dev", "eth0")
        net.server.rules(_DROP)
        net.router.rules(_SILENT_METADATA)
        fleet = net.watcher.run(sys.executable, "-m", "tests.perf.diagnose", "--inside", str(rounds))
        return {
            "load": os.getloadavg()[0],
            "python": subprocess.run([sys.executable, "-V"], capture_output=True, text=True, check=True).stdout.strip(),
            "five_silent_ports_aws_off_no_login": command(net, rounds, off, "--no-login"),
            "five_silent_ports_aws_off": command(net, rounds, off),
            "five_silent_ports_no_credentials": command(net, rounds, on),
            "hundred_hosts_of_five_silent_ports": json.loads(fleet),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--first-syn", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.first_syn:
        first_syn()
    elif args.inside:
        print(json.dumps(inside(args.inside)))
    else:
        print(json.dumps(outside(args.rounds), indent=2))


if __name__ == "__main__":
    main()
