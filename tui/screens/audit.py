"""Audit: what a host exposes. What failed comes first, by what the world can really reach.

What was not looked at says so, with the reason; an audit that looked at nothing says that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from textual.app import ComposeResult  # noqa: TC002 - Textual reads the annotation
from textual.containers import VerticalScroll

from probes.diagnose_report import rfc3339
from probes.judge.posture import audit
from probes.judge.posture_types import Checked
from probes.posture_markdown import posture_markdown
from tui import keys
from tui.guard import guarded
from tui.screens.inquiry import InquiryScreen
from tui.widgets.folded import folded, tidy
from tui.widgets.header import Banner
from tui.widgets.headline import progress_spans, title_rows
from tui.widgets.key_bar import KeyBar
from tui.widgets.lines import LinesPanel, clip
from tui.widgets.posture_text import CHECKS, OUTCOMES, PostureText, shown_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.judge.posture_types import Posture, PostureLine
    from tui.app import QuarterdeckApp
    from tui.glyphs import Glyphs
    from tui.inquiry import Inquiry
    from tui.widgets.lines import Row

_OUTCOMES: Final = (None, Checked.FAIL, Checked.NOT_CHECKED, Checked.PASS)
_CHECKS: Final = (None, *CHECKS)


class AuditHead(LinesPanel):
    """Title, summary, what is shown of it."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.inquiry: Inquiry | None = None
        self.host_id = ""
        self.posture: Posture | None = None
        self.filters: list[str] = []
        self.tiny = False

    def build(self, width: int) -> list[Row]:
        """At least two lines."""
        app, inquiry = cast("QuarterdeckApp", self.app), self.inquiry
        if inquiry is None:
            return []
        if self.tiny:
            return [
                clip([(tidy(self.host_id), "accent")], width),
                clip(progress_spans(inquiry, self.host_id, app.boot_s()), width),
                clip([("terminal too small", "warn")], width),
            ]
        rows = title_rows(app, "audit", inquiry, self.host_id, width)
        rows += folded(self._summary(inquiry), width, "strong", head=[(" ", "text")], limit=3)
        if self.filters:
            rows.append(clip([(f" only: {', '.join(self.filters)}", "accent")], width))
        return rows

    def _summary(self, inquiry: Inquiry) -> str:
        if inquiry.failure:
            return f"the audit ended: {inquiry.failure}; r starts it again"
        if inquiry.running:
            return "so far: " + (self.posture.summary if self.posture is not None else "nothing has arrived")
        return self.posture.summary if self.posture is not None else "no evidence came for this host; r asks again"


class AuditLines(LinesPanel):
    """The lines of the audit."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.lines: Sequence[PostureLine] = ()
        self.selected = 0
        self.glyphs: Glyphs | None = None
        self.empty = ""
        self.selected_rows: tuple[int, int] | None = None

    def build(self, width: int) -> list[Row]:
        """One line after the other, the selected one with its detail."""
        if self.glyphs is None:
            return []
        if not self.lines:
            return folded(self.empty, width, "muted", head=[(" ", "muted")])
        text = PostureText(self.lines, self.selected, self.glyphs, width)
        self.selected_rows = text.selected_rows
        return text.rows


class AuditScreen(InquiryScreen):
    """The Audit screen."""

    WHAT = "audit"
    JUDGES = False
    BINDINGS = keys.bindings("audit")
    DEFAULT_CSS = """
    AuditScreen { layout: vertical; }
    AuditScreen VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    AuditScreen.tiny VerticalScroll, AuditScreen.tiny KeyBar { display: none; }
    """

    def __init__(self, host_ids: Sequence[str]) -> None:
        super().__init__(host_ids)
        self._head, self._banner = AuditHead(id="head"), Banner(id="banner")
        self._body, self._panel = VerticalScroll(id="body", can_focus=False), AuditLines(id="lines")
        self._outcome: Checked | None = None
        self._check: str | None = None
        self._selected = 0
        self._audited: tuple[Any, Posture] | None = None

    def compose(self) -> ComposeResult:
        """Head, lines, keys."""
        yield self._head
        yield self._banner
        with self._body:
            yield self._panel
        yield KeyBar("audit", "app")

    @property
    def posture(self) -> Posture | None:
        """What the evidence so far says."""
        evidence = self.inquiry.evidence.get(self.host_id)
        if evidence is None:
            return None
        if self._audited is None or self._audited[0] is not evidence:
            self._audited = (evidence, audit(evidence))
        return self._audited[1]

    @property
    def lines(self) -> tuple[PostureLine, ...]:
        """What the filters leave; while parts are awaited, "not checked" would be said too early."""
        lines = shown_lines(self.posture, self._outcome, self._check)
        if self.inquiry.finished:
            return lines
        return tuple(one for one in lines if one.outcome is not Checked.NOT_CHECKED)

    def draw(self) -> None:
        """Everything, as it is now."""
        lines = self.lines
        self._selected = min(self._selected, max(len(lines) - 1, 0))
        head = self._head
        head.inquiry, head.host_id, head.posture, head.tiny = self.inquiry, self.host_id, self.posture, self.tiny
        head.filters = [OUTCOMES[self._outcome]] if self._outcome is not None else []
        head.filters += [f"{self._check} {CHECKS[self._check]}"] if self._check is not None else []
        head.redraw()
        self._banner.display = bool(self.deck.banner)
        self._banner.refresh_changed()
        panel = self._panel
        panel.lines, panel.selected, panel.glyphs, panel.empty = lines, self._selected, self.deck.glyphs, self._empty()
        panel.redraw()

    def _empty(self) -> str:
        if self.inquiry.running:
            return "no line yet: answers are awaited"
        if self.posture is None:
            return "nothing was looked at: this says nothing of security"
        return "no line of that kind; f and g choose others"

    def host_changed(self) -> None:
        """Another host: from the top."""
        self._selected = 0
        self._body.scroll_home(animate=False)

    @property
    def scrolled(self) -> VerticalScroll:
        """The lines."""
        return self._body

    # --- what a person does ---

    @guarded
    def action_back(self) -> None:
        """Show all lines again, then leave."""
        if self._outcome is None and self._check is None:
            self.dismiss()
            return
        self._outcome = self._check = None
        self._draw()

    @guarded
    def action_move(self, step: int) -> None:
        """Select another line."""
        self._selected = min(max(self._selected + step, 0), max(len(self.lines) - 1, 0))
        self._draw()
        self.call_after_refresh(self._show_selected)

    @guarded
    def _show_selected(self) -> None:
        self.show_rows(self._panel.selected_rows)

    @guarded
    def action_filter(self) -> None:
        """Only what failed, was not checked, passed; all."""
        self._outcome = _OUTCOMES[(_OUTCOMES.index(self._outcome) + 1) % len(_OUTCOMES)]
        self._selected = 0
        self._draw()

    @guarded
    def action_check(self) -> None:
        """Only one kind of check; all."""
        self._check = _CHECKS[(_CHECKS.index(self._check) + 1) % len(_CHECKS)]
        self._selected = 0
        self._draw()

    @guarded
    def action_copy(self) -> None:
        """Copy the command of the selected line."""
        lines = self.lines
        action = lines[self._selected].action if lines else None
        if action is None or not action.command:
            self.deck.say("this line has no command to copy")
        else:
            self.deck.copy_text(tidy(action.command))

    def record(self) -> dict[str, Any] | None:
        """The audit as JSON and Markdown."""
        posture = self.posture
        if posture is None or not self.inquiry.finished:
            return None
        document = posture.document(rfc3339(posture.taken_at_wall_s) or "")
        return {"json": document, "md": posture_markdown(posture)}
