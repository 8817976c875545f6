"""The store of results: nothing is lost, nothing is overwritten, and what cannot be done is said with the next step."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from benchmarks.errors import BenchError
from benchmarks.primary import primary
from benchmarks.result import Grade, MetricResult
from benchmarks.store import Query, Store, default_path
from tests.support.stored_results import graded, invalid, on, response_time, result

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "state" / "results.sqlite3", busy_s=0.2)


def ids(rows: tuple) -> list[str]:
    return [row.run_id for row in rows]


# --- what is stored ---


def test_a_result_comes_back_as_it_was(store):
    store.save(result())
    assert store.get(result().run_id) == result()


def test_the_json_stands_whole_in_the_file(store):
    store.save(result())
    with sqlite3.connect(store.path) as db:
        ((document,),) = db.execute("SELECT result FROM runs").fetchall()
    db.close()
    assert json.loads(document)["case_text"] == "こんにちは"
    assert msgspec.json.decode(document, type=type(result())) == result()


def test_file_and_folder_are_for_their_owner_alone(store):
    before = os.umask(0)
    try:
        store.save(result())
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_looking_makes_no_file(store):
    assert store.find() == ()
    assert store.trend("c0ffee", "gpu-1", "voicevox") == ()
    assert store.baseline("c0ffee", "gpu-1", "voicevox") is None
    assert store.ids("") == ()
    assert not store.path.parent.exists()


def test_it_lies_in_the_state_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "quarterdeck" / "results.sqlite3"
    assert Store.open().samples_folder == tmp_path / "quarterdeck" / "samples"


def test_saving_twice_is_saving_once(store):
    store.save(result())
    store.save(result())
    assert len(store.find()) == 1


def test_another_result_of_the_same_id_is_refused_and_the_first_kept(store):
    store.save(result())
    with pytest.raises(BenchError, match="another result is stored as") as caught:
        store.save(result(label="other"))
    assert caught.value.layer == "store"
    assert store.get(result().run_id) == result()


def test_text_that_is_no_unicode_is_said(store):
    with pytest.raises(BenchError, match="no Unicode"):
        store.save(result(label="\udcff"))


# --- finding ---


def test_a_row_has_the_primary_figure_with_its_name(store):
    store.save(result())
    (row,) = store.find()
    assert (row.statistic, row.value, row.unit) == ("response_time p90, error-adjusted", 1.42, "s")
    assert (row.letter, row.verdict, row.mode, row.baseline) == ("A", "valid", "full", False)


def test_a_run_without_a_letter_shows_its_median_and_says_that(store):
    store.save(invalid("r1"))
    (row,) = store.find()
    assert (row.letter, row.statistic, row.value) == (None, "response_time p50, ok only", 1.2)


def test_the_one_added_last_is_first_even_when_the_clock_was_set_back(store):
    store.save(result("20261125T120000-000001", wall_start="2026-11-25T12:00:00.000Z"))
    store.save(result("20261125T110000-000002", wall_start="2026-11-25T11:00:00.000Z"))
    assert ids(store.find()) == ["20261125T110000-000002", "20261125T120000-000001"]
    assert ids(store.trend("c0ffee", "gpu-1", "voicevox")) == ["20261125T120000-000001", "20261125T110000-000002"]
    assert store.runs_of("20261125T11,20261125T12")[0].run_id == "20261125T120000-000001"


@pytest.fixture
def several(store: Store) -> Store:
    store.save(graded("a1", "S", label="before", case="short", wall_start="2026-11-01T00:00:00.000Z"))
    store.save(graded("a2", "B", label="after", case="medium", target=on("gpu-2"), config_hash="beef"))
    store.save(invalid("b3", "client was the bottleneck"))
    return store


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), ["b3", "a2", "a1"]),
        (Query(limit=1), ["b3"]),
        (Query(benchmark="synthesis"), ["b3", "a2", "a1"]),
        (Query(benchmark="llm"), []),
        (Query(host="gpu-2"), ["a2"]),
        (Query(label="before"), ["a1"]),
        (Query(case="medium"), ["a2"]),
        (Query(since="2026-11-25T00:00:00Z"), ["b3", "a2"]),
        (Query(letter="S"), ["a1"]),
        (Query(letter="none"), ["b3"]),
        (Query(text="GPU-2"), ["a2"]),
        (Query(text="%"), []),
        (Query(text="こんにちは"), ["b3", "a2", "a1"]),
        (Query(host="gpu-2", letter="S"), []),
        (Query(host="' OR 1=1 --"), []),
    ],
    ids=str,
)
def test_filters(several, query, found):
    assert ids(several.find(query)) == found


def test_a_unique_beginning_is_enough(several):
    assert several.get("b").run_id == "b3"
    assert several.ids("a") == ("a2", "a1")


def test_an_exact_id_wins_over_longer_ones(store):
    store.save(result("run-1"))
    store.save(result("run-10"))
    assert store.get("run-1").run_id == "run-1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a", "several runs start with 'a': a2, a1"),
        ("x", "no run is called 'x'"),
        ("", "no run is called ''"),
        ("_", "no run is called"),
        ("a1,x", "no run is called 'x'"),
        ("label:none", "no run has the label 'none'"),
        ("label:", "no run has the label"),
        ("\x1b[31m", "no run is called"),
    ],
)
def test_what_is_not_there_is_a_mistake_of_the_question(several, given, said):
    with pytest.raises(BenchError) as caught:
        several.runs_of(given)
    assert caught.value.layer == "plan"
    assert said in caught.value.cause
    assert caught.value.next_step
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("a1", ["a1"]),
        ("b3, a1", ["a1", "b3"]),
        ("a1,a1", ["a1"]),
        ("label:before", ["a1"]),
        ("label:before@gpu-1", ["a1"]),
    ],
)
def test_selectors(several, selector, found):
    assert ids(several.runs_of(selector)) == found


def test_a_label_may_be_narrowed_to_a_host(store):
    store.save(result("a", label="ab"))
    store.save(result("b", label="ab", target=on("gpu-2")))
    store.save(result("c", label="x@gpu-2"))
    assert ids(store.runs_of("label:ab")) == ["a", "b"]
    assert ids(store.runs_of("label:ab@gpu-2")) == ["b"]
    assert ids(store.runs_of("label:x@gpu-2")) == ["c"]


# --- baselines and trends ---


def test_the_baseline_is_that_of_the_configuration_and_the_host(several):
    assert several.set_baseline("a1").run_id == "a1"
    found = several.baseline("c0ffee", "gpu-1", "voicevox")
    assert found is not None
    assert found.run_id == "a1"
    assert several.baseline("c0ffee", "gpu-2", "voicevox") is None
    assert several.baseline("beef", "gpu-1", "voicevox") is None
    assert [row.run_id for row in several.find() if row.baseline] == ["a1"]


def test_a_new_baseline_takes_the_place_of_the_old_one(store):
    store.save(result("a"))
    store.save(result("b"))
    store.set_baseline("a")
    store.set_baseline("b")
    assert [(row.run_id, row.baseline) for row in store.find()] == [("b", True), ("a", False)]


def test_an_invalid_run_is_no_baseline(several):
    with pytest.raises(BenchError, match="client was the bottleneck"):
        several.set_baseline("b3")
    assert several.baseline("c0ffee", "gpu-1", "voicevox") is None


def test_the_trend_leaves_out_what_is_not_valid_or_of_another_host(several):
    several.save(graded("a4", "A"))
    assert ids(several.trend("c0ffee", "gpu-1", "voicevox")) == ["a1", "a4"]
    assert ids(several.trend("c0ffee", "gpu-1", "voicevox", limit=1)) == ["a4"]


# --- what can be wrong with the file ---


def refused(store: Store) -> BenchError:
    """What reading and saving say, each with a next step."""
    with pytest.raises(BenchError) as saving:
        store.save(result("new"))
    with pytest.raises(BenchError) as reading:
        store.find()
    for error in (saving.value, reading.value):
        assert error.layer == "store"
        assert error.next_step
        assert str(store.path) in error.cause
    return reading.value


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be one" * 100, b"x", b"x" * 511, b"x" * 512]
)
def test_a_damaged_file_is_kept_and_said(store, content):
    store.path.parent.mkdir()
    store.path.write_bytes(content)
    assert "is damaged" in refused(store).cause
    with pytest.raises(BenchError, match="is damaged"):
        Store.open(store.path)
    assert store.path.read_bytes() == content
    assert [entry.name for entry in store.path.parent.iterdir()] == [store.path.name]


def test_a_file_that_was_cut_off_is_kept_and_said(store):
    for number in range(20):
        store.save(result(f"run-{number}"))
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BenchError, match="is damaged"):
        store.find()
    assert store.path.read_bytes() == whole[: len(whole) // 2]


@pytest.mark.parametrize("change", ["substr(result, 1, 100)", "5", "x'ff00'", "''", "'[]'", "'{}'"])
def test_a_damaged_result_is_said_and_the_others_are_found(store, change):
    store.save(result("a"))
    store.save(result("b"))
    with sqlite3.connect(store.path) as db:
        db.execute(f"UPDATE runs SET result = {change} WHERE run_id = 'a'")  # noqa: S608 - of the test's own
    db.close()
    with pytest.raises(BenchError, match="the result a"):
        store.get("a")
    assert store.get("b") == result("b")
    assert len(store.find()) == 2


def test_the_command_that_is_shown_puts_the_file_aside(store):
    store.path.parent.mkdir()
    store.path.write_bytes(b"no database" * 100)
    command = refused(store).next_step.partition(": ")[2]
    subprocess.run(["sh", "-c", command], check=True)
    store.save(result())
    assert len(store.find()) == 1
    assert Path(f"{store.path}.kept").read_bytes() == b"no database" * 100


def test_a_store_of_a_newer_version_is_kept_and_said(store):
    store.save(result())
    with sqlite3.connect(store.path) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    before = store.path.read_bytes()
    assert "newer quarterdeck" in refused(store).cause
    assert store.path.read_bytes() == before


def test_a_result_of_a_newer_version_is_said(store):
    store.save(result("a"))
    with sqlite3.connect(store.path) as db:
        db.execute("""UPDATE runs SET result = '{"schema_version": 2, "run_id": 7}'""")
    db.close()
    with pytest.raises(BenchError, match="newer quarterdeck"):
        store.get("a")


def test_a_database_of_something_else_is_left_alone(store):
    store.path.parent.mkdir()
    with sqlite3.connect(store.path) as db:
        db.execute("CREATE TABLE theirs (a)")
    db.close()
    assert "something else" in refused(store).cause
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    db.close()


def test_an_empty_file_is_as_good_as_none(store):
    store.path.parent.mkdir()
    store.path.touch()
    assert store.find() == ()
    store.save(result())
    assert len(store.find()) == 1


def test_a_folder_in_its_place_is_said(store):
    store.path.mkdir(parents=True)
    with pytest.raises(BenchError, match="cannot be"):
        store.save(result())
    with pytest.raises(BenchError, match="cannot be"):
        store.find()


def test_a_file_in_place_of_its_folder_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="cannot be written"):
        Store.open(tmp_path / "file" / "results.sqlite3").save(result())


def test_a_store_that_another_process_holds_is_said_and_can_be_read(store):
    store.save(result("a"))
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BenchError, match=r"locked by another process for more than 0.2 s") as caught:
        store.save(result("b"))
    assert caught.value.next_step
    assert ids(store.find()) == ["a"]
    other.execute("ROLLBACK")
    other.close()
    store.save(result("b"))
    assert ids(store.find()) == ["b", "a"]


def test_a_store_that_is_held_for_itself_alone_is_said(store):
    store.save(result("a"))
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(BenchError, match="locked"):
        store.find()
    other.execute("ROLLBACK")
    other.close()


_WRITER = """
import sys
from pathlib import Path
from benchmarks.store import Store
from tests.support.stored_results import result
store = Store.open(Path(sys.argv[1]), busy_s=30)
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    store.save(result(f"{sys.argv[2]}-{number}"))
"""


def test_two_processes_at_once_lose_nothing_from_the_first_write_on(store):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(store.path), name], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for name in ("a", "b")
    ]  # fmt: skip
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.communicate("\n", timeout=50)
        assert [writer.returncode for writer in writers] == [0, 0]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    found = ids(store.find(Query(limit=1000)))
    assert sorted(found) == sorted(f"{name}-{number}" for name in "ab" for number in range(25))


def test_threads_may_share_a_store(store):
    patient = Store.open(store.path, busy_s=30)

    def save(at: int) -> None:
        for number in range(5):
            patient.save(result(f"{at}-{number}"))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(save, at) for at in range(4)]:
            done.result()
    assert len(store.find()) == 20


# --- disks ---

_IN_MOUNT = """
import sys
from pathlib import Path
from benchmarks.errors import BenchError
from benchmarks.store import Store
from tests.support.stored_results import result
store = Store.open(Path(sys.argv[1]) / "results.sqlite3", busy_s=1)
saved = 0
try:
    while saved < 2000:
        store.save(result(f"run-{saved}"))
        saved += 1
