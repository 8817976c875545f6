"""Severity by rule: sev1 everything dead or a GPU gone, sev2 partial, sev3 one service; unknown when in doubt."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from probes.evidence import KeyCheck, Opening, PortProbe
from probes.judge.diagnosis import Level, Outcome, Severity, Verdict
from probes.judge.triage_case import HTTP_KINDS, is_own, ssh_opening, tls_fine
from probes.model import Health, PortState, ServiceKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.judge.triage_case import Case


class End(Enum):
    """How one service ended for whoever wants to use it."""

    WORKS = "works"
    FAILS = "fails"
    UNKNOWN = "not known"


def severity(case: Case, verdicts: Sequence[Verdict]) -> Severity:
    """The level and the rule that gave it. A GPU that is gone is sev1 whatever the ports say."""
    if case.evidence.gpus_lost:
        return Severity(Level.SEV1, f"GPU gone: {', '.join(case.evidence.gpus_lost)}")
    if case.stopped_by_us:
        return Severity(Level.UNKNOWN, "cannot tell: our own way out fails")
    if not case.ports:
        return Severity(Level.UNKNOWN, "cannot tell: no service was probed")
    ends = [(port.service.name, service_end(case, port, verdicts)) for port in case.ports]
    dead = [name for name, end in ends if end is End.FAILS]
    unknown = [name for name, end in ends if end is End.UNKNOWN]
    return _failing(dead, unknown, len(ends)) if dead else _answering(unknown, len(ends), verdicts)


def _failing(dead: list[str], unknown: list[str], total: int) -> Severity:
    rest = f"; not known: {', '.join(unknown)}" if unknown else ""
    which = f"{len(dead)} of {total} services fail{'s' if len(dead) == 1 else ''} ({', '.join(dead)}){rest}"
    if len(dead) == total:
        return Severity(Level.SEV1, f"everything dead: {which}")
    if len(dead) > 1:
        return Severity(Level.SEV2, f"partial: {which}")
    return Severity(Level.SEV3, f"one service: {which}")


def _answering(unknown: list[str], total: int, verdicts: Sequence[Verdict]) -> Severity:
    if unknown:
        return Severity(Level.UNKNOWN, f"cannot tell: not known: {', '.join(unknown)}")
    wrong = [one for one in verdicts if one.outcome is Outcome.BLOCK]
    if wrong:
        return Severity(Level.UNKNOWN, f"every service answers, yet row {wrong[0].row}: {wrong[0].statement}")
    return Severity(Level.NONE, f"nothing blocked: {total} of {total} services work")


def service_end(case: Case, port: PortProbe, verdicts: Sequence[Verdict]) -> End:
    """Works, fails, or not known: a service that was not asked is not known to work."""
    if port.state is PortState.NOT_PROBED or is_own(port):
        return End.UNKNOWN
    named = any(one.service == port.service.name and one.outcome is Outcome.BLOCK for one in verdicts)
    if port.state is not PortState.OPEN or named:
        return End.FAILS
    if port.service.kind is ServiceKind.SSH:
        return _ssh_end(case, port)
    if port.service.kind in HTTP_KINDS:
        return End.WORKS if port.http is not None and port.http.health is Health.OK else End.UNKNOWN
    if port.service.tls:
        return End.WORKS if tls_fine(port) else End.UNKNOWN
    return End.WORKS


def _ssh_end(case: Case, port: PortProbe) -> End:
    ssh = port.ssh
    if ssh is not None and ssh.kex_stalled:
        return End.FAILS
    if case.live:
        return End.WORKS
    if ssh is not None and ssh.host_key is KeyCheck.CHANGED:
        return End.FAILS
    return End.WORKS if ssh_opening(port) is Opening.BANNER else End.UNKNOWN
