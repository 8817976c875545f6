"""The security audit: every line passes, fails or was not checked, and nothing is secure by default."""

from __future__ import annotations

import msgspec
import pytest

from probes.evidence import Opening, SshProbe
from probes.judge.posture import audit
from probes.judge.posture_types import Checked, Exposure, PostureLine
from tests.support.evidence import (
    FIVE,
    ME,
    OPENVOICE,
    SSH,
    aws,
    host,
    inside,
    instance,
    opened,
    reset,
    rule,
    silent,
)

R = "--region ap-northeast-1"
KEYS = {"passwordauthentication": "no", "kbdinteractiveauthentication": "no", "permitrootlogin": "no"}


def lines(evidence, check: str) -> list[PostureLine]:
    return [one for one in audit(evidence).lines if one.check == check]


def line(evidence, check: str, subject: str) -> PostureLine:
    (found,) = [one for one in lines(evidence, check) if one.subject == subject]
    return found


# --- nothing by default ---


def test_an_audit_with_nothing_checked_says_so() -> None:
    posture = audit(host())
    assert {one.outcome for one in posture.lines} == {Checked.NOT_CHECKED}
    assert posture.summary == ("nothing was checked: all 6 lines lack their facts; this says nothing of security")
    assert all(one.statement for one in posture.lines)


def test_a_denied_call_is_not_checked_with_its_reason() -> None:
    facts = aws(rules=None, instance=None, unknown={"security_group": "AccessDenied", "instance": "throttled"})
    posture = audit(host(aws=facts))
    assert line(host(aws=facts), "B1", "security groups").statement == "the rules could not be read: AccessDenied"
    assert line(host(aws=facts), "B3", "IMDS token").statement == "throttled"
    assert not any("secure" in one.statement for one in posture.lines)


# --- B1 ---


def world(port=8001, **over):
    return aws(rules=(rule(port, **{"cidr": "0.0.0.0/0", **over}),))


@pytest.mark.parametrize(
    ("evidence", "exposure", "words"),
    [
        (
            host(opened(), aws=world()),
            Exposure.HIGH,
            "tcp 8001 is open to the world (0.0.0.0/0): configured open, and we just connected to 8001 in 20.0 ms",
        ),
        (
            host(reset(), aws=world()),
            Exposure.MEDIUM,
            "tcp 8001 is open to the world (0.0.0.0/0): configured open and reachable; nothing listens now",
        ),
        (
            host(silent(), aws=world()),
            Exposure.LOW,
            "tcp 8001 is open to the world (0.0.0.0/0): configured open; we did not get through when we tried",
        ),
        (
            host(aws=world()),
            Exposure.MEDIUM,
            "tcp 8001 is open to the world (0.0.0.0/0): configured open; whether one can connect was not probed",
        ),
    ],
)
def test_b1_connected_is_worse_than_configured(evidence, exposure, words) -> None:
    found = line(evidence, "B1", "sgr-8001 of sg-1")
    assert (found.outcome, found.exposure, found.statement) == (Checked.FAIL, exposure, words)
    assert found.action is not None
    assert found.action.command == (
        f"aws ec2 revoke-security-group-ingress --group-id sg-1 --security-group-rule-ids sgr-8001 {R}"
    )


@pytest.mark.parametrize(
    ("over", "what"),
    [
        ({"protocol": "-1", "from_port": None, "to_port": None}, "every protocol and port"),
        ({"from_port": 0, "to_port": 65535}, "tcp 0-65535"),
        ({"from_port": 1024, "to_port": 65535}, "tcp 1024-65535"),
        ({"cidr": None, "ipv6_cidr": "::/0", "from_port": None, "to_port": None}, "every tcp port"),
    ],
)
def test_b1_everything_at_once_is_worst(over, what) -> None:
    found = line(host(opened(), aws=world(**over)), "B1", "sgr-8001 of sg-1")
    assert found.exposure is Exposure.CRITICAL
    assert found.statement.startswith(f"{what} is open to the world")
    assert line(host(aws=world(**over)), "B1", "sgr-8001 of sg-1").exposure is Exposure.HIGH


def test_b1_half_of_the_world_is_the_world() -> None:
    facts = aws(rules=(rule(22, "0.0.0.0/1"), rule(22, "128.0.0.0/1", rule_id="sgr-b")))
    assert [one.outcome for one in lines(host(aws=facts), "B1")] == [Checked.FAIL, Checked.FAIL]


