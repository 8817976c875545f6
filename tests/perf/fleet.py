"""The main bench: the shipped command in a pseudo-terminal on a fleet of N hosts with 8 GPUs each at 1 Hz.

``python -m tests.perf.fleet --hosts 1000 --seconds 60`` prints one JSON object. What the figures mean stands in
``docs/performance.md``. Options: ``--real N`` of the hosts are a real sshd with real agents; ``--bad 0.1`` runs twice,
with and without that share of hosts hung, blackholed or flooding; ``--reader`` runs the bare asyncssh reader on the same
hosts afterwards; ``--keys N`` presses N keys; ``--soak`` lets a tenth of the hosts fail all the time and looks at memory.
"""

from __future__ import annotations

import argparse
import getpass
import json
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from tests.perf.harness import COMMAND, ROOT, Fleet, cpu_s, machine, percentile, rss_bytes, show, spread
from tests.perf.terminal import Terminal, calibrate, key_to_paint_ms

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = random.Random(11)  # noqa: S311 - pauses between key presses


class Dashboard:
    """The shipped command on a fleet, with its perf log."""

    def __init__(self, fleet: Fleet) -> None:
        self._log = fleet.folder / f"perf-{time.monotonic_ns()}.log"
        env = {"QUARTERDECK_PERF_LOG": str(self._log), "QUARTERDECK_PERF_GROUP": "healthy"}
        self.terminal = Terminal([str(COMMAND), "--config", str(fleet.config())], env=env)

    def lines(self) -> list[dict[str, Any]]:
        """The perf log so far."""
        if not self._log.exists():
            return []
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]

    def wait_for(self, healthy: int, timeout_s: float) -> float | None:
        """Wait until that many healthy hosts have sent a sample; seconds since the start of the process."""
        end = time.perf_counter() + timeout_s
        while time.perf_counter() < end:
            if self.terminal.exit_code is not None:
                raise RuntimeError(f"the dashboard ended with {self.terminal.exit_code}: {self.terminal.raw[-2000:]!r}")
            lines = self.lines()
            if lines and lines[-1]["sampled"] >= healthy:
                return time.perf_counter() - self.terminal.started_s
            time.sleep(0.2)
        return None

    def measure(self, fleet: Fleet, seconds: float) -> dict[str, Any]:
        """CPU, memory, ages and lag over a window, with an idle event loop and the load generators beside it."""
        seen, pid = len(self.lines()), self.terminal.pid
        servers, sshd_s = fleet.report(), fleet.sshd_cpu_s()
        idle = _start("tests.perf.idle", "loop", str(seconds))
        cpu, at, written = cpu_s(pid), time.perf_counter(), self.terminal.bytes
        memory: list[int] = []
        while (left := seconds - (time.perf_counter() - at)) > 0:
            memory.append(rss_bytes(pid))
            time.sleep(min(1.0, left))
        cpu, took = cpu_s(pid) - cpu, time.perf_counter() - at
        served = sum(after["cpu_s"] - before["cpu_s"] for before, after in zip(servers, fleet.report(), strict=True))
        log = self.lines()[seen:]
        if len(log) < 2:
            raise RuntimeError("the dashboard wrote no perf log in the window")
        lines, log_s = log[-1]["lines"] - log[0]["lines"], log[-1]["at_s"] - log[0]["at_s"]
        per_s = lines / log_s
        return {
            "seconds": round(took, 1),
            "cpu_pct": round(cpu / took * 100, 2),
            "rss_mb": round(max(memory) / 1e6, 1),
            "lines_per_s": round(per_s, 1),
            "cpu_us_per_line": round(cpu / took / per_s * 1e6, 1) if per_s else None,
            "age_ms": ages(log),
            "loop_lag_ms": spread([lag for line in log for lag in line["lags_ms"]]),
            "idle_loop_lag_ms": json.loads(idle.communicate()[0]),
            "states": log[-1]["states"],
            "healthy_without_sample": log[-1]["members"] - log[-1]["sampled"],
            "written_to_terminal_bytes_per_s": round((self.terminal.bytes - written) / took),
            "servers_cpu_pct": round(served / took * 100, 1),
            "servers_latest_tick_ms": max((server["latest_tick_ms"] for server in fleet.report()), default=None),
            "sshd_and_agents_cpu_pct": round((fleet.sshd_cpu_s() - sshd_s) / took * 100, 1) if fleet.real else None,
        }


