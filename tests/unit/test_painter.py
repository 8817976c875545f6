from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from probes.fleet import Fleet
from probes.model import Health, PortState, ServiceKind
from tests.support.fleets import BOOT_S, fleet_of, gpu, host, lost, make_live, mixed_fleet, sample, settings_of
from tui import themes
from tui.board import Board
from tui.columns import COLUMNS, layout_for
from tui.glyphs import ASCII, UNICODE
from tui.painter import Painter

ESSENTIAL = {"worst", "host", "age", "for", "gpus", "gpumem", "temp", "cpu", "services", "reason"}


def painter_of(board, width, glyphs=UNICODE, theme="dark"):
    layout = layout_for(width, board.max_gpus, board.max_services, board.max_id)
    return Painter(theme, glyphs, board.settings, layout)


def board_of(fleet):
    board = Board(fleet, settings_of(fleet), BOOT_S)
    board.work(BOOT_S, everything=True)
    board.arrange(BOOT_S)
    return board


def text_of(painter, row, **over):
    return "".join(
        s.text for s in painter.row(row, BOOT_S, cursor=over.get("cursor", False), marked=over.get("marked", False))
    )


def cell_of(painter, row, key):
    place = next(place for place in painter.layout.placed if place.column.key == key)
    return text_of(painter, row)[place.x : place.x + place.width]


@pytest.mark.parametrize("width", range(20, 301, 7))
def test_the_columns_fill_a_line_exactly(width):
    for gpus, services, longest in ((0, 0, 4), (0, 0, 7), (8, 5, 12), (64, 40, 200)):
        layout = layout_for(width, gpus, services, longest)
        x = -1
        for place in layout.placed:
            assert place.x == x + 1
            assert place.width >= 1
            x = place.x + place.width
        assert x == width


def test_essentials_at_80_and_everything_at_200():
    narrow = {place.column.key for place in layout_for(79, 8, 5, 14).placed}
    assert narrow >= ESSENTIAL
    wide = {place.column.key for place in layout_for(199, 8, 5, 14).placed}
    assert wide == {column.key for column in COLUMNS}
    tight = {place.column.key for place in layout_for(40, 8, 5, 14).placed}
    assert {"worst", "host", "reason"} <= tight


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [20, 40, 79, 119, 199, 299])
@pytest.mark.parametrize("cursor", [False, True])
def test_every_row_is_exactly_as_wide_as_the_screen(width, glyphs, cursor):
    board = board_of(mixed_fleet())
    painter = painter_of(board, width, glyphs)
    for row in board.rows.values():
        segments = painter.row(row, BOOT_S, cursor=cursor, marked=cursor)
        assert sum(cell_len(segment.text) for segment in segments) == width
        assert all(segment.style is not None for segment in segments)


@given(name=st.text(max_size=60), gpu_count=st.integers(0, 20), width=st.integers(20, 220))
def test_hostile_names_do_not_move_the_columns(name, gpu_count, width):
    fleet = Fleet([host(name)])
    make_live(fleet, name, gpu_count, at_boot_s=BOOT_S)
    board = board_of(fleet)
    painter = painter_of(board, width)
    text = text_of(painter, board.rows[name])
    assert cell_len(text) == width
    assert not any(unicodedata.category(char).startswith("C") for char in text)


def test_ascii_rows_are_ascii():
    board = board_of(mixed_fleet())
    painter = painter_of(board, 200, ASCII)
    for row in board.rows.values():
        text = text_of(painter, row)
        assert text.isascii(), text


def test_unknown_is_a_dash_never_a_zero():
    board = board_of(mixed_fleet())
    painter = painter_of(board, 200)
    for key in ("util", "gpumem", "vram", "temp", "power", "cpu", "mem", "load", "disk", "net", "age", "gpus"):
        assert cell_of(painter, board.rows["dead"], key).strip() == "—", key
    assert cell_of(painter, board.rows["no-gpu"], "gpus").strip() == "none"
    assert cell_of(painter, board.rows["half-known"], "cpu").strip() == "—"


def test_partial_sums_and_means_say_so():
    board = board_of(mixed_fleet())
    painter = painter_of(board, 200)
    assert cell_of(painter, board.rows["half-known"], "util").strip().startswith("~")
    assert cell_of(painter, board.rows["half-known"], "power").strip().startswith(">")
    assert cell_of(painter, board.rows["lost-gpu"], "power").strip() == ">930W/—"
    assert not cell_of(painter, board.rows["fine-1"], "util").strip().startswith("~")


