"""The commands of triage: `diagnose` and `audit`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tui.cli_shared import EXIT_USAGE, HOSTS, Fault, complete_host, or_fault, print_json, run, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.config import Settings
    from probes.evidence import Evidence
    from probes.judge.correlate import Correlation
    from probes.judge.diagnosis import Diagnosis
    from probes.model import Host, Service

_MAX_PORTS = 64
#: of several hosts the worst: blocked, then cannot tell, then reachable
_WORST = (1, 3, 0)


@click.command()
@click.argument("hosts", nargs=-1, metavar="HOST...", required=True, shell_complete=complete_host)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--format", "form", type=click.Choice(["text", "json", "md"]), default="text", show_default=True)
@click.option("--ports", metavar="P,P", help="These ports instead of the configured services.")
@click.option("--no-login", is_flag=True, help="Look from outside only: no SSH login for the host's own view.")
@click.pass_context
def diagnose(
    ctx: click.Context, hosts: tuple[str, ...], *, as_json: bool, form: str, ports: str | None, no_login: bool
) -> None:
    """Say which layer blocks a host, and what to do now. Exit 0 reachable, 1 blocked, 3 cannot tell.

    HOST need not be configured: user@host:port or an address will do, with --ports. One host gives one JSON object;
    several give one with their "diagnoses" and, once, what failing ones have "shared".
    """
    settings = settings_of(ctx)
    chosen = _hosts(settings, hosts)
    wanted_ports = None if ports is None else _ports(ports)
    from probes.diagnose_report import document, exit_code, fleet_document  # noqa: PLC0415
    from probes.judge.correlate import Judged, correlate  # noqa: PLC0415
    from probes.judge.triage import diagnose as judge  # noqa: PLC0415

    judged = [Judged(judge(one), one) for one in _gather(settings, chosen, wanted_ports, inside=not no_login)]
    found, shared = [one.diagnosis for one in judged], correlate(judged)
    if as_json or form == "json":
        print_json(document(found[0]) if len(found) == 1 else fleet_document(found, shared))
    else:
        click.echo("\n".join(_written(found, shared, form)), nl=False)
    codes = {exit_code(one) for one in found}
    ctx.exit(next(code for code in _WORST if code in codes))


def _written(judged: Sequence[Diagnosis], shared: Sequence[Correlation], form: str) -> list[str]:
    """The parts to be shown one below the other: what hosts share, then each host."""
    if form == "md":
        from probes.diagnose_markdown import markdown, shared_markdown  # noqa: PLC0415

        return [*filter(None, [shared_markdown(shared)]), *map(markdown, judged)]
    from probes.diagnose_text import diagnosis_text, shared_text  # noqa: PLC0415

    return [*filter(None, [shared_text(shared)]), *map(diagnosis_text, judged)]


@click.command()
@HOSTS
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text: an array, one object a host.")
@click.pass_context
def audit(ctx: click.Context, hosts: tuple[str, ...], *, as_json: bool) -> None:
    """Audit the security posture: world-open rules, SSH, IMDS, open and unneeded ports.

    Every line is pass, fail or not checked (why). Exit 0 nothing failed, 1 a line failed, 3 nothing could be checked.
    """
    settings = settings_of(ctx)
    chosen = _hosts(settings, hosts) if hosts else settings.hosts
    from probes.clock import rfc3339  # noqa: PLC0415
    from probes.diagnose_text import audit_text  # noqa: PLC0415
    from probes.judge.posture import audit as judge  # noqa: PLC0415
    from probes.judge.posture_types import Checked  # noqa: PLC0415

    postures = [judge(evidence) for evidence in _gather(settings, chosen, None, inside=True, auth_methods=True)]
    if as_json:
        print_json([posture.document(rfc3339(posture.taken_at_wall_s)) for posture in postures])
    else:
        click.echo("\n".join(map(audit_text, postures)), nl=False)
    outcomes = {line.outcome for posture in postures for line in posture.lines}
    ctx.exit(1 if Checked.FAIL in outcomes else 0 if Checked.PASS in outcomes else 3)


def _gather(
    settings: Settings,
    hosts: Sequence[Host],
    ports: tuple[int, ...] | None,
    *,
    inside: bool,
    auth_methods: bool = False,
) -> list[Evidence]:
    """The evidence of these hosts, in their order."""
    import msgspec  # noqa: PLC0415

    from probes.headless import investigate  # noqa: PLC0415
    from probes.investigate import Wanted  # noqa: PLC0415

    probed = [msgspec.structs.replace(host, services=_services(host, ports)) for host in hosts]
    if sys.stderr.isatty():
        count = sum(len(host.services) for host in probed)
        click.echo(f"probing {count} ports of {len(probed)} host{'s' if len(probed) > 1 else ''} ...", err=True)
    wanted = Wanted(inside=inside, auth_methods=auth_methods)
    found = run(investigate(settings, probed, wanted, settings.hosts))
    return [found[host.id] for host in probed]


def _hosts(settings: Settings, names: tuple[str, ...]) -> tuple[Host, ...]:
    from probes.inventory import resolve_targets  # noqa: PLC0415

    return or_fault(lambda: resolve_targets(settings, names))


def _services(host: Host, ports: tuple[int, ...] | None) -> tuple[Service, ...]:
    """The ports asked for, by their configured services where there are some; a host without any: its SSH."""
    from probes.reach.gather import service_for  # noqa: PLC0415

    if ports is None:
        return host.services or (service_for(host.port or 22),)
    known = {service.port: service for service in host.services}
    return tuple(known.get(port) or service_for(port) for port in ports)


def _ports(text: str) -> tuple[int, ...]:
    """Ports separated by commas, each once."""
    mistakes: list[str] = []
    found: dict[int, None] = {}
    for part in (part.strip() for part in text.split(",")):
        number = int(part) if part.isascii() and part.isdigit() and len(part) <= 5 else 0
        if 1 <= number <= 65535:
            found[number] = None
        else:
            mistakes.append(f"--ports: {part[:20]!r} is no port; expected numbers from 1 to 65535, separated by commas")
    if len(found) > _MAX_PORTS:
        mistakes.append(f"--ports: {len(found)} ports; expected at most {_MAX_PORTS}: this is no scanner")
    if mistakes:
        raise Fault(mistakes, EXIT_USAGE)
    return tuple(found)
