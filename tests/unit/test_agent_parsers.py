"""What the agent makes of /proc, the kernel log, docker and systemctl; expected numbers are worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from probes import model
from probes.hosts import agent
from probes.hosts.protocol import decode

STAT_1 = b"cpu  100 0 50 800 40 5 5 0 10 0\ncpu0 60 0 30 380 20 5 5 0 10 0\ncpu1 40 0 20 420 20 0 0 0 0 0\nintr 1 2 3\n"
STAT_2 = (
    b"cpu  190 0 70 880 60 5 15 0 60 0\ncpu0 140 0 40 380 30 5 15 0 60 0\ncpu1 50 0 30 500 30 0 0 0 0 0\nintr 1 2 3\n"
)
MEMINFO = b"MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\nSwapCached:  1 kB\nSwapTotal:       200 kB\nSwapFree:         50 kB\n"
NET = b"""Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 500 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0
  eth0:1000 2 0 0 0 0 0 0 2000 3 0 0 0 0 0 0
eth0:1: 7 2 0 0 0 0 0 0 9 3 0 0 0 0 0 0
"""
DISKSTATS = b"   8       0 sda 10 0 100 5 20 0 300 6 0 7 8\n   8       1 sda1 1 0 16 5 2 0 32 6 0 7 8 0 0 0 0 1 1\n 259 0 nvme0n1 1\n"


def raw(**changes: bytes | str) -> dict[str, bytes | str]:
    base: dict[str, bytes | str] = {
        "stat": STAT_1,
        "meminfo": MEMINFO,
        "loadavg": b"0.50 1.25 2.00 1/99 4242\n",
        "netdev": NET,
        "diskstats": DISKSTATS,
    }
    return {**base, **changes}


class Notes(list[tuple[str, str]]):
    def __call__(self, layer: str, text: str) -> None:
        self.append((layer, text))


MOUNTS = [("/", "/dev/sda1", "8:1", 5000, 1000, None)]


def fields(host: Any, readings: dict[str, bytes | str], now_s: float, mounts: Any) -> dict[str, Any]:
    """The fields of a sample, its JSON read again."""
    text, more, missing = host.sample(readings, now_s, mounts)
    found = json.loads("{" + text + "}")
    return {**found, "cpu": found["cpu"] + json.loads(more), "missing": missing}


def two(first: dict[str, bytes | str], second: dict[str, bytes | str], seconds: float = 2.0) -> dict[str, Any]:
    host = agent.Host(Notes())
    fields(host, first, 100.0, MOUNTS)
    return fields(host, second, 100.0 + seconds, MOUNTS)


# --- CPU ---


def test_cpu_counts_iowait_as_idle_and_guest_once() -> None:
    got = two(raw(), raw(stat=STAT_2))
    # all: busy +90 user +20 system +10 softirq = 120; idle +80, iowait +20: 220 in all; guest (60) is in user already
    # cpu0: busy 80 + 10 + 10 = 100 of 110; cpu1: busy 10 + 10 = 20 of 110
    assert got["cpu"] == [2, 54.5, 0.5, 1.25, 2.0, [90.9, 18.2]]
    assert got["missing"] == {}


def test_a_first_reading_has_no_shares_and_says_not_yet() -> None:
    got = fields(agent.Host(Notes()), raw(), 100.0, MOUNTS)
    assert got["cpu"] == [2, None, 0.5, 1.25, 2.0, None]
    assert got["interval_s"] is None
    assert {name: got["missing"][name] for name in ("cpu.utilization_pct", "cpu.per_core_pct", "interval_s")} == {
        "cpu.utilization_pct": "not_yet",
        "cpu.per_core_pct": "not_yet",
        "interval_s": "not_yet",
    }


def test_counters_that_go_backwards_are_an_error_not_a_number() -> None:
    back = b"cpu  100 0 50 700 40 5 5 0 0 0\ncpu0 50 0 30 480 20 5 5 0 0 0\ncpu1 50 0 20 430 20 0 0 0 0 0\n"
    got = two(raw(), raw(stat=back))
    assert got["cpu"] == [2, None, 0.5, 1.25, 2.0, [None, 50.0]]
    assert got["missing"]["cpu.utilization_pct"] == "error"
    assert got["missing"]["cpu.per_core_pct"] == "error"


def test_a_core_that_came_later_is_not_yet() -> None:
    more = STAT_2.replace(b"intr", b"cpu2 1 0 1 1 0 0 0 0 0 0\nintr")
    got = two(raw(), raw(stat=more))
    assert got["cpu"][0] == 3
    assert got["cpu"][-1] == [90.9, 18.2, None]
    assert got["missing"]["cpu.per_core_pct"] == "not_yet"


def test_the_stat_of_an_old_kernel_has_fewer_columns() -> None:
    assert agent.parse_stat(b"cpu 10 0 10 80\ncpu0 10 0 10 80\n") == [(b"cpu", 20, 100), (b"cpu0", 20, 100)]


@pytest.mark.parametrize("bad", [b"", b"nonsense", b"cpu a b c d\n", b"cpu0 1 2 3 4\n"])
def test_a_broken_stat_costs_the_cpu_only(bad: bytes) -> None:
    notes = Notes()
    got = fields(agent.Host(notes), raw(stat=bad), 1.0, MOUNTS)
    assert got["cpu"] == [0, None, None, None, None, None]
    assert got["missing"]["cpu.utilization_pct"] == "error"
    assert got["missing"]["cpu.count"] == "error"
    assert got["memory"][0] == 1000 * 1024
    assert [layer for layer, _ in notes] == ["cpu"]


@pytest.mark.parametrize("reason", ["denied", "unsupported"])
def test_files_that_cannot_be_read_keep_their_reason(reason: str) -> None:
    names = ("stat", "meminfo", "loadavg", "netdev", "diskstats")
    got = fields(agent.Host(Notes()), dict.fromkeys(names, reason), 1.0, reason)
    missing = dict(got["missing"])
    assert missing.pop("interval_s") == "not_yet"
    assert set(missing.values()) == {reason}
    assert {"cpu.load1", "cpu.utilization_pct", "memory.total_bytes", "disks", "net"} <= set(missing)
    assert got["memory"] == [None] * 5
    assert got["net"] == got["disks"] == []


# --- memory ---


def test_memory_used_is_total_less_available() -> None:
    got = fields(agent.Host(Notes()), raw(), 1.0, MOUNTS)
    kib = 1024
    assert got["memory"] == [1000 * kib, 600 * kib, 400 * kib, 200 * kib, 150 * kib]


def test_a_kernel_without_memavailable_has_no_used_memory() -> None:
    old = MEMINFO.replace(b"MemAvailable:    400 kB\n", b"")
    got = fields(agent.Host(Notes()), raw(meminfo=old), 1.0, MOUNTS)
    assert got["memory"][:3] == [1000 * 1024, None, None]
    assert got["missing"]["memory.available_bytes"] == "unsupported"
    assert got["missing"]["memory.used_bytes"] == "unsupported"


# --- network and disks ---


def test_network_rates_are_bytes_per_second_and_lo_is_last() -> None:
    later = NET.replace(b"eth0:1000", b"eth0:1500").replace(b"2000 3", b"2100 3").replace(b"lo: 500", b"lo: 502")
    got = two(raw(), raw(netdev=later))
    assert got["net"] == [["eth0", 250.0, 50.0, {}], ["eth0:1", 0.0, 0.0, {}], ["lo", 1.0, 0.0, {}]]


def test_network_counters_that_go_backwards_are_an_error() -> None:
    got = two(raw(), raw(netdev=NET.replace(b"eth0:1000", b"eth0:10")))
    assert got["net"][0] == ["eth0", None, None, {"rx_bytes_per_s": "error", "tx_bytes_per_s": "error"}]


def test_interfaces_are_bounded_virtual_ones_give_way_and_it_is_said() -> None:
    lines = [b"veth%d: 1 0 0 0 0 0 0 0 1 0" % n for n in range(100)]
    notes = Notes()
    data = NET + b"\n".join(lines) + b"\nbond0: 5 0 0 0 0 0 0 0 5 0\n"
    got = fields(agent.Host(notes), raw(netdev=data), 1.0, MOUNTS)
    names = [row[0] for row in got["net"]]
    assert len(names) == agent.MAX_NET
    assert names[:3] == ["eth0", "eth0:1", "bond0"]
    assert names[-1] == "lo"
    assert notes == [("net", "104 interfaces, 32 are shown")]


def test_disk_rates_count_sectors_of_512_bytes() -> None:
    later = DISKSTATS.replace(b"1 0 16 5 2 0 32", b"1 0 20 5 2 0 40")
    got = two(raw(), raw(diskstats=later))
    assert got["disks"] == [["/", "/dev/sda1", 5000, 1000, 1024.0, 2048.0, {}]]


def test_a_file_system_without_a_device_has_no_rates_and_one_that_hangs_no_sizes() -> None:
    host = agent.Host(Notes())
    rows = [("/nfs", "server:/x", "0:55", None, None, "timeout"), ("/", "overlay", "0:40", 10, 5, None)]
    fields(host, raw(), 1.0, rows)
    got = fields(host, raw(), 2.0, rows)["disks"]
    rates = {"read_bytes_per_s": "unsupported", "write_bytes_per_s": "unsupported"}
    assert got[0] == [
        "/nfs",
        "server:/x",
        None,
        None,
        None,
        None,
        {"total_bytes": "timeout", "used_bytes": "timeout", **rates},
    ]
    assert got[1] == ["/", "overlay", 10, 5, None, None, rates]


def test_rates_are_there_one_sample_after_the_mounts() -> None:
    host = agent.Host(Notes())
    fields(host, raw(), 1.0, "not_yet")
    assert fields(host, raw(), 2.0, MOUNTS)["disks"][0][4:] == [0.0, 0.0, {}]


MOUNTINFO = b"""20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
21 20 0:5 / /proc rw - proc proc rw
22 20 8:2 / /data rw - xfs /dev/sda2 rw
23 20 8:2 /sub /var/lib/bind rw - xfs /dev/sda2 rw
24 20 0:30 /@ /b/root rw - btrfs /dev/sdb rw
25 20 0:30 /@home /b/home rw - btrfs /dev/sdb rw
26 20 0:40 / /mnt/with\\040space rw - nfs4 server:/export rw
27 20 0:41 / /tmp rw - tmpfs tmpfs rw
28 20 7:0 / /snap/x ro - squashfs /dev/loop0 ro
29 20 0:42 / /tank/a rw - zfs tank/a rw
30 20 0:43 / /tank/b rw - zfs tank/b rw
31 22 8:3 / /data rw - ext4 /dev/sdc rw
broken line
32 20 8:4 / /umlaut\\303\\244 rw - ext4 /dev/sdd rw
"""


def test_mounts_are_one_row_a_device() -> None:
    chosen = {entry[0]: entry[1] for entry in agent.select_mounts(agent.parse_mountinfo(MOUNTINFO))}
    assert chosen == {
        "/": "/dev/sda1",
        "/data": "/dev/sdc",  # mounted over the first one
        "/var/lib/bind": "/dev/sda2",  # all that is left visible of it
        "/b/home": "/dev/sdb",
        "/mnt/with space": "server:/export",
        "/tank/a": "tank/a",
        "/tank/b": "tank/b",
        "/umlautä": "/dev/sdd",
    }


def test_the_root_of_a_container_is_listed_whatever_it_is() -> None:
    data = b"1 0 0:99 / / rw - overlay overlay rw\n2 1 8:1 /docker/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"
    assert [entry[0] for entry in agent.select_mounts(agent.parse_mountinfo(data))] == ["/", "/etc/hosts"]


def test_mounts_are_bounded() -> None:
    lines = b"".join(b"%d 1 8:%d / /m%03d rw - ext4 /dev/s%d rw\n" % (n, n, n, n) for n in range(200))
    assert len(agent.select_mounts(agent.parse_mountinfo(lines))) == agent.MAX_DISKS


# --- the kernel log ---


@pytest.mark.parametrize(
    ("text", "xid"),
    [
        (
            "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.",
            ("0000:3b:00", 79, "pid=1234, GPU has fallen off the bus."),
        ),
        (
            "NVRM: Xid (PCI:0000:3b:00): 48, An uncorrectable double bit error",
            ("0000:3b:00", 48, "An uncorrectable double bit error"),
        ),
        (
            "NVRM: Xid (0000:03:00): 31, Ch 00000010, engmask 00000101",
            ("0000:03:00", 31, "Ch 00000010, engmask 00000101"),
        ),
        (
            "NVRM: Xid (PCI:0000:03:00): 62, 0a5c(2d40) 00000000 00000000",
            ("0000:03:00", 62, "0a5c(2d40) 00000000 00000000"),
        ),
        (
            "NVRM: Xid (PCI:0008:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x2",
            ("0008:01:00", 154, "GPU recovery action changed from 0x0 (None) to 0x2"),
        ),
        ("NVRM: GPU at PCI:0000:65:00: GPU-9f0e", None),
        ("NVRM: loading NVIDIA UNIX x86_64 Kernel Module", None),
        ("Xid 79 is mentioned by some other driver", None),
    ],
)
def test_xid_messages(text: str, xid: tuple[str, int, str] | None) -> None:
    assert agent.parse_xid(text) == xid


def test_a_record_of_kmsg_has_microseconds_since_boot() -> None:
    record = b"4,1234,98765432,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=7, GPU has fallen off the bus.\n SUBSYSTEM=pci\n"
    assert agent.parse_kmsg(record) == [98.765432, "0000:3b:00", 79, "pid=7, GPU has fallen off the bus."]
    assert agent.parse_kmsg(b"6,1,1,-;usb 1-1: new device\n") is None
    assert agent.parse_kmsg(b"garbage with Xid but no header") is None


# --- processes ---


def stat_line(pid: int, name: bytes, *, user: int, system: int, start: int, pages: int) -> bytes:
    return b"%d (%s) S 1 1 1 0 -1 0 1 2 3 4 %d %d 8 9 20 0 1 0 %d 4096 %d 18446744073709551615 0" % (
        pid,
        name,
        user,
        system,
        start,
        pages,
    )


def test_a_process_name_may_hold_anything() -> None:
    got = agent.parse_process(stat_line(7, b"a) R (b ; \x1b[31m", user=30, system=12, start=5000, pages=3))
    assert got == ("a) R (b ; \x1b[31m", 42, 5000, 3 * agent.PAGE_BYTES)


def test_shares_of_processes_are_of_one_core_between_two_scans() -> None:
    hz = agent.TICKS_PER_S
    table = agent.ProcessTable()
    first = table.rank({1: ("old", 5 * hz, 0, 10), 2: ("idle", 7, 0, 30), 3: ("gone", 1, 0, 1)}, 100.0)
    assert [row[2] for row in first] == [None, None, None]
    second = table.rank(
        {
            1: ("old", 8 * hz, 0, 10),
            2: ("idle", 7, 0, 30),
            9: ("new", hz, 101 * hz, 20),
            3: ("reused", 50, 103 * hz, 1),
        },
        104.0,
    )
    # old: 3 s of 4; new: 1 s in the 3 s since it started; the same number with another start is another process
    assert [(row[0], row[2]) for row in second] == [(1, 75.0), (3, round(50 * 100 / hz, 1)), (9, 33.3), (2, 0.0)]


def test_users_come_from_passwd() -> None:
    assert agent.parse_passwd(b"root:x:0:0::/root:/bin/sh\nbroken\nalso:x:notanumber\ntwin:x:0:0::\nu:x:1000:\n") == {
        0: "root",
        1000: "u",
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n', "Ubuntu 22.04.5 LTS"),
        (b"PRETTY_NAME='Alpine Linux v3.19'\n", "Alpine Linux v3.19"),
        (b"NAME=Old\nVERSION=5\n", "Old 5"),
        (b"", None),
    ],
)
def test_the_name_of_the_system(text: bytes, name: str | None) -> None:
    assert agent.parse_os_release(text) == name


# --- units ---


def test_containers_that_do_not_run_come_first() -> None:
    text = "web|Up 3 hours (healthy)|nginx:1\ndb|Exited (137) 2 days ago|pg:16\nslow|Up 5 minutes (Paused)|x\nloop|Restarting (1) 3 seconds ago|y\n"
    assert agent.parse_docker(text) == [
        ["docker", "db", "exited", "Exited (137) 2 days ago, pg:16"],
        ["docker", "loop", "restarting", "Restarting (1) 3 seconds ago, y"],
        ["docker", "slow", "paused", "Up 5 minutes (Paused), x"],
        ["docker", "web", "running", "Up 3 hours (healthy), nginx:1"],
    ]
    many = "".join(f"c{n}|Up 1 hour|i\n" for n in range(100)) + "dead|Dead|i\n"
    assert len(agent.parse_docker(many)) == agent.MAX_CONTAINERS
    assert agent.parse_docker(many)[0][1] == "dead"


#: what docker 20.10 answered, cut to the fields that are read; and what its client printed in the same second
_ANSWER = b"""HTTP/1.0 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n\r\n[
{"Id": "46db888c03ff", "Names": ["/loop"], "Image": "bb", "State": "restarting", "Status": "Restarting (1) 1 second ago"},
{"Id": "4849f5538141", "Names": ["/sick"], "Image": "bb", "State": "running", "Status": "Up 4 seconds (unhealthy)"},
{"Id": "d248491d4a5b", "Names": ["/new"], "Image": "bb", "State": "created", "Status": "Created"},
{"Id": "6ec3ac6bffda", "Names": ["/gone"], "Image": "bb", "State": "exited", "Status": "Exited (1) 4 seconds ago"},
{"Id": "bbeac02bd26c", "Names": ["/paused"], "Image": "bb", "State": "paused", "Status": "Up 5 seconds (Paused)"},
{"Id": "89c926c548b7", "Names": ["/up"], "Image": "bb", "State": "running", "Status": "Up 5 seconds"}]"""
_PRINTED = """loop|Restarting (1) 1 second ago|bb
sick|Up 4 seconds (unhealthy)|bb
new|Created|bb
gone|Exited (1) 4 seconds ago|bb
paused|Up 5 seconds (Paused)|bb
up|Up 5 seconds|bb
"""


def test_dockers_socket_says_what_its_client_says() -> None:
    rows = agent.parse_containers(_ANSWER)
    assert rows == agent.parse_docker(_PRINTED)
    assert [(name, state) for _, name, state, _ in rows] == [
        ("gone", "exited"),
        ("loop", "restarting"),
        ("new", "created"),
        ("paused", "paused"),
        ("sick", "unhealthy"),
        ("up", "running"),
    ]


def test_a_container_without_a_name_has_its_number() -> None:
    body = b'[{"Id":"46db888c03ffa91e4bb2","Names":null,"Image":"i","Status":"Dead"}]'
    assert agent.parse_containers(b"HTTP/1.1 200 OK\r\n\r\n" + body) == [["docker", "46db888c03ff", "dead", "Dead, i"]]


def test_failed_units_and_those_that_matter() -> None:
    text = """ssh.service loaded active running OpenBSD Secure Shell server
