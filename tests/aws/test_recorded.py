"""Recorded answers through botocore's Stubber: what moto does not have, failures, batching, the cache, limits."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from probes.cloud.assemble import PARTS, Target
from probes.cloud.aws import Aws
from probes.config import AwsOptions
from probes.judge.aws_groups import judge_groups
from probes.judge.aws_nacl import judge_nacl
from probes.judge.aws_public_access import judge_public_access
from probes.judge.aws_routes import judge_routes
from probes.judge.diagnosis import Outcome
from probes.judge.layer_judgement import Cause
from tests.support.aws import REGION, Recorded, isolate, world

ADDRESS = "3.115.141.166"
INSTANCE = "i-0123456789abcdef0"
TARGET = Target(host_id="h", address=ADDRESS, instance_id=INSTANCE)


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    isolate(monkeypatch, tmp_path)


async def facts(recorded, target=TARGET, **options):
    aws = recorded.aws(**options)
    try:
        return (await aws.facts([target]))[target.host_id]
    finally:
        aws.close()


async def test_the_recorded_world_is_healthy():
    found = await facts(Recorded(world()))
    assert found.unknown == {}
    assert found.address.instance_id == INSTANCE
    assert found.configured_instance is None
    assert found.instance.lifecycle == "spot"
    assert found.my_address is None
    assert found.my_address_source == "aws.my_address is not set, and aws.ask_my_address is false"
    assert judge_public_access(found).outcome is Outcome.PASS


# --- rows that moto cannot show ---


@pytest.mark.parametrize(
    ("system", "instance"),
    [("impaired", "ok"), ("ok", "impaired"), ("initializing", "initializing"), ("insufficient-data", "ok")],
)
async def test_rows_7_8_and_9_status_checks(system, instance):
    answers = world()
    (status,) = answers["describe_instance_status"]["InstanceStatuses"]
    status["SystemStatus"]["Status"], status["InstanceStatus"]["Status"] = system, instance
    found = await facts(Recorded(answers))
    assert (found.instance.system_status, found.instance.instance_status) == (system, instance)


async def test_row_6_a_spot_reclaim_is_told_in_awss_words():
    answers = world()
    (one,) = answers["describe_instances"]["Reservations"][0]["Instances"]
    one["State"]["Name"] = "stopped"
    one["StateReason"] = {"Code": "Server.SpotInstanceTermination", "Message": "Spot instance termination\x1b[2J"}
    found = await facts(Recorded(answers))
    assert found.instance.state == "stopped"
    assert found.instance.state_reason == "Server.SpotInstanceTermination: Spot instance termination[2J"


@pytest.mark.parametrize(
    ("mode", "exclusion", "outcome"),
    [
        ("off", None, Outcome.PASS),
        ("block-bidirectional", None, Outcome.BLOCK),
        ("block-ingress", None, Outcome.BLOCK),
        ("block-bidirectional", ("subnet/subnet-1", "allow-bidirectional", "create-complete"), Outcome.PASS),
        ("block-bidirectional", ("vpc/vpc-1", "allow-bidirectional", "update-complete"), Outcome.PASS),
        ("block-bidirectional", ("vpc/vpc-1", "allow-egress", "create-complete"), Outcome.BLOCK),
        ("block-bidirectional", ("subnet/subnet-2", "allow-bidirectional", "create-complete"), Outcome.BLOCK),
        ("block-ingress", ("subnet/subnet-1", "allow-bidirectional", "delete-complete"), Outcome.BLOCK),
    ],
)
async def test_row_15_block_public_access(mode, exclusion, outcome):
    answers = world()
    answers["describe_vpc_block_public_access_options"]["VpcBlockPublicAccessOptions"]["InternetGatewayBlockMode"] = (
        mode
    )
    if exclusion:
        end, allowed, state = exclusion
        answers["describe_vpc_block_public_access_exclusions"] = {
            "VpcBlockPublicAccessExclusions": [
                {
                    "ExclusionId": "vpcbpa-exclude-1",
                    "InternetGatewayExclusionMode": allowed,
                    "ResourceArn": f"arn:aws:ec2:{REGION}:123456789012:{end}",
                    "State": state,
                }
            ]
        }
    judged = judge_public_access(await facts(Recorded(answers)))
    assert judged.outcome is outcome
    assert ("can change it" in judged.reason) is (outcome is Outcome.BLOCK)


async def test_exclusions_come_in_pages():
    answers = world()
    answers["describe_vpc_block_public_access_options"]["VpcBlockPublicAccessOptions"]["InternetGatewayBlockMode"] = (
        "block-ingress"
    )

    def page(params):
        found = {
            "ExclusionId": "e",
            "InternetGatewayExclusionMode": "allow-bidirectional",
            "ResourceArn": f"arn:aws:ec2:{REGION}:123456789012:subnet/subnet-{1 if 'NextToken' in params else 9}",
            "State": "create-complete",
        }
        more = {} if "NextToken" in params else {"NextToken": "more"}
        return {"VpcBlockPublicAccessExclusions": [found], **more}

    answers["describe_vpc_block_public_access_exclusions"] = page
    assert (await facts(Recorded(answers))).public_access_block.excluded


async def test_a_route_of_a_prefix_list_and_a_blackhole():
    answers = world()
    answers["describe_route_tables"]["RouteTables"][0]["Routes"] += [
        {"DestinationPrefixListId": "pl-1", "TransitGatewayId": "tgw-1", "State": "blackhole", "Origin": "CreateRoute"}
    ]
    answers["get_managed_prefix_list_entries"] = {"Entries": [{"Cidr": "198.51.100.0/24"}]}
    judged = judge_routes(await facts(Recorded(answers), my_address="198.51.100.7"))
    assert (judged.outcome, judged.cause, judged.matched) == (Outcome.BLOCK, Cause.BLACKHOLE, ("pl-1",))


async def test_an_interface_that_belongs_to_no_instance():
    answers = world()
    (one,) = answers["describe_network_interfaces"]["NetworkInterfaces"]
    del one["Attachment"]
    one |= {"InterfaceType": "network_load_balancer", "Description": "ELB net/x/1"}
    found = await facts(Recorded(answers))
    assert found.instance is None
    assert found.unknown["instance"] == 'eni-1 belongs to no instance: network_load_balancer "ELB net/x/1"'
    assert found.configured_instance.instance_id == INSTANCE


# --- failures ---

DENIED = {
    "describe_network_acls": ("nacl", "ec2:DescribeNetworkAcls"),
    "describe_route_tables": ("route", "ec2:DescribeRouteTables"),
    "describe_security_group_rules": ("security_group", "ec2:DescribeSecurityGroupRules"),
    "describe_instance_status": ("instance_status", "ec2:DescribeInstanceStatus"),
    "describe_vpc_block_public_access_options": (
        "public_access_block",
        "ec2:DescribeVpcBlockPublicAccessOptions",
    ),
    "describe_instances": ("instance", "ec2:DescribeInstances"),
}


@pytest.mark.parametrize("method", DENIED)
@pytest.mark.parametrize("code", ["UnauthorizedOperation", "AccessDenied"])
async def test_a_denied_call_names_its_action_and_the_rest_goes_on(method, code):
    part, action = DENIED[method]
    found = await facts(Recorded(world() | {method: code}), my_address="198.51.100.7")
    reason = f"{code} for {action}; allow {action} in the IAM policy (docs/iam-policy.md)"
    assert found.unknown[part] == reason
    assert set(found.unknown) <= {part, "configured_instance"}
    assert found.address is not None
    layers = {"nacl": judge_nacl(found, 22), "route": judge_routes(found), "security_group": judge_groups(found, 22)}
    for name, judged in layers.items():
        assert (judged.outcome is Outcome.UNKNOWN) is (name == part), "a missing permission is unknown, never pass"
    if part in layers:
        assert layers[part].reason == reason


async def test_without_the_interfaces_the_instance_tells_them():
    """DescribeNetworkInterfaces denied: DescribeInstances lists the same interfaces."""
    found = await facts(Recorded(world() | {"describe_network_interfaces": "UnauthorizedOperation"}))
    assert found.interface.interface_id == "eni-1"
    assert found.address.instance_id == INSTANCE
    assert set(found.unknown) == {"shared"}


async def test_nothing_by_address_is_no_proof_when_a_question_was_denied():
    answers = world() | {"describe_network_interfaces": "UnauthorizedOperation", "describe_instances": {}}
    found = await facts(Recorded(answers), Target(host_id="h", address="198.51.100.99"))
    assert found.address is None
    assert "ec2:DescribeNetworkInterfaces" in found.unknown["address"]
    answers = world() | {"describe_addresses": "UnauthorizedOperation", "describe_network_interfaces": {}}
    found = await facts(Recorded(answers), Target(host_id="h", address="198.51.100.99"))
    assert found.address is None
    assert "ec2:DescribeAddresses" in found.unknown["address"]


async def test_an_unknown_elastic_ip_is_a_fact():
    answers = world() | {"describe_addresses": "InvalidAddress.NotFound", "describe_network_interfaces": {}}
    found = await facts(Recorded(answers), Target(host_id="h", address="18.118.69.100"))
    assert found.address.in_account is False
    assert "address" not in found.unknown


async def test_a_prefix_list_that_may_not_be_read_is_no_rule_and_no_block():
    answers = world() | {"get_managed_prefix_list_entries": "UnauthorizedOperation"}
    answers["describe_security_group_rules"]["SecurityGroupRules"][0] = {
        "SecurityGroupRuleId": "sgr-9", "GroupId": "sg-1", "IsEgress": False, "IpProtocol": "tcp",
        "FromPort": 22, "ToPort": 22, "PrefixListId": "pl-1",
    }  # fmt: skip
    judged = judge_groups(await facts(Recorded(answers), my_address="198.51.100.7"), 22)
    assert (judged.outcome, judged.cause) == (Outcome.UNKNOWN, Cause.PREFIX_LIST_UNREAD)
    assert "ec2:GetManagedPrefixListEntries" in judged.reason


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("RequestLimitExceeded", "AWS throttles ec2:DescribeNetworkAcls (RequestLimitExceeded); try again in a minute"),
        ("InternalError", "ec2:DescribeNetworkAcls failed: InternalError"),
        ("\x1b[2J", "ec2:DescribeNetworkAcls failed: an error without a code"),
    ],
)
async def test_other_codes(code, words, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _s: None)  # botocore's pauses between attempts
    found = await facts(Recorded(world() | {"describe_network_acls": code}))
    assert found.unknown["nacl"].startswith(words)
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ExpiredToken", "the AWS session has expired; run: aws sso login --profile work"),
        ("RequestExpired", "the AWS session has expired; run: aws sso login --profile work"),
        ("AuthFailure", "AWS does not accept the credentials (AuthFailure); run: aws sso login --profile work"),
        ("SignatureDoesNotMatch", "AWS does not accept the credentials (SignatureDoesNotMatch)"),
        ("OptInRequired", f"the account has not enabled {REGION}"),
    ],
)
async def test_credentials_that_aws_refuses_make_every_part_unknown_and_are_read_again(code, words, tmp_path):
    (tmp_path / "config").write_text("[profile work]\naws_access_key_id = a\naws_secret_access_key = very-secret\n")
    answers = world()
    recorded = Recorded(dict.fromkeys(answers, code))
    aws = recorded.aws(profile="work")
    found = (await aws.facts([TARGET]))["h"]
    assert set(found.unknown) == {"credentials", *PARTS}
    assert {reason[: len(words)] for reason in found.unknown.values()} == {words}
    assert "secret" not in str(found)
    recorded.answers = answers
    again = (await aws.facts([TARGET]))["h"]
    assert again.unknown == {}, "logged in meanwhile: asked again, with new clients"
    assert len(recorded.clients) >= 2
    aws.close()


def _raises(name, **words):
    import botocore.exceptions

    return getattr(botocore.exceptions, name)(**words)


@pytest.mark.parametrize(
    ("name", "words", "reason"),
    [
        ("UnauthorizedSSOTokenError", {}, "the AWS SSO session has expired; run: aws sso login"),
        ("SSOTokenLoadError", {"error_msg": "secret"}, "there is no AWS SSO session; run: aws sso login"),
        ("TokenRetrievalError", {"provider": "sso", "error_msg": "secret"}, "the AWS SSO session has expired"),
        ("CredentialRetrievalError", {"provider": "x", "error_msg": "secret"}, "the credential provider failed"),
        ("EndpointConnectionError", {"endpoint_url": "https://u:secret@x"}, f"the AWS endpoint of {REGION} cannot be reached"),
        ("ConnectTimeoutError", {"endpoint_url": "secret"}, f"the AWS endpoint of {REGION} does not answer"),
        ("ProxyConnectionError", {"proxy_url": "https://u:secret@x"}, "the proxy on the way to AWS does not answer"),
        ("SSLError", {"endpoint_url": "x", "error": "secret"}, f"TLS to the AWS endpoint of {REGION} fails"),
        ("LoginRefreshRequired", {}, "the AWS login session has expired or cannot be used; run: aws login"),
    ],
)  # fmt: skip
async def test_errors_of_the_client_side(name, words, reason):
    recorded = Recorded({method: _raises(name, **words) for method in world()})
    found = await facts(recorded)
    assert set(found.unknown) == {"credentials", *PARTS}
    assert found.unknown["address"].startswith(reason)
    assert "secret" not in str(found)


@pytest.mark.parametrize("name", ["ReadTimeoutError", "ConnectionClosedError"])
async def test_one_call_that_breaks_off_is_one_part(name):
    found = await facts(Recorded(world() | {"describe_network_acls": _raises(name, endpoint_url="x")}))
    assert set(found.unknown) == {"nacl"}
    assert found.unknown["nacl"].endswith("; try again")


async def test_what_was_read_before_everything_broke_stays():
    """One connection times out: its part and what comes after are unknown, what was answered is not thrown away."""
    broken = _raises("ConnectTimeoutError", endpoint_url="x")
    found = await facts(Recorded(world() | {"describe_network_acls": broken}))
    assert found.address.instance_id == INSTANCE
    assert found.unknown["nacl"] == f"the AWS endpoint of {REGION} does not answer; look at the way to AWS"
    assert found.unknown["credentials"] == found.unknown["nacl"]
    for part, fact in (("security_group", found.rules), ("route", found.routes), ("shared", found.shared or None)):
        assert (fact is None) is (part in found.unknown)


async def test_a_profile_with_signs_of_the_shell_cannot_act_in_the_command_that_is_offered(tmp_path):
    (tmp_path / "config").write_text("[profile a;id]\naws_access_key_id = a\naws_secret_access_key = b\n")
    found = await facts(Recorded(dict.fromkeys(world(), "ExpiredToken")), profile="a;id")
    assert found.unknown["credentials"].endswith("run: aws sso login --profile 'a;id'")


async def test_an_interface_with_two_groups_is_counted_once_for_each():
    answers = world()
    (one,) = answers["describe_network_interfaces"]["NetworkInterfaces"]
    one["Groups"] = [{"GroupId": f"sg-{at}"} for at in range(1, 251)]
    found = await facts(Recorded(answers))
    assert set(found.shared.values()) == {1}
    assert len(found.shared) == 250


async def test_a_malformed_answer_is_a_reason():
    answers = world()
    del answers["describe_security_group_rules"]["SecurityGroupRules"][0]["IpProtocol"]
    found = await facts(Recorded(answers))
    assert "was not understood (KeyError)" in found.unknown["security_group"]


async def test_no_credentials_and_half_of_them(monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found = await facts(Recorded(world()))
    assert found.unknown["credentials"] == "no AWS credentials; run: aws sso login, or set aws.profile"
    assert judge_groups(found, 22).reason == found.unknown["security_group"] == found.unknown["credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    found = await facts(Recorded(world()))
    assert found.unknown["credentials"].startswith("the AWS credentials are incomplete; set both the access key")
    assert "AKIAEXAMPLE" not in str(found)


async def test_a_profile_that_does_not_exist_and_an_expired_sso_session(tmp_path):
    found = await facts(Recorded(world()), profile="nobody")
    assert found.unknown["credentials"].startswith("the AWS profile does not exist; run: aws configure list-profiles")
    (tmp_path / "config").write_text(
        "[profile sso]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\nregion = eu-west-1\n"
        "[sso-session s]\nsso_start_url = https://127.0.0.1:1/start\nsso_region = eu-west-1\n"
    )
    recorded = Recorded(world())
    import os

    os.environ.pop("AWS_ACCESS_KEY_ID")
    os.environ.pop("AWS_SECRET_ACCESS_KEY")
    # the Stubber answers after signing would have happened: the real way is asked for, against nothing on loopback
    aws = Aws(AwsOptions(region=REGION, profile="sso"))
    found = (await aws.facts([TARGET]))["h"]
    aws.close()
    assert recorded.calls == []
    assert found.unknown["credentials"].endswith("run: aws sso login --profile sso")


async def test_an_endpoint_that_cannot_be_reached_for_real():
    aws = Aws(AwsOptions(region=REGION))
    found = (await aws.facts([TARGET], limit_s=10))["h"]
    aws.close()
    assert "cannot be reached; look at the way to AWS" in found.unknown["credentials"]


async def test_a_boto3_that_does_not_know_a_call(monkeypatch):
    import msgspec

    from probes.cloud import gather

    old = msgspec.structs.replace(gather.ACCESS_OPTIONS, method="describe_what_is_new", name="DescribeWhatIsNew")
    monkeypatch.setattr(gather, "ACCESS_OPTIONS", old)
    found = await facts(Recorded(world()))
    assert found.unknown == {"public_access_block": "this boto3 does not know ec2:DescribeWhatIsNew; upgrade boto3"}


# --- regions ---


async def test_no_region_and_where_it_comes_from(monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    found = await facts(Recorded(world()), region="")
    assert found.region is None
    assert found.unknown["credentials"] == "no AWS region is known; set aws.region, or the label region of the host"
    (tmp_path / "config").write_text("[default]\nregion = eu-west-1\n")
    assert (await facts(Recorded(world()), region="")).region == "eu-west-1"
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    assert (await facts(Recorded(world()), region="")).region == "eu-west-2"
    assert (await facts(Recorded(world()), region="eu-west-3")).region == "eu-west-3"
    labelled = Target(host_id="h", address=ADDRESS, region="us-east-1")
    recorded = Recorded(world())
    assert (await facts(recorded, labelled, region="eu-west-3")).region == "us-east-1"
    assert recorded.clients == [("ec2", "us-east-1")], "no other region is asked"


# --- batching, cache, limits ---


async def test_many_hosts_are_asked_about_at_once():
    recorded = Recorded(world())
    aws = recorded.aws()
    targets = [Target(host_id=f"h{at}", address=f"3.115.{at // 250}.{at % 250}") for at in range(450)]
    found = await aws.facts([TARGET, *targets])
    aws.close()
    assert len(found) == 451
    assert recorded.names().count("DescribeAddresses") == 3, "200 values in a filter"
    assert len(recorded.calls) < 25
    assert found["h7"].address.in_account is False
    assert found["h"].address.in_account


async def test_answers_are_kept_for_30_s_and_not_when_something_may_change(monkeypatch):
    from probes.cloud import aws as module

    recorded = Recorded(world())
    aws = recorded.aws()
    first = await aws.facts([TARGET])
    asked = len(recorded.calls)
    assert await aws.facts([TARGET]) == first
    assert len(recorded.calls) == asked
    await aws.facts([TARGET], fresh=True)
    assert len(recorded.calls) == 2 * asked
    now = module.boot_s()
    monkeypatch.setattr(module, "boot_s", lambda: now + module.KEEP_S + 5)
    await aws.facts([TARGET], limit_s=100)
    assert len(recorded.calls) == 3 * asked
    aws.close()


async def test_a_denied_call_is_kept_and_a_passing_failure_is_not(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _s: None)
    for code, kept in (("UnauthorizedOperation", True), ("RequestLimitExceeded", False)):
        recorded = Recorded(world() | {"describe_network_acls": code})
        aws = recorded.aws()
        await aws.facts([TARGET])
        asked = len(recorded.calls)
        await aws.facts([TARGET])
        assert (len(recorded.calls) == asked) is kept
        aws.close()


async def test_a_call_that_hangs_costs_its_part_and_the_limit_holds():
    hang = threading.Event()

    def wait(_params):
        hang.wait(20)
        return {}

    recorded = Recorded(world() | {"describe_network_acls": wait})
    aws = recorded.aws()
    assert await aws.warm() is None
    began = time.monotonic()
    found = (await aws.facts([TARGET], limit_s=2.0))["h"]
    assert time.monotonic() - began < 5
    assert found.unknown == {
        "nacl": "no answer to ec2:DescribeNetworkAcls within the limit; try again, or look at the way to AWS"
    }
    hang.set()
    aws.close()


async def test_the_event_loop_is_never_blocked_and_cancelling_is_prompt():
    hang = threading.Event()
    recorded = Recorded(world() | {"describe_addresses": lambda _params: hang.wait(20) or {}})
    aws = recorded.aws()
    task = asyncio.create_task(aws.facts([TARGET], limit_s=30))
    longest, last = 0.0, time.monotonic()
    while "DescribeAddresses" not in recorded.names():
        await asyncio.sleep(0.005)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert longest < 1.0
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 1
    hang.set()
    aws.close()


async def test_warm_makes_clients_ready_and_says_why_not(monkeypatch):
    recorded = Recorded(world())
    aws = recorded.aws()
    assert await aws.warm(["eu-west-1", "us-east-1"]) is None
    assert sorted(recorded.clients) == [("ec2", "eu-west-1"), ("ec2", "us-east-1")]
    await aws.warm(["eu-west-1"])
    assert len(recorded.clients) == 2
    assert recorded.calls == []
    aws.close()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    aws = Recorded().aws()
    assert await aws.warm() == "no AWS credentials; run: aws sso login, or set aws.profile"
    aws.close()


async def test_switched_off_asks_nothing():
    recorded = Recorded(world())
    aws = recorded.aws(enabled=False)
    found = (await aws.facts([TARGET]))["h"]
    assert recorded.clients == []
    assert set(found.unknown.values()) == {"AWS is not asked: aws.enabled is false; set it to true"}
    assert (await aws.warm()).startswith("AWS is not asked")
    aws.close()


async def test_client_options():
    configs = []
    aws = Aws(AwsOptions(region=REGION), configure=lambda client, _service, _region: configs.append(client.meta.config))
    await aws.warm()
    aws.close()
    assert configs[0].retries == {"mode": "adaptive", "total_max_attempts": 3}
    assert (configs[0].connect_timeout, configs[0].read_timeout) == (2.0, 5.0)


# --- our own address ---


async def test_our_address_configured_asked_and_not_told(monkeypatch):
    from probes.cloud import aws as module

    asked = []
    monkeypatch.setattr(module, "my_address", lambda: asked.append(1) or "198.51.100.7")
    found = await facts(Recorded(world()), my_address="198.51.100.9", ask_my_address=True)
    assert (found.my_address, found.my_address_source) == ("198.51.100.9", "aws.my_address in the configuration")
    assert (await facts(Recorded(world()))).my_address is None
    assert asked == []
    found = await facts(Recorded(world()), ask_my_address=True)
    assert (found.my_address, found.my_address_source) == ("198.51.100.7", "told by checkip.amazonaws.com")

    def broken():
        raise OSError("no way")

    monkeypatch.setattr(module, "my_address", broken)
    found = await facts(Recorded(world()), ask_my_address=True)
    assert (found.my_address, found.my_address_source) == (None, "asking for it failed: OSError")
    assert found.unknown == {}


async def test_the_answer_about_our_address_is_checked():
    from http.server import BaseHTTPRequestHandler, HTTPServer

    from probes.cloud.mine import my_address

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"198.51.100.7\n" if self.path == "/good" else b"<html>sign in</html>")

        def log_message(self, *_args):
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}"
    assert await asyncio.to_thread(my_address, f"{base}/good") == "198.51.100.7"
    with pytest.raises(ValueError, match="not an address"):
        await asyncio.to_thread(my_address, f"{base}/portal")
    server.shutdown()
    thread.join()
    server.server_close()
