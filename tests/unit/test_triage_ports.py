"""Rows 18 to 20, 25, 27, 28: what a port's own answer proves, and what the host says beside it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from probes.evidence import Hop
from probes.judge.diagnosis import Confidence
from probes.judge.triage import diagnose
from probes.model import LinkState, PortState
from tests.support.evidence import (
    BACKEND,
    FIVE,
    LIVE,
    NOW,
    SSH,
    X,
    aws,
    commands,
    host,
    icmp,
    inside,
    instance,
    opened,
    outcome,
    reset,
    rows,
    rule,
    silent,
    verdict,
)

R = "--region ap-northeast-1"
ALL_SILENT = tuple(silent(service) for service in FIVE)


# --- row 18 ---


def test_row_18_a_reset_exonerates_the_way() -> None:
    found = host(opened(SSH), reset())
    one = verdict(found, 18)
    assert (one.layer, one.service, one.confidence) == ("tcp", "openvoice", Confidence.HIGH)
    assert one.statement == "no listener on 8001 (openvoice): RST, the host is up"
    assert one.evidence == (
        "8001 (openvoice): RST after 21.0 ms",
        "security group, network ACL, route and address are exonerated: packets arrive and come back",
    )
    assert commands(one) == [f"ssh -p 22 ubuntu@{X} 'systemctl status openvoice; docker ps'"]
    diagnosis = diagnose(host(reset()))
    for name in ("egress", "address", "instance", "security_group", "nacl", "route", "host_firewall"):
        assert outcome(diagnosis, name) == "pass", name
    assert outcome(diagnosis, "tcp") == "block"


def test_row_18_never_says_to_log_in_over_ssh_when_ssh_is_what_is_refused() -> None:
    assert commands(verdict(host(reset(SSH)), 18)) == [None]
    facts = aws(instance=instance(has_ssm=True))
    assert commands(verdict(host(reset(SSH), aws=facts), 18))[0] == (
        "aws ssm send-command --instance-ids i-0aaa --document-name AWS-RunShellScript --parameters "
        f'\'{{"commands": ["systemctl status ssh sshd", "docker ps"]}}\' {R}'
    )


def test_row_18_by_errno_alone_is_less_sure() -> None:
    one = verdict(host(reset(detail="reset (by errno alone: this system does not show who answered)")), 18)
    assert one.confidence is Confidence.MEDIUM
    assert len(one.evidence) == 1


def test_row_18_against_a_listener_inside_is_a_contradiction() -> None:
    found = host(opened(SSH), reset(), inside=inside(("0.0.0.0", 22), ("0.0.0.0", 8001)))
    one = verdict(found, 18)
    assert one.confidence is Confidence.MEDIUM
    assert one.statement.startswith("RST on 8001 (openvoice) although the host says it listens")
    assert diagnose(found).contradictions == (
        "the host says that 8001 listens on 0.0.0.0, yet 8001 (openvoice): RST after 21.0 ms",
    )


@pytest.mark.parametrize(
    "port",
    [silent(), opened(), icmp(3), icmp(3, "10.0.0.1"), silent(state=PortState.NOT_PROBED)],
)
def test_row_18_does_not_fire(port) -> None:
    assert 18 not in rows(host(opened(SSH), port))


def test_a_reset_that_aws_contradicts_leaves_the_layer_unknown() -> None:
    diagnosis = diagnose(host(reset(), aws=aws(rules=(rule(22),))))
    assert outcome(diagnosis, "security_group") == "unknown"
    assert any("configuration denies, yet it answers" in one for one in diagnosis.contradictions)


# --- rows 19 and 20 ---


@pytest.mark.parametrize("code", [3, 10, 13])
def test_row_19_the_host_itself_rejects(code) -> None:
    found = host(opened(SSH), icmp(code))
    one = verdict(found, 19)
    assert (one.layer, one.confidence) == ("host_firewall", Confidence.HIGH)
    assert one.statement == f"host firewall rejects 8001 (openvoice): ICMP 3/{code} from {X}, the host itself"
    assert commands(one) == [f"ssh -p 22 ubuntu@{X} 'sudo nft list ruleset'"]
    assert rows(found) == [19]


def test_row_19_over_ipv6() -> None:
    port = icmp(1, "2001:db8::5", address="2001:db8::5", icmp_family=6, icmp_type=1, errno_name="EACCES")
    assert rows(host(port, address="2001:db8::5")) == [19]


@pytest.mark.parametrize("port", [icmp(3, "10.0.0.1"), icmp(3, None), reset(), silent()])
def test_row_19_does_not_fire(port) -> None:
    assert 19 not in rows(host(opened(SSH), port))


def test_row_20_names_the_hop() -> None:
    hops = (Hop(ttl=1, address="192.0.2.1"), Hop(ttl=2, address=None), Hop(ttl=3, address="198.51.100.9"))
    found = host(opened(SSH), icmp(13, "198.51.100.9", hops=hops))
    one = verdict(found, 20)
    assert (one.layer, one.confidence) == ("route", Confidence.HIGH)
    assert one.statement == ("the firewall of 198.51.100.9, a hop that is not the host: ICMP 3/13 for 8001 (openvoice)")
    assert one.evidence[-1] == "hops: 1 192.0.2.1, 3 198.51.100.9"
    assert commands(one) == ["whois 198.51.100.9", f"tracepath -n {X}"]


def test_row_20_on_our_side_of_the_internet() -> None:
    assert verdict(host(opened(SSH), icmp(13, "10.1.1.1")), 20).layer == "egress"


def test_row_20_a_router_without_a_way_on() -> None:
    port = icmp(0, "198.51.100.9", state=PortState.UNREACHABLE)
    assert verdict(host(opened(SSH), port), 20).statement.startswith("no way on from 198.51.100.9")


@pytest.mark.parametrize(
    "port", [icmp(3), icmp(3, None), icmp(13, "192.168.1.5", offender_is_own=True), silent(), reset()]
)
def test_row_20_does_not_fire(port) -> None:
    assert 20 not in rows(host(opened(SSH), port))


# --- row 25 ---


def test_row_25_the_session_lives_and_new_connects_are_silent() -> None:
    found = host(silent(SSH), link=LIVE, aws=aws())
    one = verdict(found, 25)
    assert one.confidence is Confidence.MEDIUM
    # AWS still lets us in: it was a rule of the host's own
    assert one.layer == "host_firewall"
    assert verdict(host(silent(SSH), link=LIVE), 25).layer == "security_group"
    assert verdict(host(silent(SSH), link=LIVE, aws=aws(rules=())), 25).layer == "security_group"
    assert one.statement == "a rule was just removed: the SSH session lives, and new connects to 22 (ssh) are silent"
    assert commands(one) == [
        None,
        f"aws ec2 describe-security-group-rules --filters Name=group-id,Values=sg-1 {R}",
        (
            "aws cloudtrail lookup-events --lookup-attributes AttributeKey=ResourceName,AttributeValue=sg-1 "
            f"--max-results 20 {R}"
        ),
    ]


@pytest.mark.parametrize(
    "found",
    [
        host(opened(SSH), link=LIVE),
        host(reset(SSH), link=LIVE),
        host(silent(SSH)),
        host(silent(SSH), link=replace(LIVE, established=False)),
        host(silent(SSH), link=replace(LIVE, state=LinkState.STALE)),
        host(opened(SSH), silent(), link=LIVE),
        host(silent(SSH, via="jump"), link=LIVE),
    ],
)
def test_row_25_does_not_fire(found) -> None:
    assert 25 not in rows(found)


# --- rows 27 and 28 ---


def test_row_27_bound_to_loopback() -> None:
    found = host(opened(SSH), reset(), inside=inside(("0.0.0.0", 22), ("127.0.0.1", 8001)))
    one = verdict(found, 27)
    assert (one.layer, one.confidence) == ("tcp", Confidence.CERTAIN)
    assert one.statement == "bind address: 8001 (openvoice) listens on 127.0.0.1 only, and is refused outside"
    assert one.evidence[1] == "inside (agent): 127.0.0.1:8001 (python, pid 812)"
    assert commands(one) == [None, f"ssh -N -L 8001:127.0.0.1:8001 -p 22 ubuntu@{X}"]
    assert rows(found) == [27]


@pytest.mark.parametrize(
    "found",
    [
        host(opened(SSH), reset()),
        host(opened(SSH), reset(), inside=inside()),
        host(opened(SSH), reset(), inside=inside(("127.0.0.1", 8001), ("10.0.0.5", 8001))),
        host(opened(SSH), reset(), inside=inside(("127.0.0.1", 9000))),
        host(opened(SSH), silent(), inside=inside(("127.0.0.1", 8001))),
        host(opened(SSH), reset(), inside=inside(("127.0.0.1", 8001), listeners=None)),
        # too old to be held against the probe
        host(opened(SSH), reset(), inside=inside(("127.0.0.1", 8001), at_wall_s=NOW - 600.0)),
    ],
)
def test_row_27_does_not_fire(found) -> None:
    assert 27 not in rows(found)


def test_row_28_a_filter_between() -> None:
    found = host(opened(SSH), silent(), inside=inside(("0.0.0.0", 22), ("0.0.0.0", 8001)))
    one = verdict(found, 28)
    assert (one.layer, one.confidence) == ("tcp", Confidence.CERTAIN)
    assert one.statement == (
        "a filter stands between: 8001 (openvoice) listens on the host, silent from here; "
        "which one, rows 10 to 16 cannot say yet"
    )
    assert one.evidence[1] == "inside (agent): 0.0.0.0:8001 (python, pid 812)"
    diagnosis = diagnose(found)
    assert "service" in [one.name for one in diagnosis.causes if one.state == "ruled_out"]


def test_row_28_says_which_row_knows() -> None:
    both = inside(("0.0.0.0", 22), ("::", 8001))
    assert verdict(host(opened(SSH), silent(), inside=both, aws=aws()), 28).statement.endswith("row 16 says which")
    closed = aws(rules=(rule(22),))
    assert verdict(host(opened(SSH), silent(), inside=both, aws=closed), 28).statement.endswith("row 10 says which")


@pytest.mark.parametrize(
    "found",
    [
        host(opened(SSH), silent()),
        host(opened(SSH), silent(), inside=inside(("127.0.0.1", 8001))),
        host(opened(SSH), opened(), inside=inside(("0.0.0.0", 8001))),
        # SSH is dead: what Session Manager says is no proof of a filter (route and address are possible too)
        host(silent(SSH), silent(), inside=inside(("0.0.0.0", 8001), source="ssm")),
        host(opened(SSH), silent(), inside=inside(("0.0.0.0", 8001), at_wall_s=NOW - 600.0)),
    ],
)
def test_row_28_does_not_fire(found) -> None:
    assert 28 not in rows(found)


def test_an_old_inside_view_is_said_to_be_old() -> None:
    notes = diagnose(host(opened(SSH), silent(), inside=inside(at_wall_s=NOW - 600.0))).notes
    assert "the host's own view is more than 120 s from the probes and was not used" in notes


def test_ports_seen_from_a_jump_host_are_labelled() -> None:
    found = host(opened(SSH, via="bastion"), reset(BACKEND, via="bastion"), controls=())
    assert verdict(found, 18).evidence[0] == "55433 (backend): RST after 21.0 ms, seen from bastion"
    diagnosis = diagnose(found)
    assert outcome(diagnosis, "egress") == "not_applicable"
    assert commands(verdict(found, 18)) == [f"ssh -p 22 -J bastion ubuntu@{X} 'systemctl status backend; docker ps'"]


def test_this_machine_is_looked_at_here() -> None:
    one = verdict(host(reset(), local=True, address="127.0.0.1"), 18)
    assert [(action.text, action.command) for action in one.next_actions] == [
        ("look at the service openvoice, here", "sh -c 'systemctl status openvoice; docker ps'")
    ]
