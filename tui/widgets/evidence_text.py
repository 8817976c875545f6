"""The evidence of a triage as rows: ports, names, echo, controls, our session, AWS, the inside view, notes.

What has not arrived is awaited; what was not gathered says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.evidence import KeyCheck, Opening
from probes.model import Health, PortState
from tui.format import duration_text
from tui.glyphs import WORDS
from tui.widgets.aws_text import aws_rows
from tui.widgets.folded import cell, folded, tidy
from tui.widgets.lines import clip, rule
from tui.widgets.link_header import link_style
from tui.widgets.service_list import SHORT_WORDS, connect_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.evidence import ControlProbe, Echo, Evidence, Inside, LiveLink, Names, PortProbe
    from tui.glyphs import Glyphs
    from tui.inquiry import Inquiry
    from tui.widgets.lines import Row, Span

LABEL: Final = 10
_OPENINGS: Final = {
    Opening.SILENT: "open, and then silent",
    Opening.CLOSED: "open, then closed without a byte",
    Opening.GARBAGE: "answers, but not in its protocol",
}
_KEYS: Final = {
    KeyCheck.MATCH: ("is the one on file", "good"),
    KeyCheck.CHANGED: ("IS NOT THE ONE ON FILE", "bad"),
    KeyCheck.UNKNOWN: ("none is on file", "unknown"),
}
_ECHO: Final = {
    "reply": ("reply", "good"),
    "no_reply": ("no reply", "text"),
    "not_measured": ("not measured", "unknown"),
}


def fact(label: str, text: str, width: int, style: str = "text") -> list[Row]:
    """A line with its name."""
    return folded(text, width, style, head=[(f" {cell(label, LABEL)} ", "muted")])


def evidence_rows(inquiry: Inquiry, host_id: str, glyphs: Glyphs, width: int) -> list[Row]:
    """All parts, one after the other."""
    evidence = inquiry.evidence.get(host_id)
    awaited = inquiry.awaited(host_id)
    if evidence is None and not inquiry.running:
        return folded(inquiry.failure or "no evidence came for this host", width, "muted", head=[(" ", "muted")])
    rows = _ports(inquiry, host_id, evidence, glyphs, width)
    rows += [(), rule([(" network ", "strong")], width, glyphs)]
    if evidence is None:
        return [*rows, *folded("awaiting the first answer", width, "accent", head=[(f" {glyphs.ellipsis} ", "accent")])]
    for part, label in (("names", "names"), ("echo", "echo"), ("controls", "control")):
        found = getattr(evidence, part)
        if found:
            rows += {"names": _names, "echo": _echo, "controls": _controls}[part](evidence, width)
        else:
            rows += _absent(label, part in awaited, "not gathered", width)
    rows += _link(evidence.link, width)
    rows += [(), rule([(" AWS ", "strong")], width, glyphs)]
    if evidence.aws is None:
        why = next((note for note in evidence.notes if note.startswith("AWS")), "was not asked")
        rows += _absent("AWS", "aws" in awaited, why, width)
    else:
        rows += aws_rows(evidence.aws, width)
    rows += [(), rule([(" inside view ", "strong")], width, glyphs)]
    if evidence.inside is None:
        rows += _absent("inside", "inside" in awaited, evidence.inside_why, width)
    else:
        rows += _inside(evidence.inside, evidence.taken_at_wall_s, width)
    if evidence.notes:
        rows += [(), rule([(" notes ", "strong")], width, glyphs)]
        for note in evidence.notes:
            rows += folded(note, width, "text", head=[(" - ", "muted")])
    return rows


def _absent(label: str, awaited: bool, why: str, width: int) -> list[Row]:  # noqa: FBT001 - the one thing it is about
    return fact(label, "awaited" if awaited else why, width, "accent" if awaited else "unknown")


# --- ports ---


def _ports(inquiry: Inquiry, host_id: str, evidence: Evidence | None, glyphs: Glyphs, width: int) -> list[Row]:
    ports = () if evidence is None else evidence.ports
    opened = sum(one.state is PortState.OPEN for one in ports)
    rows = [rule([(" ports ", "strong"), (f"{opened} of {len(ports)} open ", "muted")], width, glyphs)]
    for port in ports:
        rows += port_rows(port, glyphs, width)
    rows += _hops_why(ports, width)
    there = {port.service.name for port in ports}
    for service in inquiry.services(host_id):
        if service.name not in there:
            words, style = ("awaited", "accent") if inquiry.running else ("not probed", "unknown")
            sign = glyphs.ellipsis if inquiry.running else glyphs.not_probed
            rows.append(clip([*_port_head(sign, style, service.port, service.name), (words, style)], width))
    if not ports and not inquiry.services(host_id):
        rows += folded("no port is configured", width, "unknown", head=[(" ", "muted")])
    return rows


def _hops_why(ports: Sequence[PortProbe], width: int) -> list[Row]:
    """Why the way to silent ports was not stepped, each reason once."""
    reasons: dict[str, list[str]] = {}
    for port in ports:
        if port.state is PortState.FILTERED and not port.hops:
            reasons.setdefault(port.hops_why, []).append(str(port.service.port))
    rows: list[Row] = []
    for why, numbers in reasons.items():
        rows += folded(f"hops to {', '.join(numbers)}: {why}", width, "muted", head=[(" " * 10, "text")])
    return rows


def _port_head(sign: str, style: str, port: int, name: str) -> list[Span]:
    return [(f" {sign} ", style), (f"{port:>5} ", "text"), (f"{cell(name, 12)} ", "text")]


def port_rows(port: PortProbe, glyphs: Glyphs, width: int) -> list[Row]:
    """One port: sign, number, name, state, time; below it what more is known."""
    failing = port.http is not None and port.http.health is Health.FAILING
    good = port.state is PortState.OPEN and not failing and port.opening not in _OPENINGS
    style = "good" if good else "unknown" if port.state is PortState.NOT_PROBED else "bad"
    sign = {PortState.OPEN: glyphs.open if good else glyphs.failing, PortState.NOT_PROBED: glyphs.not_probed}
    head = _port_head(sign.get(port.state) or glyphs.ports[port.state], style, port.service.port, port.service.name)
    took = connect_text(port.elapsed_ms if port.connect_ms is None else port.connect_ms)
    head += [(f"{cell(SHORT_WORDS[port.state], 8)} ", style), (f"{took:>8}  ", "text")]
    words = [port.detail] if port.detail else []
    words += [f"via {port.via}"] if port.via else []
    rows = folded(", ".join(words), width, "muted", head=head, indent=10)
    for line, line_style in _port_facts(port):
        rows += folded(line, width, line_style, head=[(" " * 10, "text")])
    return rows


def _port_facts(port: PortProbe) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if port.icmp_type is not None:
        own = ", which is OUR OWN address" if port.offender_is_own else ""
        sender = f"from {port.offender}{own}" if port.offender else "sender not told"
        facts.append(
            (f"ICMP{'v6' if port.icmp_family == 6 else ''} {port.icmp_type}/{port.icmp_code} {sender}", "warn")
        )
    if port.opening in _OPENINGS:
        facts.append((_OPENINGS[port.opening], "bad"))
    facts += _ssh_facts(port)
    if port.tls is not None:
        tls = port.tls
        words = f"TLS {tls.version or ''} {tls.subject or ''}".rstrip() if tls.ok else f"TLS failed: {tls.detail}"
        words += f", certificate: {tls.verify_error}" if tls.verify_error else ""
        words += f", valid until {tls.not_after}" if tls.not_after else ""
        facts.append((words, "text" if tls.ok and not tls.verify_error else "warn"))
        facts += _key("certificate", tls.pin, tls.fingerprint)
    if port.http is not None:
        http = port.http
        phases = ", ".join(f"{name} {spent:.0f} ms" for name, spent in http.phases_ms.items())
        status = "no status" if http.status is None else str(http.status)
        detail = "" if http.detail.startswith(status) else f" {http.detail}"
        words = f"HTTP {http.detail if not detail and http.detail else status + detail}"
        facts.append((words + (f" ({phases})" if phases else ""), "bad" if http.health is Health.FAILING else "text"))
        if http.first_line:
            facts.append((f"says: {http.first_line}", "muted"))
    if port.path_mtu is not None:
        mtu = port.path_mtu
        path = "not known" if mtu.pmtu_bytes is None else f"{mtu.pmtu_bytes} B"
        facts.append((f"{mtu.retransmits} retransmits, segments of {mtu.snd_mss_bytes} B, path MTU {path}", "warn"))
    if port.hops:
        steps = "  ".join(f"{hop.ttl} {hop.address or 'no answer'}" for hop in port.hops)
        facts.append((f"hops: {steps}", "muted"))
    return facts


def _ssh_facts(port: PortProbe) -> list[tuple[str, str]]:
    ssh = port.ssh
    if ssh is None:
        return []
    facts = [(ssh.banner, "text")] if ssh.banner else []
    if ssh.kex_stalled:
        facts.append(("the key exchange did not finish", "bad"))
    facts += _key("host key", ssh.host_key, ssh.fingerprint)
    if ssh.auth_methods is not None:
        facts.append((f"offers: {', '.join(ssh.auth_methods) or 'nothing'}", "text"))
    if ssh.detail:
        facts.append((ssh.detail, "muted"))
    return facts


def _key(what: str, check: KeyCheck, fingerprint: str | None) -> list[tuple[str, str]]:
    if check not in _KEYS:
        return []
    words, style = _KEYS[check]
    return [(f"{what} {fingerprint or ''} {words}".replace("  ", " "), style)]


# --- around the host ---


def _names(evidence: Evidence, width: int) -> list[Row]:
    names = evidence.names
    if names is None:
        return []
    rows = fact("name", _forward(names), width, "bad" if names.error else "text")
    if names.expected:
        fine = bool(set(names.expected) & set(names.addresses))
        rows += fact("expected", ", ".join(names.expected), width, "text" if fine else "warn")
    for address, reverse in names.ptr.items():
        rows += fact("reverse", f"{address} is {', '.join(reverse) or 'without a name'}", width)
    if names.ptr_why:
        rows += fact("reverse", names.ptr_why, width, "unknown")
    for address, region in names.ptr_region.items():
        other = evidence.region is not None and region != evidence.region
        words = f"{region} by the reverse name of {address}"
        words += f", configured is {evidence.region}" if other else ""
        rows += fact("region", words, width, "warn" if other else "text")
    if not names.ptr_region and evidence.region:
        rows += fact("region", f"{evidence.region} as configured", width)
    return rows


def _forward(names: Names) -> str:
    if names.name is None:
        return "configured by address"
    if names.error:
        return f"{names.name}: {names.error}"
    return f"{names.name} is {', '.join(names.addresses) or 'without an address'}"


def _echo(evidence: Evidence, width: int) -> list[Row]:
    echo: Echo | None = evidence.echo
    if echo is None:
        return []
    words, style = _ECHO.get(echo.outcome, (echo.outcome, "unknown"))
    words += f" in {echo.rtt_ms:.1f} ms" if echo.rtt_ms is not None else ""
    words += f" ({echo.detail})" if echo.detail else ""
    words += "; that alone never means down" if echo.outcome == "no_reply" else ""
    return fact("echo", words, width, style)


def _controls(evidence: Evidence, width: int) -> list[Row]:
    rows: list[Row] = []
    for control in evidence.controls:
        fine = control.state in (PortState.OPEN, PortState.REFUSED)
        rows += fact("control", _control(control), width, "good" if fine else "warn")
    return rows


def _control(control: ControlProbe) -> str:
    took = f" in {connect_text(control.connect_ms)}" if control.connect_ms is not None else ""
    words = f"{control.target} ({control.address}:{control.port}): {SHORT_WORDS[control.state]}{took}"
    words += f", {control.detail}" if control.detail else ""
    return words + (", refused by OUR OWN address" if control.offender_is_own else "")


def _link(link: LiveLink | None, width: int) -> list[Row]:
    if link is None:
        return fact("session", "no SSH session of ours is known", width, "unknown")
    words = WORDS[link.state][0]
    words += ", established before this triage" if link.established else ""
    words += f": {link.cause}" if link.cause else ""
    return fact("session", words, width, link_style(link.state))


def _inside(inside: Inside, taken_at_wall_s: float, width: int) -> list[Row]:
    age_s = taken_at_wall_s - inside.at_wall_s
    when = f"{duration_text(abs(age_s))} {'before' if age_s >= 0 else 'after'} the probes"
    rows = fact("source", f"{inside.source}, {when}", width)
    if inside.listeners is None:
        rows += fact("listens", f"not known: {inside.listeners_why or 'no reason was given'}", width, "unknown")
    elif not inside.listeners:
        rows += fact("listens", "nothing listens on TCP", width, "warn")
    for one in inside.listeners or ():
        who = one.process if one.process is not None else "process not told"
        pid = f" (pid {one.pid})" if one.pid is not None else ""
        rows += fact("listens", f"{tidy(one.address)}:{one.port}  {who}{pid}", width)
    if inside.sshd is None:
        rows += fact("sshd", f"not known: {inside.sshd_why or 'no reason was given'}", width, "unknown")
    else:
        wanted = ("passwordauthentication", "kbdinteractiveauthentication", "permitrootlogin")
        found = [f"{name} {inside.sshd[name]}" for name in wanted if name in inside.sshd]
        rows += fact("sshd", ", ".join(found) or f"{len(inside.sshd)} settings, none about logging in", width)
    return rows
