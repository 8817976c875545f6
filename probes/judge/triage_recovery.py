"""The four ways back, ranked: console, Session Manager, a security-group rule for one address, the old host.

What is possible follows from the evidence; what is not known is said to be unknown and counts half. Minutes and risk
are estimates and are called so. Logging in over SSH is never an option here: it is what is dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import Outcome, Recovery, Verdict
from probes.judge.triage_address import in_aws
from probes.judge.triage_case import HTTP_KINDS
from probes.judge.triage_commands import aws
from probes.judge.triage_inside import console_output
from probes.judge.triage_instance import judged_instance
from probes.model import PortState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.judge.diagnosis import LayerState
    from probes.judge.triage_case import Case

FORMULA: Final = (
    "score = success x (1 - risk) / time_min; success is possible (yes 1, unknown 0.5, no 0) x fit (mends or shows the "
    "cause found 1, cause not known 0.5, another cause found 0.25); risk and time_min are estimates"
)
YES, NO, UNKNOWN = "yes", "no", "unknown"
_POSSIBLE: Final = {YES: 1.0, UNKNOWN: 0.5, NO: 0.0}
#: (risk, minutes): reading changes nothing; a rule opens one port to one address; a move of the service touches all
_ESTIMATES: Final = {
    "console": (0.05, 5.0),
    "session_manager": (0.05, 3.0),
    "security_group_fix": (0.1, 2.0),
    "rollback": (0.3, 15.0),
}
#: rows whose cause an option mends, or can be seen and mended through it
_FITS: Final = {
    "console": frozenset({6, 7, 8, 16, 17, 19, 22, 28}),
    "session_manager": frozenset({16, 17, 18, 19, 21, 22, 26, 27, 28}),
    "security_group_fix": frozenset({10, 11, 25}),
    "rollback": frozenset({4, 5, 6, 7, 8, 17}),
}


def recovery(case: Case, verdicts: Sequence[Verdict], ends: dict[str, LayerState]) -> tuple[Recovery, ...]:
    """The options, the best first; none where nothing fails, or where the fault is on our own side.

    Three of the four are AWS's: they are left out for a host that nothing says is there. So is sending traffic back
    where none of the services takes any.
    """
    rows = {one.row for one in verdicts if one.outcome is Outcome.BLOCK}
    fails = any(port.state not in (PortState.OPEN, PortState.NOT_PROBED) for port in case.ports)
    if case.stopped_by_us or 24 in rows or not (rows or fails):
        return ()
    options: list[Recovery] = []
    if in_aws(case) or _serves(case):
        options.append(_option("rollback", rows, _rollback(case)))
    if in_aws(case):
        options += [
            _option("session_manager", rows, _session_manager(case)),
            _option("security_group_fix", rows, _group_fix(verdicts, ends)),
            _option("console", rows, _console(case)),
        ]
    return tuple(sorted(options, key=lambda one: (-(one.score or 0.0), one.option)))


def _option(name: str, rows: set[int], told: tuple[str, str, str | None, str]) -> Recovery:
    text, possible, line, reason = told
    risk, minutes = _ESTIMATES[name]
    causes = rows - {28, 29}
    fit = 1.0 if rows & _FITS[name] else 0.25 if causes else 0.5
    success = _POSSIBLE[possible] * fit
    return Recovery(
        option=name,
        text=text,
        command=line,
        possible=possible,
        reason=reason,
        success=success,
        risk=risk,
        time_min=minutes,
        score=None if possible == NO else round(success * (1 - risk) / minutes, 4),
    )


def _session_manager(case: Case) -> tuple[str, str, str | None, str]:
    text = "Session Manager: a shell without any open port"
    instance = judged_instance(case)
    if instance is None:
        return text, UNKNOWN, None, "AWS did not tell of an instance"
    line = aws("ssm start-session --target {id}", case.region, id=instance.instance_id)
    if instance.state != "running":
        return text, NO, None, f"{instance.instance_id} is {instance.state}"
    if instance.has_ssm is None:
        profile = "" if instance.profile_arn else "; it has no instance profile, which the agent usually needs"
        return text, UNKNOWN, line, f"whether the agent of {instance.instance_id} is registered was not told{profile}"
    if not instance.has_ssm:
        return text, NO, None, f"no agent of {instance.instance_id} is registered"
    return text, YES, line, f"the agent of {instance.instance_id} is registered"


def _console(case: Case) -> tuple[str, str, str | None, str]:
    text = "console: read what the instance printed, then EC2's serial console (needs a password on the host)"
    instance = judged_instance(case)
    if instance is None:
        return text, UNKNOWN, None, "AWS did not tell of an instance"
    if instance.state in ("terminated", "shutting-down"):
        return text, NO, None, f"{instance.instance_id} is {instance.state}"
    line = console_output(case) or aws(
        "ec2 get-console-output --instance-id {id} --latest --output text", case.region, id=instance.instance_id
    )
    return text, YES, line, f"{instance.instance_id} is {instance.state}: its output can be read"


def _group_fix(verdicts: Sequence[Verdict], ends: dict[str, LayerState]) -> tuple[str, str, str | None, str]:
    text = "security-group fix: allow one port to my own address"
    missing = next((one for one in verdicts if one.row in (10, 11)), None)
    if missing is not None:
        line = next((one.command for one in missing.next_actions if one.command), None)
        if line is None or "authorize-security-group-ingress" not in line:
            return text, UNKNOWN, None, "the rule is missing; my own address as AWS sees it is not known"
        return text, YES, line, missing.statement
    end = ends["security_group"]
    if end.outcome is Outcome.PASS:
        return text, NO, None, f"the security groups let us in: {end.reason}"
    return text, UNKNOWN, None, end.reason


def _serves(case: Case) -> bool:
    """Whether a service among the ports takes traffic that could be sent elsewhere."""
    return any(port.service.kind in HTTP_KINDS for port in case.ports)


def _rollback(case: Case) -> tuple[str, str, str | None, str]:
    text = "rollback: send the traffic back to the old host"
    if not _serves(case):
        return text, UNKNOWN, None, "no service among the probed ports that traffic could be sent back for"
    return text, UNKNOWN, None, "whether an old host still runs is not in the evidence"
