"""The command line. Imports nothing heavy until a command needs it: `--help` stays quick."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tui.cli_shared import (
    EXIT_CHECK_USAGE,
    EXIT_USAGE,
    HOSTS,
    Fault,
    Finite,
    Interruptible,
    find_config,
    load_config,
    or_fault,
    print_json,
    run,
    settings_of,
    targets_of,
)

if TYPE_CHECKING:
    from probes.config import Settings

_ELSEWHERE = {
    "audit": "tui.cli_triage",
    "bench": "tui.cli_bench",
    "diagnose": "tui.cli_triage",
    "preflight": "tui.cli_preflight",
}
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's interface
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import version  # noqa: PLC0415 - 20 ms that only --version needs

    click.echo(f"quarterdeck {version('quarterdeck')}")
    ctx.exit()


@click.group(cls=Interruptible, elsewhere=_ELSEWHERE, invoke_without_command=True, context_settings=_CONTEXT)
@click.option("--config", "config_path", metavar="FILE", help="Configuration file.")
@click.option("--log-file", metavar="FILE", help="Write a log there (rotating, 5 MB, three kept, mode 0600).")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show it.")
@click.pass_context
def main(ctx: click.Context, config_path: str | None, log_file: str | None) -> None:
    """Watch a GPU fleet over SSH. Without a command: the dashboard; without a configuration: this machine."""
    del config_path  # read where it is needed, from the context
    if log_file is not None:
        _start_log(log_file, EXIT_CHECK_USAGE if ctx.invoked_subcommand == "check" else EXIT_USAGE)
    if ctx.invoked_subcommand is None:
        gc.disable()  # imports make much and free nothing; the backend, after the first paint, enables it again
        _paint_at_once()
        from tui.keys import actions  # noqa: PLC0415

        _dashboard(settings_of(ctx, actions=actions()))


# --- the dashboard ---


def _dashboard(settings: Settings, reload_from: str | None = None) -> None:
    from probes.fleet import Fleet  # noqa: PLC0415
    from tui.run import run_dashboard  # noqa: PLC0415

    ctx = click.get_current_context()
    path = reload_from or settings.source

    def reload_settings() -> Settings:
        from probes import config  # noqa: PLC0415
        from tui.keys import actions  # noqa: PLC0415

        return load_config(Path(path), actions()) if path else config.default_settings()

    code = run_dashboard(settings, Fleet(settings.hosts), reload_settings)
    ctx.exit(code)


def _paint_at_once() -> None:
    """Before Textual is imported: have it paint what changed at once, not up to 33 ms later.

    After a paint it waits one or two of its frame periods, 1/60 s each, before the next; we paint small parts twenty
    times a second, so a key pressed just behind one would wait for that. What is painted stays the same.
    """
    os.environ.setdefault("TEXTUAL_FPS", "5000")


@main.command()
@click.option("--hosts", default=24, show_default=True, type=click.IntRange(1, 200), help="How many simulated hosts.")
@click.option("--seed", default=7, show_default=True, type=int, help="Same seed, same fleet.")
@click.pass_context
def demo(ctx: click.Context, hosts: int, seed: int) -> None:
    """Open the dashboard on a simulated fleet: real SSH servers on loopback, labelled as simulated."""
    _paint_at_once()
    from tui.run import run_demo  # noqa: PLC0415

    ctx.exit(run_demo(hosts, seed))


# --- headless ---


@main.command()
@HOSTS
@click.option("--format", "form", type=click.Choice(["json", "csv", "prometheus"]), default="json", show_default=True)
@click.option("--timeout", "timeout_s", metavar="S", default=20.0, show_default=True, type=Finite(0.5, 3600))
@click.pass_context
def snapshot(ctx: click.Context, hosts: tuple[str, ...], form: str, timeout_s: float) -> None:
    """Print one complete look at the hosts. Exit 0 when written, even with dead hosts in it."""
    settings = targets_of(settings_of(ctx), hosts)
    from probes.headless import take_snapshot  # noqa: PLC0415

    taken = run(take_snapshot(settings, timeout_s))
    if form == "json":
        print_json(taken)
        return
    from probes import exposition  # noqa: PLC0415

    click.echo(exposition.csv_text(taken) if form == "csv" else exposition.prometheus(taken), nl=False)


@main.command()
@HOSTS
@click.pass_context
def watch(ctx: click.Context, hosts: tuple[str, ...]) -> None:
    """Print one JSON line per sample, link change, service probe and event, until interrupted."""
    settings = targets_of(settings_of(ctx), hosts)
    import msgspec  # noqa: PLC0415

    from probes.headless import follow  # noqa: PLC0415
    from probes.outlet import Outlet  # noqa: PLC0415

    async def pour() -> None:
        encoder = msgspec.json.Encoder()
        with Outlet(sys.stdout.fileno()) as outlet:
            async for lines in follow(settings):
                await outlet.write(encoder.encode_lines(lines))

    run(pour())


class _Check(click.Command):
    """A command whose 2 means "down": mistakes in its own options must not say that."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Read the arguments."""
        try:
            return super().make_context(*args, **more)
        except click.UsageError as mistake:
            mistake.exit_code = EXIT_CHECK_USAGE  # pyright: ignore[reportAttributeAccessIssue] - click reads it there
            raise


