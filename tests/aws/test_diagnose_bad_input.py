"""What can be wrong with AWS, and with what is typed: each is a clear line, and the rest of the diagnosis goes on.

The host is a refused port of this machine, so that what goes on is seen: row 18. AWS is a stand-in on loopback.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.aws_standin import Recorded, aws_standin, refusal
from tests.support.diagnosing import Answer, Desk
from tests.support.forks import Forks
from tests.support.sshd import Keys, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "ap-northeast-1"}
EVERY_PART = "address, credentials, instance, nacl, public access block, route, security group"


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@pytest.fixture
def desk(forks: Forks, tmp_path: Path) -> Desk:
    desk = Desk(tmp_path / "desk", forks=forks)
    desk.config("")
    return desk


def went_on(found: Answer) -> str:
    """The port was judged all the same; the notes about AWS. Nothing secret is shown anywhere."""
    assert found.code == 1, (found.out, found.err)
    assert [one.row for one in found.rows] == [18]
    assert SECRET not in found.out + found.err
    assert "Traceback" not in found.err
    (note,) = [note for note in found.document["notes"] if note.startswith("AWS layer: unknown - ")]
    return note.removeprefix("AWS layer: unknown - ")


def refused() -> list[str]:
    return ["127.0.0.1", "--ports", str(free_port())]


def test_no_credentials(desk: Desk) -> None:
    note = went_on(desk.diagnose(*refused(), env={"AWS_REGION": "ap-northeast-1"}))
    assert note == f"{EVERY_PART}: no AWS credentials; run: aws sso login, or set aws.profile"


def test_credentials_are_looked_for_once_however_many_questions_wait_for_them(desk: Desk) -> None:
    """Each look can take seconds where a metadata service does not answer."""
    with aws_standin({}) as (address, asked):
        env = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": address}
        note = went_on(desk.diagnose(*refused(), env={**env, "AWS_REGION": "ap-northeast-1"}))
    assert note.startswith(f"{EVERY_PART}: no AWS credentials")
    assert len([one for one in asked if one.startswith("PUT ")]) == 1


def test_no_region(desk: Desk) -> None:
    note = went_on(desk.diagnose(*refused()))
    assert note == f"{EVERY_PART}: no AWS region is known; set aws.region, or the label region of the host"


def test_a_profile_that_does_not_exist(desk: Desk) -> None:
    desk.config('[aws]\nprofile = "nobody"\nregion = "ap-northeast-1"\n')
    note = went_on(desk.diagnose(*refused()))
    assert note == (
        f"{EVERY_PART}: the AWS profile does not exist; run: aws configure list-profiles, then set aws.profile"
    )


def test_an_expired_sso_session(desk: Desk) -> None:
    desk.forks = None  # where sessions lie is settled when botocore is imported
    (desk.folder / "aws-config").write_text(
        "[profile ops]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = read\nregion = ap-northeast-1\n"
        "[sso-session corp]\nsso_start_url = https://corp.example.com/start\nsso_region = us-east-1\n"
    )
    cache = desk.folder / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"accessToken": SECRET, "expiresAt": "2020-01-01T00:00:00Z", "region": "us-east-1"}
    name = hashlib.sha1(b"corp", usedforsecurity=False).hexdigest()  # so the cache calls the session's file
    (cache / f"{name}.json").write_text(json.dumps(token))
    desk.config('[aws]\nprofile = "ops"\n')
    note = went_on(desk.diagnose(*refused()))
    assert note == (
        f"{EVERY_PART}: the AWS SSO session has expired or cannot be renewed; run: aws sso login --profile ops"
    )


def test_an_expired_session_token(desk: Desk) -> None:
    with aws_standin(refusal("RequestExpired", 400, SECRET)) as (address, _):
        note = went_on(desk.diagnose(*refused(), env={**KEYS, "AWS_ENDPOINT_URL": address}))
    assert note == f"{EVERY_PART}: the AWS session has expired; run: aws sso login"


def test_credentials_that_are_refused_show_no_secret(desk: Desk) -> None:
    """AWS's own message of a wrong signature repeats what was signed."""
    with aws_standin(refusal("AuthFailure", 401, f"signed with {SECRET}")) as (address, _):
        env = {**KEYS, "AWS_ENDPOINT_URL": address}
        note = went_on(desk.diagnose(*refused(), env=env))
        log = desk.folder / "log"
        logged = desk.run("--log-file", str(log), "diagnose", *refused(), env=env)
    assert note == f"{EVERY_PART}: AWS does not accept the credentials (AuthFailure); run: aws sso login"
    assert SECRET not in logged.out + logged.err + log.read_text()


