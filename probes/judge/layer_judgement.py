"""What an evaluator of AWS facts answers: one layer's outcome, why, and what matched. No boto3, no I/O."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from probes.judge.diagnosis import Outcome  # noqa: TC001 - msgspec resolves field types when it decodes


class Cause(StrEnum):
    """Why a layer ended as it did, as a word that code can compare; the sentence is ``LayerJudgement.reason``.

    One cause belongs to one row of the decision table (10 to 15), or to none where nothing blocks.
    """

    ALLOWED = "allowed"
    FACTS_MISSING = "facts_missing"
    SOURCE_UNKNOWN = "source_unknown"
    PREFIX_LIST_UNREAD = "prefix_list_unread"
    # security groups
    NO_RULE = "no_rule"
    GROUP_REFERENCE_ONLY = "group_reference_only"
    GROUP_REFERENCE_MAYBE = "group_reference_maybe"
    # network ACL
    INGRESS_DENY = "ingress_deny"
    EGRESS_DENY = "egress_deny"
    EGRESS_PARTLY_DENIED = "egress_partly_denied"
    # route
    NO_ROUTE = "no_route"
    BLACKHOLE = "blackhole"
    NO_INTERNET_GATEWAY = "no_internet_gateway"
    MORE_SPECIFIC_ROUTE = "more_specific_route"
    APPLIANCE = "appliance"
    AMBIGUOUS = "ambiguous"
    # VPC block public access
    PUBLIC_ACCESS_BLOCKED = "public_access_blocked"


class LayerJudgement(Struct, frozen=True, kw_only=True):
    """One layer of AWS for one port.

    Args:
        layer: ``security_group``, ``nacl`` or ``route``, as in the JSON's ``layers``.
        outcome: pass, block, or unknown; what could not be read is never pass.
        cause: the same as a word.
        reason: one sentence; for unknown with the next step.
        matched: ids of what decided: security group rules, "acl-1 rule 100 ingress", a route's destination.
        allowed_from: the CIDRs that are let in, where that is not everybody.
        refused_from: instead of it where that is the shorter list: everybody but these is let in.
        missing_rule: the rule whose absence blocks, in words.
        command: the least change that would mend it, to be pasted; None where that is not one command.
    """

    layer: str
    outcome: Outcome
    cause: Cause
    reason: str
    matched: tuple[str, ...] = ()
    allowed_from: tuple[str, ...] = ()
    refused_from: tuple[str, ...] = ()
    missing_rule: str | None = None
    command: str | None = None
