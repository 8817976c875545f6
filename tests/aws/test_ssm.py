"""The look inside by Systems Manager: what is sent, how long is waited, what is made of the output."""

from __future__ import annotations

import asyncio

import pytest

from probes.cloud import ssm
from probes.cloud.listeners import from_proc, from_ss
from probes.evidence import Listener
from tests.support.aws import REGION, Recorded, isolate, world

INSTANCE = "i-0123456789abcdef0"
COMMAND = "12345678-1234-1234-1234-123456789012"
SS = (
    'LISTEN 0      128          0.0.0.0:22        0.0.0.0:*    users:(("sshd",pid=812,fd=3))\n'
    'LISTEN 0      128             [::]:22           [::]:*    users:(("sshd",pid=812,fd=4))\n'
    "LISTEN 0      4096   127.0.0.53%lo:53        0.0.0.0:*\n"
    'LISTEN 0      511                *:8001            *:*    users:(("py\x1b[31mthon3",pid=99,fd=5),("python3",pid=98,fd=5))\n'
    "ESTAB  0      0      10.0.0.4:22  1.2.3.4:5\n"
    "LISTEN nonsense\n"
)
PROC = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
    "   0: 0100007F:C351 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"
    "   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"
    "   2: 0400000A:0016 04030201:1234 01 00000000:00000000 00:00000000 00000000     0\n"
    "  sl  local_address                         remote_address                        st\n"
    "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0\n"
    "   1: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 0\n"
    "   2: ZZ:0277 0:0 0A\n"
)


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    isolate(monkeypatch, tmp_path)
    monkeypatch.setattr(ssm, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(ssm, "_LONGEST_WAIT_S", 0.01)


def invocation(status="Success", output="", detail=""):
    return {
        "CommandId": COMMAND,
        "InstanceId": INSTANCE,
        "Status": status,
        "StatusDetails": detail or status,
        "StandardOutputContent": output,
    }


def recorded(*answers):
    left = list(answers)
    return Recorded(
        {
            "send_command": {"Command": {"CommandId": COMMAND, "Status": "Pending"}},
            "get_command_invocation": lambda _params: left.pop(0) if len(left) > 1 else left[0],
        }
    )


async def look(answers, limit_s=10.0, **options):
    aws = answers.aws(**{"allow_ssm": True, **options})
    try:
        return await ssm.look_inside(aws, INSTANCE, REGION, limit_s=limit_s)
    finally:
        aws.close()


async def test_what_is_sent_is_the_fixed_script():
    made = recorded(invocation(output=f"quarterdeck:ss\n{SS}quarterdeck:nft\ntable inet f {{\n}}\n"))
    found = await look(made)
    (sent,) = made.calls_of("SendCommand")
    assert sent["InstanceIds"] == [INSTANCE]
    assert sent["DocumentName"] == "AWS-RunShellScript"
    assert sent["Parameters"]["commands"] == list(ssm.SCRIPT)
    assert found.inside.source == "ssm"
    assert [(one.address, one.port, one.process) for one in found.inside.listeners] == [
        ("0.0.0.0", 22, "sshd"),
        ("::", 22, "sshd"),
        ("127.0.0.53", 53, None),
        ("::", 8001, "py[31mthon3"),
    ]
    assert found.inside.listeners[3].pid == 99
    assert (found.ruleset, found.ruleset_why, found.cut) == ("table inet f {\n}", None, False)


def test_the_script_only_reads_and_runs_here():
    import subprocess

    done = subprocess.run(["sh", "-c", "\n".join(ssm.SCRIPT)], capture_output=True, text=True, check=False, timeout=20)
    assert done.stdout.split("\n", 1)[0] in ("quarterdeck:ss", "quarterdeck:proc")
    assert "quarterdeck:nft\n" in done.stdout
    assert ssm.parse(done.stdout).inside.listeners is not None


async def test_an_invocation_that_is_not_there_yet_and_one_that_runs_are_waited_for():
    made = recorded(
        "InvocationDoesNotExist", "InvocationDoesNotExist", invocation("Pending"), invocation("InProgress"),
        invocation(output=f"quarterdeck:proc\n{PROC}quarterdeck:nft\nnft: not installed\n"),
    )  # fmt: skip
    found = await look(made)
    assert made.names().count("GetCommandInvocation") == 5
    assert made.names().count("SendCommand") == 1
    assert found.inside.listeners == from_proc(PROC)
    assert found.ruleset_why == "nft is not installed on the host"


async def test_waiting_is_bounded():
    found = await look(recorded(invocation("InProgress")), limit_s=3.5)
    assert "did not end in time" in found.inside.listeners_why
    assert found.inside.listeners is None


async def test_waiting_can_be_cancelled():
    made = recorded(invocation("InProgress"))
    aws = made.aws(allow_ssm=True)
    task = asyncio.create_task(ssm.look_inside(aws, INSTANCE, REGION, limit_s=60))
    while "GetCommandInvocation" not in made.names():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    aws.close()


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (recorded(invocation("Failed", detail="Undeliverable")), "did not run on i-0123456789abcdef0: Undeliverable"),
        (recorded("AccessDeniedException"), "AccessDeniedException for ssm:GetCommandInvocation"),
        (Recorded({"send_command": "AccessDeniedException"}), "AccessDeniedException for ssm:SendCommand"),
        (Recorded({"send_command": "InvalidInstanceId"}), "ssm:SendCommand failed: InvalidInstanceId"),
    ],
)
async def test_failures_are_reasons(answers, words):
    found = await look(answers)
    assert words in found.inside.listeners_why
    assert found.ruleset is None
    assert words in found.ruleset_why


