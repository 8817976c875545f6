"""The one table of keys: bindings, help screen and README are derived from it, and ``[keys]`` remaps it by ``id``.

A section is the screen the keys work on: ``app`` everywhere, else the screen's name. The keys follow k9s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from textual.binding import Binding, BindingType

Section = Literal["app", "fleet", "host", "matrix"]


@dataclass(frozen=True, slots=True)
class Key:
    """One action and its keys (comma separated). ``hint`` is the short word of the footer, empty: not in the footer."""

    id: str
    keys: str
    action: str
    description: str
    section: Section
    hint: str = ""
    priority: bool = False


KEYS: Final[tuple[Key, ...]] = (
    Key("quit", "q,ctrl+c", "quit", "quit", "app", "quit", priority=False),
    Key("help", "question_mark", "help", "help: all keys and signs", "app", "help"),
    Key("command", "colon", "command_line", "command line", "app", "command"),
    Key("palette", "ctrl+p", "command_palette", "command palette", "app"),
    Key("matrix", "m", "matrix", "hosts x services matrix", "app", "matrix"),
    Key("clock", "c", "clock", "clock in UTC or local time", "app"),
    Key("theme", "T", "next_theme", "next theme", "app"),
    Key("reload", "R", "reload", "reload the configuration", "app"),
    Key("events", "e", "events", "event log", "app", "events"),
    Key("dismiss_banner", "ctrl+x", "dismiss_banner", "dismiss the error banner", "app"),
    Key("open", "enter", "open", "open the host (fold or unfold a group)", "fleet", "open"),
    Key("filter", "slash", "filter", "filter by an expression", "fleet", "filter"),
    Key("back", "escape", "back", "back: clear the filter, then the marks", "fleet"),
    Key("faults", "f", "faults", "only hosts that are not fine", "fleet", "faults"),
    Key("sort", "s", "sort", "sort by a column", "fleet", "sort"),
    Key("sort_left", "less_than_sign", "sort_step(-1)", "sort by the column to the left", "fleet"),
    Key("sort_right", "greater_than_sign", "sort_step(1)", "sort by the column to the right", "fleet"),
    Key("reverse", "r", "reverse", "reverse the order", "fleet"),
    Key("group", "g", "group", "group: none, by group, by group folded, by state", "fleet", "group"),
    Key("mark", "space", "mark", "mark the host", "fleet", "mark"),
    Key("pause", "p", "pause", "pause or resume the marked hosts, else this one", "fleet", "pause"),
    Key("reconnect", "ctrl+r", "reconnect", "reconnect the marked hosts, else this one", "fleet"),
    Key("freeze", "ctrl+s,P", "freeze", "freeze the display", "fleet"),
    Key("shell", "S,exclamation_mark", "shell", "shell into the host (runs ssh)", "fleet", "shell"),
    Key("yank", "y", "yank('address')", "copy the address", "fleet", "yank"),
    Key("yank_error", "Y", "yank('error')", "copy the reasons or the error", "fleet"),
    Key("yank_command", "ctrl+y", "yank('command')", "copy the ssh command", "fleet"),
    Key("events_host", "E", "events_host", "event log of this host only", "fleet"),
)


def bindings(section: Section) -> list[BindingType]:
    """The Textual bindings of one section."""
    return [
        Binding(key.keys, key.action, key.description, id=key.id, show=bool(key.hint), priority=key.priority)
        for key in KEYS
        if key.section == section
    ]


def ids() -> frozenset[str]:
    """All ids that ``[keys]`` may remap."""
    return frozenset(key.id for key in KEYS)
