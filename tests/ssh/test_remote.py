"""Programs on a host, against Debian's sshd: they run as told, and whatever happens to us, nothing of them remains."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from benchmarks.errors import BenchError
from benchmarks.remote import Pace, Program, Remote
from tests.support.accounts import NOISE, account, noisy_home, shell_program
from tests.support.leaks import until
from tests.support.remote import (
    FAMILY,
    SHORT,
    cut,
    family,
    new_marker,
    none_left,
    remote_on,
    running,
    seen,
    ssh_context,
)
from tests.support.sshd import Keys, RealSshd, children_of, free_port, without_python

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.needs("sshd", "pgrep"), pytest.mark.timeout(90)]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
def server(tmp_path: Path, keys: Keys) -> Iterator[RealSshd]:
    with RealSshd(tmp_path / "sshd", keys) as server:
        yield server


@pytest.fixture
async def remote(server: RealSshd) -> AsyncIterator[Remote]:
    async with remote_on(server.host()) as remote:
        yield remote


def ours(server: RealSshd) -> list[str]:
    """What runs under the server that is not sshd itself."""
    found = []
    for pid in children_of(server.pid):
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if not name.startswith("sshd"):
                found.append(name)
    return found


def keeper_word(server: RealSshd) -> str:
    """What the keeper has on its command line and nobody else has."""
    under = {str(pid) for pid in children_of(server.pid)}
    (word,) = {line.split()[-1] for line in running("qdk-[0-9a-f]+$") if line.split()[0] in under}
    return word


async def nothing_of_ours(server: RealSshd, *words: str) -> None:
    for word in words:
        await none_left(word)
    async with asyncio.timeout(10):
        while ours(server):
            await asyncio.sleep(0.05)


# --- running ---


async def test_a_program_runs_in_its_directory_with_its_environment_and_stdin(remote: Remote) -> None:
    text = "two\nlines 'quoted' \"twice\" \\n $HOME `id` !x %s"
    program = Program('pwd; printf "%s" "$TEXT"; cat; echo to stderr >&2; exit 3', "/tmp", {"TEXT": text}, b"\0in\xff")
    ended = await remote.run(program)
    assert ended.stdout.head == b"/tmp\n" + text.encode() + b"\0in\xff"
    assert ended.stderr.head == b"to stderr\n"
    assert (ended.exit_code, ended.signal, ended.problem, ended.lost, ended.leftover) == (3, None, "", "", False)
    times = ended.times
    moments = (times.asked_ns, times.opened_ns, times.confirmed_ns, times.started_ns, times.exited_ns, times.closed_ns)
    assert None not in moments
    assert list(moments) == sorted(moments, key=lambda at: at or 0)
    assert times.started_ns is not None
    assert times.first_byte_ns is not None
    assert times.closed_ns is not None
    assert times.started_ns <= times.first_byte_ns <= times.closed_ns


async def test_a_command_of_several_lines_and_the_home_directory(remote: Remote, server: RealSshd) -> None:
    ended = await remote.run(Program("for at in 1 2; do\n  echo \"$at 'x'\"\ndone\ncd ~; pwd", "~/"))
    assert ended.stdout.head.decode() == f"1 'x'\n2 'x'\n{server.home}\n"


async def test_a_signal_and_the_codes_of_a_shell(remote: Remote, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    assert (await remote.run(Program("kill -9 $$"))).exit_code == 137
    missing = await remote.run(Program("nosuchprogram"))
    assert missing.exit_code == 127
    assert b"nosuchprogram" in missing.stderr.head
    assert (await remote.run(Program(f"{plain}"))).exit_code == 126
    gone = await remote.run(Program("true", f"{tmp_path}/nowhere"))
    assert gone.problem == f"no such directory, or no permission: {tmp_path}/nowhere"


async def test_what_cannot_be_said_to_a_shell_is_refused_before_anything_runs(remote: Remote) -> None:
    for program in (Program(" "), Program("a\0b"), Program("true", env={"A B": "x"}), Program("true", env={"A": "\0"})):
        with pytest.raises(BenchError) as caught:
            await remote.run(program)
        assert caught.value.layer == "plan"
    with pytest.raises(BenchError, match="longer than"):
        await remote.run(Program(f"true {'x' * 300_000}"))


async def test_environment_and_stdin_stand_on_no_command_line(remote: Remote) -> None:
    marker, secret, word = new_marker(), new_marker(), new_marker()
    program = Program(f'cat; echo "$KEY"; sleep 300; : {marker}', env={"KEY": secret}, stdin=word.encode())
    task = asyncio.create_task(remote.run(program))
    await seen(marker, 1)
    assert not running(secret)
    assert not running(word)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await none_left(marker)


async def test_a_gigabyte_of_output_is_counted_and_its_ends_are_kept(remote: Remote) -> None:
    ended = await remote.run(Program("echo begin; head -c 1000000000 /dev/zero; echo end"))
    assert ended.stdout.total_bytes == 1_000_000_000 + len("begin\nend\n")
    assert ended.stdout.head.startswith(b"begin\n\0")
    assert ended.stdout.tail.endswith(b"\0end\n")
    assert len(ended.stdout.head) == len(ended.stdout.tail) == 64 * 1024
    assert ended.exit_code == 0


async def test_what_a_command_cost_is_said_by_the_host(remote: Remote) -> None:
    big = await remote.run(Program("python3 -c 'x = b\"a\" * 50_000_000'; echo out; echo err >&2", witness=True))
    assert big.usage is not None
    assert big.usage.peak_rss_bytes is not None
    assert big.usage.cpu_s is not None
    assert 50_000_000 < big.usage.peak_rss_bytes < 100_000_000
    assert big.usage.wall_s is not None
    assert big.usage.wall_s > 0
    # what the witness itself needs is not seen: a small program is small
    small = await remote.run(Program("exit 7", witness=True))
    assert small.exit_code == 7
    assert small.usage is not None
    assert small.usage.peak_rss_bytes is not None
    assert small.usage.peak_rss_bytes < 6_000_000
    assert (big.stdout.head, big.stderr.head, small.stderr.head) == (b"out\n", b"err\n", b"")
    loud = await remote.run(Program("head -c 300000 /dev/zero >&2; kill -9 $$", witness=True))
    assert loud.stderr.total_bytes == 300_000
    assert loud.exit_code == 137
    assert loud.usage is not None
    assert loud.usage.cpu_s is not None


async def test_without_python_what_it_cost_is_missing_with_the_reason(remote: Remote, tmp_path: Path) -> None:
    env = {"PATH": without_python(tmp_path)}
    ended = await remote.run(Program("echo x >&2; exit 4", env=env, witness=True))
    assert (ended.exit_code, ended.stderr.head) == (4, b"x\n")
    assert ended.usage is not None
    assert ended.usage.missing == dict.fromkeys(("wall_s", "peak_rss_bytes", "cpu_s"), "unsupported")


# --- nothing remains ---


async def test_cancelled_nothing_of_a_family_remains(server: RealSshd, remote: Remote) -> None:
    marker = new_marker()
    task = asyncio.create_task(remote.run(Program(family(marker))))
    await seen(marker, FAMILY + 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not running(marker)  # gone already when the cancelled call is back
    assert (await remote.run(Program("echo still here"))).stdout.head == b"still here\n"


async def test_many_cancelled_at_once(remote: Remote) -> None:
    marker = new_marker()
    tasks = [asyncio.create_task(remote.run(Program(f"sh -c 'sleep 300; : {marker}' & wait"))) for _ in range(9)]
    await seen(marker, 18)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not running(marker)


async def test_out_of_time_nothing_remains(remote: Remote) -> None:
    marker = new_marker()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await remote.run(Program(family(marker)))
    assert not running(marker)


async def test_cancelled_while_it_starts_nothing_remains(remote: Remote) -> None:
    marker = new_marker()
    for after_s in (0.0, 0.001, 0.005, 0.02, 0.06):
        task = asyncio.create_task(remote.run(Program(family(marker))))
        await asyncio.sleep(after_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not running(marker)


async def test_closed_while_it_runs_nothing_remains(server: RealSshd) -> None:
    marker = new_marker()
    async with ssh_context(server.host()) as context:
        async with Remote(context, SHORT) as remote:
            process = await remote.start(Program(family(marker)))
            await seen(marker, FAMILY + 1)
            keeper = keeper_word(server)
        ended = await process.wait()
        assert ended.exit_code != 0 or ended.signal or ended.lost
    await nothing_of_ours(server, marker, keeper)


async def test_a_cut_connection_takes_everything_with_it(server: RealSshd, remote: Remote) -> None:
    marker = new_marker()
    task = asyncio.create_task(remote.run(Program(family(marker))))
    await seen(marker, FAMILY + 1)
    keeper = keeper_word(server)
    cut(server)
    ended = await task
    assert ended.lost
    await nothing_of_ours(server, marker, keeper)
    with pytest.raises(BenchError) as caught:
        await remote.run(Program("true"))
    assert caught.value.layer == "ssh"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_watcher_killed_or_frozen_takes_everything_with_it(server: RealSshd, how: signal.Signals) -> None:
    """Frozen, stdin does not end: the keeper counts the silence (1.5 s here, 15 s otherwise)."""
    marker = new_marker()
    host = msgspec.json.encode(server.host()).decode()
    argv = [sys.executable, "-m", "tests.support.remote_watcher", host, family(marker)]
    watcher = subprocess.Popen(argv, cwd=Path(__file__).parents[2])
    try:
        await seen(marker, FAMILY + 2, 20)  # the watcher itself has it among its arguments
        keeper = keeper_word(server)
        watcher.send_signal(how)
        async with asyncio.timeout(10):
            while any(str(watcher.pid) != line.split()[0] for line in running(marker)):
                await asyncio.sleep(0.05)
        await nothing_of_ours(server, keeper)  # while the frozen one is still there
    finally:
        watcher.kill()
        watcher.wait(10)
    await nothing_of_ours(server, marker)


async def test_heartbeats_keep_a_program_alive_beyond_the_silence(remote: Remote) -> None:
    ended = await remote.run(Program("sleep 4; echo alive"))  # of 1.5 s of silence
    assert ended.stdout.head == b"alive\n"


def keepers(server: RealSshd) -> list[int]:
    """The processes of the keeper in the order in which they were made: its shell, the reader, the undertaker, ..."""
    under = set(children_of(server.pid))
    return sorted(pid for pid in (int(line.split()[0]) for line in running("qdk-")) if pid in under)


async def test_a_killed_reader_is_seen_by_the_undertaker(server: RealSshd, remote: Remote) -> None:
    marker = new_marker()
    task = asyncio.create_task(remote.run(Program(family(marker))))
    await seen(marker, FAMILY + 1)
    os.kill(keepers(server)[1], signal.SIGKILL)
    await none_left(marker)
    ended = await task
    assert ended.exit_code != 0
    await nothing_of_ours(server, marker)


async def test_a_killed_undertaker_has_a_successor_at_the_end(server: RealSshd) -> None:
    marker = new_marker()
    async with ssh_context(server.host()) as context, Remote(context, SHORT) as remote:
        await remote.start(Program(family(marker)))
        await seen(marker, FAMILY + 1)
        os.kill(keepers(server)[2], signal.SIGKILL)
        await until(lambda: remote._keeper.gone)  # the reader notices with the next heartbeat
        with pytest.raises(BenchError):
            await remote.run(Program("true"))
    await nothing_of_ours(server, marker)


async def test_what_a_command_leaves_running_is_ended(remote: Remote) -> None:
    marker = new_marker()
    ended = await remote.run(Program(f"sh -c 'sleep 300; : {marker}' & echo done"))
    assert (ended.exit_code, ended.leftover, ended.stdout.head) == (0, True, b"done\n")
    assert ended.end_ns == ended.times.exited_ns
    await none_left(marker)


async def test_a_daemon_that_let_go_of_its_output_ends_with_the_connection(server: RealSshd) -> None:
    marker = new_marker()
    async with remote_on(server.host()) as remote:
        ended = await remote.run(Program(f"setsid sh -c 'sleep 300; : {marker}' </dev/null >/dev/null 2>&1 &"))
        assert (ended.exit_code, ended.leftover) == (0, False)
        assert running(marker)
    await nothing_of_ours(server, marker)


async def test_others_are_left_alone(server: RealSshd) -> None:
    mine, marker = new_marker(), new_marker()
    bystander = subprocess.Popen(["sh", "-c", f"sleep 300; : {mine}"], start_new_session=True)
    try:
        async with remote_on(server.host()) as one, remote_on(server.host()) as other:
            task = asyncio.create_task(other.run(Program(f"sleep 2; echo {marker}")))
            await seen(marker, 1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await one.run(Program("sleep 300"))
            await one.close()
            assert (await task).stdout.head.decode() == f"{marker}\n"
        assert running(mine)
    finally:
        os.killpg(bystander.pid, signal.SIGKILL)
        bystander.wait()


# --- hosts of all kinds ---


@pytest.mark.needs("root", "unshare", "busybox")
@pytest.mark.parametrize("program", ["/usr/bin/busybox", "/usr/bin/bash", "/usr/bin/zsh"])
async def test_whatever_is_called_sh(tmp_path: Path, keys: Keys, program: str) -> None:
    """Debian's ``sh`` is dash, which the other tests use; here another one is mounted in its place."""
    if not Path(program).exists():
        pytest.skip(f"needs {program}")
    enter = ("unshare", "-m", "sh", "-c", f'mount --bind {program} "$(readlink -f /bin/sh)" && exec "$@"', "x")
    marker = new_marker()
    with RealSshd(tmp_path / "sshd", keys, enter=enter, port=free_port()) as server:
        async with remote_on(server.host()) as remote:
            ended = await remote.run(Program("cat; printenv A; exit 3", "/tmp", {"A": "x'\ny"}, b"in", witness=True))
            assert (ended.exit_code, ended.stdout.head) == (3, b"inx'\ny\n")
            assert ended.usage is not None
            assert ended.usage.wall_s is not None
            task = asyncio.create_task(remote.run(Program(family(marker))))
            await seen(marker, FAMILY)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert not running(marker)
            await remote.start(Program(family(marker)))
            await seen(marker, FAMILY)
            cut(server)
            await none_left(marker)


