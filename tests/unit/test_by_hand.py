"""What a person is told to run by hand reaches the host as we do, and touches the files that we read."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import asyncssh
import msgspec
import pytest

from probes.config import Settings, Ssh
from probes.fleet import Fleet
from probes.hosts.by_hand import forget_key_command, ssh_command
from probes.hosts.ssh_config import DialPlan
from probes.hosts.supervisor import Supervisor
from probes.model import Host

USERS = str(Path("~/.ssh/known_hosts").expanduser())
PLAN = DialPlan("gpu-1", 22, "ops", known_hosts=(USERS, "/etc/ssh/ssh_known_hosts"))


def with_(**over: object) -> DialPlan:
    return msgspec.structs.replace(PLAN, **over)


def test_what_ssh_does_anyway_is_not_said() -> None:
    assert ssh_command(PLAN, "-v") == "ssh -v -p 22 ops@gpu-1"
    assert forget_key_command(PLAN) == "ssh-keygen -R gpu-1"
    assert forget_key_command(with_(port=2222)) == "ssh-keygen -R '[gpu-1]:2222'"
    assert forget_key_command(with_(port=2222, host_key_alias="gpu")) == "ssh-keygen -R gpu"


def test_other_keys_files_and_ways_are_named() -> None:
    plan = with_(identity_files=("/k/a b",), known_hosts=("/k/hosts one", "/k/two"), proxy_jump="ops@bastion:22")
    assert shlex.split(ssh_command(plan)) == [
        *("ssh", "-p", "22", "-i", "/k/a b"),
        *("-o", 'UserKnownHostsFile="/k/hosts one" /k/two', "-J", "ops@bastion:22", "ops@gpu-1"),
    ]
    assert forget_key_command(plan) == "ssh-keygen -R gpu-1 -f '/k/hosts one'; ssh-keygen -R gpu-1 -f /k/two"
    mixed = with_(known_hosts=(USERS, "/k/two", "/etc/ssh/ssh_known_hosts"))
    assert forget_key_command(mixed) == "ssh-keygen -R gpu-1; ssh-keygen -R gpu-1 -f /k/two"


async def test_the_shell_of_a_host_trusts_the_files_that_we_trust() -> None:
    host = Host("gpu-1", "10.0.0.5", user="ops")

    def argv(ssh: Ssh) -> list[str]:
        settings = Settings(hosts=(host,), ssh=ssh)
        return Supervisor(settings, Fleet(settings.hosts)).ssh_argv("gpu-1")

    assert argv(Ssh()) == ["ssh", "-l", "ops", "--", "10.0.0.5"]
    ours = Ssh(known_hosts=("~/fleet/known",), config_files=("/k/ssh_config",))
    told = ["-F", "/k/ssh_config", "-l", "ops", "-o", "UserKnownHostsFile=~/fleet/known"]
    assert argv(ours) == ["ssh", *told, "--", "10.0.0.5"]
    assert argv(Ssh(config_files=()))[:3] == ["ssh", "-F", "none"]


@pytest.mark.needs("ssh-keygen")
def test_the_key_is_removed_from_the_file_that_has_it(tmp_path: Path) -> None:
    known = tmp_path / "known hosts"
    line = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    known.write_text(f"[gpu-1]:2222 {line}gpu-2 {line}")
    command = forget_key_command(with_(port=2222, known_hosts=(str(known),)))
    subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True)
    assert known.read_text() == f"gpu-2 {line}"
