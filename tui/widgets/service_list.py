"""Services of one host in words: state, connect time, health, why, how old, and who probed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.model import Health, PortState
from tui.format import UNKNOWN, cells, duration_text, fit
from tui.widgets.lines import LinesPanel, clip, row_width, rule, wrap

if TYPE_CHECKING:
    from probes.model import Service, ServiceState
    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span, View

#: port states in words; the short ones fit a cell of the matrix
STATE_WORDS: Final = {
    PortState.OPEN: "open",
    PortState.REFUSED: "refused",
    PortState.FILTERED: "filtered",
    PortState.REJECTED: "rejected by firewall",
    PortState.UNREACHABLE: "unreachable",
    PortState.UNRESOLVED: "unresolved",
    PortState.NOT_PROBED: "not probed",
}
SHORT_WORDS: Final = {**STATE_WORDS, PortState.REJECTED: "rejected", PortState.UNREACHABLE: "unreach",
                      PortState.UNRESOLVED: "no name", PortState.NOT_PROBED: "no probe"}  # fmt: skip


def sign(state: ServiceState | None, glyphs: Glyphs) -> str:
    """One character for a probe; the words stand in the legend."""
    if state is None or state.state is PortState.NOT_PROBED:
        return glyphs.not_probed
    if state.state is not PortState.OPEN:
        return glyphs.ports[state.state]
    if state.health is Health.FAILING:
        return glyphs.failing
    return glyphs.open if state.health is Health.OK else glyphs.open_unknown


def style_of(state: ServiceState | None) -> str:
    """The style that goes with the sign."""
    if state is None or state.state is PortState.NOT_PROBED:
        return "unknown"
    if state.state is not PortState.OPEN or state.health is Health.FAILING:
        return "bad"
    return "good"


def connect_text(connect_ms: float | None) -> str:
    """``3.2 ms``, ``104 ms``."""
    if connect_ms is None:
        return UNKNOWN
    return f"{connect_ms:.1f} ms" if connect_ms < 99.95 else f"{connect_ms:.0f} ms"


def health_text(state: ServiceState) -> str:
    """What the service says of itself; nothing where nobody asked it."""
    if state.state is not PortState.OPEN:
        return ""
    return {Health.OK: "healthy", Health.FAILING: "UNHEALTHY", Health.UNKNOWN: "health not asked"}[state.health]


def service_row(service: Service, state: ServiceState | None, view: View, width: int) -> list[Row]:
    """One service; its detail follows on the same line where there is room, else on its own."""
    name = fit(service.name, min(16, max(width // 5, 6)))
    head: list[Span] = [(sign(state, view.glyphs), style_of(state)), (f" {name} ", "text")]
    head.append((f":{service.port:<5} ", "muted"))
    if state is None:
        return [clip([*head, ("not probed yet", "unknown")], width)]
    head.append((STATE_WORDS[state.state], style_of(state)))
    if state.connect_ms is not None:
        head.append((f" {connect_text(state.connect_ms)}", "text"))
    health = health_text(state)
    if health:
        styles = {Health.OK: "good", Health.FAILING: "bad", Health.UNKNOWN: "muted"}
        head += [("  ", "text"), (health, styles[state.health])]
    if state.via:
        head.append((f"  via {state.via}", "muted"))
    age = f"  {duration_text(view.now_s - state.at_boot_s)} ago" if state.at_boot_s else ""
    room = width - row_width(head) - len(age) - 2
    if not state.detail:
        return [clip([*head, (age, "muted")], width)]
    if cells(state.detail) <= room:
        return [clip([*head, ("  " + state.detail, "text"), (age, "muted")], width)]
    first = clip([*head, (age, "muted")], width)
    detail = wrap(state.detail, max(width - 4, 8), "text", limit=2)
    return [first, *(clip([("    ", "text"), *row], width) for row in detail)]


class ServiceList(LinesPanel):
    """The configured services of a host, each with its last probe."""

    def build(self, width: int) -> list[Row]:
        """Title with the count that is open, then a line for each."""
        view = self.view
        if view is None:
            return []
        services, states = view.record.host.services, view.record.services
        opened = sum(1 for s in services if s.name in states and states[s.name].state is PortState.OPEN)
        left: list[Span] = [(" services ", "strong")]
        if not services:
            left.append(("none configured for this host", "muted"))
            return [rule(left, width, view.glyphs)]
        failing = sum(1 for s in services if s.name in states and states[s.name].health is Health.FAILING)
        left.append((f"{opened} of {len(services)} open", "text" if opened == len(services) else "warn"))
        if failing:
            left += [(", ", "text"), (f"{failing} unhealthy", "bad")]
        rows = [rule(left, width, view.glyphs)]
        for service in services:
            rows += service_row(service, states.get(service.name), view, width)
        return rows
