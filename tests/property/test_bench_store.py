"""Whatever stands in the store's file or in the configuration: what is said is ours, and nothing is written over."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.errors import BenchError
from benchmarks.model import Outcome, Sample
from benchmarks.options import options_of
from benchmarks.samples_file import SampleWriter, read_samples
from benchmarks.store import Query, Store
from probes.errors import ConfigError
from tests.support.stored_results import graded, result


def whole_store() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "r.sqlite3")
        for number in range(8):
            store.save(graded(f"run-{number}", "SABCDFSA"[number], label=f"l{number}"))
        store.set_baseline("run-3")
        return store.path.read_bytes()


WHOLE = whole_store()
WRONG = st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=40)), min_size=1, max_size=30)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(WRONG, st.integers(0, len(WHOLE)))
def test_a_file_that_was_damaged_anywhere_is_used_or_refused_in_our_words(changes, end):
    content = bytearray(WHOLE)
    for at, bytes_ in changes:
        content[at : at + len(bytes_)] = bytes_
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "r.sqlite3", busy_s=0.1)
        store.path.write_bytes(content[: len(WHOLE)] if end % 3 else content[:end])
        asked = (
            lambda: store.find(Query(text="gpu")),
            lambda: store.get("run-3"),
            lambda: store.runs_of("label:l4"),
            lambda: store.baseline("c0ffee", "gpu-1", "voicevox"),
            lambda: store.trend("c0ffee", "gpu-1", "voicevox"),
            lambda: store.save(result("new")),
            lambda: store.set_baseline("run-1"),
        )
        for question in asked:
            try:
                question()
            except BenchError as error:
                assert error.layer in {"store", "plan"}
        assert [entry.name for entry in Path(folder).iterdir() if "-" not in entry.name] == ["r.sqlite3"]


NAMES = st.sampled_from(
    [
        "at_once",
        "baseline_s",
        "target_s",
        "ladders",
        "kpi",
        "synthesis",
        "api-latency",
        "llm",
        "command",
        "projections",
        "texts",
        "style",
        "templates",
        "a",
        "s",
        "b",
        "c",
        "path",
        "json",
        "form",
        "query",
        "headers",
        "presets",
        "env",
        "stdin",
        "response_time",
        "model",
        "max_tokens",
        "api_key",
        "expect_exit",
        "method",
    ]
) | st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=5))
def test_any_table_is_options_or_mistakes_of_one_line_each(table):
    try:
        options_of(table, "f.toml")
    except ConfigError as error:
        assert error.mistakes
        for line in error.mistakes:
            assert line.startswith("f.toml: bench.")
            assert "; expected " in line
            assert "\n" not in line


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.data())
def test_a_file_of_samples_is_read_as_far_as_it_goes(count, data):
    with tempfile.TemporaryDirectory() as folder:
        writer = SampleWriter(Path(folder), "run")
        for i in range(count):
            writer.add(Sample(i, "measure", i, i, i, Outcome.OK))
        name, problem = writer.close()
        assert problem == ""
        assert (name is None) == (count == 0)
        if name is None:
            return
        path = Path(folder) / name
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
        read = read_samples(path)
        assert [sample.i for sample in read.samples] == list(range(len(read.samples)))
        complete = path.read_bytes().count(b"\n")
        assert complete <= len(read.samples) <= complete + 1
        assert read.unreadable == 0
