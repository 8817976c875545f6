"""What the evaluators of AWS facts say, case by case: causes, words, and the commands that would mend it."""

from __future__ import annotations

import msgspec
import pytest

from probes.cloud.facts import Acl, AclEntry, Address, AwsEvidence, Interface, RouteEntry, RouteTable, Rule
from probes.judge.aws_groups import judge_groups
from probes.judge.aws_nacl import judge_nacl
from probes.judge.aws_routes import judge_routes
from probes.judge.diagnosis import LAYERS, Outcome
from probes.judge.layer_judgement import Cause

ME = "198.51.100.7"
ME_6 = "2001:db8::7"
PUBLIC = Address(address="3.115.141.166", in_account=True)
SIX = Address(address="2001:db8:ffff::1", in_account=True)
PRIVATE = Address(address="10.0.0.4", in_account=True)
AT = Interface(
    interface_id="eni-1", private_addresses=("10.0.0.4",), ipv6_addresses=(SIX.address,), group_ids=("sg-1", "sg-2")
)


def evidence(me=ME, address=PUBLIC, **facts):
    return AwsEvidence(
        region="ap-northeast-1", taken_at_wall_s=0.0, address=address, interface=AT, my_address=me, **facts
    )


def rule(number, protocol="tcp", low=22, high=22, **source):
    return Rule(rule_id=f"sgr-{number}", group_id="sg-1", protocol=protocol, from_port=low, to_port=high, **source)


def groups(*rules, port=22, protocol="tcp", **more):
    return judge_groups(evidence(rules=rules, **more), port, protocol)


# --- security groups ---


def test_the_union_of_groups_lets_in_and_the_rule_is_named():
    judged = groups(rule(1, cidr="203.0.113.0/24"), rule(2, cidr="198.51.100.0/24"), rule(3, low=80, high=90))
    assert (judged.layer, judged.outcome, judged.matched) == ("security_group", Outcome.PASS, ("sgr-2",))
    assert judged.layer in LAYERS
    assert judged.reason == "sgr-2 allows tcp 22 from 198.51.100.7/32"


def test_the_missing_rule_is_ours_alone_and_can_be_pasted():
    judged = groups(rule(1, cidr="203.0.113.0/24"))
    assert (judged.outcome, judged.cause) == (Outcome.BLOCK, Cause.NO_RULE)
    assert judged.reason == (
        "no rule of sg-1, sg-2 allows tcp 22 from 198.51.100.7/32; tcp 22 is allowed only from 203.0.113.0/24"
    )
    assert judged.missing_rule == "allow tcp 22 from 198.51.100.7/32 in sg-1"
    assert judged.command == (
        "aws ec2 authorize-security-group-ingress --group-id sg-1 --region ap-northeast-1 "
        "--ip-permissions 'IpProtocol=tcp,FromPort=22,ToPort=22,IpRanges=[{CidrIp=198.51.100.7/32}]'"
    )


def test_a_group_reference_is_no_way_in_by_the_public_address_and_perhaps_one_by_the_private():
    only = rule(1, source_group_id="sg-9")
    judged = groups(only)
    assert (judged.outcome, judged.cause, judged.matched) == (Outcome.BLOCK, Cause.GROUP_REFERENCE_ONLY, ("sgr-1",))
    assert "private addresses only" in judged.reason
    judged = groups(only, address=PRIVATE, me="10.0.0.9")
    assert (judged.outcome, judged.cause) == (Outcome.UNKNOWN, Cause.GROUP_REFERENCE_MAYBE)
    assert groups(only, rule(2, cidr="10.0.0.0/8"), address=PRIVATE, me="10.0.0.9").outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("me", "words"),
    [
        (None, "my address as AWS sees it is not known"),
        ("192.168.1.5", "my address 192.168.1.5 is none"),
        (ME_6, "is not IPv4"),
    ],
)
def test_without_our_address_the_answer_is_per_cidr(me, words):
    judged = groups(rule(1, cidr="203.0.113.0/24"), me=me)
    assert (judged.outcome, judged.cause) == (Outcome.UNKNOWN, Cause.SOURCE_UNKNOWN)
    assert judged.allowed_from == ("203.0.113.0/24",)
    assert judged.reason.startswith("tcp 22 is allowed only from 203.0.113.0/24; ")
    assert words in judged.reason
    assert judged.command is None
    assert groups(rule(1, cidr="0.0.0.0/0"), me=me).outcome is Outcome.PASS
    assert groups(rule(1, cidr="0.0.0.0/1"), rule(2, cidr="128.0.0.0/1"), me=me).outcome is Outcome.PASS
    assert groups(me=me).cause is Cause.NO_RULE


