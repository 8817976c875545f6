"""The verdicts of a triage in words: what hosts share, then statement, evidence, and what to do with exact commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import Outcome
from tui.inquiry import first
from tui.widgets.folded import folded, tidy
from tui.widgets.headline import LEVEL_STYLES, LEVEL_WORDS, host_sign, sentence
from tui.widgets.ladder import LAYER_WORDS, outcome_sign
from tui.widgets.lines import clip, rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from probes.judge.diagnosis import Action, Verdict
    from tui.glyphs import Glyphs
    from tui.inquiry import Inquiry
    from tui.widgets.lines import Row, Span

_LABEL: Final = 10
#: hosts that are listed; all of them are a key away
_HOSTS: Final = 20
_STYLES: Final = {
    Outcome.BLOCK: "bad",
    Outcome.UNKNOWN: "unknown",
    Outcome.PASS: "good",
    Outcome.NOT_APPLICABLE: "muted",
}


def actions_of(inquiry: Inquiry, host_id: str) -> tuple[Action, ...]:
    """Every action with a command, each command once: those of the verdicts in their order, then the cheapest check."""
    diagnosis = inquiry.diagnosis(host_id)
    found = [action for verdict in inquiry.verdicts(host_id) for action in verdict.next_actions]
    if diagnosis is not None and inquiry.finished and diagnosis.cheapest_discriminator is not None:
        found.append(diagnosis.cheapest_discriminator)
    once: dict[str, Action] = {}
    for action in found:
        if action.command:
            once.setdefault(action.command, action)
    return tuple(once.values())


def first_action(inquiry: Inquiry, host_id: str, actions: Sequence[Action]) -> int:
    """The one to do now: the first of the headline's verdict, else the cheapest check."""
    top = first(inquiry.verdicts(host_id))
    diagnosis = inquiry.diagnosis(host_id)
    wanted = list(top.next_actions) if top is not None else []
    if diagnosis is not None and diagnosis.cheapest_discriminator is not None:
        wanted.append(diagnosis.cheapest_discriminator)
    commands = [action.command for action in actions]
    return next((commands.index(action.command) for action in wanted if action.command in commands), 0)


