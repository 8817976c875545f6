"""The region in EC2 names: found in every name AWS makes, and in no other text."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from probes.reach.names import ec2_region

REGIONS = st.sampled_from(
    ["us-east-2", "ap-northeast-1", "eu-central-2", "us-gov-west-1", "me-south-1", "cn-north-1", "us-iso-east-1"]
)
ADDRESSES = st.ip_addresses(v=4).map(str)
TEXT = st.text(st.characters(codec="utf-8"), max_size=80)


@given(ADDRESSES, REGIONS, st.sampled_from(["ec2", "ip"]), st.booleans(), st.booleans())
def test_region_of_every_name_with_one(address: str, region: str, kind: str, dot: bool, upper: bool) -> None:
    tail = "compute.internal" if kind == "ip" else "compute.amazonaws.com" + ".cn" * region.startswith("cn-")
    name = f"{kind}-{address.replace('.', '-')}.{region}.{tail}" + "." * dot
    name = name.upper() if upper else name
    assert ec2_region(name) == region
    assert ec2_region(name, address) == region


@given(ADDRESSES, ADDRESSES, REGIONS)
def test_name_of_another_address_proves_nothing(address: str, other: str, region: str) -> None:
    name = f"ec2-{other.replace('.', '-')}.{region}.compute.amazonaws.com"
    assert ec2_region(name, address) == (region if address == other else None)


@given(ADDRESSES)
def test_us_east_1_names_carry_no_region(address: str) -> None:
    dashed = address.replace(".", "-")
    assert ec2_region(f"ec2-{dashed}.compute-1.amazonaws.com", address) is None
    assert ec2_region(f"ip-{dashed}.ec2.internal", address) is None


@given(ADDRESSES, REGIONS, TEXT.filter(lambda text: text not in ("", ".", ".cn")))
def test_nothing_may_stand_before_or_behind(address: str, region: str, extra: str) -> None:
    name = f"ec2-{address.replace('.', '-')}.{region}.compute.amazonaws.com"
    assert ec2_region(name + extra) in (None, region if extra.lower().removesuffix(".") in ("", ".cn") else None)
    assert ec2_region(extra + name) is None


@given(TEXT)
def test_any_text_is_taken(text: str) -> None:
    found = ec2_region(text)
    assert found is None or re.fullmatch(r"[a-z0-9-]+", found)
