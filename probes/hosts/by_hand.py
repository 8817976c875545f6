"""The commands a person is told to run by hand: they use the files and the way that the plan of the host uses."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from probes.config.find import expanded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.hosts.ssh_config import DialPlan

_SSH_PORT: Final = 22
#: what ssh reads without being told; its ssh-keygen looks into the first one alone
_USERS: Final = "~/.ssh/known_hosts"
_OWN: Final = frozenset({"~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"})


def ssh_command(plan: DialPlan, *flags: str) -> str:
    """An ``ssh`` that offers the same keys, trusts the same files and takes the same way as we do."""
    argv = ["ssh", *flags, "-p", str(plan.port)]
    for path in plan.identity_files:
        argv += ["-i", path]
    if plan.known_hosts and plan.known_hosts[0] != str(expanded(_USERS)):
        argv += ["-o", known_hosts_option(plan.known_hosts)]
    if plan.proxy_jump:
        argv += ["-J", plan.proxy_jump]
    return shlex.join([*argv, f"{plan.user}@{plan.address}"])


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
    return plan.address if plan.port == _SSH_PORT else f"[{plan.address}]:{plan.port}"


def known_hosts_option(files: Sequence[str]) -> str:
    """The option that has ssh trust these files, and no others of the user's."""
    words = [f'"{file}"' if " " in file else file for file in files]
    return f"UserKnownHostsFile={' '.join(words) or 'none'}"
