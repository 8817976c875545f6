"""Commands on a host: the benchmark's figures beside hyperfine running ssh over a ControlMaster, on the same sshd.

``python -m tests.perf.command_rate --rounds 5``, on a quiet machine (as root for an account with an empty home, else
your own start-up files are in both). In turn, on one throw-away sshd: the benchmark in a process of its own, one at a
time; ``hyperfine -N`` of ``ssh`` with a master connection, one at a time; both for ``true`` and for a command that
takes 25 ms. What ssh itself costs here, its process alone, is measured with ``ssh -V``. The benchmark is also run at a
concurrency, which hyperfine cannot. Prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.benchmark import Request
from benchmarks.command_plan import plan
from benchmarks.wire import Failed, Finished, FromEngine, Job
from tests.perf.harness import ROOT, machine, show
from tests.support.accounts import account
from tests.support.sshd import Keys, RealSshd
from tests.support.watching import settings_for

#: sleeps 25 ms, as the known example's start takes
COMMANDS = {"true": "true", "25 ms": "sleep 0.025"}


def ours(host: Any, command: str, n: int, concurrency: int) -> dict[str, float]:
    """One run of the benchmark in the engine's own process."""
    request = Request("command", n=n, concurrency=concurrency, warmup_n=5, extra={"command": command, "usage": "0"})
    job = Job("suite", host, settings_for(host), plan(request, host, {}), None)
    argv = [sys.executable, "-m", "benchmarks.worker"]
    # stdin stays open until the end: its end would cancel the run
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        if worker.stdin is None or worker.stdout is None:
            raise RuntimeError("a worker without pipes")
        worker.stdin.write(msgspec.json.encode(job) + b"\n")
        worker.stdin.flush()
        for line in worker.stdout:
            message = msgspec.json.decode(line, type=FromEngine)
            if isinstance(message, Failed):
                raise RuntimeError(message.cause)  # noqa: TRY004 - the run failed, whatever the type of the message
            if isinstance(message, Finished):
                metrics, spans = message.result.metrics, message.result.spans
                figures = {"commands_per_s": metrics["commands_per_s"].value or 0.0, "n": message.result.counts.ok}
                figures["service_ms"] = 1000 * (metrics["service_time"].median or 0.0)
                figures["exec_to_exit_ms"] = 1000 * (metrics["exec_to_exit"].median or 0.0)
                figures["baseline_true_ms"] = 1000 * (metrics["baseline_true"].value or 0.0)
                figures |= {
                    f"{name}_ms": 1000 * (spans[name].median or 0.0) for name in ("channel_open", "login_shell")
                }
                figures["connections"] = metrics["connections"].value or 0.0
                figures["client_cpu_pct"] = message.result.load.client_cpu_pct or 0.0
                return figures
    raise RuntimeError("the worker ended without a result")


def hyperfine(argv: list[str], n: int, folder: Path) -> dict[str, float]:
    """What hyperfine says of a command without a shell of its own around it."""
    report = folder / "hyperfine.json"
    command = " ".join(argv)
    subprocess.run(
        [
            "hyperfine",
            "-N",
            "--style",
            "none",
            "--warmup",
            "5",
            "--runs",
            str(n),
            "--export-json",
            str(report),
            command,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    result = json.loads(report.read_text())["results"][0]
    return {"commands_per_s": 1 / result["mean"], "service_ms": 1000 * result["median"], "n": n}


@contextlib.contextmanager
def master(host: Any, folder: Path) -> Any:
    """ssh's arguments for a running master connection."""
    base = [
        "ssh",
        "-F",
        "none",
        "-p",
        str(host.port),
        "-i",
        host.identity_files[0],
        "-o",
        f"ControlPath={folder}/master",
    ]
    base += ["-o", f"UserKnownHostsFile={host.known_hosts[0]}", "-o", "BatchMode=yes"]
    target = f"{host.user}@{host.address}"
    subprocess.run([*base, "-o", "ControlMaster=yes", "-fN", target], check=True, stderr=subprocess.DEVNULL)
    try:
        yield [*base, target]
    finally:
        subprocess.run([*base, "-O", "exit", target], check=False, stderr=subprocess.DEVNULL)


def middle(rows: list[dict[str, float]]) -> dict[str, float]:
    """The medians over the rounds, and the range of the rates."""
    figures = {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}
    rates = [row["commands_per_s"] for row in rows]
    return figures | {"lowest_per_s": round(min(rates), 2), "highest_per_s": round(max(rates), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-n", type=int, default=200, help="commands a round")
    parser.add_argument("--concurrency", type=int, default=4)
    options = parser.parse_args()
    before = machine()
    folder = Path(tempfile.mkdtemp(prefix="quarterdeck-perf-"))
    folder.chmod(0o755)
    rows: dict[str, list[dict[str, float]]] = {}
    try:
        with contextlib.ExitStack() as stack:
            user = getpass.getuser()
            if os.geteuid() == 0:
                home = folder / "home"
                home.mkdir()
                user = stack.enter_context(account(Path("/bin/bash"), home))
            server = stack.enter_context(RealSshd(folder / "sshd", Keys(folder)))
            host = server.host(user=user)
            ssh = stack.enter_context(master(host, folder))
            for _ in range(options.rounds):
                rows.setdefault("ssh -V (ssh's own process)", []).append(hyperfine(["ssh", "-V"], options.n, folder))
                for name, command in COMMANDS.items():
                    rows.setdefault(f"quarterdeck, {name}", []).append(ours(host, command, options.n, 1))
                    rows.setdefault(f"hyperfine ssh, {name}", []).append(hyperfine([*ssh, command], options.n, folder))
                    at_once = ours(host, command, options.n, options.concurrency)
                    rows.setdefault(f"quarterdeck, {name}, {options.concurrency} at once", []).append(at_once)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show({"machine": before, "rounds": options.rounds, "figures": {name: middle(each) for name, each in rows.items()}})


if __name__ == "__main__":
    main()
