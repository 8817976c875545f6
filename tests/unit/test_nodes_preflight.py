"""The preflight of pairs of nodes against nodes of the test's own making."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from probes.evidence import HoldState, Listener, NodeReach, PairOutcome, PortHold, ReachState
from probes.reach.nodes import Pair, preflight

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

PORT = 29501


class Held:
    def __init__(self, nodes: Nodes, port: PortHold) -> None:
        self.nodes, self.port = nodes, port

    async def end(self) -> PortHold:
        peers = tuple(self.nodes.came.get(self.port.host_id, []))
        if self.nodes.mute:
            return PortHold(host_id=self.port.host_id, port=PORT, state=HoldState.LISTENING, detail="lost")
        return PortHold(
            host_id=self.port.host_id, port=PORT, state=HoldState.LISTENING, accepted=len(peers), peers=peers
        )


class Nodes:
    """Hosts whose names are their addresses; ``holds`` and ``reaches`` say what differs from all being well."""

    def __init__(self) -> None:
        self.holds: dict[str, PortHold] = {}
        self.reaches: dict[tuple[str, str], ReachState] = {}
        self.came: dict[str, list[str]] = {}
        self.elsewhere: set[str] = set()
        self.translated = False
        self.mute = False
        self.holding_now: set[str] = set()
        self.most_held = self.connects = self.most_connects = 0
        self.gate = asyncio.Event()
        self.gate.set()

    @contextlib.asynccontextmanager
    async def holding(self, host_id: str, port: int, seconds: float) -> AsyncGenerator[Held]:
        assert seconds <= 60
        assert host_id not in self.holding_now
        self.holding_now.add(host_id)
        self.most_held = max(self.most_held, len(self.holding_now))
        try:
            yield Held(self, self.holds.get(host_id, PortHold(host_id=host_id, port=port, state=HoldState.LISTENING)))
        finally:
            self.holding_now.remove(host_id)

    async def connect_from(self, host_id: str, address: str, port: int, timeout_s: float) -> NodeReach:
        self.connects += 1
        self.most_connects = max(self.most_connects, self.connects)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.connects -= 1
        state = self.reaches.get((host_id, address), ReachState.OPEN)
        own_end = f"{host_id}:1"
        if state is ReachState.OPEN and address not in self.elsewhere:
            self.came.setdefault(address, []).append("router:9" if self.translated else own_end)
        errno_name = None if state is ReachState.OPEN else "ECONNREFUSED"
        return NodeReach(
            host_id=host_id, address=address, port=port, state=state, own_end=own_end, errno_name=errno_name, detail="d"
        )


async def outcome(nodes: Nodes) -> tuple[PairOutcome, str]:
    (result,) = await preflight(nodes, [Pair("a", "b", "b")], PORT)
    assert (result.source, result.target, result.address, result.port) == ("a", "b", "b", PORT)
    assert not nodes.holding_now
    return result.outcome, result.detail


async def test_reachable_is_what_the_target_itself_saw() -> None:
    assert (await outcome(Nodes()))[0] is PairOutcome.REACHABLE


async def test_open_to_another_machine_is_not_reachable() -> None:
    nodes = Nodes()
    nodes.elsewhere = {"b"}
    found, detail = await outcome(nodes)
    assert found is PairOutcome.OPEN_UNCONFIRMED
    assert "another machine" in detail
    nodes = Nodes()
    nodes.translated = True
    found, detail = await outcome(nodes)
    assert found is PairOutcome.OPEN_UNCONFIRMED
    assert "translation" in detail
    nodes = Nodes()
    nodes.mute = True
    found, detail = await outcome(nodes)
    assert found is PairOutcome.OPEN_UNCONFIRMED
    assert "did not tell" in detail


@pytest.mark.parametrize("state", [ReachState.REFUSED, ReachState.SILENT, ReachState.UNREACHABLE])
async def test_a_connect_that_fails_while_the_target_listens_is_blocked(state: ReachState) -> None:
    nodes = Nodes()
    nodes.reaches["a", "b"] = state
    found, detail = await outcome(nodes)
    assert found is PairOutcome.BLOCKED
    assert state.value in detail
    assert "ECONNREFUSED" in detail


@pytest.mark.parametrize("state", [ReachState.UNKNOWN, ReachState.UNRESOLVED])
async def test_what_the_source_could_not_try_is_not_known(state: ReachState) -> None:
    nodes = Nodes()
    nodes.reaches["a", "b"] = state
    assert (await outcome(nodes))[0] is PairOutcome.UNKNOWN


async def test_a_port_in_use_names_its_holder_and_is_not_dialled() -> None:
    nodes = Nodes()
    holder = Listener(address="0.0.0.0", port=PORT, process="python", pid=7, user="ml")
    nodes.holds["b"] = PortHold(host_id="b", port=PORT, state=HoldState.IN_USE, holder=holder)
    found, detail = await outcome(nodes)
    assert found is PairOutcome.PORT_TAKEN
    assert "by python (pid 7) on 0.0.0.0, user ml" in detail
    assert nodes.most_connects == 0


@pytest.mark.parametrize("state", [HoldState.DENIED, HoldState.UNKNOWN])
async def test_a_target_that_cannot_listen_is_not_known(state: HoldState) -> None:
    nodes = Nodes()
    nodes.holds["b"] = PortHold(host_id="b", port=PORT, state=state, detail="no live link")
    found, detail = await outcome(nodes)
    assert found is PairOutcome.UNKNOWN
    assert "no live link" in detail


async def test_a_hundred_nodes_are_tried_in_bounded_numbers_and_each_pair_has_its_own_result() -> None:
    nodes = Nodes()
    names = [f"n{n}" for n in range(100)]
    pairs = [Pair(one, two, two) for one in names[:10] for two in names if one != two]
    nodes.reaches["n3", "n50"] = ReachState.SILENT
    nodes.holds["n60"] = PortHold(host_id="n60", port=PORT, state=HoldState.DENIED)
    results = await preflight(nodes, pairs, PORT)
    assert [(one.source, one.target) for one in results] == [(pair.source, pair.target) for pair in pairs]
    bad = {(one.source, one.target) for one in results if one.outcome is not PairOutcome.REACHABLE}
    assert bad == {("n3", "n50"), *((name, "n60") for name in names[:10])}
    assert nodes.most_held <= 16
    assert nodes.most_connects <= 10 * 8


async def test_the_same_pair_twice_and_no_pairs_at_all() -> None:
    assert await preflight(Nodes(), [], PORT) == ()
    results = await preflight(Nodes(), [Pair("a", "b", "b"), Pair("a", "b", "b")], PORT)
    assert [one.outcome for one in results] == [PairOutcome.REACHABLE] * 2


async def test_a_cancelled_preflight_lets_go_of_every_port() -> None:
    nodes = Nodes()
    nodes.gate.clear()
    task = asyncio.create_task(preflight(nodes, [Pair("a", "b", "b"), Pair("a", "c", "c")], PORT))
    while nodes.connects < 2:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not nodes.holding_now
