"""Hosts that answer badly, and what a diagnosis leaves behind: nothing. Through the real command line, in namespaces."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.diagnose_world import (
    ANCHORS,
    DROPPED,
    HOST,
    NOTHING,
    SSH_SERVICE,
    World,
    web,
)
from tests.support.diagnose_world import (
    world as made_world,
)
from tests.support.diagnosing import Desk
from tests.support.forks import Forks
from tests.support.many_services import ENDLESS, EXPIRED, GARBAGE, HANGS, HEALTHY, MUTE_SSH
from tests.support.sshd import children_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("netns", "nft", "ip", "nsenter")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with made_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def forks(world: World) -> Iterator[Forks]:
    with Forks(world.net.watcher) as forks:
        yield forks


@pytest.fixture
def desk(world: World, forks: Forks, tmp_path: Path) -> Desk:
    return Desk(tmp_path / "desk", world.net.watcher, forks=forks)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# --- answers ---


def test_each_bad_answer_is_named_and_none_holds_up_the_others(world: World, desk: Desk) -> None:
    world.configure(
        desk,
        web("garbage", GARBAGE),
        web("endless", ENDLESS),
        web("hangs", HANGS),
        web("expired", EXPIRED, ", tls = true"),
        f'name = "not-ssh", kind = "ssh", port = {GARBAGE}',
        f'name = "endless-ssh", kind = "ssh", port = {ENDLESS}',
        web("fine", HEALTHY),
    )
    found, text = desk.together(["diagnose", "box", "--no-login", "--json"], ["diagnose", "box", "--no-login"])
    assert found.code == 1
    said = {
        one["service"]: (one["row"], one["statement"].partition(" fails: ")[2]) for one in found.document["verdicts"]
    }
    assert {name: row for name, (row, _) in said.items()} == dict.fromkeys(
        ("garbage", "endless", "hangs", "expired", "not-ssh", "endless-ssh"), 26
    )
    assert said["garbage"][1].startswith('not HTTP: it answered "')
    assert said["endless"][1] == "headers longer than 64 KB"
    assert said["hangs"][1] == "no answer within 3 s of the request"
    assert said["expired"][1] == "self-signed, expired"
    assert said["not-ssh"][1].startswith('not SSH: it answered "')
    assert found.document["severity"]["level"] == "sev2"
    # what came from there cannot act on a terminal
    assert all(char.isprintable() or char == "\n" for char in text.out)


def test_a_host_that_hangs_after_the_connect_ends_in_time_and_says_so(world: World, desk: Desk) -> None:
    world.configure(desk, f'name = "ssh", kind = "ssh", port = {MUTE_SSH}', host=f"port = {MUTE_SSH}\n")
    found = desk.diagnose("box", login=True)
    assert (found.code, [one.row for one in found.rows]) == (1, [22])
    assert (
        "the host's own view: no SSH session: unreachable: port open, no SSH banner in 5 s" in found.document["notes"]
    )


# --- addresses ---


def test_a_name_with_many_addresses(desk: Desk) -> None:
    """One answers, one refuses, one is nobody's: the best of them counts, and each is named."""
    desk.config(ANCHORS)
    with desk.hosts_file.open("a") as file:
        file.write(f"{HOST} many.test\n10.77.2.9 many.test\nfd77:2::2 many.test\n")
    found = desk.diagnose("many.test", "--ports", f"{HEALTHY},{NOTHING}")
    assert found.code == 1
    assert found.states == {HEALTHY: "open", NOTHING: "refused"}
    assert [one.row for one in found.rows] == [18]
    details = {one["port"]: one["detail"] for one in found.document["probes"]}
    assert all(address in details[NOTHING] for address in (HOST, "10.77.2.9", "fd77:2::2"))
    assert found.layers["resolve"] == "pass"


@pytest.mark.parametrize("target", ["fd77:2::2", "ops@[fd77:2::2]:7301"])
def test_an_ipv6_only_address(desk: Desk, target: str) -> None:
    desk.config("")
    found = desk.diagnose(target, "--ports", str(NOTHING))
    assert (found.code, [one.row for one in found.rows]) == (1, [18])
    assert found.document["probes"][0]["address"] == "fd77:2::2"


def test_a_bare_address_is_asked_for_its_ssh(desk: Desk) -> None:
    desk.config("")
    found = desk.diagnose(HOST)
    assert found.states == {22: "open"}
    # its key is on no file, so whose host it is stays open; that it works does not
    assert (found.code, found.rows, found.layers["ssh"]) == (0, [], "unknown")
    assert "the host key is on no file" in found.document["layers"]["ssh"]["reason"]


# --- what is left ---


def test_nothing_is_written_and_nobody_is_left_on_either_side(world: World, desk: Desk) -> None:
    desk.forks = None  # an interpreter of its own could write what a fork would not
    world.configure(desk, SSH_SERVICE, web("web", HEALTHY))
    there, here = files(world.home), files(desk.folder)
    on_host, near = world.net.server.pids(), world.net.watcher.pids()
    found = desk.run("diagnose", "box", "--json", env={"TMPDIR": str(desk.folder)})
    assert found.code == 0
    assert "not asked" not in str(found.document["notes"])
    assert (files(world.home), files(desk.folder)) == (there, here)
    gone(world, on_host, near)


def gone(world: World, on_host: set[int], near: set[int]) -> None:
    """Wait until only they are left in both namespaces."""
    end = time.monotonic() + 10
    while world.net.server.pids() - on_host or world.net.watcher.pids() - near:
        assert time.monotonic() < end, "a process is left"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_during_the_probes_ends_with_130_and_leaves_nobody(
    world: World, desk: Desk, number: signal.Signals
) -> None:
    world.configure(desk, SSH_SERVICE, web("hangs", HANGS), f'name = "silent", port = {DROPPED}')
    on_host, near = world.net.server.pids(), world.net.watcher.pids()
    running = subprocess.Popen(
        desk.argv("diagnose", "box", "--json"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=desk.folder, env=desk.env,
    )  # fmt: skip
    try:
        # the agent runs on the host: the probes are under way, and the silent port takes seconds yet
        end = time.monotonic() + 20
        while not world.net.server.pids() - on_host:
            assert time.monotonic() < end
            time.sleep(0.02)
        os.kill(running.pid, number)
        out, err = running.communicate(timeout=20)
    finally:
        running.kill()
        running.wait()
    assert (running.returncode, out, err) == (130, "", "")
    assert children_of(running.pid) == []
    gone(world, on_host, near)