@main.command(cls=_Check)
@HOSTS
@click.option("--timeout", "timeout_s", metavar="S", default=20.0, show_default=True, type=Finite(0.5, 3600))
@click.pass_context
def check(ctx: click.Context, hosts: tuple[str, ...], timeout_s: float) -> None:
    """Print one line per host. Exit 0 fine, 1 degraded, 2 down, 3 unknown (also for usage mistakes)."""
    settings = targets_of(settings_of(ctx, EXIT_CHECK_USAGE), hosts, EXIT_CHECK_USAGE)
    from probes.headless import check as judge  # noqa: PLC0415
    from probes.headless import worst  # noqa: PLC0415
    from probes.judge.condition import Level  # noqa: PLC0415

    judged = run(judge(settings, timeout_s))
    for record, verdict in judged:
        words = "; ".join(verdict.reasons) or _fine_words(record)
        click.echo(f"{record.host.id}: {verdict.level.name.lower()} - {words}")
    exits = {Level.FINE: 0, Level.DEGRADED: 1, Level.DOWN: 2, Level.UNKNOWN: 3}
    ctx.exit(exits[worst([verdict.level for _, verdict in judged])])


def _fine_words(record: Any) -> str:
    sample = record.brief
    gpus = f"{len(sample.gpus)} GPUs" if sample.gpus else "no GPU"
    return f"{record.link.state.value}, {gpus}, {len(record.services)} services"


# --- configuration ---


@main.group("config")
def config_group() -> None:
    """Work with the configuration file."""


@config_group.command("init")
@click.argument("file", required=False)
def config_init(file: str | None) -> None:
    """Write the commented reference configuration (never over an existing file)."""
    from probes.config import commands, user_path  # noqa: PLC0415

    path = Path(file) if file else or_fault(lambda: user_path(os.environ))
    click.echo(f"written: {or_fault(lambda: commands.init(path))}")


@config_group.command("check")
@click.argument("file", required=False)
@click.pass_context
def config_check(ctx: click.Context, file: str | None) -> None:
    """Say every mistake in the configuration, one line each."""
    path = Path(file) if file else find_config(ctx)
    if path is None:
        click.echo("no configuration file: this machine is watched with the defaults")
        return
    from tui.keys import actions  # noqa: PLC0415

    or_fault(lambda: load_config(path, actions()))
    click.echo(f"{path}: fine")


@config_group.command("show")
@click.option("--format", "form", type=click.Choice(["toml", "json"]), default="toml", show_default=True)
@click.pass_context
def config_show(ctx: click.Context, form: str) -> None:
    """Print the effective configuration, defaults included."""
    import msgspec  # noqa: PLC0415

    from benchmarks.options import options_of  # noqa: PLC0415
    from probes.config import commands  # noqa: PLC0415

    settings = settings_of(ctx)
    bench = msgspec.json.decode(msgspec.json.encode(options_of(settings.bench)))
    click.echo(commands.show(msgspec.structs.replace(settings, bench=bench), form))


@config_group.command("path")
@click.pass_context
def config_path_(ctx: click.Context) -> None:
    """Print which file is used."""
    from probes.config import user_path  # noqa: PLC0415

    path = find_config(ctx)
    where = path or or_fault(lambda: user_path(os.environ))
    click.echo(str(path) if path else f"none (it would be looked for at {where})")


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: `eval "$(quarterdeck completion bash)"`."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    kind = get_completion_class(shell)
    if kind is None:
        raise Fault([f"no completion for {shell}"], EXIT_USAGE)
    click.echo(kind(main, {}, "quarterdeck", "_QUARTERDECK_COMPLETE").source())


def _start_log(file: str, code: int) -> None:
    from tui.logs import start_log  # noqa: PLC0415

    try:
        start_log(Path(file))
    except OSError as error:
        why = error.strerror or "cannot be written"
        raise Fault([f"--log-file: {file}: {why}; expected a file that can be written"], code) from None


if __name__ == "__main__":
    main()
