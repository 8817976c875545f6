"""What is ruled out, what is still possible, the ways back with their formula, and what changed, as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.diagnose_report import diff, rfc3339
from probes.judge.diagnosis import Action
from probes.judge.triage_causes import FOUND, NOT_APPLICABLE, POSSIBLE, RULED_OUT
from tui.widgets.folded import cell, folded
from tui.widgets.ladder import layer_rows
from tui.widgets.lines import rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.judge.diagnosis import Cause, Diagnosis, Recovery
    from tui.glyphs import Glyphs
    from tui.inquiry import Inquiry
    from tui.widgets.lines import Row, Span

#: a cause's state: sign (index of the levels, None: not probed), title, style
_STATES: Final = {
    FOUND: (3, "found", "bad"),
    POSSIBLE: (2, "still possible", "unknown"),
    RULED_OUT: (0, "ruled out", "good"),
    NOT_APPLICABLE: (None, "does not apply", "muted"),
}
_POSSIBLE_STYLES: Final = {"yes": "good", "no": "muted", "unknown": "unknown"}
AWAITED: Final = "awaiting all answers: what is ruled out is said when nothing more can arrive"


def waiting_rows(inquiry: Inquiry, diagnosis: Diagnosis | None, width: int) -> list[Row] | None:
    """What stands in a pane that needs all evidence while it is not there; None: it is."""
    if inquiry.finished and diagnosis is not None:
        return None
    words = AWAITED if inquiry.running else inquiry.failure or "no evidence came for this host"
    return folded(words, width, "muted", head=[(" ", "muted")])


def causes_rows(inquiry: Inquiry, host_id: str, glyphs: Glyphs, width: int) -> list[Row]:
    """Every cause by state, then the layers with their whole reasons, then notes."""
    rows = cause_list_rows(inquiry, host_id, glyphs, width)
    diagnosis = inquiry.diagnosis(host_id)
    if diagnosis is None or not inquiry.finished:
        return rows
    rows += [(), rule([(" layers, with their whole reasons ", "strong")], width, glyphs)]
    for name, end in diagnosis.layers.items():
        rows += layer_rows(name, end, "", glyphs, width)
    if diagnosis.notes:
        rows += [(), rule([(" notes ", "strong")], width, glyphs)]
    for note in diagnosis.notes:
        rows += folded(note, width, "text", head=[(" - ", "muted")])
    return rows


def cause_list_rows(inquiry: Inquiry, host_id: str, glyphs: Glyphs, width: int) -> list[Row]:
    """Every cause by state, with what speaks for and against it."""
    diagnosis = inquiry.diagnosis(host_id)
    waiting = waiting_rows(inquiry, diagnosis, width)
    if waiting is not None or diagnosis is None:
        return waiting or []
    rows: list[Row] = []
    for state, (level, title, style) in _STATES.items():
        causes = [one for one in diagnosis.causes if one.state == state]
        if causes:
            rows += [(), rule([(f" {title} ", style)], width, glyphs)]
        sign = glyphs.not_probed if level is None else glyphs.levels[level]
        for cause in causes:
            rows += _cause(cause, sign, style, width)
    return rows[1:]


def _cause(cause: Cause, sign: str, style: str, width: int) -> list[Row]:
    rows = folded(cause.text, width, "strong", head=[(f" {sign} ", style)])
    for label, lines in (("for      ", cause.pro), ("against  ", cause.contra)):
        for line in lines:
            rows += folded(line, width, "text", head=[(f"   {label}", "muted")])
    return rows


def recovery_actions(inquiry: Inquiry, host_id: str) -> tuple[Action, ...]:
    """The options that have a command, as actions: they are selected and copied alike."""
    diagnosis = inquiry.diagnosis(host_id)
    if diagnosis is None or not inquiry.finished:
        return ()
    return tuple(Action(one.text, one.command) for one in diagnosis.recovery if one.command)


class RecoveryText:
    """The ways back, the best first, with the formula that ranked them.

    Args:
        inquiry: what is known.
        host_id: the host shown.
        selected: the selected command, None: none.
        glyphs: the signs.
        width: cells of a row.
    """

    def __init__(self, inquiry: Inquiry, host_id: str, selected: str | None, glyphs: Glyphs, width: int) -> None:
        self.selected_rows: tuple[int, int] | None = None
        diagnosis = inquiry.diagnosis(host_id)
        waiting = waiting_rows(inquiry, diagnosis, width)
        self.rows: list[Row] = waiting or []
        if waiting is not None or diagnosis is None:
            return
        if not diagnosis.recovery:
            words = "no way back is needed: nothing of the host's own fails that evidence shows"
            self.rows = folded(words, width, "muted", head=[(" ", "muted")])
            return
        for number, option in enumerate(diagnosis.recovery, start=1):
            self._option(number, option, selected, glyphs, width)
        self.rows += [(), rule([(" how they are ranked ", "strong")], width, glyphs)]
        self.rows += folded(diagnosis.recovery_formula, width, "muted", head=[(" ", "muted")])

    def _option(self, number: int, option: Recovery, selected: str | None, glyphs: Glyphs, width: int) -> None:
        score = "no score" if option.score is None else f"score {option.score:g}"
        numbers = f"success {option.success:g}, risk {option.risk:g}, {option.time_min:g} min"
        head: list[Span] = [
            (f" {number}. ", "strong"),
            (f"{cell(f'possible: {option.possible}', 18)}", _POSSIBLE_STYLES.get(option.possible, "text")),
            (f"{cell(score, 12)} ", "accent" if option.score is not None else "muted"),
        ]
        self.rows += [*([()] if self.rows else []), *folded(numbers, width, "muted", head=head, indent=4)]
        self.rows += folded(option.text, width, "text", head=[("    ", "text")])
        self.rows += folded(option.reason, width, "muted", head=[("    why   ", "muted")])
        if not option.command:
            return
        chosen = option.command == selected
        under = "@cursor" if chosen else ""
        mark: list[Span] = [(f"  {glyphs.folded if chosen else ' '} ", "accent"), ("$ ", f"accent{under}")]
        rows = folded(option.command, width, f"strong{under}", head=mark, indent=6)
        if chosen:
            self.selected_rows = (len(self.rows), len(self.rows) + len(rows))
        self.rows += rows


def diff_lines(inquiry: Inquiry, host_id: str) -> tuple[str, ...]:
    """What changed against the last good state, for the record; empty: nothing to compare with."""
    diagnosis, good = inquiry.diagnosis(host_id), inquiry.good.get(host_id)
    if diagnosis is None or good is None or not inquiry.finished:
        return ()
    return diff(good, diagnosis) or (f"nothing changed since {_taken(good)}",)


def diff_rows(inquiry: Inquiry, host_id: str, glyphs: Glyphs, width: int) -> list[Row]:
    """Against the last good state, and against the probe before this one."""
    diagnosis = inquiry.diagnosis(host_id)
    waiting = waiting_rows(inquiry, diagnosis, width)
    if waiting is not None or diagnosis is None:
        return waiting or []
    rows: list[Row] = []
    none = "none in this session: no triage of this host has ended with everything working"
    for title, before, empty in (
        ("the last good state", inquiry.good.get(host_id), none),
        ("the probe before", inquiry.last.get(host_id), "none in this session; r probes again"),
    ):
        taken = f"of {_taken(before)} " if before is not None else ""
        rows += [(), rule([(f" against {title} ", "strong"), (taken, "muted")], width, glyphs)]
        changes: Sequence[str] = (empty,) if before is None else diff(before, diagnosis) or ("nothing changed",)
        style = "muted" if before is None or changes == ("nothing changed",) else "text"
        for line in changes:
            rows += folded(line, width, style, head=[(" - ", "muted")])
    return rows[1:]


def _taken(diagnosis: Diagnosis) -> str:
    return rfc3339(diagnosis.taken_at_wall_s) or "an unknown time"
