"""What the Python agent answers when it is asked: sockets, connects, ports it holds; and that it goes on sampling."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from probes.hosts import agent, bootstrap
from probes.model import Answer, InsideAnswer, ListenerRow, Note, Sample
from tests.support.agent_run import AgentRun, wait_until
from tests.support.listening import listening, listening_child, silent_port
from tests.support.sshd import free_port

ME = pwd.getpwuid(os.getuid()).pw_name
HEADER = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def local(**more: object) -> AgentRun:
    nonce = bootstrap.new_nonce()
    return AgentRun(bootstrap.local_argv(nonce, sys.executable), nonce, **more)


def ask(run: AgentRun, line: str, *, after: int = 0) -> Answer:
    run.send(line.encode() + b"\n")
    return answer(run, line.split()[1], after=after)


def answer(run: AgentRun, token: str, *, after: int = 0) -> Answer:
    run.wait(Answer, lambda one: len([a for a in run.lines if isinstance(a, Answer) and a.token == token]) > after)
    return [one for one in run.all(Answer) if one.token == token][after]


def inside(run: AgentRun, token: str = "t1") -> InsideAnswer:
    found = ask(run, f"l {token}").inside
    assert found is not None
    return found


# --- who listens ---


def line_of(address: str, state: str = "0A", uid: int = 0, inode: int = 5) -> bytes:
    return (
        f"   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:5} {0:8} {inode} 1 0\n"
    ).encode()


@pytest.mark.parametrize(
    ("digits", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000", "0.0.0.0"),
        ("0500000A", "10.0.0.5"),
        ("00000000000000000000000000000000", "::"),
        ("00000000000000000000000001000000", "::1"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),
        ("000080FE00000000FF005450010000FE", "fe80::5054:ff:fe00:1"),
    ],
)
def test_addresses_are_read_as_the_kernel_writes_them(digits: str, address: str) -> None:
    assert agent.parse_address(digits, "little") == address


def test_a_big_endian_kernel_writes_the_words_the_other_way_round() -> None:
    assert agent.parse_address("7F000001", "big") == "127.0.0.1"


def test_only_sockets_that_listen_are_listeners() -> None:
    data = HEADER + line_of("0100007F:1F90", uid=33, inode=7) + line_of("0100007F:1F91", "01") + b"nonsense\n"
    assert agent.parse_listeners(data) == [("127.0.0.1", 8080, 33, 7)]


def test_listeners_of_every_kind_with_process_pid_and_user() -> None:
    with contextlib.ExitStack() as stack:
        ports = {
            address: stack.enter_context(listening(address))
            for address in ("127.0.0.1", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1")
        }
        v6_only = stack.enter_context(listening("::", v6_only=True))
        pid, other = stack.enter_context(listening_child("127.0.0.2"))
        run = stack.enter_context(local())
        found = inside(run)
    assert found.listeners is not None
    assert found.total is not None
    assert found.total >= len(ports) + 2
    by_port = {row.port: row for row in found.listeners}
    for address, port in ports.items():
        expected = address.removeprefix("::ffff:")
        assert by_port[port] == ListenerRow(expected, port, comm(os.getpid()), os.getpid(), ME)
    assert by_port[v6_only].address == "::"  # the kernel's list does not tell it from dual-stack
    assert by_port[other] == ListenerRow("127.0.0.2", other, by_port[other].process, pid, ME)
    assert "python" in (by_port[other].process or "")
    assert "listeners" not in found.missing


def test_a_socket_of_several_processes_is_that_of_the_service_not_of_systemd(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, {1: ("systemd", [7]), 40: ("sshd", [7]), 41: ("sshd", [7]), 50: ("alone", [9])})
    assert agent.socket_owners(str(proc), {7, 9}, time.monotonic() + 60) == ({7: (40, "sshd"), 9: (50, "alone")}, None)


def fake_proc(folder: Path, processes: dict[int, tuple[str, list[int]]]) -> Path:
    for pid, (name, inodes) in processes.items():
        fds = folder / str(pid) / "fd"
        fds.mkdir(parents=True)
        (folder / str(pid) / "comm").write_bytes(name.encode() + b"\n")
        (fds / "0").symlink_to("/dev/null")
        for at, inode in enumerate(inodes):
            (fds / str(at + 1)).symlink_to(f"socket:[{inode}]")
    return folder


def test_owners_that_cannot_be_found_have_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.monotonic() + 60
    proc = str(fake_proc(tmp_path, {1: ("init", []), 40: ("sshd", [7]), 41: ("x", [])}))
    assert agent.socket_owners(proc, {7, 8}, later) == ({7: (40, "sshd")}, "unsupported")
    assert agent.socket_owners(proc, {7, 8}, time.monotonic() - 1) == ({}, "timeout")
    real = os.listdir

    def listdir(path: str) -> list[str]:
        if path.endswith("/41/fd/"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(agent.os, "listdir", listdir)
    assert agent.socket_owners(proc, {7, 8}, later) == ({7: (40, "sshd")}, "denied")
    assert agent.socket_owners(proc, {7}, later) == ({7: (40, "sshd")}, None)


def test_hidden_processes_are_denied_and_not_absent(tmp_path: Path) -> None:
    proc = str(fake_proc(tmp_path, {40: ("mine", [])}))  # hidepid: not even the first process is listed
    assert agent.socket_owners(proc, {8}, time.monotonic() + 60) == ({}, "denied")


def test_a_look_that_hangs_does_not_hold_up_the_samples(tmp_path: Path) -> None:
    fake_proc(tmp_path, {1: ("init", []), 40: ("web\x1b[31m", [7])})
    (tmp_path / "net").mkdir()
    os.mkfifo(tmp_path / "net/tcp")  # opening it waits until somebody writes
    with local(proc=str(tmp_path), interval_s=0.05) as run:
        run.send(b"l a1\n")
        seen = len(run.all(Sample))
        run.wait(Sample, after=seen + 5)
        assert not run.all(Answer)
        threading.Thread(
            target=(tmp_path / "net/tcp").write_bytes, args=(HEADER + line_of("00000000:0050", uid=0, inode=7),)
        ).start()
        found = answer(run, "a1").inside
    assert found is not None
    assert found.listeners is not None
    ((address, port, process, pid, _),) = [
        (row.address, row.port, row.process, row.pid, row.user) for row in found.listeners
    ]
    assert (address, port, process, pid) == ("0.0.0.0", 80, "web[31m", 40)  # a name is a stranger's text


def test_more_ports_than_are_told_are_said(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    rows = b"".join(line_of(f"0100007F:{port:04X}", inode=port) for port in range(1, 2001))
    (tmp_path / "net/tcp").write_bytes(HEADER + rows)
    with local(proc=str(tmp_path)) as run:
        found = inside(run)
    assert found.listeners is not None
    assert [row.port for row in found.listeners] == list(range(1, agent.MAX_LISTENERS + 1))
    assert found.total is None
    assert found.missing["listeners"] == "error"
    assert "ports" in found.words["listeners"]


def test_many_sockets_on_a_few_ports_are_all_counted_and_every_port_is_told(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    rows = b"".join(line_of(f"{n:06X}7F:0016", inode=n) for n in range(1, 2001))
    (tmp_path / "net/tcp").write_bytes(HEADER + rows + line_of("00000000:0050") + line_of("00000000:0016"))
    with local(proc=str(tmp_path)) as run:
        found = inside(run)
    assert found.listeners is not None
    assert len(found.listeners) == agent.MAX_LISTENERS
    assert [(row.address, row.port) for row in found.listeners if row.address == "0.0.0.0"] == [
        ("0.0.0.0", 22),
        ("0.0.0.0", 80),
    ]
    assert found.total == 2002
    assert "listeners" not in found.missing


def test_a_list_that_was_not_read_to_its_end_says_so(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    rows = b"".join(line_of(f"0100007F:{port:04X}", inode=port) for port in range(1, 10001))
    (tmp_path / "net/tcp").write_bytes(HEADER + rows)
    with local(proc=str(tmp_path)) as run:
        found = inside(run)
    assert found.total is None
    assert found.missing["listeners"] == "timeout"
    assert "tcp" in found.words["listeners"]


def test_a_list_that_cannot_be_read_is_no_empty_list(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    with local(proc=str(tmp_path)) as run:
        found = inside(run)
    assert found.listeners is None
    assert found.missing["listeners"] == "unsupported"


def test_one_process_with_many_sockets_on_one_port_is_one_row(tmp_path: Path) -> None:
    fake_proc(tmp_path, {1: ("init", []), 40: ("nginx", [7, 8])})
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_bytes(HEADER + line_of("00000000:0050", inode=7) + line_of("00000000:0050", inode=8))
    with local(proc=str(tmp_path)) as run:
        found = inside(run)
    assert found.listeners is not None
    assert [(row.process, row.port) for row in found.listeners] == [("nginx", 80)]


def test_looks_at_once_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    os.mkfifo(tmp_path / "net/tcp")
    with local(proc=str(tmp_path)) as run:
        run.send(b"l a1\nl a2\n")
        refused = ask(run, "l a3")
        assert refused.refused == "error"
        assert "busy" in refused.detail


# --- sshd and the firewall ---


def program(folder: Path, name: str, body: str) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_the_settings_of_sshd_are_a_few_keys(tmp_path: Path) -> None:
    said = "port 22\nport 2222\nPermitRootLogin no\npasswordauthentication no\nsecretsetting x\nmaxauthtries 6"
    program(tmp_path, "sshd", f"[ $1 = -T ] && printf '{said}\\n'")
    with local(environ={"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as run:
        found = inside(run)
    assert found.sshd == {
        "port": "22 2222",
        "permitrootlogin": "no",
        "passwordauthentication": "no",
        "maxauthtries": "6",
    }
    assert "sshd" not in found.missing


def test_settings_that_may_not_be_read_are_denied_with_its_words(tmp_path: Path) -> None:
    program(tmp_path, "sshd", "echo 'sshd: no hostkeys available -- exiting.' >&2; exit 1")
    with local(environ={"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as run:
        found = inside(run)
    assert found.sshd is None
    assert found.missing["sshd"] == "denied"
    assert found.words["sshd"] == "sshd: no hostkeys available -- exiting."


def later() -> float:
    return time.monotonic() + 60


def test_a_program_that_hangs_is_a_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "PROGRAM_S", 0.2)
    path = program(tmp_path, "nft", "sleep 50")
    row, said = agent.firewall_row("nft", path, set(), later())
    assert row == ["nft", None, None, {"rules": "timeout", "input_policy": "timeout"}]
    assert "no answer" in said
    assert agent.ask_program([path], set(), time.monotonic() - 1)[1] == "timeout"


NFT = """table inet filter {
	set blocked {
		type ipv4_addr
		elements = { 10.0.0.1, 10.0.0.2 }
	}

	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		tcp dport { 22, 80 } accept
	}

	chain output {
		type filter hook output priority filter; policy accept;
	}
}
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		tcp dport 8080 dnat to 172.17.0.2:80
	}
}
"""


def test_rules_are_counted_and_the_policy_is_that_of_input() -> None:
    assert agent.parse_nft(NFT) == (3, "drop")
    assert agent.parse_nft("") == (0, None)
    assert agent.parse_nft(NFT.replace("policy drop", "policy accept")) == (3, "accept")
    assert agent.parse_iptables("-P INPUT DROP\n-P OUTPUT ACCEPT\n-A INPUT -j ACCEPT\n-N x\n-A x -j DROP\n") == (
        2,
        "drop",
    )
    assert agent.parse_iptables("") == (0, None)


def test_a_firewall_that_may_not_be_read_is_denied(tmp_path: Path) -> None:
    path = program(tmp_path, "nft", "echo 'Operation not permitted (you must be root)' >&2; exit 1")
    row, said = agent.firewall_row("nft", path, set(), later())
    assert row[3] == {"rules": "denied", "input_policy": "denied"}
    assert "must be root" in said


def test_the_legacy_tool_is_not_run_where_it_would_load_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "ran"
    path = program(
        tmp_path,
        "iptables",
        f"[ $1 = -V ] && {{ echo 'iptables v1.8.7 (legacy)'; exit; }}; touch {marker}; echo '-A x'",
    )

    def slurp(wanted: str, limit: int = 0) -> bytes:
        assert wanted == "/proc/net/ip_tables_names"
        return b""

    monkeypatch.setattr(agent, "slurp", slurp)
    assert agent.firewall_row("iptables", path, set(), later())[0][:2] == ["iptables", 0]
    assert not marker.exists()
    monkeypatch.setattr(agent, "slurp", lambda *_: b"filter\n")
    assert agent.firewall_row("iptables", path, set(), later())[0][:2] == ["iptables", 1]
    assert marker.exists()


# --- from node to node ---


def test_a_connect_says_open_refused_or_silent_with_its_errno() -> None:
    with listening() as open_port, silent_port() as silent, local() as run:
        opened = ask(run, f"c o 127.0.0.1 {open_port} 5000").connect
        refused = ask(run, f"c r 127.0.0.1 {free_port()} 5000").connect
        nothing = ask(run, f"c s 127.0.0.1 {silent} 200").connect
        named = ask(run, f"c n localhost {open_port} 5000").connect
    assert opened is not None
    assert (opened.state, opened.address, opened.errno_name) == ("open", "127.0.0.1", None)
    assert opened.took_ms is not None
    assert (opened.own_end or "").startswith("127.0.0.1:")
    assert refused is not None
    assert (refused.state, refused.errno_name, refused.own_end) == ("refused", "ECONNREFUSED", None)
    assert nothing is not None
    assert (nothing.state, nothing.errno_name) == ("silent", "ETIMEDOUT")
    assert named is not None
    assert (named.state, named.address) == ("open", "127.0.0.1")  # after ::1, if that is the first, was refused


@pytest.mark.parametrize(
    "line",
    [
        "c x 127.0.0.1 0 100",
        "c x 127.0.0.1 65536 100",
        "c x 127.0.0.1 80 0",
        "c x 127.0.0.1 80 999999999999",
        "c x 127.0.0.1 -1 100",
        "c x -o 80 100",
        "c x a;b 80 100",
        "c x ../x 80 100",
        "c x 127.0.0.1",
        "c x 127.0.0.1 80 100 more",
        "c x \xff 80 100",
        "b x 0 5",
        "b x 80 0",
        "b x 80 61",
        "b x 80 1e9",
        "b x 80",
    ],
)
def test_hostile_parameters_are_refused(line: str) -> None:
    with local() as run:
        refused = ask(run, line)
    assert refused.refused == "error"
    assert refused.detail
    assert refused.connect is refused.hold is None


def test_a_request_without_a_sensible_token_is_said_and_costs_nothing() -> None:
    with local() as run:
        run.send(b"l\nl " + b"x" * 40 + b"\nc ;x 127.0.0.1 1 1\n")
        assert "no sense" in run.wait(Note).text
        run.wait(Sample, after=len(run.all(Sample)) + 2)
        assert not run.all(Answer)


def test_connects_at_once_are_bounded_and_all_are_answered() -> None:
    with silent_port() as port, local() as run:
        run.send(b"".join(b"c n%d 127.0.0.1 %d 700\n" % (n, port) for n in range(50)))
        assert wait_until(lambda: len(run.all(Answer)) == 50)
        answers = run.all(Answer)
    tried = [one for one in answers if one.connect is not None]
    refused = [one for one in answers if one.refused == "error"]
    assert len(tried) >= 32
    assert len(tried) + len(refused) == 50
    assert refused
    assert all("busy" in one.detail for one in refused)


@pytest.mark.needs("netns")
def test_without_a_network_nodes_are_unreachable_and_names_unresolved() -> None:
    nonce = bootstrap.new_nonce()
    with AgentRun(["unshare", "-rn", "sh", "-c", bootstrap.command(nonce)], nonce) as run:
        gone = ask(run, "c u 127.0.0.1 22 5000").connect
        nameless = ask(run, "c n name.invalid 22 5000").connect
    assert gone is not None
    assert (gone.state, gone.errno_name) == ("unreachable", "ENETUNREACH")
    assert nameless is not None
    assert nameless.state == "unresolved"
    assert nameless.words


@pytest.mark.needs("netns", "ip")
def test_a_connect_that_meets_itself_is_not_open() -> None:
    """With one ephemeral port the kernel gives the connect the very port it goes to: TCP then opens with itself."""
    nonce = bootstrap.new_nonce()
    prepare = "ip link set lo up && echo 40000 40000 >/proc/sys/net/ipv4/ip_local_port_range"
    with AgentRun(["unshare", "-rn", "sh", "-c", f"{prepare} && {bootstrap.command(nonce)}"], nonce) as run:
        found = ask(run, "c u 127.0.0.1 40000 5000").connect
    assert found is not None
    assert (found.state, found.own_end) == ("refused", None)
    assert "itself" in found.words


# --- ports it holds ---


def test_a_free_port_is_held_and_who_came_is_told() -> None:
    port = free_port()
    with local() as b, local() as a:
        held = ask(b, f"b h {port} 30").hold
        assert held is not None
        assert held.state == "listening"
        reached = ask(a, f"c r 127.0.0.1 {port} 5000").connect
        b.send(b"e h\n")
        ended = answer(b, "h", after=1).hold
        refused = ask(a, f"c s 127.0.0.1 {port} 5000").connect
    assert reached is not None
    assert reached.state == "open"
    assert ended is not None
    assert (ended.state, ended.accepted, ended.peers) == ("ended", 1, (reached.own_end,))
    assert refused is not None
    assert refused.state == "refused"


def test_a_held_port_ends_by_itself() -> None:
    port = free_port()
    with local() as run:
        run.send(b"b h %d 1\n" % port)
        ended = answer(run, "h", after=1).hold
    assert ended is not None
    assert (ended.state, ended.accepted) == ("ended", 0)
    with listening(port=port):
        pass


def test_the_end_of_stdin_ends_a_held_port() -> None:
    port = free_port()
    with local() as run:
        assert ask(run, f"b h {port} 60").hold is not None
        run.eof()
        run.wait_end()
        with listening(port=port):
            pass


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
def test_a_port_in_use_is_refused_and_its_holder_named(address: str) -> None:
    with listening(address) as port, local() as run:
        taken = ask(run, f"b h {port} 5").hold
    assert taken is not None
    assert taken.state == "in_use"
    assert taken.holder == ListenerRow(address, port, comm(os.getpid()), os.getpid(), ME)


def test_a_port_that_is_taken_without_listening_is_in_use_by_nobody_known() -> None:
    with socket.socket() as sock, local() as run:
        sock.bind(("0.0.0.0", 0))
        taken = ask(run, f"b h {sock.getsockname()[1]} 5").hold
    assert taken is not None
    assert (taken.state, taken.holder) == ("in_use", None)
    assert "does not listen" in taken.words


def test_held_ports_are_bounded() -> None:
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(local())
        for n in range(8):
            held = ask(run, f"b h{n} {free_port()} 30").hold
            assert held is not None
        refused = ask(run, f"b h9 {free_port()} 30")
    assert refused.refused == "error"
    assert "8 ports" in refused.detail


# --- where the agent runs ---


def test_the_oldest_python_answers_the_same() -> None:
    found = [shutil.which("python3.6"), *map(str, Path.home().glob(".pyenv/versions/3.6.*/bin/python"))]
    oldest = next((path for path in reversed(found) if path), None)
    if oldest is None:
        pytest.skip("no Python 3.6 on this machine")
    nonce = bootstrap.new_nonce()
    port = free_port()
    with AgentRun(bootstrap.local_argv(nonce, oldest), nonce) as run:
        assert ask(run, f"b h {port} 30").hold is not None
        reached = ask(run, f"c r 127.0.0.1 {port} 5000").connect
        listed = inside(run)
    assert reached is not None
    assert reached.state == "open"
    assert listed.listeners is not None
    assert [row.address for row in listed.listeners if row.port == port] == ["::"]


# --- without Python ---


SHELLS = ["sh", "dash", "bash", "busybox sh"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_sh_agent_lists_what_listens_and_says_what_it_cannot(shell: str) -> None:
    if subprocess.run(["sh", "-c", f"{shell} -c true"], capture_output=True, check=False).returncode:
        pytest.skip(f"no {shell} here")
    nonce = bootstrap.new_nonce()
    command = bootstrap.command(nonce, python=False).replace("/bin/sh", shell)
    with listening("127.0.0.1") as one, listening("::") as every, AgentRun(["/bin/sh", "-c", command], nonce) as run:
        found = inside(run)
        again = inside(run, "t2")
        connect = ask(run, "c t3 127.0.0.1 1 100")
        hold = ask(run, f"b t4 {free_port()} 1")
        assert run.bad == []
    assert found.listeners is not None
    rows = {row.port: row for row in found.listeners}
    assert rows[one] == ListenerRow("127.0.0.1", one, None, None, ME)
    assert rows[every] == ListenerRow("::", every, None, None, ME)
    assert found.total is not None
    assert (found.missing["owners"], found.missing["firewall"], found.firewall) == ("unsupported", "unsupported", None)
    assert (found.sshd is None) == ("sshd" in found.missing)
    assert again.listeners is not None
    assert (connect.refused, hold.refused) == ("unsupported", "unsupported")
    assert "without Python" in connect.detail


def test_the_sh_agent_says_what_sshd_said(tmp_path: Path) -> None:
    program(tmp_path, "sshd", "echo 'sshd: no hostkeys available; exiting.'; exit 1")
    nonce = bootstrap.new_nonce()
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with AgentRun(["/bin/sh", "-c", bootstrap.command(nonce, python=False)], nonce, environ=environ) as run:
        found = inside(run)
    assert (found.sshd, found.missing["sshd"]) == (None, "denied")
    assert found.words["sshd"] == "sshd: no hostkeys available; exiting."


def test_what_is_cut_is_more_of_the_same_port_and_never_the_widest() -> None:
    many = [[f"127.0.{n // 250}.{n % 250}", 22, None, None, None] for n in range(2000)]
    others = [["10.0.0.1", port, None, None, None] for port in range(30000, 30100)]
    shown, whole = agent.select_listeners([*many, *others, ["192.168.0.9", 22, None, None, None]])
    assert whole
    assert len(shown) == agent.MAX_LISTENERS
    assert {row[1] for row in shown} == {22, *range(30000, 30100)}
    assert ["192.168.0.9", 22, None, None, None] in shown
    ports = [["0.0.0.0", port, None, None, None] for port in range(1, 2 * agent.MAX_LISTENERS)]
    assert not agent.select_listeners(ports)[1]
