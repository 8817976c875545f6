from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from probes.config import Ssh
from probes.errors import HandshakeError
from probes.hosts.ssh_config import plan_for
from probes.model import Host

if TYPE_CHECKING:
    from pathlib import Path


def _ssh(folder: Path, text: str, **over: object) -> Ssh:
    file = folder / "config"
    file.write_text(text)
    return Ssh(config_files=(str(file),), known_hosts=(str(folder / "known"),), **over)  # pyright: ignore[reportArgumentType]


def test_an_alias_takes_all_that_ssh_config_says(tmp_path: Path) -> None:
    ssh = _ssh(
        tmp_path,
        "Host gpu1\n HostName 10.0.0.1\n Port 2200\n User ubuntu\n IdentityFile ~/.ssh/id_x\n ProxyJump bastion:2222\n"
        " HostKeyAlias gpu-one\n Ciphers aes256-gcm@openssh.com\nHost *\n User nobody\n",
    )
    plan = plan_for(Host("gpu1", "gpu1"), ssh)
    assert (plan.address, plan.port, plan.user) == ("10.0.0.1", 2200, "ubuntu")
    assert plan.identity_files[0].endswith("/.ssh/id_x")
    assert not plan.identity_files[0].startswith("~")
    assert plan.proxy_jump == "bastion:2222"
    assert plan.host_key_alias == "gpu-one"
    assert plan.algorithms == {"encryption_algs": "aes256-gcm@openssh.com"}


def test_our_own_configuration_wins_over_ssh_config(tmp_path: Path) -> None:
    ssh = _ssh(tmp_path, "Host *\n User nobody\n Port 1\n ProxyJump b\n IdentityFile /x\n")
    host = Host("a", "a", port=2022, user="me", identity_files=("/mine",), proxy_jump="", known_hosts=("/kh",))
    plan = plan_for(host, ssh)
    assert (plan.port, plan.user, plan.identity_files, plan.proxy_jump) == (2022, "me", ("/mine",), None)
    assert plan.known_hosts[0] == "/kh"


@pytest.mark.parametrize(
    ("word", "accepts", "noted"),
    [
        ("accept-new", True, False),
        ("no", False, True),
        ("off", False, True),
        ("yes", False, False),
        ("ask", False, False),
    ],
)
def test_weaker_host_key_checking_than_accept_new_is_refused_and_said(
    tmp_path: Path, word: str, accepts: bool, noted: bool
) -> None:
    plan = plan_for(Host("a", "a"), _ssh(tmp_path, f"Host a\n StrictHostKeyChecking {word}\n"))
    assert plan.accept_new is accepts
    assert bool(plan.notes) is noted


def test_no_known_hosts_file_in_ssh_config_can_switch_checking_off(tmp_path: Path) -> None:
    plan = plan_for(Host("a", "a"), _ssh(tmp_path, "Host a\n UserKnownHostsFile /dev/null\n"))
    assert "/dev/null" in plan.known_hosts


def test_a_broken_ssh_config_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(HandshakeError, match=r"config line 2"):
        plan_for(Host("a", "a"), _ssh(tmp_path, "Host a\n Port many\n"))
