"""What a triage or audit screen knows: the evidence as it arrives, what is still awaited, and what came before.

No widget here. A part that is not there yet is awaited, never unknown; nothing counts as finished before the backend
has answered.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from probes.diagnose_report import REACHABLE, exit_code
from probes.judge.correlate import Judged, correlate
from probes.judge.diagnosis import LayerState, Outcome
from probes.judge.triage import diagnose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from probes.evidence import Evidence
    from probes.judge.correlate import Correlation
    from probes.judge.diagnosis import Diagnosis, Verdict
    from probes.model import Service

#: the parts of the evidence, by their field, and what they are called
PARTS: Final = {
    "ports": "ports",
    "names": "names",
    "echo": "echo",
    "controls": "controls",
    "aws": "AWS",
    "inside": "inside view",
}
#: what each layer's end waits for
_NEEDS: Final = {
    "resolve": ("names",),
    "egress": ("controls", "ports"),
    "address": ("names", "aws"),
    "instance": ("aws",),
    "security_group": ("ports", "aws"),
    "nacl": ("ports", "aws"),
    "route": ("aws",),
    "host_firewall": ("ports", "aws", "inside"),
    "tcp": ("ports",),
    "ssh": ("ports",),
    "tls": ("ports",),
    "http": ("ports",),
}
#: one answer from anywhere proves it, whatever comes later
_PROVED_BY_ANY: Final = frozenset({"egress"})
#: the reason of evidence that nobody has asked for yet
_NOT_ASKED: Final = "not asked"


@dataclass(slots=True)
class Remembered:
    """Diagnoses of this session, by host: the last good one (exit code 0) and the last of all."""

    good: dict[str, Diagnosis] = field(default_factory=dict)
    last: dict[str, Diagnosis] = field(default_factory=dict)

    def keep(self, diagnosis: Diagnosis) -> None:
        """Remember a finished diagnosis."""
        self.last[diagnosis.host] = diagnosis
        if exit_code(diagnosis) == REACHABLE:
            self.good[diagnosis.host] = diagnosis


class Inquiry:
    """One investigation of some hosts, from the first question to the last answer.

    Args:
        host_ids: the hosts, in the order in which they are stepped through.
        services: what is configured on each host: that many ports are awaited.
        started_s: the boot clock when it began.
        before: what is remembered from before; kept as it is now.
    """

    def __init__(
        self, host_ids: Sequence[str], services: Mapping[str, Sequence[Service]], started_s: float, before: Remembered
    ) -> None:
        self.host_ids = tuple(host_ids)
        self.started_s = started_s
        self.ended_s: float | None = None
        #: why it ended without an answer; empty: it did not
        self.failure = ""
        self.evidence: dict[str, Evidence] = {}
        self.correlations: tuple[Correlation, ...] = ()
        self.good = {host_id: before.good[host_id] for host_id in host_ids if host_id in before.good}
        self.last = {host_id: before.last[host_id] for host_id in host_ids if host_id in before.last}
        self._services = dict(services)
        self._judged: dict[str, Judged] = {}

    # --- what arrives ---

    def take(self, host_id: str, evidence: Evidence) -> None:
        """Evidence so far; what comes after the end, or of another host, is not ours."""
        if self.running and host_id in self.host_ids:
            self.evidence[host_id] = evidence

    async def finish(self, evidence: Mapping[str, Evidence], now_s: float, *, judge: bool = True) -> None:
        """The last evidence of all; with ``judge`` every host is diagnosed, one a turn of the event loop."""
        self.evidence.update({host_id: evidence[host_id] for host_id in self.host_ids if host_id in evidence})
        judged: list[Judged] = []
        for host_id in self.host_ids if judge else ():
            one = self.judged(host_id)
            if one is not None:
                judged.append(one)
            await asyncio.sleep(0)
        self.correlations = correlate(judged)
        self.ended_s = now_s

    def fail(self, why: str, now_s: float) -> None:
        """It ended without an answer."""
        self.failure, self.ended_s = why, now_s

    # --- what is known ---

    @property
    def running(self) -> bool:
        """Whether answers may still come."""
        return self.ended_s is None

    @property
    def finished(self) -> bool:
        """Whether all answers are there."""
        return self.ended_s is not None and not self.failure

    def elapsed_s(self, now_s: float) -> float:
        """How long it takes, or took."""
        return max((now_s if self.ended_s is None else self.ended_s) - self.started_s, 0.0)

    def judged(self, host_id: str) -> Judged | None:
        """The host's evidence with what follows from it so far; None: no part has arrived."""
        evidence = self.evidence.get(host_id)
        if evidence is None:
            return None
        kept = self._judged.get(host_id)
        if kept is None or kept.evidence is not evidence:
            kept = self._judged[host_id] = Judged(diagnose(evidence), evidence)
        return kept

    def diagnosis(self, host_id: str) -> Diagnosis | None:
        """What follows from the host's evidence so far."""
        judged = self.judged(host_id)
        return None if judged is None else judged.diagnosis

    def services(self, host_id: str) -> Sequence[Service]:
        """The host's services as they were configured when it began."""
        return self._services.get(host_id, ())

    def awaited(self, host_id: str) -> tuple[str, ...]:
        """The parts that have not arrived, by field; none once it has ended."""
        if not self.running:
            return ()
        evidence = self.evidence.get(host_id)
        return tuple(part for part in PARTS if evidence is None or not self._arrived(host_id, evidence, part))

    def awaited_words(self, host_id: str) -> str:
        """The same in words, ports counted."""
        words = [PARTS[part] for part in self.awaited(host_id)]
        evidence = self.evidence.get(host_id)
        if evidence is not None and evidence.ports and PARTS["ports"] in words:
            at = words.index(PARTS["ports"])
            words[at] = f"{len(self.services(host_id)) - len(evidence.ports)} of {len(self.services(host_id))} ports"
        return ", ".join(words)

    def _arrived(self, host_id: str, evidence: Evidence, part: str) -> bool:
        if part == "ports":
            return len(evidence.ports) >= len(self.services(host_id))
        if part == "inside":
            return evidence.inside is not None or evidence.inside_why != _NOT_ASKED
        return bool(getattr(evidence, part))

    def layer(self, host_id: str, name: str) -> LayerState | None:
        """One layer's end; None while the parts that decide it are awaited: what passes so far may yet be blocked."""
        diagnosis = self.diagnosis(host_id)
        if diagnosis is None:
            return None if self.running else LayerState(Outcome.UNKNOWN, self.failure or "no evidence came")
        end = diagnosis.layers[name]
        settled = end.outcome is Outcome.BLOCK or (end.outcome is Outcome.PASS and name in _PROVED_BY_ANY)
        return end if settled or not self.waits_for(host_id, name) else None

    def waits_for(self, host_id: str, name: str) -> str:
        """The awaited parts that decide a layer, in words."""
        awaited = self.awaited(host_id)
        return ", ".join(PARTS[part] for part in _NEEDS[name] if part in awaited)

    def verdicts(self, host_id: str) -> tuple[Verdict, ...]:
        """What is said of the host; while parts are awaited, only what blocks: the rest may still be told."""
        diagnosis = self.diagnosis(host_id)
        if diagnosis is None:
            return ()
        if self.finished:
            return diagnosis.verdicts
        return tuple(one for one in diagnosis.verdicts if one.outcome is Outcome.BLOCK)


def first(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The one for the headline: the first block in packet order, else the first of all."""
    return next((one for one in verdicts if one.outcome is Outcome.BLOCK), next(iter(verdicts), None))
