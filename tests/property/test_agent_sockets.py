"""/proc/net/tcp and what follows from it: nothing that is not a listener becomes one, and every listener is found."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import sys

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from probes import model
from probes.evidence import Inside, Listener
from probes.hosts import agent
from probes.hosts.frame_answers import Asked
from probes.hosts.protocol import LineError
from probes.judge.bindings import Binding, bindings

PORTS = st.integers(1, 65535)
STATES = st.sampled_from(["0A", "01", "02", "03", "06", "07"])
V4 = st.ip_addresses(v=4).map(str)
V6 = st.ip_addresses(v=6).map(str)
ADDRESSES = st.one_of(V4, V6, st.sampled_from(["0.0.0.0", "::", "127.0.0.1", "::1", "::ffff:10.0.0.1"]))


def digits(address: str, order: str) -> str:
    """As the kernel writes it: each 32-bit word as the number that its bytes are on a machine of that order."""
    raw = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    words = [raw[at : at + 4] for at in range(0, len(raw), 4)]
    return "".join(f"{int.from_bytes(word, order):08X}" for word in words)  # type: ignore[arg-type]


def plain(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


@given(ADDRESSES, st.sampled_from(["little", "big"]))
def test_an_address_comes_out_as_it_went_in(address: str, order: str) -> None:
    assert ipaddress.ip_address(agent.parse_address(digits(address, order), order)) == ipaddress.ip_address(
        plain(address)
    )


ROWS = st.lists(st.tuples(ADDRESSES, PORTS, STATES, st.integers(0, 2**32 - 1), st.integers(0, 2**40)), max_size=12)


@given(ROWS, st.binary(max_size=60).filter(lambda noise: b"0A" not in noise))
def test_the_listeners_are_found_and_nothing_else(rows: list[tuple[str, int, str, int, int]], noise: bytes) -> None:
    lines = [
        f"{at:4}: {digits(address, sys.byteorder)}:{port:04X} {'0' * len(digits(address, sys.byteorder))}:0000 {state} "
        f"00000000:00000000 00:00000000 00000000 {uid:5} {0:8} {inode} 1 0 100 0 0 10 0"
        for at, (address, port, state, uid, inode) in enumerate(rows)
    ]
    found = agent.parse_listeners(noise + b"\n" + "\n".join(lines).encode() + b"\n")
    wanted = [(plain(address), port, uid, inode) for address, port, state, uid, inode in rows if state == "0A"]
    assert [(str(ipaddress.ip_address(address)), *rest) for address, *rest in found] == wanted


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_parsers(data: bytes) -> None:
    agent.parse_listeners(data)
    text = data.decode("utf-8", "replace")
    agent.parse_sshd(text)
    agent.parse_nft(text)
    agent.parse_iptables(text)
    agent.said_reason(text)


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            ["t1", "t2", "s", "f", "k", "x", ".", "no", " ", ";", "0100007F:0016", "0", "tcp", "tcp6", "absent", "port 22",
             "denied", "\x1b[31m", "status", "99999999999"]
        ),
        st.text(max_size=6),
    ),
    max_size=12,
)  # fmt: skip


@given(st.lists(PIECES, max_size=12))
def test_whatever_a_shell_answers_is_an_answer_or_a_bad_line(frames: list[list[str]]) -> None:
    asked = Asked(str)
    for pieces in frames:
        with contextlib.suppress(LineError):
            for answer in asked.item(" ".join(pieces)):
                assert isinstance(answer, model.Answer)
                assert isinstance(msgspec.json.decode(msgspec.json.encode(answer), type=model.Line), model.Answer)
                if answer.inside is not None and answer.inside.listeners is None:
                    assert "listeners" in answer.inside.missing


LISTENERS = st.lists(
    st.builds(Listener, address=st.one_of(ADDRESSES, st.just("?")), port=st.integers(79, 82)), max_size=6
)


@given(LISTENERS, st.one_of(st.none(), st.just("cut")))
def test_a_binding_never_claims_less_than_is_listened_on(listeners: list[Listener], why: str | None) -> None:
    inside = Inside(source="agent", at_wall_s=0.0, listeners=tuple(listeners), listeners_why=why)
    (found,) = bindings((model.Service("web", 80),), inside)
    addresses = [one.address for one in listeners if one.port == 80]
    assert sorted(one.address for one in found.listeners) == sorted(addresses)
    if found.binding is Binding.NOT_LISTENING:
        assert not addresses
        assert why is None
    if found.binding is Binding.LOOPBACK:
        assert why is None
        assert all(one == "?" or ipaddress.ip_address(one).is_loopback for one in addresses)
    if {"0.0.0.0", "::"} & set(addresses):
        assert found.binding is Binding.ALL
    assert found.detail
