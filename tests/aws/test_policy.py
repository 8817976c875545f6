"""The IAM policy is what the code asks, no more and no less."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from probes.cloud import operations
from probes.cloud.assemble import Target
from probes.cloud.operations import OPERATIONS, Operation
from probes.cloud.policy import policy_page, read_policy, ssm_policy
from probes.cloud.ssm import look_inside
from tests.support.aws import REGION, Recorded, isolate, world
from tests.support.generate import IAM_POLICY

CLOUD = Path(operations.__file__).parent
NAMES = {name: value for name, value in vars(operations).items() if isinstance(value, Operation)}


def trees():
    return {path.name: ast.parse(path.read_text("utf-8")) for path in CLOUD.glob("*.py")}


def test_every_operation_is_in_the_table_once():
    assert set(NAMES.values()) == set(OPERATIONS)
    assert len({one.action for one in OPERATIONS}) == len(OPERATIONS)


def test_every_operation_of_the_table_is_asked_and_nothing_else():
    """All calls go through ``ask`` with a name of the table; each name is used where calls are made."""
    used: set[str] = set()
    for name, tree in trees().items():
        if name in ("operations.py", "policy.py", "clients.py"):
            continue
        used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in NAMES}
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
        verbs = r"(describe|get|list|send|create|modify|delete|authorize|run|start|stop)_"
        past = [call.func.attr for call in calls if re.match(verbs, call.func.attr) and call.func.attr != "create_task"]
        assert past == [], f"{name} goes past the table"
    assert used == set(NAMES)


def test_only_one_module_touches_boto3():
    touching = {
        name
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"(boto3|botocore)(\.\w+)*", node.value)
    }
    assert touching == {"clients.py"}
    source = (CLOUD / "clients.py").read_text("utf-8")
    assert source.count("operation.method") == 2, "the paginator and the plain call: both by the table"
    assert not re.search(r"client\.(?!get_paginator)\w+\(", source.replace("session.client(", ""))


def test_names_and_methods_are_those_of_aws(tmp_path, monkeypatch):
    import boto3

    isolate(monkeypatch, tmp_path)
    session = boto3.session.Session()
    clients = {service: session.client(service, region_name=REGION) for service in {one.service for one in OPERATIONS}}
    for one in OPERATIONS:
        client = clients[one.service]
        assert client.meta.method_to_api_mapping[one.method] == one.name
        output = client.meta.service_model.operation_model(one.name).output_shape
        assert not one.items or output.members[one.items].type_name == "list"
        assert client.can_paginate(one.method) is (one.pages == "paginator") or one.pages == "none"
        assert ("NextToken" in output.members and one.pages == "none") is False or one.items == ""


@pytest.mark.parametrize("allow_ssm", [False, True])
async def test_a_full_diagnosis_asks_every_operation_that_is_allowed(tmp_path, monkeypatch, allow_ssm):
    isolate(monkeypatch, tmp_path)
    answers = world()
    answers["describe_security_group_rules"]["SecurityGroupRules"][0]["PrefixListId"] = "pl-1"
    answers["send_command"] = "InvalidInstanceId"
    if allow_ssm:
        answers["send_command"] = {"Command": {"CommandId": "12345678-1234-1234-1234-123456789012"}}
        answers["get_command_invocation"] = {"Status": "Success", "StandardOutputContent": "x"}
    recorded = Recorded(answers)
    aws = recorded.aws(allow_ssm=allow_ssm)
    await aws.facts([Target(host_id="h", address="3.115.141.166"), Target(host_id="p", address="10.0.1.4")])
    await look_inside(aws, "i-0123456789abcdef0", REGION)
    aws.close()
    assert set(recorded.names()) == {one.name for one in OPERATIONS if allow_ssm or not one.opt_in}


def test_the_policies_hold_exactly_the_table():
    def actions(policy):
        return [action for statement in policy["Statement"] for action in statement["Action"]]

    reads, more = actions(read_policy()), actions(ssm_policy())
    assert sorted(reads) == sorted(one.action for one in OPERATIONS if not one.opt_in)
    assert sorted(more) == sorted(one.action for one in OPERATIONS if one.opt_in == "allow_ssm")
    assert all(re.match(r"\w+:(Describe|Get|List)", action) for action in reads)
    assert "*" not in "".join([*reads, *more])
    (send,) = [one for one in ssm_policy()["Statement"] if "ssm:SendCommand" in one["Action"]]
    assert send["Resource"] != "*"


def test_the_page_is_the_generated_one():
    text = IAM_POLICY.read_text("utf-8")
    assert text == policy_page(), "run: python -m tests.support.generate"
    assert [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)] == [
        read_policy(),
        ssm_policy(),
    ]
