"""A look inside a host whose SSH is dead, by Systems Manager. Opt-in (``aws.allow_ssm``); one fixed script that reads.

Systems Manager returns at most 24,000 characters of output; a list that was cut says so and is not taken for whole.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from probes.clock import boot_s, wall_s
from probes.cloud.listeners import from_proc, from_ss
from probes.cloud.operations import SSM_RESULT, SSM_SEND
from probes.errors import CloudError
from probes.evidence import Inside
from probes.text import clean

if TYPE_CHECKING:
    from probes.cloud.aws import Aws

    Record = dict[str, Any]

OUTPUT_CHARS: Final = 24_000
LIMIT_S: Final = 25.0
_DOCUMENT: Final = "AWS-RunShellScript"
_FIRST_WAIT_S: Final = 0.3
_LONGEST_WAIT_S: Final = 2.0
_ANSWER_S: Final = 3.0
#: how long the script may wait for delivery, and run; Systems Manager takes no less than 30 for the first
_DELIVER_S: Final = 30
_RUN_S: Final = "20"
_SS, _PROC, _NFT = "quarterdeck:ss", "quarterdeck:proc", "quarterdeck:nft"
SCRIPT: Final = (
    "export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    (
        f"if command -v ss >/dev/null 2>&1; then echo {_SS}; ss -ltnpH; "
        f"else echo {_PROC}; cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; fi"
    ),
    f"echo {_NFT}; if command -v nft >/dev/null 2>&1; then nft list ruleset 2>&1; else echo 'nft: not installed'; fi",
)
_WAITING: Final = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})


class SsmLook(Struct, frozen=True, kw_only=True):
    """What the host said by Systems Manager.

    ``inside`` has the listeners, or why there are none. ``ruleset`` is nft's text, None with ``ruleset_why``.
    ``cut``: the output was longer than Systems Manager returns.
    """

    inside: Inside
    ruleset: str | None = None
    ruleset_why: str | None = None
    cut: bool = False


async def look_inside(aws: Aws, instance_id: str, region: str, *, limit_s: float = LIMIT_S) -> SsmLook:
    """Ask a host by Systems Manager what listens on it and which firewall rules it has.

    Args:
        aws: its options must allow it.
        instance_id: the instance.
        region: where it is.
        limit_s: seconds for sending, running and fetching; the script itself ends by its own limit.

    Returns:
        What it said; every failure is a reason in it, nothing is raised but the cancellation of the caller.
    """
    if not aws.options.enabled or not aws.options.allow_ssm:
        return _nothing("Systems Manager is not asked: aws.allow_ssm is false; set it to true")
    try:
        answer = await _run(aws, instance_id, region, boot_s() + limit_s)
    except CloudError as error:
        return _nothing(error.reason)
    status = str(answer.get("Status", ""))
    output = str(answer.get("StandardOutputContent") or "")
    if status != "Success" and not output:
        detail = clean(str(answer.get("StatusDetails") or status))
        return _nothing(f"the script did not run on {instance_id}: {detail}; look at the instance's SSM agent")
    return parse(output)


def parse(output: str) -> SsmLook:
    """Take the script's output apart."""
    cut = len(output) >= OUTPUT_CHARS
    head, has_nft, ruleset = output.partition(f"{_NFT}\n")
    marker, _, listing = head.partition("\n")
    reader = {_SS: from_ss, _PROC: from_proc}.get(marker.strip())
    listeners, why = None, None
    if reader is None:
        why = "the script's output is not what it prints; it cannot be read"
    elif cut and not has_nft:
        why = f"the list of listening ports is longer than the {OUTPUT_CHARS} characters Systems Manager returns"
    else:
        listeners = reader(listing)
    rules, rules_why = _ruleset(ruleset if has_nft else None, cut=cut)
    return SsmLook(
        inside=_inside(listeners=listeners, listeners_why=why), ruleset=rules, ruleset_why=rules_why, cut=cut
    )


def _ruleset(text: str | None, *, cut: bool) -> tuple[str | None, str | None]:
    if text is None:
        return None, "the output was cut before the firewall rules" if cut else "the firewall rules were not printed"
    if text.startswith("nft: not installed"):
        return None, "nft is not installed on the host"
    lines = "\n".join(clean(line) for line in text.splitlines())
    return lines, f"cut at {OUTPUT_CHARS} characters: there are more rules" if cut else None


async def _run(aws: Aws, instance_id: str, region: str, deadline_s: float) -> Record:
    """Send the script and wait for its end.

    Raises:
        CloudError: it could not be sent, or did not end in time.
    """
    sent = await aws.clients.ask(
        SSM_SEND,
        region,
        deadline_s,
        InstanceIds=[instance_id],
        DocumentName=_DOCUMENT,
        Comment="quarterdeck: listening ports and firewall rules (reads only)",
        TimeoutSeconds=_DELIVER_S,
        Parameters={"commands": list(SCRIPT), "executionTimeout": [_RUN_S]},
    )
    command_id = str(sent[0]["Command"]["CommandId"])
    wait_s = _FIRST_WAIT_S
    # the last question is put early enough to be answered: then it is the script that is late, not AWS
    while boot_s() < deadline_s - _ANSWER_S:
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 1.5, _LONGEST_WAIT_S)
        # until the invocation is known, the answer is empty: it follows the command by some seconds
        found = await aws.clients.ask(SSM_RESULT, region, deadline_s, CommandId=command_id, InstanceId=instance_id)
        if found and found[0].get("Status") not in _WAITING:
            return found[0]
    raise CloudError(
        f"the script sent to {instance_id} by Systems Manager did not end in time",
        next_step="look at the instance's SSM agent: it may not reach AWS",
    )


def _nothing(why: str) -> SsmLook:
    return SsmLook(inside=_inside(listeners=None, listeners_why=why), ruleset_why=why)


def _inside(**listeners: Any) -> Inside:
    return Inside(source="ssm", at_wall_s=wall_s(), sshd_why="not asked by Systems Manager", **listeners)