systemd-journald.service loaded active running Journal Service
● broken.service loaded failed failed My broken thing
voicevox.service loaded inactive dead VOICEVOX engine
nvidia-persistenced.service loaded active running NVIDIA Persistence Daemon
getty@tty1.service not-found inactive dead getty@tty1.service
"""
    assert agent.parse_systemctl(text, {"voicevox.service"}) == [
        ["systemd", "broken.service", "failed", "failed, My broken thing"],
        ["systemd", "nvidia-persistenced.service", "active", "running, NVIDIA Persistence Daemon"],
        ["systemd", "ssh.service", "active", "running, OpenBSD Secure Shell server"],
        ["systemd", "voicevox.service", "inactive", "dead, VOICEVOX engine"],
    ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("permission denied while trying to connect to the Docker daemon socket", "denied"),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "unsupported",
        ),
        ("something else went wrong", "error"),
    ],
)
def test_why_docker_failed(said: str, reason: str) -> None:
    assert agent.docker_reason(said) == reason


# --- lines ---


def test_gpu_fields_stand_in_the_order_of_the_model() -> None:
    brief = model.GpuBrief.__struct_fields__
    assert brief == ("index", *agent.GPU_BRIEF_FIELDS, "missing")
    more = model.GpuMore.__struct_fields__
    assert more == ("uuid", "name", *agent.GPU_MORE_FIELDS, "mig")
    assert model.Gpu.__struct_fields__ == (*brief, *more)
    assert model.Cpu.__struct_fields__ == (*model.CpuBrief.__struct_fields__, *model.CpuMore.__struct_fields__)
    assert (len(brief), len(model.CpuBrief.__struct_fields__)) == (agent.GPU_BRIEF, agent.CPU_BRIEF)


def test_the_builders_make_lines_the_watcher_decodes() -> None:
    gpu = agent.gpu_row(
        3, "GPU-x", "Name", {"power_w": 5.5, "throttle_reasons": ["gpu_idle"]}, {"fan_pct": "unsupported"}
    )
    lost = agent.lost_gpu(4, "GPU-y", None, "gpu_lost")
    host, more, _ = agent.Host(Notes()).sample(raw(), 1.0, MOUNTS)
    xids = [[1.0, "0000:3b:00", 79, "x"]]
    text = agent.sample_text(1, "10.5", host, more, "[0.1,1000]", "[1,20]", [gpu, lost], xids, '{"net":"error"}')
    decoded = decode(text.encode("ascii"))
    assert isinstance(decoded, model.Sample)
    assert decoded.gpus[0].power_w == 5.5
    assert decoded.gpus[1].missing["name"] == "gpu_lost"
    assert all(getattr(decoded.gpus[1], field) is None for field in agent.GPU_FIELDS)
    assert (decoded.seq, decoded.uptime_s, decoded.echo, decoded.agent) == (1, 10.5, (1, 20), model.AgentUse(0.1, 1000))
    assert decoded.xid_events == (model.Xid(1.0, "0000:3b:00", 79, "x"),)
    assert decoded.cpu == model.Cpu(2, None, 0.5, 1.25, 2.0, None)
    assert decoded.missing == {"net": "error"}
    for built, kind in (
        (agent.hello_line("python", "h", units=[["docker", "a", "running", ""]]), model.Hello),
        (agent.processes_line(2, [[1, "root", "init", 0.0, 5]], None, {"gpu": "unsupported"}), model.Processes),
        (agent.note_line("nvml", "text", "pynvml"), model.Note),
    ):
        assert isinstance(decode(agent.encode(built).rstrip()), kind)


def test_encoding_a_struct_and_decoding_it_is_the_identity() -> None:
    sample = model.Sample(
        seq=1,
        uptime_s=2.5,
        cpu=model.Cpu(2, 1.5, 0.1, 0.2, 0.3, (1.0, None)),
        memory=model.Memory(1, 1, 0, 0, 0),
        agent=model.AgentUse(0.1, 5),
        net=(model.Net("ünï\x1b", 1.0, 2.0, {}),),
        missing={"gpus": "unsupported"},
    )
    encoded = agent.encode(msgspec.to_builtins(sample))
    assert encoded.endswith(b"\n")
    assert encoded.isascii()
    assert encoded.count(b"\n") == 1
    assert encoded.count(b"\t") == 1
    cleaned = msgspec.structs.replace(sample, net=(msgspec.structs.replace(sample.net[0], name="ünï"),))
    assert decode(encoded.rstrip()) == cleaned


def test_not_a_number_never_leaves_the_agent() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        agent.encode({"x": float("nan")})
    assert json.loads(agent.encode({"x": 1})) == {"x": 1}
