from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from probes.config import Settings
from probes.history import HISTORY_LEN
from tests.support.screens import NOW_S, busy_fleet
from tui.glyphs import ASCII, UNICODE
from tui.widgets.lines import View
from tui.widgets.strip_chart import bar, blocks, buckets, strip_rows, window_of

HEAT = UNICODE.heat


def points(values: list[float | None], end_s: float, step_s: float = 1.0) -> list[tuple[float, float | None]]:
    return [(end_s - (len(values) - 1 - i) * step_s, value) for i, value in enumerate(values)]


def test_a_lone_zero_is_the_lowest_block_and_full_is_the_highest() -> None:
    assert blocks([0.0], 0, 100, HEAT) == [HEAT[0]]
    assert blocks([100.0], 0, 100, HEAT) == [HEAT[-1]]
    assert blocks([0.0, 0.0, 1.0], 0, 100, HEAT) == [HEAT[0] * 3]


def test_bounds_are_fixed_and_what_lies_outside_is_drawn_at_the_edge() -> None:
    assert blocks([-50.0, 300.0], 20, 110, HEAT) == [HEAT[0] + HEAT[-1]]
    # the same value looks the same whatever its neighbours are
    alone, among = blocks([40.0], 0, 100, HEAT)[0], blocks([1.0, 40.0, 90.0], 0, 100, HEAT)[0]
    assert among[1] == alone


def test_unknown_is_blank_and_never_a_block() -> None:
    assert blocks([None, 0.0, None], 0, 100, HEAT) == [f" {HEAT[0]} "]


def test_equal_bounds_do_not_divide_by_zero() -> None:
    assert blocks([5.0], 7, 7, HEAT) == [HEAT[0]]


def test_two_lines_fill_from_below() -> None:
    top, bottom = blocks([100.0, 50.0, 10.0], 0, 100, HEAT, 2)
    assert bottom == HEAT[-1] + HEAT[-1] + HEAT[1]
    assert top == HEAT[-1] + "  "


def test_ascii_draws_digits() -> None:
    assert blocks([0.0, 55.0, 100.0], 0, 100, ASCII.heat) == ["059"]


def test_buckets_are_means_of_their_time() -> None:
    values = buckets(points([10.0, 20.0, 30.0, 40.0], 7.0), 7.0, 8.0, 4, 1.0)
    # cells of two seconds: 0-1, 2-3, 4-5, 6-7; readings at 4, 5, 6, 7
    assert values == [None, None, 15.0, 35.0]


def test_the_past_of_a_cell_does_not_change_while_time_goes_on() -> None:
    series = points([float(i % 17) for i in range(240)], 1000.0)
    before = buckets(series, 1000.0, 240.0, 30, 1.0)
    after = buckets(series, 1008.0, 240.0, 30, 1.0)
    assert after[:-2] == before[1:-1]


def test_a_silence_is_a_gap_and_a_late_reading_is_not() -> None:
    series = [*points([50.0] * 10, 10.0), *points([60.0] * 10, 40.0)]
    values = buckets(series, 40.0, 40.0, 40, 1.0)
    assert values[9] == 50.0
    assert values[11] == 50.0  # held for at most 2.5 intervals
    assert values[15:28] == [None] * 13
    assert values[-1] == 60.0


def test_a_reading_that_says_unknown_is_not_held_over() -> None:
    assert buckets(points([50.0, None, None], 3.0), 3.0, 3.0, 3, 1.0) == [50.0, None, None]


def test_no_width_no_values() -> None:
    assert buckets(points([1.0], 1.0), 1.0, 10.0, 0, 1.0) == []
    assert buckets(points([1.0], 1.0), 1.0, 10.0, -3, 1.0) == []


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), max_size=60),
    st.integers(1, 250),
    st.integers(1, 4),
    st.floats(0, 1e6),
)
def test_whatever_comes_the_strip_has_its_size(values, width, height, end_s) -> None:
    lines = strip_rows(buckets(points(values, end_s), end_s, 240.0, width, 1.0), (0, 100), UNICODE, height=height)
    assert len(lines) == height
    for line in lines:
        text = "".join(text for text, _ in line)
        assert len(text) == width
        assert set(text) <= set(HEAT) | {" "}


def test_limits_colour_the_cells_that_pass_them() -> None:
    (row,) = strip_rows([10.0, 85.0, 95.0, None], (0, 100), UNICODE, limits=(80, 90))
    assert [style for _, style in row] == ["accent", "warn", "bad", "accent"]
    assert "".join(text for text, _ in row) == "".join(HEAT[i] for i in (0, 6, 7)) + " "


def test_a_bar_has_its_width_and_shows_a_little_as_a_little() -> None:
    assert bar(0.0, 10, UNICODE) == "░" * 10
    assert bar(0.001, 10, UNICODE) == "█" + "░" * 9
    assert bar(1.0, 10, UNICODE) == "█" * 10
    assert bar(7.0, 10, ASCII) == "#" * 10
    assert bar(None, 4, ASCII) == "...."
    assert bar(0.5, 0, UNICODE) == ""


def view_at(now_s: float) -> View:
    fleet = busy_fleet(gpus=1)
    settings_free = Settings(hosts=())
    return View(fleet.hosts["gpu-000"], now_s, UNICODE, settings_free.thresholds, settings_free.intervals)


def test_the_window_ends_now_while_values_come_and_at_the_last_one_after() -> None:
    live = view_at(NOW_S)
    assert window_of(live) == (NOW_S, float(HISTORY_LEN), 1.0)
    silent = view_at(NOW_S + 600)
    assert not silent.current
    assert window_of(silent)[0] == live.record.sample_at_boot_s


def test_history_to_strip_end_to_end() -> None:
    view = view_at(NOW_S)
    assert view.record.history is not None
    end_s, window_s, interval_s = window_of(view)
    values = buckets(view.record.history.series("utilization_pct", 0), end_s, window_s, 60, interval_s)
    known = [value for value in values if value is not None]
    assert len(known) >= 59
    assert math.isclose(max(known), 100, abs_tol=2)
    assert math.isclose(min(known), 0, abs_tol=2)
