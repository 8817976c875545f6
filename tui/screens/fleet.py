"""The fleet: one row a host, worst first; everything else is a key away."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.screen import Screen

from tui import keys
from tui.columns import BY_KEY, COLUMNS
from tui.guard import guarded
from tui.widgets.detail import DetailLines
from tui.widgets.drawn import DrawnLines
from tui.widgets.fleet_grid import FleetGrid, GridHeader
from tui.widgets.header import Banner, HeaderBar
from tui.widgets.key_bar import KeyBar

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult
    from textual.timer import Timer

    from tui.app import QuarterdeckApp
    from tui.board import Board
    from tui.widgets.event_log import EventLog
    from tui.widgets.prompt import Prompt

#: the order is made anew at most this often
ARRANGE_S = 1.0
#: and rests this long after the user moved the cursor
REST_S = 2.0
#: details come this long behind the cursor: drawn right behind it, they would keep the thread that writes the screen
#: from the interpreter
DETAILS_S = 0.02
TINY = (40, 8)
LOW = 16


class FleetScreen(Screen[None]):
    """The first screen."""

    BINDINGS = keys.bindings("fleet")

    def __init__(self, board: Board) -> None:
        super().__init__()
        self.board = board
        self.grid = FleetGrid(board)
        self._arranged_at = float("-inf")
        self._second = -1
        self._prompt: Prompt | None = None
        self._log: EventLog | None = None
        self._details_due: Timer | None = None

    @property
    def _qd(self) -> QuarterdeckApp:
        return cast("QuarterdeckApp", self.app)

    def compose(self) -> ComposeResult:
        """Header, titles, rows, footer."""
        yield HeaderBar()
        yield Banner(id="banner")
        yield GridHeader(self.grid)
        yield self.grid
        yield DetailLines(self.grid)
        yield KeyBar("fleet", "app")

    @guarded
    def on_mount(self) -> None:
        """Show what the store holds."""
        self.show_now()
        self.grid.focus()

    @guarded
    def on_resize(self, event: events.Resize) -> None:
        """Leave out what a small terminal has no room for."""
        width, height = event.size
        self.set_class(width < TINY[0] or height < TINY[1], "tiny")
        self.set_class(height < LOW, "low")

    @guarded
    def on_screen_resume(self) -> None:
        """What changed while another screen was on top."""
        if self.is_mounted:
            self.show_now()

    # --- the flow from the store ---

    def beat(self, turn: int, turns: int) -> None:
        """Called by the application's timer, twenty times a second: one part of the rows."""
        if not self._qd.frozen:
            self.grid.refresh_changed(turn, turns)

    def hosts_changed(self, _dirty: set[str]) -> None:
        """Called by the application's timer, four times a second, after the board took what changed."""
        if not self._qd.frozen:
            now = self._qd.boot_s()
            rested = now - self.grid.moved_at_boot_s >= REST_S
            if now - self._arranged_at >= ARRANGE_S and (rested or not self.board.lines):
                self._arrange()
        second = int(self._qd.wall_s())
        if second != self._second:
            self._second = second
            self.query_one(HeaderBar).refresh_changed()
            self.query_one(DetailLines).refresh_changed()
        if self._log is not None:
            self._log.take_new()

    def _arrange(self) -> None:
        now = self._qd.boot_s()
        self._arranged_at = now
        if self.board.arrange(now):
            self.grid.lines_changed()
        self.query_one(HeaderBar).refresh_changed()

    def show_now(self) -> None:
        """Arrange and redraw at once: after a key that changes what is shown."""
        now = self._qd.boot_s()
        self._arranged_at = now
        self.board.arrange(now)
        self.grid.lines_changed(by_hand=True)
        self.query_one(GridHeader).refresh()
        for drawn in self.query(DrawnLines):
            drawn.refresh()

    def show_banner(self) -> None:
        """Show or hide the banner, as the application says."""
        banner = self.query_one(Banner)
        banner.display = bool(self._qd.banner)
        banner.refresh()

    # --- what is selected ---

    @property
    def selected(self) -> str | None:
        """The host under the cursor; none where it is not shown: a key must not act on what nobody sees."""
        return self.grid.cursor_host if self.grid.selected_row is not None else None

    @guarded
    def on_fleet_grid_moved(self) -> None:
        """Another host is under the cursor; its details follow when the cursor is on the screen."""
        if self._details_due is None:
            self._details_due = self.set_timer(DETAILS_S, self._show_details)

    @guarded
    def _show_details(self) -> None:
        self._details_due = None
        self.query_one(DetailLines).refresh()

    @guarded
    def on_fleet_grid_opened(self) -> None:
        """A double click."""
        self.action_open()

    @guarded
    def on_grid_header_sorted(self, event: GridHeader.Sorted) -> None:
        """A click on a title sorts; a second one reverses."""
        self.sort_by(event.key, toggle=True)

    # --- actions ---

    @guarded
    def action_open(self) -> None:
        """The host under the cursor, or fold the group."""
        if self.grid.cursor_group is not None:
            self.board.toggle_fold(self.grid.cursor_group)
            self.show_now()
        elif self.selected is not None:
            self._qd.open_host(self.selected)

    @guarded
    def action_mark(self) -> None:
        """Mark or unmark, and go one down."""
        if self.selected is not None:
            self.board.marked ^= {self.selected}
            self.grid.action_cursor(1)
            self.query_one(HeaderBar).refresh()

    @guarded
    def action_faults(self) -> None:
        """Only hosts that are not fine, or all."""
        self.board.faults_only = not self.board.faults_only
        self.show_now()

    @guarded
    def action_group(self) -> None:
        """The next grouping."""
        self.board.next_grouping()
        self.show_now()

    @guarded
    def action_reverse(self) -> None:
        """Reverse the order."""
        self.board.reverse = not self.board.reverse
        self.show_now()

    @guarded
    def action_sort_step(self, step: int) -> None:
        """Sort by the next visible column to the right or left."""
        visible = [place.column.key for place in self.grid.painter.layout.placed]
        at = visible.index(self.board.sort) if self.board.sort in visible else 0
        self.sort_by(visible[(at + step) % len(visible)])

    @guarded
    def action_sort(self) -> None:
        """Pick a column."""
        from tui.screens.dialogs import Pick  # noqa: PLC0415 - after first paint

        text = self._qd.glyphs.text
        choices = [(column.key, text(f"{column.title:<10} {column.description}")) for column in COLUMNS]
        self.app.push_screen(Pick("sort by", choices, self.board.sort), self._picked)

    def _picked(self, key: str | None) -> None:
        if key is not None:
            self.sort_by(key)

    def sort_by(self, key: str, *, toggle: bool = False) -> None:
        """Sort by a column; chosen again with ``toggle``, reversed.

        Raises:
            ValueError: no such column; names those there are.
        """
        if key not in BY_KEY:
            raise ValueError(f"no column {key!r}: columns are {', '.join(BY_KEY)}")
        self.board.reverse = not self.board.reverse if toggle and key == self.board.sort else False
        self.board.sort = key
        self.show_now()

    @guarded
    def action_back(self) -> None:
        """Clear one thing: prompt, filter, faults only, marks, the event log."""
        board = self.board
        if self._prompt is not None:
            self._close_prompt()
        elif board.filter is not None:
            board.filter = None
        elif board.faults_only:
            board.faults_only = False
        elif board.marked:
            board.marked.clear()
        elif self._log is not None:
            self._toggle_log()
        self.show_now()

    @guarded
    def action_freeze(self) -> None:
        """Stop drawing, and go on."""
        self._qd.frozen = not self._qd.frozen
        self.show_now()

    # --- the filter ---

    @guarded
    def action_filter(self) -> None:
        """Open the prompt; what is typed filters at once as long as it can be understood."""
        if self._prompt is not None:
            self._prompt.input.focus()
            return
        from tui.widgets.prompt import Prompt  # noqa: PLC0415 - after first paint

        self._before_filter = self.board.filter
        self._prompt = Prompt("/", self.board.filter.text if self.board.filter else "")
        self.mount(self._prompt, before=self.query_one(DetailLines))
        self.call_after_refresh(self._focus_prompt)

    def _focus_prompt(self) -> None:
        if self._prompt is not None:
            self._prompt.input.focus()
            self._say_matches()

    def set_filter(self, text: str) -> None:
        """Filter by an expression; empty shows all.

        Raises:
            FilterError: the filter before stays.
        """
        from tui.filter import parse  # noqa: PLC0415 - after first paint

        self.board.filter = parse(text)
        self.show_now()

    @guarded
    def on_prompt_changed(self, event: Prompt.Changed) -> None:
        """Filter while typing; a mistake is said with its place, the filter before stays."""
        if self._prompt is None:
            return
        try:
            self.set_filter(event.value)
        except ValueError as error:
            self._prompt.say(str(error), wrong=True)
        else:
            self._say_matches()

    def _say_matches(self) -> None:
        if self._prompt is not None:
            totals = self.board.totals
            self._prompt.say(f"{totals.shown} of {totals.hosts} hosts")

    @guarded
    def on_prompt_accepted(self, event: Prompt.Accepted) -> None:
        """Keep the filter, unless it cannot be understood."""
        try:
            self.set_filter(event.value)
        except ValueError as error:
            if self._prompt is not None:
                self._prompt.say(str(error), wrong=True)
            return
        self._close_prompt()

    @guarded
    def on_prompt_left(self) -> None:
        """Back to the filter from before."""
        self.board.filter = self._before_filter
        self._close_prompt()
        self.show_now()

    def _close_prompt(self) -> None:
        prompt, self._prompt = self._prompt, None
        if prompt is not None:
            prompt.remove()
        self.grid.focus()

    # --- the event log ---

    @guarded
    def action_events(self) -> None:
        """Show the event log, or hide it."""
        self._toggle_log()

    @guarded
    def action_events_host(self) -> None:
        """The events of the host under the cursor; again: of all."""
        if self._log is None:
            self._toggle_log()
        if self._log is not None:
            self._log.show_host(self.selected if self._log.host is None else None)

    def _toggle_log(self) -> None:
        if self._log is not None:
            log, self._log = self._log, None
            log.remove()
            self.grid.focus()
            return
        from tui.widgets.event_log import EventLog  # noqa: PLC0415 - after first paint

        self._log = EventLog()
        self.mount(self._log, after=self.grid)

    # --- hosts ---

    @guarded
    def action_triage(self) -> None:
        """Why the marked hosts, else this one, are not reached."""
        self._qd.open_triage(self.board.chosen(self.selected))

    @guarded
    def action_audit(self) -> None:
        """What the marked hosts, else this one, expose."""
        self._qd.open_audit(self.board.chosen(self.selected))

    @guarded
    def action_bench(self) -> None:
        """Measure the marked hosts, else this one."""
        self._qd.open_bench(self.board.chosen(self.selected))

    @guarded
    def action_bench_check(self) -> None:
        """Quick validation of this host at once."""
        self._qd.open_bench_check(self.selected)

    @guarded
    def action_pause(self) -> None:
        """Pause or resume the marked hosts, else this one."""
        self._qd.pause_hosts(self.board.chosen(self.selected))

    @guarded
    def action_reconnect(self) -> None:
        """Reconnect the marked hosts, else this one."""
        self._qd.reconnect_hosts(self.board.chosen(self.selected))

    @guarded
    def action_shell(self) -> None:
        """Run ssh in the foreground."""
        self._qd.shell_soon(self.selected)

    @guarded
    def action_yank(self, what: str) -> None:
        """Copy the address, the error or the ssh command."""
        if self.selected is not None:
            self._qd.yank(self.selected, what)
