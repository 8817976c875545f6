"""The decision table in short, one line a row, for documentation and help; ``docs/triage-rows.md`` is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping


class Row(Struct, frozen=True):
    """A row of the decision table; ``confidence`` empty where the row claims none."""

    number: int
    evidence: str
    verdict: str
    confidence: str = ""


ROWS: Final = (
    Row(1, "control fails too, unreachable at once, or the offender is our own address", "our network, VPN or firewall", "high"),  # noqa: E501
    Row(2, "name resolves to another address than configured, or not at all", "DNS", "high"),
    Row(3, "reverse name's region differs, or the address is not ours in that region", "wrong address or region", "high if AWS confirms, else medium"),  # noqa: E501
    Row(4, "the address is ours, without association", "Elastic IP not associated", "certain"),
    Row(5, "Elastic IP on another interface", "wrong instance", "certain"),
    Row(6, "instance not running", "stopped or terminated", "certain"),
    Row(7, "running, system check impaired", "AWS hardware", "high"),
    Row(8, "running, instance check impaired, ports silent", "OS hung, boot or network", "high"),
    Row(9, "initializing", "too early; when to look again"),
    Row(10, "no rule of the interface's security groups matches, port silent", "security group", "high"),
    Row(11, "the only match is a group reference, we come by the public address", "group-reference trap", "high"),
    Row(12, "first match of the network ACL denies inwards", "NACL in", "high"),
    Row(13, "network ACL denies 1024-65535 out to us", "NACL return path", "high"),
    Row(14, "no active route back, a blackhole, or a more specific route", "route", "high"),
    Row(15, "VPC Block Public Access without an exclusion", "BPA", "high"),
    Row(16, "AWS lets us in, checks fine, some ports silent, another answers", "host firewall drops those ports", "high"),  # noqa: E501
    Row(17, "as row 16, all ports silent", "host firewall, sleeping interface or an unmodelled layer", "medium"),
    Row(18, "RST", "no listener; security group, NACL, route and address exonerated", "high"),
    Row(19, "ICMP 3/3, 3/10 or 3/13 from the host", "host firewall rejects", "high"),
    Row(20, "the same from another address", "that hop's firewall", "high"),
    Row(21, "open, then end of stream without a byte", "a proxy accepts for a dead container, or the process is wedged"),  # noqa: E501
    Row(22, "SSH open, no banner", "sshd or host wedged, or MaxStartups"),
    Row(23, "banner fine, key exchange stalls, retransmits rise, segment size stuck", "path-MTU black hole", "high"),
    Row(24, "host key, banner or certificate is not the one on file", "not your host", "high"),
    Row(25, "an established SSH session lives, new connects are silent", "a rule was just removed", "medium"),
    Row(26, "TLS or HTTP fails after TCP, or what speaks there is not SSH", "service layer", "certain"),
    Row(27, "listening inside on loopback only, refused outside", "bind address", "certain"),
    Row(28, "listening inside on all addresses, silent outside, SSH fine", "a filter between", "certain that it is a filter"),  # noqa: E501
    Row(29, "silent, and neither AWS nor the host says why", "cannot tell; what is ruled out, still possible, and one check"),  # noqa: E501
)  # fmt: skip


def table(started_from: Mapping[int, str]) -> str:
    """The rows as a Markdown table. ``started_from``: what each row's tests start from, by number."""
    lines = [
        "| # | evidence | verdict | confidence | tested from |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.number} | {row.evidence} | {row.verdict} | {row.confidence or '-'} | {started_from[row.number]} |"
        for row in ROWS
    ]
    return "\n".join(lines)