def test_families_do_not_mix():
    assert groups(rule(1, ipv6_cidr="::/0")).outcome is Outcome.BLOCK
    judged = groups(rule(1, cidr="0.0.0.0/0"), address=SIX, me=ME_6)
    assert judged.outcome is Outcome.BLOCK
    assert "Ipv6Ranges=[{CidrIpv6=2001:db8::7/128}]" in judged.command
    assert groups(rule(1, ipv6_cidr="2001:db8::/32"), address=SIX, me=ME_6).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("found", "protocol", "port", "passes"),
    [
        (("icmp", -1, -1), "icmp", 8, True),
        (("icmp", 8, -1), "icmp", 8, True),
        (("icmp", 8, 0), "icmp", 8, True),
        (("icmp", 8, 3), "icmp", 8, False),
        (("icmp", 3, -1), "icmp", 8, False),
        (("1", 8, 0), "icmp", 8, True),
        (("icmp", 8, 8), "tcp", 8, False),
        (("-1", -1, -1), "icmp", 8, True),
        (("-1", -1, -1), "tcp", 22, True),
        (("6", 20, 25), "tcp", 22, True),
        (("tcp", -1, -1), "tcp", 22, True),
        (("udp", 22, 22), "tcp", 22, False),
        (("17", 53, 53), "udp", 53, True),
    ],
)
def test_protocols_by_name_and_number_and_icmp_by_type(found, protocol, port, passes):
    judged = groups(rule(1, *found, cidr="0.0.0.0/0"), port=port, protocol=protocol)
    assert (judged.outcome is Outcome.PASS) is passes


def test_no_group_at_all_and_groups_that_were_not_read():
    bare = evidence(rules=())
    bare = msgspec.structs.replace(bare, interface=msgspec.structs.replace(AT, group_ids=()))
    judged = judge_groups(bare, 22)
    assert (judged.outcome, judged.command) == (Outcome.BLOCK, None)
    assert "no security group" in judged.reason
    judged = judge_groups(evidence(unknown={"security_group": "AccessDenied for ec2:X; allow it"}), 22)
    assert (judged.outcome, judged.reason) == (Outcome.UNKNOWN, "AccessDenied for ec2:X; allow it")


# --- network ACL ---


def entry(number, action, *, egress=False, protocol="6", low=None, high=None, cidr="0.0.0.0/0", **more):
    return AclEntry(
        number=number,
        allow=action == "allow",
        egress=egress,
        protocol=protocol,
        cidr=cidr,
        from_port=low,
        to_port=high,
        **more,
    )


OPEN = (entry(100, "allow", protocol="-1"), entry(100, "allow", egress=True, protocol="-1"))
LAST = (entry(32767, "deny", protocol="-1"), entry(32767, "deny", egress=True, protocol="-1"))


def nacl(*entries, port=22, protocol="tcp", **more):
    return judge_nacl(evidence(acl=Acl(acl_id="acl-1", entries=entries), **more), port, protocol)


def test_the_default_acl_passes():
    judged = nacl(*OPEN, *LAST)
    assert (judged.layer, judged.outcome) == ("nacl", Outcome.PASS)
    assert judged.matched == ("acl-1 rule 100 ingress", "acl-1 rule 100 egress")


def test_the_lowest_number_decides_and_the_command_goes_below_it():
    judged = nacl(*OPEN, *LAST, entry(90, "deny", low=20, high=25))
    assert (judged.outcome, judged.cause) == (Outcome.BLOCK, Cause.INGRESS_DENY)
    assert judged.reason == "rule 90 of acl-1 denies tcp 22 in from 198.51.100.7/32"
    assert judged.command == (
        "aws ec2 create-network-acl-entry --network-acl-id acl-1 --region ap-northeast-1 --ingress --rule-number 89 "
        "--protocol 6 --port-range From=22,To=22 --cidr-block 198.51.100.7/32 --rule-action allow"
    )
    assert nacl(*OPEN, *LAST, entry(90, "deny", low=20, high=25), entry(80, "allow", low=22, high=22)).outcome is (
        Outcome.PASS
    )


