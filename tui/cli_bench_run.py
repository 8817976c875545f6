"""The command `bench run`: what was asked for becomes a plan, the plan is run, results go to stdout and the store."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from tui.cli_bench_print import print_results
from tui.cli_shared import EXIT_CANCELLED, EXIT_USAGE, Fault, Finite, complete_host, or_fault, settings_of
from tui.cli_shared import run as run_to_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.benchmark import Definition, Parameter, Request
    from benchmarks.store import Store
    from benchmarks.suite import Suite, SuitePlan
    from probes.config import Settings
    from probes.model import Host


#: the exit code of a preflight that failed: nothing was measured
INVALID = 3
_RENDEZVOUS_S = 3.0


def complete_benchmark(_ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """The ids of benchmarks."""
    from benchmarks import registry  # noqa: PLC0415

    return [each for each in registry.ids() if each.startswith(start)]


class _Positive(Finite):
    """A finite number above 0."""

    def __init__(self) -> None:
        super().__init__(0, min_open=True)


@click.command()
@click.argument("benchmark", metavar="ID", shell_complete=complete_benchmark)
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...", shell_complete=complete_host)
@click.option("--check", is_flag=True, help="Connectivity and one request; no letter.")
@click.option("--quick", is_flag=True, help="10 requests a case: an estimate, at most A.")
@click.option("--n", type=click.IntRange(1), metavar="N", help="Requests a case.")
@click.option("--concurrency", type=click.IntRange(1), metavar="C", help="Closed loop with so many at a time.")
@click.option("--rate", type=_Positive(), metavar="R", help="Open loop with so many a second.")
@click.option("--text", "texts", multiple=True, metavar="TEXT", help="Instead of the fixed texts; repeat for several.")
@click.option("--style", metavar="ID", help="Voice: a style or profile.")
@click.option("--service", metavar="NAME", help="Which service of the host.")
@click.option("--url", metavar="URL", help="A base URL instead of a configured service.")
@click.option("--warmup", type=click.IntRange(0), metavar="N", help="Requests before those that count.")
@click.option("--timeout", "timeout_s", type=_Positive(), metavar="S", help="Of one request; one that is late failed.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the benchmark's own.")
@click.option("--repeat", type=click.IntRange(1, 100), default=1, show_default=True, metavar="N", help="Runs a case.")
@click.option("--label", metavar="L", help="Stands in the results, for list-runs and compare.")
@click.option("--against", metavar="HOST", shell_complete=complete_host, help="Another host, in turn with the others.")
@click.option("--fail-under", type=click.Choice(["S", "A", "B", "C", "D"]), help="Exit 99 when a letter is worse.")
@click.option("--at-once", type=click.IntRange(1, 64), metavar="N", help="Hosts loaded at a time.")
@click.option("--together", is_flag=True, help="All hosts measure at the same moment; each first alone.")
@click.option("--no-solo", is_flag=True, help="With --together: no runs alone, so no scaling efficiency.")
@click.option(
    "--rendezvous", type=click.IntRange(1, 65535), metavar="PORT", help="First: can all hosts meet on this port?"
)
@click.option("--yes", is_flag=True, help="Load hosts labelled production without asking.")
@click.option("--json", "json_", is_flag=True, help="JSON also on a terminal.")
@click.pass_context
def run(ctx: click.Context, benchmark: str, hosts: tuple[str, ...], **given: Any) -> None:
    """Run a benchmark on hosts, store the results and print them: a JSON array, cards on a terminal.

    Exit 0 pass, 99 a target or --fail-under missed, 3 invalid or not measured, 130 cancelled, 1 a defect of
    quarterdeck. Interrupting once ends it in order and keeps what there is.
    """
    settings = settings_of(ctx)
    named, against = _hosts(settings, hosts, given["against"])
    request = or_fault(lambda: _request(benchmark, given))
    plan = or_fault(lambda: _plan(settings, request, named, against, given))
    _ask([*named, *([against] if against else [])], yes=given["yes"])
    if given["rendezvous"] is not None:
        _rendezvous(settings, plan, given["rendezvous"])
    store = _open_store()
    from tui.bench_headless import drive, problems_of  # noqa: PLC0415

    suite, cancelled = run_to_end(drive(settings, plan, store))
    for line in (*problems_of(suite), *_unjudged(suite, given["fail_under"])):
        click.echo(line, err=True)
    _print(suite, stored=store is not None, json_=given["json_"])
    _print_summary(suite)
    from benchmarks.exitcode import exit_code  # noqa: PLC0415

    ctx.exit(exit_code(suite, given["fail_under"], cancelled=cancelled))


def _unjudged(suite: Suite, fail_under: str | None) -> list[str]:
    """The runs that --fail-under cannot judge, and why: they have no letter."""
    if fail_under is None:
        return []
    return [
        f"{one.target.host} {one.case}: --fail-under cannot be judged: {one.grade.reason or 'no letter'}"
        for one in suite.results
        if one.grade.letter is None
    ]


def _hosts(settings: Settings, names: Sequence[str], against: str | None) -> tuple[list[Host], Host | None]:
    from probes.inventory import resolve_targets  # noqa: PLC0415

    named = list(or_fault(lambda: resolve_targets(settings, names)))
    if against is None:
        return named, None
    others = or_fault(lambda: resolve_targets(settings, [against]))
    if len(others) != 1:
        raise Fault([f"--against: {against!r} are {len(others)} hosts; expected one"], EXIT_USAGE)
    return named, others[0]


def _request(benchmark: str, given: dict[str, Any]) -> Request:
    """What was asked for; every mistake in it is said."""
    from benchmarks import registry  # noqa: PLC0415
    from benchmarks.benchmark import Request  # noqa: PLC0415

    definition = registry.definition(benchmark)
    mistakes = _clashes(given)
    extra = _parameters(definition, given["params"], mistakes)
    if mistakes:
        raise Fault(mistakes, EXIT_USAGE)
    return Request(
        benchmark,
        mode="check" if given["check"] else "quick" if given["quick"] else "full",
        n=given["n"],
        concurrency=given["concurrency"],
        rate_per_s=given["rate"],
        warmup_n=given["warmup"],
        timeout_s=given["timeout_s"],
        texts=given["texts"],
        style=given["style"],
        service=given["service"],
        url=given["url"],
        extra=extra,
    )


def _clashes(given: dict[str, Any]) -> list[str]:
    """Options that do not go together, and words that cannot be sent or stored."""
    found: list[str] = []
    if given["check"] and given["quick"]:
        found.append("--check and --quick: choose one")
    if given["check"] and given["fail_under"]:
        found.append("--fail-under: --check gives no letter; expected --quick or a full run")
    if given["no_solo"] and not given["together"]:
        found.append("--no-solo: is about --together; expected both")
    if given["together"] and given["against"]:
        found.append("--together and --against: choose one")
    if given["url"] and given["service"]:
        found.append("--url and --service: choose one")
    words = [("--text", text) for text in given["texts"]] + [("--param", text) for text in given["params"]]
    words += [(f"--{name}", given[name]) for name in ("style", "service", "url", "label") if given[name]]
    for name, word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            found.append(f"{name}: is not UTF-8; expected text")
    found += [f"--url: {why}" for why in _url_mistake(given["url"]) if given["url"]]
    return found


def _url_mistake(url: str | None) -> list[str]:
    """What is wrong with a URL; it is never shown, since a password may be in it."""
    try:
        parts = urlsplit(url or "")
        _ = parts.port
    except ValueError:
        return ["is no URL; expected http://... or https://..."]
    if "@" in parts.netloc:
        return ["carries a user; a password does not belong on a command line or in a result"]
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return ["is no URL of a service; expected http://... or https://..."]
    return []


def _parameters(definition: Definition, words: Sequence[str], mistakes: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` by name; what is wrong is added to ``mistakes``."""
    from probes.config.schema import near, one_of  # noqa: PLC0415

    own = {each.name: each for each in definition.parameters if each.name not in OPTIONS}
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            mistakes.append(f"--param: {word!r} has no value; expected NAME=VALUE")
        elif name in OPTIONS:
            mistakes.append(f"--param: {name} is an option of its own; expected --{name}")
        elif name not in own:
            known = one_of(list(own)) if own else f"none: {definition.id} has no parameters of its own"
            mistakes.append(f"--param: {name!r} is unknown{near(name, list(own))}; expected {known}")
        elif (why := _wrong_value(own[name], value)) is not None:
            mistakes.append(f"--param: {name}: {value!r} {why}")
        else:
            found[name] = value
    return found


