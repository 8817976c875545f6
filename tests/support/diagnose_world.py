"""A host with every fault in a network namespace, a router before it, and a watcher who knows its key."""

from __future__ import annotations

import hashlib
import ssl
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import asyncssh

from tests.support.http_standin import certificate
from tests.support.many_services import FILTERED
from tests.support.netns import Net
from tests.support.sshd import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.diagnosing import Desk

HOST = "10.77.2.2"
ROUTER = "10.77.1.1"
NOTHING, REJECTED, REJECTED_BY_ROUTER, REJECTED_BY_US, DROPPED = 7301, 7302, 7303, 7304, 7305
#: the router refuses it, which proves the way out
ANCHORS = f'[triage]\nanchors = ["{ROUTER}:9"]\n'
SSH_SERVICE = 'name = "ssh", kind = "ssh"'
_INPUT = f"""
    tcp dport {REJECTED} reject
    tcp dport {{ {FILTERED}, {DROPPED} }} drop
"""


class World(NamedTuple):
    """``public``, ``fingerprint``: the host's key. ``private``: the file of a key that it lets in. ``pin``: of its TLS.

    ``home`` is the host's own folder, where its programs would leave their files.
    """

    net: Net
    public: str
    fingerprint: str
    private: Path
    pin: str
    home: Path

    def configure(self, desk: Desk, *services: str, host: str = "", address: str = HOST, head: str = ANCHORS) -> None:
        """One host ``box`` with these services (inline tables)."""
        desk.known_hosts.write_text(f"{HOST} {self.public}\n")
        listed = ",\n  ".join(f"{{ {one} }}" for one in services)
        desk.config(
            f'{head}[[hosts]]\nid = "box"\naddress = "{address}"\nuser = "ops"\n'
            f'identity_files = ["{self.private}"]\n{host}services = [\n  {listed}\n]\n'
        )


def chain(hook: str, rules: str) -> str:
    """A table with one chain of a hook."""
    return f"table inet t {{\n  chain c {{\n    type filter hook {hook} priority 0;\n{rules}\n  }}\n}}\n"


def web(name: str, port: int, more: str = "") -> str:
    """An HTTP service as an inline table."""
    return f'name = "{name}", port = {port}, kind = "http", path = "/health"{more}'


@contextmanager
def world(folder: Path, routers: int = 1, middle_mtu: int = 1500) -> Iterator[World]:
    """Everything, until the end of the block."""
    keys = Keys(folder)
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    host_key.write_private_key(folder / "host_key")
    certificate(folder, age_days=9)
    der = ssl.PEM_cert_to_DER_cert(certificate(folder).trusted)
    home = folder / "home"
    home.mkdir()
    with Net(routers=routers, middle_mtu=middle_mtu) as net:
        net.server.rules(chain("input", _INPUT))
        net.router.rules(chain("forward", f"tcp dport {REJECTED_BY_ROUTER} reject with icmpx type admin-prohibited"))
        net.watcher.rules(chain("output", f"tcp dport {REJECTED_BY_US} reject"))
        net.watcher.run("ip", "route", "add", "unreachable", "10.97.0.0/16")
        places = ("env", f"HOME={home}", f"TMPDIR={home}")
        net.start(net.server, *places, sys.executable, "-m", "tests.support.many_services", str(folder))
        yield World(
            net,
            host_key.export_public_key().decode().strip(),
            host_key.get_fingerprint(),
            keys.private,
            f"SHA256:{hashlib.sha256(der).hexdigest()}",
            home,
        )
