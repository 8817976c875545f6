from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.text import MAX_TEXT, clean, clean_bytes


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("plain", "plain"),
        ("[/kworker]", "[/kworker]"),
        ("a\x1b[31mred\x1b[0m", "a[31mred[0m"),
        ("tab\tnew\nline", "tab new line"),
        ("\u202eevil\u202c", "evil"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("漢字", "漢字"),
        ("e\u0301", "é"),
        ("\u0301lead", "lead"),
    ],
)
def test_what_a_terminal_could_act_on_is_gone(raw: str, expected: str) -> None:
    assert clean(raw) == expected


def test_a_pile_of_combining_marks_is_bounded() -> None:
    cleaned = clean("Z" + "\u0335" * 50 + "x")
    assert cleaned.startswith("Z")
    assert cleaned.endswith("x")
    assert len(cleaned) <= 4


@given(st.text(max_size=2000))
def test_clean_text_is_short_printable_and_stable(raw: str) -> None:
    cleaned = clean(raw)
    assert len(cleaned) <= MAX_TEXT
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in cleaned)
    assert clean(cleaned) == cleaned


@given(st.binary(max_size=2000))
def test_bytes_of_any_kind_become_clean_text(raw: bytes) -> None:
    assert clean(clean_bytes(raw)) == clean_bytes(raw)


def test_every_kind_of_space_is_a_plain_one() -> None:
    assert clean("a\u00a0b\u3000c\u2009d\te") == "a b c d e"
