"""The command line without a new interpreter each time: a process that has imported what commands need forks for each.

Each command is still a process of its own, with its own environment, folder, streams and mount namespace, and ends as
``python -m tui.cli`` would. What is saved is the time to import, and to parse botocore's model of EC2. Where ``~`` counts
when a module is imported, as botocore's folder of SSO sessions, a command needs an interpreter of its own; here ``~`` is
then a folder that is not there.

``python -m tests.support.forks FD KIND`` serves the socket FD until it is closed.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any, Literal, Self

from tests.support.netns import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.netns import Namespace

_MOST_BYTES = 200_000
_NEW_MOUNTS, _BIND, _PRIVATE_BELOW = 0x20000, 0x1000, 0x40000 | 0x4000
#: what the commands import; ``tui.cli`` itself is run, and so may not be there
_NEEDED = {
    "triage": (
        "boto3",
        "botocore.httpsession",
        "botocore.parsers",
        "botocore.regions",
        "botocore.retries.standard",
        "probes.cloud.gather",
        "probes.cloud.ssm",
        "probes.diagnose_report",
        "probes.headless",
        "probes.judge.correlate",
        "probes.judge.triage",
    ),
    "bench": ("tui.bench_headless", "tui.cli_bench_run", "benchmarks.store", "probes.fleet"),
}
_ALWAYS = ("asyncssh", "probes.config", "probes.investigate", "tui.cli_bench", "tui.cli_preflight", "tui.cli_triage")


class Forks:
    """Runs ``tui.cli``, in ``space`` if one is given; ``kind``: of which commands. ``with`` ends it."""

    def __init__(self, space: Namespace | None = None, kind: Literal["triage", "bench"] = "triage") -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST_BYTES)
        with theirs:
            enter = [] if space is None else space.enter()
            self._process = subprocess.Popen(
                [*enter, sys.executable, "-m", "tests.support.forks", str(theirs.fileno()), kind],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env={**os.environ, "HOME": "/nonexistent"},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.wait(10)

    def run(
        self,
        args: list[str],
        *,
        cwd: Path,
        env: dict[str, str],
        mounts: dict[str, str] | None = None,
        timeout_s: float = 50.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``quarterdeck ARGS`` to its end; ``mounts``: files to be seen in place of others."""
        asked = {"args": args, "cwd": str(cwd), "env": env, "mounts": mounts or {}}
        with ExitStack() as stack:
            pipes = [os.pipe() for _ in range(3)]
            out, err, status = (stack.enter_context(os.fdopen(end, "rb")) for end, _ in pipes)
            null = os.open(os.devnull, os.O_RDONLY)
            theirs = [null, *(end for _, end in pipes)]
            try:
                socket.send_fds(self._socket, [json.dumps(asked).encode()], theirs)
            finally:
                for end in theirs:
                    os.close(end)
            pid = int(status.readline())
            pool = stack.enter_context(ThreadPoolExecutor(3))
            read = [pool.submit(_text, stream) for stream in (out, err, status)]
            try:
                wrote, said, code = (one.result(timeout_s) for one in read)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(args, int(code), wrote, said)


def _text(stream: IO[bytes]) -> str:
    # as with a pipe in text mode
    return stream.read().decode().replace("\r\n", "\n")


def _serve(fd: int) -> dict[str, Any] | None:
    """Take requests until the socket is closed; in a process that is to be a command: what was asked."""
    with socket.socket(fileno=fd) as asking:
        while True:
            message, fds, _, _ = socket.recv_fds(asking, _MOST_BYTES, 4)
            while _reaped():
                pass
            if not message:
                return None
            if os.fork() == 0:
                break
            for one in fds:
                os.close(one)
    *streams, status = fds
    pid = os.fork()
    if pid != 0:
        for one in streams:
            os.close(one)
        os.write(status, f"{pid}\n".encode())
        _, ended = os.waitpid(pid, 0)
        os.write(status, str(os.waitstatus_to_exitcode(ended)).encode())
        os._exit(0)
    os.close(status)
    for number, one in enumerate(streams):
        os.dup2(one, number)
        os.close(one)
    return json.loads(message)


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _mount(mounts: dict[str, str]) -> None:
    """Bind files over others, for this process alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.unshare(_NEW_MOUNTS) or libc.mount(None, b"/", None, _PRIVATE_BELOW, None)
    for target, source in mounts.items():
        failed = failed or libc.mount(source.encode(), target.encode(), None, _BIND, None)
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _prepare(kind: str) -> None:
    for name in (*_ALWAYS, *_NEEDED[kind]):
        importlib.import_module(name)
    if kind == "triage":
        _read_models()
    gc.freeze()  # what is there stays shared


def _read_models() -> None:
    import botocore.session

    loader = botocore.session.create_loader()
    for kind in ("service-2", "endpoint-rule-set-1", "paginators-1"):
        loader.load_service_model("ec2", kind)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    botocore.session.create_loader = lambda *_: loader


def main() -> None:
    _prepare(sys.argv[2])
    asked = _serve(int(sys.argv[1]))
    if asked is None:
        return
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    if asked["mounts"]:
        _mount(asked["mounts"])
    sys.argv[1:] = asked["args"]
    runpy.run_module("tui.cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
