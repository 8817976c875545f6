from __future__ import annotations

import pytest
from msgspec.structs import replace

from probes.fleet import Fleet, new_link
from probes.judge.drift import drifts, majorities
from probes.judge.ssh_steps import STEPS, Outcome, ssh_steps
from probes.model import LinkState
from tests.support.fleets import hello, host

P, F, N, U = Outcome.PASSED, Outcome.FAILED, Outcome.NOT_REACHED, Outcome.UNKNOWN


def fleet_with(*drivers: str | None) -> Fleet:
    fleet = Fleet(host(f"h{i}") for i in range(len(drivers)))
    for host_id, driver in zip(fleet.hosts, drivers, strict=True):
        if driver != "silent":
            fleet.set_hello(host_id, hello(driver=driver))
    return fleet


def driver_drift(fleet: Fleet, host_id: str) -> str | None:
    said = fleet.hosts[host_id].hello
    assert said is not None
    found = drifts(said, majorities(fleet.hosts.values())).get("driver")
    return found.value if found else None


def test_the_odd_one_out_drifts_and_the_others_do_not() -> None:
    fleet = fleet_with("570", "570", "535")
    assert driver_drift(fleet, "h2") == "570"
    assert driver_drift(fleet, "h0") is None
    assert majorities(fleet.hosts.values())["driver"].count == 2
    assert majorities(fleet.hosts.values())["driver"].total == 3


def test_without_a_majority_nobody_drifts() -> None:
    assert driver_drift(fleet_with("570", "535"), "h1") is None
    assert "driver" not in majorities(fleet_with("1", "2", "3").hosts.values())
    assert majorities(Fleet().hosts.values()) == {}


def test_hosts_that_did_not_say_do_not_count_and_do_not_drift() -> None:
    fleet = fleet_with("570", "570", None, "silent")
    assert majorities(fleet.hosts.values())["driver"].total == 2
    assert driver_drift(fleet, "h2") is None


def steps_of(state: LinkState, layer: str | None = None, cause: str | None = None, **over) -> list[Outcome]:
    fleet = Fleet([host("h", **over)])
    fleet.set_hello("h", hello(hostname="node7"))
    fleet.hosts["h"].link = new_link(state, layer=layer, cause=cause)
    return [step.outcome for step in ssh_steps(fleet.hosts["h"])]


def test_a_live_session_passed_every_step_and_says_the_hostname() -> None:
    assert steps_of(LinkState.LIVE) == [P] * 7
    assert steps_of(LinkState.STALE, "silence", "no sample for 6 s") == [P] * 7
    fleet = Fleet([host("h")])
    fleet.set_hello("h", hello(hostname="node7"))
    fleet.hosts["h"].link = new_link(LinkState.LIVE)
    assert ssh_steps(fleet.hosts["h"])[-1].detail == "node7"


@pytest.mark.parametrize(
    ("state", "layer", "outcomes"),
    [
        (LinkState.UNREACHABLE, "resolve", [F, N, N, N, N, N, N]),
        (LinkState.UNREACHABLE, "tcp", [P, F, N, N, N, N, N]),
        (LinkState.UNREACHABLE, "banner", [P, P, F, N, N, N, N]),
        (LinkState.UNREACHABLE, "kex", [P, P, P, F, N, N, N]),
        (LinkState.HOST_KEY_CHANGED, "host_key", [P, P, P, P, F, N, N]),
        (LinkState.AUTH_FAILED, "auth", [P, P, P, P, P, F, N]),
        (LinkState.AGENT_FAILED, "bootstrap", [P, P, P, P, P, P, F]),
        (LinkState.AGENT_FAILED, "flood", [P, P, P, P, P, P, P]),
    ],
)
def test_what_failed_is_failed_what_came_before_passed_what_came_after_was_not_reached(state, layer, outcomes) -> None:
    assert steps_of(state, layer, "why") == outcomes
    fleet = Fleet([host("h")])
    fleet.hosts["h"].link = new_link(state, layer=layer, cause="why")
    failed = [step for step in ssh_steps(fleet.hosts["h"]) if step.outcome is F]
    assert all(step.detail == "why" for step in failed)


def test_what_cannot_be_told_is_unknown() -> None:
    assert steps_of(LinkState.CONNECTING) == [U] * 7
    assert steps_of(LinkState.PAUSED) == [U] * 7
    assert steps_of(LinkState.UNREACHABLE, "jump", "no way through the jump host") == [U] * 7
    assert steps_of(LinkState.AGENT_FAILED, "internal", "a defect") == [U] * 7


def test_a_live_host_that_has_not_said_its_name_yet() -> None:
    fleet = Fleet([host("h")])
    fleet.hosts["h"].link = new_link(LinkState.LIVE)
    steps = ssh_steps(fleet.hosts["h"])
    assert steps[-1].outcome is U
    assert [step.name for step in steps] == list(STEPS)


def test_this_machine_has_no_ssh() -> None:
    assert set(steps_of(LinkState.LIVE, local=True)) == {Outcome.NOT_APPLICABLE}


def test_the_link_before_is_not_looked_at() -> None:
    fleet = Fleet([host("h")])
    fleet.hosts["h"].link = replace(new_link(LinkState.AUTH_FAILED, layer="auth", cause="x"), attempt=3)
    assert [step.outcome for step in ssh_steps(fleet.hosts["h"])][5] is F
    fleet.hosts["h"].link = new_link(LinkState.LIVE)
    assert [step.outcome for step in ssh_steps(fleet.hosts["h"])][5] is P
