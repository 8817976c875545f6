"""Triage: which layer blocks, and what to do now. The layers light up as evidence arrives.

Wide screens show the layers beside a pane, very wide ones the evidence too; on small ones the layers are a pane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from textual.app import ComposeResult  # noqa: TC002 - Textual reads the annotation
from textual.containers import Horizontal, VerticalScroll

from probes.diagnose_markdown import markdown
from probes.diagnose_report import document
from tui import keys
from tui.guard import guarded
from tui.inquiry import first
from tui.screens.inquiry import InquiryScreen
from tui.widgets.causes_text import (
    RecoveryText,
    cause_list_rows,
    causes_rows,
    diff_lines,
    diff_rows,
    recovery_actions,
)
from tui.widgets.evidence_text import evidence_rows
from tui.widgets.folded import tidy
from tui.widgets.header import Banner
from tui.widgets.headline import Headline
from tui.widgets.key_bar import KeyBar
from tui.widgets.ladder import LadderPanel
from tui.widgets.lines import LinesPanel, rule
from tui.widgets.section_tabs import SectionTabs
from tui.widgets.verdict_text import VerdictText, actions_of, first_action

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.judge.diagnosis import Action
    from tui.glyphs import Glyphs
    from tui.inquiry import Inquiry
    from tui.widgets.lines import Row

PANES: Final = ("layers", "verdicts", "evidence", "causes", "recovery", "diff")
LAYERS_PANE, VERDICTS, EVIDENCE, CAUSES, RECOVERY, DIFF = range(6)
#: from these widths on the layers, and the evidence, stand beside the pane
_BESIDE: Final = 110
_EVIDENCE_TOO: Final = 180
#: from this height on the layers stand above the pane where there is no room beside it
_STACKED: Final = 36
#: title and a line for each layer
_LADDER: Final = 13


class Pane(LinesPanel):
    """One of the panes."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.inquiry: Inquiry | None = None
        self.host_id = ""
        self.pane = VERDICTS
        self.selected: str | None = None
        self.glyphs: Glyphs | None = None
        #: there is room for more than verdicts in their pane
        self.roomy = False
        self.evidence_beside = False
        #: where the selected command stands
        self.selected_rows: tuple[int, int] | None = None

    def build(self, width: int) -> list[Row]:
        """The rows of the pane."""
        if self.inquiry is None or self.glyphs is None:
            return []
        self.selected_rows = None
        if self.pane in (VERDICTS, RECOVERY):
            return self._commands(self.inquiry, self.glyphs, width)
        builders = {EVIDENCE: evidence_rows, CAUSES: causes_rows, DIFF: diff_rows}
        return builders[self.pane](self.inquiry, self.host_id, self.glyphs, width)

    def _commands(self, inquiry: Inquiry, glyphs: Glyphs, width: int) -> list[Row]:
        kind = VerdictText if self.pane == VERDICTS else RecoveryText
        text = kind(inquiry, self.host_id, self.selected, glyphs, width)
        rows, self.selected_rows = text.rows, text.selected_rows
        if self.pane != VERDICTS or not self.roomy:
            return rows
        if inquiry.finished:
            more = RecoveryText(inquiry, self.host_id, self.selected, glyphs, width)
            rows = [*rows, (), rule([(" recovery ", "strong")], width, glyphs)]
            if self.selected_rows is None and more.selected_rows is not None:
                self.selected_rows = (more.selected_rows[0] + len(rows), more.selected_rows[1] + len(rows))
            rows += more.rows
            rows += [(), *cause_list_rows(inquiry, self.host_id, glyphs, width)]
        elif inquiry.running and not self.evidence_beside:
            rows = [*rows, (), *evidence_rows(inquiry, self.host_id, glyphs, width)]
        return rows


