"""asyncssh's options of a connection, made once for all hosts that are reached alike and copied for each of them.

Making them costs 200 us (it expands every list of algorithms and looks into the home folder); what differs between the
hosts of a fleet is a name, a port and the known keys.
"""

from __future__ import annotations

import copy
import socket
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import asyncssh
from asyncssh.public_key import get_default_public_key_algs

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.hosts.keys import Identities
    from probes.hosts.known_hosts import Trusted
    from probes.hosts.ssh_config import DialPlan

#: cheapest first where both sides know it; everything asyncssh supports stays on offer behind them
_KEX: Final = "^curve25519-sha256,curve25519-sha256@libssh.org"
_CIPHERS: Final = "^aes128-gcm@openssh.com"
#: more kinds of login than a fleet has; beyond that the oldest is made anew
_KEPT: Final = 32


class SharedOptions:
    """The options of each kind of login: user, keys and algorithms. ``of`` may read files: call it off the loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[object, ...], asyncssh.SSHClientConnectionOptions] = {}

    def of(self, plan: DialPlan, identities: Identities) -> asyncssh.SSHClientConnectionOptions:
        """The options for one kind of login, made now if nobody needed them before.

        Raises:
            ValueError: ssh_config asks for an algorithm that does not exist.
        """
        with self._lock:
            found = self.known(plan, identities)
            if found is None:
                if len(self._made) >= _KEPT:
                    del self._made[next(iter(self._made))]
                found = asyncssh.SSHClientConnectionOptions(**common(plan, identities))
                self._made[_kind(plan, identities)] = found
            return found

    def known(self, plan: DialPlan, identities: Identities) -> asyncssh.SSHClientConnectionOptions | None:
        """The same if they are made already: reads no file."""
        return self._made.get(_kind(plan, identities))

    def forget(self) -> None:
        """Make them anew: the configuration was reloaded."""
        with self._lock:
            self._made.clear()


def _kind(plan: DialPlan, identities: Identities) -> tuple[object, ...]:
    return plan.user, identities.pairs, *plan.algorithms.items()


def common(plan: DialPlan, identities: Identities) -> dict[str, Any]:
    """What hosts that are reached alike have in common, as arguments of asyncssh."""
    return {
        "username": plan.user,
        "config": None,
        # None offers no key; asyncssh would take an empty list as "load the default ones"
        "client_keys": list(identities.pairs) or None,
        "known_hosts": ((), (), (), (), (), (), ()),  # nothing is trusted until a host says what; () would read files
        "agent_path": None,
        "gss_host": None,
        "keepalive_interval": 0,
        "login_timeout": 0,
        "connect_timeout": None,
        "family": socket.AF_UNSPEC,
        "kex_algs": _KEX,
        "encryption_algs": _CIPHERS,
        **plan.algorithms,
    }


def own(plan: DialPlan, trusted: Trusted) -> dict[str, Any]:
    """What is one host's alone, as arguments of asyncssh (whose options have attributes of the same names)."""
    arguments: dict[str, Any] = {
        "host": plan.address,
        "port": plan.port,
        "known_hosts": trusted.result,
        "host_key_alias": plan.host_key_alias,
    }
    if "server_host_key_algs" not in plan.algorithms:
        arguments |= key_types(trusted)
    return arguments


def key_types(trusted: Trusted) -> dict[str, Any]:
    """Prefer the known key's type but accept any, so that another key is seen and named, not a vague failure.

    Where no authority is trusted a certificate is worth nothing: the plain key is asked for, as ssh does.
    """
    if trusted.authorities:
        return {}
    known = tuple(algorithm for key in trusted.keys for algorithm in key.sig_algorithms)
    return {"server_host_key_algs": _preferring(known)}


@lru_cache(maxsize=64)
def _preferring(known: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple(algorithm.decode() for algorithm in dict.fromkeys((*known, *get_default_public_key_algs())))


def for_host(
    shared: asyncssh.SSHClientConnectionOptions,
    plan: DialPlan,
    trusted: Trusted,
    client_factory: Callable[[], asyncssh.SSHClient],
) -> asyncssh.SSHClientConnectionOptions:
    """One connection's options: the shared ones with what is this host's alone."""
    options = copy.copy(shared)
    for name, value in own(plan, trusted).items():
        setattr(options, name, value)
    options.protocol_factory = client_factory
    return options
