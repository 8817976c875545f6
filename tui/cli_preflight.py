"""The command ``preflight``: can these nodes meet on a port, before a job is started on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tui.cli_shared import EXIT_USAGE, Fault, Finite, complete_host, or_fault, print_json, run, settings_of

if TYPE_CHECKING:
    from probes.config import Settings
    from probes.headless import Node

_MAX_NODES = 64


@click.command()
@click.argument("hosts", nargs=-1, metavar="HOST HOST...", required=True, shell_complete=complete_host)
@click.option("--port", metavar="P", required=True, type=click.IntRange(1, 65535), help="The rendezvous port.")
@click.option("--timeout", "timeout_s", metavar="S", default=3.0, show_default=True, type=Finite(0.1, 30))
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
@click.pass_context
def preflight(ctx: click.Context, hosts: tuple[str, ...], *, port: int, timeout_s: float, as_json: bool) -> None:
    """Say whether every node can reach every other on a port. Exit 0 all can, 1 some cannot, 3 cannot tell.

    Over SSH each node listens on the port for a moment while the others connect. HOST=ADDRESS says how the other nodes
    call a node, such as gpu-1=10.0.0.5; else it is the address that SSH dials. --timeout is that of each connect.
    """
    settings = settings_of(ctx)
    nodes = _nodes(settings, hosts)
    from probes import clock  # noqa: PLC0415
    from probes.headless import preflight as try_all  # noqa: PLC0415
    from probes.preflight_report import document, exit_code, text  # noqa: PLC0415

    taken_at_wall_s = clock.wall_s()
    pairs = run(try_all(settings, nodes, port, timeout_s))
    if as_json:
        print_json(document(pairs, port, taken_at_wall_s))
    else:
        click.echo(text(pairs, port), nl=False)
    ctx.exit(exit_code(pairs))


def _nodes(settings: Settings, names: tuple[str, ...]) -> list[Node]:
    """The hosts that are meant, each once, with the address that was given for it."""
    from probes.headless import Node  # noqa: PLC0415
    from probes.inventory import resolve_targets  # noqa: PLC0415

    known = {host.id for host in settings.hosts}
    found: dict[str, Node] = {}
    mistakes: list[str] = []
    for name in names:
        word, given, address = (name, "", "") if name in known else name.partition("=")
        hosts = or_fault(lambda word=word: resolve_targets(settings, (word,)))
        if given and (not address or len(hosts) != 1):
            mistakes.append(f"{name}: HOST=ADDRESS names one host and how the other nodes call it")
            continue
        for host in hosts:
            if host.local and not address:
                mistakes.append(f"{host.id}: no other node calls it that; expected {host.id}=ADDRESS")
            found[host.id] = Node(host, address or None)
    if not mistakes and not 2 <= len(found) <= _MAX_NODES:
        mistakes.append(f"preflight: {len(found)} host{'' if len(found) == 1 else 's'}; expected 2 to {_MAX_NODES}")
    if mistakes:
        raise Fault(mistakes, EXIT_USAGE)
    return list(found.values())
