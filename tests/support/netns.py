"""Network namespaces for tests: watcher - router - server, joined by veth pairs, with nftables rules.

All of it lives in one user namespace, so root is not needed and nothing is named outside: each namespace is held by a
process that ends when its stdin closes, which it does when the test process goes, however it goes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
_PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
_HOLD = ["sh", "-c", "echo ready; exec cat"]


class Namespace:
    """One network namespace, held open by a process."""

    def __init__(self, owner: Namespace | None = None) -> None:
        enter = ["unshare", "-r", "-n"] if owner is None else [*owner.enter("-U"), "unshare", "-n"]
        self._process = subprocess.Popen(
            [*enter, *_HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PATH": _PATH}
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "no namespace could be made"
        self.pid = self._process.pid

    def enter(self, *namespaces: str) -> list[str]:
        """The command prefix that runs something inside."""
        return ["nsenter", "-t", str(self.pid), "--preserve-credentials", *(namespaces or ("-U", "-n"))]

    def run(self, *command: str, stdin: str | None = None) -> str:
        """Run a command inside; its output. It must succeed."""
        done = subprocess.run(
            [*self.enter(), *command],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            cwd=ROOT,
            env={**os.environ, "PATH": _PATH},
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def popen(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command inside that ends with its stdin."""
        return subprocess.Popen(
            [*self.enter(), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PATH": _PATH},
        )

    def pids(self) -> set[int]:
        """The processes that are inside."""
        mine = Path(f"/proc/{self.pid}/ns/net").stat().st_ino
        found: set[int] = set()
        for entry in Path("/proc").iterdir():
            # a process may end while it is looked at
            with suppress(OSError):
                if entry.name.isdigit() and (entry / "ns" / "net").stat().st_ino == mine:
                    found.add(int(entry.name))
        return found

    def sysctl(self, **values: int) -> None:
        """Set ``net.`` settings; ``__`` in a name is a slash."""
        for name, value in values.items():
            self.run("sh", "-c", f"echo {value} > /proc/sys/net/{name.replace('__', '/')}")

    def rules(self, text: str) -> None:
        """Replace the nftables rules."""
        self.run("nft", "-f", "-", stdin="flush ruleset\n" + text)

    def close(self) -> None:
        """End it; the kernel removes what is in it."""
        self._process.communicate(timeout=10)


#: listens on each port given, on all addresses of both families, until stdin ends
_LISTEN = """
import socket, sys
held = []
for port in map(int, sys.argv[1:]):
    sock = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    held.append(sock)
print("ready", flush=True)
sys.stdin.read()
"""


class Net:
    """watcher (10.77.1.2, fd77:1::2) - router (.1 of both) - server (10.77.2.2, fd77:2::2).

    With two routers: watcher - router (10.77.1.1, 10.77.9.1) - far router (10.77.9.2, 10.77.2.1) - server. With one,
    ``far_router`` is the router itself. ``middle_mtu``: of the link between two routers.
    """

    def __init__(self, routers: int = 1, middle_mtu: int = 1500) -> None:
        self._stack = ExitStack()
        with ExitStack() as undo:
            self.watcher = self._space(undo)
            self.router = self.far_router = self._space(undo, self.watcher)
            if routers == 2:
                self.far_router = self._space(undo, self.watcher)
            self.server = self._space(undo, self.watcher)
            self._join()
            if routers == 2:
                self._join_routers(middle_mtu)
            self._settle()
            self._stack = undo.pop_all()

    def _space(self, undo: ExitStack, owner: Namespace | None = None) -> Namespace:
        space = Namespace(owner)
        undo.callback(space.close)
        # duplicate address detection would keep IPv6 silent for the first second or two; rate limits would eat
        # some of the answers that many probes at once ask for. IPv4's is switched off by its mask: a limit of 0 would
        # take away the tokens from which the kernel pays for "net unreachable"
        space.sysctl(ipv6__conf__default__accept_dad=0, ipv4__icmp_ratemask=0, ipv6__icmp__ratelimit=0)
        return space

    def _join(self) -> None:
        ends = ((self.watcher, self.router, "near", 1), (self.server, self.far_router, "far", 2))
        for side, router, name, subnet in ends:
            self._link((side, "eth0", 2), (router, name, 1), subnet)
            side.run("ip", "route", "add", "default", "via", f"10.77.{subnet}.1")
            side.run("ip", "route", "add", "default", "via", f"fd77:{subnet}::1")
        for router in (self.router, self.far_router):
            router.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)

    def _link(self, one: tuple[Namespace, str, int], other: tuple[Namespace, str, int], subnet: int) -> None:
        peer = ("type", "veth", "peer", "name", other[1], "netns", str(other[0].pid))
        one[0].run("ip", "link", "add", one[1], *peer)
        for space, device, last in (one, other):
            space.run("ip", "address", "add", f"10.77.{subnet}.{last}/24", "dev", device)
            space.run("ip", "address", "add", f"fd77:{subnet}::{last}/64", "dev", device, "nodad")
            space.run("ip", "link", "set", device, "up")
            space.run("ip", "link", "set", "lo", "up")

    def _join_routers(self, mtu: int) -> None:
        self._link((self.router, "middle", 1), (self.far_router, "middle", 2), 9)
        for router, subnet, last in ((self.router, 2, 2), (self.far_router, 1, 1)):
            router.run("ip", "link", "set", "middle", "mtu", str(mtu))
            router.run("ip", "route", "add", f"10.77.{subnet}.0/24", "via", f"10.77.9.{last}")
            router.run("ip", "route", "add", f"fd77:{subnet}::/64", "via", f"fd77:9::{last}")

    def _settle(self) -> None:
        """Wait until packets pass both ways: a new link is silent for its first second or so under IPv6."""
        found = self.probe(10.0, ("10.77.2.2", 1), ("fd77:2::2", 1))
        assert [result["state"] for result in found] == ["refused", "refused"], found

    def probe(self, timeout_s: float, *targets: tuple[str, int]) -> list[dict[str, Any]]:
        """Connect from the watcher to all targets at once; a result for each, as plain fields."""
        texts = [f"{address},{port}" for address, port in targets]
        return json.loads(self.watcher.run(sys.executable, "-m", "tests.support.probe_tcp", str(timeout_s), *texts))

    def gather(self, *hosts: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Diagnose hosts from the watcher, all at once; evidence by host id, as JSON would show it."""
        asked = json.dumps({"hosts": hosts, **options})
        return json.loads(self.watcher.run(sys.executable, "-m", "tests.support.gather_hosts", stdin=asked))

    def allow_icmp_sockets(self) -> None:
        """Let the watcher open datagram ICMP sockets; at first nobody may, and there is no way back to that."""
        self.watcher.run("sh", "-c", "echo 0 0 > /proc/sys/net/ipv4/ping_group_range")

    def start(self, space: Namespace, *command: str) -> None:
        """Run a program that says ``ready`` in a namespace, until the net is closed."""
        process = space.popen(*command)
        self._stack.callback(process.communicate, timeout=10)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

    def listen(self, space: Namespace, *ports: int) -> None:
        """Listen on ports in a namespace until the net is closed."""
        self.start(space, sys.executable, "-c", _LISTEN, *map(str, ports))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()
