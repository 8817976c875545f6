from __future__ import annotations

import re
from pathlib import Path

from probes.judge import triage
from probes.judge.rows import ROWS
from tests.support.triage_rows import PAGE, STARTED_FROM, page

TESTS = Path(__file__).parent


def test_the_page_in_docs_is_made_of_the_rows() -> None:
    assert PAGE.read_text("utf-8") == page()


def test_every_row_is_there_once_in_order() -> None:
    assert [row.number for row in ROWS] == list(range(1, 30))
    assert set(STARTED_FROM) == set(range(1, 30))
    assert all(hasattr(triage, f"row_{row.number}") for row in ROWS)


def test_every_row_has_a_test_that_it_fires_and_one_that_it_does_not() -> None:
    text = "".join(path.read_text("utf-8") for path in TESTS.glob("test_triage_*.py"))
    for row in ROWS:
        names = set(re.findall(rf"def (test_row_{row.number}_\w+)", text))
        assert any("does_not_fire" in name for name in names), row.number
        assert any("does_not_fire" not in name for name in names), row.number
