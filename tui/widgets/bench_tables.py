"""The tables of the grade card: KPIs, checks, requests, figures. Pure functions from a result to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.intervals import minimum_n
from benchmarks.stats import TOO_SMALL
from tui.bench_words import figure_text, outcome_counts, rate_text
from tui.format import UNKNOWN, cells, pct_text
from tui.widgets.folded import cell, folded, tidy
from tui.widgets.lines import clip, flow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.result import Kpi, MetricResult, Quantile, Result
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span

_CHECKS: Final = {"pass": ("pass", "good", 0), "fail": ("FAIL", "bad", 3), "not_checked": ("not checked", "unknown", 2)}
#: what a check is about
CHECK_WORDS: Final = {"gpu_over_80_pct": "GPU over 80 % during the run", "device_claim": "device claimed and in use"}
_SOURCES: Final = {"measured": "text", "estimated": "warn", "projected": "warn", "stale": "old"}
_QUANTILES: Final = ("p50", "p90", "p95", "p99")


def _heading(spans: list[Span], width: int) -> Row:
    head = clip(spans, width)
    return (*head, (" " * (width - sum(cells(text) for text, _ in head)), "header"))


def kpis_rows(kpis: Sequence[Kpi], width: int) -> list[Row]:
    """Target, actual, attainment and where the actual came from."""
    if not kpis:
        return []
    name = min(max(cells(tidy(kpi.title)) for kpi in kpis) + 1, max(width // 3, 10))
    rows: list[Row] = [
        _heading([(f" {cell('', name)} {'target':>12} {'actual':>12} {'attained':>12}  source", "header")], width)
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
        why = _reasons(kpi)
        tail = why or kpi.formula
        used = sum(cells(text) for text, _ in spans)
        if used + 2 + cells(tidy(tail)) <= width:
            spans.append((f"  {tidy(tail)}", "unknown" if why else "muted"))
            rows.append(clip(spans, width))
        else:
            rows.append(clip(spans, width))
            rows += folded(tail, width, "unknown" if why else "muted", head=[("   ", "text")], limit=2)
    return rows


def _reasons(kpi: Kpi) -> str:
    """Why fields of a KPI are not known; a reason that several share is said once."""
    fields: dict[str, list[str]] = {}
    for field, reason in kpi.missing.items():
        fields.setdefault(tidy(reason), []).append(tidy(field.removesuffix("_pct")))
    return "; ".join(f"no {', '.join(names)}: {reason}" for reason, names in fields.items())


def checks_rows(result: Result, glyphs: Glyphs, width: int) -> list[Row]:
    """Device claimed and in use, then what passed, failed or was not checked."""
    rows: list[Row] = []
    target = result.target
    if target.device_claimed is not None or target.device_in_use is not None:
        claimed, used = tidy(target.device_claimed or UNKNOWN), tidy(target.device_in_use or UNKNOWN)
        why = target.missing.get("device_in_use") if target.device_in_use is None else None
        text = f"claimed {claimed}, in use {used}" + (f" ({tidy(why)})" if why else "")
        rows += folded(text, width, "text", head=[(" device ", "muted")], limit=3)
    for check in result.checks:
        word, style, level = _CHECKS[check.outcome]
        head: list[Span] = [
            (f" {glyphs.levels[level]} {word} ", style),
            (f"{CHECK_WORDS.get(check.id, tidy(check.id.replace('_', ' ')))}: ", "strong"),
        ]
        rows += folded(check.detail, width, "text", head=head, indent=3, limit=3)
    return rows


def requests_rows(result: Result, glyphs: Glyphs, width: int) -> list[Row]:
    """What was intended and what it ended as; how load was offered; errors."""
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


def metrics_rows(result: Result, width: int) -> list[Row]:
    """Success-only and error-adjusted figures, n always printed."""
    rows: list[Row] = []
    names = [name for name in _QUANTILES if any(name in metric.q for metric in result.metrics.values())]
    size = 24 if width >= 100 else 16
    head = f" {'':<{size}} {'n':>5} " + " ".join(f"{name:>12}" for name in names)
    wide = width >= cells(head) + 30
    if wide:
        head += f" {'mean':>11} {'sd':>11} {'cv':>5}"
    rows.append(_heading([(head, "header")], width))
    for tag, metric in result.metrics.items():
        if metric.scope == "run":
            why = tidy(metric.missing.get("value", ""))
            value = figure_text(metric.value, metric.unit)
            head_spans: list[Span] = [(f" {cell(tag, size)} ", "text"), (f"{metric.n:>5} ", "muted")]
            rows.append(clip([*head_spans, (f"{value:>12}", "strong"),
                              (f"  {why or tidy(metric.formula)}", "muted")], width))  # fmt: skip
            continue
        rows.append(clip(_metric_spans(tag, metric, metric.q, names, size=size, wide=wide), width))
        if metric.adjusted and any(_differs(metric, name) for name in names):
            rows.append(
                clip(_metric_spans("  with failures", metric, metric.adjusted, names, size=size, wide=False), width)
            )
        if metric.outliers:
            rows.append(
                clip(
                    [
                        (
                            f"   {metric.outliers} {'outlier' if metric.outliers == 1 else 'outliers'}, none left out",
                            "warn",
                        )
                    ],
                    width,
                )
            )
    return rows


def _differs(metric: MetricResult, name: str) -> bool:
    mine, adjusted = metric.q.get(name), metric.adjusted.get(name)
    return mine is not None and adjusted is not None and (mine.value, mine.reason) != (adjusted.value, adjusted.reason)


def _metric_spans(
    tag: str, metric: MetricResult, quantiles: Mapping[str, Quantile], names: Sequence[str], *, size: int, wide: bool
) -> list[Span]:
    spans: list[Span] = [(f" {cell(tag, size)} ", "text"), (f"{metric.n:>5} ", "muted")]
    for name in names:
        one = quantiles.get(name)
        if one is None or one.value is None:
            reason = "none" if one is None else (one.reason or UNKNOWN)
            # how many requests it takes says more than that there were too few
            short = f"n < {minimum_n(float(name[1:]) / 100)}" if reason == TOO_SMALL else reason
            spans.append((f"{cell(short, min(cells(tidy(short)), 12)):>12} ", "unknown"))
        else:
            spans.append((f"{figure_text(one.value, metric.unit):>12} ", "strong" if name == "p50" else "text"))
    if wide:
        cv = "" if metric.cv is None else f"{metric.cv:.2f}"
        spans += [
            (f"{figure_text(metric.mean, metric.unit):>11} {figure_text(metric.sd, metric.unit):>11} {cv:>5}", "text")
        ]
    return spans


def spans_rows(spans: Mapping[str, MetricResult], glyphs: Glyphs, width: int) -> list[Row]:
    """The parts of a request, by their medians."""
    facts: list[list[Span]] = [
        [(f"{tidy(name)} ", "muted"), (figure_text(one.median, one.unit), "text"), (f" (n {one.n})", "muted")]
        for name, one in spans.items()
    ]
    return flow([[("medians", "muted")], *facts], width, glyphs, first=[(" ", "text")]) if facts else []