except BenchError as error:
    print(error.layer, "|", error.cause, "|", error.next_step)
print(saved, len(store.find(__import__("benchmarks.store").store.Query(limit=5000))))
"""


def in_mount(options: str, folder: Path, before: str = "true", after: str = "true") -> list[str]:
    """Run ``_IN_MOUNT`` on a small file system of its own, in a mount namespace that ends with it."""
    script = f"mount {options} '{folder}' && {before} && {after} && exec '{sys.executable}' -c \"$0\" '{folder}'"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, _IN_MOUNT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.needs("unshare")
def test_a_full_disk_is_said_and_what_was_saved_stays(tmp_path):
    said, counts = in_mount("-t tmpfs -o size=400k none", tmp_path)
    assert said.startswith("store | ")
    assert "no space left" in said or "full" in said
    assert "df -h" in said
    saved, found = map(int, counts.split())
    assert saved > 0
    assert found == saved


@pytest.mark.needs("unshare")
def test_a_read_only_folder_can_be_read_and_refuses_to_save(tmp_path):
    kept = tmp_path / "kept"
    Store.open(kept / "results.sqlite3").save(result("a"))
    mount = tmp_path / "mount"
    mount.mkdir()
    said, counts = in_mount(f"--bind '{kept}'", mount, after=f"mount -o remount,bind,ro '{mount}'")
    assert said.startswith("store | ")
    assert "cannot be" in said
    assert counts == "0 1"


def test_a_copy_of_a_store_is_a_store(store, tmp_path):
    store.save(result("a"))
    shutil.copy(store.path, tmp_path / "copy.sqlite3")
    assert ids(Store.open(tmp_path / "copy.sqlite3").find()) == ["a"]


# --- the figure that stands for a run ---


def run_scope(value: float | None) -> MetricResult:
    return MetricResult("MB/s", "f", "higher", "run", 1, value)


@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        ({"audio_s": response_time(), "response_time": response_time()}, ("response_time p50, ok only", 1.2, "s")),
        ({"triad": run_scope(12.5)}, ("triad", 12.5, "MB/s")),
        ({"triad": run_scope(None)}, ("triad", None, "MB/s")),
        ({}, None),
    ],
)
def test_a_run_without_a_graded_figure(metrics, found):
    made = primary(result(grade=Grade(None, "default-1"), metrics=metrics))
    assert (made if made is None else (made.statistic, made.value, made.unit)) == found


def test_a_graded_figure_that_failures_made_infinite_is_kept_as_unknown(store):
    store.save(result(grade=Grade("D", "default-1", statistic="response_time p90", unit="s")))
    (row,) = store.find()
    assert (row.statistic, row.value, row.unit, row.letter) == ("response_time p90", None, "s", "D")
    assert store.trend("c0ffee", "gpu-1", "voicevox") == ()
