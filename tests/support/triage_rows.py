"""What the tests of each row start from: packets, a simulated AWS (moto), recorded answers, or hand-built evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from probes.judge.rows import ROWS, table

HAND_BUILT: Final = "hand-built evidence"
STARTED_FROM: Final[dict[int, str]] = {row.number: HAND_BUILT for row in ROWS}
PAGE: Final = Path(__file__).parents[2] / "docs" / "triage-rows.md"


def page() -> str:
    """The page as it should stand in docs; run this file to write it."""
    return (
        "# Triage: the rows of the decision table\n\n"
        "`quarterdeck diagnose` answers with the rows that apply, all of them, in packet order. A row never fires on\n"
        "evidence that was not gathered. The last column says what the row's tests start from. This page is written by\n"
        "`python -m tests.support.triage_rows`.\n\n"
        f"{table(STARTED_FROM)}\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
