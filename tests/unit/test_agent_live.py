"""The Python agent as a real process: its numbers against /proc itself, its requests, its death."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from probes.hosts import agent, bootstrap
from probes.model import Hello, Note, Processes, Sample
from tests.support.agent_run import AgentRun, session_members, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = os.sysconf("SC_PAGE_SIZE")


def local(**more: object) -> AgentRun:
    nonce = bootstrap.new_nonce()
    return AgentRun(bootstrap.local_argv(nonce, sys.executable), nonce, **more)


def meminfo(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * 1024


# --- numbers ---


def test_a_sample_says_what_proc_says() -> None:
    with local() as run:
        before = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        sample = run.wait(Sample, lambda sample: sample.seq == 3 or sample.seq > 3)
        after = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        rss = int(Path(f"/proc/{run.process.pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE
    assert before - 0.5 <= sample.uptime_s <= after
    assert sample.interval_s is not None
    assert sample.interval_s > 0
    assert sample.cpu.count == len(re.findall(r"^cpu\d", Path("/proc/stat").read_text(encoding="ascii"), re.MULTILINE))
    assert sample.cpu.per_core_pct is not None
    assert len(sample.cpu.per_core_pct) == sample.cpu.count
    assert sample.memory.total_bytes == meminfo("MemTotal")
    assert sample.memory.available_bytes is not None
    assert abs(sample.memory.available_bytes - meminfo("MemAvailable")) < 2 << 30
    assert sample.memory.used_bytes == sample.memory.total_bytes - sample.memory.available_bytes
    assert sample.memory.swap_total_bytes == meminfo("SwapTotal")
    assert sample.agent.rss_bytes == pytest.approx(rss, rel=0.2)
    names = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines()[2:]}
    assert {nic.name for nic in sample.net} <= names
    sizes = os.statvfs("/")
    root = next(disk for disk in sample.disks if disk.mount == "/")
    assert root.total_bytes == sizes.f_blocks * sizes.f_frsize
    assert root.used_bytes == pytest.approx((sizes.f_blocks - sizes.f_bfree) * sizes.f_frsize, rel=0.05)
    load = Path("/proc/loadavg").read_text(encoding="ascii").split()
    assert sample.cpu.load15 == pytest.approx(float(load[2]), abs=0.5)


def test_every_null_has_its_reason_from_the_first_sample_on() -> None:
    with local() as run:
        run.wait(Sample, lambda sample: sample.seq == 2)
        samples = run.all(Sample)
    first = samples[0]
    assert first.missing["cpu.utilization_pct"] == "not_yet"
    assert first.missing["agent.cpu_pct"] == "not_yet"
    assert all(nic.missing for nic in first.net)
    for sample in samples:
        for name in ("cpu", "memory", "agent"):
            part = getattr(sample, name)
            for field in part.__struct_fields__:
                if getattr(part, field) is None:
                    assert f"{name}.{field}" in sample.missing
        assert (sample.interval_s is None) == ("interval_s" in sample.missing)
        assert (sample.xid_events is None) == ("xid_events" in sample.missing)
        assert sample.gpus or "gpus" in sample.missing
        for part in (*sample.disks, *sample.net):
            for field in part.__struct_fields__:
                assert (getattr(part, field) is None) == (field in part.missing)


def test_the_hello_says_who_and_what() -> None:
    with local() as run:
        hello = run.wait(Hello, lambda hello: hello.missing.get("units") != "not_yet")
    system = os.uname()
    assert (hello.hostname, hello.kernel) == (system.nodename, system.release)
    assert hello.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    assert hello.python == sys.version.split()[0]
    assert hello.pid == run.process.pid
    assert hello.mode == "python"
    for field in ("driver", "cuda", "units", "os"):
        assert (getattr(hello, field) is None) == (field in hello.missing)


class FakeProc:
    """A /proc whose numbers the test sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("net", "self", "sys/kernel/random"):
            (folder / name).mkdir(parents=True)
        self.write("self/mountinfo", "1 0 253:7 / / rw - ext4 /dev/none rw\n")
        self.write("self/statm", "1000 500 1 1 1 1 1\n")
        self.write("sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555\n")
        self.write("meminfo", "MemTotal: 4096 kB\nMemAvailable: 1024 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
        self.write("loadavg", "1.00 2.00 3.00 1/2 3\n")
        self.tick(0, 0)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="ascii")  # the same file: the agent holds it open

    def tick(self, busy: int, moved: int) -> None:
        self.write("uptime", "5000.25 1.00\n")
        self.write("stat", f"cpu  {busy} 0 0 {1000 - busy} 0 0 0 0\ncpu0 {busy} 0 0 {1000 - busy} 0 0 0 0\nintr 5\n")
        self.write("net/dev", f"h\nh\n eth7: {moved} 0 0 0 0 0 0 0 {2 * moved} 0 0 0 0 0 0 0\n")
        self.write("diskstats", f" 253 7 none 0 0 {moved} 0 0 0 {3 * moved} 0 0 0 0\n")


