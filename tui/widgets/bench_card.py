"""The grade card: the letter, how it came about, and everything it rests on. Pure functions from a result to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tui.bench_words import (
    case_text,
    known_text,
    letter_style,
    letter_text,
)
from tui.format import bytes_text, cells, pct_text, watts_text
from tui.widgets.bench_plot import gpu_rows, time_end, time_row
from tui.widgets.bench_tables import checks_rows, kpis_rows, metrics_rows, requests_rows, spans_rows
from tui.widgets.big_letters import big
from tui.widgets.folded import cell, folded, tidy
from tui.widgets.lines import beside, clip, flow, rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.result import GpuUse, Grade, Result
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span

#: from this width on the letter stands beside the words
_BESIDE: Final = 56


def card_rows(result: Result, glyphs: Glyphs, width: int, *, baseline: Result | None = None) -> list[Row]:
    """The whole card.

    Args:
        result: what is shown.
        glyphs: the signs.
        width: cells.
        baseline: the run this configuration is measured against on this host, if there is one.
    """
    rows: list[Row] = [clip([(" SIMULATED ", "simulated"), (" no real host was measured", "text")], width)]
    rows = (rows if result.simulated else []) + _grade(result, glyphs, width)
    if baseline is not None and baseline.run_id != result.run_id:
        rows += folded(
            f"{_statistic(baseline)} on {baseline.wall_start} ({tidy(baseline.run_id)})",
            width, "text", head=[(" baseline ", "muted")], limit=3,
        )  # fmt: skip
    for title, part in (
        ("KPIs", kpis_rows(result.kpis, width)),
        ("checks", checks_rows(result, glyphs, width)),
        ("requests", requests_rows(result, glyphs, width)),
        ("figures", metrics_rows(result, width)),
        ("parts of a request", spans_rows(result.spans, glyphs, width)),
    ):
        if part:
            rows += [(), rule([(f" {title} ", "strong")], width, glyphs), *part]
    rows += [(), *_gpu(result, glyphs, width)]
    rows += [(), rule([(" what was run ", "strong")], width, glyphs), *_facts(result, width)]
    return rows


def results_rows(results: Sequence[Result], selected: int, glyphs: Glyphs, width: int) -> list[Row]:
    """All results of a job, one a line, the selected one marked; the worst letter is the suite's."""
    rows: list[Row] = []
    for at, result in enumerate(results):
        grade, verdict = result.grade, result.validity.verdict
        spans: list[Span] = [
            (f"{glyphs.folded if at == selected else ' '}", "mark"),
            (letter_text(grade, verdict), letter_style(grade.letter, verdict)),
            (" " * (8 - len(letter_text(grade, verdict))), "text"),
            (f"{cell(case_text(result), min(24, max(width // 3, 8)))} ", "strong" if at == selected else "text"),
            (f"{_statistic(result)}  n {result.counts.ok}/{result.counts.intended}", "text"),
        ]
        rows.append(clip(spans, width))
    return rows


def _statistic(result: Result) -> str:
    grade = result.grade
    if grade.statistic is None:
        return "not graded"
    return f"{tidy(grade.statistic)} {known_text(grade.value, grade.unit or '', grade.missing.get('value'))}"


# --- the letter ---


def _grade(result: Result, glyphs: Glyphs, width: int) -> list[Row]:
    grade, validity = result.grade, result.validity
    invalid = validity.verdict == "invalid"
    style = "bad" if invalid else letter_style(grade.letter, validity.verdict)
    sign = "!" if invalid else (grade.letter or "-") + ("~" if grade.approximate and grade.letter else "")
    letter: list[Row] = [((f" {line}", style),) for line in big(sign, glyphs)]
    if width < _BESIDE:
        return [*letter, *_reasons(result, glyphs, width)]
    size = 1 + cells(letter[0][0][0])
    words = _reasons(result, glyphs, width - size - 2)
    return beside([letter, words], [size, width - size - 2])


def _reasons(result: Result, glyphs: Glyphs, width: int) -> list[Row]:
    """What the letter says, and why."""
    grade, validity = result.grade, result.validity
    rows: list[Row] = []
    if validity.verdict == "invalid":
        rows += folded(
            "no letter: these figures cannot be trusted", width, "strong", head=[(" INVALID ", "alert"), (" ", "text")]
        )
        for reason in validity.reasons or ("no reason was given",):
            rows += folded(reason, width, "text", head=[(f" {glyphs.levels[3]} ", "bad")], limit=3)
    elif grade.letter is None:
        rows += folded(grade.reason or "no reason was given", width, "text", head=[("NOT GRADED ", "unknown")], limit=3)
    else:
        rows += _letter_words(grade, glyphs, width)
    if grade.statistic is not None:
        rows += _statistic_rows(result, glyphs, width)
    for cap in grade.caps:
        head: list[Span] = [(f" {glyphs.levels[1]} cap ", "warn"), (f"{cap.letter} ", "strong")]
        rows += folded(cap.reason, width, "text", head=head, limit=3)
    for mark in validity.marks:
        rows += folded(mark, width, "warn", head=[(f" {glyphs.levels[1]} ", "warn")], limit=2)
    rows += folded(grade.policy_id, width, "muted", head=[("policy ", "muted")], limit=2)
    return rows


