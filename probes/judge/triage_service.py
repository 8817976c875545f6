"""Rows 21 to 24 and 26: the port is open, and what speaks there is silent, closes, stalls, fails or is a stranger."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from probes.evidence import KeyCheck, Opening, PortProbe
from probes.inventory.targets import known_name
from probes.judge.diagnosis import Action, Confidence, Outcome, Verdict
from probes.judge.triage_case import banner_changed, ssh_opening, stranger, tls_fine
from probes.judge.triage_commands import actions, aws, command
from probes.judge.triage_inside import console_output, layer_of, look_inside, service_lines
from probes.judge.triage_words import fact, label, millis
from probes.model import Health, PortState, ServiceKind

if TYPE_CHECKING:
    from probes.judge.triage_case import Case

#: a segment above this is still at full size: nobody has told TCP to send smaller ones (the probing size is 1024)
_STUCK_ABOVE_BYTES: Final = 1024
_CLOSED: Final = (Opening.CLOSED,)
_NO_BANNER: Final = (Opening.SILENT, Opening.CLOSED)
_NAMED_KINDS: Final = (ServiceKind.SSH,)
#: what OpenSSH writes before it closes: too many connections that have not logged in, or a penalty for our address
_TURNED_AWAY: Final = ("Exceeded MaxStartups", "Not allowed at this time")


def _open(case: Case) -> tuple[PortProbe, ...]:
    return tuple(port for port in case.ports if port.state is PortState.OPEN)


def row_21(case: Case) -> list[Verdict]:
    """Open, then end of stream without a byte."""
    return [
        Verdict(
            row=21,
            layer=layer_of(port),
            service=port.service.name,
            outcome=Outcome.BLOCK,
            statement=(
                f"a proxy accepts for a dead container, or the process is wedged: {label(port)} opens, then closes "
                "without a byte"
            ),
            evidence=(fact(port), "then the end of the stream, no byte came"),
            next_actions=look_inside(
                case, f"containers, and the log of {port.service.name}", "docker ps -a", service_lines(port)[0]
            ),
        )
        for port in _open(case)
        if port.service.kind not in _NAMED_KINDS and port.opening in _CLOSED
    ]


def row_22(case: Case) -> list[Verdict]:
    """SSH open, no banner: sshd or the host is wedged, or MaxStartups drops us."""
    found: list[Verdict] = []
    for port in _open(case):
        if port.service.kind is not ServiceKind.SSH or not (ssh_opening(port) in _NO_BANNER or _turned_away(port)):
            continue
        closed = ssh_opening(port) is Opening.CLOSED
        how = "says so" if _turned_away(port) else "closes without one" if closed else "stays silent"
        found.append(
            Verdict(
                row=22,
                layer="ssh",
                service=port.service.name,
                outcome=Outcome.BLOCK,
                statement=f"sshd or the host is wedged, or MaxStartups is reached: {label(port)} is open and {how}",
                evidence=(
                    fact(port),
                    f"no SSH banner came: {port.detail}" if _turned_away(port) else "no SSH banner came",
                ),
                next_actions=_wedged(case, port),
            )
        )
    return found


def _turned_away(port: PortProbe) -> bool:
    """Whether sshd itself said, in the place of its banner, that it takes no more connections (of ours)."""
    return ssh_opening(port) is Opening.GARBAGE and any(words in port.detail for words in _TURNED_AWAY)


def _wedged(case: Case, port: PortProbe) -> tuple[Action, ...]:
    line = command("ssh-keyscan -T 10 -p {port} {x}", port=port.service.port, x=port.address)
    again = Action("ask again, with a longer limit", line) if port.via is None else None
    instance = case.aws.instance if case.aws is not None else None
    if instance is None:
        return actions(again)
    status = aws("ec2 describe-instance-status --instance-ids {id}", case.region, id=instance.instance_id)
    return actions(
        Action("look at the status checks", status),
        Action("read the console", console_output(case)),
        again,
    )


def row_23(case: Case) -> list[Verdict]:
    """Banner fine, the key exchange stalls, retransmits rise and the segment size is stuck: a path-MTU black hole."""
    found: list[Verdict] = []
    for port in _open(case):
        ssh, path = port.ssh, port.path_mtu
        if ssh is None or ssh.opening is not Opening.BANNER or not ssh.kex_stalled or path is None:
            continue
        if path.retransmits < 1 or path.snd_mss_bytes <= _STUCK_ABOVE_BYTES:
            continue
        pmtu = "not known" if path.pmtu_bytes is None else f"{path.pmtu_bytes} bytes"
        found.append(
            Verdict(
                row=23,
                layer="ssh",
                service=port.service.name,
                outcome=Outcome.BLOCK,
                confidence=Confidence.HIGH,
                statement=f"path-MTU black hole: the banner of {label(port)} came, then full-size segments get lost",
                evidence=(
                    fact(port),
                    f"banner after {millis(ssh.banner_ms)}, then the key exchange stalled",
                    f"{path.retransmits} retransmits, path MTU {pmtu}",
                    f"segment size stuck at {path.snd_mss_bytes} bytes",
                ),
                next_actions=_smaller(case, port),
            )
        )
    return found


def _smaller(case: Case, port: PortProbe) -> tuple[Action, ...]:
    aws_facts = case.aws
    groups = aws_facts.interface.group_ids if aws_facts is not None and aws_facts.interface is not None else ()
    mine = aws_facts.my_address if aws_facts is not None else None
    allow = None
    if groups and mine and ":" not in mine:
        permission = f"IpProtocol=icmp,FromPort=3,ToPort=4,IpRanges=[{{CidrIp={mine}/32}}]"
        template = "ec2 authorize-security-group-ingress --group-id {group} --ip-permissions {permission}"
        allow = aws(template, case.region, group=groups[0], permission=permission)
    return actions(
        Action("show where the path narrows", command("tracepath -n {x}", x=port.address)),
        Action("allow ICMP 3/4 (fragmentation needed) towards both ends", allow),
        Action(
            "or lower the MTU: let this machine's TCP find the size by itself",
            "sudo sysctl -w net.ipv4.tcp_mtu_probing=1",
        ),
    )


class _Difference(Struct, frozen=True):
    """What was presented, and what is on file."""

    layer: str
    what: str
    shown: str
    known: str


def row_24(case: Case) -> list[Verdict]:
    """Host key, banner or certificate is not the pinned one: not your host."""
    if not stranger(case):
        return []
    found = [_not_yours(case, port, differs) for port in _open(case) if (differs := _differs(port)) is not None]
    if found:
        return found
    link = case.evidence.link
    cause = (link.cause if link is not None else None) or "the host key has changed"
    return [_stop(case, Verdict(row=24, layer="ssh", outcome=Outcome.BLOCK, statement=cause, evidence=(cause,)))]


def _differs(port: PortProbe) -> _Difference | None:
    ssh, tls = port.ssh, port.tls
    if ssh is not None and ssh.host_key is KeyCheck.CHANGED:
        return _Difference("ssh", "host key", ssh.fingerprint or "not read", ssh.known_fingerprint or "not read")
    if ssh is not None and banner_changed(port):
        return _Difference("ssh", "banner", ssh.banner, ssh.known_banner or "")
    if tls is not None and tls.pin is KeyCheck.CHANGED:
        return _Difference("tls", "certificate", tls.fingerprint or "not read", tls.known_fingerprint or "not read")
    return None


def _not_yours(case: Case, port: PortProbe, differs: _Difference) -> Verdict:
    name = known_name(port.address, port.service.port)
    on_file = Action("show the key on file", command("ssh-keygen -F {name}", name=name))
    verdict = Verdict(
        row=24,
        layer=differs.layer,
        service=port.service.name,
        outcome=Outcome.BLOCK,
        statement=f"the {differs.what} on {label(port)} is not the one on file",
        evidence=(
            fact(port),
            f"{differs.what} presented: {differs.shown}",
            f"{differs.what} on file: {differs.known}",
        ),
        next_actions=(on_file,) if differs.layer == "ssh" else (),
    )
    return _stop(case, verdict)


def _stop(case: Case, verdict: Verdict) -> Verdict:
    """The same for every kind of difference: stop first, then compare."""
    console = console_output(case)
    compare = Action("the instance printed its own host keys at first boot: compare", console) if console else None
    stop = Action("stop, and send no credentials there", None)
    return replace(
        verdict,
        confidence=Confidence.HIGH,
        statement=f"not your host: {verdict.statement}",
        next_actions=actions(stop, *verdict.next_actions, compare),
    )


def row_26(case: Case) -> list[Verdict]:
    """TLS or HTTP fails after TCP, or something else than SSH speaks there: the service layer."""
    found: list[Verdict] = []
    for port in _open(case):
        layer = _failing_layer(port)
        if layer is None:
            continue
        found.append(
            Verdict(
                row=26,
                layer=layer,
                service=port.service.name,
                outcome=Outcome.BLOCK,
                confidence=Confidence.CERTAIN,
                statement=f"service layer: {label(port)} takes TCP, {layer.upper()} fails: {_why(port, layer)}",
                evidence=(fact(port), *_phases(port)),
                next_actions=actions(
                    # behind a jump host the service cannot be asked from here
                    Action("see the answer yourself", _see(port, layer)) if port.via is None else None,
                    *look_inside(case, f"look at {port.service.name} on the host", *service_lines(port)),
                ),
            )
        )
    return found


def _failing_layer(port: PortProbe) -> str | None:
    """Which of the layers above TCP fails on an open port; a close without a byte is row 21's or 22's."""
    if port.service.kind in _NAMED_KINDS:
        return "ssh" if ssh_opening(port) is Opening.GARBAGE and not _turned_away(port) else None
    if port.opening in _CLOSED:
        return None
    if port.tls is not None and not tls_fine(port):
        return "tls"
    return "http" if port.http is not None and port.http.health is Health.FAILING else None


def _why(port: PortProbe, layer: str) -> str:
    if layer == "ssh":
        return port.detail or "what it answers is no SSH banner"
    if layer == "tls" and port.tls is not None:
        return port.tls.verify_error or port.tls.detail or "the handshake did not end"
    http = port.http
    if http is None:
        return "no answer"
    return http.detail or (f"status {http.status}" if http.status is not None else "no answer")


def _phases(port: PortProbe) -> tuple[str, ...]:
    lines: list[str] = []
    if port.tls is not None and port.tls.took_ms is not None:
        lines.append(f"TLS handshake: {millis(port.tls.took_ms)}")
    http = port.http
    if http is not None:
        timed = [f"{name} {millis(ms)}" for name, ms in sorted(http.phases_ms.items()) if math.isfinite(ms)]
        lines += [f"phases: {', '.join(timed)}"] if timed else []
        lines += [f"status {http.status}"] if http.status is not None else []
        lines += [f"first line of the body: {http.first_line}"] if http.first_line else []
    return tuple(lines)


def _see(port: PortProbe, layer: str) -> str | None:
    if layer == "ssh":
        return command("ssh-keyscan -T 10 -p {port} {x}", port=port.service.port, x=port.address)
    scheme = "https" if port.service.tls else "http"
    host = f"[{port.address}]" if ":" in port.address else port.address
    path = port.service.path or "/"
    if not port.address or not path.startswith("/"):
        return None
    trust = " --insecure" if port.service.tls and not port.service.tls_verify else ""
    return command(f"curl -sv --max-time 10{trust} {{url}}", url=f"{scheme}://{host}:{port.service.port}{path}")