def test_a_denied_call(desk: Desk) -> None:
    with aws_standin(refusal("UnauthorizedOperation", 403, SECRET)) as (address, _):
        found = desk.diagnose(*refused(), env={**KEYS, "AWS_ENDPOINT_URL": address})
    assert [one.row for one in found.rows] == [18]
    notes = " ".join(found.document["notes"])
    # whichever of the first questions was refused first names the part
    assert re.search(
        r"address, instance: UnauthorizedOperation for ec2:(Describe\w+); "
        r"allow ec2:\1 in the IAM policy \(docs/iam-policy\.md\)",
        notes,
    )
    assert SECRET not in found.out + found.err


def test_a_throttled_call_is_tried_again_and_then_said(desk: Desk) -> None:
    with aws_standin(refusal("RequestLimitExceeded", 503)) as (address, asked):
        found = desk.diagnose(*refused(), env={**KEYS, "AWS_ENDPOINT_URL": address})
    assert [one.row for one in found.rows] == [18]
    notes = " ".join(found.document["notes"])
    assert re.search(r"AWS throttles .*\(RequestLimitExceeded\); try again in a minute", notes)
    assert "look at the way to AWS" not in notes
    assert len(asked) > len(set(asked))


def test_an_answer_that_is_none(desk: Desk) -> None:
    with aws_standin(Recorded(200, "<html>a proxy's page</html>")) as (address, _):
        found = desk.diagnose(*refused(), env={**KEYS, "AWS_ENDPOINT_URL": address})
    assert [one.row for one in found.rows] == [18]
    assert "Traceback" not in found.err


def test_an_endpoint_that_nobody_answers_on(desk: Desk) -> None:
    env = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    note = went_on(desk.diagnose(*refused(), env=env))
    assert note.endswith(
        "the AWS endpoint of ap-northeast-1 cannot be reached; look at the way to AWS, and whether the region exists"
    )


def test_a_key_with_a_passphrase_is_not_asked_for_and_the_passphrase_is_not_shown(desk: Desk, tmp_path: Path) -> None:
    import asyncssh

    passphrase = "correct horse battery staple"
    key = asyncssh.generate_private_key("ssh-ed25519")
    locked = tmp_path / "locked"
    key.write_private_key(locked, passphrase=passphrase, rounds=4, ignore_few_rounds=True)
    Keys(tmp_path)
    port = free_port()
    desk.config(
        f'[aws]\nenabled = false\n[[hosts]]\nid = "box"\naddress = "127.0.0.1"\nport = {port}\n'
        f'identity_files = ["{locked}"]\nservices = [{{ name = "ssh", kind = "ssh", port = {port} }}]\n'
    )
    found = desk.diagnose("box", login=True, env={"SSH_PASSPHRASE": passphrase})
    assert [one.row for one in found.rows] == [18]
    assert passphrase not in found.out + found.err


# --- what is typed ---


@pytest.mark.parametrize(
    ("ports", "line"),
    [
        ("0", "--ports: '0' is no port; expected numbers from 1 to 65535, separated by commas"),
        ("70000", "--ports: '70000' is no port; expected numbers from 1 to 65535, separated by commas"),
        ("a", "--ports: 'a' is no port; expected numbers from 1 to 65535, separated by commas"),
        ("22,", "--ports: '' is no port; expected numbers from 1 to 65535, separated by commas"),
        ("-1", "--ports: '-1' is no port; expected numbers from 1 to 65535, separated by commas"),
        (",".join(map(str, range(1, 67))), "--ports: 66 ports; expected at most 64: this is no scanner"),
    ],
)
def test_ports_that_are_none(desk: Desk, ports: str, line: str) -> None:
    found = desk.run("diagnose", "127.0.0.1", f"--ports={ports}")
    assert (found.code, found.out, found.err) == (2, "", f"{line}\n")


@pytest.mark.parametrize("number", [0, 70000])
def test_a_port_of_the_configuration_that_is_none(desk: Desk, number: int) -> None:
    desk.config(f'[[services]]\nname = "web"\nport = {number}\n[[hosts]]\nid = "box"\naddress = "127.0.0.1"\n')
    found = desk.run("diagnose", "box")
    assert (found.code, found.out) == (2, "")
    where = desk.folder / "config.toml"
    assert found.err == f"{where}: services[0].port: {number} is not a port; expected 1 to 65535\n"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (
            "nobody",
            "nobody: unknown host; expected a configured host or group, an ssh_config alias, or user@host[:port]",
        ),
        ("10.0.0.1:0", '10.0.0.1:0: "0" is not a port (1 to 65535)'),
        ("@10.0.0.1", "@10.0.0.1: the user before the @ is empty or has odd characters"),
        ("[10.0.0.1]:22", "[10.0.0.1]:22: brackets go around an IPv6 address, as in [::1]:22"),
    ],
)
def test_a_host_that_is_none(desk: Desk, host: str, said: str) -> None:
    found = desk.run("diagnose", host)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(said)
    assert found.err.count("\n") == 1


def test_no_host_is_a_mistake(desk: Desk) -> None:
    found = desk.run("diagnose")
    assert found.code == 2
    assert "Missing argument 'HOST...'" in found.err
