"""What a tired person needs first: whose host, whether it is done, one line of verdict, one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from probes.judge.diagnosis import Level, Outcome
from tui.format import clock_text, duration_text
from tui.inquiry import first
from tui.widgets.folded import folded, tidy
from tui.widgets.ladder import LAYER_WORDS, outcome_sign
from tui.widgets.lines import LinesPanel, Row, Span, clip, row_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.judge.diagnosis import Action, Diagnosis, Verdict
    from tui.app import QuarterdeckApp
    from tui.glyphs import Glyphs
    from tui.inquiry import Inquiry

LEVEL_WORDS: Final = {
    Level.SEV1: "SEV1",
    Level.SEV2: "SEV2",
    Level.SEV3: "SEV3",
    Level.NONE: "fine",
    Level.UNKNOWN: "severity unknown",
}
LEVEL_STYLES: Final = {
    Level.SEV1: "bad",
    Level.SEV2: "bad",
    Level.SEV3: "warn",
    Level.NONE: "good",
    Level.UNKNOWN: "unknown",
}


def progress_spans(inquiry: Inquiry, host_id: str, now_s: float) -> list[Span]:
    """How far it is: gathering with what is awaited, finished, or ended without an answer."""
    took = duration_text(inquiry.elapsed_s(now_s))
    if inquiry.running:
        awaited = inquiry.awaited_words(host_id) or "the last answers"
        return [(f"GATHERING {took}", "accent"), (f"  awaited: {awaited}", "text")]
    if inquiry.failure:
        return [(f"NOT FINISHED after {took}", "bad"), (f"  {inquiry.failure}", "text")]
    return [(f"finished in {took}", "muted")]


def title_rows(app: QuarterdeckApp, what: str, inquiry: Inquiry, host_id: str, width: int) -> list[Row]:
    """The first line: screen, host, which of how many, progress, time."""
    evidence = inquiry.evidence.get(host_id)
    address = "" if evidence is None else tidy(evidence.address)
    number = f"{inquiry.host_ids.index(host_id) + 1} of {len(inquiry.host_ids)}"
    spans: list[Span] = [(" SIMULATED ", "simulated")] if app.simulated else []
    spans += [(f" {what} ", "strong")]
    now: Span = (clock_text(app.wall_s(), utc=app.utc) + " ", "muted")
    progress = progress_spans(inquiry, host_id, app.boot_s())
    room = width - row_width([*spans, *progress[:1]]) - 4
    spans.append((_short(tidy(host_id), max(room, 4)), "accent"))
    if address and address != host_id:
        spans.append((f"  {address}", "muted"))
    if len(inquiry.host_ids) > 1:
        spans.append((f"  host {number}", "text"))
    spans += [("  ", "text"), *progress]
    left = width - row_width(spans) - row_width([now]) - 1
    return [(*spans, (" " * left, "text"), now)] if left > 0 else [clip(_squeezed(spans, width), width)]


def _squeezed(spans: list[Span], width: int) -> list[Span]:
    """Without the address where there is no room for all."""
    if row_width(spans) <= width:
        return spans
    return [span for span in spans if not (span[1] == "muted" and span[0].startswith("  "))]


def _short(text: str, width: int) -> str:
    return clip([(text, "")], width)[0][0] if text else ""


def strip_row(inquiry: Inquiry, host_id: str, glyphs: Glyphs, width: int) -> Row:
    """All hosts of the investigation with the sign of each; the one shown stands in brackets."""
    spans: list[Span] = [(" ", "text")]
    at = inquiry.host_ids.index(host_id)
    for number, each in enumerate(inquiry.host_ids[max(at - 2, 0) :], start=max(at - 2, 0)):
        sign, style = host_sign(inquiry, each, glyphs, shown=number == at)
        name = _short(tidy(each), 24)
        spans += [("[" if number == at else " ", "strong"), (sign, style)]
        spans += [(f" {name}", "strong" if number == at else "text"), ("]" if number == at else " ", "strong")]
        if row_width(spans) > width:
            break
    return clip(spans, width)


def host_sign(inquiry: Inquiry, host_id: str, glyphs: Glyphs, *, shown: bool) -> Span:
    """One sign for a host: gathering, fine, blocked or unknown; one that is not shown is judged at the end only."""
    if inquiry.running and not shown:
        return (outcome_sign(None, glyphs), "accent")
    diagnosis = inquiry.diagnosis(host_id)
    if any(one.outcome is Outcome.BLOCK for one in inquiry.verdicts(host_id)):
        return (outcome_sign(Outcome.BLOCK, glyphs), "bad")
    if inquiry.running:
        return (outcome_sign(None, glyphs), "accent")
    if diagnosis is not None and inquiry.finished and diagnosis.severity.level is Level.NONE:
        return (outcome_sign(Outcome.PASS, glyphs), "good")
    return (outcome_sign(Outcome.UNKNOWN, glyphs), "unknown")


def verdict_spans(inquiry: Inquiry, host_id: str) -> tuple[list[Span], str, str]:
    """The verdict in one sentence: what stands before it, the sentence, its style."""
    diagnosis, verdicts = inquiry.diagnosis(host_id), inquiry.verdicts(host_id)
    top = first(verdicts)
    if top is not None and top.outcome is Outcome.BLOCK:
        count = len([one for one in verdicts if one.outcome is Outcome.BLOCK])
        return _blocked(inquiry, diagnosis, top, count), sentence(top), "strong"
    if inquiry.running:
        return [(" NOTHING DECIDED YET ", "accent")], "answers are still awaited", "text"
    if diagnosis is not None and inquiry.finished and top is None and diagnosis.severity.level is Level.NONE:
        return [(" NOTHING BLOCKS ", "good")], diagnosis.severity.rule.removeprefix("nothing blocked: "), "text"
    level = _level(diagnosis) if diagnosis is not None and top is not None else []
    return [(" CANNOT TELL ", "unknown"), *level], _why_not(inquiry, diagnosis, top), "text"


def _why_not(inquiry: Inquiry, diagnosis: Diagnosis | None, top: Verdict | None) -> str:
    """Why there is no verdict that blocks, nor one that all is well."""
    if inquiry.failure:
        return f"the investigation ended: {inquiry.failure}; r starts it again"
    if diagnosis is None:
        return "no evidence came for this host; r asks again"
    return top.statement if top is not None else diagnosis.severity.rule.removeprefix("cannot tell: ")


def sentence(verdict: Verdict) -> str:
    """The statement with its layer before it, unless it begins with that anyway."""
    layer = LAYER_WORDS[verdict.layer]
    begins = verdict.statement.casefold().startswith(layer.casefold())
    return verdict.statement if begins else f"{layer}: {verdict.statement}"


def _blocked(inquiry: Inquiry, diagnosis: Diagnosis | None, top: Verdict, count: int) -> list[Span]:
    spans: list[Span] = [(" BLOCKED " if inquiry.finished else " SO FAR: BLOCKED ", "bad"), (" ", "text")]
    # what is not yet complete has no severity
    spans += _level(diagnosis) if diagnosis is not None and inquiry.finished else []
    if count > 1:
        spans.append((f"first of {count}, ", "muted"))
    spans.append((f"{top.confidence.value} " if top.confidence is not None else "", "muted"))
    return spans


def _level(diagnosis: Diagnosis) -> list[Span]:
    level = diagnosis.severity.level
    return [(f"{LEVEL_WORDS[level]} ", LEVEL_STYLES[level])] if level is not Level.UNKNOWN else []


def command_rows(actions: Sequence[Action], selected: int, empty: str, width: int, limit: int) -> list[Row]:
    """The command that ``enter`` copies, with what it is for where there is room."""
    if not actions:
        return [clip([(" next  ", "muted"), (empty, "muted")], width)]
    action = actions[selected]
    number = f"{selected + 1}/{len(actions)} " if len(actions) > 1 else ""
    head: list[Span] = [(f" next {number}", "muted"), ("$ ", "accent")]
    return folded(action.command or "", width, "strong", head=head, limit=limit)


class Headline(LinesPanel):
    """Title, verdict and command of a triage screen: at least three lines, at most as many as there is room for."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.inquiry: Inquiry | None = None
        self.host_id = ""
        self.actions: Sequence[Action] = ()
        self.selected = 0
        #: lines of the verdict and of the command
        self.limits: tuple[int, int] = (2, 2)
        self.tiny = False

    def build(self, width: int) -> list[Row]:
        """The lines."""
        app, inquiry = cast("QuarterdeckApp", self.app), self.inquiry
        if inquiry is None:
            return []
        head, sentence, style = verdict_spans(inquiry, self.host_id)
        if self.tiny:
            return [
                clip([(tidy(self.host_id), "accent")], width),
                clip(progress_spans(inquiry, self.host_id, app.boot_s()), width),
                clip([(head[0][0].strip(), head[0][1])], width),
                clip([("terminal too small", "warn")], width),
            ]
        rows = title_rows(app, "triage", inquiry, self.host_id, width)
        if len(inquiry.host_ids) > 1:
            rows.append(strip_row(inquiry, self.host_id, app.glyphs, width))
        rows += folded(sentence, width, style, head=head, indent=1, limit=self.limits[0])
        empty = "none yet" if inquiry.running else "no command is needed or known"
        return [*rows, *command_rows(self.actions, self.selected, empty, width, self.limits[1])]
