"""The top of the Host screen: who, where, in which state since when, how old the figures are, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from probes.judge.condition import Level, condition
from probes.model import LinkState
from tui.format import UNKNOWN, clock_text, duration_text
from tui.glyphs import WORDS
from tui.widgets.lines import LinesPanel, clip, flow, row_width, wrap

if TYPE_CHECKING:
    from probes.judge.condition import Condition
    from tui.app import QuarterdeckApp
    from tui.widgets.lines import Row, Span, View

LEVEL_WORDS: Final = {Level.FINE: "fine", Level.DEGRADED: "degraded", Level.UNKNOWN: "unknown", Level.DOWN: "down"}
LEVEL_STYLES: Final = {Level.FINE: "good", Level.DEGRADED: "warn", Level.UNKNOWN: "unknown", Level.DOWN: "bad"}
_LINK_STYLES: Final = {
    LinkState.LIVE: "good",
    LinkState.CONNECTING: "unknown",
    LinkState.PAUSED: "unknown",
    LinkState.STALE: "warn",
}


def link_style(state: LinkState) -> str:
    """The style of a link state; every one that is not listed is bad."""
    return _LINK_STYLES.get(state, "bad")


def judged(view: View) -> Condition:
    """The host's condition now."""
    return condition(view.record, view.thresholds, view.intervals, view.now_s)


def identity_row(view: View, width: int, time: str, *, simulated: bool) -> Row:
    """Id, address, state and its age; the time at the right end where there is room."""
    record, link = view.record, view.record.link
    host = record.host
    port = f":{host.port}" if host.port else ""
    user = f"{host.user}@" if host.user else ""
    where = "this machine" if host.local else f"{user}{host.address}{port}"
    since = duration_text(view.now_s - link.since_boot_s)
    level = judged(view).level
    spans: list[Span] = [
        (f" {view.glyphs.levels[level]} ", LEVEL_STYLES[level]),
        (f"{host.id}  ", "strong"),
        (WORDS[link.state][0], link_style(link.state)),
        (f" for {since}  ", "muted"),
        (where, "text"),
    ]
    if host.proxy_jump:
        spans.append((f" via {host.proxy_jump}", "muted"))
    if simulated or host.simulated:
        spans[0:0] = [(" SIMULATED ", "simulated")]
    room = width - row_width(spans) - len(time) - 1
    if room < 1:
        return clip(spans, width)
    return (*spans, (" " * room, "text"), (time, "muted"), (" ", "text"))


def sample_row(view: View, width: int) -> Row:
    """Age, lag and rate of the figures, and how they are read."""
    record, sample = view.record, view.record.sample
    facts: list[list[Span]] = []
    if sample is None:
        facts.append([(" never sampled", "unknown")])
    else:
        age = duration_text(view.age_s)
        if view.current:
            facts.append([(f" sample {age} old", "text")])
        else:
            facts.append([(f" LAST VALUES, {age} old", "alert")])
        lag = UNKNOWN if record.lag_s is None else f"{record.lag_s * 1000:.0f} ms"
        facts.append([(f"lag at most {lag}" if record.lag_s is not None else f"lag {UNKNOWN} not yet", "muted")])
        every = UNKNOWN if sample.interval_s is None else f"{sample.interval_s:.1f} s"
        facts.append([(f"every {every}", "muted")])
        facts.append([(f"{record.samples} samples", "muted")])
    if record.hello is not None:
        facts.append([(record.hello.mode, "muted")])
        if record.hello.hostname != record.host.id:
            facts.append([("hostname ", "muted"), (record.hello.hostname, "text")])
    if record.host.groups:
        facts.append([(" ".join(record.host.groups), "muted")])
    for name, value in list(record.host.labels.items())[:4]:
        facts.append([(f"{name}=", "muted"), (value, "muted")])
    rows = flow(facts, width, view.glyphs)
    return rows[0] if rows else ()


def trouble_rows(view: View, width: int, limit: int) -> list[Row]:
    """What is wrong: the link's layer, cause and next step, else the reasons of the condition."""
    link = view.record.link
    rows: list[Row] = []
    if link.cause:
        layer = f"{link.layer}: " if link.layer else ""
        rows += wrap(f"{layer}{link.cause}", width - 2, link_style(link.state), indent="  ", limit=3)
        if link.next_step:
            rows += wrap(f"next: {link.next_step}", width - 2, "accent", indent="  ", limit=2)
        if link.retry_at_boot_s is not None and link.retry_at_boot_s > view.now_s:
            wait = duration_text(link.retry_at_boot_s - view.now_s)
            rows.append(((f"attempt {link.attempt} failed, next in {wait}", "muted"),))
    else:
        found = judged(view)
        if found.reasons:
            shown = "; ".join(found.reasons[:6])
            more = f"; {len(found.reasons) - 6} more" if len(found.reasons) > 6 else ""
            text = f"{LEVEL_WORDS[found.level]}: {shown}{more}"
            rows += wrap(text, width - 2, LEVEL_STYLES[found.level], indent="  ", limit=2)
    return [clip([(" ", "text"), *row], width) for row in rows[:limit]]


class LinkHeader(LinesPanel):
    """The header of the Host screen."""

    def build(self, width: int) -> list[Row]:
        """One line on a very small screen, else all of it."""
        view = self.view
        if view is None:
            return []
        height = self.app.size.height
        app = cast("QuarterdeckApp", self.app)
        time = clock_text(app.wall_s(), utc=app.utc)
        rows = [identity_row(view, width, time, simulated=app.simulated)]
        if height >= 8:
            rows.append(sample_row(view, width))
        room = 6 if height >= 20 else max(height // 3 - 2, 0)
        return rows + trouble_rows(view, width, room)