class TriageScreen(InquiryScreen):
    """The Triage screen."""

    WHAT = "triage"
    BINDINGS = keys.bindings("triage")
    DEFAULT_CSS = """
    TriageScreen { layout: vertical; }
    TriageScreen #columns { height: 1fr; }
    TriageScreen VerticalScroll { height: 1fr; width: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    TriageScreen #left { width: 54; margin-right: 1; }
    TriageScreen.broad #left { width: 28%; min-width: 54; }
    TriageScreen.broad #body { width: 6fr; }
    TriageScreen.broad #side { width: 7fr; }
    TriageScreen #side { margin-left: 1; }
    TriageScreen.stacked #columns { layout: vertical; }
    TriageScreen.stacked #left { width: 1fr; height: 14; margin-right: 0; }
    TriageScreen.tabbed #left { width: 1fr; margin-right: 0; }
    TriageScreen.tiny #columns, TriageScreen.tiny #tabs, TriageScreen.tiny KeyBar { display: none; }
    """

    def __init__(self, host_ids: Sequence[str]) -> None:
        super().__init__(host_ids)
        # kept, not queried: nested widgets are mounted after their screen
        self._headline, self._banner = Headline(id="headline"), Banner(id="banner")
        self._tabs, self._ladder = SectionTabs(PANES, id="tabs"), LadderPanel(id="ladder")
        self._pane, self._evidence = Pane(id="pane"), Pane(id="evidence")
        self._evidence.pane = EVIDENCE
        self._columns = Horizontal(id="columns")
        self._left = VerticalScroll(id="left", can_focus=False)
        self._body = VerticalScroll(id="body", can_focus=False)
        self._side = VerticalScroll(id="side", can_focus=False)
        #: None: the first that the size has room for
        self._active: int | None = None
        #: the command a person chose, by pane; without one it is the first to do
        self._chosen: dict[int, str] = {}

    def compose(self) -> ComposeResult:
        """Headline, panes, keys."""
        yield self._headline
        yield self._banner
        yield self._tabs
        with self._columns:
            with self._left:
                yield self._ladder
            with self._body:
                yield self._pane
            with self._side:
                yield self._evidence
        yield KeyBar("triage", "app")

    # --- layout ---

    @property
    def mode(self) -> str:
        """How the panes lie: broad | beside | stacked | tabbed."""
        width, height = self.size
        if width >= _BESIDE:
            return "broad" if width >= _EVIDENCE_TOO else "beside"
        return "stacked" if height >= _STACKED else "tabbed"

    @property
    def active(self) -> int:
        """The pane the keys are about."""
        start = LAYERS_PANE if self.mode == "tabbed" else VERDICTS
        if self._active is None or (self._active == LAYERS_PANE and start == VERDICTS):
            return start
        return self._active

    def _lay_out(self) -> None:
        mode, active = self.mode, self.active
        for each in ("broad", "beside", "stacked", "tabbed"):
            self.set_class(each == mode, each)
        self._left.display = mode != "tabbed" or active == LAYERS_PANE
        self._body.display = mode != "tabbed" or active != LAYERS_PANE
        self._side.display = self._pane.evidence_beside = mode == "broad"
        self._pane.roomy = mode != "tabbed"
        start = LAYERS_PANE if mode == "tabbed" else VERDICTS
        self._tabs.names, self._tabs.numbers = PANES[start:], tuple(range(start, len(PANES)))
        self._tabs.active = active
        if not (mode == "broad" and active == EVIDENCE) and active != LAYERS_PANE:
            self._pane.pane = active
        self._headline.limits = (3, 2) if mode in ("broad", "stacked") else (2, 2)

    def draw(self) -> None:
        """Everything, as it is now."""
        self._lay_out()
        actions, selected = self._selection(self.active)
        headline = self._headline
        headline.inquiry, headline.host_id, headline.tiny = self.inquiry, self.host_id, self.tiny
        headline.actions, headline.selected = actions, selected
        headline.redraw()
        self._banner.display = bool(self.deck.banner)
        self._banner.refresh_changed()
        if self.tiny:
            return
        self._tabs.redraw()
        ladder = self._ladder
        ladder.inquiry, ladder.host_id, ladder.glyphs = self.inquiry, self.host_id, self.deck.glyphs
        # what title, tabs and keys leave; the size of the container is that of the layout before
        spare = self.size.height - len(headline.rows) - 2 - (1 if self._banner.display else 0)
        ladder.room = _LADDER if self.mode == "stacked" else max(spare, _LADDER)
        ladder.redraw()
        for pane in (self._pane, self._evidence):
            pane.inquiry, pane.host_id, pane.glyphs = self.inquiry, self.host_id, self.deck.glyphs
            actions, selected = self._selection(pane.pane)
            pane.selected = actions[selected].command if actions else None
            pane.redraw()

    # --- the selected command ---

    def _actions(self, pane: int) -> tuple[Action, ...]:
        recovery = recovery_actions(self.inquiry, self.host_id)
        if pane == RECOVERY:
            return recovery
        actions = actions_of(self.inquiry, self.host_id)
        if self.mode != "tabbed":
            commands = {action.command for action in actions}
            actions += tuple(action for action in recovery if action.command not in commands)
        return actions

    def _selection(self, pane: int) -> tuple[tuple[Action, ...], int]:
        """The commands of a pane, and which one is selected: what was chosen if it is still there."""
        actions = self._actions(pane)
        key = RECOVERY if pane == RECOVERY else VERDICTS
        commands = [action.command for action in actions]
        chosen = self._chosen.get(key)
        if chosen in commands:
            return actions, commands.index(chosen)
        return actions, 0 if key == RECOVERY else first_action(self.inquiry, self.host_id, actions)

    def host_changed(self) -> None:
        """Another host: from the top."""
        self._chosen.clear()
        for body in (self._left, self._body, self._side):
            body.scroll_home(animate=False)

    @property
    def scrolled(self) -> VerticalScroll:
        """The pane in front."""
        if self.mode == "broad" and self.active == EVIDENCE:
            return self._side
        return self._left if self.active == LAYERS_PANE else self._body

    # --- what a person does ---

    @guarded
    def action_move(self, step: int) -> None:
        """Select the next command; in a pane without commands scroll."""
        if self.active in (EVIDENCE, CAUSES, DIFF):
            self.scrolled.scroll_relative(y=step, animate=False)
            return
        actions, at = self._selection(self.active)
        if not actions:
            return
        at = min(max(at + step, 0), len(actions) - 1)
        self._chosen[RECOVERY if self.active == RECOVERY else VERDICTS] = actions[at].command or ""
        self._draw()
        if self.active != LAYERS_PANE:
            self.call_after_refresh(self._show_selected)

    @guarded
    def _show_selected(self) -> None:
        self.show_rows(self._pane.selected_rows)

    @guarded
    def action_copy(self) -> None:
        """Copy the selected command, whole."""
        actions, at = self._selection(self.active)
        if actions:
            self.deck.copy_text(tidy(actions[at].command or ""))
        else:
            self.deck.say("there is no command to copy" + (" yet" if self.inquiry.running else ""))

    @guarded
    def action_yank_verdict(self) -> None:
        """Copy the verdict in words."""
        top = first(self.inquiry.verdicts(self.host_id))
        if top is None:
            self.deck.say("there is no verdict to copy" + (" yet" if self.inquiry.running else ""))
        else:
            self.deck.copy_text(tidy(f"{self.host_id}: {top.layer}: {top.statement}"))

    @guarded
    def action_pane(self, number: int) -> None:
        """Show a pane."""
        self._active = number
        self.scrolled.scroll_home(animate=False)
        self._draw()

    @guarded
    def action_pane_step(self, step: int) -> None:
        """The next pane, round and round."""
        numbers = self._tabs.numbers
        self.action_pane(numbers[(numbers.index(self.active) + step) % len(numbers)])

    @guarded
    def on_section_tabs_chosen(self, message: SectionTabs.Chosen) -> None:
        """A pane was clicked."""
        self.action_pane(message.number)

    def record(self) -> dict[str, Any] | None:
        """The diagnosis as JSON and Markdown; what hosts share is part of it."""
        from msgspec.structs import replace  # noqa: PLC0415 - only here

        diagnosis = self.inquiry.diagnosis(self.host_id)
        if diagnosis is None or not self.inquiry.finished:
            return None
        shared = [found.statement for found in self.inquiry.correlations if self.host_id in found.hosts]
        diagnosis = replace(diagnosis, notes=(*diagnosis.notes, *shared))
        changes = diff_lines(self.inquiry, self.host_id)
        return {
            "json": {**document(diagnosis), "against_last_good": list(changes)},
            "md": markdown(diagnosis, changes),
        }
