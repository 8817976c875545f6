from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from probes.evidence import Names
from probes.model import Host
from probes.reach.names import Reverse, ec2_region, expected_addresses, system_reverse
from tests.support.leaks import other_tasks

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("ec2-18-118-69-100.us-east-2.compute.amazonaws.com", "us-east-2"),
        ("ip-10-0-0-1.ap-northeast-1.compute.internal", "ap-northeast-1"),
        ("ec2-1-2-3-4.compute-1.amazonaws.com", None),
        ("ip-10-0-0-1.ec2.internal", None),
        ("ec2-52-80-1-2.cn-north-1.compute.amazonaws.com.cn", "cn-north-1"),
        ("ec2-15-200-1-2.us-gov-west-1.compute.amazonaws.com.", "us-gov-west-1"),
        ("i-0123456789abcdef0.us-west-2.compute.internal", "us-west-2"),
        ("ec2-999-1-2-3.us-east-2.compute.amazonaws.com", None),
        ("ec2-1-2-3-4.us-east-2.compute.amazonaws.com.evil.example", None),
        ("x.ec2-1-2-3-4.us-east-2.compute.amazonaws.com", None),
        ("", None),
    ],
)
def test_ec2_region(name: str, region: str | None) -> None:
    assert ec2_region(name) == region


async def look(lookup: Callable[[str], tuple[str, ...]], *addresses: str, limit_s: float = 5.0) -> Names:
    reverse = Reverse(lookup)
    try:
        return await reverse.add_to(Names(name="gpu-1", addresses=addresses), addresses, limit_s)
    finally:
        reverse.close()


async def test_reverse_names_with_their_region() -> None:
    found = await look(lambda _: ("ec2-18-118-69-100.us-east-2.compute.amazonaws.com",), "18.118.69.100", "10.0.0.1")
    assert found.name == "gpu-1"
    assert found.ptr["18.118.69.100"] == ("ec2-18-118-69-100.us-east-2.compute.amazonaws.com",)
    # the same name for another address is somebody's claim: shown, and not believed
    assert found.ptr_region == {"18.118.69.100": "us-east-2"}
    assert found.ptr_why is None


async def test_why_there_is_no_reverse_name() -> None:
    def lookup(address: str) -> tuple[str, ...]:
        if address == "10.0.0.2":
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        if address == "10.0.0.3":
            raise UnicodeError("label too long")
        raise socket.gaierror(socket.EAI_NONAME, "no name")

    found = await look(lookup, "10.0.0.1", "10.0.0.2", "10.0.0.3")
    assert found.ptr == {}
    assert found.ptr_why == ("10.0.0.1: no reverse name; 10.0.0.2: no name server answers; 10.0.0.3: label too long")


async def test_name_server_that_hangs_costs_only_its_limit() -> None:
    release = threading.Event()

    def hang(_: str) -> tuple[str, ...]:
        release.wait(20)
        return ()

    try:
        found = await look(hang, "10.0.0.1", limit_s=0.05)
    finally:
        release.set()
    assert found.ptr_why == "10.0.0.1: no answer within 0.05 s"
    assert not other_tasks()


async def test_hostile_names_are_harmless_and_few() -> None:
    found = await look(lambda _: ("a\x1b[2Jb\u202e", *(f"n{n}" for n in range(100)), "\u200b"), "10.0.0.1")
    assert found.ptr["10.0.0.1"] == ("a[2Jb", "n0", "n1", "n2")
    found = await look(lambda _: ("\x00\u200b",), "10.0.0.1")
    assert found.ptr_why == "10.0.0.1: no reverse name"


def test_the_systems_own_answer() -> None:
    assert system_reverse("127.0.0.1")
    with pytest.raises(ValueError, match="literal"):
        system_reverse("gpu-1")


def test_expected_addresses_of_the_label() -> None:
    host = Host(id="a", address="gpu-1", labels={"address": "10.0.0.1, fd00::1 nonsense,[fd00::2]"})
    assert expected_addresses(host) == ("10.0.0.1", "fd00::1", "fd00::2")
    assert expected_addresses(Host(id="a", address="gpu-1")) == ()