@pytest.mark.needs("root", "useradd")
@pytest.mark.parametrize("shell", ["bash", "dash", "zsh", "fish", "tcsh"])
async def test_any_login_shell_with_a_noisy_start_will_do(tmp_path: Path, keys: Keys, shell: str) -> None:
    program, home = shell_program(shell), noisy_home(tmp_path, NOISE * 20)
    marker = new_marker()
    with account(program, home) as user, RealSshd(tmp_path / "sshd", keys) as server:
        (tmp_path / "sshd" / "authorized_keys").chmod(0o644)
        (tmp_path / "sshd").chmod(0o755)
        async with remote_on(server.host(user=user)) as remote:
            ended = await remote.run(Program("echo out; echo err >&2; cat; exit 5", env={"A": "b"}, stdin=b"in"))
            assert (ended.exit_code, ended.stdout.head, ended.stderr.head) == (5, b"out\nin", b"err\n")
            task = asyncio.create_task(remote.run(Program(family(marker))))
            await seen(marker, FAMILY)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert not running(marker)


async def test_a_forced_command_is_named(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "sshd", keys, options='command="echo only backups here; cat >/dev/null"') as server:
        async with ssh_context(server.host()) as context:
            remote = Remote(context, SHORT)
            opening = asyncio.create_task(remote.open())
            async with asyncio.timeout(15):  # until it has said what it is there for
                while (session := remote._keeper._session) is None or "backups" not in session.said:
                    await asyncio.sleep(0.02)
            cut(server)
            with pytest.raises(BenchError) as caught:
                await opening
            assert caught.value.layer == "host"
            assert "only backups here" in caught.value.cause


