"""The incident that this program was first wanted for: all five ports of a new address silent.

The address has an us-east-2 name, the deployment is in ap-northeast-1; the instance is stopped, and its group is open.
The address stands on a host behind a router in namespaces of their own.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.support.aws import REGION
from tests.support.cloud import ME, Cloud
from tests.support.diagnosing import Desk, Found
from tests.support.netns import Net

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("netns", "nft", "ip", "nsenter")

X = "18.118.69.100"
PORTS = (22, 55433, 8001, 50021, 55434)
ROUTER = "10.77.1.1"
CONFIG = """
[triage]
anchors = ["{router}:9"]
[aws]
my_address = "{me}"
[[services]]
name = "ssh"
kind = "ssh"
[[services]]
name = "backend"
kind = "http"
port = 55433
path = "/api/voicevox/health"
[[services]]
name = "openvoice"
kind = "openvoice"
[[services]]
name = "voicevox"
kind = "voicevox"
[[services]]
name = "frontend"
kind = "http"
port = 55434
[[hosts]]
id = "tokyo-gpu-1"
address = "{x}"
user = "ubuntu"
labels = {{ region = "{region}", instance_id = "{instance}" }}
services = ["ssh", "backend", "openvoice", "voicevox", "frontend"]
"""
CANNOT_TELL = (
    "Silent drop. Ruled out: your egress (control fine); a plain service failure (a live unfiltered host would send "
    "RST). Still possible: security group, NACL, host drop, stopped, address not associated, wrong address, route. "
    "ICMP says nothing (default groups allow none). Cheapest discriminator: `aws ec2 describe-addresses --public-ips "
    "18.118.69.100 --region {region}` (one read-only call)."
)
FORMULA = (
    "score = success x (1 - risk) / time_min; success is possible (yes 1, unknown 0.5, no 0) x fit (mends or shows the "
    "cause found 1, cause not known 0.5, another cause found 0.25); risk and time_min are estimates"
)


@pytest.fixture(scope="module")
def incident() -> Iterator[SimpleNamespace]:
    with Net() as net, Cloud(net.watcher) as cloud:
        net.server.run("ip", "address", "add", f"{X}/32", "dev", "lo")
        net.router.run("ip", "route", "add", X, "via", "10.77.2.2")
        net.server.rules(
            f"table inet t {{\n chain c {{\n type filter hook input priority 0\n ip daddr {X} drop\n }}\n}}\n"
        )
        site = cloud.site(*PORTS, cidr="0.0.0.0/0")
        cloud.ec2().stop_instances(InstanceIds=[site.instance])
        yield SimpleNamespace(net=net, cloud=cloud, site=site)


@pytest.fixture
def desk(incident: SimpleNamespace, tmp_path: Path) -> Desk:
    desk = Desk(tmp_path / "desk", incident.net.watcher)
    values = {"router": ROUTER, "me": ME, "x": X, "region": REGION, "instance": incident.site.instance}
    desk.config(CONFIG.format(**values))
    return desk


def advice(document: dict) -> list[str]:
    """Every command that is shown."""
    found = [action["command"] for one in document["verdicts"] for action in one["next_actions"]]
    found += [one["command"] for one in document["recovery"]]
    check = document["cheapest_discriminator"]
    return [line for line in [*found, check["command"] if check else None] if line]


def assert_not_circular(document: dict, text: str) -> None:
    """SSH is what is dead: neither it nor what needs its port is advised."""
    assert not any(line.startswith(("ssh ", "ssh-", "scp ")) for line in advice(document))
    assert "instance connect" not in text.lower()
    assert "instance-connect" not in text.lower()


def test_the_address_is_wrong_and_the_instance_is_stopped(incident: SimpleNamespace, desk: Desk) -> None:
    desk.names(**{"ec2-18-118-69-100.us-east-2.compute.amazonaws.com": X})
    found = desk.diagnose("tokyo-gpu-1", login=True, env=incident.cloud.env)
    instance, now = incident.site.instance, incident.site.address
    assert found.code == 1
    assert found.states == dict.fromkeys(PORTS, "filtered")
    assert found.document["severity"] == {
        "level": "sev1",
        "rule": "everything dead: 5 of 5 services fail (ssh, openvoice, voicevox, backend, frontend)",
    }
    assert found.rows == [
        Found(
            3, "address", None, "block", "high", "ask whose address it is in us-east-2",
            f"aws ec2 describe-addresses --public-ips {X} --region us-east-2",
        ),
        Found(
            6, "instance", None, "block", "certain",
            "start it; without an Elastic IP it gets another public address",
            f"aws ec2 start-instances --instance-ids {instance} --region {REGION}",
        ),
    ]  # fmt: skip
    states = "'Reservations[].Instances[].[InstanceId,State.Name,PublicIpAddress]' --output text"
    assert [action["command"] for action in found.document["verdicts"][0]["next_actions"]] == [
        f"aws ec2 describe-addresses --public-ips {X} --region us-east-2",
        f"aws ec2 describe-instances --instance-ids {instance} --query {states} --region {REGION}",
        f"quarterdeck diagnose {now} --ports 22,8001,50021,55433,55434",
    ]
    assert found.layers["egress"] == "pass"
    assert found.layers["security_group"] == "unknown"  # the group is open, but not known to be this address's
    # console: certain to be possible and it shows the cause; then what mends nothing of it, or is not known to be there
    assert [(one["option"], one["possible"], one["score"]) for one in found.document["recovery"]] == [
        ("console", "yes", 0.19),  # 1 x (1 - 0.05) / 5
        ("security_group_fix", "unknown", 0.056),  # 0.5 x 0.25 x (1 - 0.1) / 2
        ("rollback", "unknown", 0.023),  # 0.5 x 1 x (1 - 0.3) / 15
        ("session_manager", "no", None),
    ]
    assert found.document["recovery_formula"] == FORMULA
    assert_not_circular(found.document, found.out)


def test_the_other_forms_say_the_same(incident: SimpleNamespace, desk: Desk) -> None:
    desk.names(**{"ec2-18-118-69-100.us-east-2.compute.amazonaws.com": X})
    forms = (["diagnose", "tokyo-gpu-1", "--format", form] for form in ("text", "md"))
    text, markdown = desk.together(*forms, env=incident.cloud.env)
    said = (
        "sev1",
        f"the reverse name of {X} says us-east-2, configured is {REGION}",
        f"{incident.site.instance} is stopped",
        f"aws ec2 describe-addresses --public-ips {X} --region us-east-2",
        f"aws ec2 start-instances --instance-ids {incident.site.instance} --region {REGION}",
        FORMULA,
    )
    for found in (text, markdown):
        flat = " ".join(found.out.replace("\\", "").split())
        assert (found.code, [words for words in said if words not in flat]) == (1, [])
    wide = [line for line in text.out.splitlines() if len(line) > 100]
    assert [line for line in wide if not line.lstrip().startswith(("aws ", "quarterdeck "))] == []


def test_without_credentials_nothing_can_be_told(desk: Desk) -> None:
    found = desk.diagnose("tokyo-gpu-1", login=True)
    assert found.code == 3
    assert [(one.row, one.outcome, one.confidence) for one in found.rows] == [(29, "unknown", None)]
    assert found.document["verdicts"][0]["statement"] == CANNOT_TELL.format(region=REGION)
    assert found.row(29).command == f"aws ec2 describe-addresses --public-ips {X} --region {REGION}"
    assert "block" not in found.layers.values()
    assert any("no AWS credentials; run: aws sso login" in note for note in found.document["notes"])
    assert_not_circular(found.document, found.out)


def test_without_credentials_the_reverse_name_is_a_hint_and_the_silence_stays_unexplained(desk: Desk) -> None:
    desk.names(**{"ec2-18-118-69-100.us-east-2.compute.amazonaws.com": X})
    found = desk.diagnose("tokyo-gpu-1", login=True)
    assert found.code == 3
    assert [(one.row, one.outcome, one.confidence) for one in found.rows] == [
        (3, "block", "medium"),
        (29, "unknown", None),
    ]
    assert found.document["verdicts"][1]["statement"] == CANNOT_TELL.format(region="us-east-2")
    assert_not_circular(found.document, found.out)
