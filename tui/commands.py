"""The ``:`` commands: one table for the command line, its completion, the palette and the help screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.suggester import Suggester

from probes.text import clean
from tui import themes
from tui.columns import BY_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tui.app import QuarterdeckApp

#: a palette that offers a thousand hosts is slower than typing
MAX_HITS: Final = 20


class CommandError(ValueError):
    """A command cannot be run; says why."""


class Command(Struct, frozen=True, gc=False):
    """One command. ``argument`` is its name for the help, empty: takes none."""

    name: str
    argument: str
    description: str
    run: Callable[[QuarterdeckApp, str], object]
    complete: Callable[[QuarterdeckApp], Iterable[str]] = lambda _: ()
    optional: bool = False
    #: takes several arguments, completed one after the other
    many: bool = False


def _hosts(app: QuarterdeckApp) -> Iterable[str]:
    return app.fleet.hosts


def _columns(_app: QuarterdeckApp) -> Iterable[str]:
    return BY_KEY


def _host(app: QuarterdeckApp, host_id: str) -> None:
    if host_id not in app.fleet.hosts:
        raise CommandError(f"no host {clean(host_id)!r}")
    app.open_host(host_id)


def _theme(app: QuarterdeckApp, name: str) -> None:
    if name not in themes.NAMES:
        raise CommandError(f"no theme {clean(name)!r}: themes are {', '.join(themes.NAMES)}")
    app.theme = name


def _group(app: QuarterdeckApp, name: str) -> None:
    from tui.board import GROUPINGS  # noqa: PLC0415 - only here

    if name not in GROUPINGS:
        raise CommandError(f"no grouping {clean(name)!r}: {', '.join(GROUPINGS)}")
    app.board.set_grouping(name)
    app.fleet_screen.show_now()


def _yank(app: QuarterdeckApp, what: str) -> None:
    what = what or "address"
    if what not in ("address", "error", "command"):
        raise CommandError("yank what? address, error or command")
    if app.selected_host is None:
        raise CommandError("no host is selected")
    app.yank(app.selected_host, what)


def _chosen(app: QuarterdeckApp, host_id: str) -> list[str]:
    if host_id:
        if host_id not in app.fleet.hosts:
            raise CommandError(f"no host {clean(host_id)!r}")
        return [host_id]
    return app.board.chosen(app.selected_host)


def _several(app: QuarterdeckApp, names: str) -> list[str]:
    """Hosts named one after the other (or one whose id has spaces), else the marked or the selected one."""
    if not names or names in app.fleet.hosts:
        return _chosen(app, names)
    return list(dict.fromkeys(host_id for name in names.split() for host_id in _chosen(app, name)))


def _bench(app: QuarterdeckApp, arguments: str) -> None:
    """A benchmark's id first, if it is one; then hosts, else the marked or the selected one."""
    from benchmarks import registry  # noqa: PLC0415 - only here

    first, _, rest = arguments.partition(" ")
    if first in registry.ids():
        app.open_bench(_several(app, rest.strip()), first)
    else:
        app.open_bench(_several(app, arguments))


def _benchable(app: QuarterdeckApp) -> Iterable[str]:
    from benchmarks import registry  # noqa: PLC0415 - only here

    return (*registry.ids(), *app.fleet.hosts)


def _compare(app: QuarterdeckApp, sides: str) -> None:
    two = sides.split()
    if len(two) != 2:
        raise CommandError("compare needs two sides: run ids with commas between, or label:NAME")
    app.open_history(compare=(two[0], two[1]))


