"""Triage on arbitrary evidence: it always answers, never depends on order, and passes nothing without evidence."""

from __future__ import annotations

import re
import shlex
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from probes.cloud.facts import (
    Acl,
    AclEntry,
    Address,
    AwsEvidence,
    Instance,
    Interface,
    PublicAccessBlock,
    RouteEntry,
    RouteTable,
    Rule,
)
from probes.diagnose_markdown import markdown
from probes.diagnose_report import diff, document, exit_code
from probes.evidence import (
    ControlProbe,
    Echo,
    Evidence,
    Hop,
    HttpProbe,
    Inside,
    KeyCheck,
    Listener,
    LiveLink,
    Names,
    Opening,
    PathMtu,
    PortProbe,
    SshProbe,
    TlsProbe,
)
from probes.judge.correlate import Judged, correlate
from probes.judge.diagnosis import LAYERS, Diagnosis, Outcome
from probes.judge.posture import audit
from probes.judge.posture_types import Checked
from probes.judge.triage import diagnose
from probes.model import Health, LinkState, PortState, Service, ServiceKind

# no shrinking: evidence is large, and a failing one is small enough to read as it was drawn
_SETTINGS = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
ADDRESSES = ("18.118.69.100", "10.0.0.5", "2001:db8::5", "127.0.0.1")
PORTS = (22, 80, 8001, 55433)
HOSTILE = ("x`; touch /tmp/own #", "$(id)", "-oProxyCommand=id", "a\n# heading", "a|b", "<b>", "[x](http://e)", "'\"")
words = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12))
times = st.one_of(st.floats(), st.floats(0, 4000), st.just(20.0))
walls = st.one_of(st.floats(), st.just(1_760_000_000.0), st.floats(1e9, 2e9))
addresses = st.one_of(st.sampled_from(ADDRESSES), words)
cidrs = st.one_of(st.none(), st.sampled_from(["0.0.0.0/0", "203.0.113.0/24", "203.0.113.7/32", "10.0.0.0/8", "bad"]))
v6 = st.one_of(st.none(), st.sampled_from(["::/0", "2001:db8::/32"]))
ids = st.one_of(st.sampled_from(["i-1", "i-2", "eni-1", "sg-1"]), words)


def maybe(strategy):
    return st.one_of(st.none(), strategy)


def tuples(strategy, size=3):
    return st.lists(strategy, max_size=size).map(tuple)


