"""Rows 6 to 9: the state of the instance and its two status checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import Action, Confidence, Outcome, Verdict
from probes.judge.triage_commands import actions, aws, command
from probes.judge.triage_inside import console_output
from probes.judge.triage_words import at, fact
from probes.model import PortState

if TYPE_CHECKING:
    from probes.cloud.facts import Instance
    from probes.judge.triage_case import Case

_NOT_RUNNING: Final = ("stopping", "stopped", "shutting-down", "terminated")
_GONE: Final = ("shutting-down", "terminated")
#: status checks run every minute, and a boot takes some: look again after this
_LOOK_AGAIN_S: Final = 120.0


def judged_instance(case: Case) -> Instance | None:
    """The instance that rows 6 to 9 are about: the one the address leads to, else the configured one."""
    if case.aws is None:
        return None
    return case.aws.instance or case.aws.configured_instance


def row_6(case: Case) -> list[Verdict]:
    """The instance is not running."""
    instance = judged_instance(case)
    if instance is None or instance.state not in _NOT_RUNNING:
        return []
    word = "terminated" if instance.state in _GONE else "stopped"
    reason = f": {instance.state_reason}" if instance.state_reason else ", AWS gives no reason"
    spot = ", reclaimed by EC2 (spot)" if _reclaimed(instance) else ""
    return [
        Verdict(
            row=6,
            layer="instance",
            outcome=Outcome.BLOCK,
            confidence=Confidence.CERTAIN,
            statement=f"{word}: {instance.instance_id} is {instance.state}{spot}{reason}",
            evidence=(f"AWS: {instance.instance_id} state {instance.state}, lifecycle {_lifecycle(instance)}",),
            next_actions=_start(case, instance),
        )
    ]


def _reclaimed(instance: Instance) -> bool:
    return instance.lifecycle == "spot" and "spot" in (instance.state_reason or "").lower()


def _lifecycle(instance: Instance) -> str:
    return instance.lifecycle or "not told"


def _start(case: Case, instance: Instance) -> tuple[Action, ...]:
    if instance.state in _GONE:
        return (Action("it cannot be started again: launch a replacement, or go back to the old host", None),)
    start = aws("ec2 start-instances --instance-ids {id}", case.region, id=instance.instance_id)
    spot = " (a spot instance that EC2 stopped starts again by itself when there is capacity)"
    text = f"start it{spot if _reclaimed(instance) else ''}; without an Elastic IP it gets another public address"
    if instance.state == "stopped":
        return (Action(text, start),)
    wait = aws("ec2 wait instance-stopped --instance-ids {id}", case.region, id=instance.instance_id)
    return Action("wait until it has stopped", wait), Action(text, start)


def row_7(case: Case) -> list[Verdict]:
    """Running, and the system check is impaired: AWS's hardware."""
    instance = judged_instance(case)
    if instance is None or instance.state != "running" or instance.system_status != "impaired" or not _fails(case):
        return []
    steps = ("ec2 stop-instances", "ec2 wait instance-stopped", "ec2 start-instances")
    lines = [aws(step + " --instance-ids {id}", case.region, id=instance.instance_id) for step in steps]
    line = " && ".join(one for one in lines if one) if all(lines) else None
    text = "stop and start it, which moves it to other hardware (a reboot does not); without an Elastic IP its public "
    return [
        Verdict(
            row=7,
            layer="instance",
            outcome=Outcome.BLOCK,
            confidence=Confidence.HIGH,
            statement=f"AWS hardware: {instance.instance_id} runs, its system status check is impaired",
            evidence=(_checks(instance),),
            next_actions=(Action(f"{text}address changes", line),),
        )
    ]


def row_8(case: Case) -> list[Verdict]:
    """Running, the instance check is impaired and the ports are silent: the OS hangs, at boot or in its network."""
    instance = judged_instance(case)
    if instance is None or instance.state != "running" or instance.instance_status != "impaired":
        return []
    if instance.system_status == "impaired" or not case.all_silent:
        return []
    return [
        Verdict(
            row=8,
            layer="instance",
            outcome=Outcome.BLOCK,
            confidence=Confidence.HIGH,
            statement=f"OS hung, boot or network: {instance.instance_id} runs, its instance status check is impaired",
            evidence=(_checks(instance), *map(fact, case.silent)),
            next_actions=(Action("read the console for where it hangs", console_output(case)),),
        )
    ]


def row_9(case: Case) -> list[Verdict]:
    """Initializing: too early to tell."""
    instance = judged_instance(case)
    if instance is None or not is_young(instance) or case.host_answers or not _fails(case):
        return []
    wait = aws("ec2 wait instance-status-ok --instance-ids {id}", case.region, id=instance.instance_id)
    again = command("quarterdeck diagnose {host}", host=case.evidence.host_id)
    when = at(case.evidence.taken_at_wall_s + _LOOK_AGAIN_S)
    return [
        Verdict(
            row=9,
            layer="instance",
            outcome=Outcome.UNKNOWN,
            statement=f"too early: {instance.instance_id} is still initializing; look again at {when}",
            evidence=(_checks(instance), f"launched {instance.launched_at or 'at a time that AWS did not tell'}"),
            next_actions=actions(
                Action("wait for its status checks", wait), Action("retry", again) if again is not None else None
            ),
        )
    ]


def is_young(instance: Instance) -> bool:
    """Whether it is still starting."""
    if instance.state == "pending":
        return True
    return instance.state == "running" and "initializing" in (instance.system_status, instance.instance_status)


def _fails(case: Case) -> bool:
    """Whether any probed port does not answer: an impaired check alone is a contradiction, not a block."""
    return any(port.state not in (PortState.OPEN, PortState.NOT_PROBED) for port in case.direct)


def _checks(instance: Instance) -> str:
    system, own = instance.system_status or "not reported", instance.instance_status or "not reported"
    return f"AWS: {instance.instance_id} {instance.state}, system check {system}, instance check {own}"
