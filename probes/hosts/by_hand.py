"""The commands a person is told to run by hand: they use the files and the way that the plan of the host uses."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from probes.config.find import expanded
from probes.inventory.targets import known_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.hosts.ssh_config import DialPlan

#: what ssh reads without being told; its ssh-keygen looks into the first one alone
_USERS: Final = "~/.ssh/known_hosts"
_OWN: Final = frozenset({"~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"})


def ssh_command(plan: DialPlan, *flags: str) -> str:
    """An ``ssh`` that offers the same keys, trusts the same files and takes the same way as we do."""
    own = plan.known_hosts and plan.known_hosts[0] != str(expanded(_USERS))
    way = way_options(plan.identity_files, plan.known_hosts if own else None, plan.proxy_jump)
    return shlex.join(["ssh", *flags, "-p", str(plan.port), *way, f"{plan.user}@{plan.address}"])


def way_options(identity_files: Sequence[str], known_hosts: Sequence[str] | None, proxy_jump: str | None) -> list[str]:
    """Options of ``ssh``: the keys to offer, the files to trust (None: its own; none at all: none), the way."""
    argv = [word for path in identity_files for word in ("-i", path)]
    if known_hosts is not None:
        words = [f'"{file}"' if " " in file else file for file in known_hosts]
        argv += ["-o", f"UserKnownHostsFile={' '.join(words) or 'none'}"]
    return [*argv, "-J", proxy_jump] if proxy_jump else argv


def forget_key_command(plan: DialPlan) -> str:
    """What removes the host's key from the files in which we look for it."""
    name = shlex.quote(host_key_name(plan))
    users = str(expanded(_USERS))
    own = {users, *(str(expanded(file)) for file in _OWN)}
    files = [file for file in plan.known_hosts if file not in own]
    if users in plan.known_hosts or not files:
        files.insert(0, "")
    return "; ".join(f"ssh-keygen -R {name}{f' -f {shlex.quote(file)}' if file else ''}" for file in files)


def host_key_name(plan: DialPlan) -> str:
    """What ssh calls the host in known_hosts; an alias stands there without the port."""
    if plan.host_key_alias:
        return plan.host_key_alias
    return known_name(plan.address, plan.port)
