"""What the tests of each row start from: packets, a simulated AWS (moto), recorded answers, or hand-built evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from probes.judge.rows import table

PACKETS: Final = "packets between namespaces"
#: moto's addresses stand on a namespace's loopback, so that what is behind them is real
MOTO: Final = "packets, and moto over HTTP"
RECORDED: Final = "packets, and moto with a recorded answer"
STARTED_FROM: Final[dict[int, str]] = {
    **dict.fromkeys((1, 2, 18, 19, 20, 21, 22, 23, 26, 27, 28, 29), PACKETS),
    **dict.fromkeys((3, 4, 5, 6, 10, 11, 12, 13, 14, 16, 17), MOTO),
    # moto's status checks are always fine, and it knows nothing of VPC Block Public Access
    **dict.fromkeys((7, 8, 9, 15), RECORDED),
    24: f"{PACKETS}; another banner: hand-built evidence, no banner is kept on file",
    25: f"{PACKETS}, by the dashboard's backend: a command has no session older than itself",
}
PAGE: Final = Path(__file__).parents[2] / "docs" / "triage-rows.md"


def page() -> str:
    """The page as it should stand in docs; run this file to write it."""
    return (
        "# Triage: the rows of the decision table\n\n"
        "`quarterdeck diagnose` answers with the rows that apply, all of them, in packet order. A row never fires on\n"
        "evidence that was not gathered. The last column says what the row's tests through the command line start from;\n"
        "what must not fire a row is tested from hand-built evidence besides. This page is written by\n"
        "`python -m tests.support.triage_rows`.\n\n"
        f"{table(STARTED_FROM)}\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
