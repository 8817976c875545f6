"""B3: the instance's metadata service: a token required, and not past the first hop. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import Action
from probes.judge.posture_types import Checked, Exposure, PostureLine, not_checked, passed
from probes.judge.triage_commands import aws as aws_command

if TYPE_CHECKING:
    from probes.cloud.facts import AwsEvidence, Instance

CHECK: Final = "B3"
_TOKEN, _HOPS = "IMDS token", "IMDS hop limit"


def imds_lines(aws: AwsEvidence | None) -> list[PostureLine]:
    """Two lines: the token, and the hop limit."""
    instance = aws.instance if aws is not None else None
    if aws is None or instance is None:
        why = "AWS was not asked"
        if aws is not None:
            why = aws.unknown.get("instance") or aws.unknown.get("credentials") or "AWS did not tell of an instance"
        return [not_checked(CHECK, _TOKEN, why), not_checked(CHECK, _HOPS, why)]
    if instance.imds_endpoint == "disabled":
        said = f"{instance.instance_id}: the metadata endpoint is disabled"
        return [passed(CHECK, _TOKEN, said), passed(CHECK, _HOPS, said)]
    return [_token(instance, aws.region), _hops(instance, aws.region)]


def _token(instance: Instance, region: str | None) -> PostureLine:
    if instance.imds_tokens is None:
        return not_checked(CHECK, _TOKEN, f"AWS did not tell the metadata options of {instance.instance_id}")
    if instance.imds_tokens == "required":
        return passed(CHECK, _TOKEN, f"{instance.instance_id}: tokens are required (IMDSv2)")
    role = bool(instance.profile_arn)
    what = "its role's credentials can be read by a forged request" if role else "it has no role whose keys could leak"
    line = "ec2 modify-instance-metadata-options --instance-id {id} --http-tokens required"
    return PostureLine(
        check=CHECK,
        subject=_TOKEN,
        outcome=Checked.FAIL,
        exposure=Exposure.HIGH if role else Exposure.LOW,
        statement=f"{instance.instance_id}: tokens are {instance.imds_tokens}; {what}",
        evidence=(f"AWS: http tokens {instance.imds_tokens}, instance profile {instance.profile_arn or 'none'}",),
        action=Action("require tokens", aws_command(line, region, id=instance.instance_id)),
    )


def _hops(instance: Instance, region: str | None) -> PostureLine:
    limit = instance.imds_hop_limit
    if limit is None:
        return not_checked(CHECK, _HOPS, f"AWS did not tell the metadata options of {instance.instance_id}")
    if limit <= 1:
        return passed(CHECK, _HOPS, f"{instance.instance_id}: hop limit {limit}")
    line = "ec2 modify-instance-metadata-options --instance-id {id} --http-put-response-hop-limit 1"
    return PostureLine(
        check=CHECK,
        subject=_HOPS,
        outcome=Checked.FAIL,
        exposure=Exposure.LOW,
        statement=f"{instance.instance_id}: hop limit {limit}: containers and whatever forwards can reach it",
        evidence=(f"AWS: http put response hop limit {limit}",),
        action=Action(
            "set it to 1, unless containers there need the role", aws_command(line, region, id=instance.instance_id)
        ),
    )
