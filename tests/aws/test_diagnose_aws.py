"""Rows 3 to 17 through the real command line: real packets to moto's Elastic IPs, real HTTP to moto.

What moto does not do (a status check that is not fine, VPC Block Public Access) it answers as recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.aws import REGION
from tests.support.cloud import ME, Cloud, Site
from tests.support.diagnosing import Desk, Found
from tests.support.forks import Forks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("netns", "nft", "ip", "nsenter")

BLOCKED_REGION, DENIED_REGION = "eu-central-1", "eu-west-1"
STATES = "'Reservations[].Instances[].[InstanceId,State.Name,PublicIpAddress]' --output text"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud() as cloud:
        yield cloud


@pytest.fixture(scope="module")
def forks(cloud: Cloud) -> Iterator[Forks]:
    with Forks(cloud.space) as forks:
        yield forks


@pytest.fixture
def desk(cloud: Cloud, forks: Forks, tmp_path: Path) -> Desk:
    """Somebody with credentials, whose own address AWS sees as ``ME``."""
    return Desk(tmp_path / "desk", cloud.space, forks=forks, **cloud.env)


def configure(
    desk: Desk, cloud: Cloud, address: str, *, instance: str | None = None, region: str = REGION, more: str = ""
) -> None:
    """``box`` with SSH and one service, 8001."""
    labels = [f'region = "{region}"'] + ([f'instance_id = "{instance}"'] if instance else [])
    desk.config(
        f'[triage]\nanchors = ["{cloud.anchor}"]\n[aws]\nmy_address = "{ME}"\n'
        f'[[services]]\nname = "ssh"\nkind = "ssh"\n[[services]]\nname = "voice"\nport = 8001\n'
        f'[[hosts]]\nid = "box"\naddress = "{address}"\nuser = "ops"\n'
        f'labels = {{ {", ".join(labels)} }}\nservices = ["ssh", "voice"]\n{more}'
    )


def silent_site(cloud: Cloud, *ports: int, **more: str) -> Site:
    """A site whose address is silent on both ports."""
    site = cloud.site(*ports, **more)
    cloud.drop(site.address)
    return site


def commands(found: dict) -> list[str | None]:
    return [action["command"] for action in found["next_actions"]]


def test_a_host_that_answers_and_that_aws_knows_has_no_verdict(cloud: Cloud, desk: Desk) -> None:
    site = cloud.site(22, 8001)
    configure(desk, cloud, site.address, instance=site.instance)
    cloud.listen(site.address, 8001)
    found = desk.diagnose("box", "--ports", "8001")
    assert (found.code, found.rows, found.document["severity"]["level"]) == (0, [], "none")
    assert found.document["contradictions"] == []


def test_row_3_the_reverse_name_says_another_region_and_aws_confirms(cloud: Cloud, desk: Desk) -> None:
    site = cloud.site(22, 8001)
    cloud.drop("127.250.0.9")
    desk.names(**{"ec2-127-250-0-9.us-east-2.compute.amazonaws.com": "127.250.0.9"})
    configure(desk, cloud, "127.250.0.9", instance=site.instance)
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            3, "address", None, "block", "high", "ask whose address it is in us-east-2",
            "aws ec2 describe-addresses --public-ips 127.250.0.9 --region us-east-2",
        )
    ]  # fmt: skip
    (verdict,) = found.document["verdicts"]
    assert verdict["statement"] == (
        "wrong address or region: the reverse name of 127.250.0.9 says us-east-2, configured is ap-northeast-1; "
        f"127.250.0.9 is not in our account in ap-northeast-1; {site.instance} now has {site.address}"
    )
    assert commands(verdict)[1:] == [
        f"aws ec2 describe-instances --instance-ids {site.instance} --query {STATES} --region {REGION}",
        f"quarterdeck diagnose {site.address} --ports 22,8001",
    ]


def test_row_3_by_the_reverse_name_alone_is_medium(cloud: Cloud, desk: Desk) -> None:
    cloud.drop("127.250.0.8")
    desk.names(**{"ec2-127-250-0-8.us-east-2.compute.amazonaws.com": "127.250.0.8"})
    configure(desk, cloud, "127.250.0.8")
    found = desk.diagnose("box", env={"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""})
    assert found.code == 3  # a hint: why the ports are silent is not known
    assert [(one.row, one.outcome, one.confidence) for one in found.rows] == [
        (3, "block", "medium"), (29, "unknown", None),
    ]  # fmt: skip


def test_row_3_does_not_fire_without_a_sign_of_aws(cloud: Cloud, desk: Desk) -> None:
    """moto's account does not know this address; nothing says that it should."""
    cloud.listen("127.250.0.7", 8001)
    desk.config(f'[aws]\nregion = "{REGION}"\n')
    found = desk.diagnose("127.250.0.7", "--ports", "8001")
    assert (found.code, found.rows, found.document["contradictions"]) == (0, [], [])
    cloud.drop("127.250.0.6")
    found = desk.diagnose("127.250.0.6", "--ports", "8001")
    assert (found.code, [one.row for one in found.rows]) == (3, [29])
    assert found.document["recovery"] == []


