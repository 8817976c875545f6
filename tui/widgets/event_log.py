"""The event log: the newest at the bottom; scrolled back, it stays where the eye is."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rich.segment import Segment
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from probes.model import Severity
from probes.text import clean
from tui.format import clock_text, fit
from tui.guard import guarded, guarding

if TYPE_CHECKING:
    from probes.model import Event
    from tui.app import QuarterdeckApp


class EventLog(ScrollView, can_focus=True):
    """Draws the visible events of the store."""

    BORDER_TITLE = "events"
    DEFAULT_CSS = """
    EventLog {
        height: 10;
        max-height: 40%;
        background: $surface;
        border-top: ascii $secondary;
        border-title-color: $accent;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        scrollbar-color: $secondary;
        scrollbar-background: $surface;
    }
    EventLog:focus { border-title-style: bold; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.host: str | None = None
        self._events: list[Event] = []
        self._seen = -1
        self._following = True

    @property
    def _qd(self) -> QuarterdeckApp:
        return cast("QuarterdeckApp", self.app)

    @property
    def shown(self) -> list[Event]:
        """The events that are shown, the newest last."""
        return self._events

    def show_host(self, host_id: str | None) -> None:
        """Only events of this host, or of all."""
        self.host = host_id
        self._seen = -1
        title = "events" if host_id is None else f"events of {clean(host_id)}"
        self.border_title = title.replace("[", r"\[")
        self._following = True
        self.take_new()
        self._follow()

    @guarded
    def on_mount(self) -> None:
        """Show what there is."""
        super().on_mount()
        self.take_new()

    @guarded
    def on_resize(self) -> None:
        """The newest stays in sight."""
        self._follow()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolled back: stay there; scrolled to the end: follow again."""
        super().watch_scroll_y(old_value, new_value)
        self._following = new_value >= self.max_scroll_y

    def _follow(self) -> None:
        if self._following:
            self.scroll_to(y=self.max_scroll_y, animate=False)

    def take_new(self) -> None:
        """Take new events from the store, if any; follow them unless scrolled back."""
        fleet = self._qd.fleet
        if fleet.event_count == self._seen:
            return
        self._seen = fleet.event_count
        following = self._following
        before = self._events
        self._events = [event for event in fleet.events if self.host in (None, event.host)]
        self.virtual_size = Size(1, len(self._events))
        if following:
            self._follow()
        elif before and self._events and before[0] is not self._events[0]:
            gone = next((at for at, event in enumerate(before) if event is self._events[0]), len(before))
            self.scroll_to(y=max(self.scroll_offset.y - gone, 0), animate=False)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One event."""
        width = self.size.width
        with guarding(self, "EventLog.render_line"):
            return Strip(self._segments(y + self.scroll_offset.y, width), width)
        return Strip.blank(width)

    def _segments(self, at: int, width: int) -> list[Segment]:
        p, g = self._qd.palette_on("surface"), self._qd.glyphs
        if at >= len(self._events):
            text = "nothing has happened yet" if at == 0 else ""
            return [Segment(fit(text, width), p.muted)]
        event = self._events[at]
        style = {Severity.CRITICAL: p.bad, Severity.WARNING: p.warn}.get(event.severity, p.text)
        sign = {Severity.CRITICAL: g.levels[3], Severity.WARNING: g.levels[1]}.get(event.severity, g.separator)
        time = fit(g.text(clock_text(event.at_wall_s, utc=self._qd.utc).partition(" ")[0]), 9)
        host = g.text(clean(event.host or "quarterdeck"))
        size = max(min(width // 5, 28), 8)
        text = fit(g.text(clean(event.text, 512)), max(width - size - 13, 0), ellipsis=g.ellipsis)
        line = [
            Segment(f"{time} ", p.muted),
            Segment(f"{sign} ", style),
            Segment(fit(host, size, ellipsis=g.ellipsis) + " ", p.strong),
            Segment(text, style if event.severity is not Severity.INFO else p.text),
        ]
        return line if width > size + 13 else [Segment(fit("".join(piece.text for piece in line), width), style)]
