"""The evaluators of AWS facts against oracles that work on plain integers, one packet at a time."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.cloud.facts import Acl, AclEntry, Address, AwsEvidence, Interface, RouteEntry, RouteTable, Rule
from probes.judge.aws_groups import judge_groups
from probes.judge.aws_nacl import judge_nacl
from probes.judge.aws_routes import judge_routes
from probes.judge.aws_space import cut, merged, minus, public_space
from probes.judge.diagnosis import Outcome
from probes.judge.layer_judgement import Cause

#: few addresses and prefixes near each other, so that they meet
FOUR = st.builds(
    lambda low, bits: str(ip_network((0xC6330000 | low, bits), strict=False)),
    st.integers(0, 0xFFFF),
    st.sampled_from([0, 1, 8, 15, 16, 17, 23, 24, 25, 30, 31, 32]),
)
SIX = st.builds(
    lambda low, bits: str(ip_network(((0x20010DB8 << 96) | low, bits), strict=False)),
    st.integers(0, 0xFFFF),
    st.sampled_from([0, 3, 32, 64, 112, 120, 127, 128]),
)
ME_4 = st.integers(0, 0xFFFF).map(lambda low: str(ip_address(0xC6330000 | low)))
ME_6 = st.integers(0, 0xFFFF).map(lambda low: str(ip_address((0x20010DB8 << 96) | low)))
ME = st.one_of(ME_4, ME_6)
PORTS = st.sampled_from([0, 21, 22, 23, 1023, 1024, 1025, 8001, 32767, 32768, 60999, 65534, 65535])


def evidence(me: str | None, six: bool, **facts) -> AwsEvidence:
    target = "2001:db8:ffff::1" if six else "3.115.141.166"
    return AwsEvidence(
        region="ap-northeast-1",
        taken_at_wall_s=0.0,
        address=Address(address=target, in_account=True),
        interface=Interface(interface_id="eni-1", private_addresses=("10.0.0.4",), group_ids=("sg-1",)),
        my_address=me,
        **facts,
    )


def inside(me: str, cidr: str | None) -> bool:
    """Integers and a mask: nothing of what the evaluators use."""
    if cidr is None or (":" in me) != (":" in cidr):
        return False
    base, bits = cidr.split("/")
    width = 128 if ":" in me else 32
    shift = width - int(bits)
    return int(ip_address(me)) >> shift == int(ip_address(base)) >> shift


# --- security groups ---


def _rule(number: int, protocol: str, ports: tuple[int, int], source: dict) -> Rule:
    low, high = sorted(ports)
    return Rule(rule_id=f"sgr-{number}", group_id="sg-1", protocol=protocol, from_port=low, to_port=high, **source)


sources = st.one_of(
    FOUR.map(lambda cidr: {"cidr": cidr}),
    SIX.map(lambda cidr: {"ipv6_cidr": cidr}),
    st.lists(st.one_of(FOUR, SIX), max_size=3).map(
        lambda cidrs: {"prefix_list_id": "pl-1", "prefix_cidrs": tuple(cidrs)}
    ),
    st.just({"source_group_id": "sg-2"}),
)
rules = st.lists(
    st.builds(
        _rule,
        st.integers(0, 9999),
        st.sampled_from(["tcp", "6", "udp", "-1", "icmp"]),
        st.tuples(PORTS, PORTS),
        sources,
    ),
    max_size=8,
).map(tuple)


def group_admits(me: str, rule: Rule, port: int) -> bool:
    about = rule.protocol == "-1" or (rule.protocol in ("tcp", "6") and rule.from_port <= port <= rule.to_port)
    return about and any(inside(me, cidr) for cidr in (rule.cidr, rule.ipv6_cidr, *(rule.prefix_cidrs or ())))


@settings(deadline=None)  # a busy machine is no mistake
@given(rules, ME, PORTS)
def test_groups_against_one_packet(found, me, port):
    judged = judge_groups(evidence(me, ":" in me, rules=found), port)
    expected = {rule.rule_id for rule in found if group_admits(me, rule, port)}
    assert judged.outcome is (Outcome.PASS if expected else Outcome.BLOCK)
    assert set(judged.matched) == expected or judged.cause is Cause.GROUP_REFERENCE_ONLY
    if judged.cause is Cause.GROUP_REFERENCE_ONLY:
        assert any(rule.source_group_id for rule in found)


@settings(deadline=None)
@given(rules, st.none() | ME, PORTS, st.randoms())
def test_the_order_of_rules_means_nothing(found, me, port, chance):
    six = me is not None and ":" in me
    shuffled = list(found)
    chance.shuffle(shuffled)
    one = judge_groups(evidence(me, six, rules=found), port)
    other = judge_groups(evidence(me, six, rules=tuple(shuffled)), port)
    assert (one.outcome, one.cause) == (other.outcome, other.cause)
    assert set(one.matched) == set(other.matched)
    assert set(one.allowed_from) == set(other.allowed_from)


@settings(deadline=None)
@given(rules, ME_4, PORTS)
def test_groups_without_our_address_promise_nothing_that_is_not_so(found, me, port):
    blind = judge_groups(evidence(None, six=False, rules=found), port)
    seeing = judge_groups(evidence(me, six=False, rules=found), port)
    if blind.outcome is not Outcome.UNKNOWN:
        assert seeing.outcome is blind.outcome
    else:
        assert (seeing.outcome is Outcome.PASS) is any(inside(me, cidr) for cidr in blind.allowed_from)


# --- network ACL ---


def _entry(number: int, allow: bool, egress: bool, protocol: str, ports: tuple[int, int], cidr: str) -> AclEntry:  # noqa: PLR0917
    low, high = sorted(ports)
    ports = {} if protocol == "-1" else {"from_port": low, "to_port": high}
    family = {"ipv6_cidr": cidr} if ":" in cidr else {"cidr": cidr}
    return AclEntry(number=number, allow=allow, egress=egress, protocol=protocol, **ports, **family)


entries = st.lists(
    st.builds(
        _entry,
        st.integers(1, 32766),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["6", "6", "-1", "17"]),
        st.tuples(PORTS, PORTS),
        st.one_of(FOUR, SIX),
    ),
    max_size=8,
    unique_by=lambda entry: (entry.number, entry.egress),
)


def acl_lets(me: str, found: list[AclEntry], port: int, *, egress: bool) -> bool:
    """One packet, rule by rule."""
    left = [entry for entry in found if entry.egress is egress]
    while left:
        entry = min(left, key=lambda one: one.number)
        left.remove(entry)
        if entry.protocol not in ("-1", "6") or not inside(me, entry.cidr or entry.ipv6_cidr):
            continue
        if entry.protocol == "6" and not entry.from_port <= port <= entry.to_port:
            continue
        return entry.allow
    return False


@settings(deadline=None)
@given(entries, ME, PORTS)
def test_acls_against_one_packet_at_a_time(found, me, port):
    judged = judge_nacl(evidence(me, ":" in me, acl=Acl(acl_id="acl-1", entries=tuple(found))), port)
    if not acl_lets(me, found, port, egress=False):
        assert (judged.outcome, judged.cause) == (Outcome.BLOCK, Cause.INGRESS_DENY)
        return
    bounds = {at for entry in found for at in (entry.from_port, entry.to_port) if at is not None}
    tried = {1024, 65535} | {at + step for at in bounds for step in (-1, 0, 1)}
    out = {acl_lets(me, found, at, egress=True) for at in tried if 1024 <= at <= 65535}
    expected = {
        (True,): (Outcome.PASS, Cause.ALLOWED),
        (False,): (Outcome.BLOCK, Cause.EGRESS_DENY),
        (False, True): (Outcome.UNKNOWN, Cause.EGRESS_PARTLY_DENIED),
    }[tuple(sorted(out))]
    assert (judged.outcome, judged.cause) == expected


@settings(deadline=None)
@given(entries, ME_4, PORTS, st.randoms())
def test_acls_without_our_address_and_in_any_order(found, me, port, chance):
    blind = judge_nacl(evidence(None, six=False, acl=Acl(acl_id="acl-1", entries=tuple(found))), port)
    shuffled = list(found)
    chance.shuffle(shuffled)
    seeing = judge_nacl(evidence(me, six=False, acl=Acl(acl_id="acl-1", entries=tuple(shuffled))), port)
    if blind.outcome is not Outcome.UNKNOWN:
        assert seeing.outcome is blind.outcome
    elif blind.allowed_from or blind.refused_from:
        let_in = any(inside(me, cidr) for cidr in blind.allowed_from)
        if blind.refused_from:
            let_in = not any(inside(me, cidr) for cidr in blind.refused_from)
        assert (seeing.outcome is Outcome.PASS) is let_in


@settings(deadline=None)
@given(entries, ME_4, PORTS)
def test_the_command_that_is_offered_lets_us_in(found, me, port):
    import re

    judged = judge_nacl(evidence(me, six=False, acl=Acl(acl_id="acl-1", entries=tuple(found))), port)
    if judged.command is None:
        return
    told = re.search(r"--(ingress|egress) --rule-number (\d+) .*From=(\d+),To=(\d+) --cidr-block (\S+)", judged.command)
    assert told
    assert told[5] == f"{me}/32", "never wider than our own address"
    egress, number = told[1] == "egress", int(told[2])
    entry = _entry(number, True, egress, "6", (int(told[3]), int(told[4])), told[5])
    mended = [one for one in found if (one.number, one.egress) != (number, egress)] + [entry]
    after = judge_nacl(evidence(me, six=False, acl=Acl(acl_id="acl-1", entries=tuple(mended))), port)
    assert after.cause is not judged.cause


# --- routes ---

targets = st.sampled_from(["igw-1", "local", "nat-1", "tgw-1", "vgw-1", "pcx-1"])
routes = st.lists(
    st.builds(
        lambda cidr, target, state: RouteEntry(destination=cidr, target=target, state=state),
        st.one_of(FOUR, SIX),
        targets,
        st.sampled_from(["active", "active", "blackhole"]),
    ),
    max_size=8,
    unique_by=lambda route: route.destination,
)


def longest(me: str, found: list[RouteEntry]) -> RouteEntry | None:
    best, bits = None, -1
    for route in found:
        length = int(route.destination.split("/")[1])
        if inside(me, route.destination) and length > bits:
            best, bits = route, length
    return best


def table(found) -> RouteTable:
    return RouteTable(table_id="rtb-1", is_main=False, routes=tuple(found))


@settings(deadline=None)
@given(routes, ME)
def test_routes_against_the_longest_prefix(found, me):
    judged = judge_routes(evidence(me, ":" in me, routes=table(found)))
    best = longest(me, found)
    if best is None:
        assert (judged.outcome, judged.cause) == (Outcome.BLOCK, Cause.NO_ROUTE)
    elif best.state == "blackhole":
        assert (judged.outcome, judged.cause) == (Outcome.BLOCK, Cause.BLACKHOLE)
    else:
        assert (judged.outcome is Outcome.PASS) is (best.target == "igw-1")
    if best is not None:
        assert judged.matched == (best.destination,)


@settings(deadline=None)
@given(routes, ME_4, st.randoms())
def test_routes_without_our_address_and_in_any_order(found, me, chance):
    blind = judge_routes(evidence(None, six=False, routes=table(found)))
    shuffled = list(found)
    chance.shuffle(shuffled)
    seeing = judge_routes(evidence(me, six=False, routes=table(shuffled)))
    if blind.outcome is not Outcome.UNKNOWN:
        assert seeing.outcome is blind.outcome
    else:
        let_in = any(inside(me, cidr) for cidr in blind.allowed_from)
        if blind.refused_from:
            let_in = not any(inside(me, cidr) for cidr in blind.refused_from)
        assert (seeing.outcome is Outcome.PASS) is let_in


@settings(deadline=None)
@given(routes, st.lists(st.one_of(FOUR, SIX), min_size=1, max_size=4), ME_4)
def test_a_prefix_list_is_its_entries(found, cidrs, me):
    """The list's route and the same routes one by one decide the same, where no other route has the same prefix."""
    taken = {route.destination for route in found}
    listed = tuple(dict.fromkeys(cidr for cidr in cidrs if cidr not in taken))
    by_list = [*found, RouteEntry(destination="pl-1", target="igw-1", prefix_cidrs=listed)]
    one_by_one = [*found, *(RouteEntry(destination=cidr, target="igw-1") for cidr in listed)]
    first = judge_routes(evidence(me, six=False, routes=table(by_list)))
    second = judge_routes(evidence(me, six=False, routes=table(one_by_one)))
    assert (first.outcome, first.cause) == (second.outcome, second.cause)