services = st.builds(
    Service, words, st.sampled_from(PORTS), st.sampled_from(ServiceKind), maybe(st.just("/health")), st.booleans()
)
ssh_probes = st.builds(
    SshProbe, opening=st.sampled_from(Opening), banner=words, banner_ms=maybe(times), kex_stalled=st.booleans(),
    host_key=st.sampled_from(KeyCheck), fingerprint=maybe(words), known_banner=maybe(words),
    auth_methods=maybe(tuples(st.sampled_from(["publickey", "password"]))),
)  # fmt: skip
tls_probes = st.builds(
    TlsProbe, ok=st.booleans(), verify_error=maybe(words), pin=st.sampled_from(KeyCheck), took_ms=maybe(times)
)
http_probes = st.builds(
    HttpProbe, health=st.sampled_from(Health), status=maybe(st.integers(100, 599)), first_line=words, detail=words,
    phases_ms=st.dictionaries(st.sampled_from(["dns", "tcp", "first_byte"]), times),
)  # fmt: skip
probes = st.builds(
    PortProbe, service=services, address=addresses, state=st.sampled_from(PortState), detail=words,
    connect_ms=maybe(times), elapsed_ms=times, errno_name=maybe(st.just("EHOSTUNREACH")),
    icmp_family=maybe(st.sampled_from([4, 6])), icmp_type=maybe(st.sampled_from([1, 3, 11])),
    icmp_code=maybe(st.integers(0, 15)), offender=maybe(addresses), offender_is_own=st.booleans(),
    syns_sent=maybe(st.integers(0, 4)), via=maybe(words), opening=st.sampled_from(Opening),
    ssh=maybe(ssh_probes), tls=maybe(tls_probes), http=maybe(http_probes),
    path_mtu=maybe(st.builds(PathMtu, retransmits=st.integers(0, 9), snd_mss_bytes=st.integers(0, 9000))),
    hops=tuples(st.builds(Hop, ttl=st.integers(1, 30), address=maybe(addresses)), 2),
)  # fmt: skip
controls = st.builds(
    ControlProbe, target=words, address=addresses, port=st.sampled_from(PORTS), state=st.sampled_from(PortState),
    connect_ms=maybe(times), offender_is_own=st.booleans(), at_once=st.booleans(),
)  # fmt: skip
names = st.builds(
    Names, name=maybe(words), addresses=tuples(addresses), expected=tuples(addresses), error=maybe(words),
    ptr=st.dictionaries(addresses, tuples(words), max_size=2),
    ptr_region=st.dictionaries(addresses, st.sampled_from(["us-east-2", "ap-northeast-1"]), max_size=2),
)  # fmt: skip
links = st.builds(
    LiveLink, state=st.sampled_from(LinkState), established=st.booleans(), since_wall_s=maybe(walls), cause=maybe(words)
)
listeners = st.builds(
    Listener, address=st.sampled_from(["0.0.0.0", "127.0.0.1", "::", "::1", "10.0.0.5", "nonsense"]),
    port=st.sampled_from(PORTS), process=maybe(words),
)  # fmt: skip
insides = st.builds(
    Inside, source=st.sampled_from(["agent", "ssm"]), at_wall_s=walls, listeners=maybe(tuples(listeners)),
    sshd=maybe(st.dictionaries(st.sampled_from(["passwordauthentication", "permitrootlogin"]), words)),
)  # fmt: skip
STATUSES = maybe(st.sampled_from(["ok", "impaired", "initializing", "insufficient-data"]))
instances = st.builds(
    Instance, instance_id=ids, state=st.sampled_from(["pending", "running", "stopping", "stopped", "terminated"]),
    state_reason=maybe(words), lifecycle=maybe(st.just("spot")), interface_ids=tuples(ids), system_status=STATUSES,
    instance_status=STATUSES, has_ssm=maybe(st.booleans()), imds_tokens=maybe(st.sampled_from(["required", "optional"])),
    imds_hop_limit=maybe(st.integers(0, 64)), public_address=maybe(addresses),
)  # fmt: skip
rules = st.builds(
    Rule, rule_id=maybe(ids), group_id=ids, protocol=st.sampled_from(["tcp", "udp", "icmp", "-1", "6"]),
    from_port=maybe(st.integers(-1, 65535)), to_port=maybe(st.integers(-1, 65535)), cidr=cidrs, ipv6_cidr=v6,
    prefix_list_id=maybe(st.just("pl-1")), source_group_id=maybe(ids),
)  # fmt: skip
entries = st.builds(
    AclEntry, number=st.sampled_from([90, 100, 200, 32767]), allow=st.booleans(), egress=st.booleans(),
    protocol=st.sampled_from(["-1", "6", "17"]), cidr=cidrs, ipv6_cidr=v6,
    from_port=maybe(st.integers(0, 65535)), to_port=maybe(st.integers(0, 65535)),
)  # fmt: skip
routes = st.builds(
    RouteEntry, destination=st.sampled_from(["0.0.0.0/0", "10.0.0.0/16", "203.0.113.0/24", "::/0", "pl-1"]),
    target=st.sampled_from(["local", "igw-1", "vgw-1", "eni-9"]), state=st.sampled_from(["active", "blackhole"]),
)  # fmt: skip
facts = st.builds(
    AwsEvidence,
    region=maybe(st.one_of(st.just("ap-northeast-1"), words)),
    taken_at_wall_s=walls,
    address=maybe(
        st.builds(
            Address,
            address=addresses,
            in_account=st.booleans(),
            elastic=st.booleans(),
            allocation_id=maybe(ids),
            association_id=maybe(ids),
            interface_id=maybe(ids),
            instance_id=maybe(ids),
        )
    ),
    configured_instance=maybe(instances),
    instance=maybe(instances),
    interface=maybe(
        st.builds(
            Interface,
            interface_id=ids,
            subnet_id=maybe(ids),
            group_ids=tuples(ids),
            private_addresses=tuples(st.sampled_from(ADDRESSES)),
        )
    ),
    rules=maybe(tuples(rules)),
    acl=maybe(st.builds(Acl, acl_id=ids, entries=tuples(entries))),
    routes=maybe(st.builds(RouteTable, table_id=ids, is_main=st.booleans(), routes=tuples(routes))),
    public_access_block=maybe(
        st.builds(PublicAccessBlock, mode=st.sampled_from(["off", "block-ingress"]), excluded=st.booleans())
    ),
    my_address=maybe(st.one_of(st.just("203.0.113.7"), words)),
    unknown=st.dictionaries(st.sampled_from(["credentials", "nacl", "route"]), words, max_size=2),
)
evidences = st.builds(
    Evidence, host_id=words, address=addresses, taken_at_wall_s=walls, ports=tuples(probes, 4),
    region=maybe(st.sampled_from(["ap-northeast-1", "us-east-2"])),
    echo=maybe(st.builds(Echo, outcome=st.sampled_from(["reply", "no_reply", "not_measured"]))),
    names=maybe(names), controls=tuples(controls, 2), link=maybe(links), inside=maybe(insides), aws=maybe(facts),
    user=maybe(words), gpus_lost=maybe(tuples(words, 1)), notes=tuples(words, 1), instance_id=maybe(words),
    local=st.booleans(),
)  # fmt: skip


def every_command(diagnosis: Diagnosis) -> list[str]:
    found = [action.command for one in diagnosis.verdicts for action in one.next_actions]
    found += [one.command for one in diagnosis.recovery]
    if diagnosis.cheapest_discriminator is not None:
        found.append(diagnosis.cheapest_discriminator.command)
    return [one for one in found if one is not None]


