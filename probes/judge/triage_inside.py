"""The way in for a look at the host itself: over SSH where SSH works, else Session Manager, else the console.

Never "log in over SSH" when SSH is what is dead, nor EC2 Instance Connect, which needs the same port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.judge.diagnosis import Action
from probes.judge.triage_case import HTTP_KINDS, ssh_ports, ssh_usable
from probes.judge.triage_commands import aws, command, quoted, ssh, ssm

if TYPE_CHECKING:
    from probes.evidence import PortProbe
    from probes.judge.triage_case import Case


def ssh_way(case: Case) -> tuple[int, str | None] | None:
    """The SSH port that works and the jump host before it; None when SSH is dead or not known to work."""
    usable = ssh_usable(case)
    if usable is not None:
        return usable.service.port, usable.via
    # a session lives, and no SSH port was among the probed ones: it is on ssh's own port unless somebody says otherwise
    return (22, None) if case.live and not ssh_ports(case) else None


def look_inside(case: Case, text: str, *lines: str) -> tuple[Action, ...]:
    """Run these lines on the host, by the first way that evidence says is there."""
    if case.evidence.local:
        return (Action(f"{text}, here", command("sh -c {lines}", lines="; ".join(lines))),)
    way = ssh_way(case)
    if way is not None:
        line = ssh(case.evidence.user, case.address, way[0], "; ".join(lines), way[1])
        return (Action(f"{text}, over SSH", line),)
    instance = case.aws.instance if case.aws is not None else None
    if instance is None:
        return (Action(f"{text}, from the provider's console: no other way in is known", None),)
    console = Action("read the console", console_output(case))
    if instance.has_ssm is False:
        return (console,)
    sure = "" if instance.has_ssm else ", if its agent runs there (not known)"
    line = ssm(instance.instance_id, case.region, *lines)
    return (Action(f"{text}, through Session Manager{sure}", line), console)


def console_output(case: Case) -> str | None:
    """Read the console of the instance."""
    instance = case.aws.instance if case.aws is not None else None
    if instance is None:
        return None
    template = "ec2 get-console-output --instance-id {id} --latest --output text"
    return aws(template, case.region, id=instance.instance_id)


def service_lines(port: PortProbe) -> tuple[str, str]:
    """What tells the state of one service on its host."""
    # the unit is called ssh on Debian and Ubuntu, sshd elsewhere
    unit = "ssh sshd" if port.service.kind == "ssh" else quoted(port.service.name)
    return f"systemctl status {unit}", "docker ps"


def layer_of(port: PortProbe) -> str:
    """The layer of what speaks on an open port."""
    if port.service.kind == "ssh":
        return "ssh"
    if port.service.kind in HTTP_KINDS:
        return "http"
    return "tls" if port.service.tls else "tcp"
