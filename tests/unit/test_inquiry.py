"""The parts of the triage screen that need no screen: text over lines, the ladder, what is awaited, records as files."""

from __future__ import annotations

import asyncio
import json
import stat
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from probes.judge.diagnosis import LAYERS
from probes.judge.posture import audit
from probes.posture_markdown import posture_markdown
from tests.support.evidence import CONTROL, FIVE, NO_ECHO
from tests.support.inquiries import ALL_SILENT, NOTHING, OHIO, TOKYO, cannot_tell, fine, incident
from tests.support.screens import HOSTILE
from tui import export_file
from tui.format import cells
from tui.glyphs import ASCII, UNICODE
from tui.inquiry import Inquiry, Remembered
from tui.widgets.causes_text import causes_rows, diff_rows
from tui.widgets.evidence_text import evidence_rows
from tui.widgets.folded import folded, pieces, tidy
from tui.widgets.ladder import ladder_rows
from tui.widgets.lines import plain, row_width
from tui.widgets.verdict_text import VerdictText, actions_of


def asked(before: Remembered | None = None) -> Inquiry:
    return Inquiry([TOKYO], {TOKYO: FIVE}, 100.0, before or Remembered())


def finished(evidence, before: Remembered | None = None) -> Inquiry:
    inquiry = asked(before)
    asyncio.run(inquiry.finish({TOKYO: evidence}, 103.5))
    return inquiry


# --- text ---


