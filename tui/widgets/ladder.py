"""The layers in packet order, lighting up as evidence arrives: sign, word, name and reason of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import LAYERS, Outcome
from tui.widgets.folded import cell, folded
from tui.widgets.lines import LinesPanel, clip, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.judge.diagnosis import LayerState
    from tui.glyphs import Glyphs
    from tui.inquiry import Inquiry
    from tui.widgets.lines import Row, Span

LAYER_WORDS: Final = {
    "resolve": "resolve",
    "egress": "our egress",
    "address": "address",
    "instance": "instance",
    "security_group": "security group",
    "nacl": "network ACL",
    "route": "route",
    "host_firewall": "host firewall",
    "tcp": "TCP",
    "ssh": "SSH",
    "tls": "TLS",
    "http": "HTTP",
}
OUTCOME_WORDS: Final = {
    Outcome.PASS: "pass",
    Outcome.BLOCK: "BLOCK",
    Outcome.UNKNOWN: "unknown",
    Outcome.NOT_APPLICABLE: "n/a",
    None: "gathering",
}
OUTCOME_STYLES: Final = {
    Outcome.PASS: "good",
    Outcome.BLOCK: "bad",
    Outcome.UNKNOWN: "unknown",
    Outcome.NOT_APPLICABLE: "muted",
    None: "accent",
}
#: whose reason gets a second line first
_WORDY: Final = (Outcome.BLOCK, Outcome.UNKNOWN, None, Outcome.PASS, Outcome.NOT_APPLICABLE)
_NAME: Final = 14
_WORD: Final = 9


def outcome_sign(outcome: Outcome | None, glyphs: Glyphs) -> str:
    """One character for how a layer ended; None: it is still gathered."""
    if outcome is None:
        return glyphs.ellipsis
    if outcome is Outcome.NOT_APPLICABLE:
        return glyphs.not_probed
    return glyphs.levels[{Outcome.PASS: 0, Outcome.UNKNOWN: 2, Outcome.BLOCK: 3}[outcome]]


def layer_rows(name: str, end: LayerState | None, waits_for: str, glyphs: Glyphs, width: int) -> list[Row]:
    """One layer: the first row has its name, the reason goes on below itself."""
    outcome = None if end is None else end.outcome
    style = OUTCOME_STYLES[outcome]
    head: list[Span] = [
        (f" {outcome_sign(outcome, glyphs)} ", style),
        (f"{cell(LAYER_WORDS[name], _NAME)} ", "strong" if outcome is Outcome.BLOCK else "text"),
        (f"{cell(OUTCOME_WORDS[outcome], _WORD)} ", style),
    ]
    reason = end.reason if end is not None else f"awaiting {waits_for or 'the first answer'}"
    return folded(reason, width, "text" if outcome is Outcome.BLOCK else "muted", head=head)


def ladder_rows(inquiry: Inquiry, host_id: str, glyphs: Glyphs, width: int, room: int | None = None) -> list[Row]:
    """The ladder in at most ``room`` rows (never fewer than one a layer): what blocks keeps its reason longest."""
    blocks = [
        layer_rows(name, inquiry.layer(host_id, name), inquiry.waits_for(host_id, name), glyphs, width)
        for name in LAYERS
    ]
    ends = [inquiry.layer(host_id, name) for name in LAYERS]
    wanted = [len(block) for block in blocks]
    if room is not None and sum(wanted) > room:
        wanted = _shares(wanted, [None if end is None else end.outcome for end in ends], room)
    return [row for block, count in zip(blocks, wanted, strict=True) for row in _shortened(block, count, width)]


def _shares(wanted: Sequence[int], outcomes: Sequence[Outcome | None], room: int) -> list[int]:
    given = [1] * len(wanted)
    left = max(room - len(wanted), 0)
    # the whole reason of what blocks, then a second line for each before anybody gets a third
    for most, turns in ((max(wanted), (Outcome.BLOCK,)), (2, _WORDY), (max(wanted), _WORDY)):
        for outcome in turns:
            for at, each in enumerate(outcomes):
                if each is outcome:
                    more = max(min(min(wanted[at], most) - given[at], left), 0)
                    given[at] += more
                    left -= more
    return given


def _shortened(block: Sequence[Row], count: int, width: int) -> list[Row]:
    if count >= len(block):
        return list(block)
    *before, (text, style) = block[count - 1]
    return [*block[: count - 1], clip([*before, (f"{text} {block[count][-1][0].lstrip()}", style)], width)]


class LadderPanel(LinesPanel):
    """The ladder of one host."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.inquiry: Inquiry | None = None
        self.host_id = ""
        self.room: int | None = None
        self.glyphs: Glyphs | None = None

    def build(self, width: int) -> list[Row]:
        """A title, then a layer after the other."""
        if self.inquiry is None or self.glyphs is None:
            return []
        title: list[Span] = [(" layers ", "strong"), ("in packet order ", "muted")]
        room = None if self.room is None else self.room - 1
        rows = ladder_rows(self.inquiry, self.host_id, self.glyphs, width, room)
        return [rule(title, width, self.glyphs), *rows]