async def test_a_host_without_grep_is_refused(tmp_path: Path, keys: Keys) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for name in ("dd", "sleep", "setsid"):
        (few / name).symlink_to(f"/usr/bin/{name}")
    with RealSshd(tmp_path / "sshd", keys, extra=f"SetEnv PATH={few}") as server:
        with pytest.raises(BenchError, match="no grep"):
            async with remote_on(server.host()):
                pass


async def test_no_sessions_allowed_is_named(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "sshd", keys, extra="MaxSessions 0") as server:
        with pytest.raises(BenchError, match="refused a session") as caught:
            async with remote_on(server.host()):
                pass
        assert caught.value.layer == "ssh"


async def test_beyond_the_limit_of_sessions_further_connections_are_opened(tmp_path: Path, keys: Keys) -> None:
    """2 sessions a connection: the keeper and one, then two and two."""
    with RealSshd(tmp_path / "sshd", keys, extra="MaxSessions 2") as server:
        async with remote_on(server.host()) as remote:
            assert len(remote.connect_auth_s) == 1

            async def often() -> list[int | None]:
                return [(await remote.run(Program(f"sleep 0.2; exit {at}"))).exit_code for at in range(4)]

            codes = await asyncio.gather(*(often() for _ in range(5)))
            assert codes == [[0, 1, 2, 3]] * 5
            assert len(remote.connect_auth_s) == 3
            assert remote.sessions_per_connection == 2
        assert server.log.read_text().count("Accepted publickey") == 3
        await nothing_of_ours(server)


