"""A result as a person reads it in a terminal: the letter and why, the figures with their units, what was not well."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from benchmarks.intervals import minimum_n
from benchmarks.stats import TOO_SMALL
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.result import Kpi, MetricResult, Quantile, Result
    from benchmarks.store_rows import Row

_TEXT: Final = 60
_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_TAG: Final = 32
_PERCENTILES: Final = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
_BY_SIZE: Final = ((1.0, 1.0, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "µs"))


def figure(value: float | None, unit: str) -> str:
    """A figure with its unit, three significant digits: ``1.42 s``, ``23.2 ms``, ``15.8 GiB``; None: ``unknown``."""
    if value is None:
        return "unknown"
    if unit == "s":
        _, times, name = next(step for step in _BY_SIZE if abs(value) >= step[0] or step[0] == 0.0)
        return f"{_digits(value * times)} {name}"
    if unit in {"bytes", "B"}:
        at = 0
        while abs(value) >= 1024 and at < len(_BINARY) - 1:
            value, at = value / 1024, at + 1
        return f"{_digits(value)} {_BINARY[at]}"
    if unit in {"%", "", "1"} or unit.startswith("1/"):
        return f"{_digits(value)}{unit.removeprefix('1')}"
    return f"{_digits(value)} {unit}"


def _digits(value: float) -> str:
    """Three significant digits, never an exponent."""
    if value == 0:
        return "0"
    size = abs(value)
    places = 2 if size < 10 else 1 if size < 100 else 0
    if size < 1:
        return f"{value:.3g}" if size >= 1e-4 else f"{value:.6f}"
    return f"{value:.{places}f}"


def letter(result: Result) -> str:
    """``A``, ``A~`` (quick), ``A (provisional)``, ``INVALID``, or ``no letter``."""
    return short_letter(
        result.grade.letter,
        result.validity.verdict,
        approximate=result.grade.approximate,
        provisional=result.grade.provisional,
    )


def short_letter(given: str | None, verdict: str, *, approximate: bool, provisional: bool) -> str:
    """The same from the fields of a row."""
    if verdict == "invalid":
        return "INVALID"
    if given is None:
        return "no letter"
    return f"{given}{'~' if approximate else ''}{' (provisional)' if provisional else ''}"


def card(result: Result, width: int = 160) -> str:
    """All that a person wants to know of one run, as lines of text without colour that fit ``width``."""
    lines = [*_head(result), *_grade(result), *_load(result), *_figures(result, width), *_tail(result)]
    return "".join(f"{part}\n" for line in lines for part in _folded(line, width))


def _folded(line: str, width: int) -> list[str]:
    """A line in parts that fit, broken between words; what follows stands below the words."""
    found = textwrap.wrap(
        line, width, subsequent_indent=" " * 12, drop_whitespace=False, break_on_hyphens=False, replace_whitespace=False
    )
    return [part.rstrip() for part in found] or [""]


def cards(results: Sequence[Result], width: int = 160) -> str:
    """Several, an empty line between them."""
    return "\n".join(card(result, width) for result in results)


def _head(result: Result) -> Iterable[str]:
    what = " ".join(part for part in (result.benchmark.id, result.case, result.temperature) if part)
    simulated = "  (simulated)" if result.simulated else ""
    label = f"  label {clean(result.label)}" if result.label else ""
    yield f"{clean(what)} on {clean(result.target.host)}: {letter(result)}{simulated}"
    yield f"  run       {clean(result.run_id)}  {clean(result.wall_start)}{label}"
    if result.case_text:
        yield f"  text      {clean(result.case_text, _TEXT)} ({len(result.case_text)} characters)"
    via = result.target.via.replace("_", " ")
    tunnel = "" if result.target.tunnel_ms is None else f", tunnel {result.target.tunnel_ms:.1f} ms"
    service = " ".join(part for part in (result.target.service, result.target.server_version) if part)
    yield f"  target    {clean(result.target.endpoint)} ({via}{tunnel}){'  ' + clean(service) if service else ''}"
    devices = [
        f"{word} {clean(device)}"
        for word, device in (("claims", result.target.device_claimed), ("in use", result.target.device_in_use))
        if device
    ]
    if devices:
        yield f"  device    {', '.join(devices)}"


def _grade(result: Result) -> Iterable[str]:
    grade = result.grade
    if grade.statistic is not None:
        bound = "" if grade.upper is None else f", 95 % bound {figure(grade.upper, grade.unit or '')}"
        value = "infinite (failures)" if grade.value is None else figure(grade.value, grade.unit or "")
        yield f"  graded    {clean(grade.statistic)}: {value}{bound}, n {result.counts.intended}"
    for part in grade.parts if len(grade.parts) > 1 else ():
        value = clean(part.reason or "unknown") if part.value is None else figure(part.value, part.unit)
        yield f"  part      {clean(part.statistic)}: {value}: {part.letter or 'no letter'}"
    if grade.uncapped is not None and grade.uncapped != grade.letter:
        yield f"  ladder    {grade.uncapped} before what lowered it"
    for cap in grade.caps:
        yield f"  cap       at most {cap.letter}: {clean(cap.reason)}"
    if grade.letter is None and grade.reason and result.validity.verdict == "valid":
        yield f"  no letter {clean(grade.reason)}"
    yield f"  policy    {clean(grade.policy_id)}"
    for reason in result.validity.reasons:
        yield f"  invalid   {clean(reason)}"
    for mark in result.validity.marks:
        yield f"  mark      {clean(mark)}"


def _load(result: Result) -> Iterable[str]:
    counts = result.counts
    failed = ", ".join(f"{count} {clean(name)}" for name, count in counts.by_outcome.items() if count and name != "ok")
    yield f"  requests  {counts.intended}: {counts.ok} ok{', ' + failed if failed else ''}"
    load = result.load
    offered = (
        f"open loop, {figure(load.target_per_s, '1/s')} wanted"
        if load.model == "open"
        else f"closed loop, {load.concurrency} at a time"
    )
    achieved = "" if load.achieved_per_s is None else f", {figure(load.achieved_per_s, '1/s')} achieved"
    together = f", {result.nodes} hosts together" if result.nodes > 1 else ""
    yield f"  load      {offered}{achieved}{together}"


def _figures(result: Result, width: int) -> Iterable[str]:
    for kpi in result.kpis:
        yield f"  kpi       {_kpi(kpi)}"
    rows = [row for tag, metric in result.metrics.items() for row in _rows(tag, metric)]
    if not rows:
        return
    table = [("figure", "n", "p50 [95 % interval]", "p90", "p95", "p99", "mean", "most"), *rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
    # on a narrow terminal the last columns are left out: JSON has them all
    while len(widths) > 3 and sum(widths) + 2 * len(widths) > width:
        widths.pop()
    for row in (row[: len(widths)] for row in table):
        yield "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _rows(tag: str, metric: MetricResult) -> Iterable[tuple[str, ...]]:
    """A line a metric; two where requests failed: of the ok ones, and with a failure as infinite."""
    name = clean(tag, _TAG)
    if metric.scope == "run":
        reason = f"unknown ({clean(metric.missing['value'])})" if "value" in metric.missing else ""
        yield name, "1 run", reason or figure(metric.value, metric.unit), "", "", "", "", ""
        return
    mean, most = (figure(value, metric.unit) if value is not None else "" for value in (metric.mean, metric.max))
    if metric.outliers:
        most += f" ({metric.outliers} outliers)"
    failed = metric.adjusted != metric.q
    yield f"{name}{', ok only' if failed else ''}", str(metric.n), *_quantiles(metric.q, metric.unit), mean, most
    if failed:
        yield f"{name}, failures infinite", "", *_quantiles(metric.adjusted, metric.unit), "", ""


def _quantiles(found: Mapping[str, Quantile], unit: str) -> tuple[str, ...]:
    """The cells of the percentiles; one that n does not suffice for says how many it needs."""
    return tuple(_quantile(found.get(name), unit, p, ci=name == "p50") for name, p in _PERCENTILES.items())


def _quantile(quantile: Quantile | None, unit: str, p: float, *, ci: bool) -> str:
    if quantile is None:
        return "-"
    if quantile.value is None:
        needs = f"n < {minimum_n(p)}"
        return "infinite" if quantile.reason == "failures" else needs if quantile.reason == TOO_SMALL else "unknown"
    if not ci or quantile.ci is None:
        return figure(quantile.value, unit)
    return f"{figure(quantile.value, unit)} [{figure(quantile.ci[0], unit)}, {figure(quantile.ci[1], unit)}]"


def _kpi(kpi: Kpi) -> str:
    words = {True: "attained", False: "MISSED", None: "not judged"}[kpi.attained]
    target = "no target" if kpi.target is None else f"target {figure(kpi.target, kpi.unit)}"
    share = "" if kpi.attainment_pct is None else f", {kpi.attainment_pct:.0f}%"
    return f"{clean(kpi.title)}: {figure(kpi.actual, kpi.unit)} ({kpi.source}), {target}: {words}{share}"


def _tail(result: Result) -> Iterable[str]:
    gpu = result.gpu
    if gpu.n:
        used = f"mean {figure(gpu.utilization_mean_pct, '%')}, max {figure(gpu.utilization_max_pct, '%')}"
        memory = f", memory {figure(gpu.memory_max_bytes, 'bytes')}" if gpu.memory_max_bytes is not None else ""
        power = f", {figure(gpu.power_mean_w, 'W')}" if gpu.power_mean_w is not None else ""
        yield f"  gpu {gpu.index if gpu.index is not None else '':<6}{used}{memory}{power}, n {gpu.n}"
    elif gpu.missing:
        yield f"  gpu       unknown: {clean(next(iter(gpu.missing.values())))}"
    for check in result.checks:
        yield f"  check     {clean(check.id)}: {check.outcome.replace('_', ' ')}, {clean(check.detail)}"
    for error in result.errors:
        yield f"  error     {clean(error)}"
    for note in result.notes:
        yield f"  note      {clean(note)}"
    formulas = "; ".join(f"{clean(tag, _TAG)} = {clean(metric.formula)}" for tag, metric in result.metrics.items())
    if formulas:
        yield f"  formulas  {formulas}"


def rows_text(rows: Sequence[Row]) -> str:
    """A list of runs, a line each, the columns as wide as they must be."""
    table = [("RUN", "BENCHMARK", "HOST", "SERVICE", "CASE", "GRADE", "FIGURE", "STATISTIC", "LABEL")]
    table += [
        (
            row.run_id,
            row.benchmark,
            row.host,
            row.service or "",
            f"{row.case} {row.temperature or ''}".strip(),
            short_letter(row.letter, row.verdict, approximate=row.approximate, provisional=row.provisional)
            + (" baseline" if row.baseline else ""),
            figure(row.value, row.unit or ""),
            f"{row.statistic or 'none'}{' (simulated)' if row.simulated else ''}",
            row.label or "",
        )
        for row in rows
    ]
    cleaned = [tuple(clean(cell, _TEXT) for cell in line) for line in table]
    widths = [max(len(line[at]) for line in cleaned) for at in range(len(table[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in cleaned]
    return "".join(f"{line.rstrip()}\n" for line in lines)
