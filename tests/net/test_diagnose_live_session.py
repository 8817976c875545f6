"""Row 25 from real packets: a session lives, and then new connects are dropped.

A command has no session that is older than itself, so the host is watched first, by what the dashboard uses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from tests.support.diagnosing import Desk, Found, brief
from tests.support.http_standin import certificate
from tests.support.many_services import HEALTHY, SSH
from tests.support.netns import Net
from tests.support.sshd import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("netns", "nft", "ip", "nsenter")

HOST = "10.77.2.2"
#: as when a security group's rule is taken away: what is tracked goes on
NO_NEW = f"""
table inet t {{
  chain c {{
    type filter hook input priority 0;
    tcp dport {SSH} tcp flags & (syn | ack) == syn drop
  }}
}}
"""


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    for age_days in (0, 9):
        certificate(tmp_path, age_days=age_days)
    with Net() as net:
        yield net


def test_row_25_a_session_lives_and_new_connects_are_silent(net: Net, tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "host_key")
    net.start(net.server, sys.executable, "-m", "tests.support.many_services", str(tmp_path))
    desk = Desk(tmp_path / "desk", net.watcher)
    desk.known_hosts.write_text(f"{HOST} {key.export_public_key().decode().strip()}\n")
    desk.config(
        f'[aws]\nenabled = false\n[triage]\nanchors = ["10.77.1.1:9"]\n[[hosts]]\nid = "box"\naddress = "{HOST}"\n'
        f'user = "ops"\nidentity_files = ["{keys.private}"]\n'
        f'services = [{{ name = "ssh", kind = "ssh" }}, {{ name = "web", port = {HEALTHY}, kind = "http" }}]\n'
    )
    command = [*net.watcher.enter(), sys.executable, "-m", "tests.support.diagnose_live", "config.toml"]
    watcher = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=desk.folder,
        env={**os.environ, **desk.env},
    )
    try:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "ready\n"
        net.server.rules(NO_NEW)
        answer: dict[str, Any] = json.loads(watcher.communicate("now\n", timeout=40)[0])
    finally:
        watcher.kill()
        watcher.wait()
    found = [brief(one) for one in answer["document"]["verdicts"]]
    assert answer["code"] == 1
    assert found == [
        Found(25, "security_group", "ssh", "block", "medium", "keep the session open: it may be the last way in", None),
        # the live session says besides that sshd listens on every address; a new session is what cannot be made
        Found(
            28, "tcp", "ssh", "block", "certain",
            "list the host's firewall rules and its listening ports, from the provider's console: no other way in is "
            "known", None,
        ),
    ]  # fmt: skip
    assert "the SSH session lives" in answer["document"]["verdicts"][0]["statement"]