async def test_a_lost_further_connection_is_replaced_and_leaves_nothing(tmp_path: Path, keys: Keys) -> None:
    marker = new_marker()
    with RealSshd(tmp_path / "sshd", keys, extra="MaxSessions 2") as server:
        async with remote_on(server.host()) as remote:
            first = asyncio.create_task(remote.run(Program("sleep 3; echo first")))
            await asyncio.sleep(0.3)
            before = set(children_of(server.pid))
            second = asyncio.create_task(remote.run(Program(family(marker))))
            await seen(marker, FAMILY + 1)
            for pid in set(children_of(server.pid)) - before:
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                        os.kill(pid, signal.SIGKILL)
            assert (await second).lost
            await none_left(marker)
            assert (await remote.run(Program("echo third"))).stdout.head == b"third\n"
            assert (await first).stdout.head == b"first\n"


async def test_many_at_once_on_one_core(tmp_path: Path, keys: Keys) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with RealSshd(tmp_path / "sshd", keys) as server:
            async with remote_on(server.host(), Pace()) as remote:
                ended = await asyncio.gather(
                    *(remote.run(Program(f"sleep 2; echo {at}; exit {at}")) for at in range(20))
                )
                assert [one.exit_code for one in ended] == list(range(20))
                assert [one.stdout.head for one in ended] == [f"{at}\n".encode() for at in range(20)]
                assert len(remote.connect_auth_s) == 3  # ten sessions each, the keeper's among them
    finally:
        os.sched_setaffinity(0, cores)