#: parameters of the form on the screen that are options of their own here
OPTIONS = frozenset({"url", "service", "style", "text", "n", "concurrency", "rate", "warmup", "timeout"})


def _wrong_value(parameter: Parameter, value: str) -> str | None:
    if parameter.kind == "choice" and value not in parameter.choices:
        return f"is unknown; expected {', '.join(parameter.choices)}"
    if parameter.kind in {"integer", "number"}:
        try:
            number = int(value) if parameter.kind == "integer" else float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            return f"is not {'a whole number' if parameter.kind == 'integer' else 'a number'}"
    return None


def _plan(settings: Settings, request: Request, hosts: Sequence[Host], against: Host | None, given: Any) -> Any:
    from benchmarks.options import options_of  # noqa: PLC0415
    from benchmarks.plan import plan_suite  # noqa: PLC0415

    options = options_of(settings.bench)
    return plan_suite(
        request,
        hosts,
        options.for_benchmark(request.benchmark),
        repeat=given["repeat"],
        label=given["label"],
        against=against,
        at_once=given["at_once"] or options.at_once,
        together=given["together"],
        solo=not given["no_solo"],
    )


def _rendezvous(settings: Settings, plan: SuitePlan, port: int) -> None:
    """Nothing is loaded when the nodes of a job could not meet."""
    from probes.headless import Node, preflight  # noqa: PLC0415
    from probes.preflight_report import exit_code, text  # noqa: PLC0415

    hosts = {job.host.id: job.host for job in plan.jobs}
    if len(hosts) < 2:
        raise Fault(["--rendezvous: one host has nobody to meet; expected several"], EXIT_USAGE)
    pairs = run_to_end(preflight(settings, [Node(host) for host in hosts.values()], port, _RENDEZVOUS_S))
    if exit_code(pairs) != 0:
        raise Fault([*text(pairs, port).splitlines(), "nothing was loaded"], INVALID)


