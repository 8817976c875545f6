"""The sh agent: real shells, a fake nvidia-smi, and the decoder fed by hand."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from probes.hosts import agent, bootstrap
from probes.hosts.frames import FrameDecoder
from probes.hosts.protocol import LineError
from probes.model import Hello, Note, Processes, Sample
from tests.support.agent_run import AgentRun, session_members, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB = 1 << 20
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
GPU_0 = "0, GPU-aaaa, NVIDIA H100, 550.54.15, 87, 81559, 40000, 40945, 614, 65, 650.12, 700.00, 1980, 2619, [N/A], P0, 0x0000000000000004, 0, 0, 5, 16, Disabled"
GPU_1 = "1, GPU-bbbb, NVIDIA H100, 550.54.15, 0, 81559, 1, 80944, 614, 30, 70.00, 700.00, 345, 2619, [N/A], P0, 0x0000000000000001, 0, 0, 5, 16, Disabled"
HEADER = (
    "index, uuid, name, driver_version, utilization.gpu [%], memory.total [MiB], memory.used [MiB], memory.free [MiB], "
    "memory.reserved [MiB], temperature.gpu, power.draw [W], enforced.power.limit [W], clocks.current.sm [MHz], "
    "clocks.current.memory [MHz], fan.speed [%], pstate, clocks_event_reasons.active, "
    "ecc.errors.corrected.volatile.total, ecc.errors.uncorrected.volatile.total, pcie.link.gen.current, "
    "pcie.link.width.current, mig.mode.current"
)
TABLE = """| NVIDIA-SMI 550.54.15    Driver Version: 550.54.15    CUDA Version: 12.4     |
| Processes:                                                                  |
|    0   N/A  N/A      4321      G   /usr/lib/xorg/Xorg                  10MiB |"""


def start(shell: str = "dash", *, path: Path | None = None, inside: Sequence[str] = (), **more: object) -> AgentRun:
    """The sh agent under one shell, as the bootstrap starts it, by the program ``inside`` if there is one."""
    nonce = bootstrap.new_nonce()
    script = bootstrap.command(nonce, python=False).removeprefix("exec /bin/sh -c '").removesuffix("'")
    environ = {"PATH": f"{path}:{os.environ['PATH']}"} if path is not None else None
    return AgentRun([*inside, *SHELLS[shell], "-c", script], nonce, environ=environ, **more)


def fake_smi(folder: Path, loop: str, apps: str = "", table: str = TABLE) -> Path:
    """An nvidia-smi whose parts are shell text."""
    folder.mkdir(exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        f"*--query-gpu*)\n{loop}\n;;\n"
        f"*--query-compute-apps*)\necho 'gpu_uuid, pid, process_name, used_gpu_memory [MiB]'\n{apps}\n;;\n"
        "*-L*)\necho 'GPU 0: NVIDIA H100 (UUID: GPU-aaaa)'\n;;\n"
        f"*)\ncat <<'END'\n{table}\nEND\n;;\nesac\n",
        encoding="ascii",
    )
    program.chmod(0o755)
    return folder


def forever(*rows: str) -> str:
    echoes = "; ".join(f"echo '{row}'" for row in rows)
    return f"echo '{HEADER}'\nwhile :; do {echoes}; sleep 0.2; done"


# --- real shells ---


@pytest.mark.needs("netns")
@pytest.mark.parametrize(
    ("units", "listed"), [("docker.socket", False), ("docker.service", True), ("docker.socket docker.service", True)]
)
def test_a_docker_that_was_stopped_is_not_started_by_asking(units: str, *, listed: bool, tmp_path: Path) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 'web|Up 2 hours|nginx'\n", encoding="ascii")
    program.chmod(0o755)
    # a /run of its own, with the units that run as systemd names them there: links to nowhere
    run = "mount -t tmpfs none /run && mkdir -p /run/systemd/units && cd /run/systemd/units && "
    run += f'for each in {units};do ln -s nowhere "invocation:$each";done && exec "$@"'
    inside = ["unshare", "-rm", "sh", "-c", run, "sh"]
    with start(path=tmp_path, inside=inside) as watched:
        hello = watched.wait(Hello, lambda hello: hello.missing.get("units") != "not_yet")
    if listed:
        assert [unit.name for unit in hello.units or ()] == ["web"]
        assert hello.units_uptime_s is not None
    else:
        assert hello.units is None
        assert hello.missing["units"] == "unsupported"


@pytest.mark.parametrize("shell", [pytest.param(name, marks=pytest.mark.needs(name)) for name in SHELLS])
def test_each_shell_makes_the_samples_of_the_python_agent(shell: str) -> None:
    with start(shell) as run:
        sample = run.wait(Sample, lambda sample: sample.seq >= 3 and sample.disks and sample.xid_events is not None)
        hello = run.wait(Hello, lambda hello: hello.missing.get("units") != "not_yet")
        listed = run.wait(Processes)
        assert run.bad == []
    assert sample.cpu.count == len(re.findall(r"^cpu\d", Path("/proc/stat").read_text(encoding="ascii"), re.MULTILINE))
    assert sample.cpu.utilization_pct is not None
    assert 0 <= sample.cpu.utilization_pct <= 100
    total = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
    assert total is not None
    assert sample.memory.total_bytes == int(total.group(1)) * 1024
    sizes = os.statvfs("/")
    root = next(disk for disk in sample.disks if disk.mount == "/")
    assert root.total_bytes == sizes.f_blocks * sizes.f_frsize
    assert root.read_bytes_per_s is not None
    names = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines()[2:]}
    assert {nic.name for nic in sample.net} <= names
    assert abs(sample.uptime_s - float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])) < 10
    assert sample.missing["gpus"] == "unsupported"
    assert sample.agent.rss_bytes is not None
    assert 1 * MIB < sample.agent.rss_bytes < 40 * MIB
    assert sample.echo is not None
    assert sample.echo[0] == 7
    assert (hello.mode, hello.hostname, hello.kernel) == ("sh", os.uname().nodename, os.uname().release)
    assert hello.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    assert listed.total > 3
    init = next((one for one in listed.top if one.pid == 1), None)
    assert init is None or init.name == Path("/proc/1/comm").read_text(encoding="ascii").strip()
    known = [one for one in listed.top if one.cpu_pct is not None]
    assert len(known) > len(listed.top) / 2
    assert any(one.user == "root" for one in listed.top)
    assert listed.missing == {"gpu": "unsupported"}


def test_it_sends_few_lines_a_sample() -> None:
    # the watcher counts lines to recognise a flood
    with start() as run:
        run.wait(Sample, lambda sample: sample.seq == 20)
        lines, samples = len(run.raw), len(run.all(Sample))
    assert lines / samples < 12
    assert max(len(line) for line in run.raw) < 4096


@pytest.mark.parametrize("shell", [pytest.param(name, marks=pytest.mark.needs(name)) for name in SHELLS])
def test_gpus_come_from_nvidia_smi(shell: str, tmp_path: Path) -> None:
    apps = "echo 'GPU-aaaa, 1, /opt/train, with comma, 512'; echo 'GPU-bbbb, 99999999, [Not Found], [N/A]'"
    with start(shell, path=fake_smi(tmp_path, forever(GPU_0, GPU_1), apps)) as run:
        sample = run.wait(Sample, lambda sample: len(sample.gpus) == 2)
        hello = run.wait(Hello, lambda hello: hello.cuda is not None)
        run.send(b"p 1\n")
        listed = run.wait(Processes, lambda listed: listed.gpu and len(listed.gpu) == 3)
        assert run.bad == []
    first, second = sample.gpus
    assert (first.uuid, first.name, first.utilization_pct) == ("GPU-aaaa", "NVIDIA H100", 87.0)
    assert first.memory_used_bytes == 40000 * MIB
    assert first.memory_reserved_bytes == 614 * MIB
    assert first.throttle_reasons == ("sw_power_cap",)
    assert second.throttle_reasons == ("gpu_idle",)
    assert first.missing == {"fan_pct": "unsupported"}
    assert (hello.mode, hello.driver, hello.cuda) == ("sh+nvidia-smi", "550.54.15", "12.4")
    assert listed.gpu is not None
    rows = {row.pid: row for row in listed.gpu}
    assert (rows[1].gpu, rows[1].name, rows[1].memory_bytes) == (0, "/opt/train, with comma", 512 * MIB)
    assert rows[1].user is not None
    assert (rows[99999999].gpu, rows[99999999].name, rows[99999999].memory_bytes) == (1, None, None)
    assert rows[4321].name == "/usr/lib/xorg/Xorg"
    assert listed.missing["gpu.memory_bytes"] == "unsupported"


def test_an_old_driver_is_asked_with_the_names_it_knows(tmp_path: Path) -> None:
    loop = """case "$*" in
