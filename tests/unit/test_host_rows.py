from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from probes.config import Settings
from probes.fleet import Fleet, new_link
from probes.model import GpuProcess, LinkState, Memory, Process, Processes, Unit
from tests.support.fleets import GIB, gpu, hello, host, lost, sample
from tests.support.screens import HOSTILE, NOW_S, busy_fleet, hostile_fleet
from tui.format import cells, duration_text
from tui.glyphs import ASCII, UNICODE
from tui.themes import palette
from tui.widgets.core_bars import CpuPanel, core_rows
from tui.widgets.facts import SystemPanel
from tui.widgets.gpu_cards import GpuCards, card, columns_for
from tui.widgets.lines import LinesPanel, View, beside, clip, flow, pad, plain, row_width, rule, strip_of, wrap
from tui.widgets.process_table import ProcessTable, gpu_split, index_ranges, join
from tui.widgets.service_list import ServiceList
from tui.widgets.vitals import Vitals

SETTINGS = Settings(hosts=())
WIDTHS = (1, 5, 10, 20, 37, 40, 59, 80, 100, 121, 200, 300)


def view_of(fleet: Fleet, host_id: str = "gpu-000", now_s: float = NOW_S, glyphs=UNICODE) -> View:
    return View(fleet.hosts[host_id], now_s, glyphs, SETTINGS.thresholds, SETTINGS.intervals)


def shown(panel: LinesPanel, view: View, width: int = 100) -> str:
    panel.view = view
    return plain(panel.build(width))


def with_sample(fleet: Fleet, **over) -> View:
    last = fleet.hosts["gpu-000"].sample
    assert last is not None
    fleet.ingest("gpu-000", replace(last, seq=10_000, **over), NOW_S - 0.1, 0.01)
    return view_of(fleet)


# --- rows in general ---


@given(st.lists(st.sampled_from(HOSTILE), max_size=6), st.integers(0, 120))
def test_clip_and_pad_keep_to_the_width_whatever_the_text(texts, width) -> None:
    row = [(text, "text") for text in texts]
    assert row_width(clip(row, width)) <= width
    assert row_width(pad(row, width)) == width
    assert row_width(beside([[tuple(row)], []], [width, 7], 2)[0]) == width + 9


@given(st.text(max_size=200), st.integers(4, 60))
def test_wrap_and_flow_keep_to_the_width(text, width) -> None:
    assert all(row_width(row) <= width for row in wrap(text, width, "text"))
    assert all(row_width(row) <= width for row in flow([[(text, "text")], [("b", "text")]], width, UNICODE))


@given(st.sampled_from(HOSTILE), st.integers(1, 90))
def test_a_title_is_never_wider_than_its_line(name, width) -> None:
    assert row_width(rule([(name, "strong")], width, UNICODE, [("tail", "muted")])) <= width


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_strip_is_exactly_as_wide_as_the_screen_and_ascii_where_asked(glyphs, text) -> None:
    from rich.style import Style

    strip = strip_of(((text, "text"), (" | ", "muted"), (text, "bad@cursor")), 60, palette("mono"), Style(), glyphs)
    assert strip.cell_length == 60
    drawn = "".join(segment.text for segment in strip)
    assert cells(drawn) == 60
    if glyphs is ASCII:
        assert drawn.isascii()


def panels() -> list[LinesPanel]:
    table = ProcessTable()
    table.limit = None
    return [GpuCards(), CpuPanel(), ServiceList(), SystemPanel(), Vitals(), table]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("now_s", [NOW_S, NOW_S + 500])
def test_no_panel_draws_past_its_edge_with_hostile_names(width, now_s) -> None:
    view = view_of(hostile_fleet(), now_s=now_s)
    for panel in panels():
        panel.view = view
        rows = panel.build(width)
        assert rows
        assert all(row_width(clip(row, width)) <= width for row in rows)
        if width < 40:  # narrower, the panel cuts what its builder did not
            continue
        too_wide = [row for row in rows if row_width(row) > width]
        assert not too_wide, (type(panel).__name__, plain(too_wide))


def test_hostile_names_are_shown_as_they_are() -> None:
    text = shown(panels()[-1], view_of(hostile_fleet()), 140)
    for name in ("[/kworker]", "[red]x[/red]", "[kworker/0:1]", "[@click=app.quit]now[/]", "日本語プロセス"):
        assert name in text


# --- GPUs ---


