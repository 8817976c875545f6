"""Configured ports against the host's own list of listeners."""

from __future__ import annotations

import pytest

from probes.evidence import Inside, Listener
from probes.judge.bindings import Binding, bindings
from probes.model import Service

WEB = Service("web", 8080)


def inside(*listeners: Listener, **over: object) -> Inside:
    return Inside(source="agent", at_wall_s=0.0, **{"listeners": listeners, **over})  # type: ignore[arg-type]


def on(address: str, port: int = 8080, process: str | None = "nginx", pid: int | None = 7) -> Listener:
    return Listener(address=address, port=port, process=process, pid=pid, user="www")


@pytest.mark.parametrize(
    ("addresses", "binding"),
    [
        (("0.0.0.0",), Binding.ALL),
        (("::",), Binding.ALL),
        (("127.0.0.1",), Binding.LOOPBACK),
        (("127.0.0.53", "::1"), Binding.LOOPBACK),
        (("10.0.0.5",), Binding.SPECIFIC),
        (("127.0.0.1", "10.0.0.5"), Binding.SPECIFIC),
        (("127.0.0.1", "0.0.0.0"), Binding.ALL),
        (("fe80::1%eth0",), Binding.SPECIFIC),
        (("not an address",), Binding.NOT_KNOWN),
    ],
)
def test_the_widest_listener_counts(addresses: tuple[str, ...], binding: Binding) -> None:
    (found,) = bindings((WEB,), inside(on("0.0.0.0", 22), *map(on, addresses)))
    assert (found.service, found.port, found.binding, found.addresses) == ("web", 8080, binding, addresses)
    assert found.processes == ("nginx (pid 7)",)
    assert "nginx (pid 7)" in found.detail


def test_a_port_nobody_listens_on_is_not_listening_and_forwarding_is_not_ruled_out() -> None:
    (found,) = bindings((WEB,), inside(on("0.0.0.0", 22)))
    assert found.binding is Binding.NOT_LISTENING
    assert "container" in found.detail


def test_what_was_not_told_is_not_known_with_the_reason() -> None:
    assert bindings((WEB,), None, "no link")[0].detail == "no link"
    (found,) = bindings((WEB,), inside(listeners=None, listeners_why="denied: tcp"))
    assert (found.binding, found.detail) == (Binding.NOT_KNOWN, "denied: tcp")


def test_of_a_list_that_was_cut_only_the_widest_can_be_said() -> None:
    cut = {"listeners_why": "more than 9000 ports"}
    every, loopback, absent = bindings(
        (WEB, Service("db", 5432), Service("x", 1)), inside(on("0.0.0.0"), on("127.0.0.1", 5432), **cut)
    )
    assert every.binding is Binding.ALL
    assert (loopback.binding, loopback.addresses) == (Binding.NOT_KNOWN, ("127.0.0.1",))
    assert absent.binding is Binding.NOT_KNOWN
    assert "9000" in absent.detail


def test_dual_stack_is_not_claimed_of_the_unspecified_ipv6_address() -> None:
    assert "IPv6-only" in bindings((WEB,), inside(on("::")))[0].detail
    assert "IPv6-only" not in bindings((WEB,), inside(on("::"), on("0.0.0.0")))[0].detail


def test_a_process_that_is_not_known_has_its_reason() -> None:
    (found,) = bindings((WEB,), inside(on("0.0.0.0", process=None, pid=None), owners_why="denied"))
    assert found.processes == ()
    assert "whose is not known: denied" in found.detail
