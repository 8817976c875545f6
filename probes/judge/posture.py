"""The security audit of one host: B1 world-open rules, B2 SSH, B3 IMDS, B4 open and unneeded, B6 nothing by default.

Pure. A host that lets everybody in on purpose still fails the line: what follows from that is the reader's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.posture_imds import imds_lines
from probes.judge.posture_ports import port_lines
from probes.judge.posture_ssh import ssh_lines
from probes.judge.posture_types import Checked, Exposure, Posture, PostureLine
from probes.judge.posture_world import world_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.evidence import Evidence

_ORDER: Final = tuple(Exposure)


def audit(evidence: Evidence) -> Posture:
    """Every line, the failed ones first and among them the worst; nothing passes without evidence.

    Args:
        evidence: the same that triage uses: AWS facts, the host's own view, and the ports as seen from here.
    """
    ports = tuple(sorted(evidence.ports, key=lambda port: (port.service.port, port.service.name, repr(port))))
    lines = [
        *world_lines(evidence.aws, ports),
        *ssh_lines(evidence.inside, evidence.inside_why, ports),
        *imds_lines(evidence.aws),
        *port_lines(evidence.inside, evidence.inside_why, evidence.aws, ports),
    ]
    lines.sort(key=_rank)
    return Posture(
        host=evidence.host_id,
        taken_at_wall_s=evidence.taken_at_wall_s,
        lines=tuple(lines),
        summary=_summary(lines),
    )


def _rank(line: PostureLine) -> tuple[int, int, str, str]:
    outcome = (Checked.FAIL, Checked.NOT_CHECKED, Checked.PASS).index(line.outcome)
    return outcome, _ORDER.index(line.exposure) if line.exposure is not None else len(_ORDER), line.check, line.subject


def _summary(lines: Sequence[PostureLine]) -> str:
    """Counts, and never a word like "secure"."""
    failed = [line for line in lines if line.outcome is Checked.FAIL]
    missed = [line for line in lines if line.outcome is Checked.NOT_CHECKED]
    good = len(lines) - len(failed) - len(missed)
    if not failed and not good:
        return f"nothing was checked: all {len(missed)} lines lack their facts; this says nothing of security"
    worst = min((_ORDER.index(line.exposure) for line in failed if line.exposure is not None), default=None)
    of = f", the worst {_ORDER[worst].value}" if worst is not None else ""
    return f"{len(failed)} failed{of}; {good} passed; {len(missed)} not checked"
