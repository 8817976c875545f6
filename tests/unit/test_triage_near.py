"""Rows 1 to 5: our own side, the name, whose address it is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from probes.cloud.facts import Address
from probes.evidence import Names
from probes.judge.diagnosis import Confidence
from probes.judge.triage import diagnose
from probes.model import PortState
from tests.support.evidence import (
    ADDRESS,
    CONTROL,
    DEAD_CONTROL,
    FIVE,
    LIVE,
    REGION,
    SSH,
    X,
    aws,
    commands,
    host,
    icmp,
    instance,
    opened,
    outcome,
    reset,
    rows,
    silent,
    verdict,
)

ALL_SILENT = tuple(silent(service) for service in FIVE)


# --- row 1 ---


def test_row_1_the_control_fails_too() -> None:
    found = host(*ALL_SILENT, controls=(DEAD_CONTROL,))
    diagnosis = diagnose(found)
    (one,) = diagnosis.verdicts
    assert (one.row, one.layer, one.confidence) == (1, "egress", Confidence.HIGH)
    assert one.statement == (
        f"our network, VPN or firewall: the control fails too (gpu-2), so nothing is known of {X} itself"
    )
    assert one.evidence[0] == "control gpu-2 (3.115.141.166:22): filtered: no answer within 3.5 s"
    assert commands(one) == [f"ip route get {X}"]
    assert outcome(diagnosis, "egress") == "block"
    assert {outcome(diagnosis, name) for name in ("address", "instance", "security_group", "route", "tcp")} == {
        "unknown"
    }
    assert diagnosis.severity.level.value == "unknown"


def test_row_1_unreachable_at_once() -> None:
    at_once = [
        silent(service, state=PortState.UNREACHABLE, syns_sent=None, elapsed_ms=0.1, errno_name="ENETUNREACH")
        for service in FIVE
    ]
    found = host(*at_once)
    assert rows(found) == [1]
    assert "unreachable at once" in verdict(found, 1).statement


def test_row_1_the_offender_is_ourselves() -> None:
    found = host(icmp(3, "192.168.1.5", offender_is_own=True))
    assert rows(found) == [1]
    assert verdict(found, 1).statement == (
        f"our network, VPN or firewall: our own machine refuses the way to {X} (ports 8001)"
    )


def test_row_1_nobody_on_our_own_network_answers() -> None:
    found = host(icmp(1, "192.168.1.5", offender_is_own=True, state=PortState.UNREACHABLE, elapsed_ms=3050.0))
    assert "nobody on it answers for 18.118.69.100, or for the gateway to it" in verdict(found, 1).statement


def test_row_1_stops_here_even_when_aws_knows_more() -> None:
    dead = aws(instance=instance(state="stopped"))
    diagnosis = diagnose(host(*ALL_SILENT, controls=(DEAD_CONTROL,), aws=dead))
    assert [one.row for one in diagnosis.verdicts] == [1]
    assert "AWS says that i-0aaa is stopped: look there when our own way out works" in diagnosis.notes


def test_row_1_for_one_port_leaves_the_others_alone() -> None:
    found = host(opened(SSH), icmp(3, "192.168.1.5", offender_is_own=True))
    assert rows(found) == [1]
    assert outcome(diagnose(found), "ssh") == "pass"


@pytest.mark.parametrize(
    "found",
    [
        host(*ALL_SILENT),
        host(*ALL_SILENT, controls=()),
        host(*ALL_SILENT, controls=(replace(DEAD_CONTROL, state=PortState.NOT_PROBED),)),
        host(*ALL_SILENT, controls=(DEAD_CONTROL, CONTROL)),
        host(*ALL_SILENT, controls=(replace(DEAD_CONTROL, state=PortState.REFUSED),)),
        host(*ALL_SILENT[1:], opened(SSH), controls=(DEAD_CONTROL,)),
        host(*ALL_SILENT[1:], reset(SSH), controls=(DEAD_CONTROL,)),
        host(*ALL_SILENT, controls=(DEAD_CONTROL,), link=LIVE),
        host(icmp(13, "10.9.9.9")),
        host(silent(state=PortState.UNREACHABLE, elapsed_ms=3050.0, syns_sent=2)),
        host(controls=(DEAD_CONTROL,)),
    ],
)
def test_row_1_does_not_fire(found) -> None:
    assert 1 not in rows(found)


# --- row 2 ---


def test_row_2_another_address_than_configured() -> None:
    names = Names(name="gpu.example.com", addresses=(X,), expected=("3.115.141.166",), took_ms=8.0)
    one = verdict(host(silent(SSH), silent(), names=names), 2)
    assert one.statement == f"DNS: gpu.example.com resolves to {X}, configured is 3.115.141.166"
    assert one.evidence == (f"gpu.example.com: {X} in 8.0 ms", "configured: 3.115.141.166")
    assert commands(one) == [
        "getent ahosts gpu.example.com",
        "quarterdeck diagnose 3.115.141.166 --ports 22,8001",
    ]
    assert (one.layer, one.confidence) == ("resolve", Confidence.HIGH)


def test_row_2_not_at_all() -> None:
    names = Names(name="gpu.example.com", error="no such name")
    found = host(silent(state=PortState.UNRESOLVED, syns_sent=None), names=names)
    assert verdict(found, 2).statement == (
        "DNS: gpu.example.com does not resolve: no such name; configured address: not configured"
    )


def test_row_2_a_probe_that_could_not_resolve_is_evidence_too() -> None:
    port = silent(state=PortState.UNRESOLVED, address="gpu.example.com", syns_sent=None)
    found = host(port, address="gpu.example.com", names=None)
    assert verdict(found, 2).statement.startswith("DNS: gpu.example.com does not resolve")


@pytest.mark.parametrize(
    "names",
    [
        None,
        Names(name=None),
        Names(name="gpu.example.com", addresses=(X,)),
        Names(name="gpu.example.com", addresses=(X,), expected=(X,)),
        # a family that the configuration says nothing of is no other address
        Names(name="gpu.example.com", addresses=(X, "2001:db8::1"), expected=(X,)),
        Names(name="gpu.example.com"),
    ],
)
def test_row_2_does_not_fire(names) -> None:
    assert 2 not in rows(host(silent(), names=names))


# --- row 3: R0's trap ---

OHIO = Names(ptr={X: ("ec2-18-118-69-100.us-east-2.compute.amazonaws.com",)}, ptr_region={X: "us-east-2"})


def test_row_3_the_reverse_name_says_another_region() -> None:
    found = host(*ALL_SILENT, names=OHIO)
    one = verdict(found, 3)
    assert one.confidence is Confidence.MEDIUM
    assert one.statement == (
        f"wrong address or region: the reverse name of {X} says us-east-2, configured is ap-northeast-1"
    )
    assert commands(one) == [
        f"aws ec2 describe-addresses --public-ips {X} --region us-east-2",
        (
            "aws ec2 describe-instances --filters Name=tag:Name,Values=tokyo-gpu-1 --query "
            "'Reservations[].Instances[].[InstanceId,State.Name,PublicIpAddress]' --output text --region ap-northeast-1"
        ),
    ]
    # a name alone does not explain the silence: the one check that decides is still asked for
    assert 29 in rows(found)
    check = diagnose(found).cheapest_discriminator
    assert check is not None
    assert check.command == f"aws ec2 describe-addresses --public-ips {X} --region us-east-2"


def test_row_3_aws_confirms_and_names_the_address_of_today() -> None:
    unknown = aws(
        address=Address(address=X, in_account=False), instance=None, interface=None, rules=None, acl=None, routes=None,
        configured_instance=instance(instance_id="i-0bbb", public_address="3.115.141.166"),
    )  # fmt: skip
    one = verdict(host(*ALL_SILENT, names=OHIO, aws=unknown), 3)
    assert one.confidence is Confidence.HIGH
    assert one.statement.endswith(f"{X} is not in our account in ap-northeast-1; i-0bbb now has 3.115.141.166")
    assert commands(one)[1] == (
        "aws ec2 describe-instances --instance-ids i-0bbb --query "
        "'Reservations[].Instances[].[InstanceId,State.Name,PublicIpAddress]' --output text --region ap-northeast-1"
    )
    assert commands(one)[2] == "quarterdeck diagnose 3.115.141.166 --ports 22,8001,50021,55433,55434"


def test_row_3_aws_alone_says_that_it_is_not_ours() -> None:
    one = verdict(host(*ALL_SILENT, aws=aws(address=Address(address=X, in_account=False))), 3)
    assert one.confidence is Confidence.HIGH


@pytest.mark.parametrize(
    "found",
    [
        host(*ALL_SILENT, names=Names(ptr_region={X: REGION})),
        host(*ALL_SILENT, names=Names(ptr_region={"3.3.3.3": "us-east-2"})),
        host(*ALL_SILENT, names=OHIO, region=None),
        host(*ALL_SILENT, names=OHIO, aws=aws()),
        host(*ALL_SILENT, aws=aws(address=None)),
        # a private address is found by no association
        host(
            silent(address="10.0.0.5"),
            address="10.0.0.5",
            aws=aws(address=Address(address="10.0.0.5", in_account=False)),
        ),
        # one source against a host that answers is an alarm, not a verdict
        host(opened(), names=OHIO),
        host(opened(SSH), names=OHIO, aws=aws(address=Address(address=X, in_account=False))),
    ],
)
def test_row_3_does_not_fire(found) -> None:
    assert 3 not in rows(found)


UNKNOWN_TO_AWS = aws(
    address=Address(address=X, in_account=False), instance=None, interface=None, rules=None, acl=None, routes=None
)


@pytest.mark.parametrize(
    "sign",
    [
        {"region": REGION},
        {"instance_id": "i-0bbb"},
        {"names": Names(ptr={X: ("ec2-18-118-69-100.us-east-2.compute.amazonaws.com",)})},
        {"names": Names(ptr={X: ("ec2-18-118-69-100.compute-1.amazonaws.com.",)})},
    ],
)
def test_row_3_needs_a_sign_that_the_host_should_be_in_aws(sign) -> None:
    assert 3 in rows(host(*ALL_SILENT, **{"region": None, **sign}, aws=UNKNOWN_TO_AWS))


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"region": "hall-2"},
        {"names": Names(ptr={X: ("static.100.69.118.18.example.net",)})},
        {"names": Names(ptr={X: ("compute.amazonaws.com.example.net",)})},
    ],
)
def test_row_3_does_not_fire_for_an_address_that_nothing_says_is_in_aws(other) -> None:
    found = host(*ALL_SILENT, **{"region": None, **other}, aws=UNKNOWN_TO_AWS)
    assert rows(found) == [29]
    answering = diagnose(host(opened(), **{"region": None, **other}, aws=UNKNOWN_TO_AWS))
    assert (answering.verdicts, answering.contradictions) == ((), ())


def test_one_source_against_a_host_that_answers_is_a_contradiction() -> None:
    diagnosis = diagnose(host(opened(), names=OHIO))
    assert diagnosis.contradictions == (
        (
            f"{X} answers, and its reverse name says us-east-2, not ap-northeast-1: "
            "another host, another account, or a wrong region in the configuration"
        ),
    )
    assert outcome(diagnosis, "address") == "unknown"


# --- rows 4 and 5 ---

LOOSE = Address(address=X, in_account=True, elastic=True, allocation_id="eipalloc-1")


def test_row_4_not_associated() -> None:
    facts = aws(address=LOOSE, instance=None, interface=None, rules=None, acl=None, routes=None,
                configured_instance=instance(instance_id="i-0bbb"))  # fmt: skip
    one = verdict(host(*ALL_SILENT, aws=facts), 4)
    assert one.confidence is Confidence.CERTAIN
    assert one.statement == f"Elastic IP not associated: {X} is ours and leads to no instance"
    assert commands(one) == [
        "aws ec2 associate-address --allocation-id eipalloc-1 --instance-id i-0bbb --region ap-northeast-1"
    ]
    assert rows(host(*ALL_SILENT, aws=facts)) == [4]


def test_row_4_without_a_known_instance_gives_no_half_command() -> None:
    one = verdict(host(*ALL_SILENT, aws=aws(address=LOOSE, instance=None)), 4)
    assert not any(line and "associate-address" in line for line in commands(one))


@pytest.mark.parametrize(
    "address",
    [
        ADDRESS,
        None,
        Address(address=X, in_account=False),
        Address(address=X, in_account=True, elastic=False),
        replace(LOOSE, association_id="eipassoc-1"),
    ],
)
def test_row_4_does_not_fire(address) -> None:
    assert 4 not in rows(host(*ALL_SILENT, aws=aws(address=address)))


def test_row_5_the_address_is_on_another_instance() -> None:
    wanted = instance(instance_id="i-0bbb", launched_at="2026-02-03T00:00:00Z", interface_ids=("eni-2",))
    one = verdict(host(*ALL_SILENT, aws=aws(configured_instance=wanted)), 5)
    assert one.confidence is Confidence.CERTAIN
    assert one.statement == f"wrong instance: the Elastic IP {X} is on i-0aaa, configured is i-0bbb"
    assert one.evidence == (
        "i-0aaa: launched 2026-01-02T03:04:05Z",
        "i-0bbb: launched 2026-02-03T00:00:00Z, running",
    )
    assert commands(one) == [
        (
            "aws ec2 describe-instances --instance-ids i-0aaa i-0bbb --query "
            "'Reservations[].Instances[].[InstanceId,LaunchTime,State.Name,PublicIpAddress]' --output text "
            "--region ap-northeast-1"
        ),
        (
            "aws ec2 associate-address --allocation-id eipalloc-1 --instance-id i-0bbb --allow-reassociation "
            "--region ap-northeast-1"
        ),
    ]


@pytest.mark.parametrize(
    "facts",
    [
        aws(),
        aws(configured_instance=instance()),
        aws(configured_instance=instance(instance_id="i-0bbb", interface_ids=("eni-1",)),
            address=replace(ADDRESS, instance_id=None)),
        aws(configured_instance=instance(instance_id="i-0bbb"), address=None),
        aws(configured_instance=instance(instance_id="i-0bbb"), address=LOOSE),
    ],
)  # fmt: skip
def test_row_5_does_not_fire(facts) -> None:
    assert 5 not in rows(host(*ALL_SILENT, aws=facts))