def test_without_a_free_number_the_rule_is_replaced():
    judged = nacl(*OPEN, entry(1, "deny", low=22, high=22))
    assert "replace-network-acl-entry" in judged.command
    assert "--rule-number 1 " in judged.command


def test_the_final_rule_is_a_star():
    judged = nacl(entry(100, "allow", low=80, high=80), OPEN[1], *LAST)
    assert judged.reason.startswith("rule * of acl-1 denies tcp 22 in")
    assert nacl(OPEN[1]).matched == ("acl-1 rule * ingress",), "also where AWS does not list it"


def test_answers_need_a_way_out_by_themselves():
    judged = nacl(OPEN[0], *LAST, entry(100, "allow", egress=True, low=443, high=443))
    assert (judged.outcome, judged.cause) == (Outcome.BLOCK, Cause.EGRESS_DENY)
    assert "tcp 1024-65535" in judged.reason
    assert "does not remember connections" in judged.reason
    assert "--egress --rule-number 32766 --protocol 6 --port-range From=1024,To=65535" in judged.command
    judged = nacl(OPEN[0], *LAST, entry(100, "allow", egress=True, low=32768, high=60999))
    assert (judged.outcome, judged.cause) == (Outcome.UNKNOWN, Cause.EGRESS_PARTLY_DENIED)
    assert "tcp 1024-32767, 61000-65535" in judged.reason


def test_acls_of_ipv6_and_icmp():
    six = (
        AclEntry(number=101, allow=True, egress=False, protocol="-1", ipv6_cidr="::/0"),
        AclEntry(number=101, allow=True, egress=True, protocol="-1", ipv6_cidr="::/0"),
    )
    assert nacl(*OPEN, *LAST, address=SIX, me=ME_6).outcome is Outcome.BLOCK
    assert nacl(*OPEN, *six, *LAST, address=SIX, me=ME_6).outcome is Outcome.PASS
    echo_only = (
        entry(100, "allow", protocol="1", icmp_type=8, icmp_code=-1),
        entry(100, "allow", egress=True, protocol="1", icmp_type=0, icmp_code=0),
    )
    assert nacl(*echo_only, *LAST, port=8, protocol="icmp").outcome is Outcome.PASS
    judged = nacl(echo_only[0], *LAST, port=8, protocol="icmp")
    assert (judged.cause, judged.command) == (Cause.EGRESS_DENY, None)
    assert "echo replies" in judged.reason


def test_an_acl_without_our_address_names_the_shorter_list():
    judged = nacl(*OPEN, *LAST, entry(90, "deny", low=22, high=22, cidr="203.0.113.0/24"), me=None)
    assert (judged.outcome, judged.refused_from, judged.allowed_from) == (Outcome.UNKNOWN, ("203.0.113.0/24",), ())
    assert "for all but 203.0.113.0/24" in judged.reason
    judged = nacl(entry(100, "allow", low=22, high=22, cidr="203.0.113.0/24"), OPEN[1], *LAST, me=None)
    assert (judged.allowed_from, judged.refused_from) == (("203.0.113.0/24",), ())
    assert "only for 203.0.113.0/24" in judged.reason


# --- routes ---

LOCAL = RouteEntry(destination="10.0.0.0/16", target="local", origin="CreateRouteTable")
DEFAULT = RouteEntry(destination="0.0.0.0/0", target="igw-1", origin="CreateRoute")


def routes(*found, is_main=False, **more):
    return judge_routes(evidence(routes=RouteTable(table_id="rtb-1", is_main=is_main, routes=found), **more))


def test_the_gateway_leads_back():
    judged = routes(LOCAL, DEFAULT, is_main=True)
    assert (judged.layer, judged.outcome) == ("route", Outcome.PASS)
    assert judged.reason == "rtb-1 (the main table) leads back to 198.51.100.7/32: 0.0.0.0/0 -> igw-1"


