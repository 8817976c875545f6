"""One cell of the matrix in words: the state, what it means, its numbers, its age, who probed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.ssh_steps import STEP_WORDS, Outcome, ssh_steps
from probes.model import Health, PortState
from probes.text import clean
from tui.format import UNKNOWN, duration_text
from tui.glyphs import WORDS
from tui.widgets.lines import LinesPanel, clip, flow, wrap
from tui.widgets.link_header import link_style
from tui.widgets.service_list import STATE_WORDS, connect_text, health_text, sign, style_of

if TYPE_CHECKING:
    from probes.model import Service, ServiceState
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span, View

#: what each state of a port proves
MEANINGS: Final = {
    PortState.OPEN: "a connection was made",
    PortState.REFUSED: "packets arrive and nothing listens there",
    PortState.FILTERED: "no answer: something drops the packets, here, on the way or on the host",
    PortState.REJECTED: "a firewall answered that it does not let us through",
    PortState.UNREACHABLE: "the network says that there is no way to the host",
    PortState.UNRESOLVED: "the name has no address",
    PortState.NOT_PROBED: "nobody tried; the reason is beside it",
}
_STEP_STYLES: Final = {
    Outcome.PASSED: "good",
    Outcome.FAILED: "bad",
    Outcome.NOT_REACHED: "muted",
    Outcome.UNKNOWN: "unknown",
    Outcome.NOT_APPLICABLE: "muted",
}
HEIGHT: Final = 5


def ssh_rows(view: View, width: int) -> list[Row]:
    """The session's state and its steps."""
    record, link = view.record, view.record.link
    since = duration_text(view.now_s - link.since_boot_s)
    rows: list[Row] = [
        clip(
            [
                (f" {clean(record.host.id)} ", "strong"),
                ("SSH session ", "muted"),
                (WORDS[link.state][0], link_style(link.state)),
                (f" for {since}, as the live session knows it", "muted"),
            ],
            width,
        )
    ]
    steps = ssh_steps(record)
    if len({(step.outcome, step.detail) for step in steps}) == 1 and steps[0].outcome is not Outcome.PASSED:
        text = steps[0].detail or steps[0].outcome.value.replace("_", " ")
        rows.append(clip([(f" {text}", _STEP_STYLES[steps[0].outcome])], width))
    else:
        facts: list[list[Span]] = []
        for step in steps:
            words = step.outcome.value.replace("_", " ")
            if step.outcome is Outcome.PASSED and step.detail:
                words = step.detail
            if step.took_ms is not None:
                words = f"{words} {step.took_ms:.1f} ms"
            shown = words.upper() if step.outcome is Outcome.FAILED else words
            facts.append([(f"{STEP_WORDS[step.name]} ", "muted"), (shown, _STEP_STYLES[step.outcome])])
        rows += flow(facts, width, view.glyphs, first=[(" ", "text")])
    if link.cause:
        cause = f"{link.cause}. Next: {link.next_step}" if link.next_step else link.cause
        rows += [clip([(" ", "text"), *row], width) for row in wrap(cause, width - 1, link_style(link.state), limit=2)]
    return rows


def service_rows(service: Service, probe: ServiceState | None, view: View, width: int) -> list[Row]:
    """One service: state with its meaning, numbers, detail."""
    head: list[Span] = [
        (f" {clean(view.record.host.id)} ", "strong"),
        (f"{service.name} ", "text"),
        (f":{service.port} {service.kind.value}  ", "muted"),
    ]
    if probe is None:
        return [clip([*head, ("not probed yet", "unknown")], width)]
    head.append((f"{sign(probe, view.glyphs)} {STATE_WORDS[probe.state]}", style_of(probe)))
    rows = [clip([*head, (f": {MEANINGS[probe.state]}", "muted")], width)]
    age = f"{duration_text(view.now_s - probe.at_boot_s)} ago" if probe.at_boot_s else f"age {UNKNOWN}"
    facts: list[list[Span]] = [[("connect ", "muted"), (connect_text(probe.connect_ms), "text")]]
    health = health_text(probe)
    if health:
        style = {Health.OK: "good", Health.FAILING: "bad", Health.UNKNOWN: "muted"}[probe.health]
        facts.append([(health, style)])
    facts += [[(f"{name} ", "muted"), (f"{spent:.1f} ms", "text")] for name, spent in probe.phases_ms.items()]
    facts.append([(age, "muted")])
    facts.append([(f"via {probe.via}" if probe.via else "from this machine", "muted")])
    rows += flow(facts, width, view.glyphs, first=[(" ", "text")])
    if probe.detail:
        rows += [clip([(" ", "text"), *row], width) for row in wrap(probe.detail, width - 1, "text", limit=2)]
    return rows


def legend_rows(glyphs: Glyphs, width: int) -> list[Row]:
    """Every sign of the grid in words."""
    signs = [
        (glyphs.open, "open and healthy", "good"),
        (glyphs.open_unknown, "open", "good"),
        (glyphs.failing, "unhealthy", "bad"),
        *((glyphs.ports[state], STATE_WORDS[state], "bad") for state in glyphs.ports),
        (glyphs.not_probed, "not probed", "unknown"),
    ]
    facts: list[list[Span]] = [[(f"{mark} ", style), (words, "muted")] for mark, words, style in signs]
    return flow(facts, width, glyphs, first=[(" ", "text")], dots=False)


class CellDetail(LinesPanel):
    """The detail of the cell under the cursor; the column is the SSH session when ``service`` is empty."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.service = ""

    def build(self, width: int) -> list[Row]:
        """As many lines as there are, always the same number, so that nothing jumps."""
        view = self.view
        rows: list[Row] = []
        if view is not None:
            rows = self._rows_of(view, width)[:HEIGHT]
        return rows + [()] * (HEIGHT - len(rows))

    def _rows_of(self, view: View, width: int) -> list[Row]:
        if not self.service:
            return ssh_rows(view, width)
        service = next((each for each in view.record.host.services if each.name == self.service), None)
        if service is None:
            text = f"has no service {self.service}"
            return [clip([(f" {clean(view.record.host.id)} ", "strong"), (text, "muted")], width)]
        return service_rows(service, view.record.services.get(service.name), view, width)


class Legend(LinesPanel):
    """The signs in words."""

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._glyphs = glyphs

    def build(self, width: int) -> list[Row]:
        """One or more lines."""
        return legend_rows(self._glyphs, width)
