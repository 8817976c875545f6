"""The commands of benchmarks without a run: what is refused, listed, shown, compared and exported."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner, Result

from benchmarks.benchmark import Definition, Parameter
from benchmarks.store import Store
from tests.support.stored_results import graded, invalid, on, result
from tui import cli_bench_print
from tui.cli import main
from tui.cli_bench import complete_run
from tui.cli_bench_run import _parameters, complete_benchmark

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("QUARTERDECK_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def store(home: Path) -> Store:
    stored = Store.open()
    stored.save(result("20261101T000000-aaaaaa", label="before", wall_start="2026-11-01T00:00:00.000Z"))
    stored.save(graded("20261125T000000-bbbbbb", "B", label="after"))
    stored.save(invalid("20261125T000001-cccccc", "client was the bottleneck"))
    return stored


def bench(*words: str, code: int = 0, stdin: str | None = None) -> Result:
    done = CliRunner().invoke(main, ["bench", *words], input=stdin)
    assert done.exit_code == code, (done.exit_code, done.output, done.exception)
    return done


# --- run: what is refused before anything is loaded ---


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope", "localhost"], "no benchmark 'nope'"),
        (["api-latency"], "Missing argument 'HOST...'"),
        (["api-latency", "nowhere"], "nowhere"),
        (["api-latency", "localhost"], "no HTTP service"),
        (["api-latency", "localhost", "--check", "--quick"], "--check and --quick: choose one"),
        (["api-latency", "localhost", "--check", "--fail-under", "A"], "--check gives no letter"),
        (["api-latency", "localhost", "--url", "http://x", "--service", "y"], "--url and --service: choose one"),
        (["api-latency", "localhost", "--url", "http://me:secret@x"], "a password does not belong on a command line"),
        (["api-latency", "localhost", "--url", "x:99999"], "expected http://... or https://..."),
        (["api-latency", "localhost", "--url", "http://[x"], "expected http://... or https://..."),
        (["api-latency", "localhost", "--url", "ftp://x"], "expected http://... or https://..."),
        (["api-latency", "localhost", "--param", "path"], "expected NAME=VALUE"),
        (["api-latency", "localhost", "--param", "pth=/x"], 'did you mean "path"?'),
        (["api-latency", "localhost", "--param", "url=http://x"], "expected --url"),
        (["api-latency", "localhost", "--label", "\udcff"], "--label: is not UTF-8"),
        (["api-latency", "localhost", "--n", "0"], "0 is not in the range"),
        (["api-latency", "localhost", "--rate", "nan"], "not a finite number"),
        (["api-latency", "localhost", "--rate", "inf"], "not a finite number"),
        (["api-latency", "localhost", "--rate", "0"], "0.0 is not in the range"),
        (["api-latency", "localhost", "--url", "http://x", "--rate", "1e6"], "more than the engine can send on time"),
        (["api-latency", "localhost", "--url", "http://x", "--rate", "5", "--concurrency", "2"], "at once"),
        (["api-latency", "localhost", "--url", "http://x", "--against", "localhost"], "compared with itself"),
        (["api-latency", "localhost", "--fail-under", "F"], "'F' is not one of"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_mistakes_end_with_2_and_load_nothing(home, words, said):
    done = bench("run", *words, code=2)
    assert said in done.stderr
    assert "secret" not in done.output
    assert done.stdout == ""
    assert not (home / "state").exists()


def test_all_mistakes_are_said_at_once(home):
    done = bench("run", "api-latency", "localhost", "--check", "--quick", "--url", "x", "--param", "a", code=2)
    assert len(done.stderr.splitlines()) == 3


def production(home: Path, label: str = 'env = "production"') -> None:
    (home / "config.toml").write_text(
        f'schema = 1\n[[hosts]]\nid = "p"\naddress = "127.0.0.1"\nlabels = {{ {label} }}\n'
        '[[hosts]]\nid = "q"\naddress = "127.0.0.2"\n'
    )


@pytest.mark.parametrize("words", [["p"], ["q", "--against", "p"], ["q", "p"]])
def test_a_host_labelled_production_is_not_loaded_without_being_asked(home, words):
    production(home)
    done = bench("run", "api-latency", *words, "--url", "http://127.0.0.1:9", code=2)
    assert done.stderr == "labelled production: p; expected --yes, or a terminal to ask on\n"


def definition(*parameters: Parameter) -> Definition:
    nothing: Any = None
    return Definition("x", 1, "", "", (), (), nothing, nothing, parameters)


@pytest.mark.parametrize(
    ("kind", "word", "said"),
    [
        ("integer", "p=3", None),
        ("integer", "p=3.5", "is not a whole number"),
        ("number", "p=3.5", None),
        ("number", "p=inf", "is not a number"),
        ("number", "p=", "is not a number"),
        ("choice", "p=a", None),
        ("choice", "p=c", "is unknown; expected a, b"),
        ("text", "p=a=b", None),
    ],
)
def test_parameters_are_of_their_kind(kind, word, said):
    mistakes: list[str] = []
    found = _parameters(definition(Parameter("p", "P", kind, choices=("a", "b"))), [word], mistakes)
    if said is None:
        assert (found, mistakes) == ({"p": word.partition("=")[2]}, [])
    else:
        assert said in mistakes[0]


def test_a_benchmark_without_parameters_says_so():
    mistakes: list[str] = []
    _parameters(definition(), ["p=1"], mistakes)
    assert mistakes == ["--param: 'p' is unknown; expected none: x has no parameters of its own"]


# --- list ---


def test_list_has_metrics_ladders_and_parameters(home):
    text = bench("list").stdout
    assert "letters    response_time p90: S <= 25.0 ms, A <= 50.0 ms, B <= 100 ms, C <= 200 ms, else D" in text
    assert "= end - intended send" in text
    assert "--param path=...:" in text
    (latency,) = [one for one in json.loads(bench("list", "--json").stdout) if one["id"] == "api-latency"]
    assert latency["ladders"][0]["a"] == 0.05
    assert "tail" not in latency["ladders"][0]
    assert {"tag", "unit", "better", "formula"} <= latency["metrics"][0].keys()


def test_list_shows_the_ladders_that_are_configured(home):
    (home / "config.toml").write_text("schema = 1\n[bench.api-latency]\ntarget_s = 0.2\n")
    assert "A <= 200 ms" in bench("list").stdout


def test_mistakes_of_the_bench_tables_stop_every_command(home):
    (home / "config.toml").write_text("schema = 1\n[bench]\nat_once = 0\n[thresholds]\nx = 1\n")
    done = bench("list", code=2)
    first, second = (line.partition(": ")[2] for line in done.stderr.splitlines())
    assert first.startswith("thresholds.x: is unknown; expected temperature_warn_c, ")
    assert second == "bench.at_once: 0 is not a number of hosts; expected 1 to 64"
    checked = CliRunner().invoke(main, ["config", "check"])
    assert checked.exit_code == 2
    assert "bench.at_once" in checked.stderr


def test_config_show_has_the_benchmarks_defaults(home):
    shown = json.loads(CliRunner().invoke(main, ["config", "show", "--format", "json"]).stdout)
    assert shown["bench"]["target_s"] == 2.0
    (home / "shown.toml").write_text(CliRunner().invoke(main, ["config", "show"]).stdout)
    done = CliRunner().invoke(main, ["--config", "shown.toml", "config", "check"])
    assert done.exit_code == 0, done.output


# --- list-runs, show ---


def ids(done: Result) -> list[str]:
    return [row["run_id"] for row in json.loads(done.stdout)]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["c", "b", "a"]),
        (["--limit", "1"], ["c"]),
        (["--letter", "B"], ["b"]),
        (["--letter", "none"], ["c"]),
        (["--label", "before"], ["a"]),
        (["--benchmark", "llm"], []),
        (["--host", "gpu-1", "--case", "short"], ["c", "b", "a"]),
        (["--text", "AAAAAA"], ["a"]),
        (["--since", "2026-11-20"], ["c", "b"]),
        (["--since", "2026-11-25T21:00:00+02:00"], ["c", "b"]),
        (["--since", "2026-11-25T23:00:00Z"], []),
        (["--since", "9999w"], ["c", "b", "a"]),
    ],
    ids=" ".join,
)
def test_list_runs_filters(store, words, found):
    assert [one[-1] for one in ids(bench("list-runs", "--json", *words))] == found


def test_list_runs_is_a_table_and_says_what_is_null(store):
    lines = bench("list-runs").stdout.splitlines()
    assert lines[0].split()[:2] == ["RUN", "BENCHMARK"]
    assert len(lines) == 4
    first = json.loads(bench("list-runs", "--json").stdout)[0]
    assert first["letter"] is None
    assert first["missing"]["letter"] == "not graded"
    assert bench("list-runs", "--label", "x").stderr == "no run fits\n"


@pytest.mark.parametrize("since", ["yesterday", "", "2026-13-01", "5y"])
def test_a_since_that_is_no_time_is_a_mistake(store, since):
    done = bench("list-runs", "--since", since, code=2)
    assert "expected 12h, 7d" in done.stderr


def test_show_is_an_array_where_a_program_reads(store):
    assert ids(bench("show", "20261101")) == ["20261101T000000-aaaaaa"]
    assert ids(bench("show", "20261101", "label:after", "20261101")) == [
        "20261101T000000-aaaaaa", "20261125T000000-bbbbbb",
    ]  # fmt: skip


def test_show_is_a_card_where_a_person_looks(store, monkeypatch):
    monkeypatch.setattr(cli_bench_print, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    assert bench("show", "20261101").stdout.startswith("synthesis short warm on gpu-1: A\n")
    assert bench("show", "--json", "20261101").stdout.startswith("[{")


@pytest.mark.parametrize("words", [["show", "x"], ["export", "x"], ["baseline", "x"], ["compare", "x", "y"]])
def test_a_run_that_is_not_there_ends_with_2(store, words):
    assert "no run is called 'x'" in bench(*words, code=2).stderr


@pytest.mark.parametrize(
    "words", [["list-runs"], ["show", "x"], ["export", "x"], ["baseline", "x"], ["compare", "x", "y"]]
)
def test_a_store_that_is_damaged_ends_with_1_and_the_next_step(home, words):
    path = home / "state" / "quarterdeck" / "results.sqlite3"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 100)
    done = bench(*words, code=1)
    assert "is damaged" in done.stderr
    assert "mv " in done.stderr
    assert done.stdout == ""
    assert path.read_bytes() == b"no database" * 100


# --- compare, export, baseline ---


def test_compare_says_that_there_are_too_few(store):
    done = bench("compare", "20261101", "label:after")
    assert "needs 4 a side" in done.stdout
    (found,) = json.loads(bench("compare", "--json", "20261101", "label:after").stdout)
    assert found["rows"][0]["outcome"] == "too_few"


def test_compare_refuses_what_was_configured_otherwise(store):
    store.save(result("other", config_hash="beef", target=on("gpu-2")))
    done = bench("compare", "20261101", "other", code=3)
    assert "refused" in done.stdout


def test_export_as_json_and_in_four_parts(store, home):
    assert json.loads(bench("export", "20261101").stdout)["run_id"] == "20261101T000000-aaaaaa"
    done = bench("export", "20261101", "--format", "r4", "--output", "r4.json")
    assert done.stdout == ""
    assert set(json.loads((home / "r4.json").read_text())) == {
        "metadata", "performance_data", "system_info", "execution_context",
    }  # fmt: skip
    assert (home / "r4.json").stat().st_mode & 0o777 == 0o600
    again = bench("export", "20261101", "--format", "r4", "--output", "r4.json", code=1)
    assert "exists" in again.stderr


def test_export_of_samples_that_are_not_there_is_said(store):
    assert "cannot be read" in bench("export", "20261101", "--format", "jsonl", code=1).stderr


def test_a_baseline_is_set_and_shown(store):
    assert bench("baseline", "20261101").stdout == "baseline of synthesis short warm on gpu-1: 20261101T000000-aaaaaa\n"
    assert "A baseline" in bench("list-runs").stdout
    assert "client was the bottleneck" in bench("baseline", "20261125T000001", code=2).stderr


# --- completion ---


def completed(function: Any, start: str) -> list[str]:
    return function(click.Context(main), click.Argument(["x"]), start)


def test_ids_are_completed(store):
    assert completed(complete_run, "20261125") == ["20261125T000001-cccccc", "20261125T000000-bbbbbb"]
    assert completed(complete_benchmark, "api") == ["api-latency"]


def test_a_damaged_store_completes_nothing_in_silence(store):
    store.path.write_bytes(b"no database" * 100)
    assert completed(complete_run, "") == []


def test_an_interrupt_while_it_starts_is_no_defect(home: Path, monkeypatch: pytest.MonkeyPatch):
    del home

    def interrupted() -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.registry.ids", interrupted)
    outcome = CliRunner().invoke(main, ["bench", "list"])
    assert (outcome.exit_code, outcome.output) == (130, "")