COMMANDS: Final[tuple[Command, ...]] = (
    Command("sort", "COLUMN", "sort by a column", lambda app, arg: app.fleet_screen.sort_by(arg), _columns),
    Command("filter", "EXPRESSION", "filter the fleet; empty shows all",
            lambda app, arg: app.fleet_screen.set_filter(arg), optional=True),
    Command("host", "ID", "open a host", _host, _hosts),
    Command("group", "HOW", "group by none, group, folded or state", _group,
            lambda _: ("none", "group", "folded", "state")),
    Command("faults", "", "only hosts that are not fine, or all", lambda app, _: app.fleet_screen.action_faults()),
    Command("pause", "[ID]", "pause or resume a host, else the marked or selected ones",
            lambda app, arg: app.pause_hosts(_chosen(app, arg)), _hosts, optional=True),
    Command("reconnect", "[ID]", "reconnect a host, else the marked or selected ones",
            lambda app, arg: app.reconnect_hosts(_chosen(app, arg)), _hosts, optional=True),
    Command("shell", "[ID]", "shell into a host (runs ssh)",
            lambda app, arg: app.shell_soon(next(iter(_chosen(app, arg)), None)), _hosts, optional=True),
    Command("yank", "[WHAT]", "copy address, error or command of the selected host", _yank,
            lambda _: ("address", "error", "command"), optional=True),
    Command("export", "FILE", "write what is known now as JSON", lambda app, arg: app.export_soon(arg)),
    Command("matrix", "", "hosts x services matrix", lambda app, _: app.open_matrix()),
    Command("events", "", "event log", lambda app, _: app.fleet_screen.action_events()),
    Command("triage", "[HOST...]", "why hosts are not reached: these, else the marked or selected ones",
            lambda app, arg: app.open_triage(_several(app, arg)), _hosts, optional=True, many=True),
    Command("audit", "[HOST...]", "what hosts expose: these, else the marked or selected ones",
            lambda app, arg: app.open_audit(_several(app, arg)), _hosts, optional=True, many=True),
    Command("record", "[FILE]", "write the diagnosis or audit on the screen as JSON and Markdown",
            lambda app, arg: app.record_soon(arg), optional=True),
    Command("bench", "[ID] [HOST...]", "measure hosts: these, else the marked or selected ones", _bench, _benchable,
            optional=True, many=True),
    Command("history", "[FILTER]", "benchmark runs of the past", lambda app, arg: app.open_history(arg), optional=True),
    Command("compare", "A B", "compare two sides of past runs: ids with commas between, or label:NAME", _compare),
    Command("theme", "NAME", "colours", _theme, lambda _: themes.NAMES),
    Command("clock", "", "clock in UTC or local time", lambda app, _: app.switch_clock()),
    Command("reload", "", "reload the configuration", lambda app, _: app.reload_soon()),
    Command("restart", "", "restart the watching machinery after it stopped", lambda app, _: app.start_backend()),
    Command("help", "", "all keys and signs", lambda app, _: app.open_help()),
    Command("quit", "", "quit", lambda app, _: app.quit_asking()),
)  # fmt: skip
BY_NAME: Final = {command.name: command for command in COMMANDS}
SHORT: Final = {"q": "quit", "q!": "quit", "h": "help", "s": "sort", "f": "filter"}


def run(app: QuarterdeckApp, line: str) -> None:
    """Run one line.

    Raises:
        ValueError: no such command, or what is wrong with its argument.
    """
    name, _, argument = line.strip().partition(" ")
    name, argument = SHORT.get(name, name), argument.strip()
    if not name:
        return
    command = BY_NAME.get(name)
    if command is None:
        near = [each for each in BY_NAME if each.startswith(name)]
        if len(near) != 1:
            raise CommandError(f"no command {clean(name)!r}: {', '.join(near or BY_NAME)}")
        command = BY_NAME[near[0]]
    if argument and not command.argument:
        raise CommandError(f"{command.name} takes no argument")
    if command.argument and not argument and not command.optional:
        raise CommandError(f"{command.name} needs {command.argument}")
    command.run(app, argument)


def completions(app: QuarterdeckApp, line: str, limit: int = MAX_HITS) -> list[str]:
    """Whole lines that go on from what was typed."""
    name, space, argument = line.partition(" ")
    if not space:
        return [each for each in BY_NAME if each.startswith(name)][:limit]
    command = BY_NAME.get(SHORT.get(name, name))
    if command is None:
        return []
    before, _, last = argument.lstrip().rpartition(" ") if command.many else ("", "", argument.lstrip())
    start = f"{name} {before} " if before else f"{name} "
    found: list[str] = []
    for value in command.complete(app):
        if value.startswith(last):
            found.append(f"{start}{value}")
            if len(found) >= limit:
                break
    return found


class CommandSuggester(Suggester):
    """Completes the command line."""

    def __init__(self, app: QuarterdeckApp) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._app = app

    async def get_suggestion(self, value: str) -> str | None:
        """The first completion."""
        return next(iter(completions(self._app, value, 1)), None) if value else None


class QuarterdeckProvider(Provider):
    """Commands and hosts for the palette; host ids are shown as they are, never parsed."""

    @property
    def _qd(self) -> QuarterdeckApp:
        return self.app  # type: ignore[return-value]

    async def discover(self) -> Hits:
        """What is offered before anything is typed."""
        for command in COMMANDS:
            if not command.argument or command.optional:
                yield DiscoveryHit(command.name, self._runner(command.name), command.name, help=command.description)

    async def search(self, query: str) -> Hits:
        """Commands first, then the best hosts, at most ``MAX_HITS``."""
        matcher = self.matcher(query)
        for command in COMMANDS:
            score = matcher.match(command.name)
            if score > 0 and (not command.argument or command.optional):
                yield Hit(score, Content(command.name), self._runner(command.name), command.name, command.description)
        wanted = query.casefold()
        found = 0
        for host_id, row in self._qd.board.rows.items():
            at = row.id_text.casefold().find(wanted)
            if at < 0:
                continue
            found += 1
            if found > MAX_HITS:
                return
            score = 0.5 + 0.4 * len(wanted) / max(len(row.id_text), 1)
            yield Hit(score, Content(f"host {row.id_text}"), self._opener(host_id), row.id_text, "open the host")

    def _runner(self, line: str) -> Callable[[], None]:
        return lambda: self._qd.run_command(line)

    def _opener(self, host_id: str) -> Callable[[], None]:
        return lambda: self._qd.open_host(host_id)
