"""What STREAM and DGEMM share: a program on the host that makes one iteration for one request, and checks it.

A closed loop of one: the times are the program's own (CLOCK_MONOTONIC there), so the way to the host is not in them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from benchmarks.benchmark import Preflight
from benchmarks.errors import BenchError
from benchmarks.machine import Machine, gb, look, parse
from benchmarks.model import Case, Done, Outcome
from benchmarks.native_program import COMPILERS, NativeProgram, ProgramLostError
from benchmarks.on_host_plan import AUTO, NUMPY, Way
from benchmarks.remote import Pace, Remote
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.context import Context
    from benchmarks.model import RunSpec, Sample
    from benchmarks.native_program import Launched, Source

#: never more than this share of the free memory: the host has other work
MEMORY_SHARE: Final = 0.5
_PACE: Final = Pace()


class OnHost(ABC):
    """One run. Subclasses say what is computed, how large it is, and what the figures are."""

    #: the C program, and what stands in for it
    compiled: Source
    interpreted: Source

    def __init__(self, spec: RunSpec, context: Context, pace: Pace = _PACE) -> None:
        self._spec = spec
        self._pace = pace
        self._context = context
        self._remote: Remote | None = None
        self._program: NativeProgram | None = None
        self._machine = Machine()
        self._way = Way(None, "", 1)
        self._elements = 0
        self._notes: list[str] = []
        self._iterations = 0
        self._serial = False

    # --- what subclasses say ---

    @abstractmethod
    def way(self, machine: Machine) -> Way:
        """How it is measured there.

        Raises:
            BenchError: it cannot be.
        """

    @abstractmethod
    def choose(self, machine: Machine, threads: int) -> int:
        """How many elements (or rows); says in notes why.

        Raises:
            BenchError: the host cannot hold them.
        """

    @abstractmethod
    def times_s(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The parts of one iteration by name, as the program timed them.

        Raises:
            KeyError: it did not.
        """

    @abstractmethod
    def values(self, times_s: Mapping[str, float]) -> dict[str, float]:
        """The figures of one iteration, from times above 0."""

    @abstractmethod
    def totals(self, samples: Sequence[Sample], window_s: float) -> Mapping[str, float | None]:
        """See ``Benchmark``."""

    # --- phases ---

    async def preflight(self) -> Preflight:
        """See what the host is, and whether it can be measured at all.

        Raises:
            BenchError: layer ``ssh``, or ``host``: no compiler and no numpy, not enough memory.
        """
        self._remote = Remote(self._context, self._pace)
        await self._remote.open()
        wanted = self._spec.options["cc"]
        names = COMPILERS if wanted in (AUTO, NUMPY) else (wanted,)
        ended = await self._remote.run(look(names, numpy=True))
        machine = parse(ended.stdout.text())
        if machine is None:
            said = clean(ended.lost or ended.problem or f"status {ended.exit_code}", 120)
            step = "it needs a POSIX shell, /proc and /sys"
            raise BenchError(f"the host does not say what it is: {said}", layer="host", next_step=step)
        self._machine = machine
        self._way = self.way(machine)
        self._describe()
        self._elements = self.choose(machine, self._way.threads)
        return self._found()

    async def prepare(self) -> Preflight:
        """Compile the program on the host and start it.

        Raises:
            BenchError: layer ``host`` or ``ssh``.
        """
        if self._remote is None:
            raise RuntimeError("preflight comes first")
        chosen = self._way
        self._program = program = NativeProgram(self._remote)
        arguments = f"{chosen.threads} {self._elements}"
        if chosen.compiler is None:
            launched = await program.interpret(self.interpreted, arguments, chosen.threads)
        else:
            # one thread may go where the host has room; many stay with the memory that they touched first
            launched = await program.compile(self.compiled, chosen.compiler, arguments, bind=chosen.threads > 1)
        self._check_hello(launched)
        return self._found()

    async def once(self, i: int, intended_ns: int) -> Done:
        """One iteration, and its result checked."""
        del i, intended_ns
        if self._program is None:
            raise RuntimeError("prepare comes first")
        sent_ns = time.perf_counter_ns()
        number, self._iterations = self._iterations, self._iterations + 1
        try:
            self._program.ask("run", "check")
            ran = await self._answer(self._program, "run", number)
            checked = await self._answer(self._program, "check", number)
        except ProgramLostError as error:
            outcome = Outcome.TRANSPORT if error.lost else Outcome.INVALID_BODY
            return Done(outcome, sent_ns=sent_ns, detail=f"the program on the host: {error.detail}")
        end_ns = time.perf_counter_ns()
        if wrong := _wrong(checked, number + 1):
            return Done(Outcome.INVALID_BODY, sent_ns=sent_ns, end_ns=end_ns, detail=wrong)
        times_s = self._times(ran)
        if times_s is None:
            detail = f"the program on the host says no times: {clean(str(ran), 120)}"
            return Done(Outcome.INVALID_BODY, sent_ns=sent_ns, end_ns=end_ns, detail=detail)
        return Done(values=self.values(times_s), spans=times_s, sent_ns=sent_ns, end_ns=end_ns)

    def _times(self, answer: Mapping[str, Any]) -> dict[str, float] | None:
        try:
            found = self.times_s(answer)
        except KeyError:
            return None
        good = all(isinstance(each, int | float) and 0 < each < 1e6 for each in found.values())
        return found if good else None

    async def cleanup(self) -> None:
        """End the program and the connection."""
        try:
            if self._program is not None:
                await self._program.close()
        finally:
            if self._remote is not None:
                await self._remote.close()

    # --- inside ---

    async def _answer(self, program: NativeProgram, kind: str, number: int) -> dict[str, Any]:
        """The answer to request ``number``; those to requests that were given up before are passed over.

        Raises:
            ProgramLostError: see ``NativeProgram.answer``, or it is out of step.
        """
        while True:
            found = await program.answer()
            late = found.get("run", number) if "run" in found else found.get("iterations", number + 1)
            if isinstance(late, int) and late < number + ("run" not in found):
                continue
            if kind not in found or (kind == "run" and found["run"] != number):
                raise ProgramLostError(f"it answers out of turn: {clean(str(found), 120)}", lost=False)
            return found

    def _describe(self) -> None:
        machine, chosen = self._machine, self._way
        cpu = machine.model or machine.architecture or "CPU not said"
        load = "" if machine.load_1min is None else f", load average before the run {machine.load_1min:.2f}"
        usable = "an unknown number of" if machine.cpus is None else str(machine.cpus)
        self.note(f"{cpu}, {usable} CPUs may be used{load}")
        self.note(f"{chosen.threads} thread{'s' if chosen.threads != 1 else ''}")
        if chosen.fallback:
            self.note("numpy fallback, not comparable with compiled figures: no compiler (cc, gcc, clang) on the host")
        elif chosen.compiler is None:
            self.note("by the host's numpy, not comparable with compiled figures")
        for folder in machine.stale:
            self.note(f"left behind by an older run, not used: {folder}; remove it")

    def note(self, text: str) -> None:
        """Say something in the result."""
        self._notes.append(text)

    def _check_hello(self, launched: Launched) -> None:
        """Say how the program came to be.

        Raises:
            BenchError: it is not what was asked for.
        """
        hello, chosen = launched.hello, self._way
        if hello.elements != self._elements:
            cause = f"the program has {hello.elements} elements in place of {self._elements}"
            raise BenchError(cause, layer="host", next_step="was the program changed?")
        if chosen.compiler is not None:
            self.note(
                f"compiled there: {chosen.compiler} {launched.flags} ({chosen.version}; {clean(hello.compiler, 60)})"
            )
            if "-march=native" not in launched.flags:
                self.note("the compiler refuses -march=native: vectors as wide as every CPU of this kind has")
            if not hello.openmp:
                self.note("the compiler refuses -fopenmp: one thread")
        else:
            library = f", {clean(hello.library, 80)}" if hello.library else ""
            self.note(f"run there: {clean(hello.compiler, 60)}{library}")
        if launched.noexec:
            self.note(f"nothing may be started from {clean(launched.noexec, 120)}: another folder was used")
        if hello.threads != chosen.threads and chosen.compiler is not None:
            if hello.openmp:
                cause = f"the host gives {hello.threads} of {chosen.threads} threads"
                raise BenchError(cause, layer="host", next_step="choose fewer with threads=")
            self._way, self._serial = structs.replace(chosen, threads=1), True
        self.note(f"resolution of the clock there {hello.timer_resolution_s * 1e9:.0f} ns")

    def _found(self) -> Preflight:
        return Preflight(
            endpoint="this machine" if self._context.host.local else f"ssh {self._context.host.address}",
            via="local" if self._context.host.local else "ssh",
            notes=tuple(self._notes),
            missing={"server_version": "a program of our own", "device_claimed": "not a service"},
            case=self._case(),
        )

    def _case(self) -> Case | None:
        """What is measured in place of what was planned."""
        planned = self._spec.case
        if self._way.fallback:
            return Case("numpy-fallback", "numpy, not comparable with compiled figures")
        if self._serial:
            return Case(f"{planned.id}-no-openmp", "one thread, for the compiler has no OpenMP")
        return None

    def refuse_memory(self, needed_bytes: float, why: str) -> None:
        """Whether the memory that is needed is free.

        Raises:
            BenchError: layer ``host``: it is not, or the host does not say.
        """
        free = self._machine.available_bytes
        if free is None:
            step = "its /proc/meminfo has no MemAvailable"
            raise BenchError("the host does not say how much memory is free", layer="host", next_step=step)
        if needed_bytes > MEMORY_SHARE * free:
            cause = f"not enough memory: {gb(needed_bytes)} needed ({why}), {gb(free)} free, of which half may be used"
            raise BenchError(cause, layer="host", next_step="free some, or choose a larger host")


def _wrong(checked: Mapping[str, Any], iterations: int) -> str:
    """What a check says against the result; empty: nothing."""
    if checked.get("check") is True and checked.get("iterations") == iterations:
        return ""
    figures = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in checked.items() if name != "check")
    return f"the result is wrong: {clean(figures, 160)}"
