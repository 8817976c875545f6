"""Sockets that listen for a test: on a given address, in another process, or with a full queue."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHILD = (
    "import socket,sys;s=socket.create_server((sys.argv[1],0));print(s.getsockname()[1],flush=True);sys.stdin.read()"
)


@contextlib.contextmanager
def listening(address: str = "127.0.0.1", port: int = 0, *, v6_only: bool = False) -> Iterator[int]:
    """A socket of this process that listens; its port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
        sock.bind((address, port))
        sock.listen(8)
        yield sock.getsockname()[1]


@contextlib.contextmanager
def listening_child(address: str = "127.0.0.1") -> Iterator[tuple[int, int]]:
    """Another process that listens; its pid and the port."""
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield child.pid, int(child.stdout.readline())
    finally:
        child.kill()
        child.communicate()


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port that is silent without a firewall: its accept queue is full, so the kernel drops every SYN."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        yield sock.getsockname()[1]