def _letter_words(grade: Grade, glyphs: Glyphs, width: int) -> list[Row]:
    spans: list[list[Span]] = [[(f"grade {letter_text(grade, 'valid')}", "strong")]]
    if grade.approximate:
        spans.append([("~ approximate: quick mode", "text")])
    if grade.provisional:
        spans.append([("? PROVISIONAL: the bound crosses a boundary", "warn")])
    if grade.uncapped is not None and grade.uncapped != grade.letter:
        spans.append([(f"the figure alone would be {grade.uncapped}", "text")])
    return flow(spans, width, glyphs, dots=False)


def _statistic_rows(result: Result, glyphs: Glyphs, width: int) -> list[Row]:
    grade = result.grade
    unit = grade.unit or ""
    rows = flow(
        [
            [(f"{tidy(grade.statistic or '')} ", "muted"),
             (known_text(grade.value, unit, grade.missing.get("value")), "strong")],
            [("n ", "muted"), (f"{result.counts.intended}", "text")],
            [("95% bound ", "muted"), (known_text(grade.upper, unit, grade.missing.get("upper")), "text")],
        ],
        width, glyphs, dots=False,
    )  # fmt: skip
    for part in grade.parts if len(grade.parts) > 1 else ():
        said = known_text(part.value, part.unit, part.reason)
        letter = f"{part.letter or '-'}{'?' if part.provisional else ''}"
        spans: list[Span] = [
            (f" {letter:<3}", letter_style(part.letter, "valid")),
            (f"{tidy(part.statistic)} ", "muted"),
        ]
        rows.append(clip([*spans, (said, "text")], width))
    return rows


# --- what was run ---


def _gpu(result: Result, glyphs: Glyphs, width: int) -> list[Row]:
    use = result.gpu
    ends = [phase.t1_ns for phase in result.phases] + [one.at_ns for one in use.readings]
    end_s = time_end((max(ends) - result.t0_ns) / 1e9 if ends else 1.0)
    rows = gpu_rows(use.readings, result.t0_ns, end_s, width, glyphs, why=gpu_reason(use), most=2, height=2, now=False)
    if use.n:
        rows.append(time_row(end_s, width, glyphs))
        facts: list[list[Span]] = [
            [(f"while measuring, GPU {use.index}: ", "muted"), (f"mean {pct_text(use.utilization_mean_pct)}", "text")],
            [("max ", "muted"), (pct_text(use.utilization_max_pct), "text")],
            [("memory ", "muted"), (bytes_text(use.memory_max_bytes), "text")],
            [("power ", "muted"), (watts_text(use.power_mean_w), "text")],
            [("n ", "muted"), (f"{use.n}", "text")],
        ]
        rows += flow(facts, width, glyphs, first=[(" ", "text")])
    return rows


def gpu_reason(use: GpuUse) -> str:
    """Why a result has no GPU samples."""
    return tidy("; ".join(dict.fromkeys(use.missing.values())) or "no reason was given")


def _facts(result: Result, width: int) -> list[Row]:
    target, environment, config = result.target, result.environment, result.config
    via = "" if target.via == "direct" else f" via {target.via.replace('_', ' ')}"
    if target.tunnel_ms is not None:
        via += f" (the tunnel itself takes {target.tunnel_ms:.1f} ms)"
    where = f"{tidy(target.host)}  {tidy(target.endpoint)}{via}"
    load = f"{config.mode}, n {config.n}, warm-up {config.warmup_n}, timeout {config.timeout_s:g} s"
    facts = [
        ("host", where),
        ("service", _with(target.service, target.server_version)),
        ("case", f"{case_text(result)}: {result.case_text}" if result.case_text else case_text(result)),
        ("load", load),
        ("when", result.wall_start),
        ("engine", f"{environment.tool}, Python {environment.python}, {environment.os}, {environment.cpu}"),
        ("hardware", " ".join(filter(None, (environment.gpu, environment.instance_type, environment.region)))),
        ("benchmark", f"{result.benchmark.id} version {result.benchmark.version}, config {result.config_hash}"),
        ("run", result.run_id + (f"  label {result.label}" if result.label else "")),
        ("samples", result.samples_file or ""),
        *(("note", note) for note in result.notes),
        *((f"no {field}", why) for field, why in _unknowns(result)),
    ]
    return [
        row
        for name, text in facts
        if text
        for row in folded(text, width, "text", head=[(f" {cell(name, 12)} ", "muted")], limit=4)
    ]


def _with(service: str | None, version: str | None) -> str:
    return " ".join(filter(None, (service, version)))


def _unknowns(result: Result) -> Iterable[tuple[str, str]]:
    for part in (result.missing, result.target.missing, result.environment.missing, result.load.missing):
        for field, why in part.items():
            if not (part is result.target.missing and field == "device_in_use"):
                yield tidy(field.replace("_", " ")), why