def test_a_card_says_what_is_known() -> None:
    fine = gpu(3, temperature_c=64.0, power_w=612.4, memory_used_bytes=71 * GIB, fan_pct=40.0, missing={})
    text = plain(card(fine, 0, view_of(busy_fleet(gpus=1)), 100))
    for words in ("3 NVIDIA H100", "46%", "71.0/80.0 GiB", "64°C", "612/700 W", "SM 1980 MHz", "mem 2619 MHz",
                  "PCIe 5x16", "fan 40%", "P0", "ECC 0 corr 0 uncorr", "no throttle", "MIG none",
                  "reserved 512 MiB"):  # fmt: skip
        assert words in text, words
    assert "unsupported" not in text


def test_a_value_that_could_not_be_read_is_a_dash_with_its_reason_and_never_0() -> None:
    blind = gpu(0, temperature_c=None, utilization_pct=None, power_w=None, fan_pct=None,
                missing={"temperature_c": "denied", "utilization_pct": "timeout", "power_w": "error",
                         "fan_pct": "unsupported"})  # fmt: skip
    text = plain(card(blind, 0, view_of(busy_fleet(gpus=1)), 90))
    assert "— denied" in text
    assert "— timed out" in text
    assert "— error" in text
    assert "fan: unsupported" in text
    assert "temp: denied" in text
    assert "0%" not in text.splitlines()[1]


def test_a_reason_that_is_absent_is_said_to_be_absent() -> None:
    text = plain(card(gpu(0, temperature_c=None, missing={}), 0, view_of(busy_fleet(gpus=1)), 90))
    assert "— no reason " in text


def test_a_lost_gpu_is_loud_and_its_history_stays() -> None:
    view = view_of(busy_fleet(gpus=1))
    rows = card(gpu(0, **lost()), 0, view, 90)
    assert ("GPU LOST", "alert") in rows[0]
    text = plain(rows)
    assert "all values: GPU lost" in text
    assert set(text.splitlines()[1]) & set(UNICODE.heat), "the history before it was lost"


def test_throttling_that_costs_speed_is_loud_and_a_setting_is_not() -> None:
    view = view_of(busy_fleet(gpus=1))
    slow = card(gpu(0, throttle_reasons=("hw_thermal_slowdown", "sw_power_cap")), 0, view, 90)
    assert ("THROTTLE hw thermal slowdown +1", "bad") in [span for row in slow for span in row]
    capped = card(gpu(0, throttle_reasons=("sw_power_cap",)), 0, view, 90)
    assert ("throttle sw power cap", "text") in [span for row in capped for span in row]


def test_temperature_and_memory_are_judged_by_their_limits() -> None:
    view = view_of(busy_fleet(gpus=1))

    def style(text: str, **over) -> str:
        spans = [span for row in card(gpu(0, **over), 0, view, 90) for span in row]
        return next(name for shown_text, name in spans if shown_text.strip() == text)

    assert style("79°C", temperature_c=79.0) == "text"
    assert style("85°C", temperature_c=85.0) == "warn"
    assert style("95°C", temperature_c=95.0) == "bad"
    assert style("79.0/80.0 GiB", memory_used_bytes=79 * GIB) == "warn"


@pytest.mark.parametrize(
    ("gpus", "width", "columns"),
    [(1, 200, 1), (2, 200, 2), (8, 198, 4), (8, 120, 3), (8, 80, 2), (8, 40, 1), (4, 80, 2), (16, 300, 6), (5, 198, 5)],
)
def test_cards_fill_rows_evenly(gpus, width, columns) -> None:
    assert columns_for(gpus, width) == columns


def test_brief_cards_keep_what_is_wrong() -> None:
    view = view_of(busy_fleet(gpus=1))
    sick = gpu(0, ecc_uncorrected=2, throttle_reasons=("hw_slowdown",))
    text = plain(card(sick, 0, view, 60, brief=True))
    assert "ECC 0 corr 2 uncorr" in text
    assert "THROTTLE hw slowdown" in text
    assert len(card(gpu(0), 0, view, 60, brief=True)) == 5


def test_no_gpu_and_unreadable_gpus_are_different() -> None:
    none = shown(GpuCards(), view_of(busy_fleet(gpus=0)))
    assert "none: no NVIDIA driver" in none
    fleet = busy_fleet(gpus=0)
    text = shown(GpuCards(), with_sample(fleet, missing={"gpus": "timeout"}))
    assert "— could not be read: timed out" in text