class VerdictText:
    """Builds the rows of the verdict pane and remembers where the selected command stands.

    Args:
        inquiry: what is known.
        host_id: the host shown.
        selected: the selected command, None: none.
        glyphs: the signs.
        width: cells of a row.
    """

    def __init__(self, inquiry: Inquiry, host_id: str, selected: str | None, glyphs: Glyphs, width: int) -> None:
        self._inquiry, self._host_id, self._selected = inquiry, host_id, selected
        self._glyphs, self._width = glyphs, width
        self.selected_rows: tuple[int, int] | None = None
        self.rows: list[Row] = []
        self._build()

    def _build(self) -> None:
        inquiry, diagnosis = self._inquiry, self._inquiry.diagnosis(self._host_id)
        self._fleet()
        if diagnosis is not None and inquiry.finished:
            level = diagnosis.severity.level
            head: list[Span] = [(" severity  ", "muted"), (f"{LEVEL_WORDS[level]}: ", LEVEL_STYLES[level])]
            self.rows += folded(diagnosis.severity.rule, self._width, "text", head=head, indent=_LABEL + 1)
        verdicts = inquiry.verdicts(self._host_id)
        for verdict in verdicts:
            self._verdict(verdict)
        if not verdicts:
            words = "no verdict yet: answers are awaited" if inquiry.running else "no row of the decision table applies"
            self.rows += [(), *folded(words, self._width, "muted", head=[(" ", "muted")])]
        if diagnosis is None or not inquiry.finished:
            return
        self._listed("contradictions", diagnosis.contradictions, "warn")
        if diagnosis.cheapest_discriminator is not None:
            self._title("cheapest check that decides")
            self._action(diagnosis.cheapest_discriminator)

    def _title(self, title: str, style: str = "strong") -> None:
        self.rows += [(), rule([(f" {title} ", style)], self._width, self._glyphs)]

    def _listed(self, title: str, lines: Iterable[str], style: str) -> None:
        lines = tuple(lines)
        if lines:
            self._title(title, style)
        for line in lines:
            self.rows += folded(line, self._width, "text", head=[(" - ", style)])

    def _fleet(self) -> None:
        """What several hosts share, said once, and every host of the investigation."""
        inquiry = self._inquiry
        if len(inquiry.host_ids) < 2:
            return
        self.rows.append(rule([(" all hosts of this triage ", "strong")], self._width, self._glyphs))
        for found in inquiry.correlations:
            head: list[Span] = [(f" {self._glyphs.levels[3]} ", "bad"), (f"{found.confidence.value}: ", "muted")]
            self.rows += folded(found.statement, self._width, "strong", head=head, indent=3)
        if not inquiry.correlations:
            words = "awaiting all hosts" if inquiry.running else "no cause that failing hosts share was found"
            self.rows += folded(words, self._width, "muted", head=[("   ", "muted")])
        for host_id in inquiry.host_ids[:_HOSTS]:
            shown = host_id == self._host_id
            sign, style = host_sign(inquiry, host_id, self._glyphs, shown=shown)
            head = [(f" {sign} ", style), (f"{tidy(host_id)}  ", "accent" if shown else "text")]
            self.rows.append(clip([*head, (tidy(self._host_words(host_id)), "muted")], self._width))
        more = len(inquiry.host_ids) - _HOSTS
        if more > 0:
            self.rows += folded(f"and {more} more hosts", self._width, "muted", head=[("   ", "muted")])
        self.rows += [(), rule([(f" {tidy(self._host_id)} ", "strong")], self._width, self._glyphs)]

    def _host_words(self, host_id: str) -> str:
        """A host in one line: its verdict, else its severity; only the host shown is judged before the end."""
        inquiry = self._inquiry
        if inquiry.running:
            return f"awaiting {inquiry.awaited_words(host_id) or 'the last answers'}"
        top, diagnosis = first(inquiry.verdicts(host_id)), inquiry.diagnosis(host_id)
        if top is not None:
            return sentence(top)
        return diagnosis.severity.rule if diagnosis is not None and inquiry.finished else "no evidence"

    def _verdict(self, verdict: Verdict) -> None:
        style = _STYLES[verdict.outcome]
        sure = f", {verdict.confidence.value}" if verdict.confidence is not None else ""
        service = f", {tidy(verdict.service)}" if verdict.service is not None else ""
        word = {Outcome.BLOCK: "BLOCK", Outcome.UNKNOWN: "cannot tell"}.get(verdict.outcome, verdict.outcome.value)
        head: list[Span] = [
            (f" {outcome_sign(verdict.outcome, self._glyphs)} ", style),
            (f"{LAYER_WORDS[verdict.layer]}{service}: {word}{sure}", style),
            (f"  row {verdict.row}", "muted"),
        ]
        self.rows += [(), clip(head, self._width)]
        self.rows += folded(verdict.statement, self._width, "strong", head=[("   ", "strong")])
        for at, line in enumerate(verdict.evidence):
            label: Span = ("   because  " if at == 0 else " " * 12, "muted")
            self.rows += folded(line, self._width, "text", head=[label])
        for action in verdict.next_actions:
            self._action(action)

    def _action(self, action: Action) -> None:
        self.rows += folded(action.text, self._width, "text", head=[("   do       ", "muted")])
        if not action.command:
            return
        chosen = action.command == self._selected and self.selected_rows is None
        under = "@cursor" if chosen else ""
        mark = self._glyphs.folded if chosen else " "
        head: list[Span] = [(f"   {mark} ", "accent"), ("$ ", f"accent{under}")]
        rows = folded(action.command, self._width, f"strong{under}", head=head, indent=7)
        if chosen:
            self.selected_rows = (len(self.rows), len(self.rows) + len(rows))
        self.rows += rows