@_SETTINGS
@given(evidences)
def test_it_always_answers_with_every_layer_and_a_document(evidence: Evidence) -> None:
    diagnosis = diagnose(evidence)
    assert tuple(diagnosis.layers) == LAYERS
    assert all(end.reason for end in diagnosis.layers.values())
    assert all(1 <= one.row <= 29 and one.layer in LAYERS and one.statement for one in diagnosis.verdicts)
    order = [LAYERS.index(one.layer) for one in diagnosis.verdicts]
    assert order == sorted(order)
    assert exit_code(diagnosis) in (0, 1, 3)
    msgspec.json.encode(document(diagnosis))
    assert diff(diagnosis, diagnosis) == ()
    judged = Judged(diagnosis, evidence)
    other = Judged(msgspec.structs.replace(diagnosis, host=f"{diagnosis.host}-2"), evidence)
    correlate([judged, other])
    audit(evidence)


@_SETTINGS
@given(evidences, st.randoms(use_true_random=False))
def test_the_order_of_ports_does_not_matter(evidence: Evidence, random: Any) -> None:
    shuffled = list(evidence.ports)
    random.shuffle(shuffled)
    # repr: two answers with a NaN in them are the same, and not equal
    assert repr(diagnose(replace(evidence, ports=tuple(shuffled)))) == repr(diagnose(evidence))


@_SETTINGS
@given(evidences)
def test_nothing_passes_without_evidence(evidence: Evidence) -> None:
    bare = replace(evidence, ports=(), controls=(), aws=None, names=None, link=None, inside=None, echo=None)
    diagnosis = diagnose(bare)
    assert not any(end.outcome is Outcome.PASS for end in diagnosis.layers.values())
    assert diagnosis.verdicts == ()
    assert not any(one.outcome is Checked.PASS for one in audit(bare).lines)


@_SETTINGS
@given(evidences)
def test_less_of_aws_never_turns_unknown_into_pass(evidence: Evidence) -> None:
    full = diagnose(evidence)
    # where two sources disagree a layer is unknown because of AWS: without AWS there is no disagreement
    assume(evidence.aws is not None and not full.contradictions)
    less = diagnose(replace(evidence, aws=None))
    for name in LAYERS:
        if full.layers[name].outcome is Outcome.UNKNOWN:
            assert less.layers[name].outcome is not Outcome.PASS, name


@_SETTINGS
@given(evidences)
def test_only_what_is_open_passes_tcp_and_only_what_was_asked_passes_above(evidence: Evidence) -> None:
    layers = diagnose(evidence).layers
    if layers["tcp"].outcome is Outcome.PASS:
        assert {one.state for one in evidence.ports} <= {PortState.OPEN, PortState.REJECTED, PortState.UNREACHABLE,
                                                         PortState.REFUSED}  # fmt: skip
        assert any(one.state is PortState.OPEN for one in evidence.ports)
    if layers["http"].outcome is Outcome.PASS:
        assert any(one.http is not None and one.http.health is Health.OK for one in evidence.ports)
    if layers["tls"].outcome is Outcome.PASS:
        assert any(one.tls is not None and one.tls.ok for one in evidence.ports)


@_SETTINGS
@given(evidences)
def test_commands_can_be_pasted_whatever_the_names_hold(evidence: Evidence) -> None:
    for line in every_command(diagnose(evidence)):
        assert line.isprintable()
        # nothing that came from outside ends a word, starts a command or is read as an option of ssh
        parts = shlex.split(line)
        for hostile in ("touch", "id)", "-oProxyCommand=id"):
            assert hostile not in parts
        bare = re.sub(r"""'[^']*'|"[^"]*"|\\.""", "", line)  # what the shell reads: all that stands in no quotes
        for operator in re.findall(r"[;|&()<>`]+|\$\(", bare):
            assert operator == "&&", line


@_SETTINGS
@given(evidences)
def test_the_record_is_one_document_whatever_the_names_hold(evidence: Evidence) -> None:
    text = markdown(diagnose(evidence))
    headings = [line for line in text.splitlines() if line.startswith("#")]
    known = re.compile(
        r"# Diagnosis of .*|## (Verdicts|Layers|Ruled out|Still possible|Cheapest discriminator|Contradictions|Recovery"
        r"|Against the last good state|Notes)|### Row \d+: .*"
    )
    assert all(known.fullmatch(line) for line in headings)
    # outside of code spans no HTML and no link is left
    plain = re.sub(r"(`+).+?\1", "", text)
    assert "<b>" not in plain
    assert not re.search(r"(?<!\\)\]\(", plain)
    # a table keeps its columns
    for line in text.splitlines():
        if line.startswith("| ") and "outcome" not in line and line.count("|") < 6:
            assert len(re.findall(r"(?<!\\)\|", line)) == 4, line
