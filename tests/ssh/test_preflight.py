"""``preflight`` over real sshd on machines of their own: three network namespaces that reach each other."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.diagnosing import Answer, Desk
from tests.support.netns import Net
from tests.support.sshd import Keys, RealSshd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("root", "netns", "nft", "ip", "nsenter", "sshd")

ADDRESSES = {"near": "10.77.1.2", "middle": "10.77.1.1", "far": "10.77.2.2"}
FREE, TAKEN, FILTERED = 29501, 29502, 29503
#: what comes from the middle is dropped by the far one
NOT_FROM_MIDDLE = f"""
table inet t {{
  chain c {{
    type filter hook input priority 0;
    ip saddr 10.77.2.1 tcp dport {FILTERED} drop
  }}
}}
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("nodes")
    keys = Keys(folder)
    with Net() as net:
        spaces = {"near": net.watcher, "middle": net.router, "far": net.server}
        servers = {
            # sshd needs the users of this machine: only the network is another
            name: RealSshd(
                folder / name, keys, address=ADDRESSES[name], port=22, enter=tuple(spaces[name].enter("-n"))
            ).start()
            for name in spaces
        }
        net.server.rules(NOT_FROM_MIDDLE)
        net.listen(net.server, TAKEN)
        try:
            yield SimpleNamespace(net=net, keys=keys, servers=servers)
        finally:
            for server in servers.values():
                server.stop()


@pytest.fixture
def desk(nodes: SimpleNamespace, tmp_path: Path) -> Desk:
    desk = Desk(tmp_path / "desk", nodes.net.watcher)
    known = [(nodes.servers[name].known_hosts.read_text().split(maxsplit=1)[1], name) for name in ADDRESSES]
    desk.known_hosts.write_text("".join(f"{ADDRESSES[name]} {key}" for key, name in known))
    desk.config(
        "".join(
            f'[[hosts]]\nid = "{name}"\naddress = "{address}"\nuser = "root"\ngroups = ["all"]\n'
            f'identity_files = ["{nodes.keys.private}"]\n'
            for name, address in ADDRESSES.items()
        )
    )
    return desk


def outcomes(found: Answer) -> dict[tuple[str, str], str]:
    return {(pair["source"], pair["target"]): pair["outcome"] for pair in found.document["pairs"]}


def test_every_ordered_pair_is_tried_and_timed(desk: Desk) -> None:
    found = desk.run("preflight", "all", "--port", str(FREE), "--json")
    assert found.code == 0, found.err
    pairs: list[dict[str, Any]] = found.document["pairs"]
    names = list(ADDRESSES)
    assert list(outcomes(found)) == [(one, other) for one in names for other in names if one != other]
    assert set(outcomes(found).values()) == {"reachable"}
    assert found.document["summary"] == "6 of 6 pairs reachable"
    for pair in pairs:
        assert (pair["address"], pair["connected_to"]) == (ADDRESSES[pair["target"]],) * 2
        assert pair["connect_ms"] > 0
        assert pair["missing"] == {}


def test_a_filter_between_two_nodes_is_named_and_ends_with_1(desk: Desk) -> None:
    found = desk.run("preflight", "middle", "far", "--port", str(FILTERED), "--timeout", "0.5", "--json")
    assert found.code == 1
    assert outcomes(found) == {("middle", "far"): "blocked", ("far", "middle"): "reachable"}
    blocked = found.document["pairs"][0]
    assert blocked["detail"] == "the target listened, the connect was silent (ETIMEDOUT)"
    assert (blocked["connect_ms"], blocked["missing"]["connect_ms"]) == (None, "error")
    text = desk.run("preflight", "middle", "far", "--port", str(FILTERED), "--timeout", "0.5")
    assert text.code == 1
    first, second, third = text.out.splitlines()
    assert first == f"port {FILTERED}: 1 of 2 pairs reachable, 1 blocked"
    assert second == "  BLOCKED     middle -> far (10.77.2.2): the target listened, the connect was silent (ETIMEDOUT)"
    assert third.startswith("  reachable   far -> middle (10.77.1.1) in ")


def test_a_taken_port_is_said_with_its_holder(desk: Desk) -> None:
    found = desk.run("preflight", "near", "far", "--port", str(TAKEN), "--json")
    assert found.code == 1
    assert outcomes(found) == {("near", "far"): "port_taken", ("far", "near"): "reachable"}
    assert "by python" in found.document["pairs"][0]["detail"]


def test_the_address_by_which_others_know_a_node(desk: Desk) -> None:
    found = desk.run(
        "preflight", "near=10.77.1.99", "middle=10.77.2.1", "--port", str(FREE), "--timeout", "0.5", "--json"
    )
    assert found.code == 1
    assert [(pair["address"], pair["outcome"]) for pair in found.document["pairs"]] == [
        ("10.77.2.1", "reachable"),
        ("10.77.1.99", "blocked"),
    ]


def test_a_node_without_a_session_is_not_known(desk: Desk) -> None:
    """Its key is on no file, so nobody logs in."""
    lines = desk.known_hosts.read_text().splitlines(keepends=True)
    desk.known_hosts.write_text("".join(line for line in lines if not line.startswith(ADDRESSES["far"])))
    found = desk.run("preflight", "near", "far", "--port", str(FREE), "--json")
    assert found.code == 3
    assert set(outcomes(found).values()) == {"unknown"}
    assert all("host key unknown" in pair["detail"] for pair in found.document["pairs"])


def test_nothing_listens_and_no_agent_runs_afterwards(nodes: SimpleNamespace, desk: Desk) -> None:
    before = nodes.net.server.pids()
    assert desk.run("preflight", "near", "far", "--port", str(FREE)).code == 0
    states = nodes.net.probe(1.0, (ADDRESSES["near"], FREE), (ADDRESSES["far"], FREE))
    assert [one["state"] for one in states] == ["refused", "refused"]
    end = time.monotonic() + 10
    while nodes.net.server.pids() > before:
        assert time.monotonic() < end, "the agent or its sshd is still there"
        time.sleep(0.05)