async def test_it_is_opt_in():
    made = recorded(invocation())
    found = await look(made, allow_ssm=False)
    assert found.inside.listeners_why == "Systems Manager is not asked: aws.allow_ssm is false; set it to true"
    assert made.clients == []


async def test_a_list_that_was_cut_is_not_taken_for_whole():
    long = ("quarterdeck:ss\n" + SS * 200)[: ssm.OUTPUT_CHARS]
    found = await look(recorded(invocation(output=long)))
    assert found.cut
    assert found.inside.listeners is None
    assert "24000 characters" in found.inside.listeners_why
    assert found.ruleset_why == "the output was cut before the firewall rules"
    rules = (f"quarterdeck:ss\n{SS}quarterdeck:nft\n" + "rule\n" * 9000)[: ssm.OUTPUT_CHARS]
    found = await look(recorded(invocation(output=rules)))
    assert len(found.inside.listeners) == 4
    assert found.ruleset.startswith("rule\nrule")
    assert found.ruleset_why == "cut at 24000 characters: there are more rules"


async def test_output_that_is_not_ours():
    found = await look(recorded(invocation(output="hello\n")))
    assert found.inside.listeners is None
    assert "not what it prints" in found.inside.listeners_why


def test_listeners_of_proc():
    assert from_proc(PROC) == (
        Listener(address="127.0.0.1", port=50001),
        Listener(address="0.0.0.0", port=22),
        Listener(address="::", port=22),
        Listener(address="::1", port=631),
    )
    assert from_ss("") == ()


async def test_which_instances_it_reaches_is_asked_only_where_allowed():
    online = {"InstanceInformationList": [{"InstanceId": INSTANCE, "PingStatus": "Online"}]}
    from probes.cloud.assemble import Target

    target = Target(host_id="h", address="3.115.141.166")
    for allowed, answer, has in ((True, online, True), (True, {}, False), (False, online, None)):
        made = Recorded(world() | {"describe_instance_information": answer})
        aws = made.aws(allow_ssm=allowed)
        found = (await aws.facts([target]))["h"]
        aws.close()
        assert found.instance.has_ssm is has
        assert found.unknown == {}
        assert ("DescribeInstanceInformation" in made.names()) is allowed
    made = Recorded(world() | {"describe_instance_information": "AccessDeniedException"})
    aws = made.aws(allow_ssm=True)
    found = (await aws.facts([target]))["h"]
    aws.close()
    assert found.instance.has_ssm is None
    assert "ssm:DescribeInstanceInformation" in found.unknown["ssm"]
