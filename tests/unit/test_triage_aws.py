"""Rows 6 to 17: the instance, AWS's rules, and what is left when AWS lets us through."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from probes.cloud.facts import Acl, AclEntry, PublicAccessBlock, RouteEntry, RouteTable
from probes.judge.diagnosis import Confidence
from probes.judge.triage import diagnose
from tests.support.evidence import (
    FIVE,
    INTERFACE,
    ME,
    OPEN_ACL,
    OPENVOICE,
    RULES,
    SSH,
    TO_IGW,
    X,
    aws,
    commands,
    host,
    instance,
    opened,
    outcome,
    reset,
    rows,
    rule,
    silent,
    verdict,
)

ALL_SILENT = tuple(silent(service) for service in FIVE)
ALL_OPEN = tuple(opened(service) for service in FIVE)
R = "--region ap-northeast-1"


def with_instance(**over):
    return host(*ALL_SILENT, aws=aws(instance=instance(**over)))


# --- rows 6 to 9 ---


def test_row_6_stopped_with_the_reason() -> None:
    found = with_instance(state="stopped", state_reason="Client.UserInitiatedShutdown: User initiated shutdown")
    one = verdict(found, 6)
    assert (one.layer, one.confidence) == ("instance", Confidence.CERTAIN)
    assert one.statement == "stopped: i-0aaa is stopped: Client.UserInitiatedShutdown: User initiated shutdown"
    assert commands(one) == [f"aws ec2 start-instances --instance-ids i-0aaa {R}"]
    assert outcome(diagnose(found), "instance") == "block"


def test_row_6_reclaimed_by_spot() -> None:
    found = with_instance(
        state="terminated",
        lifecycle="spot",
        state_reason="Server.SpotInstanceTermination: Spot instance termination",
    )
    one = verdict(found, 6)
    assert one.statement == (
        "terminated: i-0aaa is terminated, reclaimed by EC2 (spot): "
        "Server.SpotInstanceTermination: Spot instance termination"
    )
    assert commands(one) == [None]


def test_row_6_of_the_configured_instance_when_the_address_leads_nowhere() -> None:
    found = host(*ALL_SILENT, aws=aws(address=None, instance=None, configured_instance=instance(state="stopped")))
    assert 6 in rows(found)


@pytest.mark.parametrize("state", ["running", "pending"])
def test_row_6_does_not_fire(state) -> None:
    assert 6 not in rows(with_instance(state=state))
    assert 6 not in rows(host(*ALL_SILENT, aws=aws(instance=None)))


def test_row_7_stop_and_start_not_reboot() -> None:
    one = verdict(with_instance(system_status="impaired", instance_status="impaired"), 7)
    assert one.confidence is Confidence.HIGH
    assert one.statement == "AWS hardware: i-0aaa runs, its system status check is impaired"
    assert commands(one) == [
        (
            f"aws ec2 stop-instances --instance-ids i-0aaa {R} && aws ec2 wait instance-stopped --instance-ids i-0aaa {R} "
            f"&& aws ec2 start-instances --instance-ids i-0aaa {R}"
        )
    ]


@pytest.mark.parametrize(
    "found",
    [
        with_instance(),
        with_instance(system_status=None),
        with_instance(system_status="impaired", state="stopped"),
        host(*ALL_OPEN, aws=aws(instance=instance(system_status="impaired"))),
    ],
)
def test_row_7_does_not_fire(found) -> None:
    assert 7 not in rows(found)


def test_row_8_the_instance_check_and_silence() -> None:
    one = verdict(with_instance(instance_status="impaired"), 8)
    assert one.confidence is Confidence.HIGH
    assert one.statement == "OS hung, boot or network: i-0aaa runs, its instance status check is impaired"
    assert commands(one) == [f"aws ec2 get-console-output --instance-id i-0aaa --latest --output text {R}"]


@pytest.mark.parametrize(
    "found",
    [
        with_instance(),
        with_instance(instance_status="impaired", system_status="impaired"),
        host(*ALL_SILENT[1:], opened(SSH), aws=aws(instance=instance(instance_status="impaired"))),
        host(reset(), aws=aws(instance=instance(instance_status="impaired"))),
        host(aws=aws(instance=instance(instance_status="impaired"))),
    ],
)
def test_row_8_does_not_fire(found) -> None:
    assert 8 not in rows(found)


def test_row_9_says_when_to_look_again() -> None:
    found = with_instance(instance_status="initializing")
    one = verdict(found, 9)
    assert (one.confidence, one.outcome.value) == (None, "unknown")
    # 2 minutes after the diagnosis
    assert one.statement == "too early: i-0aaa is still initializing; look again at 2025-10-09T08:55:20.000Z"
    assert commands(one) == [
        f"aws ec2 wait instance-status-ok --instance-ids i-0aaa {R}",
        "quarterdeck diagnose tokyo-gpu-1",
    ]
    assert rows(found) == [9]
    assert outcome(diagnose(found), "instance") == "unknown"


@pytest.mark.parametrize(
    "found",
    [
        with_instance(),
        with_instance(state="stopped", instance_status="initializing"),
        host(*ALL_OPEN, aws=aws(instance=instance(instance_status="initializing"))),
    ],
)
def test_row_9_does_not_fire(found) -> None:
    assert 9 not in rows(found)


# --- rows 10 and 11 ---


def without(port: int):
    return tuple(one for one in RULES if one.from_port != port)


def test_row_10_prints_the_missing_rule_for_my_address_only() -> None:
    found = host(opened(SSH), silent(), aws=aws(rules=without(8001)))
    one = verdict(found, 10)
    assert (one.layer, one.service, one.confidence) == ("security_group", "openvoice", Confidence.HIGH)
    assert one.statement == f"security group: no rule of sg-1 allows tcp 8001 from {ME}/32"
    assert one.evidence == (
        "8001 (openvoice): no answer to 3 SYNs within 3501 ms",
        f"my address: {ME} (configured)",
        "rules for this port: none fits",
        "groups on the interface: sg-1",
    )
    assert commands(one) == [
        (
            f"aws ec2 authorize-security-group-ingress --group-id sg-1 {R} --ip-permissions "
            f"'IpProtocol=tcp,FromPort=8001,ToPort=8001,IpRanges=[{{CidrIp={ME}/32}}]'"
        ),
        f"aws ec2 describe-security-group-rules --filters Name=group-id,Values=sg-1 {R}",
    ]
    assert rows(found) == [10]


def test_row_10_allowed_from_another_address_only() -> None:
    rules = (*without(8001), rule(8001, "198.51.100.0/24"))
    one = verdict(host(opened(SSH), silent(), aws=aws(rules=rules)), 10)
    assert one.statement.endswith("tcp 8001 is allowed only from 198.51.100.0/24")


@pytest.mark.parametrize(
    ("ports", "facts"),
    [
        ((silent(),), aws()),
        ((silent(),), aws(rules=None, unknown={"security_group": "AccessDenied for ec2:DescribeSecurityGroups"})),
        # open, although nothing allows it: stale facts, not a block
        ((opened(),), aws(rules=without(8001))),
        ((reset(),), aws(rules=without(8001))),
        # my address is not known: the answer is per CIDR
        ((silent(),), aws(rules=(rule(8001, "198.51.100.0/24"),), my_address=None)),
        # a prefix list that could not be read may hold my address
        ((silent(),), aws(rules=(rule(8001, None, prefix_list_id="pl-1"),))),
        # the jump host's address is not mine
        ((silent(via="jump"),), aws(rules=without(8001))),
    ],
)
def test_row_10_does_not_fire(ports, facts) -> None:
    assert 10 not in rows(host(*ports, aws=facts))


def test_my_address_unknown_says_who_is_let_in() -> None:
    facts = aws(rules=(rule(8001, "198.51.100.0/24"),), my_address=None, my_address_source="not known")
    diagnosis = diagnose(host(silent(), aws=facts))
    assert outcome(diagnosis, "security_group") == "unknown"
    assert "tcp 8001 is allowed only from 198.51.100.0/24" in diagnosis.layers["security_group"].reason


def test_row_11_the_group_reference_trap() -> None:
    rules = (*without(8001), rule(8001, None, source_group_id="sg-9"))
    found = host(opened(SSH), silent(), aws=aws(rules=rules))
    one = verdict(found, 11)
    assert one.confidence is Confidence.HIGH
    assert one.statement == (
        "group-reference trap: the only rules of sg-1 for tcp 8001 that are left name a group as source (sgr-8001): "
        "those match traffic from private addresses only, and we come by the public one"
    )
    assert one.next_actions[0].text.startswith("such rules match private traffic only")
    assert rows(found) == [11]


def test_row_11_does_not_fire_when_a_cidr_matches_too() -> None:
    rules = (*RULES, rule(8001, None, source_group_id="sg-9"))
    assert 11 not in rows(host(opened(SSH), silent(), aws=aws(rules=rules)))


def test_row_11_does_not_fire_by_the_private_address() -> None:
    rules = (rule(8001, None, source_group_id="sg-9"),)
    facts = aws(rules=rules, my_address="10.0.0.9", address=replace(aws().address, address="10.0.0.5"))
    found = host(silent(address="10.0.0.5"), address="10.0.0.5", aws=facts)
    assert 11 not in rows(found)


# --- rows 12 and 13 ---


def acl(*entries: AclEntry) -> Acl:
    return Acl(acl_id="acl-1", entries=(*entries, *OPEN_ACL.entries))


DENY_IN = AclEntry(
    number=90, allow=False, egress=False, protocol="6", cidr="203.0.113.0/24", from_port=8001, to_port=8001
)
DENY_OUT = AclEntry(number=90, allow=False, egress=True, protocol="6", cidr="0.0.0.0/0", from_port=1024, to_port=65535)


def test_row_12_names_the_entry_and_how_to_replace_it() -> None:
    found = host(opened(SSH), silent(), aws=aws(acl=acl(DENY_IN)))
    one = verdict(found, 12)
    assert (one.layer, one.confidence) == ("nacl", Confidence.HIGH)
    assert one.statement == f"network ACL, inward: rule 90 of acl-1 denies tcp 8001 in from {ME}/32"
    assert commands(one) == [
        (
            f"aws ec2 create-network-acl-entry --network-acl-id acl-1 {R} --ingress --rule-number 89 --protocol 6 "
            f"--port-range From=8001,To=8001 --cidr-block {ME}/32 --rule-action allow"
        ),
        (
            "aws ec2 replace-network-acl-entry --network-acl-id acl-1 --ingress --rule-number 90 --protocol 6 "
            f"--port-range From=8001,To=8001 --cidr-block 203.0.113.0/24 --rule-action allow {R}"
        ),
        f"aws ec2 describe-network-acls --network-acl-ids acl-1 {R}",
    ]
    assert rows(found) == [12]


def test_row_12_never_turns_a_deny_of_everybody_into_an_allow() -> None:
    one = verdict(host(silent(), aws=aws(acl=acl(replace(DENY_IN, cidr="0.0.0.0/0")))), 12)
    assert not any(line and "replace-network-acl-entry" in line for line in commands(one))


@pytest.mark.parametrize(
    ("ports", "entries"),
    [
        ((silent(),), (replace(DENY_IN, number=200),)),
        ((silent(),), (replace(DENY_IN, cidr="198.51.100.0/24"),)),
        ((silent(),), (replace(DENY_IN, from_port=22, to_port=22),)),
        ((silent(),), (replace(DENY_IN, egress=True),)),
        ((opened(),), (DENY_IN,)),
    ],
)
def test_row_12_does_not_fire(ports, entries) -> None:
    assert 12 not in rows(host(opened(SSH), *ports, aws=aws(acl=acl(*entries))))
    assert 12 not in rows(host(*ports, aws=aws(acl=None)))


def test_row_13_the_return_path_once_for_all_ports() -> None:
    found = host(*ALL_SILENT, aws=aws(acl=acl(DENY_OUT)))
    one = verdict(found, 13)
    assert (one.layer, one.service, one.confidence) == ("nacl", None, Confidence.HIGH)
    assert one.statement == (
        f"network ACL, return path: rule 90 of acl-1 denies the answers (tcp 1024-65535) out to {ME}/32: "
        "an ACL does not remember connections"
    )
    assert commands(one)[0] == (
        f"aws ec2 create-network-acl-entry --network-acl-id acl-1 {R} --egress --rule-number 89 --protocol 6 "
        f"--port-range From=1024,To=65535 --cidr-block {ME}/32 --rule-action allow"
    )
    assert rows(found) == [13]


@pytest.mark.parametrize(
    "entry",
    [
        replace(DENY_OUT, number=200),
        replace(DENY_OUT, cidr="198.51.100.0/24"),
        replace(DENY_OUT, from_port=80, to_port=443),
        replace(DENY_OUT, egress=False, from_port=9, to_port=9),
    ],
)
def test_row_13_does_not_fire(entry) -> None:
    assert 13 not in rows(host(*ALL_SILENT, aws=aws(acl=acl(entry))))
    assert 13 not in rows(host(*(opened(one) for one in FIVE), aws=aws(acl=acl(DENY_OUT))))


# --- rows 14 and 15 ---


def table(*routes: RouteEntry) -> RouteTable:
    return RouteTable(table_id="rtb-1", is_main=True, routes=routes)


LOCAL = RouteEntry(destination="10.0.0.0/16", target="local")
DEFAULT = RouteEntry(destination="0.0.0.0/0", target="igw-1")


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        ((LOCAL,), f"route: rtb-1 (the main table) has no route to {ME}/32"),
        (
            (LOCAL, replace(DEFAULT, state="blackhole")),
            f"route: rtb-1 (the main table) sends answers to {ME}/32 into a blackhole: 0.0.0.0/0 -> igw-1 (blackhole)",
        ),
        (
            (LOCAL, DEFAULT, RouteEntry(destination="203.0.113.0/24", target="vgw-1")),
            (
                f"route: rtb-1 (the main table) sends answers to {ME}/32 by 203.0.113.0/24 -> vgw-1, "
                "which is more specific than 0.0.0.0/0 -> igw-1"
            ),
        ),
        (
            (LOCAL, RouteEntry(destination="0.0.0.0/0", target="nat-1")),
            f"route: rtb-1 (the main table) sends answers to {ME}/32 by 0.0.0.0/0 -> nat-1, not to an internet gateway",
        ),
    ],
)
def test_row_14_names_the_route(routes, words) -> None:
    found = host(*ALL_SILENT, aws=aws(routes=table(*routes)))
    one = verdict(found, 14)
    assert (one.layer, one.confidence) == ("route", Confidence.HIGH)
    assert one.statement == f"{words} (silent: 22, 8001, 50021, 55433, 55434)"
    assert commands(one) == [f"aws ec2 describe-route-tables --route-table-ids rtb-1 {R}"]
    assert rows(found) == [14]


@pytest.mark.parametrize(
    "found",
    [
        host(*ALL_SILENT, aws=aws(routes=TO_IGW)),
        host(*ALL_SILENT, aws=aws(routes=None)),
        # an answer came back: there is a way
        host(opened(SSH), silent(), aws=aws(routes=table(LOCAL))),
        host(reset(SSH), silent(), aws=aws(routes=table(LOCAL))),
    ],
)
def test_row_14_does_not_fire(found) -> None:
    assert 14 not in rows(found)


BPA = PublicAccessBlock(mode="block-ingress", excluded=False, managed_by="account")


def test_row_15_who_can_change_it() -> None:
    found = host(*ALL_SILENT, aws=aws(public_access_block=BPA))
    one = verdict(found, 15)
    assert (one.layer, one.confidence) == ("route", Confidence.HIGH)
    assert one.statement == (
        "BPA: VPC Block Public Access is block-ingress, without an exclusion; the account can change it "
        "(silent: 22, 8001, 50021, 55433, 55434)"
    )
    assert commands(one)[0] == f"aws ec2 describe-vpc-block-public-access-options {R}"
    assert rows(found) == [15]


@pytest.mark.parametrize(
    "block",
    [
        None,
        PublicAccessBlock(mode="off", excluded=False),
        replace(BPA, excluded=True, exclusion_mode="allow-bidirectional"),
    ],
)
def test_row_15_does_not_fire(block) -> None:
    assert 15 not in rows(host(*ALL_SILENT, aws=aws(public_access_block=block)))
    assert 15 not in rows(host(opened(SSH), silent(), aws=aws(public_access_block=BPA)))


# --- rows 16 and 17 ---


def test_row_16_the_host_drops_one_port() -> None:
    found = host(opened(SSH), silent(), aws=aws())
    one = verdict(found, 16)
    assert (one.layer, one.service, one.confidence) == ("host_firewall", "openvoice", Confidence.HIGH)
    assert one.statement == "host firewall drops 8001 (openvoice): AWS lets it in, and the host answers on 22"
    assert commands(one) == [f"ssh -p 22 ubuntu@{X} 'sudo nft list ruleset; ss -ltnp'"]
    assert rows(found) == [16]
    diagnosis = diagnose(found)
    assert outcome(diagnosis, "host_firewall") == "block"
    assert {outcome(diagnosis, name) for name in ("security_group", "nacl", "route", "address", "instance")} == {"pass"}
    assert diagnosis.contradictions == (
        (
            "configuration allows, yet silent: 8001 (openvoice): no answer to 3 SYNs within 3501 ms: "
            "look at the host itself"
        ),
    )


def test_row_16_over_session_manager_when_ssh_is_what_is_silent() -> None:
    facts = aws(instance=instance(has_ssm=True))
    one = verdict(host(silent(SSH), reset(), aws=facts), 16)
    assert commands(one) == [
        (
            "aws ssm send-command --instance-ids i-0aaa --document-name AWS-RunShellScript --parameters "
            f'\'{{"commands": ["sudo nft list ruleset", "ss -ltnp"]}}\' {R}'
        ),
        f"aws ec2 get-console-output --instance-id i-0aaa --latest --output text {R}",
    ]
    assert not any(line and (line.startswith("ssh ") or "instance-connect" in line) for line in commands(one))


@pytest.mark.parametrize(
    "found",
    [
        host(*ALL_SILENT, aws=aws()),
        host(opened(SSH), silent()),
        host(opened(SSH), silent(), aws=aws(acl=None)),
        host(opened(SSH), silent(), aws=aws(rules=None)),
        host(opened(SSH), silent(), aws=aws(rules=without(8001))),
        host(opened(SSH), silent(), aws=aws(instance=None)),
        host(opened(SSH), silent(), aws=aws(instance=instance(system_status=None))),
        host(opened(SSH), silent(), aws=aws(instance=instance(instance_status="impaired"))),
        host(opened(SSH), opened(OPENVOICE), aws=aws()),
    ],
)
def test_row_16_does_not_fire(found) -> None:
    assert 16 not in rows(found)


def test_row_17_all_silent() -> None:
    found = host(*ALL_SILENT, aws=aws(instance=instance(has_ssm=True)))
    one = verdict(found, 17)
    assert (one.layer, one.service, one.confidence) == ("host_firewall", None, Confidence.MEDIUM)
    assert one.statement == (
        "host firewall, a sleeping interface or an unmodelled layer: AWS lets 22, 8001, 50021, 55433, 55434 through, "
        "the instance runs, and all are silent"
    )
    assert commands(one) == [
        f"aws ssm start-session --target i-0aaa {R}",
        f"aws ec2 get-console-output --instance-id i-0aaa --latest --output text {R}",
        f"aws ec2 get-serial-console-access-status {R}",
    ]
    assert rows(found) == [17]


@pytest.mark.parametrize(
    "facts",
    [
        aws(rules=without(8001)),
        aws(acl=None),
        aws(routes=None),
        aws(public_access_block=None),
        aws(address=None),
        aws(instance=instance(instance_status="initializing")),
        aws(configured_instance=instance(instance_id="i-0bbb")),
        None,
    ],
)
def test_row_17_does_not_fire(facts) -> None:
    assert 17 not in rows(host(*ALL_SILENT, aws=facts))


def test_row_17_does_not_fire_when_a_port_answers() -> None:
    assert 17 not in rows(host(*ALL_SILENT[1:], reset(SSH), aws=aws()))


def test_several_blocks_in_packet_order() -> None:
    facts = aws(
        rules=without(8001), acl=acl(DENY_OUT), routes=table(LOCAL), instance=instance(instance_status="impaired")
    )
    diagnosis = diagnose(host(*ALL_SILENT, aws=facts))
    assert [one.row for one in diagnosis.verdicts] == [8, 10, 13, 14]
    assert [name for name in diagnosis.layers if outcome(diagnosis, name) == "block"] == [
        "instance", "security_group", "nacl", "route",
    ]  # fmt: skip


def test_a_denied_call_is_unknown_and_never_a_pass() -> None:
    unknown = {"nacl": "AccessDenied for ec2:DescribeNetworkAcls", "route": "AccessDenied for ec2:DescribeRouteTables"}
    diagnosis = diagnose(host(*ALL_SILENT, aws=aws(acl=None, routes=None, unknown=unknown)))
    assert outcome(diagnosis, "nacl") == "unknown"
    assert "AccessDenied for ec2:DescribeNetworkAcls" in diagnosis.layers["nacl"].reason
    assert outcome(diagnosis, "route") == "unknown"
    assert outcome(diagnosis, "security_group") == "pass"
    assert [one.row for one in diagnosis.verdicts] == [29]
    assert diagnosis.cheapest_discriminator is not None
    assert diagnosis.cheapest_discriminator.command == (
        f"aws ec2 describe-network-acls --filters Name=association.subnet-id,Values=subnet-1 {R}"
    )
    assert INTERFACE.subnet_id == "subnet-1"