def _print_summary(suite: Suite) -> None:
    """How several nodes or jobs did together, on stderr: stdout is the array of results."""
    from benchmarks.multi import jobs_summary, nodes_summary  # noqa: PLC0415
    from benchmarks.multi_text import summary_text  # noqa: PLC0415

    said = summary_text(nodes_summary(suite), jobs_summary(suite))
    if said:
        click.echo(said, err=True, nl=False)


def _ask(hosts: Sequence[Host], *, yes: bool) -> None:
    """A host labelled production is not loaded by mistake."""
    from benchmarks.options import is_production  # noqa: PLC0415

    asking = [host.id for host in hosts if is_production(host)]
    if yes or not asking:
        return
    names = ", ".join(asking)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Fault([f"labelled production: {names}; expected --yes, or a terminal to ask on"], EXIT_USAGE)
    try:
        agreed = click.confirm(f"Labelled production: {names}. Load it?", err=True)
    except click.Abort:
        agreed = False
    if not agreed:
        raise Fault(["nothing was loaded"], EXIT_CANCELLED)


def _open_store() -> Store | None:
    """The store; one that cannot be used is said before anything is loaded: the results are printed all the same."""
    from benchmarks.errors import BenchError  # noqa: PLC0415
    from benchmarks.store import Store  # noqa: PLC0415

    try:
        return Store.open()
    except BenchError as error:
        click.echo(f"results will only be printed: {error}", err=True)
        return None


def _print(suite: Suite, *, stored: bool, json_: bool) -> None:
    """Print the results; where that fails, say where they are."""
    results = list(suite.results)
    where = "they are stored: " if stored else "they were not stored: "
    where += ", ".join(result.run_id for result in results)
    try:
        if not print_results(results, json_=json_) and results:
            click.echo(f"nobody read the results; {where}", err=True)
    except Fault as fault:
        raise Fault([f"{fault.message}; {where}"], fault.exit_code) from None
