"""Rows 21 to 24 and 26: an open port, and what speaks behind it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from probes.evidence import HttpProbe, KeyCheck, LiveLink, Opening, PathMtu, SshProbe, TlsProbe
from probes.judge.diagnosis import Confidence
from probes.judge.triage import diagnose
from probes.model import Health, LinkState, Service, ServiceKind
from tests.support.evidence import (
    BACKEND,
    FRONTEND,
    ME,
    SSH,
    X,
    aws,
    commands,
    host,
    opened,
    outcome,
    reset,
    rows,
    silent,
    verdict,
)

R = "--region ap-northeast-1"
SECURE = Service("secure", 8443, ServiceKind.HTTP, tls=True, path="/health")


# --- row 21 ---


def test_row_21_open_then_closed() -> None:
    found = host(opened(SSH), opened(BACKEND, opening=Opening.CLOSED, http=None))
    one = verdict(found, 21)
    assert (one.layer, one.service, one.confidence) == ("http", "backend", None)
    assert one.statement == (
        "a proxy accepts for a dead container, or the process is wedged: 55433 (backend) opens, then closes "
        "without a byte"
    )
    assert commands(one) == [f"ssh -p 22 ubuntu@{X} 'docker ps -a; systemctl status backend'"]


@pytest.mark.parametrize(
    "port",
    [
        opened(BACKEND),
        # a plain TCP service that waits to be spoken to is fine
        opened(FRONTEND, opening=Opening.SILENT),
        opened(FRONTEND, opening=Opening.NOT_READ),
        silent(BACKEND, opening=Opening.CLOSED),
        # an SSH port that closes is row 22
        opened(SSH, opening=Opening.CLOSED, ssh=None),
    ],
)
def test_row_21_does_not_fire(port) -> None:
    assert 21 not in rows(host(port))


# --- row 22 ---


@pytest.mark.parametrize("how", [Opening.SILENT, Opening.CLOSED])
def test_row_22_no_banner(how) -> None:
    found = host(opened(SSH, ssh=SshProbe(opening=how)), aws=aws())
    one = verdict(found, 22)
    assert (one.layer, one.confidence) == ("ssh", None)
    assert commands(one) == [
        f"aws ec2 describe-instance-status --instance-ids i-0aaa {R}",
        f"aws ec2 get-console-output --instance-id i-0aaa --latest --output text {R}",
        f"ssh-keyscan -T 10 -p 22 {X}",
    ]
    assert rows(found) == [22]


@pytest.mark.parametrize(
    "port",
    [
        opened(SSH),
        opened(SSH, opening=Opening.NOT_READ, ssh=None),
        reset(SSH),
        opened(FRONTEND, opening=Opening.SILENT),
    ],
)
def test_row_22_does_not_fire(port) -> None:
    assert 22 not in rows(host(port))


# --- row 23 ---


def stalled(**over):
    ssh = SshProbe(opening=Opening.BANNER, banner="SSH-2.0-OpenSSH_9.6", banner_ms=41.0, kex_stalled=True)
    path = PathMtu(retransmits=3, snd_mss_bytes=1448, pmtu_bytes=1500, unacked=2)
    return opened(SSH, **{"ssh": ssh, "path_mtu": path, **over})


def test_row_23_a_path_mtu_black_hole() -> None:
    one = verdict(host(stalled(), aws=aws()), 23)
    assert (one.layer, one.confidence) == ("ssh", Confidence.HIGH)
    assert one.statement == "path-MTU black hole: the banner of 22 (ssh) came, then full-size segments get lost"
    assert one.evidence[1:] == (
        "banner after 41.0 ms, then the key exchange stalled",
        "3 retransmits, path MTU 1500 bytes",
        "segment size stuck at 1448 bytes",
    )
    assert commands(one) == [
        f"tracepath -n {X}",
        (
            "aws ec2 authorize-security-group-ingress --group-id sg-1 --ip-permissions "
            f"'IpProtocol=icmp,FromPort=3,ToPort=4,IpRanges=[{{CidrIp={ME}/32}}]' {R}"
        ),
        "sudo sysctl -w net.ipv4.tcp_mtu_probing=1",
    ]


@pytest.mark.parametrize(
    "port",
    [
        stalled(path_mtu=None),
        stalled(path_mtu=PathMtu(retransmits=0, snd_mss_bytes=1448)),
        # the size has come down: the path was heard
        stalled(path_mtu=PathMtu(retransmits=3, snd_mss_bytes=1024)),
        opened(SSH, path_mtu=PathMtu(retransmits=3, snd_mss_bytes=1448)),
    ],
)
def test_row_23_does_not_fire(port) -> None:
    assert 23 not in rows(host(port))


def test_a_stall_whose_retransmits_were_not_measured_is_unknown() -> None:
    diagnosis = diagnose(host(stalled(path_mtu=None)))
    assert outcome(diagnosis, "ssh") == "unknown"
    assert "retransmits were not measured" in diagnosis.layers["ssh"].reason


# --- row 24 ---


def changed(**over):
    fields = {"opening": Opening.BANNER, "banner": "SSH-2.0-x", "host_key": KeyCheck.CHANGED,
              "fingerprint": "SHA256:new", "known_fingerprint": "SHA256:old"}  # fmt: skip
    return opened(SSH, ssh=SshProbe(**{**fields, **over}))


def test_row_24_another_host_key() -> None:
    found = host(changed())
    one = verdict(found, 24)
    assert (one.layer, one.confidence) == ("ssh", Confidence.HIGH)
    assert one.statement == "not your host: the host key on 22 (ssh) is not the one on file"
    assert one.evidence[1:] == ("host key presented: SHA256:new", "host key on file: SHA256:old")
    assert one.next_actions[0].text == "stop, and send no credentials there"
    assert commands(one) == [None, f"ssh-keygen -F {X}"]
    diagnosis = diagnose(found)
    assert outcome(diagnosis, "address") == "unknown"
    assert diagnosis.recovery == ()


def test_row_24_another_certificate_and_another_banner() -> None:
    tls = TlsProbe(ok=True, pin=KeyCheck.CHANGED, fingerprint="aa", known_fingerprint="bb")
    assert verdict(host(opened(SECURE, tls=tls)), 24).layer == "tls"
    banner = changed(host_key=KeyCheck.NOT_CHECKED, known_banner="SSH-2.0-OpenSSH_9.6")
    assert "the banner on 22 (ssh)" in verdict(host(banner), 24).statement


def test_row_24_the_session_refused_the_key() -> None:
    link = LiveLink(state=LinkState.HOST_KEY_CHANGED, cause="host key changed")
    assert verdict(host(silent(SSH), link=link), 24).statement == "not your host: host key changed"


@pytest.mark.parametrize(
    "port",
    [
        opened(SSH),
        changed(host_key=KeyCheck.UNKNOWN),
        changed(host_key=KeyCheck.NOT_CHECKED),
        changed(host_key=KeyCheck.MATCH, known_banner="SSH-2.0-x"),
        opened(SECURE, tls=TlsProbe(ok=True, fingerprint="aa")),
    ],
)
def test_row_24_does_not_fire(port) -> None:
    assert 24 not in rows(host(port))


def test_nobody_is_told_to_log_in_to_a_stranger() -> None:
    diagnosis = diagnose(host(changed(), reset()))
    lines = [action.command for one in diagnosis.verdicts for action in one.next_actions]
    assert not any(line and line.startswith("ssh ") for line in lines)


# --- row 26 ---


def failing(**over):
    fields = {
        "health": Health.FAILING,
        "status": 503,
        "detail": "503 Service Unavailable, expected 200-399",
        "phases_ms": {"tcp": 20.0, "first_byte": 35.5},
        "first_line": "upstream is gone",
    }
    return opened(BACKEND, http=HttpProbe(**{**fields, **over}))


def test_row_26_http_fails() -> None:
    found = host(opened(SSH), failing())
    one = verdict(found, 26)
    assert (one.layer, one.confidence) == ("http", Confidence.CERTAIN)
    assert one.statement == (
        "service layer: 55433 (backend) takes TCP, HTTP fails: 503 Service Unavailable, expected 200-399"
    )
    assert one.evidence == (
        "55433 (backend): open in 20.0 ms",
        "phases: first_byte 35.5 ms, tcp 20.0 ms",
        "status 503",
        "first line of the body: upstream is gone",
    )
    assert commands(one) == [
        f"curl -sv --max-time 10 http://{X}:55433/health",
        f"ssh -p 22 ubuntu@{X} 'systemctl status backend; docker ps'",
    ]


def test_row_26_tls_fails() -> None:
    found = host(opened(SECURE, http=None, tls=TlsProbe(ok=False, verify_error="expired", took_ms=40.0)))
    one = verdict(found, 26)
    assert (one.layer, one.statement) == (
        "tls",
        "service layer: 8443 (secure) takes TCP, TLS fails: expired",
    )
    assert commands(one)[0] == f"curl -sv --max-time 10 https://{X}:8443/health"


@pytest.mark.parametrize(
    "port",
    [
        opened(BACKEND),
        opened(BACKEND, http=None),
        opened(BACKEND, http=HttpProbe(health=Health.UNKNOWN)),
        opened(SECURE, tls=TlsProbe(ok=True), http=HttpProbe(health=Health.OK, status=200)),
        # without a byte: row 21 knows better
        opened(BACKEND, opening=Opening.CLOSED, http=HttpProbe(health=Health.FAILING)),
        reset(BACKEND),
    ],
)
def test_row_26_does_not_fire(port) -> None:
    assert 26 not in rows(host(port))


def test_row_26_a_certificate_that_is_accepted_unverified_is_no_failure() -> None:
    accepted = replace(BACKEND, tls=True, tls_verify=False)
    refused = TlsProbe(ok=False, version="TLSv1.3", verify_error="self-signed", took_ms=3.0, fingerprint="SHA256:ab")
    diagnosis = diagnose(host(opened(accepted, tls=refused)))
    assert (diagnosis.verdicts, diagnosis.severity.level.value) == ((), "none")
    assert diagnosis.layers["tls"].reason == "TLSv1.3 in 3.0 ms, accepted unverified as configured: self-signed"
    assert rows(host(opened(replace(accepted, tls_verify=True), tls=refused))) == [26]
    assert rows(host(opened(accepted, tls=TlsProbe(ok=False, detail="closed during the handshake")))) == [26]


def test_row_26_something_else_than_ssh_speaks_there() -> None:
    said = 'not SSH: it answered "HTTP/1.1 400 Bad Request", then closed it (end of stream)'
    strange = opened(SSH, opening=Opening.GARBAGE, ssh=SshProbe(opening=Opening.GARBAGE, detail=said), detail=said)
    diagnosis = diagnose(host(strange))
    (one,) = diagnosis.verdicts
    assert (one.row, one.layer, one.confidence) == (26, "ssh", Confidence.CERTAIN)
    assert one.statement == f"service layer: 22 (ssh) takes TCP, SSH fails: {said}"
    assert commands(one)[0] == f"ssh-keyscan -T 10 -p 22 {X}"
    assert diagnosis.severity.level.value == "sev1"


@pytest.mark.parametrize("words", ["Exceeded MaxStartups", "Not allowed at this time"])
def test_row_22_sshd_says_that_it_takes_no_more(words) -> None:
    said = f'not SSH: it answered "{words}", then closed it (end of stream)'
    turned_away = opened(SSH, opening=Opening.GARBAGE, ssh=SshProbe(opening=Opening.GARBAGE, detail=said), detail=said)
    one = verdict(host(turned_away), 22)
    assert rows(host(turned_away)) == [22]
    assert one.statement.endswith("22 (ssh) is open and says so")
    assert one.evidence[1] == f"no SSH banner came: {said}"
