"""The grade card: the letter, how it came about, and everything it rests on. Pure functions from a result to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tui.bench_words import (
    case_text,
    figure_text,
    letter_style,
    letter_text,
    outcome_counts,
    rate_text,
)
from tui.format import UNKNOWN, bytes_text, cells, pct_text, watts_text
from tui.widgets.bench_plot import gpu_rows, time_end, time_row
from tui.widgets.big_letters import big
from tui.widgets.folded import cell, folded, tidy
from tui.widgets.lines import beside, clip, flow, rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.result import GpuUse, Grade, Kpi, MetricResult, Quantile, Result
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span

_CHECKS: Final = {"pass": ("pass", "good", 0), "fail": ("FAIL", "bad", 3), "not_checked": ("not checked", "unknown", 2)}
_SOURCES: Final = {"measured": "text", "estimated": "warn", "projected": "warn", "stale": "old"}
_QUANTILES: Final = ("p50", "p90", "p95", "p99")
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
    rows = _grade(result, glyphs, width)
    if baseline is not None and baseline.run_id != result.run_id:
        rows += folded(
            f"{_statistic(baseline)} on {baseline.wall_start} ({tidy(baseline.run_id)})",
            width, "text", head=[(" baseline ", "muted")], limit=3,
        )  # fmt: skip
    for title, part in (
        ("KPIs", _kpis(result.kpis, width)),
        ("checks", _checks(result, glyphs, width)),
        ("requests", _requests(result, glyphs, width)),
        ("figures", _metrics(result, width)),
        ("parts of a request", _spans(result.spans, glyphs, width)),
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
            (f"{letter_text(grade, verdict):<8}", letter_style(grade.letter, verdict)),
            (f"{cell(case_text(result), min(24, max(width // 3, 8)))} ", "strong" if at == selected else "text"),
            (f"{_statistic(result)}  n {result.counts.ok}/{result.counts.intended}", "text"),
        ]
        rows.append(clip(spans, width))
    return rows


def _statistic(result: Result) -> str:
    grade = result.grade
    if grade.statistic is None:
        return "not graded"
    value = figure_text(grade.value, grade.unit or "")
    why = f" ({tidy(grade.missing['value'])})" if grade.value is None and "value" in grade.missing else ""
    return f"{tidy(grade.statistic)} {value}{why}"


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
        head: list[Span] = [(f" {glyphs.levels[1]} at most ", "warn"), (f"{cap.letter} ", "strong")]
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
    value = figure_text(grade.value, unit)
    facts: list[list[Span]] = [
        [(f"{tidy(grade.statistic or '')} ", "muted"), (value, "strong")],
        [("n ", "muted"), (f"{result.counts.intended}", "text")],
        [("95% bound ", "muted"), (figure_text(grade.upper, unit), "text")],
    ]
    facts += [
        [(f"{word}: {tidy(grade.missing[name])}", "unknown")]
        for name, word in (("value", "figure"), ("upper", "bound"))
        if getattr(grade, name) is None and name in grade.missing
    ]
    return flow(facts, width, glyphs, dots=False)


# --- tables ---


def _kpis(kpis: Sequence[Kpi], width: int) -> list[Row]:
    if not kpis:
        return []
    name = min(max(cells(tidy(kpi.title)) for kpi in kpis) + 1, max(width // 3, 10))
    rows: list[Row] = [
        clip([(f" {cell('', name)} {'target':>12} {'actual':>12} {'attained':>12}  source", "header")], width)
    ]
    for kpi in kpis:
        word, style = {True: ("yes", "good"), False: ("NO", "bad"), None: (UNKNOWN, "unknown")}[kpi.attained]
        share = "" if kpi.attainment_pct is None else f" {pct_text(kpi.attainment_pct)}"
        spans: list[Span] = [
            (f" {cell(kpi.title, name)} ", "text"),
            (f"{figure_text(kpi.target, kpi.unit):>12} ", "muted"),
            (f"{figure_text(kpi.actual, kpi.unit):>12} ", "strong"),
            (f"{word + share:>12}  ", style),
            (kpi.source, _SOURCES[kpi.source]),
        ]
        why = "; ".join(f"{tidy(field)}: {tidy(reason)}" for field, reason in kpi.missing.items())
        tail = why or kpi.formula
        used = sum(cells(text) for text, _ in spans)
        if used + 2 + cells(tidy(tail)) <= width:
            spans.append((f"  {tidy(tail)}", "unknown" if why else "muted"))
            rows.append(clip(spans, width))
        else:
            rows.append(clip(spans, width))
            rows += folded(tail, width, "unknown" if why else "muted", head=[("   ", "text")], limit=2)
    return rows


def _checks(result: Result, glyphs: Glyphs, width: int) -> list[Row]:
    rows: list[Row] = []
    target = result.target
    if target.device_claimed is not None or target.device_in_use is not None:
        claimed, used = tidy(target.device_claimed or UNKNOWN), tidy(target.device_in_use or UNKNOWN)
        why = target.missing.get("device_in_use") if target.device_in_use is None else None
        text = f"claimed {claimed}, in use {used}" + (f" ({tidy(why)})" if why else "")
        rows += folded(text, width, "text", head=[(" device ", "muted")], limit=3)
    for check in result.checks:
        word, style, level = _CHECKS[check.outcome]
        head: list[Span] = [(f" {glyphs.levels[level]} {word} ", style), (f"{tidy(check.id)} ", "strong")]
        rows += folded(check.detail, width, "text", head=head, indent=3, limit=3)
    return rows


def _requests(result: Result, glyphs: Glyphs, width: int) -> list[Row]:
    counts, load = result.counts, result.load
    facts: list[list[Span]] = [[("intended ", "muted"), (f"{counts.intended}", "strong")]]
    facts += [
        [(f"{word} ", "muted"), (f"{n}", style)]
        for word, n, style in outcome_counts({"ok": counts.ok, **counts.by_outcome})
    ]
    how: list[list[Span]] = []
    if load.model == "closed":
        how.append([(f"closed loop, {load.concurrency} at a time", "text")])
        how.append([("completed ", "muted"), (rate_text(load.achieved_per_s), "text")])
    else:
        how.append([("open loop, target ", "text"), (rate_text(load.target_per_s), "text")])
        how.append([("sent ", "muted"), (rate_text(load.achieved_per_s), "text")])
        how += [
            [(f"send lag {tidy(name)} ", "muted"), (figure_text(lag, "s"), "text")]
            for name, lag in load.send_lag_s.items()
        ]
    how.append([("client CPU ", "muted"), (pct_text(load.client_cpu_pct), "text")])
    how.append([("loop lag p99 ", "muted"), (figure_text(load.loop_lag_p99_s, "s"), "text")])
    rows = flow(facts, width, glyphs, first=[(" ", "text")]) + flow(how, width, glyphs, first=[(" ", "text")])
    for error in result.errors[:5]:
        rows += folded(error, width, "bad", head=[(" error ", "muted")], limit=2)
    if len(result.errors) > 5:
        rows.append(clip([(f" and {len(result.errors) - 5} more errors", "muted")], width))
    return rows


def _metrics(result: Result, width: int) -> list[Row]:
    """Success-only and error-adjusted figures, n always printed."""
    rows: list[Row] = []
    names = [name for name in _QUANTILES if any(name in metric.q for metric in result.metrics.values())]
    head = f" {'':<24} {'n':>5} " + " ".join(f"{name:>12}" for name in names)
    wide = width >= cells(head) + 30
    if wide:
        head += f" {'mean':>11} {'sd':>11} {'cv':>5}"
    rows.append(clip([(head + " ", "header")], width))
    for tag, metric in result.metrics.items():
        if metric.scope == "run":
            why = tidy(metric.missing.get("value", ""))
            value = figure_text(metric.value, metric.unit)
            rows.append(clip([(f" {cell(tag, 24)} ", "text"), (f"{metric.n:>5} ", "muted"), (f"{value:>12}", "strong"),
                              (f"  {why or tidy(metric.formula)}", "muted")], width))  # fmt: skip
            continue
        rows.append(clip(_metric_spans(tag, metric, metric.q, names, wide=wide), width))
        if metric.adjusted and any(_differs(metric, name) for name in names):
            rows.append(clip(_metric_spans("  with failures", metric, metric.adjusted, names, wide=False), width))
        if metric.outliers:
            rows.append(clip([(f"   {metric.outliers} outliers, none left out", "warn")], width))
    return rows


def _differs(metric: MetricResult, name: str) -> bool:
    mine, adjusted = metric.q.get(name), metric.adjusted.get(name)
    return mine is not None and adjusted is not None and (mine.value, mine.reason) != (adjusted.value, adjusted.reason)


def _metric_spans(
    tag: str, metric: MetricResult, quantiles: Mapping[str, Quantile], names: Sequence[str], *, wide: bool
) -> list[Span]:
    spans: list[Span] = [(f" {cell(tag, 24)} ", "text"), (f"{metric.n:>5} ", "muted")]
    for name in names:
        one = quantiles.get(name)
        if one is None or one.value is None:
            reason = "none" if one is None else (one.reason or UNKNOWN)
            short = {"n too small": "n too small", "failures": "failures"}.get(reason, reason)
            spans.append((f"{cell(short, min(cells(tidy(short)), 12)):>12} ", "unknown"))
        else:
            spans.append((f"{figure_text(one.value, metric.unit):>12} ", "strong" if name == "p50" else "text"))
    if wide:
        cv = "" if metric.cv is None else f"{metric.cv:.2f}"
        spans += [
            (f"{figure_text(metric.mean, metric.unit):>11} {figure_text(metric.sd, metric.unit):>11} {cv:>5}", "text")
        ]
    return spans


def _spans(spans: Mapping[str, MetricResult], glyphs: Glyphs, width: int) -> list[Row]:
    facts: list[list[Span]] = [
        [(f"{tidy(name)} ", "muted"), (figure_text(one.median, one.unit), "text"), (f" (n {one.n})", "muted")]
        for name, one in spans.items()
    ]
    return flow([[("medians", "muted")], *facts], width, glyphs, first=[(" ", "text")]) if facts else []


# --- what was run ---


def _gpu(result: Result, glyphs: Glyphs, width: int) -> list[Row]:
    use = result.gpu
    ends = [phase.t1_ns for phase in result.phases] + [one.at_ns for one in use.readings]
    end_s = time_end((max(ends) - result.t0_ns) / 1e9 if ends else 1.0)
    rows = gpu_rows(use.readings, result.t0_ns, end_s, width, glyphs, why=gpu_reason(use), most=2, height=2)
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
