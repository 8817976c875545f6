"""GPUs out of the frames of ``agent.sh``: the stream of ``nvidia-smi -lms`` and the occasional other outputs of it.

A value is as old as the line it came in. nvidia-smi may hang, so rows older than the limit become rows without values
and the reason ``timeout``; it may end, so then they become ``error``, with what it said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from probes.hosts import agent, smi, smi_text
from probes.hosts.protocol import LineError
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probes.hosts.smi import App, Columns, GpuRow
    from probes.model import Gpu, Mig, Missing, Reason

_MAX_LINES: Final = 2048


class GpuFrames:
    """What nvidia-smi said last, and when by the host's clock."""

    def __init__(self, note: Callable[[str, str], None]) -> None:
        self.driver: str | None = None
        self.cuda: str | None = None
        self._note = note
        self._columns: Columns | None = None
        #: by index; the host's clock when the row came, None before the first sample told it
        self._rows: dict[int, tuple[GpuRow, float | None]] = {}
        self._first_s: float | None = None
        self._silent = False
        self._ended: Reason | None = None
        self._said: Reason | None = None
        self._apps: tuple[App, ...] | None = None
        self._app_lines: list[str] = []
        self._app_why: Reason | None = "not_yet"
        self._list_lines: list[str] = []
        self._listed: dict[int, smi_text.Listed] = {}
        self._table_lines: list[str] = []
        self._table: smi_text.Table | None = None

    # --- lines in ---

    def query_line(self, text: str, now_s: float | None) -> None:
        """A line of the loop: the header, a row, or a message.

        Raises:
            LineError: a row that came before any header.
        """
        if not text.strip():
            return
        header = smi.parse_header(text)
        if header is not None:
            self._columns, self._ended = header, None
            return
        row = smi.parse_gpu(text, self._columns, len(self._rows)) if self._columns is not None else None
        if row is None:
            self._said = smi.diagnose(text) or self._said
            if self._said is None:
                raise LineError(f"not a row of nvidia-smi: {clean(text, 60)!r}")
            if "valid field" not in text:
                self._note("nvidia-smi", text)
            return
        if len(self._rows) < smi.MAX_GPUS or row.gpu.index in self._rows:
            known = self._rows.get(row.gpu.index)
            gpu = row.gpu
            if known is not None:  # a lost GPU may not say its name any more
                gpu = msgspec.structs.replace(
                    gpu, uuid=gpu.uuid or known[0].gpu.uuid, name=gpu.name or known[0].gpu.name
                )
            self._rows[gpu.index] = (smi.GpuRow(gpu, row.driver, row.mig_mode), now_s)
            self._ended = self._said = None
        self.driver = row.driver or self.driver

    def exited(self) -> None:
        """The loop ended (it is started again later)."""
        self._ended = self._said or "error"
        self._columns = None
        if self._said is None:
            self._note("nvidia-smi", "it ended; it is started again in 30 s")

    def app_line(self, text: str) -> None:
        """A line of --query-compute-apps, or the end."""
        if text.strip() != ".":
            _keep(self._app_lines, text)
            return
        whole, self._app_lines = "\n".join(self._app_lines), []
        if any(smi.parse_header(line) is not None for line in whole.splitlines()):
            self._apps, self._app_why = smi.parse_apps(whole), None
        else:
            self._apps, self._app_why = None, smi.diagnose(whole) or "error"

    def list_line(self, text: str) -> None:
        """A line of -L, or the end."""
        if text.strip() != ".":
            _keep(self._list_lines, text)
            return
        listed = smi_text.parse_list("\n".join(self._list_lines))
        self._list_lines = []
        self._listed = {gpu.index: gpu for gpu in listed}

    def table_line(self, text: str) -> None:
        """A line of the plain table, or the end."""
        if text.strip() != ".":
            _keep(self._table_lines, text)
            return
        self._table = smi_text.parse_table("\n".join(self._table_lines))
        self._table_lines = []
        self.driver = self._table.driver or self.driver
        self.cuda = self._table.cuda or self.cuda

    # --- views ---

    def why_no_version(self) -> Reason:
        """Why the driver's or CUDA's version is not known."""
        if (said := self._ended or self._said) is not None:
            return said
        if self._table is not None:
            return "unsupported"
        return "timeout" if self._silent else "not_yet"

    def view(self, now_s: float, limit_s: float, *, has_smi: bool) -> tuple[tuple[Gpu, ...], Reason | None]:
        """The rows of a sample, or a reason why there are none.

        Args:
            now_s: the host's uptime.
            limit_s: how old a row may be.
            has_smi: whether the host has nvidia-smi at all.
        """
        if not has_smi:
            return (), "unsupported"
        if self._first_s is None:
            self._first_s = now_s
            self._rows = {index: (row, now_s if at_s is None else at_s) for index, (row, at_s) in self._rows.items()}
        if not self._rows:
            # its first answer takes seconds on a host without persistence mode
            self._silent = now_s - self._first_s > max(limit_s, 10.0)
            return (), self._ended or ("timeout" if self._silent else "not_yet")
        ages_s = {index: now_s - (now_s if at_s is None else at_s) for index, (_, at_s) in self._rows.items()}
        out: list[Gpu] = []
        for index in sorted(self._rows):
            row = self._rows[index][0]
            gpu = row.gpu
            if self._ended is not None:
                gpu = smi.without_values(index, gpu.uuid, gpu.name, self._ended)
            elif ages_s[index] > limit_s:
                # the loop goes on without this one: it is gone; nothing comes at all: it hangs
                alive = min(ages_s.values()) <= limit_s
                gpu = smi.without_values(index, gpu.uuid, gpu.name, "gpu_lost" if alive else "timeout")
            elif row.mig_mode:
                gpu = msgspec.structs.replace(gpu, mig=self._migs(index))
            out.append(gpu)
        return tuple(out), None

    def _migs(self, index: int) -> tuple[Mig, ...]:
        listed = self._listed.get(index)
        if listed is None:
            return ()
        sizes = self._table.mig if self._table is not None else {}
        out: list[Mig] = []
        for mig in listed.mig:
            total, used = sizes.get((index, mig.index), (None, None))
            out.append(msgspec.structs.replace(mig, memory_total_bytes=total, memory_used_bytes=used))
        return tuple(out)

    def processes(self, *, has_smi: bool) -> tuple[Sequence[tuple[int, App]] | None, Missing]:
        """((GPU index, process) of all GPU processes, reasons): compute from the query, graphics from the table."""
        if not has_smi:
            return None, {"gpu": "unsupported"}
        if self._apps is None:
            return None, {"gpu": self._app_why or "error"}
        by_uuid = {row.gpu.uuid: index for index, (row, _) in self._rows.items() if row.gpu.uuid is not None}
        only = next(iter(self._rows)) if len(self._rows) == 1 else None
        out: dict[tuple[int, int], App] = {}
        for app in self._apps:
            index = by_uuid.get(str(app.gpu), only)
            if index is not None:
                out[index, app.pid] = app
        for app in self._table.processes if self._table is not None else ():
            if isinstance(app.gpu, int):
                out.setdefault((app.gpu, app.pid), app)
        missing: Missing = {}
        reasons: list[Reason] = [app.memory_reason for app in out.values() if app.memory_reason is not None]
        if reasons:
            missing["gpu.memory_bytes"] = reasons[0]
        return [(index, app) for (index, _), app in sorted(out.items())][: agent.MAX_GPU_PROCESSES], missing


def _keep(lines: list[str], text: str) -> None:
    if len(lines) < _MAX_LINES:
        lines.append(text[:2048])
