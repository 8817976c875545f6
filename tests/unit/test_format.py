from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from probes.text import clean
from tui import format as fmt


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "—"), (-3, "0s"), (0.9, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86399, "23h"),
     (86400, "1d"), (1e9, "999d")],
)  # fmt: skip
def test_age_in_whole_units(seconds, text):
    assert fmt.age_text(seconds) == text


def test_recent_does_not_flip_every_second():
    assert [fmt.recent_text(s) for s in (0.0, 1.0, 1.99, 2.0, 61)] == ["<2s", "<2s", "<2s", "2s", "1m"]
    assert fmt.recent_text(None) == "—"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), (0, "0B"), (999, "999B"), (1000, "1.0K"), (1536, "1.5K"), (640 * 1024**3, "640G"), (1.5 * 1024**4, "1.5T"),
     (1023 * 1024**3, "1.0T")],
)  # fmt: skip
def test_short_bytes_is_binary_and_four_cells(value, text):
    assert fmt.short_bytes(value) == text
    assert len(text) <= 4


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), (0, "0W"), (999.4, "999W"), (1234, "1.2kW"), (9949, "9.9kW"), (9999, "10kW"), (45_000, "45kW"), (1_200_000, "1.2MW"), (45e6, "45MW")],
)  # fmt: skip
def test_short_watts(value, text):
    assert fmt.short_watts(value) == text
    assert len(text) <= 5


def test_clock_says_its_zone(monkeypatch):
    assert fmt.clock_text(1_790_000_000, utc=True) == "14:13:20Z"
    import time

    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    try:
        assert fmt.clock_text(1_790_000_000, utc=False) == "23:13:20 JST"
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


ANY_TEXT = st.text(max_size=60) | st.text(alphabet="ab漢字ハ\u0301\u20dd\ufe0f👩\u200d💻é한[/]", max_size=40)


@given(text=ANY_TEXT, width=st.integers(0, 40), right=st.booleans())
def test_fit_fills_exactly_its_cells_whatever_the_text(text, width, right):
    assert cell_len(fmt.fit(clean(text), width, right=right)) == width


@given(text=ANY_TEXT, width=st.integers(1, 80))
def test_fit_keeps_what_fits(text, width):
    text = clean(text).replace("\ufe0f", "").replace("\ufe0e", "")
    if cell_len(text) <= width:
        assert fmt.fit(text, width).startswith(text)
    else:
        assert fmt.fit(text, width).rstrip().endswith("…")