def test_rates_follow_the_counters_exactly(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    with local(proc=str(tmp_path), interval_s=1.0, kmsg=str(tmp_path / "none")) as run:
        run.wait(Sample, lambda sample: sample.seq == 0)
        proc.write("stat", "cpu  250 0 0 1750 0 0 0 0\ncpu0 250 0 0 1750 0 0 0 0\nintr 5\n")
        proc.write("net/dev", "h\nh\n eth7: 1000 0 0 0 0 0 0 0 2000 0 0 0 0 0 0 0\n")
        proc.write("diskstats", " 253 7 none 0 0 1000 0 0 0 3000 0 0 0 0\n")
        sample = run.wait(Sample, lambda sample: sample.seq == 1)
    assert sample.uptime_s == 5000.25
    assert sample.interval_s is not None
    assert sample.cpu.utilization_pct == 25.0
    assert sample.net[0].rx_bytes_per_s == pytest.approx(1000 / sample.interval_s, rel=0.01)
    assert sample.net[0].tx_bytes_per_s == pytest.approx(2000 / sample.interval_s, rel=0.01)
    assert sample.disks[0].read_bytes_per_s == pytest.approx(512_000 / sample.interval_s, rel=0.01)
    assert sample.disks[0].write_bytes_per_s == pytest.approx(1_536_000 / sample.interval_s, rel=0.01)
    assert sample.memory.used_bytes == 3072 * 1024
    assert sample.agent.rss_bytes == 500 * PAGE
    assert sample.missing == {"gpus": "unsupported", "xid_events": "unsupported"}


def test_a_file_that_breaks_costs_its_values_only_and_is_said(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.write("net/dev", "h\nh\n eth7: many 0 0 0 0 0 0 0 x 0\n")
    (tmp_path / "loadavg").unlink()
    with local(proc=str(tmp_path)) as run:
        sample = run.wait(Sample, lambda sample: sample.seq == 2)
        note = run.wait(Note)
    assert sample.missing["net"] == "error"
    assert sample.missing["cpu.load1"] == "unsupported"
    assert sample.memory.total_bytes == 4096 * 1024
    assert note.layer == "net"
    assert len([one for one in run.all(Note) if one.layer == "net"]) == 1


# --- the kernel log ---


def test_xid_events_are_read_and_bounded(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    # /dev/kmsg hands out a record per read; a plain file that holds one record reads the same
    log.write_bytes(b"4,7,12500000,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.\n")
    with local(kmsg=str(log)) as run:
        sample = run.wait(Sample)
    assert sample.xid_events is not None
    assert [(event.uptime_s, event.pci, event.code) for event in sample.xid_events] == [(12.5, "0000:3b:00", 79)]


def test_what_comes_later_in_the_kernel_log_is_seen_however_often(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    os.mkfifo(log)
    writer = os.open(
        log, os.O_RDWR
    )  # a pipe says "nothing yet" as the log does, and hands out what was written at once
    try:
        with local(kmsg=str(log)) as run:
            assert run.wait(Sample).xid_events == ()
            for seen, code in ((1, 79), (2, 31), (3, 48)):
                os.write(writer, b"4,7,12500000,-;NVRM: Xid (PCI:0000:3b:00): %d, pid=1, text\n" % code)
                sample = run.wait(Sample, lambda sample, seen=seen: len(sample.xid_events or ()) == seen)
                assert sample.xid_events is not None
                assert sample.xid_events[-1].code == code
            os.write(writer, b"6,1,1,-;usb 1-1: new device\n")
            later = run.wait(Sample, after=len(run.all(Sample)) + 2)
            assert [event.code for event in later.xid_events or ()] == [79, 31, 48]
    finally:
        os.close(writer)


def test_a_log_that_is_longer_than_the_bound_is_read_in_pieces(tmp_path: Path) -> None:
    log = agent.Kmsg(str(tmp_path / "kmsg"))
    log.FIRST_RECORDS = log.TICK_RECORDS = 1  # a plain file is handed out 8 KiB at a time
    (tmp_path / "kmsg").write_bytes(b"4,7,12500000,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1, text\n" + b" " * 10_000)
    log.news = False
    log.read()
    assert (log.news, log.reason, len(log.events)) == (True, "not_yet", 1)
    for _ in range(2):
        log.news = False
        log.read()
    assert (log.news, log.reason, len(log.events)) == (False, None, 1)


def test_a_log_that_may_not_be_read_is_never_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    log = agent.Kmsg("/dev/kmsg")
    assert log.reason == "not_yet"
    monkeypatch.setattr(agent.os, "open", denied)
    log.read()
    assert log.reason == "denied"


# --- processes ---


def test_the_process_list_has_the_busiest_with_their_share() -> None:
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with local(interval_s=0.5) as run:
            run.send(b"p 1\n")
            listed = run.wait(Processes, after=1)
            mine = next(one for one in listed.top if one.pid == burner.pid)
            assert mine.cpu_pct is not None
            assert 10 < mine.cpu_pct < 110
            assert mine.rss_bytes is not None
            assert mine.rss_bytes > 1 << 20
            assert mine.user is not None
            assert len(listed.top) <= 40
            assert listed.total >= len(listed.top)
            ranks = [one.cpu_pct or 0.0 for one in listed.top]
            assert ranks == sorted(ranks, reverse=True)
            assert listed.gpu is None
            assert listed.missing["gpu"] == "unsupported"
            run.send(b"p 0\n")
            count = len(run.all(Processes))
            run.wait(Sample, after=len(run.all(Sample)) + 3)
            assert len(run.all(Processes)) <= count + 1
    finally:
        burner.kill()
        burner.wait()


def test_the_first_list_comes_with_the_second_sample_and_then_every_30_s() -> None:
    with local() as run:
        listed = run.wait(Processes)
        known = [one.cpu_pct for one in listed.top if one.cpu_pct is not None]
        run.wait(Sample, lambda sample: sample.seq == 8)
        kinds = [type(line).__name__ for line in run.lines]
    assert kinds.index("Processes") == [at for at, kind in enumerate(kinds) if kind == "Sample"][1] + 1
    assert kinds.count("Processes") == 1
    assert len(known) > len(listed.top) / 2


# --- requests ---


def test_the_interval_can_be_changed_and_nonsense_is_said() -> None:
    with local(interval_s=30.0) as run:
        run.wait(Sample)
        run.send(b"bogus\ni nonsense\nh x\ni 0.1\n")
        sample = run.wait(Sample, lambda sample: sample.seq == 3)
        assert sample.interval_s is not None
        assert sample.interval_s < 5
        assert "no sense" in run.wait(Note).text


def test_the_echo_carries_the_newest_token_and_its_age() -> None:
    with local() as run:
        run.wait(Sample, lambda sample: sample.echo is not None)
        run.send(b"h 41\nh 42\n")
        first = run.wait(Sample, lambda sample: sample.echo is not None and sample.echo[0] == 42)
        later = run.wait(Sample, lambda sample: sample.seq == first.seq + 3)
    assert first.echo is not None
    assert later.echo is not None
    assert 0 <= first.echo[1] < later.echo[1]
    assert all(sample.echo is None or sample.echo[0] in (7, 42) for sample in run.all(Sample))


# --- what hangs ---


def test_a_file_system_that_hangs_is_a_timeout_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FakeProc(tmp_path).write(
        "self/mountinfo",
        "1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /a rw - nfs4 h:/a rw\n3 1 0:3 / /b rw - xfs /dev/b rw\n",
    )
    hang = threading.Event()
    real = os.statvfs("/")

    def statvfs(path: bytes) -> os.statvfs_result:
        if path == b"/a":
            assert hang.wait(20)
        return real

    monkeypatch.setattr(agent.os, "statvfs", statvfs)
    monkeypatch.setattr(agent.os.path, "isdir", lambda _: True)
    monkeypatch.setattr(agent, "STUCK_S", 0.1)
    disks = agent.Disks(str(tmp_path))
    disks.refresh()
    size = real.f_blocks * real.f_frsize

    def rows() -> dict[str, tuple[object, object]]:
        view = disks.view()
        return {row[0]: (row[3], row[5]) for row in view} if isinstance(view, list) else {}

    assert wait_until(lambda: rows().get("/a") == (None, "timeout"))
    assert rows()["/"] == (size, None)
    assert rows()["/b"] == (None, "not_yet")
    disks.refresh()  # another thread passes over what hangs
    assert wait_until(lambda: rows().get("/b") == (size, None))
    assert rows()["/a"] == (None, "timeout")
    hang.set()
    assert wait_until(lambda: rows().get("/a") == (size, None))
    assert wait_until(lambda: disks.threads == 0)


def test_a_program_that_hangs_is_ended_with_its_children() -> None:
    children: set[int] = set()
    before = {folder.name for folder in Path("/proc").iterdir()}
    status, out, _ = agent.run_program(["sh", "-c", "sleep 77 & echo hi; sleep 78"], children, timeout_s=0.3)
    assert (status, out) == (None, "")
    assert children == set()

    def sleeping() -> list[str]:
        found = []
        for pid in {folder.name for folder in Path("/proc").iterdir() if folder.name.isdigit()} - before:
            try:
                text = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if text in (b"sleep\x0077\x00", b"sleep\x0078\x00"):
                found.append(pid)
        return found

    assert wait_until(lambda: not sleeping())


def test_a_program_that_answers_is_read() -> None:
    assert agent.run_program(["sh", "-c", "echo out; echo err >&2; exit 3"], set()) == (3, "out\n", "err\n")


# --- units ---


PS = (
    '[{"Id":"46db888c03ffa91e","Names":["/web"],"Image":"nginx:1","State":"running","Status":"Up 2 hours"},'
    '{"Id":"4849f553814146ba","Names":["/db"],"Image":"pg:16","State":"exited","Status":"Exited (1) 3 days ago"}]'
)


@contextlib.contextmanager
def docker(answer: bytes = b"HTTP/1.0 200 OK\r\n\r\n" + PS.encode(), *, close: bool = True) -> Iterator[Path]:
    """A stand-in for docker's socket: it reads a request's head, sends ``answer``, and closes if told to."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b"".join(iter(self.rfile.readline, b"\r\n"))
            assert head.startswith(b"GET /containers/json?all=1 HTTP/1.0\r\n")
            self.wfile.write(answer)
            if not close:
                ended.wait()

    ended = threading.Event()
    with (
        tempfile.TemporaryDirectory() as folder,  # a short path: a socket's has at most 107 bytes
        Server(f"{folder}/docker.sock", Handler) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Path(folder) / "docker.sock"
        finally:
            ended.set()
            server.shutdown()
            thread.join()


class Server(socketserver.ThreadingUnixStreamServer):
    """Its client may be gone."""

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            raise  # noqa: PLE0704 - it is called where an exception is handled


def units_now(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[list[str]] | None, dict[str, str], list[str]]:
    """(rows, reasons, notes) of one asking with docker's socket at ``path``."""
    said: list[str] = []
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    units = agent.Units(lambda layer, text: said.append(f"{layer}: {text}"), set())
    units._work()
    return units.rows, units.missing, said


def test_containers_are_listed_and_when_that_was_is_told() -> None:
    before_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    with docker() as path, local(environ={"DOCKER_HOST": f"unix://{path}"}) as run:
        hello = run.wait(Hello, lambda hello: hello.units is not None)
        after_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert hello.units is not None
    assert [(unit.name, unit.state) for unit in hello.units if unit.kind == "docker"] == [
        ("db", "exited"),
        ("web", "running"),
    ]
    assert hello.units_uptime_s is not None
    assert before_s - 0.02 <= hello.units_uptime_s <= after_s


def test_without_units_there_is_no_time_of_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "which", lambda _: None)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    units = agent.Units(lambda *_: None, set())
    units._work()
    assert (units.rows, units.uptime_s, units.missing) == (None, None, {"units": "unsupported"})


def test_a_denied_docker_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with docker() as path:
        path.chmod(0)
        user = os.geteuid()
        if user == 0:  # root may connect to anything
            os.seteuid(65534)
        try:
            _, missing, said = units_now(path, monkeypatch)
        finally:
            os.seteuid(user)
    assert "denied" in (missing.get("units"), missing.get("units.docker"))
    assert said == []


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.0 500 Internal Server Error\r\n\r\n{}", "docker says HTTP/1.0 500 Internal Server Error"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "docker says SSH-2.0-OpenSSH_9.2"),
        (b"", "docker says "),
        (b"HTTP/1.0 200 OK\r\n\r\n[{", "JSONDecodeError"),
        (b"HTTP/1.0 200 OK\r\n\r\n[1]", "TypeError"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b" " * (agent.MAX_DOCKER_BYTES + 1), "docker's answer is over"),
    ],
)
def test_a_docker_that_answers_nonsense_is_an_error_with_a_cause(
    answer: bytes, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with docker(answer) as path:
        rows, missing, said = units_now(path, monkeypatch)
    assert "error" in (missing.get("units"), missing.get("units.docker"))
    assert [row for row in rows or () if row[0] == "docker"] == []
    assert len(said) == 1
    assert said[0].startswith("units: docker: ")
    assert word in said[0]


def test_a_docker_that_never_ends_its_answer_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "DOCKER_S", 0.2)
    with docker(b"HTTP/1.0 200 OK\r\n\r\n[", close=False) as path:
        _, missing, _ = units_now(path, monkeypatch)
    assert "timeout" in (missing.get("units"), missing.get("units.docker"))


def test_a_docker_without_a_daemon_is_no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    with docker() as path:
        left_behind = path.with_name("old.sock")
        with socket.socket(socket.AF_UNIX) as once:
            once.bind(str(left_behind))
        for each in (left_behind, path.with_name("none.sock")):
            _, missing, said = units_now(each, monkeypatch)
            assert "unsupported" in (missing.get("units"), missing.get("units.docker"))
            assert said == []


def test_a_docker_that_was_stopped_is_not_started_by_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def starts(*units: str, path: str = "/run/docker.sock") -> bool:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        for unit in units:  # as systemd writes them: links to nowhere
            (folder / f"invocation:{unit}").symlink_to("0c8aff7ef1d645e2b8c5b1d3a8f1e1a2")
        return agent.would_start(path, str(folder))

    assert starts("docker.socket")
    assert not starts("docker.socket", "docker.service")
    assert not starts("docker.service")
    assert not starts()
    podman = tmp_path / "docker.sock"
    podman.symlink_to("podman.sock")
    assert starts("docker.socket", "docker.service", "podman.socket", path=str(podman))
    monkeypatch.setattr(agent, "would_start", lambda _: True)
    with docker() as path:
        rows, missing, said = units_now(path, monkeypatch)
    assert "unsupported" in (missing.get("units"), missing.get("units.docker"))
    assert [row for row in rows or () if row[0] == "docker"] == []
    assert said == []


def test_another_hosts_docker_is_not_this_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    assert agent.docker_socket() is None


class Asked(agent.Units):
    """Units whose signs are a test's, and that never ask anybody."""

    def __init__(self, folder: Path) -> None:
        super().__init__(lambda *_: None, set())
        self.SIGNS = (str(folder),)


def asks(units: agent.Units, until_s: int, *, watched: bool = False, at: dict[int, Callable[[], object]]) -> list[int]:
    """When it would ask, looked at every ten seconds; ``at``: what happens before the look of that second."""
    found = []
    for now in range(0, until_s + 1, 10):
        at.get(now, lambda: None)()
        if units.due(float(now), watched):
            found.append(now)
    return found


def test_docker_and_systemctl_are_asked_every_five_minutes_and_after_a_change(tmp_path: Path) -> None:
    assert asks(Asked(tmp_path), 700, at={}) == [0, 300, 600]
    # a unit came: at once, and when it has settled
    assert asks(Asked(tmp_path), 500, at={100: (tmp_path / "a").mkdir}) == [0, 100, 160, 460]
    # never more than once a minute
    assert asks(Asked(tmp_path), 130, at={20: (tmp_path / "b").mkdir, 70: (tmp_path / "c").mkdir}) == [0, 60, 120]
    assert asks(Asked(tmp_path), 180, watched=True, at={}) == [0, 60, 120, 180]
    assert asks(Asked(tmp_path / "none"), 300, at={}) == [0, 300]


def test_the_sizes_of_disks_are_the_same_list_until_something_changed(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    disks = agent.Disks(str(tmp_path))
    disks.refresh()
    assert disks.idle.wait(20)
    rows = disks.view()
    assert [row[0] for row in rows] == ["/"]
    assert disks.view() is rows
    proc.write("self/mountinfo", "")
    disks.refresh()
    assert disks.idle.wait(20)
    assert disks.view() == []


# --- death ---


def end_of(run: AgentRun) -> None:
    session = run.process.pid
    run.wait_end()
    assert wait_until(lambda: not session_members(session)), session_members(session)


@pytest.mark.parametrize("how", ["eof", "quit", "term", "hup", "int"])
def test_it_ends_when_it_is_told(how: str) -> None:
    with local() as run:
        run.wait(Sample)
        if how == "eof":
            run.eof()
        elif how == "quit":
            run.send(b"q\n")
        else:
            run.process.send_signal({"term": signal.SIGTERM, "hup": signal.SIGHUP, "int": signal.SIGINT}[how])
        end_of(run)


def test_it_ends_without_heartbeats() -> None:
    with local(watchdog_s=0.7, heartbeat=False) as run:
        run.wait(Sample)
        end_of(run)


def test_heartbeats_keep_it_alive() -> None:
    with local(watchdog_s=1.0) as run:
        for token in range(20):
            run.send(b"h %d\n" % token)
            run.wait(Sample, lambda sample, token=token: sample.echo is not None and sample.echo[0] == token)
        assert run.process.poll() is None
        sample = run.wait(Sample, lambda sample: sample.echo is not None and sample.echo[0] == 19)
        assert sample.seq >= 5


def test_a_frozen_watcher_that_reads_nothing_does_not_keep_it() -> None:
    # the pipe fills up; nobody reads; no heartbeat comes
    with local(interval_s=0.05, watchdog_s=1.5, read=False) as run:
        run.send(b"p 1\n")
        end_of(run)


def test_a_broken_stdout_ends_it() -> None:
    with local(read=False) as run:
        assert run.process.stdout is not None
        run.process.stdout.close()
        end_of(run)


def test_children_die_with_it(tmp_path: Path) -> None:
    marker, program = tmp_path / "started", tmp_path / "sshd"
    program.write_text(f"#!/bin/sh\necho $$ >{marker}; trap '' TERM HUP; while :; do sleep 1; done\n", encoding="utf-8")
    program.chmod(0o755)
    with local(environ={"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as run:
        run.wait(Sample)
        run.send(b"l token\n")
        assert wait_until(lambda: marker.exists() and marker.read_text(encoding="ascii").strip())
        child = int(marker.read_text(encoding="ascii"))
        assert alive(child)
        run.eof()
        run.wait_end()
        assert wait_until(lambda: not alive(child))


def alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


@pytest.mark.needs("netns")
def test_a_read_only_disk_is_enough(tmp_path: Path) -> None:
    nonce = bootstrap.new_nonce()
    # in a mount namespace of its own "/" cannot be written, which is proved before the agent starts
    proof = "mount -o remount,bind,ro / && ! touch /probe-of-a-test 2>/dev/null"
    with AgentRun(["unshare", "-rm", "sh", "-c", f"{proof} && {bootstrap.command(nonce)}"], nonce) as run:
        if run.boot is None:
            pytest.skip("no read-only remount in a namespace here")
        sample = run.wait(Sample, lambda sample: sample.seq == 2)
    assert sample.cpu.utilization_pct is not None


def test_it_leaves_no_file_behind(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONPYCACHEPREFIX": str(tmp_path / "cache")}
    nonce = bootstrap.new_nonce()
    with AgentRun(["/bin/sh", "-c", f"cd {tmp_path}; {bootstrap.command(nonce)}"], nonce, environ=environ) as run:
        run.wait(Sample, lambda sample: sample.seq == 2)
        run.eof()
        end_of(run)
    assert list(tmp_path.iterdir()) == []


# --- cost ---


def test_its_memory_stays_small() -> None:
    with local(interval_s=0.05) as run:
        sample = run.wait(Sample, lambda sample: sample.seq >= 60)
    assert sample.agent.rss_bytes is not None
    assert sample.agent.rss_bytes < 25 << 20
