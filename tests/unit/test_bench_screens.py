"""What the Bench and History screens are made of, without a screen: figures, the plot, the form, trends, the filter."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from benchmarks.benchmark import Parameter
from benchmarks.model import Outcome
from benchmarks.result import LETTERS, GpuReading
from benchmarks.wire import Point
from tests.support.benching import (
    LATENCY,
    SYNTHESIS,
    T0,
    S,
    graded_capped,
    graded_s,
    invalid,
    past_runs,
    points,
    readings,
    row_of,
)
from tui.bench_form import Form, FormError, mistake_in, quick_check
from tui.bench_trend import said_of, trend_of
from tui.bench_words import (
    LETTER_STYLES,
    OUTCOME_WORDS,
    figure_text,
    known_text,
    latency_text,
    letter_text,
    outcome_counts,
)
from tui.filter_language import FilterError
from tui.glyphs import ASCII, UNICODE
from tui.history_filter import FIELDS, parse
from tui.widgets.bench_card import card_rows
from tui.widgets.bench_plot import (
    COLUMNS,
    Scatter,
    gpu_rows,
    nice_bound,
    plot_rows,
    time_end,
    time_row,
    title_row,
    value_of,
)
from tui.widgets.big_letters import big
from tui.widgets.history_text import when_text
from tui.widgets.lines import plain, row_width


def test_nothing_of_benchmarks_is_imported_before_the_first_paint() -> None:
    code = "import sys, tui.run, tui.commands; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name for name in result.stdout.split() if name.partition(".")[0] == "benchmarks"}


# --- words ---


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "—"), (0.0, "0 s"), (0.00031, "0.31 ms"), (0.0234, "23.4 ms"), (0.31, "310 ms"), (0.9994, "999 ms"),
     (0.9996, "1.000 s"), (2.004, "2.004 s"), (9.9994, "9.999 s"), (52.1, "52.10 s"), (184.0, "3m04s")],
)  # fmt: skip
def test_seconds(seconds, text) -> None:
    assert latency_text(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.31, "s", "310 ms"), (97.3, "%", "97.3%"), (2.4, "1/s", "2.4/s"), (12345.6, "MB/s", "12,346 MB/s"), (0.16, "", "0.16"),
     (488.2, "%", "488.2%"), (21 * 1024**2, "bytes", "21.0 MiB"), (None, "s", "—")],
)  # fmt: skip
def test_figures(value, unit, text) -> None:
    assert figure_text(value, unit) == text


def test_a_figure_that_failures_made_infinite() -> None:
    assert known_text(None, "s", "failures") == "infinite (failures)"
    assert known_text(None, "s", "n too small") == "— (n too small)"
    assert known_text(None, "s", None) == "—"


def test_letters_in_words() -> None:
    assert letter_text(graded_s().grade, "valid") == "S"
    assert letter_text(graded_capped().grade, "valid") == "B~?"
    assert letter_text(invalid().grade, "invalid") == "INVALID"
    assert letter_text(replace(graded_s().grade, letter=None), "valid") == "-"
    assert set(LETTER_STYLES) == set(LETTERS)


def test_every_outcome_has_its_word_and_what_is_unknown_is_shown_too() -> None:
    assert set(OUTCOME_WORDS) == {outcome.value for outcome in Outcome}
    assert outcome_counts({"timeout": 2, "odd": 1}) == [("ok", 0, "good"), ("timeout", 2, "bad"), ("odd", 1, "bad")]


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_every_letter_can_be_drawn_big(glyphs) -> None:
    for text in (*LETTERS, "A~", "-", "!"):
        rows = big(text, glyphs)
        assert len(rows) == 5
        assert len({len(row) for row in rows}) == 1
        assert glyphs is UNICODE or "".join(rows).isascii()


@pytest.mark.parametrize(
    ("given", "short", "long"),
    [("2026-11-25T20:31:02Z", "11-25 20:31Z", "2026-11-25 20:31Z"), ("2026-11-25T20:31:02+09:00", "11-25 20:31", "2026-11-25 20:31"),
     ("[b]", "[b]", "[b]")],
)  # fmt: skip
def test_when(given, short, long) -> None:
    assert when_text(given, wide=False) == short
    assert when_text(given, wide=True) == long


# --- the plot ---


def drawn(scatter: Scatter, end_s: float, width: int, height: int) -> list[str]:
    return plain(plot_rows(scatter, end_s, width, height, ASCII)).split("\n")


def test_a_point_stands_where_its_time_and_response_say() -> None:
    scatter = Scatter()
    scatter.add([Point(0.0, 1.0, True), Point(5.0, 0.5, True), Point(9.9, 0.01, True)])
    rows = drawn(scatter, 10.0, 9 + 20, 4)
    assert rows[0] == " 1.000 s|o"
    assert rows[2] == "        |          o"
    assert rows[3] == "     0 s|                   o".replace("     0 s", "       0")


def test_failures_are_marked_and_do_not_stretch_the_scale() -> None:
    scatter = Scatter()
    scatter.add([Point(0.0, 0.4, True), Point(5.0, 60.0, False)])
    rows = drawn(scatter, 10.0, 9 + 20, 4)
    assert rows[0] == "  500 ms|o         X"
    assert "1 failed (at the top: off the scale)" in plain([title_row(scatter, 0, 100, ASCII)])
    only = Scatter()
    only.add([Point(1.0, 3.0, False)])
    assert drawn(only, 5.0, 29, 4)[0].startswith(" 5.000 s|")


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(1e-7, 1e4), st.booleans()), max_size=200), st.randoms())
def test_what_is_kept_is_bounded_and_its_order_does_not_matter(raw, rng) -> None:
    one, other = Scatter(), Scatter()
    every = [Point(*each) for each in raw]
    one.add(every)
    mixed = every[:]
    rng.shuffle(mixed)
    other.add(mixed[: len(mixed) // 2])
    other.add(mixed[len(mixed) // 2 :])
    for ok in (True, False):
        assert one.columns(COLUMNS, 1e5, ok=ok) == other.columns(COLUMNS, 1e5, ok=ok)
    assert one.n == len(every)
    assert one.failed == sum(not point.ok for point in every)


@given(st.floats(1e-5, 1e3), st.floats(0, 1e4))
def test_a_point_is_off_by_little(response_s, at_s) -> None:
    scatter = Scatter()
    scatter.add([Point(at_s, response_s, True)])
    columns = scatter.columns(100, max(at_s, 5.12), ok=True)
    ((at, mark),) = [(at, mark) for at, mark in enumerate(columns) if mark]
    assert mark.bit_count() == 1
    assert abs(value_of(mark.bit_length() - 1) / response_s - 1) < 0.025
    assert abs(at - at_s / max(at_s, 5.12) * 100) <= 1.2


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize(("width", "height"), [(5, 3), (17, 2), (20, 4), (80, 9), (300, 24)])
def test_the_plot_keeps_to_its_size(width, height, glyphs) -> None:
    scatter = Scatter()
    scatter.add(points(400, failed=range(0, 400, 7)))
    rows = plot_rows(scatter, time_end(401), width, height, glyphs)
    assert len(rows) in (0, height)
    assert all(row_width(row) <= width for row in [*rows, time_row(60, width, glyphs)] if width >= 17)


@pytest.mark.parametrize(
    ("most", "bound"), [(0.0, 1.0), (0.41, 0.5), (0.5, 0.5), (1.2, 2.0), (6.0, 10.0), (0.003, 0.005)]
)
def test_round_bounds(most, bound) -> None:
    assert nice_bound(most) == pytest.approx(bound)


def test_ends_of_the_time_axis() -> None:
    assert [time_end(at) for at in (0, 5, 5.1, 59, 3601, 90000)] == [5, 5, 10, 60, 5400, 172800]


def test_gpus_stand_under_the_plot_between_fixed_bounds() -> None:
    rows = plain(gpu_rows(readings(10, busy=50.0), T0, 10.0, 9 + 10, UNICODE, why="x")).split("\n")
    assert rows[0].startswith(" GPU utilisation")
    assert rows[1] == "   GPU 0│▁▄▄▄▄▄▄▄▄▁", "half of a fixed hundred, whatever the highest reading"
    before = tuple(replace(one, at_ns=one.at_ns - 20 * S) for one in readings(10, busy=100.0))
    both = plain(gpu_rows((*before, *readings(10, busy=50.0)), T0, 10.0, 19, UNICODE, why="x")).split("\n")
    assert both == rows, "readings of a run before are not of this one"


def test_the_busiest_gpus_come_first_and_the_others_are_counted() -> None:
    many = [GpuReading(T0 + at * S, gpu, 10.0 * gpu, None, None) for at in range(5) for gpu in range(4)]
    rows = plain(gpu_rows(many, T0, 5.0, 100, UNICODE, why="x")).split("\n")
    assert "GPU 3 now 30%, mean 30% GPU 2 now 20%, mean 20%  and 2 less busy" in rows[0]
    assert [row[:9] for row in rows[1:]] == ["   GPU 3│", "   GPU 2│"]


def test_without_readings_the_reason_is_said() -> None:
    assert "no GPU samples (the host has no GPU)" in plain(
        gpu_rows((), T0, 5.0, 80, UNICODE, why="the host has no GPU")
    )
    blind = (GpuReading(T0, 0, None, None, None),)
    assert "no GPU samples (the utilisation could not be read)" in plain(gpu_rows(blind, T0, 5.0, 80, UNICODE, why="x"))


# --- the card ---


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("width", [12, 40, 55, 56, 80, 120, 300])
@pytest.mark.parametrize("result", [graded_s(), graded_capped(), invalid()])
def test_a_card_at_any_width(result, width, glyphs) -> None:
    rows = card_rows(result, glyphs, width, baseline=graded_s())
    assert rows
    text = " ".join(plain(rows).split())
    if width >= 80:
        assert result.grade.policy_id in text
        assert result.run_id in text
        assert f"intended {result.counts.intended}" in text


def test_a_simulated_result_says_so_first() -> None:
    assert plain(card_rows(graded_s(simulated=True), UNICODE, 80)).startswith(" SIMULATED  no real host")


def test_an_invalid_result_has_no_letter() -> None:
    text = plain(card_rows(invalid(), UNICODE, 120))
    assert "INVALID" in text
    assert "grade " not in text


# --- the form ---


def form() -> Form:
    return Form((SYNTHESIS, LATENCY), ["a", "b", "a"])


def test_what_is_not_changed_is_the_benchmarks_own() -> None:
    order = form().order()
    assert (order.request.benchmark, order.request.mode, order.host_ids) == ("synthesis", "quick", ("a", "b"))
    assert (order.request.n, order.request.texts, order.request.extra) == (None, (), {})
    assert (order.at_once, order.repeat, order.label) == (4, 1, None)


def test_every_value_reaches_its_field() -> None:
    one = form()
    values = {"n": "12", "concurrency": "3", "rate": "2.5", "warmup": "0", "timeout": "7", "text": "短い", "style": "8",
              "service": "openvoice", "pauses": "0.5", "at-once": "2", "repeat": "4", "label": "before x"}  # fmt: skip
    for name, value in values.items():
        one.set(name, value)
    order = one.order()
    request = order.request
    assert (request.n, request.concurrency, request.rate_per_s, request.warmup_n, request.timeout_s) == (
        12,
        3,
        2.5,
        0,
        7.0,
    )
    assert (request.texts, request.style, request.service) == (("短い",), "8", "openvoice")
    assert request.extra == {"pauses": "0.5"}
    assert (order.at_once, order.repeat, order.label) == (2, 4, "before x")
    one.set("n", "")
    assert one.order().request.n is None


def test_choices_go_round_and_each_benchmark_keeps_its_values() -> None:
    one = form()
    one.set("n", "12")
    one.step("benchmark", 1)
    assert one.definition.id == "api-latency"
    assert one.order().request.n is None
    one.step("benchmark", 1)
    assert one.order().request.n == 12
    assert [one.mode, one.step("mode", 1), one.mode, one.step("mode", -2), one.mode][::2] == ["quick", "full", "check"]
    one.step("service", 1)
    assert one.order().request.service == "openvoice"
    one.choose("api-latency")
    with pytest.raises(FormError, match="no benchmark 'x'"):
        one.choose("x")


@pytest.mark.parametrize(
    ("kind", "value", "mistake"),
    [("integer", "1.5", "whole number"), ("integer", "x", "whole number"), ("number", "nan", "a number"), ("number", "inf", "a number"),
     ("number", "-1", "no negative"), ("choice", "c", "one of: a, b"), ("text", "x", ""), ("integer", "", "")],
)  # fmt: skip
def test_mistakes(kind, value, mistake) -> None:
    found = mistake_in(Parameter("x", "x", kind, choices=("a", "b")), value)
    assert mistake in found
    assert bool(found) == bool(mistake)


def test_a_form_with_a_mistake_or_without_hosts_is_no_order() -> None:
    one = form()
    one.set("n", "x")
    with pytest.raises(FormError, match="requests: expected a whole number"):
        one.order()
    with pytest.raises(FormError, match="no host"):
        Form((SYNTHESIS,), []).order()


def test_the_quick_validation_is_one_request() -> None:
    order = quick_check(SYNTHESIS, "a")
    assert (order.request.benchmark, order.request.mode, order.host_ids) == ("synthesis", "check", ("a",))


# --- trends ---


def test_no_trend_from_few_runs() -> None:
    assert said_of([], "s", lower=True) == ("no valid run with a figure", "unknown")
    assert said_of([1.0], "s", lower=True) == ("no trend from one run", "unknown")
    assert said_of([1.0, 9.0, 20.0], "s", lower=True) == ("no trend from 3 runs: 4 are needed", "unknown")


def test_a_trend_is_worse_or_better_by_what_is_measured() -> None:
    rising = [1.0 + 0.1 * at for at in range(10)]
    words, style = said_of(rising, "s", lower=True)
    assert words.startswith("WORSE: +900 ms (+62% of the median) over 10 runs")
    assert style == "bad"
    words, style = said_of(rising, "1/s", lower=False)
    assert words.startswith("better: +0.9/s")
    assert style == "good"
    assert said_of(rising[::-1], "s", lower=True)[1] == "good"
    words, style = said_of([1.0, 1.1, 1.0, 1.1, 1.0, 1.1], "s", lower=True)
    assert words.startswith("no detectable trend over 6 runs")
    assert style == "text"


def test_a_trend_follows_one_figure() -> None:
    runs = past_runs()[:10]
    other = row_of(runs[0], statistic="response_time p50, error-adjusted")
    facts = trend_of(runs[0], [other, *(row_of(one) for one in runs)])
    assert len(facts.points) == 10
    assert facts.left_out == "1 runs with another figure are left out"
    assert [facts.points[0].value, facts.points[-1].value] == [0.49, 0.94]


# --- the filter ---


def ids(text: str) -> set[str]:
    wanted = parse(text)
    return {one.run_id[-6:] for one in past_runs() if wanted is None or wanted.matches(row_of(one), 0.0)}


def test_the_filter_of_past_runs() -> None:
    assert len(ids("")) == 12
    assert len(ids("label=before")) == 6
    assert ids("label=before letter=INVALID") == {"0b0b0b"}
    assert ids("mode=quick | value>930ms") == {"77aa01", "aa0004"}
    assert ids("label=?") == {"77aa01"}
    assert len(ids("host~=gpu benchmark=synthesis case=medium temperature=warm")) == 12
    assert ids("baseline=yes") == set()
    assert ids("0b0b0b") == {"0b0b0b"}
    assert set(FIELDS) >= {"host", "benchmark", "case", "label", "letter"}
    with pytest.raises(FilterError, match="did you mean label"):
        parse("lable=x")
