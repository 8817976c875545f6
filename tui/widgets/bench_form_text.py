"""The form of the Bench screen as rows: what is in force, what was changed, what it would run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.bench_form import BENCHMARK, HOSTS, MODE
from tui.format import cells, fit
from tui.widgets.folded import cell, folded, tidy
from tui.widgets.lines import LinesPanel, clip, pad, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.suite import SuitePlan
    from tui.bench_form import Field, Form
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span

_FIXED = (BENCHMARK, MODE, HOSTS)
_NAME = 14
_VALUE = 22


class FormPanel(LinesPanel):
    """The lines of the form, the selected one marked."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.form: Form | None = None
        self.selected = 0
        self.glyphs: Glyphs | None = None
        #: said instead of the form
        self.empty = ""
        self.plan: SuitePlan | None = None
        #: why this cannot be run
        self.refusal = ""
        self.production: Sequence[str] = ()
        self.selected_rows: tuple[int, int] | None = None

    def build(self, width: int) -> list[Row]:
        """Fields, then what they come to."""
        form, glyphs = self.form, self.glyphs
        if glyphs is None:
            return []
        if form is None:
            return folded(self.empty, width, "muted", head=[(" ", "muted")])
        rows: list[Row] = []
        fields = form.fields()
        self.selected = min(self.selected, len(fields) - 1)
        for at, field in enumerate(fields):
            if at == len(_FIXED):
                rows += [rule([(" this would run ", "strong")], width, glyphs), *self._would_run(form, glyphs, width)]
                rows.append(rule([(f" {tidy(form.definition.title)} ", "strong")], width, glyphs))
            start = len(rows)
            rows += field_rows(field, at == self.selected, len(form.host_ids), glyphs, width)
            if at == self.selected:
                self.selected_rows = (start, len(rows))
        return rows

    def _would_run(self, form: Form, glyphs: Glyphs, width: int) -> list[Row]:
        rows: list[Row] = []
        if self.refusal:
            rows += folded(self.refusal, width, "bad", head=[(f" {glyphs.levels[3]} ", "bad")], limit=4)
        elif self.plan is not None:
            for text in plan_words(self.plan, len(form.host_ids)):
                rows += folded(text, width, "text", head=[(" ", "text")], limit=3)
        else:
            rows.append(clip([(" planning", "muted")], width))
        for host_id in self.production[:3]:
            head: list[Span] = [(f" {glyphs.levels[1]} production ", "warn")]
            rows += folded(f"{tidy(host_id)}: asks before it is loaded", width, "text", head=head)
        if len(self.production) > 3:
            rows.append(clip([(f"   and {len(self.production) - 3} more production hosts", "warn")], width))
        return rows


def field_rows(field: Field, selected: bool, hosts: int, glyphs: Glyphs, width: int) -> list[Row]:  # noqa: FBT001 - a row's own
    """One line; a mistake goes below it."""
    parameter = field.parameter
    value = tidy(field.shown) or "none"
    if field.name == HOSTS:
        value = f"{hosts}: {value}" if hosts != 1 else value
    room = (
        max(width - _NAME - 4, 8) if field.name == HOSTS else min(max(_VALUE, cells(value)), max(width - _NAME - 6, 8))
    )
    if parameter.kind == "choice":
        left, right = ("<", ">") if glyphs.ellipsis == "~" else ("‹", "›")  # noqa: RUF001 - arrows of a choice
        value = f"{left} {value} {right}"
    style = "strong" if field.value else "text"
    spans: list[Span] = [
        (f"{glyphs.folded if selected else ' '} ", "mark"),
        (f"{cell(parameter.title, _NAME)} ", "muted"),
        (f"{fit(value, room)} ", style),
    ]
    notes: list[str] = []
    if field.value and field.name not in _FIXED and parameter.default:
        notes.append(f"default {tidy(parameter.default)}")
    if parameter.help:
        notes.append(tidy(parameter.help))
    note = "; ".join(notes)
    whole = sum(cells(text) for text, _ in spans) + 1 + cells(note) <= width
    if whole or not selected:
        spans.append((f" {note}", "muted"))
    row = clip(spans, width)
    rows: list[Row] = [tuple((text, f"{name}@cursor") for text, name in pad(row, width)) if selected else row]
    if selected and note and not whole:
        rows += folded(note, width, "muted", head=[(" " * (_NAME + 3), "text")], limit=2)
    if field.mistake:
        rows += folded(field.mistake, width, "bad", head=[(" " * (_NAME + 3) + glyphs.levels[3] + " ", "bad")], limit=2)
    return rows


def plan_words(plan: SuitePlan, hosts: int) -> list[str]:
    """What a plan of one host comes to, and on how many."""
    runs = plan.jobs[0].runs if plan.jobs else ()
    cases: dict[str, list[str]] = {}
    for run in runs:
        case = f"{run.service} {run.case.id}" if run.service else run.case.id
        cases.setdefault(case, []).append(run.temperature or "")
    names = ", ".join(f"{case} ({'+'.join(t)})" if all(t) else case for case, t in cases.items())
    together = any(job.nodes > 1 for job in plan.jobs)
    first = plan.jobs[0].host.id if plan.jobs else ""
    each = sum(job.host.id == first for job in plan.jobs)
    times = f", {each} times" if each > 1 else ""
    where = f" on {tidy(first)}; {hosts} hosts{', all at one moment' if together else ''}" if hosts > 1 else ""
    words = [f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}{times}{where}: {names}"]
    loads = dict.fromkeys(run.load for run in runs)
    for load in list(loads)[:2]:
        how = f"{load.rate_per_s:g}/s, open loop" if load.rate_per_s is not None else f"{load.concurrency} at a time"
        least = f" and at least {load.min_s:g} s" if load.min_s else ""
        words.append(f"n {load.n}{least}, {how}, warm-up {load.warmup_n}, timeout {load.timeout_s:g} s")
    return words