# --- CPU and memory ---


@pytest.mark.parametrize(("cores", "width"), [(1, 80), (2, 80), (16, 78), (32, 98), (64, 78), (192, 98), (256, 78)])
def test_every_core_is_drawn_once(cores, width) -> None:
    rows = core_rows([50.0] * cores, width, UNICODE)
    assert len(rows) <= 9
    text = plain(rows)
    as_bars = "50%" in text
    assert text.count("50%") == cores if as_bars else sum(text.count(sign) for sign in UNICODE.heat) == cores
    assert all(row_width(row) <= width for row in rows)


def test_a_core_that_is_not_known_is_not_idle() -> None:
    assert "—" in plain(core_rows([None, 3.0], 80, UNICODE))
    assert "?" in plain(core_rows([None] * 100, 80, UNICODE))


def test_swap_none_and_swap_unknown_are_different() -> None:
    fleet = busy_fleet(gpus=1)
    none = shown(CpuPanel(), with_sample(fleet, memory=Memory(GIB, GIB // 2, GIB // 2, 0, 0)))
    assert "swap   none" in none
    blind = with_sample(fleet, memory=Memory(None, None, None, None, None), missing={"memory": "denied"})
    text = shown(CpuPanel(), blind)
    assert "memory — denied" in text
    assert "swap   — denied" in text


def test_cpu_without_a_second_reading_says_so() -> None:
    fleet = busy_fleet(gpus=1)
    cpu = replace(sample(0).cpu, utilization_pct=None, per_core_pct=None)
    missing = {"cpu.utilization_pct": "not_yet", "cpu.per_core_pct": "not_yet"}
    text = shown(CpuPanel(), with_sample(fleet, cpu=cpu, missing=missing))
    assert "CPU — not yet" in text
    assert "cores  — not yet" in text


# --- processes ---


def test_gpu_memory_is_joined_to_processes_by_pid() -> None:
    both = Processes(
        100,
        (Process(1, "a", "cpu hog", 500.0, GIB), Process(2, "b", "trainer", 90.0, 2 * GIB)),
        (GpuProcess(0, 2, "b", "trainer", 10 * GIB), GpuProcess(1, 2, "b", "trainer", 12 * GIB),
         GpuProcess(3, 9, None, None, None)),
    )  # fmt: skip
    lines = join(both, "gpu")
    assert [line.pid for line in lines] == [2, 9, 1]
    assert lines[0].gpu_bytes == 22 * GIB
    assert lines[1].gpu_bytes is None
    assert [line.pid for line in join(both, "cpu")] == [1, 2, 9]
    assert [line.pid for line in join(both, "memory")] == [2, 1, 9]
    assert gpu_split(lines[0].gpus) == "0: 10.0 GiB  1: 12.0 GiB"


def test_index_ranges() -> None:
    assert index_ranges([0, 1, 2, 3, 6]) == "0-3,6"
    assert index_ranges([5]) == "5"
    assert index_ranges([0, 1]) == "0-1"
    assert index_ranges([]) == ""


def test_a_denied_gpu_process_list_is_said() -> None:
    fleet = busy_fleet(gpus=2)
    fleet.set_processes("gpu-000", Processes(3, (), None, {"gpu": "denied"}), NOW_S - 1)
    assert "GPU processes — denied" in shown(ProcessTable(), view_of(fleet))


def test_the_list_that_has_not_come_yet_is_not_an_empty_list() -> None:
    fleet = busy_fleet(gpus=1)
    fleet.hosts["gpu-000"].processes = None
    assert "— asked for, not here yet" in shown(ProcessTable(), view_of(fleet))


# --- services, system ---


def test_a_service_line_says_state_time_health_why_age_and_who() -> None:
    text = shown(ServiceList(), view_of(hostile_fleet()), 160)
    line = next(line for line in text.splitlines() if "backend" in line)
    assert "◐" in line
    assert "open 3.0 ms" in line
    assert "UNHEALTHY" in line
    assert f"via {HOSTILE[5]}" in line
    assert "1.0s ago" in line
    assert "4 of 5" not in text
    assert "5 of 5 open, 1 unhealthy" in text


def test_a_service_nobody_probed_and_a_host_without_services() -> None:
    fleet = Fleet([host("gpu-000"), host("bare", services=())])
    assert shown(ServiceList(), view_of(fleet)).count("not probed yet") == 5
    assert "none configured" in shown(ServiceList(), view_of(fleet, "bare"))


@pytest.mark.parametrize(
    ("events", "missing", "words"),
    [
        ((), {}, "none seen in the kernel log"),
        (None, {"xid_events": "denied"}, "— not permitted to read the kernel log"),
        (None, {"xid_events": "timeout"}, "— kernel log not read: timed out"),
    ],
)
def test_no_xid_errors_is_said_only_when_the_log_was_read(events, missing, words) -> None:
    text = shown(SystemPanel(), with_sample(busy_fleet(gpus=1), xid_events=events, missing=missing))
    assert words in text


def test_xid_errors_have_code_device_and_age() -> None:
    text = shown(SystemPanel(), view_of(hostile_fleet()), 140)
    assert "79 0000:3b:00" in text
    assert text.index("31 0000:af:00") < text.index("79 0000:3b:00"), "the newest first"


def test_versions_that_differ_from_the_fleet_are_flagged() -> None:
    from probes.judge.drift import majorities
    from tests.support.fleets import hello

    fleet = busy_fleet(gpus=1, hosts=4)
    fleet.set_hello("gpu-000", hello(driver="535.1", kernel=None, missing={"kernel": "denied"}))
    panel = SystemPanel()
    panel.common = majorities(fleet.hosts.values())
    text = shown(panel, view_of(fleet), 160)
    assert "535.1 DRIFT: 3 of 4 hosts have 570.86.15" in text
    assert "kernel — denied" in text
    assert "CUDA 12.8 DRIFT" not in text


def test_agent_cost_bad_lines_and_its_own_word() -> None:
    text = shown(SystemPanel(), view_of(hostile_fleet()), 140)
    assert "0.03% of a core" in text
    assert "9.0 MiB" in text
    assert "1 bad lines" in text
    assert HOSTILE[1] in text


def test_units_not_running_come_first_and_unknown_is_said() -> None:
    fleet = busy_fleet(gpus=1)
    units = (Unit("docker", "web", "running", "Up 3 days"), Unit("systemd", "sick.service", "failed", ""))
    now = view_of(fleet).record.sample
    assert now is not None
    fleet.set_hello("gpu-000", hello(units=units, units_uptime_s=now.uptime_s - 184.0))
    text = shown(SystemPanel(), view_of(fleet), 120)
    assert text.index("sick.service failed") < text.index("web running")
    age_s = view_of(fleet).age_s
    assert age_s is not None
    assert f"units    2 found, 1 not running, asked {duration_text(184.0 + age_s)} ago" in text
    fleet.set_hello("gpu-000", hello(units=None, missing={"units": "denied"}))
    assert "units    — denied" in shown(SystemPanel(), view_of(fleet), 120)


def test_no_containers_is_not_said_where_docker_was_not_permitted() -> None:
    fleet = busy_fleet(gpus=1)
    fleet.set_hello(
        "gpu-000", hello(units=(), units_uptime_s=None, missing={"units.docker": "denied", "units_uptime_s": "error"})
    )
    text = shown(SystemPanel(), view_of(fleet), 120)
    assert "no watched units, asked at an unknown time  docker — denied" in text
    fleet.set_hello("gpu-000", hello(units=(), units_uptime_s=None, missing={"units.systemd": "unsupported"}))
    assert "no containers, asked at an unknown time  no systemd" in shown(SystemPanel(), view_of(fleet), 120)


def test_values_of_a_silent_host_are_dimmed_and_reasons_are_not() -> None:
    fleet = hostile_fleet()
    fleet.set_link("gpu-000", new_link(LinkState.UNREACHABLE, layer="tcp", cause="x"))
    panel = GpuCards()
    panel.view = view_of(fleet, now_s=NOW_S + 60)
    styles = {style for row in panel.build(120) for text, style in row if text.strip()}
    assert "old" in styles
    assert not styles & {"good", "warn", "bad", "text"}
    assert "unknown" in styles


def test_services_probed_from_here_stay_fresh_when_the_session_dies() -> None:
    fleet = busy_fleet(gpus=1)
    fleet.set_link("gpu-000", new_link(LinkState.UNREACHABLE, layer="tcp", cause="x"))
    panel = ServiceList()
    panel.view = view_of(fleet)
    assert "good" in {style for row in panel.build(120) for _, style in row}
