"""The configuration as frozen types. Each field's docstring is what the documentation says of it.

A field that ends in ``_s`` is in seconds, ``_c`` in degrees Celsius, ``_pct`` in percent.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from probes.model import Host


class Thresholds(Struct, frozen=True):
    """Where a measured value becomes a warning, and where it becomes critical."""

    temperature_warn_c: float = 80.0
    """GPU temperature from which a host is degraded."""
    temperature_crit_c: float = 90.0
    """GPU temperature that is critical."""
    gpu_memory_warn_pct: float = 95.0
    """Used share of a GPU's memory from which it is marked."""
    memory_warn_pct: float = 90.0
    """Used share of the host's memory (total minus available) from which a host is degraded."""
    memory_crit_pct: float = 97.0
    """Used share of the host's memory that is critical."""
    disk_warn_pct: float = 85.0
    """Used share of a file system from which a host is degraded."""
    disk_crit_pct: float = 95.0
    """Used share of a file system that is critical."""


class Intervals(Struct, frozen=True):
    """How often things are read, and how long each phase of a connection may take."""

    sample_s: float = 1.0
    """Between two samples of a host."""
    services_s: float = 10.0
    """Between two probes of a service."""
    processes_s: float = 30.0
    """Between two process lists while nobody looks at one."""
    heartbeat_s: float = 5.0
    """Between two heartbeats to an agent, which ends itself after 15 s without one."""
    stale_s: float = 5.0
    """Age from which the last sample is shown as stale."""
    resolve_s: float = 5.0
    """Limit for resolving a name."""
    tcp_s: float = 3.5
    """Limit for a TCP connect; a port silent for longer is called filtered."""
    banner_s: float = 5.0
    """Limit from the TCP connect to the SSH banner."""
    kex_s: float = 10.0
    """Limit for the SSH key exchange."""
    auth_s: float = 15.0
    """Limit for SSH authentication (waiting for a typed passphrase does not count)."""
    bootstrap_s: float = 10.0
    """Limit for starting the agent."""
    first_sample_s: float = 10.0
    """Limit from the agent's start to its first sample."""
    silence_s: float = 20.0
    """Silence of a live agent after which the connection is given up and made anew."""
    backoff_max_s: float = 60.0
    """Longest pause between two attempts to connect."""


class Ssh(Struct, frozen=True):
    """How SSH connections are made."""

    connect_concurrency: int = 16
    """How many connections may be in the making at once; live ones are not limited."""
    config_files: tuple[str, ...] = ("~/.ssh/config",)
    """Files in ssh_config format; the first value found for an option wins, as with ssh."""
    known_hosts: tuple[str, ...] = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
    """Files with known host keys. A missing file is an empty one. ``accept_new`` writes to the first."""
    accept_new: bool = False
    """Trust and record the key of a host that is seen for the first time. A changed key is never accepted."""
    identity_files: tuple[str, ...] = ()
    """Private keys tried for every host that names none; empty: those of ssh_config, else ssh's defaults."""
    agent: bool = True
    """Ask the ssh-agent at $SSH_AUTH_SOCK for keys."""


class TriageOptions(Struct, frozen=True):
    """How hosts are diagnosed."""

    anchors: tuple[str, ...] = ()
    """What should always answer, as `host:port`, for the control probe; the fleet's own hosts are tried besides."""


class AwsOptions(Struct, frozen=True):
    """What may be asked of AWS when a host is diagnosed."""

    enabled: bool = True
    """Ask AWS when a host is diagnosed: whose the address is, instance state, groups, ACL, routes. Reads only."""
    profile: str = ""
    """Profile of the AWS configuration; empty: what the environment says."""
    region: str = ""
    """Region of hosts without a label `region`; empty: what the environment or the profile says."""
    my_address: str = ""
    """Your address as AWS sees it, against which rules are judged; empty: not known, answers are per CIDR."""
    ask_my_address: bool = False
    """Ask https://checkip.amazonaws.com for that address where it is not given."""
    allow_ssm: bool = False
    """Run a fixed read-only script by Systems Manager on a host whose SSH is dead (ports and firewall rules)."""


class Settings(Struct, frozen=True):
    """The whole configuration, validated, with every default filled in."""

    hosts: tuple[Host, ...]
    """What is watched, in this order. Without any: this machine."""
    thresholds: Thresholds = Thresholds()
    """Where values become warnings."""
    intervals: Intervals = Intervals()
    """How often, and how long at most."""
    ssh: Ssh = Ssh()
    """How SSH connections are made."""
    theme: str = "dark"
    """Colours; ``mono`` uses none."""
    utc: bool = False
    """Show clock times in UTC instead of local time."""
    ascii: bool | None = None
    """Draw with ASCII only; None (``auto`` in the file): where the locale is not UTF-8."""
    keys: dict[str, str] = {}
    """Remapped keys: action to key, several keys separated by commas."""
    triage: TriageOptions = TriageOptions()
    """How hosts are diagnosed."""
    aws: AwsOptions = AwsOptions()
    """What may be asked of AWS."""
    bench: dict[str, Any] = {}
    """The ``[bench.*]`` tables as they stand in the file; ``benchmarks.options`` checks them."""
    source: str | None = None
    """Path of the file this was read from; None: defaults only."""


THEMES = ("dark", "light", "mono", "colour-blind")


def local_host() -> Host:
    """This machine, watched without SSH."""
    return Host(id="localhost", address="localhost", local=True)


def default_settings() -> Settings:
    """What holds without a configuration file: this machine is watched."""
    return Settings(hosts=(local_host(),))
