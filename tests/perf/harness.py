"""What the benches share: the load generators, a real sshd, the configuration of the watcher, figures from /proc."""

from __future__ import annotations

import getpass
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import asyncssh

from tests.perf.servers import PORT

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("quarterdeck")
HOSTS_PER_PROCESS = 500
_BLOCKS = range(64, 244, 20)  # where the second number of the addresses starts: two benches may run at a time
_SSHD_LISTENS = 16  # sshd listens on no more addresses than that
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Fleet:
    """Load generators, their keys and the watcher's configuration, in one throw-away folder.

    Args:
        plays: how many hosts play which kind (see ``servers.py``), for example ``{"ok": 900, "hung": 100}``.
        real: how many further hosts are a real sshd with real agents.
        flood_rate: lines a second of a flooding host.
    """

    def __init__(self, plays: dict[str, int], real: int = 0, flood_rate: float = 1000.0) -> None:
        self.plays, self.real = plays, real
        self.folder = Path(tempfile.mkdtemp(prefix="quarterdeck-perf-"))
        self.hosts: list[dict[str, Any]] = []
        self.line_bytes = 0
        self._flood_rate = flood_rate
        self._known: list[str] = []
        self._servers: list[subprocess.Popen[str]] = []
        self._sshds: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, _leave)  # so that a bench that is ended early ends its servers too
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what the watcher needs ---

    @property
    def identity(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def config(self, interval_s: float = 1.0) -> Path:
        """Write a configuration that watches all hosts; healthy ones are in the group ``healthy``."""
        path = self.folder / "fleet.toml"
        lines = [
            "schema = 1\n[ssh]\nconfig_files = []\nagent = false\n",
            f'known_hosts = ["{self.known_hosts}"]\nidentity_files = ["{self.identity}"]\n',
            f"[intervals]\nsample_s = {interval_s}\n",
        ]
        for host in self.hosts:
            group = "healthy" if host["kind"] in ("ok", "real") else "bad"
            lines.append(
                f'[[hosts]]\nid = "{host["id"]}"\naddress = "{host["address"]}"\nport = {host["port"]}\n'
                f'user = "{getpass.getuser()}"\ngroups = ["{group}", "{host["kind"]}"]\n'
            )
        path.write_text("".join(lines), encoding="utf-8")
        return path

    def report(self) -> list[dict[str, Any]]:
        """What the load generators cost and did since they started (``latest_tick_ms``: since the last report)."""
        return [_ask(server) for server in self._servers]

    def sshd_cpu_s(self) -> float:
        """CPU of the real sshd with everything below it (agents included)."""
        return sum(tree_cpu_s(sshd.pid) for sshd in self._sshds)

    # --- starting and ending ---

    def _start(self) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.identity.touch(0o600)
        self.identity.write_bytes(key.export_private_key())
        public = self.folder / "id_ed25519.pub"
        public.write_bytes(key.export_public_key())
        block = _free_block()
        for kind, count in self.plays.items():
            for first in range(0, count, HOSTS_PER_PROCESS):
                self._serve(kind, min(HOSTS_PER_PROCESS, count - first), block, public)
                block += 1
        for server in self._servers:
            self._take(json.loads(_line(server)))
        real = [f"127.63.0.{number + 1}" for number in range(self.real)]
        for first in range(0, self.real, _SSHD_LISTENS):
            self._start_sshd(public, real[first : first + _SSHD_LISTENS])
        self.known_hosts.write_text("\n".join(self._known) + "\n", encoding="utf-8")
        self._mix()

    def _serve(self, kind: str, count: int, block: int, public: Path) -> None:
        options = ["--hosts", str(count), "--block", str(block), "--kind", kind, "--user-key", str(public)]
        options += ["--flood-rate", str(self._flood_rate)]
        argv = [sys.executable, "-m", "tests.perf.servers", *options]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._servers.append(subprocess.Popen(argv, cwd=ROOT, text=True, **pipes))

    def _take(self, ready: dict[str, Any]) -> None:
        self.line_bytes = self.line_bytes or ready["line_bytes"]
        self._known += ready["known_hosts"]
        for address in ready["addresses"]:
            number = len(self.hosts)
            self.hosts.append(
                {
                    "id": f"{ready['kind']}-{number:04d}",
                    "address": address,
                    "port": ready["port"],
                    "kind": ready["kind"],
                }
            )

    def _start_sshd(self, public: Path, addresses: list[str]) -> None:
        with socket.socket() as probe:
            probe.bind((addresses[0], 0))
            port = probe.getsockname()[1]
        program = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
        if program is None:
            raise FileNotFoundError("the real part needs sshd (openssh-server)")
        key = asyncssh.generate_private_key("ssh-ed25519")
        host_key = self.folder / f"sshd_host_key_{port}"
        host_key.touch(0o600)
        host_key.write_bytes(key.export_private_key())
        config = self.folder / f"sshd_config_{port}"
        config.write_text(
            "".join(f"ListenAddress {address}:{port}\n" for address in addresses)
            + f"HostKey {host_key}\nAuthorizedKeysFile {public}\nStrictModes no\nUsePAM no\nPidFile none\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 200\n"
            "PrintMotd no\nUseDNS no\n",
            encoding="utf-8",
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        argv = [program, "-D", "-e", "-f", str(config)]
        with (self.folder / "sshd.log").open("ab") as log:
            self._sshds.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        line = " ".join(key.export_public_key().decode().split()[:2])
        for address in addresses:
            _wait_port(address, port)
            self._known.append(f"[{address}]:{port} {line}")
            self.hosts.append({"id": f"real-{address}", "address": address, "port": port, "kind": "real"})

    def _mix(self) -> None:
        """Spread the kinds over the list, so that bad hosts do not all come last."""
        total = len(self.hosts)
        by_kind: dict[str, list[dict[str, Any]]] = {}
        for host in self.hosts:
            by_kind.setdefault(host["kind"], []).append(host)
        places = [
            ((place + 0.5) * total / len(hosts), host) for hosts in by_kind.values() for place, host in enumerate(hosts)
        ]
        self.hosts = [host for _, host in sorted(places, key=lambda pair: pair[0])]

    def close(self) -> None:
        for server in self._servers:
            if server.stdin is not None:
                server.stdin.close()
        for server in self._servers:
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            if server.stdout is not None:
                server.stdout.close()
        self._servers.clear()
        for sshd in self._sshds:
            sshd.terminate()
            sshd.wait()
        self._sshds.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


def _leave(number: int, frame: object) -> None:
    del frame
    sys.exit(128 + number)


def _free_block() -> int:
    for block in _BLOCKS:
        with socket.socket() as probe:
            try:
                probe.bind((f"127.{block}.0.1", PORT))
            except OSError:
                continue
            return block
    raise RuntimeError("no block of loopback addresses is free")


def _line(server: subprocess.Popen[str]) -> str:
    if server.stdout is None:
        raise RuntimeError("a load generator without a pipe")
    line = server.stdout.readline()
    if not line:
        raise RuntimeError(f"a load generator ended with {server.wait()}")
    return line


def _ask(server: subprocess.Popen[str]) -> dict[str, Any]:
    if server.stdin is None:
        raise RuntimeError("a load generator without a pipe")
    server.stdin.write("\n")
    server.stdin.flush()
    answer: dict[str, Any] = json.loads(_line(server))
    return answer


def _wait_port(address: str, port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((address, port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


# --- /proc ---


def cpu_s(pid: int) -> float:
    """User plus system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def rss_bytes(pid: int | str) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def tree_cpu_s(pid: int) -> float:
    """CPU of a process and everything below it that still lives."""
    total = 0.0
    for each in (pid, *descendants(pid)):
        try:
            total += cpu_s(each)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


# --- figures ---


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the sorted values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float] | None:
    """Median, p90, p99 and maximum."""
    if not values:
        return None
    picks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {"n": len(values)} | {name: round(percentile(values, share), digits) for name, share in picks.items()}


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load1_before": round(os.getloadavg()[0], 2),
    }


def show(figures: dict[str, Any]) -> None:
    """Print the figures as JSON."""
    print(json.dumps(figures, indent=1))
