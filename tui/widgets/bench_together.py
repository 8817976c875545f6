"""What several nodes did together: each node, throughput by the wall clock, efficiency, spread. Rows, no widget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.bench_words import known_text
from tui.format import UNKNOWN
from tui.widgets.folded import cell, folded, tidy
from tui.widgets.lines import clip, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.multi import CaseSummary, NodeSummary
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span

_NAME = 20


def together_rows(cases: Sequence[CaseSummary], glyphs: Glyphs, width: int) -> list[Row]:
    """All cases, one below the other, with an end; empty without any."""
    rows: list[Row] = []
    for case in cases:
        rows += _case(case, glyphs, width)
    return [*rows, ()] if rows else rows


def _case(case: CaseSummary, glyphs: Glyphs, width: int) -> list[Row]:
    what = tidy(" ".join(part for part in (case.service, case.case, case.temperature) if part))
    style = "strong" if case.finished == case.planned else "warn"
    title: list[Span] = [(f" {what} on {case.planned} nodes together ", "strong")]
    title.append((f" {case.finished} of {case.planned} finished", style))
    rows: list[Row] = [rule(clip(title, width), width, glyphs)]
    rows.append(clip([(f" {'node':<{_NAME}} {'rate':>11} {'alone':>11}  state", "header")], width))
    rows += [_node(node, width) for node in case.nodes]
    rows += _figure("throughput", known_text(case.together_per_s, case.unit, case.missing.get("together_per_s")),
                    "completed / wall clock from the first start to the last end", width)  # fmt: skip
    efficiency = UNKNOWN if case.efficiency is None else f"{case.efficiency:.3f}"
    why = case.missing.get("efficiency") or "throughput / sum of the rates alone, in this session"
    rows += _figure("efficiency", efficiency, why, width)
    spread = UNKNOWN if case.spread is None else f"{case.spread:.1%}"
    rows += _figure("spread", spread, "(max - min) / min of the nodes' rates", width)
    for flag in case.flags:
        rows += folded(flag, width, "warn", head=[(f" {glyphs.levels[1]} ", "warn")], limit=2)
    return rows


def _node(node: NodeSummary, width: int) -> Row:
    style = "text" if node.state == "finished" else "bad"
    return clip(
        [
            (f" {cell(tidy(node.host), _NAME)} ", "strong"),
            (f"{known_text(node.rate, '1/s', None):>11} {known_text(node.solo_rate, '1/s', None):>11}  ", "text"),
            (tidy(node.state), style),
        ],
        width,
    )


def _figure(name: str, value: str, words: str, width: int) -> list[Row]:
    head: list[Span] = [(f" {name:<11}", "muted"), (f"{value:>11}  ", "strong")]
    return folded(tidy(words), width, "muted", head=head, limit=2)