@pytest.mark.parametrize(
    ("more", "outcome", "cause"),
    [
        ([], Outcome.BLOCK, Cause.NO_ROUTE),
        ([RouteEntry(destination="0.0.0.0/0", target="nat-1")], Outcome.BLOCK, Cause.NO_INTERNET_GATEWAY),
        ([RouteEntry(destination="0.0.0.0/0", target="igw-1", state="blackhole")], Outcome.BLOCK, Cause.BLACKHOLE),
        (
            [DEFAULT, RouteEntry(destination="198.51.100.0/24", target="tgw-1")],
            Outcome.BLOCK,
            Cause.MORE_SPECIFIC_ROUTE,
        ),
        (
            [DEFAULT, RouteEntry(destination="198.51.100.0/24", target="vpce-1")],
            Outcome.UNKNOWN,
            Cause.APPLIANCE,
        ),
        ([DEFAULT, RouteEntry(destination="pl-1", target="vpce-1")], Outcome.UNKNOWN, Cause.PREFIX_LIST_UNREAD),
        (
            [DEFAULT, RouteEntry(destination="pl-1", target="vpce-1", prefix_cidrs=("3.5.0.0/16",))],
            Outcome.PASS,
            Cause.ALLOWED,
        ),
        (
            [DEFAULT, RouteEntry(destination="pl-1", target="tgw-1", prefix_cidrs=("198.51.100.0/24",))],
            Outcome.BLOCK,
            Cause.MORE_SPECIFIC_ROUTE,
        ),
        (
            [
                RouteEntry(destination="198.51.100.0/24", target="vgw-1", origin="EnableVgwRoutePropagation"),
                RouteEntry(destination="198.51.100.0/24", target="igw-1", origin="CreateRoute"),
            ],
            Outcome.PASS,
            Cause.ALLOWED,
        ),
        (
            [
                RouteEntry(destination="pl-1", target="tgw-1", prefix_cidrs=("198.51.100.0/24",)),
                RouteEntry(destination="pl-2", target="igw-1", prefix_cidrs=("198.51.100.0/24",)),
            ],
            Outcome.UNKNOWN,
            Cause.AMBIGUOUS,
        ),
        ([RouteEntry(destination="0.0.0.0/0", target="eigw-1")], Outcome.BLOCK, Cause.NO_INTERNET_GATEWAY),
    ],
)
def test_what_a_route_table_says(more, outcome, cause):
    judged = routes(LOCAL, *more)
    assert (judged.outcome, judged.cause) == (outcome, cause)
    assert judged.reason


def test_routes_without_our_address():
    judged = routes(LOCAL, DEFAULT, RouteEntry(destination="203.0.113.0/24", target="tgw-1"), me=None)
    assert (judged.outcome, judged.refused_from) == (Outcome.UNKNOWN, ("203.0.113.0/24",))
    assert "for all but 203.0.113.0/24 (203.0.113.0/24 -> tgw-1 (active))" in judged.reason
    assert routes(LOCAL, DEFAULT, me=None).outcome is Outcome.PASS
    assert routes(LOCAL, me=None).cause is Cause.NO_ROUTE


def test_a_private_address_is_answered_without_a_gateway():
    assert routes(LOCAL, address=PRIVATE, me="10.0.3.3").outcome is Outcome.PASS
    judged = routes(LOCAL, DEFAULT, address=PRIVATE, me="192.168.7.7")
    assert (judged.outcome, judged.cause) == (Outcome.BLOCK, Cause.NO_ROUTE)
    assert routes(
        LOCAL, RouteEntry(destination="192.168.0.0/16", target="vgw-1"), address=PRIVATE, me="192.168.7.7"
    ).outcome is (Outcome.PASS)


def test_ipv6_has_routes_of_its_own():
    assert routes(LOCAL, DEFAULT, address=SIX, me=ME_6).cause is Cause.NO_ROUTE
    six = RouteEntry(destination="::/0", target="igw-1")
    assert routes(LOCAL, DEFAULT, six, address=SIX, me=ME_6).outcome is Outcome.PASS
