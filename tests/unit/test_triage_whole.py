"""Row 29, the causes, the cheapest check, severity, recovery, and what several hosts share."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from probes.cloud.assemble import Mine, nothing
from probes.cloud.facts import Address
from probes.diagnose_report import exit_code
from probes.evidence import Echo, HttpProbe, Names
from probes.judge.correlate import Judged, correlate
from probes.judge.diagnosis import LAYERS, Level
from probes.judge.triage import diagnose
from probes.model import Health, PortState
from tests.support.evidence import (
    BACKEND,
    DEAD_CONTROL,
    FIVE,
    FRONTEND,
    INTERFACE,
    LIVE,
    SSH,
    X,
    aws,
    host,
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
ALL_OPEN = tuple(opened(service) for service in FIVE)


# --- row 29 ---


def test_row_29_in_the_specification_s_own_words() -> None:
    found = host(*ALL_SILENT, region=None)
    one = verdict(found, 29)
    assert one.statement == (
        "Silent drop. Ruled out: your egress (control fine); a plain service failure (a live unfiltered host would "
        "send RST). Still possible: security group, NACL, host drop, stopped, address not associated, wrong address, "
        "route. ICMP says nothing (default groups allow none). Cheapest discriminator: "
        f"`aws ec2 describe-addresses --public-ips {X}` (one read-only call)."
    )
    assert (one.outcome.value, one.confidence) == ("unknown", None)
    assert rows(found) == [29]
    assert exit_code(diagnose(found)) == 3


def test_row_29_says_only_what_was_really_ruled_out() -> None:
    one = verdict(host(*ALL_SILENT, controls=(), echo=None), 29)
    assert one.statement == (
        "Silent drop. Ruled out: a plain service failure (a live unfiltered host would send RST). Still possible: "
        "your egress, security group, NACL, host drop, stopped, address not associated, wrong address, route. "
        "ICMP was not measured. Cheapest discriminator: `curl -sS --max-time 4 https://checkip.amazonaws.com` "
        "(whether our own way out works, and by which address)."
    )


def test_row_29_with_an_echo_that_is_answered() -> None:
    one = verdict(host(*ALL_SILENT, echo=Echo(outcome="reply", rtt_ms=21.0)), 29)
    assert "ICMP echo is answered: something lives at that address." in one.statement
    possible = one.statement.partition("Still possible")[2]
    assert "stopped" not in possible
    assert "not associated" not in possible


def test_row_29_for_the_ports_that_nothing_explains() -> None:
    one = verdict(host(opened(SSH), reset(BACKEND), silent()), 29)
    assert one.statement == (
        "Silent drop on 8001. Ruled out: your egress (the host answers); stopped; address not associated; wrong "
        "address; route. Still possible: security group, NACL, host drop. "
        "ICMP says nothing (default groups allow none). "
        f"Cheapest discriminator: `ssh -p 22 ubuntu@{X} 'ss -ltn'` "
        "(what listens on the host: listening inside and silent outside proves a filter)."
    )


@pytest.mark.parametrize(
    "found",
    [
        host(*ALL_OPEN),
        host(*ALL_SILENT, aws=aws()),
        host(*ALL_SILENT, aws=aws(instance=instance(state="stopped"))),
        host(*ALL_SILENT, controls=(DEAD_CONTROL,)),
        host(silent(SSH), link=LIVE),
        host(),
        host(silent(state=PortState.NOT_PROBED)),
    ],
)
def test_row_29_does_not_fire(found) -> None:
    assert 29 not in rows(found)


# --- layers and causes ---


def test_every_layer_is_there_in_packet_order_and_none_passes_without_evidence() -> None:
    diagnosis = diagnose(host(names=None, controls=(), echo=None))
    assert tuple(diagnosis.layers) == LAYERS
    assert {outcome(diagnosis, name) for name in LAYERS} == {"unknown"}
    assert all(end.reason for end in diagnosis.layers.values())


def test_a_host_that_works_passes_every_layer() -> None:
    diagnosis = diagnose(host(*ALL_OPEN))
    assert diagnosis.verdicts == ()
    assert {name: outcome(diagnosis, name) for name in LAYERS} == {
        **dict.fromkeys(LAYERS, "pass"),
        "resolve": "not_applicable",
        "tls": "not_applicable",
    }
    assert diagnosis.severity.level is Level.NONE
    assert diagnosis.cheapest_discriminator is None
    assert exit_code(diagnosis) == 0


def test_causes_have_evidence_for_and_against() -> None:
    diagnosis = diagnose(host(*ALL_SILENT, aws=aws(rules=(), unknown={"nacl": "AccessDenied"}, acl=None)))
    states = {one.name: one.state for one in diagnosis.causes}
    assert states == {
        "egress": "ruled_out",
        "dns": "not_applicable",
        "service": "ruled_out",
        "security_group": "found",
        "nacl": "still_possible",
        "host_firewall": "still_possible",
        "stopped": "ruled_out",
        "association": "ruled_out",
        "wrong_address": "ruled_out",
        "route": "ruled_out",
    }
    assert all(one.pro or one.contra for one in diagnosis.causes)
    assert diagnosis.ruled_out[0] == "your egress (control fine: gpu-2 (3.115.141.166:22): open in 12.0 ms)"
    assert "stopped (AWS: i-0aaa running, system check ok, instance check ok)" in diagnosis.ruled_out


def test_a_name_that_resolves_as_configured_rules_dns_out() -> None:
    names = Names(name="gpu.example.com", addresses=(X,), expected=(X,))
    diagnosis = diagnose(host(*ALL_SILENT, names=names))
    assert outcome(diagnosis, "resolve") == "pass"
    assert "DNS" in verdict(host(*ALL_SILENT, names=names), 29).statement.partition("Still possible")[0]


# --- the cheapest check, by its fixed order ---


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (host(*ALL_SILENT), f"aws ec2 describe-addresses --public-ips {X} {R}"),
        (host(*ALL_SILENT, controls=(DEAD_CONTROL,)), f"ip route get {X}"),
        (
            host(*ALL_SILENT, aws=aws(instance=None, interface=None, rules=None, acl=None, routes=None)),
            f"aws ec2 describe-instance-status --include-all-instances --instance-ids i-0aaa {R}",
        ),
        (
            host(*ALL_SILENT, aws=aws(rules=None)),
            f"aws ec2 describe-security-group-rules --filters Name=group-id,Values=sg-1 {R}",
        ),
        (
            host(*ALL_SILENT, aws=aws(routes=None)),
            f"aws ec2 describe-route-tables --filters Name=association.subnet-id,Values=subnet-1 {R}",
        ),
        (
            host(opened(SSH), silent(), aws=aws(acl=None), inside=inside(("0.0.0.0", 22))),
            f"aws ec2 describe-network-acls --filters Name=association.subnet-id,Values=subnet-1 {R}",
        ),
        (
            host(silent(address="10.0.0.5"), address="10.0.0.5"),
            f"aws ec2 describe-network-interfaces --filters Name=addresses.private-ip-address,Values=10.0.0.5 {R}",
        ),
        (host(silent(address="10.0.0.5"), address="10.0.0.5", region=None), "tracepath -n 10.0.0.5"),
    ],
)
def test_cheapest_discriminator(found, line) -> None:
    check = diagnose(found).cheapest_discriminator
    assert check is not None
    assert check.command == line


# --- severity ---


@pytest.mark.parametrize(
    ("found", "level", "rule"),
    [
        (
            host(*ALL_SILENT),
            Level.SEV1,
            "everything dead: 5 of 5 services fail (ssh, openvoice, voicevox, backend, frontend)",
        ),
        (host(*ALL_OPEN, gpus_lost=("GPU 0",)), Level.SEV1, "GPU gone: GPU 0"),
        (host(*ALL_OPEN[2:], silent(SSH), reset(BACKEND)), Level.SEV2, "partial: 2 of 5 services fail (ssh, backend)"),
        (host(*ALL_OPEN[:-1], reset(FRONTEND)), Level.SEV3, "one service: 1 of 5 services fails (frontend)"),
        (
            host(opened(SSH), opened(BACKEND, http=HttpProbe(health=Health.FAILING))),
            Level.SEV3,
            "one service: 1 of 2 services fails (backend)",
        ),
        (host(*ALL_OPEN), Level.NONE, "nothing blocked: 5 of 5 services work"),
        (host(*ALL_OPEN, gpus_lost=()), Level.NONE, "nothing blocked: 5 of 5 services work"),
        (host(opened(SSH), opened(BACKEND, http=None)), Level.UNKNOWN, "cannot tell: not known: backend"),
        (host(), Level.UNKNOWN, "cannot tell: no service was probed"),
        (host(*ALL_SILENT, controls=(DEAD_CONTROL,)), Level.UNKNOWN, "cannot tell: our own way out fails"),
    ],
)
def test_severity_by_rule(found, level, rule) -> None:
    severity = diagnose(found).severity
    assert (severity.level, severity.rule) == (level, rule)


def test_exit_codes() -> None:
    assert exit_code(diagnose(host(*ALL_OPEN))) == 0
    assert exit_code(diagnose(host(*ALL_OPEN[:-1], reset(FRONTEND)))) == 1
    assert exit_code(diagnose(host(*ALL_SILENT, controls=(DEAD_CONTROL,)))) == 1
    assert exit_code(diagnose(host())) == 3
    assert exit_code(diagnose(host(*ALL_SILENT, aws=aws(instance=instance(instance_status="initializing"))))) == 3


# --- recovery ---


def test_recovery_prefers_the_missing_rule_when_that_is_the_cause() -> None:
    diagnosis = diagnose(host(*ALL_SILENT, aws=aws(rules=())))
    assert [(one.option, one.possible, one.score) for one in diagnosis.recovery] == [
        ("security_group_fix", "yes", 0.45),  # 1 x (1 - 0.1) / 2 min
        ("console", "yes", 0.0475),  # 0.25 x (1 - 0.05) / 5 min
        ("rollback", "unknown", 0.0058),  # 0.5 x 0.25 x (1 - 0.3) / 15 min
        ("session_manager", "no", None),
    ]
    assert "success x (1 - risk) / time_min" in diagnosis.recovery_formula
    assert diagnosis.recovery[0].command is not None
    assert "/32" in diagnosis.recovery[0].command


def test_recovery_prefers_session_manager_when_aws_lets_us_through() -> None:
    diagnosis = diagnose(host(*ALL_SILENT, aws=aws(instance=instance(has_ssm=True))))
    assert [one.option for one in diagnosis.recovery[:2]] == ["session_manager", "console"]
    assert diagnosis.recovery[0].command == f"aws ssm start-session --target i-0aaa {R}"
    group = next(one for one in diagnosis.recovery if one.option == "security_group_fix")
    assert (group.possible, group.score) == ("no", None)


def test_recovery_without_aws_is_unknown_not_possible() -> None:
    diagnosis = diagnose(host(*ALL_SILENT))
    assert {one.possible for one in diagnosis.recovery} == {"unknown"}
    assert all(one.reason for one in diagnosis.recovery)


@pytest.mark.parametrize("facts", [None, nothing(None, "no AWS region is known", Mine(None, "not asked"), 0.0)])
def test_recovery_through_aws_is_not_offered_where_nothing_says_that_the_host_is_there(facts) -> None:
    diagnosis = diagnose(host(*ALL_SILENT, region=None, aws=facts))
    assert [one.option for one in diagnosis.recovery] == ["rollback"]
    assert diagnose(host(silent(SSH), region=None, aws=facts)).recovery == ()


def test_recovery_of_a_stopped_instance_has_no_session() -> None:
    diagnosis = diagnose(host(*ALL_SILENT, aws=aws(instance=instance(state="stopped", has_ssm=True))))
    assert next(one for one in diagnosis.recovery if one.option == "session_manager").possible == "no"


def test_no_recovery_where_nothing_fails_or_the_fault_is_ours() -> None:
    assert diagnose(host(*ALL_OPEN)).recovery == ()
    assert diagnose(host(*ALL_SILENT, controls=(DEAD_CONTROL,))).recovery == ()


@pytest.mark.parametrize("facts", [None, aws(), aws(rules=()), aws(instance=instance(has_ssm=True))])
def test_ssh_is_never_advised_while_it_is_dead(facts) -> None:
    for dead in (silent(SSH), reset(SSH)):
        diagnosis = diagnose(host(dead, silent(), aws=facts))
        lines = [action.command for one in diagnosis.verdicts for action in one.next_actions]
        lines += [one.command for one in diagnosis.recovery]
        lines += [diagnosis.cheapest_discriminator.command] if diagnosis.cheapest_discriminator else []
        assert not any(line and (line.startswith("ssh ") or "instance-connect" in line) for line in lines)


# --- contradictions ---


def test_configuration_denies_yet_open() -> None:
    diagnosis = diagnose(host(opened(), aws=aws(rules=())))
    assert diagnosis.contradictions == (
        (
            "configuration denies, yet it answers: no rule of sg-1 allows tcp 8001 from 203.0.113.7/32; "
            "8001 (openvoice): open in 20.0 ms: stale facts, or another host"
        ),
    )


def test_aws_says_stopped_and_the_address_answers() -> None:
    diagnosis = diagnose(host(opened(), aws=aws(instance=instance(state="stopped"))))
    assert diagnosis.contradictions == (f"AWS says i-0aaa is stopped, yet {X} answers: stale facts, or another host",)


def test_open_from_outside_and_nothing_listens_inside() -> None:
    diagnosis = diagnose(host(opened(SSH), opened(), inside=inside(("0.0.0.0", 22))))
    assert diagnosis.contradictions == (
        (
            "8001 (openvoice): open in 20.0 ms, yet nothing listens on it inside: "
            "forwarded to elsewhere, or another host answers"
        ),
    )


# --- the fleet ---


def judged(name: str, *ports, **facts) -> Judged:
    found = replace(host(*ports, **facts), host_id=name)
    return Judged(diagnose(found), found)


def on(subnet: str, *groups: str, **over):
    return aws(interface=replace(INTERFACE, subnet_id=subnet, group_ids=groups), **over)


def test_one_root_cause_said_once() -> None:
    fleet = [
        judged("a", *ALL_SILENT, aws=on("subnet-1", "sg-1", rules=())),
        judged("b", *ALL_SILENT, aws=on("subnet-1", "sg-1", rules=())),
        judged("c", *ALL_OPEN, aws=on("subnet-1", "sg-2")),
    ]
    (found,) = correlate(fleet)
    assert (found.kind, found.value, found.hosts, found.confidence.value) == (
        "security_group", "sg-1", ("a", "b"), "high",
    )  # fmt: skip
    assert found.statement == "one root cause for 2 hosts: security group sg-1 blocks each of them (a, b)"


def test_a_subnet_is_suspected_when_nothing_narrower_is_shared() -> None:
    fleet = [
        judged("a", *ALL_SILENT, aws=on("subnet-9", "sg-1", acl=None, routes=None)),
        judged("b", *ALL_SILENT, aws=on("subnet-9", "sg-2", acl=None, routes=None)),
    ]
    (found,) = correlate(fleet)
    assert (found.kind, found.value, found.confidence.value) == ("subnet", "subnet-9", "medium")


def test_what_a_working_host_has_too_is_no_suspect() -> None:
    fleet = [
        judged("a", *ALL_SILENT, aws=on("subnet-1", "sg-1")),
        judged("b", *ALL_SILENT, aws=on("subnet-1", "sg-1")),
        judged("c", *ALL_OPEN, aws=on("subnet-1", "sg-1")),
    ]
    assert correlate(fleet) == ()
    assert correlate(fleet[:1]) == ()


def test_our_own_egress_is_one_cause_for_all() -> None:
    fleet = [judged(name, *ALL_SILENT, controls=(DEAD_CONTROL,)) for name in ("a", "b", "c")]
    (found,) = correlate(fleet)
    assert (found.kind, found.hosts) == ("egress", ("a", "b", "c"))


def test_a_diagnosis_names_what_it_shares_with_the_fleet() -> None:
    other = judged("b", *ALL_SILENT, aws=aws(rules=()))
    diagnosis = diagnose(host(*ALL_SILENT, aws=aws(rules=())), [other])
    assert diagnosis.notes[-1] == (
        "one root cause for 2 hosts: security group sg-1 blocks each of them (b, tokyo-gpu-1)"
    )


def test_an_address_that_is_not_ours_and_a_rule_are_both_listed() -> None:
    facts = aws(address=Address(address=X, in_account=False), rules=(rule(22),))
    assert rows(host(*ALL_SILENT, aws=facts))[:1] == [3]