# --- what is not read is never pass ---


@settings(deadline=None)
@given(rules, entries, routes, st.none() | ME, PORTS)
def test_a_part_that_is_missing_is_unknown(found, acl_entries, found_routes, me, port):
    full = evidence(
        me,
        me is not None and ":" in me,
        rules=found,
        acl=Acl(acl_id="acl-1", entries=tuple(acl_entries)),
        routes=table(found_routes),
    )
    for part, judge in (
        ("rules", lambda given: judge_groups(given, port)),
        ("acl", lambda given: judge_nacl(given, port)),
        ("routes", judge_routes),
    ):
        judged = judge(msgspec.structs.replace(full, **{part: None}))
        assert (judged.outcome, judged.cause) == (Outcome.UNKNOWN, Cause.FACTS_MISSING)
        assert judged.reason


# --- sets of addresses ---


@settings(deadline=None)
@given(st.lists(FOUR, max_size=5), st.lists(FOUR, max_size=5), ME_4)
def test_cutting_loses_and_doubles_nothing(first, second, me):
    space = merged(map(ip_network, first))
    left = minus(space, tuple(map(ip_network, second)))
    assert any(inside(me, str(one)) for one in left) is (
        any(inside(me, cidr) for cidr in first) and not any(inside(me, cidr) for cidr in second)
    )
    for cidr in second:
        taken, rest = cut(space, ip_network(cidr))
        assert sum(one.num_addresses for one in (*taken, *rest)) == sum(one.num_addresses for one in space)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_public_space_holds_what_can_come_through_a_gateway(number):
    address = ip_address(number)
    held = any(address in one for one in public_space(4))
    assert held or address.is_private or address.is_multicast or address.is_reserved or str(address).startswith("100.")
    assert not (held and str(address).startswith(("10.", "192.168.")))