def ages(log: list[dict[str, Any]]) -> dict[str, float] | None:
    """Ages of the healthy hosts' samples: the median second's median, and the 99th percentile and maximum over all.

    The p99 is the mean over the seconds of the p99 over the hosts at that second.
    """
    rows = [line["age_ms"] for line in log if line["age_ms"]]
    if not rows:
        return None
    return {
        "p50": round(percentile([row["p50"] for row in rows], 0.5), 1),
        "p99": round(sum(row["p99"] for row in rows) / len(rows), 1),
        "worst_p99": round(max(row["p99"] for row in rows), 1),
        "max": round(max(row["max"] for row in rows), 1),
    }


def _start(module: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE)


def press_keys(dashboard: Dashboard, count: int) -> dict[str, Any]:
    """Press j and k in the dashboard and, in turn, in an idle Textual application beside it."""
    idle = Terminal([sys.executable, "-m", "tests.perf.idle", "app"])
    try:
        if idle.wait(lambda screen: any("host-0000" in screen.line(row) for row in range(9)), 20) is None:
            raise RuntimeError("the idle application did not start")
        grounds = {name: calibrate(each) for name, each in (("dashboard", dashboard.terminal), ("idle", idle))}
        times: dict[str, list[float]] = {"dashboard": [], "idle": []}
        missed = 0
        for number in range(count):
            for name, terminal in (("dashboard", dashboard.terminal), ("idle", idle)):
                time.sleep(RANDOM.uniform(0.05, 0.2))
                took = key_to_paint_ms(terminal, b"j" if number // 10 % 2 == 0 else b"k", grounds[name])
                if took is None:
                    missed += 1
                else:
                    times[name].append(took)
        return {"missed": missed} | {f"{name}_ms": spread(values) for name, values in times.items()}
    finally:
        idle.close()


def read_bare(fleet: Fleet, seconds: float, concurrency: int = 16, settle_s: float = 5.0) -> dict[str, Any]:
    """The bare asyncssh reader on the same hosts."""
    wanted = reader_input(fleet, seconds, concurrency, settle_s)
    done = subprocess.run(
        [sys.executable, "-m", "tests.perf.reader", str(wanted)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def reader_input(fleet: Fleet, seconds: float, concurrency: int, settle_s: float) -> Path:
    """The file that tells the bare reader what to read."""
    path = fleet.folder / "reader.json"
    known = dict(line.split(" ", 1) for line in fleet.known_hosts.read_text(encoding="utf-8").splitlines())
    hosts = [host for host in fleet.hosts if host["kind"] in ("ok", "real")]
    wanted = {
        "hosts": hosts,
        "user": getpass.getuser(),
        "identity": str(fleet.identity),
        "known_hosts": known,
        "seconds": seconds,
        "settle_s": settle_s,
        "concurrency": concurrency,
    }
    path.write_text(json.dumps(wanted), encoding="utf-8")
    return path


def plays(hosts: int, real: int, bad: float, *, soak: bool) -> dict[str, int]:
    """How many hosts play what."""
    ill = round(hosts * bad)
    if soak:
        ill = max(ill, hosts // 10)
        return {"ok": hosts - ill - real, "churn": ill}
    parts = {"hung": ill // 3, "blackhole": ill // 3, "flood": ill - 2 * (ill // 3)} if ill else {}
    return {"ok": hosts - ill - real, **parts}


def run_once(options: argparse.Namespace, bad: float) -> dict[str, Any]:
    """One fleet, one dashboard."""
    figures: dict[str, Any] = {}
    with Fleet(plays(options.hosts, options.real, bad, soak=options.soak), options.real) as fleet:
        healthy = sum(host["kind"] in ("ok", "real") for host in fleet.hosts)
        figures["line_bytes"] = fleet.line_bytes
        dashboard = Dashboard(fleet)
        try:
            first = dashboard.terminal.wait(lambda screen: not screen.is_blank(), 30)
            figures["first_paint_s"] = None if first is None else round(first - dashboard.terminal.started_s, 3)
            up = dashboard.wait_for(healthy, options.connect_timeout)
            figures["all_healthy_sampled_s"] = None if up is None else round(up, 1)
            time.sleep(options.settle)
            if options.soak:
                figures |= soak(dashboard, options.seconds)
            else:
                figures |= dashboard.measure(fleet, options.seconds)
            if options.keys:
                figures["keys"] = press_keys(dashboard, options.keys)
        finally:
            figures["exit_code"] = dashboard.terminal.close()
        if options.reader:
            bare = figures["bare_reader"] = read_bare(fleet, options.seconds)
            if figures.get("cpu_us_per_line") and bare["cpu_us_per_line"]:
                figures["cpu_per_line_ratio"] = round(figures["cpu_us_per_line"] / bare["cpu_us_per_line"], 2)
    return figures


def soak(dashboard: Dashboard, seconds: float) -> dict[str, Any]:
    """Memory each 10 s; its slope after minute 5 (least squares), in MB in 10 minutes."""
    start = time.perf_counter()
    points: list[tuple[float, float]] = []
    cpu = cpu_s(dashboard.terminal.pid)
    while (now := time.perf_counter() - start) < seconds:
        points.append((now, rss_bytes(dashboard.terminal.pid) / 1e6))
        time.sleep(min(10.0, seconds - now))
    log = dashboard.lines()
    late = [point for point in points if point[0] >= min(300.0, seconds / 2)]
    return {
        "seconds": round(seconds),
        "cpu_pct": round((cpu_s(dashboard.terminal.pid) - cpu) / seconds * 100, 2),
        "rss_mb": [round(megabytes, 2) for _, megabytes in points],
        "slope_mb_in_10_min": round(slope(late) * 600, 3),
        "age_ms": ages(log),
        "loop_lag_ms": spread([lag for line in log for lag in line["lags_ms"]]),
        "events": log[-1]["events"],
        "states": log[-1]["states"],
    }


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares slope."""
    n = len(points)
    mean_x, mean_y = (sum(point[axis] for point in points) / n for axis in (0, 1))
    below = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / below if below else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--real", type=int, default=0, help="of these, how many a real sshd with real agents")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--settle", type=float, default=10.0, help="seconds between the last first sample and the window"
    )
    parser.add_argument("--connect-timeout", type=float, default=180.0)
    parser.add_argument("--bad", type=float, default=0.0, help="share of hosts hung, blackholed or flooding")
    parser.add_argument("--keys", type=int, default=0, help="keys to press")
    parser.add_argument("--reader", action="store_true", help="run the bare reader on the same hosts afterwards")
    parser.add_argument("--soak", action="store_true", help="a tenth of the hosts fail all the time; look at memory")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": machine(), "hosts": options.hosts, "real": options.real}
    if options.bad and not options.soak:
        figures["without"] = run_once(options, 0.0)
        figures["with"] = run_once(options, options.bad)
        ill, well = figures["with"]["age_ms"], figures["without"]["age_ms"]
        figures["age_p99_ratio"] = round(ill["p99"] / well["p99"], 3) if ill and well else None
    else:
        figures |= run_once(options, options.bad)
    show(figures)


if __name__ == "__main__":
    main()