@given(st.text(max_size=200), st.integers(2, 60))
def test_no_line_is_too_wide_and_nothing_is_lost(text, width) -> None:
    lines = pieces(text, width)
    assert all(cells(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == tidy(text).replace(" ", "")


@given(st.sampled_from(HOSTILE), st.integers(1, 60), st.integers(0, 20), st.none() | st.integers(1, 4))
def test_rows_keep_to_their_width_whatever_stands_before(text, width, before, limit) -> None:
    rows = folded(text, width, "text", head=[("x" * before, "muted")] if before else [], limit=limit)
    assert all(row_width(row) <= width for row in rows)


def test_a_command_is_shown_whole_with_its_spaces() -> None:
    command = "a  'b   c' " + "d" * 50
    assert "".join(pieces(command, 20)).replace(" ", "") == command.replace(" ", "")
    assert pieces("a  b", 20) == ["a  b"]


def test_a_text_that_was_cut_says_so() -> None:
    rows = folded("one two three four five six", 9, "text", limit=2)
    assert plain(rows) == "one two\nthree…"


# --- what is awaited ---


def test_parts_are_awaited_until_they_arrive() -> None:
    inquiry = asked()
    assert inquiry.awaited(TOKYO) == ("ports", "names", "echo", "controls", "aws", "inside")
    inquiry.take(TOKYO, replace(NOTHING, names=OHIO, ports=ALL_SILENT[:2]))
    assert inquiry.awaited_words(TOKYO) == "3 of 5 ports, echo, controls, AWS, inside view"
    inquiry.take(TOKYO, replace(NOTHING, controls=(CONTROL,), echo=NO_ECHO, inside_why="no session"))
    assert inquiry.awaited(TOKYO) == ("ports", "names", "aws")
    inquiry.fail("broken", 101.0)
    assert inquiry.awaited(TOKYO) == ()
    assert (inquiry.running, inquiry.finished, inquiry.elapsed_s(500.0)) == (False, False, 1.0)


def test_what_passes_so_far_is_not_called_passed() -> None:
    inquiry = asked()
    inquiry.take(TOKYO, replace(fine(), ports=fine().ports[:3], aws=None, inside=None))
    ends = {name: inquiry.layer(TOKYO, name) for name in LAYERS}
    assert [name for name, end in ends.items() if end is not None] == ["resolve", "egress"]
    assert inquiry.waits_for(TOKYO, "http") == "ports"
    assert inquiry.waits_for(TOKYO, "address") == "AWS"


def test_only_what_blocks_is_said_before_the_end() -> None:
    inquiry = asked()
    inquiry.take(TOKYO, cannot_tell())
    assert inquiry.verdicts(TOKYO) == ()
    assert actions_of(inquiry, TOKYO) == ()
    assert [one.row for one in finished(cannot_tell()).verdicts(TOKYO)] == [29]


def test_what_comes_late_or_of_another_host_changes_nothing() -> None:
    inquiry = finished(incident())
    inquiry.take(TOKYO, fine())
    assert inquiry.evidence[TOKYO] == incident()
    other = asked()
    other.take("somebody", fine())
    assert other.evidence == {}


def test_a_host_without_an_answer_has_no_layer_that_passes() -> None:
    inquiry = asked()
    asyncio.run(inquiry.finish({}, 101.0))
    ends = {inquiry.layer(TOKYO, name) for name in LAYERS}
    assert {(end.outcome.value, end.reason) for end in ends if end} == {("unknown", "no evidence came")}


def test_the_last_good_diagnosis_is_remembered() -> None:
    kept = Remembered()
    good, bad = finished(fine()).diagnosis(TOKYO), finished(incident()).diagnosis(TOKYO)
    assert good is not None
    assert bad is not None
    kept.keep(good)
    kept.keep(bad)
    assert (kept.good[TOKYO], kept.last[TOKYO]) == (good, bad)
    again = finished(fine(), kept)
    assert "layer instance: block -> pass" in plain(diff_rows(again, TOKYO, UNICODE, 100))
    assert plain(diff_rows(again, TOKYO, UNICODE, 100)).count("nothing changed") == 1


# --- rows ---


def test_the_ladder_keeps_to_its_room_and_what_blocks_keeps_its_reason() -> None:
    inquiry = finished(incident())
    whole = ladder_rows(inquiry, TOKYO, UNICODE, 60)
    assert len(whole) > 24
    for room in (0, 12, 13, 18, 24, 100):
        rows = ladder_rows(inquiry, TOKYO, UNICODE, 60, room)
        assert len(rows) == min(max(room, 12), len(whole))
        assert all(row_width(row) <= 60 for row in rows)
    assert "User initiated" in plain(ladder_rows(inquiry, TOKYO, UNICODE, 60, 14))


@pytest.mark.parametrize("width", [12, 20, 40, 80, 200])
@pytest.mark.parametrize("evidence", [incident, cannot_tell, fine])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_every_pane_keeps_to_its_width(width, evidence, glyphs) -> None:
    inquiry = finished(evidence())
    panes = [
        evidence_rows(inquiry, TOKYO, glyphs, width),
        causes_rows(inquiry, TOKYO, glyphs, width),
        VerdictText(inquiry, TOKYO, None, glyphs, width).rows,
    ]
    if width >= 40:
        assert max(row_width(row) for rows in panes for row in rows) <= width


def test_the_selected_command_stands_where_it_says() -> None:
    inquiry = finished(incident())
    command = actions_of(inquiry, TOKYO)[0].command
    text = VerdictText(inquiry, TOKYO, command, UNICODE, 100)
    assert text.selected_rows is not None
    shown = plain(text.rows[slice(*text.selected_rows)])
    assert command is not None
    assert command in " ".join(shown.split())


# --- records ---


def test_a_record_is_written_whole_or_not_at_all(tmp_path, monkeypatch) -> None:
    texts = {"json": {"a": 1}, "md": "# x\n"}
    written = export_file.write_record(texts, str(tmp_path / "out.json"), "x", 0.0)
    assert [path.rpartition("/")[2] for path in written] == ["out.json", "out.md"]
    assert json.loads((tmp_path / "out.json").read_text()) == {"a": 1}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    with pytest.raises(FileExistsError):
        export_file.write_record(texts, str(tmp_path / "out"), "x", 0.0)

    def broken(_handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(export_file.os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        export_file.write_record(texts, str(tmp_path / "other"), "x", 0.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.md"]


@pytest.mark.parametrize("stem", ["../../etc/passwd", "a/b", "[/x]", "日本", "x" * 500, "-rf", ""])
def test_a_host_s_name_stays_inside_the_folder(stem, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (written,) = export_file.write_record({"md": "x"}, "", f"triage-{stem}", 1_700_000_000.0)
    assert written.startswith(f"{tmp_path}/quarterdeck/records/triage-")
    assert written.rpartition("/")[2].isascii()
    assert stat.S_IMODE(export_file.records_folder().stat().st_mode) == 0o700


def test_an_audit_as_markdown_cannot_be_spoken_for() -> None:
    found = audit(replace(incident(), host_id="[x](javascript:1) # no"))
    text = posture_markdown(found)
    assert text.startswith("# Audit of \\[x\\](javascript:1) \\# no\n")
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    order = ["## Failed", "## Not checked", "## Passed"]
    assert titles == [title for title in order if title in titles]
    assert all(order.index(a) < order.index(b) for a, b in pairwise(titles))
    assert "secure" not in text.casefold()
