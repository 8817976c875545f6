"""SSH servers for tests: Debian's sshd with its own keys on a free port, and in-process asyncssh servers with faults."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh

from probes.model import Host

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def free_port(address: str = "127.0.0.1") -> int:
    """A port nobody has, from below those the kernel gives away unasked: another test cannot get it meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no secret
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind((address, port))
            return port


@dataclass
class Keys:
    """A user key and its authorized_keys, in a folder of the test's own."""

    folder: Path
    private: Path = field(init=False)
    authorized: Path = field(init=False)

    def __post_init__(self) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.private = self.folder / "id_test"
        self.authorized = self.folder / "authorized_keys"
        key.write_private_key(self.private)
        self.private.chmod(0o600)
        key.write_public_key(self.authorized)

    @property
    def public_line(self) -> str:
        return self.authorized.read_text().strip()


class RealSshd:
    """`sshd -D` on a loopback port; `extra` and `match` lines go into its configuration, `options` before the authorized key.

    `enter`: a command that runs another in namespaces, where the port must be given; `{config}` in it is the path of
    the configuration.
    """

    def __init__(
        self,
        folder: Path,
        keys: Keys,
        *,
        extra: str = "",
        match: str = "",
        options: str = "",
        address: str = "127.0.0.1",
        port: int | None = None,
        enter: tuple[str, ...] = (),
    ) -> None:
        self.address = address
        self.port = free_port(address) if port is None else port
        self.folder = folder
        self.keys = keys
        folder.mkdir(exist_ok=True)
        host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key_path = folder / "host_key"
        host_key.write_private_key(self.host_key_path)
        self.host_key_path.chmod(0o600)
        self.known_hosts = folder / "known_hosts"
        public = host_key.export_public_key().decode().strip()
        self.known_hosts.write_text(f"[{address}]:{self.port} {public}\n")
        authorized = folder / "authorized_keys"
        authorized.write_text(f"{options + ' ' if options else ''}{keys.public_line}\n")
        # not the account's own: what its start files do is not ours to test, and may be slow or take a lock
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)
        own_home = "" if "SetEnv" in extra else f"Match User {getpass.getuser()}\nSetEnv HOME={self.home}"
        self.log = folder / "sshd.log"
        config = folder / "sshd_config"
        self._enter = tuple(word.replace("{config}", str(config)) for word in enter)
        # of an option that is given twice sshd takes the first
        config.write_text(
            f"""{extra}
Port {self.port}
ListenAddress {address}
HostKey {self.host_key_path}
AuthorizedKeysFile {authorized}
PidFile {folder / "sshd.pid"}
PasswordAuthentication no
KbdInteractiveAuthentication no
PubkeyAuthentication yes
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PrintMotd no
LogLevel VERBOSE
{match}
{own_home}
"""
        )
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> RealSshd:
        program = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
        assert program is not None
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        command = [*self._enter, program, "-D", "-f", str(self._config), "-E", str(self.log)]
        self._process = subprocess.Popen(command)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if self._enter:
                if self.log.exists() and "Server listening" in self.log.read_text():
                    return self
            else:
                with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), 0.5):
                    return self
            time.sleep(0.02)
        raise RuntimeError(self.log.read_text())

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        process.wait(10)

    def kill_sessions(self) -> None:
        """Kill the per-connection processes of this sshd (as a crash of the host's side would)."""
        assert self._process is not None
        for pid in children_of(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def host(self, host_id: str = "real", **over: Any) -> Host:
        values: dict[str, Any] = {
            "id": host_id,
            "address": self.address,
            "port": self.port,
            "user": getpass.getuser(),
            "identity_files": (str(self.keys.private),),
            "known_hosts": (str(self.known_hosts),),
        }
        return Host(**{**values, **over})

    def __enter__(self) -> RealSshd:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def children_of(pid: int) -> list[int]:
    """All descendants of a process, read from /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = (entry / "stat").read_text()
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: list[int] = []
    todo = [pid]
    while todo:
        parent = todo.pop()
        mine = [child for child, its in parents.items() if its == parent]
        found += mine
        todo += mine
    return found


def without_python(folder: Path) -> str:
    """A PATH that has everything but Python."""
    folder /= "bin"
    folder.mkdir(exist_ok=True)
    for source in ("/usr/bin", "/bin"):
        for program in Path(source).iterdir():
            link = folder / program.name
            if not program.name.startswith(("python", "platform-python")) and not os.path.lexists(link):
                link.symlink_to(program)
    return str(folder)


async def _pump(source: Any, sink: Any) -> None:
    """Copy until the end of the source, then end the sink; either side may vanish."""
    with contextlib.suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
        while data := await source.read(32768):
            sink.write(data)
            await sink.drain()
    with contextlib.suppress(BrokenPipeError, ConnectionError, asyncssh.Error, AttributeError):
        if isinstance(sink, asyncio.StreamWriter):
            sink.close()


class FakeHost:
    """An in-process asyncssh server. ``handler(process)`` answers exec requests; by default a real shell does."""

    def __init__(
        self,
        folder: Path,
        keys: Keys,
        handler: Callable[[Any], Awaitable[None]] | None = None,
        *,
        address: str = "127.0.0.1",
        shell: str = "/bin/sh",
        **options: Any,
    ) -> None:
        self.address = address
        self.port = 0
        self.keys = keys
        self.known_hosts = folder / f"known_hosts_{id(self)}"
        self.commands: list[str] = []
        self.connections = 0
        self._handler = handler or self._shell
        self._shell_program = shell
        self._options = options
        #: channels to ports of this host: let through, or refused with this error; and those that were asked for
        self.forward: bool | asyncssh.ChannelOpenError = False
        self.forwarded: list[tuple[str, int]] = []
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._server: Any = None
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self, port: int = 0) -> FakeHost:
        owner = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: Any) -> None:
                owner.connections += 1

            def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
                owner.forwarded.append((dest_host, dest_port))
                if isinstance(owner.forward, asyncssh.ChannelOpenError):
                    raise owner.forward
                return owner.forward

        self._server = await asyncssh.listen(
            self.address,
            port,
            server_factory=Server,
            server_host_keys=[self._host_key],
            authorized_client_keys=str(self.keys.authorized),
            process_factory=self._serve,
            encoding=None,
            **self._options,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.write_known_hosts()
        return self

    def write_known_hosts(self, key: Any = None) -> None:
        public = (key or self._host_key).export_public_key().decode().strip()
        self.known_hosts.write_text(f"[{self.address}]:{self.port} {public}\n")

    async def _serve(self, process: Any) -> None:
        self.commands.append(process.command or "")
        await self._handler(process)

    async def _shell(self, process: Any) -> None:
        child = await asyncio.create_subprocess_exec(
            self._shell_program,
            "-c",
            process.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self.processes.append(child)
        pumps = [
            asyncio.ensure_future(_pump(process.stdin, child.stdin)),
            asyncio.ensure_future(_pump(child.stdout, process.stdout)),
            asyncio.ensure_future(_pump(child.stderr, process.stderr)),
        ]
        try:
            status = await child.wait()
            await asyncio.wait(pumps[1:], timeout=2)
            process.exit(status)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def stop(self) -> None:
        self._server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self._server.wait_closed()
        for child in self.processes:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                await child.wait()

    def host(self, host_id: str = "fake", **over: Any) -> Host:
        values: dict[str, Any] = {
            "id": host_id,
            "address": self.address,
            "port": self.port,
            "user": getpass.getuser(),
            "identity_files": (str(self.keys.private),),
            "known_hosts": (str(self.known_hosts),),
        }
        return Host(**{**values, **over})

    async def __aenter__(self) -> FakeHost:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
