"""The help as rows, generated from the tables the program itself works by: keys, signs, states, filter, commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.condition import Level
from probes.model import LinkState, PortState
from tui.columns import COLUMNS
from tui.commands import COMMANDS
from tui.filter import DOTTED, NUMBERS, TEXTS
from tui.format import cells, fit
from tui.glyphs import ASCII, WORDS
from tui.history_filter import LANGUAGE
from tui.keys import KEYS, Section, effective
from tui.widgets.cell_detail import MEANINGS
from tui.widgets.key_bar import key_name
from tui.widgets.lines import beside, rule, wrap
from tui.widgets.link_header import LEVEL_STYLES, LEVEL_WORDS, link_style
from tui.widgets.service_list import STATE_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tui.glyphs import Glyphs
    from tui.widgets.lines import Row, Span

SECTION_WORDS: Final[dict[Section, str]] = {
    "app": "everywhere",
    "fleet": "fleet",
    "grid": "fleet: moving",
    "log": "event log",
    "host": "host",
    "matrix": "matrix",
    "triage": "triage",
    "audit": "audit",
    "bench": "bench",
    "history": "history",
    "help": "this help",
}
LEVEL_MEANINGS: Final = {
    Level.FINE: "live, values within their limits, every service open and healthy",
    Level.DEGRADED: "live, and something is past its limit, unhealthy or not open",
    Level.UNKNOWN: "we cannot tell: connecting, paused, stale or without values",
    Level.DOWN: "the host or our way to it is known not to work, or a GPU is lost",
}
LINK_MEANINGS: Final = {
    LinkState.CONNECTING: "a connection is being made",
    LinkState.LIVE: "samples arrive",
    LinkState.STALE: "connected, and nothing has arrived for a while; the last values are shown with their age",
    LinkState.UNREACHABLE: "no connection: the layer that failed, its cause and the next step stand beside it",
    LinkState.AUTH_FAILED: "the host does not take our user or keys",
    LinkState.HOST_KEY_UNKNOWN: "no known_hosts entry: we never connect blindly",
    LinkState.HOST_KEY_CHANGED: "the host shows another key than the known one: maybe not your host",
    LinkState.AGENT_FAILED: "SSH works, reading the host does not",
    LinkState.PAUSED: "not watched, because you said so",
}
_SPELT: Final = {"↑": "up", "↓": "down", "←": "left", "→": "right", "⏎": "enter"}
#: from this width on there are two columns
_TWO: Final = 130
_FILTER_LINES: Final = (
    ("temp>85 & host~=gpu", "both"),
    ("state=stale | lost>0", "either"),
    ("!live", "not; a bare word is looked for in host, groups, state and reasons"),
    ("(gpumem>90% | util<5) label.zone=a", "brackets; side by side means and"),
    ("temp=?", "hosts whose value is unknown; an unknown value matches no comparison"),
    ("= != ~= > < >= <=", "~= contains, or a pattern with * and ?"),
)


def pairs(entries: Iterable[tuple[str, str, str]], width: int, name_width: int) -> list[Row]:
    """Names and what they mean in two columns; a long meaning goes on below itself."""
    rows: list[Row] = []
    name_width = min(name_width, max(width // 2, 8))
    for name, style, meaning in entries:
        lines = wrap(meaning, max(width - name_width - 3, 8), "text", limit=3) or [()]
        head: Span = (f"  {fit(name, name_width)} ", style)
        if cells(name) > name_width:
            rows.append((("  " + name, style),))
            head = (" " * (name_width + 3), style)
        blank: Span = (" " * (name_width + 3), "text")
        rows += [(head if at == 0 else blank, *line) for at, line in enumerate(lines)]
    return rows


def key_names(keys: str, glyphs: Glyphs) -> str:
    """All keys of a binding as they are written on a keyboard, spelt out where only ASCII is drawn."""
    if not keys:
        return "(no key)"
    names = [key_name(key) for key in keys.split(",")]
    return glyphs.text(" ".join(_SPELT.get(name, name) if glyphs is ASCII else name for name in names))


def key_blocks(mapped: Mapping[str, str], width: int, glyphs: Glyphs) -> list[list[Row]]:
    """Every key, as it is mapped now, by the place where it works."""
    mapped = effective(mapped)
    blocks: list[list[Row]] = []
    for section, words in SECTION_WORDS.items():
        entries = [
            (key_names(mapped.get(key.id, key.keys), glyphs), "accent", key.description)
            for key in KEYS
            if key.section == section
        ]
        if entries:
            blocks.append([(), rule([(f"keys: {words}", "strong")], width, glyphs), *pairs(entries, width, 18)])
    return blocks


def sign_rows(glyphs: Glyphs, width: int) -> list[Row]:
    """Every sign in words."""
    levels = [(f"{glyphs.levels[level]} {LEVEL_WORDS[level]}", LEVEL_STYLES[level], LEVEL_MEANINGS[level])
              for level in Level]  # fmt: skip
    links = [(WORDS[state][0], link_style(state), LINK_MEANINGS[state]) for state in LinkState]
    ports = [
        (f"{glyphs.open} open", "good", "a connection was made and the service says it is healthy"),
        (f"{glyphs.open_unknown} open", "good", "a connection was made; the service was not asked how it is"),
        (f"{glyphs.failing} unhealthy", "bad", "a connection was made and the service says it is not well"),
        *((f"{glyphs.ports[state]} {STATE_WORDS[state]}", "bad", MEANINGS[state]) for state in glyphs.ports),
        (f"{glyphs.not_probed} not probed", "unknown", MEANINGS[PortState.NOT_PROBED]),
    ]
    values = [
        (glyphs.heat, "accent", "a value between its fixed bounds; GPUs in the fleet, history on the host screen"),
        (f"{glyphs.lost} in a strip", "bad", "the driver has lost this GPU"),
        (f"{glyphs.missing} in a strip", "unknown", "the value could not be read"),
        (glyphs.unknown, "unknown", "not known; the reason stands beside it. Nothing unknown is ever shown as 0"),
        ("dimmed", "old", "not from now: the last values of a host that fell silent, with their age"),
    ]
    rows: list[Row] = []
    for title, entries in (
        ("how a host is", levels),
        ("the link to a host", links),
        ("services", ports),
        ("values", values),
    ):
        rows += [(), rule([(title, "strong")], width, glyphs), *pairs(entries, width, 24)]
    return rows


def filter_rows(width: int, glyphs: Glyphs) -> list[Row]:
    """The filter language with its fields."""
    rows: list[Row] = [(), rule([("filter of the fleet screen", "strong")], width, glyphs)]
    rows += pairs([(example, "accent", meaning) for example, meaning in _FILTER_LINES], width, 36)
    fields = [(name, what) for name, (what, *_) in (*NUMBERS.items(), *TEXTS.items())]
    fields += [(f"{name}.NAME", what) for name, what in DOTTED.items()]
    return rows + pairs([(name, "accent", what) for name, what in fields], width, 14)


def command_rows(width: int, glyphs: Glyphs) -> list[Row]:
    """The commands, then the columns that ``:sort`` takes."""
    rows: list[Row] = [(), rule([("commands", "strong")], width, glyphs)]
    rows += pairs([(f":{each.name} {each.argument}", "accent", each.description) for each in COMMANDS], width, 20)
    rows += [(), rule([("columns of the fleet screen", "strong")], width, glyphs)]
    return rows + pairs([(column.key, "accent", column.description) for column in COLUMNS], width, 12)


def history_rows(width: int, glyphs: Glyphs) -> list[Row]:
    """What the filter of the History screen knows; the language is the same."""
    fields = [(name, what) for name, (what, *_) in (*LANGUAGE.numbers.items(), *LANGUAGE.texts.items())]
    title = rule([("filter of the history screen", "strong")], width, glyphs)
    return [(), title, *pairs([(name, "accent", what) for name, what in fields], width, 14)]


def help_rows(mapped: Mapping[str, str], glyphs: Glyphs, width: int) -> list[Row]:
    """The whole help; where there is room in two columns of much the same height."""
    if width < _TWO:
        return [row for block in _blocks(mapped, glyphs, width) for row in block][1:]
    half = (width - 4) // 2
    blocks = _blocks(mapped, glyphs, half)
    heights = [len(block) for block in blocks]
    at = min(range(len(blocks)), key=lambda at: max(sum(heights[:at]), sum(heights[at:])))
    columns = [[row for block in part for row in block] for part in (blocks[:at], blocks[at:])]
    return beside(columns, [half, half], 4)[1:]


def _blocks(mapped: Mapping[str, str], glyphs: Glyphs, width: int) -> list[list[Row]]:
    rest = (filter_rows(width, glyphs), history_rows(width, glyphs), command_rows(width, glyphs))
    return [*key_blocks(mapped, width, glyphs), sign_rows(glyphs, width), *rest]