def test_b1_five_world_open_ports_are_five_failures() -> None:
    facts = aws(rules=tuple(rule(service.port, "0.0.0.0/0") for service in FIVE))
    found = lines(host(*(opened(service) for service in FIVE), aws=facts), "B1")
    assert [one.outcome for one in found] == [Checked.FAIL] * 5


def test_b1_passes_name_who_is_let_in() -> None:
    evidence = host(opened(SSH), silent(), aws=aws(rules=(rule(22),)))
    assert line(evidence, "B1", "tcp 22").statement == f"no rule of sg-1 opens it to the world: only from {ME}/32"
    assert line(evidence, "B1", "tcp 8001").statement == "no rule of sg-1 opens it to the world: from nowhere"


def test_b1_an_unread_prefix_list_is_not_checked() -> None:
    facts = aws(rules=(rule(8001, None, prefix_list_id="pl-1"),))
    found = lines(host(silent(), aws=facts), "B1")
    assert [one.outcome for one in found] == [Checked.NOT_CHECKED]
    assert found[0].statement == "the entries of prefix list pl-1 could not be read"


def test_b1_icmp() -> None:
    needed = aws(rules=(rule(3, "0.0.0.0/0", protocol="icmp", from_port=3, to_port=4),))
    assert lines(host(aws=needed), "B1")[0].outcome is Checked.PASS
    everything = aws(rules=(rule(3, "0.0.0.0/0", protocol="icmp", from_port=-1, to_port=-1),))
    found = lines(host(aws=everything), "B1")[0]
    assert (found.outcome, found.exposure) == (Checked.FAIL, Exposure.LOW)


# --- B2 ---


def test_b2_from_the_settings() -> None:
    good = lines(host(inside=inside(sshd=KEYS)), "B2")
    assert [(one.subject, one.outcome) for one in good] == [
        ("SSH by key only", Checked.PASS),
        ("root login", Checked.PASS),
    ]
    bad = host(inside=inside(sshd={**KEYS, "passwordauthentication": "yes", "permitrootlogin": "yes"}))
    assert [one.exposure for one in lines(bad, "B2")] == [Exposure.HIGH, Exposure.HIGH]
    keyed = host(inside=inside(sshd={**KEYS, "permitrootlogin": "prohibit-password"}))
    assert line(keyed, "B2", "root login").exposure is Exposure.LOW


@pytest.mark.parametrize(
    ("takes", "methods", "offer"),
    [("yes", ("publickey",), Checked.PASS), ("no", ("publickey", "password"), Checked.FAIL)],
)
def test_b2_settings_that_do_not_fit_the_server_in_front_of_us_are_not_believed(
    takes: str, methods: tuple[str, ...], offer: Checked
) -> None:
    """`sshd -T` reads the standard file: a server that runs with another one is another matter."""
    server = opened(SSH, ssh=SshProbe(opening=Opening.BANNER, auth_methods=methods))
    found = lines(host(server, inside=inside(sshd={**KEYS, "passwordauthentication": takes})), "B2")
    assert {one.subject: one.outcome for one in found} == {
        "SSH by key only (22)": offer,
        "SSH by key only": Checked.NOT_CHECKED,
        "root login": Checked.NOT_CHECKED,
    }
    assert all("does not fit" in one.statement for one in found if one.outcome is Checked.NOT_CHECKED)


def test_b2_settings_that_say_nothing_of_passwords_contradict_nobody() -> None:
    server = opened(SSH, ssh=SshProbe(opening=Opening.BANNER, auth_methods=("publickey", "password")))
    evidence = host(server, inside=inside(sshd={"permitrootlogin": "yes"}))
    assert line(evidence, "B2", "root login").outcome is Checked.FAIL
    assert line(evidence, "B2", "SSH by key only").outcome is Checked.NOT_CHECKED


def test_b2_half_of_the_settings_is_not_checked() -> None:
    half = host(inside=inside(sshd={"passwordauthentication": "no"}))
    assert [one.outcome for one in lines(half, "B2")] == [Checked.NOT_CHECKED, Checked.NOT_CHECKED]


