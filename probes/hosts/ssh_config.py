"""What ssh_config says about a host, joined with our own configuration: one frozen plan of how to dial.

Parsing is asyncssh's. It does not know ``StrictHostKeyChecking``; we read it: ``accept-new`` is honoured, everything
weaker than strict is treated as strict, and said.
"""

from __future__ import annotations

import getpass
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, cast

from asyncssh.config import ConfigParseError, SSHClientConfig
from msgspec import Struct

from probes.config.find import expanded
from probes.errors import HandshakeError
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probes.config import Ssh
    from probes.model import Host


class DialPlan(Struct, frozen=True):
    """How to reach one host over SSH, fully resolved.

    ``identity_files`` holds those that were named; when empty, ssh's defaults are tried. ``proxy_jump`` is a comma
    list as in ssh_config. ``notes`` are things a person should know (ignored weakenings).
    """

    address: str
    port: int
    user: str
    identity_files: tuple[str, ...] = ()
    certificate_files: tuple[str, ...] = ()
    identities_only: bool = False
    identity_agent: str | None = None
    known_hosts: tuple[str, ...] = ()
    host_key_alias: str | None = None
    proxy_jump: str | None = None
    proxy_command: str | None = None
    accept_new: bool = False
    algorithms: dict[str, str] = {}
    notes: tuple[str, ...] = ()


class _Config(SSHClientConfig):
    """asyncssh's parser plus the one keyword it does not know."""

    _handlers: ClassVar[dict[str, tuple[str, Callable[..., None]]]] = {
        **cast("dict[str, Any]", SSHClientConfig._handlers),  # noqa: SLF001 # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
        "stricthostkeychecking": (
            "StrictHostKeyChecking",
            SSHClientConfig._set_string,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        ),
    }


#: algorithm keywords handed on to asyncssh as they stand
_ALGORITHMS = {
    "Ciphers": "encryption_algs",
    "KexAlgorithms": "kex_algs",
    "MACs": "mac_algs",
    "HostKeyAlgorithms": "server_host_key_algs",
}


def plan_for(host: Host, ssh: Ssh) -> DialPlan:
    """Join host, ssh section and ssh_config into a plan. Reads files: call it off the event loop.

    Raises:
        HandshakeError: ssh_config cannot be parsed (file and line are named).
    """
    local_user = _local_user()
    try:
        # a FIFO would block for ever
        paths = [path for name in ssh.config_files if os.access(path := expanded(name), os.R_OK) and path.is_file()]
        config = cast(
            "Any",
            _Config.load(
                cast("Any", None),
                cast("Any", paths),
                False,
                False,
                False,
                local_user,
                host.user if host.user is not None else (),
                host.address,
                host.port if host.port is not None else (),
            ),
        )
    except (ConfigParseError, OSError, ValueError, RuntimeError) as error:  # RuntimeError: ~nobody has no home
        raise HandshakeError(
            f"ssh_config: {clean(str(error))}", layer="ssh_config", next_step="mend that line of your ssh_config"
        ) from None
    strict = str(config.get("StrictHostKeyChecking", "") or "").lower()
    notes: tuple[str, ...] = ()
    if strict in {"no", "off"}:
        notes = (f"StrictHostKeyChecking {strict} in ssh_config is treated as yes",)
    user = str(config.get("User", local_user))
    if not user:
        raise HandshakeError(
            f"no user name is known for uid {os.getuid()}", layer="ssh_config", next_step="give the host a user"
        )
    own = _strings(host.identity_files or ssh.identity_files)
    jump = host.proxy_jump if host.proxy_jump is not None else cast("str | None", config.get("ProxyJump"))
    return DialPlan(
        address=str(config.get("Hostname", host.address)),
        port=int(config.get("Port", 22)),
        user=user,
        identity_files=own or _strings(config.get("IdentityFile")),
        certificate_files=_strings(config.get("CertificateFile")),
        identities_only=bool(config.get("IdentitiesOnly", False)),
        identity_agent=_identity_agent(config.get("IdentityAgent"), ssh),
        known_hosts=_known_hosts(host, ssh, config),
        host_key_alias=cast("str | None", config.get("HostKeyAlias")),
        proxy_jump=None if jump in (None, "", "none") else jump,
        proxy_command=cast("str | None", config.get("ProxyCommand")),
        accept_new=ssh.accept_new or strict == "accept-new",
        algorithms={ours: str(value) for name, ours in _ALGORITHMS.items() if (value := config.get(name))},
        notes=notes,
    )


def _local_user() -> str:
    """Who we are; empty when the system does not know (a container with a number for a user)."""
    return _told_by(getpass.getuser)


@lru_cache(maxsize=1)  # a look-up in the system's list of users for each host otherwise
def _told_by(getuser: Callable[[], str]) -> str:
    try:
        return getuser()
    except (KeyError, OSError, ImportError):
        return ""


def _strings(value: object) -> tuple[str, ...]:
    home = os.environ.get("HOME")
    return tuple(_expanded_text(str(item), home) for item in cast("Sequence[object]", value or ()))


@lru_cache(maxsize=256)  # all hosts of a fleet name the same few files
def _expanded_text(name: str, home: str | None) -> str:
    del home  # what ``~`` means
    return str(expanded(name))


def _known_hosts(host: Host, ssh: Ssh, config: Any) -> tuple[str, ...]:
    if host.known_hosts:
        names: tuple[str, ...] = host.known_hosts
    else:
        user = _strings(config.get("UserKnownHostsFile"))
        names = tuple(ssh.known_hosts) if not user else (*user, *ssh.known_hosts[1:])
        names = (*names, *_strings(config.get("GlobalKnownHostsFile")))
    return _strings(names)


def _identity_agent(value: object, ssh: Ssh) -> str | None:
    if not ssh.agent or (isinstance(value, str) and value.lower() == "none"):
        return None
    if isinstance(value, str) and value and value != "SSH_AUTH_SOCK":
        return str(expanded(value))
    return os.environ.get("SSH_AUTH_SOCK") or None
