"""A suite: what one command or one key press runs on some hosts, and how it stands now. Written by the runner alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from msgspec import Struct

from benchmarks.model import RunSpec  # noqa: TC001 - msgspec resolves field types when it decodes
from benchmarks.result import GpuReading, Letter, Result, worst_letter
from benchmarks.wire import Failed, Point, Progress
from probes.model import Host  # noqa: TC001 - msgspec resolves field types when it decodes

#: points of the growing plot that are kept of one run
MAX_POINTS: Final = 20_000

State = Literal["queued", "starting", "running", "at_barrier", "done", "failed", "cancelled"]
OVER: Final[frozenset[State]] = frozenset({"done", "failed", "cancelled"})


class HostPlan(Struct, frozen=True):
    """The runs of one host; ``label`` stands in the results.

    ``nodes``: how many hosts begin their measure phases together with this one, itself included. ``stage``: the jobs of
    a stage begin when all those of the stages before have ended.
    """

    host: Host
    runs: tuple[RunSpec, ...]
    label: str | None = None
    nodes: int = 1
    stage: int = 0


class SuitePlan(Struct, frozen=True):
    """What is to be run. ``jobs`` of one host never overlap; ``at_once`` limits how many hosts run at a time.

    ``in_turn``: one job after the other in their order (interleaved ABAB comparisons).
    """

    suite_id: str
    benchmark: str
    jobs: tuple[HostPlan, ...]
    at_once: int = 4
    in_turn: bool = False

    @property
    def limit(self) -> int:
        """How many hosts are loaded at a time at most."""
        together = max(job.nodes for job in self.jobs)
        return together if together > 1 else 1 if self.in_turn else self.at_once


@dataclass(slots=True)
class JobState:
    """One job of a suite as it stands. ``points`` and ``gpu`` are of the running (or last) run, on its time axis."""

    plan: HostPlan
    state: State = "queued"
    progress: Progress | None = None
    points: list[Point] = field(default_factory=list[Point])
    points_left_out: int = 0
    gpu: list[GpuReading] = field(default_factory=list[GpuReading])
    results: list[Result] = field(default_factory=list[Result])
    failures: list[Failed] = field(default_factory=list[Failed])
    #: when the job began and ended, on the monotonic clock; 0: not yet
    started_ns: int = 0
    ended_ns: int = 0
    #: what could not be done besides: not stored, engine ended
    problems: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Suite:
    """A suite as it stands; ``version`` grows with every change."""

    plan: SuitePlan
    jobs: list[JobState]
    version: int = 0

    @property
    def over(self) -> bool:
        """Whether every job has ended."""
        return all(job.state in OVER for job in self.jobs)

    @property
    def results(self) -> tuple[Result, ...]:
        """All results so far, in the order of the jobs."""
        return tuple(result for job in self.jobs for result in job.results)

    @property
    def letter(self) -> Letter | None:
        """The worst letter; None while a run has none. A check, such as a cold run, has none and needs none."""
        letters: list[Letter | None] = [result.grade.letter for result in self.results if result.config.mode != "check"]
        known: list[Letter] = [letter for letter in letters if letter is not None]
        return worst_letter(known) if len(known) == len(letters) else None