def test_heat_tells_lost_unknown_idle_and_full_apart_without_colour():
    fleet = Fleet([host("h")])
    make_live(fleet, "h", at_boot_s=BOOT_S)
    cards = (gpu(0, utilization_pct=0.0), gpu(1, utilization_pct=100.0), gpu(2, **lost()),
             gpu(3, utilization_pct=None, missing={"utilization_pct": "denied"}), gpu(4, utilization_pct=49.0))  # fmt: skip
    fleet.ingest("h", sample(cards), BOOT_S, 0.0)
    board = board_of(fleet)
    assert cell_of(painter_of(board, 200), board.rows["h"], "gpus") == "▁█x?▄"
    assert cell_of(painter_of(board, 200, ASCII), board.rows["h"], "gpus") == "09x?4"


def test_more_gpus_than_cells_says_there_are_more():
    fleet = fleet_of(1, 20, at_boot_s=BOOT_S)
    board = board_of(fleet)
    cell = cell_of(painter_of(board, 200), board.rows["gpu-000"], "gpus")
    assert len(cell) == 16
    assert cell.endswith("»")


def test_every_service_state_has_its_own_sign():
    for glyphs in (UNICODE, ASCII):
        board = board_of(mixed_fleet())
        painter = painter_of(board, 200, glyphs)
        signs = [painter.service_sign(state, Health.UNKNOWN, ServiceKind.TCP)[0] for state in PortState]
        signs.append(painter.service_sign(PortState.OPEN, Health.FAILING, ServiceKind.HTTP)[0])
        signs.append(painter.service_sign(PortState.OPEN, Health.UNKNOWN, ServiceKind.HTTP)[0])
        assert len(set(signs)) == len(signs)
        assert painter.service_sign(PortState.OPEN, Health.OK, ServiceKind.HTTP)[0] == glyphs.open
    assert cell_of(painter_of(board_of(mixed_fleet()), 200), board.rows["bad-ports"], "services") == "●rfxn"


def test_levels_have_their_own_sign_in_both_tables():
    for glyphs in (UNICODE, ASCII):
        assert len({*glyphs.levels, glyphs.paused}) == 5


def test_values_of_a_host_that_is_not_live_are_dimmed_and_their_age_is_not():
    board = board_of(mixed_fleet())
    painter = painter_of(board, 200)
    p = themes.palette("dark")
    styles = {s.text.strip(): s.style for s in painter.row(board.rows["stale"], BOOT_S, cursor=False, marked=False)}
    dim = [style for text, style in styles.items() if "252G/640G" in text]
    assert dim == [p.old]
    assert [style for text, style in styles.items() if text == "1m"] == [p.warn]


def test_old_service_probes_are_dimmed():
    fleet = fleet_of(1, at_boot_s=BOOT_S)
    board = board_of(fleet)
    painter = painter_of(board, 200)
    row = board.rows["gpu-000"]
    fresh = {s.style for s in painter.row(row, BOOT_S, cursor=False, marked=False) if "●●●●●" in s.text}
    later = {s.style for s in painter.row(row, BOOT_S + 60, cursor=False, marked=False) if "●●●●●" in s.text}
    assert fresh == {themes.palette("dark").good}
    assert later == {themes.palette("dark").old}


def test_thresholds_colour_and_mono_shows_them_without_colour():
    board = board_of(mixed_fleet())
    for theme in themes.NAMES:
        p = themes.palette(theme)
        segments = painter_of(board, 200, theme=theme).row(board.rows["full-disk"], BOOT_S, cursor=False, marked=False)
        assert next(s.style for s in segments if s.text.strip() == "97") == p.bad
    mono = themes.palette("mono")
    assert len({mono.text, mono.warn, mono.bad, mono.old, mono.unknown}) == 5
    for name in ("text", "warn", "bad", "old", "unknown", "good", "cursor", "header"):
        style = getattr(mono, name)
        assert style.color is None
        assert style.bgcolor is None


def test_neighbours_of_one_style_are_one_segment():
    board = board_of(fleet_of(1, at_boot_s=BOOT_S))
    segments = painter_of(board, 200).row(board.rows["gpu-000"], BOOT_S, cursor=False, marked=False)
    assert len(segments) < 14
    assert all(a.style is not b.style for a, b in pairwise(segments))


def test_link_words_do_not_repeat_in_the_reason():
    board = board_of(mixed_fleet())
    assert board.rows["dead"].reason == "tcp: connection refused by 10.0.0.7 port 22"
    assert board.rows["retrying"].reason == "attempt 4: tcp: no answer in 3.5 s"
    assert board.rows["stale"].reason == "silence: no line for 75 s"
    assert board.rows["paused"].reason == ""
    assert board.rows["hot"].reason.startswith("7 gpus hot, up to 93°C")
    fleet = mixed_fleet()
    fleet.set_link("dead", replace(fleet.hosts["dead"].link, cause="x\x1b[31m[/b]\u202e"))
    assert board_of(fleet).rows["dead"].reason == "tcp: x[31m[/b]"
