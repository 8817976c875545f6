"""VPC Block Public Access: a switch of the whole account and region, before gateways, groups and ACLs. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from probes.judge.aws_space import source_of
from probes.judge.diagnosis import Outcome
from probes.judge.layer_judgement import Cause, LayerJudgement

if TYPE_CHECKING:
    from probes.cloud.facts import AwsEvidence

PART: Final = "public_access_block"
#: it closes the internet gateway, so it is part of the way
LAYER: Final = "route"
_judgement = partial(LayerJudgement, layer=LAYER)


def judge_public_access(evidence: AwsEvidence) -> LayerJudgement:
    """Whether VPC Block Public Access keeps us out. Without facts unknown; to a private address not applicable."""
    block = evidence.public_access_block
    if source_of(evidence).private:
        reason = "a private address is not reached through an internet gateway"
        return _judgement(outcome=Outcome.NOT_APPLICABLE, cause=Cause.ALLOWED, reason=reason)
    if block is None:
        reason = evidence.unknown.get(PART) or "VPC Block Public Access was not read"
        return _judgement(outcome=Outcome.UNKNOWN, cause=Cause.FACTS_MISSING, reason=reason)
    if block.mode == "off":
        return _judgement(outcome=Outcome.PASS, cause=Cause.ALLOWED, reason="VPC Block Public Access is off")
    if block.excluded and block.exclusion_mode == "allow-bidirectional":
        reason = f"VPC Block Public Access is {block.mode}, and an exclusion lets this subnet or VPC out of it"
        return _judgement(outcome=Outcome.PASS, cause=Cause.ALLOWED, reason=reason)
    exclusion = (
        f"its exclusion is {block.exclusion_mode}, which lets nobody in" if block.excluded else "without an exclusion"
    )
    owner = "the organization's management account" if block.managed_by == "declarative-policy" else "the account"
    reason = f"VPC Block Public Access is {block.mode}, {exclusion}; {owner} can change it"
    return _judgement(outcome=Outcome.BLOCK, cause=Cause.PUBLIC_ACCESS_BLOCKED, reason=reason)
