from __future__ import annotations

import pytest

from probes.model import LinkState
from tests.support.fleets import BOOT_S, mixed_fleet, settings_of
from tui.board import Board
from tui.filter import MAX_LENGTH, FilterError, glob, parse


@pytest.fixture(scope="module")
def board():
    fleet = mixed_fleet()
    board = Board(fleet, settings_of(fleet), BOOT_S)
    board.work(BOOT_S, everything=True)
    return board


def hosts(board, text):
    wanted = parse(text)
    return {row.id_text for row in board.rows.values() if wanted is None or wanted.matches(row, BOOT_S)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("temp>85", {"hot"}),
        ("temp>85 & host~=gpu", set()),
        ("temp>85 | host~=gpu", {"hot", "lost-gpu", "no-gpu"}),
        ("host~=GPU !lost", {"no-gpu"}),
        ("host=hot", {"hot"}),
        ("host~=f*-?", {"fine-1", "fine-2"}),
        ("lost>0", {"lost-gpu"}),
        ("disk>=97%", {"full-disk"}),
        ("state=host_key_changed", {"key-changed"}),
        ("state='host key changed'", {"key-changed"}),
        ("level=down host~=key", {"key-unknown", "key-changed"}),
        ("age>1m", {"stale"}),
        ("for>1d", {"key-changed"}),
        ("service.backend=refused", {"bad-ports"}),
        ("service.voicevox=failing", {"hot"}),
        ("reason~=refused", {"dead", "bad-ports"}),
        ("gpus=2", {"half-known"}),
        ("label.zone=a fine", {"fine-1", "fine-2"}),
        ("label.nothing=a", set()),
        ("(hot | dead) & !state=live", {"dead"}),
        ("!(host~=e | host~=o | host~=i | host~=a)", set()),
        ("group=blue host=hot", {"hot"}),
    ],
)
def test_what_matches(board, text, found):
    assert hosts(board, text) == found


def test_markup_is_only_text(board):
    assert hosts(board, 'group="[red]"') == {row.id_text for row in board.rows.values() if "kworker" in row.id_text}


def test_unknown_matches_no_comparison_not_even_a_negated_one(board):
    unknown = hosts(board, "temp=?")
    assert {"dead", "no-gpu", "first-time"} <= unknown
    assert not unknown & hosts(board, "temp>0 | temp<=0")
    assert not unknown & hosts(board, "!(temp>0)")
    assert not unknown & hosts(board, "temp!=50")
    assert hosts(board, "temp!=?") == {row.id_text for row in board.rows.values()} - unknown


def test_lost_is_unknown_without_a_sample(board):
    assert "dead" not in hosts(board, "lost=0")
    assert "fine-1" in hosts(board, "lost=0")


def test_empty_is_no_filter():
    assert parse("") is None
    assert parse("   ") is None


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("tmep>85", 0, "did you mean temp"),
        ("temp>", 5, "a value is missing"),
        ("temp>hot", 5, "is not a number"),
        ("temp>85W", 5, "units: c"),
        ("host>3", 4, "is text"),
        ("temp~=3", 4, "is a number"),
        ("temp>?", 5, "goes with = or !="),
        ("live &", 6, "condition is missing"),
        ("(live", 5, "expected )"),
        ("live)", 4, "unexpected ')'"),
        ("| live", 0, "unexpected '|'"),
        ('host="a', 5, "quote is not closed"),
        ("zzqqxx=1", 0, "fields are temp"),
        ("~live", 0, "unexpected '~'"),
        ("(" * 60 + "a", 50, "nested"),
        ("!" * 200 + "a", 50, "nested"),
        ("a" * (MAX_LENGTH + 1), MAX_LENGTH, "longer than"),
    ],
)
def test_mistakes_say_where_and_what(text, position, says):
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert says in caught.value.message
    assert abs(caught.value.position - position) <= 1


def test_patterns_do_not_hang():
    assert not glob("*a" * 200, "a" * 199 + "b")
    assert glob("*" * 200 + "b", "a" * 200 + "b")
    assert glob("a?c*", "abcdef")
    assert not glob("a?c", "abcd")


def test_states_of_the_model_can_all_be_named(board):
    for state in LinkState:
        assert parse(f"state={state.value}") is not None
