"""The one table of keys: bindings, help screen and README are derived from it, and ``[keys]`` remaps it by ``id``.

A section is where the keys work: ``app`` everywhere, else the screen's or the part's name. The keys follow k9s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct
from textual.binding import Binding, BindingType
from textual.keys import _character_to_key

if TYPE_CHECKING:
    from collections.abc import Mapping

#: a key that no terminal sends
NO_KEY: Final = "<none>"

Section = Literal[
    "app", "fleet", "grid", "log", "host", "matrix", "triage", "audit", "bench", "history", "help"
]  # fmt: skip


class Key(Struct, frozen=True, gc=False):
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
    Key("history", "H", "history", "history: benchmark runs of the past", "app"),
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
    Key("triage", "t", "triage", "triage: why the marked hosts, else this one, are not reached", "fleet", "triage"),
    Key("audit", "A", "audit", "audit: what the marked hosts, else this one, expose", "fleet"),
    Key("bench", "b", "bench", "bench: measure the marked hosts, else this one", "fleet", "bench"),
    Key(
        "bench_check",
        "B",
        "bench_check",
        "quick validation of this host at once: connectivity and one request",
        "fleet",
    ),
    Key("pause", "p", "pause", "pause or resume the marked hosts, else this one", "fleet", "pause"),
    Key("reconnect", "ctrl+r", "reconnect", "reconnect the marked hosts, else this one", "fleet"),
    Key("freeze", "ctrl+s,P", "freeze", "freeze the display", "fleet"),
    Key("shell", "S,exclamation_mark", "shell", "shell into the host (runs ssh)", "fleet", "shell"),
    Key("yank", "y", "yank('address')", "copy the address", "fleet", "yank"),
    Key("yank_error", "Y", "yank('error')", "copy the reasons or the error", "fleet"),
    Key("yank_command", "ctrl+y", "yank('command')", "copy the ssh command", "fleet"),
    Key("up", "up,k", "cursor(-1)", "up", "grid"),
    Key("down", "down,j", "cursor(1)", "down", "grid"),
    Key("page_up", "pageup,ctrl+b", "cursor_page(-1)", "a page up", "grid"),
    Key("page_down", "pagedown,ctrl+f", "cursor_page(1)", "a page down", "grid"),
    Key("top", "home", "cursor_end(-1)", "to the first", "grid"),
    Key("bottom", "end,G", "cursor_end(1)", "to the last", "grid"),
    Key("events_host", "E", "events_host", "event log of this host only", "fleet"),
    Key("back", "escape", "back", "back: from one section to all of them, then to the fleet", "host", "back"),
    Key("triage", "t", "triage", "triage: why this host is not reached", "host", "triage"),
    Key("audit", "A", "audit", "audit: what this host exposes", "host"),
    Key("bench", "b", "bench", "bench: measure this host", "host", "bench"),
    Key(
        "bench_check", "B", "bench_check", "quick validation of this host at once: connectivity and one request", "host"
    ),
    Key("host_next", "n", "host_step(1)", "next host", "host", "next"),
    Key("host_previous", "N", "host_step(-1)", "previous host", "host"),
    Key("section_overview", "0", "section(0)", "overview of all sections", "host"),
    Key("section_gpus", "1", "section(1)", "GPUs alone (again: overview)", "host"),
    Key("section_cpu", "2", "section(2)", "CPU and memory alone", "host"),
    Key("section_processes", "3", "section(3)", "all processes", "host"),
    Key("section_services", "4", "section(4)", "services alone", "host"),
    Key("section_system", "5", "section(5)", "disks, network, versions, units, XID errors, agent", "host"),
    Key("section_chart", "6", "section(6)", "the chart alone", "host"),
    Key(
        "chart_next", "v", "chart_series(1)", "next chart: GPU load, temperature, power, host, network", "host", "chart"
    ),
    Key("chart_previous", "V", "chart_series(-1)", "previous chart", "host"),
    Key("chart_gpu_next", "g,right", "chart_gpu(1)", "chart of the next GPU", "host", "GPU"),
    Key("chart_gpu_previous", "left", "chart_gpu(-1)", "chart of the previous GPU", "host"),
    Key("process_order", "o", "process_order", "processes by GPU memory, CPU or memory", "host", "order"),
    Key("scroll_up", "up,k", "scroll_body(-1)", "scroll up", "host"),
    Key("scroll_down", "down,j", "scroll_body(1)", "scroll down", "host"),
    Key("scroll_page_up", "pageup,ctrl+b", "scroll_page(-1)", "scroll a page up", "host"),
    Key("scroll_page_down", "pagedown,ctrl+f", "scroll_page(1)", "scroll a page down", "host"),
    Key("scroll_top", "home", "scroll_edge(-1)", "scroll to the top", "host"),
    Key("scroll_bottom", "end,G", "scroll_edge(1)", "scroll to the bottom", "host"),
    Key("pause", "p", "pause", "pause or resume this host", "host", "pause"),
    Key("reconnect", "ctrl+r,x", "reconnect", "reconnect this host now", "host", "reconnect"),
    Key("probe", "r", "probe", "probe the services now", "host"),
    Key("shell", "S,exclamation_mark", "shell", "shell into this host (runs ssh)", "host", "shell"),
    Key("yank", "y", "yank('address')", "copy the address", "host", "yank"),
    Key("yank_error", "Y", "yank('error')", "copy the reasons or the error", "host"),
    Key("yank_command", "ctrl+y", "yank('command')", "copy the ssh command", "host"),
    Key("back", "escape", "back", "back", "matrix", "back"),
    Key("open", "enter", "open", "open the host", "matrix", "open"),
    Key("triage", "t", "triage", "triage: why this host is not reached", "matrix", "triage"),
    Key("audit", "A", "audit", "audit: what this host exposes", "matrix"),
    Key("bench", "b", "bench", "bench: measure this host", "matrix", "bench"),
    Key(
        "bench_check",
        "B",
        "bench_check",
        "quick validation of this host at once: connectivity and one request",
        "matrix",
    ),
    Key("faults", "f", "faults", "only hosts with a service that is not fine", "matrix", "faults"),
    Key("matrix_width", "w", "toggle_width", "signs alone, or signs with words", "matrix", "width"),
    Key("matrix_up", "up,k", "cursor(0,-1)", "up", "matrix"),
    Key("matrix_down", "down,j", "cursor(0,1)", "down", "matrix"),
    Key("matrix_left", "left,h", "cursor(-1,0)", "left", "matrix"),
    Key("matrix_right", "right,l", "cursor(1,0)", "right", "matrix"),
    Key("matrix_page_up", "pageup,ctrl+b", "cursor_page(-1)", "a page up", "matrix"),
    Key("matrix_page_down", "pagedown,ctrl+f", "cursor_page(1)", "a page down", "matrix"),
    Key("matrix_top", "home", "cursor_edge(-1)", "to the first host", "matrix"),
    Key("matrix_bottom", "end,G", "cursor_edge(1)", "to the last host", "matrix"),
    Key("probe", "r", "probe", "probe the services of this host now", "matrix", "probe"),
    Key("yank", "y", "yank('address')", "copy the address", "matrix"),
    Key("yank_error", "Y", "yank('error')", "copy the cell in words", "matrix"),
    Key("back", "escape", "back", "back; an investigation that still runs is cancelled", "triage", "back"),
    Key("copy", "enter,y", "copy", "copy the selected command", "triage", "copy"),
    Key(
        "select_down", "down,j", "move(1)", "the next command (evidence, causes, diff: scroll down)", "triage", "select"
    ),
    Key("select_up", "up,k", "move(-1)", "the command before (evidence, causes, diff: scroll up)", "triage"),
    Key("pane_next", "tab", "pane_step(1)", "next pane", "triage", "pane"),
    Key("pane_previous", "shift+tab", "pane_step(-1)", "previous pane", "triage"),
    Key("probe", "r", "probe", "probe again", "triage", "probe again"),
    Key(
        "triage_diff",
        "d",
        "pane(5)",
        "what changed: against the last good state and the probe before",
        "triage",
        "diff",
    ),
    Key("record", "w", "record", "write the record, JSON and Markdown, into the state folder", "triage", "write"),
    Key("host_next", "n", "host_step(1)", "next host of this triage", "triage", "next"),
    Key("host_previous", "N", "host_step(-1)", "previous host of this triage", "triage"),
    Key("pane_layers", "0", "pane(0)", "layers (where they are not beside the pane)", "triage"),
    Key("pane_verdicts", "1", "pane(1)", "verdicts with what to do", "triage"),
    Key("pane_evidence", "2", "pane(2)", "evidence", "triage"),
    Key("pane_causes", "3", "pane(3)", "causes: found, still possible, ruled out", "triage"),
    Key("pane_recovery", "4", "pane(4)", "recovery options with their formula", "triage"),
    Key("pane_diff", "5", "pane(5)", "what changed", "triage"),
    Key("yank_error", "Y", "yank_verdict", "copy the verdict", "triage"),
    Key("scroll_page_up", "pageup,ctrl+b", "scroll_page(-1)", "scroll a page up", "triage"),
    Key("scroll_page_down", "pagedown,ctrl+f", "scroll_page(1)", "scroll a page down", "triage"),
    Key("scroll_top", "home", "scroll_edge(-1)", "scroll to the top", "triage"),
    Key("scroll_bottom", "end,G", "scroll_edge(1)", "scroll to the bottom", "triage"),
    Key("back", "escape", "back", "back: show all lines again, then leave", "audit", "back"),
    Key("copy", "enter,y", "copy", "copy the command of the selected line", "audit", "copy"),
    Key("select_down", "down,j", "move(1)", "the next line", "audit", "select"),
    Key("select_up", "up,k", "move(-1)", "the line before", "audit"),
    Key("audit_filter", "f", "filter", "only failed, not checked, passed; all", "audit", "filter"),
    Key("audit_check", "g", "check", "only one kind of check after the other; all", "audit", "kind"),
    Key("probe", "r", "probe", "look again", "audit", "look again"),
    Key("record", "w", "record", "write the record, JSON and Markdown, into the state folder", "audit", "write"),
    Key("host_next", "n", "host_step(1)", "next host of this audit", "audit", "next"),
    Key("host_previous", "N", "host_step(-1)", "previous host of this audit", "audit"),
    Key("scroll_page_up", "pageup,ctrl+b", "scroll_page(-1)", "scroll a page up", "audit"),
    Key("scroll_page_down", "pagedown,ctrl+f", "scroll_page(1)", "scroll a page down", "audit"),
    Key("scroll_top", "home", "scroll_edge(-1)", "scroll to the top", "audit"),
    Key("scroll_bottom", "end,G", "scroll_edge(1)", "scroll to the bottom", "audit"),
    Key("back", "escape", "back", "back; what runs goes on", "bench", "back"),
    Key("bench_start", "s", "start", "start what is chosen", "bench", "start"),
    Key("bench_cancel", "x", "cancel", "cancel what runs; what it measured is kept", "bench", "cancel"),
    Key(
        "bench_check",
        "B",
        "bench_check",
        "quick validation of this host at once: connectivity and one request",
        "bench",
    ),
    Key("bench_edit", "enter", "edit", "change the selected line (empty: its default)", "bench", "change"),
    Key("bench_next_value", "right,l,space", "value(1)", "next value of a choice; result: next run", "bench"),
    Key("bench_previous_value", "left,h", "value(-1)", "value before; result: run before", "bench"),
    Key("select_down", "down,j", "move(1)", "next line; run: next host; result: scroll down", "bench", "select"),
    Key("select_up", "up,k", "move(-1)", "line before; run: host before; result: scroll up", "bench"),
    Key("host_next", "n", "host_step(1)", "next host of what runs", "bench"),
    Key("host_previous", "N", "host_step(-1)", "previous host of what runs", "bench"),
    Key("pane_next", "tab", "pane_step(1)", "next pane", "bench", "pane"),
    Key("pane_previous", "shift+tab", "pane_step(-1)", "previous pane", "bench"),
    Key("pane_set_up", "1", "pane(1)", "set up: benchmark, mode, hosts, parameters", "bench"),
    Key("pane_run", "2", "pane(2)", "run: progress, response times, GPUs", "bench"),
    Key("pane_result", "3", "pane(3)", "result: the grade card", "bench"),
    Key("yank", "y", "yank", "copy the run id of the result", "bench"),
    Key("scroll_page_up", "pageup,ctrl+b", "scroll_page(-1)", "scroll a page up", "bench"),
    Key("scroll_page_down", "pagedown,ctrl+f", "scroll_page(1)", "scroll a page down", "bench"),
    Key("scroll_top", "home", "scroll_edge(-1)", "scroll to the top", "bench"),
    Key("scroll_bottom", "end,G", "scroll_edge(1)", "scroll to the bottom", "bench"),
    Key("back", "escape", "back", "back: to the list, then clear filter and marks, then leave", "history", "back"),
    Key("open", "enter", "open", "open the run as a grade card", "history", "open"),
    Key("mark", "space", "mark", "mark the run (two are compared)", "history", "mark"),
    Key("history_compare", "v", "compare", "compare the two marked runs", "history", "compare"),
    Key("history_compare_labels", "V", "compare_labels", "compare the labels of the two marked runs", "history"),
    Key("history_trend", "t", "trend", "trend of this run's configuration on its host", "history", "trend"),
    Key(
        "history_baseline",
        "s",
        "baseline",
        "set as the baseline of its configuration on its host",
        "history",
        "baseline",
    ),
    Key("filter", "slash", "filter", "filter by an expression", "history", "filter"),
    Key("probe", "r", "reload", "read the stored runs again", "history"),
    Key("yank", "y", "yank", "copy the run id", "history", "yank"),
    Key("select_down", "down,j", "move(1)", "down", "history"),
    Key("select_up", "up,k", "move(-1)", "up", "history"),
    Key("scroll_page_up", "pageup,ctrl+b", "scroll_page(-1)", "a page up", "history"),
    Key("scroll_page_down", "pagedown,ctrl+f", "scroll_page(1)", "a page down", "history"),
    Key("scroll_top", "home", "scroll_edge(-1)", "to the first", "history"),
    Key("scroll_bottom", "end,G", "scroll_edge(1)", "to the last", "history"),
    Key("back", "escape", "back", "back", "help", "back"),
    Key("scroll_up", "up,k", "scroll_body(-1)", "scroll up", "help"),
    Key("scroll_down", "down,j", "scroll_body(1)", "scroll down", "help"),
    Key("scroll_page_up", "pageup,ctrl+b", "scroll_page(-1)", "scroll a page up", "help"),
    Key("scroll_page_down", "pagedown,ctrl+f,space", "scroll_page(1)", "scroll a page down", "help"),
    Key("scroll_top", "home", "scroll_edge(-1)", "scroll to the top", "help"),
    Key("scroll_bottom", "end,G", "scroll_edge(1)", "scroll to the bottom", "help"),
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


def actions() -> dict[str, frozenset[str]]:
    """What ``[keys]`` may remap, and where each works: two that share a place must not share a key."""
    everywhere = frozenset(key.section for key in KEYS)
    also: dict[str, frozenset[str]] = {"app": everywhere, "grid": frozenset({"grid", "fleet"})}
    found: dict[str, frozenset[str]] = {}
    for key in KEYS:
        found[key.id] = found.get(key.id, frozenset()) | also.get(key.section, frozenset({key.section}))
    return found


def effective(configured: Mapping[str, str]) -> dict[str, str]:
    """The keys of every action that has others than its own: what ``[keys]`` binds, and what that takes from others.

    An action that is left without any key has an empty text.
    """
    found = {action: ",".join(_split(keys)) for action, keys in configured.items() if action in ids()}
    if not found:
        return found
    places = actions()
    owners = [(places[action], frozenset(_split(keys))) for action, keys in found.items()]
    for key in KEYS:
        if key.id in configured:
            continue
        here = places[key.id]
        taken = frozenset[str]().union(*(theirs for there, theirs in owners if there & here))
        own = _split(key.keys)
        left = [one for one in own if one not in taken]
        if len(left) < len(own):
            found[key.id] = max(found.get(key.id, ""), ",".join(left), key=len)
    return found


def keymap(configured: Mapping[str, str]) -> dict[str, str]:
    """The same for Textual, which takes an empty text for no change."""
    return {action: keys or NO_KEY for action, keys in effective(configured).items()}


def _split(keys: str) -> list[str]:
    """The single keys by Textual's long names: ``question_mark`` for ``?``."""
    parts = (part.strip() for part in keys.split(","))
    return [_character_to_key(part) if len(part) == 1 else part for part in parts]
