"""The filter language against any text, and the laws of its three-valued logic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.fleets import BOOT_S, mixed_fleet, settings_of
from tui.board import Board
from tui.filter import NUMBERS, TEXTS, FilterError, glob, parse


def _rows():
    fleet = mixed_fleet()
    board = Board(fleet, settings_of(fleet), BOOT_S)
    board.work(BOOT_S, everything=True)
    return list(board.rows.values())


ROWS = _rows()
VALUES = st.floats(-10, 200).map(lambda value: f"{value:.2f}") | st.just("?")
NUMERIC = st.builds(
    lambda field, op, value: f"{field}{op if value != '?' or op in ('=', '!=') else '='}{value}",
    st.sampled_from(sorted(NUMBERS)), st.sampled_from(["=", "!=", ">", "<", ">=", "<="]), VALUES,
)  # fmt: skip
TEXTUAL = st.builds(
    lambda field, op, value: f"{field}{op}{value}",
    st.sampled_from([*sorted(TEXTS), "label.zone", "service.ssh"]), st.sampled_from(["=", "!=", "~="]),
    st.sampled_from(["hot", "live", "a", "?", "*a*", "open"]).map(lambda value: value if value != "?" else "z"),
)  # fmt: skip
TERMS = NUMERIC | TEXTUAL | st.sampled_from(["live", "gpu", "refused", '"no such"'])
EXPRESSIONS = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        inner.map(lambda e: f"!({e})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) & ({pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) | ({pair[1]})"),
    ),
    max_leaves=6,
)


def matching(text):
    wanted = parse(text)
    assert wanted is not None
    return {row.host_id for row in ROWS if wanted.matches(row, BOOT_S)}


@given(st.text(max_size=80) | st.text(alphabet="temphostlive<>=!~&|()\"'?*. 0189%", max_size=40))
def test_any_text_is_a_filter_or_a_mistake_with_a_place_in_it(text):
    try:
        wanted, mistake = parse(text), None
    except FilterError as error:
        wanted, mistake = None, error
    if mistake is not None:
        assert 0 <= mistake.position <= len(text)
        assert mistake.message
    elif wanted is not None:
        for row in ROWS:
            assert wanted.matches(row, BOOT_S) in (True, False)


@given(EXPRESSIONS)
def test_not_not_is_nothing_and_no_host_matches_both(text):
    assert matching(f"!(!({text}))") == matching(text)
    assert not matching(text) & matching(f"!({text})")


@given(EXPRESSIONS, EXPRESSIONS)
def test_and_or_and_de_morgan(left, right):
    assert matching(f"({left}) & ({right})") == matching(left) & matching(right)
    assert matching(f"({left}) | ({right})") == matching(left) | matching(right)
    assert matching(f"!(({left}) | ({right}))") == matching(f"!({left}) & !({right})")


@given(st.text(alphabet="ab*?", max_size=8), st.text(alphabet="ab", max_size=10))
def test_glob_is_the_textbook_one(pattern, text):
    def slow(p, t):
        if not p:
            return not t
        if p[0] == "*":
            return slow(p[1:], t) or (bool(t) and slow(p, t[1:]))
        return bool(t) and p[0] in ("?", t[0]) and slow(p[1:], t[1:])

    assert glob(pattern, text) is slow(pattern, text)