*clocks_event*) echo 'Field "clocks_event_reasons.active" is not a valid field to query.'; exit 2;;
*clocks_throttle*) echo 'index, uuid, name, clocks_throttle_reasons.active'; while :; do echo '0, GPU-aaaa, Tesla K80, 0x0000000000000008'; sleep 0.2; done;;
esac"""
    with start(path=fake_smi(tmp_path, loop)) as run:
        gpu = run.wait(Sample, lambda sample: sample.gpus).gpus[0]
        assert run.all(Note) == []
    assert gpu.throttle_reasons == ("hw_slowdown",)
    assert gpu.missing["temperature_c"] == "unsupported"


def test_a_hung_nvidia_smi_holds_up_nothing_and_its_values_age_out(tmp_path: Path) -> None:
    loop = f"echo '{HEADER}'; echo '{GPU_0}'; exec sleep 1000"
    with start(path=fake_smi(tmp_path, loop), interval_s=0.2) as run:
        run.wait(Sample, lambda sample: sample.gpus and not sample.gpus[0].missing.get("power_w"))
        hung = run.wait(Sample, lambda sample: sample.gpus and sample.gpus[0].missing.get("power_w"))
        assert hung.gpus[0].missing == dict.fromkeys(agent.GPU_FIELDS, "timeout")
        assert (hung.gpus[0].uuid, hung.gpus[0].name) == ("GPU-aaaa", "NVIDIA H100")
        assert hung.cpu.utilization_pct is not None
        seqs = [sample.seq for sample in run.all(Sample)]
        assert seqs == list(range(len(seqs)))


def test_an_nvidia_smi_that_fails_is_an_error_in_its_own_words(tmp_path: Path) -> None:
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    loop = f'echo "{said}"; exit 9'
    with start(path=fake_smi(tmp_path, loop, table=said)) as run:
        sample = run.wait(Sample, lambda sample: sample.missing.get("gpus") == "error")
        assert said in run.wait(Note).text
        hello = run.wait(Hello, lambda hello: hello.missing.get("driver") == "error")
        assert run.bad == []
    assert sample.gpus == ()
    assert hello.mode == "sh+nvidia-smi"


def test_a_lost_gpu_keeps_its_row(tmp_path: Path) -> None:
    lost = "1, GPU-bbbb, " + ", ".join(["[GPU is lost]"] * 20)
    with start(path=fake_smi(tmp_path, forever(GPU_0, lost))) as run:
        whole, gone = run.wait(Sample, lambda sample: len(sample.gpus) == 2).gpus
    assert whole.utilization_pct == 87.0
    assert gone.uuid == "GPU-bbbb"
    assert set(gone.missing.values()) == {"gpu_lost"}
    assert set(agent.GPU_FIELDS) <= set(gone.missing)


# --- its end ---


def gone(run: AgentRun) -> None:
    session = run.process.pid
    assert wait_until(lambda: not session_members(session)), session_members(session)


STUBBORN = f"trap '' TERM HUP INT; echo '{HEADER}'; while :; do echo '{GPU_0}'; sleep 0.2; done"


@pytest.mark.parametrize("how", ["eof", "quit", "no heartbeat", "killed reader", "frozen watcher"])
@pytest.mark.parametrize("shell", [pytest.param(name, marks=pytest.mark.needs(name)) for name in SHELLS])
def test_nothing_is_left_behind(shell: str, how: str, tmp_path: Path) -> None:
    watchdog = 2.0 if how in ("no heartbeat", "frozen watcher") else 15.0
    frozen = how == "frozen watcher"
    loop = STUBBORN if not frozen else STUBBORN.replace("sleep 0.2", ":")  # fills the pipe that nobody reads
    with start(shell, path=fake_smi(tmp_path, loop), watchdog_s=watchdog, read=not frozen) as run:
        if frozen:
            assert wait_until(lambda: "nvidia-smi" in session_members(run.process.pid).values())
        else:
            run.wait(Sample, lambda sample: sample.gpus)
            assert len(session_members(run.process.pid)) > 5
        if how == "eof":
            run.eof()
        elif how == "quit":
            run.send(b"q\n")
        elif how == "killed reader":
            os.kill(run.wait(Hello).pid or 0, signal.SIGKILL)
        gone(run)


def test_heartbeats_keep_it_alive() -> None:
    with start(watchdog_s=1.0) as run:
        for token in range(1, 12):
            run.send(b"h %d\n" % token)
            run.wait(Sample, lambda sample, token=token: sample.echo is not None and sample.echo[0] == token)
            run.wait(Sample, after=len(run.all(Sample)) + 1)
        assert run.process.poll() is None
        assert run.wait(Sample, lambda sample: sample.echo is not None and sample.echo[0] == 11).uptime_s > 1


def test_the_interval_can_be_changed() -> None:
    with start(interval_s=30.0) as run:
        run.wait(Sample)
        run.send(b"i $(reboot)\ni 0.1\n")
        sample = run.wait(Sample, lambda sample: sample.seq == 5)
        assert sample.interval_s is not None
        assert sample.interval_s < 5
    assert not any(b"reboot" in line for line in run.raw)


# --- the decoder by hand ---


def feed(decoder: FrameDecoder, text: str) -> list[object]:
    out: list[object] = []
    for line in text.splitlines():
        out += decoder.feed(line.encode())
    return out


def frame(uptime: float, busy: int, *extra: str) -> str:
    return "\n".join(
        [
            f"B {uptime}",
            f"c cpu  {busy} 0 0 {int(uptime * 100)} 0 0 0 0 0 0;cpu0 {busy} 0 0 {int(uptime * 100)} 0 0 0 0 0 0",
            "m MemTotal: 100 kB;MemAvailable: 60 kB;SwapTotal: 0 kB;SwapFree: 0 kB",
            "l 0.10 0.20 0.30 1/100 5",
            f"n  eth0: {busy} 0 0 0 0 0 0 0 {busy * 2} 0 0 0 0 0 0 0",
            f"d  8 0 sda 0 0 {busy} 0 0 0 0 0 0 0 0",
            "a 10 (sh) S 1 1 1 0 -1 0 0 0 0 0 5 5 0 0 20 0 1 0 100 1000 25 0",
            *extra,
            "E",
        ]
    )


def test_two_frames_make_rates_by_the_hosts_clock() -> None:
    decoder = FrameDecoder()
    assert [type(one) for one in feed(decoder, frame(100.0, 0))] == [Sample]
    feed(decoder, "M 1 0 8:0 / / rw - ext4 /dev/sda rw\nM .\nD /dev/sda 1000 250 700 27% /\nD .")
    (sample,) = feed(decoder, frame(102.0, 200))
    assert isinstance(sample, Sample)
    assert sample.interval_s == 2.0
    assert sample.cpu.utilization_pct == 50.0
    assert sample.net[0].rx_bytes_per_s == 100.0
    assert sample.net[0].tx_bytes_per_s == 200.0
    assert sample.disks[0].total_bytes == 1_024_000
    assert sample.disks[0].used_bytes == 256_000
    assert sample.disks[0].read_bytes_per_s == 200 * 512 / 2
    assert sample.agent.cpu_pct == 0.0
    assert sample.agent.rss_bytes == 25 * 4096
    assert sample.memory.used_bytes == 40 * 1024


def test_the_echo_is_the_time_since_the_heartbeat_was_read() -> None:
    decoder = FrameDecoder()
    feed(decoder, "h 5 99.50")
    (sample,) = feed(decoder, frame(100.0, 0))
    assert isinstance(sample, Sample)
    assert sample.echo == (5, 500)


def test_parts_that_are_missing_have_reasons() -> None:
    (sample,) = feed(FrameDecoder(), "B 5.0\nE")
    assert isinstance(sample, Sample)
    assert sample.cpu.utilization_pct is None
    assert sample.memory.total_bytes is None
    for name in ("cpu.utilization_pct", "cpu.count", "cpu.load1", "memory.total_bytes", "net", "agent.cpu_pct"):
        assert sample.missing[name] == "error"


def test_gpu_rows_older_than_three_seconds_are_timeouts() -> None:
    decoder = FrameDecoder()
    feed(decoder, "H hostname x\nH smi yes\nH interval 1\nH .\n" + frame(100.0, 0))
    feed(decoder, f"g {HEADER}\ng {GPU_0}\ng {GPU_1}")
    fresh = feed(decoder, frame(103.0, 1))[-1]
    assert isinstance(fresh, Sample)
    assert fresh.gpus[0].utilization_pct == 87.0
    old = feed(decoder, frame(103.1, 2))[-1]
    assert isinstance(old, Sample)
    assert old.gpus[0].missing == dict.fromkeys(agent.GPU_FIELDS, "timeout")
    assert old.gpus[0].uuid == "GPU-aaaa"
    # one of them comes again, the other does not: it is gone
    feed(decoder, f"g {GPU_1}")
    mixed = feed(decoder, frame(103.2, 3))[-1]
    assert isinstance(mixed, Sample)
    assert mixed.gpus[1].utilization_pct == 0.0
    assert set(mixed.gpus[0].missing.values()) == {"gpu_lost"}


def test_rows_that_came_before_the_first_sample_are_fresh_then_and_age_from_there() -> None:
    decoder = FrameDecoder()
    feed(decoder, f"H hostname x\nH smi yes\nH .\ng {HEADER}\ng {GPU_0}")
    first = feed(decoder, frame(100.0, 0).replace("\nl ", f"\ng {GPU_1}\nl "))[-1]
    assert isinstance(first, Sample)
    assert [gpu.utilization_pct for gpu in first.gpus] == [87.0, 0.0]
    later = feed(decoder, frame(104.0, 1))[-1]
    assert isinstance(later, Sample)
    assert {gpu.missing["power_w"] for gpu in later.gpus} == {"timeout"}


def test_mig_instances_come_from_the_list_and_the_table() -> None:
    decoder = FrameDecoder()
    feed(decoder, "H hostname x\nH smi yes\nH .\n" + frame(100.0, 0))
    feed(decoder, f"g {HEADER}\ng {GPU_0.replace('Disabled', 'Enabled')}")
    feed(
        decoder,
        "L GPU 0: NVIDIA H100 (UUID: GPU-aaaa)\x1f  MIG 1g.10gb     Device  0: (UUID: MIG-cccc)\nL .".replace(
            "\x1f", "\nL "
        ),
    )
    feed(
        decoder,
        "T | MIG devices: |\nT |  0    7   0   0  |              12MiB /  9856MiB    | 14      0 |  1   0    0    0    0 |\nT .",
    )
    sample = feed(decoder, frame(101.0, 1))[-1]
    assert isinstance(sample, Sample)
    (mig,) = sample.gpus[0].mig
    assert (mig.index, mig.uuid, mig.name) == (0, "MIG-cccc", "MIG 1g.10gb")
    assert (mig.memory_total_bytes, mig.memory_used_bytes) == (9856 * MIB, 12 * MIB)


@pytest.mark.parametrize(
    ("lines", "events", "reason"),
    [
        (["status 0", "."], (), None),
        (["[   12.500000] NVRM: Xid (PCI:0000:3b:00): 79, pid=1, fell", "status 0", "."], ((12.5, 79),), None),
        (["dmesg: read kernel buffer failed: Operation not permitted", "status 1", "."], None, "denied"),
        (["status 127", "."], None, "unsupported"),
        (["status 1", "."], None, "error"),
        (["."], None, "error"),
        ([], None, "not_yet"),
    ],
)
def test_the_kernel_log_is_never_no_errors_when_it_was_not_read(
    lines: list[str], events: tuple[tuple[float, int], ...] | None, reason: str | None
) -> None:
    decoder = FrameDecoder()
    feed(decoder, "\n".join(f"K {line}" for line in lines))
    sample = feed(decoder, frame(100.0, 0))[-1]
    assert isinstance(sample, Sample)
    assert sample.missing.get("xid_events") == reason
    got = None if sample.xid_events is None else tuple((event.uptime_s, event.code) for event in sample.xid_events)
    assert got == events


def test_a_network_disk_that_does_not_answer_is_a_timeout_a_local_one_an_error() -> None:
    decoder = FrameDecoder()
    feed(decoder, frame(100.0, 0))
    feed(
        decoder,
        "M 1 0 8:0 / / rw - ext4 /dev/sda rw;2 0 8:1 / /broken rw - ext4 /dev/sdb rw;3 0 0:9 / /net rw - nfs4 far:/x rw\nM .",
    )
    waiting = feed(decoder, frame(101.0, 0))[-1]
    assert isinstance(waiting, Sample)
    assert {disk.missing["total_bytes"] for disk in waiting.disks} == {"not_yet"}
    hung = feed(decoder, frame(105.0, 0))[-1]
    assert isinstance(hung, Sample)
    assert {disk.missing["total_bytes"] for disk in hung.disks} == {"timeout"}
    feed(decoder, "D /dev/sda 1000 250 700 27% /\nD .")
    done = feed(decoder, frame(106.0, 0))[-1]
    assert isinstance(done, Sample)
    assert [disk.missing.get("total_bytes") for disk in done.disks] == [None, "error", "timeout"]
    feed(decoder, "D . /net")
    said = feed(decoder, frame(107.0, 0))[-1]
    assert isinstance(said, Sample)
    assert said.disks[2].missing["total_bytes"] == "error"
    old = feed(decoder, frame(200.0, 0))[-1]
    assert isinstance(old, Sample)
    assert old.disks[0].missing["total_bytes"] == "timeout"


def test_an_nvidia_smi_that_says_nothing_is_late_with_its_versions_too() -> None:
    decoder = FrameDecoder()
    feed(decoder, "H hostname x\nH smi yes")
    hello, early = feed(decoder, frame(1.0, 0))
    assert (hello.missing["driver"], hello.missing["cuda"], early.missing["gpus"]) == ("not_yet",) * 3
    hello, late = feed(decoder, frame(12.0, 0))
    assert (hello.missing["driver"], hello.missing["cuda"], late.missing["gpus"]) == ("timeout",) * 3


def test_units_come_from_both_programs() -> None:
    decoder = FrameDecoder()
    feed(decoder, "H hostname x\nH smi no\nS ssh.service loaded active running OpenSSH\nS status 0")
    feed(decoder, "C web|Up 2 hours|nginx\nC status 0\nS local x.service\nS .")
    hello = feed(decoder, frame(1.0, 0))[0]
    assert isinstance(hello, Hello)
    assert hello.units is not None
    assert [(unit.kind, unit.name, unit.state) for unit in hello.units] == [
        ("docker", "web", "running"),
        ("systemd", "ssh.service", "active"),
    ]
    assert "units" not in hello.missing


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"X 1",
        b"E",
        b"B never",
        b"h x 1.0",
        b"h 5 y",
        b"\xff\xfe",
        b"Bx",
        b"P . many",
        b"g no row before a header",
        b'{"t":"s"}',
    ],
)
def test_a_line_that_makes_no_sense_is_a_line_error(line: bytes) -> None:
    with pytest.raises(LineError):
        FrameDecoder().feed(line)


def test_hostile_text_is_clean_when_it_leaves() -> None:
    decoder = FrameDecoder()
    feed(decoder, 'H hostname \x1b[31mevil\u202e\nH os PRETTY_NAME="a\x07b"\nH smi yes\nH .')
    decoder.feed(f"g {HEADER}".encode())
    decoder.feed(("g " + GPU_0.replace("NVIDIA H100", "\x1b]0;x\x07[/bold] H100")).encode())
    hello, sample = feed(decoder, frame(1.0, 0).replace("eth0", "e\u202eth"))
    assert isinstance(hello, Hello)
    assert isinstance(sample, Sample)
    for text in (hello.hostname, hello.os, sample.gpus[0].name, sample.net[0].name):
        assert text is not None
        assert text.isprintable()


def test_nothing_grows_without_bound() -> None:
    decoder = FrameDecoder()
    decoder.feed(b"B 1.0")
    part = b"c " + b"cpu0 1 2 3 4;" * 300
    with pytest.raises(LineError, match="more than 512 KiB"):
        [decoder.feed(part) for _ in range(200)]
    for number in range(30_000):
        decoder.feed(b"T line %d" % number)
        decoder.feed(b"K [1.0] NVRM: Xid (PCI:0000:3b:00): 79, x")
        decoder.feed(b"S unit%d.service loaded failed failed x" % number)
        decoder.feed(b"P %d 1 1 1 1 name" % number)
        decoder.feed(b"U %d 5" % number)
        decoder.feed(b"W %d name" % number)
        decoder.feed(b"M 1 0 8:0 / /m%d rw - ext4 /dev/sda rw" % number)
        decoder.feed(b"D /dev/x%d 1000 250 700 27%% /m%d" % (number, number))
    assert len(decoder._gpus._table_lines) <= 2048
    assert len(decoder._xids._incoming) <= 4 * agent.MAX_XIDS
    assert len(decoder._units._lines["S"]) <= 4096
    assert len(decoder._procs._scan) <= 4096
    assert len(decoder._procs._names) <= 1024
    assert len(decoder._mounts._incoming) <= 4096
    assert len(decoder._mounts._sizes) <= 2 * agent.MAX_DISKS