def test_row_4_the_elastic_ip_is_not_associated(cloud: Cloud, desk: Desk) -> None:
    site = cloud.site(22, 8001)
    address, allocation = cloud.elastic(None)
    cloud.drop(address)
    configure(desk, cloud, address, instance=site.instance)
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            4, "address", None, "block", "certain", "associate it with its instance",
            f"aws ec2 associate-address --allocation-id {allocation} --instance-id {site.instance} --region {REGION}",
        )
    ]  # fmt: skip


def test_row_5_the_elastic_ip_is_on_another_instance(cloud: Cloud, desk: Desk) -> None:
    site = silent_site(cloud, 22, 8001)
    wanted, _ = cloud.start(site.subnet, site.group)
    configure(desk, cloud, site.address, instance=wanted)
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            5, "address", None, "block", "certain", "show both ids and launch times",
            f"aws ec2 describe-instances --instance-ids {site.instance} {wanted} --query "
            "'Reservations[].Instances[].[InstanceId,LaunchTime,State.Name,PublicIpAddress]' --output text "
            f"--region {REGION}",
        )
    ]  # fmt: skip


def test_row_6_the_instance_is_stopped(cloud: Cloud, desk: Desk) -> None:
    site = silent_site(cloud, 22, 8001)
    cloud.ec2().stop_instances(InstanceIds=[site.instance])
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            6, "instance", None, "block", "certain",
            "start it; without an Elastic IP it gets another public address",
            f"aws ec2 start-instances --instance-ids {site.instance} --region {REGION}",
        )
    ]  # fmt: skip
    assert "User initiated" in found.document["verdicts"][0]["statement"]


def test_row_7_the_system_check_is_impaired(cloud: Cloud, desk: Desk) -> None:
    site = silent_site(cloud, 22, 8001)
    cloud.tell(checks={"instance": site.instance, "system": "impaired", "own": "ok"})
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.diagnose("box")
    assert found.code == 1
    which = f"--instance-ids {site.instance} --region {REGION}"
    assert found.rows == [
        Found(
            7, "instance", None, "block", "high",
            "stop and start it, which moves it to other hardware (a reboot does not); without an Elastic IP its public "
            "address changes",
            f"aws ec2 stop-instances {which} && aws ec2 wait instance-stopped {which} && "
            f"aws ec2 start-instances {which}",
        )
    ]  # fmt: skip


def test_row_8_the_instance_check_is_impaired(cloud: Cloud, desk: Desk) -> None:
    site = silent_site(cloud, 22, 8001)
    cloud.tell(checks={"instance": site.instance, "system": "ok", "own": "impaired"})
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            8, "instance", None, "block", "high", "read the console for where it hangs",
            f"aws ec2 get-console-output --instance-id {site.instance} --latest --output text --region {REGION}",
        )
    ]  # fmt: skip


def test_row_9_initializing(cloud: Cloud, desk: Desk) -> None:
    site = silent_site(cloud, 22, 8001)
    cloud.tell(checks={"instance": site.instance, "system": "initializing", "own": "initializing"})
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.diagnose("box")
    assert found.code == 3
    assert found.rows == [
        Found(
            9, "instance", None, "unknown", None, "wait for its status checks",
            f"aws ec2 wait instance-status-ok --instance-ids {site.instance} --region {REGION}",
        )
    ]  # fmt: skip
    assert commands(found.document["verdicts"][0])[1] == "quarterdeck diagnose box"


def test_row_10_no_rule_for_the_port(cloud: Cloud, desk: Desk) -> None:
    site = silent_site(cloud, 22)
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.diagnose("box", "--ports", "8001")
    assert found.code == 1
    assert found.rows == [
        Found(
            10, "security_group", "voice", "block", "high",
            f"the missing rule: allow tcp 8001 from {ME}/32 in {site.group}; it opens the port to one address only",
            f"aws ec2 authorize-security-group-ingress --group-id {site.group} --region {REGION} --ip-permissions "
            f"'IpProtocol=tcp,FromPort=8001,ToPort=8001,IpRanges=[{{CidrIp={ME}/32}}]'",
        )
    ]  # fmt: skip


