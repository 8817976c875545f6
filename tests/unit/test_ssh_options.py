from __future__ import annotations

from typing import Any

import asyncssh
import pytest

from probes.hosts.keys import Identities
from probes.hosts.known_hosts import Trusted
from probes.hosts.ssh_config import DialPlan
from probes.hosts.ssh_options import SharedOptions, for_host


def _plan(**over: Any) -> DialPlan:
    return DialPlan(**{"address": "gpu1", "port": 22, "user": "me", **over})


def _identities(*pairs: Any) -> Identities:
    return Identities(pairs, (), (), ())


def _trusted(*keys: Any, authorities: tuple[Any, ...] = ()) -> Trusted:
    return Trusted((keys, authorities, (), (), (), (), ()), keys, authorities, ())


def _pair() -> Any:
    return asyncssh.load_keypairs([asyncssh.generate_private_key("ssh-ed25519")])[0]


def test_hosts_that_are_reached_alike_share_their_options_and_others_do_not() -> None:
    shared, pair = SharedOptions(), _pair()
    one = shared.of(_plan(), _identities(pair))
    assert shared.of(_plan(address="gpu2", port=2222, host_key_alias="x"), _identities(pair)) is one
    others = [
        shared.of(_plan(user="you"), _identities(pair)),
        shared.of(_plan(), _identities(_pair())),
        shared.of(_plan(), _identities()),
        shared.of(_plan(algorithms={"encryption_algs": "aes256-gcm@openssh.com"}), _identities(pair)),
    ]
    assert len({id(options) for options in (one, *others)}) == 5
    assert others[1].client_keys != one.client_keys
    assert others[2].client_keys is None
    assert others[3].encryption_algs == [b"aes256-gcm@openssh.com"]


def test_what_is_kept_is_bounded_and_forgotten_on_request() -> None:
    shared = SharedOptions()
    for number in range(40):
        shared.of(_plan(user=f"user{number}"), _identities())
    assert len(shared._made) == 32
    assert shared.known(_plan(user="user0"), _identities()) is None
    assert shared.known(_plan(user="user39"), _identities()) is not None
    shared.forget()
    assert shared.known(_plan(user="user39"), _identities()) is None


def test_a_hosts_own_options_are_its_own() -> None:
    base = SharedOptions().of(_plan(), _identities())
    first, second = (asyncssh.generate_private_key(kind) for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256"))
    one = for_host(base, _plan(), _trusted(first), asyncssh.SSHClient)
    two = for_host(base, _plan(address="gpu2", port=2222, host_key_alias="other"), _trusted(second), asyncssh.SSHClient)
    assert (one.host, one.port, one.host_key_alias, one.known_hosts[0]) == ("gpu1", 22, None, (first,))
    assert (two.host, two.port, two.host_key_alias, two.known_hosts[0]) == ("gpu2", 2222, "other", (second,))
    # the known key's type first, and every other behind it
    assert one.server_host_key_algs[0] == "ssh-ed25519"
    assert two.server_host_key_algs[0] == "ecdsa-sha2-nistp256"
    assert set(one.server_host_key_algs) == set(two.server_host_key_algs)
    assert base.known_hosts == ((),) * 7  # by itself it trusts nothing, and reads no file
    assert base.server_host_key_algs == ()


def test_key_types_are_asyncsshs_or_ssh_configs_where_those_know_better() -> None:
    key, shared = asyncssh.generate_private_key("ssh-ed25519"), SharedOptions()
    base = shared.of(_plan(), _identities())
    assert for_host(base, _plan(), _trusted(authorities=(key,)), asyncssh.SSHClient).server_host_key_algs == ()
    plan = _plan(algorithms={"server_host_key_algs": "rsa-sha2-512"})
    chosen = for_host(shared.of(plan, _identities()), plan, _trusted(key), asyncssh.SSHClient)
    assert chosen.server_host_key_algs == "rsa-sha2-512"


def test_an_algorithm_that_does_not_exist_is_said() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        SharedOptions().of(_plan(algorithms={"encryption_algs": "nonsense"}), _identities())