@pytest.mark.parametrize(
    ("methods", "outcome"),
    [
        (("publickey",), Checked.PASS),
        (("publickey", "password"), Checked.FAIL),
        (("publickey", "keyboard-interactive"), Checked.FAIL),
        ((), Checked.NOT_CHECKED),
        (None, Checked.NOT_CHECKED),
    ],
)
def test_b2_from_what_the_server_offers(methods, outcome) -> None:
    port = opened(SSH, ssh=SshProbe(opening=Opening.BANNER, auth_methods=methods))
    found = lines(host(port, inside_why="not permitted"), "B2")
    keys = [one for one in found if one.subject.startswith("SSH by key only")]
    assert [one.outcome for one in keys] == [outcome]
    # what is offered does not tell whether root may come in
    assert [one.outcome for one in found if one.subject == "root login"] == [Checked.NOT_CHECKED]


# --- B3 ---


def test_b3_token_and_hop_limit() -> None:
    good = lines(host(aws=aws()), "B3")
    assert [one.outcome for one in good] == [Checked.PASS, Checked.PASS]
    weak = aws(instance=instance(imds_tokens="optional", imds_hop_limit=2, profile_arn="arn:aws:iam::1:x"))
    token = line(host(aws=weak), "B3", "IMDS token")
    assert token.exposure is Exposure.HIGH
    assert token.action is not None
    assert token.action.command == (
        f"aws ec2 modify-instance-metadata-options --instance-id i-0aaa --http-tokens required {R}"
    )
    assert line(host(aws=weak), "B3", "IMDS hop limit").exposure is Exposure.LOW
    without_role = aws(instance=instance(imds_tokens="optional"))
    assert line(host(aws=without_role), "B3", "IMDS token").exposure is Exposure.LOW


def test_b3_not_told_is_not_checked() -> None:
    facts = aws(instance=instance(imds_tokens=None, imds_hop_limit=None))
    assert {one.outcome for one in lines(host(aws=facts), "B3")} == {Checked.NOT_CHECKED}
    off = aws(instance=instance(imds_tokens=None, imds_hop_limit=None, imds_endpoint="disabled"))
    assert {one.outcome for one in lines(host(aws=off), "B3")} == {Checked.PASS}


# --- B4 ---


def test_b4_listening_configured_and_let_in() -> None:
    view = inside(("0.0.0.0", 22), ("0.0.0.0", 6379), ("0.0.0.0", 9100), ("127.0.0.1", 5432), ("::", 7000))
    rules = (rule(22), rule(6379, "0.0.0.0/0"), rule(9100, "10.0.0.0/8"), rule(8001))
    evidence = host(opened(SSH), silent(OPENVOICE), aws=aws(rules=rules), inside=view)
    assert [(one.subject, one.outcome, one.exposure) for one in lines(evidence, "B4")] == [
        ("tcp 6379", Checked.FAIL, Exposure.HIGH),
        ("tcp 9100", Checked.FAIL, Exposure.MEDIUM),
        ("tcp 8001", Checked.FAIL, Exposure.LOW),
        ("tcp 7000", Checked.PASS, None),
    ]


def test_b4_all_configured() -> None:
    evidence = host(opened(SSH), aws=aws(rules=(rule(22),)), inside=inside(("0.0.0.0", 22)))
    (found,) = lines(evidence, "B4")
    assert found.statement == "every port that listens outwards is a configured service: 22"


def test_b4_without_the_host_s_own_view() -> None:
    assert line(host(inside_why="SSH is dead"), "B4", "listening ports").statement == (
        "the host's own view: SSH is dead"
    )
    unread = host(inside=inside(listeners=None, listeners_why="ss is not there"))
    assert line(unread, "B4", "listening ports").statement == "ss is not there"


def test_the_worst_comes_first_and_the_document_is_json() -> None:
    posture = audit(host(opened(), aws=world(), inside=inside(("0.0.0.0", 8001), sshd=KEYS)))
    assert posture.lines[0].exposure is Exposure.HIGH
    assert posture.summary == "1 failed, the worst high; 5 passed; 0 not checked"
    document = msgspec.json.decode(msgspec.json.encode(posture.document("2026-01-01T00:00:00.000Z")))
    assert document["lines"][0]["exposure"] == "high"
    passed = next(one for one in document["lines"] if one["outcome"] == "pass")
    assert passed["exposure"] is None
    assert passed["missing"] == {"exposure": "unsupported", "action": "unsupported"}
