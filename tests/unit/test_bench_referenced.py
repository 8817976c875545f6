"""Letters against a target or a baseline (rule 7), and one run at a time on a host."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from benchmarks.benchmark import Definition
from benchmarks.errors import BenchError
from benchmarks.host_lock import measuring
from benchmarks.model import Load, Metric
from benchmarks.referenced import graded, wants_reference
from benchmarks.result import Grade, Result
from benchmarks.stats import run_metric
from probes.model import Host
from tests.support.bench_results import result_of

if TYPE_CHECKING:
    from pathlib import Path

TRIAD = Metric("triad_best", "MB/s", "higher", "24 B an element / best time", scope="run")


def definition(reference: str | None = "triad_best") -> Definition:
    def never(*_: object) -> object:
        raise AssertionError

    return Definition("stream", 1, "STREAM", "", (TRIAD,), (), never, never, reference=reference, on="host")  # type: ignore[arg-type]


def ran(value: float | None, *, n: int = 30, failures: int = 0, mode: str = "full") -> Result:
    made = result_of("run", [0.1] * n, failures=failures, benchmark=("stream", 1), load=Load(mode=mode))  # type: ignore[arg-type]
    ungraded = Grade(None, "default-1", reason="ungraded (no baseline)")
    return replace(made, metrics={**made.metrics, "triad_best": run_metric(value, TRIAD)}, grade=ungraded)


@pytest.mark.parametrize(
    ("value", "target", "letter"),
    [
        (200.0, 200.0, "S"),
        (190.0, 200.0, "A"),
        (189.9, 200.0, "B"),
        (170.0, 200.0, "B"),
        (140.0, 200.0, "C"),
        (139.0, 200.0, "D"),
    ],
)
def test_letters_against_a_target(value: float, target: float, letter: str) -> None:
    found = graded(ran(value), definition(), None, {"triad_best": target})
    assert found.grade.letter == letter
    assert "configured target" in (found.grade.statistic or "")


def test_a_baseline_stands_in_where_there_is_no_target() -> None:
    baseline = replace(ran(100.0), run_id="20260101T000000-abcdef")
    found = graded(ran(96.0), definition(), baseline, {})
    assert found.grade.letter == "A"
    assert "baseline 20260101T000000-abcdef" in (found.grade.statistic or "")


def test_without_either_it_stays_ungraded() -> None:
    result = ran(96.0)
    assert graded(result, definition(), None, {}) is result


def test_failures_and_quick_mode_lower_it_too() -> None:
    target = {"triad_best": 100.0}
    assert graded(ran(120.0, failures=1), definition(), None, target).grade.letter == "A"
    assert graded(ran(120.0, n=20, failures=2), definition(), None, target).grade.letter == "B"
    quick = graded(ran(120.0, n=10, mode="quick"), definition(), None, target).grade
    assert (quick.letter, quick.approximate) == ("A", True)
    assert graded(ran(None), definition(), None, target).grade.letter is None


def test_who_wants_a_reference() -> None:
    assert wants_reference(ran(1.0), definition())
    assert not wants_reference(ran(1.0), definition(None))
    assert not wants_reference(ran(1.0, n=9), definition())
    invalid = replace(ran(1.0), grade=Grade(None, "default-1", reason="INVALID: cancelled"))
    assert not wants_reference(invalid, definition())


def test_a_host_is_measured_once_at_a_time(tmp_path: Path) -> None:
    host, other = Host("a", "10.0.0.1"), Host("b", "10.0.0.2")
    same = Host("called otherwise", "10.0.0.1")
    with measuring(tmp_path, host):
        with measuring(tmp_path, other):
            pass
        with (
            pytest.raises(BenchError, match="another run measures called otherwise now") as caught,
            measuring(tmp_path, same),
        ):
            pass
        assert "would measure each other" in str(caught.value)
        with measuring(None, same):
            pass
    with measuring(tmp_path, same):
        pass


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom benchmarks.host_lock import measuring\nfrom probes.model import Host\n"
        "with measuring(pathlib.Path(sys.argv[1]), Host('a', '10.0.0.1')):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(BenchError, match=f"process {child.pid}"), measuring(tmp_path, Host("a", "10.0.0.1")):
            pass
        child.kill()
    with measuring(tmp_path, Host("a", "10.0.0.1")):
        pass


def test_a_folder_that_cannot_be_written_is_said_and_it_is_measured_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with measuring(tmp_path / "file", Host("a", "10.0.0.1")) as not_held:
        assert "no lock could be made: " in not_held


def test_a_full_disk_keeps_nobody_from_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    host = Host("a", "10.0.0.1")
    with measuring(tmp_path, host) as not_held:
        assert not_held == ""
        with pytest.raises(BenchError, match="another run measures a now"), measuring(tmp_path, host):
            pass