def test_row_11_the_only_rule_names_a_group(cloud: Cloud, desk: Desk) -> None:
    site = silent_site(cloud, 22)
    cloud.ec2().authorize_security_group_ingress(
        GroupId=site.group,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 8001, "ToPort": 8001, "UserIdGroupPairs": [{"GroupId": site.group}]}
        ],
    )
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.diagnose("box", "--ports", "8001")
    assert found.code == 1
    assert found.rows == [
        Found(
            11, "security_group", "voice", "block", "high",
            "such rules match private traffic only: come by the private address, or allow your own", None,
        )
    ]  # fmt: skip
    assert commands(found.document["verdicts"][0])[1] == (
        f"aws ec2 authorize-security-group-ingress --group-id {site.group} --region {REGION} --ip-permissions "
        f"'IpProtocol=tcp,FromPort=8001,ToPort=8001,IpRanges=[{{CidrIp={ME}/32}}]'"
    )


def deny(cloud: Cloud, site: Site, number: int, low: int, high: int, *, egress: bool) -> None:
    cloud.ec2().create_network_acl_entry(
        NetworkAclId=site.acl, RuleNumber=number, Protocol="6", RuleAction="deny", Egress=egress,
        CidrBlock="198.51.100.0/24", PortRange={"From": low, "To": high},
    )  # fmt: skip


def test_row_12_the_network_acl_denies_inwards(cloud: Cloud, desk: Desk) -> None:
    site = silent_site(cloud, 22, 8001)
    deny(cloud, site, 90, 8001, 8001, egress=False)
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.diagnose("box", "--ports", "8001")
    assert found.code == 1
    assert found.rows == [
        Found(
            12, "nacl", "voice", "block", "high", f"allow tcp 8001 in from {ME}/32, below rule 90",
            f"aws ec2 create-network-acl-entry --network-acl-id {site.acl} --region {REGION} --ingress --rule-number 89 "
            f"--protocol 6 --port-range From=8001,To=8001 --cidr-block {ME}/32 --rule-action allow",
        )
    ]  # fmt: skip
    assert commands(found.document["verdicts"][0])[1] == (
        f"aws ec2 replace-network-acl-entry --network-acl-id {site.acl} --ingress --rule-number 90 --protocol 6 "
        f"--port-range From=8001,To=8001 --cidr-block 198.51.100.0/24 --rule-action allow --region {REGION}"
    )


def test_row_13_the_network_acl_denies_the_answers(cloud: Cloud, desk: Desk) -> None:
    site = silent_site(cloud, 22, 8001)
    deny(cloud, site, 80, 1024, 65535, egress=True)
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            13, "nacl", None, "block", "high", f"allow tcp 1024-65535 out to {ME}/32, below rule 80",
            f"aws ec2 create-network-acl-entry --network-acl-id {site.acl} --region {REGION} --egress --rule-number 79 "
            f"--protocol 6 --port-range From=1024,To=65535 --cidr-block {ME}/32 --rule-action allow",
        )
    ]  # fmt: skip


def test_row_14_no_route_back(cloud: Cloud, desk: Desk) -> None:
    site = silent_site(cloud, 22, 8001)
    cloud.ec2().delete_route(RouteTableId=site.table, DestinationCidrBlock="0.0.0.0/0")
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            14, "route", None, "block", "high",
            "name the route: show the table, and mend the entry that takes our address elsewhere",
            f"aws ec2 describe-route-tables --route-table-ids {site.table} --region {REGION}",
        )
    ]  # fmt: skip


def test_row_15_vpc_block_public_access(cloud: Cloud, desk: Desk) -> None:
    site = silent_site(cloud, 22, 8001, region=BLOCKED_REGION)
    cloud.tell(block={"region": BLOCKED_REGION, "mode": "block-bidirectional"})
    configure(desk, cloud, site.address, instance=site.instance, region=BLOCKED_REGION)
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            15, "route", None, "block", "high", "show it, and who can change it",
            f"aws ec2 describe-vpc-block-public-access-options --region {BLOCKED_REGION}",
        )
    ]  # fmt: skip
    assert "the account can change it" in found.document["verdicts"][0]["statement"]


def test_row_16_the_host_drops_one_port(cloud: Cloud, desk: Desk) -> None:
    site = cloud.site(22, 8001, 8002)
    cloud.drop(site.address, 8001)
    cloud.listen(site.address, 8002)
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.diagnose("box", "--ports", "8001,8002")
    assert found.code == 1
    assert found.rows == [
        Found(
            16, "host_firewall", "voice", "block", "high",
            "list the host's firewall rules and its listening ports, through Session Manager, if its agent runs there "
            "(not known)",
            f"aws ssm send-command --instance-ids {site.instance} --document-name AWS-RunShellScript --parameters "
            f"""'{{"commands": ["sudo nft list ruleset", "ss -ltnp"]}}' --region {REGION}""",
        )
    ]  # fmt: skip
    assert len(found.document["contradictions"]) == 1
    assert found.document["contradictions"][0].startswith("configuration allows, yet silent: 8001 (voice)")


