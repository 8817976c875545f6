"""The engine's own process: ``python -m benchmarks.worker`` reads a ``Job`` from stdin, writes what happens to stdout.

The end of stdin cancels, so that nothing goes on when the dashboard is gone. Only this process's event loop sends
requests; it draws nothing, parses no agent and stores no result.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import queue
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from benchmarks import registry
from benchmarks.assemble import assemble
from benchmarks.engine import Engine
from benchmarks.errors import BenchError
from benchmarks.options import options_of
from benchmarks.recorder import Recorder
from benchmarks.runids import new_run_id
from benchmarks.samples_file import SampleWriter
from benchmarks.schedule import NS
from benchmarks.ways import RunContext
from benchmarks.wire import Cancel, Failed, Finished, Go, Job, Over, Progress, Ready, ToEngine
from probes.text import clean

if TYPE_CHECKING:
    from benchmarks.benchmark import Benchmark
    from benchmarks.engine import Record
    from benchmarks.model import RunSpec
    from benchmarks.wire import FromEngine

log = logging.getLogger(__name__)

_REPORT_S: Final = 0.2
_LINE_LIMIT: Final = 64 * 1024 * 1024
#: reports of progress that may wait for a slow reader; more are left out, results never
_WAITING: Final = 50


class Out:
    """Writes lines to stdout in a thread: a reader that is slow never holds up a request."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="out", daemon=True)
        self._thread.start()

    def send(self, message: FromEngine) -> None:
        """Write one message, soon."""
        if not isinstance(message, Progress) or self._lines.qsize() < _WAITING:
            self._lines.put(msgspec.json.encode(message) + b"\n")

    def close(self) -> None:
        """Write what is left."""
        self._lines.put(None)
        self._thread.join(10)

    def _write(self) -> None:
        # the reader is gone: stdin ends too, and that cancels the run
        with contextlib.suppress(BrokenPipeError):
            while (line := self._lines.get()) is not None:
                view = memoryview(line)
                while view:
                    view = view[os.write(self._fd, view) :]


class Worker:
    """The runs of one job, one after the other."""

    def __init__(self, job: Job, out: Out) -> None:
        self._job = job
        self._out = out
        self.stop = asyncio.Event()
        self._go: asyncio.Queue[int] = asyncio.Queue()

    def hear(self, message: ToEngine) -> None:
        """Take what the other side says while we run."""
        if isinstance(message, Go):
            self._go.put_nowait(message.at_ns)
        elif isinstance(message, Cancel):
            self.stop.set()

    async def run(self) -> None:
        """Make all runs; a run that cannot start does not keep the others from it."""
        async with RunContext(self._job.host, self._job.settings) as context:
            for at, spec in enumerate(self._job.runs):
                if self.stop.is_set():
                    break
                try:
                    await self._one(at, spec, context)
                except BenchError as error:
                    if self.stop.is_set():
                        break
                    self._out.send(Failed(at, error.layer, error.cause, error.next_step, error.side.value))
                except Exception as error:
                    log.exception("run %d", at)
                    words = clean(f"{type(error).__name__}: {error}")
                    step = "this is a defect of quarterdeck: please report it"
                    self._out.send(Failed(at, "engine", words, step, "client", internal=True))

    async def _one(self, at: int, spec: RunSpec, context: RunContext) -> None:
        job, run_id = self._job, new_run_id()
        definition = registry.definition(spec.benchmark)
        folder = Path(job.samples_folder) if job.samples_folder is not None else None
        writer = SampleWriter(folder, run_id)
        recorder = Recorder(time.perf_counter_ns(), writer)

        async def barrier() -> int:
            self._out.send(Ready(at))
            return await self._go.get()

        bench = definition.make(spec, context)
        engine = Engine(spec, bench, recorder, self.stop, barrier if job.nodes > 1 else None)
        reports = asyncio.create_task(self._report(engine, at), name="progress")
        try:
            record = await engine.run()
        except BaseException:
            writer.abandon()
            raise
        finally:
            reports.cancel()
            await asyncio.wait({reports})
        name, problem = await asyncio.to_thread(writer.close)
        if problem:
            record.problems.append(problem)
        engine.phase = "validate"
        self._out.send(engine.progress(at, len(job.runs)))
        result = assemble(
            record,
            spec,
            definition,
            job,
            options=options_of(job.settings.bench),
            totals=_totals(bench, record),
            run_id=run_id,
            samples_file=name,
        )
        self._out.send(Finished(at, result))

    async def _report(self, engine: Engine, at: int) -> None:
        while True:
            self._out.send(engine.progress(at, len(self._job.runs)))
            await asyncio.sleep(_REPORT_S)


def _totals(bench: Benchmark, record: Record) -> dict[str, float | None]:
    """The benchmark's own figures of the whole run."""
    measured = record.measured
    window_s = 0.0 if measured is None else (measured.t1_ns - measured.t0_ns) / NS
    return dict(bench.totals(record.samples, window_s))


async def serve() -> None:
    """Read the job, run it, and listen meanwhile."""
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    decoder = msgspec.json.Decoder(ToEngine)
    first = await reader.readline()
    if not first:
        return
    job = decoder.decode(first)
    if not isinstance(job, Job):
        raise TypeError("the first line is no job")
    out = Out(sys.stdout.fileno())
    worker = Worker(job, out)

    async def listen() -> None:
        while line := await reader.readline():
            worker.hear(decoder.decode(line))
        worker.stop.set()  # whoever started us is gone

    listening = asyncio.create_task(listen(), name="listen")
    try:
        await worker.run()
    finally:
        listening.cancel()
        await asyncio.wait({listening})
        pipe.close()
        out.send(Over(cancelled=worker.stop.is_set()))
        out.close()


def main() -> int:
    """Run until the job is over; 1 for a defect of ours, whose traceback goes to stderr."""
    # what is imported stays: collections during a measurement need not look at it
    gc.collect()
    gc.freeze()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    try:
        asyncio.run(serve())
    except Exception:  # noqa: BLE001 - the process ends with it, and the parent shows it
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
