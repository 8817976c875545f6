"""The probe table by us and by ``nmap -sT``, in the same namespaces at the same time. Prints a Markdown table.

``python -m tests.perf.nmap_table`` (needs nmap, nft, ip and user namespaces)
"""

from __future__ import annotations

import itertools
import re
from typing import Any
from xml.etree import ElementTree as ET

from tests.support.netns import Net
from tests.support.probe_table import LINES, TABLE, Line, icmp_of, prepare


def nmap(net: Net, address: str, ports: list[int]) -> dict[int, str]:
    """What nmap's connect scan says of ports: state and, in brackets, its reason."""
    family = ["-6"] if ":" in address else []
    text = net.watcher.run("nmap", "-sT", "-Pn", "-n", "-oX", "-", *family, "-p", ",".join(map(str, ports)), address)
    found: dict[int, str] = {}
    for port in ET.fromstring(text).iter("port"):  # noqa: S314 - our own nmap's output
        state = port.find("state")
        assert state is not None
        found[int(port.attrib["portid"])] = f"{state.attrib['state']} ({state.attrib['reason']})"
    return found


def ours(port: dict[str, Any]) -> str:
    """Our state with its evidence."""
    icmp = icmp_of(port)
    parts = [port["state"].replace("_", " ")]
    if icmp is not None:
        own = " (ourselves)" if port["offender_is_own"] else ""
        parts.append(f"ICMP {icmp[0]}/{icmp[1]} from {port['offender']}{own}")
    elif port["at_once"]:
        parts.append("nothing left this machine")
    elif port["state"] == "filtered":
        last = port["hops"][-1]["address"] if port["hops"] else None
        parts.append(f"{port['syns_sent']} SYNs; " + (f"last hop {last}" if last else "no hop answered"))
    return ", ".join(parts)


def hosts_of(lines: list[Line]) -> dict[str, list[int]]:
    """Address to its ports."""
    by_address = itertools.groupby(sorted(lines, key=lambda line: line.address), key=lambda line: line.address)
    return {address: [line.port for line in group] for address, group in by_address}


def main() -> None:
    hosts = hosts_of(LINES)
    asked = [
        {"id": address, "address": address, "services": [{"name": str(port), "port": port} for port in ports]}
        for address, ports in hosts.items()
    ]
    with Net() as net:
        prepare(net)
        version = re.search(r"Nmap version (\S+)", net.watcher.run("nmap", "--version"))
        evidence = net.gather(*asked)
        scanned = {address: nmap(net, address, ports) for address, ports in hosts.items()}
    print(f"nmap {version[1] if version else '?'}\n")
    print("| what is there | | `nmap -sT` | quarterdeck |\n|---|---|---|---|")
    for what, lines in TABLE.items():
        for line in lines:
            port = next(one for one in evidence[line.address]["ports"] if one["service"]["port"] == line.port)
            family = "6" if ":" in line.address else "4"
            said = scanned[line.address].get(line.port, "not in its output")
            print(f"| {what} | IPv{family} | {said} | {ours(port)} |")


if __name__ == "__main__":
    main()