def test_row_17_aws_lets_us_in_and_everything_is_silent(cloud: Cloud, desk: Desk) -> None:
    site = silent_site(cloud, 22, 8001)
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.diagnose("box")
    assert found.code == 1
    assert found.rows == [
        Found(
            17, "host_firewall", None, "block", "medium", "Session Manager, if its agent runs there (not known)",
            f"aws ssm start-session --target {site.instance} --region {REGION}",
        )
    ]  # fmt: skip


def test_a_call_that_is_denied_leaves_its_layer_unknown_and_never_passed(cloud: Cloud, desk: Desk) -> None:
    """Everything else lets us in: without the ACL nobody can say that it is the host."""
    site = silent_site(cloud, 22, 8001, region=DENIED_REGION)
    cloud.tell(deny={"region": DENIED_REGION, "method": "describe_network_acls"})
    configure(desk, cloud, site.address, instance=site.instance, region=DENIED_REGION)
    found = desk.diagnose("box")
    assert found.code == 3
    assert found.rows == [
        Found(
            29, "tcp", None, "unknown", None, "one read-only call",
            f"aws ec2 describe-network-acls --filters Name=association.subnet-id,Values={site.subnet} "
            f"--region {DENIED_REGION}",
        )
    ]  # fmt: skip
    why = (
        "UnauthorizedOperation for ec2:DescribeNetworkAcls; allow ec2:DescribeNetworkAcls in the IAM policy "
        "(docs/iam-policy.md)"
    )
    assert (found.layers["nacl"], found.layers["security_group"]) == ("unknown", "pass")
    assert f"AWS layer: unknown - nacl: {why}" in found.document["notes"]


def test_what_aws_denies_and_we_reach_is_a_contradiction(cloud: Cloud, desk: Desk) -> None:
    site = cloud.site(22)
    cloud.listen(site.address, 8001)
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.diagnose("box", "--ports", "8001")
    assert (found.code, found.rows) == (0, [])
    assert found.document["contradictions"][0].startswith("configuration denies, yet it answers: no rule of")
    assert found.layers["security_group"] == "unknown"


def test_what_several_hosts_share_is_said_once_in_every_form(cloud: Cloud, desk: Desk) -> None:
    one = silent_site(cloud, 22)
    _, interface = cloud.start(one.subnet, one.group)
    address, _ = cloud.elastic(interface)
    cloud.drop(address)
    more = f'[[hosts]]\nid = "other"\naddress = "{address}"\nlabels = {{ region = "{REGION}" }}\nservices = ["voice"]\n'
    configure(desk, cloud, one.address, more=more)
    command = ["diagnose", "box", "other", "--ports", "8001", "--no-login", "--format"]
    answers = desk.together(*([*command, form] for form in ("json", "text", "md")))
    statement = f"one root cause for 2 hosts: security group {one.group} blocks each of them (box, other)"
    for found in answers:
        assert found.code == 1
        assert " ".join(found.out.split()).count(statement) == 1
    document = answers[0].document
    assert document["shared"] == [
        {
            "kind": "security_group",
            "value": one.group,
            "hosts": ["box", "other"],
            "statement": statement,
            "confidence": "high",
        }
    ]
    assert [each["verdicts"][0]["row"] for each in document["diagnoses"]] == [10, 10]


def test_audit_names_a_world_open_rule_by_what_can_really_be_reached(cloud: Cloud, desk: Desk) -> None:
    site = cloud.site(22, 8001, cidr="0.0.0.0/0")
    cloud.listen(site.address, 8001)
    configure(desk, cloud, site.address, instance=site.instance)
    found = desk.run("audit", "box", "--json", env={"AWS_REGION": REGION})
    assert found.code == 1
    lines = found.document[0]["lines"]
    world = {line["statement"].split(" is open")[0]: line for line in lines if line["check"] == "B1"}
    assert {name: (line["outcome"], line["exposure"]) for name, line in world.items()} == {
        "tcp 8001": ("fail", "high"), "tcp 22": ("fail", "medium"),
    }  # fmt: skip
    assert "configured open, and we just connected to 8001" in world["tcp 8001"]["statement"]
    assert world["tcp 22"]["statement"].endswith("configured open and reachable; nothing listens now")
    assert world["tcp 8001"]["action"]["command"].startswith(
        f"aws ec2 revoke-security-group-ingress --group-id {site.group} --security-group-rule-ids sgr-"
    )
    imds = [line for line in lines if line["check"] == "B3"]
    assert imds[0]["outcome"] == "fail"
    assert {line["outcome"] for line in lines if line["check"] in ("B2", "B4")} == {"not_checked"}
