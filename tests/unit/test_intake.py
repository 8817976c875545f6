"""Sample lines that wait to be worked off together."""

from __future__ import annotations

import asyncio
import json

from probes import clock
from probes.fleet import Fleet, new_link
from probes.hosts import agent, bootstrap
from probes.hosts.intake import AT_ONCE, Intake
from probes.hosts.stream import AgentStream
from probes.model import Host, LinkState

_NONCE = "a" * 16


def _line(seq: int) -> bytes:
    fields = '"cpu":[1,2.0,0.1],"memory":[null,null,null,null,null]'
    text = agent.sample_text(seq, "5.0", fields, "[null,null,null]", "[null,null]", "null", (), None, "{}")
    return text.encode("ascii") + b"\n"


def _stream(fleet: Fleet, intake: Intake, host_id: str = "a") -> AgentStream:
    def live() -> None:
        fleet.set_link(host_id, new_link(LinkState.LIVE))

    stream = AgentStream(fleet, host_id, _NONCE, 1.0, live, intake=intake)
    marker = f"QDK1 {_NONCE} python 3.11.2\n".encode()
    assert bootstrap.parse_marker(marker.rstrip(), _NONCE) is not None
    stream.feed(marker)
    return stream


async def test_the_first_sample_counts_at_once_and_later_ones_wait_with_their_time() -> None:
    fleet, intake = Fleet([Host("a", "a")]), Intake()
    stream = _stream(fleet, intake)
    record = fleet.hosts["a"]
    stream.feed(_line(1))
    assert record.samples == 1
    assert record.link.state is LinkState.LIVE
    stream.feed(_line(2) + _line(3))
    arrived = clock.boot_s()
    assert record.samples == 1
    await asyncio.sleep(0.02)
    assert intake.work() is False
    assert record.samples == 3
    assert record.brief is not None
    assert record.brief.seq == 3
    assert record.sample_at_boot_s <= arrived


async def test_a_storm_is_worked_off_in_parts_and_in_order() -> None:
    fleet, intake = Fleet([Host("a", "a")]), Intake()
    stream = _stream(fleet, intake)
    stream.feed(_line(0))
    for seq in range(1, 2 * AT_ONCE):
        intake.put(stream, _line(seq).rstrip(), 1.0)
    assert intake.work() is True
    assert fleet.hosts["a"].samples == 1 + AT_ONCE
    assert intake.work() is False
    record = fleet.hosts["a"]
    assert record.samples == 2 * AT_ONCE
    assert record.brief is not None
    assert record.brief.seq == 2 * AT_ONCE - 1


async def test_what_an_agent_said_before_its_end_counts_and_what_came_behind_it_does_not() -> None:
    fleet, intake = Fleet([Host("a", "a"), Host("b", "b")]), Intake()
    ending, other = _stream(fleet, intake), _stream(fleet, intake, "b")
    for stream in (ending, other):
        stream.feed(_line(1))
        stream.feed(_line(2))
    ending.closed()
    assert fleet.hosts["a"].samples == 2
    assert fleet.hosts["b"].samples == 1
    ending.feed(_line(3))
    intake.work()
    assert fleet.hosts["a"].samples == 2
    assert fleet.hosts["b"].samples == 2


async def test_a_bad_line_that_waited_is_counted_and_shown_and_costs_the_others_nothing() -> None:
    fleet, intake = Fleet([Host("a", "a"), Host("b", "b")]), Intake()
    bad, good = _stream(fleet, intake), _stream(fleet, intake, "b")
    for stream in (bad, good):
        stream.feed(_line(1))
    wrong = json.dumps({"t": "s", "seq": "two"}, separators=(",", ":")).encode()
    bad.feed(wrong + b"\n")
    good.feed(_line(2))
    intake.work()
    assert fleet.hosts["a"].bad_lines == 1
    assert "int" in fleet.hosts["a"].bad_text
    assert fleet.hosts["b"].samples == 2
