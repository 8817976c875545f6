"""Row 29: silence that nothing explains. Says what is ruled out, what is still possible, and the one check to make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import Action, Cause, Outcome, Verdict
from probes.judge.triage_causes import POSSIBLE, RULED_OUT
from probes.judge.triage_discriminator import unexplained
from probes.judge.triage_words import fact, numbers
from probes.model import PortState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.judge.triage_case import Case

#: why a cause is ruled out, in the few words of the verdict; other causes need no more than their name
_SHORT: Final = {
    "egress": "your egress (control fine)",
    "service": "a plain service failure (a live unfiltered host would send RST)",
}


def row_29(case: Case, found: Sequence[Verdict], causes: Sequence[Cause], check: Action | None) -> list[Verdict]:
    """Everything silent (or these ports), and neither AWS nor the host says why: cannot tell."""
    names = set(unexplained(case, found))
    ports = [port for port in case.ports if port.state is PortState.FILTERED and port.service.name in names]
    if not ports or case.stopped_by_us or any(one.row == 9 for one in found):
        return []
    partly = len(ports) < len([port for port in case.ports if port.state is not PortState.NOT_PROBED])
    which = f" on {numbers(ports)}" if partly else ""
    ruled_out = [_short(one, case) for one in causes if one.state == RULED_OUT]
    possible = [one.text for one in causes if one.state == POSSIBLE]
    return [
        Verdict(
            row=29,
            layer="tcp",
            outcome=Outcome.UNKNOWN,
            statement=" ".join(
                part
                for part in (
                    f"Silent drop{which}.",
                    f"Ruled out: {'; '.join(ruled_out)}." if ruled_out else "Ruled out: nothing.",
                    f"Still possible: {', '.join(possible)}." if possible else "",
                    icmp_words(case),
                    check_words(check),
                )
                if part
            ),
            evidence=tuple(fact(port) for port in ports),
            next_actions=(check,) if check is not None else (),
        )
    ]


def icmp_words(case: Case) -> str:
    """What ICMP adds; no reply never means down."""
    echo = case.evidence.echo
    if echo is None or echo.outcome not in ("reply", "no_reply"):
        return "ICMP was not measured."
    if echo.outcome == "reply":
        return "ICMP echo is answered: something lives at that address."
    return "ICMP says nothing (default groups allow none)."


def check_words(check: Action | None) -> str:
    """The cheapest check, as the sentence's end."""
    if check is None or check.command is None:
        return ""
    return f"Cheapest discriminator: `{check.command}` ({check.text})."


def _short(cause: Cause, case: Case) -> str:
    if cause.name == "egress" and case.host_answers:
        return f"{cause.text} (the host answers)"
    return _SHORT.get(cause.name, cause.text)
