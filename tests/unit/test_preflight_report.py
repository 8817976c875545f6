"""The command ``preflight`` without a network: what it refuses, how it counts, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from probes.evidence import NodeReach, PairOutcome, PairReach, ReachState
from probes.preflight_report import connect_ms, document, exit_code, summary, text
from tui.cli import main

if TYPE_CHECKING:
    from pathlib import Path

FINE, OPEN, BLOCKED, TAKEN, UNKNOWN = (
    PairOutcome.REACHABLE, PairOutcome.OPEN_UNCONFIRMED, PairOutcome.BLOCKED, PairOutcome.PORT_TAKEN,
    PairOutcome.UNKNOWN,
)  # fmt: skip


def pair(outcome: PairOutcome, took_ms: float | None = 0.5) -> PairReach:
    reach = NodeReach(host_id="a", address="b", port=1, state=ReachState.OPEN, took_ms=took_ms)
    return PairReach(source="a", target="b", address="b", port=1, outcome=outcome, detail="d", reach=reach)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([FINE, FINE], 0), ([FINE, OPEN], 3), ([FINE, UNKNOWN], 3), ([UNKNOWN, BLOCKED], 1), ([FINE, TAKEN], 1), ([], 3),
    ],
)  # fmt: skip
def test_exit_codes(outcomes: list[PairOutcome], code: int) -> None:
    assert exit_code([pair(one) for one in outcomes]) == code


def test_what_cannot_meet_is_counted_and_comes_first() -> None:
    pairs = [pair(FINE), pair(UNKNOWN), pair(BLOCKED), pair(TAKEN), pair(FINE)]
    assert summary(pairs) == "2 of 5 pairs reachable, 1 blocked, 1 port taken, 1 unknown"
    assert summary([pair(BLOCKED)]) == "0 of 1 pairs reachable, 1 blocked"
    words = [line.split()[0] for line in text(pairs, 1).splitlines()[1:]]
    assert words == ["BLOCKED", "PORT", "unknown", "reachable", "reachable"]


def test_a_time_is_only_that_of_a_connect_that_succeeded() -> None:
    assert connect_ms(pair(FINE)) == 0.5
    assert connect_ms(pair(BLOCKED)) is None
    (one,) = document([pair(FINE, None)], 1, 0.0)["pairs"]
    assert (one["connect_ms"], one["missing"]) == (None, {"connect_ms": "error", "connected_to": "error"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.test", "--port", "29501"], "preflight: 1 host; expected 2 to 64"),
        (["a.test", "a.test", "--port", "29501"], "preflight: 1 host; expected 2 to 64"),
        (
            ["a.test", "b.test=", "--port", "29501"],
            "b.test=: HOST=ADDRESS names one host and how the other nodes call it",
        ),
        (
            ["a.test", "localhost", "--port", "29501"],
            "localhost: no other node calls it that; expected localhost=ADDRESS",
        ),
        (["a.test", "nobody", "--port", "29501"], "nobody: unknown host;"),
        (["a.test", "b.test", "--port", "0"], "0 is not in the range 1<=x<=65535"),
        (["a.test", "b.test", "--port", "70000"], "70000 is not in the range 1<=x<=65535"),
        (["a.test", "b.test"], "Missing option '--port'"),
    ],
)
def test_mistakes_are_clear_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("QUARTERDECK_CONFIG", raising=False)
    result = CliRunner().invoke(main, ["preflight", *words])
    assert (result.exit_code, said in result.output) == (2, True), result.output
