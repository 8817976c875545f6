"""Row 25 from real packets: a session lives, and then new connects are dropped.

A command has no session that is older than itself, so the host is watched first, by what the dashboard uses.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.diagnose_world import ANCHORS, SSH_SERVICE, chain, web, world
from tests.support.diagnosing import Desk, Found, brief
from tests.support.many_services import HEALTHY, SSH

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.diagnose_world import World

pytestmark = pytest.mark.needs("netns", "nft", "ip", "nsenter")

#: as when a security group's rule is taken away: what is tracked goes on
NO_NEW = chain("input", f"tcp dport {SSH} tcp flags & (syn | ack) == syn drop")


def test_row_25_a_session_lives_and_new_connects_are_silent(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        desk = Desk(tmp_path / "desk", made.net.watcher)
        made.configure(desk, SSH_SERVICE, web("web", HEALTHY), head=f"[aws]\nenabled = false\n{ANCHORS}")
        answer = diagnosed_while_watched(made, desk)
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


def diagnosed_while_watched(made: World, desk: Desk) -> dict[str, Any]:
    """Watch, take the rule away, diagnose; the document and its exit code."""
    command = [*made.net.watcher.enter(), sys.executable, "-m", "tests.support.diagnose_live", "config.toml"]
    watcher = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=desk.folder, env=desk.env
    )
    try:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "ready\n"
        made.net.server.rules(NO_NEW)
        return json.loads(watcher.communicate("now\n", timeout=40)[0])
    finally:
        watcher.kill()
        watcher.wait()
