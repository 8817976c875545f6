"""What a person types, and what ssh_config offers, becomes hosts."""

from __future__ import annotations

import os

import pytest

from probes.config import Settings, Ssh, default_settings
from probes.errors import ConfigError
from probes.inventory.ssh_config import read_aliases
from probes.inventory.targets import Target, parse_target, resolve_targets
from probes.model import Host


@pytest.fixture
def fleet(tmp_path):
    config = tmp_path / "ssh_config"
    config.write_text("Host lab-gpu nas\n  User me\nHost pool-*\n  User pool\n")
    return Settings(
        hosts=(
            Host("g1", "10.0.0.1", groups=("gpu", "tokyo")),
            Host("g2", "10.0.0.2", groups=("gpu",)),
            Host("web", "web.example.org", groups=("tokyo",)),
        ),
        ssh=Ssh(config_files=(str(config),)),
    )


def ids(hosts):
    return [host.id for host in hosts]


def test_without_names_all_configured_hosts(fleet):
    assert resolve_targets(fleet, []) == fleet.hosts
    assert ids(resolve_targets(default_settings(), [])) == ["localhost"]


def test_ids_and_groups_each_host_once_in_the_order_named(fleet):
    assert ids(resolve_targets(fleet, ["web"])) == ["web"]
    assert ids(resolve_targets(fleet, ["gpu"])) == ["g1", "g2"]
    assert ids(resolve_targets(fleet, ["g2", "tokyo", "gpu"])) == ["g2", "g1", "web"]
    assert resolve_targets(fleet, ["g1"])[0] is fleet.hosts[0]


@pytest.mark.parametrize(
    ("typed", "host"),
    [
        ("lab-gpu", Host("lab-gpu", "lab-gpu")),
        ("pool-7", Host("pool-7", "pool-7")),
        ("ops@10.1.2.3:2222", Host("ops@10.1.2.3:2222", "10.1.2.3", port=2222, user="ops")),
        ("ops@nas", Host("ops@nas", "nas", user="ops")),
        ("nohost:22", Host("nohost:22", "nohost", port=22)),
        ("[2001:db8::1]:2222", Host("[2001:db8::1]:2222", "2001:db8::1", port=2222)),
        ("ops@[::1]", Host("ops@[::1]", "::1", user="ops")),
        ("2001:db8::1", Host("2001:db8::1", "2001:db8::1")),
        ("192.0.2.7", Host("192.0.2.7", "192.0.2.7")),
        ("new.example.org", Host("new.example.org", "new.example.org")),
        ("localhost", Host("localhost", "localhost", local=True)),
        ("me@localhost", Host("me@localhost", "localhost", user="me")),
    ],
)
def test_hosts_that_are_not_configured(fleet, typed, host):
    assert resolve_targets(fleet, [typed]) == (host,)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("g3", "g3: unknown host; expected a configured host or group, an ssh_config alias, or user@host[:port]; did you mean g2 or g1?"),
        ("lab-gpo", "lab-gpo: unknown host; expected a configured host or group, an ssh_config alias, or user@host[:port]; did you mean lab-gpu?"),
        ("zzz", "zzz: unknown host; expected a configured host or group, an ssh_config alias, or user@host[:port]"),
        ("h:70000", 'h:70000: "70000" is not a port (1 to 65535); expected a configured host or group, an ssh_config alias, or user@host[:port]'),
        ("u@:22", "u@:22: the address is empty or has odd characters; expected a configured host or group, an ssh_config alias, or user@host[:port]"),
        ("@h", "@h: the user before the @ is empty or has odd characters; expected a configured host or group, an ssh_config alias, or user@host[:port]"),
        ("-oProxyCommand=x", "-oProxyCommand=x: the address is empty or has odd characters; expected a configured host or group, an ssh_config alias, or user@host[:port]"),
        ("u@-oX.y", "u@-oX.y: the address is empty or has odd characters; expected a configured host or group, an ssh_config alias, or user@host[:port]"),
        ("[::1:22", "[::1:22: brackets go around an IPv6 address, as in [::1]:22; expected a configured host or group, an ssh_config alias, or user@host[:port]"),
        ("", '"": the address is empty or has odd characters; expected a configured host or group, an ssh_config alias, or user@host[:port]'),
        ("a\x1b[2J\nb", "a[2J b: the address is empty or has odd characters; expected a configured host or group, an ssh_config alias, or user@host[:port]"),
    ],
)  # fmt: skip
def test_unknown_hosts_are_one_clear_line(fleet, typed, line):
    with pytest.raises(ConfigError) as caught:
        resolve_targets(fleet, [typed])
    assert caught.value.mistakes == [line]


def test_all_unknown_hosts_are_told(fleet):
    with pytest.raises(ConfigError) as caught:
        resolve_targets(fleet, ["zz1", "g1", "zz2"])
    assert [line.split(":")[0] for line in caught.value.mistakes] == ["zz1", "zz2"]


def test_parse_target_takes_apart():
    assert parse_target("a@b@h:1") == Target("h", "a@b", 1)
    assert parse_target("[fe80::1%eth0]:22") == Target("fe80::1%eth0", None, 22)


# --- ssh_config ---


@pytest.fixture
def ssh_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh" / "conf.d").mkdir(parents=True)
    return tmp_path / ".ssh"


def test_aliases_in_file_order_with_includes_in_place(ssh_home):
    (ssh_home / "config").write_text(
        """
# Host commented
Host first second # trailing
  HostName 10.0.0.1
Include conf.d/*.conf "~/.ssh/with space" /nonexistent/*
host = equals
Host "quoted" first
Match host matched
  User x
Host * !bastion
Host gpu-* !gpu-9 named-?
HostName not-an-alias
Host unbalanced "quote
"""
    )
    (ssh_home / "conf.d" / "b.conf").write_text("Host from-b\n")
    (ssh_home / "conf.d" / "a.conf").write_text("HOST\tfrom-a\n")
    (ssh_home / "conf.d" / "c.other").write_text("Host from-c\n")
    (ssh_home / "with space").write_text("Host spaced\n")
    aliases = read_aliases(["~/.ssh/config"])
    assert aliases.names == ["first", "second", "from-a", "from-b", "spaced", "equals", "quoted"]
    assert "first" in aliases
    assert "gpu-1" in aliases
    assert "GPU-1" in aliases
    assert "named-x" in aliases
    assert "gpu-9" not in aliases, "excluded by name"
    assert "anything" not in aliases, "Host * names nobody"
    assert "matched" not in aliases
    assert "a@gpu-1" not in aliases


def test_bad_ssh_config_files_offer_no_names_and_do_not_hang(ssh_home):
    (ssh_home / "loop").write_text("Include ~/.ssh/loop\nHost after\n")
    (ssh_home / "binary").write_bytes(b"\xff\xfe\0Host x\nHost ok\n")
    os.mkfifo(ssh_home / "fifo")
    (ssh_home / "evil").write_text("Host -oProxyCommand=x esc\x1b[2J\n")
    names = [f"~/.ssh/{name}" for name in ("loop", "binary", "fifo", "evil", "missing", "conf.d")]
    aliases = read_aliases([*names, "~nosuchuserhere/config"])
    assert aliases.names == ["after", "ok"]


def test_very_large_ssh_config_is_bounded(ssh_home):
    (ssh_home / "config").write_text("".join(f"Host h{at}\n" for at in range(30_000)))
    assert len(read_aliases(["~/.ssh/config"]).names) == 20_000
