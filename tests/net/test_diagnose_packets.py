"""Rows 1, 2, 18 to 24 and 26 to 29 from real packets through the real command line, between namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncssh
import pytest

from tests.support.diagnose_world import (
    ANCHORS,
    DROPPED,
    HOST,
    NOTHING,
    REJECTED,
    REJECTED_BY_ROUTER,
    REJECTED_BY_US,
    ROUTER,
    SSH_SERVICE,
    World,
    chain,
    web,
)
from tests.support.diagnose_world import (
    world as made_world,
)
from tests.support.diagnosing import Desk, Found
from tests.support.forks import Forks
from tests.support.many_services import CLOSES, FAILING, FILTERED, HEALTHY, LOOPBACK, MUTE_SSH, SECURE

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
    """A watcher that has no AWS credentials."""
    return Desk(tmp_path / "desk", world.net.watcher, forks=forks)


def test_a_healthy_host_has_no_verdict_and_exit_0(desk: Desk, world: World) -> None:
    world.configure(desk, SSH_SERVICE, web("web", HEALTHY))
    found = desk.diagnose("box", login=True)
    assert (found.code, found.rows, found.document["severity"]["level"]) == (0, [], "none")
    assert found.layers == {
        "resolve": "not_applicable", "egress": "pass", "address": "pass", "instance": "pass", "security_group": "pass",
        "nacl": "pass", "route": "pass", "host_firewall": "pass", "tcp": "pass", "ssh": "pass",
        "tls": "not_applicable", "http": "pass",
    }  # fmt: skip
    assert (found.document["recovery"], found.document["contradictions"]) == ([], [])


def test_row_1_our_own_firewall(desk: Desk) -> None:
    desk.config(ANCHORS)
    found = desk.diagnose(HOST, "--ports", str(REJECTED_BY_US))
    assert found.code == 1
    assert found.rows == [
        Found(
            1,
            "egress",
            None,
            "block",
            "high",
            "show which way this machine would take; stop here",
            f"ip route get {HOST}",
        )
    ]


def test_row_1_the_control_fails_too(desk: Desk) -> None:
    desk.config(f'[triage]\nanchors = ["{HOST}:{DROPPED}"]\n')
    found = desk.diagnose(HOST, "--ports", str(FILTERED))
    assert found.code == 1
    assert found.row(1).command == f"ip route get {HOST}"
    assert found.document["severity"]["level"] == "unknown"
    assert found.layers["security_group"] == "unknown"


def test_row_1_unreachable_at_once(desk: Desk) -> None:
    desk.config("")
    found = desk.diagnose("10.97.0.1", "--ports", "22")
    assert (found.code, [one.row for one in found.rows]) == (1, [1])
    assert found.row(1).command == "ip route get 10.97.0.1"
    assert "no packet left" in found.document["verdicts"][0]["statement"]


def test_row_2_a_name_with_another_address_than_configured(desk: Desk, world: World) -> None:
    desk.names(**{"box.test": "10.77.2.9"})
    labels = f'labels = {{ address = "{HOST}" }}\n'
    world.configure(desk, web("web", HEALTHY), host=labels, address="box.test")
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.row(2) == Found(
        2, "resolve", None, "block", "high", "show what the name resolves to", "getent ahosts box.test"
    )
    second = found.document["verdicts"][0]["next_actions"][1]
    assert second["command"] == f"quarterdeck diagnose {HOST} --ports {HEALTHY}"


def test_row_2_a_name_that_does_not_resolve(desk: Desk) -> None:
    desk.config("")
    found = desk.diagnose("nobody.test", "--ports", "22")
    assert found.code == 1
    assert found.rows == [
        Found(2, "resolve", None, "block", "high", "show what the name resolves to", "getent ahosts nobody.test")
    ]
    assert found.states == {22: "unresolved"}


def test_row_18_nothing_listens(desk: Desk, world: World) -> None:
    world.configure(desk, SSH_SERVICE, web("web", NOTHING))
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            18, "tcp", "web", "block", "high", "look at the service web, over SSH",
            f"ssh -p 22 ops@{HOST} 'systemctl status web; docker ps'",
        )
    ]  # fmt: skip
    exonerated = ("egress", "address", "instance", "security_group", "nacl", "route", "host_firewall")
    assert {found.layers[name] for name in exonerated} == {"pass"}


def test_row_19_the_host_s_firewall_rejects(desk: Desk, world: World) -> None:
    world.configure(desk, SSH_SERVICE, web("web", REJECTED))
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            19, "host_firewall", "web", "block", "high", "list the host's firewall rules, over SSH",
            f"ssh -p 22 ops@{HOST} 'sudo nft list ruleset'",
        )
    ]  # fmt: skip


def test_row_20_a_hop_s_firewall_rejects(desk: Desk) -> None:
    desk.config(ANCHORS)
    found = desk.diagnose(HOST, "--ports", str(REJECTED_BY_ROUTER))
    assert found.code == 1
    assert found.rows == [
        Found(
            20, "route", f"tcp-{REJECTED_BY_ROUTER}", "block", "high", "find the owner of that hop and ask there",
            f"whois {ROUTER}",
        )
    ]  # fmt: skip
    assert ROUTER in found.document["verdicts"][0]["statement"]


def test_row_21_opens_then_closes_without_a_byte(desk: Desk, world: World) -> None:
    world.configure(desk, SSH_SERVICE, web("web", CLOSES))
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            21, "http", "web", "block", None, "containers, and the log of web, over SSH",
            f"ssh -p 22 ops@{HOST} 'docker ps -a; systemctl status web'",
        )
    ]  # fmt: skip


def test_row_22_ssh_without_a_banner(desk: Desk, world: World) -> None:
    world.configure(desk, f'name = "ssh", port = {MUTE_SSH}, kind = "ssh"')
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            22, "ssh", "ssh", "block", None, "ask again, with a longer limit",
            f"ssh-keyscan -T 10 -p {MUTE_SSH} {HOST}",
        )
    ]  # fmt: skip


def test_row_23_a_path_mtu_black_hole(tmp_path: Path) -> None:
    """The middle link carries 1300 bytes, and no router says so."""
    with made_world(tmp_path, routers=2, middle_mtu=1300) as long:
        for router in (long.net.router, long.net.far_router):
            router.rules(chain("output", "icmp type destination-unreachable icmp code frag-needed drop"))
        desk = Desk(tmp_path / "desk", long.net.watcher)
        long.configure(desk, SSH_SERVICE)
        found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(23, "ssh", "ssh", "block", "high", "show where the path narrows", f"tracepath -n {HOST}")
    ]
    commands = [one["command"] for one in found.document["verdicts"][0]["next_actions"]]
    assert commands[2] == "sudo sysctl -w net.ipv4.tcp_mtu_probing=1"


def test_row_24_another_host_key(desk: Desk, world: World) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    world.configure(desk, SSH_SERVICE)
    desk.known_hosts.write_text(f"{HOST} {other.export_public_key().decode().strip()}\n")
    found = desk.diagnose("box", login=True)
    assert found.code == 1
    assert found.rows == [Found(24, "ssh", "ssh", "block", "high", "stop, and send no credentials there", None)]
    (verdict,) = found.document["verdicts"]
    assert verdict["next_actions"][1]["command"] == f"ssh-keygen -F {HOST}"
    assert f"host key presented: {world.fingerprint}" in verdict["evidence"]
    assert f"host key on file: {other.get_fingerprint()}" in verdict["evidence"]
    assert found.document["recovery"] == []


def test_row_24_another_certificate_than_the_pinned_one(desk: Desk, world: World) -> None:
    other = "SHA256:" + "0b" * 32
    world.configure(desk, web("secure", SECURE, f', tls = true, tls_verify = false, pin = "{other}"'))
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [Found(24, "tls", "secure", "block", "high", "stop, and send no credentials there", None)]
    evidence = found.document["verdicts"][0]["evidence"]
    assert evidence[1:] == [f"certificate presented: {world.pin}", f"certificate on file: {other}"]


def test_row_24_does_not_fire_for_the_pinned_certificate(desk: Desk, world: World) -> None:
    world.configure(desk, web("secure", SECURE, f', tls = true, tls_verify = false, pin = "{world.pin}"'))
    found = desk.diagnose("box")
    assert (found.code, found.rows, found.layers["tls"]) == (0, [], "pass")
    assert "the certificate is the pinned one" in found.document["layers"]["tls"]["reason"]


def test_row_26_http_fails_after_tcp(desk: Desk, world: World) -> None:
    world.configure(desk, web("web", FAILING))
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            26, "http", "web", "block", "certain", "see the answer yourself",
            f"curl -sv --max-time 10 http://{HOST}:{FAILING}/health",
        )
    ]  # fmt: skip
    evidence = found.document["verdicts"][0]["evidence"]
    assert evidence[2:] == ["status 500", "first line of the body: no model"]


def test_row_26_tls_fails_after_tcp(desk: Desk, world: World) -> None:
    world.configure(desk, web("secure", SECURE, ", tls = true"))
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            26, "tls", "secure", "block", "certain", "see the answer yourself",
            f"curl -sv --max-time 10 https://{HOST}:{SECURE}/health",
        )
    ]  # fmt: skip
    assert found.document["verdicts"][0]["statement"].endswith("TLS fails: self-signed")


def test_row_27_listens_on_loopback_only(desk: Desk, world: World) -> None:
    world.configure(desk, SSH_SERVICE, web("web", LOOPBACK))
    found = desk.diagnose("box", login=True)
    assert found.code == 1
    assert found.rows == [
        Found(
            27, "tcp", "web", "block", "certain",
            "make web listen on 0.0.0.0 or the host's address, and restart it", None,
        )
    ]  # fmt: skip
    second = found.document["verdicts"][0]["next_actions"][1]
    assert second["command"] == f"ssh -N -L {LOOPBACK}:127.0.0.1:{LOOPBACK} -p 22 ops@{HOST}"


def test_row_28_listens_inside_and_is_silent_outside(desk: Desk, world: World) -> None:
    world.configure(desk, SSH_SERVICE, web("web", FILTERED))
    found = desk.diagnose("box", login=True)
    assert found.code == 1
    assert found.row(28) == Found(
        28, "tcp", "web", "block", "certain", "list the host's firewall rules and its listening ports, over SSH",
        f"ssh -p 22 ops@{HOST} 'sudo nft list ruleset; ss -ltnp'",
    )  # fmt: skip


def test_row_29_silent_and_nobody_says_why(desk: Desk) -> None:
    desk.config(ANCHORS)
    found = desk.diagnose(HOST, "--ports", str(DROPPED))
    assert found.code == 3
    assert [one.row for one in found.rows] == [29]
    assert found.row(29).outcome == "unknown"
    assert found.row(29).confidence is None
    assert set(found.layers.values()) <= {"pass", "unknown", "not_applicable"}
