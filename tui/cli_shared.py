"""What the commands of the command line share: the configuration, whom they are about, how they run and fail."""

from __future__ import annotations

import math
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from probes.config import Actions, Settings

EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_CHECK_USAGE = 3
EXIT_CANCELLED = 130


class Finite(click.FloatRange):
    """A number in a range; not a number (NaN) is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that was written."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Interruptible(click.Group):
    """Ends with 130 at an interrupt that comes before a command listens to it itself; click's own 1 means a defect.

    Whoever closed one of our three streams gets the null device there: else the next file or socket would take its
    place, and be written to.

    Args:
        args: click's.
        elsewhere: commands by name and the modules that have them, imported when one is needed: not by the dashboard.
        more: click's.
    """

    def __init__(self, *args: Any, elsewhere: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self._elsewhere = dict(elsewhere or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted([*super().list_commands(ctx), *self._elsewhere])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or None."""
        module = self._elsewhere.get(cmd_name)
        return super().get_command(ctx, cmd_name) if module is None else getattr(import_module(module), cmd_name)

    def main(self, *args: Any, **more: Any) -> Any:
        """Run the command line."""
        _open_streams()
        return super().main(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run what was asked for."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            raise SystemExit(EXIT_CANCELLED) from None


def _open_streams() -> None:
    names = {"stdin": "r", "stdout": "w", "stderr": "w"}
    gone = [name for name in names if getattr(sys, name) is None]
    if not gone:
        return
    while (above := os.open(os.devnull, os.O_RDWR)) < len(names):
        pass
    os.close(above)
    for name in gone:
        setattr(sys, name, Path(os.devnull).open(names[name], encoding="utf-8"))  # noqa: SIM115 - until we end


class Fault(click.ClickException):
    """Mistakes, one line each on stderr, with the exit code of the command's contract."""

    def __init__(self, lines: list[str], code: int) -> None:
        super().__init__("\n".join(lines))
        self.exit_code = code  # pyright: ignore[reportAttributeAccessIssue] - click reads it from the instance

    def show(self, file: Any = None) -> None:
        """Print the mistakes, one line each."""
        del file
        click.echo(self.message, err=True)


def complete_host(ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """Configured ids and ssh_config aliases; a broken configuration completes nothing, in silence."""
    from probes.errors import QuarterdeckError  # noqa: PLC0415

    try:
        settings = settings_of(ctx)
    except (click.ClickException, QuarterdeckError, OSError):
        return []
    from probes.inventory.ssh_config import read_aliases  # noqa: PLC0415

    names = [host.id for host in settings.hosts] + list(read_aliases(settings.ssh.config_files).names)
    return sorted({name for name in names if name.startswith(start)})[:200]


HOSTS = click.argument("hosts", nargs=-1, metavar="[HOST]...", shell_complete=complete_host)


def find_config(ctx: click.Context) -> Path | None:
    """The configuration file in use, None without one."""
    from probes.config import find  # noqa: PLC0415

    # from the parameters, not from what main() noted: completion parses the line without running it
    return find(ctx.find_root().params.get("config_path"), os.environ, Path.cwd())


def settings_of(ctx: click.Context, code: int = EXIT_USAGE, actions: Actions | None = None) -> Settings:
    """The configuration; its mistakes end the command with ``code``."""
    from probes.config import default_settings  # noqa: PLC0415

    path = find_config(ctx)
    return default_settings() if path is None else or_fault(lambda: load_config(path, actions), code)


def load_config(path: Path, actions: Actions | None = None) -> Settings:
    """Load a configuration with the benchmarks' tables in it, which ``probes`` does not know.

    Raises:
        ConfigError: with one line for every mistake, the benchmarks' included.
    """
    from probes.config import load  # noqa: PLC0415
    from probes.errors import ConfigError  # noqa: PLC0415

    try:
        settings = load(path, actions)
    except ConfigError as error:
        raise ConfigError([*error.mistakes, *_bench_mistakes(path, error.mistakes)]) from None
    if settings.bench:
        from benchmarks.options import mistakes_in  # noqa: PLC0415 - only where there is something to check

        mistakes = mistakes_in(settings)
        if mistakes:
            raise ConfigError(mistakes)
    return settings


def _bench_mistakes(path: Path, known: list[str]) -> list[str]:
    """Those of the benchmarks' tables in a file with other mistakes; none where it, or they, cannot be read at all."""
    from benchmarks.options import options_of  # noqa: PLC0415
    from probes.config.build import parse  # noqa: PLC0415
    from probes.errors import ConfigError  # noqa: PLC0415
    from probes.text import clean  # noqa: PLC0415

    label = clean(str(path), 4096)
    try:
        table = parse(path).get("bench", {})
        if isinstance(table, dict) and not any(line.startswith(f"{label}: bench") for line in known):
            options_of(table, label)
    except ConfigError as error:
        return [line for line in error.mistakes if line not in known]
    return []


def targets_of(settings: Settings, names: tuple[str, ...], code: int = EXIT_USAGE) -> Settings:
    """The settings with only the named hosts in them (all of them when none is named)."""
    if not names:
        return settings
    import msgspec  # noqa: PLC0415

    from probes.inventory import resolve_targets  # noqa: PLC0415

    hosts = or_fault(lambda: resolve_targets(settings, names), code)
    return msgspec.structs.replace(settings, hosts=hosts)


def or_fault(action: Any, code: int = EXIT_USAGE) -> Any:
    """What ``action`` returns; our own errors end the command with ``code``, a line each."""
    from probes.errors import ConfigError, QuarterdeckError  # noqa: PLC0415

    try:
        return action()
    except ConfigError as error:
        raise Fault(error.mistakes, code) from None
    except FileExistsError as error:
        raise Fault([f"{error.filename} exists already; expected a new name"], code) from None
    except (QuarterdeckError, OSError) as error:
        raise Fault([str(error)], code) from None


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end; an interrupt or a reader that went away ends it cleanly, agents included."""
    import asyncio  # noqa: PLC0415

    from probes.signals import interruptible  # noqa: PLC0415

    try:
        return asyncio.run(interruptible(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SystemExit(EXIT_CANCELLED) from None
    except BrokenPipeError:
        # the reader of our output is gone: nothing is left to say, and flushing would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def print_out(text: str) -> bool:
    """Write to stdout; false: nobody reads it any more, and what follows is written to nobody.

    Raises:
        Fault: it cannot be written (exit code 1).
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # what is left in the buffer would fail again when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise Fault([f"stdout cannot be written: {error.strerror}"], EXIT_INTERNAL) from None
        return False
    return True


def print_json(value: Any) -> None:
    """Print one line of JSON."""
    import msgspec  # noqa: PLC0415

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()
