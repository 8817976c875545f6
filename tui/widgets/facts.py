"""The rest of a host: disks, network, versions, units, XID errors, and what the agent costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.drift import VERSION_FIELDS, drifts
from tui.format import UNKNOWN, bytes_text, duration_text, fit, pct_text, rate_text, ratio_pct
from tui.widgets.gpu_cards import of_text
from tui.widgets.lines import LinesPanel, clip, dimmed, flow, reason_words, rule, wrap
from tui.widgets.strip_chart import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes.judge.drift import Majority
    from probes.model import Disk, Hello, Missing, Net, Sample, Unit, Xid
    from tui.widgets.lines import Row, Span, View

_LABEL: Final = 9
_VERSION_WORDS: Final = {"driver": "driver", "cuda": "CUDA", "os": "OS", "kernel": "kernel"}
_UNIT_WORDS: Final = {"docker": "containers", "systemd": "watched units"}
_UNIT_FINE: Final = frozenset({"running", "active", "up", "healthy"})


def label(text: str) -> Span:
    """The name at the start of a line."""
    return (fit(text, _LABEL), "muted")


def unknown(missing: Missing, *fields: str) -> Span:
    """A dash and why."""
    found = next((field for field in fields if field in missing), fields[0])
    return (f"{UNKNOWN} {reason_words(missing, found)}", "unknown")


def disk_row(disk: Disk, view: View, width: int) -> Row:
    """Space and rates of one file system."""
    limits = view.thresholds
    pct = ratio_pct(disk.used_bytes, disk.total_bytes)
    head: list[Span] = [(fit(disk.mount, 14 if width >= 70 else 10) + " ", "text")]
    if pct is None:
        head.append(unknown(disk.missing, "used_bytes", "total_bytes"))
    else:
        style = "text" if pct < limits.disk_warn_pct else "warn" if pct < limits.disk_crit_pct else "bad"
        gauge = bar(pct / 100, 12 if width >= 70 else 6, view.glyphs)
        head.append((gauge, "accent" if style == "text" else style))
        head.append((f" {pct_text(pct):>4} {of_text(disk.used_bytes, disk.total_bytes):>14}", style))
    for name, field in (("r", "read_bytes_per_s"), ("w", "write_bytes_per_s")):
        head += _rate(name, getattr(disk, field), disk.missing, field)
    return clip(head, width)


def net_row(net: Net, width: int) -> Row:
    """Rates of one interface."""
    spans: list[Span] = [(fit(net.name, 14 if width >= 70 else 10), "text")]
    for name, field in (("rx", "rx_bytes_per_s"), ("tx", "tx_bytes_per_s")):
        spans += _rate(name, getattr(net, field), net.missing, field)
    return clip(spans, width)


def _rate(name: str, value: float | None, missing: Missing, field: str) -> list[Span]:
    if value is None:
        words = reason_words(missing, field)
        return [(f"  {name} ", "muted"), (f"{UNKNOWN} {words}", "unknown")]
    return [(f"  {name} ", "muted"), (f"{rate_text(value):>10}", "text")]


def limited(rows: list[Row], limit: int | None, width: int) -> list[Row]:
    """At most ``limit`` rows, the rest counted."""
    if limit is None or len(rows) <= limit:
        return rows
    return [*rows[: limit - 1], clip([(f"  {len(rows) - limit + 1} more in section 5", "muted")], width)]


def version_rows(hello: Hello, common: dict[str, Majority], view: View, width: int) -> list[Row]:
    """Driver, CUDA, OS, kernel, and which of them differ from most of the fleet."""
    drift = drifts(hello, common)
    facts: list[list[Span]] = []
    for field in VERSION_FIELDS:
        value: str | None = getattr(hello, field)
        name: Span = (f"{_VERSION_WORDS[field]} ", "muted")
        if value is None:
            facts.append([name, unknown(hello.missing, field)])
        elif field in drift:
            other = drift[field]
            says = f" DRIFT: {other.count} of {other.total} hosts have {other.value}"
            facts.append([name, (value + says, "warn")])
        else:
            facts.append([name, (value, "text")])
    if hello.python is not None:
        facts.append([("python ", "muted"), (hello.python, "text")])
    return _labelled("versions", flow(facts, width - _LABEL, view.glyphs), width)


def _labelled(name: str, rows: Sequence[Row], width: int) -> list[Row]:
    return [clip((label(name if index == 0 else ""), *row), width) for index, row in enumerate(rows)]


def unit_rows(hello: Hello, view: View, width: int) -> list[Row]:
    """Containers and systemd units: how many, how old that is, what could not be asked; the ones not running first."""
    units = hello.units
    if units is None:
        return [clip([label("units"), unknown(hello.missing, "units")], width)]
    rows: list[Row] = [tuple(_units_summary(units, hello, view))]
    for unit in sorted(units, key=lambda u: (_runs(u), u.kind, u.name)):
        style = "text" if _runs(unit) else "warn"
        row: list[Span] = [(f"{unit.kind} ", "muted"), (f"{unit.name} ", "text"), (unit.state, style)]
        if unit.detail:
            row.append((f"  {unit.detail}", "muted"))
        rows.append(tuple(row))
    return _labelled("units", rows, width)


def _units_summary(units: Sequence[Unit], hello: Hello, view: View) -> list[Span]:
    ill = sum(not _runs(unit) for unit in units)
    absent = [name for name in ("docker", "systemd") if f"units.{name}" in hello.missing]
    asked = " or ".join(words for name, words in _UNIT_WORDS.items() if name not in absent)
    spans: list[Span] = [(f"{len(units)} found" if units else f"no {asked}", "muted")]
    if ill:
        spans.append((f", {ill} not running", "warn"))
    age_s = view.record.units_age_s(view.now_s)
    spans.append((f", asked {'at an unknown time' if age_s is None else f'{duration_text(age_s)} ago'}", "muted"))
    for name in absent:
        if hello.missing[f"units.{name}"] == "unsupported":
            spans.append((f"  no {name}", "muted"))
        else:
            spans += [(f"  {name} ", "muted"), unknown(hello.missing, f"units.{name}")]
    return spans


def _runs(unit: Unit) -> bool:
    return unit.state.split(" ")[0].lower() in _UNIT_FINE


def xid_rows(sample: Sample, view: View, width: int) -> list[Row]:
    """XID errors of the kernel log; "none" is said only when the log was read."""
    if sample.xid_events is None:
        reason = sample.missing.get("xid_events")
        if reason == "denied":
            words = "not permitted to read the kernel log"
        elif reason == "unsupported" and not sample.gpus:
            words = "no NVIDIA driver"
        else:
            words = f"kernel log not read: {reason_words(sample.missing, 'xid_events')}"
        return [clip([label("XID"), (f"{UNKNOWN} {words}", "unknown")], width)]
    if not sample.xid_events:
        return [clip([label("XID"), ("none seen in the kernel log", "text")], width)]
    return _labelled("XID", [_xid_row(xid, sample, view) for xid in reversed(sample.xid_events)], width)


def _xid_row(xid: Xid, sample: Sample, view: View) -> Row:
    ago_s = sample.uptime_s - xid.uptime_s + (view.age_s or 0.0)
    return ((str(xid.code), "bad"), (f" {xid.pci} ", "text"), (f"{duration_text(ago_s)} ago ", "muted"),
            (xid.message, "text"))  # fmt: skip


def agent_rows(view: View, sample: Sample, width: int) -> list[Row]:
    """What watching costs the host, and what the agent said that we could not use."""
    record, agent = view.record, sample.agent
    cpu = UNKNOWN if agent.cpu_pct is None else f"{agent.cpu_pct:.2f}%"
    facts: list[list[Span]] = [
        [(f"{cpu} of a core", "unknown" if agent.cpu_pct is None else "text")],
        [(bytes_text(agent.rss_bytes), "unknown" if agent.rss_bytes is None else "text")],
    ]
    if record.hello is not None:
        pid = "" if record.hello.pid is None else f" pid {record.hello.pid}"
        facts.append([(f"{record.hello.mode}{pid}", "text")])
    facts.append([(f"{record.bad_lines} bad lines", "warn" if record.bad_lines else "text")])
    rows = _labelled("agent", flow(facts, width - _LABEL, view.glyphs), width)
    for text in (record.bad_text if record.bad_lines else "", record.note):
        if text:
            rows += _labelled("", wrap(text, width - _LABEL, "warn", limit=2), width)
    return rows


class SystemPanel(LinesPanel):
    """Disks, network, versions, units, XID errors, agent."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.common: dict[str, Majority] = {}
        self.limit: int | None = 6

    def build(self, width: int) -> list[Row]:
        """One block after the other."""
        view = self.view
        if view is None:
            return []
        sample, hello = view.record.sample, view.record.hello
        body: list[Row] = []
        uptime = UNKNOWN
        if sample is not None:
            uptime = duration_text(sample.uptime_s + (view.age_s or 0.0 if view.current else 0.0))
            body += limited([disk_row(disk, view, width) for disk in sample.disks], self.limit, width)
            if not sample.disks:
                body.append(clip([label("disks"), unknown(sample.missing, "disks")], width))
            body += limited([net_row(net, width) for net in by_traffic(sample.net)], self.limit, width)
            if not sample.net:
                body.append(clip([label("network"), unknown(sample.missing, "net")], width))
        if hello is not None:
            body += version_rows(hello, self.common, view, width)
        if sample is not None:
            body += limited(xid_rows(sample, view, width), self.limit, width)
        if hello is not None:
            body += limited(unit_rows(hello, view, width), self.limit, width)
        if sample is not None:
            body += agent_rows(view, sample, width)
        if not body:
            return []
        tail: list[Span] = [(f"up {uptime}", "muted")]
        title = rule([(" system ", "strong")], width, view.glyphs, tail)
        return [title, *(body if view.current else dimmed(body))]


def by_traffic(nets: Sequence[Net]) -> list[Net]:
    """Real interfaces in their own order, loopback last."""
    return sorted(nets, key=lambda net: net.name == "lo")
