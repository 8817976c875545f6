"""The commands of benchmarks: `bench list | run | list-runs | show | summary | compare | ...`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tui.cli_bench_print import json_text, print_results
from tui.cli_bench_run import OPTIONS, run
from tui.cli_shared import EXIT_USAGE, Fault, or_fault, print_out, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.benchmark import Definition
    from benchmarks.options import BenchOptions
    from benchmarks.result import Result
    from benchmarks.store import Row, Store

_EXIT_STORE: Final = 1
_EXIT_REFUSED: Final = 3
_SPAN: Final = re.compile(r"(\d{1,5})([smhdw])")
_SPAN_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@click.group()
def bench() -> None:
    """Measure services and hosts, and look at what was measured."""


bench.add_command(run)


def complete_run(_ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """Ids of stored runs; without a store that can be read there are none, in silence."""
    from benchmarks.errors import BenchError  # noqa: PLC0415
    from benchmarks.store import Store  # noqa: PLC0415

    try:
        return list(Store.open().ids(start))
    except BenchError:
        return []


def from_store(action: Callable[[Store], Any]) -> Any:
    """What ``action`` returns; a store that cannot be used ends the command with 1, a run that is not there with 2."""
    from benchmarks.errors import BenchError  # noqa: PLC0415
    from benchmarks.store import Store  # noqa: PLC0415

    try:
        return action(Store.open())
    except BenchError as error:
        raise Fault([str(error)], EXIT_USAGE if error.layer == "plan" else _EXIT_STORE) from None


# --- what there is ---


@bench.command("list")
@click.option("--json", "json_", is_flag=True, help="JSON instead of text.")
@click.pass_context
def list_(ctx: click.Context, *, json_: bool) -> None:
    """List the benchmarks with their metrics, the boundaries of the letters and their parameters."""
    from benchmarks import registry  # noqa: PLC0415
    from benchmarks.options import options_of  # noqa: PLC0415

    options = options_of(settings_of(ctx).bench)
    found = [registry.definition(each) for each in registry.ids()]
    if json_:
        print_out(json_text([_listed(one, options) for one in found]))
    else:
        print_out("\n".join(_described(one, options) for one in found))


def _listed(one: Definition, options: BenchOptions) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415

    ladders = [msgspec.to_builtins(ladder) for ladder in options.ladders_of(one)]
    return {
        "id": one.id,
        "version": one.version,
        "title": one.title,
        "summary": one.summary,
        "on": one.on,
        "metrics": one.metrics,
        # a ladder without a tail is always of its percentile: nothing is missing there
        "ladders": [{name: value for name, value in ladder.items() if value is not None} for ladder in ladders],
        "parameters": one.parameters,
    }


def _described(one: Definition, options: BenchOptions) -> str:
    from benchmarks.card import figure  # noqa: PLC0415

    lines = [f"{one.id}: {one.title}", f"  {one.summary}"]
    lines += [
        f"  metric     {metric.tag} [{metric.unit}, {metric.better} is better] = {metric.formula}"
        for metric in one.metrics
    ]
    for ladder in options.ladders_of(one):
        sign = "<=" if ladder.better == "lower" else ">="
        steps = ", ".join(
            f"{name} {sign} {figure(value, ladder.unit)}"
            for name, value in (("S", ladder.s), ("A", ladder.a), ("B", ladder.b), ("C", ladder.c))
        )
        tail = f" (p{ladder.tail * 100:g} where n suffices)" if ladder.tail else ""
        lines.append(f"  letters    {ladder.tag} p{ladder.percentile * 100:g}{tail}: {steps}, else D")
    for parameter in one.parameters:
        default = f", default {parameter.default}" if parameter.default else ""
        choices = f" ({', '.join(parameter.choices)})" if parameter.choices else ""
        option = f"--{parameter.name}" if parameter.name in OPTIONS else f"--param {parameter.name}=..."
        lines.append(f"  parameter  {option}: {parameter.help or parameter.title}{choices}{default}")
    return "\n".join(lines) + "\n"


# --- what was measured ---


@bench.command("list-runs")
@click.option("--benchmark", metavar="ID", help="Of this benchmark.")
@click.option("--host", metavar="HOST", help="Of this host.")
@click.option("--service", metavar="NAME", help="Of this service.")
@click.option("--label", metavar="L", help="With this label.")
@click.option("--case", metavar="CASE", help="Of this text, prompt or command.")
@click.option("--since", metavar="WHEN", help="Not older: 12h, 7d, or a date or time (UTC).")
@click.option(
    "--letter", type=click.Choice(["S", "A", "B", "C", "D", "F", "none"]), help="With this letter, or without any."
)
@click.option("--text", metavar="WORDS", help="With this anywhere: id, host, endpoint, case, its text, label.")
@click.option("--limit", metavar="N", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--json", "json_", is_flag=True, help="JSON instead of text.")
def list_runs(*, since: str | None, json_: bool, **filters: Any) -> None:
    """List the runs that were stored, the last one first."""
    from benchmarks.store import Query  # noqa: PLC0415

    query = Query(since=None if since is None else _moment(since), **filters)
    rows: tuple[Row, ...] = from_store(lambda store: store.find(query))
    if json_:
        print_out(json_text([_row(row) for row in rows]))
        return
    from benchmarks.card import rows_text  # noqa: PLC0415

    if rows:
        print_out(rows_text(rows))
    else:
        click.echo("no run fits", err=True)


def _row(row: Row) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415

    found = msgspec.to_builtins(row)
    reasons = {
        "temperature": "not applicable",
        "service": "the host itself, or a URL",
        "label": "none was given",
        "letter": "not graded",
        "value": "infinite or not measured",
        "statistic": "nothing was measured",
        "unit": "nothing was measured",
    }
    return {**found, "missing": {name: why for name, why in reasons.items() if found[name] is None}}


def _moment(text: str) -> str:
    """A moment as it stands in results: so long ago, or a date or time (UTC where it says nothing else)."""
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    from probes.clock import rfc3339  # noqa: PLC0415

    span = _SPAN.fullmatch(text.strip())
    try:
        if span is not None:
            when = datetime.now(UTC) - timedelta(seconds=int(span[1]) * _SPAN_S[span[2]])
        else:
            when = datetime.fromisoformat(text.strip())
        return rfc3339((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise Fault([f"--since: {text!r} is no time; expected 12h, 7d, 2026-11-25 or 2026-11-25T20:00Z"], 2) from None


_RUNS = click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)


@bench.command()
@_RUNS
@click.option("--json", "json_", is_flag=True, help="JSON also on a terminal.")
def show(runs: tuple[str, ...], *, json_: bool) -> None:
    """Show stored runs: a card each on a terminal, else a JSON array.

    RUN is the id of a run or the beginning of one, several separated by commas, label:L or label:L@HOST.
    """
    found: list[Result] = from_store(lambda store: [result for run in runs for result in store.runs_of(run)])
    print_results(list({result.run_id: result for result in found}.values()), json_=json_)


@bench.command()
@click.argument("run_id", metavar="RUN", shell_complete=complete_run)
@click.option("--json", "json_", is_flag=True, help="JSON instead of text: nodes (an object a case) and jobs.")
def summary(run_id: str, *, json_: bool) -> None:
    """Sum up all runs that belong to the same command as RUN: nodes that ran together, jobs in parallel."""
    from benchmarks.multi import jobs_of, summary_of  # noqa: PLC0415

    found: tuple[Result, ...] = from_store(lambda store: store.suite_of(run_id))
    nodes, jobs = summary_of(found), jobs_of(found)
    if json_:
        print_out(json_text({"suite_id": found[0].suite_id, "nodes": nodes, "jobs": jobs}))
        return
    from benchmarks.multi_text import summary_text  # noqa: PLC0415

    print_out(summary_text(nodes, jobs) or "one run alone: nothing to sum up\n")


@bench.command()
@click.argument("a", metavar="A", shell_complete=complete_run)
@click.argument("b", metavar="B", shell_complete=complete_run)
@click.option("--json", "json_", is_flag=True, help="JSON instead of text: an array, one object a case.")
@click.pass_context
def compare(ctx: click.Context, a: str, b: str, *, json_: bool) -> None:
    """Compare two sets of runs, case by case. Exit 0 compared, 3 nothing can be compared.

    A and B are run ids, several separated by commas, label:L or label:L@HOST. Under four runs a side nothing is
    concluded.
    """
    from benchmarks import compare as comparing  # noqa: PLC0415

    left, right = from_store(lambda store: (store.runs_of(a), store.runs_of(b)))
    found = comparing.compare_all(left, right, a, b)
    if json_:
        print_out(json_text([comparing.as_json(one) for one in found]))
    else:
        print_out("".join(f"{line}\n" for one in found for line in comparing.lines(one)))
    ctx.exit(_EXIT_REFUSED if all(one.refused for one in found) else 0)


@bench.command()
@click.argument("run_id", metavar="RUN", shell_complete=complete_run)
@click.option("--format", "form", type=click.Choice(["json", "jsonl", "r4"]), default="json", show_default=True)
@click.option("--output", metavar="FILE", help="Into this new file, for you alone, instead of stdout.")
def export(run_id: str, form: str, output: str | None) -> None:
    """Export a run: json is the result, jsonl its samples a line each, r4 the result in four parts.

    The parts of r4 are metadata, performance_data, system_info and execution_context.
    """
    text, problem = from_store(lambda store: _exported(store, run_id, form))
    if problem:
        click.echo(f"{run_id}: {problem}", err=True)
    if output is None:
        print_out(text)
        return
    from tui.export_file import write_text  # noqa: PLC0415

    click.echo(f"written: {or_fault(lambda: write_text(Path(output).expanduser(), text), _EXIT_STORE)}", err=True)


def _exported(store: Store, run_id: str, form: str) -> tuple[str, str]:
    from benchmarks.export import collected, document, samples_text  # noqa: PLC0415

    result = store.get(run_id)
    if form == "jsonl":
        return samples_text(result, store.samples_folder)
    return json_text(document(result) if form == "json" else collected(result)), ""


@bench.command()
@click.argument("run_id", metavar="RUN", shell_complete=complete_run)
def baseline(run_id: str) -> None:
    """Make a valid run the baseline of its configuration on its host."""
    result: Result = from_store(lambda store: store.set_baseline(run_id))
    what = " ".join(part for part in (result.benchmark.id, result.case, result.temperature) if part)
    click.echo(f"baseline of {what} on {result.target.host}: {result.run_id}")
