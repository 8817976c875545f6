from __future__ import annotations

from dataclasses import replace

import pytest

from probes.config import Settings
from probes.fleet import Fleet, new_link
from probes.model import Host, LinkState
from tests.support.screens import NOW_S, busy_fleet
from tui.glyphs import UNICODE
from tui.widgets.host_chart import GPU_KINDS, HOST_KINDS, ago_text, chart_of, kinds_of, rate_bound
from tui.widgets.lines import View, plain, row_width
from tui.widgets.result_chart import Axis, Chart, Series, draw, percent_axis

MIB = 1024**2


def view_of(now_s: float = NOW_S, gpus: int = 2) -> View:
    settings = Settings(hosts=())
    record = busy_fleet(gpus=gpus).hosts["gpu-000"]
    return View(record, now_s, UNICODE, settings.thresholds, settings.intervals)


@pytest.mark.parametrize("only_ascii", [False, True])
@pytest.mark.parametrize(("width", "height"), [(12, 4), (40, 8), (160, 30)])
@pytest.mark.parametrize("kind", [*GPU_KINDS, *HOST_KINDS])
def test_a_chart_has_its_size_and_only_our_characters(kind, width, height, only_ascii) -> None:
    chart = chart_of(view_of(), kind, 1)
    assert chart is not None
    rows = draw(chart, width, height, only_ascii=only_ascii)
    assert len(rows) == height
    assert {row_width(row) for row in rows} == {width}
    text = plain(rows)
    assert "\x1b" not in text
    if only_ascii:
        assert text.replace("°", "").isascii()


def test_axes_have_units_and_times() -> None:
    chart = chart_of(view_of(), "temperature", 0)
    assert chart is not None
    text = plain(draw(chart, 100, 14))
    for label in ("20°C", "110°C", "-3m", "-2m", "-1m", "now"):
        assert label in text
    power = chart_of(view_of(), "power", 0)
    assert power is not None
    assert "700 W" in plain(draw(power, 100, 14))
    network = chart_of(view_of(), "network", 0)
    assert network is not None
    assert "4.0 MiB/s" in plain(draw(network, 100, 14))


def test_a_silent_host_has_no_now() -> None:
    chart = chart_of(view_of(NOW_S + 180), "gpu", 0)
    assert chart is not None
    assert chart.old
    labels = [label for _, label in chart.x.ticks]
    assert "now" not in labels
    assert labels[-1] == "-3m00s" or labels[-1] == "-3m"


def test_bounds_stay_whatever_the_values() -> None:
    for kind, bounds in (("gpu", (0, 100)), ("host", (0, 100)), ("temperature", (20, 110)), ("power", (0, 700))):
        chart = chart_of(view_of(), kind, 0)
        assert chart is not None
        assert (chart.y.low, chart.y.high) == bounds


def test_the_colour_of_each_series_is_ours_and_the_frame_is_muted() -> None:
    chart = Chart("t", (Series("a", ((0.0, 10.0), (9.0, 90.0)), "good"),), Axis(0, 9, ((0, "-9s"),)), percent_axis())
    rows = draw(chart, 40, 10)
    drawn = {style for row in rows for text, style in row if any("\u2800" < char <= "\u28ff" for char in text)}
    assert drawn == {"good"}
    assert {style for row in rows for text, style in row if "┤" in text or "└" in text} == {"muted"}


def test_a_gap_is_not_drawn_over() -> None:
    halves = tuple((float(x), None if 40 <= x < 60 else 50.0) for x in range(100))
    axis = Axis(0, 99, ((0, "0"),))
    rows = plain(draw(Chart("t", (Series("a", halves),), axis, percent_axis()), 100, 9)).splitlines()
    line = next(row for row in rows if "⠒" in row or "⠤" in row or "⠉" in row or "⣀" in row)
    middle = line[46:60]
    assert middle.strip() == "", line
    joined = tuple((x, 50.0) for x, _ in halves)
    whole = plain(draw(Chart("t", (Series("a", joined),), axis, percent_axis()), 100, 9)).splitlines()
    assert not any(row[46:60].strip() == "" and "⠒" in row for row in whole)


def test_no_values_draw_an_empty_frame() -> None:
    rows = draw(Chart("t", (Series("a", ((1.0, None),)),), Axis(0, 9, ()), percent_axis()), 40, 8)
    assert len(rows) == 8
    assert "100%" in plain(rows)


def test_a_host_without_gpu_has_host_charts_only() -> None:
    assert kinds_of(0) == HOST_KINDS
    assert chart_of(view_of(gpus=0), "gpu", 0) is None
    assert chart_of(view_of(gpus=2), "gpu", 7) is None


def test_never_sampled_has_no_chart() -> None:
    fleet = Fleet([Host("never", "never")])
    view = view_of()
    assert chart_of(view, "host", 0) is not None
    assert chart_of(replace(view, record=fleet.hosts["never"]), "host", 0) is None


def test_a_reboot_gap_in_the_history_breaks_the_line() -> None:
    fleet = busy_fleet(gpus=1)
    record = fleet.hosts["gpu-000"]
    assert record.sample is not None
    fleet.set_link("gpu-000", new_link(LinkState.LIVE))
    fleet.ingest("gpu-000", record.sample, NOW_S + 100, 0.01)
    settings = Settings(hosts=())
    chart = chart_of(View(record, NOW_S + 100, UNICODE, settings.thresholds, settings.intervals), "host", 0)
    assert chart is not None
    assert any(value is None for _, value in chart.series[0].points)


@pytest.mark.parametrize(("most", "bound"), [(0.0, MIB), (MIB - 1, MIB), (3 * MIB, 4 * MIB), (1.5e9, 2 * 1024**3)])
def test_the_network_axis_is_a_power_of_two(most, bound) -> None:
    assert rate_bound(most) == bound


@pytest.mark.parametrize(
    ("seconds", "text"), [(60, "-1m"), (90, "-90s"), (240, "-4m"), (300, "-5m"), (3723, "-1h02m"), (45, "-45s")]
)
def test_ago(seconds, text) -> None:
    assert ago_text(seconds) == text
